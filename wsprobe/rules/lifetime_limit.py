"""Connections end at one age, however busy they are: a limit on their lifetime.

It shows only beside others: `wsprobe trace URL --timers` holds connections with and without traffic side by side. No
ping helps against a lifetime; the limit has to be raised, or the client has to reconnect.

Bad:
    max_stream_duration: 300s  # and connections that are meant to last
Good:
    max_stream_duration: 0s  # or a client that reconnects well before
"""

from collections.abc import Iterator

from wsprobe.defaults import told
from wsprobe.durations import seconds
from wsprobe.inspection import Timer
from wsprobe.judging import Rule, again, held_places, ladders
from wsprobe.ladder import Ladder
from wsprobe.model import Confidence, Finding
from wsprobe.path import Path

RULE = Rule(__name__, needs=ladders, rank=62)


def check(held: tuple[Path, Ladder]) -> Iterator[Finding]:
    """One finding where every connection ended at the same age."""
    path, found = held
    if found.timer is not Timer.LIFETIME:
        return
    name = path.outermost.name
    yield RULE.finding(
        f"Seen from {name}, connections end without a close frame {seconds(found.time)} after the 101, silent or busy: "
        f"{len(found.seconds)} of {len(found.rungs)} did, after {found.spread}. A limit on the lifetime does that.",
        *held_places(found),
        confidence=Confidence.POSSIBLE if found.others else Confidence.LIKELY,
        segment=(name, None),
        fix=f"Raise the limit on the lifetime beyond {name}, or reconnect before {seconds(found.time)}; no ping helps."
        f"{told(Timer.LIFETIME, found.time)}",
        others=found.others,
        untested=("which of what lies beyond has the timer",),
        next_=(again(path, "--timers --send TEXT"),),
    )
