"""HAProxy's access control lists and the conditions made of them (manual, 7.1, 7.2 and 7.4)."""

import re
from collections.abc import Iterator, Mapping, Sequence

from wsprobe.frozen import dataclass
from wsprobe.lb._haproxy_calls import calls_of
from wsprobe.lb._haproxy_converters import Sample, as_number
from wsprobe.lb._haproxy_samples import Scope, fetched, is_fetch, sample
from wsprobe.lb._haproxy_words import Word
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    All,
    Condition,
    How,
    Length,
    Not,
    OneOf,
    Test,
    Undecided,
    Value,
    both,
)


class RefusedError(Exception):
    """Something that HAProxy refuses to start with: why, and the column."""

    def __init__(self, message: str, column: int = 1) -> None:
        super().__init__(message)
        self.column = column


Lists = Mapping[str, Sequence[Condition]]
"""The access control lists of a section by name; each has the tests of all its lines, of which one must hold."""

PREDEFINED = {
    "FALSE": "always_false",
    "HTTP": "req.proto_http",
    "HTTP_1.0": "req.ver 1.0",
    "HTTP_1.1": "req.ver 1.1",
    "HTTP_2.0": "req.ver 2.0",
    "HTTP_3.0": "req.ver 3.0",
    "HTTP_CONTENT": "req.hdr_val(content-length) gt 0",
    "HTTP_URL_ABS": "url_reg ^[^/:]*://",
    "HTTP_URL_SLASH": "url_beg /",
    "HTTP_URL_STAR": "url *",
    "LOCALHOST": "src 127.0.0.1/8 ::1",
    "METH_CONNECT": "method CONNECT",
    "METH_DELETE": "method DELETE",
    "METH_GET": "method GET HEAD",
    "METH_HEAD": "method HEAD",
    "METH_OPTIONS": "method OPTIONS",
    "METH_POST": "method POST",
    "METH_PUT": "method PUT",
    "METH_TRACE": "method TRACE",
    "TRUE": "always_true",
    "WAIT_END": "wait_end",
}

# One test: criterion, flags, operator, patterns.

_SUFFIXES = {"beg", "dir", "dom", "end", "len", "reg", "sub", "str", "found", "bool", "int", "ip"}
_BY_TYPE = {"str": "str", "int": "int", "bool": "bool", "ip": "ip"}
_EDGES = {"dir": r"/?", "dom": r"/?.:"}
_OPERATORS = {"eq": "{0}:{0}", "ge": "{0}:", "gt": "{1}:", "le": ":{0}", "lt": ":{2}"}


@dataclass(slots=True)
class _Flags:
    """The flags of a test, and the patterns that follow them."""

    method: str = ""
    ignore_case: bool = False
    files: bool = False
    patterns: tuple[Word, ...] = ()


def test(words: Sequence[Word], scope: Scope) -> Condition:
    """What one `acl` line, or one pair of braces, tests; `words` begin with the criterion."""
    if not words:
        raise RefusedError("an empty condition")
    found, method = _criterion(words[0], scope)
    flags = _flags(words[1:])
    method = flags.method or method
    if words[0].variables or any(word.variables for word in flags.patterns):
        return Undecided(method, "an environment variable stands in the acl")
    known = _tested(found, method, flags)
    if flags.files:
        return OneOf((known, Undecided("-f", "the patterns of a file (-f) are not read")))
    return known


def _criterion(word: Word, scope: Scope) -> tuple[Sample, str]:
    """The sample of a criterion, and how it is matched where no -m says so."""
    calls = calls_of(word)
    name, arguments = calls[0] if calls else (str(word), [])
    base, _, suffix = name.rpartition("_")
    if suffix not in _SUFFIXES or is_fetch(name) or not is_fetch(base):
        found = sample(word, scope)
        return found, "meth" if name == "method" and len(calls) == 1 else _BY_TYPE[found.kind]
    if len(calls) > 1:  # the match that a name implies ends with the first converter
        found = sample(f"{base}{word[len(name) :]}", scope)
        return found, _BY_TYPE[found.kind]
    return fetched(base, arguments, scope), suffix


def _flags(words: Sequence[Word]) -> _Flags:
    flags = _Flags()
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] in {"-i", "-n", "-M", "-f", "-m", "-u", "--"}:
        flag = words[at]
        at += 1
        if flag == "--":
            break
        if flag in {"-f", "-m", "-u"}:
            if at >= len(words):
                raise RefusedError(f"{flag} needs a value", flag.column)
            flags.files = flags.files or flag == "-f"
            flags.method = str(words[at]) if flag == "-m" else flags.method
            at += 1
        flags.ignore_case = flags.ignore_case or flag == "-i"
    flags.patterns = tuple(words[at:])
    return flags


