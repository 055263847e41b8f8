"""Canonical reports, which every format renders: an incident, health, a client alone, and hops in unknown order."""

from dataclasses import replace

from wsprobe.model import (
    Activity,
    Cell,
    Close,
    Confidence,
    Control,
    Count,
    Ending,
    Finding,
    Frame,
    Frames,
    Handshake,
    Jwt,
    Message,
    Observation,
    Peers,
    Place,
    Recorder,
    Redaction,
    Replaced,
    Report,
    Reports,
    Row,
    Sender,
    Severity,
    Skip,
    Spread,
    State,
    Summary,
    Trace,
)
from wsprobe.writeup import with_write_up

TRACE = "9f86d081884c7d659a2feaa0c55a0000"
KEY = "n4bQgYhMfWWaL+qgxVoAAA=="
TOKEN = "[withheld 187 characters JWT 36.106.43 fp 60303ae22b99]"
BEARER = ("Authorization", f"Bearer {TOKEN}")

ASKED = (
    ("Host", "staging.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Protocol", "v2.chat.example.com"),
    ("traceparent", f"00-{TRACE}-53995c3f42cd8ad8-01"),
    ("User-Agent", "wsprobe/0.1.0"),
    ("Accept-Language", "en"),
    BEARER,
)
ASKED_INSIDE = (
    ("Host", "chat-backend:8080"),
    *(header for header in ASKED[1:] if header != BEARER),
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
)
ANSWERED = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="),
    ("Sec-WebSocket-Protocol", "v2.chat.example.com"),
    ("Date", "Mon, 02 Mar 2026 10:15:04 GMT"),
    ("Server", "nginx/1.28.0"),
)
CLOSES = (
    Close(sender=Sender.SERVER, ending=Ending.FRAME, code=1011, reason="", at=0.052),
    Close(sender=Sender.CLIENT, ending=Ending.FRAME, code=1011, reason="", at=0.053),
    Close(sender=Sender.SERVER, ending=Ending.EOF, code=None, reason="", at=0.054),
)
RECORDERS = {
    "client": Recorder(kind="probe", version="0.1.0"),
    "edge": Recorder(
        kind="relay", version="0.1.0", blind=("bytes that the kernel drops",), alters=("the source address",)
    ),
    "inner": Recorder(
        kind="mitmproxy", version="0.1.0 in 12.2.3", alters=("the source address", "ALPN: only http/1.1 is offered")
    ),
}
REDACTION = Redaction(
    message="request",
    header=9,
    name="authorization",
    scheme="Bearer",
    length=187,
    shown=TOKEN,
    parts=(36, 106, 43),
    fingerprints={f"trace:{TRACE}": "60303ae22b99"},
    jwt=Jwt(alg="HS256", typ="JWT", iss="https://id.example.com", aud=("chat",), exp=1772450000.0, claims=("sub",)),
)


def hop(name: str, duration: float, headers: tuple[tuple[str, str], ...] = ASKED) -> Observation:
    return Observation(
        name=name,
        instance={"client": "laptop", "edge": "lb-1", "inner": "chat-7f9c"}.get(name, "host"),
        recorder=RECORDERS.get(name, RECORDERS["edge"]),
        connection="5d41402abc4b2a76",
        exchange=1,
        trace=TRACE,
        at="2026-03-02T10:15:04.120000Z",
        peers=Peers(client="203.0.113.7:51234", local="192.0.2.10:443", server="10.0.0.5:8080"),
        request=Message(start_line="GET /ws?room=7 HTTP/1.1", headers=headers),
        response=Message(start_line="HTTP/1.1 101 Switching Protocols", headers=ANSWERED),
        handshake=Handshake(asked=True, upgraded=True, duration=duration, connection=("Upgrade",)),
        closes=CLOSES,
        ended=0.055,
        redactions=(REDACTION,) if BEARER in headers else (),
    )


