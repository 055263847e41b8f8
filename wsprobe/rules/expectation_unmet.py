"""A message that was expected did not come in time.

The handshake is one thing, the conversation another: with --expect, --expect-regex and --events a trace also says
whether the application answers.

Bad:
    101, and then nothing
Good:
    101, and {"type": "ready"} within the time allowed
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, hops
from wsprobe.model import Finding, Observation, Place
from wsprobe.path import Path

RULE = Rule(__name__, needs=hops, rank=90)


def check(place: tuple[Observation, Path]) -> Iterator[Finding]:
    """One finding for the first step that was not met: those after it had no chance."""
    hop, _ = place
    unmet = [step for step in hop.expectations if not step.met]
    if not unmet or hop.handshake is None or not hop.handshake.upgraded:
        return
    step, later = unmet[0], len(unmet) - 1
    more = f"; {later} more after it were not waited for" if later else ""
    met = len(hop.expectations) - len(unmet)
    yield RULE.finding(
        f"{step.kind} {step.what} did not come to {hop.name} ({met} of {len(hop.expectations)} did{more}).",
        Place(hop=hop.name, part="expectations", shows=f"{step.kind} {step.what}: not met"),
        segment=(hop.name, None),
        fix="Look at what the application does with this connection after the handshake.",
    )
