"""What controls rule out: ends that credentials are not to blame for, and what works with one thing changed."""

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.pki import Authority
from tests.test_controls import (
    BEARER,
    FAILS,
    INCIDENT,
    OPEN,
    TOKEN,
    answering,
    controls,
    finding,
    good,
    is_upgrade,
    status,
    traced,
)
from tests.tracing import Ran, TlsBackend, rules, trace

ELSEWHERE = ("-H", "Origin: https://elsewhere.example.test")


def alike(answer: bytes) -> Callable[[Exchange], None]:
    """The same to every upgrade, whatever it brings; plain HTTP wants the token."""
    return answering(lambda _: answer, status)


def skipped(ran: Ran, rule: str) -> str:
    return next((skip["lacks"] for skip in ran.report["skips"] if skip["rule"] == rule), "")


# Ends that speak of no credentials.


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 301 Moved\r\nLocation: https://app.example.test/ws\r\nContent-Length: 0\r\n\r\n", "redirected"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://login.example.test/\r\nContent-Length: 0\r\n\r\n", "redirected"),
        (backend.plain("404 Not Found"), "upgrade-refused"),
        (backend.plain("502 Bad Gateway"), "upgrade-refused"),
        (backend.plain("200 OK", "<html>Welcome to our network</html>"), "upgrade-refused"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "malformed-response",
        ),
        (wire.close(1012, "restarting"), "closed-by-origin"),
        (wire.close(1013), "closed-by-origin"),
        (b"\xc1\x05hello", "broken-frames"),
    ],
    ids=["https", "login", "no-route", "no-upstream", "portal", "no-accept", "restart", "overload", "broken-frames"],
)
def test_credentials_are_not_blamed_for_what_is_alike_for_everybody(answer: bytes, verdict: str) -> None:
    with Backend(alike(answer)) as app:
        ran = traced(app, "--controls", "auth")
    assert ran.report["verdict"]["rule"] == verdict
    assert "credential-ineffective" not in rules(ran)
    assert "an end that credentials can be to blame for" in skipped(ran, "credential-ineffective")


@pytest.mark.parametrize("end", [1008, 1011, 3000, 4401, 4403])
def test_they_may_be_to_blame_where_somebody_is_refused_or_a_handler_fails(end: int) -> None:
    with Backend(alike(wire.close(end))) as app:
        ran = traced(app, "--controls", "auth")
    assert (ran.report["verdict"]["rule"], ran.report["verdict"]["confidence"]) == ("credential-ineffective", "likely")


def test_a_message_that_did_not_come_leads_and_the_credentials_stand_beside_it() -> None:
    with Backend(alike(OPEN)) as app:
        ran = traced(app, "--controls", "auth", "--expect", "ready", "--within", "0.1")
    assert rules(ran) == ["expectation-unmet", "credential-ineffective"]


def test_what_the_client_ended_itself_did_not_stay_open() -> None:
    with Backend(alike(b"\xc1\x05hello")) as app:
        ran = traced(app)
    assert controls(ran)["the same upgrade again"] == "101, then closed by client itself with 1002 (protocol error)"


# Causes that are left.


def test_credentials_that_plain_http_refuses_too_may_be_bad_themselves() -> None:
    refused = backend.plain("401 Unauthorized")
    with Backend(answering(lambda _: refused, lambda _: "401 Unauthorized")) as app:
        ran = traced(app, "--controls", "auth")
    found = finding(ran, "credential-ineffective")
    assert found
    assert "possible: the credentials themselves are not good: nothing here shows that they are" in found["untested"]
    assert not any("on upgrades only" in cause for cause in found["untested"])
    assert "--http-control PATH" in found["next"][0]


def test_a_server_that_fails_plain_http_does_not_show_that_it_takes_the_token() -> None:
    plain = answering(lambda _: FAILS, lambda token: "200 OK" if good(token) else "503 Busy")
    with Backend(plain) as app:
        ran = traced(app)
    assert "does not show" in controls(ran)["together"]
    assert "credential-ineffective" not in rules(ran)


def test_straight_to_the_application_it_fails_as_well() -> None:
    with Backend(INCIDENT) as inner, Backend(INCIDENT) as app:
        ran = traced(app, "--controls", "auth", "--bypass", f"http://127.0.0.1:{inner.port}/ws")
    found = finding(ran, "credential-ineffective")
    assert found
    assert [cause.partition(" ")[2] for cause in found["untested"]] == [
        "the application's WebSocket handler does not read it, or fails for another reason, whatever it gets"
    ]
    assert "works-otherwise" not in rules(ran)


