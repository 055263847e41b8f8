"""The token had expired when it was sent.

A JSON Web Token says until when it is good (RFC 7519, 4.1.4), and wsprobe compares that with the clock of the hop
that saw it. Whether the application refuses it for that is another question; a healthy connection gets a warning, and
so does a stale token beside one that is in date.

Bad:
    exp is yesterday
Good:
    a token fetched for this connection
"""

from collections.abc import Iterator

from wsprobe.durations import seconds
from wsprobe.judging import Rule, carrier, header_of, paths
from wsprobe.model import Confidence, Finding, Observation, Place, Redaction, Severity
from wsprobe.path import Path, clock
from wsprobe.wording import plain

RULE = Rule(__name__, needs=paths, rank=30)

_SKEW = 60.0
"""Seconds by which clocks may be apart before an expiry proves anything."""


def check(path: Path) -> Iterator[Finding]:
    """One finding per token, by the outermost hop that saw it; or what an origin that checks tokens said."""
    told: set[tuple[str, float]] = set()
    for hop in path.hops:
        sent = clock(hop)
        for token in hop.redactions:
            exp = token.jwt.exp if token.jwt and token.message == "request" else None
            if sent is not None and exp is not None and exp <= sent and (token.name.lower(), exp) not in told:
                told.add((token.name.lower(), exp))
                yield _finding(path, hop, token, sent - exp)
        if not told and hop.verification and hop.verification.reason == "expired":
            yield _said(path, hop)


def _finding(path: Path, hop: Observation, token: Redaction, late: float) -> Finding:
    sure = late > _SKEW
    name = carrier(hop, token)
    return RULE.finding(
        f"The token in {name} had expired {seconds(late)} before it was sent, by the clock of {hop.name}."
        f"{_taken(path)}",
        Place(hop=hop.name, part="request", shows=f"{name}: a JSON Web Token, exp {seconds(late)} before the request"),
        severity=Severity.WARNING if path.healthy or _another(hop) or _taken(path) else Severity.ERROR,
        confidence=Confidence.PROVEN if sure else Confidence.POSSIBLE,
        segment=(None, hop.name),
        header=header_of(hop, token),
        fix="Fetch a new token; if it is new, compare the clocks of the issuer and of this host.",
        others=() if sure else (f"the clock of {hop.name} is ahead of the issuer's, and the token was still good",),
        next_=() if sure else (f"date -u   # at {plain(hop.name)} and at the issuer, at one time",),
    )


def _another(hop: Observation) -> bool:
    """Whether the same request carries a token that is in date, so that the stale one may be nobody's concern."""
    sent = clock(hop)
    exps = [r.jwt.exp for r in hop.redactions if r.jwt and r.message == "request" and r.jwt.exp is not None]
    return sent is not None and any(exp > sent for exp in exps)


def _taken(path: Path) -> str:
    checks = [(hop.name, hop.verification) for hop in path.hops if hop.verification]
    taken = [name for name, found in checks if found.valid and found.reason is None]
    return f" {taken[0]} took the token as good all the same." if taken else ""


def _said(path: Path, hop: Observation) -> Finding:
    return RULE.finding(
        f"{hop.name} found the token expired when it verified it.",
        Place(hop=hop.name, part="verification", shows="expired"),
        severity=Severity.WARNING if path.healthy else Severity.ERROR,
        segment=(None, hop.name),
        fix="Fetch a new token; if it is new, compare the clocks of the issuer and of that host.",
    )
