"""Envoy's timers: which of them are in force before the 101, which after it, and which look so and are not."""

from collections.abc import Iterator
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._envoy_proto import get, seconds
from wsprobe.lb._yaml import Node

_ROUTE_TIMEOUT = 15.0
_STREAM_IDLE = 300.0
_DELAYED_CLOSE = 1.0

_ANY = "any traffic"
_WAIT = "the answer of the upstream"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a route has to know of an upstream cluster."""

    name: str
    node: Node
    protocol: str = "http/1.1"
    protocol_node: Node | None = None
    tls: bool = False
    addresses: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    options: Node | None = field(default=None, repr=False)


def timeouts(hcm: Node, action: Node | None, cluster: Cluster | None) -> tuple[Timeout, ...]:
    """All timers of a route, those that do nothing to an upgraded connection too."""
    common = get(hcm, "common_http_protocol_options")
    return (
        _idle(hcm, action),
        *_lifetime(hcm, action, cluster),
        *(one for one in answer_timeout(action) if one.place or one.name == "timeout"),
        *_handshake(hcm, action),
        *_without_effect(hcm, common, cluster),
    )


def _ends(hcm: Node) -> str:
    delay = seconds(hcm, "delayed_close_timeout")
    delay = _DELAYED_CLOSE if delay is None else delay
    client = f"the client {delay:g} s later" if delay else "the client too"
    return f"FIN to the upstream at once, to {client} (delayed_close_timeout); no close frame"


def _idle(hcm: Node, action: Node | None) -> Timeout:
    """The route's idle_timeout in place of the listener's stream_idle_timeout; zero switches it off."""
    own, outer = get(action, "idle_timeout"), get(hcm, "stream_idle_timeout")
    found = own or outer
    value = seconds(found)
    return Timeout(
        kind=Timer.IDLE,
        name="idle_timeout" if own else "stream_idle_timeout",
        seconds=_STREAM_IDLE if found is None else value or None,
        place=found.place if found else None,
        resets_on=_ANY,
        ends=f"{_ends(hcm)}; before the 101 a 408",
    )


def _lifetime(hcm: Node, action: Node | None, cluster: Cluster | None) -> Iterator[Timeout]:
    own = get(action, "max_stream_duration", "max_stream_duration")
    outer = get(hcm, "common_http_protocol_options", "max_stream_duration")
    found = own or outer
    inner = get(cluster.options, "common_http_protocol_options", "max_stream_duration") if cluster else None
    for each in (found, inner):
        if each:
            yield Timeout(
                kind=Timer.LIFETIME,
                name="max_stream_duration",
                seconds=seconds(each) or None,
                place=each.place,
                resets_on="nothing",
                ends=_ends(hcm) + "; RST to a client that still sends",
            )


def answer_timeout(action: Node | None) -> tuple[Timeout, Timeout]:
    """How long the upstream may take until it answers the upgrade: in all, and in one try.

    A max_stream_duration of the route takes the place of its timeout, also where that is written.
    """
    written, tried = get(action, "timeout"), get(action, "retry_policy", "per_try_timeout")
    replaced = get(action, "max_stream_duration") is not None
    value = None if replaced else _ROUTE_TIMEOUT if written is None else seconds(written)
    place = written.place if written else None
    total = Timeout(
        kind=Timer.HANDSHAKE,
        name="timeout",
        seconds=(seconds(written) if replaced else value) or None,
        place=place,
        resets_on="nothing",
        applies=not replaced,
        why="the max_stream_duration of the route takes its place" if replaced else "",
        ends=f"504 while Envoy waits for {_WAIT}; it does nothing after the 101",
    )
    each = Timeout(
        kind=Timer.HANDSHAKE,
        name="per_try_timeout",
        seconds=seconds(tried) or None,
        place=tried.place if tried else None,
        resets_on="nothing",
        ends="504, or another try, before the 101; it does nothing after it",
    )
    return total, each


def _handshake(hcm: Node, action: Node | None) -> Iterator[Timeout]:
    found = (
        ("per_try_idle_timeout", get(action, "retry_policy", "per_try_idle_timeout"), "504, or another try"),
        ("request_timeout", get(hcm, "request_timeout"), "408"),
        ("request_headers_timeout", get(hcm, "request_headers_timeout"), "408"),
    )
    for name, written, ends in found:
        if written and (value := seconds(written)):
            yield Timeout(
                kind=Timer.HANDSHAKE,
                name=name,
                seconds=value,
                place=written.place,
                resets_on="nothing",
                ends=f"{ends}, before the 101; it does nothing after it",
            )


_IDLE_CONNECTIONS = "it ends connections that carry no request, and an upgraded connection is a request that goes on"
_DRAINS = "it lets the connection end after its request, and an upgraded connection is a request that goes on"


def _without_effect(hcm: Node, common: Node | None, cluster: Cluster | None) -> Iterator[Timeout]:
    inner = get(cluster.options, "common_http_protocol_options") if cluster else None
    found = (
        (Timer.IDLE, "idle_timeout", get(common, "idle_timeout"), _IDLE_CONNECTIONS),
        (Timer.LIFETIME, "max_connection_duration", get(common, "max_connection_duration"), _DRAINS),
        (Timer.IDLE, "idle_timeout", get(inner, "idle_timeout"), _IDLE_CONNECTIONS),
        (Timer.LIFETIME, "max_connection_duration", get(inner, "max_connection_duration"), _DRAINS),
        (
            Timer.IDLE,
            "stream_flush_timeout",
            get(hcm, "stream_flush_timeout"),
            "it waits for a client that reads too slowly",
        ),
    )
    for kind, name, written, why in found:
        if written and (value := seconds(written)):
            yield Timeout(
                kind=kind, name=name, seconds=value, place=written.place, applies=False, why=why, resets_on=""
            )
