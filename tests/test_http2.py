"""The control over HTTP/2 (RFC 8441): what real servers offer, and what came of asking them."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import backend, lab, wire
from tests.backend import Answer, Backend, Exchange
from tests.tls import self_signed
from tests.tracing import Ran, trace

pytestmark = pytest.mark.lab
NAME = "the same upgrade over HTTP/2"


def fails(exchange: Exchange) -> None:
    exchange.send(backend.switching(exchange.request) + wire.close(1011, "Internal error"))
    for _ in exchange.frames():
        pass


BINDS = {
    "haproxy": ("haproxy.cfg", "bind 127.0.0.1:@PORT@", "bind 127.0.0.1:@PORT@ ssl crt @FOLDER@/both.pem alpn {alpn}"),
    "nginx": (
        "nginx.conf",
        "listen 127.0.0.1:@PORT@;",
        "listen 127.0.0.1:@PORT@ ssl; http2 on; ssl_certificate @FOLDER@/both.pem; ssl_certificate_key @FOLDER@/both.pem;",
    ),
}


@contextmanager
def over_tls(proxy: str, answer: Answer, folder: Path, alpn: str = "h2,http/1.1") -> Iterator[int]:
    chosen = lab.PROXIES[proxy]
    name, plain, tls = BINDS[proxy]
    files = {name: chosen.files[name].replace(plain, tls.format(alpn=alpn))}
    secured = dataclasses.replace(chosen, files=files)
    pair = self_signed(folder)
    both = pair.cert.read_text() + pair.key.read_text()
    with (
        Backend(answer) as app,
        lab.run(
            proxy, lambda where, port: {**secured.render(where, port, app.port, "correct"), "both.pem": both}
        ) as running,
    ):
        yield running.port


def asked(port: int, *options: str) -> str:
    ran: Ran = trace(f"wss://127.0.0.1:{port}/ws?x=1", "-k", "-H", "X-Tenant: blue", *options, hold=0.3)
    found: str = next(one["result"] for one in ran.report["controls"] if one["name"] == NAME)
    return found


def test_haproxy_takes_extended_connect_and_passes_the_close_code_on(tmp_path: Path) -> None:
    with over_tls("haproxy", fails, tmp_path) as port:
        assert asked(port) == "101, then closed with 1011 (internal error) Internal error"


def test_a_connection_that_stays_open_over_http2_is_told_so(tmp_path: Path) -> None:
    with over_tls("haproxy", backend.stay_open, tmp_path) as port:
        assert asked(port, "--controls", "always") == "101, and it stayed open"


def test_nginx_offers_http2_and_no_websockets_over_it(tmp_path: Path) -> None:
    with over_tls("nginx", fails, tmp_path) as port:
        assert "no SETTINGS_ENABLE_CONNECT_PROTOCOL" in asked(port)


def test_a_server_without_http2_is_told_so_and_stops_nothing(tmp_path: Path) -> None:
    with over_tls("haproxy", fails, tmp_path, alpn="http/1.1") as port:
        ran = trace(f"wss://127.0.0.1:{port}/ws", "-k", hold=0.3)
    told = {one["name"]: one["result"] for one in ran.report["controls"]}
    assert "HTTP/2 is not offered" in told[NAME] or "tls" in told[NAME]
    assert "no more controls" not in told


def test_a_refusal_over_http2_has_its_status(tmp_path: Path) -> None:
    with over_tls("haproxy", lambda exchange: exchange.send(backend.plain("403 Forbidden")), tmp_path) as port:
        assert asked(port) == "403"


def test_plain_ws_is_not_asked_for_http2() -> None:
    with Backend(fails) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/ws", hold=0.2)
    assert NAME not in [one["name"] for one in ran.report["controls"]]
