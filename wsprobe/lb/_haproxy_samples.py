"""HAProxy's sample expressions as values: `req.hdr(host),lower` (manual, 7.3.2 to 7.3.6).

What only the running proxy knows becomes an `Undecided`. A sample has two readings: `single` is what a header gets, and
`each` what an ACL looks at, which for a header is any member of its list.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.lb._haproxy_calls import calls_of
from wsprobe.lb._haproxy_converters import Sample, converted, plain, truth, undecided
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Cases,
    Condition,
    Count,
    How,
    Join,
    Lines,
    Of,
    Piece,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
)

_MAX_CONVERTERS = 50


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands, and what that makes known.

    `assigned` are all variables that the config sets; `scripted` and `peer` are why others, or the client's address,
    cannot be known; `tls` and `port` are of the listener where all its binds agree; `errors` are statuses that are
    sent in place of others; `logged` is whether the frontend logs requests.
    """

    frontend: str = ""
    assigned: frozenset[str] = frozenset()
    scripted: str = ""
    peer: str = ""
    tls: bool | None = None
    port: int | None = None
    tcp: bool = False
    response: bool = False
    logged: bool = False
    users: Mapping[str, Condition] = field(default_factory=dict)
    errors: Mapping[int, int | None] = field(default_factory=dict)


def sample(text: str, scope: Scope) -> Sample:
    """The sample of an expression; undecided where it is not understood."""
    calls = calls_of(text)
    if not calls:
        return undecided(text, f"the expression {_shown(text)} is not understood")
    (name, arguments), *converters = calls
    if len(converters) > _MAX_CONVERTERS:
        return undecided(_shown(text), f"more than {_MAX_CONVERTERS} converters are not followed")
    found = fetched(name, arguments, scope)
    for converter, given in converters:
        found = converted(found, converter, given)
    return found


def fetched(name: str, arguments: list[str], scope: Scope) -> Sample:
    """What one fetch method gives."""
    build = _FETCHES.get(name)
    if build is None:
        return undecided(name, f"what {_shown(name)} gives is not followed")
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


# Fetch methods (7.3.2 to 7.3.6).

PATH = Of(Subject.RAW_PATH)
HAS_PATH = Test(Of(Subject.TARGET), How.REGEX, (r"^(?:/|[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*/)",))
_PATH = Cases(((HAS_PATH, PATH),))
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
    return plain(Count(Of(Subject.HEADER, arguments[0], lines=lines, quotes=True)), "int")


def _number(text: Sample) -> Sample:
    """The number that a text begins with; 0 where it begins with none."""

    def of(value: Value) -> Value:
        padded = Substituted(value, r"(?s)^(-?)(\d*).*$", r"\g<1>0\2")
        return Substituted(padded, r"^(-?)0+(?=\d)", r"\1")

    return Sample(of(text.single), of(text.each), "int")


def _cookie(arguments: list[str], _: Scope) -> Sample:
    return plain(Of(Subject.COOKIE, arguments[0]))


def parameter(name: str) -> Value:
    """A parameter of the query as it travels; HAProxy does not decode it."""
    pattern = rf"^(?:.*?[&;])?{re.escape(name)}=([^&;]*)[\s\S]*$"
    query = Of(Subject.QUERY)
    return Cases(((Test(query, How.REGEX, (pattern,)), Substituted(query, pattern, r"\1")),))


def _variable(arguments: list[str], scope: Scope) -> Sample:
    name = arguments[0]
    if name not in scope.assigned and (scope.scripted or name.startswith("proc.")):
        return undecided(name, scope.scripted or f"the variable {name} belongs to the process")
    return plain(Of(Subject.VARIABLE, name))


def _peer(_: list[str], scope: Scope) -> Sample:
    return undecided("src", scope.peer, "ip") if scope.peer else plain(Of(Subject.PEER), "ip")


def _ssl(_: list[str], scope: Scope) -> Sample:
    if scope.tls is not None:
        return truth(ALWAYS if scope.tls else NEVER)
    return truth(Test(Of(Subject.SCHEME), How.EQUALS, ("https",)))


