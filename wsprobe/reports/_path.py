"""The path as a line of hops, with the stretch that the verdict names marked, in plain text for every format."""

from collections.abc import Callable
from dataclasses import dataclass

from wsprobe.model import Finding, Observation, Report, Trace
from wsprobe.reports._text import shortened, visible

Span = tuple[str, str]
"""A piece of a line and what it is: hop, line, mark, or nothing for space."""

Line = list[Span]

UNOBSERVED = "?"
_FAR_ENDS = frozenset({"origin", "application"})
_LONGEST_ARROW, _SHORTEST_ARROW = 13, 6
_MOST_STATIONS = 24


@dataclass(frozen=True, slots=True)
class Route:
    """What there is to draw: the stations, None for an end that was not observed, and where the mark stands.

    The mark lies between the stations `begin` and `end`, or on one of them where both are the same.
    """

    stations: tuple[str | None, ...]
    begin: int | None = None
    end: int | None = None
    sign: str = "✗"
    label: str = ""

    def marked(self, index: int) -> str:
        """The mark on the link behind a station: the sign, a doubt where the segment has several, or nothing."""
        if self.begin is None or self.end is None or not self.begin <= index < self.end:
            return ""
        return self.sign if self.end - self.begin == 1 else "?"

    def dotted(self, index: int) -> bool:
        """Whether the link behind a station leads to or from an end that was not observed."""
        return None in self.stations[index : index + 2]


def draw(report: Report, width: int, measure: Callable[[str], int] = len) -> list[Line]:
    """The path in at most `width` columns: on one line where it fits, else one hop a line."""
    made = route(report, max(8, width // 3), measure)
    return _across(made, width, measure) or _down(made, width, measure)


def route(report: Report, room: int, measure: Callable[[str], int] = len) -> Route:
    """What there is to draw, with names of at most `room` columns."""
    names = [hop.name for hop in report.trace.hops]
    inner = [shortened(visible(name), room, measure) for name in names]
    first, last = _open_ends(report.trace.hops)
    if not _ordered(report.trace):  # nobody knows which is which: they share one station behind the client
        known = 0 if first else 1
        inner = [*inner[:known], f"({', '.join(inner[known:])}: order not known)"]
        names = [*names[:known], ""]
    stations = (*([None] if first else []), *inner, *([None] if last else []))
    places: list[str | None] = [*([None] if first else []), *names, *([None] if last else [])]
    verdict = report.verdict
    if verdict is None or verdict.segment is None:
        return Route(stations)
    begin = _place(places, verdict.segment[0], 0)
    end = _place(places, verdict.segment[1], len(places) - 1)
    if begin is None or end is None or begin > end:
        return Route(stations)
    return Route(stations, begin, end, _sign(verdict), shortened(visible(verdict.header or verdict.rule), 40, measure))


def _ordered(trace: Trace) -> bool:
    return trace.order is not None or len(trace.hops) < 2


def _open_ends(hops: tuple[Observation, ...]) -> tuple[bool, bool]:
    """Whether something unobserved lies before the first and behind the last hop."""
    if not hops:
        return True, True
    return hops[0].recorder.kind != "probe", hops[-1].recorder.kind not in _FAR_ENDS


def _place(places: list[str | None], name: str | None, end: int) -> int | None:
    if name is None:
        return end
    return places.index(name) if name in places else None


def _sign(verdict: Finding) -> str:
    return "≠" if verdict.rule.endswith(("-altered", "-rewritten", "-merged")) else "✗"


def _across(route: Route, width: int, measure: Callable[[str], int]) -> list[Line]:
    """One line, and below it what the mark means; empty where that does not fit."""
    names = [station or UNOBSERVED for station in route.stations]
    links = len(names) - 1
    room = width - sum(map(measure, names)) - 2 * links
    arrow = min(_LONGEST_ARROW, room // links) if links else _LONGEST_ARROW
    if arrow < _SHORTEST_ARROW or room < 0:
        return []
    line: Line = []
    column, starts = 0, []
    for index, name in enumerate(names):
        starts.append(column)
        line.append((name, "hop" if route.stations[index] else "line"))
        column += measure(name) + 1 + arrow + 1
        if index < links:
            line += [(" ", ""), *_arrow(route, index, arrow), (" ", "")]
    ends = [start + measure(name) for start, name in zip(starts, names, strict=True)]
    return [line, *_caption(route, starts, ends, width, measure)]


def _arrow(route: Route, index: int, size: int) -> Line:
    stroke = "┄" if route.dotted(index) else "─"
    sign = route.marked(index)
    before = (size - 1) // 2
    if not sign:
        return [(stroke * (size - 1) + "▶", "line")]
    return [(stroke * before, "line"), (sign, "mark"), (stroke * (size - 2 - before) + "▶", "line")]


def _caption(route: Route, starts: list[int], ends: list[int], width: int, measure: Callable[[str], int]) -> list[Line]:
    """The label under the mark: in the middle of its arrows, or at the hop itself."""
    if route.begin is None or route.end is None:
        return []
    text = f"{route.sign} {route.label}" if route.begin == route.end else route.label
    middle = starts[route.begin] * 2 + measure(text)
    if route.begin != route.end:
        middle = ends[route.begin] + starts[route.end] - 1
    at = max(0, min((middle - measure(text) + 1) // 2, width - measure(text)))
    return [[(" " * at, ""), (text, "mark")]]


def _down(route: Route, width: int, measure: Callable[[str], int]) -> list[Line]:
    lines: list[Line] = []
    for index, station in enumerate(route.stations):
        if lines:
            lines.append(_link_down(route, index - 1, width, measure))
        lines.append([(shortened(station or UNOBSERVED, width, measure), "hop" if station else "line")])
        if index == route.begin == route.end:
            lines.append([(f"{route.sign} {route.label}", "mark")])
    if len(route.stations) <= _MOST_STATIONS:
        return lines
    left_out = f"… {len(route.stations) - _MOST_STATIONS} hops are not shown …"
    return [*lines[:_MOST_STATIONS], [(left_out, "line")], *lines[-_MOST_STATIONS:]]


def _link_down(route: Route, index: int, width: int, measure: Callable[[str], int]) -> Line:
    sign = route.marked(index)
    if not sign:
        return [("┊" if route.dotted(index) else "│", "line")]
    label = route.label if index + 1 == route.end else ""
    return [(f"{sign} {shortened(label, width - 2, measure)}".rstrip(), "mark")]
