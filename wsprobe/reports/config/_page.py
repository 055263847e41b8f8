"""A page for a terminal, drawn with plain ANSI: rich would cost more than the whole inspection of a small config."""

import unicodedata
from collections.abc import Iterable

from wsprobe.reports._text import shortened, visible

NARROWEST, WIDEST = 60, 160

STYLES = {
    "bold": "1",
    "dim": "2",
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "good": "32",
    "added": "32",
    "removed": "31",
    "changed": "33",
    "place": "36",
}

Span = tuple[str, str]
"""A text and its style, empty for none."""


def cells(text: str) -> int:
    """How many columns a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fitted(text: str, room: int) -> str:
    """A text from a config as one printable line of at most `room` columns."""
    return shortened(visible(text), max(room, 1), cells)


def _wrapped(text: str, room: int) -> list[str]:
    """A text from a config in lines of at most `room` columns."""
    shown = visible(text)
    if cells(shown) <= room:
        return [shown]
    import textwrap

    # Characters are what textwrap counts: as many as columns, or more, unless one of them is wide.
    narrow = not any(unicodedata.east_asian_width(character) in "WF" for character in shown)
    return textwrap.wrap(shown, room if narrow else room // 2, break_on_hyphens=False) or [""]


class Page:
    """Lines of at most `width` columns."""

    def __init__(self, width: int, *, colour: bool) -> None:
        self.width = max(NARROWEST, min(width, WIDEST))
        self._colour = colour
        self._lines: list[str] = []

    def blank(self) -> None:
        """One empty line before whatever comes next."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def add(self, *spans: Span) -> None:
        """One line that already fits."""
        self._lines.append("".join(self._painted(text, style) for text, style in spans).rstrip())

    def beside(self, left: Iterable[Span], right: Span, *, under: int, stem: Iterable[Span] = ()) -> None:
        """A line with something at its right edge, which stands on a line of its own where there is no room.

        That line begins with the stem, or with as many spaces as `under` says.
        """
        left = list(left)
        taken, wanted = sum(cells(text) for text, _ in left), cells(right[0])
        if taken + 2 + wanted <= self.width:
            self.add(*left, (" " * (self.width - taken - wanted), ""), right)
            return
        self.add(*left)
        if right[0]:
            self.add(*(stem or [(" " * under, "")]), right)

    def wrapped(self, text: str, indent: int, style: str = "", label: Span = ("", "")) -> None:
        """A text in as many lines as it takes, below each other; the label stands before the first."""
        lines = _wrapped(text, self.width - indent)
        for number, line in enumerate(lines):
            lead = label if number == 0 else ("", "")
            self.add(lead, (" " * (indent - cells(lead[0])), ""), (line, style))

    def told(self, lead: Iterable[Span], text: str, style: str, right: Span) -> None:
        """A text behind its lead, in as many lines as it takes, with something at the right edge of the last."""
        lead = list(lead)
        indent = sum(cells(part) for part, _ in lead)
        lines = _wrapped(text, max(20, self.width - indent))
        for line in lines[:-1]:
            self.add(*lead, (line, style))
            lead = self._below(lead)
        self.beside([*lead, (lines[-1], style)], right, under=indent, stem=self._below(lead))

    @staticmethod
    def _below(lead: list[Span]) -> list[Span]:
        """What stands before the second line: the stem of the tree goes on, a sign does not."""
        return [(text if "│" in text else " " * cells(text), style) for text, style in lead]

    def _painted(self, text: str, style: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self._colour and style and text.strip() else text

    def printed(self) -> str:
        """The page, with a newline at its end."""
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        return "".join(f"{line}\n" for line in self._lines)
