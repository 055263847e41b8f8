"""What rules on configs make of a model, whoever read it: the intent of routes, one finding a fault, the order."""

from dataclasses import replace

import pytest

from wsprobe.inspection import ConfigFinding, Timeout, Timer
from wsprobe.lb import expressions
from wsprobe.lb.expressions import How, Text, Undecided, header, path_begins
from wsprobe.lb.model import Answer, Config, Edit, Effect, Gate, Listener, Named, Op, Route, Step, Upstream
from wsprobe.model import Line, Severity
from wsprobe.rules.config import Asked, Level, judge, survey

PATH = "lb.conf"


def line(number: int) -> Line:
    return Line(path=PATH, line=number, text=f"line {number}")


DROPS = Edit(op=Op.REMOVE, which=Named(("Upgrade",)))
ASKS = expressions.Test(header("Upgrade"), How.EQUALS, ("websocket",), ignore_case=True)


def remove(name: str, number: int, when: Undecided | expressions.Test | None = None) -> Edit:
    edit = Edit(op=Op.REMOVE, which=Named((name,)), place=line(number))
    return replace(edit, when=when) if when else edit


def route(prefix: str, number: int, *steps: Step, timeouts: tuple[Timeout, ...] = ()) -> Route:
    return Route(
        label=prefix,
        match=path_begins(prefix),
        place=line(number),
        sample=prefix,
        steps=steps,
        upstream=Upstream(protocol="http/1.1", addresses=("127.0.0.1:9000",), place=line(number + 1)),
        timeouts=timeouts,
    )


def config(*routes: Route, steps: tuple[Step, ...] = ()) -> Config:
    listener = Listener(label=":80", place=line(1), routes=routes, steps=steps)
    return Config(kind="none", path=PATH, version="1", listeners=(listener,))


def told(*routes: Route, asked: Asked | None = None, steps: tuple[Step, ...] = ()) -> list[tuple[str, Severity, int]]:
    return [(each.rule, each.severity, each.place.line) for each in found(*routes, asked=asked, steps=steps)]


def found(*routes: Route, asked: Asked | None = None, steps: tuple[Step, ...] = ()) -> list[ConfigFinding]:
    return list(judge([config(*routes, steps=steps)], asked))


@pytest.mark.parametrize(
    ("paths", "levels"),
    [
        pytest.param(["/ws", "/"], [Level.SURE, Level.NOT], id="a name that says it, and the rest"),
        pytest.param(["/"], [Level.LIKELY], id="the only route"),
        pytest.param(["/static", "/"], [Level.NOT, Level.LIKELY], id="pictures, and all the rest"),
        pytest.param(["/one", "/two"], [Level.OPEN, Level.OPEN], id="two of which nothing speaks"),
        pytest.param(["/live", "/two"], [Level.LIKELY, Level.OPEN], id="a name that may mean it"),
        pytest.param(["/socket.io/", "/news"], [Level.SURE, Level.NOT], id="a library's path"),
        pytest.param(["/newsletter", "/awsome"], [Level.OPEN, Level.OPEN], id="letters that are part of a word"),
    ],
)
def test_what_a_route_is_meant_for_is_read_from_its_name_and_its_neighbours(
    paths: list[str], levels: list[Level]
) -> None:
    routes = [route(path, 10 * number, DROPS) for number, path in enumerate(paths, 1)]
    assert [intent.level for _, intent in survey(config(*routes))] == levels


def test_what_the_user_asks_for_is_meant() -> None:
    routes = [route("/feed", 10, DROPS), route("/", 20, DROPS)]
    assert next(intent.level for _, intent in survey(config(*routes), Asked(paths=("/feed",)))) is Level.SURE


def test_an_upgrade_that_is_dropped_is_told_where_the_route_leads_on() -> None:
    assert told(route("/ws", 10, DROPS), route("/", 20, DROPS)) == [("upgrade-not-passed", Severity.ERROR, 11)]


