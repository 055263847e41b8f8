"""The life of a connection in an HTML report: each direction as a line in time, with what passed on it and its end.

Above the line stand messages, as bars that are higher where they are longer, below it pings and pongs. What would
stand on top of each other is drawn as one mark that is told as such, and a table beside it has all of it in words.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wsprobe.model import Close, Count, Ending, Frame, Observation, Pings, Sender
from wsprobe.reports import _life, _view
from wsprobe.reports._html_drawing import axis as axis_of
from wsprobe.reports._html_drawing import grid, share, svg, width, x
from wsprobe.reports._html_write import NOTHING, Html, Sheet, joined, tag
from wsprobe.reports._text import shortened, visible

_ENDINGS = {Ending.FRAME: "frame", Ending.EOF: "eof", Ending.RESET: "reset", Ending.TIMEOUT: "timeout"}
_SHORT = {Ending.EOF: "FIN", Ending.RESET: "RST", Ending.TIMEOUT: "timeout"}
_ENDINGS_IN_WORDS = {
    Ending.FRAME: "close frame",
    Ending.EOF: "FIN",
    Ending.RESET: "RST",
    Ending.TIMEOUT: "timeout",
}
_SIDES = (Sender.CLIENT, Sender.SERVER)
_MESSAGES = {"text": "text", "binary": "binary"}
_BEATS = ("ping", "pong")
_NO_MESSAGES = (*_BEATS, "close")
_LONGEST = 44
_HIGHEST, _LABEL, _ABOVE = 24, 12, 7
_APART = {True: 1.2, False: 2.6}
"""Percent of the drawing's width that keep two marks apart: bars, and what stands below the line."""

_ROOM = 9.0
"""Percent that the number above a mark takes on a narrow page."""


def life(sheet: Sheet, hops: Sequence[tuple[int, Observation]]) -> Html:
    """A drawing a hop, all of them on one scale; nothing where no hop has a time."""
    scale = max((_last(hop) for _, hop in hops), default=0.0)
    shown = [(number, hop) for number, hop in hops if hop.closes or hop.frames or hop.ended is not None]
    if scale <= 0 or not shown:
        return NOTHING
    return joined(
        (
            sheet.heading("Life of the connection", 1),
            tag("div", tag("b", ""), axis_of(scale), class_="lane"),
            *(_lane(sheet, number, hop, scale) for number, hop in shown),
            _legend([hop for _, hop in shown]),
            tag("p", _caution([hop for _, hop in shown]), class_="hint"),
        )
    )


def _legend(hops: list[Observation]) -> Html:
    kept = [(hop, _life.kept(hop)) for hop in hops]
    kinds = {frame.opcode for _, frames in kept for frame in frames} - {"close"}
    counted = any(frames and _life.only_counted(hop, frames) for hop, frames in kept)
    more = [("other", "several kinds, or another")] if len(kinds.difference(_BEATS)) > 1 else []
    more += [("dots", "only counted")] if counted else []
    drawn = [
        *(tag("span", tag("span", class_=f"swatch {_MESSAGES[kind]}"), kind) for kind in _MESSAGES if kind in kinds),
        *(tag("span", tag("span", class_=f"swatch {class_}"), words) for class_, words in more),
        *(tag("span", _svg_mark(kind, "beat"), f" {kind}") for kind in _BEATS if kind in kinds),
        *([tag("span", _svg_mark("both", "beat"), " both")] if kinds.issuperset(_BEATS) else []),
        *(
            tag("span", _svg_mark(kind, "end"), f" {_ENDINGS_IN_WORDS[ending]}")
            for ending, kind in _ENDINGS.items()
            if any(close.ending is ending for hop in hops for close in hop.closes)
        ),
        tag("span", tag("span", class_="swatch shake"), "until the answer"),
    ]
    return tag("p", *drawn, class_="legend")


def _caution(hops: list[Observation]) -> str:
    kept = [_life.kept(hop) for hop in hops if hop.frames and (hop.frames.client or hop.frames.server)]
    words = "Each hop by its own clock, from its own beginning: times of different hops do not compare."
    if any(frame.opcode not in _NO_MESSAGES for frames in kept for frame in frames):
        words += " A bar is a message, higher the longer it is; a number is how many stand in one place."
        if any("permessage-deflate" in hop.handshake.extensions for hop in hops if hop.handshake):
            words += " Lengths are those on the wire, where permessage-deflate was agreed."
    if not all(kept):
        words += " Where frames are only counted, the record does not tell when each passed."
    return words


def _last(hop: Observation) -> float:
    activity = (hop.activity.client, hop.activity.server) if hop.activity else ()
    duration = hop.handshake.duration if hop.handshake else None
    frames = (frame.at for frame in _life.kept(hop))
    times = [hop.ended, duration, *activity, *(close.at for close in hop.closes), *frames]
    return max((time for time in times if time is not None and math.isfinite(time)), default=0.0)


# One hop.


