"""What `wsprobe trace` is given for the request: credentials without a secret on the command line, and a browser's."""

import sys
from pathlib import Path

import pytest

from tests import backend
from tests.backend import Backend, Exchange
from tests.standin import token
from tests.tracing import client, refused, rules, run, trace

TOKEN = token()
URL = "ws://127.0.0.1:1/"  # nothing listens there, and nothing must be sent


def prints(text: str) -> str:
    """A command that prints this."""
    return f'{sys.executable} -c "print({text!r})"'


# Credentials.


def test_a_token_comes_from_a_variable_a_file_or_a_command(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"  Bearer {TOKEN}\n")
    with Backend(backend.needs_token) as app:
        url = f"ws://127.0.0.1:{app.port}/"
        for given in (
            ["--bearer-env", "PROBE_TOKEN"],
            ["--bearer-file", str(tmp_path / "token")],
            ["--bearer-cmd", prints(TOKEN)],
        ):
            ran = trace(url, *given, env={"PROBE_TOKEN": TOKEN})
            assert ran.status == 0, ran
            assert TOKEN not in ran.everything
    assert [request.get("authorization") for request in app.requests] == [f"Bearer {TOKEN}"] * 3


def test_a_command_is_run_without_a_shell(tmp_path: Path) -> None:
    refused(run("trace", URL, "--bearer-cmd", f"echo a; touch {tmp_path / 'made'}"), "a character")
    assert not (tmp_path / "made").exists()
    refused(run("trace", URL, "--bearer-cmd", "echo $HOME"), "a character", "position 1 of 5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        ("Bearer ", "is empty"),
        ("two words", "a space"),
        ("one\ntwo", "a line break"),
        ("tökén", "a character"),
        ("abc=def", "position 4 of 7"),
        ("nul\0", "a character"),
    ],
)
def test_a_token_that_is_no_token(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    ran = run("trace", URL, "--bearer-file", str(file))
    refused(ran, "--bearer-file", words)
    assert not text.strip() or text.strip() not in ran.err.replace("Bearer", "")


def test_where_a_token_does_not_come_from(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\0")
    big = tmp_path / "big"
    big.write_bytes(b"x" * (1 << 20) + b"x")
    refused(run("trace", URL, "--bearer-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE")
    refused(run("trace", URL, "--bearer-env", "EMPTY", env={"EMPTY": ""}), "EMPTY", "is empty")
    refused(run("trace", URL, "--bearer-file", str(tmp_path / "none")), "none", "No such file")
    refused(run("trace", URL, "--bearer-file", str(tmp_path)), "Is a directory")
    refused(run("trace", URL, "--bearer-file", str(binary)), "UTF-8")
    refused(run("trace", URL, "--bearer-file", str(big)), "longer than")
    refused(run("trace", URL, "--bearer-cmd", "false"), "status 1")
    refused(run("trace", URL, "--bearer-cmd", "/no/such/program"), "No such file")
    refused(run("trace", URL, "--bearer-cmd", "'"), "--bearer-cmd", "quotation")
    refused(run("trace", URL, "--bearer-cmd", ""), "no command")
    refused(run("trace", URL, "--bearer-cmd", prints("\\xff\\xfe")), "no token")
    refused(run("trace", URL, "--bearer-env", "A", "--bearer-cmd", "true"), "contradict")
    refused(run("trace", URL, "--bearer-env", "A", "-H", "authorization: x", env={"A": "b"}), "twice")
    refused(run("trace", "ws://u:p@127.0.0.1:1/", "--bearer-env", "A", env={"A": "b"}), "twice")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("X: a\r\nY: b", "control character"),
        ("X: a\nb", "control character"),
        ("X: a\0b", "control character"),
        ("X\r\n: a", "is no header"),
        ("no colon", "is no header"),
        (": empty name", "is no header"),
        ("na me: x", "is no header"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "trace id"),
        ("traceparent: 00-1-2-01", "trace id"),
        ("Transfer-Encoding: chunked", "no body"),
        ("content-length: 3", "no body"),
        ("X: \udcff", "UTF-8"),
        ("@/no/such/file", "No such file"),
    ],
)
def test_a_header_that_cannot_be_sent(line: str, words: str) -> None:
    refused(run("trace", URL, "-H", line), words)


def test_a_header_that_is_refused_is_not_shown_with_its_secret() -> None:
    ran = run("trace", URL, "-H", f"Authorization Bearer {TOKEN}")
    refused(ran, "is no header")
    assert TOKEN.split(".")[2] not in ran.err


# As a browser.


def test_a_browser_sends_what_chrome_sends() -> None:
    with Backend(backend.echo) as app:
        cookies = ["-H", "Cookie: session=abcdefgh12345678", "-H", "Sec-WebSocket-Protocol: chat"]
        ran = trace(f"ws://127.0.0.1:{app.port}/ws", "--as-browser", *cookies)
    assert [name for name, _ in app.requests[0].headers] == [
        "Host",
        "Connection",
        "Pragma",
        "Cache-Control",
        "User-Agent",
        "Upgrade",
        "Origin",
        "Sec-WebSocket-Version",
        "Accept-Encoding",
        "Accept-Language",
        "Cookie",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Protocol",
    ]
    sent = app.requests[0]
    assert sent.get("origin") == f"http://127.0.0.1:{app.port}"
    assert sent.get("sec-websocket-extensions") == "permessage-deflate; client_max_window_bits"
    assert sent.get("cookie") == "session=abcdefgh12345678"
    assert ran.status == 0
    assert ran.report["trace"]["id"], "the key alone carries it"
    told = [line for line in ran.report["unobserved"] if "not imitated" in line]
    assert any("TLS" in line for line in told)
    assert any("User-Agent" in line for line in told)


def test_the_origin_is_that_of_a_page_on_the_same_host() -> None:
    def origin(url: str, *more: str) -> str | None:
        with Backend(backend.echo) as app:
            way = ["--connect-to", f"::127.0.0.1:{app.port}", "--hold", "0"]
            run("trace", url, "--as-browser", *way, *more)
        return app.requests[0].get("origin")

    assert origin("ws://app.example.test/x?y") == "http://app.example.test"
    assert origin("ws://app.example.test:80/") == "http://app.example.test"
    assert origin("ws://app.example.test:8080/") == "http://app.example.test:8080"
    assert origin("ws://app.example.test/", "-H", "Origin: https://shop.example.test") == "https://shop.example.test"


def test_a_page_cannot_set_other_headers() -> None:
    refused(run("trace", URL, "--as-browser", "-H", "Authorization: Bearer x"), "--as-browser", "Authorization")
    refused(run("trace", URL, "--as-browser", "-H", "X-Trace: 1"), "X-Trace")
    refused(run("trace", URL, "--as-browser", "--bearer-env", "T", env={"T": "abc"}), "Authorization")
    refused(run("trace", "ws://u:p@127.0.0.1:1/", "--as-browser"), "user")


@pytest.mark.parametrize(
    ("offered", "echoed", "accepted"),
    [("chat", None, False), ("chat", "other", False), (None, "chat", False), ("chat, more", "more", True)],
)
def test_a_browser_is_strict_about_the_echoed_subprotocol(
    offered: str | None,
    echoed: str | None,
    accepted: bool,  # noqa: FBT001
) -> None:
    def answer(exchange: Exchange) -> None:
        request = backend.Request(
            exchange.request.start_line,
            [pair for pair in exchange.request.headers if pair[0].lower() != "sec-websocket-protocol"],
        )
        extra = f"Sec-WebSocket-Protocol: {echoed}\r\n".encode() if echoed else b""
        exchange.send(backend.switching(request)[:-2] + extra + b"\r\n")
        list(exchange.frames())

    headers = ["-H", f"Sec-WebSocket-Protocol: {offered}"] if offered else []
    with Backend(answer) as app:
        url = f"ws://127.0.0.1:{app.port}/"
        browser, other = trace(url, "--as-browser", *headers), trace(url, *headers)
    held = [any(close["ending"] == "frame" for close in client(ran)["closes"]) for ran in (browser, other)]
    assert held == [accepted, True], "the connection of a page fails, other clients go on"
    assert (browser.status == 0) is accepted
    assert ("subprotocol-dropped" in rules(browser)) is not accepted
