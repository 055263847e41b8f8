"""What came back is no proper answer to an upgrade: not HTTP, a head that is broken, or a 101 with a wrong accept.

A client must fail such a connection (RFC 6455, 4.1). Plain HTTP on a TLS port, a proxy that answers 101 by itself,
a cache that answers with somebody else's 101.

Bad:
    HTTP/1.1 101 Switching Protocols, and no Sec-WebSocket-Accept
Good:
    Sec-WebSocket-Accept: the SHA-1 of this request's own key
"""

from collections.abc import Iterator

from wsprobe.model import Finding, Observation, Place, Sender, Severity
from wsprobe.path import Path
from wsprobe.rules import Rule, paths
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
    """One finding per path, at the innermost hop that saw the same flaws as the client."""
    flaws = _flaws(path.outermost)
    if not flaws or not path.asks_for_websocket:
        return
    saw = path.outermost
    inner: str | None = None
    for hop in path.hops if path.trace.order else ():
        if not set(flaws) <= set(_flaws(hop)):
            inner = hop.name
            break
        saw = hop
    segment = (saw.name, inner)
    yield RULE.finding(
        f"The answer to the upgrade is malformed: {'; '.join(flaws)}. It came from {stretch(segment)}.",
        *(Place(hop=hop.name, part="response", shows=_shows(hop)) for hop in path.hops if hop.response),
        severity=Severity.ERROR,
        segment=segment,
        fix=f"Look {stretch(segment)} at what gives this answer: is it the WebSocket's own server?",
    )


def _flaws(hop: Observation) -> list[str]:
    found = list(hop.handshake.response_flaws) if hop.handshake else []
    return found + [flaw.kind for flaw in hop.anomalies if flaw.sender is Sender.SERVER and flaw.kind in _BROKEN]


def _shows(hop: Observation) -> str:
    flaws = _flaws(hop)
    return f"{hop.response.start_line[:200] if hop.response else 'nothing'}: {'; '.join(flaws) or 'no flaw'}"
