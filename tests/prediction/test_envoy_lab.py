"""Envoy: services that are asked, limits, timers, and the configs of the lab beside the project."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import lab, wire
from tests.backend import Backend, Exchange, nobody, stay_open
from tests.prediction import Tally, answer, compare, differences, send
from tests.prediction.test_envoy import PROXY, _filter, _lone, config
from wsprobe.inspection import Timeout, Timer
from wsprobe.lb import envoy
from wsprobe.lb.model import Config
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import from_text
from wsprobe.parts import Header

AUTH: Header = ("Authorization", "Bearer x")
_PLAIN = _filter("cors", "Cors")


def manager(**settings: Any) -> dict[str, Any]:  # noqa: ANN401  fields of a connection manager
    """A connection manager with one route and no filter of note."""
    return _lone(_PLAIN) | settings


def routed(action: dict[str, Any], **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """The same with a route action of its own."""
    made = manager(**settings)
    made["route_config"]["virtual_hosts"][0]["routes"][0]["route"] = {"cluster": "app", **action}
    return made


def told(made: dict[str, Any]) -> Config:
    """What the reader says of a connection manager."""
    return envoy.read(from_text(json.dumps(config(made, 8080, 9000), indent=1)))


def runs(made: dict[str, Any]) -> Callable[[Path, int, int], dict[str, str]]:
    """The files of a config with a connection manager."""
    return lambda _folder, port, upstream: {"envoy.yaml": json.dumps(config(made, port, upstream), indent=1)}


# Limits.


@pytest.mark.parametrize("settings", [{}, {"max_request_headers_kb": 8}])
def test_a_head_is_refused_from_the_octet_on_that_was_predicted(tally: Tally, settings: dict[str, Any]) -> None:
    made = manager(**settings)
    most = told(made).listeners[0].limits[0].most
    shortest = upgrade("/ws", headers=(("X-Long", ""),))
    used = len(f"GET {shortest.target} HTTP/1.1\r\n\r\n") + sum(len(n) + len(v) + 4 for n, v in shortest.headers)
    asked = [upgrade("/ws", headers=(("X-Long", "x" * (most - used + more)),)) for more in (-1000, -1, 0, 1, 2, 5000)]
    compare(PROXY, runs(made), asked, tally)


def test_headers_are_counted_as_predicted(tally: Tally) -> None:
    asked = [upgrade("/ws", headers=tuple((f"x-{n}", "v") for n in range(count))) for count in (94, 95, 96, 97)]
    asked += [upgrade("/ws", headers=tuple(("Authorization", "v") for _ in range(count))) for count in (95, 96, 99)]
    compare(PROXY, runs(manager()), asked, tally)


# Services that are asked.

_CHECK = {"server_uri": {"uri": "http://auth", "cluster": "app", "timeout": "1s"}, "path_prefix": "/check"}
_RETURNED = {
    "allowed_upstream_headers": {"patterns": [{"exact": "x-user"}, {"prefix": "x-role"}]},
    "allowed_upstream_headers_to_append": {"patterns": [{"exact": "x-added"}]},
}


def checked(exchange: Exchange) -> None:
    """The upstream, and the service that is asked before it."""
    if exchange.request.start_line.startswith("GET /check"):
        # It closes, as the backend does after each answer: Envoy would ask the upstream on the same connection.
        lines = "X-User: me", "X-Role-1: r", "X-Added: a", "X-Other: o", "Content-Length: 0", "Connection: close"
        exchange.send("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode())
    else:
        answer(exchange)


@pytest.mark.parametrize(
    "settings",
    [
        {"http_service": _CHECK},
        {"http_service": _CHECK, "with_request_body": {"max_request_bytes": 1000}},
        {"http_service": {**_CHECK, "authorization_response": _RETURNED}},
    ],
)
def test_what_a_service_returns_is_not_known_and_the_rest_is(settings: dict[str, Any]) -> None:
    made = _lone(_filter("ext_authz", "ExtAuthz", **settings))
    spoofed: tuple[Header, ...] = (AUTH, ("X-User", "u"), ("X-Role-1", "s"), ("X-Added", "b"), ("X-Other", "c"))
    with Backend(checked) as upstream, lab.run(PROXY, lambda f, p: runs(made)(f, p, upstream.port)) as running:
        asked, got = send(running.port, upgrade("/ws", headers=spoofed), upstream)
    found = predict(told(made), asked)
    assert found.reached is None
    assert got.status == 101
    assert len(got.received) == 2
    [*wrong] = differences(found, type(got)(got.status, got.received[1:]))
    assert not wrong


# Timers.

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@pytest.mark.parametrize(
    ("made", "talks"),
    [
        pytest.param(manager(stream_idle_timeout="2s"), False, id="stream_idle_timeout"),
        pytest.param(manager(stream_idle_timeout="2s"), True, id="stream_idle_timeout, a client that pings"),
        pytest.param(manager(stream_idle_timeout="2s", delayed_close_timeout="0s"), False, id="no delayed close"),
        pytest.param(routed({"idle_timeout": "2s"}, stream_idle_timeout="1s"), False, id="route over listener"),
        pytest.param(routed({"idle_timeout": "0s"}, stream_idle_timeout="1s"), False, id="off on the route"),
        pytest.param(
            manager(common_http_protocol_options={"max_stream_duration": "2s"}), True, id="max_stream_duration"
        ),
        pytest.param(
            routed({"max_stream_duration": {"max_stream_duration": "2s"}}), False, id="max_stream_duration of a route"
        ),
        pytest.param(routed({"timeout": "1s"}), False, id="timeout of a route"),
        pytest.param(
            manager(
                request_timeout="1s",
                request_headers_timeout="1s",
                common_http_protocol_options={"idle_timeout": "1s", "max_connection_duration": "1s"},
                drain_timeout="1s",
            ),
            False,
            id="timers without effect",
        ),
    ],
)
def test_an_upgraded_connection_ends_as_predicted(made: dict[str, Any], talks: bool) -> None:  # noqa: FBT001  a column
    found = predict(told(made), upgrade("/ws"))
    timers = [
        one for one in found.timeouts if one.kind is not Timer.HANDSHAKE and not (talks and one.kind is Timer.IDLE)
    ]
    with Backend(stay_open) as upstream, lab.run(PROXY, lambda f, p: runs(made)(f, p, upstream.port)) as running:
        begun = time.monotonic()
        client = _ended(running.port, 3.6, talks=talks)
        exchange = upstream.exchanges[0]
        there = exchange.ended if client is not None and exchange.done.wait(3) else None
        assert time.monotonic() - begun < 8
    first = min((one for one in timers if one.seconds), key=lambda one: one.seconds or 0, default=None)
    if first is None or (first.seconds or 0) > 3:
        assert client is None
        return
    assert client is not None
    assert client == pytest.approx(2 + _delay(first), abs=0.6)
    assert there == "eof"


def _delay(timer: Timeout) -> float:
    """How much later the client sees the end, as a prediction words it."""
    found = re.search(r"to the client ([\d.]+) s later", timer.ends)
    return float(found[1]) if found else 0


def _ended(port: int, most: float, *, talks: bool) -> float | None:
    """After how many seconds an upgraded connection ended, None where it is open after `most`."""
    with socket.create_connection(("127.0.0.1", port), 10) as conn:
        conn.sendall(wire.upgrade())
        wire.read_head(conn)
        begin = time.monotonic()
        conn.settimeout(0.2)
        while (gone := time.monotonic() - begin) < most:
            try:
                if talks:
                    conn.sendall(wire.frame(9, mask=b"abcd"))
                if not conn.recv(4096):
                    return gone
            except TimeoutError:
                continue
            except ConnectionError:  # it ended while the client sent
                return gone
    return None


@pytest.mark.parametrize(
    ("made", "status"),
    [
        pytest.param(routed({"timeout": "1s"}), 504, id="timeout"),
        pytest.param(manager(request_timeout="1s"), 408, id="request_timeout"),
        pytest.param(manager(stream_idle_timeout="1s"), 408, id="stream_idle_timeout"),
    ],
)
def test_an_upstream_that_does_not_answer_ends_as_predicted(made: dict[str, Any], status: int) -> None:
    def says_nothing(exchange: Exchange) -> None:
        for _ in exchange.chunks():
            pass

    [first, *_] = sorted((one.seconds, one.ends) for one in predict(told(made), upgrade()).timeouts if one.seconds)
    begun = time.monotonic()
    with Backend(says_nothing) as upstream, lab.run(PROXY, lambda f, p: runs(made)(f, p, upstream.port)) as running:
        _, got = send(running.port, upgrade("/ws"), upstream)
    assert got.status == status
    assert first[0] == 1
    assert time.monotonic() - begun < 8
    assert str(status) in first[1]


# The lab.

FOLDER = Path(__file__).parents[3] / "shared" / "lab" / "envoy"
_HOLDS_TLS = {
    "h3.yaml": "HTTP/3 only",
    "tls-h2.yaml": "TLS to the client",
    "tls-h2-no-connect.yaml": "TLS to the client",
    "upstream-plain-to-tls.yaml": "an upstream that speaks TLS",
    "upstream-tls-ok-noverify.yaml": "TLS to the upstream",
    "upstream-tls-to-plain.yaml": "TLS to the upstream",
    "upstream-tls-verify-fail.yaml": "TLS to the upstream",
    "upstream-h2-no-connect.yaml": "an upstream that speaks HTTP/2",
}
"""What cannot be run here: the upstream of the harness speaks plain HTTP/1.1. What the reader says is asserted."""


def _scenarios() -> Iterator[Any]:
    """The configs of the lab; one that is skipped where there are none."""
    found = sorted(FOLDER.glob("*.yaml")) if FOLDER.is_dir() else []
    if not found:
        why = f"{FOLDER} is missing: the configs of the lab were not run"
        yield pytest.param(None, marks=pytest.mark.skip(reason=why), id="no lab")
    yield from (pytest.param(path, id=path.stem) for path in found)


SCENARIOS = list(_scenarios())


def _filled(path: Path, port: int = 20500, upstream: int = 19000) -> str:
    """A config of the lab with ports of ours; its admin port is any free one."""
    text = path.read_text().replace("@LAB@", "/nowhere").replace("port_value: 19000", f"port_value: {upstream}")
    text = re.sub(r"port_value: 255\d\d", "port_value: 0", text)
    text = re.sub(r"port_value: 205\d\d", f"port_value: {port}", text)
    return text.replace("- name: l\n", "- name: l\n    enable_reuse_port: false\n")


_ODD: tuple[Header, ...] = (AUTH, ("X_Under_Score", "u"), ("X-Dup", "one"), ("X-Dup", "two"), ("X-Empty", ""))
_MORE: tuple[Header, ...] = (("X-Forwarded-For", "127.0.0.99"), ("X-Request-Id", "id"), ("Origin", "http://a"))


@pytest.mark.parametrize("path", SCENARIOS)
def test_the_lab_is_predicted_right(path: Path, tally: Tally) -> None:
    if path.name in _HOLDS_TLS:
        pytest.skip(f"{path.name} needs {_HOLDS_TLS[path.name]}")
    requests = [
        upgrade("/ws", headers=(*_ODD, *_MORE)),
        upgrade("/ws?x=1", headers=(("Connection", "keep-alive, Upgrade, Authorization"), AUTH)),
        upgrade("/other", headers=(AUTH, AUTH)),
        upgrade("/ws", headers=(("X-Long", "y" * 64_000),)),
        Request(target="/ws", headers=(("Host", "a"), AUTH)),
        Request(target="/ws", version="HTTP/1.0", headers=(("Host", "a"), AUTH)),
    ]
    if path.name == "upstream-down.yaml":
        pytest.skip("nobody listens: a config does not tell that an upstream is down")
    if path.name == "ext-authz-http.yaml":
        pytest.skip("the service that is asked is the upstream itself; see the test of services that are asked")
    compare(PROXY, lambda _f, port, upstream: {"envoy.yaml": _filled(path, port, upstream)}, requests, tally)


@pytest.mark.parametrize("path", SCENARIOS)
def test_the_lab_says_what_was_seen(path: Path) -> None:
    """What facts about the lab say of each scenario; those that cannot be run here too."""
    found = envoy.read(from_text(_filled(path), path.name))
    [listener] = found.listeners
    prediction = predict(found, upgrade("/ws", headers=(AUTH,)))
    edits = {(edit.kind.value, edit.name): edit.place.text for edit in prediction.edits if edit.place}
    expected = _SEEN.get(path.stem, (True, None, {}))
    assert (prediction.reached, prediction.status) == expected[:2]
    for edit, text in expected[2].items():
        assert edits[edit] == text
    assert not found.problems
    assert not found.unread
    assert listener.routes


_REMOVED = ("removed", "authorization")
_SEEN: dict[str, tuple[bool | None, int | None, dict[tuple[str, str], str]]] = {
    "naive": (False, 403, {}),
    "route-level-disable": (False, 403, {}),
    "h3": (False, None, {}),
    "ext-authz-http": (None, None, {}),
    "jwt-forward-false-default": (None, None, {_REMOVED: "p:"}),
    "remove-auth-route": (True, None, {_REMOVED: "- authorization"}),
    "remove-auth-one-route": (True, None, {_REMOVED: "- authorization"}),
    "remove-auth-routeconfig": (True, None, {_REMOVED: "- Authorization"}),
    "overwrite-auth": (True, None, {("changed", "authorization"): "key: Authorization"}),
    "edge-use-remote-address": (True, None, {("added", "via"): "via: lab-envoy"}),
    "upstream-h2-no-connect": (True, None, {("removed", "upgrade"): "http2_protocol_options: {}"}),
}


def test_the_script_of_the_lab_makes_every_header_unknown_at_its_line() -> None:
    path = FOLDER / "lua-remove-auth.yaml"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    found = predict(envoy.read(from_text(_filled(path))), upgrade("/ws", headers=(AUTH,)))
    [unknown] = [one for one in found.unknown if one.what == "any header"]
    assert "may" in unknown.why
    assert unknown.place is not None
    assert "envoy_on_request" in unknown.place.text


def test_an_upstream_that_is_down_is_a_503_that_no_config_tells() -> None:
    with (
        nobody() as port,
        lab.run(PROXY, lambda f, p: runs(manager())(f, p, port)) as running,
        Backend(answer) as other,
    ):
        _, got = send(running.port, upgrade("/ws"), other)
    assert (got.status, got.received) == (503, ())
