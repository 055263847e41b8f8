"""Which observations belong to one exchange, in which order their hops lie, and what is never guessed."""

from base64 import b64encode
from dataclasses import replace

import pytest

from wsprobe.join import join
from wsprobe.model import Handshake, Header, Message, Observation, Recorder

ID, OTHER = "0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"


def key(id_: str) -> Header:
    return "Sec-WebSocket-Key", b64encode(bytes.fromhex(id_)).decode()


def parent(id_: str) -> Header:
    return "traceparent", f"00-{id_}-b7ad6b7169203331-01"


def seen(  # noqa: PLR0913  the parts of an observation that joining looks at
    name: str,
    *headers: Header,
    took: float | None = 0.1,
    instance: str = "one",
    at: str = "2026-11-23T00:00:00.000000Z",
    target: str = "/ws",
    connection: str = "c",
) -> Observation:
    answered = took is not None
    return Observation(
        name=name,
        instance=instance,
        recorder=Recorder(kind="relay", version="1"),
        connection=f"{name} {connection}",
        exchange=0,
        trace=None,
        at=at,
        request=Message(start_line=f"GET {target} HTTP/1.1", headers=headers),
        response=Message(start_line="HTTP/1.1 101 Switching Protocols", headers=()) if answered else None,
        closes=(),
        ended=1.0,
        handshake=Handshake(asked=True, upgraded=answered, duration=took),
    )


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        pytest.param([key(ID)], [key(ID)], id="by the key"),
        pytest.param([parent(ID)], [parent(ID)], id="by traceparent"),
        pytest.param([key(ID), parent(OTHER)], [key(ID), parent(ID)], id="by the key where traceparent was replaced"),
        pytest.param([key(ID), parent(ID)], [key(OTHER), parent(ID)], id="by traceparent where the key was replaced"),
        pytest.param([key(ID), parent(ID)], [parent(ID)], id="by traceparent where the key is gone"),
    ],
)
def test_observations_that_share_an_id_are_one_exchange(outer: list[Header], inner: list[Header]) -> None:
    (trace,) = join([seen("edge", *outer, took=0.2), seen("app", *inner, took=0.1)])
    assert [hop.name for hop in trace.hops] == ["edge", "app"]


def test_a_query_parameter_joins_too() -> None:
    (trace,) = join([seen("edge", target=f"/ws?a=1&wsprobe={ID}", took=0.2), seen("app", target=f"/ws?wsprobe={ID}")])
    assert len(trace.hops) == 2


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(
            [("Sec-WebSocket-Key", "MDAwMDAwMDAwMDAwMDAwMA==")], id="the key that lighttpd sends for every one"
        ),
        pytest.param([("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")], id="a key of zeros"),
        pytest.param([("Sec-WebSocket-Key", "short")], id="a key that is none"),
        pytest.param([("traceparent", f"00-{'0' * 32}-b7ad6b7169203331-01")], id="a trace id of zeros"),
        pytest.param([], id="no id at all"),
    ],
)
def test_what_names_no_connection_joins_nothing(headers: list[Header]) -> None:
    assert len(join([seen("edge", *headers, took=0.2), seen("app", *headers)])) == 2


def test_the_longer_handshake_lies_further_out() -> None:
    hops = [seen("app", key(ID), took=0.1), seen("edge", key(ID), took=0.3), seen("mid", key(ID), took=0.2)]
    (trace,) = join(hops)
    assert [hop.name for hop in trace.hops] == ["edge", "mid", "app"]
    assert trace.order


def test_the_probe_is_outermost_by_construction() -> None:
    (trace,) = join([seen("edge", key(ID), took=0.3), seen("client", key(ID), took=0.1)])
    assert [hop.name for hop in trace.hops] == ["client", "edge"]


@pytest.mark.parametrize(
    ("second", "known"),
    [
        pytest.param("one", True, id="on one host the same clock measured both"),
        pytest.param("two", False, id="two hosts' clocks may run apart by more"),
    ],
)
def test_a_small_difference_counts_only_on_one_clock(second: str, known: object) -> None:
    at = "2026-11-23T00:00:00.000000Z"
    outer = seen("edge", key(ID), took=60.001, instance="one", at=at)
    (trace,) = join([outer, seen("app", key(ID), took=60.0, instance=second, at=at)])
    assert (trace.order is not None) is known


def test_equal_handshakes_on_two_hosts_leave_the_order_unknown() -> None:
    (trace,) = join([seen("edge", key(ID), instance="one"), seen("app", key(ID), instance="two")])
    assert trace.order is None
    assert {hop.name for hop in trace.hops} == {"edge", "app"}


def test_a_hop_that_was_tried_again_is_a_retry() -> None:
    first = seen("app", key(ID), took=None, connection="1", at="2026-11-23T00:00:00.100000Z")
    second = seen("app", key(ID), took=0.1, connection="2", at="2026-11-23T00:00:00.200000Z")
    (trace,) = join([seen("edge", key(ID), took=0.5), first, second])
    assert [hop.connection for hop in trace.hops] == ["edge c", "app 2"]
    assert trace.retries == (first,)


def test_what_could_belong_to_two_exchanges_is_guessed_for_neither() -> None:
    outer = [seen("edge", key(ID), took=0.5, connection=str(n), at=f"2026-11-23T00:00:0{n}.000000Z") for n in (1, 2)]
    inner = [seen("app", key(ID), took=0.1, connection=str(n), at=f"2026-11-23T00:00:0{n}.100000Z") for n in (1, 2)]
    traces = join([*outer, *inner])
    assert sorted(trace.hops[0].connection for trace in traces) == ["edge 1", "edge 2"]
    for trace in traces:
        assert len(trace.hops) == 1
        assert {hop.name for hop in trace.ambiguous} == {"app"}


def test_a_recorder_that_saw_other_traffic_only_is_silent() -> None:
    traces = join([seen("edge", key(ID)), replace(seen("app", key(OTHER)), connection="x")])
    by_name = {trace.hops[0].name: trace for trace in traces}
    assert by_name["edge"].silent == ("app",)
    assert by_name["app"].silent == ("edge",)


def test_problems_of_the_records_reach_every_trace() -> None:
    (trace,) = join([seen("edge", key(ID))], ("edge.jsonl: 1 not read",))
    assert trace.problems == ("edge.jsonl: 1 not read",)


def test_in_which_order_files_are_read_does_not_matter() -> None:
    first, second, third = (f"{number:032x}" for number in (1, 2, 3))
    one = [seen("edge", parent(first), connection="1"), seen("edge", parent(second), connection="2")]
    other = [seen("app", parent(second), took=0.05), seen("app", parent(third), at="2026-11-23T00:00:01.000000Z")]
    assert join([*one, *other]) == join([*other, *one]) == join([*reversed(one), *reversed(other)])
