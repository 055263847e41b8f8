"""`wsprobe record` as a process: what it tells, how it leaves, and what it refuses before anything listens."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import tls, wire
from tests.backend import Backend, needs_token, nobody, plain, stay_open
from wsprobe.cli import main
from wsprobe.model import Ending, Observation, Sender
from wsprobe.recordfile import read

SECONDS = 20.0
TOKEN = "Y2FuYXJ5-a8Jd02kLmQz7Yt55Pq1-notinanyfile"


@dataclass
class Recording:
    """A running `wsprobe record`; `log` is all that it told, once it has left."""

    process: subprocess.Popen[str]
    records: Path
    port: int = 0
    log: str = ""

    def leave(self, number: int = signal.SIGTERM) -> int:
        """Tells it to leave; returns its exit status."""
        self.process.send_signal(number)
        self.log += self.process.communicate(timeout=SECONDS)[1]
        return self.process.returncode

    def lines(self) -> list[dict[str, Any]]:
        """What it told, line by line."""
        return [json.loads(line) for line in self.log.splitlines()]

    def seen(self) -> list[Observation]:
        """The last line of each exchange in its records."""
        return list(read([self.records]).observations)

    def connect(self) -> socket.socket:
        """A client's connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)


@contextlib.contextmanager
def recording(folder: Path, to: str, *options: str) -> Iterator[Recording]:
    """The command while the block runs."""
    records = folder / "edge.jsonl"
    words = ["record", "edge", "--listen", "127.0.0.1:0", "--to", to, "-o", str(records), *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "wsprobe", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    running = Recording(process, records)
    try:
        assert process.stderr
        running.log = process.stderr.readline()
        running.port = int(json.loads(running.log)["at"].rpartition(":")[2])
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=SECONDS)


def upgraded(conn: socket.socket) -> bytes:
    """Sends an upgrade with a token; returns the head of the answer."""
    conn.sendall(wire.upgrade("/ws?access_token=" + TOKEN, [("Authorization", f"Bearer {TOKEN}")]))
    return wire.read_head(conn)[0]


