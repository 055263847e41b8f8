"""The terminal: per file a tree of its routes, the findings at their lines, and the request that was asked about.

Nothing of a config is markup here: every text is escaped by `visible` before it is shown.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from wsprobe.credentials import is_secret_name
from wsprobe.inspection import (
    Change,
    ConfigFinding,
    ConfigView,
    Handling,
    HeaderEdit,
    Inspection,
    RouteView,
    Timeout,
    Timer,
    Unknown,
)
from wsprobe.parts import Line, Severity
from wsprobe.reports.config._page import Page, Span, cells, fitted
from wsprobe.reports.config._words import CHANGES, at, duration

NAME = "terminal"
SUFFIXES = (".txt",)

_MOST_ROUTES, _MOST_EDITS, _MOST_LINES = 40, 12, 4
_BEFORE = 16  # characters of a long line that stand before the place that is meant
_SIGNS = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.NOTE: "·"}
_HANDLINGS: dict[Handling, Span] = {
    Handling.PASSED: ("✓ passed on", "good"),
    Handling.DROPPED: ("· dropped", "dim"),  # what is wrong with that is for the rules to say
    Handling.REFUSED: ("✗ refused", "error"),
    Handling.ANSWERED: ("· answered by the proxy", "dim"),
    Handling.HANGS: ("✗ hangs", "error"),
    Handling.UNKNOWN: ("? unknown", "warning"),
}
_Told = tuple[str, Span, str, Line | None]
"""A text, the sign before it, its style, and the line that says it."""

_NO_SIGN: Span = (" ", "")
_TELLING = frozenset({"host", "upgrade", "connection", "origin"})


def render(inspection: Inspection, *, width: int = 100, colour: bool = False) -> str:
    """An inspection in `width` columns (60 to 160); without `colour` it holds no escape sequence at all."""
    page = Page(width, colour=colour)
    left = list(inspection.findings)
    for config in inspection.configs:
        _config(page, config, inspection)
        own = [finding for finding in left if finding.place.path in config.files]
        left = [finding for finding in left if finding.place.path not in config.files]
        _findings(page, own)
    _findings(page, left)
    _silenced(page, inspection)
    if inspection.prediction:
        from wsprobe.reports.config._diff import prediction

        page.blank()
        prediction(page, inspection.prediction)
    _problems(page, inspection)
    page.blank()
    bad = inspection.status == 2 or any(one.severity is Severity.ERROR for one in inspection.findings)
    sign = ("✗", "error") if bad else ("✓", "good") if inspection.configs else ("!", "warning")
    page.wrapped(inspection.summary, 2, "bold", sign)
    return page.printed()


# The routes.


def _config(page: Page, config: ConfigView, inspection: Inspection) -> None:
    page.blank()
    told = f" assumed: --lb-version {config.kind}=VERSION says another" if config.assumed else ""
    files = f", {len(config.files)} files" if len(config.files) > 1 else ""
    read_as = fitted(f"{config.kind} {config.version}{files}{told}", page.width - 2)
    page.beside([(fitted(config.path, page.width), "bold")], (read_as, "dim"), under=2)
    routes = [route for route in inspection.routes if route.config == config.path]
    for listener, group in groupby(routes[:_MOST_ROUTES], lambda route: route.listener):
        _listener(page, listener, list(group))
    if len(routes) > _MOST_ROUTES:
        page.add(("  ", ""), (f"and {len(routes) - _MOST_ROUTES} more routes: --format json has them all", "dim"))
    if not routes:
        page.add(("  no route", "dim"))
    _unread(page, config, [one for one in inspection.unread if one.place is None or one.place.path in config.files])


def _listener(page: Page, listener: str, routes: list[RouteView]) -> None:
    """A listener with its routes; what all that lead somewhere have alike is told once."""
    page.add(("  ", ""), (fitted(listener, page.width - 2), ""))
    told = {id(route): list(_told(route)) for route in routes}
    leading = [told[id(route)] for route in routes if route.upstream and route.upgrade is not Handling.REFUSED]
    alike = [one for one in leading[0] if all(one in each for each in leading)] if len(leading) > 1 else []
    for one in alike:
        _tell(page, one, "  │ ", routes[0].config)
    for route in routes:
        own = [one for one in told[id(route)] if not route.upstream or one not in alike]
        _route(page, route, own, last=route is routes[-1])


def _route(page: Page, route: RouteView, told: list[_Told], *, last: bool) -> None:
    sign = _HANDLINGS[route.upgrade]
    room = page.width - 5 - cells(sign[0]) - 2
    upstream = f" → {route.upstream}" if route.upstream else ""
    match = fitted(route.match, max(room - cells(upstream), room // 2))
    to = fitted(upstream, room - cells(match)) if upstream else ""
    page.beside([("  └─ " if last else "  ├─ ", "dim"), (match, "bold"), (to, "")], sign, under=5)
    for one in told:
        _tell(page, one, "    " if last else "  │ ", route.config)


def _tell(page: Page, told: _Told, stem: str, config: str) -> None:
    text, sign, style, place = told
    page.told([(stem, "dim"), (f"  {sign[0]} ", sign[1])], text, style, at(place, "default", config))


def _told(route: RouteView) -> Iterator[_Told]:
    """What lines of the config do, and of the proxy's own doing what matters to a WebSocket."""
    edits = [one for one in route.edits if one.place or one.name.lower() in _TELLING or is_secret_name(one.name)]
    for edit in edits[:_MOST_EDITS]:
        yield _edit(edit), CHANGES[edit.kind], "", edit.place
    if len(edits) > _MOST_EDITS:
        yield f"and {len(edits) - _MOST_EDITS} more edits: --format json has them all", _NO_SIGN, "dim", None
    for unknown in route.unknown:
        if unknown.place:
            yield f"{unknown.what}: {unknown.why}", ("?", "warning"), "", unknown.place
    yield from _timers(route.timeouts)
    for remark in (*route.auth, *(limit for limit in route.limits if limit.place)):
        yield remark.text, _NO_SIGN, "", remark.place
    for note in route.notes:
        yield note, _NO_SIGN, "dim", route.place
    rest = [one.what for one in route.unknown if one.place is None]
    if rest:
        yield f"not known here: {', '.join(rest)}", ("?", "warning"), "dim", None


