"""Observations by hand, for tests of what is made of them."""

import base64
from datetime import UTC, datetime, timedelta

from wsprobe import handshake
from wsprobe.model import Close, Ending, Header, Message, Observation, Recorder, Sender
from wsprobe.observer import Unredacted
from wsprobe.redact import redact

BEGAN = datetime(2026, 3, 2, 10, 15, 4, tzinfo=UTC)
TRACE = "9f86d081884c7d659a2feaa0c55a0000"


def key(number: int) -> str:
    """A Sec-WebSocket-Key that nobody else has."""
    return base64.b64encode(number.to_bytes(16)).decode()


def asked(
    *more: Header, number: int | None = 1, trace: str | None = None, host: str = "app.example.com"
) -> tuple[Header, ...]:
    """The headers of an opening handshake with the key of that number, and a traceparent if one is given."""
    keys = [] if number is None else [("Sec-WebSocket-Key", key(number))]
    parents = [] if trace is None else [("traceparent", f"00-{trace}-53995c3f42cd8ad8-01")]
    rest = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]
    return (("Host", host), *rest, *keys, *parents, *more)


def plain(trace: str, *more: Header) -> tuple[Header, ...]:
    """The headers of an ordinary request under a trace id."""
    return (("Host", "app.example.com"), ("traceparent", f"00-{trace}-53995c3f42cd8ad8-01"), *more)


def frame(sender: Sender, code: int, at: float = 0.05, reason: str = "") -> Close:
    return Close(sender=sender, ending=Ending.FRAME, code=code, reason=reason, at=at)


def hop(  # noqa: PLR0913  keywords, each with a default
    name: str,
    headers: tuple[Header, ...] | None = None,
    *,
    status: int | None = 101,
    took: float = 0.01,
    late: float = 0.0,
    instance: str | None = None,
    kind: str = "relay",
    answer: tuple[Header, ...] = (),
    closes: tuple[Close, ...] = (),
    connection: str | None = None,
) -> Observation:
    """What a hop saw: `took` is how long the handshake lasted there, `late` when it began, in seconds; redacted."""
    request = Message(start_line="GET /ws HTTP/1.1", headers=asked() if headers is None else headers)
    if status == 101:
        accept = handshake.accept_for(dict(request.headers).get("Sec-WebSocket-Key", ""))
        answer = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept), *answer)
    response = None if status is None else Message(start_line=f"HTTP/1.1 {status} Said", headers=answer)
    ids = handshake.trace_ids(request.headers)
    seen = Observation(
        name=name,
        instance=instance or f"host-of-{name}",
        recorder=Recorder(kind="probe" if name == "client" else kind, version="0"),
        connection=connection or f"{name}-{late}-{took}",
        exchange=0,
        trace=ids[0] if ids else None,
        at=(BEGAN + timedelta(seconds=late)).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        request=request,
        response=response,
        closes=closes,
        ended=1.0,
        handshake=handshake.judge(request, response, None if status is None else took),
    )
    return redact(Unredacted(seen))