def row(message: str, name: str, *values: str | None, note: str | None = None) -> Row:
    """A row as a diagnosis makes it: a value that is not that of the hop before is altered, None is absent."""
    made, last = [], values[0]
    for value in values:
        state = State.ABSENT if value is None else State.PRESENT if last in (value, None) else State.ALTERED
        made.append(Cell(state=state, value=value))
        last = value
    return Row(message=message, name=name, cells=tuple(made), note=note)


def rows(hops: tuple[Observation, ...]) -> tuple[Row, ...]:
    notes = {
        "host": "a proxy may name its upstream instead; it matters where the Origin is checked",
        "x-forwarded-for": "proxies write where a request came from",
        "x-forwarded-proto": "proxies write where a request came from",
    }
    found = []
    for kind in ("request", "response"):
        messages = [message for one in hops if (message := one.request if kind == "request" else one.response)]
        for name in dict.fromkeys(name for message in messages for name, _ in message.headers):
            values = [dict(message.headers).get(name) for message in messages]
            found.append(row(kind, name, *values, note=notes.get(name.lower())))
    return tuple(found)


LOST = Finding(
    rule="header-removed",
    message="Authorization left edge and did not arrive at inner. Whatever stands between them may have removed it; "
    "nothing in between was observed.",
    severity=Severity.ERROR,
    confidence=Confidence.PROVEN,
    segment=("edge", "inner"),
    header="Authorization",
    fix='In nginx an empty value removes a header: take `proxy_set_header Authorization "";` out of the location.',
    places=(
        Place(hop="edge", part="request", shows=f"Authorization: Bearer {TOKEN}"),
        Place(hop="inner", part="request", shows="no Authorization"),
    ),
)
CLOSED = Finding(
    rule="closed-by-origin",
    message="1011 (internal error) came from behind inner.",
    severity=Severity.WARNING,
    confidence=Confidence.PROVEN,
    segment=("inner", None),
    header=None,
    fix=None,
    places=(Place(hop="inner", part="closes", shows="received 1011 (internal error); then sent 1011"),),
)
RECEIVED = "received 1011 (internal error); then sent 1011"

_HOPS = (hop("client", 0.041), hop("edge", 0.038), hop("inner", 0.0042, ASKED_INSIDE))

INCIDENT = Report(
    version="0.1.0",
    subject="wss://staging.example.com/ws?room=7",
    summary="101 after 41 ms, then closed with 1011 after 11 ms",
    trace=Trace(id=TRACE, hops=_HOPS, order="by the time that the handshake took at each hop"),
    verdict=LOST,
    findings=(LOST, CLOSED),
    skips=(
        Skip(rule="token-invalid", lacks="a hop that verifies tokens"),
        Skip(rule="idle-timeout", lacks="a connection that was silent before it ended"),
    ),
    controls=(Control(name="the same token over plain HTTP", result="200: Authorization reached inner"),),
    connection=(
        "192.0.2.7:443; dns 2 ms, tcp 11 ms, tls 24 ms, upgrade 41 ms",
        "TLSv1.3, TLS_AES_256_GCM_SHA384, ALPN http/1.1, verified",
    ),
    next=(),
    redactions=(
        Replaced(what="authorization (Bearer, JWT of 187 characters)", where="request at client, edge", times=2),
    ),
    matrix=rows(_HOPS),
    endings=tuple(f"{one.name}: {RECEIVED}" for one in _HOPS),
    unobserved=("what lies between edge and inner", "the application behind inner"),
    alters=("edge: the source address", "inner: the source address; ALPN: only http/1.1 is offered"),
)

INCIDENT = with_write_up(INCIDENT)

_WELL = tuple(replace(one, closes=(), ended=None) for one in (hop("client", 0.041), hop("edge", 0.038)))
HEALTHY = replace(
    INCIDENT,
    summary="nothing wrong seen in 5 s, 1 connection, 1 address, with this token",
    trace=Trace(id=TRACE, hops=_WELL, order="one recorder behind the client"),
    verdict=None,
    writeup=None,
    findings=(),
    next=(),
    matrix=rows(_WELL),
    endings=("client: still open after 5.0 s", "edge: still open after 5.0 s"),
    unobserved=("what lies behind edge",),
    alters=("edge: the source address",),
)

