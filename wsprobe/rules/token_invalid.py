"""The token does not hold: cut off, not yet valid, for another audience, of another issuer, or with a bad signature.

That it is cut off or not yet valid shows in the token itself. Audience, issuer and signature are told by who checked
them: an origin that verifies, or the WWW-Authenticate header of a refusal (RFC 6750, 3.1).

Bad:
    aud is "staging", the application expects "app"
Good:
    a token for this application, whole
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from wsprobe.credentials import short_signature, truncated
from wsprobe.heads import values
from wsprobe.model import Confidence, Finding, Observation, Place, Redaction, Severity
from wsprobe.path import Path
from wsprobe.rules import Rule, paths
from wsprobe.wording import seconds

RULE = Rule(__name__, needs=paths, rank=31)

_OWN_RULE = frozenset({"expired", "missing"})
_SKEW = 60.0


def check(path: Path) -> Iterator[Finding]:
    """One finding per way to know it."""
    first = path.outermost
    for redaction in first.redactions:
        if redaction.message == "request":
            yield from _by_itself(path, first, redaction)
    for hop in path.hops:
        found = hop.verification
        if found and not found.valid and found.reason and found.reason not in _OWN_RULE:
            yield _finding(path, hop, f"{hop.name} verified the token and refused it: {found.reason}", "verification")
    yield from _by_answer(path)


def _by_itself(path: Path, hop: Observation, redaction: Redaction) -> Iterator[Finding]:
    jwt = redaction.jwt
    lengths = ".".join(map(str, redaction.parts))
    if redaction.parts and truncated(redaction.parts):
        yield _finding(path, hop, f"The token in {redaction.name} is cut off: its parts have {lengths} characters")
    elif jwt and (whole := short_signature(redaction.parts, jwt.alg)) and not path.healthy:
        said = f"The signature of the token in {redaction.name} has {redaction.parts[2]} characters, {jwt.alg} makes"
        yield replace(_finding(path, hop, f"{said} {whole}"), severity=Severity.NOTE)
    early = jwt.nbf - datetime.fromisoformat(hop.at).timestamp() if jwt and jwt.nbf is not None else 0.0
    if early > 0:
        sure = Confidence.PROVEN if early > _SKEW else Confidence.LIKELY
        said = f"The token in {redaction.name} is not valid for another {seconds(early)}, by the clock of {hop.name}"
        yield _finding(path, hop, said, confidence=sure)


def _by_answer(path: Path) -> Iterator[Finding]:
    response = path.outermost.response
    for value in values(response.headers, "www-authenticate") if response and not path.upgraded else ():
        if "invalid_token" in value:
            yield _finding(
                path,
                path.outermost,
                f"The refusal says that the token is not good: {value[:300]}",
                "response",
                Confidence.LIKELY,
            )


def _finding(
    path: Path,
    hop: Observation,
    said: str,
    part: str = "request",
    confidence: Confidence = Confidence.PROVEN,
) -> Finding:
    return RULE.finding(
        f"{said}.",
        Place(hop=hop.name, part=part, shows=said),
        severity=Severity.WARNING if path.healthy else Severity.ERROR,
        confidence=confidence,
        segment=(None, hop.name),
        header="Authorization",
        fix="Use a whole token, made for this audience by the issuer that the application trusts.",
        others=() if confidence is Confidence.PROVEN else ("the answer speaks of another token than the one sent",),
        next_=() if confidence is Confidence.PROVEN else ("wsprobe token --env NAME",),
    )
