"""The stand-in origin under callers that mean it ill, and under its own operator's mistakes."""

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests import standin, wire
from tests.standin import StandIn, run, stand_in
from wsprobe.model import Ending, Observation, Sender
from wsprobe.net import origin
from wsprobe.net.carriers import TokenPolicy
from wsprobe.net.origin import Origin
from wsprobe.recordfile import read

PLANTED = "eyJhbGciOiJIUzI1NiJ9.eyJwbGFudGVkIjoxfQ.planted-signature-planted-signature-planted"
OPENING = wire.upgrade(headers=[("Authorization", f"Bearer {PLANTED}")])
MEMORY = 150 * 1024 * 1024  # octets that the process may have in use, interpreter and libraries included


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("hostile")) as process:
        yield process


def exchange(running: StandIn, *pieces: bytes) -> bytes:
    """Sends it all, whatever comes back meanwhile, and returns what came until the connection ended."""
    got = bytearray()

    def collect(conn: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it ended with a RST: what came before is there
            while chunk := conn.recv(65536):
                got.extend(chunk)

    with socket.create_connection(("127.0.0.1", running.port), timeout=15) as conn:
        reader = threading.Thread(target=collect, args=(conn,))
        reader.start()
        with contextlib.suppress(OSError):  # the origin has had enough
            for piece in pieces:
                conn.sendall(piece)
        reader.join()
    return bytes(got)


def last(running: StandIn, before: int) -> Observation:
    return running.wait_for(before + 1)[-1]


def check_sound(running: StandIn) -> None:
    """It still serves, has not grown, and has told no secret."""
    answer = exchange(running, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    status = Path(f"/proc/{running.process.pid}/status")
    if status.exists():  # Linux tells the most that was ever in use
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert peak
        assert int(peak[1]) * 1024 < MEMORY
    for text in (running.records.read_text(), running.raw_log.decode()):
        assert "planted-signature" not in text
        assert "Traceback" not in text


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Header " + PLANTED.encode() + b"\r\n\r\n",
        b"GET /" + PLANTED.encode() + b"\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 10_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1_000_000 + b"\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["tls-to-plain", "no-colon", "nul", "version", "10MB-header", "million-headers", "1MB-target"],
)
def test_requests_that_are_none(running: StandIn, request_: bytes) -> None:
    before = len(running.wait_for(0))
    answer = exchange(running, request_)
    assert answer.startswith(b"HTTP/1.0 400 ") or (not answer and len(request_) > 500_000)  # or a RST was faster
    assert b"planted" not in answer
    (seen,) = running.wait_for(before + 1)[before:]
    assert seen.request
    assert len(json.dumps(seen.request.headers)) < 600_000
    assert seen.response
    assert seen.response.start_line.endswith(" 400 Bad Request")
    assert seen.verification is None
    assert [each.kind for each in seen.anomalies if "did not end" in each.kind] == [
        "a request head that did not end" for _ in range(len(request_) > 500_000)
    ]
    check_sound(running)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x82\xff" + b"\x7f" + b"\xff" * 7 + wire.MASK + b"x" * 1000, 1009),
        (b"\x82\xff" + b"\x80" + b"\x00" * 7 + wire.MASK, None),
        (wire.frame(wire.TEXT, b"\xff\xfe", mask=wire.MASK), 1007),
        (wire.frame(3, b"x", mask=wire.MASK), 1002),
        (wire.frame(wire.BINARY, bytes(5 * 1024 * 1024), mask=wire.MASK), 1009),
        (wire.close(1005, "never", mask=wire.MASK), 1002),
        (wire.frame(wire.CLOSE, b"\x03", mask=wire.MASK), 1002),
        (wire.frame(wire.CLOSE, b"\x03\xe8\xff\xfe", mask=wire.MASK), None),
        (wire.frame(wire.PING, b"x" * 100, mask=wire.MASK) * 10_000 + wire.close(1000, mask=wire.MASK), 1000),
    ],
    ids=["2^63-1", "2^63", "utf-8", "opcode", "5MiB", "1005", "half-a-code", "reason-not-utf-8", "10000-pings"],
)
def test_frames_that_are_none(running: StandIn, frames: bytes, code: int | None) -> None:
    before = len(running.wait_for(0))
    answer = exchange(running, OPENING + frames, wire.close(1000, mask=wire.MASK))
    assert answer.startswith(b"HTTP/1.1 101 ")
    seen = last(running, before)
    closes = [close for close in seen.closes if (close.sender, close.ending) == (Sender.SERVER, Ending.FRAME)]
    assert len(closes) <= 1
    if code:
        assert [close.code for close in closes] == [code]
    check_sound(running)


def test_a_caller_that_reads_nothing_makes_it_wait(running: StandIn) -> None:
    before = len(running.wait_for(0))
    message = wire.frame(wire.BINARY, bytes(1_000_000), mask=wire.MASK)
    with socket.create_connection(("127.0.0.1", running.port)) as conn:
        conn.sendall(OPENING)
        conn.settimeout(0.5)
        with pytest.raises(TimeoutError):
            conn.sendall(message * 200)
        check_sound(running)
    assert last(running, before).ended is not None


