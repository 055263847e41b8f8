"""Values and conditions of a config over one request: what they come to, and when nobody can tell."""

import time

import pytest

from wsprobe.lb._paths import PathForm
from wsprobe.lb.evaluation import evaluate, holds, matches
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    All,
    Cased,
    Cases,
    Condition,
    Count,
    How,
    Join,
    Length,
    Lines,
    Not,
    Of,
    OneOf,
    Or,
    Piece,
    Subject,
    Substituted,
    Text,
    Undecided,
    Unsure,
    Value,
    Without,
    Written,
    both,
    has,
    header,
    path_begins,
    path_is,
)
from wsprobe.lb.expressions import Test as Is
from wsprobe.lb.request import Request
from wsprobe.lb.run import Run

REQUEST = Request(
    target="/a%20b//c/../ws?token=x%2By&empty=",
    headers=(
        ("Host", "app.example.test:8443"),
        ("X-Dup", "one, two"),
        ("x-dup", "three"),
        ("Cookie", "a=1; sid=s2"),
        ("X-Empty", ""),
    ),
    scheme="https",
    peer="127.0.0.9",
)
VIEW = Run(REQUEST)
SECRET = Undecided("$secret", "it is read from a file")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(Text("x"), "x", id="a literal"),
        pytest.param(header("x-DUP"), "one, two", id="the first line of a header, whatever its case"),
        pytest.param(header("X-Dup", Lines.LAST), "three", id="the last line"),
        pytest.param(header("X-Dup", Lines.JOINED), "one, two, three", id="all lines"),
        pytest.param(header("X-Dup", Lines.FIRST_MEMBER), "one", id="the first member"),
        pytest.param(header("X-Dup", Lines.LAST_MEMBER), "three", id="the last member"),
        pytest.param(header("X-Empty"), "", id="a header without a value is there"),
        pytest.param(header("X-None"), None, id="a header that is not there has none"),
        pytest.param(Written(Text("/a%2Fb"), PathForm.DECODED), "/a/b", id="a path decoded"),
        pytest.param(Written(Text("/a%2Fb"), PathForm.ESCAPED), "/a%2Fb", id="a path that is encoded well stays so"),
        pytest.param(Written(Text("/a|%2F"), PathForm.ESCAPED), "/a%7C/", id="a path that is not is encoded anew"),
        pytest.param(Written(Text("/a//./b/../"), PathForm.CLEAN), "/a/", id="a clean path"),
        pytest.param(Written(Text("/a///b/.."), PathForm.WITHOUT_DOTS), "/a//", id="a clean path with its slashes"),
        pytest.param(Of(Subject.VARIABLE, "none"), None, id="a variable that was not assigned"),
        pytest.param(Of(Subject.HOST), "app.example.test", id="the host has no port"),
        pytest.param(Of(Subject.AUTHORITY), "app.example.test:8443", id="the authority has"),
        pytest.param(Of(Subject.PATH), "/a b/ws", id="the path is decoded and normal"),
        pytest.param(Of(Subject.RAW_PATH), "/a%20b//c/../ws", id="the raw path is neither"),
        pytest.param(Of(Subject.QUERY), "token=x%2By&empty=", id="the query"),
        pytest.param(Of(Subject.PARAMETER, "token"), "x+y", id="a parameter is decoded"),
        pytest.param(Of(Subject.PARAMETER, "none"), None, id="a parameter that is not there"),
        pytest.param(Of(Subject.COOKIE, "sid"), "s2", id="a cookie"),
        pytest.param(Of(Subject.SCHEME), "https", id="the scheme"),
        pytest.param(Of(Subject.PEER), "127.0.0.9", id="the client's address"),
        pytest.param(Join((Text("a"), header("X-None"), Text("b"))), "ab", id="what is missing joins as nothing"),
        pytest.param(Or(header("X-Empty"), Text("else")), "else", id="empty counts as missing for Or"),
        pytest.param(Cases(((NEVER, Text("a")), (ALWAYS, Text("b")))), "b", id="the first case that holds"),
        pytest.param(Cases(((NEVER, Text("a")),), Text("c")), "c", id="the default where none holds"),
        pytest.param(Cases(((NEVER, Text("a")),)), None, id="nothing where there is no default"),
        pytest.param(Substituted(Text("Bearer x"), r"^Bearer (\w)", r"Token \1"), "Token x", id="a substitution"),
        pytest.param(Substituted(Text("aaa"), "a", "b"), "baa", id="only once"),
        pytest.param(Substituted(Text("aaa"), "A", "b", ignore_case=True, all=True), "bbb", id="everywhere"),
        pytest.param(Without(Text("/api/ws"), prefix="/api"), "/ws", id="without a prefix"),
        pytest.param(Cased(Text("Ws")), "ws", id="in lower case"),
        pytest.param(Cased(Text("Ws"), upper=True), "WS", id="in upper case"),
        pytest.param(Piece(Text("a.b..d"), ".", 2), "b", id="a part"),
        pytest.param(Piece(Text("a.b..d"), ".", -2), "", id="a part counted from the end"),
        pytest.param(Piece(Text("a.b..d"), ".", 3, skip_empty=True), "d", id="a word"),
        pytest.param(Piece(Text("a/b.c"), "./", 3), "c", id="each separator divides"),
        pytest.param(Piece(Text("a.b"), ".", 3), None, id="a part that is not there"),
        pytest.param(Count(header("X-Dup", Lines.ANY_LINE)), "2", id="how many lines"),
        pytest.param(Count(header("X-Dup", Lines.ANY_MEMBER)), "3", id="how many members"),
        pytest.param(Count(header("X-None", Lines.ANY_MEMBER)), "0", id="none"),
        pytest.param(Length(Text("ä")), "2", id="octets"),
    ],
)
def test_a_value_comes_to(value: Value, text: str | None) -> None:
    assert evaluate(value, VIEW) == text


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        Of(Subject.PEER_PORT),
        Join((Text("a"), SECRET)),
        Or(SECRET, Text("x")),
        Cases(((SECRET, Text("x")),), Text("y")),
        Substituted(SECRET, "a", "b"),
        Substituted(Text("a"), "(", "b"),
        Without(SECRET, prefix="a"),
        Cased(SECRET),
    ],
    ids=str,
)
def test_a_value_that_hangs_on_what_is_not_known_is_unsure(value: Value) -> None:
    assert isinstance(evaluate(value, VIEW), Unsure)


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        (ALWAYS, True),
        (NEVER, False),
        (has("x-empty"), True),
        (has("x-none"), False),
        (Not(has("x-none")), True),
        (path_begins("/a b"), True),
        (path_is("/a b/ws"), True),
        (Is(Of(Subject.HOST), How.EQUALS, ("other", "APP.example.test"), ignore_case=True), True),
        (Is(Of(Subject.HOST), How.EQUALS, ("APP.example.test",)), False),
        (Is(Of(Subject.HOST), How.SUFFIX, (".test",)), True),
        (Is(Of(Subject.HOST), How.CONTAINS, ("example",)), True),
        (Is(Of(Subject.HOST), How.REGEX, ("^x", r"^app\.")), True),
        (Is(header("X-None"), How.EQUALS, ("",)), False),
        (Is(header("X-Dup", Lines.ANY_MEMBER), How.EQUALS, ("two",)), True),
        (Is(header("X-Dup", Lines.ANY_LINE), How.EQUALS, ("two",)), False),
        (Is(Cased(header("X-Dup", Lines.ANY_MEMBER), upper=True), How.EQUALS, ("THREE",)), True),
        (Is(Length(Text("abc")), How.BETWEEN, ("9:", "2:3")), True),
        (Is(Length(Text("abc")), How.BETWEEN, (":2",)), False),
        (Is(Text("x"), How.BETWEEN, (":",)), False),
        (Is(Of(Subject.PEER), How.NETWORK, ("10.0.0.0/8", "127.0.0.1/8")), True),
        (Is(Of(Subject.PEER), How.NETWORK, ("::1", "nonsense")), False),
        (All((SECRET, NEVER)), False),
        (OneOf((SECRET, ALWAYS)), True),
        (both(ALWAYS, has("x-empty")), True),
        pytest.param(Is(Of(Subject.PEER), How.NETWORK, ("::1", "127.0.0.0/8")), True, id="an address in a network"),
        pytest.param(Is(Of(Subject.PEER), How.NETWORK, ("10.0.0.1/24", "x")), False, id="an address in none"),
    ],
    ids=str,
)
def test_a_condition_holds_or_not(condition: Condition, held: bool) -> None:  # noqa: FBT001  what is expected
    assert holds(condition, VIEW) is held


@pytest.mark.parametrize(
    "condition",
    [
        SECRET,
        Not(SECRET),
        All((SECRET, ALWAYS)),
        OneOf((SECRET, NEVER)),
        Is(SECRET, How.EXISTS),
        Is(Of(Subject.HOST), How.REGEX, ("(",)),
    ],
    ids=str,
)
def test_a_condition_that_hangs_on_what_is_not_known_is_unsure(condition: Condition) -> None:
    assert isinstance(holds(condition, VIEW), Unsure)


def test_all_that_holds_is_taken_over_a_part_that_is_unsure_only_where_it_decides() -> None:
    assert holds(Is(Of(Subject.HOST), How.REGEX, ("(", "app")), VIEW) is True


def test_a_pattern_that_would_run_for_ever_is_given_up() -> None:
    start = time.process_time()
    found = matches(r"^(?:a|aa)+$", "a" * 60 + "b")
    assert isinstance(found, Unsure)
    assert "too long" in found.why
    assert time.process_time() - start < 5


def test_a_pattern_of_great_length_is_not_tried() -> None:
    assert isinstance(matches("a" * 20_000, "a"), Unsure)
