"""Controls: which further requests a trace makes, when it stops, and what it concludes from them."""

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from tests import backend, wire
from tests.backend import Backend, Exchange, Request
from tests.tracing import Document, Ran, refused, relay, rules, run, trace
from wsprobe.net.trial import broken

Answer = Callable[[Exchange], None]
TOKEN = jwt.encode({"sub": "somebody", "aud": "app"}, "a key of thirty-two octets or more", "HS256")
BEARER = ("--bearer-env", "PROBE_TOKEN")
FAILS = wire.close(1011, "Internal error")


def traced(app: Backend, *options: str, path: str = "/ws", hold: float = 0.2) -> Ran:
    ran = trace(f"ws://127.0.0.1:{app.port}{path}", *BEARER, *options, hold=hold, env={"PROBE_TOKEN": TOKEN})
    assert TOKEN not in ran.everything
    assert broken(TOKEN) not in ran.everything
    return ran


def controls(ran: Ran) -> dict[str, str]:
    return {one["name"]: one["result"] for one in ran.report["controls"]}


def finding(ran: Ran, rule: str) -> Document | None:
    return next((one for one in ran.report["findings"] if one["rule"] == rule), None)


def is_upgrade(request: Request) -> bool:
    return request.get("upgrade") is not None


def answering(upgrade: Callable[[str | None], bytes], plain: Callable[[str | None], str]) -> Answer:
    """An application that answers upgrades and plain requests by their Authorization."""

    def answer(exchange: Exchange) -> None:
        token = exchange.request.get("authorization")
        if not is_upgrade(exchange.request):
            exchange.send(backend.plain(plain(token)))
            return
        said = upgrade(token)
        exchange.send(said if said.startswith(b"HTTP/") else backend.switching(exchange.request) + said)
        for _ in exchange.frames():
            pass

    return answer


def good(token: str | None) -> bool:
    return token == f"Bearer {TOKEN}"


def status(token: str | None) -> str:
    return "200 OK" if good(token) else "401 Unauthorized"


REFUSED = backend.plain("401 Unauthorized")
INCIDENT = answering(lambda _: FAILS, status)
OPEN = b""


# The incident, from outside alone.


def test_the_incident_without_a_recorder_is_likely_an_ineffective_credential() -> None:
    with Backend(INCIDENT) as app:
        ran = traced(app, "--controls", "auth")
    found = finding(ran, "credential-ineffective")
    assert found
    assert (found["confidence"], found["header"], found["segment"]) == ("likely", "Authorization", ["client", None])
    assert ran.report["verdict"]["rule"] == "credential-ineffective"
    assert [text.split(":")[0] for text in found["untested"]] == ["possible"] * 3
    said = " ".join(found["untested"])
    assert all(word in said for word in ("removed", "consumed", "handler"))
    assert any(command.startswith("wsprobe record") for command in found["next"])
    assert "Plain HTTP takes it: 200 with it and 401 without" in found["message"]
    assert "A hint, no evidence: websockets, hypercorn and daphne" in found["fix"]


def test_without_controls_that_can_raise_an_alarm_it_is_only_possible_and_names_them() -> None:
    with Backend(INCIDENT) as app:
        ran = traced(app)
        asked = [is_upgrade(request) for request in app.requests]
        assert all(request.get("authorization") for request in app.requests if is_upgrade(request))
    found = finding(ran, "credential-ineffective")
    assert found
    assert found["confidence"] == "possible"
    assert "--controls auth" in found["next"][0]
    assert asked == [True, True, False, False]


def test_plain_http_that_does_not_ask_for_credentials_tells_nothing() -> None:
    with Backend(answering(lambda _: FAILS, lambda _: "200 OK")) as app:
        ran = traced(app)
    assert finding(ran, "credential-ineffective") is None
    assert "tells nothing" in controls(ran)["together"]
    assert any(
        skip["rule"] == "credential-ineffective" and "--controls auth" in skip["lacks"] for skip in ran.report["skips"]
    )


def test_another_path_can_be_the_one_where_plain_http_tells() -> None:
    def answer(exchange: Exchange) -> None:
        where = exchange.request.start_line.split()[1]
        inner = (
            INCIDENT
            if where == "/api/me" or is_upgrade(exchange.request)
            else answering(lambda _: FAILS, lambda _: "404")
        )
        inner(exchange)

    with Backend(answer) as app:
        ran = traced(app, "--http-control", "/api/me")
    assert controls(ran)["the same credentials over plain HTTP on /api/me"] == "200"
    found = finding(ran, "credential-ineffective")
    assert found
    assert "Plain HTTP on /api/me takes it: 200 with it and 401 without" in found["message"]


