"""A request that should match a condition: a path and a host, read off its tests."""

import re
from collections.abc import Iterator

from wsprobe.lb.evaluation import matches
from wsprobe.lb.expressions import All, Cases, Condition, How, Of, OneOf, Subject, Test, Value

_PATHS = frozenset({Subject.RAW_PATH, Subject.PATH, Subject.TARGET})


def sampled(condition: Condition) -> tuple[str, str | None]:
    """A target and a host for a condition; `/` and None where its tests do not say."""
    target, host = "/", None
    for test in _tests(condition, 0):
        subject = _subject(test.value)
        if subject is Subject.HOST:
            host = host or _text(test, "", "x")
        elif subject in _PATHS:
            found = _text(test, "/", "x")
            target = found if target == "/" and found.startswith(("/", "http")) else target
    return target, host or None


def _tests(condition: Condition, depth: int) -> Iterator[Test]:
    """The tests that have to hold: of alternatives the first."""
    if depth > 50:
        return
    match condition:
        case Test():
            yield condition
        case All():
            for each in condition.conditions:
                yield from _tests(each, depth + 1)
        case OneOf(conditions=(first, *_)):
            yield from _tests(first, depth + 1)


def _subject(value: Value) -> Subject | None:
    """What part of the request a value is made of; HOST for the header of that name."""
    while not isinstance(value, Of):
        inner = value.cases[0][1] if isinstance(value, Cases) and value.cases else getattr(value, "value", None)
        if inner is None:
            return None
        value = inner
    if value.subject is Subject.HEADER:
        return Subject.HOST if value.name.lower() == "host" else None
    return value.subject


def _text(test: Test, before: str, after: str) -> str:
    """A text that passes a test, without looking into patterns."""
    text = test.texts[0] if test.texts else ""
    match test.how:
        case How.EQUALS:
            return text
        case How.PREFIX:
            return text + after if text.endswith(("/", ".")) else text
        case How.SUFFIX | How.CONTAINS:
            return text if text.startswith(before) and before else f"{before or after}{text}"
        case How.REGEX:
            found = _of_pattern(text, ignore_case=test.ignore_case)
            return found if found.startswith(before) else before + found if found else before
    return before


_GROUP = re.compile(r"\((?:\?:)?([^()|]*)(?:\|[^()]*)?\)([?*])?")
_FLAGS = re.compile(r"\(\?[a-zA-Z]+\)")
_SIMPLER = (
    (re.compile(r"^\^|\$$"), ""),
    (re.compile(r"\[([^]^\\])[^]]*\][?*+]?"), r"\1"),
    (re.compile(r"\\[dD][?*+]?"), "0"),
    (re.compile(r"\\[wWS][?*+]?"), "x"),
    (re.compile(r"(?<!\\)\.\*\??"), ""),
    (re.compile(r"(?<!\\)\.\+?\??"), "x"),
    (re.compile(r"(?<!\\)[?*+]|\{\d+(?:,\d*)?\}"), ""),
    (re.compile(r"\\([^0-9A-Za-z])"), r"\1"),
)
_MAX_PATTERN = 500


def _of_pattern(pattern: str, *, ignore_case: bool) -> str:
    """A text that a pattern finds, made of its first alternatives; empty where that fails."""
    text = _FLAGS.sub("", pattern) if len(pattern) <= _MAX_PATTERN else ""
    for _ in range(text.count("(")):
        text = _GROUP.sub(lambda group: "" if group[2] else group[1], text)
    for found, instead in _SIMPLER:
        text = found.sub(instead, text)
    text = text.split("|")[0]
    return text if text.isprintable() and matches(pattern, text, ignore_case=ignore_case) is True else ""
