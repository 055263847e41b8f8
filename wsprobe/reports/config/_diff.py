"""A prediction as a diff of the request, with the line that causes each edit beside it."""

from collections.abc import Iterator

from wsprobe.inspection import Change, HeaderEdit, Prediction
from wsprobe.reports.config._page import Page, Span, cells, fitted
from wsprobe.reports.config._words import CHANGES, at, duration


def prediction(page: Page, one: Prediction) -> None:
    """The request as the upstream receives it: what was added, removed and changed on the way, and by which line."""
    _head(page, one)
    if one.request:
        page.add(("    ", ""), (fitted(one.request.start_line, page.width - 4), "bold"))
        for name, value in one.request.headers:
            _header(page, name, value, [edit for edit in one.edits if _result(edit).lower() == name.lower()])
    for edit in _gone(one):
        _line(page, CHANGES[Change.REMOVED], f"{edit.name}: {edit.before}", edit)
    for timeout in one.timeouts:
        page.told([("    ", "")], duration(timeout), "", at(timeout.place, "default"))
        if timeout.ends and timeout.seconds is not None:
            page.wrapped(timeout.ends, 6, "dim")
    for unknown in one.unknown:
        page.told([("  ? ", "warning")], f"{unknown.what}: not known, {unknown.why}", "", at(unknown.place, ""))
    for assumed in one.assumed:
        page.add(("    ", ""), (fitted(f"assumed: {assumed}", page.width - 4), "dim"))


def _head(page: Page, one: Prediction) -> None:
    what = {True: ("→ reaches the upstream", "good"), None: ("? may reach the upstream", "warning")}
    answered = f"answered with {one.status} by the proxy" if one.status else "does not reach the upstream"
    said = what.get(one.reached, (f"✗ {answered}", "error"))
    where = " of ".join(part for part in (one.route, one.config) if part) or "no route"
    page.beside(
        [said, ("  ", ""), (fitted(where, page.width - cells(said[0]) - 24), "bold")], at(one.place, ""), under=2
    )
    if one.why and one.reached is not True:
        page.wrapped(one.why, 4)


def _header(page: Page, name: str, value: str, edits: list[HeaderEdit]) -> None:
    if not edits:
        page.add(("    ", ""), (fitted(f"{name}: {value}", page.width - 4), ""))
        return
    first, last = edits[0], edits[-1]
    if first.kind is Change.RENAMED:
        _line(page, CHANGES[Change.RENAMED], f"{first.name} → {name}: {value}", last)
    elif first.before is None:
        _line(page, CHANGES[Change.ADDED], f"{name}: {value}", last)
    else:
        _line(page, CHANGES[Change.CHANGED], f"{name}: {first.before} → {value}", last)


def _line(page: Page, sign: Span, text: str, edit: HeaderEdit) -> None:
    cause = at(edit.place, "default")
    written = edit.place.text if edit.place else ""
    page.beside([(f"  {sign[0]} ", sign[1]), (fitted(text, page.width - cells(cause[0]) - 6), sign[1])], cause, under=6)
    if written:
        page.add(("      ", ""), (fitted(written, page.width - 6), "dim"))


def _gone(one: Prediction) -> Iterator[HeaderEdit]:
    """What was removed for good, each once."""
    there = {name.lower() for name, _ in one.request.headers} if one.request else set()
    last = {edit.name.lower(): edit for edit in one.edits if edit.kind is Change.REMOVED}
    yield from (edit for name, edit in last.items() if name not in there)


def _result(edit: HeaderEdit) -> str:
    """The name that a header has after an edit."""
    return edit.after or "" if edit.kind is Change.RENAMED else edit.name
