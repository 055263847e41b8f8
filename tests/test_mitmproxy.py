"""What passes a mitmproxy is recorded as it was on the wire, by the addon and by the engine, and how it ended."""

import gzip
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import wire
from tests.backend import Answer, Backend, Exchange, echo, needs_token, plain, stay_open, switching
from tests.mitm import ENGINES, HOP, IGNORED, Tap, wait_for
from wsprobe.model import Ending, Observation, Sender, Subprotocol

pytestmark = [pytest.mark.filterwarnings(ignored) for ignored in IGNORED]

CLIENT, SERVER, LOCAL = Sender.CLIENT, Sender.SERVER, Sender.LOCAL
GET = b"GET /plain HTTP/1.1\r\nHost: app.example.test\r\n\r\n"


class Origin:
    """The one backend behind a recorder, whose behaviour each test sets."""

    def __init__(self) -> None:
        self.answer: Answer = stay_open
        self.backend = Backend(self._run)

    def _run(self, exchange: Exchange) -> None:
        self.answer(exchange)

    @property
    def last(self) -> Exchange:
        """Its latest connection."""
        return self.backend.exchanges[-1]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    origin = Origin()
    with origin.backend:
        yield origin


@pytest.fixture(scope="module", params=ENGINES)
def running(request: pytest.FixtureRequest, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tap]:
    records = tmp_path_factory.mktemp("records") / "tap.jsonl"
    with ENGINES[request.param](records, f"http://127.0.0.1:{origin.backend.port}") as tap:
        yield tap


@pytest.fixture
def tap(running: Tap, origin: Origin) -> Iterator[Tap]:
    """A recorder that runs; it must not have complained when the test is over."""
    wait_for(lambda: all(one.done.is_set() for one in origin.backend.exchanges), lambda: "earlier connections to end")
    running.forget()
    yield running
    assert not running.complaints()


def read_to_end(conn: socket.socket) -> bytes:
    """What comes until the peer ends; a reset is an AssertionError."""
    return b"".join(iter(lambda: conn.recv(65536), b""))


def read_until(conn: socket.socket, end: bytes) -> bytes:
    """What comes until it ends in these bytes."""
    got = b""
    while not got.endswith(end):
        chunk = conn.recv(65536)
        assert chunk, f"the connection ended after {got[-100:]!r}"
        got += chunk
    return got


def upgraded(tap: Tap) -> socket.socket:
    """A connection that got its 101."""
    conn = tap.connect()
    conn.sendall(wire.upgrade())
    head, rest = wire.read_head(conn)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert not rest
    return conn


def close(conn: socket.socket) -> None:
    conn.close()


def reset(conn: socket.socket) -> None:
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def ends(seen: Observation) -> list[tuple[Sender, Ending, int | None]]:
    """Who ended the connection how, in order."""
    return [(close.sender, close.ending, close.code) for close in seen.closes]


def says(*parts: bytes) -> Answer:
    """An origin that sends these bytes one after the other, whatever it was asked."""

    def answer(exchange: Exchange) -> None:
        for part in parts:
            exchange.send(part)
            time.sleep(0.05)

    return answer


def upgrades_then(last: Callable[[Exchange], None]) -> Answer:
    def answer(exchange: Exchange) -> None:
        exchange.send(switching(exchange.request))
        time.sleep(0.1)
        last(exchange)

    return answer


# Why mitmproxy's own WebSocket mode is off.


@pytest.mark.parametrize(
    ("drop", "ending"),
    [
        pytest.param(lambda _: None, Ending.EOF, id="FIN"),
        pytest.param(Exchange.reset, Ending.RESET, id="RST"),
    ],
)
def test_a_server_that_drops_tcp_is_no_clean_close(
    tap: Tap, origin: Origin, drop: Callable[[Exchange], None], ending: Ending
) -> None:
    origin.answer = upgrades_then(drop)
    with upgraded(tap) as client:
        assert read_to_end(client) == b""
    seen = tap.ended()
    assert ends(seen) == [(SERVER, ending, None)]
    assert seen.frames
    assert not seen.frames.client
    assert not seen.frames.server


