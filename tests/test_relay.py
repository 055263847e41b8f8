"""The relay between real sockets: every byte, every end, and what it records of them."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import relays, tls, wire
from tests.backend import nobody
from tests.relays import Loop, Running, accepted, exactly, listener, reset, running, to_the_end
from wsprobe.model import Ending, Observation, Sender
from wsprobe.net import link, side
from wsprobe.observer import Observer

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
ANSWER = (
    f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {wire.accept(wire.KEY)}\r\n\r\n"
).encode()
TOKEN = "Y2FuYXJ5-a8Jd02kLmQz7Yt55Pq1-notinanyfile"
ENDLESS = b"\x82\x7f" + (1 << 40).to_bytes(8)  # the head of a frame that claims a terabyte
REQUEST = wire.upgrade("/ws?access_token=" + TOKEN, [("Authorization", "Bearer " + TOKEN)])

Ends = list[tuple[Sender, Ending, int | None]]
CLIENT, SERVER, LOCAL = Sender.CLIENT, Sender.SERVER, Sender.LOCAL
FRAME, EOF, RESET = Ending.FRAME, Ending.EOF, Ending.RESET


@contextlib.contextmanager
def between(loop: Loop, folder: Path, **options: object) -> Iterator[tuple[Running, socket.socket]]:
    """A relay and the socket that takes its connections."""
    with listener() as (listening, url), running(loop, folder / "edge.jsonl", url, **options) as relay:
        yield relay, listening


def upgraded(client: socket.socket, server: socket.socket) -> None:
    """An upgrade through the relay, up to the 101."""
    client.sendall(REQUEST)
    assert exactly(server, len(REQUEST)) == REQUEST
    server.sendall(ANSWER)
    assert exactly(client, len(ANSWER)) == ANSWER


def ends(seen: Observation) -> Ends:
    return [(close.sender, close.ending, close.code) for close in seen.closes]


# Every byte.


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def one_relay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, socket.socket]]:
    with between(request.param, tmp_path_factory.mktemp("relay")) as both:
        yield both


FRAMES = st.builds(
    lambda opcode, payload, mask: wire.frame(opcode, payload, mask=mask),
    st.sampled_from([wire.TEXT, wire.BINARY, wire.PING, wire.PONG, wire.CLOSE, 3]),
    st.binary(max_size=300),
    st.sampled_from([b"", wire.MASK]),
)
CHUNKS = st.lists(
    st.tuples(
        st.booleans(), st.one_of(st.binary(min_size=1, max_size=5000), FRAMES, st.just(REQUEST), st.just(ANSWER))
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begins=st.booleans(), chunks=CHUNKS, client_ends_first=st.booleans())
def test_what_is_sent_is_what_was_received(
    one_relay: tuple[Running, socket.socket],
    begins: bool,  # noqa: FBT001  hypothesis fills it in
    chunks: list[tuple[bool, bytes]],
    client_ends_first: bool,  # noqa: FBT001  hypothesis fills it in
) -> None:
    relay, listening = one_relay
    with relay.connect() as client, accepted(listening) as server:
        if begins:
            upgraded(client, server)
        for from_client, data in chunks:
            (client if from_client else server).sendall(data)
        first, last = (client, server) if client_ends_first else (server, client)
        first.shutdown(socket.SHUT_WR)
        assert to_the_end(last) == (b"".join(d for c, d in chunks if c == client_ends_first), "eof")
        last.shutdown(socket.SHUT_WR)
        assert to_the_end(first) == (b"".join(d for c, d in chunks if c != client_ends_first), "eof")
    assert relay.problems == []


@LOOPS
def test_megabytes_pass_both_ways_at_once(loop: Loop, tmp_path: Path) -> None:
    blob = bytes(range(256)) * 4096 * 16  # 16 MiB
    got: dict[str, bytes] = {}

    def read(name: str, conn: socket.socket) -> None:
        got[name] = to_the_end(conn)[0]

    def send(conn: socket.socket) -> None:
        conn.sendall(blob)
        conn.shutdown(socket.SHUT_WR)

    with between(loop, tmp_path) as (relay, listening), relay.connect() as client, accepted(listening) as server:
        threads = [
            threading.Thread(target=call, args=args)
            for call, *args in ((read, "client", client), (read, "server", server), (send, client), (send, server))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(relays.SECONDS)
    assert got == {"client": blob, "server": blob}


@LOOPS
def test_upgrade_is_recorded_before_it_ends(loop: Loop, tmp_path: Path) -> None:
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect() as client, accepted(listening) as server:
            upgraded(client, server)
            deadline = time.monotonic() + relays.SECONDS
            while not relay.seen() and time.monotonic() < deadline:
                time.sleep(0.01)
            (before,) = relay.seen()
            assert before.ended is None
            assert before.handshake
            assert before.handshake.upgraded
            last = wire.frame(wire.TEXT, b"hello") + wire.close(4401, "grüß")
            server.sendall(last)
            assert exactly(client, len(last)) == last
            answer = wire.close(4401, mask=wire.MASK)
            client.sendall(answer)
            assert exactly(server, len(answer)) == answer
            server.shutdown(socket.SHUT_WR)
            assert to_the_end(client) == (b"", "eof")
        (after,) = relay.ended()
    assert ends(after) == [(SERVER, FRAME, 4401), (CLIENT, FRAME, 4401), (SERVER, EOF, None), (CLIENT, EOF, None)]
    assert after.closes[0].reason == "grüß"
    assert after.frames
    assert after.frames.server["text"].bytes == 5
    passed = [(one.sender, one.opcode) for one in after.frames.first]
    assert passed == [(SERVER, "text"), (SERVER, "close"), (CLIENT, "close")]
    assert [one.at for one in after.frames.first[1:]] == [close.at for close in after.closes[:2]]
    assert after.peers
    assert after.peers.local == f"127.0.0.1:{relay.port}"
    assert after.peers.client
    assert after.recorder.kind == "relay"
    assert TOKEN not in relay.records.read_text()
    assert relay.records.stat().st_mode & 0o777 == 0o600


@LOOPS
def test_plain_requests_on_one_connection(loop: Loop, tmp_path: Path) -> None:
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect() as client, accepted(listening) as server:
            for number in range(3):
                request = f"POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".encode()
                answer = f"HTTP/1.1 20{number} OK\r\nContent-Length: 3\r\n\r\nyes".encode()
                client.sendall(request)
                assert exactly(server, len(request)) == request
                server.sendall(answer)
                assert exactly(client, len(answer)) == answer
        found = relay.ended(3)
    assert [seen.response and seen.response.start_line for seen in found] == [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 201 OK",
        "HTTP/1.1 202 OK",
    ]
    assert [seen.exchange for seen in found] == [0, 1, 2]


@LOOPS
def test_connection_without_a_byte_is_not_recorded(loop: Loop, tmp_path: Path) -> None:
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect(), accepted(listening):
            pass
        with relay.connect() as client, accepted(listening) as server:
            upgraded(client, server)
        assert len(relay.ended()) == 1


# Half-close.


@LOOPS
def test_clients_half_close_leaves_the_other_direction_open(loop: Loop, tmp_path: Path) -> None:
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect() as client, accepted(listening) as server:
            upgraded(client, server)
            client.shutdown(socket.SHUT_WR)
            assert to_the_end(server) == (b"", "eof")
            late = wire.frame(wire.TEXT, b"after your FIN")
            server.sendall(late)
            assert exactly(client, len(late)) == late
            server.shutdown(socket.SHUT_WR)
            assert to_the_end(client) == (b"", "eof")
        (seen,) = relay.ended()
    assert ends(seen) == [(CLIENT, EOF, None), (SERVER, EOF, None)]


@LOOPS
def test_servers_half_close_leaves_the_other_direction_open(loop: Loop, tmp_path: Path) -> None:
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect() as client, accepted(listening) as server:
            upgraded(client, server)
            server.shutdown(socket.SHUT_WR)
            assert to_the_end(client) == (b"", "eof")
            late = wire.frame(wire.TEXT, b"after its FIN", mask=wire.MASK)
            client.sendall(late)
            client.shutdown(socket.SHUT_WR)
            assert to_the_end(server) == (late, "eof")
        (seen,) = relay.ended()
    assert ends(seen) == [(SERVER, EOF, None), (CLIENT, EOF, None)]


@LOOPS
def test_request_with_its_end_in_one_go(loop: Loop, tmp_path: Path) -> None:
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect() as client:
            client.sendall(REQUEST)
            client.shutdown(socket.SHUT_WR)
            with accepted(listening) as server:
                assert to_the_end(server) == (REQUEST, "eof")
                server.sendall(ANSWER)
                server.close()
                assert to_the_end(client) == (ANSWER, "eof")
        (seen,) = relay.ended()
    assert ends(seen) == [(CLIENT, EOF, None), (SERVER, EOF, None)]


# Reset.


@LOOPS
@pytest.mark.parametrize("by", [CLIENT, SERVER])
def test_reset_passes_as_a_reset(loop: Loop, tmp_path: Path, by: Sender) -> None:
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect() as client, accepted(listening) as server:
            upgraded(client, server)
            breaks, other = (client, server) if by is CLIENT else (server, client)
            reset(breaks)
            assert to_the_end(other) == (b"", "reset")
        (seen,) = relay.ended()
    assert ends(seen) == [(by, RESET, None)]


@LOOPS
@pytest.mark.parametrize("by", [CLIENT, SERVER])
def test_reset_after_a_half_close_is_noticed(loop: Loop, tmp_path: Path, by: Sender) -> None:
    with between(loop, tmp_path) as (relay, listening), relay.connect() as client, accepted(listening) as server:
        upgraded(client, server)
        breaks, other = (client, server) if by is CLIENT else (server, client)
        breaks.shutdown(socket.SHUT_WR)
        assert to_the_end(other) == (b"", "eof")
        reset(breaks)
        (seen,) = relay.ended()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(100):
                other.sendall(b"x")
                time.sleep(0.01)
    assert ends(seen) == [(by, EOF, None), (by, RESET, None)]


@LOOPS
@pytest.mark.parametrize("by", [CLIENT, SERVER])
def test_reset_comes_after_what_was_read_for_a_slow_reader(loop: Loop, tmp_path: Path, by: Sender) -> None:
    blob = bytes(range(256)) * 4096 * 3  # 3 MiB
    with between(loop, tmp_path) as (relay, listening):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        with relay.connect(receive=32768) as client, accepted(listening) as server:
            upgraded(client, server)
            breaks, slow = (client, server) if by is CLIENT else (server, client)
            got = bytearray(read_slowly(slow, breaks, blob))
            with pytest.raises(ConnectionResetError):
                while chunk := slow.recv(1 << 20):
                    got += chunk
        (seen,) = relay.ended()
    assert len(got) == len(blob)
    assert bytes(got) == blob
    assert (by, RESET, None) in ends(seen)


def read_slowly(slow: socket.socket, breaks: socket.socket, blob: bytes) -> bytes:
    """The first half as it is sent; then the sender breaks the connection with what the relay holds still unread."""

    def send() -> None:
        breaks.sendall(blob)
        relays.wait_until_taken(breaks)
        reset(breaks)

    sending = threading.Thread(target=send)
    sending.start()
    got = bytearray()
    while sending.is_alive():
        got += slow.recv(16384)
        time.sleep(0.0005)
    sending.join()
    return bytes(got)


@LOOPS
def test_reset_waits_no_longer_than_its_time_for_who_reads_nothing(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "FLUSH_SECONDS", 0.3)
    with between(loop, tmp_path) as (relay, listening):
        with relay.connect(receive=32768) as client, accepted(listening) as server:
            upgraded(client, server)
            fill(relay, server, SERVER)
            reset(server)
            (seen,) = relay.ended()
            deadline = time.monotonic() + relays.SECONDS
            while held(relay):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert to_the_end(client)[1] == "reset"
    assert ends(seen) == [(SERVER, RESET, None)]


def fill(relay: Running, conn: socket.socket, sender: Sender) -> int:
    """Sends one endless frame until the relay reads this side no more; returns how much it was."""
    deadline = time.monotonic() + relays.SECONDS
    while not held(relay):
        time.sleep(0.005)
    (one,) = held(relay)
    source = one.client if sender is CLIENT else one.server
    conn.sendall(ENDLESS)
    sent, data = len(ENDLESS), bytes(65536)
    conn.setblocking(False)
    while not source.paused:
        assert time.monotonic() < deadline
        try:
            sent += conn.send(data)
        except BlockingIOError:
            time.sleep(0.005)
    conn.settimeout(relays.SECONDS)
    return sent


def held(relay: Running) -> tuple[link.Link, ...]:
    """The connections that the relay holds."""
    return relay.call(lambda: tuple(relay.relay._links))  # noqa: SLF001  what it holds is what is asked


# Bounds.


@LOOPS
def test_who_does_not_read_is_not_read_for(loop: Loop, tmp_path: Path) -> None:
    with between(loop, tmp_path) as (relay, listening):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        with relay.connect(receive=32768) as client, accepted(listening) as server:
            upgraded(client, server)
            sent = fill(relay, server, SERVER)
            (one,) = held(relay)
            waiting = relay.call(lambda: one.client.transport and one.client.transport.get_write_buffer_size())
            assert waiting
            assert waiting <= side.BUFFER_OCTETS + 256 * 1024  # the limit and one read
            server.shutdown(socket.SHUT_WR)
            assert len(to_the_end(client)[0]) == sent


@LOOPS
def test_what_comes_before_the_upstream_stands_is_bounded(loop: Loop, tmp_path: Path) -> None:
    with socket.socket() as full:  # a queue that is full: the relay's SYN gets no answer
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                conn = stack.enter_context(socket.socket())
                conn.setblocking(False)
                conn.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            with running(loop, tmp_path / "edge.jsonl", url) as relay, relay.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                client.sendall(REQUEST)
                sent = len(REQUEST) + fill(relay, client, CLIENT)
                (one,) = held(relay)
                assert len(one._held) <= min(sent, 512 * 1024)  # noqa: SLF001  the same
            (seen,) = relay.seen()
    assert seen.request
    assert ends(seen) == [(LOCAL, EOF, None)]


@LOOPS
def test_observer_that_fails_does_not_touch_the_traffic(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError(TOKEN)

    monkeypatch.setattr(Observer, "feed", fails)
    with between(loop, tmp_path) as (relay, listening), relay.connect() as client, accepted(listening) as server:
        upgraded(client, server)
        client.sendall(b"more")
        assert exactly(server, 4) == b"more"
    assert len(relay.problems) == 1
    assert "KeyError" in relay.problems[0]
    assert TOKEN not in relay.problems[0]


@LOOPS
def test_full_disk_does_not_touch_the_traffic_and_is_told_once(loop: Loop) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here: a full disk cannot be tried")
    with listener() as (listening, url), running(loop, full, url) as relay:
        for _ in range(2):
            with relay.connect() as client, accepted(listening) as server:
                upgraded(client, server)
                client.sendall(b"more")
                assert exactly(server, 4) == b"more"
        assert [problem for problem in relay.problems if "a record was lost" in problem] == relay.problems
        assert len(relay.problems) == 1
    assert "records were lost" in relay.problems[-1]
    assert len(relay.problems) == 2
    assert relay.passed == []


# The upstream that is not there.


@LOOPS
def test_refused_upstream_is_recorded_with_the_request(loop: Loop, tmp_path: Path) -> None:
    with nobody() as port, running(loop, tmp_path / "edge.jsonl", f"http://127.0.0.1:{port}") as relay:
        with relay.connect() as client:
            for at in range(0, len(REQUEST), 50):
                client.sendall(REQUEST[at : at + 50])
                time.sleep(0.005)
            assert to_the_end(client) == (b"", "reset")
        (seen,) = relay.ended()
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("tcp", "refused")
    assert f"127.0.0.1:{port}" in seen.failure.message
    assert seen.request
    assert [name for name, _ in seen.request.headers][-1] == "Authorization"
    assert TOKEN not in relay.records.read_text()


@LOOPS
def test_refused_upstream_waits_no_longer_than_its_time_for_a_head(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HEAD_SECONDS", 0.2)
    with nobody() as port, running(loop, tmp_path / "edge.jsonl", f"http://127.0.0.1:{port}") as relay:
        with relay.connect() as client:
            client.sendall(REQUEST[:40])
            assert to_the_end(client) == (b"", "reset")
        with relay.connect() as client:  # a health check
            assert to_the_end(client) == (b"", "reset")
        (seen,) = relay.ended()
    assert seen.failure
    assert seen.request
    assert seen.request.start_line.startswith("GET /ws")


def test_name_that_nobody_knows_is_a_failure_of_dns(tmp_path: Path) -> None:
    with running(uvloop.new_event_loop, tmp_path / "edge.jsonl", "http://nowhere.invalid:81") as relay:
        with relay.connect() as client:
            client.sendall(REQUEST)
            assert to_the_end(client) == (b"", "reset")
        (seen,) = relay.ended()
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("dns", "not found")


@LOOPS
def test_name_is_looked_up(loop: Loop, tmp_path: Path) -> None:
    with (
        listener() as (listening, url),
        running(loop, tmp_path / "edge.jsonl", url.replace("127.0.0.1", "localhost")) as relay,
    ):
        with relay.connect() as client, accepted(listening) as server:
            upgraded(client, server)
        (seen,) = relay.ended()
    assert seen.failure is None


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tls.SelfSigned:
    return tls.self_signed(tmp_path_factory.mktemp("tls"))


@LOOPS
def test_tls_is_terminated(loop: Loop, tmp_path: Path, certificate: tls.SelfSigned) -> None:
    context = certificate.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    options = {"certificate": certificate.cert, "key": certificate.key}
    with between(loop, tmp_path, **options) as (relay, listening):
        with relay.connect(context) as client, accepted(listening) as server:
            upgraded(client, server)
            server.sendall(b"\x81\x02hi")
            server.close()
            assert to_the_end(client) == (b"\x81\x02hi", "eof")
        (seen,) = relay.ended()
    assert seen.tls
    assert seen.tls.server is None
    assert seen.tls.client
    assert (seen.tls.client.version, seen.tls.client.alpn) == ("TLSv1.3", "http/1.1")
    assert seen.tls.client.sni == "localhost"
    assert seen.tls.client.cipher
    assert any("ALPN" in what for what in seen.recorder.alters)
    assert ends(seen)[0] == (SERVER, EOF, None)


@contextlib.contextmanager
def over_tls(
    loop: Loop, folder: Path, certificate: tls.SelfSigned, host: str, **options: object
) -> Iterator[tuple[Running, socket.socket]]:
    """A relay to a TLS server, and the socket that takes its connections."""
    with listener() as (listening, url):
        target = url.replace("http", "https").replace("127.0.0.1", host)
        with running(loop, folder / "edge.jsonl", target, **options) as relay:
            yield relay, listening


def secured(listening: socket.socket, certificate: tls.SelfSigned) -> ssl.SSLSocket:
    context = certificate.server()
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context.wrap_socket(accepted(listening), server_side=True)


@LOOPS
@pytest.mark.parametrize(("host", "sni"), [("localhost", "localhost"), ("127.0.0.1", None)])
def test_verified_tls_towards_the_upstream(
    loop: Loop, tmp_path: Path, certificate: tls.SelfSigned, host: str, sni: str | None
) -> None:
    with over_tls(loop, tmp_path, certificate, host, authorities=certificate.cert) as (relay, listening):
        with relay.connect() as client, secured(listening, certificate) as server:
            upgraded(client, server)
            assert server.selected_alpn_protocol() == "http/1.1"
            server.sendall(b"\x88\x02\x03\xe8")
            assert exactly(client, 4) == b"\x88\x02\x03\xe8"
            server.close()
            assert to_the_end(client) == (b"", "eof")
        (seen,) = relay.ended()
    assert seen.tls
    assert seen.tls.client is None
    assert seen.tls.server
    assert seen.tls.server.verified is True
    assert seen.tls.server.error is None
    assert (seen.tls.server.alpn, seen.tls.server.sni) == ("http/1.1", sni)


@LOOPS
def test_certificate_that_does_not_verify_is_a_failure(loop: Loop, tmp_path: Path, certificate: tls.SelfSigned) -> None:
    with over_tls(loop, tmp_path, certificate, "localhost") as (relay, listening):
        with relay.connect() as client:
            client.sendall(REQUEST)
            with pytest.raises(ssl.SSLError):
                secured(listening, certificate)
            assert to_the_end(client) == (b"", "reset")
        (seen,) = relay.ended()
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("tls", "certificate")
    assert "self-signed" in seen.failure.message
    assert seen.request


@LOOPS
def test_insecure_goes_on_and_says_why_it_should_not(loop: Loop, tmp_path: Path, certificate: tls.SelfSigned) -> None:
    with over_tls(loop, tmp_path, certificate, "localhost", insecure=True) as (relay, listening):
        for number in range(2):
            with relay.connect() as client:
                if not number:  # only the first connection has to find out
                    with pytest.raises(ssl.SSLError):
                        secured(listening, certificate)
                with secured(listening, certificate) as server:
                    upgraded(client, server)
        found = relay.ended(2)
    for seen in found:
        assert seen.tls
        assert seen.tls.server
        assert seen.tls.server.verified is False
        assert "self-signed" in (seen.tls.server.error or "")


@LOOPS
def test_server_that_speaks_no_tls_is_told(loop: Loop, tmp_path: Path, certificate: tls.SelfSigned) -> None:
    with over_tls(loop, tmp_path, certificate, "localhost") as (relay, listening):
        with relay.connect() as client:
            client.sendall(REQUEST)
            with accepted(listening) as server:
                server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                assert to_the_end(client) == (b"", "reset")
        (seen,) = relay.ended()
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("tls", "handshake")
    assert "does not speak TLS" in seen.failure.message


@LOOPS
def test_half_close_towards_tls_ends_the_connection_and_is_told(
    loop: Loop, tmp_path: Path, certificate: tls.SelfSigned
) -> None:
    with over_tls(loop, tmp_path, certificate, "localhost", authorities=certificate.cert) as (relay, listening):
        with relay.connect() as client, secured(listening, certificate) as server:
            upgraded(client, server)
            client.shutdown(socket.SHUT_WR)
            assert to_the_end(server) == (b"", "eof")
            assert to_the_end(client) == (b"", "eof")
        (seen,) = relay.ended()
    assert ends(seen) == [(CLIENT, EOF, None), (LOCAL, EOF, None)]
    assert any("TLS" in what and "ends the connection" in what for what in seen.recorder.alters)


@LOOPS
def test_what_comes_after_the_end_of_tls_is_told_as_not_passed_on(
    loop: Loop, tmp_path: Path, certificate: tls.SelfSigned
) -> None:
    with over_tls(loop, tmp_path, certificate, "localhost", authorities=certificate.cert) as (relay, listening):
        with relay.connect() as client, secured(listening, certificate) as server:
            upgraded(client, server)
            server.close()
            assert to_the_end(client) == (b"", "eof")
            client.sendall(wire.frame(wire.TEXT, b"too late", mask=wire.MASK))
            client.shutdown(socket.SHUT_WR)
            (seen,) = relay.ended()
    assert ends(seen) == [(SERVER, EOF, None), (CLIENT, EOF, None)]
    (told,) = seen.anomalies
    assert told.sender is LOCAL
    assert "not passed on" in told.kind


@LOOPS
def test_reset_passes_through_tls_after_what_was_read(loop: Loop, tmp_path: Path, certificate: tls.SelfSigned) -> None:
    blob = bytes(range(256)) * 4096 * 3
    options = {"certificate": certificate.cert, "key": certificate.key}
    with between(loop, tmp_path, **options) as (relay, listening):
        with relay.connect(certificate.client(), receive=32768) as client, accepted(listening) as server:
            upgraded(client, server)
            got = bytearray(read_slowly(client, server, blob))
            got += to_the_end(client)[0]
            assert relays.is_reset(client)
        (seen,) = relay.ended()
    assert bytes(got) == blob
    assert ends(seen) == [(SERVER, RESET, None)]


# Leaving.


@LOOPS
def test_stopping_records_open_connections_and_closes_them(loop: Loop, tmp_path: Path) -> None:
    with listener() as (listening, url), contextlib.ExitStack() as stack:
        with running(loop, tmp_path / "edge.jsonl", url) as relay:
            client = stack.enter_context(relay.connect())
            server = stack.enter_context(accepted(listening))
            upgraded(client, server)
        assert to_the_end(client) == (b"", "eof")
        assert to_the_end(server) == (b"", "eof")
        (seen,) = relay.ended()
    assert ends(seen) == [(LOCAL, EOF, None)]