def test_many_requests_at_once_are_answered_in_order(running: StandIn) -> None:
    before = len(running.wait_for(0))
    request = b"GET /%d HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n"
    answer = exchange(
        running, b"".join(request % i for i in range(60)), b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    asked = [found.decode() for found in re.findall(rb"GET /(\d+) HTTP", answer)]
    assert asked == [str(i) for i in range(60)]
    seen = running.wait_for(before + 61)[before:]
    assert [each.exchange for each in seen] == list(range(61))
    assert [bool(each.verification and each.verification.valid) for each in seen] == [True] * 60 + [False]


# In this process: what would take a minute, and what the class promises to others that use it.


def in_loop(make: Callable[[], asyncio.AbstractEventLoop], records: Path, talk: Callable[[int], bytes]) -> bytes:
    """Starts an origin, lets a client talk to it from a thread, and stops it."""

    async def serve() -> bytes:
        served = Origin("origin", ("127.0.0.1", 0), tokens=TokenPolicy(), records=records)
        _, port = await served.start()
        try:
            return await asyncio.wait_for(asyncio.to_thread(talk, port), 20)
        finally:
            await served.stop()

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(serve())


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_head_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    monkeypatch.setattr(origin, "HEAD_SECONDS", 0.3)

    def drip(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as conn, contextlib.suppress(OSError):
            for octet in OPENING:
                conn.sendall(bytes([octet]))
                time.sleep(0.01)
            return conn.recv(100)
        return b""

    assert in_loop(make, tmp_path / "o.jsonl", drip) == b""
    (seen,) = read([tmp_path / "o.jsonl"]).observations
    assert (seen.closes[0].sender, seen.closes[0].ending) == (Sender.LOCAL, Ending.TIMEOUT)
    assert [anomaly.kind for anomaly in seen.anomalies] == ["a request head that did not end"]


def test_a_connection_may_be_idle_before_its_first_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "HEAD_SECONDS", 0.1)

    def wait(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as conn:
            time.sleep(0.3)
            conn.sendall(OPENING)
            head, _ = wire.read_head(conn)
            time.sleep(0.3)
            conn.sendall(wire.frame(wire.PING, b"still here", mask=wire.MASK))
            assert next(wire.frames([conn.recv(100)])) == (wire.PONG, b"still here")
        return head

    assert in_loop(asyncio.new_event_loop, tmp_path / "o.jsonl", wait).startswith(b"HTTP/1.1 101 ")


def test_a_full_disk_is_told_once_and_stops_nobody() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    problems: list[str] = []

    async def serve() -> list[bytes]:
        served = Origin(
            "origin", ("127.0.0.1", 0), tokens=TokenPolicy(), records=Path("/dev/full"), problem=problems.append
        )
        host, port = await served.start()
        answers = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answers.append(await reader.read())
            writer.close()
        await served.stop()
        return answers

    assert [answer[:13] for answer in asyncio.run(serve())] == [b"HTTP/1.1 200 "] * 3
    assert problems[0] == "a record was lost: No space left on device"
    assert problems[1:] == ["3 records were lost, the first of them as told above"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "127.0.0.1"], "--listen 127.0.0.1: not HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "the port is not a number from 0 to 65535"),
        (["--listen", "{taken}"], "--listen {taken}: Address already in use"),
        (["--listen", "127.0.0.1:0", "--key", "k.pem"], "--key is the key of --cert, which is missing"),
        (["--listen", "127.0.0.1:0", "--cert", "/no/such.pem"], "/no/such.pem: No such file or directory"),
        (["--listen", "127.0.0.1:0", "-o", "/no/such/folder/o.jsonl"], "/no/such/folder/o.jsonl: No such file"),
        (["--listen", "127.0.0.1:0", "--token-from", "cookie:"], "--token-from: 'cookie:' is none of header, cookie:"),
        (["--listen", "127.0.0.1:0", "--issuer", "i"], "--issuer needs a key to verify with"),
        (["--listen", "127.0.0.1:0", "--jwks", "/no/such.json"], "--jwks /no/such.json: No such file or directory"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        filled = [argument.replace("{taken}", address) for argument in arguments]
        status, out, err = run(["origin", *filled])
    assert (status, out) == (2, "")
    assert words.replace("{taken}", address) in err
    assert err.count("\n") == 1


def test_a_shared_fingerprint_key_that_is_too_short_is_refused() -> None:
    status, _, err = run(["origin", "--listen", "127.0.0.1:0"], env={"WSPROBE_FINGERPRINT_KEY": "planted"})
    assert status == 2
    assert "WSPROBE_FINGERPRINT_KEY has 7 characters" in err
    assert standin.SECRET not in err
    assert "planted" not in err
