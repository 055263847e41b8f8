"""The connection ended by FIN or RST, and no close frame was sent by anybody.

Clients call it 1006. Idle timers, reloads and crashes of proxies look so, and so does a handler that raises under
uvicorn, aiohttp or tornado: the hop that saw it first tells which side it was.

Bad:
    async def handler(request): …; raise KeyError("Authorization")  # under uvicorn: TCP is closed, no frame
Good:
    an application that closes with a code, and a proxy whose timers are longer than the silence
"""

from collections.abc import Iterator

from wsprobe.durations import seconds
from wsprobe.ends import both_at_once, first_close, frames, lost_frame, silence
from wsprobe.judging import (
    Rule,
    again,
    ask_from_outside,
    close_place,
    observe_beyond,
    origin_places,
    upgraded,
    where_else,
)
from wsprobe.model import Confidence, Finding, Observation, Sender, Severity
from wsprobe.path import Origin, Path, Reach
from wsprobe.wording import bare_ending

RULE = Rule(__name__, needs=upgraded, rank=70)


def check(path: Path) -> Iterator[Finding]:
    """One finding per connection that no frame closed."""
    where = path.where_ended_without_frame()
    if where and where.inner and lost_frame(where.hop, where.inner):
        return  # there was a frame, and close-code-rewritten tells where it was lost
    if where and where.reach is Reach.RECORDER:
        yield _by_recorder(path, where)
    elif where:
        yield _from_inside(path, where)
    elif path.client is None and not frames(path.outermost):
        yield from _by_client(path.outermost)


def _from_inside(path: Path, where: Origin) -> Finding:
    settled = where.reach is Reach.BETWEEN or where.in_application
    return RULE.finding(
        f"The connection ended without a close frame; the end came from {where.words}. At {where.hop.name}: "
        f"{bare_ending(where.hop)}.",
        *origin_places(path, where, close_place),
        confidence=Confidence.PROVEN if where.known else Confidence.POSSIBLE,
        segment=where.segment,
        fix="Read the log of what stands there at that moment: a handler that raised, a crash, a reload and a timer "
        "all end a connection so.",
        others=where_else(where),
        untested=() if where.in_application else (f"what happened {where.words}",),
        next_=() if settled else (*observe_beyond(path, where.hop), *ask_from_outside(path)),
    )


def _by_recorder(path: Path, where: Origin) -> Finding:
    inner = where.inner or where.hop
    return RULE.finding(
        f"The connection ended without a close frame, when the recorder at {inner.name} ended it itself: "
        f"{bare_ending(inner)}. That is no fault of the path.",
        *origin_places(path, where, close_place),
        severity=Severity.WARNING,
        confidence=Confidence.POSSIBLE,
        segment=where.segment,
        fix=f"Let the recorder at {inner.name} run for longer than the connection.",
        others=where_else(where),
        next_=(again(path, "--hold 5"),),
    )


def _by_client(hop: Observation) -> Iterator[Finding]:
    """The client's side left: no fault of the path behind this hop, but what stands before it was not observed."""
    ended, quiet = first_close(hop), silence(hop)
    unsure = both_at_once(hop)
    if ended is None or (ended.sender is not Sender.CLIENT and not unsure):
        return
    after = f", after {seconds(quiet)} without a byte" if quiet and quiet >= 1 else ""
    how = "both sides were found ended, and which was first is not known" if unsure else bare_ending(hop)
    who = "The connection at" if unsure else "The client's side of"
    yield RULE.finding(
        f"{who} {hop.name} ended{'' if unsure else ' the connection'} without a close frame{after}: {how}.",
        close_place(hop),
        severity=Severity.WARNING,
        segment=None if unsure else (None, hop.name),
        fix="Look at the client, and at the timers of what stands before this hop.",
    )
