"""The times of an HTML report as SVG: the phases up to the answer, and the life of the connection per direction.

Places are percentages of a drawing that is as wide as the page lets it be, so that its words keep their size.
"""

import math
from collections.abc import Sequence

from wsprobe.model import Close, Count, Ending, Observation, Pings, Sender
from wsprobe.reports import _view
from wsprobe.reports._html_write import NOTHING, Html, Sheet, joined, tag, text
from wsprobe.reports._text import shortened, visible

_PHASES = ("dns", "tcp", "tls", "proxy", "upgrade")
_ENDINGS = {Ending.FRAME: "frame", Ending.EOF: "eof", Ending.RESET: "reset", Ending.TIMEOUT: "timeout"}
_SHORT = {Ending.EOF: "FIN", Ending.RESET: "RST", Ending.TIMEOUT: "timeout"}
_ENDINGS_IN_WORDS = {
    Ending.FRAME: "close frame",
    Ending.EOF: "FIN",
    Ending.RESET: "RST",
    Ending.TIMEOUT: "timeout",
}
_SIDES = (Sender.CLIENT, Sender.SERVER)
_TICKS = 4
_LONGEST = 44


def waterfall(sheet: Sheet) -> Html:
    """Both drawings; nothing where no hop has a time."""
    hops = list(enumerate(sheet.report.trace.hops[: sheet.size.items]))
    return sheet.section(
        "times",
        "Times",
        _phases(sheet, hops),
        _life(sheet, hops),
    )


# Up to the answer.


def _took(hop: Observation) -> dict[str, float]:
    """How long each phase took at a hop; a recorder inside of the path only knows the upgrade."""
    found = dict(hop.phases or {})
    if not found and hop.handshake and hop.handshake.duration is not None:
        found = {"upgrade": hop.handshake.duration}
    return {name: time for name, time in found.items() if math.isfinite(time) and time >= 0}


def _phases(sheet: Sheet, hops: Sequence[tuple[int, Observation]]) -> Html:
    took = [(number, hop, _took(hop)) for number, hop in hops]
    scale = max((sum(times.values()) for _, _, times in took), default=0.0)
    if scale <= 0:
        return NOTHING
    rows = [
        tag("div", tag("b", sheet.said(hop.name)), _bars(hop, times, scale), _key(sheet, times), class_="lane")
        for _, hop, times in took
        if times
    ]
    return joined(
        (
            sheet.heading("Up to the answer", 1),
            tag("div", tag("b", ""), _axis(scale), class_="lane"),
            *rows,
            tag("p", "Each hop from its own beginning; an inner hop begins later.", class_="hint"),
        )
    )


def _bars(hop: Observation, times: dict[str, float], scale: float) -> Html:
    bars, at = [], 0.0
    for name, time in times.items():
        bars.append(tag("rect", x=_x(at, scale), y="3", width=_width(time, scale), height="14", class_=_class(name)))
        at += time
    return _svg(22, f"{hop.name}: {_phases_in_words(times)}", *bars)


def _class(name: str) -> str:
    return f"phase-{name if name in _PHASES else 'other'}"


