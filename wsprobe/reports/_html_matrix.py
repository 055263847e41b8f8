"""The matrix of an HTML report: headers by hops, each state by shape, word and colour, changed values side by side."""

from collections.abc import Iterator
from itertools import takewhile

from wsprobe.model import Cell, Report, Row, State
from wsprobe.reports import _view
from wsprobe.reports._html_write import NOTHING, Html, Sheet, hidden, icon, joined, tag, text
from wsprobe.reports._text import shortened, visible

ICONS = {
    State.PRESENT: "present",
    State.ABSENT: "absent",
    State.ALTERED: "altered",
    State.UNCOMPARED: "uncompared",
    State.UNOBSERVED: "unobserved",
}
_TITLES = {"request": "Request", "response": "Response"}


def ordered(report: Report) -> list[Row]:
    """The rows as they are shown: the most telling first."""
    matrix = _view.matrix(report)
    return [*matrix.rows, *matrix.quiet]


def numbers(rows: list[Row]) -> dict[tuple[str, str], int]:
    """The number of each row by message and name, for links to it."""
    return {(row.message, row.name.lower()): number for number, row in reversed(list(enumerate(rows)))}


def matrix(sheet: Sheet) -> Html:
    """The table with its filters and what its signs mean."""
    rows = ordered(sheet.report)
    hops = sheet.report.trace.hops[: sheet.size.items]
    if not rows or not hops:
        return NOTHING
    shown = list(enumerate(rows))[: sheet.size.rows]
    heads = [tag("th", "header", scope="col", role="columnheader")]
    heads += [tag("th", sheet.said(hop.name), scope="col", role="columnheader") for hop in hops]
    names = [shortened(visible(hop.name), 40) for hop in hops]
    bodies = [_body(sheet, kind, [one for one in shown if one[1].message == kind], names) for kind in _kinds(rows)]
    table = tag(
        "table",
        tag("caption", hidden("Headers by hops")),
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        *bodies,
        class_=f"matrix {_width(len(hops))}",
        role="table",
    )
    more = len(rows) - len(shown)
    rest = tag("p", f"{more} more headers are in the JSON report.", class_="more") if more else NOTHING
    return sheet.section("headers", "Headers", _filters(sheet, len(shown)), table, rest, _legend(rows))


def _kinds(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row.message for row in rows))


def _width(hops: int) -> str:
    """How wide the page must be for columns; where it is not, each header becomes a block."""
    return "few" if hops <= 3 else "some" if hops <= 5 else "many" if hops <= 8 else "blocks"


def _filters(sheet: Sheet, rows: int) -> Html:
    name, differs = sheet.anchor("filter-name"), sheet.anchor("filter-differs")
    field = '<input type="search" id="{}" autocomplete="off" spellcheck="false" placeholder="name">'
    box = '<input type="checkbox" id="{}" autocomplete="off">'
    return tag(
        "form",
        tag("label", "Header ", Html(field.format(name)), for_=name),
        tag("label", Html(box.format(differs)), " only what differs", for_=differs),
        tag("output", f"{rows} headers", for_=f"{name} {differs}"),
        class_="filters",
        role="search",
        aria_label="Filter the headers",
        hidden=True,
    )


def _body(sheet: Sheet, kind: str, rows: list[tuple[int, Row]], names: list[str]) -> Html:
    title = tag("th", _TITLES.get(kind, kind), scope="rowgroup", colspan=str(len(names) + 1), role="rowheader")
    lines = [_row(sheet, number, row, names) for number, row in rows]
    return tag("tbody", tag("tr", title, class_="group", role="row"), *lines, role="rowgroup") if lines else NOTHING


def differs(row: Row) -> bool:
    """Whether a header is not the same at every hop that saw the message."""
    states = {cell.state for cell in row.cells}
    values = {cell.value for cell in row.cells if cell.value is not None}
    return bool(states & {State.ABSENT, State.ALTERED}) or len(values) > 1


def _row(sheet: Sheet, number: int, row: Row, names: list[str]) -> Html:
    note = tag("small", sheet.said(row.note), class_="note") if row.note else NOTHING
    head = tag("th", tag("span", sheet.said(row.name), class_="name"), note, scope="row", role="rowheader")
    cells = _view.cells(row, len(sheet.report.trace.hops))[: len(names)]
    backwards = row.message == "response"  # it went the other way
    shown = list(_cells(cells[::-1] if backwards else cells, sheet.size.characters))
    columns = [
        tag("td", content, id=sheet.anchor(f"c{number}-{at}"), class_=state, data_head=name, role="cell")
        for at, (name, (state, content)) in enumerate(
            zip(names, shown[::-1] if backwards else shown, strict=True),
        )
    ]
    return tag(
        "tr",
        head,
        *columns,
        class_="allowed" if row.note else None,
        data_name=shortened(visible(row.name), sheet.size.characters).lower(),
        data_differs=differs(row),
        role="row",
    )


def _cells(cells: list[Cell], room: int) -> Iterator[tuple[str, Html]]:
    """The cells in the direction in which the message went, each compared with the one before."""
    last: str | None = None
    for cell in cells:
        name = ICONS[cell.state]
        if cell.value is None:
            yield name, joined((icon(name), tag("span", cell.state.value, class_="word")))
            continue
        if cell.value == last and cell.state is State.PRESENT:
            word, value = hidden(f"{cell.state.value}, "), tag("span", "same", class_="dim")
        else:
            plain = cell.state is State.PRESENT
            word = hidden(cell.state.value) if plain else tag("span", cell.state.value, class_="word")
            value = tag("code", _marked(last or "", cell.value, room) if last else _cut(cell.value, room))
        yield name, joined((icon(name), word, " ", value))
        last = cell.value


def _cut(value: str, room: int) -> Html:
    return text(shortened(visible(value), room))


def _marked(before: str, after: str, room: int) -> Html:
    """A value with the part marked that is not that of the hop before."""
    before, after = (shortened(visible(value), room) for value in (before, after))
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    rest = zip(reversed(before[start:]), reversed(after[start:]), strict=False)
    end = len(after) - sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], rest))
    middle = tag("mark", after[start:end]) if end > start else tag("mark", hidden("something is missing here"))
    return joined((after[:start], middle, after[end:]))


def _legend(rows: list[Row]) -> Html:
    states = {cell.state for row in rows for cell in row.cells}
    return tag(
        "p",
        *(tag("span", icon(name), f" {state.value}") for state, name in ICONS.items() if state in states),
        class_="legend",
    )
