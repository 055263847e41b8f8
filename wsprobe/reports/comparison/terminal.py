"""The terminal: the verdict line, both sides, and what is otherwise between them.

Nothing of the traffic is markup here: every text is escaped by `visible` before it is shown.
"""

from wsprobe.comparison import Comparison
from wsprobe.reports.comparison._view import SIGNS, Cell, Section, sections
from wsprobe.reports.config._page import Page, Span, cells, fitted

NAME = "terminal"
SUFFIXES = (".txt",)

_STYLES = {"✓": "good", "?": "warning", "≠": "warning", "✗": "error"}
_MOST, _LONGEST = 40, 600


def render(comparison: Comparison, *, width: int = 100, colour: bool = False) -> str:
    """A comparison in `width` columns (60 to 160); without `colour` it holds no escape sequence at all."""
    page = Page(width, colour=colour)
    sign = SIGNS[comparison.outcome]
    page.wrapped(fitted(comparison.line, 10 * _LONGEST), 2, "bold", (sign, _STYLES[sign]))
    for section in sections(comparison):
        page.blank()
        page.add((section.title, "bold"))
        _table(page, section)
    return page.printed()


def _table(page: Page, section: Section) -> None:
    """Columns as wide as their longest text, and a last one that wraps beside them."""
    heads = [tuple(map(Cell, section.heads))] if section.heads else []
    texts = [[fitted(_signed(each), _LONGEST) for each in row] for row in (*heads, *section.rows[:_MOST])]
    widths = _widths([max(cells(row[at]) for row in texts) for at in range(len(texts[0]))], page.width - 4)
    for number, row in enumerate(texts):
        style = "dim" if number < len(heads) else ""
        lead: list[Span] = [("  ", "")]
        for text, column in zip(row[:-1], widths, strict=False):
            short = fitted(text, column)
            lead.append((short + " " * (column - cells(short) + 2), style or _STYLES.get(text[:1], "")))
        page.told(lead, row[-1], style, ("", ""))
    if len(section.rows) > _MOST:
        page.add((f"  and {len(section.rows) - _MOST} more: --format json has them all", "dim"))


def _widths(longest: list[int], room: int) -> list[int]:
    """The widths of the columns but the last, which keeps a third of the room; the widest give way first."""
    widths = longest[:-1]
    room -= 2 * len(widths) + min(longest[-1], room // 3)
    while sum(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def _signed(each: Cell) -> str:
    return f"{each.sign} {each.text}" if each.sign else each.text
