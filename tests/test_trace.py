"""`wsprobe trace` against real servers: what it sends, what it tells of the answer, and of the end."""

import base64
import re
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.tracing import SECONDS, client, relay, rules, run, trace
from wsprobe import __version__


def answers(raw: bytes) -> Callable[[Exchange], None]:
    """A backend that answers every request with these bytes."""
    return lambda exchange: exchange.send(raw)


def closes(*frames: bytes) -> Callable[[Exchange], None]:
    """A backend that sends a 101 and these frames, and waits for the client's close frame."""

    def answer(exchange: Exchange) -> None:
        exchange.send(backend.switching(exchange.request) + b"".join(frames))
        for _ in exchange.frames():
            pass

    return answer


# What is sent.


def test_key_trace_id_and_traceparent_are_the_same_octets() -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/ws")
    request = app.requests[0]
    id_ = ran.report["trace"]["id"]
    assert wire.accept(request.get("sec-websocket-key") or "")
    assert re.fullmatch(rf"00-{id_}-[0-9a-f]{{16}}-01", request.get("traceparent") or "")
    key = request.get("sec-websocket-key") or ""
    assert base64.b64decode(key).hex() == id_
    assert id_.endswith("0000"), "the main request is number 0 of its run"


def test_two_runs_have_two_ids() -> None:
    with Backend(backend.echo) as app:
        ids = {trace(f"ws://127.0.0.1:{app.port}/", hold=0).report["trace"]["id"] for _ in range(2)}
    assert len(ids) == 2


def test_the_request_head_is_recorded_as_it_was_sent() -> None:
    with Backend(backend.echo) as app:
        ran = trace(
            f"http://127.0.0.1:{app.port}/a%2Fb?x=%41&y",
            *("-H", "X-Second: 2", "-H", "x-first:1", "-H", "X-Dup: a", "-H", "X-Dup: b", "-H", "X-Empty:"),
        )
    request, sent = client(ran)["request"], app.requests[0]
    assert request["start_line"] == sent.start_line == "GET /a%2Fb?x=%41&y HTTP/1.1"
    assert [tuple(pair) for pair in request["headers"]] == sent.headers
    told = [pair for pair in sent.headers if pair[0].lower().startswith("x-")]
    assert told == [("X-Second", "2"), ("x-first", "1"), ("X-Dup", "a"), ("X-Dup", "b"), ("X-Empty", "")]
    assert sent.get("user-agent") == f"wsprobe/{__version__}"
    assert sent.get("sec-websocket-extensions") is None
    assert sent.get("accept-encoding") is None


def test_what_is_typed_goes_out_as_utf_8() -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "-H", "X-Name: Grüße €")
    on_wire = "Grüße €".encode().decode("latin-1")
    assert app.requests[0].get("x-name") == on_wire
    assert dict(map(tuple, client(ran)["request"]["headers"]))["X-Name"] == on_wire


def test_headers_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("X-One: 1\n\nUser-Agent: mine/1\nHost: other.example.test\n")
    with Backend(backend.echo) as app:
        trace(f"ws://127.0.0.1:{app.port}/", "-H", f"@{tmp_path / 'headers'}")
    sent = app.requests[0]
    assert (sent.get("x-one"), sent.get("user-agent"), sent.get("host")) == ("1", "mine/1", "other.example.test")
    assert len([name for name, _ in sent.headers if name.lower() == "host"]) == 1


def test_the_user_of_a_url_becomes_basic_credentials() -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"ws://us%40er:pa%3Ass@127.0.0.1:{app.port}/")
    assert app.requests[0].get("authorization") == "Basic dXNAZXI6cGE6c3M="
    assert "us%40er" not in ran.everything
    assert "dXNAZXI6cGE6c3M=" not in ran.everything


@pytest.mark.parametrize("scheme", ["ws", "http", "WS", "HTTP"])
def test_every_scheme_makes_an_upgrade(scheme: str) -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"{scheme}://127.0.0.1:{app.port}/http/x", hold=0)
    assert ran.status == 0
    assert app.requests[0].start_line == "GET /http/x HTTP/1.1"
    assert app.requests[0].get("upgrade") == "websocket"


# What is told of the connection.


def test_peers_phases_and_the_healthy_end_are_told() -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    hop = client(ran)
    assert ran.status == 0
    assert (ran.report["findings"], ran.report.get("verdict")) == ([], None)
    assert hop["peers"]["server"] == f"127.0.0.1:{app.port}"
    assert hop["addresses"] == [f"127.0.0.1:{app.port}"]
    assert set(hop["phases"]) == {"tcp", "upgrade"}
    assert all(0 <= took < SECONDS for took in hop["phases"].values())
    assert hop["phases"]["upgrade"] == hop["handshake"]["duration"]
    ends = [(close["sender"], close["ending"], close["code"]) for close in hop["closes"]]
    assert ends[:2] == [("client", "frame", 1000), ("server", "frame", 1000)]
    assert hop["recorder"]["kind"] == "probe"


