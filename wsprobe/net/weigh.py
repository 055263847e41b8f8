"""Weighing on the wire: the main attempt with filler lines, and with the header, a canary, or neither."""

from dataclasses import replace

from wsprobe.model import Header
from wsprobe.net.attempt import Attempt
from wsprobe.weighing import Load, Straw, canary

_HOLD, _ANSWER_SECONDS = 0.5, 10.0


def loaded(main: Attempt, header: Header, load: Load, number: int) -> Attempt:
    """The attempt that one load is; it is watched only as long as an end right after the 101 takes."""
    name = header[0].lower()
    kept = tuple(line for line in main.headers if line[0].lower() != name)
    own = tuple(line for line in main.headers if line[0].lower() == name)
    straw = {Straw.NOTHING: (), Straw.CANARY: (canary(header),), Straw.HEADER: own}[load.straw]
    return replace(
        main,
        headers=(*kept, *straw, *load.filler),
        number=number,
        plain=load.plain,
        steps=(),
        beat=None,
        hold=min(main.hold, _HOLD),
        answer_time=min(main.answer_time, _ANSWER_SECONDS),
    )
