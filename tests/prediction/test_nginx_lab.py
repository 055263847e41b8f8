"""nginx: configs that were run by hand, heads that it refuses, the 101, timers and an old version, on the real one."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests import lab, wire
from tests.backend import Backend, Exchange, nobody, stay_open, switching
from tests.prediction import Tally, answer, compare, differences, read, send
from tests.prediction.nginx_versions import WHEEL, version
from tests.prediction.test_nginx import MAIN
from tests.tls import self_signed
from wsprobe.inspection import Timer
from wsprobe.lb import reader
from wsprobe.lb.model import Config, Named, Op
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import from_text
from wsprobe.parts import Header

__all__ = ["version"]  # a fixture

PROXY = "nginx"
BEARER = ("Authorization", "Bearer x")
UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'

_LAB = Path(__file__).parents[3] / "shared" / "lab" / "nginx"
_PORT = re.compile(r"listen 127\.0\.0\.1:201[0-9]{2};")
_TLS_PORT = re.compile(r"listen 127\.0\.0\.1:201[0-9]{2} ssl http2;")


@contextmanager
def running(text: str, backend: Callable[[Exchange], None] = answer) -> Iterator[tuple[lab.Running, Backend, Config]]:
    """Nginx with that config, whose ports and folders are those of the lab."""

    def placed(folder: Path, port: int) -> dict[str, str]:
        if not (folder / "cert.pem").exists():
            self_signed(folder)
            (folder / "run").mkdir()
        made = _TLS_PORT.sub(f"listen unix:{folder}/tls ssl;", _PORT.sub(f"listen 127.0.0.1:{port};", text))
        made = made.replace("@LAB@/log/", "@LAB@/run/").replace("@LAB@", str(folder))
        made = made.replace(":19000", f":{upstream.port}").replace(":19443", f":{upstream.port}")
        return {
            "nginx.conf": made.replace(":19999", f":{closed}").replace(
                "listen 127.0.0.1:0", f"listen 127.0.0.1:{port}"
            ),
            "htpasswd": "lab:{PLAIN}lab\n",
        }

    with Backend(backend) as upstream, nobody() as closed, lab.run(PROXY, placed) as ran:
        yield ran, upstream, read(PROXY, ran.folder, "nginx.conf", WHEEL)


def scenario(name: str) -> str:
    """A config of the lab folder."""
    if not _LAB.is_dir():
        pytest.skip(f"the lab's configs are not there: {_LAB}")
    return (_LAB / f"{name}.conf").read_text()


#: What becomes of an upgrade with a Bearer token: the status, what the upstream gets as Authorization, and the line.
SCENARIOS: dict[str, tuple[int, str | None, str]] = {
    "correct": (101, "Bearer x", ""),
    "correct-map": (101, "Bearer x", ""),
    "master-mode": (101, "Bearer x", ""),
    "upgrade-literal": (101, "Bearer x", ""),
    "big-buffers": (101, "Bearer x", ""),
    "hide-101-header": (101, "Bearer x", ""),
    "read-timeout-2s": (101, "Bearer x", ""),
    "return-426": (101, "Bearer x", ""),
    "underscores-on": (101, "Bearer x", ""),
    "if-strip": (101, None, "proxy_set_header Authorization $a"),
    "headers-but-http10": (101, "Bearer x", ""),
    "naive": (426, "Bearer x", ""),
    "http11-only": (426, "Bearer x", ""),
    "keepalive-trap": (426, "Bearer x", 'proxy_set_header Connection ""'),
    "inherit-trap": (101, "Bearer x", ""),
    "strip-auth-empty": (101, None, 'proxy_set_header Authorization ""'),
    "strip-auth-override": (101, "Basic c3ZjOnB3", "proxy_set_header Authorization"),
    "pass-headers-off": (426, None, "proxy_pass_request_headers off"),
    "auth-basic": (401, "not reached", "auth_basic realm"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_config_of_the_lab_does_what_is_predicted(name: str, tally: Tally) -> None:
    status, authorization, line = SCENARIOS[name]
    with running(scenario(name)) as (ran, upstream, config):
        asked, got = send(ran.port, upgrade("/ws", "app.example.test", (BEARER, ("X_Under", "u"))), upstream)
    prediction = predict(config, asked)
    wrong = list(differences(prediction, got))
    tally.run, tally.agreed, tally.undecided = 1, int(not wrong), int(bool(prediction.unknown))
    assert not wrong
    assert got.status == status
    assert (got.received[0].get("Authorization") if got.received else "not reached") == authorization
    places = [*(edit.place for edit in prediction.edits), prediction.place]
    assert any(line in place.text for place in places if place)


def test_the_lab_is_known_to_the_last_config() -> None:
    scenario("correct")
    known = {*SCENARIOS, *_TROUBLES, *_SPEAKS_TLS, "tls-h2", "upstream-hang"}  # the last is about its timers
    assert {path.stem for path in _LAB.glob("*.conf")} <= known


def test_a_location_that_sets_one_header_loses_those_of_the_server() -> None:
    with running(scenario("inherit-trap")) as (ran, upstream, config):
        asked, got = send(ran.port, upgrade("/trap", headers=(BEARER,)), upstream)
    assert not list(differences(predict(config, asked), got))
    assert got.status == 426
    lost = next(route.lost for route in config.listeners[0].routes if "/trap" in route.label)
    assert {name for each in lost for name in _named(each.edit.which)} == {"Upgrade", "Connection", "Host"}


def test_an_if_that_does_not_hold_leaves_the_token() -> None:
    with running(scenario("if-strip")) as (ran, upstream, config):
        asked, got = send(ran.port, upgrade("/ws", headers=(BEARER, ("X-Empty", "no"))), upstream)
    assert not list(differences(predict(config, asked), got))
    assert got.received[0].get("Authorization") == "Bearer x"


#: What a config does not tell: whether somebody listens, and what.
_TROUBLES = {"upstream-down": 502, "upstream-plain-to-tls": 101}
_SPEAKS_TLS = ("upstream-tls-ok", "upstream-tls-to-plain", "upstream-tls-verify-fail")


@pytest.mark.parametrize("name", _TROUBLES)
def test_whether_somebody_listens_is_not_told_by_a_config(name: str) -> None:
    with running(scenario(name)) as (ran, upstream, config):
        asked, got = send(ran.port, upgrade("/ws"), upstream)
    assert got.status == _TROUBLES[name]
    assert predict(config, asked).reached is True


@pytest.mark.parametrize("name", _SPEAKS_TLS)
def test_an_upstream_that_is_spoken_to_in_tls_is_read(name: str) -> None:
    # The upstream of these tests speaks no TLS: what it would receive cannot be looked at.
    config = reader(PROXY).read(from_text(scenario(name)), WHEEL)
    upstreams = [route.upstream for route in config.listeners[0].routes if route.upstream]
    assert [(one.tls, one.protocol) for one in upstreams] == [(True, "http/1.1")]


def test_a_listener_with_tls_passes_on_what_the_plain_one_does() -> None:
    with running(scenario("tls-h2")) as (ran, upstream, config):
        plain, got = send(ran.port, upgrade("/ws", headers=(BEARER,)), upstream)
        assert not list(differences(predict(config, plain), got))
        context = ssl.create_default_context(cafile=ran.folder / "cert.pem")
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(ran.folder / "tls"))
            with context.wrap_socket(raw, server_hostname="127.0.0.1") as conn:
                conn.sendall(wire.upgrade("/ws"))
                assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 101")
    assert {bind.tls for bind in config.listeners[0].binds} == {False, True}
    assert predict(config, replace(plain, scheme="https", port=None)).reached


# Heads: what nginx refuses, and how paths reach the upstream.


PATHS = (
    "/a",
    "/../x",
    "/a/../../x",
    "/a/%2e%2e/b",
    "/a/%2e%2e/%2E./b",
    "/%zz",
    "/%00",
    "/a%",
    "/a?%zz",
    "//x//y",
    "/u",
    "/u/%41%2f%22x",
    "/u/a+b",
    "/u/a%2Bb?",
    "/u/a?",
    "/u/%e9%c3%a9",
    "/u/<x>",
    "/u//a/./b/../c",
    "http://other/y?z",
    "http://other",
    "HTTP://Other:81/u/z",
    "x",
    "*",
)
HEADS: tuple[Request, ...] = (
    *(upgrade(path) for path in PATHS),
    *(
        upgrade("/a", host)
        for host in ("", "A_b", "a/b", "[::1]:80", "a..b", "x.:80", "a:b", "a@b", "a:", "a:80:1", 'a"b', "a b")
    ),
    *(replace(upgrade("/a"), method=method) for method in ("POST", "get", "TRACE", "FOO", "HEAD", "OPTIONS", "F-O")),
    *(replace(upgrade("/a"), version=version) for version in ("HTTP/1.0", "HTTP/1.2", "HTTP/2.0")),
    replace(upgrade("/a"), headers=upgrade("/a").headers[1:]),
    replace(upgrade("/a"), headers=upgrade("/a").headers[1:], version="HTTP/1.0"),
    *(
        upgrade("/a", headers=headers)
        for headers in (
            (("Content-Length", "0"),),
            (("Content-Length", "x"),),
            (("Transfer-Encoding", "gzip"),),
            (("Transfer-Encoding", "identity"),),
            (("Transfer-Encoding", "chunked"), ("Content-Length", "0")),
            (("X-Tab", "a\tb"),),
            (("X@Y", "a"),),
            (("X_Y", "a"),),
            (("9", "a"),),
            (("-", "a"),),
            (("Host", "b"), ("Host", "c")),
        )
    ),
    *(
        upgrade("/a", headers=((name, "1"), (name.upper(), "2")))
        for name in (
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Origin",
            "If-Match",
            "If-None-Match",
            "If-Modified-Since",
            "If-Unmodified-Since",
            "If-Range",
            "Range",
            "Content-Range",
            "Content-Type",
            "Referer",
            "User-Agent",
            "TE",
            "Expect",
            "Keep-Alive",
            "Via",
            "X-Forwarded-For",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Protocol",
            "X-Any",
        )
    ),
)
SHOWN = f'{UPGRADE} proxy_set_header X-Shown "$uri|$request_uri|$host|$http_host|$args|$http_cookie|$http_x_any";'
HEADS_SERVER = f"""\
    server {{
        listen 127.0.0.1:{{port}};
        server_name given.test;
        location / {{ {SHOWN} proxy_pass http://app; }}
        location /u/ {{ {SHOWN} proxy_pass http://app/base/; }}
        location /none {{ return 204; }}
    }}
"""


def _render(http: str) -> Callable[[Path, int, int], dict[str, str]]:
    def render(folder: Path, port: int, upstream: int) -> dict[str, str]:
        return {"nginx.conf": MAIN.format(folder=folder, upstream=upstream, http=http.replace("{port}", str(port)))}

    return render


def test_heads_are_refused_and_paths_passed_on_as_predicted(version: str, tally: Tally) -> None:
    compare(PROXY, _render(HEADS_SERVER), HEADS, tally, version)


DEFAULTS_SERVER = """\
    server {
        listen 127.0.0.1:{port};
        location / { proxy_pass http://app; }
        location /10 { proxy_pass http://app; proxy_http_version 1.0; }
        location /11 { proxy_pass http://app; proxy_http_version 1.1; }
        location /half { proxy_pass http://app; proxy_set_header Upgrade $http_upgrade; }
        location /set { proxy_pass http://app; proxy_set_header Connection $http_connection; }
        location /dup { proxy_pass http://app; proxy_set_header X-All "$http_x_a|$http_x_forwarded_for|$http_cookie"; }
    }
"""
TWICE: tuple[Header, ...] = (
    *(("X-A", "1"), ("X-A", "2")),
    *(("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "2.2.2.2")),
    *(("Cookie", "a=1"), ("Cookie", "b=2")),
)


def test_the_defaults_of_a_version_are_as_predicted(version: str, tally: Tally) -> None:
    asked = [
        upgrade(path, headers=more) for path in ("/", "/10", "/11", "/half", "/set", "/dup") for more in ((), TWICE)
    ]
    compare(PROXY, _render(DEFAULTS_SERVER), asked, tally, version)


@pytest.mark.parametrize(
    "buffers",
    [
        "",
        "large_client_header_buffers 2 2k;",
        "client_header_buffer_size 4k; large_client_header_buffers 2 2k;",
        "client_header_buffer_size 600; large_client_header_buffers 3 700;",
    ],
)
def test_a_head_is_too_large_where_it_is_predicted_to_be(buffers: str, tally: Tally) -> None:
    http = f"{buffers}\n    server {{ listen 127.0.0.1:{{port}}; location / {{ {UPGRADE} proxy_pass http://app; }} }}"
    sizes = (300, 500, 690, 1990, 2030, 2035, 2041, 2042, 3900, 4100, 8185, 8186, 9000)
    asked = [upgrade("/", headers=(("X-A", "a" * size),)) for size in sizes]
    asked += [upgrade("/" + "a" * size) for size in (500, 680, 683, 684, 685, 2031, 2032, 2033, 4080, 4081, 8176, 8177)]
    asked += [
        upgrade("/", headers=tuple((f"X-{number}", "a" * size) for number in range(count)))
        for size, count in (
            (100, 20),
            (400, 6),
            (650, 3),
            (994, 4),
            (994, 5),
            (994, 8),
            (994, 32),
            (994, 33),
            (494, 66),
        )
    ]
    compare(PROXY, _render(http), asked, tally, WHEEL)


# The 101, and the end of the connection.


def test_the_headers_of_the_101_are_edited_as_the_model_says() -> None:
    lines = (
        "proxy_hide_header Sec-WebSocket-Protocol; add_header X-Edge 1; add_header X-Always 2 always; "
        "more_set_headers 'X-More: 3'; more_clear_headers 'X-Back*';"
    )

    def speaks(exchange: Exchange) -> None:
        more = b"Sec-WebSocket-Protocol: chat\r\nX-Backend: 1\r\n\r\n"
        exchange.send(switching(exchange.request).removesuffix(b"\r\n") + more)

    with (
        running(config_of(f"{UPGRADE} {lines} proxy_pass http://app;"), speaks) as (ran, _, config),
        socket.create_connection(("127.0.0.1", ran.port), 5) as conn,
    ):
        conn.sendall(wire.upgrade("/ws"))
        head = wire.read_head(conn)[0].decode("latin-1").lower()
    assert head.startswith("http/1.1 101")
    edits = config.listeners[0].routes[0].response
    added = {name for edit in edits if edit.effective and edit.op is not Op.REMOVE for name in _named(edit.which)}
    assert added == {"X-Always", "X-More"}
    present = {
        name for name in ("X-Edge", "X-Always", "X-More", "X-Backend", "Sec-WebSocket-Protocol") if name.lower() in head
    }
    assert present == added


def _named(which: object) -> tuple[str, ...]:
    return which.names if isinstance(which, Named) else ()


def test_a_silent_websocket_ends_when_it_is_predicted_to_end() -> None:
    with running(config_of(IDLE), stay_open) as (ran, upstream, config):
        idle = next(each for each in predict(config, upgrade("/ws")).timeouts if each.kind is Timer.IDLE)
        assert (idle.name, idle.seconds, idle.ends) == ("proxy_read_timeout", 2, "FIN on both sides, no close frame")
        with socket.create_connection(("127.0.0.1", ran.port), 10) as conn:
            conn.sendall(wire.upgrade("/ws"))
            assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 101")
            time.sleep(1)
            conn.sendall(wire.frame(wire.PING, mask=wire.MASK))  # traffic of the client alone starts it anew
            started = time.monotonic()
            assert conn.recv(10) == b""  # FIN, and no frame before it
        assert time.monotonic() - started == pytest.approx(2, abs=0.8)
        assert upstream.exchanges


def test_timers_that_do_not_apply_leave_a_silent_websocket_open() -> None:
    with running(config_of(NO_EFFECT), stay_open) as (ran, _, config):
        timeouts = config.listeners[0].routes[0].timeouts
        assert {each.name for each in timeouts if not each.applies} == {"proxy_send_timeout", "send_timeout"}
        assert [each.seconds for each in predict(config, upgrade("/ws")).timeouts if each.kind is Timer.IDLE] == [60]
        with socket.create_connection(("127.0.0.1", ran.port), 5) as conn:
            conn.sendall(wire.upgrade("/ws"))
            assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 101")
            conn.settimeout(3)
            with pytest.raises(TimeoutError):
                conn.recv(1)


def test_the_wait_for_the_answer_ends_when_it_is_predicted_to_end() -> None:
    def silent(exchange: Exchange) -> None:
        for _ in exchange.chunks():
            pass

    with running(config_of(IDLE), silent) as (ran, _, config):
        waits = [each for each in predict(config, upgrade("/ws")).timeouts if each.kind is Timer.HANDSHAKE]
        assert {each.name: each.seconds for each in waits} == {"proxy_connect_timeout": 60, "proxy_read_timeout": 2}
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", ran.port), 6) as conn:
            conn.sendall(wire.upgrade("/ws"))
            assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 504")
        assert time.monotonic() - started == pytest.approx(2, abs=0.8)


IDLE = f"{UPGRADE} proxy_read_timeout 2s; proxy_pass http://app;"
NO_EFFECT = f"{UPGRADE} proxy_send_timeout 1s; send_timeout 1s; proxy_pass http://app;"


def config_of(location: str) -> str:
    """A config with one location that says this."""
    text = MAIN.replace("{folder}", "@LAB@").replace("{upstream}", "19000")
    return text.format(http=f"server {{ listen 127.0.0.1:0; location / {{ {location} }} }}")