@pytest.mark.parametrize(
    ("drop", "ending"),
    [pytest.param(close, Ending.EOF, id="FIN"), pytest.param(reset, Ending.RESET, id="RST")],
)
def test_a_client_that_drops_tcp_is_no_clean_close(
    tap: Tap, origin: Origin, drop: Callable[[socket.socket], None], ending: Ending
) -> None:
    origin.answer = stay_open
    drop(upgraded(tap))
    assert ends(tap.ended()) == [(CLIENT, ending, None)]
    assert origin.last.done.wait(5)
    assert (origin.last.ended, bytes(origin.last.received)) == ("eof", b"")


@pytest.mark.parametrize("code", [1000, 1004, 1006, 1011, 1014, 1015, 2999, 4401])
def test_a_close_code_stays_what_it_is(tap: Tap, origin: Origin, code: int) -> None:
    frame = wire.close(code, "später")
    origin.answer = upgrades_then(lambda exchange: exchange.send(frame))
    with upgraded(tap) as client:
        assert read_to_end(client) == frame
    seen = tap.ended()
    assert ends(seen) == [(SERVER, Ending.FRAME, code), (SERVER, Ending.EOF, None)]
    assert seen.closes[0].reason == "später"


def test_a_close_frame_without_a_code_and_a_broken_frame_stay_what_they_are(tap: Tap, origin: Origin) -> None:
    sent = b"\x83\x00" + wire.frame(wire.CLOSE)
    origin.answer = upgrades_then(lambda exchange: exchange.send(sent))
    with upgraded(tap) as client:
        assert read_to_end(client) == sent
    seen = tap.ended()
    assert ends(seen)[0] == (SERVER, Ending.FRAME, None)
    assert [(flaw.sender, flaw.kind) for flaw in seen.anomalies] == [(SERVER, "a reserved opcode")]


def test_messages_and_pings_are_counted_and_timed(tap: Tap, origin: Origin) -> None:
    origin.answer = echo
    with upgraded(tap) as client:
        for opcode, payload in ((wire.TEXT, b"hello"), (wire.BINARY, bytes(70_000)), (wire.PING, b"p")):
            client.sendall(wire.frame(opcode, payload, mask=wire.MASK))
            back = wire.frame(wire.PONG if opcode == wire.PING else opcode, payload)
            assert read_until(client, back) == back
        client.sendall(wire.close(1000, mask=wire.MASK))
        assert read_to_end(client) == wire.close(1000)
    seen = tap.ended()
    assert seen.frames
    assert seen.pings
    assert seen.pings.client
    counted = {name: (count.frames, count.bytes) for name, count in seen.frames.client.items()}
    assert counted == {"text": (1, 5), "binary": (1, 70_000), "ping": (1, 1), "close": (1, 2)}
    assert set(seen.frames.server) == {"text", "binary", "pong", "close"}
    passed = [(one.sender, one.opcode, one.bytes) for one in seen.frames.first]
    said = [("text", 5), ("binary", 70_000), ("ping", 1), ("pong", 1), ("close", 2)]
    assert passed[:4] == [(side, *one) for one in said[:2] for side in (CLIENT, SERVER)]
    assert passed[4:] == [(CLIENT, *said[2]), (SERVER, *said[3]), (CLIENT, *said[4]), (SERVER, *said[4])]
    times = [one.at for one in seen.frames.first]
    assert times == sorted(times)
    assert (seen.pings.client.sent, seen.pings.client.answered) == (1, 1)
    assert 0 < (seen.pings.client.mean or 0) < 1
    assert [close.sender for close in seen.closes[:2]] == [CLIENT, SERVER]


# Heads and bodies.