def test_it_watches_as_long_as_it_is_told() -> None:
    with Backend(backend.stay_open) as app:
        hop = client(trace(f"ws://127.0.0.1:{app.port}/", hold=0.5))
    assert 0.5 <= hop["closes"][0]["at"] < 5


def test_frames_are_counted_by_opcode_and_direction() -> None:
    frames = [wire.frame(wire.TEXT, b"one"), wire.frame(wire.BINARY, bytes(70000)), wire.frame(wire.PING, b"p")]
    fragmented = bytes([0x01, 2]) + b"ab" + bytes([0x80, 1]) + b"c"
    with Backend(closes(*frames, fragmented, wire.close(1000))) as app:
        hop = client(trace(f"ws://127.0.0.1:{app.port}/", "--send", "hello", "--send", "you"))
    assert hop["frames"]["server"] == {
        "continuation": {"frames": 1, "bytes": 1},
        "text": {"frames": 2, "bytes": 5},
        "binary": {"frames": 1, "bytes": 70000},
        "close": {"frames": 1, "bytes": 2},
        "ping": {"frames": 1, "bytes": 1},
    }
    assert hop["frames"]["client"]["text"] == {"frames": 2, "bytes": 8}
    assert hop["frames"]["client"]["pong"] == {"frames": 1, "bytes": 1}


def test_pings_of_both_sides_are_timed() -> None:
    def pings(exchange: Exchange) -> None:
        exchange.send(backend.switching(exchange.request) + wire.frame(wire.PING, b"from the server"))
        for opcode, payload in exchange.frames():
            exchange.send(wire.frame(wire.PONG if opcode == wire.PING else opcode, payload))

    with Backend(pings) as app:
        hop = client(trace(f"ws://127.0.0.1:{app.port}/", "--ping", "0.1", hold=0.5))
    mine, theirs = hop["pings"]["client"], hop["pings"]["server"]
    assert mine["sent"] >= 2
    assert mine["answered"] >= mine["sent"] - 1
    assert 0 < mine["shortest"] <= mine["mean"] <= mine["longest"] < SECONDS
    assert (theirs["sent"], theirs["answered"]) == (1, 1)


def test_a_close_of_the_server_is_told_with_code_and_reason() -> None:
    with Backend(closes(wire.close(4401, "token grüßt nicht"))) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", hold=5)
    ends = [(close["sender"], close["ending"], close["code"], close["reason"]) for close in client(ran)["closes"]]
    assert ends[:2] == [("server", "frame", 4401, "token grüßt nicht"), ("client", "frame", 4401, "")]
    assert (ran.status, rules(ran)[0]) == (1, "closed-by-origin")


@pytest.mark.parametrize("how", ["eof", "reset"])
def test_an_end_without_a_frame_is_told(how: str) -> None:
    def ends(exchange: Exchange) -> None:
        exchange.send(backend.switching(exchange.request))
        if how == "reset":
            exchange.reset()
        else:
            exchange.conn.shutdown(socket.SHUT_WR)

    with Backend(ends) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", hold=5)
    first = client(ran)["closes"][0]
    assert (first["sender"], first["ending"], first["code"]) == ("server", how, None)
    assert "closed-without-frame" in rules(ran)
    assert 1006 not in [close["code"] for close in client(ran)["closes"]]


@pytest.mark.parametrize("code", [1005, 1006, 1015, 999, 5000])
def test_codes_that_must_not_be_on_the_wire_are_named(code: int) -> None:
    with Backend(closes(wire.close(code))) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", hold=2)
    assert [flaw["kind"] for flaw in client(ran)["anomalies"]] == ["a close code that must not be sent"]
    assert ran.status == 1


def test_a_close_without_a_code_is_healthy() -> None:
    with Backend(closes(wire.frame(wire.CLOSE))) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", hold=2)
    assert client(ran)["closes"][0]["code"] is None
    assert ran.status == 0


# Refusals and redirections.


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified", "401 Unauthorized", "503 Busy"])
def test_a_refusal_is_told_with_its_body(status: str) -> None:
    body = "" if status[:3] in {"204", "304"} else "<p>not today</p>"
    with Backend(answers(backend.plain(status, body))) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    response = client(ran)["response"]
    assert response["start_line"] == f"HTTP/1.1 {status}"
    assert (response.get("body") or {}).get("text", "") == body
    shown = [place["shows"] for place in ran.report["verdict"]["places"]]
    assert shown == [f"HTTP/1.1 {status}", *([f"its body: {body}"] if body else [])]
    assert ran.status == 1
    assert len(app.requests) == 1


