"""Connections that are held side by side to find a timer: the same attempt, each with another kind of traffic."""

from collections.abc import Iterator
from dataclasses import replace

from wsprobe.ladder import PINGED, PONGED, SILENT, SILENT_TOO, TALKED
from wsprobe.net.attempt import Attempt
from wsprobe.net.conversation import Beat, Send

APART = 0.7
"""Seconds between the starts of two of them: a reload ends all at one moment, a lifetime each at one age."""


def rungs(main: Attempt, every: float) -> Iterator[tuple[str, Attempt]]:
    """Each connection with its name, the main one first. Messages are those that the user sends, if any."""
    yield SILENT, replace(main, beat=None)
    beats = {SILENT_TOO: None, PINGED: Beat(kind="ping", every=every), PONGED: Beat(kind="pong", every=every)}
    said = [step.data for step in main.steps if isinstance(step, Send)]
    if said:
        beats[TALKED] = Beat(kind="message", every=every, data=said[-1])
    for number, (name, beat) in enumerate(beats.items(), main.number + 1):
        yield name, replace(main, number=number, beat=beat)
