"""`wsprobe trace URL --timers`: which timer ends a connection, held against real proxies and against what is no timer."""

import dataclasses
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import backend, lab, wire
from tests.backend import Backend, Exchange
from tests.tracing import Document, Ran, command, run, trace


def talks(exchange: Exchange) -> None:
    """An application that answers pings and messages, and says nothing by itself."""
    exchange.send(backend.switching(exchange.request))
    for opcode, payload in exchange.frames():
        if opcode != wire.PONG:
            exchange.send(wire.frame(wire.PONG if opcode == wire.PING else opcode, payload))


def finding(ran: Ran, rule: str) -> Document | None:
    return next((one for one in ran.report["findings"] if one["rule"] == rule), None)


def lacks(ran: Ran, rule: str) -> str:
    return next((skip["lacks"] for skip in ran.report["skips"] if skip["rule"] == rule), "")


def times(found: Document) -> list[float]:
    """The shortest and the longest time in a message."""
    match = re.search(r"after ([\d.]+) to ([\d.]+) s", found["message"])
    assert match, found["message"]
    return [float(match[1]), float(match[2])]


def laddered(port: int, *options: str, hold: float = 8) -> Ran:
    return trace(f"ws://127.0.0.1:{port}/ws", "--timers", *options, hold=hold)


DELAY = {"envoy": 1.0}
"""Seconds after its timer that a proxy closes the client's side."""

BY_CLIENT_ALONE = {"nginx": True, "haproxy": True, "envoy": True, "apache": True, "caddy": False}


@pytest.mark.lab
@pytest.mark.parametrize("proxy", [name for name, fault in lab.CASES if fault == "idle-2s"])
def test_an_idle_timer_of_two_seconds_is_found_and_what_resets_it(proxy: str) -> None:
    with Backend(talks) as app, lab.start(proxy, app.port, "idle-2s") as port:
        ran = laddered(port)
    found = finding(ran, "idle-timeout")
    assert found, ran.report
    assert (found["confidence"], found["segment"]) == ("likely", ["client", None])
    assert all(1.8 <= seconds - DELAY.get(proxy, 0) <= 2.2 for seconds in times(found))
    alone = "bytes from the client alone reset it" in found["message"]
    assert alone is BY_CLIENT_ALONE[proxy]
    assert alone or "bytes from the client alone do not" in found["message"]
    assert ("Envoy" in found["message"]) is (proxy == "envoy")
    assert finding(ran, "lifetime-limit") is None


LIFETIMES = {
    "caddy": {"EDIT": "stream_timeout 2s"},
    "envoy": {"TIMER": "common_http_protocol_options: {max_stream_duration: 2s}"},
}


@pytest.mark.lab
@pytest.mark.parametrize("proxy", LIFETIMES)
def test_a_lifetime_of_two_seconds_is_told_from_an_idle_timer(proxy: str) -> None:
    chosen = lab.PROXIES[proxy]
    limited = dataclasses.replace(chosen, places={**chosen.places, **LIFETIMES[proxy]})
    with (
        Backend(talks) as app,
        lab.run(proxy, lambda folder, port: limited.render(folder, port, app.port, "correct")) as running,
    ):
        ran = laddered(running.port, "--send", "hello", "--ping", "0.5")
    found = finding(ran, "lifetime-limit")
    assert found, ran.report
    assert found["confidence"] == "likely"
    assert "5 of 5" in found["message"]
    assert all(1.8 <= seconds <= 2.2 + DELAY.get(proxy, 0) for seconds in times(found))
    assert finding(ran, "idle-timeout") is None


def test_a_proxy_without_a_timer_ends_nothing() -> None:
    with Backend(talks) as app:
        ran = laddered(app.port, hold=3)
    assert ran.report["findings"] == []
    assert "no silent connection was ended" in lacks(ran, "idle-timeout")
    assert len(ran.report["trace"]["trials"]) == 3


def ending(ages: Callable[[int], float]) -> Callable[[Exchange], None]:
    """An application that ends each connection at an age of its own, without a close frame."""
    numbers = iter(range(100))

    def answer(exchange: Exchange) -> None:
        exchange.send(backend.switching(exchange.request))
        time.sleep(ages(next(numbers)))

    return answer


def test_an_end_at_one_moment_is_no_timer() -> None:
    began: list[float] = []

    def left(_: int) -> float:
        began.append(time.monotonic())
        return max(0.0, began[0] + 4.5 - began[-1])

    with Backend(ending(left)) as app:
        ran = laddered(app.port)
    assert finding(ran, "lifetime-limit") is finding(ran, "idle-timeout") is None
    assert "at one moment" in lacks(ran, "lifetime-limit")


def test_ends_at_random_ages_are_no_timer() -> None:
    with Backend(ending(lambda number: [1.0, 2.5, 3.3, 0.5][number])) as app:
        ran = laddered(app.port, hold=5)
    assert finding(ran, "lifetime-limit") is finding(ran, "idle-timeout") is None
    assert "different ages" in lacks(ran, "lifetime-limit")


def test_without_a_byte_from_the_server_an_idle_timer_of_its_side_is_not_ruled_out() -> None:
    with Backend(ending(lambda _: 1.5)) as app:
        ran = laddered(app.port, hold=5)
    found = finding(ran, "lifetime-limit")
    assert found
    assert found["confidence"] == "possible"
    assert "only bytes from the server reset" in found["others"][0]


def test_pings_of_the_server_hide_longer_idle_timers_and_that_is_said() -> None:
    def pings(exchange: Exchange) -> None:
        exchange.send(backend.switching(exchange.request))
        stop = threading.Event()

        def ping() -> None:
            while not stop.wait(0.5):
                exchange.send(wire.frame(wire.PING, b"keep"))

        sender = threading.Thread(target=ping)
        sender.start()
        try:
            for _ in exchange.frames():
                pass
        finally:
            stop.set()
            sender.join()

    with Backend(pings) as app:
        ran = laddered(app.port, hold=3)
    assert re.search(r"the server sent \d+ pings on the silent connection", lacks(ran, "idle-timeout"))


def test_interrupted_it_reports_what_is_known(tmp_path: Path) -> None:
    with Backend(talks) as app:
        words = command(
            "trace", f"ws://127.0.0.1:{app.port}/ws", "--timers", "--hold", "60", "-o", str(tmp_path / "r.json")
        )
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while len(app.requests) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    ran = run("report", str(tmp_path / "r.json"), "--format", "json")
    assert len(ran.report["trace"]["trials"]) == 3
    assert "no silent connection was ended" in lacks(ran, "idle-timeout")


def test_the_plan_and_what_contradicts_itself() -> None:
    ran = run("trace", "ws://127.0.0.1:1/ws", "--timers", "--send", "x", "--plan")
    assert "5 upgrades side by side to ws://127.0.0.1:1/ws" in ran.out
    assert "watched for 330 s" in ran.out
    refused = run("trace", "ws://127.0.0.1:1/ws", "--timers", "--repeat", "2")
    assert refused.status == 2
    assert "--timers makes its own connections" in refused.err
