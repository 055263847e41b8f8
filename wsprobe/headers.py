"""Compares what two hops saw of a message's headers, and knows which edits a proxy may make.

Headers are compared as HTTP does: names without case, order only among lines of one name (RFC 9110, 5.1 and 5.3).
Redacted values are compared by what their redactions tell; where that decides nothing, the answer is that.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from wsprobe.credentials import is_secret_name
from wsprobe.frozen import dataclass
from wsprobe.heads import MAX_HEAD
from wsprobe.model import Header, Observation, Redaction


class Kind(StrEnum):
    """What happened to a header between two hops."""

    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"
    ALTERED = "altered"
    MERGED = "merged"
    UNCOMPARED = "not compared"


@dataclass(frozen=True, slots=True)
class Value:
    """One value as it was recorded, with what is told about the secrets that were in it."""

    text: str
    redactions: tuple[Redaction, ...] = ()

    @property
    def bare(self) -> str:
        """The text with each secret as one neutral mark, so that it compares whatever is told of the secrets."""
        text = self.text
        for redaction in self.redactions:
            text = text.replace(redaction.shown, "\0") if redaction.shown else text
        return text


@dataclass(frozen=True, slots=True)
class Edit:
    """All lines of one header name before and after; empty where there were none."""

    name: str
    kind: Kind
    before: tuple[Value, ...]
    after: tuple[Value, ...]


Values = dict[str, tuple[str, list[Value]]]


def values_of(observation: Observation, kind: str) -> Values:
    """The headers of an observation's request or response, by lower-case name: the name as it stood, and values."""
    message = observation.request if kind == "request" else observation.response
    found: Values = {}
    marks: dict[int, list[Redaction]] = {}
    for redaction in observation.redactions:
        if redaction.message == kind and redaction.header is not None:
            marks.setdefault(redaction.header, []).append(redaction)
    for index, (name, value) in enumerate(message.headers if message else ()):
        entry = found.setdefault(name.lower(), (name, []))
        entry[1].append(Value(value, tuple(marks.get(index, ()))))
    return found


def plain(headers: Iterable[Header]) -> Values:
    """Headers in which nothing was redacted, in the same shape."""
    found: Values = {}
    for name, value in headers:
        found.setdefault(name.lower(), (name, []))[1].append(Value(value))
    return found


def diff(before: Values, after: Values) -> list[Edit]:
    """One edit per header name of either side, in the order of the first and then the second."""
    edits = []
    for key in (*before, *(key for key in after if key not in before)):
        name = (before.get(key) or after[key])[0]
        old = tuple(before[key][1]) if key in before else ()
        new = tuple(after[key][1]) if key in after else ()
        edits.append(Edit(name, _kind(key, old, new), old, new))
    return edits


def apply(before: Values, edits: Iterable[Edit]) -> Values:
    """What the edits make of the first list: the second, as HTTP compares them."""
    result = dict(before)
    for edit in edits:
        result.pop(edit.name.lower(), None)
        if edit.after:
            result[edit.name.lower()] = (edit.name, list(edit.after))
    return result


def same(before: Value, after: Value) -> bool | None:
    """Whether two values are equal; None where what is told of their secrets does not decide it."""
    if len(before.redactions) != len(after.redactions):
        return None if _may_be_same(before, after) else False
    if before.bare != after.bare:
        return False
    if "[withheld" in before.bare:  # more was withheld than a recorder tells one by one
        return None
    return _same_secrets(before.redactions, after.redactions)


def _same_secrets(before: Sequence[Redaction], after: Sequence[Redaction]) -> bool | None:
    if len(before) != len(after):
        return None
    decided = True
    for old, new in zip(before, after, strict=True):
        if (old.length, old.parts, old.scheme) != (new.length, new.parts, new.scheme):
            return False
        shared = (old.fingerprints or {}).keys() & (new.fingerprints or {}).keys()
        if any((old.fingerprints or {})[key] != (new.fingerprints or {})[key] for key in shared):
            return False
        decided = decided and bool(shared)
    return True if decided else None


def _may_be_same(before: Value, after: Value) -> bool:
    """Whether what stands beside the secrets agrees, where a part was taken for a secret at one hop only.

    What repeats a credential is withheld too; where that was removed on the way, the same value stands in the clear.
    """
    old, new = _cells(before), _cells(after)
    return len(old) == len(new) and all(a == b or "\0" in (a, b) for a, b in zip(old, new, strict=True))


def _cells(value: Value) -> str:
    """The text with as many marks for each secret as it has characters, up to what a head can hold."""
    text = value.text
    for redaction in value.redactions:
        grown = len(text) + redaction.length * text.count(redaction.shown)
        if redaction.shown and grown < MAX_HEAD:
            text = text.replace(redaction.shown, "\0" * redaction.length)
    return text