def test_64_kib_of_a_body_are_kept_and_its_size_is_told() -> None:
    with Backend(answers(backend.plain("500 Broken", "x" * 200_000))) as app:
        body = client(trace(f"ws://127.0.0.1:{app.port}/"))["response"]["body"]
    assert body["text"] == "x" * 65536
    assert body["cut"]
    assert body["size"] >= 65536


def test_a_body_that_never_ends_is_bounded() -> None:
    def pours(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        while True:  # until the probe has had enough
            exchange.send(b"x" * 65536)

    with Backend(pours) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    body = client(ran)["response"]["body"]
    assert len(body["text"]) == 65536
    assert rules(ran)[0] == "upgrade-refused"


def test_a_coded_body_is_told_by_its_size() -> None:
    raw = b"HTTP/1.1 403 No\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    with Backend(answers(raw)) as app:
        body = client(trace(f"ws://127.0.0.1:{app.port}/"))["response"]["body"]
    assert (body["text"], body["size"]) == (None, 4)


def test_a_redirection_is_shown_and_not_followed() -> None:
    with Backend(backend.echo) as other:
        raw = f"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:{other.port}/new\r\nContent-Length: 0\r\n\r\n"
        with Backend(answers(raw.encode())) as app:
            ran = trace(f"ws://127.0.0.1:{app.port}/")
        assert not other.requests
    assert (ran.status, rules(ran)[0]) == (1, "redirected")
    assert f"ws://127.0.0.1:{other.port}/new" in ran.report["verdict"]["message"]
    assert any("--location" in step for step in ran.report["next"])


def redirects(location: str, status: str = "307 Temporary Redirect") -> Callable[[Exchange], None]:
    return answers(f"HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


CREDENTIALS = (
    *("-H", "Authorization: Bearer abc", "-H", "Cookie: a=b", "-H", "X-Api-Key: k", "-H", "X-Plain: stays"),
    *("-H", "Sec-WebSocket-Protocol: chat, base64url.bearer.authorization.k8s.io.QUJDREVGR0hJSktMTU5PUFFS"),
)


def test_location_follows_without_credentials_to_another_origin() -> None:
    with Backend(backend.echo) as other, Backend(redirects(f"http://127.0.0.1:{other.port}/new?x=1")) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--location", *CREDENTIALS)
    assert ran.status == 0
    first, second = app.requests[0], other.requests[0]
    assert second.start_line == "GET /new?x=1 HTTP/1.1"
    for name in ("authorization", "cookie", "x-api-key", "sec-websocket-protocol"):
        assert first.get(name), name
        assert second.get(name) is None, name
    assert second.get("x-plain") == "stays"
    assert first.get("sec-websocket-key") != second.get("sec-websocket-key")
    (control,) = ran.report["controls"]
    assert control["name"].startswith("redirected: ws://127.0.0.1:")
    assert "307" in control["result"]
    assert f"ws://127.0.0.1:{other.port}/new" in control["result"]


def test_location_keeps_credentials_on_the_same_origin() -> None:
    def answer(exchange: Exchange) -> None:
        (backend.echo if "/new" in exchange.request.start_line else redirects("/new", "301 Moved"))(exchange)

    with Backend(answer) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/old", "--location", *CREDENTIALS)
    assert ran.status == 0
    assert [request.get("authorization") for request in app.requests] == ["Bearer abc", "Bearer abc"]
    assert app.requests[1].get("x-api-key") == "k"


def test_a_loop_of_redirections_is_bounded() -> None:
    with Backend(redirects("/again")) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--location")
    assert (ran.status, rules(ran)[0]) == (1, "redirected")
    assert len(app.requests) == 10


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://[/", "mailto:x@y", "javascript:alert(1)"])
def test_a_location_that_cannot_be_followed_is_the_end(location: str) -> None:
    with Backend(redirects(location)) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--location")
    assert (ran.status, len(app.requests)) == (1, 1)
    assert "redirected" in rules(ran)


# No answer, or none that can be used.


def test_a_connection_that_is_refused() -> None:
    with backend.nobody() as port:
        ran = trace(f"ws://127.0.0.1:{port}/")
    failure = client(ran)["failure"]
    assert (failure["phase"], failure["kind"]) == ("tcp", "refused")
    assert f"127.0.0.1:{port}" in failure["message"]
    assert (ran.status, rules(ran)[0]) == (1, "unreachable")


def test_a_name_that_is_not_found() -> None:
    ran = trace("ws://no-such-host.invalid/")
    failure = client(ran)["failure"]
    assert (failure["phase"], failure["kind"]) == ("dns", "not found")
    assert "no-such-host.invalid" in failure["message"]
    assert rules(ran)[0] == "unreachable"


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".test"])
def test_a_name_that_cannot_be_looked_up(name: str) -> None:
    ran = trace(f"ws://{name}/")
    if ran.status == 2:
        assert len(ran.err.splitlines()) == 1
    else:
        assert client(ran)["failure"]["phase"] == "dns"


