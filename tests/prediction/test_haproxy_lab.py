"""HAProxy: configs that were run by hand, timers, and what no generated config has, on the real one."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import lab, wire
from tests.backend import Backend, Exchange, nobody, stay_open
from tests.prediction import Tally, answer, differences, read, send
from tests.tls import self_signed
from wsprobe.inspection import Prediction, Timer
from wsprobe.lb.model import Config, Upstream
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.model import Header

PROXY = "haproxy"
BEARER: Header = ("Authorization", "Bearer x")

_LAB = Path(__file__).parents[3] / "shared" / "lab" / "haproxy"
_BINDS = re.compile(r"127\.0\.0\.1:(20[0-9]{3})(.*ssl.*)?$", re.MULTILINE)


@contextmanager
def running(text: str, upstream: int) -> Iterator[lab.Running]:
    """HAProxy with a config whose ports are those of the lab."""
    with nobody() as closed:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            other = listener.getsockname()[1]

        def placed(folder: Path, port: int) -> dict[str, str]:
            _certificate(folder)
            made = _BINDS.sub(lambda bind: f"127.0.0.1:{other if bind[2] else port}{bind[2] or ''}", text)
            made = (
                made.replace(":19000", f":{upstream}").replace(":19443", f":{upstream}").replace(":19999", f":{closed}")
            )
            made = made.replace("@LAB@", str(folder)).replace("\nglobal\n", "\nglobal\n noreuseport\n")
            return {"haproxy.cfg": made}

        with lab.run(PROXY, placed) as ran:
            yield ran


def _certificate(folder: Path) -> None:
    self_signed(folder)
    both = (folder / "cert.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "both.pem").write_text(both)


def config_of(ran: lab.Running) -> Config:
    return read(PROXY, ran.folder, "haproxy.cfg")


# What happens to an upgrade with a token on the way to an upstream that speaks HTTP/1.1.
PLAIN = {
    "bigbuf": None,
    "client-timeout-only-2s": None,
    "correct": None,
    "custom-log": None,
    "del-auth": 15,
    "del-auth-acl": 16,
    "del-auth-backend": 18,
    "edit-101": None,
    "forwardfor": None,
    "http-auth": None,
    "httpclose-server": None,
    "maxconn-queue": None,
    "no-timeouts": None,
    "normalize-h1case": None,
    "set-auth": 18,
    "strip-upgrade": None,
    "tls-h2": None,
    "tls-h2-no-extconnect": None,
    "tunnel-timeout-2s": None,
    "upstream-hang": None,
}
# Where the upstream is not as the config says, which the config cannot tell; and TLS, which it does.
ELSEWHERE = {
    "alpn-ws-h1": True,
    "upstream-down": False,
    "upstream-plain-to-tls": False,
    "upstream-tls-ok": True,
    "upstream-tls-to-plain": True,
    "upstream-tls-verify-fail": True,
}


def scenario(name: str) -> str:
    if not _LAB.is_dir():
        pytest.skip(f"{_LAB} is not there, so the configs of the lab were not compared with the real HAProxy")
    return (_LAB / f"{name}.cfg").read_text()


def test_every_config_of_the_lab_is_here() -> None:
    scenario("correct")
    assert {path.stem for path in _LAB.glob("*.cfg")} == {*PLAIN, *ELSEWHERE}


@pytest.mark.parametrize(("name", "line"), PLAIN.items(), ids=str)
def test_a_config_of_the_lab_does_what_was_predicted(name: str, line: int | None, tally: Tally) -> None:
    with Backend(answer) as app, running(scenario(name), app.port) as ran:
        config = config_of(ran)
        for request in (
            upgrade("/ws", headers=(BEARER,)),
            upgrade("/ws"),
            upgrade("/ws", headers=(("Authorization", "Basic c3ZjOnB3"),)),
        ):
            asked, got = send(ran.port, request, app)
            prediction = predict(config, asked)
            tally.run += 1
            assert list(differences(prediction, got)) == []
            tally.agreed += 1
        lines = {
            edit.place.line - 1
            for edit in predict(config, upgrade("/ws", headers=(BEARER,))).edits
            if edit.place and edit.name.lower() == "authorization"
        }
    assert lines == ({line} if line else set())


@pytest.mark.parametrize(("name", "tls"), ELSEWHERE.items(), ids=str)
def test_what_a_config_of_the_lab_says_of_its_upstream(name: str, tls: bool) -> None:  # noqa: FBT001  what is expected
    with Backend(answer) as app, running(scenario(name), app.port) as ran:
        config = config_of(ran)
    route = config.listeners[0].routes[0]
    assert isinstance(route.upstream, Upstream)
    assert (route.upstream.tls, route.upstream.protocol, route.upstream.protocol_place) == (tls, "client", None)


# Timers.


@dataclass(frozen=True, slots=True)
class Ended:
    """How a silent connection ended: what the client got, after how many seconds, and what the upstream saw."""

    status: int
    seconds: float
    upstream: str


TIMED = """\
global
 log stdout format raw local0

