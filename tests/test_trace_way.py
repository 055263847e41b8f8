"""How `wsprobe trace` gets to a server: names and addresses, a proxy, TLS, and what it says of each."""

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests import backend
from tests.backend import Backend
from tests.pki import Authority, Issued
from tests.tracing import Backend6, ConnectProxy, TlsBackend, client, refused, rules, run, trace

NAME = "app.example.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# Names and addresses.


def test_localhost_is_resolved_timed_and_the_chosen_address_told() -> None:
    with Backend(backend.echo) as app:
        hop = client(trace(f"ws://localhost:{app.port}/"))
    assert set(hop["phases"]) == {"dns", "tcp", "upgrade"}
    assert f"127.0.0.1:{app.port}" in hop["addresses"]
    assert hop["peers"]["server"] == f"127.0.0.1:{app.port}"
    assert app.requests[0].get("host") == f"localhost:{app.port}"


def test_resolve_gives_a_name_an_address() -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"ws://{NAME}:{app.port}/", "--resolve", f"{NAME}:{app.port}:127.0.0.1")
    assert ran.status == 0
    assert app.requests[0].get("host") == f"{NAME}:{app.port}"
    assert client(ran)["peers"]["server"] == f"127.0.0.1:{app.port}"


@pytest.mark.parametrize("given", ["app.example.test:1:127.0.0.1:{}", "::127.0.0.1:{}", ":1:localhost:{}"])
def test_connect_to_goes_elsewhere(given: str) -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"ws://{NAME.upper()}:1/", "--connect-to", given.format(app.port))
    assert ran.status == 0, ran
    assert client(ran)["peers"]["server"] == f"127.0.0.1:{app.port}"
    assert (app.requests[0].get("host") or "").lower() == f"{NAME}:1"


def test_ipv6_is_taken_and_written_in_brackets() -> None:
    with Backend6(backend.echo) as app:
        hop = client(trace(f"ws://[::1]:{app.port}/", "-6"))
        assert hop["peers"]["server"] == f"[::1]:{app.port}"
        named = client(trace(f"ws://{NAME}:{app.port}/", "-6", "--resolve", f"{NAME}:{app.port}:[::1]"))
    assert named["addresses"] == [f"[::1]:{app.port}"]
    assert app.requests[0].get("host") == f"[::1]:{app.port}"


def test_an_address_family_that_a_name_has_not() -> None:
    ran = trace(f"ws://{NAME}:1/", "-6", "--resolve", f"{NAME}:1:127.0.0.1")
    assert client(ran)["failure"]["phase"] == "dns"
    refused(run("trace", "ws://127.0.0.1:1/", "-6"), "-6", "IPv4")
    refused(run("trace", "ws://[::1]:1/", "-4"), "-4", "IPv6")
    refused(run("trace", "ws://localhost:1/", "-4", "-6"), "not allowed with")


def test_all_addresses_that_refuse_are_told() -> None:
    with backend.nobody() as port:
        ran = trace(f"ws://localhost:{port}/")
    failure = client(ran)["failure"]
    assert (failure["phase"], failure["kind"]) == ("tcp", "refused")
    assert f"127.0.0.1:{port}" in failure["message"]