# The elimination table.


def test_where_none_differs_the_credentials_reached_whoever_answered_and_no_more_is_said() -> None:
    with Backend(answering(lambda token: FAILS if token else REFUSED, status)) as app:
        ran = traced(app, "--controls", "auth")
    assert finding(ran, "credential-ineffective") is None
    assert finding(ran, "credential-intercepted") is None
    assert "they reached whoever answered" in controls(ran)["together"]


def test_where_only_a_broken_token_differs_something_may_have_consumed_it() -> None:
    def validates(token: str | None) -> bytes:
        return FAILS if token is None or good(token) else REFUSED

    with Backend(answering(validates, status)) as app:
        ran = traced(app, "--controls", "auth")
    found = finding(ran, "credential-intercepted")
    assert found
    assert (found["confidence"], found["segment"]) == ("possible", ["client", None])
    assert "not shown to have received" in found["message"]
    assert finding(ran, "credential-ineffective") is None


def test_a_healthy_connection_is_not_asked_again() -> None:
    with Backend(answering(lambda _: OPEN, status)) as app:
        ran = traced(app)
        assert len(app.requests) == 1
    assert (ran.status, ran.report["controls"]) == (0, [])


def test_always_asks_on_a_healthy_connection_too_and_finds_nothing_wrong() -> None:
    with Backend(answering(lambda _: OPEN, status)) as app:
        ran = traced(app, "--controls", "always")
        assert len(app.requests) == 4
    assert (ran.status, ran.report["findings"]) == (0, [])


def test_never_asks_nothing() -> None:
    with Backend(INCIDENT) as app:
        traced(app, "--controls", "never")
        assert len(app.requests) == 1


def test_an_upgrade_without_credentials_that_fails_has_nothing_to_be_compared_with() -> None:
    with Backend(INCIDENT) as app:
        trace(f"ws://127.0.0.1:{app.port}/ws", hold=0.2)
        assert len(app.requests) == 1


def test_the_origin_itself_can_be_asked_past_what_stands_before_it() -> None:
    with Backend(answering(lambda _: OPEN, status)) as inner, Backend(INCIDENT) as app:
        ran = traced(app, "--bypass", f"http://127.0.0.1:{inner.port}/inner")
        assert {request.start_line for request in inner.requests} == {"GET /inner HTTP/1.1"}
    assert controls(ran)["the same upgrade straight to the origin"] == "101, and it stayed open"


# What a control is made of.


def test_controls_are_told_apart_by_the_number_in_their_id_and_change_one_thing_each() -> None:
    with Backend(INCIDENT) as app:
        ran = traced(app, "--controls", "auth", "-H", "X-Tenant: blue", path="/ws?room=1")
    ids = [(request.get("traceparent") or "").split("-")[1] for request in app.requests]
    assert len({id_[:28] for id_ in ids}) == 1, "one run"
    assert [int(id_[28:], 16) for id_ in ids] == list(range(len(ids)))
    assert ran.report["trace"]["id"] == ids[0]
    assert {request.start_line for request in app.requests} == {"GET /ws?room=1 HTTP/1.1"}
    assert {request.get("x-tenant") for request in app.requests} == {"blue"}
    tokens = [request.get("authorization") for request in app.requests]
    assert [(token is not None, good(token)) for token in tokens] == [
        (True, True),
        (True, True),
        (True, True),
        (False, False),
        (False, False),
        (True, False),
        (True, True),
    ]


def test_a_broken_token_has_the_form_and_the_length_of_the_good_one() -> None:
    changed = broken(f"Bearer {TOKEN}")
    assert len(changed) == len(TOKEN) + 7
    assert changed.rpartition(".")[0] == f"Bearer {TOKEN}".rpartition(".")[0]
    assert changed != f"Bearer {TOKEN}"
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", changed[7:])
    assert broken("opaque-secret-1") != "opaque-secret-1"


@pytest.mark.parametrize(
    ("options", "path", "left"),
    [
        (("-H", "Cookie: sid=secretsecret1"), "/ws", lambda request: request.get("cookie")),
        (("-H", "X-Api-Key: secretsecret1"), "/ws", lambda request: request.get("x-api-key")),
        ((), "/ws?token=secretsecret1&room=1", lambda request: "token=" in request.start_line or None),
        (
            ("-H", "Sec-WebSocket-Protocol: chat, bearer, abcdefgh12345678abcdefgh"),
            "/ws",
            lambda request: "abcdefgh" in (request.get("sec-websocket-protocol") or "") or None,
        ),
    ],
    ids=["cookie", "key", "query", "subprotocol"],
)
def test_credentials_are_left_out_wherever_they_stand(
    options: tuple[str, ...], path: str, left: Callable[[Request], object]
) -> None:
    with Backend(INCIDENT) as app:
        trace(f"ws://127.0.0.1:{app.port}{path}", *options, "--controls", "auth", hold=0.2)
        none = [request for request in app.requests if left(request) is None]
        assert [is_upgrade(request) for request in none] == [False, True]
        assert all("room=1" in request.start_line for request in none) or "room" not in path


