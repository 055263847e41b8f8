"""The terminal: per file a tree of its routes, the findings at their lines, and the request that was asked about.

Nothing of a config is markup here: every text is escaped by `visible` before it is shown.
"""

from collections.abc import Sequence
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
    Unknown,
)
from wsprobe.parts import Line, Severity
from wsprobe.reports.config._diff import prediction
from wsprobe.reports.config._page import Page, Span, cells, fitted
from wsprobe.reports.config._words import CHANGES, at, duration

NAME = "terminal"
SUFFIXES = (".txt",)

_MOST_ROUTES, _MOST_EDITS, _MOST_LINES = 40, 12, 4
_SIGNS = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.NOTE: "·"}
_HANDLINGS: dict[Handling, Span] = {
    Handling.PASSED: ("✓ passed on", "good"),
    Handling.DROPPED: ("✗ dropped", "error"),
    Handling.REFUSED: ("✗ refused", "error"),
    Handling.ANSWERED: ("· answered by the proxy", "dim"),
    Handling.HANGS: ("✗ hangs", "error"),
    Handling.UNKNOWN: ("? unknown", "warning"),
}
_TELLING = frozenset({"host", "upgrade", "connection", "origin"})


def render(inspection: Inspection, *, width: int = 100, colour: bool = False) -> str:
    """An inspection in `width` columns (60 to 160); without `colour` it holds no escape sequence at all."""
    page = Page(width, colour=colour)
    for config in inspection.configs:
        _config(page, config, inspection)
    for finding in inspection.findings:
        page.blank()
        _finding(page, finding)
    _silenced(page, inspection)
    if inspection.prediction:
        page.blank()
        prediction(page, inspection.prediction)
    _problems(page, inspection)
    page.blank()
    bad = bool(inspection.problems) or any(one.severity is Severity.ERROR for one in inspection.findings)
    page.wrapped(inspection.summary, 2, "bold", ("✗", "error") if bad else ("✓", "good"))
    return page.printed()


# The routes.


def _config(page: Page, config: ConfigView, inspection: Inspection) -> None:
    page.blank()
    told = f" assumed: --lb-version {config.kind}=VERSION says another" if config.assumed else ""
    files = f", {len(config.files)} files" if len(config.files) > 1 else ""
    name = fitted(config.path, page.width)
    page.beside([(name, "bold")], (f"{config.kind} {fitted(config.version, 20)}{told}{files}", "dim"), under=2)
    routes = [route for route in inspection.routes if route.config == config.path]
    for listener, group in groupby(routes[:_MOST_ROUTES], lambda route: route.listener):
        page.add(("  ", ""), (fitted(listener, page.width - 2), ""))
        members = list(group)
        for route in members:
            _route(page, route, last=route is members[-1])
    if len(routes) > _MOST_ROUTES:
        page.add(("  ", ""), (f"and {len(routes) - _MOST_ROUTES} more routes: --format json has them all", "dim"))
    if not routes:
        page.add(("  no route", "dim"))
    _unread(page, [one for one in inspection.unread if one.place is None or one.place.path in config.files])


def _route(page: Page, route: RouteView, *, last: bool) -> None:
    stem = "    " if last else "  │ "
    sign = _HANDLINGS[route.upgrade]
    room = page.width - 5 - cells(sign[0]) - 2
    upstream = f" → {route.upstream}" if route.upstream else ""
    match = fitted(route.match, max(room - cells(upstream), room // 2))
    to = fitted(upstream, room - cells(match)) if upstream else ""
    page.beside([("  └─ " if last else "  ├─ ", "dim"), (match, "bold"), (to, "")], sign, under=5)
    for edit in _shown_edits(route):
        _edit(page, edit, stem)
    for timeout in route.timeouts:
        _timeout(page, timeout, stem)
    for word in (*route.auth, *route.limits):
        page.add((stem, "dim"), (f"    {fitted(word, page.width - 8)}", "dim"))
    for unknown in route.unknown:
        said = fitted(f"{unknown.what}: {unknown.why}", page.width - 10)
        page.beside([(stem, "dim"), ("  ? ", "warning"), (said, "")], at(unknown.place, ""), under=8)


def _shown_edits(route: RouteView) -> list[HeaderEdit]:
    """What lines of the config do, and of the proxy's own edits those of headers that matter to a handshake."""
    shown = [edit for edit in route.edits if edit.place or edit.name.lower() in _TELLING or is_secret_name(edit.name)]
    return shown[:_MOST_EDITS]


def _edit(page: Page, edit: HeaderEdit, stem: str) -> None:
    sign = CHANGES[edit.kind]
    place = at(edit.place, "default")
    room = page.width - cells(stem) - 6 - cells(place[0])
    text = {
        Change.ADDED: f"{edit.name}: {edit.after}",
        Change.REMOVED: edit.name,
        Change.RENAMED: f"{edit.name} → {edit.after}",
        Change.MERGED: f"{edit.name}: its lines are one",
    }.get(edit.kind, f"{edit.name}: {edit.after}")
    page.beside([(stem, "dim"), (f"  {sign[0]} ", sign[1]), (fitted(text, room), "")], place, under=8)


def _timeout(page: Page, timeout: Timeout, stem: str) -> None:
    place = at(timeout.place, "default")
    text = duration(timeout)
    room = page.width - cells(stem) - 6 - cells(place[0])
    style = "" if timeout.applies else "dim"
    page.beside([(stem, "dim"), ("    ", ""), (fitted(text, room), style)], place, under=8)


def _unread(page: Page, unread: Sequence[Unknown]) -> None:
    for one in unread[:_MOST_EDITS]:
        text = fitted(f"not understood: {one.what}: {one.why}", page.width - 22)
        page.beside([("  ? ", "warning"), (text, "dim")], at(one.place, ""), under=4)
    if len(unread) > _MOST_EDITS:
        page.add((f"  and {len(unread) - _MOST_EDITS} more that were not understood", "dim"))


# The findings.


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
    start = max(0, line.column - 1 - line.indent)
    before, meant = line.text[:start], line.text[start:]
    meant = meant[: line.length] if line.length else meant
    page.add((str(line.line).rjust(gutter - 1), "dim"), (" │ ", "dim"), (fitted(line.text, room), ""))
    from_, long = cells(fitted(before, len(before) * 10 + 1)), cells(fitted(meant, len(meant) * 10 + 1))
    if from_ < room:
        marks = mark[0] * max(1, min(long, room - from_))
        page.add((" " * gutter, ""), ("│ ", "dim"), (" " * from_, ""), (marks, mark[1]))


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
