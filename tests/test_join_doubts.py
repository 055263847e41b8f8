"""Joining where ids are shared, pasted or made anew: what is told apart, and what is left out and never guessed."""

from dataclasses import replace

import pytest

from tests.observed import TRACE, asked, hop, plain
from wsprobe.join import SAMPLE_KEYS, in_path_order, join
from wsprobe.model import Trace

TOKEN = ("Authorization", "Bearer 4f0d7e2a9b61c83d5e7f0a1b2c3d4e5f")


def names(trace: Trace) -> list[str]:
    return [one.name for one in trace.hops]


def pasted(key: str) -> tuple[tuple[str, str], ...]:
    return (*asked(number=None), ("Sec-WebSocket-Key", key))


# One trace id, several requests.


def test_a_chain_of_ids_joins() -> None:
    """The edge and the middle share the key, the middle and the application the trace id."""
    middle = hop("middle", asked(trace=TRACE), took=0.02)
    [trace] = join([hop("edge", took=0.03), middle, hop("app", asked(number=7, trace=TRACE), took=0.01)])
    assert names(trace) == ["edge", "middle", "app"]


def test_connections_under_one_trace_id_are_told_apart_by_their_keys() -> None:
    edge = [hop("edge", asked(number=n, trace=TRACE), took=0.03, late=n) for n in (1, 2)]
    app = [hop("app", asked(number=n, trace=TRACE), took=0.004, late=n) for n in (2, 1)]
    traces = join([*edge, *app])
    assert [trace.hops for trace in traces] == [(edge[0], app[1]), (edge[1], app[0])]
    assert [trace.ambiguous for trace in traces] == [(), ()]


def test_an_ordinary_request_under_the_same_trace_id_is_not_taken_for_the_upgrade() -> None:
    """It came later and was answered, and it has no Authorization: a wrong accusation if it were."""
    upgrade = hop("app", asked(TOKEN, trace=TRACE), status=401, took=0.004)
    page = hop("app", plain(TRACE), status=200, took=0.004, late=9)
    [trace] = join([hop("edge", asked(TOKEN, trace=TRACE), status=401), upgrade, page])
    assert trace.hops[1] is upgrade
    assert trace.ambiguous == (page,)


def test_new_keys_of_two_connections_under_one_trace_id_are_guessed_for_neither() -> None:
    edge = [hop("edge", asked(number=n, trace=TRACE), took=0.03) for n in (1, 2)]
    app = [hop("app", asked(number=n, trace=TRACE), took=0.004) for n in (3, 4)]
    traces = join([*edge, *app])
    assert [names(trace) for trace in traces] == [["edge"], ["edge"]]
    assert all(trace.ambiguous == tuple(app) for trace in traces)


# Tries again.


def test_the_answered_try_is_judged_and_those_that_failed_are_listed() -> None:
    failed, answered = hop("app", status=None, late=0.1), hop("app", took=0.004, late=0.2)
    broken = hop("app", status=502, took=0.004, late=0.15)
    [trace] = join([hop("edge", took=0.3), failed, answered, broken])
    assert trace.hops[1] is answered
    assert trace.retries == (failed, broken)


def test_of_tries_that_all_failed_the_last_one_with_an_answer_is_judged() -> None:
    first, last = hop("app", status=None, late=0.1), hop("app", status=None, late=0.3)
    answered = hop("app", status=503, took=0.004, late=0.2)
    [trace] = join([hop("edge", status=503, took=0.4), first, answered, last])
    assert trace.hops[1] is answered
    assert trace.retries == (first, last)


def test_two_answers_to_one_key_are_no_retry_and_none_is_guessed() -> None:
    """A proxy tries again what failed, not what was answered: a key was used twice, or two recorders have one name."""
    answers = [hop("app", took=0.004, late=late) for late in (0.1, 0.2)]
    [trace] = join([hop("edge", took=0.3), *answers])
    assert names(trace) == ["edge"]
    assert trace.ambiguous == tuple(answers)


# Keys that people paste.


@pytest.mark.parametrize("key", sorted(SAMPLE_KEYS))
def test_a_pasted_key_joins_at_one_time_only(key: str) -> None:
    edge, app = hop("edge", pasted(key), took=0.03), hop("app", pasted(key), took=0.004)
    by_hand = hop("app", pasted(key), took=0.004, late=300)
    assert [names(trace) for trace in join([edge, app])] == [["edge", "app"]]
    assert [names(trace) for trace in join([edge, by_hand])] == [["edge"]]
    [trace] = join([edge, by_hand, app])
    assert trace.hops == (edge, app)
    assert [names(trace) for trace in join([edge, replace(app, at="soon")])] == [["edge"]]


def test_many_connections_under_one_pasted_key_are_each_alone() -> None:
    key = min(SAMPLE_KEYS)
    many = [hop(name, pasted(key), connection=f"{name}{n}") for name in ("edge", "app") for n in range(150)]
    traces = join(many)
    assert len(traces) == 150
    assert all(len(trace.hops) == 1 and len(trace.ambiguous) <= 10 for trace in traces)


# What was asked beside the path.


@pytest.mark.parametrize("took", [0.02, 0.002], ids=["longer than the application", "shorter"])
def test_an_authentication_service_is_no_hop_of_the_path(took: float) -> None:
    """A proxy that asks it first sends it the same ids; its 200 did not become the 101."""
    asks = hop("auth", status=200, took=took)
    [trace] = join([hop("client", took=0.04), hop("edge", took=0.03), asks, hop("app", took=0.01)])
    assert names(trace) == ["client", "edge", "app"]
    assert trace.ambiguous == (asks,)


def test_an_answer_that_would_have_changed_and_changed_back_is_beside_the_path() -> None:
    asks = hop("auth", status=200, took=0.02)
    [trace] = join([hop("client", status=403, took=0.04), asks, hop("app", status=403, took=0.01)])
    assert names(trace) == ["client", "app"]


def test_an_answer_that_was_made_further_out_stays_on_the_path() -> None:
    [trace] = join([hop("client", status=200, took=0.04), hop("edge", status=200, took=0.03), hop("app", took=0.01)])
    assert names(trace) == ["client", "edge", "app"]


def test_a_hop_that_had_its_answer_after_the_client_gave_up_stays_on_the_path() -> None:
    client, edge = hop("client", status=None), hop("edge", status=504, took=60, late=0.01)
    app = hop("app", status=None, late=0.02)
    [trace] = join([client, edge, app])
    assert (names(trace), trace.order) == (["client", "edge", "app"], None)
    one_host = [replace(one, instance="one") for one in (client, edge, app)]
    [trace] = join(one_host)
    assert (names(trace), trace.order) == (["client", "edge", "app"], "by the one clock that all recorders share")


# A gateway that answers 101 before it asks its own upstream: handshakes do not lie in each other there.


def test_a_hop_that_took_longer_than_the_client_leaves_the_order_unknown() -> None:
    assert in_path_order([hop("client", took=0.003), hop("edge", took=0.002), hop("app", took=0.05)])[1] is None


def test_a_clock_that_both_share_and_that_says_otherwise_leaves_the_order_unknown() -> None:
    hops = [hop("edge", took=0.002, late=0.0, instance="one"), hop("app", took=0.05, late=0.1, instance="one")]
    assert in_path_order(hops)[1] is None


def test_two_hops_on_one_host_that_began_at_one_time_are_told_apart_by_how_long_they_took() -> None:
    found, order = in_path_order([hop("b", took=20.0, instance="one"), hop("a", took=20.001, instance="one")])
    assert [one.name for one in found] == ["a", "b"]
    assert order == "by the time that the handshake took at each hop"
