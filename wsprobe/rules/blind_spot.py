"""A recorder's known blind spot touches what was found: take that part of the evidence with care.

A recorder says of itself what it cannot see and what its presence changes. Most of that has no bearing on a verdict;
what has is told here. mitmproxy, for one, may miss what came right before a reset, and passes a reset on as FIN.

Bad:
    a verdict on the end of a connection, from a recorder that passes RST on as FIN
Good:
    the relay in its place
"""

from collections.abc import Iterator

from wsprobe.ends import first_close, frames
from wsprobe.judging import Rule, hops
from wsprobe.model import Ending, Finding, Observation, Place, Severity
from wsprobe.path import Path

RULE = Rule(__name__, needs=hops, rank=99)


def check(place: tuple[Observation, Path]) -> Iterator[Finding]:
    """One note per recorder that saw the reset of a connection and has a blind spot there."""
    hop, path = place
    ended = first_close(hop)
    if path.healthy or ended is None or frames(hop) or ended.ending is not Ending.RESET:
        return
    spots = [f"it cannot see {spot}" for spot in hop.recorder.blind if "reset" in spot]
    if any(_saw_fin(other) for other in path.hops):
        spots += [words for words in hop.recorder.alters if "reset" in words]
    if spots:
        yield RULE.finding(
            f"The connection was reset at {hop.name}, which {hop.recorder.kind} recorded: {'; '.join(spots)}.",
            Place(hop=hop.name, part="recorder", shows="; ".join(spots)),
            severity=Severity.NOTE,
            segment=(hop.name, hop.name),
            fix="Record there with the relay if it matters how TCP ended.",
        )


def _saw_fin(hop: Observation) -> bool:
    ended = first_close(hop)
    return ended is not None and ended.ending is Ending.EOF
