"""Hostile servers, seen by the probe through the relay: bounded memory and time in both, and a report."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.tracing import SECONDS, command, run
from wsprobe.recordfile import read

MIB = 1 << 20
PROBE_MIB = 64  # above what a probe of a friendly server takes: one message of 16 MiB, its copies, and some room
RELAY_MIB = 140

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def on(exchange: Exchange, *pieces: bytes) -> None:
    exchange.send(backend.switching(exchange.request) + b"".join(pieces))


def forever(exchange: Exchange, piece: bytes, pause: float = 0) -> None:
    while True:  # until the peer has had enough
        exchange.send(piece)
        time.sleep(pause)


def many_headers(exchange: Exchange) -> None:
    line = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\n" + line * (10 * MIB // len(line)) + b"\r\n")


def one_long_header(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 403 Forbidden\r\nX-Filler: " + b"x" * (10 * MIB) + b"\r\n\r\n")


def endless_header(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nX-Filler: ")
    forever(exchange, b"x" * 65536)


def endless_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    forever(exchange, b"X-Filler: yes\r\n" * 1000)


def endless_status_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 ")
    forever(exchange, b"O" * 65536)


def endless_body(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    forever(exchange, b"no " * 20000)


def endless_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
    forever(exchange, b"5\r\nnever\r\n" * 100, 0.005)


def endless_chunk_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
    forever(exchange, b"0" * 65536)


def huge_length(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 500 Broken\r\nContent-Length: 9223372036854775808\r\n\r\n")
    forever(exchange, b"x" * 65536)


def endless_hints(exchange: Exchange) -> None:
    forever(exchange, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100, 0.01)


def no_answer(exchange: Exchange) -> None:
    for _ in exchange.chunks():
        pass


def a_byte_at_a_time(exchange: Exchange) -> None:
    for octet in b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: " + b"x" * 100:
        exchange.send(bytes([octet]))
        time.sleep(0.1)


def frame_of_2_63(exchange: Exchange) -> None:
    on(exchange, b"\x82\x7f\x80" + bytes(7))
    forever(exchange, b"x" * 65536)


def frame_of_2_62(exchange: Exchange) -> None:
    on(exchange, b"\x82\x7f\x40" + bytes(7))
    forever(exchange, b"x" * 65536)


def endless_fragments(exchange: Exchange) -> None:
    on(exchange, b"\x01\x01a")
    forever(exchange, b"\x00\x7e\xff\xff" + b"a" * 65535)


def tiny_fragments(exchange: Exchange) -> None:
    on(exchange, b"\x01\x01a")
    forever(exchange, b"\x00\x01a" * 200, 0.005)


def endless_messages(exchange: Exchange) -> None:
    on(exchange)
    forever(exchange, wire.frame(wire.TEXT, b"spam") * 10000)


def broken_text(exchange: Exchange) -> None:
    on(exchange, wire.frame(wire.TEXT, b"\xff\xfe\xc0"))
    no_answer(exchange)


def broken_reason(exchange: Exchange) -> None:
    on(exchange, wire.frame(wire.CLOSE, b"\x03\xf3\xff\xfe\x1b[31m"))
    no_answer(exchange)


def ten_thousand_pings(exchange: Exchange) -> None:
    on(exchange, wire.frame(wire.PING, b"p" * 125) * 10000)
    pongs = 0
    for opcode, _ in exchange.frames():
        pongs += opcode == wire.PONG
        if pongs == 10000:
            exchange.send(wire.close(1000))


def endless_pings_unread(exchange: Exchange) -> None:
    on(exchange)
    forever(exchange, wire.frame(wire.PING, b"p" * 125) * 1000)


@cache
def packed() -> bytes:
    """256 MiB of zeros, deflated once."""
    packer = zlib.compressobj(1, wbits=-15)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(256)) + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]


def bomb(exchange: Exchange) -> None:
    head = backend.switching(exchange.request)[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    body = packed()
    exchange.send(head + b"\xc1\x7f" + len(body).to_bytes(8) + body)
    no_answer(exchange)


def http_in_the_socket(exchange: Exchange) -> None:
    on(exchange, b"HTTP/1.1 500 Internal Server Error\r\n\r\n<html>" + b"x" * 100_000)


def reserved(exchange: Exchange) -> None:
    on(exchange, bytes([0xF3, 5]) + b"hello" + bytes([0x8B, 0x7E, 0xFF, 0xFF]) + bytes(65535))


SERVERS: dict[str, Callable[[Exchange], None]] = {
    server.__name__: server
    for server in (
        *(many_headers, one_long_header, endless_header, endless_headers, endless_status_line),
        *(endless_body, endless_chunks, endless_chunk_line, huge_length, endless_hints, no_answer, a_byte_at_a_time),
        *(
            frame_of_2_63,
            frame_of_2_62,
            endless_fragments,
            tiny_fragments,
            endless_messages,
            broken_text,
            broken_reason,
        ),
        *(ten_thousand_pings, endless_pings_unread, bomb, http_in_the_socket, reserved),
    )
}
HEALTHY = {"endless_messages", "ten_thousand_pings", "endless_pings_unread", "tiny_fragments"}
OPTIONS = {"bomb": ("--as-browser", "--hold", "5"), "ten_thousand_pings": ("--hold", "15")}
TELLS = {
    "many_headers": "malformed-response",
    "one_long_header": "malformed-response",
    "endless_header": "malformed-response",
    "endless_headers": "malformed-response",
    "endless_status_line": "malformed-response",
    "endless_body": "upgrade-refused",
    "endless_chunks": "upgrade-refused",
    "endless_chunk_line": "upgrade-refused",
    "huge_length": "upgrade-refused",
    "no_answer": "no-answer",
    "a_byte_at_a_time": "malformed-response",
    "frame_of_2_63": "closed-by-client",
    "frame_of_2_62": "closed-by-client",
    "endless_fragments": "closed-by-client",
    "broken_text": "closed-by-client",
    "broken_reason": "broken-frames",
    "bomb": "closed-by-client",
    "http_in_the_socket": "broken-frames",
    "reserved": "broken-frames",
}


@dataclass
class Tap:
    """A relay in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    records: Path

    @property
    def peak(self) -> float:
        """The most memory that it ever had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@pytest.fixture(scope="module")
def tap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tap]:
    def answer(exchange: Exchange) -> None:
        SERVERS.get(exchange.request.start_line.split("/")[1].split(" ")[0], backend.echo)(exchange)

    records = tmp_path_factory.mktemp("hostile") / "tap.jsonl"
    with Backend(answer) as app:
        to = f"http://127.0.0.1:{app.port}"
        words = command("record", "tap", "--listen", "127.0.0.1:0", "--to", to, "-o", str(records))
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            told = [process.stderr.readline()]
            reader = threading.Thread(target=told.extend, args=(process.stderr,))
            reader.start()
            try:
                yield Tap(process, int(json.loads(told[0])["at"].rpartition(":")[2]), records)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(SECONDS)
                reader.join(SECONDS)
    assert "Traceback" not in "".join(told)


def probed(url: str, *options: str) -> tuple[int, str, float, float]:
    """Runs `wsprobe trace` as a process: exit status, stdout, seconds, and the most memory in MiB."""
    words = ["trace", url, *(options or ("--hold", "0.3", "--max-time", "1.2")), "--format", "json"]
    began = time.monotonic()
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        out, err = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert err == "", err
    return process.returncode, out, time.monotonic() - began, usage.ru_maxrss / 1024


@pytest.fixture(scope="module")
def friendly(tap: Tap) -> float:
    """What a probe of a friendly server takes, in MiB."""
    status, _, _, peak = probed(f"ws://127.0.0.1:{tap.port}/friendly", "--as-browser", "--hold", "0.2")
    assert status == 0
    return peak


@pytest.mark.parametrize("server", SERVERS)
def test_a_hostile_server_is_bounded_and_reported(server: str, tap: Tap, friendly: float) -> None:
    status, out, took, peak = probed(f"ws://127.0.0.1:{tap.port}/{server}", *OPTIONS.get(server, ()))
    report = json.loads(out)
    assert (status, bool(report["verdict"])) == ((0, False) if server in HEALTHY else (1, True)), report["summary"]
    assert took < 3 * SECONDS
    assert peak < friendly + PROBE_MIB, f"{peak:.0f} MiB, {friendly:.0f} of a friendly server"
    assert tap.peak < RELAY_MIB, f"the relay took {tap.peak:.0f} MiB"
    assert tap.process.poll() is None
    assert len(out) < 2 * MIB, "the report is bounded too"
    assert TELLS.get(server) in {None, *(finding["rule"] for finding in report["findings"])}
    (hop,) = report["trace"]["hops"]
    if server == "frame_of_2_63":
        assert "a frame that claims 2^63 octets or more" in [flaw["kind"] for flaw in hop["anomalies"]]
    if server == "ten_thousand_pings":
        assert hop["pings"]["server"]["sent"] == hop["frames"]["client"]["pong"]["frames"] == 10000
    _recorded(tap, server)


def _recorded(tap: Tap, server: str) -> None:
    """Waits until the relay has the end of this connection in its records."""
    deadline = time.monotonic() + SECONDS
    while True:
        asked = [one.request.start_line for one in read([tap.records]).observations if one.request and one.ended]
        if f"GET /{server} HTTP/1.1" in asked:
            break
        assert time.monotonic() < deadline, asked
        time.sleep(0.05)
    assert tap.records.stat().st_size < 64 * MIB


ENDLESS = [
    b"GET /friendly HTTP/1.1\r\nX: ",
    b"GET /",
    b"\x16\x03\x01",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
]


@pytest.mark.parametrize("endless", ENDLESS)
def test_a_hostile_client_of_the_relay_is_bounded(endless: bytes, tap: Tap) -> None:
    with socket.create_connection(("127.0.0.1", tap.port), SECONDS) as conn:
        conn.settimeout(0.5)
        sent = 0
        try:
            conn.sendall(endless)
            while sent < 16 * MIB:
                sent += conn.send(b"1" * 65536)
        except OSError:  # the backend behind it had enough, or nobody takes it
            pass
    assert tap.peak < RELAY_MIB
    status, _, _, _ = probed(f"ws://127.0.0.1:{tap.port}/friendly")
    assert status == 0, "others are served all the same"


# What is shown of it.

NASTY = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2066\x00\x7f\b"


@pytest.mark.parametrize("format_", ["terminal", "markdown", "json"])
@pytest.mark.parametrize("where", ["reason", "header", "body", "status line", "location"])
def test_control_characters_never_reach_the_terminal(where: str, format_: str, tmp_path: Path) -> None:
    raw = NASTY.encode()

    def answer(exchange: Exchange) -> None:
        lines = {
            "status line": b"HTTP/1.1 403 " + raw + b"\r\nContent-Length: 0\r\n\r\n",
            "location": b"HTTP/1.1 302 Found\r\nLocation: /" + raw + b"\r\nContent-Length: 0\r\n\r\n",
            "body": b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw,
        }
        if where in lines:
            exchange.send(lines[where])
            return
        head = backend.switching(exchange.request)[:-2]
        extra = b"X-Nasty: " + raw + b"\r\n" if where == "header" else b""
        reason = raw if where == "reason" else b""
        exchange.send(head + extra + b"\r\n" + wire.frame(wire.CLOSE, b"\x0f\xa0" + reason))
        no_answer(exchange)

    with Backend(answer) as app:
        for more in ([], ["--location"]):
            url = f"ws://127.0.0.1:{app.port}/"
            ran = run("trace", url, "--hold", "1", "--format", format_, "-o", str(tmp_path), *more)
            shown = ran.everything + "".join(file.read_text() for file in tmp_path.iterdir())
            assert ran.status in {0, 1}
            assert not set(shown) & (set(NASTY) - {"\n"} - set("[2J]0;owned31m")), where
