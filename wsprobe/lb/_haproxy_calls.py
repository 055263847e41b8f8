"""The grammar of HAProxy's sample expressions: `name(argument,argument),name(…)` (manual, 2.2 at its end)."""

import re

_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_ARGUMENT_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", " ": " ", "\\": "\\", "'": "'", '"': '"', ",": ",", ")": ")"}


def calls_of(text: str) -> list[tuple[str, list[str]]]:
    """The fetch method and the converters of an expression, with their arguments; empty where it is no expression."""
    calls: list[tuple[str, list[str]]] = []
    at = 0
    while at < len(text):
        found = _NAME.match(text, at)
        if not found:
            return []
        at, arguments = found.end(), list[str]()
        if text[at : at + 1] == "(":
            arguments, at = _arguments(text, at + 1)
        calls.append((found[0], arguments))
        if at < len(text) and text[at] != ",":
            return []
        at += 1
    return calls


def _arguments(text: str, at: int) -> tuple[list[str], int]:
    """The arguments up to the closing parenthesis, and where it ends."""
    arguments, current, quote = list[str](), list[str](), ""
    while at < len(text):
        char = text[at]
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == "\\" and quote != "'" and text[at + 1 : at + 2] in _ARGUMENT_ESCAPES:
            current.append(_ARGUMENT_ESCAPES.get(text[at + 1 : at + 2], "\\"))
            at += 1
        elif not quote and char == ",":
            arguments.append("".join(current))
            current = []
        elif not quote and char == ")":
            break
        else:
            current.append(char)
        at += 1
    arguments.append("".join(current))
    return ([] if arguments == [""] else arguments), at + 1
