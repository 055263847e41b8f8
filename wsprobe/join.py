"""Observations to traces: which belong to one exchange, and in which order their hops lie on the path.

Observations belong together when they share an id; sharing one is enough, also where a proxy replaced another. The
order is found without comparing clocks of different hosts: a handshake that took longer lies further out.
"""

from collections.abc import Iterable
from itertools import pairwise
from urllib.parse import parse_qs

from wsprobe.handshake import trace_ids
from wsprobe.heads import status
from wsprobe.model import Observation, Trace

CLIENT = "client"
"""The name of the probe's own hop: it is outermost by construction."""

DRIFT = 0.0005
"""How far the rates of two hosts' clocks may be apart; NTP slews by no more."""


def join(observations: Iterable[Observation], problems: tuple[str, ...] = ()) -> list[Trace]:
    """All traces in the observations, in the order in which their first observation came."""
    everything = list(observations)
    names = tuple(dict.fromkeys(observation.name for observation in everything))
    traces: list[Trace] = []
    for group in _groups(everything):
        silent = tuple(name for name in names if all(observation.name != name for observation in group))
        traces += _traces(group, silent, problems)
    return traces


def ids_of(observation: Observation) -> tuple[str, ...]:
    """The ids that an observation can be joined by: key, traceparent, and a `wsprobe` query parameter."""
    if observation.request is None:
        return ()
    target = observation.request.start_line.partition(" ")[2].rpartition(" ")[0]
    query = target.partition("?")[2]
    marks = parse_qs(query, max_num_fields=1000).get("wsprobe", []) if "wsprobe=" in query[:16384] else []
    good = [mark for mark in marks if len(mark) == 32 and not mark.strip("0123456789abcdef")]  # noqa: PLR2004
    return (*trace_ids(observation.request.headers), *good)


def _groups(observations: list[Observation]) -> list[list[Observation]]:
    """Observations that share an id with one another, directly or over others."""
    leader: dict[str, str] = {}

    def find(id_: str) -> str:
        while leader.setdefault(id_, id_) != id_:
            leader[id_] = leader[leader[id_]]
            id_ = leader[id_]
        return id_

    all_ids = [ids_of(observation) for observation in observations]
    for ids in all_ids:
        for other in ids[1:]:
            leader[find(other)] = find(ids[0])
    groups: dict[str, list[Observation]] = {}
    for number, (observation, ids) in enumerate(zip(observations, all_ids, strict=True)):
        groups.setdefault(find(ids[0]) if ids else f"alone {number}", []).append(observation)
    return list(groups.values())


def _traces(group: list[Observation], silent: tuple[str, ...], problems: tuple[str, ...]) -> list[Trace]:
    by_name: dict[str, list[Observation]] = {}
    for observation in group:
        by_name.setdefault(observation.name, []).append(observation)
    outermost = max(by_name, key=lambda name: (name == CLIENT, max(map(_duration, by_name[name]))))
    if len(by_name[outermost]) > 1 and len(by_name) > 1:
        return [
            _trace((one,), "one hop", silent=silent, problems=problems, ambiguous=_others(group, by_name[outermost]))
            for one in by_name[outermost]
        ]
    if len(by_name) == 1:
        return [_trace((one,), "one hop", silent=silent, problems=problems) for one in group]
    chosen = [_answered_last(tries) for tries in by_name.values()]
    retries = tuple(observation for observation in group if observation not in chosen)
    hops, order = in_path_order(chosen)
    return [_trace(hops, order, retries=retries, silent=silent, problems=problems)]


def _trace(  # noqa: PLR0913  the parts of a trace
    hops: tuple[Observation, ...],
    order: str | None,
    *,
    silent: tuple[str, ...],
    problems: tuple[str, ...],
    retries: tuple[Observation, ...] = (),
    ambiguous: tuple[Observation, ...] = (),
) -> Trace:
    id_ = next((hop.trace for hop in hops if hop.trace), None)
    return Trace(
        id=id_, hops=hops, order=order, retries=retries, ambiguous=ambiguous, silent=silent, problems=problems
    )


def _others(group: list[Observation], outermost: list[Observation]) -> tuple[Observation, ...]:
    return tuple(observation for observation in group if observation not in outermost)


def _answered_last(tries: list[Observation]) -> Observation:
    """Of several tries at one hop the one whose answer can have been passed on."""
    return max(tries, key=lambda one: (one.response is not None, _upgraded(one), one.at))


def _upgraded(observation: Observation) -> bool:
    return observation.response is not None and status(observation.response.start_line) == 101  # noqa: PLR2004


def _duration(observation: Observation) -> float:
    handshake = observation.handshake
    return handshake.duration if handshake and handshake.duration is not None else -1.0


def in_path_order(hops: list[Observation]) -> tuple[tuple[Observation, ...], str | None]:
    """The hops from the client inwards and how that is known; None where it is not."""
    client = [hop for hop in hops if hop.name == CLIENT]
    rest = sorted((hop for hop in hops if hop.name != CLIENT), key=_duration, reverse=True)
    if len(rest) <= 1:
        return (*client, *rest), "one recorder behind the client" if client and rest else "one hop"
    if all(_clearly_longer(outer, inner) for outer, inner in pairwise(rest)):
        return (*client, *rest), "by the time that the handshake took at each hop"
    if len({hop.instance for hop in rest}) == 1 and len({hop.at for hop in rest}) == len(rest):
        by_clock = sorted(rest, key=lambda hop: hop.at)
        return (*client, *by_clock), "by the one clock that all recorders share"
    return (*client, *rest), None


def _clearly_longer(outer: Observation, inner: Observation) -> bool:
    """Whether one handshake surely took longer: measured on two hosts, more than their clocks can drift apart."""
    longer, shorter = _duration(outer), _duration(inner)
    margin = 0.0 if outer.instance == inner.instance else longer * DRIFT
    return shorter >= 0 and longer - shorter > margin
