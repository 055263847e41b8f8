"""How recording with mitmproxy is started and ended: options, files that fail, TLS, upstreams that are not there."""

import asyncio
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Never

import mitmproxy.version
import pytest

from tests import tls, wire
from tests.backend import Backend, needs_token, nobody, plain, stay_open
from tests.mitm import ENGINES, HOP, IGNORED, Tap, in_process, mitmdump, stock, wait_for
from wsprobe.model import Ending, Observation, Sender

pytestmark = [pytest.mark.filterwarnings(ignored) for ignored in IGNORED]

Engine = Callable[..., AbstractContextManager[Tap]]
PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLIENT, SERVER, LOCAL = Sender.CLIENT, Sender.SERVER, Sender.LOCAL


@pytest.fixture(params=list(ENGINES.values()), ids=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "tap.jsonl"


def talk(tap: Tap, sent: bytes = wire.upgrade()) -> bytes:
    """What comes back until the connection ends."""
    with tap.connect() as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


# Options.


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        pytest.param(
            ["wsprobe_hop=tap", "wsprobe_recods=FILE", "wsprobe_records=FILE"],
            "unknown option wsprobe_recods; there are wsprobe_hop and wsprobe_records",
            id="misspelt",
        ),
        pytest.param(["wsprobe_hop=tap"], "wsprobe_records not given", id="no records"),
        pytest.param(["wsprobe_records=FILE"], "wsprobe_hop not given", id="no name"),
        pytest.param(
            ["wsprobe_hop=tap", "wsprobe_records=/no/such/folder/tap.jsonl"],
            "wsprobe_records=/no/such/folder/tap.jsonl cannot be written: No such file or directory",
            id="no folder",
        ),
    ],
)
def test_a_wrong_option_is_refused_at_the_start(records: Path, settings: list[str], told: str) -> None:
    settings = [setting.replace("FILE", str(records)) for setting in settings]
    command = mitmdump(settings, "reverse:http://127.0.0.1:1", records.parent)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if "wsprobe: " in line]
    assert len(said) == 1
    assert told in said[0]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_fingerprint_key_that_is_too_short_is_refused_at_the_start(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSPROBE_FINGERPRINT_KEY", "short")
    command = mitmdump(
        [f"wsprobe_hop={HOP}", f"wsprobe_records={records}"], "reverse:http://127.0.0.1:1", records.parent
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "WSPROBE_FINGERPRINT_KEY has 5 characters" in done.stdout
    assert not records.exists()


def test_what_the_addon_needs_it_sets_over_what_was_asked_for(records: Path) -> None:
    with (
        Backend(stay_open) as origin,
        stock(records, f"http://127.0.0.1:{origin.port}", "websocket=true", "keep_host_header=false") as tap,
    ):
        with tap.connect() as client:
            client.sendall(wire.upgrade())
            wire.read_head(client)
        assert origin.requests[0].get("host") == "app.example.test"
        assert origin.exchanges[0].done.wait(5)
        assert not origin.exchanges[0].received  # mitmproxy would have invented a close frame with 1000


def test_an_address_or_a_file_that_cannot_be_used_ends_the_start(records: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(OSError, match="in use"):
            asyncio.run(started(records, address))
    with pytest.raises(FileNotFoundError):
        asyncio.run(started(tmp_path / "none" / "tap.jsonl"))
    records.write_text("no certificate")
    with pytest.raises(ValueError, match="no PEM of both"):
        asyncio.run(started(tmp_path / "other.jsonl", certs=records))
    with pytest.raises(ValueError, match="no certificate in PEM"):
        asyncio.run(started(tmp_path / "other.jsonl", cacert=records))
    asyncio.run(started(tmp_path / "other.jsonl"))  # nothing of that stands in the way


async def started(
    records: Path,
    listen: tuple[str, int] = ("127.0.0.1", 0),
    certs: Path | None = None,
    cacert: Path | None = None,
) -> tuple[str, int]:
    from wsprobe.net.mitm import MitmRecorder

    recorder = MitmRecorder(HOP, records, "http://127.0.0.1:1", listen, certs=certs, cacert=cacert)
    address = await recorder.start()
    await recorder.stop()
    return address


def test_there_is_one_engine_in_a_process_at_a_time(records: Path) -> None:
    with in_process(records, "http://127.0.0.1:1"), pytest.raises(RuntimeError, match="already runs in this process"):
        asyncio.run(started(records))
    host, port = asyncio.run(started(records))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port))


# What is lost is told.


def test_records_that_cannot_be_written_are_counted_and_the_traffic_goes_on(engine: Engine, tmp_path: Path) -> None:
    folder = {"folder": tmp_path} if engine is stock else {}
    with (
        Backend(lambda exchange: exchange.send(plain("200 OK", "hello"))) as origin,
        engine(Path("/dev/full"), f"http://127.0.0.1:{origin.port}", lossy=True, **folder) as tap,
    ):
        for _ in range(3):
            assert talk(tap, PLAIN).endswith(b"hello")
    said = [re.sub(r".*wsprobe: ", "", line).strip() for line in tap.complaints()]
    assert said == [
        "1 observation is lost or incomplete so far, the traffic goes on: No space left on device",
        "2 observations are lost or incomplete so far, the traffic goes on: No space left on device",
        "3 observations are lost or incomplete",
    ]


def test_an_error_in_a_hook_is_counted_and_the_traffic_goes_on(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Never:
        raise RuntimeError("Bearer c2VjcmV0")

    with (
        Backend(lambda exchange: exchange.send(plain("200 OK", "hello"))) as origin,
        in_process(records, f"http://127.0.0.1:{origin.port}", lossy=True) as tap,
    ):
        monkeypatch.setattr("wsprobe.middleware.mitmproxy_link.Link.feed", broken)
        assert talk(tap, PLAIN).endswith(b"hello")
    assert re.search(r": RuntimeError in test_mitmproxy_start\.py:\d+$", tap.log[0])
    assert re.fullmatch(r"wsprobe: \d observations are lost or incomplete", tap.log[-1])
    assert not [line for line in tap.log if "c2VjcmV0" in line]


def test_what_mitmproxy_itself_fails_at_is_told(records: Path) -> None:
    trailers = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    with (
        Backend(lambda exchange: exchange.send(trailers)) as origin,
        in_process(records, f"http://127.0.0.1:{origin.port}") as tap,
    ):
        assert talk(tap, PLAIN).endswith(b"2\r\nok\r\n")  # and no end of the body
        seen = tap.ended()
    assert tap.log == ["mitmproxy: mitmproxy has crashed!"]
    assert any("trailers break the exchange" in change for change in seen.recorder.alters)


def test_what_is_known_of_open_connections_is_written_at_the_end(engine: Engine, records: Path) -> None:
    with Backend(stay_open) as origin, engine(records, f"http://127.0.0.1:{origin.port}") as tap:
        client = tap.connect()
        client.sendall(wire.upgrade())
        wait_for(lambda: tap.observations(ended=0), lambda: "the upgrade")
    with client:
        assert [(close.sender, close.ending) for close in tap.ended().closes] == [(LOCAL, Ending.EOF)]
        assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert client.recv(4096) == b""


def test_each_finished_exchange_is_told(records: Path) -> None:
    told: list[Observation] = []
    with (
        Backend(needs_token) as origin,
        in_process(records, f"http://127.0.0.1:{origin.port}", on_record=told.append) as tap,
    ):
        talk(tap, PLAIN)
        with tap.connect() as client:
            client.sendall(wire.upgrade())
            wait_for(lambda: len(tap.observations()) > 1, lambda: "the upgrade")
        assert tap.observations(ended=2)
        wait_for(lambda: len(told) > 1, lambda: "both to be told")
    assert told == [one for one in tap.observations(ended=2) if one.ended is not None]


# Upstreams that are not there, that are slow, and that speak no HTTP.


def test_an_upstream_that_refuses_is_recorded(engine: Engine, records: Path) -> None:
    with nobody() as port, engine(records, f"http://127.0.0.1:{port}") as tap:
        assert b"Server: mitmproxy" in talk(tap)
        seen = tap.ended()
    assert seen.request
    assert seen.response is None
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("tcp", "refused")
    assert seen.failure.message == f"127.0.0.1:{port}: Connection refused"
    assert seen.peers
    assert seen.peers.server == f"127.0.0.1:{port}"


def test_an_upstream_without_an_address_is_recorded(records: Path) -> None:
    with in_process(records, "http://no-such-host.invalid:80") as tap:
        talk(tap)
        seen = tap.ended()
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("dns", "not found")
    assert seen.failure.message.startswith("no-such-host.invalid:80: ")


@pytest.mark.skipif(mitmproxy.version.VERSION < "12", reason="mitmproxy 11 waits for 600 s whatever is asked for")
def test_a_connection_that_mitmproxy_gives_up_was_ended_by_nobody_else(records: Path) -> None:
    with Backend(stay_open) as origin, stock(records, f"http://127.0.0.1:{origin.port}", "tcp_timeout=1") as tap:
        talk(tap)
        seen = tap.ended()
    assert [(close.sender, close.ending) for close in seen.closes] == [(LOCAL, Ending.TIMEOUT)]
    assert "1 s without traffic end a connection" in seen.recorder.alters


def test_a_mode_without_http_is_recorded_too(records: Path) -> None:
    with Backend(needs_token) as origin, stock(records, f"tcp://127.0.0.1:{origin.port}") as tap:
        with tap.connect() as client:
            client.sendall(wire.upgrade())
            client.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda: client.recv(65536), b""))
        assert got.endswith(wire.close(1011, "Internal error"))
        seen = tap.ended()
    assert seen.request
    assert seen.request.headers == tuple(origin.requests[0].headers)
    assert [close.code for close in seen.closes if close.ending is Ending.FRAME] == [1011]


