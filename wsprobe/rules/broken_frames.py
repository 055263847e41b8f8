"""Something on the WebSocket breaks RFC 6455: frames that are no frames, codes that must not be sent.

Some proxies write their HTTP error page into an open WebSocket (Squid does); compression that only one side agreed
on shows as reserved bits. The hop that saw it first tells where it began.

Bad:
    81 05 48 65 6c 6c 6f 48 54 54 50 2f 31 2e 31 20 35 30 30 …   a message, then "HTTP/1.1 500"
Good:
    frames, and at the end a close frame
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, upgraded
from wsprobe.model import Anomaly, Finding, Observation, Place, Segment, Sender, Severity
from wsprobe.path import Path
from wsprobe.wording import stretch

RULE = Rule(__name__, needs=upgraded, rank=57)

_HARMLESS = frozenset({"the direction ended inside a frame", "a body that was cut short"})
_ROUNDED = 1e-6
_LATE = "a frame after the close frame"
_RESERVED = "reserved bits without an extension"
_SIDE = {Sender.CLIENT: "From the client's side", Sender.SERVER: "From the server's side"}


def check(path: Path) -> Iterator[Finding]:
    """One finding per kind of breach and direction, at the outermost hop that saw it."""
    told: set[tuple[Sender, str]] = set()
    for hop in path.hops:
        for flaw in hop.anomalies:
            # What came in one piece with the 101 has its time, but for the rounding.
            after = hop.handshake is None or flaw.at + _ROUNDED >= (hop.handshake.duration or 0.0)
            new = flaw.sender in _SIDE and (flaw.sender, flaw.kind) not in told
            if new and flaw.kind not in _HARMLESS and after:
                told.add((flaw.sender, flaw.kind))
                yield _finding(path, hop, flaw)


def _finding(path: Path, first: Observation, flaw: Anomaly) -> Finding:
    saw = [hop for hop in path.hops if _saw(hop, flaw)]
    last, beyond = _source(path, saw, flaw.sender)
    detail = f" ({flaw.detail})" if flaw.detail else ""
    times = f", {flaw.times} times" if flaw.times > 1 else ""
    segment = _segment(path, last, beyond, flaw.sender)
    whence = _whence(first, last, beyond, segment, flaw)
    return RULE.finding(
        f"{_SIDE[flaw.sender]} {first.name} saw {flaw.kind}{detail}{times}{whence}.",
        *(Place(hop=hop.name, part="anomalies", shows=f"{flaw.kind}{detail}") for hop in saw),
        *([Place(hop=beyond.name, part="anomalies", shows="nothing of it")] if segment and beyond else []),
        severity=Severity.WARNING if path.healthy or flaw.kind == _LATE else Severity.ERROR,
        segment=segment,
        fix="Look there for what writes into the WebSocket, changes frames, or compresses on one side only.",
    )


def _source(path: Path, saw: list[Observation], sender: Sender) -> tuple[Observation, Observation | None]:
    """The hop nearest to where it began, and the next one in that direction, which saw nothing of it."""
    towards = path.hops if sender is Sender.SERVER else path.hops[::-1]
    at = max(index for index, hop in enumerate(towards) if any(hop is other for other in saw))
    return towards[at], next(iter(towards[at + 1 :]), None)


def _segment(path: Path, last: Observation, beyond: Observation | None, sender: Sender) -> Segment | None:
    """The stretch where it began; towards a hop whose record has no end nobody knows how far it reaches."""
    if path.trace.order is None:
        return None
    known = beyond.name if beyond and beyond.ended is not None else None
    return (last.name, known) if sender is Sender.SERVER else (known, last.name)


def _whence(
    first: Observation, last: Observation, beyond: Observation | None, segment: Segment | None, flaw: Anomaly
) -> str:
    if segment is None:
        return ""
    if beyond is None or None in segment:
        return f"; it came from {stretch(segment)}"
    if flaw.kind == _RESERVED and _extensions(last) != _extensions(beyond):
        return f"; the 101 names other extensions at {beyond.name} than at {last.name}"
    return f"; {beyond.name} did not see it" if last is first else f"; {last.name} saw it too, {beyond.name} did not"


def _extensions(hop: Observation) -> set[str]:
    return set(hop.handshake.extensions) if hop.handshake else set()


def _saw(hop: Observation, flaw: Anomaly) -> bool:
    return any((other.sender, other.kind) == (flaw.sender, flaw.kind) for other in hop.anomalies)