def wait_for(running: Recording, number: int) -> list[Observation]:
    """Its observations, once there are so many."""
    deadline = time.monotonic() + SECONDS
    while len(found := running.seen() if running.records.exists() else []) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_line_tells_each_connection_without_its_secrets(tmp_path: Path) -> None:
    with Backend(needs_token) as origin, recording(tmp_path, f"ws://127.0.0.1:{origin.port}") as edge:
        with edge.connect() as conn:
            assert b" 101 " in upgraded(conn)
            conn.sendall(wire.close(1000, mask=wire.MASK))
            while conn.recv(1000):
                pass
        with edge.connect() as conn:
            conn.sendall(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b" 401 " in wire.read_head(conn)[0]
        assert edge.leave() == 0
    listening, first, second = edge.lines()
    assert listening["hop"] == "edge"
    assert listening["records"] == str(edge.records)
    assert first["event"].startswith("GET /ws?access_token=[withheld")
    assert (first["hop"], first["status"]) == ("edge", 101)
    assert "1000 (OK)" in first["ended"]
    assert second["event"] == "GET /plain"
    assert second["status"] == 401
    assert TOKEN not in edge.log + edge.records.read_text()


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with Backend(lambda exchange: exchange.send(plain("200 OK"))) as origin:
        with recording(tmp_path, f"http://127.0.0.1:{origin.port}") as edge, edge.connect() as conn:
            conn.sendall(b"GET /\x1b]0;pwned\x07 HTTP/1.1\r\nHost: a\r\n\r\n")
            wire.read_head(conn)
            assert edge.leave() == 0
    assert "\x1b" not in edge.log
    assert "u001b" not in edge.log
    assert "/\ufffd]0;pwned\ufffd" in edge.lines()[1]["event"]


def test_quiet_tells_only_what_goes_wrong(tmp_path: Path) -> None:
    records = tmp_path / "edge.jsonl"
    with Backend(needs_token) as origin, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        words = ["record", "edge", "--listen", f"127.0.0.1:{port}", "--to", f"http://127.0.0.1:{origin.port}"]
        command = [sys.executable, "-m", "wsprobe", *words, "-o", str(records), "--quiet"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            with connected(port) as conn:
                assert b" 101 " in upgraded(conn)
            while not records.exists() or not read([records]).observations:
                time.sleep(0.02)
            process.terminate()
            assert process.communicate(timeout=SECONDS) == (b"", b"")
            assert process.returncode == 0


def connected(port: int) -> socket.socket:
    """A connection, as soon as somebody listens."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_leaving_records_open_connections(tmp_path: Path, number: int, status: int) -> None:
    with Backend(stay_open) as origin, recording(tmp_path, f"http://127.0.0.1:{origin.port}") as edge:
        with edge.connect() as conn:
            assert b" 101 " in upgraded(conn)
            wait_for(edge, 1)
            assert edge.leave(number) == status
            assert conn.recv(100) == b""
    (seen,) = edge.seen()
    assert [(close.sender, close.ending) for close in seen.closes] == [(Sender.LOCAL, Ending.EOF)]
    assert seen.ended is not None
    assert "the recorder was stopped" in edge.lines()[-1]["ended"]


def test_killed_it_has_recorded_the_upgrade_in_a_private_file(tmp_path: Path) -> None:
    with Backend(stay_open) as origin, recording(tmp_path, f"http://127.0.0.1:{origin.port}") as edge:
        with edge.connect() as conn:
            assert b" 101 " in upgraded(conn)
            wait_for(edge, 1)
            edge.leave(signal.SIGKILL)
    (seen,) = edge.seen()
    assert seen.handshake
    assert seen.handshake.upgraded
    assert seen.closes == ()
    assert edge.records.stat().st_mode & 0o777 == 0o600


def test_unreachable_upstream_is_told(tmp_path: Path) -> None:
    with nobody() as port, recording(tmp_path, f"http://127.0.0.1:{port}") as edge:
        with edge.connect() as conn, pytest.raises(ConnectionResetError):
            upgraded(conn)
        wait_for(edge, 1)
        assert edge.leave() == 0
    assert f"127.0.0.1:{port}: Connection refused" in edge.lines()[1]["ended"]


def test_records_go_to_a_file_of_the_hops_name(tmp_path: Path) -> None:
    with Backend(needs_token) as origin:
        words = ["record", "before lb", "--listen", "127.0.0.1:0", "--to", f"http://127.0.0.1:{origin.port}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "wsprobe", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stderr=subprocess.PIPE,
        )
        with process:
            assert process.stderr
            assert process.stderr.readline()
            process.terminate()
    assert (tmp_path / "before lb.jsonl").exists()


def test_stderr_that_nobody_reads_any_more_does_not_stop_it(tmp_path: Path) -> None:
    with Backend(needs_token) as origin, recording(tmp_path, f"http://127.0.0.1:{origin.port}") as edge:
        assert edge.process.stderr
        edge.process.stderr.close()
        for _ in range(2):
            with edge.connect() as conn:
                assert b" 101 " in upgraded(conn)
        wait_for(edge, 2)
        edge.process.terminate()
        assert edge.process.wait(SECONDS) == 0


# What is refused.

SOMEWHERE = "http://127.0.0.1:1"
BAD = {
    "no host to listen on": (["--listen", "8080", "--to", SOMEWHERE], "--listen"),
    "a port beyond": (["--listen", "127.0.0.1:99999", "--to", SOMEWHERE], "0 to 65535"),
    "a port that is none": (["--listen", "127.0.0.1:http", "--to", SOMEWHERE], "0 to 65535"),
    "IPv6 without brackets": (["--listen", "::1:8080", "--to", SOMEWHERE], "brackets"),
    "a name that is none": (["--listen", f"{'a' * 70}.test:1", "--to", SOMEWHERE], "--listen"),
    "not a URL": (["--listen", "127.0.0.1:0", "--to", "not a url"], "--to"),
    "another scheme": (["--listen", "127.0.0.1:0", "--to", "ftp://127.0.0.1"], "--to"),
    "a URL with a bad port": (["--listen", "127.0.0.1:0", "--to", "http://127.0.0.1:70000"], "--to"),
    "port 0 as upstream": (["--listen", "127.0.0.1:0", "--to", "http://127.0.0.1:0"], "--to"),
    "a URL with a path": (["--listen", "127.0.0.1:0", "--to", "http://127.0.0.1:1/app"], "changes no path"),
    "credentials in the URL": (["--listen", "127.0.0.1:0", "--to", f"http://me:{TOKEN}@127.0.0.1"], "credentials"),
    "no certificate there": (["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "--cert", "/no/such.pem"], "/no/such.pem"),
    "no key there": (["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "--cert", "CERT", "--key", "/no/key"], "/no/key"),
    "a certificate without a key": (["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "--cert", "CERT"], "key too"),
    "a key without a certificate": (["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "--key", "KEY"], "--cert"),
    "another certificate's key": (
        ["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "--cert", "CERT", "--key", "OTHERKEY"],
        "not the certificate's",
    ),
    "authorities that are none": (
        ["--listen", "127.0.0.1:0", "--to", "https://127.0.0.1:1", "--cacert", "KEY"],
        "no certificate in PEM",
    ),
    "authorities not there": (
        ["--listen", "127.0.0.1:0", "--to", "https://127.0.0.1:1", "--cacert", "/no/ca.pem"],
        "/no/ca.pem",
    ),
    "no folder to write to": (["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "-o", "/no/folder/r.jsonl"], "/no/folder"),
    "a folder to write to": (["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "-o", "/"], "/"),
    "an unknown engine": (["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "--engine", "squid"], "squid"),
    "nowhere to pass on to": (["--listen", "127.0.0.1:0"], "--to"),
    "an unknown host to listen on": (["--listen", "nowhere.invalid:1", "--to", SOMEWHERE], "nowhere.invalid"),
    "an address of another host": (["--listen", "192.0.2.1:0", "--to", SOMEWHERE], "192.0.2.1"),
}


def refused(*words: str, folder: Path) -> str:
    """What the command says where it refuses: one line, status 2."""
    command = [sys.executable, "-m", "wsprobe", "record", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=folder, env=environment, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert TOKEN not in line
    return line


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(tmp_path: Path, case: str) -> None:
    first, second = tls.self_signed(_folder(tmp_path, "one")), tls.self_signed(_folder(tmp_path, "two"))
    files = {"CERT": str(first.cert), "KEY": str(first.key), "OTHERKEY": str(second.key)}
    words, says = BAD[case]
    assert says in refused("edge", *(files.get(word, word) for word in words), folder=tmp_path)


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["", "two\nlines", "a/b", "x" * 101, "client"])
def test_name_must_be_one(tmp_path: Path, name: str) -> None:
    assert "NAME" in refused(name, "--listen", "127.0.0.1:0", "--to", SOMEWHERE, folder=tmp_path)


def test_address_in_use_gets_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused("edge", "--listen", address, "--to", SOMEWHERE, folder=tmp_path)
    assert address in said
    assert "in use" in said


def test_fingerprint_key_that_is_too_short_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSPROBE_FINGERPRINT_KEY", "short")
    said = refused("edge", "--listen", "127.0.0.1:0", "--to", SOMEWHERE, folder=tmp_path)
    assert "WSPROBE_FINGERPRINT_KEY" in said
    assert "'short'" not in said


# The other engine.


def test_mitmproxy_that_is_missing_gets_one_line_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mitmproxy", None)  # what an import of it finds is nothing
    monkeypatch.delitem(sys.modules, "wsprobe.net.mitm", raising=False)
    words = ["--listen", "127.0.0.1:0", "--to", SOMEWHERE, "--engine", "mitmproxy", "-o", str(tmp_path / "r.jsonl")]
    assert main(["record", "edge", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'wsprobe[mitmproxy]'" in line


def test_mitmproxy_takes_tls_with_chain_and_key_from_two_files(tmp_path: Path) -> None:
    certificate = tls.self_signed(tmp_path)
    options = ["--engine", "mitmproxy", "--cert", str(certificate.cert), "--key", str(certificate.key)]
    with Backend(needs_token) as origin, recording(tmp_path, f"http://127.0.0.1:{origin.port}", *options) as edge:
        with certificate.client().wrap_socket(edge.connect(), server_hostname="localhost") as conn:
            assert b" 101 " in upgraded(conn)
            conn.sendall(wire.close(1000, mask=wire.MASK))
            while conn.recv(1000):
                pass
        wait_for(edge, 1)
        assert edge.leave() == 0
    (seen,) = edge.seen()
    assert seen.recorder.kind == "mitmproxy"
    assert TOKEN not in edge.log
    assert "1000 (OK)" in edge.lines()[1]["ended"]
