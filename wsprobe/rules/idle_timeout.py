"""The connection was ended without a close frame after a silence: it looks like a timer for idle connections.

No load balancer that was tried sends a close frame when its timer fires; it ends TCP on both sides. A lifetime limit,
a reload or a crash at that moment look the same in one connection: pings that keep it alive tell them apart.

Bad:
    proxy_read_timeout 60s;  # and nobody sends anything for a minute
Good:
    proxy_read_timeout 3600s;  # and a ping every 20 s
"""

from collections.abc import Iterator

from wsprobe.model import Confidence, Finding
from wsprobe.path import Path, first_close, silence
from wsprobe.rules import Rule, close_place, upgraded
from wsprobe.wording import seconds, stretch

RULE = Rule(__name__, needs=upgraded, rank=65)

_LONG_ENOUGH = 0.9
"""Seconds of silence from which on a timer is worth a thought: none is set below one second."""


def check(path: Path) -> Iterator[Finding]:
    """One finding where a silence was ended from inside, and not by the application's own recorder."""
    where = path.where_ended_without_frame()
    quiet = silence(where.hop) if where else None
    if where is None or quiet is None or quiet < _LONG_ENOUGH:
        return
    ended = first_close(where.hop)
    between = where.segment[0] and where.segment[1]
    who = f"the application at {where.hop.name}" if where.in_application else f"something {stretch(where.segment)}"
    yield RULE.finding(
        f"After {seconds(quiet)} without a byte in either direction, {who} ended the "
        f"connection{' on both sides' if between else ''} without a close frame: a timer for idle connections does "
        "that.",
        *(close_place(hop) for hop in path.hops if hop.closes),
        confidence=Confidence.POSSIBLE,
        segment=where.segment,
        fix=f"{stretch(where.segment).capitalize()}, raise the timer for idle connections well above the longest "
        f"silence, or send a ping more often than every {seconds(quiet / 2)}.",
        others=(
            f"a limit on the lifetime of a connection of {seconds(ended.at if ended else quiet)}",
            "a reload or a crash at that moment",
        ),
        untested=("whether traffic resets the timer",),
        next_=(f"wsprobe trace URL --ping {quiet / 3:.2g} --hold {quiet * 3:.3g}   # does it live longer with pings?",),
    )
