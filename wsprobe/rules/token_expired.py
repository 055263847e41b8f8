"""The token had expired when it was sent.

A JSON Web Token says until when it is good (RFC 7519, 4.1.4), and wsprobe compares that with the clock of the hop
that saw it. Whether the application refuses it for that is another question; a healthy connection gets a warning.

Bad:
    exp is yesterday
Good:
    a token fetched for this connection
"""

from collections.abc import Iterator
from datetime import datetime

from wsprobe.model import Confidence, Finding, Observation, Place, Severity
from wsprobe.path import Path
from wsprobe.rules import Rule, paths
from wsprobe.wording import seconds

RULE = Rule(__name__, needs=paths, rank=30)

_SKEW = 60.0
"""Seconds by which clocks may be apart before an expiry proves anything."""


def check(path: Path) -> Iterator[Finding]:
    """One finding per token, by the outermost hop that saw it; or what an origin that checks tokens said."""
    told: set[str] = set()
    for hop in path.hops:
        sent = datetime.fromisoformat(hop.at).timestamp()
        for redaction in hop.redactions:
            exp = redaction.jwt.exp if redaction.jwt and redaction.message == "request" else None
            if exp is not None and exp <= sent and redaction.name.lower() not in told:
                told.add(redaction.name.lower())
                yield _finding(path, hop, redaction.name, sent - exp)
        if not told and hop.verification and hop.verification.reason == "expired":
            told.add("verification")
            yield _said(path, hop)


def _finding(path: Path, hop: Observation, name: str, late: float) -> Finding:
    sure = late > _SKEW
    return RULE.finding(
        f"The token in {name} had expired {seconds(late)} before it was sent, by the clock of {hop.name}.",
        Place(hop=hop.name, part="request", shows=f"{name}: a JSON Web Token, exp {seconds(late)} before the request"),
        severity=Severity.WARNING if path.healthy else Severity.ERROR,
        confidence=Confidence.PROVEN if sure else Confidence.LIKELY,
        segment=(None, hop.name),
        header=name,
        fix="Fetch a new token; if it is new, compare the clocks of the issuer and of this host.",
        untested=() if sure else ("how far the clock of this host is from the issuer's",),
        next_=("wsprobe token --env NAME",),
    )


def _said(path: Path, hop: Observation) -> Finding:
    return RULE.finding(
        f"{hop.name} found the token expired when it verified it.",
        Place(hop=hop.name, part="verification", shows="expired"),
        severity=Severity.WARNING if path.healthy else Severity.ERROR,
        segment=(None, hop.name),
        fix="Fetch a new token; if it is new, compare the clocks of the issuer and of that host.",
    )