# TLS in front and behind.


@pytest.fixture
def pem(tmp_path: Path) -> tls.SelfSigned:
    return tls.self_signed(tmp_path)


@contextmanager
def secured(pem: tls.SelfSigned) -> Iterator[int]:
    """An origin that speaks TLS, accepts an upgrade and closes it with 1011, then with close_notify."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            conn = pem.server().wrap_socket(listener.accept()[0], server_side=True)
        except OSError:  # the client did not like the certificate, or the test is over
            return
        with conn:
            wire.read_head(conn)
            accepted = wire.accept(wire.KEY)
            head = f"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accepted}"
            conn.sendall(head.encode() + b"\r\n\r\n" + wire.close(1011))
            time.sleep(0.1)
            conn.settimeout(5)
            with suppress(OSError):  # mitmproxy answers with FIN and no close_notify
                conn.unwrap()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        listener.close()


def test_tls_on_both_sides_is_recorded(engine: Engine, records: Path, pem: tls.SelfSigned, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pem.key.read_bytes() + pem.cert.read_bytes())
    context = pem.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        secured(pem) as port,
        engine(records, f"https://127.0.0.1:{port}", certs=both, cacert=pem.cert) as tap,
        context.wrap_socket(tap.connect(), server_hostname="localhost", suppress_ragged_eofs=False) as client,
    ):
        client.sendall(wire.upgrade())
        assert wire.read_head(client)[1] + client.recv(4) == wire.close(1011)
        with pytest.raises(ssl.SSLEOFError):  # mitmproxy ends without close_notify, which it says
            client.recv(1)
        seen = tap.ended()
    assert any("close_notify" in change for change in seen.recorder.alters)
    ends = [(close.sender, close.ending, close.code) for close in seen.closes]
    assert ends == [(SERVER, Ending.FRAME, 1011), (SERVER, Ending.EOF, None)]
    assert seen.tls
    assert seen.tls.client
    assert (seen.tls.client.version, seen.tls.client.sni, seen.tls.client.alpn) == ("TLSv1.3", "localhost", "http/1.1")
    assert seen.tls.server
    assert (seen.tls.server.version, seen.tls.server.sni, seen.tls.server.verified) == ("TLSv1.3", "localhost", True)
    assert seen.tls.server.cipher
    (leaf,) = seen.tls.server.certificates
    assert (leaf.subject, leaf.names) == ("CN=127.0.0.1", ("localhost", "127.0.0.1"))
    assert leaf.not_before < leaf.not_after


def test_a_client_that_ends_tls_first_is_the_one_that_ended_it(
    engine: Engine, records: Path, pem: tls.SelfSigned, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pem.key.read_bytes() + pem.cert.read_bytes())
    with Backend(stay_open) as origin, engine(records, f"http://127.0.0.1:{origin.port}", certs=both) as tap:
        with pem.client().wrap_socket(tap.connect(), server_hostname="localhost") as client:
            client.sendall(wire.upgrade())
            wire.read_head(client)
            with pytest.raises(OSError, match=r"EOF|reset"):  # a close_notify, and no FIN before mitmproxy's
                client.unwrap()
        seen = tap.ended()
    assert [(close.sender, close.ending) for close in seen.closes] == [(CLIENT, Ending.EOF)]


def test_a_certificate_that_does_not_verify_is_recorded_with_the_reason(
    engine: Engine, records: Path, pem: tls.SelfSigned
) -> None:
    with secured(pem) as port, engine(records, f"https://127.0.0.1:{port}") as tap:
        assert b"502 Bad Gateway" in talk(tap)
        seen = tap.ended()
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("tls", "certificate")
    assert "self-signed certificate" in seen.failure.message
    assert seen.tls
    assert seen.tls.server
    assert seen.tls.server.verified is False
    assert (seen.tls.client, seen.tls.server.sni) == (None, None)  # an address is never sent as a name


def test_a_certificate_that_need_not_verify_was_not_verified(records: Path, pem: tls.SelfSigned) -> None:
    with secured(pem) as port, in_process(records, f"https://127.0.0.1:{port}", insecure=True) as tap:
        assert talk(tap).endswith(wire.close(1011))
        seen = tap.ended()
    assert seen.tls
    assert seen.tls.server
    assert seen.tls.server.verified is None


def test_a_client_that_fails_at_tls_is_recorded(records: Path) -> None:
    with in_process(records, "http://127.0.0.1:1") as tap:
        talk(tap, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        seen = tap.ended()
    assert seen.request is None
    assert seen.failure
    assert (seen.failure.phase, seen.failure.kind) == ("tls", "handshake")
    assert seen.failure.message.startswith("with the client: ")