defaults
 mode {mode}
 log global
 timeout connect 3s
 {defaults}

frontend fe
 bind 127.0.0.1:20201
 default_backend be

backend be
 {backend}
 server s1 127.0.0.1:19000 {server}
"""


def timed(defaults: str, backend: str = "", mode: str = "http", server: str = "") -> str:
    return TIMED.format(defaults=defaults.replace("; ", "\n "), backend=backend, mode=mode, server=server)


def silent(ran: lab.Running, app: Backend) -> Ended:
    """Opens a WebSocket and says nothing until somebody else ends it."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", ran.port), 15) as conn:
        conn.sendall(wire.upgrade("/ws"))
        status = int(wire.read_head(conn)[0].split(b" ")[1])
        assert conn.recv(1) == b"", "the client's connection ended with something else than a FIN"
        seconds = time.monotonic() - began
    assert app.exchanges[0].done.wait(10)
    return Ended(status, seconds, app.exchanges[0].ended)


@pytest.mark.parametrize(
    ("text", "name", "resets"),
    [
        pytest.param(timed("timeout client 9s; timeout server 9s; timeout tunnel 2s"), "tunnel", True, id="tunnel"),
        pytest.param(
            timed("timeout client 1s; timeout server 1s; timeout tunnel 2s"), "tunnel", True, id="tunnel is longer"
        ),
        pytest.param(timed("timeout client 2s; timeout server 9s"), "client", False, id="client"),
        pytest.param(timed("timeout client 9s; timeout server 2s"), "server", True, id="server"),
        pytest.param(timed("timeout client 2s; timeout server 2s"), "client", True, id="client and server"),
        pytest.param(
            timed("timeout client 9s; timeout server 9s; timeout tunnel 9s", "http-request set-timeout tunnel 2s"),
            "tunnel",
            True,
            id="set-timeout",
        ),
        pytest.param(
            timed("timeout client 9s; timeout server 9s; timeout tunnel 2s", mode="tcp"),
            "tunnel",
            False,
            id="tunnel in mode tcp",
        ),
        pytest.param(
            timed("timeout client 2s; timeout server 9s", mode="tcp"), "client", False, id="client in mode tcp"
        ),
        pytest.param(
            timed("timeout client 9s; timeout server 2s", mode="tcp"), "server", False, id="server in mode tcp"
        ),
    ],
)
def test_a_silent_connection_ends_when_and_how_it_was_predicted(text: str, name: str, resets: bool) -> None:  # noqa: FBT001
    with Backend(stay_open) as app, running(text, app.port) as ran:
        prediction = predict(config_of(ran), upgrade("/ws"))
        ended = silent(ran, app)
    [idle] = [timeout for timeout in prediction.timeouts if timeout.kind is Timer.IDLE]
    assert (idle.name, idle.seconds) == (f"timeout {name}", 2)
    assert ended.status == 101
    assert 1.7 < ended.seconds < 3.5
    assert (ended.upstream, "RST" in idle.ends) == ("reset" if resets else "eof", resets)


def _mute(exchange: Exchange) -> None:
    list(exchange.chunks())


@pytest.mark.parametrize(
    ("text", "name", "status"),
    [
        pytest.param(
            timed("timeout client 9s; timeout server 1s"), "timeout server", 504, id="an upstream that is mute"
        ),
        pytest.param(
            timed("timeout client 9s; timeout server 9s; timeout http-request 1s"),
            "timeout http-request",
            408,
            id="half a head",
        ),
    ],
)
def test_an_upgrade_that_is_not_answered_ends_when_and_how_it_was_predicted(text: str, name: str, status: int) -> None:
    with Backend(_mute) as app, running(text, app.port) as ran:
        [timeout] = [
            each
            for each in predict(config_of(ran), upgrade("/ws")).timeouts
            if each.name == name and each.kind is Timer.HANDSHAKE
        ]
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", ran.port), 15) as conn:
            head = wire.upgrade("/ws")
            conn.sendall(head[:-2] if "http-request" in name else head)
            got = int(wire.read_head(conn)[0].split(b" ")[1])
        seconds = time.monotonic() - began
    assert timeout.seconds == 1
    assert str(status) in timeout.ends
    assert (got, 0.7 < seconds < 2.5) == (status, True)


# What no generated config has.

TCP = timed("timeout client 9s; timeout server 9s", mode="tcp")


def one(frontend: str, rest: str = "") -> str:
    """A config with these lines in its frontend, and these sections after the backend `be`."""
    return (
        timed("timeout client 9s; timeout server 9s").replace(
            " default_backend be", f" {frontend}\n default_backend be"
        )
        + rest
    )