def _lane(sheet: Sheet, number: int, hop: Observation, scale: float) -> Html:
    link = tag("a", sheet.said(hop.name), href=f"#{sheet.anchor(f'hop-{number}')}")
    frames = _life.kept(hop, min(_life.MOST, sheet.size.items))
    drawn, height = [], 0
    for side in _SIDES:
        part, took = _direction(hop, side, [frame for frame in frames if frame.sender is side], height, scale)
        drawn.append(part)
        height += took
    shake = hop.handshake.duration if hop.handshake else None
    before = NOTHING
    if shake is not None and math.isfinite(shake):
        before = tag("rect", x=x(0, scale), y="0", width=width(shake, scale), height=str(height), class_="shake")
    ending = _view.ending(sheet.report, number)
    drawing = svg(height, sheet.said(f"{hop.name}: {ending}"), grid(scale, height), before, *drawn)
    said = tag("p", sheet.said(ending), class_="key")
    return tag(
        "div", tag("b", link), drawing, said, _events(sheet, hop), class_="lane", id=sheet.anchor(f"life-{number}")
    )


def _events(sheet: Sheet, hop: Observation) -> Html:
    """The same in words, for those who cannot see the drawing or want to read the times."""
    events = _life.in_order(hop, min(_life.MOST, sheet.size.items))
    if not any(event.opcode for event in events):
        return NOTHING  # the ends alone have a table of their own
    rows = (
        [_view.span(event.begin, event.end), event.sender.value, sheet.said(event.what), _octets_of(event)]
        for event in events
    )
    table = sheet.table(["at", "sender", "what", "octets"], rows, f"What passed at {hop.name}, in order")
    return tag("details", tag("summary", f"{_view.counted(len(events), 'event')}, one by one"), table, class_="events")


def _octets_of(event: _life.Event) -> str:
    return "" if event.close else f"{event.octets:,}"


# One direction.


def _direction(hop: Observation, side: Sender, frames: list[Frame], top: int, scale: float) -> tuple[Html, int]:
    """One direction, and how high it is drawn: what passed, until when, and how it ended."""
    said = _passed(hop, side, len(frames))
    words = [tag("text", line, x=x(0, scale), y=str(top + 16 + 15 * at)) for at, line in enumerate(said)]
    messages = [frame for frame in frames if frame.opcode not in _NO_MESSAGES]
    beats = _heaps([frame for frame in frames if frame.opcode in _BEATS], _APART[False], scale)
    counted = [event for event in _life.only_counted(hop, frames) if event.sender is side] if frames else []
    above = _HIGHEST + _LABEL if messages else 6 if counted else 0
    middle = top + 18 + 15 * len(words) + (above + _ABOVE - 3 if above else 0)
    begin = hop.handshake.duration if hop.handshake and hop.handshake.duration is not None else 0.0
    last = getattr(hop.activity, side.value) if hop.activity else None
    closes = [close for close in hop.closes if _side(close) is side]
    end = max((close.at for close in closes), default=hop.ended if hop.ended is not None else _last(hop))
    parts = [_stroke(begin, end, middle, scale, "quiet")]
    if last is not None and last > begin:
        parts.append(_stroke(begin, last, middle, scale, "busy"))
    parts += [_uncounted(event, middle, scale) for event in counted]
    parts += _bars(messages, middle - _ABOVE, scale)
    parts += _beats(beats, middle + 10)
    parts += [_mark(close, middle, scale) for close in closes]
    below = 21 + (11 if beats else 0) + (10 if any(len(heap.frames) > 2 for _, _, heap in beats) else 0)
    if closes:
        told = ", then ".join(dict.fromkeys(map(_told, closes)))
        parts.append(_label(told, end, middle + below, scale))
    return joined((*parts, *words)), middle - top + below + 9


def _stroke(begin: float, end: float, y: int, scale: float, class_: str) -> Html:
    return tag("line", x1=x(begin, scale), x2=x(end, scale), y1=str(y), y2=str(y), class_=class_)


def _side(close: Close) -> Sender:
    """What the recorder did itself is drawn with the server's: it ended the connection towards the client."""
    return Sender.CLIENT if close.sender is Sender.CLIENT else Sender.SERVER


def _passed(hop: Observation, side: Sender, drawn: int) -> list[str]:
    """What passed in one direction, in lines that fit on a narrow page."""
    counts: dict[str, Count] = getattr(hop.frames, side.value) if hop.frames else {}
    pings: Pings | None = getattr(hop.pings, side.value) if hop.pings else None
    parts = [f"{one.frames} {_life.named(name)} {_octets(one.bytes)}" for name, one in list(counts.items())[:8]]
    parts += [f"{pings.answered} of {pings.sent} pings answered"] if pings else []
    more = sum(count.frames for count in counts.values()) - drawn
    parts += [f"{more:,} of these only counted"] if drawn and more > 0 else []
    lines = [f"{'client → server' if side is Sender.CLIENT else 'server → client'}: "]
    for number, part in enumerate(parts or ["no frame seen" if hop.frames else "frames were not counted"]):
        comma = ", " if number + 1 < len(parts) else ""
        if len(lines[-1]) + len(part) > _LONGEST:
            lines.append("")
        lines[-1] += f"{part}{comma}"
    return lines


def _octets(number: int) -> str:
    if number < 10_000:
        return f"{number} B"
    return f"{number / 1000:.0f} kB" if number < 10_000_000 else f"{number / 1_000_000:.0f} MB"