def _tested(found: Sample, method: str, flags: _Flags) -> Condition:
    patterns = tuple(str(word) for word in flags.patterns)
    value = found.each
    if method == "found":
        return Test(value, How.EXISTS)
    if method == "bool":  # HAProxy ignores the patterns: `ssl_fc 0` asks for TLS
        return found.truth or Test(as_number(found).each, How.REGEX, ("[1-9]",))
    if not patterns:
        return NEVER
    if method in {"int", "len"}:
        measured = Length(value) if method == "len" else as_number(found).each
        return Test(measured, How.BETWEEN, tuple(_ranges(patterns)))
    if method == "ip":
        return _network(value, patterns)
    return _text(value, method, patterns, ignore_case=flags.ignore_case)


def _ranges(patterns: tuple[str, ...]) -> Iterator[str]:
    """Integer patterns: numbers, ranges, and operators that hold for the numbers after them (7.1.2)."""
    operator = "eq"
    for pattern in patterns:
        if pattern in _OPERATORS:
            operator = pattern
        elif ":" in pattern:
            yield pattern
        elif (size := natural(pattern.removeprefix("-"))) is not None:
            number = -size if pattern.startswith("-") else size
            yield _OPERATORS[operator].format(number, number + 1, number - 1)
        else:
            raise RefusedError(f"{operator} needs a number")


def _network(value: Value, patterns: tuple[str, ...]) -> Condition:
    numeric = tuple(pattern for pattern in patterns if re.fullmatch(r"[0-9A-Fa-f.:]+(/[0-9.]+)?", pattern))
    known = Test(value, How.NETWORK, tuple(_completed(pattern) for pattern in numeric))
    if len(numeric) < len(patterns):
        return OneOf((known, Undecided("ip", "a host name in an acl is resolved when HAProxy starts")))
    return known


def _completed(pattern: str) -> str:
    """An IPv4 address whose zeros in the middle are left out, in full (7.1.6)."""
    address, slash, prefix = pattern.partition("/")
    if ":" in address:
        return pattern
    parts = address.split(".")
    filled = [*parts[:-1], *["0"] * (4 - len(parts)), parts[-1]] if len(parts) < 4 else parts
    return ".".join(filled) + slash + prefix


def _text(value: Value, method: str, patterns: tuple[str, ...], *, ignore_case: bool) -> Condition:
    simple = {"str": How.EQUALS, "beg": How.PREFIX, "end": How.SUFFIX, "sub": How.CONTAINS, "reg": How.REGEX}
    if method in simple:
        return Test(value, simple[method], patterns, ignore_case=ignore_case)
    if method == "meth":
        return Test(value, How.EQUALS, patterns)
    if method in _EDGES:
        edge = _EDGES[method]
        whole = tuple(rf"(?:^|[{edge}]){re.escape(pattern.strip(edge))}(?:[{edge}]|$)" for pattern in patterns)
        return Test(value, How.REGEX, whole, ignore_case=ignore_case)
    return Undecided(method, f"the match -m {method} is not followed")


# Conditions: acls with and, or, not.


def condition(words: Sequence[Word], lists: Lists, scope: Scope) -> Condition:
    """What `if` or `unless` and the words after it say; always, where there are none."""
    if not words:
        return ALWAYS
    if len(words) == 1:
        raise RefusedError(f"{words[0]} without a condition", words[0].column)
    sides: list[list[Condition]] = [[]]
    at, negated = 1, False
    while at < len(words):
        word = words[at]
        if word in {"or", "||"}:
            sides.append([])
            at += 1
            continue
        while word.startswith("!"):
            negated, word = not negated, Word(word[1:], word.column + 1, variables=word.variables)
        if not word:
            at += 1
            continue
        term, at = _term(words, at, word, lists, scope)
        sides[-1].append(Not(term) if negated else term)
        negated = False
    whole: Condition = both(*sides[0]) if len(sides) == 1 else OneOf(tuple(All(tuple(side)) for side in sides))
    return Not(whole) if words[0] == "unless" else whole


def _term(words: Sequence[Word], at: int, word: Word, lists: Lists, scope: Scope) -> tuple[Condition, int]:
    """One acl by name or between braces, and where it ends."""
    if word == "{":
        end = next((index for index in range(at + 1, len(words)) if words[index] == "}"), None)
        if end is None:
            raise RefusedError("the brace of the condition is not closed", word.column)
        return test(words[at + 1 : end], scope), end + 1
    if word in lists:
        found = lists[word]
        return (found[0] if len(found) == 1 else OneOf(tuple(found))), at + 1
    if word in PREDEFINED:
        return test([Word(part) for part in PREDEFINED[word].split()], scope), at + 1
    if word.variables:
        return Undecided("acl", "an environment variable stands in the condition"), at + 1
    raise RefusedError(f"no acl of the name {word[:60]}: HAProxy refuses the file", word.column)
