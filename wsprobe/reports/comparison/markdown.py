"""Markdown for the issue: the verdict line first, then what it rests on; nothing that the traffic wrote is live."""

from wsprobe.comparison import Comparison
from wsprobe.reports._text import shortened, visible
from wsprobe.reports.comparison._view import SIGNS, Cell, Section, sections
from wsprobe.reports.markdown import LONGEST, cell, code, inert

NAME = "markdown"
SUFFIXES = (".md",)

_FOLDED = frozenset({"times", "not compared", "withheld"})
_SIZES = ((200, 600), (100, 300), (40, 200), (15, 120), (5, 60))
"""Rows of a table and characters of a text: the first that fits into an issue is taken, and the last always does."""


def render(comparison: Comparison, *, room: int = LONGEST) -> str:
    """A comparison in at most 60,000 characters: where it is longer, rows are left out, and that is said.

    `room` is less where something of another's stands beside it.
    """
    text = ""
    for rows, characters in _SIZES:
        text = _page(comparison, rows, characters)
        if len(text) <= room:
            break
    return text


def _page(comparison: Comparison, rows: int, characters: int) -> str:
    line = _prose(comparison.line, 10 * characters)
    parts = [f"{SIGNS[comparison.outcome]} **{line}**" if line else SIGNS[comparison.outcome]]
    for section in sections(comparison):
        table = _table(section, rows, characters)
        title = section.title.capitalize()
        if section.title in _FOLDED:
            parts.append(f"<details><summary>{title}</summary>\n\n{table}\n\n</details>")
        else:
            parts.append(f"**{title}**\n\n{table}")
    parts.append(
        f"<sub>wsprobe diff, {inert(comparison.version)}; chance by Fisher's exact test; differences of times "
        "by Hodges and Lehmann, with the interval of the Mann-Whitney test</sub>"
    )
    return "\n\n".join(parts) + "\n"


def _table(section: Section, rows: int, characters: int) -> str:
    if not section.heads:
        lines = [f"- {_shown(row[0], characters)}" for row in section.rows[:rows]]
    else:
        told = [section.heads, ["---"] * len(section.heads)]
        told += [[_shown(each, characters) for each in row] for row in section.rows[:rows]]
        lines = [f"| {' | '.join(map(cell, line))} |" for line in told]
    more = len(section.rows) - rows
    return "\n".join(lines) + (f"\n\n{more} more are in the JSON report." if more > 0 else "")


def _shown(each: Cell, characters: int) -> str:
    text = code(shortened(visible(each.text), characters)) if each.code else _prose(each.text, characters)
    return f"{each.sign} {text}" if each.sign else text


def _prose(text: str, characters: int) -> str:
    """A sentence; a percent sign that stands alone names no milestone, and is let through."""
    return " % ".join(map(inert, shortened(visible(text), characters).split(" % ")))
