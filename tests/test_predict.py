"""The interpreter: each step on a request, what is told of it, and what is kept back where nobody can know."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsprobe.inspection import Change, Prediction, Timeout, Timer
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Captured,
    Condition,
    How,
    Join,
    Of,
    Subject,
    Text,
    Undecided,
    has,
    header,
    path_begins,
)
from wsprobe.lb.expressions import Test as Is
from wsprobe.lb.model import (
    Answer,
    Assign,
    Bind,
    Config,
    Edit,
    Effect,
    Empty,
    Every,
    Gate,
    Like,
    Limit,
    Listener,
    Measure,
    Method,
    Named,
    Nominated,
    Only,
    Op,
    Opaque,
    Reroute,
    Retarget,
    Route,
    Spoil,
    Stall,
    Step,
    Upstream,
    Which,
)
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, request_for, upgrade
from wsprobe.model import Header, Line

HERE = Line(path="lb.conf", line=7, text="the line")
PERHAPS = Undecided("acl", "it asks another service")
METHOD = Of(Subject.METHOD)
VARIABLE = Of(Subject.VARIABLE, "x")
AUTH: Header = ("Authorization", "Bearer x")


def edit(op: Op, which: Which | str, value: str | None = None, **more: Any) -> Edit:  # noqa: ANN401  fields of the record
    chosen = Named((which,)) if isinstance(which, str) else which
    return Edit(op=op, which=chosen, value=None if value is None else Text(value), place=HERE, **more)


def config(*routes: Route, steps: tuple[Step, ...] = (), **more: Any) -> Config:  # noqa: ANN401
    listener = Listener(label="edge", place=HERE, routes=routes, steps=steps, **more)
    return Config(kind="test", path="lb.conf", version="1", listeners=(listener,))


def route(*steps: Step, match: Condition = ALWAYS, label: str = "/", **more: Any) -> Route:  # noqa: ANN401
    upstream = Upstream(protocol="http/1.1")
    return Route(**{"label": label, "match": match, "place": HERE, "steps": steps, "upstream": upstream, **more})


def ran(*steps: Step, headers: tuple[Header, ...] = (), **more: Any) -> Prediction:  # noqa: ANN401
    return predict(config(route(*steps, **more)), upgrade("/ws", headers=headers))


def got(prediction: Prediction, name: str) -> list[str]:
    assert prediction.request
    return [value for key, value in prediction.request.headers if key.lower() == name.lower()]


@pytest.mark.parametrize(
    ("step", "before", "after", "change"),
    [
        (edit(Op.SET, "x-a", "2"), ["1", "3"], ["2"], Change.CHANGED),
        (edit(Op.SET, "X-A", "2"), [], ["2"], Change.ADDED),
        (edit(Op.SET, "X-A", ""), ["1"], [""], Change.CHANGED),
        (edit(Op.SET, "X-A", "", drop_empty=True), ["1"], [], Change.REMOVED),
        (edit(Op.SET, "X-A"), ["1"], [], Change.REMOVED),
        (edit(Op.SET, "X-A", "1"), ["1"], ["1"], None),
        (edit(Op.ADD, "X-A", "2"), ["1"], ["1", "2"], Change.CHANGED),
        (edit(Op.ADD, "X-A"), ["1"], ["1"], None),
        (edit(Op.DEFAULT, "X-A", "2"), ["1"], ["1"], None),
        (edit(Op.DEFAULT, "X-A", "2"), [], ["2"], Change.ADDED),
        (edit(Op.APPEND, "X-A", "2"), ["0", "1"], ["0", "1, 2"], Change.CHANGED),
        (edit(Op.APPEND, "X-A", "2"), [], ["2"], Change.ADDED),
        (edit(Op.REMOVE, "x-A"), ["1", "2"], [], Change.REMOVED),
        (edit(Op.REMOVE, Like("^x-")), ["1"], [], Change.REMOVED),
        (edit(Op.REMOVE, Like("^X-", ignore_case=False)), ["1"], [], Change.REMOVED),
        (edit(Op.REMOVE, Like("^x-", ignore_case=False)), ["1"], ["1"], None),
        (edit(Op.REMOVE, Like("^x-", ignore_case=False, lowered=True)), ["1"], [], Change.REMOVED),
        (edit(Op.PRUNE, "X-A", pattern="a|b"), ["x ,  A, y,b ,z", "b", "q , r"], ["x ,y,z", "q , r"], Change.CHANGED),
        (edit(Op.PRUNE, "X-A", pattern="a|b"), ["B", " , "], [], Change.REMOVED),
        (
            edit(Op.REPLACE, "X-A", "z", pattern="^a$", members=True),
            ["a , b,a", "ab"],
            ["z, b,z", "ab"],
            Change.CHANGED,
        ),
        (edit(Op.REMOVE, Empty()), [""], [], Change.REMOVED),
        (edit(Op.REMOVE, Every(but=("Host",))), ["1"], [], Change.REMOVED),
        (
            edit(Op.REPLACE, "X-A", r"Token \1", pattern=r"^Bearer (.*)"),
            ["Bearer q", "z"],
            ["Token q", "z"],
            Change.CHANGED,
        ),
        (edit(Op.JOIN, "X-A"), ["1", "2"], ["1, 2"], Change.MERGED),
        (edit(Op.JOIN, "X-A"), ["1"], ["1"], None),
        (edit(Op.FIRST, "X-A"), ["1", "2"], ["1"], Change.CHANGED),
        (edit(Op.REMOVE, "X-A", when=NEVER), ["1"], ["1"], None),
    ],
    ids=lambda value: str(value.op) if isinstance(value, Edit) else None,
)
def test_an_edit_does_what_it_says_and_is_told_with_its_line(
    step: Edit, before: list[str], after: list[str], change: Change | None
) -> None:
    found = ran(step, headers=tuple(("X-A", value) for value in before))
    assert got(found, "x-a") == after
    told = [one for one in found.edits if one.name.lower() == "x-a"]
    assert [one.kind for one in told] == ([change] if change else [])
    assert all(one.place == HERE for one in told)


def test_a_renamed_header_keeps_its_lines() -> None:
    found = ran(edit(Op.RENAME, "Authorization", "X-Original"), headers=(AUTH, ("Authorization", "Bearer y")))
    assert (got(found, "authorization"), got(found, "x-original")) == ([], ["Bearer x", "Bearer y"])
    assert [(one.kind, one.name, one.after) for one in found.edits] == [(Change.RENAMED, "Authorization", "X-Original")]


def test_what_connection_names_is_removed_as_it_stands_at_that_moment() -> None:
    nominated = edit(Op.REMOVE, Nominated(but=("upgrade",)))
    headers = (AUTH, ("Connection", "Upgrade, authorization"))
    assert got(ran(nominated, headers=headers), "authorization") == []
    assert got(ran(edit(Op.SET, "Connection", "Upgrade"), nominated, headers=headers), "authorization") == ["Bearer x"]


@pytest.mark.parametrize(
    ("value", "told"),
    [("Upgrade", []), ("close", [(Change.CHANGED, "Upgrade", "close")])],
)
def test_what_a_proxy_takes_off_and_puts_on_again_by_default_is_one_change(
    value: str, told: list[tuple[Change, str, str]]
) -> None:
    off = Edit(op=Op.REMOVE, which=Named(("Connection",)))
    on = Edit(op=Op.SET, which=Named(("Connection",)), value=Text(value))
    found = ran(off, on)
    assert got(found, "connection") == [value]
    assert [(one.kind, one.before, one.after) for one in found.edits] == told
    by_a_line = ran(off, edit(Op.SET, "Connection", value))
    assert [one.kind for one in by_a_line.edits] == [Change.REMOVED, Change.ADDED]


def test_edits_run_in_their_order_and_those_of_the_listener_first() -> None:
    found = predict(
        config(route(edit(Op.DEFAULT, "X-A", "route")), steps=(edit(Op.SET, "X-A", "listener"),)), upgrade("/")
    )
    assert got(found, "x-a") == ["listener"]


def test_a_route_is_matched_after_the_listeners_steps() -> None:
    ws = route(match=has("x-kind"), label="ws")
    steps = (edit(Op.SET, "X-Kind", "ws"),)
    assert predict(config(ws, route(label="rest"), steps=steps), upgrade("/")).route == "ws"


# What the proxy does by itself.


@pytest.mark.parametrize("status", [401, 403, None])
def test_an_answer_of_the_proxy_ends_it(status: int | None) -> None:
    found = ran(Answer(status=status, why="denied", place=HERE), edit(Op.REMOVE, "Authorization"), headers=(AUTH,))
    assert (found.reached, found.status, found.request, found.place) == (False, status, None, HERE)
    assert found.edits == ()


def test_a_request_that_hangs_is_never_answered() -> None:
    found = ran(Stall(why="buffers"))
    assert (found.reached, found.status) == (False, None)


def test_no_route_is_the_listeners_answer() -> None:
    lonely = config(route(match=path_begins("/other")), otherwise=Answer(status=404, why="no route matches"))
    assert (predict(lonely, upgrade("/ws")).reached, predict(lonely, upgrade("/ws")).status) == (False, 404)


def test_a_gate_that_refuses_answers_and_one_that_nobody_can_tell_leaves_it_open() -> None:
    def gate(passes: Condition) -> Gate:
        return Gate(kind="basic", header="Authorization", effect=Effect.READS, passes=passes, place=HERE)

    assert ran(gate(NEVER)).status == 401
    assert ran(gate(ALWAYS)).reached is True
    perhaps = ran(gate(PERHAPS))
    assert perhaps.reached is None
    assert perhaps.request, "what the upstream gets if it passes"
    assert [one.what for one in perhaps.unknown] == ["whether basic lets the request pass"]


@pytest.mark.parametrize(
    ("measure", "most", "refused"),
    [
        (Measure.VALUE, 23, True),
        (Measure.VALUE, 24, False),
        (Measure.LINE, 42, True),
        (Measure.LINE, 43, False),
        (Measure.COUNT, 4, True),
        (Measure.COUNT, 5, False),
    ],
)
def test_a_head_above_a_limit_is_refused(measure: Measure, most: int, refused: bool) -> None:  # noqa: FBT001
    limit = Limit(name="limit", measure=measure, most=most, status=431)
    found = predict(config(route(), limits=(limit,)), upgrade("/ws"))
    assert (found.reached, found.status) == ((False, 431) if refused else (True, None))


def test_within_the_slack_of_a_limit_nobody_can_tell() -> None:
    limit = Limit(name="limit", measure=Measure.HEAD, most=180, slack=100, status=400)
    assert predict(config(route(), limits=(limit,)), upgrade("/ws")).reached is None


def test_the_method_can_be_another_one() -> None:
    prediction = ran(Method(value=Text("POST")), edit(Op.SET, "X-A", "y", when=Is(METHOD, How.EQUALS, ("POST",))))
    assert prediction.request
    assert prediction.request.start_line == "POST /ws HTTP/1.1"
    assert got(prediction, "X-A") == ["y"]


def test_a_variable_keeps_what_a_header_was_before_it_changed() -> None:
    steps = (
        Assign(name="x", value=header("X-A")),
        edit(Op.REMOVE, "X-A"),
        Edit(op=Op.SET, which=Named(("X-B",)), value=VARIABLE),
    )
    assert got(ran(*steps, headers=(("X-A", "1"),)), "X-B") == ["1"]


def test_a_variable_assigned_perhaps_is_not_known() -> None:
    steps = (
        Assign(name="x", value=Text("1"), when=PERHAPS),
        Edit(op=Op.SET, which=Named(("X-B",)), value=VARIABLE),
    )
    assert {each.what for each in ran(*steps).unknown} == {"X-B"}


def test_a_101_that_is_spoilt_reaches_the_upstream_and_not_the_client() -> None:
    prediction = ran(Spoil(status=502, why="nobody asked for it"))
    assert (prediction.reached, prediction.status) == (True, 502)
    assert prediction.request
    perhaps = ran(Spoil(status=502, why="nobody asked for it", when=PERHAPS))
    assert (perhaps.reached, perhaps.status, len(perhaps.unknown)) == (True, None, 1)


def test_the_path_of_an_absolute_target_is_what_follows_the_host() -> None:
    at = route(match=Is(Of(Subject.RAW_PATH), How.EQUALS, ("/ws",)))
    prediction = predict(config(at), upgrade("http://app.example.com/ws?a=b"))
    assert prediction.request
    assert prediction.request.start_line == "GET http://app.example.com/ws?a=b HTTP/1.1"


def test_a_target_can_be_another_one() -> None:
    found = ran(Retarget(value=Text("/inner?x=1")))
    assert found.request
    assert found.request.start_line == "GET /inner?x=1 HTTP/1.1"


@pytest.mark.parametrize(
    ("protocol", "version"),
    [("http/1.0", "HTTP/1.0"), ("http/1.1", "HTTP/1.1"), ("client", "HTTP/1.1"), ("h2", "HTTP/2"), ("h2c", "HTTP/2")],
)
def test_the_start_line_has_the_version_that_the_upstream_is_spoken_to(protocol: str, version: str) -> None:
    found = ran(upstream=Upstream(protocol=protocol))
    assert found.request
    assert found.request.start_line.endswith(version)


def test_only_timers_that_apply_are_predicted() -> None:
    applies = Timeout(kind=Timer.IDLE, name="read", seconds=60, place=None)
    looks_right = Timeout(kind=Timer.IDLE, name="other", seconds=5, place=HERE, applies=False)
    assert ran(timeouts=(applies, looks_right)).timeouts == (applies,)


# What cannot be known.


def unknown(prediction: Prediction) -> list[str]:
    return [one.what for one in prediction.unknown]


def test_a_header_under_an_undecidable_condition_is_in_neither_headers_nor_edits() -> None:
    found = ran(edit(Op.REMOVE, "Authorization", when=PERHAPS), headers=(AUTH,))
    assert (found.reached, got(found, "authorization"), found.edits) == (True, [], ())
    assert [(one.what, one.why, one.place) for one in found.unknown] == [("Authorization", PERHAPS.why, HERE)]


def test_what_is_set_or_removed_for_sure_afterwards_is_known_again() -> None:
    doubt = edit(Op.SET, "X-A", "1", when=PERHAPS)
    assert unknown(ran(doubt, edit(Op.SET, "X-A", "2"))) == []
    assert got(ran(doubt, edit(Op.SET, "X-A", "2")), "x-a") == ["2"]
    assert unknown(ran(doubt, edit(Op.REMOVE, "X-A"))) == []
    assert unknown(ran(doubt, edit(Op.ADD, "X-A", "2"))) == ["X-A"]


def test_what_is_made_of_something_unknown_is_unknown() -> None:
    copied = Edit(op=Op.SET, which=Named(("X-Copy",)), value=header("X-A"), place=HERE)
    assert unknown(ran(edit(Op.SET, "X-A", "1", when=PERHAPS), copied)) == ["X-A", "X-Copy"]


def test_behind_a_script_only_what_is_set_afterwards_is_known() -> None:
    found = ran(Opaque(why="Lua", place=HERE), edit(Op.SET, "X-A", "1"), headers=(AUTH,))
    assert found.request
    assert found.request.headers == (("X-A", "1"),)
    assert unknown(found) == ["any header"]


def test_a_script_that_can_change_named_headers_leaves_the_others_known() -> None:
    found = ran(Opaque(why="JWT", names=("Authorization",)), headers=(AUTH, ("X-B", "1")))
    assert (got(found, "authorization"), got(found, "x-b"), unknown(found)) == ([], ["1"], ["Authorization"])


def test_a_route_that_may_or_may_not_match_leaves_all_open() -> None:
    found = predict(config(route(match=PERHAPS, label="maybe"), route()), upgrade("/ws"))
    assert (found.reached, found.request, unknown(found)) == (None, None, ["whether maybe takes the request"])


def test_an_answer_under_an_undecidable_condition_leaves_it_open_whether_the_upstream_is_reached() -> None:
    found = ran(Answer(status=403, why="deny", when=PERHAPS, place=HERE), headers=(AUTH,))
    assert (found.reached, got(found, "authorization")) == (None, ["Bearer x"])
    assert unknown(found) == ["whether the proxy answers 403"]


def test_a_target_that_is_not_known_is_said() -> None:
    found = ran(Retarget(value=PERHAPS))
    assert unknown(found) == ["the request target"]


# Which listener.


def test_a_request_comes_by_the_scheme_and_port_of_its_only_listener() -> None:
    told = Edit(op=Op.SET, which=Named(("X",)), value=Join((Of(Subject.SCHEME), Text(":"), Of(Subject.LOCAL_PORT))))
    route = Route(label="/", place=HERE, steps=(told,), upstream=Upstream(protocol="http/1.1"))
    for binds, values in (
        ((Bind(port=443, tls=True),), ["https:443"]),
        ((Bind(port=80), Bind(port=443, tls=True)), []),
    ):
        listener = Listener(label="x", place=HERE, binds=binds, routes=(route,))
        found = predict(Config(kind="x", path="x", version="1", listeners=(listener,)), upgrade("/"))
        assert found.request
        assert [value for name, value in found.request.headers if name == "X"] == values


def test_the_port_and_scheme_of_the_url_choose_the_listener() -> None:
    def listener(port: int, *, tls: bool, label: str) -> Listener:
        return Listener(label=label, place=HERE, binds=(Bind(port=port, tls=tls),), routes=(route(label=label),))

    both_ = Config(
        kind="test",
        path="lb.conf",
        version="1",
        listeners=(listener(80, tls=False, label="plain"), listener(443, tls=True, label="tls")),
    )
    assert predict(both_, request_for("ws://app/ws", ())).route == "plain"
    assert predict(both_, request_for("wss://app/ws", ())).route == "tls"
    assert predict(both_, request_for("/ws", ())).route == "plain"
    assert unknown(predict(both_, request_for("ws://app:81/ws", ()))) == ["the listener"]


def test_of_listeners_that_could_take_a_path_the_first_that_leads_on_does() -> None:
    redirect = Listener(label="80", place=HERE, routes=(route(Answer(status=301, why="redirect"), label="redirect"),))
    real = Listener(label="443", place=HERE, routes=(route(label="app"),))
    both_ = Config(kind="test", path="lb.conf", version="1", listeners=(redirect, real))
    found = predict(both_, upgrade("/ws"))
    assert found.route == "app"
    assert found.assumed == ("test 1", "the client connects to 443: 2 listeners could take the request")


def test_a_request_for_a_url_has_its_host_and_the_users_headers_in_place_of_its_own() -> None:
    made = request_for("wss://app.example.test:8443/ws?x=1", (("Host", "other"), AUTH))
    assert (made.target, made.scheme, made.port) == ("/ws?x=1", "https", 8443)
    assert [value for name, value in made.headers if name == "Host"] == ["other"]
    assert AUTH in made.headers


# Properties.

NAMES = st.sampled_from(["X-A", "x-a", "X-B", "Authorization", "Connection", "Host", "X_C"])
TEXTS = st.sampled_from(["", "1", "Bearer x", "Upgrade, X-A", "close"])
CONDITIONS = st.sampled_from([ALWAYS, NEVER, PERHAPS, has("x-a"), has("authorization")])
WHICH = st.one_of(
    NAMES.map(lambda name: Named((name,))),
    st.just(Nominated()),
    st.just(Empty()),
    st.just(Every()),
    st.just(Like("^x")),
)
EDITS = st.builds(
    Edit,
    op=st.sampled_from(list(Op)),
    which=WHICH,
    value=st.one_of(st.none(), TEXTS.map(Text), st.just(PERHAPS), NAMES.map(header)),
    pattern=st.sampled_from(["", "e", "^(.)"]),
    drop_empty=st.booleans(),
    when=CONDITIONS,
    place=st.just(HERE),
)
STEPS = st.lists(
    st.one_of(
        EDITS, st.just(Opaque(why="Lua")), st.builds(Answer, status=st.just(403), why=st.just("no"), when=CONDITIONS)
    ),
    max_size=6,
)
HEADERS = st.lists(st.tuples(NAMES, TEXTS), max_size=6).map(tuple)


@given(STEPS, HEADERS)
def test_nothing_that_is_unknown_stands_in_the_headers(steps: list[Step], headers: tuple[Header, ...]) -> None:
    found = predict(config(route(*steps)), Request(headers=headers))
    open_ = {one.what.lower() for one in found.unknown}
    if found.request:
        assert not open_ & {name.lower() for name, _ in found.request.headers}
    assert (found.request is None) or found.reached is not False


@given(STEPS, HEADERS)
def test_a_prediction_depends_on_its_inputs_alone(steps: list[Step], headers: tuple[Header, ...]) -> None:
    one = config(route(*steps))
    assert predict(one, Request(headers=headers)) == predict(one, Request(headers=headers))


@given(HEADERS)
def test_without_a_step_every_header_arrives(headers: tuple[Header, ...]) -> None:
    found = predict(config(route()), Request(headers=headers))
    assert found.request
    assert (found.request.headers, found.edits) == (headers, ())


def test_a_route_may_be_left_to_the_next_one_after_its_steps_as_if_none_of_them_had_been() -> None:
    strip = edit(Op.REMOVE, "Authorization")
    first = route(strip, Retarget(value=Text("/b"), place=HERE), Only(when=path_begins("/a")), label="first")
    second = route(label="second")
    found = predict(config(first, second), upgrade("/a", headers=(AUTH,)))
    assert found.route == "second"
    assert found.request is not None
    assert AUTH in found.request.headers
    assert not found.edits


def test_whether_a_route_is_left_may_be_unknown() -> None:
    found = predict(config(route(Only(when=PERHAPS), label="first"), route()), upgrade("/a"))
    assert found.reached is None
    assert [each.what for each in found.unknown] == ["whether first takes the request"]


def test_a_variable_has_the_value_that_was_assigned_last() -> None:
    flag = Is(Of(Subject.VARIABLE, "flag"), How.EQUALS, ("1",))
    found = ran(
        edit(Op.SET, "X-Before", "1", when=flag),
        Assign(name="flag", value=Text("1"), when=has("Authorization")),
        edit(Op.REMOVE, "Authorization"),
        edit(Op.SET, "X-After", "1", when=flag),
        headers=(AUTH,),
    )
    assert found.request is not None
    assert {name for name, _ in found.request.headers} & {"X-Before", "X-After"} == {"X-After"}


def test_a_method_may_change_or_be_unknown() -> None:
    changed, unsure = ran(Method(value=Text("POST"))), ran(Method(value=PERHAPS))
    assert changed.request is not None
    assert changed.request.start_line == "POST /ws HTTP/1.1"
    assert [each.what for each in unsure.unknown] == ["the method"]


def test_a_route_that_is_chosen_anew_gets_the_request_as_it_stands() -> None:
    moved = Route(
        label="/old",
        match=path_begins("/old"),
        place=HERE,
        steps=(Retarget(value=Join((Text("/new/"), Captured(Of(Subject.PATH), "^/old/(.*)", "1")))), Reroute()),
    )
    named = Route(
        label="@named", name="@named", match=NEVER, place=HERE, upstream=Upstream(protocol="http/1.1", addresses=("a",))
    )
    there = Route(label="/new", match=path_begins("/new"), place=HERE, steps=(Reroute(to="@named"),))
    config = Config(
        kind="x", path="x.conf", version="1", listeners=(Listener(label="x", place=HERE, routes=(moved, there, named)),)
    )
    found = predict(config, upgrade("/old/a"))
    assert found.route == "@named"
    assert found.request
    assert found.request.start_line == "GET /new/a HTTP/1.1"


def test_a_request_that_is_routed_anew_without_end_is_an_error_of_the_proxy() -> None:
    loop = Route(label="/", place=HERE, steps=(Reroute(),))
    config = Config(kind="x", path="x.conf", version="1", listeners=(Listener(label="x", place=HERE, routes=(loop,)),))
    found = predict(config, upgrade("/"))
    assert (found.reached, found.status) == (False, 500)
