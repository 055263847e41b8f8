"""Text from strangers as it may be shown: nothing in it moves a cursor, turns the direction, or hides."""

from collections.abc import Callable

from wsprobe.patterns import lazy

_BLANK = lazy("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that Unicode counts as printable and that show as nothing (Default_Ignorable_Code_Point)."""

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def visible(text: str) -> str:
    r"""The text on one line, with every character that does not print as itself escaped: `\x1b`, `\u202e`.

    That is C0, C1, DEL, line separators, all of Unicode's format characters (bidi overrides and isolates, zero
    width, tags), lone surrogates, and what is not assigned.
    """
    if text.isprintable() and (text.isascii() or not _BLANK.search(text)):
        return text
    return "".join(c if c.isprintable() and not _BLANK.match(c) else _escape(c) for c in text)


def _escape(character: str) -> str:
    number = ord(character)
    if number <= 0xFF:
        return _SHORT.get(character, f"\\x{number:02x}")
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def shortened(text: str, room: int, measure: Callable[[str], int] = len) -> str:
    """The text, or its beginning and end where it takes more than `room`, as `measure` counts."""
    if measure(text) <= room:
        return text
    kept = min(len(text), room)
    while True:
        kept -= 1
        if kept <= 0:
            return "…"[:room]
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if measure(short) <= room:
            return short