def _phases_in_words(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {_view.seconds(time)}" for name, time in times.items())


def _key(sheet: Sheet, times: dict[str, float]) -> Html:
    marks = [
        tag("span", tag("span", class_=f"swatch {_class(name)}"), sheet.said(name), f" {_view.seconds(time)}")
        for name, time in list(times.items())[: sheet.size.items]
    ]
    return tag("p", *marks, class_="key", aria_hidden="true")


# The connection.


def _life(sheet: Sheet, hops: Sequence[tuple[int, Observation]]) -> Html:
    scale = max((_last(hop) for _, hop in hops), default=0.0)
    shown = [(number, hop) for number, hop in hops if hop.closes or hop.frames or hop.ended is not None]
    if scale <= 0 or not shown:
        return NOTHING
    return joined(
        (
            sheet.heading("Life of the connection", 1),
            tag("div", tag("b", ""), _axis(scale), class_="lane"),
            *(_lane(sheet, number, hop, scale) for number, hop in shown),
            tag(
                "p",
                *(
                    tag("span", _svg_mark(kind), f" {_ENDINGS_IN_WORDS[ending]}")
                    for ending, kind in _ENDINGS.items()
                    if any(close.ending is ending for _, hop in shown for close in hop.closes)
                ),
                tag("span", tag("span", class_="swatch shake"), "until the answer"),
                class_="legend",
            ),
            tag(
                "p",
                "Each hop by its own clock. Frames and pings are counted; when each passed is not kept.",
                class_="hint",
            ),
        )
    )


def _last(hop: Observation) -> float:
    activity = (hop.activity.client, hop.activity.server) if hop.activity else ()
    duration = hop.handshake.duration if hop.handshake else None
    times = [hop.ended, duration, *activity, *(close.at for close in hop.closes)]
    return max((time for time in times if time is not None and math.isfinite(time)), default=0.0)


def _lane(sheet: Sheet, number: int, hop: Observation, scale: float) -> Html:
    link = tag("a", sheet.said(hop.name), href=f"#{sheet.anchor(f'hop-{number}')}")
    drawn, height = [], 0
    for side in _SIDES:
        part, took = _direction(hop, side, height, scale)
        drawn.append(part)
        height += took
    shake = hop.handshake.duration if hop.handshake else None
    before = NOTHING
    if shake is not None and math.isfinite(shake):
        before = tag("rect", x=_x(0, scale), y="0", width=_width(shake, scale), height=str(height), class_="shake")
    ending = _view.ending(sheet.report, number)
    drawing = _svg(height, sheet.said(f"{hop.name}: {ending}"), before, *drawn)
    said = tag("p", sheet.said(ending), class_="key")
    return tag("div", tag("b", link), drawing, said, class_="lane", id=sheet.anchor(f"life-{number}"))


def _direction(hop: Observation, side: Sender, top: int, scale: float) -> tuple[Html, int]:
    """One direction, and how high it is drawn: what passed, until when, and how it ended."""
    words = [tag("text", said, x=_x(0, scale), y=str(top + 16 + 15 * at)) for at, said in enumerate(_passed(hop, side))]
    middle = top + 18 + 15 * len(words)
    begin = hop.handshake.duration if hop.handshake and hop.handshake.duration is not None else 0.0
    last = getattr(hop.activity, side.value) if hop.activity else None
    closes = [close for close in hop.closes if _side(close) is side]
    end = max((close.at for close in closes), default=hop.ended if hop.ended is not None else _last(hop))
    parts = [_stroke(begin, end, middle, scale, "quiet")]
    if last is not None and last > begin:
        parts.append(_stroke(begin, last, middle, scale, "busy"))
    parts += [_mark(close, middle, scale) for close in closes]
    if closes:
        parts.append(_label(", then ".join(dict.fromkeys(map(_told, closes))), end, middle + 21, scale))
    return joined((*parts, *words)), middle - top + 30


def _stroke(begin: float, end: float, y: int, scale: float, class_: str) -> Html:
    return tag("line", x1=_x(begin, scale), x2=_x(end, scale), y1=str(y), y2=str(y), class_=class_)


def _side(close: Close) -> Sender:
    """What the recorder did itself is drawn with the server's: it ended the connection towards the client."""
    return Sender.CLIENT if close.sender is Sender.CLIENT else Sender.SERVER


def _passed(hop: Observation, side: Sender) -> list[str]:
    """What passed in one direction, in lines that fit on a narrow page."""
    counts: dict[str, Count] = getattr(hop.frames, side.value) if hop.frames else {}
    pings: Pings | None = getattr(hop.pings, side.value) if hop.pings else None
    parts = [
        f"{one.frames} {shortened(visible(name), 12)} {_octets(one.bytes)}" for name, one in list(counts.items())[:8]
    ]
    parts += [f"{pings.answered} of {pings.sent} pings answered"] if pings else []
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


def _told(close: Close) -> str:
    who = "recorder: " if close.sender is Sender.LOCAL else ""
    if close.ending is not Ending.FRAME:
        return f"{who}{_SHORT[close.ending]}"
    return f"{who}close" if close.code is None else f"{who}{close.code}"


def _label(words: str, time: float, y: int, scale: float) -> Html:
    place = _share(time, scale)
    anchor = "end" if place > 66 else "start" if place < 33 else "middle"
    said = f"{shortened(visible(words), 28)} at {_view.seconds(max(time, 0.0))}"
    return tag("text", said, x=f"{place:.2f}%", y=str(y), text_anchor=anchor, class_="close")


def _mark(close: Close, y: int, scale: float) -> Html:
    title = f"{close.sender.value}: {_told(close)} at {_view.seconds(max(close.at, 0.0))}"
    use = Html(f'<use href="#m-{_ENDINGS[close.ending]}"/>')
    return tag("svg", tag("title", title), use, x=_x(close.at, scale), y=str(y), overflow="visible", class_="end")


def _svg_mark(kind: str) -> Html:
    return Html(f'<svg class="i" viewBox="-8 -8 16 16" aria-hidden="true"><use href="#m-{kind}"/></svg>')


# Drawing.


def _share(time: float, scale: float) -> float:
    """Where a time stands, in percent; the ends leave room for what is drawn there."""
    share = time / scale if math.isfinite(time) else 0.0
    return 2 + 96 * min(max(share, 0.0), 1.0)


def _x(time: float, scale: float) -> str:
    return f"{_share(time, scale):.2f}%"


def _width(time: float, scale: float) -> str:
    return f"{max(_share(time, scale) - 2, 0.3):.2f}%"


def _svg(height: int, words: str, *parts: str) -> Html:
    return tag("svg", *parts, width="100%", height=str(height), role="img", aria_label=words)


def _axis(scale: float) -> Html:
    """Round times over the drawings."""
    step = _step(scale / _TICKS)
    ticks = []
    for number in range(int(scale / step) + 1):
        place = _x(number * step, scale)
        anchor = "start" if number == 0 else "end" if _share(number * step, scale) > 92 else "middle"
        ticks.append(tag("line", x1=place, x2=place, y1="16", y2="22", class_="tick"))
        words = "0" if number == 0 else _view.seconds(number * step)
        ticks.append(tag("text", words, x=place, y="12", text_anchor=anchor, class_="tick"))
    return tag("svg", *ticks, width="100%", height="22", aria_hidden="true")


def _step(least: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)


def spread(scale: float, p50: float, p95: float, p99: float) -> Html:
    """Percentiles of one phase as bars within each other."""
    bars = [
        tag("rect", x=_x(0, scale), y="3", width=_width(time, scale), height="12", class_=name)
        for name, time in (("p99", p99), ("p95", p95), ("p50", p50))
    ]
    words = text(f"p50 {_view.seconds(p50)}, p95 {_view.seconds(p95)}, p99 {_view.seconds(p99)}")
    return _svg(18, words, *bars)