def test_an_upgrade_is_written_when_it_is_answered_and_again_when_it_ends(tap: Tap, origin: Origin) -> None:
    origin.answer = stay_open
    with upgraded(tap):
        wait_for(lambda: tap.observations(ended=0), lambda: "the first line")
        assert [(one.ended, one.closes) for one in tap.observations(ended=0)] == [(None, ())]
    first, last = tap.observations()
    assert (first.name, last.name) == (HOP, HOP)
    assert (first.connection, first.exchange, first.at) == (last.connection, last.exchange, last.at)
    assert last.ended is not None
    assert last.handshake
    assert last.handshake.upgraded
    assert 0 < (last.handshake.duration or 0) < last.ended + 1
    assert last.recorder.kind == "mitmproxy"
    assert re.fullmatch(r"\d[\d.]+ \(mitmproxy \d[\d.]+\)", last.recorder.version)
    assert last.peers
    assert last.peers.local == f"127.0.0.1:{tap.port}"
    assert last.peers.server == f"127.0.0.1:{origin.backend.port}"


def test_heads_are_recorded_as_they_came_and_secrets_are_not(tap: Tap, origin: Origin) -> None:
    origin.answer = needs_token
    token = "c2VjcmV0LXRva2VuLW9mLWEtdGVzdA"
    with tap.connect() as client:
        sent = (
            b"GET /ws?a=1&a=2 HTTP/1.1\r\nhOsT: App.Example.test:81\r\nUpgrade: WebSocket\r\n"
            b"CONNECTION: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nX-Dup: one\r\nX-Dup: two\r\nx_under: \xe9\r\nX-Empty: \r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n"
            b"Sec-WebSocket-Protocol: a, b\r\n\r\n"
        )
        client.sendall(sent)
        assert read_until(client, b"done").endswith(wire.close(1000, "done"))  # the token arrived
    seen = tap.ended()
    assert seen.request
    names = [name for name, _ in seen.request.headers]
    assert names == [name for name, _ in origin.last.request.headers]
    assert names[:3] == ["hOsT", "Upgrade", "CONNECTION"]
    assert seen.request.start_line == origin.last.request.start_line == "GET /ws?a=1&a=2 HTTP/1.1"
    assert seen.request.headers[0][1] == origin.last.request.get("host") == "App.Example.test:81"
    assert ("x_under", "\xe9") in seen.request.headers
    assert [redaction.name for redaction in seen.redactions] == ["Authorization"]
    assert seen.handshake
    assert seen.handshake.subprotocol is Subprotocol.ECHOED
    assert token not in tap.text()
    assert tap.records.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("sent", "text", "size"),
    [
        pytest.param([plain("401 Unauthorized", "no token")], "no token", 8, id="counted"),
        pytest.param(
            [b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n", b"5\r\ntoken\r\n0\r\n\r\n"],
            "no token",
            8,
            id="chunked",
        ),
        pytest.param([b"HTTP/1.1 401 No\r\n\r\nno ", b"token"], "no token", 8, id="to the end of the connection"),
        pytest.param(
            [b"HTTP/1.1 401 No\r\nContent-Encoding: gzip\r\nContent-Length: 28\r\n\r\n", gzip.compress(b"no token")],
            None,
            28,
            id="gzip",
        ),
    ],
)
def test_a_refusal_is_recorded_with_its_body(
    tap: Tap, origin: Origin, sent: list[bytes], text: str | None, size: int
) -> None:
    origin.answer = says(*sent)
    with tap.connect() as client:
        client.sendall(wire.upgrade())
        assert read_until(client, b"".join(sent)) == b"".join(sent)
    seen = tap.ended()
    assert seen.response
    assert seen.response.body
    assert (seen.response.body.text, seen.response.body.size) == (text, size)