def test_a_request_that_is_never_answered() -> None:
    with Backend(lambda exchange: list(exchange.chunks()).clear()) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--max-time", "0.5")
    failure = client(ran)["failure"]
    assert (failure["phase"], failure["kind"]) == ("response", "timed out")
    assert (ran.status, rules(ran)[0]) == (1, "no-answer")


def test_a_connection_that_is_closed_without_an_answer_is_asked_once() -> None:
    with Backend(lambda _: None) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    assert len(app.requests) == 1, "an upgrade that was lost must not be made again behind the user's back"
    assert client(ran)["failure"]["kind"] == "closed"
    assert rules(ran)[0] == "no-answer"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="101 without a header"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            id="wrong accept",
        ),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="a TLS alert"),
        pytest.param(b"HTTP/1.1 2", id="half a status line"),
    ],
)
def test_an_answer_that_is_none_is_a_finding(raw: bytes) -> None:
    with Backend(answers(raw)) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    assert ran.status == 1, ran.report["summary"]
    assert set(rules(ran)) & {"malformed-response", "no-answer"}
    assert len(app.requests) == 1


def test_a_101_may_spell_its_headers_as_it_likes() -> None:
    def answer(exchange: Exchange) -> None:
        key = wire.accept(exchange.request.get("sec-websocket-key") or "")
        lines = ["upgrade: WebSocket", "CONNECTION: keep-alive, UPGRADE", f"SEC-WEBSOCKET-ACCEPT: {key}", "", ""]
        exchange.send("\r\n".join(["HTTP/1.1 101 X", *lines]).encode() + wire.close(1000))
        list(exchange.frames())

    with Backend(answer) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", hold=2)
    assert (ran.status, ran.report["findings"]) == (0, [])


def test_an_early_hint_before_the_101_is_no_answer() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        backend.echo(exchange)

    with Backend(answer) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    assert client(ran)["interim"] == ["HTTP/1.1 103 Early Hints"]
    assert ran.status == 0


def test_frames_that_come_with_the_101_in_one_piece_are_counted() -> None:
    with Backend(closes(wire.frame(wire.TEXT, b"early"), wire.close(1011, "late"))) as app:
        hop = client(trace(f"ws://127.0.0.1:{app.port}/", hold=2))
    assert hop["frames"]["server"]["text"] == {"frames": 1, "bytes": 5}
    assert hop["closes"][0]["code"] == 1011


# Recorders.


def test_records_are_joined_and_an_empty_file_is_said_to_be_silent(tmp_path: Path) -> None:
    (tmp_path / "inner.jsonl").touch()
    with Backend(backend.needs_token) as app, relay("edge", app.port, tmp_path / "edge.jsonl") as port:
        ran = trace(f"ws://127.0.0.1:{port}/", "--records", str(tmp_path), hold=2)
    assert [hop["name"] for hop in ran.report["trace"]["hops"]] == ["client", "edge"]
    assert any("inner.jsonl" in line and "no request" in line for line in ran.report["unobserved"])
    assert rules(ran)[0] == "closed-by-origin"
    assert ran.report["verdict"]["confidence"] != "proven"


def test_an_empty_records_file_is_fine(tmp_path: Path) -> None:
    (tmp_path / "edge.jsonl").touch()
    with Backend(backend.echo) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--records", str(tmp_path / "edge.jsonl"))
    assert ran.status == 0
    assert any("edge.jsonl" in line for line in ran.report["unobserved"])


def test_a_recorder_with_the_name_of_the_probe_is_left_out(tmp_path: Path) -> None:
    with Backend(backend.echo) as app, relay("client", app.port, tmp_path / "x.jsonl") as port:
        ran = trace(f"ws://127.0.0.1:{port}/", "--records", str(tmp_path))
    assert [hop["recorder"]["kind"] for hop in ran.report["trace"]["hops"]] == ["probe"]
    assert any("called client" in line for line in ran.report["unobserved"])


def test_the_tool_says_its_version() -> None:
    assert run("--version").out == f"wsprobe {__version__}\n"


def test_it_makes_one_connection_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with Backend(backend.echo) as app:
        trace(f"ws://127.0.0.1:{app.port}/", hold=0)
    assert len(app.exchanges) == 1
    assert threading.active_count() <= before


def test_a_server_that_does_not_read_does_not_stop_the_probe() -> None:
    def deaf(exchange: Exchange) -> None:
        exchange.conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        exchange.send(backend.switching(exchange.request))
        exchange.done.wait(1.5)
        exchange.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Backend(deaf) as app:
        big = "x" * 100_000
        ran = trace(f"ws://127.0.0.1:{app.port}/", *(["--send", big] * 200), "--expect", "y", "--within", "1")
    assert "expectation-unmet" in rules(ran)