# Proxies.


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_a_proxy_is_asked_for_a_tunnel(secure: bool, authority: Authority) -> None:  # noqa: FBT001
    served = TlsBackend(backend.echo, authority.issue(NAME).server()) if secure else Backend(backend.echo)
    trusted = ["--cacert", str(authority.root)] if secure else []
    with served as app, ConnectProxy() as proxy:
        url = f"{'wss' if secure else 'ws'}://{NAME}:{app.port}/ws"
        way = ["-x", f"http://user:pa%40ss@127.0.0.1:{proxy.port}", "--connect-to", f"::127.0.0.1:{app.port}"]
        ran = trace(url, *way, *trusted)
    assert ran.status == 0, ran
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{app.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwYUBzcw==" in head
    assert app.requests[0].start_line == "GET /ws HTTP/1.1"
    assert app.requests[0].get("proxy-authorization") is None
    hop = client(ran)
    assert set(hop["phases"]) == {"tcp", "proxy", "upgrade"} | ({"tls"} if secure else set())
    assert hop["addresses"] == [f"127.0.0.1:{proxy.port}"]
    assert "pa%40ss" not in ran.everything
    assert "dXNlcjpwYUBzcw" not in ran.everything


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (backend.plain("407 Proxy Authentication Required"), "refused", "407 Proxy Authentication Required"),
        (backend.plain("502 Bad\x1bGateway"), "refused", "502"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "malformed", "before the tunnel was used"),
        (b"SSH-2.0\r\n\r\n", "refused", "SSH-2.0"),
        (b"HTTP/1.1 200", "malformed", "no whole answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000 + b"\r\n", "malformed", "no whole answer"),
    ],
)
def test_a_proxy_that_gives_no_tunnel(answer: bytes, kind: str, words: str) -> None:
    with ConnectProxy(lambda _: answer) as proxy:
        ran = trace("ws://127.0.0.1:1/", "-x", f"http://127.0.0.1:{proxy.port}")
    failure = client(ran)["failure"]
    assert (failure["phase"], failure["kind"]) == ("proxy", kind)
    assert words in failure["message"]
    assert (ran.status, rules(ran)[0]) == (1, "unreachable")
    shown = run("trace", "ws://127.0.0.1:1/", "-x", f"http://127.0.0.1:{proxy.port}")
    assert "\x1b" not in shown.everything


def test_a_proxy_that_is_not_there() -> None:
    with backend.nobody() as port:
        failure = client(trace("ws://127.0.0.1:1/", "-x", f"http://127.0.0.1:{port}"))["failure"]
    assert (failure["phase"], failure["kind"]) == ("proxy", "refused")
    assert f"127.0.0.1:{port}" in failure["message"]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "127.0.0.1:1", "http://", ""])
def test_other_proxies_are_refused(proxy: str) -> None:
    refused(run("trace", "ws://127.0.0.1:1/", "-x", proxy), "is not a proxy", "http")


# TLS.


def test_a_session_is_told_with_its_chain(authority: Authority) -> None:
    middle = authority.intermediate()
    issued = authority.issue(NAME, "*.example.test", by=middle)
    with TlsBackend(backend.echo, issued.server()) as app:
        url = f"wss://{NAME}:{app.port}/"
        way = ("--resolve", f"{NAME}:{app.port}:127.0.0.1", "--cacert", str(authority.root))
        ran = trace(url, *way)
        shown = [run("trace", url, *way, "--hold", "0.1", "--format", form) for form in ("terminal", "markdown")]
    for one in shown:
        assert all(word in one.everything for word in ("TLSv1.3", "verified", "Intermediate", "tls", "upgrade"))
    assert set(app.protocols) == {"http/1.1"}
    tls = client(ran)["tls"]["server"]
    assert (ran.status, tls["verified"], tls.get("error")) == (0, True, None)
    assert (tls["version"], tls["alpn"], tls["sni"]) == ("TLSv1.3", "http/1.1", NAME)
    assert tls["cipher"].startswith("TLS_")
    assert [one["subject"] for one in tls["certificates"]] == [f"CN={NAME}", "CN=Test Intermediate"]
    leaf = tls["certificates"][0]
    der = issued.certificate.public_bytes(serialization.Encoding.DER)
    assert leaf["sha256"] == hashlib.sha256(der).hexdigest()
    assert (leaf["issuer"], leaf["names"]) == ("CN=Test Intermediate", [NAME, "*.example.test"])
    assert leaf["not_after"] == issued.certificate.not_valid_after_utc.isoformat()
    assert client(ran)["phases"]["tls"] > 0


Issue = Callable[[Authority], Issued]