def test_recorders_see_controls_as_requests_of_their_own(tmp_path: Path) -> None:
    with Backend(INCIDENT) as app, relay("edge", app.port, tmp_path / "edge.jsonl") as edge:
        ran = trace(
            f"ws://127.0.0.1:{edge}/ws",
            *BEARER,
            "--controls",
            "auth",
            "--records",
            str(tmp_path),
            hold=0.2,
            env={"PROBE_TOKEN": TOKEN},
        )
    assert [hop["name"] for hop in ran.report["trace"]["hops"]] == ["client", "edge"]
    trials = ran.report["trace"]["trials"]
    assert [[hop["name"] for hop in trial["hops"]] for trial in trials] == [["client", "edge"]] * len(trials)
    assert ran.report["trace"].get("ambiguous", []) == []


def test_a_saved_trace_is_judged_again_with_its_controls(tmp_path: Path) -> None:
    with Backend(INCIDENT) as app:
        ran = traced(app, "--controls", "auth", "-o", str(tmp_path / "out"))
    again = run("report", str(tmp_path / "out/trace.json"), "--format", "json")
    judged = [{**one, "next": None} for one in ran.report["findings"]]  # a saved trace does not know its URL
    assert [{**one, "next": None} for one in again.report["findings"]] == judged
    assert again.report["controls"] == ran.report["controls"]


# Servers that do not like to be asked.


def after(number: int, then: Answer, first: Answer = INCIDENT) -> Answer:
    """An application that answers so many requests in one way, and the later ones in another."""
    lock, seen = threading.Lock(), [0]

    def answer(exchange: Exchange) -> None:
        with lock:
            seen[0] += 1
            now = seen[0]
        (first if now <= number else then)(exchange)

    return answer


def test_a_server_that_limits_the_rate_is_left_alone() -> None:
    slow = answering(lambda _: backend.plain("429 Too Many Requests"), lambda _: "429 Too Many Requests")
    with Backend(after(2, slow)) as app:
        ran = traced(app, "--controls", "auth")
        assert len(app.requests) == 3
    assert "asks for a pause" in controls(ran)["no more controls"]
    assert finding(ran, "credential-ineffective") is None


def test_a_server_that_has_to_warm_up_makes_no_evidence() -> None:
    with Backend(after(1, answering(lambda _: OPEN, status))) as app:
        ran = traced(app, "--controls", "auth")
        assert len(app.requests) == 2
    assert "warm up" in controls(ran)["no more controls"]


def test_a_server_that_takes_one_connection_makes_no_evidence() -> None:
    with Backend(after(1, answering(lambda _: backend.plain("503 Busy"), status))) as app:
        ran = traced(app, "--controls", "auth")
    assert "one connection only" in controls(ran)["no more controls"]
    assert "credential-ineffective" not in rules(ran)


def test_a_server_that_bans_after_bad_credentials_makes_no_evidence() -> None:
    banned = answering(lambda _: backend.plain("403 Forbidden"), lambda _: "403 Forbidden")
    with Backend(after(6, banned)) as app:
        ran = traced(app, "--controls", "auth")
        assert len(app.requests) == 7
    assert "banned" in controls(ran)["no more controls"]
    assert "credential-ineffective" not in rules(ran)


def test_no_more_controls_are_made_than_allowed_and_the_others_are_named() -> None:
    with Backend(INCIDENT) as app:
        ran = traced(app, "--controls", "auth", "--max-controls", "2")
        assert len(app.requests) == 3
    said = controls(ran)["no more controls"]
    assert said.startswith("--max-controls 2 is reached; not made: plain HTTP without credentials, an upgrade without")


