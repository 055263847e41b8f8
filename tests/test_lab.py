"""The lab itself: each fault of each real proxy does to an upgrade what its name says, and nothing else."""

import dataclasses
import http
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import backend, lab, wire
from tests.backend import Backend
from tests.lab.proxy import BASIC

pytestmark = pytest.mark.lab

TOKEN = "Bearer lab-token"

#: What the client gets, status and close code, and what the backend then has of Authorization and Upgrade.
EXPECTED = {
    "correct": (101, 1000, TOKEN, "websocket"),
    "strip-authorization": (101, 1011, None, "websocket"),
    "rewrite-authorization": (101, 1000, BASIC, "websocket"),
    "no-upgrade": (426, None, TOKEN, None),
}
UPSTREAM_DOWN = {"nginx": 502, "envoy": 503, "caddy": 502, "traefik": 502, "haproxy": 503, "apache": 503}
TOKEN_OF_16_KIB = {"nginx": 400, "envoy": 101, "caddy": 101, "traefik": 101, "haproxy": 400, "apache": 400}


def ask(port: int, token: str = TOKEN) -> tuple[int, int | None]:
    """Sends an upgrade; the status, and after a 101 the code of the close frame (None: the end came without one)."""
    with socket.create_connection(("127.0.0.1", port), 10) as conn:
        conn.sendall(wire.upgrade(headers=[("Authorization", token)]))
        head, rest = wire.read_head(conn)
        status = int(head.split(b" ")[1])
        if status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            return status, None
        for opcode, payload in wire.frames(_chunks(conn, rest)):
            if opcode == wire.CLOSE:
                conn.sendall(wire.frame(wire.CLOSE, payload, mask=wire.MASK))
                return status, int.from_bytes(payload[:2])
        return status, None


def _chunks(conn: socket.socket, first: bytes) -> Iterator[bytes]:
    yield first
    while chunk := conn.recv(65536):
        yield chunk


@pytest.mark.parametrize(("proxy", "fault"), [case for case in lab.CASES if case[1] in EXPECTED])
def test_a_fault_does_what_its_name_says_and_nothing_else(proxy: str, fault: str) -> None:
    with Backend(backend.needs_token) as app, lab.start(proxy, app.port, fault) as port:
        got = ask(port)
        arrived = [(request.get("authorization"), request.get("upgrade")) for request in app.requests]
    status, code, authorization, upgrade = EXPECTED[fault]
    if (proxy, fault) == ("envoy", "no-upgrade"):  # it refuses by itself
        assert (got, arrived) == ((403, None), [])
    else:
        assert (got, arrived) == ((status, code), [(authorization, upgrade)])


@pytest.mark.parametrize("proxy", [name for name, fault in lab.CASES if fault == "idle-2s"])
def test_the_idle_timer_ends_a_silent_connection_without_a_close_frame(proxy: str) -> None:
    with Backend(backend.stay_open) as app, lab.start(proxy, app.port, "idle-2s") as port:
        began = time.monotonic()
        got = ask(port)
        lasted = time.monotonic() - began
        assert app.exchanges[0].done.wait(10)
    assert got == (101, None)
    assert lasted > 1.5, "it ended too early for a timer of two seconds"
    assert app.exchanges[0].ended in {"eof", "reset"}, "it was not the proxy that ended the backend's connection"


def test_who_has_no_idle_timer_says_why() -> None:
    assert {name for name, proxy in lab.PROXIES.items() if proxy.without} == {"traefik"}
    assert "timer" in lab.PROXIES["traefik"].without["idle-2s"]


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_an_upstream_that_is_down(proxy: str) -> None:
    with backend.nobody() as upstream, lab.start(proxy, upstream) as port:
        assert ask(port) == (UPSTREAM_DOWN[proxy], None)


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_a_token_of_16_kib_passes_or_is_refused_by_the_proxy(proxy: str) -> None:
    with Backend(backend.needs_token) as app, lab.start(proxy, app.port) as port:
        status, _ = ask(port, "Bearer " + "t" * (16 << 10))
        assert (status, len(app.requests)) == (TOKEN_OF_16_KIB[proxy], int(TOKEN_OF_16_KIB[proxy] == 101))


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [
        pytest.param("", pytest.skip.Exception, id="skipped on a developer's machine"),
        pytest.param("true", pytest.fail.Exception, id="failed on CI"),
    ],
)
def test_a_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]) -> None:
    missing = dataclasses.replace(lab.PROXIES["nginx"], package="wsprobe-no-such-wheel")
    monkeypatch.setitem(lab.PROXIES, "nginx", missing)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="pip install wsprobe-no-such-wheel"), lab.start("nginx", 1):
        pass


def test_a_proxy_that_does_not_start_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = dataclasses.replace(lab.PROXIES["nginx"], files={"nginx.conf": "no_such_directive;"})
    monkeypatch.setitem(lab.PROXIES, "nginx", broken)
    with pytest.raises(pytest.fail.Exception, match='unknown directive "no_such_directive"'), lab.start("nginx", 1):
        pass


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_nothing_is_left_running_or_lying_about(proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Backend(backend.stay_open) as app, lab.start(proxy, app.port) as port:
        assert list(tmp_path.iterdir())
        conn = socket.create_connection(("127.0.0.1", port), 10)
        conn.sendall(wire.upgrade())
        assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 101")
    conn.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)
