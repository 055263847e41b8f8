"""HTML: one file that opens from disk, with the style of reports; both sides, and what is otherwise between them."""

from collections.abc import Sequence

from wsprobe.comparison import Comparison
from wsprobe.reports._html_document import document
from wsprobe.reports._html_write import Html, hidden, icon, joined, tag
from wsprobe.reports._text import shortened, visible
from wsprobe.reports.comparison._view import SIGNS, Cell, Section, sections

NAME = "html"
SUFFIXES = (".html",)

_MOST, _LONGEST = 1000, 1000
_CLASSES = {
    "✓": ("present", "well"),
    "?": ("uncompared", "warning"),
    "≠": ("warning", "warning"),
    "✗": ("bad", "error"),
}
_SIGNS = {"✓": "present", "?": "uncompared", "✗": "bad", "·": "note"}


def render(comparison: Comparison) -> str:
    """A comparison as one page; of a section with very many rows the JSON report has the rest."""
    sign, class_ = _CLASSES[SIGNS[comparison.outcome]]
    line = tag("p", icon(sign), tag("strong", _said(comparison.line, 10 * _LONGEST)), class_="title")
    title = f"Comparison: {comparison.outcome.value}"
    body = [
        tag("header", tag("h1", title), tag("p", f"wsprobe {visible(comparison.version)}", class_="hint")),
        tag("section", line, class_=f"verdict {class_}", id="verdict"),
        *(_section(each) for each in sections(comparison)),
    ]
    return document(joined(body), title)


def _section(section: Section) -> Html:
    rows = section.rows[:_MOST]
    more = len(section.rows) - len(rows)
    shown = _table(section, rows) if section.heads else tag("ul", *(tag("li", _shown(row[0])) for row in rows))
    rest = [tag("p", f"{more} more are in the JSON report.", class_="more")] if more > 0 else []
    return tag("section", tag("h2", section.title.capitalize()), shown, *rest, id=section.title.replace(" ", "-"))


def _table(section: Section, rows: Sequence[tuple[Cell, ...]]) -> Html:
    heads = tag("tr", *(tag("th", name, scope="col", role="columnheader") for name in section.heads), role="row")
    lines = [
        tag(
            "tr",
            tag("th", _shown(row[0]), scope="row", role="rowheader"),
            *(
                tag("td", _shown(each), role="cell", data_head=head)
                for each, head in zip(row[1:], section.heads[1:], strict=True)
            ),
            role="row",
        )
        for row in rows
    ]
    return tag(
        "table",
        tag("caption", hidden(section.title)),
        tag("thead", heads, role="rowgroup"),
        tag("tbody", *lines, role="rowgroup"),
        class_="plain",
        role="table",
    )


def _shown(each: Cell) -> Html:
    said = _said(each.text, _LONGEST)
    shown = tag("code", said) if each.code and said else said
    return joined((icon(_SIGNS[each.sign]), " ", shown)) if each.sign else shown


def _said(text: str, room: int) -> Html:
    return joined((shortened(visible(text), room),))