def test_the_plan_names_the_controls_and_makes_none() -> None:
    with Backend(INCIDENT) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/ws", "--plan", "--controls", "auth", "--http-control", "/me")
        assert app.requests == []
    assert "at most 8 controls" in ran.out
    assert "without credentials and with a broken token" in ran.out
    assert "/me" in ran.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--http-control", "me"), "is not a path"),
        (("--bypass", "ftp://x/"), "is not a bypass"),
        (("--max-controls", "many"), "is not a number"),
        (("--controls", "some"), "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_one_line(options: tuple[str, ...], says: str) -> None:
    ran = run("trace", "ws://127.0.0.1:1/", *options)
    assert ran.status == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1


# Other ways to ask.


def cookie_only(exchange: Exchange) -> None:
    """An application that looks for its token in a cookie, whatever else there is."""
    found = f"sid={TOKEN}" in (exchange.request.get("cookie") or "")
    exchange.send(backend.switching(exchange.request) + (b"" if found else FAILS))
    for _ in exchange.frames():
        pass


def test_the_token_can_be_tried_in_another_place() -> None:
    with Backend(cookie_only) as app:
        ran = traced(app, "--carrier", "cookie:sid", "--carrier", "query:access_token", "--carrier", "subprotocol")
        places = [request for request in app.requests if not good(request.get("authorization"))][1:4]
    assert controls(ran)["the token in cookie sid instead"] == "101, and it stayed open"
    assert controls(ran)["the token in query parameter access_token instead"].startswith("101, then closed with 1011")
    assert [request.get("authorization") for request in places] == [None] * 3
    assert places[1].start_line == f"GET /ws?access_token={TOKEN} HTTP/1.1"
    assert places[2].get("sec-websocket-protocol") == f"bearer, {TOKEN}"


def test_a_canary_beside_the_credential_tells_what_arrives(tmp_path: Path) -> None:
    with Backend(INCIDENT) as app, relay("edge", app.port, tmp_path / "edge.jsonl") as edge:
        ran = trace(
            f"ws://127.0.0.1:{edge}/ws", *BEARER, "--records", str(tmp_path), hold=0.2, env={"PROBE_TOKEN": TOKEN}
        )
    assert controls(ran)["the same upgrade with a canary header"].endswith("; the canary arrived at edge")


def test_a_host_without_its_port_is_tried_where_the_host_may_matter() -> None:
    def by_host(exchange: Exchange) -> None:
        known = exchange.request.get("host") == "127.0.0.1"
        exchange.send(backend.switching(exchange.request) if known else backend.plain("404 Not Found"))

    with Backend(by_host) as app:
        ran = traced(app)
    assert controls(ran)["the same upgrade with Host 127.0.0.1"].startswith("101")


def test_a_size_ladder_finds_how_large_a_head_may_be() -> None:
    def limited(exchange: Exchange) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in exchange.request.headers)
        exchange.send(backend.plain("431 Too Large") if size > 9000 else backend.switching(exchange.request) + FAILS)
        for _ in exchange.frames():
            pass

    with Backend(limited) as app:
        ran = traced(app, "--controls", "never", "--size-ladder")
        assert len(app.requests) <= 21
        own = sum(len(name) + len(value) + 4 for name, value in app.requests[0].headers)
    told = next(result for name, result in controls(ran).items() if name.startswith("how large a head may be"))
    found = re.fullmatch(r"with (\d+) octets of filler it passes, with 64 more it is refused \(431\)", told)
    assert found
    assert 9000 - 64 - 16 <= own + int(found[1]) <= 9000 + 16


def test_every_connection_gets_a_ticket_of_its_own(tmp_path: Path) -> None:
    counter = tmp_path / "n"
    counter.write_text("")
    script = tmp_path / "ticket.py"
    script.write_text(
        f"p = {str(counter)!r}\nopen(p, 'a').write('x')\nprint('ticket' + str(len(open(p).read())) * 8)\n"
    )
    command = f"{sys.executable} {script}"
    with Backend(INCIDENT) as app:
        ran = traced(app, "--ticket-cmd", command, path="/ws?ticket={ticket}")
        asked = [
            request.start_line.split("=")[-1].split()[0] for request in app.requests if "ticket=" in request.start_line
        ]
    assert asked == ["ticket" + str(number) * 8 for number in range(1, len(asked) + 1)]
    assert len(asked) == 3
    assert "ticket11111111" not in ran.everything


def test_a_ticket_that_cannot_be_had_is_one_line() -> None:
    with Backend(INCIDENT) as app:
        url = f"ws://127.0.0.1:{app.port}/ws?t={{ticket}}"
        refused(run("trace", url, "--ticket-cmd", "false"), "--ticket-cmd", "failed with status 1")
        refused(run("trace", f"ws://127.0.0.1:{app.port}/ws", "--ticket-cmd", "false"), "write {ticket} there")
        assert app.requests == []


def test_a_carrier_that_is_none_is_one_line() -> None:
    refused(run("trace", "ws://127.0.0.1:1/", "--carrier", "body:x"), "is none of cookie:NAME, query:NAME, subprotocol")