def _timers(timeouts: Sequence[Timeout]) -> Iterator[_Told]:
    """What ends a connection, the shortest wait for an answer, and lines that look like a timer and are none."""
    ending = [one for one in timeouts if one.applies and one.kind is not Timer.HANDSHAKE and one.seconds is not None]
    waits = [one for one in timeouts if one.applies and one.kind is Timer.HANDSHAKE and one.seconds and one.place]
    idle = [one for one in timeouts if not one.applies and one.place]
    for timeout in (*ending, *sorted(waits, key=lambda one: one.seconds or 0)[:1], *idle):
        yield duration(timeout), _NO_SIGN, "" if timeout.applies else "dim", timeout.place


def _edit(edit: HeaderEdit) -> str:
    match edit.kind:
        case Change.REMOVED:
            return edit.name
        case Change.RENAMED:
            return f"{edit.name} → {edit.after}"
        case Change.MERGED:
            return f"{edit.name}: its lines become one"
    return f"{edit.name}: {edit.after}"


def _unread(page: Page, config: ConfigView, unread: Sequence[Unknown]) -> None:
    for one in unread[:_MOST_EDITS]:
        page.told(
            [("  ? ", "warning")], f"not understood: {one.what}: {one.why}", "dim", at(one.place, "", config.path)
        )
    if len(unread) > _MOST_EDITS:
        page.add((f"  and {len(unread) - _MOST_EDITS} more that were not understood", "dim"))


# The findings.


def _findings(page: Page, findings: Sequence[ConfigFinding]) -> None:
    for finding in findings:
        page.blank()
        _finding(page, finding)


def _finding(page: Page, finding: ConfigFinding) -> None:
    style = finding.severity.value
    place = finding.place
    where = fitted(f"{place.path}:{place.line}:{place.column}", page.width - 30)
    page.add((f"{_SIGNS[finding.severity]} {finding.rule}", style), ("  ", ""), (where, "place"))
    lines = [place, *finding.related[:_MOST_LINES]]
    gutter = max(len(str(line.line)) for line in lines) + 2
    for line in sorted(lines, key=lambda line: (line.path != place.path, line.path, line.line)):
        _excerpt(page, line, gutter, ("^", style) if line is place else ("-", "dim"), place.path)
    page.wrapped(finding.message, gutter)
    if finding.fix:
        page.wrapped(finding.fix, gutter + 5, "", (f"{' ' * gutter}fix", "good"))
    if finding.url:
        page.add((" " * gutter, ""), ("see  ", "dim"), (fitted(finding.url, 200), "dim"))


def _excerpt(page: Page, line: Line, gutter: int, mark: Span, path: str) -> None:
    """The line of the config, with marks under the place that is meant."""
    if line.path != path:
        page.add((" " * gutter, ""), (fitted(line.path, page.width - gutter), "place"))
    room = page.width - gutter - 2
    # Signs that do not print take more columns than they are: where they stand before the place, it moves with them.
    text, start = _around(line.text, max(0, line.column - 1 - line.indent), line.length, room)
    before, meant = text[:start], text[start:]
    meant = meant[: line.length] if line.length else meant
    page.add((str(line.line).rjust(gutter - 1), "dim"), (" │ ", "dim"), (fitted(text, room), ""))
    from_, long = cells(fitted(before, len(before) * 10 + 1)), cells(fitted(meant, len(meant) * 10 + 1))
    if from_ < room:
        marks = mark[0] * max(1, min(long, room - from_))
        page.add((" " * gutter, ""), ("│ ", "dim"), (" " * from_, ""), (marks, mark[1]))


def _around(text: str, start: int, length: int, room: int) -> tuple[str, int]:
    """As much of a line as there is room for, with the place in it, and where that begins then."""
    if len(text) <= room:
        return text, start
    shown = min(length or len(text) - start, room - _BEFORE - 2)
    begin = max(0, min(start - _BEFORE, len(text) - room + 1)) if start + shown >= room else 0
    if begin:
        text, start = f"…{text[begin:]}", start - begin + 1
    return (text if len(text) <= room else f"{text[: room - 1]}…"), start


def _silenced(page: Page, inspection: Inspection) -> None:
    if not inspection.silenced:
        return
    page.blank()
    for one in inspection.silenced:
        where = f"{one.finding.place.path}:{one.finding.place.line}"
        text = f"{one.finding.rule} silenced: {one.reason}"
        page.beside([("· ", "dim"), (fitted(text, page.width - cells(where) - 4), "dim")], (where, "place"), under=2)


def _problems(page: Page, inspection: Inspection) -> None:
    if not inspection.problems:
        return
    page.blank()
    for problem in inspection.problems:
        where = ":".join(str(part) for part in (problem.path, problem.line, problem.column) if part)
        page.wrapped(f"{where}: {problem.message}", 2, "", ("✗", "error"))
