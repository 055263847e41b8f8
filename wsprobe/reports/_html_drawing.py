"""What the drawings of an HTML report have in common: a time as a place, an axis, bars within each other.

Places are percentages of a drawing that is as wide as the page lets it be, so that its words keep their size.
"""

import math

from wsprobe.reports import _view
from wsprobe.reports._html_write import Html, joined, tag, text

_TICKS = 5


def share(time: float, scale: float) -> float:
    """Where a time stands, in percent; the ends leave room for what is drawn there."""
    part = time / scale if math.isfinite(time) else 0.0
    return 2 + 96 * min(max(part, 0.0), 1.0)


def x(time: float, scale: float) -> str:
    """Where a time stands, as an attribute."""
    return f"{share(time, scale):.2f}%"


def width(time: float, scale: float) -> str:
    """How wide a time is drawn that begins at the beginning, as an attribute."""
    return f"{max(share(time, scale) - 2, 0.3):.2f}%"


def svg(height: int, words: str, *parts: str) -> Html:
    """A drawing as wide as the page lets it be, and what it says to those who hear the page."""
    return tag("svg", *parts, width="100%", height=str(height), role="img", aria_label=words)


def axis(scale: float) -> Html:
    """Round times over the drawings."""
    ticks = []
    for time in _round_times(scale):
        place = x(time, scale)
        anchor = "start" if time == 0 else "end" if share(time, scale) > 92 else "middle"
        ticks.append(tag("line", x1=place, x2=place, y1="16", y2="22", class_="tick"))
        words = "0" if time == 0 else _view.seconds(time)
        ticks.append(tag("text", words, x=place, y="12", text_anchor=anchor, class_="tick"))
    return tag("svg", *ticks, width="100%", height="22", aria_hidden="true")


def grid(scale: float, height: int) -> Html:
    """The same times as lines behind a drawing of that height."""
    places = [x(time, scale) for time in _round_times(scale)]
    return joined(tag("line", x1=place, x2=place, y1="0", y2=str(height), class_="grid") for place in places)


def _round_times(scale: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    least = scale / _TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)
    return [number * step for number in range(int(scale / step) + 1)]


def spread(scale: float, p50: float, p95: float, p99: float) -> Html:
    """Percentiles of one phase as bars within each other."""
    bars = [
        tag("rect", x=x(0, scale), y="3", width=width(time, scale), height="12", class_=name)
        for name, time in (("p99", p99), ("p95", p95), ("p50", p50))
    ]
    words = text(f"p50 {_view.seconds(p50)}, p95 {_view.seconds(p95)}, p99 {_view.seconds(p99)}")
    return svg(18, words, *bars)
