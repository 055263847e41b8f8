"""HTML that is safe by construction: text is escaped unless a function of this file made it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

from wsprobe.model import Report
from wsprobe.reports import _view
from wsprobe.reports._text import shortened, visible

_CODE = re.compile("`([^`]+)`")


class Html(str):
    """Markup. Any other text is text."""

    __slots__ = ()


NOTHING = Html("")


def text(value: str) -> Html:
    """A text as it is shown, whatever stands in it."""
    return value if isinstance(value, Html) else Html(escape(visible(value)))


def joined(parts: Iterable[str]) -> Html:
    """Parts one after another."""
    return Html("".join(map(text, parts)))


def tag(name: str, *children: str, **attributes: str | bool | None) -> Html:
    """An element that holds the children.

    An attribute is left out where it is None or False; `class_` is written without its underscore, others with a dash.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


def icon(name: str) -> Html:
    """One of the page's symbols; what it means stands beside it in words."""
    return Html(f'<svg class="i {name}" aria-hidden="true"><use href="#i-{name}"/></svg>')


def hidden(words: str) -> Html:
    """Words for those who hear the page."""
    return tag("span", words, class_="vh")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is shown: characters of one text, items of a list, rows of the matrix."""

    characters: int
    items: int
    rows: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """One report on a page: how much of it is shown, what its anchors begin with, and the level of its headings."""

    report: Report
    size: Size
    prefix: str = ""
    level: int = 2
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    """The number of each row of the matrix by message and name in lower case."""

    def anchor(self, name: str) -> str:
        """An id on the page."""
        return f"{self.prefix}{name}"

    def said(self, value: str) -> Html:
        """A text, its beginning and end where it is too long."""
        return text(shortened(visible(value), self.size.characters))

    def prose(self, value: str) -> Html:
        """A sentence of ours; what it gives in backticks is code."""
        parts = _CODE.split(shortened(visible(value), self.size.characters))
        return joined(tag("code", part) if number % 2 else part for number, part in enumerate(parts))

    def code(self, value: str) -> Html:
        """A text as code; nothing for no text."""
        return tag("code", self.said(value)) if value else NOTHING

    def heading(self, words: str, below: int = 0) -> Html:
        """A heading, `below` levels under those of the sections."""
        return tag(f"h{self.level + below}", words)

    def section(self, name: str, title: str, *content: str) -> Html:
        """A part of the report under its heading; nothing where it has no content."""
        if not any(content):
            return NOTHING
        return tag("section", self.heading(title), *content, id=self.anchor(name), class_=name)

    def listed(self, items: Iterable[str], class_: str | None = None) -> Html:
        """A list; nothing where it is empty."""
        every = list(items)
        lines = [tag("li", item if isinstance(item, Html) else self.prose(item)) for item in every[: self.size.items]]
        if len(every) > len(lines):
            lines.append(tag("li", f"and {len(every) - len(lines)} more, which the JSON report has", class_="more"))
        return tag("ul", *lines, class_=class_) if lines else NOTHING

    def titled(self, title: str, items: Iterable[str]) -> Html:
        """A list under a title of its own; nothing where it is empty."""
        lines = self.listed(items)
        return joined((tag("h5" if self.level > 2 else "h4", title), lines)) if lines else NOTHING

    def table(self, heads: Iterable[str], rows: Iterable[Iterable[str]], caption: str) -> Html:
        """A table of which the first cell of each row is its head; nothing where it has no row."""
        every = [list(row) for row in rows]
        if not every:
            return NOTHING
        names = list(heads)
        lines = [
            tag("tr", tag("th", row[0], scope="row", role="rowheader"), *map(_cell, row[1:], names[1:]), role="row")
            for row in every[: self.size.rows]
        ]
        head = tag("tr", *(tag("th", name, scope="col", role="columnheader") for name in names), role="row")
        more = len(every) - len(lines)
        return joined(
            (
                tag(
                    "table",
                    tag("caption", hidden(caption)),
                    tag("thead", head, role="rowgroup"),
                    tag("tbody", *lines, role="rowgroup"),
                    class_="plain",
                    role="table",
                ),
                tag("p", f"{more} more rows are in the JSON report.", class_="more") if more > 0 else NOTHING,
            )
        )

    def commands(self, title: str, commands: Iterable[str]) -> Html:
        """Commands to be copied, each below its comment."""
        lines = []
        for command in list(commands)[: self.size.items]:
            words, comment = _view.split_comment(shortened(visible(command), self.size.characters))
            lines += [tag("span", f"# {comment}", class_="dim"), Html("\n")] if comment else []
            lines += [text(" ".join(words)), Html("\n")]
        if not lines:
            return NOTHING
        return joined((tag("h5" if self.level > 2 else "h4", title), tag("pre", tag("code", *lines[:-1]))))


def _cell(content: str, head: str) -> Html:
    return tag("td", content, data_head=head, role="cell")