def test_an_expired_token_is_compared_with_nothing() -> None:
    old = jwt.encode({"exp": 1_500_000_000}, "a key of thirty-two octets or more", "HS256")
    with Backend(answering(lambda _: wire.close(1011), lambda _: "401 Unauthorized")) as app:
        url = f"ws://127.0.0.1:{app.port}/ws"
        ran = trace(url, *BEARER, "--controls", "auth", env={"PROBE_TOKEN": old})
    assert rules(ran) == ["token-expired", "closed-by-origin"]
    assert "the token had expired" in skipped(ran, "credential-ineffective")


def test_what_comes_and_goes_is_to_be_asked_more_often() -> None:
    seen = iter([FAILS, OPEN])
    with Backend(answering(lambda _: next(seen), status)) as app:
        ran = traced(app)
    assert any(command.endswith("--repeat 20   # beside the options of this run") for command in ran.report["next"])
    assert not any("--controls auth" in command for command in ran.report["next"])


# One thing changed.


def same_origin(refusal: bytes) -> Callable[[Exchange], None]:
    """An application that takes pages of its own host alone; plain HTTP wants the token."""

    def answer(exchange: Exchange) -> None:
        request = exchange.request
        own = request.get("origin") == f"http://{request.get('host')}"
        answering(lambda _: OPEN if own else refusal, status)(exchange)

    return answer


@pytest.mark.parametrize("refusal", [backend.plain("403 Forbidden"), wire.close(4403), wire.close(1008)])
@pytest.mark.parametrize("mode", ["auto", "auth"])
def test_an_origin_that_is_taken_is_the_cause_and_not_the_credentials(refusal: bytes, mode: str) -> None:
    with Backend(same_origin(refusal)) as app:
        ran = traced(app, "--controls", mode, *ELSEWHERE)
        own = f"http://127.0.0.1:{app.port}"
        assert all(good(request.get("authorization")) for request in app.requests if is_upgrade(request))
    verdict = ran.report["verdict"]
    assert (verdict["rule"], verdict["confidence"], verdict["header"]) == ("works-otherwise", "likely", "Origin")
    assert f"-H 'Origin: {own}'" in verdict["next"][0]
    assert ran.report["writeup"]["chain"][-1]["leads"] == "likely"
    assert "credential-ineffective" not in rules(ran)
    assert "Origin" in skipped(ran, "credential-ineffective")


def test_an_origin_that_is_taken_once_is_none_that_is_taken() -> None:
    seen = iter([False, False, True, False, False, False])

    def flaky(exchange: Exchange) -> None:
        if is_upgrade(exchange.request):
            taken = next(seen)
            answering(lambda _: OPEN if taken else backend.plain("403 Forbidden"), status)(exchange)
        else:
            exchange.send(backend.plain("200 OK"))

    with Backend(flaky) as app:
        ran = traced(app, *ELSEWHERE, "--max-controls", "7")
    assert "works-otherwise" not in rules(ran)


def test_straight_to_the_application_it_works_and_the_way_is_the_suspect() -> None:
    with Backend(alike(OPEN)) as inner, Backend(alike(wire.close(1012))) as app:
        ran = traced(app, "--bypass", f"http://127.0.0.1:{inner.port}/ws")
    verdict = ran.report["verdict"]
    assert (verdict["rule"], verdict["confidence"], verdict["header"]) == ("works-otherwise", "likely", None)
    assert "the same application" in verdict["untested"][0]


def test_a_token_that_works_in_a_cookie_rules_out_a_handler_that_fails_whatever_it_gets() -> None:
    def cookie(exchange: Exchange) -> None:
        found = TOKEN in (exchange.request.get("cookie") or "")
        answering(lambda _: OPEN if found else FAILS, lambda _: "200 OK")(exchange)

    with Backend(cookie) as app:
        ran = traced(app, "--carrier", "cookie:sid")
    found = ran.report["verdict"]
    assert (found["rule"], found["confidence"], found["header"]) == (
        "credential-ineffective",
        "likely",
        "Authorization",
    )
    assert "whatever it gets" not in " ".join(found["untested"])
    assert "With the token in cookie sid instead the upgrade went well" in found["message"]