LISTEN = """\
global
 log stdout format raw local0

defaults
 mode http
 timeout connect 3s
 timeout client 9s
 timeout server 9s
 option forwardfor header X-Outer

listen web
 bind 127.0.0.1:20201
 option forwardfor if-none
 http-request add-header X-Once 1
 http-request set-path /new if { path /other }
 use_backend be if { path /new }
 http-request deny if { path /no }
 server s1 127.0.0.1:19000

backend be
 http-request add-header X-Once 2
 server s1 127.0.0.1:19000
"""

COOKIES: tuple[str, ...] = (
    "a=1",
    "SRV=s1",
    "SRV=s1; a=1",
    "a=1; SRV=s1",
    "a=1; SRV=s1; b=2",
    "SRV=x; SRV=s1; a=1; SRV=",
    "xSRV=s1",
    "a=SRV=s1",
)
COOKIES += ("a=1;SRV=s1;b=2", " SRV = s1 ; a=1", "a=1; SRV=s1; SRV=s2; b=2", "srv=s1")

VERSIONS = ("HTTP/1.1", "HTTP/1.0")
WITHOUT_KEY = Request(target="/ws", headers=(("Host", "h"), ("Upgrade", "websocket"), ("Connection", "Upgrade")))
ODD = Request(target="/a#b c", headers=(("Host", "h"), ("Connection", "close, X-A"), ("X-A", "1")), version="HTTP/1.1")


