"""HAProxy's lines as words: quotes, escapes, comments, environment variables (manual, 2.2 and 2.3)."""

import re
from collections.abc import Iterator
from typing import Self

_MAX_WORDS = 10_000  # in one line; HAProxy itself stops at 64
_MAX_WORD = 1_000_000  # variables of the config can double each other


class Word(str):
    """One word of a line: its text without quotes and escapes, where it begins, and how it was written.

    `variables` are the environment variables in it whose value nobody knows here; they stand in the text by name.
    """

    __slots__ = ("column", "quoted", "variables")
    column: int
    quoted: bool
    variables: tuple[str, ...]

    def __new__(cls, text: str, column: int = 0, *, quoted: bool = False, variables: tuple[str, ...] = ()) -> Self:
        """A word of that text."""
        word = super().__new__(cls, text)
        word.column, word.quoted, word.variables = column, quoted, variables
        return word


class QuoteError(Exception):
    """A quote that is not closed, or a word that is too long; the column where it begins."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", " ": " ", "\\": "\\", "#": "#", "'": "'", '"': '"', "$": "$"}
_PLAIN = re.compile(r"""[^\s\\'"#$]+""")
_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>\.?[A-Za-z_]\w*)(?P<list>\[\*\])?(?:-(?P<default>[^}]*))?\}|(?P<bare>\.?[A-Za-z_]\w*))"
)
_HEX = re.compile(r"x([0-9A-Fa-f]{2})")


def split(line: str, environment: dict[str, str]) -> Iterator[Word]:
    """The words of a line, up to a comment; QuoteError where one cannot be read."""
    at = 0
    for _ in range(_MAX_WORDS):
        while at < len(line) and line[at] in " \t":
            at += 1
        if at >= len(line) or line[at] == "#":
            return
        word, at = _word(line, at, environment)
        yield word


def _word(line: str, start: int, environment: dict[str, str]) -> tuple[Word, int]:
    """The word that begins there, and where it ends."""
    parts: list[str] = []
    unknown: list[str] = []
    at, quote, opened, quoted = start, "", start, False
    while at < len(line):
        char = line[at]
        if not quote and (char in " \t" or char == "#"):
            break
        if char == quote:
            quote, at = "", at + 1
        elif not quote and char in "'\"":
            quote, opened, quoted, at = char, at, True, at + 1
        elif char == "\\" and quote != "'":
            text, at = _escaped(line, at)
            parts.append(text)
        elif char == "$" and quote == '"' and (found := _VARIABLE.match(line, at)):
            parts.append(_expanded(found, environment, unknown))
            at = found.end()
        elif not quote and (plain := _PLAIN.match(line, at)):
            parts.append(plain[0])
            at = plain.end()
        else:
            parts.append(char)
            at += 1
    if quote:
        raise QuoteError("the quote is not closed", opened + 1)
    if sum(map(len, parts)) > _MAX_WORD:
        raise QuoteError(f"a word of more than {_MAX_WORD} characters", start + 1)
    return Word("".join(parts), start + 1, quoted=quoted, variables=tuple(unknown)), at


def _escaped(line: str, at: int) -> tuple[str, int]:
    """What a backslash and what follows it stand for; a backslash before any other character is one."""
    following = line[at + 1 : at + 2]
    if following in _ESCAPES and following:
        return _ESCAPES[following], at + 2
    if found := _HEX.match(line, at + 1):
        return chr(int(found[1], 16)), found.end()
    return "\\", at + 1


def _expanded(found: re.Match[str], environment: dict[str, str], unknown: list[str]) -> str:
    name = found["braced"] or found["bare"]
    if name in environment:
        return environment[name]
    unknown.append(name)
    return found[0]
