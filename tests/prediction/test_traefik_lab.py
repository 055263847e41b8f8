"""Traefik: configs that were run by hand, a service that is asked, TLS, redirections and timers, on the real one."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests import lab, wire
from tests.backend import Backend, Exchange, nobody, stay_open
from tests.prediction import Got, Tally, answer, differences, read, send
from tests.tls import self_signed
from wsprobe.inspection import Prediction, Timer
from wsprobe.lb.model import Config
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade

PROXY = "traefik"
BEARER = ("Authorization", "Bearer x")

_LAB = Path(__file__).parents[3] / "shared" / "lab" / "traefik"
_READY = "    ready: {rule: 'Path(`/lab-is-ready`)', service: ping@internal, entryPoints: [e], priority: 9999}\n"
_PORT = re.compile(r"127\.0\.0\.1:212[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Ran:
    """One config that ran: what was read of it, and what became of an upgrade."""

    config: Config
    prediction: Prediction
    got: Got


def _asked(exchange: Exchange) -> None:
    """A service that is asked for its consent says yes, and returns a name; everything else is the application."""
    if exchange.request.start_line.startswith("GET /200"):
        exchange.send(b"HTTP/1.1 200 OK\r\nX-User: u\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    else:
        answer(exchange)


@contextmanager
def running(
    files: Mapping[str, str], backend: Callable[[Exchange], None] = _asked
) -> Iterator[tuple[lab.Running, Backend]]:
    """Traefik with these files, whose ports and folders are those of the lab."""
    with (
        Backend(backend) as upstream,
        nobody() as closed,
        lab.run(PROXY, lambda folder, port: _placed(files, folder, port, upstream.port, closed)) as ran,
    ):
        yield ran, upstream


def _placed(files: Mapping[str, str], folder: Path, port: int, upstream: int, closed: int) -> dict[str, str]:
    if not (folder / "cert.pem").exists():
        self_signed(folder)
    made = {}
    for name, text in files.items():
        placed = text.replace("@CONFIGS@/traefik", str(folder)).replace("@LAB@", str(folder))
        placed = _PORT.sub(f"127.0.0.1:{port}", placed)
        placed = (
            placed.replace(":19000", f":{upstream}").replace(":19443", f":{upstream}").replace(":19999", f":{closed}")
        )
        # The lab's harness asks a route that does not reach the upstream whether Traefik is ready.
        placed = placed.replace("  routers:\n", f"  routers:\n{_READY}", 1)
        quick = "ping: {manualRouting: true}\nproviders:\n  providersThrottleDuration: 0s\n"
        made[name] = placed.replace("providers:\n", quick, 1)
    return made


def scenario(name: str) -> dict[str, str]:
    """The files of a config of the lab folder, the static one under the name that Traefik is started with."""
    if not _LAB.is_dir():
        pytest.skip(f"the lab's configs are not there: {_LAB}")
    dynamic = f"{name}.dyn.yaml"
    return {"traefik.yaml": (_LAB / f"{name}.yml").read_text(), dynamic: (_LAB / dynamic).read_text()}


def _run(files: Mapping[str, str], request: Request) -> Ran:
    with running(files) as (ran, upstream):
        asked, got = send(ran.port, request, upstream)
        got = replace(got, received=tuple(one for one in got.received if not one.start_line.startswith("GET /200")))
        config = read(PROXY, ran.folder, "traefik.yaml")
        return Ran(config, predict(config, asked), got)


#: What becomes of an upgrade with a Bearer token: the status, what the upstream gets as Authorization, and the line.
SCENARIOS = {
    "correct": (101, "Bearer x", None),
    "compress": (101, "Bearer x", None),
    "buffering": (101, "Bearer x", None),
    "retry": (101, "Bearer x", None),
    "edit-101": (101, "Bearer x", None),
    "pass-host-false": (101, "Bearer x", "passHostHeader: false"),
    "read-timeout-2s": (101, "Bearer x", None),
    "resp-header-timeout-2s": (101, "Bearer x", None),
    "strip-auth": (101, None, "Authorization: ''"),
    "set-auth": (101, "Basic c3ZjOnB3", "Authorization: Basic c3ZjOnB3"),
    "strip-upgrade": (426, "Bearer x", "Upgrade: ''"),
    "basicauth": (401, "not reached", "basicAuth:"),
    "no-route": (404, "not reached", None),
    "forward-auth": (101, None, "- Authorization"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_config_of_the_lab_does_what_is_predicted(name: str, tally: Tally) -> None:
    status, authorization, line = SCENARIOS[name]
    ran = _run(scenario(name), upgrade("/ws", "app.example.test", (BEARER,)))
    wrong = list(differences(ran.prediction, ran.got))
    tally.run, tally.agreed, tally.undecided = 1, int(not wrong), int(bool(ran.prediction.unknown))
    assert not wrong
    assert ran.got.status == status
    received = ran.got.received[0].get("Authorization") if ran.got.received else "not reached"
    assert received == authorization
    places = [edit.place for edit in ran.prediction.edits] + [each.place for each in ran.prediction.unknown]
    assert line is None or line in {place.text for place in [*places, ran.prediction.place] if place}


def test_where_nobody_listens_the_request_is_predicted_to_be_sent() -> None:
    ran = _run(scenario("upstream-down"), upgrade("/ws"))
    assert ran.got.status == 502
    assert ran.prediction.reached is True  # a config does not tell whether somebody listens


@pytest.mark.parametrize("name", ["tls-ok", "tls-to-plain", "tls-verify-fail", "plain-to-tls"])
def test_how_the_upstream_is_spoken_to_is_read(name: str, tmp_path: Path) -> None:
    # These are about whether the upstream speaks TLS, of which a config tells only what Traefik expects.
    for file, text in _placed(scenario(f"upstream-{name}"), tmp_path, 21200, 19000, 19999).items():
        (tmp_path / file).write_text(text)
    routes = read(PROXY, tmp_path, "traefik.yaml").listeners[0].routes
    upstream = next(route.upstream for route in routes if route.upstream)
    assert (upstream.tls, upstream.protocol) == (name != "plain-to-tls", "http/1.1")


def test_tls_takes_the_routers_with_tls_and_tells_the_upstream_wss(tally: Tally) -> None:
    with running(scenario("tls-h2")) as (ran, upstream):
        config = read(PROXY, ran.folder, "traefik.yaml")
        context = ssl.create_default_context(cafile=ran.folder / "cert.pem")
        with (
            socket.create_connection(("127.0.0.1", ran.port), 5) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as conn,
        ):
            peer, own = conn.getsockname()
            conn.sendall(wire.upgrade("/ws"))
            head, _ = wire.read_head(conn)
        asked = replace(upgrade("/ws", "app.example.test"), scheme="https", port=ran.port, peer=peer, peer_port=own)
        prediction = predict(config, replace(asked, machine=socket.gethostname()))
        wrong = list(differences(prediction, Got(int(head.split(b" ")[1]), tuple(upstream.requests))))
        tally.run, tally.agreed = 1, int(not wrong)
        assert not wrong
        assert upstream.requests[0].get("X-Forwarded-Proto") == "wss"
        plain, got = send(ran.port, upgrade("/ws"), upstream)
        assert (predict(config, plain).status, got.status) == (404, 404)


STATIC = """\
global: {checkNewVersion: false, sendAnonymousUsage: false}
entryPoints:
  e:
    address: 127.0.0.1:21200
    transport: {respondingTimeouts: {readTimeout: 2s, writeTimeout: 2s, idleTimeout: 2s}, lifeCycle: {graceTimeOut: 0}}
