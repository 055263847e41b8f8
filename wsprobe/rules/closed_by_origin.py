"""The far side closed the connection with a close frame, and its code is no ordinary one.

A proxy that tunnels sends no close frames: a code on the wire comes from a WebSocket endpoint, the application or a
gateway that terminates WebSockets. 1011 says that a handler failed; it never proves that a header was stripped.

Bad:
    async def handler(socket): user = verify(socket.request.headers["Authorization"])  # raises: 1011
Good:
    async def handler(socket): …; await socket.close(1008, "no credentials")
"""

from collections.abc import Iterator

from wsprobe import closecodes
from wsprobe.model import Confidence, Finding, Severity
from wsprobe.path import Origin, Path, frames, is_healthy
from wsprobe.rules import Rule, close_place, observe_beyond, upgraded
from wsprobe.wording import code, seconds, stretch

RULE = Rule(__name__, needs=upgraded, rank=80)

_GOING_AWAY = 1001


def check(path: Path) -> Iterator[Finding]:
    """One finding where the close frame came from beyond the innermost hop."""
    where = path.where_closed_with_frame()
    if where is None or (path.trace.order is not None and not where.at_end):
        return  # a frame that an inner hop did not see was made in between: close-code-rewritten tells it
    close = frames(where.hop)[0]
    if is_healthy(close) and close.code != _GOING_AWAY:
        return
    yield RULE.finding(
        f"The connection was closed with {code(close)} {seconds(close.at)} after the request; the close frame came "
        f"from {'the application at ' + where.hop.name if where.in_application else stretch(where.segment)}.",
        *(close_place(hop) for hop in path.hops if hop.closes),
        severity=Severity.WARNING if is_healthy(close) else Severity.ERROR,
        confidence=_confidence(path, where),
        segment=where.segment,
        fix="Read the application's own log at that moment: the handler says why."
        if where.in_application
        else closecodes.SENDERS.get(close.code or 0),
        others=() if where.in_application else _others(where),
        untested=() if where.in_application else (f"what arrived beyond {where.hop.name}",),
        next_=() if where.in_application else observe_beyond(where.hop),
    )


def _confidence(path: Path, where: Origin) -> Confidence:
    if where.in_application:
        return Confidence.PROVEN
    return Confidence.LIKELY if path.client is not where.hop and where.at_end else Confidence.POSSIBLE


def _others(where: Origin) -> tuple[str, ...]:
    gateway = f"a gateway beyond {where.hop.name} that terminates WebSockets and lost its upstream"
    return gateway, f"the application failed because something it needs was lost beyond {where.hop.name}"
