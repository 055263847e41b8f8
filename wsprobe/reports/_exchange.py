"""One hop's exchange in the terms that other tools use: a URL, a method, a status, and when each thing happened."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import quote

from wsprobe.model import Close, Ending, Observation, Report, Reports, Sender
from wsprobe.reports._view import kinds

T = TypeVar("T")

UNKNOWN = "unknown.invalid"
"""The host of a request that names none: a URL has to have one."""

_ROOM = 4_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ORIGIN = re.compile(r"(?i)(wss?|https?)://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:]*)(?::([0-9]{1,5}))?")
_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")
_STATUS = re.compile(r"[1-5][0-9]{2}")
_FINE = (1000, 1001)
_SECURE = {False: "ws", True: "wss"}


def document(made: dict[str, Any]) -> str:
    """A JSON document in ASCII, whose texts are texts: what is no character is written as an escape."""
    return json.dumps(_cleaned(made), indent=2, ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f") + "\n"


def fitting(reports: Reports, make: Callable[[Report, int], T], written: Callable[[T], str]) -> tuple[list[T], int]:
    """What is made of the reports, the first of each kind before all others, and how many found no room.

    A file of ten thousand connections is opened by nobody; those that are left out are like one that is there.
    """
    places = {id(report): number for number, report in reversed(list(enumerate(reports.reports)))}
    firsts = {places[id(kind.first)] for kind in kinds(reports)}
    order = sorted(enumerate(reports.reports), key=lambda each: each[0] not in firsts)
    made: list[tuple[int, T]] = []
    room = _ROOM
    for number, report in order:
        one = make(report, number)
        room -= len(written(one))
        if room < 0 and made:
            break
        made.append((number, one))
    return [one for _, one in sorted(made, key=lambda each: each[0])], len(order) - len(made)


def _cleaned(value: Any) -> Any:  # noqa: ANN401  any part of a document
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list | tuple) else value


def method(hop: Observation) -> str:
    """The method of the request, nothing where none was seen."""
    return hop.request.start_line.partition(" ")[0] if hop.request else ""


def version(start_line: str, *, answer: bool = False) -> str:
    """The version that a start line names, as in HTTP/1.1; nothing where it names none."""
    word = start_line.partition(" ")[0] if answer else start_line.rpartition(" ")[2]
    return word if word.startswith("HTTP/") else ""


def target(hop: Observation) -> str:
    """What the request asked for: a path and a query, mostly."""
    if hop.request is None:
        return ""
    rest = hop.request.start_line.partition(" ")[2]
    return rest.rpartition(" ")[0] if version(rest) else rest


def url(hop: Observation, subject: str) -> str:
    """The URL that the hop was asked for, percent-encoded; the probe's own is the subject's."""
    asked = target(hop)
    whole = _ORIGIN.fullmatch(asked) or (_ORIGIN.fullmatch(subject) if hop.recorder.kind == "probe" else None)
    if whole:
        scheme, authority, rest = whole.groups()
    else:
        scheme, authority = _SECURE[bool(hop.tls and hop.tls.client)], header(hop, "host") or UNKNOWN
        rest = asked if asked.startswith("/") else f"/{asked}"
    return f"{scheme.lower()}://{_authority(authority)}{quote(_STRAY.sub('%25', rest), safe=_SAFE, errors='replace')}"


_SAFE = "/?&=;:@!$'()*+,~-._%"


def _authority(text: str) -> str:
    host, port = split_host(text.rpartition("@")[2])
    shown = host if host.startswith("[") else quote(host, safe="", errors="replace")
    return f"{shown}:{port}" if port is not None else shown


def split_host(text: str) -> tuple[str, int | None]:
    """A host and its port, None where none stands there."""
    parts = _HOST.fullmatch(text)
    if not parts:
        return text, None
    return parts[1], int(parts[2]) if parts[2] and int(parts[2]) <= 65535 else None


def address(peer: str | None) -> tuple[str, int] | None:
    """The IP address and the port of a peer, None where it is neither known nor one."""
    host, port = split_host(peer or "")
    try:
        return str(ip_address(host.strip("[]"))), port or 0
    except ValueError:
        return None


def header(hop: Observation, name: str, *, answer: bool = False) -> str:
    """The first value of a header, nothing where there is none."""
    message = hop.response if answer else hop.request
    headers = message.headers if message else ()
    return next((value for each, value in headers if each.lower() == name), "")


def status(hop: Observation) -> tuple[int, str]:
    """The status and its reason; 0 where no answer came or where it has none."""
    words = hop.response.start_line.split(" ", 2) if hop.response else []
    if len(words) < 2 or not _STATUS.fullmatch(words[1]):
        return 0, ""
    return int(words[1]), words[2] if len(words) > 2 else ""


def connecting(hop: Observation) -> float:
    """The seconds before the request that it took to reach the server."""
    return sum(took for name, took in (hop.phases or {}).items() if name != "upgrade" and took > 0)


def began(hop: Observation) -> datetime:
    """When the hop's request began, as its own clock tells; 1970 where that is no time."""
    try:
        at = datetime.fromisoformat(hop.at)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _EPOCH


def moment(hop: Observation, after: float) -> datetime:
    """The time so many seconds after the request began; the beginning where there is no such time."""
    start = began(hop)
    try:
        return start + timedelta(seconds=after)
    except OverflowError:
        return start


def first_close(hop: Observation) -> Close | None:
    """The act that ended the connection: the first close, or what came in place of one."""
    return hop.closes[0] if hop.closes else None


def fault(hop: Observation) -> str | None:
    """Why this exchange is no good one, as a short word that groups with its like; None where it is."""
    code = status(hop)[0]
    if hop.failure:
        return f"{hop.failure.phase} {hop.failure.kind}"
    if code >= 400:
        return str(code)
    if hop.response is None:
        return "no answer"
    close = first_close(hop)
    if close is None or close.sender is Sender.LOCAL:  # whoever observes left when it had seen enough
        return None
    if close.ending is Ending.FRAME:
        return None if close.code is None or close.code in _FINE else f"close {close.code}"
    return f"closed by {close.ending} without a close frame"
