"""The conversation that `wsprobe trace` has, many connections at once, and what an interruption leaves."""

import itertools
import json
import os
import signal
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.tracing import SECONDS, Ran, client, command, refused, rules, run, trace

EVENTS = [{"type": "hello"}, {"type": "noise"}, {"type": "ready", "data": {"name": "inner"}}, [1], "text", None]


def says(*messages: str | bytes) -> Callable[[Exchange], None]:
    """A backend that sends these after its 101 and then echoes."""

    def answer(exchange: Exchange) -> None:
        frames = [
            wire.frame(wire.TEXT if isinstance(message, str) else wire.BINARY, _octets(message)) for message in messages
        ]
        exchange.send(backend.switching(exchange.request) + b"".join(frames))
        for opcode, payload in exchange.frames():
            exchange.send(wire.frame(wire.PONG if opcode == wire.PING else opcode, payload))

    return answer


def _octets(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def steps(ran: Ran) -> list[tuple[str, bool]]:
    return [(step["kind"], step["met"]) for step in client(ran).get("expectations", [])]


# One conversation.


def test_messages_are_sent_and_expected_in_order() -> None:
    with Backend(backend.echo) as app:
        ran = trace(
            f"ws://127.0.0.1:{app.port}/",
            *("--send", "first", "--expect", "irs", "--send", "grüß", "--expect-regex", "^gr.ß$", "--expect", "no"),
            *("--expect", "never waited for", "--within", "0.3"),
        )
    assert steps(ran) == [("expect", True), ("expect-regex", True), ("expect", False), ("expect", False)]
    times = [step.get("at") for step in client(ran)["expectations"]]
    assert times[0] < times[1]
    assert times[2:] == [None, None]
    assert (ran.status, rules(ran)) == (1, ["expectation-unmet"])
    assert "2 of 4" in ran.report["verdict"]["message"]


def test_a_message_comes_from_a_file_as_text_or_as_octets(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("grüß dich")
    (tmp_path / "octets").write_bytes(b"\xff\x00\xfe")
    with Backend(backend.echo) as app:
        ran = trace(
            f"ws://127.0.0.1:{app.port}/",
            *("--send", f"@{tmp_path / 'text'}", "--send", f"@{tmp_path / 'octets'}", "--expect", "dich"),
        )
    frames = client(ran)["frames"]
    assert (frames["client"]["text"]["bytes"], frames["client"]["binary"]["bytes"]) == (11, 3)
    passed = [(one["sender"], one["opcode"], one["bytes"]) for one in frames["first"]]
    assert passed[0] == ("client", "text", 11)
    assert [one for one in passed if one[0] == "client"][1] == ("client", "binary", 3)
    assert passed.index(("client", "text", 11)) < passed.index(("server", "text", 11))
    assert ran.status == 0


def test_messages_that_came_before_are_not_taken_twice() -> None:
    with Backend(says("one", "two")) as app:
        both = trace(f"ws://127.0.0.1:{app.port}/", "--expect", "two", "--expect", "one", "--within", "0.3")
    assert steps(both) == [("expect", True), ("expect", False)]


def test_events_arrive_in_order() -> None:
    with Backend(says(*map(json.dumps, EVENTS))) as app:
        url = f"ws://127.0.0.1:{app.port}/"
        assert trace(url, "--events", "hello, ready").status == 0
        assert steps(trace(url, "--events", "inner", "--event-field", "data.name")) == [("event", True)]
        backwards = trace(url, "--events", "ready,hello", "--within", "0.3")
    assert steps(backwards) == [("event", True), ("event", False)]
    assert rules(backwards) == ["expectation-unmet"]


def test_an_expectation_ends_with_the_connection() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(backend.switching(exchange.request) + wire.close(1000))
        list(exchange.frames())

    with Backend(answer) as app:
        began = time.monotonic()
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--expect", "x", "--send", "y", "--within", "15")
    assert time.monotonic() - began < 10
    assert steps(ran) == [("expect", False)]


def test_compressed_messages_are_understood() -> None:
    def answer(exchange: Exchange) -> None:
        head = backend.switching(exchange.request)[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        packed = zlib.compressobj(wbits=-15)
        data = packed.compress(b'{"type": "ready"}') + packed.flush(zlib.Z_SYNC_FLUSH)
        exchange.send(head + bytes([0xC1, len(data) - 4]) + data[:-4])
        list(exchange.frames())

    offers = (["--as-browser"], ["-H", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15"])
    with Backend(answer) as app:
        for offer in offers:
            ran = trace(f"ws://127.0.0.1:{app.port}/", "--events", "ready", *offer)
            assert (ran.status, steps(ran)) == (0, [("event", True)]), offer
    sent = [request.get("sec-websocket-extensions") for request in app.requests]
    assert sent == ["permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=15"]


def test_compression_that_was_not_offered_is_refused() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(backend.switching(exchange.request)[:-2] + b"Sec-WebSocket-Extensions: x-odd\r\n\r\n")

    with Backend(answer) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/")
    assert "an extension that was not offered" in ran.report["verdict"]["message"]


def test_max_time_bounds_the_whole_connection() -> None:
    with Backend(backend.echo) as app:
        began = time.monotonic()
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--max-time", "0.5", hold=60)
    assert time.monotonic() - began < SECONDS
    assert ran.status == 0
    ends = [(close["sender"], close["ending"], close["code"]) for close in client(ran)["closes"]]
    assert ends[:3] == [("local", "timeout", None), ("client", "frame", 1000), ("server", "frame", 1000)]


# Many connections.


def test_many_connections_are_told_in_numbers() -> None:
    with Backend(backend.echo) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--repeat", "12", "--concurrency", "4", hold=0.1)
        shown = run("trace", f"ws://127.0.0.1:{app.port}/", "--repeat", "2", "--hold", "0")
    assert "2 connections, 2 healthy" in shown.out
    assert "p99" in shown.out
    document = ran.report
    assert document["schema"] == "wsprobe.reports/1"
    assert (document["summary"]["connections"], document["summary"]["healthy"]) == (12, 12)
    assert set(document["summary"]["phases"]) == {"tcp", "upgrade"}
    for spread in document["summary"]["phases"].values():
        assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"]
    ids = [report["trace"]["id"] for report in document["reports"]]
    assert len({id_[:28] for id_ in ids}) == 1, "one run"
    assert sorted(int(id_[28:], 16) for id_ in ids) == list(range(12))


def test_the_success_rate_counts_those_that_failed() -> None:
    number = itertools.count()

    def every_third(exchange: Exchange) -> None:
        (backend.needs_token if next(number) % 3 == 0 else backend.echo)(exchange)

    with Backend(every_third) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/", "--repeat", "9", hold=0.1)
    assert ran.status == 1
    assert (ran.report["summary"]["connections"], ran.report["summary"]["healthy"]) == (9, 6)
    assert [bool(report.get("verdict")) for report in ran.report["reports"]] == [True] * 3 + [False] * 6


def test_no_more_than_that_many_at_a_time_and_a_second() -> None:
    lock = threading.Lock()
    now, most = 0, 0

    def answer(exchange: Exchange) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        backend.echo(exchange)
        with lock:
            now -= 1

    with Backend(answer) as app:
        url = f"ws://127.0.0.1:{app.port}/"
        trace(url, "--repeat", "6", "--concurrency", "3", hold=0.4)
        assert most == 3
        began = time.monotonic()
        trace(url, "--repeat", "4", "--rate", "10", "--concurrency", "4", hold=0)
    assert time.monotonic() - began >= 0.3, "four starts at ten a second are three tenths apart"


# The plan.


def test_the_plan_sends_nothing() -> None:
    with Backend(backend.echo) as app:
        url = f"ws://user:secret@127.0.0.1:{app.port}/?token=abcdefgh12345678"
        ran = run("trace", url, "-H", "X-One: 1", "--plan", "--repeat", "3", "--location")
        assert not app.exchanges
    assert ran.status == 0
    assert "3 upgrades to ws://" in ran.out
    assert "X-One" in ran.out
    assert "27 more, only if redirected" in ran.out
    assert "secret" not in ran.everything
    assert "abcdefgh12345678" not in ran.everything


def test_the_plan_tells_of_the_second_look_at_a_certificate() -> None:
    plan = run("trace", "wss://app.example.test/", "--plan").out
    assert "1 upgrade to wss://app.example.test/" in plan
    assert "only if its certificate is refused" in plan
    assert "certificate" not in run("trace", "wss://app.example.test/", "--plan", "-k").out


@pytest.mark.parametrize(
    ("words", "paced"),
    [
        (["ws://127.0.0.1:1/"], False),
        (["ws://localhost:1/"], False),
        (["ws://[::1]:1/"], False),
        (["ws://192.0.2.1/"], True),
        (["wss://app.example.test/"], True),
        (["ws://app.example.test:1/", "--resolve", "app.example.test:1:127.0.0.1"], False),
        (["ws://localhost:1/", "--connect-to", "localhost:1:app.example.test:1"], True),
        (["ws://localhost:1/", "-x", "http://192.0.2.1:3128"], True),
        (["ws://app.example.test/", "-x", "http://127.0.0.1:3128"], True),
    ],
)
def test_other_hosts_than_loopback_get_one_connection_a_second(words: list[str], paced: bool) -> None:  # noqa: FBT001
    plan = run("trace", *words, "--repeat", "2", "--plan").out
    assert (", 1 a second" in plan) is paced
    assert ", 5 a second" in run("trace", *words, "--repeat", "2", "--rate", "5", "--plan").out


# Interruptions.


def _interrupted(words: list[str], ready: Callable[[], bool]) -> tuple[int, str, str]:
    """Runs `wsprobe trace` as a process, sends it SIGINT once it is ready, and waits for its end."""
    with subprocess.Popen(
        command("trace", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        deadline = time.monotonic() + SECONDS
        while not ready():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def _pings(exchange: Exchange) -> None:
    """A backend that asks for a pong: once that has come, the client is watching."""
    exchange.send(backend.switching(exchange.request) + wire.frame(wire.PING, b""))
    for opcode, payload in exchange.frames():
        if opcode == wire.CLOSE:
            exchange.send(wire.frame(wire.CLOSE, payload))


def test_an_interruption_while_it_watches_leaves_a_report(tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    with Backend(_pings) as app:
        words = [f"ws://127.0.0.1:{app.port}/", "--hold", "60", "--format", "json", "-o", str(saved)]
        status, out, err = _interrupted(words, lambda: bool(app.exchanges and app.exchanges[0].received))
        assert app.exchanges[0].done.wait(SECONDS)
    hop = json.loads(out)["trace"]["hops"][0]
    assert (status, err) == (130, "")
    ends = [(close["sender"], close["ending"], close["code"]) for close in hop["closes"]]
    assert ends[:3] == [("local", "eof", None), ("client", "frame", 1000), ("server", "frame", 1000)], (
        "it takes its leave"
    )
    assert json.loads(saved.read_text())["trace"]["hops"][0]["closes"] == hop["closes"]


def test_an_interruption_before_an_answer_leaves_a_report() -> None:
    with Backend(lambda exchange: list(exchange.chunks()).clear()) as app:
        words = [f"ws://127.0.0.1:{app.port}/", "--format", "json"]
        status, out, err = _interrupted(words, lambda: bool(app.exchanges))
    assert (status, err) == (130, "")
    assert json.loads(out)["trace"]["hops"][0]["failure"]["kind"] == "interrupted"


def test_an_interruption_of_many_leaves_those_that_were_made() -> None:
    with Backend(backend.echo) as app:
        words = [
            f"ws://127.0.0.1:{app.port}/",
            *("--repeat", "500", "--rate", "20", "--hold", "0.05", "--format", "json"),
        ]
        status, out, err = _interrupted(words, lambda: len(app.exchanges) >= 5)
        made = len(app.exchanges)
    assert (status, err) == (130, "")
    assert 5 <= json.loads(out)["summary"]["connections"] <= made + 1 < 500


def test_an_interruption_while_records_are_waited_for_leaves_a_report(tmp_path: Path) -> None:
    (tmp_path / "inner.jsonl").touch()
    with Backend(backend.echo) as app:
        words = [f"ws://127.0.0.1:{app.port}/", *("--records", str(tmp_path), "--hold", "0", "--format", "json")]
        status, out, err = _interrupted(words, lambda: bool(app.exchanges) and app.exchanges[0].done.is_set())
    assert (status, err) == (130, "")
    assert json.loads(out)["trace"]["hops"][0]["closes"][0]["code"] == 1000


def test_contradictions_of_a_conversation_are_refused(tmp_path: Path) -> None:
    url = "ws://127.0.0.1:1/"
    refused(run("trace", url, "--expect-regex", "("), "--expect-regex", "unterminated")
    refused(run("trace", url, "--events", " , "), "--events")
    refused(run("trace", url, "--event-field", "a.b"), "--events")
    refused(run("trace", url, "--send", f"@{tmp_path / 'none'}"), "none", "No such file")
    for option in ("--hold", "--within", "--ping", "--rate", "--repeat", "--concurrency", "--max-time"):
        for value in ("x", "-1", "nan", "1e99"):
            refused(run("trace", url, f"{option}={value}"), option)
