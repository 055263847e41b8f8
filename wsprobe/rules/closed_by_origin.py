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
from wsprobe.durations import seconds
from wsprobe.ends import first_close, is_healthy
from wsprobe.judging import Rule, ask_from_outside, close_place, observe_beyond, origin_places, upgraded, where_else
from wsprobe.model import Confidence, Finding, Severity
from wsprobe.path import Origin, Path, Reach
from wsprobe.wording import code, stretch

RULE = Rule(__name__, needs=upgraded, rank=80)

_GOING_AWAY = 1001
_OF_THE_SERVER = frozenset({_GOING_AWAY, 1012, 1013})
"""Codes that speak of the server as a whole, and of no request."""


def check(path: Path) -> Iterator[Finding]:
    """One finding where the close frame came from beyond the innermost hop, as far as that is known."""
    where = path.where_closed_with_frame()
    close = first_close(where.hop) if where else None
    if where is None or close is None or where.reach is Reach.BETWEEN:
        return  # a frame that an inner hop did not see was made in between: close-code-rewritten tells it
    if is_healthy(close) and close.code != _GOING_AWAY:
        return
    confidence = _confidence(path, where)
    yield RULE.finding(
        f"The connection was closed after {seconds(close.at)} with {code(close)}; the close frame came from "
        f"{where.words}.",
        *origin_places(path, where, close_place),
        severity=Severity.WARNING if is_healthy(close) else Severity.ERROR,
        confidence=confidence,
        segment=where.segment,
        fix=_fix(where, close.code),
        others=_others(where, close.code) if confidence is Confidence.POSSIBLE else (),
        untested=() if where.in_application else (f"what lies beyond {where.hop.name}, and what arrived there",),
        next_=() if where.in_application else (*observe_beyond(path, where.hop), *ask_from_outside(path)),
    )


def _confidence(path: Path, where: Origin) -> Confidence:
    """With a hop further out that saw it pass, nothing that was observed made it; one hop alone rules out nothing."""
    if where.in_application:
        return Confidence.PROVEN
    return Confidence.LIKELY if where.reach is Reach.BEYOND and where.hop is not path.outermost else Confidence.POSSIBLE


def _fix(where: Origin, number: int | None) -> str:
    place = f"the application at {where.hop.name}" if where.in_application else f"what lies beyond {where.hop.name}"
    sender = closecodes.SENDERS.get(number or 0)
    return f"Read the log of {place} at that moment.{f' Who sends {number}: {sender}' if sender else ''}"


def _others(where: Origin, number: int | None) -> tuple[str, ...]:
    beyond = stretch((where.hop.name, None))
    lost = f"the application failed because something that it needs, a header for one, was lost {beyond}"
    return (
        *where_else(where),
        f"a gateway {beyond} that terminates WebSockets made it when it lost its upstream",
        *(() if number in _OF_THE_SERVER else (lost,)),
    )