def test_the_exchanges_of_one_connection_belong_together(tap: Tap, origin: Origin) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        heads = b""
        for chunk in exchange.chunks():
            heads += chunk
            if chunk.endswith(b"0\r\n\r\n"):
                exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            elif b"Sec-WebSocket-Key" in heads:
                exchange.send(switching(exchange.request) + wire.close(1011, "at last"))
                return

    origin.answer = answer
    with tap.connect() as client:
        client.sendall(GET)
        read_until(client, b"no")
        client.sendall(b"POST /more HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        wait_for(lambda: b"2\r\nhi" in origin.last.received, lambda: "the body to pass before it is whole")
        client.sendall(b"0\r\n\r\n")
        read_until(client, b"0\r\n\r\n")
        client.sendall(wire.upgrade())
        assert read_to_end(client).endswith(b"at last")
    seen = tap.observations(ended=3)
    assert [(one.exchange, one.ended is None) for one in seen] == [(0, False), (1, False), (2, True), (2, False)]
    assert len({one.connection for one in seen}) == 1
    assert [one.response.start_line.split()[1] for one in seen if one.response] == ["401", "200", "101", "101"]
    assert ends(seen[-1])[0] == (SERVER, Ending.FRAME, 1011)


def test_a_body_passes_as_it_comes(tap: Tap, origin: Origin) -> None:
    arrived = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1.\r\n")
        assert arrived.wait(5)
        exchange.send(b"2\r\n2.\r\n0\r\n\r\n")

    origin.answer = answer
    with tap.connect() as client:
        client.sendall(GET)
        read_until(client, b"1.\r\n")
        arrived.set()
        read_until(client, b"0\r\n\r\n")
    seen = tap.ended()
    assert seen.response
    assert seen.response.body is None  # only of refused upgrades


# What mitmproxy answers in its own name, and what it does to the traffic.


@pytest.mark.parametrize(
    ("answer", "ending"),
    [pytest.param(says(), Ending.EOF, id="FIN"), pytest.param(Exchange.reset, Ending.RESET, id="RST")],
)
def test_an_origin_that_does_not_answer_did_not_answer_502(
    tap: Tap, origin: Origin, answer: Answer, ending: Ending
) -> None:
    origin.answer = answer
    with tap.connect() as client:
        client.sendall(wire.upgrade())
        assert b"Server: mitmproxy" in read_to_end(client)
    seen = tap.ended()
    assert seen.response is None
    assert ends(seen) == [(SERVER, ending, None)]
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("response", "closed")
    assert [(one.sender, one.kind) for one in seen.anomalies] == [(LOCAL, "mitmproxy ended the exchange by itself")]


def test_a_request_that_mitmproxy_refuses_is_recorded_with_the_reason(tap: Tap) -> None:
    with tap.connect() as client:
        client.sendall(GET.replace(b"Host:", b"X-Odd : v\r\nHost:"))
        assert read_to_end(client).startswith(b"HTTP/1.1 400 ")
    seen = tap.ended()
    assert seen.failure
    assert seen.failure.kind == "refused"
    assert "X-Odd" in seen.failure.message
    assert seen.response is None


def test_a_response_that_mitmproxy_refuses_is_recorded_as_it_came(tap: Tap, origin: Origin) -> None:
    origin.answer = says(b"HTTP/1.1 200 Fine\r\nX-Odd : v\r\nContent-Length: 0\r\n\r\n")
    with tap.connect() as client:
        client.sendall(GET)
        assert read_to_end(client).startswith(b"HTTP/1.1 502 ")
    seen = tap.ended()
    assert seen.response
    assert seen.response.start_line == "HTTP/1.1 200 Fine"
    assert (LOCAL, "mitmproxy ended the exchange by itself") in {(one.sender, one.kind) for one in seen.anomalies}


def test_a_client_that_leaves_before_the_answer_is_the_one_that_left(tap: Tap, origin: Origin) -> None:
    def answer(exchange: Exchange) -> None:
        for _ in exchange.chunks():
            pass

    origin.answer = answer
    with tap.connect() as client:
        client.sendall(wire.upgrade())
        wait_for(lambda: origin.last.request.start_line == "GET /ws HTTP/1.1", lambda: "the request to arrive")
        time.sleep(0.1)
    seen = tap.ended()
    assert (ends(seen), seen.failure, seen.response) == ([(CLIENT, Ending.EOF, None)], None, None)


@pytest.mark.parametrize(
    ("said", "added", "arrives"),
    [
        pytest.param("white space in heads", "X-Pad:    v \t", ("X-Pad", "v"), id="white space"),
        pytest.param("Expect: 100-continue", "Expect: 100-continue\r\nX: x\r\nContent-Length: 0", None, id="Expect"),
        pytest.param("Upgrade: h2c", "Upgrade: h2c\r\nConnection: Upgrade", None, id="h2c"),
    ],
)
def test_what_mitmproxy_alters_is_said(
    tap: Tap, origin: Origin, said: str, added: str, arrives: tuple[str, str] | None
) -> None:
    origin.answer = says(plain("200 OK"))
    with tap.connect() as client:
        client.sendall(GET.replace(b"Host:", f"{added}\r\nHost:".encode()))
        read_to_end(client)
    name = added.partition(":")[0]
    assert origin.last.request.get(name) == (arrives[1] if arrives else None)
    seen = tap.ended()
    assert seen.request
    assert name in dict(seen.request.headers)
    assert any(said in change for change in seen.recorder.alters)


def test_a_half_close_ends_both_directions_and_that_is_said(tap: Tap, origin: Origin) -> None:
    origin.answer = echo
    with upgraded(tap) as client:
        client.sendall(wire.frame(wire.TEXT, b"lost", mask=wire.MASK))
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) in (b"", wire.frame(wire.TEXT, b"lost"))
    seen = tap.ended()
    assert ends(seen) == [(CLIENT, Ending.EOF, None)]
    assert any("half a close as a whole one" in change for change in seen.recorder.alters)