def _port(_: list[str], scope: Scope) -> Sample:
    return plain(Text(str(scope.port)) if scope.port is not None else Of(Subject.LOCAL_PORT), "int")


def _version(_: list[str], __: Scope) -> Sample:
    return plain(Substituted(Of(Subject.VERSION), "^HTTP/", ""))


def _auth(arguments: list[str], scope: Scope) -> Sample:
    known = scope.users.get(arguments[0])
    return truth(known if known is not None else Undecided("http_auth", "the userlist is not in this file"))


def _bearer(arguments: list[str], _: Scope) -> Sample:
    of = Of(Subject.HEADER, arguments[0] if arguments else "Authorization")
    is_bearer = Test(of, How.PREFIX, ("Bearer ",), ignore_case=True)
    return plain(Cases(((is_bearer, Substituted(of, r"(?i)^bearer +", "")),)))


def _captured(value: Value, scope: Scope) -> Sample:
    """What HAProxy keeps of a request for its log; it is sure to where the frontend logs requests."""
    if scope.logged:
        return plain(value)
    return undecided("capture.req", "without option httplog it depends on what else the frontend logs")


def _fixed(value: Value, kind: str = "str") -> Build:
    return lambda _arguments, _scope: plain(value, kind)


def _always(condition: Condition) -> Build:
    return lambda _arguments, _scope: truth(condition)


_FETCHES: dict[str, Build] = {
    "path": _fixed(_PATH),
    "pathq": _fixed(Cases(((HAS_PATH, _WITH_QUERY),))),
    "url": _fixed(_TARGET),
    "capture.req.uri": lambda _, scope: _captured(Of(Subject.TARGET, original=True), scope),
    "query": _fixed(Of(Subject.QUERY)),
    "base": _fixed(Cases(((HAS_PATH, Join((Of(Subject.AUTHORITY), PATH))),))),
    "baseq": _fixed(Cases(((HAS_PATH, Join((Of(Subject.AUTHORITY), _WITH_QUERY))),))),
    "method": _fixed(METHOD),
    "capture.req.method": lambda _, scope: _captured(Of(Subject.METHOD, original=True), scope),
    "req.ver": _version,
    "req_ver": _version,
    "hdr": lambda arguments, _: _header(arguments, whole=False),
    "req.fhdr": lambda arguments, _: _header(arguments, whole=True),
    "req.hdr_cnt": lambda arguments, _: _count(arguments, whole=False),
    "req.fhdr_cnt": lambda arguments, _: _count(arguments, whole=True),
    "req.hdr_ip": lambda arguments, _: replace(_header(arguments, whole=False), kind="ip"),
    "req.hdr_val": lambda arguments, _: _number(_header(arguments, whole=False)),
    "req.cook": _cookie,
    "urlp": lambda arguments, _: (
        plain(parameter(arguments[0])) if len(arguments) == 1 else undecided("urlp", "delimiter")
    ),
    "var": _variable,
    "src": _peer,
    "src_port": _fixed(Of(Subject.PEER_PORT), "int"),
    "dst": _fixed(Of(Subject.LOCAL), "ip"),
    "dst_port": _port,
    "ssl_fc": _ssl,
    "str": lambda arguments, _: plain(Text(arguments[0] if arguments else "")),
    "int": lambda arguments, _: plain(Text(str(int(arguments[0]))), "int"),
    "bool": lambda arguments, _: truth(ALWAYS if arguments[0] in {"true", "1"} else NEVER),
    "always_true": _always(ALWAYS),
    "always_false": _always(NEVER),
    "wait_end": _always(ALWAYS),
    "req.proto_http": _always(ALWAYS),
    "http_first_req": _always(ALWAYS),
    "fe_name": lambda _, scope: plain(Text(scope.frontend)),
    "status": lambda _, scope: (
        plain(Text("101"), "int") if scope.response else undecided("status", "there is none yet")
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
