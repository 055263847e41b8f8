"""The life of a connection as one hop saw it: frames one by one as far as they were kept, and how it ended.

Times are the hop's own, from the beginning of the exchange; those of different hops do not compare.
"""

import re
from dataclasses import dataclass, replace
from operator import attrgetter

from wsprobe.model import Close, Ending, Frame, Observation, Sender

MOST = 200
"""Frames of one hop that are shown, whatever a file says; a recorder keeps fewer."""

TOGETHER = 0.1
"""Seconds within which like frames that follow each other are told as one event; less than 0 for never."""

_CLOSE = "close"
_OPCODE = re.compile(r"continuation|text|binary|close|ping|pong|reserved \d{1,2}", re.ASCII)
_ENDINGS = {Ending.EOF: "FIN", Ending.RESET: "RST", Ending.TIMEOUT: "timeout"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Like frames of one side that came one after the other, an end (`close`), or frames that were only counted.

    `opcode` is empty for what is no frame that was kept, `frames` and `octets` are 0 for an end.
    """

    begin: float
    end: float
    sender: Sender
    kind: str
    opcode: str = ""
    frames: int = 0
    octets: int = 0
    close: Close | None = None

    @property
    def what(self) -> str:
        """The event in words."""
        if self.close:
            return self.kind
        number = f"{self.frames:,} " if self.frames > 1 or not self.opcode else ""
        return f"{number}{self.kind}"


def named(opcode: str) -> str:
    """The name of an opcode, whatever a file says."""
    return opcode if _OPCODE.fullmatch(opcode) else "other"


def more(number: int) -> str:
    """The noun for frames beside those that were told."""
    return "more frame" if number == 1 else "more frames"


def kept(hop: Observation, most: int = MOST) -> list[Frame]:
    """The frames that are known one by one, in the order seen; the middle is left out where there are too many."""
    if hop.frames is None:
        return []
    every = sorted((*hop.frames.first, *hop.frames.last), key=attrgetter("at"))
    late = most // 4
    return every if len(every) <= most else [*every[: most - late], *every[len(every) - late :]]


def in_order(hop: Observation, most: int = MOST, together: float = TOGETHER) -> list[Event]:
    """What passed and how it ended, in the order seen. Without frames that were kept it is the ends alone."""
    frames = kept(hop, most)
    closes = list(hop.closes)
    found: list[Event] = []
    for frame in frames:
        # A close frame stands in both lists, and in this one among the frames that came with it.
        close = next((one for one in closes if frame.opcode == _CLOSE and _same(one, frame)), None)
        if close:
            closes.remove(close)
        found.append(_of_close(close) if close else _of_frame(frame))
    found += [_of_close(close) for close in closes]
    found += only_counted(hop, frames) if frames else []
    return _merged(sorted(found, key=attrgetter("begin")), together)


def only_counted(hop: Observation, shown: list[Frame]) -> list[Event]:
    """The frames of each side that are counted beside those that are shown; begins where the first of these end."""
    if hop.frames is None:
        return []
    late = {id(frame) for frame in hop.frames.last}
    found = []
    for side, counts in ((Sender.CLIENT, hop.frames.client), (Sender.SERVER, hop.frames.server)):
        own = [frame for frame in shown if frame.sender is side]
        number = sum(count.frames for count in counts.values()) - len(own)
        octets = sum(count.bytes for count in counts.values()) - sum(frame.bytes for frame in own)
        if number <= 0:
            continue
        begin = max((frame.at for frame in own if id(frame) not in late), default=0.0)
        last = getattr(hop.activity, side.value) if hop.activity else None
        kind = f"{more(number)}, only counted"
        end = max(begin, last or 0.0)
        found.append(Event(begin=begin, end=end, sender=side, kind=kind, frames=number, octets=max(octets, 0)))
    return found


def _same(close: Close, frame: Frame) -> bool:
    return close.ending is Ending.FRAME and close.sender is frame.sender


def _of_frame(frame: Frame) -> Event:
    kind = f"{named(frame.opcode)}{' (part)' if frame.more else ''}"
    at, octets = frame.at, frame.bytes
    return Event(begin=at, end=at, sender=frame.sender, kind=kind, opcode=frame.opcode, frames=1, octets=octets)


def _of_close(close: Close) -> Event:
    kind = _ENDINGS.get(close.ending, _CLOSE)
    if close.code is not None:
        kind = f"{kind} {close.code}"
    return Event(begin=close.at, end=close.at, sender=close.sender, kind=kind, close=close)


def _merged(events: list[Event], together: float) -> list[Event]:
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        same = last and (last.kind, last.opcode, last.sender) == (event.kind, event.opcode, event.sender)
        if last and same and event.opcode and event.begin - last.end <= together:
            number, octets = last.frames + event.frames, last.octets + event.octets
            found[-1] = replace(last, end=event.end, frames=number, octets=octets)
        else:
            found.append(event)
    return found