def test_a_1xx_response_that_mitmproxy_takes_for_the_answer_is_told(tap: Tap, origin: Origin) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        time.sleep(0.1)
        exchange.send(switching(exchange.request))

    origin.answer = answer
    with tap.connect() as client:
        client.sendall(wire.upgrade())
        assert client.recv(4096) == b"HTTP/1.1 103 Early Hints\r\n\r\n"
    seen = tap.ended()
    assert seen.interim == ("HTTP/1.1 103 Early Hints",)
    assert [(one.sender, one.detail) for one in seen.anomalies] == [(LOCAL, "103 taken for the answer")]


def test_a_connection_without_a_byte_is_not_recorded(tap: Tap, origin: Origin) -> None:
    origin.answer = needs_token
    tap.connect().close()
    with tap.connect() as client:
        client.sendall(wire.upgrade())
        read_until(client, b"Internal error")
    assert len({one.connection for one in tap.observations()}) == 1


# Memory.


@pytest.mark.parametrize("running", ["stock mitmdump"], indirect=True)  # it has a process of its own
def test_memory_stays_flat_over_200_000_messages(tap: Tap, origin: Origin) -> None:
    assert tap.pid
    sent, back = wire.frame(wire.TEXT, b"x" * 50, mask=wire.MASK), wire.frame(wire.TEXT, b"y" * 50)

    def answer(exchange: Exchange) -> None:
        exchange.send(switching(exchange.request))
        octets = 0
        for chunk in exchange.chunks():
            frames, octets = divmod(octets + len(chunk), len(sent))
            exchange.send(back * frames)

    origin.answer = answer
    with upgraded(tap) as client:
        for _ in range(20):
            converse(client, sent * 1000, len(back) * 1000)
        before = resident(tap.pid)
        for _ in range(180):
            converse(client, sent * 1000, len(back) * 1000)
        grown = resident(tap.pid) - before
        client.sendall(wire.close(1000, mask=wire.MASK))
    seen = tap.ended()
    assert seen.frames
    assert seen.frames.client["text"].frames == seen.frames.server["text"].frames == 200_000
    assert grown < 4 << 20, f"{grown / (1 << 20):.1f} MiB more after 180,000 further messages each way"


def converse(client: socket.socket, sent: bytes, expected: int) -> None:
    client.sendall(sent)
    while expected:
        expected -= len(client.recv(min(expected, 65536)))


def resident(pid: int) -> int:
    """Octets of memory that a process has in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
