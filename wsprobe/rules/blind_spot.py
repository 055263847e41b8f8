"""A recorder's known blind spot touches what was found: take that part of the evidence with care.

mitmproxy, for one, sees a reset (RST) as an ordinary end (FIN): "ended by FIN" at its hop may have been a reset.

Bad:
    a verdict on FIN or RST from a recorder that cannot tell them apart
Good:
    the relay in its place
"""

from collections.abc import Iterator

from wsprobe.model import Ending, Finding, Observation, Place, Severity
from wsprobe.path import Path, first_close, frames
from wsprobe.rules import Rule, hops

RULE = Rule(__name__, needs=hops, rank=99)


def check(place: tuple[Observation, Path]) -> Iterator[Finding]:
    """One note per recorder that saw the unhealthy end of a connection and cannot see all of it."""
    hop, path = place
    ended = first_close(hop)
    blind = [spot for spot in hop.recorder.blind if "RST" in spot]
    if not blind or path.healthy or ended is None or frames(hop) or ended.ending is not Ending.EOF:
        return
    yield RULE.finding(
        f"{hop.name} is recorded by {hop.recorder.kind}, which cannot see everything: {'; '.join(blind)}.",
        Place(hop=hop.name, part="recorder", shows="; ".join(blind)),
        severity=Severity.NOTE,
        fix="Record there with the relay if it matters how TCP ended.",
    )
