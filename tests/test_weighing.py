"""Weighing a header from outside: on real proxies, and against every kind of limit that can stand in the way."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from tests import backend, lab, wire
from tests.backend import Backend, Exchange
from tests.tracing import Document, Ran, run, trace
from wsprobe.model import Body, Close, Ending, Header, Message, Observation, Recorder, Sender, Weighing
from wsprobe.weighing import MOST, Load, Straw, canary, weigh

TOKEN = jwt.encode({"sub": "somebody", "aud": "app"}, "a key of thirty-two octets or more", "HS256")


@contextmanager
def needs_header() -> Iterator[int]:
    """A server of `websockets`, which takes 128 header lines; its handler raises where Authorization is missing."""
    ports: list[int] = []
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def handler(socket: ServerConnection) -> None:
        assert socket.request
        if "Authorization" not in socket.request.headers:
            await socket.close(1011, "Internal error")
        await socket.wait_closed()

    async def main() -> None:
        leave = asyncio.Event()
        async with serve(handler, "127.0.0.1", 0) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            loops.append((asyncio.get_running_loop(), leave))
            ready.set()
            await leave.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop, leave = loops[0]
        loop.call_soon_threadsafe(leave.set)
        thread.join(10)


def traced(port: int, *options: str) -> Ran:
    env = {"PROBE_TOKEN": TOKEN}
    ran = trace(
        f"ws://127.0.0.1:{port}/ws",
        *("--bearer-env", "PROBE_TOKEN", "--weigh", "Authorization", "--controls", "never"),
        *options,
        hold=0.3,
        env=env,
    )
    assert TOKEN not in ran.everything
    return ran


def weighings(ran: Ran) -> dict[bool, Document]:
    return {bool(one["plain"]): one for one in ran.report["trace"]["weighings"]}


@pytest.mark.lab
def test_a_header_that_nginx_strips_does_not_tip_the_scale_of_the_server_behind() -> None:
    with needs_header() as app, lab.start("nginx", app, "strip-authorization") as port:
        ran = traced(port)
    found = ran.report["verdict"]
    assert (found["rule"], found["confidence"], found["header"]) == ("header-removed", "likely", "Authorization")
    assert found["segment"] == ["client", None]
    assert "a replacement of the same length" in found["untested"][0]
    weighed = weighings(ran)[False]
    assert (weighed["arrived"], weighed["unit"]) == (False, "header lines")
    assert 110 <= weighed["edge"] <= 124
    assert sum(one["tries"] for one in ran.report["trace"]["weighings"]) <= MOST


TUNED = "global\n    tune.bufsize 65536\n    tune.http.maxhdr 1000\n"


def big(exchange: Exchange) -> None:
    """An application that takes heads of 16 KiB, and whose handler fails whatever it gets."""
    size = sum(len(name) + len(value) + 4 for name, value in exchange.request.headers)
    if size > 16 * 1024:
        exchange.send(backend.plain("431 Request Header Fields Too Large", "head of the application"))
    elif exchange.request.get("upgrade"):
        exchange.send(backend.switching(exchange.request) + wire.close(1011))
        for _ in exchange.frames():
            pass
    else:
        exchange.send(backend.plain("200 OK"))


@pytest.mark.lab
@pytest.mark.parametrize(("fault", "arrived"), [("strip-authorization", False), ("correct", True)])
def test_by_octets_behind_haproxy_with_larger_buffers(fault: str, arrived: bool) -> None:  # noqa: FBT001
    chosen = lab.PROXIES["haproxy"]
    files = {"haproxy.cfg": chosen.files["haproxy.cfg"].replace("global\n", TUNED, 1)}
    large = replace(chosen, files=files)
    with (
        Backend(big) as app,
        lab.run("haproxy", lambda folder, port: large.render(folder, port, app.port, fault)) as running,
    ):
        ran = traced(running.port)
    both = weighings(ran)
    assert [both[plain]["arrived"] for plain in (False, True)] == [arrived, arrived]
    assert [finding["rule"] for finding in ran.report["findings"] if finding["rule"] == "header-removed"] == (
        [] if arrived else ["header-removed"]
    )


@pytest.mark.lab
@pytest.mark.parametrize("proxy", ["haproxy", "envoy", "apache", "caddy"])
def test_a_limit_of_the_first_proxy_is_told_and_weighs_nothing(proxy: str) -> None:
    with Backend(big) as app, lab.start(proxy, app.port, "strip-authorization") as port:
        ran = traced(port)
    assert (
        "header-removed" not in [one["rule"] for one in ran.report["findings"]]
        or weighings(ran)[False]["arrived"] is False
    )
    for one in ran.report["trace"]["weighings"]:
        assert one["arrived"] is not True, "the first proxy's own scale would exonerate it"


def test_a_header_that_makes_a_difference_needs_no_scale() -> None:
    with needs_header() as app:
        ran = traced(app)
    assert "it reached whoever answered" in weighings(ran)[False]["why"]
    assert ran.report["findings"] == []


def test_what_the_request_does_not_have_cannot_be_weighed() -> None:
    ran = run("trace", "ws://127.0.0.1:1/", "--weigh", "X-Api-Key")
    assert (ran.status, "no such header" in ran.err) == (2, True)


def test_the_plan_tells_what_weighing_takes() -> None:
    ran = run("trace", "ws://127.0.0.1:1/", "-H", "X-Api-Key: k1k1k1k1", "--weigh", "x-api-key", "--plan")
    assert "at most 40 requests to weigh x-api-key" in ran.out


def test_a_canary_is_as_heavy_as_the_header() -> None:
    header = ("Authorization", f"Bearer {TOKEN}")
    name, value = canary(header)
    assert (len(name), len(value)) == (len(header[0]), len(header[1]))
    assert name.lower() != header[0].lower()
    assert len(canary(("X" * 40, "v"))[0]) == 40


# Every path that there can be, without a network.

HEADER: Header = ("Authorization", "Bearer " + "t" * 180)


@dataclass(frozen=True)
class Simulated:
    """A first proxy with limits of its own that may strip, and a server behind it with others."""

    strips: bool
    first_lines: int
    first_octets: int
    inner_lines: int
    inner_octets: int
    same_page: bool
    read: bool

    def answer(self, load: Load) -> Observation:
        straw = {Straw.NOTHING: (), Straw.CANARY: (canary(HEADER),), Straw.HEADER: (HEADER,)}[load.straw]
        lines = [("Host", "h"), ("Upgrade", "websocket"), *straw, *load.filler]
        if len(lines) > self.first_lines or size(lines) > self.first_octets:
            return answered("400 Bad Request", "first")
        if self.strips:
            lines = [line for line in lines if line[0] != HEADER[0]]
        if len(lines) > self.inner_lines or size(lines) > self.inner_octets:
            return answered("400 Bad Request", "first" if self.same_page else "inner")
        if self.read and HEADER in lines:
            return answered("101 Switching Protocols", None)
        return answered("101 Switching Protocols", None, 1011)


def size(lines: list[Header]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in lines)


def answered(status: str, body: str | None, code: int | None = None) -> Observation:
    closes = (Close(sender=Sender.SERVER, ending=Ending.FRAME, code=code, reason="", at=0.01),) if code else ()
    return Observation(
        name="client",
        instance="here",
        recorder=Recorder(kind="probe", version="1"),
        connection="c",
        exchange=0,
        trace=None,
        at="2026-01-01T00:00:00Z",
        request=Message(start_line="GET / HTTP/1.1", headers=()),
        response=Message(start_line=f"HTTP/1.1 {status}", headers=(), body=Body(text=body, size=5) if body else None),
        closes=closes,
        ended=0.02,
    )


def weighed(path: Simulated, tries: int = MOST) -> Weighing:
    scale = weigh(HEADER, plain=False, tries=tries)
    load = next(scale)
    while True:
        try:
            load = scale.send(path.answer(load))
        except StopIteration as done:
            found: Weighing = done.value
            return found


LIMITS = st.integers(20, 400)
OCTETS = st.integers(3_000, 100_000)
PATHS = st.builds(Simulated, st.booleans(), LIMITS, OCTETS, LIMITS, OCTETS, st.booleans(), st.booleans())


@given(PATHS)
def test_nobody_is_accused_who_does_not_strip_and_nobody_exonerated_who_does(path: Simulated) -> None:
    found = weighed(path)
    assert found.arrived is None or found.arrived is not path.strips, found
    assert found.tries <= MOST
    assert (found.arrived is None) is (found.why is not None)


@given(PATHS, st.integers(1, 39))
def test_it_never_makes_more_requests_than_it_may(path: Simulated, tries: int) -> None:
    assert weighed(path, tries).tries <= tries


def test_a_limit_behind_that_can_be_told_decides() -> None:
    path = Simulated(
        strips=True,
        first_lines=1000,
        first_octets=40_000,
        inner_lines=130,
        inner_octets=10**6,
        same_page=False,
        read=True,
    )
    assert weighed(path).arrived is False
    assert weighed(replace(path, strips=False, read=False)).arrived is True


def test_a_canary_that_is_refused_for_what_it_says_weighs_nothing() -> None:
    def waf(exchange: Exchange) -> None:
        sizes = sum(len(name) + len(value) for name, value in exchange.request.headers)
        bad = any("c" * 20 in value or "f" * 20 in value for _, value in exchange.request.headers)
        if sizes > 100_000 or bad:
            exchange.send(backend.plain("431 Too Large" if sizes > 100_000 else "403 Forbidden"))
            return
        exchange.send(backend.switching(exchange.request) + wire.close(1011))

    with Backend(waf) as app:
        ran = traced(app.port)
    assert not any(found["rule"] == "header-removed" for found in ran.report["findings"])
    assert "for what it says, and not for its weight" in ran.report["controls"][0]["result"]


def test_a_server_that_asks_for_a_pause_is_not_weighed_on() -> None:
    def limits(exchange: Exchange) -> None:
        slow = len(app.requests) > 5
        exchange.send(backend.plain("429 Too Many Requests") if slow else backend.switching(exchange.request))

    with Backend(limits) as app:
        ran = traced(app.port)
        assert len(app.requests) == 6
    assert [one["result"] for one in ran.report["controls"]] == [
        "not told: the server asks for a pause: it answered with 429"
    ]
