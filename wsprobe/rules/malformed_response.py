"""What came back is no proper answer to an upgrade: not HTTP, a head that is broken, or a 101 with a wrong accept.

A client must fail such a connection (RFC 6455, 4.1). Plain HTTP on a TLS port, a proxy that answers 101 by itself,
a cache that answers with somebody else's 101. Proxies make other answers of it: 502, 500, an empty 200, or none.

Bad:
    HTTP/1.1 101 Switching Protocols, and no Sec-WebSocket-Accept
Good:
    Sec-WebSocket-Accept: the SHA-1 of this request's own key
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, paths
from wsprobe.model import Finding, Observation, Place, Sender, Severity
from wsprobe.path import Path
from wsprobe.wording import stretch

RULE = Rule(__name__, needs=paths, rank=55)

_BROKEN = frozenset(
    {
        "not an HTTP response",
        "a response head that did not end",
        "a head longer than 262144 octets",
        "a header line without a name",
        "white space before a header's colon",
    }
)


def check(path: Path) -> Iterator[Finding]:
    """One finding per stretch that a flaw came from, the innermost first: what is further out may follow from it."""
    if not path.asks_for_websocket:
        return
    if path.trace.order is None:
        if flaws := _flaws(path.outermost):
            yield _finding(path, flaws, path.outermost, None)
        return
    told: set[str] = set()
    inwards = [*path.hops, None]
    for hop, inner in reversed(list(zip(path.hops, inwards[1:], strict=True))):
        made = [flaw for flaw in _flaws(hop) if flaw not in told and (inner is None or flaw not in _flaws(inner))]
        told.update(made)
        if made:
            yield _finding(path, made, hop, inner)


def _finding(path: Path, flaws: list[str], hop: Observation, inner: Observation | None) -> Finding:
    known = path.trace.order is not None
    segment = (hop.name, inner.name if inner else None)
    return RULE.finding(
        f"The answer to the upgrade, as {hop.name} saw it, is malformed: {'; '.join(flaws)}."
        f"{f' It came from {stretch(segment)}.' if known else ''}",
        *(Place(hop=hop.name, part="response", shows=_shows(hop)) for hop in path.hops if hop.response or hop is inner),
        severity=Severity.WARNING if path.healthy else Severity.ERROR,
        segment=segment if known else None,
        fix=f"Look {stretch(segment)} at what gives this answer: is it the WebSocket's own server?",
    )


def _flaws(hop: Observation) -> list[str]:
    found = list(hop.handshake.response_flaws) if hop.handshake else []
    return found + [flaw.kind for flaw in hop.anomalies if flaw.sender is Sender.SERVER and flaw.kind in _BROKEN]


def _shows(hop: Observation) -> str:
    flaws = _flaws(hop)
    return f"{hop.response.start_line[:200] if hop.response else 'no response'}: {'; '.join(flaws) or 'no flaw'}"
