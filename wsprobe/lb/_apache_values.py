"""Apache's variables and its expression language (ap_expr) as values and conditions of the model."""

import re
from collections.abc import Callable

from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    All,
    Cased,
    Cases,
    Condition,
    How,
    Join,
    Not,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
)

PATH = Of(Subject.VARIABLE, "path")


"""The path as Apache compares it: decoded, dot segments resolved, slashes merged; a listener's first step sets it."""


ASKED = Of(Subject.VARIABLE, "asked")
"""The same, before rules of mod_rewrite have changed it."""

ARGS = Of(Subject.VARIABLE, "args")
"""The query as rules of mod_rewrite may have changed it."""

_HEADERS = {
    "HTTP_HOST": "Host",
    "HTTP_USER_AGENT": "User-Agent",
    "HTTP_REFERER": "Referer",
    "HTTP_COOKIE": "Cookie",
    "HTTP_FORWARDED": "Forwarded",
    "HTTP_ACCEPT": "Accept",
    "HTTP_PROXY_CONNECTION": "Proxy-Connection",
}


SECURE = Test(Of(Subject.SCHEME), How.EQUALS, ("https",))


_PARTS: dict[str, Value] = {
    "REQUEST_URI": PATH,
    "QUERY_STRING": ARGS,
    "REQUEST_METHOD": Of(Subject.METHOD),
    "REMOTE_ADDR": Of(Subject.PEER),
    "REMOTE_PORT": Of(Subject.PEER_PORT),
    "SERVER_ADDR": Of(Subject.LOCAL),
    "SERVER_PORT": Of(Subject.VARIABLE, "server port"),
    "SERVER_NAME": Cased(Of(Subject.HOST)),
    "SERVER_PROTOCOL": Of(Subject.VERSION),
    "REQUEST_SCHEME": Of(Subject.SCHEME),
    "HTTPS": Cases(((SECURE, Text("on")),), Text("off")),
    "IS_SUBREQ": Text("false"),
    "THE_REQUEST": Join(
        (
            Of(Subject.METHOD, original=True),
            Text(" "),
            Of(Subject.TARGET, original=True),
            Text(" "),
            Of(Subject.VERSION, original=True),
        )
    ),
}


FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "tolower": Cased,
    "toupper": lambda value: Cased(value, upper=True),
}


def env(name: str) -> Of:
    """An environment variable of the request; it has no value where nothing set it."""
    return Of(Subject.VARIABLE, f"env:{name}")


def header_text(name: str) -> Value:
    """A header of the request, the empty text where it is missing."""
    return Join((Of(Subject.HEADER, name),))


def variable(name: str, root: str | None = None) -> Value:
    """What stands for `%{name}`; the empty text where it is missing."""
    kind, colon, rest = name.partition(":")
    if colon:
        return _of_kind(kind, rest, name)
    upper = name.upper()
    if upper in _HEADERS:
        return header_text(_HEADERS[upper])
    if upper in _PARTS:
        return Join((_PARTS[upper],))
    if upper == "DOCUMENT_ROOT" and root:
        return Text(root)
    return Undecided(f"%{{{name}}}", f"what %{{{name}}} is depends on the server that runs")


def _of_kind(kind: str, rest: str, name: str) -> Value:
    match kind.lower():
        case "http" | "req" | "req_novary":
            return header_text(rest)
        case "env" | "reqenv":
            return Join((env(rest),))
        case "tolower" | "toupper":
            inner = rest.removeprefix("%{").removesuffix("}") if rest.startswith("%{") else ""
            return FUNCTIONS[kind.lower()](variable(inner) if inner else Text(rest))
        case "ssl" if rest == "HTTPS":
            return _PARTS["HTTPS"]
    return Undecided(f"%{{{name}}}", f"what %{{{name}}} is depends on the server that runs")


def interpolated(text: str) -> Value:
    """A text with `%{…}` in it, as `expr=` values and quoted strings have it."""
    parts: list[Value] = []
    at = 0
    while (begin := text.find("%{", at)) >= 0:
        end = closing(text, begin + 2)
        if end < 0:
            break
        parts += [Text(text[at:begin]), variable(text[begin + 2 : end])]
        at = end + 1
    rest = text[at:]
    if re.search(r"(?<!\\)\$\d", rest):
        return Undecided(text, "the expression refers to what another one has matched")
    return join([*parts, Text(rest)])


def join(parts: list[Value]) -> Value:
    """Values one after the other, without empty texts."""
    kept = [part for part in parts if part != Text("")]
    if not kept:
        return Text("")
    return kept[0] if len(kept) == 1 else Join(tuple(kept))


def closing(text: str, at: int) -> int:
    depth = 1
    while at < len(text):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return at
        at += 1
    return -1


# Conditions.


def wildcard(pattern: str, one: str = ".") -> str:
    """A pattern with * and ? as a regular expression for the whole text; `one` is what ? stands for."""
    return "^" + "".join({"*": f"{one}*", "?": one}.get(each, re.escape(each)) for each in pattern) + "$"


def either(when: Condition, then: Condition, other: Condition) -> Condition:
    """One condition where another holds, a third where it does not."""
    if when == ALWAYS or then == other:
        return then
    if when == NEVER:
        return other
    return OneOf((all_of(when, then), all_of(Not(when), other)))


def all_of(*conditions: Condition) -> Condition:
    """All of them, without what always holds; NEVER where one never does."""
    needed = tuple(dict.fromkeys(each for each in conditions if each != ALWAYS))
    if NEVER in needed:
        return NEVER
    return needed[0] if len(needed) == 1 else All(needed)