def test_a_line_that_drops_it_is_told_itself() -> None:
    assert told(route("/ws", 10, remove("Upgrade", 15))) == [("upgrade-not-passed", Severity.ERROR, 15)]


def test_an_upgrade_that_another_route_takes_is_not_missed_here() -> None:
    socket = replace(route("/", 10), match=ASKS)
    assert told(socket, route("/", 20, DROPS)) == []


def test_an_answer_that_every_request_gets_is_no_fault_of_the_upgrade() -> None:
    refuses = Answer(
        status=403, why="not from here", when=expressions.Test(header("Origin"), How.EXISTS), place=line(15)
    )
    assert told(route("/", 10, refuses)) == []
    assert told(route("/", 10, replace(refuses, when=ASKS))) == [("upgrade-not-passed", Severity.ERROR, 15)]


def test_a_credential_that_is_removed_for_all_routes_is_one_finding() -> None:
    findings = found(*(route(f"/ws{n}/", 10 * n) for n in range(1, 6)), steps=(remove("Authorization", 2),))
    assert [(each.rule, each.place.line) for each in findings] == [("credential-removed", 2)]
    assert findings[0].message.startswith("/ws1/, /ws2/, /ws3/ and 2 more: Authorization is removed")


def test_a_condition_that_cannot_be_decided_makes_it_less_grave_and_is_said() -> None:
    when = Undecided("lua.check", "a script decides")
    findings = found(route("/ws", 10, remove("Authorization", 15, when)))
    assert [(each.rule, each.severity) for each in findings] == [("credential-removed", Severity.WARNING)]
    assert "a script decides" in findings[0].message


def test_a_route_for_something_else_may_lose_credentials() -> None:
    assert told(route("/ws", 10), route("/static", 20, remove("Authorization", 25))) == []


def test_what_an_authentication_takes_is_told_once() -> None:
    gate = Gate(
        kind="jwt_authn",
        header="Authorization",
        effect=Effect.CONSUMES,
        passes=Undecided("jwt", "a key decides"),
        place=line(15),
    )
    assert told(route("/ws", 10, gate, remove("Authorization", 15))) == [("credential-consumed", Severity.ERROR, 15)]


def idle(seconds: float, number: int | None, name: str = "idle") -> Timeout:
    return Timeout(kind=Timer.IDLE, name=name, seconds=seconds, place=line(number) if number else None)


@pytest.mark.parametrize(
    ("seconds", "ping", "severity"),
    [
        (59, None, Severity.WARNING),
        (60, None, None),
        (90, 30, None),
        (90, 120, Severity.WARNING),
        (30, 30, Severity.WARNING),
        (30, 10, Severity.NOTE),
    ],
)
def test_a_timer_is_short_below_a_minute_or_where_pings_come_later(
    seconds: float, ping: float | None, severity: Severity | None
) -> None:
    findings = told(route("/ws", 10, timeouts=(idle(seconds, 15),)), asked=Asked(ping=ping))
    assert findings == ([("short-idle-timer", severity, 15)] if severity else [])


def test_a_timer_of_a_route_of_which_nothing_speaks_is_short_only_below_every_ping() -> None:
    assert told(route("/", 10, timeouts=(idle(10, 15),))) == []
    assert told(route("/", 10, timeouts=(idle(2, 15),))) == [("short-idle-timer", Severity.WARNING, 15)]


def test_a_longer_timer_beside_a_short_one_does_not_help() -> None:
    findings = found(route("/", 10, timeouts=(idle(3600, 15, "server"), idle(30, 16, "client"))))
    assert [each.place.line for each in findings] == [16]
    assert "server is longer and does not help" in findings[0].message


def test_findings_are_in_the_order_of_the_file() -> None:
    steps = (remove("Cookie", 4), replace(remove("Authorization", 2), which=Named(("Authorization", "Origin"))))
    assert [
        number
        for _, _, number in told(
            route("/ws", 10, Edit(op=Op.SET, which=Named(("Connection",)), value=Text("close"), place=line(12)), *steps)
        )
    ] == [2, 4, 12]
