"""The connection ended by FIN or RST, and no close frame was sent by anybody.

Clients call it 1006. Idle timers, reloads and crashes of proxies look so, and so does a handler that raises under
uvicorn, aiohttp or tornado: the hop that saw it first tells which side it was.

Bad:
    async def handler(request): …; raise KeyError("Authorization")  # under uvicorn: TCP is closed, no frame
Good:
    an application that closes with a code, and a proxy whose timers are longer than the silence
"""

from collections.abc import Iterator

from wsprobe.model import Confidence, Finding, Observation, Sender, Severity
from wsprobe.path import Origin, Path, first_close, frames
from wsprobe.rules import Rule, close_place, observe_beyond, upgraded
from wsprobe.wording import ending, stretch

RULE = Rule(__name__, needs=upgraded, rank=70)


def check(path: Path) -> Iterator[Finding]:
    """One finding per connection that no frame closed."""
    where = path.where_ended_without_frame()
    if where:
        yield _from_inside(path, where)
    elif path.client is None and _left(path.outermost):
        yield RULE.finding(
            f"The client's side of {path.outermost.name} ended the connection without a close frame: "
            f"{ending(path.outermost)}.",
            close_place(path.outermost),
            severity=Severity.WARNING,
            segment=(None, path.outermost.name),
            fix="Look at the client, and at what stands before this hop.",
        )


def _from_inside(path: Path, where: Origin) -> Finding:
    if where.in_application:
        came = f"the application at {where.hop.name} ended it"
    elif where.at_end or where.segment[1]:
        came = f"it was ended {stretch(where.segment)}"
    else:
        came = "the order of the hops is not known, so nor is where it was ended"
    known = where.segment[1] is not None or where.at_end
    return RULE.finding(
        f"The connection ended without a close frame: {came}; {ending(where.hop)}.",
        *(close_place(hop) for hop in path.hops if hop.closes),
        confidence=Confidence.PROVEN if known else Confidence.POSSIBLE,
        segment=where.segment if known else None,
        fix="A handler that raised, a crash, a reload or a timer: read the log of what stands there at that moment.",
        untested=() if where.in_application else (f"what happened {stretch(where.segment)}",),
        next_=() if where.segment[1] or where.in_application else observe_beyond(where.hop),
    )


def _left(hop: Observation) -> bool:
    ended = first_close(hop)
    return ended is not None and not frames(hop) and ended.sender is Sender.CLIENT