def test_a_403_is_asked_again_with_other_origins() -> None:
    def own_origin(exchange: Exchange) -> None:
        own = f"http://{exchange.request.get('host')}"
        allowed = exchange.request.get("origin") == own
        exchange.send(backend.switching(exchange.request) if allowed else backend.plain("403 Forbidden"))

    with Backend(own_origin) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/ws", "-H", "Origin: https://elsewhere.example.test", hold=0.1)
    own = f"the same upgrade with Origin http://127.0.0.1:{app.port}"
    assert controls(ran) == {
        "the same upgrade again": "403",
        own: controls(ran)[own],
        "the same upgrade without Origin": "403",
        "the same upgrade with Host 127.0.0.1": "403",
        f"{own}, once more": controls(ran)[f"{own}, once more"],
        "the same upgrade after these": "403",
    }
    assert controls(ran)[own].startswith("101, then ended without a close frame (eof)")


# How many, and in which order.


def test_what_was_asked_for_comes_before_what_can_be_spared(tmp_path: Path) -> None:
    with TlsBackend(INCIDENT, Authority(tmp_path).issue("127.0.0.1").server()) as app:
        url = f"wss://127.0.0.1:{app.port}/ws"
        ran = trace(url, *BEARER, "-k", "--controls", "auth", "--http-control", "/me", env={"PROBE_TOKEN": TOKEN})
    assert ran.report["verdict"]["confidence"] == "likely"
    said = controls(ran)
    assert "the same upgrade after these" in said
    assert said["no more controls"] == "--max-controls 8 is reached; not made: the same upgrade over HTTP/2"


def test_a_ban_that_was_not_looked_for_is_not_taken_for_a_filter() -> None:
    lock, number = threading.Lock(), [0]

    def bans(exchange: Exchange) -> None:
        with lock:
            number[0] += 1
            banned = number[0] > 5
        alike(backend.plain("403 Forbidden") if banned else FAILS)(exchange)

    with Backend(bans) as app:
        ran = traced(app, "--controls", "auth", "--max-controls", "5")
    assert "credential-intercepted" not in rules(ran)
    assert "together" not in controls(ran)
    assert "the same upgrade after these" in skipped(ran, "credential-intercepted")


def test_a_server_that_asks_for_a_pause_at_once_is_asked_nothing_more() -> None:
    slow = answering(lambda _: backend.plain("429 Too Many Requests"), status)
    with Backend(slow) as app:
        ran = traced(app, "--weigh", "Authorization", "--size-ladder")
        assert len(app.requests) == 1
    assert "it answered the first request with 429" in controls(ran)["no more controls"]
    assert controls(ran)["Authorization weighed on upgrades, 0 requests"].endswith("the server asks for a pause")


def test_a_broken_ticket_is_a_ticket_that_was_broken(tmp_path: Path) -> None:
    script = tmp_path / "ticket.py"
    script.write_text("import secrets\nprint('ticket-' + secrets.token_hex(8))\n")
    with Backend(INCIDENT) as app, Backend(alike(FAILS)) as inner:
        url, bypass = (f"ws://127.0.0.1:{served.port}/ws?ticket={{ticket}}" for served in (app, inner))
        command = f"{sys.executable} {script}"
        trace(url, "--controls", "auth", "--ticket-cmd", command, "--bypass", bypass.replace("ws:", "http:"))
        upgrades = [request for request in (*app.requests, *inner.requests) if is_upgrade(request)]
    sent = [request.start_line.partition("ticket=")[2].split(" ")[0] for request in upgrades if "?" in str(request)]
    assert len(sent) == len(set(sent)) == 5
    assert all(re.fullmatch(r"ticket-[0-9a-fAB]{16}", ticket) for ticket in sent), sent


def test_a_ticket_that_is_good_once_wants_a_command() -> None:
    taken = iter([FAILS])
    with Backend(answering(lambda _: next(taken, backend.plain("403 Forbidden")), status)) as app:
        ran = traced(app)
    assert "--ticket-cmd" in controls(ran)["no more controls"]


def test_a_403_that_may_be_envoys_own_does_not_put_the_credentials_first() -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nServer: envoy\r\nContent-Length: 0\r\n\r\n"
    with Backend(alike(answer)) as app:
        ran = traced(app, "--controls", "auth")
    assert rules(ran) == ["upgrade-refused", "credential-ineffective"]
