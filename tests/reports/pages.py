"""Reports that HTML pages are tested with, beside the canonical ones: wide, long, explained, very many."""

from dataclasses import replace

from tests.reports.samples import CLIENT_ONLY, HEALTHY, INCIDENT, SEVERAL, hop
from wsprobe.model import (
    Activity,
    Body,
    Cell,
    Close,
    Confidence,
    Count,
    Ending,
    Frame,
    Frames,
    Line,
    Link,
    Message,
    Pings,
    PingsBySide,
    Remedy,
    Report,
    Reports,
    Row,
    Sender,
    State,
    Summary,
    Trace,
    Who,
    WriteUp,
)


def wide(headers: int, hops: int, value: str = "v") -> Report:
    """Many headers by many hops, every third altered on the way and every fifth lost."""

    def cells(number: int) -> tuple[Cell, ...]:
        every = [Cell(state=State.PRESENT, value=f"{value}-{number}")] * hops
        if number % 3 == 0:
            every[hops // 2 :] = [Cell(state=State.PRESENT, value=f"{value}-{number}-other")] * (hops - hops // 2)
            every[hops // 2] = replace(every[hops // 2], state=State.ALTERED)
        if number % 5 == 0:
            every[-1] = Cell(state=State.ABSENT)
        return tuple(every)

    names = [f"hop-{number}" for number in range(hops)]
    seen = tuple(hop(name, (hops - number) / 100) for number, name in enumerate(names))
    return replace(
        INCIDENT,
        trace=replace(INCIDENT.trace, hops=seen),
        verdict=replace(INCIDENT.findings[0], segment=(names[1], names[2])),
        matrix=tuple(Row(message="request", name=f"X-Header-{n}", cells=cells(n)) for n in range(headers)),
        endings=tuple(f"{name}: received 1011" for name in names),
    )


LIVED = replace(
    hop("client", 0.041),
    phases={"dns": 0.002, "tcp": 0.011, "tls": 0.024, "upgrade": 0.041},
    frames=Frames(
        client={"text": Count(frames=3, bytes=120), "ping": Count(frames=9, bytes=36)},
        server={"binary": Count(frames=12, bytes=65_000), "pong": Count(frames=8, bytes=32)},
    ),
    pings=PingsBySide(client=Pings(sent=9, answered=8, shortest=0.01, mean=0.012, longest=0.03)),
    activity=Activity(client=40.0, server=38.0),
    closes=(
        Close(sender=Sender.SERVER, ending=Ending.RESET, code=None, reason="", at=60.1),
        Close(sender=Sender.LOCAL, ending=Ending.TIMEOUT, code=None, reason="", at=70.0),
    ),
    ended=70.0,
    response=Message(
        start_line="HTTP/1.1 403 Forbidden",
        headers=(("Content-Type", "text/html"),),
        body=Body(text="<h1>no</h1>\n<script>alert(1)</script>", size=37),
    ),
)
LONG_LIFE = replace(INCIDENT, trace=Trace(id=None, hops=(LIVED,), order=None), verdict=None, findings=())


def _frame(at: float, sender: Sender, opcode: str, octets: int) -> Frame:
    return Frame(at=at, sender=sender, opcode=opcode, bytes=octets)


_SAID = (
    _frame(0.06, Sender.CLIENT, "text", 48),
    _frame(0.09, Sender.SERVER, "text", 210),
    *(_frame(1 + number / 50, Sender.SERVER, "binary", 4096 + 500 * number) for number in range(28)),
    _frame(7.5, Sender.CLIENT, "text", 20),
    _frame(20.0, Sender.SERVER, "ping", 4),
    _frame(20.012, Sender.CLIENT, "pong", 4),
    _frame(33.0, Sender.CLIENT, "binary", 900_000),
    _frame(40.0, Sender.SERVER, "ping", 4),
    _frame(40.012, Sender.CLIENT, "pong", 4),
    _frame(60.0, Sender.SERVER, "ping", 4),
    _frame(88.43, Sender.CLIENT, "close", 2),
)
TALKED = replace(
    hop("client", 0.041),
    frames=Frames(
        client={
            "text": Count(frames=2, bytes=68),
            "binary": Count(frames=1, bytes=900_000),
            "close": Count(frames=1, bytes=2),
            "pong": Count(frames=2, bytes=8),
        },
        server={
            "text": Count(frames=3, bytes=257),
            "binary": Count(frames=9958, bytes=80_000_000),
            "close": Count(frames=1, bytes=2),
            "ping": Count(frames=4, bytes=16),
        },
        first=_SAID,
        last=(
            _frame(79.9, Sender.SERVER, "binary", 8000),
            _frame(80.0, Sender.SERVER, "ping", 4),
            _frame(88.4, Sender.SERVER, "text", 31),
            _frame(88.41, Sender.SERVER, "close", 2),
        ),
    ),
    pings=PingsBySide(server=Pings(sent=4, answered=2, shortest=0.012, mean=0.012, longest=0.012)),
    activity=Activity(client=88.43, server=88.41),
    closes=(
        Close(sender=Sender.SERVER, ending=Ending.FRAME, code=1011, reason="", at=88.41),
        Close(sender=Sender.CLIENT, ending=Ending.FRAME, code=1011, reason="", at=88.43),
        Close(sender=Sender.SERVER, ending=Ending.EOF, code=None, reason="", at=88.45),
    ),
    ended=88.45,
)
"""A hop at which much passed: the first frames of each side are kept, and the last ones."""

TALK = replace(
    CLIENT_ONLY,
    trace=replace(CLIENT_ONLY.trace, hops=(TALKED, replace(TALKED, name="edge"))),
    endings=("client: received 1011 (internal error); then sent 1011",) * 2,
)

CONFIGURED = replace(
    INCIDENT,
    verdict=replace(
        INCIDENT.findings[0],
        lines=(
            Line(
                path="/etc/nginx/nginx.conf",
                line=42,
                text='proxy_set_header Authorization "";',
                column=9,
                length=16,
                indent=8,
            ),
        ),
    ),
    config=("nginx.conf, as exported: predicts that Authorization is removed",),
)


LINE = Line(path="/etc/nginx/nginx.conf", line=42, text='proxy_set_header Authorization "";')
EXPLAINED = replace(
    INCIDENT,
    writeup=WriteUp(
        chain=(
            Link(what="The client saw 1011.", confidence=Confidence.PROVEN, leads=None, places=()),
            Link(
                what="Authorization was lost.",
                confidence=Confidence.PROVEN,
                leads=Confidence.POSSIBLE,
                places=INCIDENT.findings[0].places,
                rule="header-removed",
                lines=(LINE,),
            ),
        ),
        proven="Proven: header-removed.",
        fixes=(
            Remedy(
                who=Who.CONFIG,
                what="Pass it on.",
                line=LINE,
                instead="proxy_set_header Authorization $http_authorization;",
            ),
            Remedy(who=Who.CLIENT, what="Use `--carrier`."),
        ),
        verify=("wsprobe diff before.json after.json   # after the fix",),
        prevent=("wsprobe inspect /etc/nginx",),
    ),
)


def many(connections: int) -> Reports:
    """Very many connections of four results."""
    kinds = [replace(INCIDENT, subject=f"wss://staging.example.com/{n}") for n in range(3)]
    every = tuple((*kinds, CLIENT_ONLY, HEALTHY)[n % 5] for n in range(connections))
    healthy = sum(one.verdict is None for one in every)
    return Reports(
        reports=every, summary=Summary(connections=connections, healthy=healthy, phases=SEVERAL.summary.phases)
    )
