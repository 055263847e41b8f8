"""HAProxy's converters, and the samples that they change (manual, 7.3.1)."""

import re
from collections.abc import Callable

from wsprobe.frozen import dataclass
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    Cased,
    Cases,
    Condition,
    How,
    Join,
    Length,
    Not,
    Of,
    Piece,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What an expression fetches; `kind` is its type (str, int, bool, ip), `truth` what a boolean says."""

    single: Value
    each: Value
    kind: str = "str"
    truth: Condition | None = None


def plain(value: Value, kind: str = "str") -> Sample:
    return Sample(value, value, kind)


def truth(condition: Condition) -> Sample:
    shown = Cases(((condition, Text("1")),), Text("0"))
    return Sample(shown, shown, "bool", condition)


def undecided(text: str, why: str, kind: str = "str") -> Sample:
    """A sample that only the running proxy knows."""
    return plain(Undecided(text, why), kind)


Convert = Callable[[Value, list[str]], Value]


def _regsub(value: Value, arguments: list[str]) -> Value:
    flags = arguments[2] if len(arguments) > 2 else ""
    given = replacement(arguments[1] if len(arguments) > 1 else "")
    return Substituted(value, arguments[0], given, ignore_case="i" in flags, all="g" in flags)


def _cut(value: Value, arguments: list[str], *, words: bool) -> Value:
    if len(arguments) > 2:
        return Undecided("field", "more than one field is taken")
    if not arguments[1]:
        raise ValueError("no separators: HAProxy does not start with that")
    return Piece(value, arguments[1], int(arguments[0]), skip_empty=words, or_empty=words)


def _concat(value: Value, arguments: list[str]) -> Value:
    start, name, end = (*arguments, "", "", "")[:3]
    middle: Value = Of(Subject.VARIABLE, name) if name else Text("")
    return Cases(((Test(value, How.EXISTS), Join((value, Text(start), middle, Text(end)))),))


def as_number(before: Sample) -> Sample:
    """A text as the number that it begins with, 0 where it begins with none; an empty one is no number."""
    if before.kind in {"int", "bool"}:
        return before

    def of(value: Value) -> Value:
        padded = Substituted(value, r"(?s)^(?=.)(?:\+|(-))?(\d*).*$", r"\g<1>0\2")
        return Substituted(padded, r"^(-?)0+(?=\d)", r"\1")

    return Sample(of(before.single), of(before.each), "int")


def _either(before: Sample, true: str, false: str, kind: str = "str") -> Sample:
    """One of two texts by whether it is true; what is missing stays missing."""
    number = as_number(before)

    def of(value: Value) -> Value:
        zero, other = Test(value, How.EQUALS, ("0", "-0")), Test(value, How.REGEX, (".",))
        return Cases(((zero, Text(false)), (other, Text(true))))

    return Sample(of(number.single), of(number.each), kind)


def _length(before: Sample, _: list[str]) -> Sample:
    return Sample(Length(before.single), Length(before.each), "int")


def _bool(before: Sample, _: list[str]) -> Sample:
    return before if before.truth is not None else _either(before, "1", "0", "bool")


def _not(before: Sample, _: list[str]) -> Sample:
    return truth(Not(before.truth)) if before.truth is not None else _either(before, "0", "1", "bool")


def _iif(before: Sample, arguments: list[str]) -> Sample:
    return _either(before, arguments[0], arguments[1])


_OF_TYPES: dict[str, Callable[[Sample, list[str]], Sample]] = {
    "length": _length,
    "bool": _bool,
    "not": _not,
    "iif": _iif,
}
"""Converters that look at more than a text, or make something else of it."""

_CONVERTERS: dict[str, Convert] = {
    "lower": lambda value, _: Cased(value),
    "upper": lambda value, _: Cased(value, upper=True),
    "regsub": _regsub,
    "field": lambda value, arguments: _cut(value, arguments, words=False),
    "word": lambda value, arguments: _cut(value, arguments, words=True),
    "concat": _concat,
    "ltrim": lambda value, arguments: Substituted(value, f"^[{re.escape(arguments[0])}]+", ""),
    "rtrim": lambda value, arguments: Substituted(value, f"[{re.escape(arguments[0])}]+$", ""),
    "host_only": lambda value, _: Cased(Substituted(value, r"(?<=[^:]):\d*$|(?<=\]):\d*$", "")),
}


def converted(before: Sample, name: str, arguments: list[str]) -> Sample:
    try:
        if name in _OF_TYPES:
            return _OF_TYPES[name](before, arguments)
        convert = _CONVERTERS.get(name)
        if convert is None:
            return undecided(name, f"the converter {name} is not followed")
        return Sample(convert(before.single, arguments), convert(before.each, arguments))
    except (ValueError, IndexError):
        return undecided(name, f"the arguments of the converter {name} are not understood")


def replacement(text: str) -> str:
    r"""A replacement in HAProxy's spelling (`\1`, `\x41`) in that of the model."""
    made, at = [], 0
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        if char != "\\":
            made.append(char)
            at += 1
        elif natural(following) is not None:
            made.append(rf"\g<{following}>")
            at += 2
        elif following == "x" and (found := re.match(r"[0-9A-Fa-f]{2}", text[at + 2 :])):
            made.append(chr(int(found[0], 16)).replace("\\", r"\\"))
            at += 4
        else:
            made.append((following or "\\").replace("\\", r"\\"))
            at += 2
    return "".join(made)