def _kind(name: str, old: tuple[Value, ...], new: tuple[Value, ...]) -> Kind:
    if not old:
        return Kind.ADDED
    if not new:
        return Kind.REMOVED
    if len(old) == len(new):
        verdicts = [same(a, b) for a, b in zip(old, new, strict=True)]
        if all(verdicts):
            return Kind.SAME
        if False not in verdicts:
            return Kind.UNCOMPARED
    joined = _members(name, old), _members(name, new)
    if joined[0] == joined[1] and len(old) != len(new):
        secrets = [[redaction for value in values for redaction in value.redactions] for values in (old, new)]
        return {True: Kind.MERGED, None: Kind.UNCOMPARED, False: Kind.ALTERED}[_same_secrets(*secrets)]
    return Kind.ALTERED


def _members(name: str, values: tuple[Value, ...]) -> list[str]:
    """The members of a list-based header over all its lines; of Cookie the pairs (RFC 9110, 5.3; RFC 9113, 8.2.3)."""
    separator = ";" if name == "cookie" else ","
    return [part.strip() for value in values for part in value.bare.split(separator)]


def is_credential(name: str) -> bool:
    """Whether a header carries what says who somebody is."""
    return is_secret_name(name)


_HOP_BY_HOP = "meant for one hop (RFC 9110, 7.6.1)"
_TRACE = "each proxy may write its own"
_ADDRESS = "proxies write where a request came from"
_OWN = "each server writes its own"

PERMITTED: dict[str, str] = {
    "keep-alive": _HOP_BY_HOP,
    "proxy-connection": _HOP_BY_HOP,
    "te": _HOP_BY_HOP,
    "trailer": _HOP_BY_HOP,
    "transfer-encoding": _HOP_BY_HOP,
    "proxy-authorization": "meant for the first proxy that asks for it (RFC 9110, 11.7.2)",
    "via": "proxies add themselves (RFC 9110, 7.6.3)",
    "forwarded": _ADDRESS,
    "x-real-ip": _ADDRESS,
    "x-client-ip": _ADDRESS,
    "client-ip": _ADDRESS,
    "true-client-ip": _ADDRESS,
    "x-cluster-client-ip": _ADDRESS,
    "x-original-forwarded-for": _ADDRESS,
    "x-host": _ADDRESS,
    "x-request-id": _TRACE,
    "x-correlation-id": _TRACE,
    "x-amzn-trace-id": _TRACE,
    "x-cloud-trace-context": _TRACE,
    "x-varnish": _TRACE,
    "traceparent": "a tracing proxy writes its own span into it",
    "tracestate": "a tracing proxy writes its own span into it",
    "b3": _TRACE,
    "date": _OWN,
    "server": _OWN,
    "age": _OWN,
    "host": "a proxy may name its upstream instead; it matters where the Origin is checked",
    "accept-encoding": "what the proxy itself can decode",
    "cache-control": "about caches, not about the request",
    "pragma": "about caches, not about the request",
    "surrogate-capability": "about caches, not about the request",
    "max-forwards": "counted down by proxies (RFC 9110, 7.6.2)",
    "content-length": "the same body can be framed in other ways",
    "alt-svc": _OWN,
    "sec-websocket-key": "made anew by a proxy that speaks another HTTP version to its upstream (RFC 8441, 5)",
    "sec-websocket-accept": "answers the key of its own hop",
}
"""Headers that a proxy may add, change or remove, and why: shown, and no finding."""

_PERMITTED_PREFIXES = ("x-forwarded-", "x-envoy-", "x-b3-", "cf-", "cdn-")


def permitted(edit: Edit) -> str | None:
    """Why a proxy may make this edit, None where it may not (or where the edit is none)."""
    name = edit.name.lower()
    if name in {"connection", "upgrade"}:
        return _permitted_of_upgrade(edit)
    if edit.kind is Kind.REMOVED and not any(value.text for value in edit.before):
        return "it had no value"
    if is_credential(name) and name != "proxy-authorization":
        return None
    if name == "sec-websocket-key" and edit.kind is Kind.REMOVED:
        return None  # made anew is one thing; without any key there is no upgrade (RFC 6455, 4.1)
    if edit.kind in {Kind.ADDED, Kind.MERGED}:
        return "lines of one header may be joined (RFC 9110, 5.3)" if edit.kind is Kind.MERGED else "added on the way"
    return _ADDRESS if name.startswith(_PERMITTED_PREFIXES) else PERMITTED.get(name)


def _permitted_of_upgrade(edit: Edit) -> str | None:
    """The same for the two headers that ask for an upgrade: each hop writes its own, as long as both still ask."""
    if edit.name.lower() == "connection":
        keeps = not _names_upgrade(edit.before) or _names_upgrade(edit.after)
        return _HOP_BY_HOP if keeps else None
    if edit.kind is Kind.ALTERED:
        return "compared without case" if _lower(edit.before) == _lower(edit.after) else None
    return "added on the way" if edit.kind is Kind.ADDED else None


def _names_upgrade(values: tuple[Value, ...]) -> bool:
    return any(token.strip().lower() == "upgrade" for value in values for token in value.text.split(","))


def _lower(values: tuple[Value, ...]) -> list[str]:
    return [value.text.lower() for value in values]