providers:
  file: {filename: @LAB@/dyn.yaml}
"""

DYNAMIC = """\
http:
  routers:
    r: {rule: 'PathPrefix(`/`)', service: s, entryPoints: [e]}
  services:
    s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:19000'}], serversTransport: t}}
  serversTransports:
    t: {forwardingTimeouts: {responseHeaderTimeout: 2s, dialTimeout: 2s, idleConnTimeout: 2s, readIdleTimeout: 2s}}
"""


def test_no_timer_ends_a_silent_websocket() -> None:
    with running({"traefik.yaml": STATIC, "dyn.yaml": DYNAMIC}, stay_open) as (ran, upstream):
        prediction = predict(read(PROXY, ran.folder, "traefik.yaml"), upgrade("/ws"))
        assert {timeout.kind for timeout in prediction.timeouts} == {Timer.HANDSHAKE}
        with socket.create_connection(("127.0.0.1", ran.port), 5) as conn:
            conn.sendall(wire.upgrade("/ws"))
            assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 101")
            conn.settimeout(3.5)
            with pytest.raises(TimeoutError):
                conn.recv(1)
            conn.sendall(wire.frame(wire.PING, mask=wire.MASK))
            time.sleep(0.2)
            assert upstream.exchanges[-1].received


def test_the_wait_for_the_answer_ends_when_it_is_predicted_to_end() -> None:
    def silent(exchange: Exchange) -> None:
        for _ in exchange.chunks():
            pass  # until Traefik gives up

    static = STATIC.replace("writeTimeout: 2s, ", "")  # which would leave no time for the answer
    with running({"traefik.yaml": static, "dyn.yaml": DYNAMIC}, silent) as (ran, _):
        prediction = predict(read(PROXY, ran.folder, "traefik.yaml"), upgrade("/ws"))
        predicted = next(each for each in prediction.timeouts if each.name == "responseHeaderTimeout")
        assert (predicted.seconds, predicted.ends) == (2, "the client gets 504")
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", ran.port), 6) as conn:
            conn.sendall(wire.upgrade("/ws"))
            assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 504")
        assert time.monotonic() - started == pytest.approx(predicted.seconds, abs=0.8)


def test_headers_that_the_asked_service_does_not_return_are_lost() -> None:
    asks = "address: 'http://127.0.0.1:19000/200', authResponseHeaders: [X-User, Authorization, X-None]"
    forward = f"    m: {{forwardAuth: {{{asks}, authResponseHeadersRegex: '^X-R'}}}}\n"
    dynamic = f"{DYNAMIC.replace('service: s,', 'service: s, middlewares: [m],')}  middlewares:\n{forward}"
    sent = (BEARER, ("X-None", "1"), ("X-Ray", "1"), ("X-Kept", "1"))
    ran = _run({"traefik.yaml": STATIC, "dyn.yaml": dynamic}, upgrade("/ws", headers=sent))
    assert not list(differences(ran.prediction, ran.got))
    received = ran.got.received[0]
    gone = {name for name in ("Authorization", "X-None", "X-Ray", "X-Kept") if received.get(name) is None}
    assert gone == {"Authorization", "X-None", "X-Ray"}
    assert received.get("X-User") == "u"
    assert {*gone, "X-User"} <= {each.what for each in ran.prediction.unknown}


@pytest.mark.parametrize(("priority", "status"), [(50, 301), (3, 101)])
def test_an_entry_point_redirects_in_the_order_of_priority(priority: int, status: int) -> None:
    redirects = f"    http: {{redirections: {{entryPoint: {{to: ':8443', priority: {priority}}}}}}}\n    transport:"
    ran = _run({"traefik.yaml": STATIC.replace("    transport:", redirects), "dyn.yaml": DYNAMIC}, upgrade("/ws"))
    assert not list(differences(ran.prediction, ran.got))
    assert ran.got.status == status
