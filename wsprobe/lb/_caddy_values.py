"""The placeholders of Caddy, as values over the request: `{http.request.header.X}`, `{uri}`, `{vars.x}` and others."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    Captured,
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
    Without,
    Written,
)

_PLACEHOLDER = re.compile(r"\\([{}\\])|\{(\$?[A-Za-z_][^{}\s]*)\}")

SHORT: Mapping[str, str] = {
    "dir": "http.request.uri.path.dir",
    "file": "http.request.uri.path.file",
    "host": "http.request.host",
    "hostport": "http.request.hostport",
    "port": "http.request.port",
    "method": "http.request.method",
    "path": "http.request.uri.path",
    "query": "http.request.uri.query",
    "remote": "http.request.remote",
    "remote_host": "http.request.remote.host",
    "remote_ip": "http.request.remote.host",
    "remote_port": "http.request.remote.port",
    "scheme": "http.request.scheme",
    "uri": "http.request.uri",
    "upstream_hostport": "http.reverse_proxy.upstream.hostport",
    "client_ip": "http.vars.client_ip",
    "orig_method": "http.request.orig_method",
    "orig_uri": "http.request.orig_uri",
    "orig_path": "http.request.orig_uri.path",
    "orig_query": "http.request.orig_uri.query",
    "err.status_code": "http.error.status_code",
}
_SHORT_FAMILIES: Mapping[str, str] = {
    "header.": "http.request.header.",
    "cookie.": "http.request.cookie.",
    "labels.": "http.request.host.labels.",
    "path.": "http.request.uri.path.",
    "query.": "http.request.uri.query.",
    "re.": "http.regexp.",
    "vars.": "http.vars.",
    "rp.": "http.reverse_proxy.",
    "err.": "http.error.",
    "file_match.": "http.matchers.file.",
}
"""What a Caddyfile may write for short."""

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
    "uri.path.file": Substituted(_path(), r"\A.*/", ""),
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


def _label(index: str) -> Value:
    """A label of the host, counted from its right end."""
    if not index.isdigit() or int(index) > 100:
        return Text("")
    return Piece(Of(Subject.HOST), ".", -1 - int(index))


def _segment(index: str) -> Value | None:
    if not index.isdigit() or int(index) > 100:
        return None
    return Piece(Without(_path(), prefix="/"), "/", 1 + int(index))


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
    is empty.
    """

    known: Mapping[str, Value] = field(default_factory=dict)
    named: frozenset[str] = frozenset()


def full(name: str) -> str:
    """A placeholder's name in full, without braces."""
    if name in SHORT:
        return SHORT[name]
    for short, long in _SHORT_FAMILIES.items():
        if name.startswith(short):
            return long + name.removeprefix(short)
    return name


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
    name = full(name)
    if name in scope.named:
        return Of(Subject.VARIABLE, name)
    found = scope.known.get(name) or _REQUEST.get(name) or _of_family(name)
    if found is None and name.startswith("http.vars."):
        variable = name.removeprefix("http.vars.")
        return Of(Subject.VARIABLE, variable) if variable in scope.named else _unset(variable)
    if found is None and name.startswith(_KNOWN):
        return Undecided(f"{{{name}}}", f"{{{name}}}: {_RUNNING}")
    return found


_KNOWN = (
    *("http.request.", "http.regexp.", "http.matchers.", "http.reverse_proxy.", "http.error.", "http.auth."),
    *("http.response.", "http.handlers.", "http.intercept.", "env.", "system.", "time.", "file.", "tls_"),
)
"""What Caddy may know a value of while it runs; of all other names it knows nothing."""


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