SUSPECTED = Finding(
    rule="closed-by-origin",
    message="1011 (internal error) came from behind client. The code does not tell why: an exception for want of a "
    "credential and any other exception look the same.",
    severity=Severity.ERROR,
    confidence=Confidence.POSSIBLE,
    segment=("client", None),
    header=None,
    fix=None,
    places=(Place(hop="client", part="closes", shows=RECEIVED),),
    others=("a header was lost on the way", "the application failed for a reason of its own"),
    untested=("the same token over plain HTTP",),
    next=(
        "wsprobe record inner --listen 127.0.0.1:9000 --to http://127.0.0.1:8080 -o inner.jsonl",
        "wsprobe trace wss://staging.example.com/ws?room=7 --bearer-env TOKEN --records inner.jsonl",
    ),
)
_C, _S = Sender.CLIENT, Sender.SERVER
PASSED = Frames(
    client={"text": Count(frames=1, bytes=48), "close": Count(frames=1, bytes=2)},
    server={"text": Count(frames=40, bytes=5210), "close": Count(frames=1, bytes=2), "ping": Count(frames=1, bytes=4)},
    first=(
        Frame(at=0.0421, sender=_C, opcode="text", bytes=48),
        Frame(at=0.0443, sender=_S, opcode="text", bytes=210),
        Frame(at=0.0451, sender=_S, opcode="text", bytes=300, more=True),
        Frame(at=0.0452, sender=_S, opcode="ping", bytes=4),
        *(Frame(at=0.0460, sender=_S, opcode="text", bytes=100) for _ in range(3)),
        Frame(at=0.053, sender=_C, opcode="close", bytes=2),
    ),
    last=(
        Frame(at=0.0515, sender=_S, opcode="text", bytes=100),
        Frame(at=0.052, sender=_S, opcode="close", bytes=2),
    ),
)
"""Frames of a connection of which some are kept one by one."""

CLIENT_ONLY = with_write_up(
    replace(
        INCIDENT,
        trace=Trace(
            id=TRACE,
            hops=(replace(_HOPS[0], frames=PASSED, activity=Activity(client=0.053, server=0.052)),),
            order="one hop",
        ),
        verdict=SUSPECTED,
        findings=(SUSPECTED,),
        skips=(Skip(rule="header-removed", lacks="a second recorder: only client saw this request"),),
        next=SUSPECTED.next,
        redactions=(
            Replaced(what="authorization (Bearer, JWT of 187 characters)", where="request at client", times=1),
        ),
        matrix=rows(_HOPS[:1]),
        endings=(f"client: {RECEIVED}",),
        unobserved=("what lies behind client",),
        alters=(),
    )
)

_UNORDERED = (hop("client", 0.041), hop("east", 0.0200), hop("west", 0.0200))
UNKNOWN_ORDER = with_write_up(
    replace(
        INCIDENT,
        trace=Trace(id=TRACE, hops=_UNORDERED, order=None),
        verdict=SUSPECTED,
        findings=(SUSPECTED,),
        skips=(
            Skip(rule="header-removed", lacks="the order of the hops: no handshake took clearly longer than another"),
        ),
        matrix=rows(_UNORDERED),
        endings=tuple(f"{one.name}: {RECEIVED}" for one in _UNORDERED),
        unobserved=("which of east and west lies further out",),
        alters=("east: the source address", "west: the source address"),
    )
)

ONE_BY_ONE = {"incident": INCIDENT, "healthy": HEALTHY, "client-only": CLIENT_ONLY, "unknown-order": UNKNOWN_ORDER}

SEVERAL = Reports(
    reports=(INCIDENT, replace(INCIDENT, subject="wss://staging.example.com/ws?room=8"), CLIENT_ONLY, HEALTHY, HEALTHY),
    summary=Summary(
        connections=5,
        healthy=2,
        phases={"tcp": Spread(p50=0.0008, p95=0.0011, p99=0.002), "upgrade": Spread(p50=0.041, p95=0.052, p99=0.3)},
    ),
)
