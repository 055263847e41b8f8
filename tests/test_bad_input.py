"""Bad input: each gets one clear line that says what and where, exit status 2, and nothing is lost."""

import json
import os
import socket
from pathlib import Path

import pytest

from tests import backend, wire
from tests.backend import Backend
from tests.mitm import IGNORED
from tests.tracing import client, refused, relay, run, trace
from wsprobe.codec import MAX_LINE

pytestmark = [pytest.mark.filterwarnings(ignored) for ignored in IGNORED]

URL = "ws://127.0.0.1:1/"
SECRET = "s3cr3t-w0rd-42"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a recorder wrote of one connection: two good lines."""
    file = tmp_path_factory.mktemp("records") / "edge.jsonl"
    with (
        Backend(backend.needs_token) as app,
        relay("edge", app.port, file) as port,
        socket.create_connection(("127.0.0.1", port)) as conn,
    ):
        conn.sendall(wire.upgrade())
        data = b""
        while b"Internal error" not in data:
            data += conn.recv(65536)
        conn.sendall(wire.close(1011, mask=wire.MASK))
        while conn.recv(65536):
            pass
    return file.read_bytes()


# URLs.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "ftp://127.0.0.1/",
        "mailto:somebody@example.test",
        "ws:/127.0.0.1/",
        "ws://",
        "ws:///path",
        "ws://:80/",
        "ws://127.0.0.1:port/",
        "ws://127.0.0.1:70000/",
        "ws://127.0.0.1:0/",
        "ws://127.0.0.1:-1/",
        "ws://[::1/",
        "ws://127.0.0.1/#fragment",
        "ws://127.0.0.1/a\r\nX: y",
        "ws://127.0.0.1/\x1b[31m",
        f"nonsense://user:{SECRET}@host/",
        f"ws://user:{SECRET}@host:port/",
        f"wss//host/?token={SECRET}",
    ],
)
def test_what_is_no_url(url: str) -> None:
    ran = run("trace", url)
    refused(ran, "wsprobe trace: ")
    assert SECRET not in ran.err
    assert "\x1b" not in ran.err


# Records.

NEWER = b'{"schema": "wsprobe.hop/2", "name": "edge"}\n'
FOREIGN = b'{"level": "info", "msg": "started"}\n'
BINARY = bytes(octet for octet in range(256) if octet != 10) + b"\n"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param(b'{"schema": "wsprobe.hop/1", "na', "line 3: not JSON", id="torn"),
        pytest.param(BINARY, "line 3: not JSON", id="binary"),
        pytest.param(NEWER, "newer", id="newer"),
        pytest.param(FOREIGN, "no schema", id="foreign"),
        pytest.param(b"x" * (MAX_LINE + 10) + b"\n", "longer than", id="endless line"),
        pytest.param(b"[" * 100_000 + b"\n", "line 3: not JSON", id="nested"),
        pytest.param(b'{"schema": "wsprobe.hop/1"}\n', "is missing", id="empty record"),
    ],
)
def test_good_lines_are_used_and_the_others_counted_and_named(
    bad: bytes, words: str, good: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(good + bad)
    ran = run("diagnose", str(file), "--format", "json")
    assert ran.status == 1
    (told,) = [line for line in ran.report["unobserved"] if "edge.jsonl" in line]
    assert "1 not read" in told
    assert "2 good lines used" in told
    assert words in told
    assert [hop["name"] for hop in ran.report["trace"]["hops"]] == ["edge"]
    shown = run("diagnose", str(file))
    assert "1 not read" in " ".join(shown.out.split())
    file.write_bytes(bad)
    for words_ in (["diagnose", str(file)], ["trace", URL, "--records", str(file)]):
        refused(run(*words_), "edge.jsonl", "no line is a record of wsprobe")


def test_many_bad_lines_are_counted_and_a_few_named(good: bytes, tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(FOREIGN * 1000 + good)
    ran = run("diagnose", str(file), "--format", "json")
    (told,) = [line for line in ran.report["unobserved"] if "edge.jsonl" in line]
    assert "1000 not read" in told
    assert len(told) < 700


def test_a_trace_tells_bad_lines_too(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "edge.jsonl").write_bytes(good + NEWER)
    with Backend(backend.echo) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--records", str(tmp_path))
    assert ran.status == 0
    assert any("1 not read" in line for line in ran.report["unobserved"])


def test_an_empty_file_is_fine_for_a_trace_and_nothing_to_diagnose(good: bytes, tmp_path: Path) -> None:
    empty, full = tmp_path / "app.jsonl", tmp_path / "edge.jsonl"
    empty.touch()
    full.write_bytes(good)
    refused(run("diagnose", str(empty)), "app.jsonl", "empty")
    refused(run("diagnose", str(full), str(empty)), "app.jsonl", "empty")
    empty.write_text("\n\n")
    refused(run("diagnose", str(empty)), "app.jsonl", "empty")
    assert run("diagnose", str(tmp_path)).status == 1, "in a folder it is the recorder that saw nothing"
    with Backend(backend.echo) as app:
        assert trace(f"ws://127.0.0.1:{app.port}/", "--records", str(empty), hold=0).status == 0


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    none, folder = tmp_path / "none.jsonl", tmp_path / "folder"
    folder.mkdir()
    for words in (["diagnose"], ["trace", URL, "--records"]):
        refused(run(*words, str(none)), "none.jsonl", "No such file")
    refused(run("diagnose", str(folder)), "folder")
    secret = tmp_path / "secret.jsonl"
    secret.touch(mode=0o000)
    if os.geteuid():
        refused(run("diagnose", str(secret)), "secret.jsonl", "Permission denied")
    refused(run("report", str(none)), "none.jsonl", "No such file")
    refused(run("report", str(folder)), "Is a directory")


def test_what_is_no_report(good: bytes, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    for content, words in [
        (b"", "not JSON"),
        (BINARY, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"schema": "wsprobe.report/9"}', "newer"),
        (b'{"schema": "wsprobe.trace/1", "id": null, "hops": []}', "without a hop"),
        (good, "wsprobe diagnose"),
    ]:
        file.write_bytes(content)
        refused(run("report", str(file)), "report.json", words)


def test_records_without_an_upgrade_are_nothing_to_diagnose(good: bytes, tmp_path: Path) -> None:
    record = json.loads(good.splitlines()[-1])
    record["handshake"]["asked"] = False
    file = tmp_path / "edge.jsonl"
    file.write_text(json.dumps(record) + "\n")
    refused(run("diagnose", str(file)), "edge.jsonl", "WebSocket")
    file.write_bytes(good)
    refused(run("diagnose", str(file), "--trace", "abc"), "abc")


# What is in use, and keys.


@pytest.mark.parametrize("engine", ["relay", "mitmproxy"])
def test_an_address_in_use(engine: str, tmp_path: Path) -> None:
    if engine == "mitmproxy":
        pytest.importorskip("mitmproxy")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        words = ["record", "edge", "--listen", listen, "--to", URL.replace("ws", "http")[:-1], "-o"]
        ran = run(*words, str(tmp_path / "edge.jsonl"), "--engine", engine)
        refused(ran, listen, "in use")
        refused(run("origin", "--listen", listen), listen, "in use")


def test_a_fingerprint_key_that_is_too_short(tmp_path: Path) -> None:
    env = {"WSPROBE_FINGERPRINT_KEY": "short"}
    with Backend(backend.echo) as app:
        refused(run("trace", f"ws://127.0.0.1:{app.port}/", env=env), "WSPROBE_FINGERPRINT_KEY")
        assert not app.exchanges
    words = ["record", "edge", "--listen", "127.0.0.1:0", "--to", "http://127.0.0.1:1", "-o", str(tmp_path / "x.jsonl")]
    refused(run(*words, env=env), "WSPROBE_FINGERPRINT_KEY")
    refused(run("demo", env=env), "WSPROBE_FINGERPRINT_KEY")


def test_a_header_with_a_line_break_in_a_file_is_two_headers_or_none(tmp_path: Path) -> None:
    (tmp_path / "headers").write_bytes(b"X: a\r\nY: b\x00c\r\n")
    refused(run("trace", URL, "-H", f"@{tmp_path / 'headers'}"), "Y", "control character")
    (tmp_path / "headers").write_bytes(b"X: a\r\nY: b\r\n")
    with Backend(backend.echo) as app:
        hop = client(trace(f"ws://127.0.0.1:{app.port}/", "-H", f"@{tmp_path / 'headers'}", hold=0))
    assert [pair for pair in hop["request"]["headers"] if pair[0] in "XY"] == [["X", "a"], ["Y", "b"]]


@pytest.fixture(autouse=True)
def _without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSPROBE_FINGERPRINT_KEY", raising=False)
