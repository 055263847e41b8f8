"""The placeholders of Caddy, as values over the request: `{http.request.header.X}`, `{uri}`, `{vars.x}` and others."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wsprobe.lb._numbers import natural
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    Captured,
    Cased,
    Cases,
    How,
    Join,
    Lines,
    Of,
    Or,
    Piece,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    Without,
    Written,
)

_PLACEHOLDER = re.compile(r"\\([{}\\])|\{(\$?[A-Za-z_][^{}\s]*)\}")

_RUNNING = "only the running proxy knows"


def _path(*, original: bool = False) -> Value:
    return Written(Of(Subject.RAW_PATH, original=original), PathForm.DECODED)


def _target(*, original: bool = False) -> Value:
    return Of(Subject.TARGET, original=original)


def text_of(value: Value) -> Value:
    """A value that is the empty text where it is missing."""
    return Join((value,))


_OF_REQUEST: Mapping[str, Value] = {
    "method": Of(Subject.METHOD),
    "host": Of(Subject.HOST),
    "hostport": Of(Subject.AUTHORITY),
    "port": Captured(Of(Subject.AUTHORITY), r":(\d+)\Z", "1"),
    "proto": Of(Subject.VERSION),
    "scheme": Of(Subject.SCHEME),
    "remote": Join((Of(Subject.PEER), Text(":"), Of(Subject.PEER_PORT))),
    "remote.host": Of(Subject.PEER),
    "remote.port": Of(Subject.PEER_PORT),
    "local": Join((Of(Subject.LOCAL), Text(":"), Of(Subject.LOCAL_PORT))),
    "local.host": Of(Subject.LOCAL),
    "local.port": Of(Subject.LOCAL_PORT),
    "uri": _target(),
    "uri.path": _path(),
    "uri.query": Of(Subject.QUERY),
    "uri.path.dir": Substituted(_path(), r"[^/]*\Z", ""),
    "uri.path.file": Substituted(_path(), r"(?s)\A.*/", ""),
    "uri.path.file.base": Substituted(Substituted(_path(), r"(?s)\A.*/", ""), r"\.[^.]*\Z", ""),
    "uri.path.file.ext": Or(Captured(_path(), r"\.[^./]*\Z", "0"), Text("")),
    "uri.prefixed_query": Cases(((Test(Of(Subject.QUERY), How.REGEX, (".",)), Join((Text("?"), Of(Subject.QUERY)))),)),
    "uri_escaped": Written(_target(), PathForm.QUERY),
    "uri.path_escaped": Written(_path(), PathForm.QUERY),
    "uri.query_escaped": Written(Of(Subject.QUERY), PathForm.QUERY),
    "body": Text(""),
    "orig_method": Of(Subject.METHOD, original=True),
    "orig_uri": _target(original=True),
    "orig_uri.path": _path(original=True),
    "orig_uri.query": Of(Subject.QUERY, original=True),
}

_REQUEST = {f"http.request.{name}": value for name, value in _OF_REQUEST.items()}


def _header(name: str) -> Value:
    if name.lower() == "host":  # Go does not keep Host among the headers
        return Text("")
    return Of(Subject.HEADER, name, lines=Lines.JOINED, separator=",")


def _label(index: str) -> Value | None:
    """A label of the host, counted from its right end."""
    number = natural(index)
    return None if number is None else Piece(Cased(Of(Subject.HOST)), ".", -1 - number)


def _segment(index: str) -> Value | None:
    number = natural(index)
    return None if number is None else Piece(Without(_path(), prefix="/"), "/", 1 + number)


_FAMILIES: Mapping[str, Callable[[str], Value | None]] = {
    "http.request.header.": _header,
    "http.request.cookie.": lambda name: Of(Subject.COOKIE, name),
    "http.request.host.labels.": _label,
    "http.request.uri.path.": _segment,
    "http.request.uri.query.": lambda name: Of(Subject.PARAMETER, name, lines=Lines.JOINED, separator=","),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What placeholders mean at one point of a config.

    `known` has the values of some of them. `named` are the variables that the config sets; one that it sets nowhere
    is empty. `caught` are the groups of patterns that a matcher may have filled, `answers` is whether another service
    may have been asked before, `mapped` what makes the values that maps give to placeholders.
    """

    known: Mapping[str, Value] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    caught: frozenset[str] = frozenset()
    answers: bool = False
    mapped: Mapping[str, Callable[[str, "Scope"], Value]] = field(default_factory=dict)


def value_of(text: str, scope: Scope, *, unknown_stays: bool = True) -> Value:
    """A text with its placeholders; those that Caddy does not know stay as they are, or become nothing."""
    parts: list[Value] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        parts.append(Text(text[at : found.start()]))
        at = found.end()
        if found[1]:
            parts.append(Text(found[1] if found[1] != "\\" else found[0]))
            continue
        value = placeholder(found[2], scope)
        parts.append(value if value is not None else Text(found[0] if unknown_stays else ""))
    parts.append(Text(text[at:]))
    joined = _merged(parts)
    return joined[0] if len(joined) == 1 and isinstance(joined[0], Text) else Join(joined)


def _merged(parts: list[Value]) -> tuple[Value, ...]:
    merged: list[Value] = []
    for part in parts:
        if isinstance(part, Text) and merged and isinstance(merged[-1], Text):
            merged[-1] = Text(merged[-1].text + part.text)
        elif part != Text("") or not merged:
            merged.append(part)
    return tuple(merged)


def placeholder(name: str, scope: Scope) -> Value | None:
    """What one placeholder stands for; None where Caddy knows none of that name."""
    if name.startswith("$"):
        return Undecided(f"{{{name}}}", f"{name} is a variable of the proxy's environment")
    if name in scope.mapped:
        return scope.mapped[name](name, scope)
    found = scope.known.get(name) or _REQUEST.get(name) or _of_family(name)
    if found is None and name.startswith("http.vars."):
        variable = name.removeprefix("http.vars.")
        return Of(Subject.VARIABLE, variable) if variable in scope.named else _unset(variable)
    if found is None and name in scope.caught:
        return _if_set(name)
    if found is None and name.startswith(_KNOWN + (_ANSWERED if scope.answers else ())):
        return Undecided(f"{{{name}}}", f"{{{name}}}: {_RUNNING}")
    return found


def _if_set(name: str) -> Value:
    """A variable, and the placeholder itself while nothing has set it."""
    variable = Of(Subject.VARIABLE, name)
    return Cases(((Test(variable, How.EXISTS), variable),), Text(f"{{{name}}}"))


_KNOWN = (
    *("http.request.tls.", "http.request.uuid", "http.request.duration", "http.matchers.", "http.auth."),
    *("http.response.", "http.intercept.", "http.shutting_down", "http.time_until_shutdown"),
    *("env.", "system.", "time.", "file.", "runtime."),
)
"""What only the running proxy has a value of; of all other names it knows nothing."""

_ANSWERED = ("http.reverse_proxy.",)
"""What has a value once another service was asked."""


def _of_family(name: str) -> Value | None:
    for family, of in _FAMILIES.items():
        if name.startswith(family):
            return of(name.removeprefix(family))
    return None


def _unset(variable: str) -> Value:
    if variable in {"client_ip", "trusted_proxy", "root", "fs"}:
        return Undecided(f"{{vars.{variable}}}", f"{{vars.{variable}}}: {_RUNNING}")
    return Text("")


def has_placeholder(text: str) -> bool:
    """Whether a text says something else on each request."""
    return bool(_PLACEHOLDER.search(text))


def nonempty(value: Value) -> Test:
    """Whether a value says something."""
    return Test(value, How.REGEX, (r"(?s).",))
