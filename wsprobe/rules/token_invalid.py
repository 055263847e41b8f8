"""The token does not hold: cut off, not yet valid, for another audience, of another issuer, or with a bad signature.

That it is cut off or not yet valid shows in the token itself. Audience, issuer and signature are told by who checked
them: an origin that verifies, or the WWW-Authenticate header of a refusal (RFC 6750, 3.1).

Bad:
    aud is "staging", the application expects "app"
Good:
    a token for this application, whole
"""

import re
from collections.abc import Iterator

from wsprobe.credentials import SIGNATURE_LENGTHS, short_signature, truncated
from wsprobe.durations import seconds
from wsprobe.heads import values
from wsprobe.judging import Rule, carrier, header_of, observe_beyond, paths
from wsprobe.model import Confidence, Finding, Observation, Place, Redaction, Severity, Skip
from wsprobe.path import Path, clock
from wsprobe.wording import plain

RULE = Rule(__name__, needs=paths, rank=31)

_OWN_RULE = frozenset({"expired", "missing"})
_SKEW = 60.0
_CHUNK = re.compile(r"[._-]?\d+$")


def check(path: Path) -> Iterator[Finding | Skip]:
    """One finding per way to know it; a skip where nobody checked a token that arrived and may be at fault."""
    first = path.outermost
    tokens = [r for r in first.redactions if r.message == "request" and r.jwt]
    for token in tokens:
        yield from _by_itself(path, first, token)
    for hop in path.hops:
        found = hop.verification
        if found and not found.valid and found.reason and found.reason not in _OWN_RULE:
            yield _by_origin(path, hop, found.carrier, found.reason)
    yield from _by_answer(path)
    arrived = any(r.jwt and r.message == "request" for r in path.hops[-1].redactions)
    if tokens and arrived and not path.healthy and not any(hop.verification for hop in path.hops):
        yield Skip(rule=RULE.name, lacks="a hop that verifies the signature, audience and issuer of the token")


def _by_itself(path: Path, hop: Observation, token: Redaction) -> Iterator[Finding]:
    name, header, lengths = carrier(hop, token), header_of(hop, token), ".".join(map(str, token.parts))
    jwt, sent = token.jwt, clock(hop)
    if jwt and jwt.alg in SIGNATURE_LENGTHS and _cut_off(token):
        said = f"The token in {name} is cut off at {hop.name}: its parts have {lengths} characters"
        yield _finding(path, hop, header, said)
    elif jwt and (whole := short_signature(token.parts, jwt.alg)) and not path.healthy:
        size = f"{token.parts[2]} characters at {hop.name}; {jwt.alg} makes {whole} or more"
        said = f"The signature of the token in {name} has {size}"
        yield _finding(path, hop, header, said, severity=Severity.NOTE)
    early = jwt.nbf - sent if jwt and jwt.nbf is not None and sent is not None else 0.0
    if early > 0:
        said = f"The token in {name} is not valid for another {seconds(early)}, by the clock of {hop.name}"
        clocks = (f"the clock of {hop.name} is behind the issuer's, and the token was good already",)
        compare = (f"date -u   # at {plain(hop.name)} and at the issuer, at one time",)
        yield _finding(path, hop, header, said, others=() if early > _SKEW else clocks, next_=compare)


def _cut_off(token: Redaction) -> bool:
    """Whether a signed token ends early. One in pieces over several cookies, or without its payload, is none."""
    in_pieces = _CHUNK.search(token.name) is not None
    detached = len(token.parts) == 3 and not token.parts[1] and token.parts[2] > 0  # RFC 7515, appendix F
    return truncated(token.parts) and not in_pieces and not detached


def _by_origin(path: Path, hop: Observation, where: str, reason: str) -> Finding:
    said = f"{hop.name} verified the token in {where} and refused it: {reason}"
    header = where.removeprefix("header ") if where.startswith("header ") else None
    return _finding(path, hop, header, said, part="verification")


def _by_answer(path: Path) -> Iterator[Finding]:
    hop, response = path.outermost, path.outermost.response
    sent = [r for r in hop.redactions if r.message == "request"]
    for value in values(response.headers, "www-authenticate") if response and sent and not path.upgraded else ():
        if "invalid_token" in value:
            said = f"The refusal that came to {hop.name} says that the token is not good: {value[:300]}"
            others = ("the token was changed on its way", "the answer speaks of another token than the one sent")
            next_ = observe_beyond(path, path.hops[-1])
            yield _finding(path, hop, header_of(hop, sent[0]), said, part="response", others=others, next_=next_)


def _finding(  # noqa: PLR0913  the parts in which the ways differ
    path: Path,
    hop: Observation,
    header: str | None,
    said: str,
    *,
    part: str = "request",
    others: tuple[str, ...] = (),
    next_: tuple[str, ...] = (),
    severity: Severity | None = None,
) -> Finding:
    return RULE.finding(
        f"{said}.",
        Place(hop=hop.name, part=part, shows=said),
        severity=severity or (Severity.WARNING if path.healthy else Severity.ERROR),
        confidence=Confidence.POSSIBLE if others else Confidence.PROVEN,
        segment=(None, hop.name),
        header=header,
        fix="Use a whole token, made for this audience by the issuer that the application trusts.",
        others=others,
        next_=next_ if others else (),
    )