@pytest.mark.parametrize(
    ("issue", "words"),
    [
        pytest.param(lambda a: a.issue("127.0.0.1", begins=-9), "has expired", id="expired"),
        pytest.param(lambda a: a.issue("127.0.0.1", begins=1), "not valid yet", id="not yet valid"),
        pytest.param(lambda a: a.issue("other.example.test"), "for another host", id="wrong host"),
        pytest.param(lambda a: a.issue("127.0.0.1", self_signed=True), "self-signed", id="self-signed"),
        pytest.param(
            lambda a: a.issue("127.0.0.1", by=a.intermediate(), leave_out=True), "intermediate", id="half a chain"
        ),
    ],
)
def test_a_certificate_that_does_not_verify_is_told_in_words(issue: Issue, words: str, authority: Authority) -> None:
    issued = issue(authority)
    with TlsBackend(backend.echo, issued.server()) as app:
        ran = trace(f"wss://127.0.0.1:{app.port}/", "--cacert", str(authority.root))
    assert not app.requests, "nothing is sent to a server that is not the right one"
    failure, tls = client(ran)["failure"], client(ran)["tls"]["server"]
    assert (failure["phase"], failure["kind"]) == ("tls", "certificate")
    assert words in failure["message"]
    assert (tls["verified"], tls["error"]) == (False, failure["message"])
    assert tls["certificates"][0]["not_after"] == issued.certificate.not_valid_after_utc.isoformat()
    assert (ran.status, rules(ran)[0]) == (1, "tls-failed")
    assert words in ran.report["verdict"]["message"]


def test_an_unknown_authority_is_told(authority: Authority) -> None:
    with TlsBackend(backend.echo, authority.issue("127.0.0.1").server()) as app:
        ran = trace(f"wss://127.0.0.1:{app.port}/")
    assert "unknown authority" in client(ran)["failure"]["message"]


def test_insecure_goes_on_and_says_so(authority: Authority) -> None:
    with TlsBackend(backend.echo, authority.issue("x.test", begins=-9).server()) as app:
        ran = trace(f"wss://127.0.0.1:{app.port}/", "-k")
    tls = client(ran)["tls"]["server"]
    assert (ran.status, tls["verified"]) == (0, False)
    assert "--insecure" in tls["error"]
    assert len(app.requests) == 1


def test_a_client_certificate_is_shown_when_asked_for(authority: Authority, tmp_path: Path) -> None:
    mine = authority.issue("somebody")
    context = authority.issue("127.0.0.1").server(clients=authority.root)
    key = tmp_path / "key.pem"
    certificate = tmp_path / "certificate.pem"
    both = mine.file.read_bytes()
    at = both.index(b"-----BEGIN CERTIFICATE")
    key.write_bytes(both[:at])
    certificate.write_bytes(both[at:])
    with TlsBackend(backend.echo, context) as app:
        url, trust = f"wss://127.0.0.1:{app.port}/", ("--cacert", str(authority.root))
        assert trace(url, *trust, "--cert", str(certificate), "--key", str(key)).status == 0
        assert trace(url, *trust, "--cert", str(mine.file)).status == 0
        without = trace(url, *trust)
    assert client(without)["failure"]["phase"] == "tls"
    assert "client certificate" in client(without)["failure"]["message"]
    assert rules(without)[0] == "tls-failed"


def test_the_client_certificate_stays_with_its_origin(authority: Authority) -> None:
    context = authority.issue("127.0.0.1").server()
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(authority.root)
    shown: list[object] = []

    def answer(exchange: backend.Exchange) -> None:
        shown.append(exchange.conn.getpeercert())  # type: ignore[attr-defined]  # a TLS backend's
        backend.echo(exchange)

    with TlsBackend(answer, context) as other:
        target = f"HTTP/1.1 302 X\r\nLocation: https://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n".encode()
        with TlsBackend(lambda exchange: exchange.send(target), context) as app:
            own = ("--cert", str(authority.issue("somebody").file), "--cacert", str(authority.root))
            ran = trace(f"wss://127.0.0.1:{app.port}/", "--location", *own)
    assert ran.status == 0, ran
    assert not any(shown), "the other origin must not learn who the client is"
    assert len(shown) == 1


def test_a_server_without_tls() -> None:
    def greets(listening: socket.socket) -> None:
        conn, _ = listening.accept()
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        conn.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=greets, args=(listening,))
        thread.start()
        ran = trace(f"wss://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join()
    failure = client(ran)["failure"]
    assert (failure["phase"], failure["kind"]) == ("tls", "handshake")
    assert rules(ran)[0] == "tls-failed"


def test_ws_to_a_port_with_tls(authority: Authority) -> None:
    with TlsBackend(backend.echo, authority.issue("127.0.0.1").server()) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    assert ran.status == 1
    assert set(rules(ran)) & {"no-answer", "malformed-response"}
