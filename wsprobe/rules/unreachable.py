"""No connection: the name has no address, or nobody accepts there.

Bad:
    connect: refused
Good:
    a name that resolves, and a listener at each of its addresses
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, hops
from wsprobe.model import Finding, Observation, Place
from wsprobe.path import Path

RULE = Rule(__name__, needs=hops, rank=1)

_PHASES = frozenset({"dns", "tcp", "proxy"})


def check(place: tuple[Observation, Path]) -> Iterator[Finding]:
    """One finding per hop that could not connect further."""
    hop, _ = place
    if hop.failure is None or hop.failure.phase not in _PHASES:
        return
    tried = f" Tried: {', '.join(hop.addresses)}." if hop.addresses else ""
    yield RULE.finding(
        f"{hop.name} could not connect: {hop.failure.message.rstrip('.')}.{tried}",
        Place(hop=hop.name, part="failure", shows=hop.failure.message),
        segment=(hop.name, None),
        fix="Check the name, the port, and that something listens there; a firewall drops, a closed port refuses.",
    )