@pytest.mark.parametrize(
    ("text", "requests"),
    [
        pytest.param(TCP, [upgrade("/ws"), WITHOUT_KEY], id="in mode tcp every byte passes"),
        pytest.param(
            TCP.replace("backend be\n", "backend be\n mode http\n"),
            [upgrade("/ws"), WITHOUT_KEY],
            id="a tcp frontend before an http backend",
        ),
        pytest.param(
            one(
                "use_backend %[req.hdr(x-to),lower]",
                "backend other\n http-request set-header X-Other 1\n server o 127.0.0.1:19000\n",
            ),
            [upgrade("/ws", headers=(("X-To", to),)) for to in ("OTHER", "be", "none", "")],
            id="a backend by the name in a header",
        ),
        pytest.param(
            one("""http-request set-header X-A '%[path,regsub("^/(w)","<\\1>")]'"""),
            [upgrade("/ws"), upgrade("/x")],
            id="arguments in quotes",
        ),
        pytest.param(
            one("http-request set-header Connection Upgrade\n http-request set-header Upgrade websocket"),
            [
                upgrade("/ws"),
                Request(target="/ws", headers=(("Host", "h"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))),
            ],
            id="an upgrade that the client did not ask for",
        ),
        pytest.param(
            one(
                "http-request set-uri http://other.example/x%[path] if { path /ws }\n"
                " http-request replace-uri ^/y(.*) http://more.example/z\\1"
            ),
            [upgrade("/ws?a"), upgrade("/y?a"), upgrade("/z")],
            id="a target with a host",
        ),
        pytest.param(
            one("http-request allow if TRUE")
            .replace("frontend fe", "frontend be")
            .replace("backend be\n", "backend be\n http-request allow if FALSE\n http-request set-header X-A 1\n"),
            [upgrade("/ws")],
            id="a frontend and a backend of one name",
        ),
        pytest.param(one("http-response deny if { status 101 }"), [upgrade("/ws")], id="a 101 that is denied"),
        pytest.param(one("http-response set-header X-Edge 1"), [upgrade("/ws")], id="a 101 that is edited"),
        pytest.param(
            one("http-request deny if { req.hdrs -m sub secret }"), [upgrade("/ws")], id="an acl that is not followed"
        ),
        pytest.param(
            one("option http-restrict-req-hdr-names reject"),
            [upgrade("/ws"), upgrade("/ws", headers=(("x_y", "1"),))],
            id="names that are not allowed",
        ),
        pytest.param(
            one("stats enable\n stats auth a:b"), [upgrade("/haproxy?stats"), upgrade("/ws")], id="the statistics page"
        ),
        pytest.param(
            one("monitor-uri /ping\n monitor fail if { always_true }"), [upgrade("/ping")], id="a monitor that fails"
        ),
        pytest.param(
            one("http-request redirect location %[req.hdr(x-to)] ignore-empty"),
            [upgrade("/ws"), upgrade("/ws", headers=(("X-To", "/x"),))],
            id="a redirect that leads nowhere",
        ),
        pytest.param(one("http-request silent-drop if { path /gone }"), [upgrade("/ws")], id="nothing is dropped"),
        pytest.param(
            one("http-request tarpit deny_status 429\n timeout tarpit 100ms"), [upgrade("/ws")], id="a tarpit"
        ),
        pytest.param(one("unique-id-format %[uuid]\n unique-id-header X-Id"), [upgrade("/ws")], id="a unique id"),
        pytest.param(
            one("http-request use-service prometheus-exporter if { path /metrics }"),
            [upgrade("/metrics"), upgrade("/ws")],
            id="a service",
        ),
        pytest.param(
            timed("timeout client 9s; timeout server 9s", "cookie SRV insert indirect nocache", server="cookie s1"),
            [upgrade("/ws", headers=(("Cookie", cookie),)) for cookie in COOKIES],
            id="a cookie of its own",
        ),
        pytest.param(
            timed("timeout client 9s; timeout server 9s; compression algo gzip; compression offload"),
            [upgrade("/ws", headers=(("Accept-Encoding", "gzip"),)), upgrade("/ws")],
            id="compression that is offloaded",
        ),
        pytest.param(
            one(
                ".if version_atleast(2.4)\n http-request set-header X-A new\n .elif streq(a,a)\n http-request set-header X-A same\n .else\n http-request set-header X-A old\n .endif"
            ),
            [upgrade("/ws")],
            id="a conditional block",
        ),
        pytest.param(
            one("http-request set-header X-B in-frontend")
            .replace(
                "defaults\n",
                'defaults named\n http-request set-header X-A "of the defaults"\n http-request allow if { path /allowed }\n',
            )
            .replace("frontend fe", "frontend fe from named")
            .replace(
                "\nbackend be", "\ndefaults last\n mode http\n timeout server 9s\n timeout connect 3s\n\nbackend be"
            ),
            [upgrade("/ws"), upgrade("/allowed")],
            id="rules of named defaults",
        ),
        pytest.param(
            one(
                "http-request set-path /v%[path]\n use_backend %[path,field(2,/)]",
                "backend vws\n server o 127.0.0.1:19000\n",
            ),
            [upgrade("/ws")],
            id="a backend by a path that was changed",
        ),
        pytest.param(
            LISTEN,
            [upgrade("/ws", headers=(BEARER,)), upgrade("/other"), upgrade("/no")],
            id="a listen section runs its rules once",
        ),
        pytest.param(
            one(
                "errorloc303 403 /x\n http-request deny if { path /no }\n http-request return status 403 if { path /own }"
            ),
            [upgrade("/no"), upgrade("/own"), upgrade("/ws")],
            id="an error page that redirects",
        ),
        pytest.param(
            one(
                "tcp-request inspect-delay 1s\n tcp-request content accept if { path /ws }\n tcp-request content reject"
            ),
            [upgrade("/ws"), upgrade("/no")],
            id="content rules before http rules",
        ),
        pytest.param(
            one("http-request set-header Host inner.example.com\n use_backend other if { hdr(host) inner.example.com }")
            + "backend other\n http-request set-header X-Host %[req.hdr(host)]\n server o 127.0.0.1:19000\n",
            [upgrade("/ws")],
            id="a host that was changed decides",
        ),
        pytest.param(
            one(
                "http-request del-header Sec-WebSocket-Key if { path /key }\n http-request del-header Sec-WebSocket-Version"
            ),
            [upgrade("/ws"), upgrade("/key")],
            id="a handshake whose key is removed gets another one",
        ),
        pytest.param(
            one(
                "acl ws hdr(upgrade) -i websocket\n http-request set-header X-Ws 1 if ws METH_GET !{ hdr_cnt(origin) eq 0 }"
            ),
            [upgrade("/ws", headers=(("Origin", origin),)) for origin in ("https://a", "https://a, https://b", "")],
            id="what is counted",
        ),
        pytest.param(
            one("errorloc 403 /x").replace(" server s1", " http-request deny if { path /no }\n server s1"),
            [upgrade("/no"), upgrade("/ws")],
            id="an error page of the frontend for a rule of the backend",
        ),
        pytest.param(
            one("option httplog\n http-request set-header X-M %[capture.req.method]%[capture.req.uri]%HM"),
            [upgrade("/ws")],
            id="what is kept for the log",
        ),
        pytest.param(
            one('option httpclose\n http-request set-header Connection "keep-alive" if { path /keep }'),
            [
                Request(target=target, headers=(("Host", "h"),), version=version)
                for target in ("/keep", "/")
                for version in VERSIONS
            ],
            id="a rule that keeps a connection which an option closes",
        ),
    ],
)
def test_the_real_one_does_what_was_predicted(text: str, requests: list[Request], tally: Tally) -> None:
    with Backend(answer) as app, running(text, app.port) as ran:
        config = config_of(ran)
        for request in requests:
            asked, got = send(ran.port, request, app)
            prediction: Prediction = predict(config, asked)
            tally.run += 1
            tally.undecided += bool(prediction.unknown)
            assert list(differences(prediction, got)) == [], prediction
            tally.agreed += 1