# What passed.


@dataclass(frozen=True, slots=True)
class _Heap:
    """Frames that would stand in one place of the drawing."""

    frames: tuple[Frame, ...]
    begin: float
    end: float

    @property
    def kind(self) -> str:
        """What they all are, or that they are several things."""
        kinds = {frame.opcode for frame in self.frames}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def words(self) -> str:
        """How many of what, when, and how long."""
        kinds = dict.fromkeys(_life.named(frame.opcode) for frame in self.frames)
        number = f"{len(self.frames)} " if len(self.frames) > 1 else ""
        octets = sum(frame.bytes for frame in self.frames)
        return f"{number}{', '.join(kinds)}, {octets:,} octets, at {_view.span(self.begin, self.end)}"


def _heaps(frames: Iterable[Frame], apart: float, scale: float) -> list[tuple[float, float, _Heap]]:
    """The frames by place, each heap with its first and last place in percent."""
    found: list[tuple[float, float, list[Frame]]] = []
    for frame in frames:
        place = share(frame.at, scale)
        if found and place - found[-1][1] < apart:
            found[-1] = (found[-1][0], place, [*found[-1][2], frame])
        else:
            found.append((place, place, [frame]))
    return [(begin, end, _Heap(tuple(heap), heap[0].at, heap[-1].at)) for begin, end, heap in found]


def _bars(frames: list[Frame], y: int, scale: float) -> list[Html]:
    """Messages above the line; where several stand in one place their number is written above if there is room."""
    parts, free = [], 0.0
    for begin, end, heap in _heaps(frames, _APART[True], scale):
        longest = max(0, *(frame.bytes for frame in heap.frames))
        high = min(_HIGHEST, 5 + round(3.2 * math.log10(longest + 1)))
        kind = _MESSAGES.get(heap.kind, "other")
        wide = {"width": f"{end - begin:.2f}%"} if end - begin > 0.6 else {"width": "5", "transform": "translate(-2.5)"}
        parts.append(
            tag("rect", tag("title", heap.words), x=f"{begin:.2f}%", y=str(y - high), height=str(high), rx="1.5",
                class_=f"message {kind}", **wide)
        )  # fmt: skip
        middle = (begin + end) / 2
        if len(heap.frames) > 1 and middle >= free:
            parts.append(_number(len(heap.frames), middle, y - high - 3))
            free = middle + _ROOM
    return parts


def _number(number: int, place: float, y: int) -> Html:
    return tag("text", str(number), x=f"{place:.2f}%", y=str(y), text_anchor="middle", class_="many")


def _beats(heaps: list[tuple[float, float, _Heap]], y: int) -> list[Html]:
    """Pings and pongs below the line, and how many where they are more than two."""
    parts = []
    for begin, end, heap in heaps:
        use = Html(f'<use href="#m-{heap.kind if heap.kind in _BEATS else "both"}"/>')
        place = f"{(begin + end) / 2:.2f}%"
        if end - begin > _APART[False]:  # a row of them that stand too close to be told apart
            parts.append(tag("line", x1=f"{begin:.2f}%", x2=f"{end:.2f}%", y1=str(y), y2=str(y), class_="beat"))
        parts.append(tag("svg", tag("title", heap.words), use, x=place, y=str(y), overflow="visible", class_="beat"))
        if len(heap.frames) > 2:
            parts.append(_number(len(heap.frames), (begin + end) / 2, y + 15))
    return parts


def _uncounted(event: _life.Event, y: int, scale: float) -> Html:
    """Where frames passed that nobody kept one by one."""
    words = f"{event.what}, {event.octets:,} octets, from {_view.span(event.begin, event.end)}"
    line = _stroke(event.begin, event.end, y - _ABOVE - 3, scale, "uncounted")
    return tag("g", tag("title", words), line)


# How it ended.


def _told(close: Close) -> str:
    who = "recorder: " if close.sender is Sender.LOCAL else ""
    if close.ending is not Ending.FRAME:
        return f"{who}{_SHORT[close.ending]}"
    return f"{who}close" if close.code is None else f"{who}{close.code}"


def _label(words: str, time: float, y: int, scale: float) -> Html:
    place = share(time, scale)
    anchor = "end" if place > 66 else "start" if place < 33 else "middle"
    said = f"{shortened(visible(words), 28)} at {_view.seconds(max(time, 0.0))}"
    return tag("text", said, x=f"{place:.2f}%", y=str(y), text_anchor=anchor, class_="close")


def _mark(close: Close, y: int, scale: float) -> Html:
    title = f"{close.sender.value}: {_told(close)} at {_view.seconds(max(close.at, 0.0))}"
    use = Html(f'<use href="#m-{_ENDINGS[close.ending]}"/>')
    return tag("svg", tag("title", title), use, x=x(close.at, scale), y=str(y), overflow="visible", class_="end")


def _svg_mark(kind: str, class_: str) -> Html:
    return Html(f'<svg class="i {class_}" viewBox="-8 -8 16 16" aria-hidden="true"><use href="#m-{kind}"/></svg>')
