"""Whether two sides can be compared: they asked for the same URL, with the same kind of credential. Pure.

On loopback a port is no part of an address that lasts: whoever listens there gets another one each time.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from wsprobe.diff.sides import Group, One
from wsprobe.heads import values
from wsprobe.model import Redaction

_LOOPBACK_PORT = re.compile(r"(?<![\w.:-])(127(?:\.\d{1,3}){3}|\[::1\]|localhost):\d{1,5}(?!\d)", re.ASCII)
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_PORTS = {"ws": ":80", "wss": ":443"}

# What was asked for.


def urls(one: Group, other: Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The URLs of both sides without their queries, told by the same thing: what was traced, or the requests."""
    sides = (one, other)
    by_subject = all("://" in each.report.subject for side in sides for each in side.ones)
    told = _of_subject if by_subject else _of_request
    before, after = (tuple(sorted({url for each in side.ones if (url := told(each))})) for side in sides)
    return before, after


def _of_subject(one: One) -> str:
    return _plain(one.report.subject)


def _of_request(one: One) -> str:
    hop = one.hop
    if hop.request is None:
        return _plain(one.report.subject) if "://" in one.report.subject else ""
    target = hop.request.start_line.partition(" ")[2].partition(" ")[0]
    if "://" in target:
        return _plain(target)
    tls = hop.tls and (hop.tls.server if hop.recorder.kind == "probe" else hop.tls.client)
    host = next(iter(values(hop.request.headers, "host")), "")
    return _plain(f"{'wss' if tls else 'ws'}://{host}{target}")


def _plain(url: str) -> str:
    """Scheme, host, port and path; of loopback no port."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{scheme}://{without_port(host).removesuffix(_PORTS.get(scheme, ':'))}{parts.path or '/'}"


def without_port(text: str) -> str:
    """A text without the ports of loopback addresses."""
    return _LOOPBACK_PORT.sub(r"\1", text)


def queries(side: Group) -> set[str]:
    """The parameters that a side asked with, `name=value`; those that were withheld are told as credentials."""
    lines = (each.hop.request.start_line for each in side.ones if each.hop.request)
    texts = (line.partition(" ")[2].rpartition(" ")[0].partition("?")[2] for line in lines)
    return {one for text in texts for one in text.split("&") if one and "[withheld" not in one}


# The credentials.


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is known of one credential on both sides: `differs` is None where nothing decides it."""

    where: str
    differs: bool | None
    said: str


def credentials(before: Group, after: Group) -> Iterator[Likeness]:
    """Whether both sides sent the same credentials, one by one; nothing where a side sent no request at all."""
    if not all(any(each.hop.request for each in side.ones) for side in (before, after)):
        return
    for where in sorted({*before.credentials, *after.credentials}):
        one, other = before.credentials.get(where), after.credentials.get(where)
        alone = f"was sent {'before' if one else 'after'} alone"
        differs, said = _likeness(one, other) if one and other else (True, alone)
        yield Likeness(where, differs, f"{where} {said}")


def _likeness(one: Sequence[Redaction], other: Sequence[Redaction]) -> tuple[bool | None, str]:
    for what, told in (("scheme", _scheme), ("kind of token", _profile)):
        if not {told(mark) for mark in one} & {told(mark) for mark in other}:
            return True, f"is of another {what}"
    prints = [{mark for each in marks for mark in (each.fingerprints or {}).items()} for marks in (one, other)]
    if prints[0] & prints[1]:
        return False, "is the same"
    alike = bool(one[0].jwt) or max(map(len, prints)) > len({key for each in prints for key, _ in each})
    if dict(prints[0]).keys() & dict(prints[1]).keys():
        changes = "is another one of the same kind: renewed, or one for each connection"
        return (None, changes) if alike else (True, "is another one (fingerprints of the same key differ)")
    lengths = [{mark.length for mark in marks} for marks in (one, other)]
    if not alike and not lengths[0] & lengths[1] and max(map(len, lengths)) == 1:
        return True, "is of another length"
    return None, _NOT_COMPARED


_NOT_COMPARED = (
    "is not compared: no fingerprints of the same key (a shared WSPROBE_FINGERPRINT_KEY makes them comparable)"
)


def _scheme(mark: Redaction) -> object:
    return mark.scheme


def _profile(mark: Redaction) -> object:
    """What stays the same when a token is renewed."""
    jwt = mark.jwt
    return (jwt.alg, jwt.typ, jwt.iss, jwt.aud, jwt.scope) if jwt else None
