"""What happened to a header between two hops, and which edits a proxy may make."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observed import asked
from wsprobe.headers import Edit, Kind, Value, apply, diff, permitted, plain, same, values_of
from wsprobe.model import Header, Message, Observation, Recorder
from wsprobe.observer import Unredacted
from wsprobe.redact import redact, shared_key

SHARED = shared_key("a key that recorders share")
RANDOM = "q7Zx9Kf2Vt4Lb8RmW3sYd6Hn1Pc5"
OTHER = "W3sYd6Hn1Pc5q7Zx9Kf2Vt4Lb8Rm"


def edit(before: list[Header], after: list[Header]) -> Edit:
    (found,) = diff(plain(before), plain(after))
    return found


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        pytest.param([("A", "1")], [("A", "1")], Kind.SAME, id="the same"),
        pytest.param([("A", "1")], [("a", "1")], Kind.SAME, id="another case of the name"),
        pytest.param([("A", "x")], [("A", "X")], Kind.ALTERED, id="another case of the value"),
        pytest.param([], [("A", "1")], Kind.ADDED, id="added"),
        pytest.param([("A", "1")], [], Kind.REMOVED, id="removed"),
        pytest.param([("A", "1")], [("A", "")], Kind.ALTERED, id="emptied"),
        pytest.param([("A", "12345")], [("A", "123")], Kind.ALTERED, id="shortened"),
        pytest.param([("A", "1"), ("A", "2")], [("A", "1, 2")], Kind.MERGED, id="two lines made one"),
        pytest.param([("A", "1, 2")], [("A", "1"), ("A", "2")], Kind.MERGED, id="one line made two"),
        pytest.param([("A", "1"), ("a", "2")], [("A", "1,2")], Kind.MERGED, id="two lines made one without a space"),
        pytest.param([("A", "1"), ("A", "2")], [("A", "2, 1")], Kind.ALTERED, id="two lines made one in another order"),
        pytest.param([("A", "1"), ("A", "2")], [("A", "2"), ("A", "1")], Kind.ALTERED, id="another order of the lines"),
        pytest.param([("A", "1"), ("A", "2")], [("A", "1")], Kind.ALTERED, id="one of two lines removed"),
        pytest.param([("A", "1")], [("A", "1"), ("A", "1")], Kind.ALTERED, id="a line twice"),
    ],
)
def test_what_happened_to_a_header(before: list[Header], after: list[Header], kind: Kind) -> None:
    assert edit(before, after).kind is kind


def test_order_among_different_names_is_no_edit() -> None:
    before, after = [("A", "1"), ("B", "2")], [("b", "2"), ("a", "1")]
    assert [found.kind for found in diff(plain(before), plain(after))] == [Kind.SAME, Kind.SAME]


headers = st.lists(
    st.tuples(
        st.sampled_from(["A", "a", "B", "Cookie", "X-Long-Name"]), st.sampled_from(["", "1", "2", "1, 2", "x=1; y=2"])
    ),
    max_size=8,
)


@given(headers, headers)
def test_a_diff_applied_to_the_first_list_gives_the_second(before: list[Header], after: list[Header]) -> None:
    old, new = plain(before), plain(after)
    edits = diff(old, new)
    made = apply(old, edits)
    assert {name: values for name, (_, values) in made.items()} == {name: values for name, (_, values) in new.items()}
    assert [found.name.lower() for found in edits] == list(dict.fromkeys([*old, *new]))
    for found in edits:
        key = found.name.lower()
        assert found.before == tuple(old[key][1] if key in old else ())
        assert found.after == tuple(new[key][1] if key in new else ())
        assert (found.kind is Kind.ADDED) is (key not in old)
        assert (found.kind is Kind.REMOVED) is (key not in new)
        assert found.kind is not Kind.SAME or found.before == found.after
        assert found.kind is not Kind.UNCOMPARED


# Values that were withheld.


def seen(*headers: Header, key: bytes | None = None, number: int = 1) -> Observation:
    """An upgrade with these headers, redacted; `number` is that of its Sec-WebSocket-Key."""
    return redact(
        Unredacted(
            Observation(
                name="edge",
                instance="host",
                recorder=Recorder(kind="relay", version="0"),
                connection="c",
                exchange=0,
                trace=None,
                at="2026-01-01T00:00:00.000000Z",
                request=Message(start_line="GET / HTTP/1.1", headers=asked(*headers, number=number)),
                response=None,
                closes=(),
                ended=1.0,
            )
        ),
        key,
    )


def kind_of(name: str, before: Observation, after: Observation) -> Kind:
    edits = diff(values_of(before, "request"), values_of(after, "request"))
    return {found.name.lower(): found.kind for found in edits}[name.lower()]


def bearer(secret: str) -> Header:
    return "Authorization", f"Bearer {secret}"


def basic(password: str) -> Header:
    return "Authorization", "Basic " + base64.b64encode(f"alice:{password}".encode()).decode()


TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.q7Zx9Kf2Vt4Lb8RmW3sYd6Hn1Pc5q7Zx9Kf2Vt4Lb8R"


@pytest.mark.parametrize(
    ("before", "after", "shared", "kind"),
    [
        pytest.param([bearer(RANDOM)], [bearer(RANDOM)], False, Kind.SAME, id="equal values under one key are the same"),
        pytest.param([bearer(RANDOM)], [bearer(OTHER)], False, Kind.ALTERED, id="other values of one length are altered"),
        pytest.param([bearer(RANDOM)], [bearer(RANDOM[:-1])], False, Kind.ALTERED, id="another length is altered"),
        pytest.param([bearer(RANDOM)], [("Authorization", f"Token {RANDOM}")], False, Kind.ALTERED, id="another scheme"),
        pytest.param([bearer(TOKEN)], [bearer(TOKEN)], False, Kind.SAME, id="a whole token"),
        pytest.param([bearer(TOKEN)], [bearer(TOKEN[:-9])], False, Kind.ALTERED, id="a token that was cut"),
        pytest.param(
            [bearer("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjEyfQ.abc")], [bearer("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjEyfQa.bc")],
            False, Kind.ALTERED, id="the same length in other parts",
        ),
        pytest.param([basic("one")], [basic("one")], False, Kind.UNCOMPARED, id="what may be guessed is not compared"),
        pytest.param([basic("one")], [basic("two")], False, Kind.UNCOMPARED, id="nor where it differs"),
        pytest.param([basic("one")], [basic("three")], False, Kind.ALTERED, id="but its length is"),
        pytest.param([basic("one")], [basic("one")], True, Kind.SAME, id="with the shared key it is compared"),
        pytest.param([basic("one")], [basic("two")], True, Kind.ALTERED, id="with the shared key a difference shows"),
        pytest.param([bearer(RANDOM)], [], False, Kind.REMOVED, id="removed"),
        pytest.param([], [bearer(RANDOM)], False, Kind.ADDED, id="added"),
        pytest.param([bearer(RANDOM)], [bearer("")], False, Kind.ALTERED, id="emptied"),
        pytest.param([("Cookie", "a=1; b=2")], [("Cookie", "a=1; b=2")], False, Kind.UNCOMPARED, id="short cookies"),
        pytest.param([("Cookie", "a=1; b=2")], [("Cookie", "a=1; b=3")], True, Kind.ALTERED, id="one of two cookies"),
        pytest.param([("Cookie", "a=1; b=2")], [("Cookie", "a=1; b=2")], True, Kind.SAME, id="cookies under the shared key"),
        pytest.param([("Cookie", "a=1; b=2")], [("Cookie", "a=1; c=2")], False, Kind.ALTERED, id="another cookie's name"),
        pytest.param([("Cookie", "a=1; b=2")], [("Cookie", "a=1")], False, Kind.ALTERED, id="one of two cookies removed"),
        pytest.param(
            [("Cookie", "a=1"), ("Cookie", "b=2")], [("Cookie", "a=1; b=2")], True, Kind.MERGED,
            id="crumbs of HTTP/2 made one line",
        ),
        pytest.param(
            [("Cookie", "a=1"), ("Cookie", "b=2")], [("Cookie", "a=1; b=2")], False, Kind.UNCOMPARED,
            id="crumbs that may be guessed",
        ),
        pytest.param(
            [("Cookie", "a=1"), ("Cookie", "b=2")], [("Cookie", "a=1; b=3")], True, Kind.ALTERED,
            id="crumbs of which one was altered",
        ),
        pytest.param(
            [("Sec-WebSocket-Protocol", f"chat, bearer, {RANDOM}")], [("Sec-WebSocket-Protocol", f"chat, bearer, {RANDOM}")],
            False, Kind.SAME, id="subprotocols with a token",
        ),
        pytest.param(
            [("Sec-WebSocket-Protocol", f"chat, bearer, {RANDOM}")], [("Sec-WebSocket-Protocol", f"bearer, {RANDOM}")],
            False, Kind.ALTERED, id="a subprotocol dropped beside a token",
        ),
    ],
)  # fmt: skip
def test_withheld_values_are_compared_by_what_is_told_of_them(
    before: list[Header],
    after: list[Header],
    shared: bool,  # noqa: FBT001  a column of the table
    kind: Kind,
) -> None:
    key = SHARED if shared else None
    name = (before or after)[0][0]
    assert kind_of(name, seen(*before, key=key), seen(*after, key=key)) is kind


def test_fingerprints_of_different_keys_say_nothing() -> None:
    before, after = seen(bearer(RANDOM), number=1), seen(bearer(RANDOM), number=2)
    assert kind_of("Authorization", before, after) is Kind.UNCOMPARED
    assert kind_of("Authorization", seen(bearer(RANDOM), number=1), seen(bearer(OTHER), number=2)) is Kind.UNCOMPARED
    both = seen(bearer(RANDOM), number=1, key=SHARED), seen(bearer(RANDOM), number=2, key=SHARED)
    assert kind_of("Authorization", *both) is Kind.SAME
    mixed = seen(bearer(RANDOM), number=1, key=SHARED), seen(bearer(RANDOM), number=1)
    assert kind_of("Authorization", *mixed) is Kind.SAME


def test_what_was_withheld_without_being_told_is_not_compared() -> None:
    many = "; ".join(f"c{n}=value-{n}" for n in range(1500))
    assert kind_of("Cookie", seen(("Cookie", many)), seen(("Cookie", many))) is Kind.UNCOMPARED
    unlisted = Value("[withheld 30 characters: too many secrets to look for]")
    assert same(unlisted, unlisted) is None
    assert same(unlisted, Value("something else")) is False


# What a proxy may do.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([("Connection", "Upgrade")], [("Connection", "upgrade")], id="Connection that still names upgrade"),
        pytest.param([("Connection", "keep-alive, Upgrade")], [("Connection", "Upgrade")], id="Connection without keep-alive"),
        pytest.param([("Connection", "close")], [], id="Connection that never named upgrade"),
        pytest.param([("Keep-Alive", "timeout=5")], [], id="Keep-Alive"),
        pytest.param([("TE", "trailers")], [], id="TE"),
        pytest.param([("Via", "1.1 a")], [("Via", "1.1 a, 1.1 b")], id="Via"),
        pytest.param([("Forwarded", "for=1")], [("Forwarded", "for=2")], id="Forwarded"),
        pytest.param([], [("X-Forwarded-For", "10.0.0.1")], id="X-Forwarded-For added"),
        pytest.param([("X-Forwarded-For", "1")], [("X-Forwarded-For", "1, 2")], id="X-Forwarded-For extended"),
        pytest.param([("X-Forwarded-Proto", "https")], [], id="X-Forwarded-Proto removed"),
        pytest.param([("X-Real-IP", "1")], [("X-Real-IP", "2")], id="X-Real-IP"),
        pytest.param([], [("X-Request-Id", "1")], id="X-Request-Id added"),
        pytest.param([], [("X-Correlation-Id", "1")], id="X-Correlation-Id added"),
        pytest.param([], [("X-Amzn-Trace-Id", "Root=1")], id="X-Amzn-Trace-Id added"),
        pytest.param([("Date", "a")], [("Date", "b")], id="Date"),
        pytest.param([("Server", "a")], [("Server", "b")], id="Server"),
        pytest.param([("Host", "a")], [("Host", "b")], id="Host"),
        pytest.param([("Upgrade", "websocket")], [("Upgrade", "WebSocket")], id="the case of Upgrade"),
        pytest.param([("Sec-WebSocket-Key", "a")], [("Sec-WebSocket-Key", "b")], id="a key made anew"),
        pytest.param([("A", "1"), ("A", "2")], [("A", "1, 2")], id="lines joined"),
        pytest.param([], [("X-Anything", "1")], id="anything added"),
        pytest.param([("X-Empty", "")], [], id="an empty header removed"),
        pytest.param([("Proxy-Authorization", "Foo x")], [], id="Proxy-Authorization"),
    ],
)  # fmt: skip
def test_an_edit_that_a_proxy_may_make_says_why(before: list[Header], after: list[Header]) -> None:
    assert permitted(edit(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([("Authorization", "Bearer x")], [], id="Authorization removed"),
        pytest.param([("Authorization", "Bearer x")], [("Authorization", "Bearer y")], id="Authorization altered"),
        pytest.param([], [("Authorization", "Bearer x")], id="Authorization added"),
        pytest.param([("Cookie", "a=1")], [], id="Cookie removed"),
        pytest.param([("X-Api-Key", "a")], [], id="X-Api-Key removed"),
        pytest.param([("X-Forwarded-Access-Token", "a")], [], id="a credential whose name begins like an address"),
        pytest.param(
            [("Connection", "Upgrade")], [("Connection", "close")], id="Connection that names upgrade no more"
        ),
        pytest.param([("Connection", "Upgrade")], [], id="Connection removed"),
        pytest.param([("Upgrade", "websocket")], [], id="Upgrade removed"),
        pytest.param([("Upgrade", "websocket")], [("Upgrade", "h2c")], id="another Upgrade"),
        pytest.param([("Sec-WebSocket-Key", "a")], [], id="the key removed"),
        pytest.param([("Sec-WebSocket-Protocol", "a")], [], id="the subprotocol removed"),
        pytest.param([("Sec-WebSocket-Version", "13")], [("Sec-WebSocket-Version", "8")], id="another version"),
        pytest.param([("Origin", "https://a")], [], id="Origin removed"),
        pytest.param([("X-Tenant", "a")], [("X-Tenant", "b")], id="a header of the application altered"),
        pytest.param([("X-Tenant", "a")], [], id="a header of the application removed"),
        pytest.param([("X-Tenant", "a")], [("X-Tenant", "a")], id="no edit at all"),
    ],
)
def test_an_edit_that_a_proxy_may_not_make_has_no_excuse(before: list[Header], after: list[Header]) -> None:
    assert permitted(edit(before, after)) is None
