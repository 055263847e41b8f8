"""HAProxy's sample expressions and log formats as values: `req.hdr(host),lower`, `%[src]` (manual, 7.3 and 8.2.4).

What only the running proxy knows becomes an `Undecided`. A sample has two readings: `single` is what a header gets, and
`each` what an ACL looks at, which for a header is any member of its list.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Cased,
    Cases,
    Condition,
    Count,
    How,
    Join,
    Length,
    Lines,
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
class Scope:
    """Where an expression stands, and what that makes known.

    `assigned` are all variables that the config sets; `scripted` and `peer` are why others, or the client's address,
    cannot be known; `tls` and `port` are of the listener where all its binds agree; `errors` are statuses that are
    sent in place of others.
    """

    frontend: str = ""
    assigned: frozenset[str] = frozenset()
    scripted: str = ""
    peer: str = ""
    tls: bool | None = None
    port: int | None = None
    tcp: bool = False
    response: bool = False
    users: Mapping[str, Condition] = field(default_factory=dict)
    errors: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """What an expression fetches; `kind` is its type (str, int, bool, ip), `truth` what a boolean says."""

    single: Value
    each: Value
    kind: str = "str"
    truth: Condition | None = None


def _plain(value: Value, kind: str = "str") -> Sample:
    return Sample(value, value, kind)


def _truth(condition: Condition) -> Sample:
    shown = Cases(((condition, Text("1")),), Text("0"))
    return Sample(shown, shown, "bool", condition)


def undecided(text: str, why: str, kind: str = "str") -> Sample:
    """A sample that only the running proxy knows."""
    return _plain(Undecided(text, why), kind)


def sample(text: str, scope: Scope) -> Sample:
    """The sample of an expression; undecided where it is not understood."""
    calls = calls_of(text)
    if not calls:
        return undecided(text, f"the expression {_shown(text)} is not understood")
    (name, arguments), *converters = calls
    found = fetched(name, arguments, scope)
    for converter, given in converters:
        found = _converted(found, converter, given)
    return found


def fetched(name: str, arguments: list[str], scope: Scope) -> Sample:
    """What one fetch method gives."""
    build = _FETCHES.get(name)
    if build is None:
        return undecided(name, f"{_shown(name)} is known to the running HAProxy only")
    if scope.response and name not in _ANYWHERE:
        return undecided(name, f"{name} in a rule about the response depends on it")
    if scope.tcp and name not in _ANYWHERE | _CONNECTION:
        return undecided(name, f"{name} in mode tcp depends on what has arrived by then")
    try:
        return build(arguments, scope)
    except (ValueError, IndexError):
        return undecided(name, f"the arguments of {name} are not understood")


def _shown(text: str) -> str:
    return text if re.fullmatch(r"[\w.(),/:-]{1,60}", text) else text[:20].split("(", maxsplit=1)[0]


# The grammar of calls: name(argument,argument),name(…)

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


# Fetch methods (7.3.2 to 7.3.6).

PATH = Of(Subject.RAW_PATH)
_AUTHORITY = Of(Subject.AUTHORITY)
_TARGET = Of(Subject.TARGET)
_WITH_QUERY = Cases(((Test(Of(Subject.QUERY), How.EXISTS), Join((PATH, Text("?"), Of(Subject.QUERY)))),), PATH)

# set-method changes what is sent, and of the methods that HAProxy knows not what later rules see.
_SENT_METHOD = Of(Subject.METHOD, original=True)
_KNOWN_METHODS = ("OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT")
METHOD = Cases(((Test(_SENT_METHOD, How.EQUALS, _KNOWN_METHODS), _SENT_METHOD),), Of(Subject.METHOD))

Build = Callable[[list[str], Scope], Sample]


def _header(arguments: list[str], *, whole: bool) -> Sample:
    name = arguments[0]
    each = Of(Subject.HEADER, name, lines=Lines.ANY_LINE if whole else Lines.ANY_MEMBER, quotes=True)
    number = int(arguments[1]) if len(arguments) > 1 else -1
    if whole and abs(number) == 1:
        single: Value = Of(Subject.HEADER, name, lines=Lines.LAST if number < 0 else Lines.FIRST)
    elif whole:
        single = Piece(Of(Subject.HEADER, name, lines=Lines.JOINED, separator="\n"), "\n", number)
    else:
        joined = Of(Subject.HEADER, name, lines=Lines.JOINED, separator=",")
        single = Substituted(Piece(joined, ",", number, quotes=True), r"^[ \t]+|[ \t]+$", "", all=True)
    return Sample(single, single if len(arguments) > 1 else each)


def _count(arguments: list[str], *, whole: bool) -> Sample:
    lines = Lines.ANY_LINE if whole else Lines.ANY_MEMBER
    return _plain(Count(Of(Subject.HEADER, arguments[0], lines=lines, quotes=True)), "int")


def _cookie(arguments: list[str], _: Scope) -> Sample:
    return _plain(Of(Subject.COOKIE, arguments[0]))


def parameter(name: str) -> Value:
    """A parameter of the query as it travels; HAProxy does not decode it."""
    pattern = rf"^(?:.*?[&;])?{re.escape(name)}=([^&;]*)[\s\S]*$"
    query = Of(Subject.QUERY)
    return Cases(((Test(query, How.REGEX, (pattern,)), Substituted(query, pattern, r"\1")),))


def _variable(arguments: list[str], scope: Scope) -> Sample:
    name = arguments[0]
    if name not in scope.assigned and (scope.scripted or name.startswith("proc.")):
        return undecided(name, scope.scripted or f"the variable {name} belongs to the process")
    return _plain(Of(Subject.VARIABLE, name))


def _peer(_: list[str], scope: Scope) -> Sample:
    return undecided("src", scope.peer, "ip") if scope.peer else _plain(Of(Subject.PEER), "ip")


def _ssl(_: list[str], scope: Scope) -> Sample:
    if scope.tls is not None:
        return _truth(ALWAYS if scope.tls else NEVER)
    return _truth(Test(Of(Subject.SCHEME), How.EQUALS, ("https",)))


def _port(_: list[str], scope: Scope) -> Sample:
    return _plain(Text(str(scope.port)) if scope.port is not None else Of(Subject.LOCAL_PORT), "int")


def _version(_: list[str], __: Scope) -> Sample:
    return _plain(Substituted(Of(Subject.VERSION), "^HTTP/", ""))


def _auth(arguments: list[str], scope: Scope) -> Sample:
    known = scope.users.get(arguments[0])
    return _truth(known if known is not None else Undecided("http_auth", "the userlist is not in this file"))


def _bearer(arguments: list[str], _: Scope) -> Sample:
    of = Of(Subject.HEADER, arguments[0] if arguments else "Authorization")
    is_bearer = Test(of, How.PREFIX, ("Bearer ",), ignore_case=True)
    return _plain(Cases(((is_bearer, Substituted(of, r"(?i)^bearer +", "")),)))


def _fixed(value: Value, kind: str = "str") -> Build:
    return lambda _arguments, _scope: _plain(value, kind)


def _always(condition: Condition) -> Build:
    return lambda _arguments, _scope: _truth(condition)


_FETCHES: dict[str, Build] = {
    "path": _fixed(PATH),
    "pathq": _fixed(_WITH_QUERY),
    "url": _fixed(_TARGET),
    "capture.req.uri": _fixed(Of(Subject.TARGET, original=True)),
    "query": _fixed(Of(Subject.QUERY)),
    "base": _fixed(Join((Of(Subject.AUTHORITY), PATH))),
    "baseq": _fixed(Join((Of(Subject.AUTHORITY), _WITH_QUERY))),
    "method": _fixed(METHOD),
    "capture.req.method": _fixed(Of(Subject.METHOD, original=True)),
    "req.ver": _version,
    "req_ver": _version,
    "hdr": lambda arguments, _: _header(arguments, whole=False),
    "req.fhdr": lambda arguments, _: _header(arguments, whole=True),
    "req.hdr_cnt": lambda arguments, _: _count(arguments, whole=False),
    "req.fhdr_cnt": lambda arguments, _: _count(arguments, whole=True),
    "req.hdr_ip": lambda arguments, _: replace(_header(arguments, whole=False), kind="ip"),
    "req.hdr_val": lambda arguments, _: replace(_header(arguments, whole=False), kind="int"),
    "req.cook": _cookie,
    "urlp": lambda arguments, _: (
        _plain(parameter(arguments[0])) if len(arguments) == 1 else undecided("urlp", "delimiter")
    ),
    "var": _variable,
    "src": _peer,
    "src_port": _fixed(Of(Subject.PEER_PORT), "int"),
    "dst": _fixed(Of(Subject.LOCAL), "ip"),
    "dst_port": _port,
    "ssl_fc": _ssl,
    "str": lambda arguments, _: _plain(Text(arguments[0] if arguments else "")),
    "int": lambda arguments, _: _plain(Text(str(int(arguments[0]))), "int"),
    "bool": lambda arguments, _: _truth(ALWAYS if arguments[0] in {"true", "1"} else NEVER),
    "always_true": _always(ALWAYS),
    "always_false": _always(NEVER),
    "wait_end": _always(ALWAYS),
    "req.proto_http": _always(ALWAYS),
    "http_first_req": _always(ALWAYS),
    "fe_name": lambda _, scope: _plain(Text(scope.frontend)),
    "status": lambda _, scope: (
        _plain(Text("101"), "int") if scope.response else undecided("status", "there is none yet")
    ),
    "http_auth": _auth,
    "http_auth_bearer": _bearer,
}
_ALIASES = {
    "req.hdr": "hdr",
    "hdr_cnt": "req.hdr_cnt",
    "hdr_ip": "req.hdr_ip",
    "hdr_val": "req.hdr_val",
    "cook": "req.cook",
    "cookie": "req.cook",
    "url_param": "urlp",
    "req_proto_http": "req.proto_http",
}
_FETCHES |= {alias: _FETCHES[name] for alias, name in _ALIASES.items()}
_CONNECTION = frozenset({"src", "src_port", "dst", "dst_port", "ssl_fc"})
_ANYWHERE = frozenset(
    {"var", "str", "int", "bool", "always_true", "always_false", "fe_name", "status", *_CONNECTION}
    | {name for name in _FETCHES if name.startswith("capture.")}
)


def is_fetch(name: str) -> bool:
    """Whether a fetch method of that name is known here."""
    return name in _FETCHES


# Converters (7.3.1).

Convert = Callable[[Value, list[str]], Value]


def _regsub(value: Value, arguments: list[str]) -> Value:
    flags = arguments[2] if len(arguments) > 2 else ""
    given = replacement(arguments[1] if len(arguments) > 1 else "")
    return Substituted(value, arguments[0], given, ignore_case="i" in flags, all="g" in flags)


def _cut(value: Value, arguments: list[str], *, words: bool) -> Value:
    if len(arguments) > 2:
        return Undecided("field", "more than one field is taken")
    return Piece(value, arguments[1], int(arguments[0]), skip_empty=words)


def _concat(value: Value, arguments: list[str]) -> Value:
    start, name, end = (*arguments, "", "", "")[:3]
    middle: Value = Of(Subject.VARIABLE, name) if name else Text("")
    return Join((value, Text(start), middle, Text(end)))


def _iif(value: Value, arguments: list[str]) -> Value:
    return Cases(((Test(value, How.EQUALS, ("1",)), Text(arguments[0])),), Text(arguments[1]))


_CONVERTERS: dict[str, Convert] = {
    "lower": lambda value, _: Cased(value),
    "upper": lambda value, _: Cased(value, upper=True),
    "regsub": _regsub,
    "field": lambda value, arguments: _cut(value, arguments, words=False),
    "word": lambda value, arguments: _cut(value, arguments, words=True),
    "concat": _concat,
    "iif": _iif,
    "ltrim": lambda value, arguments: Substituted(value, f"^[{re.escape(arguments[0])}]+", ""),
    "rtrim": lambda value, arguments: Substituted(value, f"[{re.escape(arguments[0])}]+$", ""),
    "host_only": lambda value, _: Cased(Substituted(value, r"(?<=[^:]):\d*$|(?<=\]):\d*$", "")),
}


def _converted(before: Sample, name: str, arguments: list[str]) -> Sample:
    if name == "length":
        return Sample(Length(before.single), Length(before.each), "int")
    if name in {"not", "bool"} and before.truth is not None:
        return _truth(Not(before.truth) if name == "not" else before.truth)
    convert = _CONVERTERS.get(name)
    if convert is None:
        return undecided(name, f"the converter {name} is not followed")
    try:
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
        elif following.isdigit():
            made.append(rf"\g<{following}>")
            at += 2
        elif following == "x" and (found := re.match(r"[0-9A-Fa-f]{2}", text[at + 2 :])):
            made.append(chr(int(found[0], 16)).replace("\\", r"\\"))
            at += 4
        else:
            made.append((following or "\\").replace("\\", r"\\"))
            at += 2
    return "".join(made)


# Log formats (8.2.4), as far as rules about requests use them.

_ALIAS = re.compile(r"%(?:\{[^}]*\})?(?:(?P<percent>%)|\[|(?P<name>[A-Za-z]+))")
_VALUES: dict[str, str] = {
    "ci": "src",
    "cp": "src_port",
    "fi": "dst",
    "fp": "dst_port",
    "f": "fe_name",
    "HM": "capture.req.method",
}


def formatted(text: str, scope: Scope) -> Value:
    """The value of a log format."""
    parts: list[Value] = []
    at = 0
    while at < len(text):
        found = _ALIAS.search(text, at)
        if not found:
            break
        parts.append(Text(text[at : found.start()]))
        at = found.end()
        if found["percent"]:
            parts.append(Text("%"))
        elif found["name"]:
            parts.append(_alias(found["name"], found[0], scope))
        else:
            end = _closing(text, at)
            parts.append(_inner(text[at:end], found[0], scope))
            at = end + 1
    parts.append(Text(text[at:]))
    kept = tuple(part for part in parts if part != Text(""))
    return kept[0] if len(kept) == 1 and isinstance(kept[0], Text) else Join(kept)


def _alias(name: str, text: str, scope: Scope) -> Value:
    if name in _VALUES and "{" not in text:
        return sample(_VALUES[name], scope).single
    return Undecided(text, f"{text} is known to the running HAProxy only")


def _inner(expression: str, opening: str, scope: Scope) -> Value:
    if "{" in opening:
        return Undecided(opening, "the flags of a log format are not followed")
    return sample(expression.strip(), scope).single


def _closing(text: str, at: int) -> int:
    """Where the bracket of an expression is closed; quotes and parentheses inside count."""
    depth, quote = 0, ""
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            at += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif not quote and char in "()":
            depth += 1 if char == "(" else -1
        elif not quote and char == "]" and depth <= 0:
            return at
        at += 1
    return len(text)
