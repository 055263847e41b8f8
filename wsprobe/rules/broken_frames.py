"""Something on the WebSocket breaks RFC 6455: frames that are no frames, codes that must not be sent.

Some proxies write their HTTP error page into an open WebSocket (Squid does); compression that only one side agreed
on shows as reserved bits. The hop that saw it first tells where it was made.

Bad:
    81 05 48 65 6c 6c 6f 48 54 54 50 2f 31 2e 31 20 35 30 30 …   a message, then "HTTP/1.1 500"
Good:
    frames, and at the end a close frame
"""

from collections.abc import Iterator

from wsprobe.model import Anomaly, Finding, Observation, Place, Segment, Sender, Severity
from wsprobe.path import Path
from wsprobe.rules import Rule, upgraded
from wsprobe.wording import stretch

RULE = Rule(__name__, needs=upgraded, rank=57)

_NOT_FRAMES = frozenset({"the direction ended inside a frame", "a body that was cut short"})
_WHO = {Sender.CLIENT: "the client's", Sender.SERVER: "the server's", Sender.LOCAL: "the recorder's"}


def check(path: Path) -> Iterator[Finding]:
    """One finding per kind of breach that the outermost hop saw, or that an inner hop saw of the client."""
    told: set[tuple[Sender, str]] = set()
    for hop in path.hops:
        for flaw in hop.anomalies:
            after = hop.handshake is None or flaw.at >= (hop.handshake.duration or 0.0)
            if (flaw.sender, flaw.kind) not in told and flaw.kind not in _NOT_FRAMES and after:
                told.add((flaw.sender, flaw.kind))
                yield _finding(path, hop, flaw)


def _finding(path: Path, first: Observation, flaw: Anomaly) -> Finding:
    saw = [hop for hop in path.hops if any((a.sender, a.kind) == (flaw.sender, flaw.kind) for a in hop.anomalies)]
    segment = _segment(path, saw, flaw.sender)
    detail = f" ({flaw.detail})" if flaw.detail else ""
    times = f", {flaw.times} times" if flaw.times > 1 else ""
    where = f"; it came from {stretch(segment)}" if segment else ""
    return RULE.finding(
        f"In {_WHO[flaw.sender]} direction {first.name} saw {flaw.kind}{detail}{times}{where}.",
        *(Place(hop=hop.name, part="anomalies", shows=f"{flaw.kind}{detail}") for hop in saw),
        severity=Severity.WARNING if path.healthy else Severity.ERROR,
        segment=segment,
        fix="Look there for what writes into the WebSocket, changes frames, or compresses on one side only.",
    )


def _segment(path: Path, saw: list[Observation], sender: Sender) -> Segment | None:
    """Between the last hop that saw it, seen from its source, and the next one towards the source."""
    if path.trace.order is None:
        return None
    names = [hop.name for hop in path.hops]
    if sender is Sender.SERVER:
        at = max(names.index(hop.name) for hop in saw)
        return names[at], names[at + 1] if at + 1 < len(names) else None
    at = min(names.index(hop.name) for hop in saw)
    return (names[at - 1] if at else None), names[at]
