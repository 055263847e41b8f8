"""The times of an HTML report as SVG: the phases up to the answer, above the life of the connection."""

import math
from collections.abc import Sequence

from wsprobe.model import Observation
from wsprobe.reports import _view
from wsprobe.reports._html_drawing import axis, svg, width, x
from wsprobe.reports._html_life import life
from wsprobe.reports._html_write import NOTHING, Html, Sheet, joined, tag

_PHASES = ("dns", "tcp", "tls", "proxy", "upgrade")


def waterfall(sheet: Sheet) -> Html:
    """Both drawings; nothing where no hop has a time."""
    hops = list(enumerate(sheet.report.trace.hops[: sheet.size.items]))
    return sheet.section(
        "times",
        "Times",
        _phases(sheet, hops),
        life(sheet, hops),
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
            tag("div", tag("b", ""), axis(scale), class_="lane"),
            *rows,
            tag("p", "Each hop from its own beginning; an inner hop begins later.", class_="hint"),
        )
    )


def _bars(hop: Observation, times: dict[str, float], scale: float) -> Html:
    bars, at = [], 0.0
    for name, time in times.items():
        bars.append(tag("rect", x=x(at, scale), y="3", width=width(time, scale), height="14", class_=_class(name)))
        at += time
    return svg(22, f"{hop.name}: {_phases_in_words(times)}", *bars)


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
