"""The connection was ended without a close frame after a silence: it looks like a timer for idle connections.

No load balancer that was tried sends a close frame when its timer fires; it ends TCP on both sides. A lifetime limit,
a reload or a crash at that moment look the same in one connection: others beside it, with pings and with messages,
tell them apart (`wsprobe trace URL --timers`).

Bad:
    proxy_read_timeout 60s;  # and nobody sends anything for a minute
Good:
    proxy_read_timeout 3600s;  # and a ping every 20 s
"""

from collections.abc import Iterator

from wsprobe.defaults import told
from wsprobe.durations import seconds
from wsprobe.ends import first_close, lost_frame, silence
from wsprobe.inspection import Timer
from wsprobe.judging import (
    Lack,
    Rule,
    again,
    close_place,
    held_places,
    ladders,
    observe_beyond,
    origin_places,
    where_else,
)
from wsprobe.ladder import Ladder
from wsprobe.model import Confidence, Finding, Sender
from wsprobe.path import Origin, Path, Reach
from wsprobe.wording import stretch


def silences(path: Path) -> "list[tuple[Path, Ladder | None]] | Lack":
    """Connections that were held side by side, or the one that there was."""
    held = ladders(path)
    if isinstance(held, Lack):
        return held
    return [*held] or [(path, None)] if path.upgraded else []


RULE = Rule(__name__, needs=silences, rank=65)

_BETWEEN = 0.9
"""Seconds of silence from which on an end in between is worth a thought: no timer is set below one second."""

_BEYOND = 5.0
"""The same where an application may have ended it, which fails after a second or two as well."""


def check(found: tuple[Path, Ladder | None]) -> Iterator[Finding]:
    """One finding where a silence was ended from inside."""
    path, held = found
    if held is None:
        yield from _alone(path)
    elif held.timer is Timer.IDLE:
        yield _beside_others(path, held)


def _beside_others(path: Path, held: Ladder) -> Finding:
    name, ended = path.outermost.name, len(held.seconds)
    return RULE.finding(
        f"Seen from {name}, silent connections end without a close frame after {seconds(held.time)}: {ended} of "
        f"{len(held.rungs)} did, after {held.spread}. A timer for idle connections does that; {held.resets}."
        f"{_delayed(held)}{_later(held)}",
        *held_places(held),
        confidence=Confidence.LIKELY,
        segment=(name, None),
        fix=f"Raise that timer beyond {name} well above the longest silence, or have something sent more often than "
        f"every {seconds(held.time / 2)}: {held.resets}.{told(Timer.IDLE, held.time - held.delayed)}",
        untested=("which of what lies beyond has the timer",),
        next_=observe_beyond(path, path.hops[-1]),
    )


def _delayed(held: Ladder) -> str:
    if not held.delayed:
        return ""
    return (
        f" The answer names Envoy, which closes a second after its timer: that would stand at {seconds(held.time - 1)}."
    )


def _later(held: Ladder) -> str:
    if not held.later:
        return ""
    ages = f"{min(held.later):.2f} to {max(held.later):.2f} s"
    return f" Those with traffic ended as well, after {ages}: a limit on the lifetime beside that timer fits."


def _alone(path: Path) -> Iterator[Finding]:
    where = path.where_ended_without_frame()
    if where is None or where.reach is Reach.RECORDER or (where.inner and lost_frame(where.hop, where.inner)):
        return
    quiet = silence(where.hop)
    if quiet is None or quiet < (_BETWEEN if where.reach is Reach.BETWEEN else _BEYOND):
        return
    ended = first_close(where.hop)
    yield RULE.finding(
        f"After {seconds(quiet)} without a byte in either direction the connection was ended without a close frame; "
        f"the end came from {where.words}{_both_sides(where)}. A timer for idle connections does that.",
        *origin_places(path, where, close_place),
        confidence=Confidence.POSSIBLE,
        segment=where.segment,
        fix=f"{_place(where)}, raise the timer for idle connections well above the longest silence, or send a ping "
        f"more often than every {seconds(quiet / 2)}.",
        others=(
            *where_else(where),
            f"a limit on the lifetime of a connection, of {seconds(ended.at if ended else quiet)}",
            "a reload or a crash at that moment",
        ),
        untested=("whether traffic resets the timer",),
        next_=(again(path, f"--timers --hold {_number(quiet * 3)}"),),
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _both_sides(where: Origin) -> str:
    inside = first_close(where.inner) if where.inner and where.reach is Reach.BETWEEN else None
    return ", on both sides" if inside and inside.sender is Sender.CLIENT else ""


def _place(where: Origin) -> str:
    if where.segment is None:
        return "On the path"
    place = stretch((where.hop.name, where.hop.name) if where.in_application else where.segment)
    return f"{place[0].upper()}{place[1:]}"
