"""Observations to traces: which belong to one exchange, and in which order their hops lie on the path.

Observations belong together when they share an id; sharing one is enough, also where a proxy replaced another. The
order is found without comparing clocks of different hosts: a handshake that took longer lies further out.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain, islice, pairwise
from urllib.parse import parse_qs

from wsprobe.handshake import trace_ids
from wsprobe.heads import status, values
from wsprobe.model import Observation, Trace

CLIENT = "client"
"""The name of the probe's own hop: it is outermost by construction."""

DRIFT = 0.0005
"""How far the rates of two hosts' clocks may be apart; NTP slews by no more."""

SAMPLE_KEYS = frozenset({"dGhlIHNhbXBsZSBub25jZQ==", "x3JJHMbDL1EzLkh9GBhXDw=="})
"""Keys of RFC 6455 and of recipes for curl, which people paste: they name one connection only at one time."""

_MAX_TOLD, _MAX_PASTED = 10, 100
_AT_ONE_TIME = 10.0
_SAME_CLOCK = 0.005


def join(observations: Iterable[Observation], problems: tuple[str, ...] = ()) -> list[Trace]:
    """All traces in the observations, in the order of the times that their recorders wrote.

    So it does not matter which file was read first: the same records give the same report.
    """
    everything = sorted(observations, key=lambda seen: (seen.at, seen.name, seen.connection, seen.exchange))
    names = tuple(dict.fromkeys(observation.name for observation in everything))
    traces: list[Trace] = []
    for group in _groups(everything):
        by_name: dict[str, list[Observation]] = {}
        for observation in group:
            by_name.setdefault(observation.name, []).append(observation)
        silent = tuple(name for name in names if name not in by_name)
        traces += _traces(by_name, silent, problems)
    return traces


def ids_of(observation: Observation) -> tuple[str, ...]:
    """The ids that an observation can be joined by: key, traceparent, and a `wsprobe` query parameter."""
    if observation.request is None:
        return ()
    target = observation.request.start_line.partition(" ")[2].rpartition(" ")[0]
    query = target.partition("?")[2]
    marks = parse_qs(query, max_num_fields=1000).get("wsprobe", []) if "wsprobe=" in query[:16384] else []
    good = [mark for mark in marks if len(mark) == 32 and not mark.strip("0123456789abcdef")]
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


def _traces(by_name: dict[str, list[Observation]], silent: tuple[str, ...], problems: tuple[str, ...]) -> list[Trace]:
    """One trace for each observation at the outermost hop, with what surely belongs to it at the others."""
    outermost = max(by_name, key=lambda name: (name == CLIENT, max(map(_duration, by_name[name]))))
    firsts = by_name.pop(outermost)
    keys = {_key(first) for first in firsts} - {None}
    inside = [_Tries(tries, keys) for tries in by_name.values()]
    traces = []
    for first in firsts:
        chosen, retries, aside = [first], [], []
        for tries in inside:
            one, again, others = tries.of(first, alone=len(firsts) == 1)
            chosen += one
            retries += again
            aside += others
        hops, order = in_path_order(chosen)
        if order:
            hops, off = _on_path(hops)
            aside += off
        traces.append(
            Trace(
                id=next((hop.trace for hop in hops if hop.trace), None),
                hops=hops,
                order=order,
                retries=tuple(retries),
                ambiguous=tuple(aside),
                silent=silent,
                problems=problems,
            )
        )
    return traces


Split = tuple[list[Observation], list[Observation], list[Observation]]


class _Tries:
    """What one hop saw under the ids of a group. `keys` are those of the connections at the outermost hop."""

    def __init__(self, tries: list[Observation], keys: set[str | None]) -> None:
        self._by_key: dict[str | None, list[Observation]] = {}
        for one in tries:
            self._by_key.setdefault(_key(one), []).append(one)
        self._strangers = [ours for key, ours in self._by_key.items() if key not in keys]
        self._told = list(islice(chain.from_iterable(self._strangers), _MAX_TOLD))

    def of(self, first: Observation, *, alone: bool) -> Split:
        """What belongs to the exchange that `first` saw, what was a failed try of it, and what may belong to it.

        The key of the connection decides. A trace id that many requests share decides only where it leaves no choice.
        """
        ours, others = self._with_key_of(first), self._told
        if not ours and alone and len(self._strangers) == 1:  # the key was made anew on the way, or lost
            ours, others = self._strangers[0], []
        chosen = _last_try(ours)
        if not chosen:
            return [], [], [*ours[:_MAX_TOLD], *others]
        return chosen, [one for one in ours if one is not chosen[0]], others

    def _with_key_of(self, first: Observation) -> list[Observation]:
        key = _key(first)
        ours = self._by_key.get(key, []) if key else []
        if key not in SAMPLE_KEYS:
            return ours
        return [one for one in ours if _at_one_time(first, one)] if len(ours) <= _MAX_PASTED else []


def _last_try(tries: list[Observation]) -> list[Observation]:
    """Of several tries the one whose answer can have been passed on; none where they cannot all be tries of one.

    A proxy tries again what failed, never what was answered.
    """
    answered = [one for one in tries if _usable(_status(one))]
    if len(answered) > 1 or not tries:
        return []
    return answered or [max(tries, key=lambda one: (one.response is not None, one.at))]


def _usable(code: int | None) -> bool:
    return code is not None and code < 500


def _key(observation: Observation) -> str | None:
    found = values(observation.request.headers, "sec-websocket-key") if observation.request else []
    return found[0] if found else None


def _at_one_time(first: Observation, other: Observation) -> bool:
    """Whether two observations whose key somebody pasted can be of one connection."""
    try:
        apart = datetime.fromisoformat(other.at) - datetime.fromisoformat(first.at)
    except (ValueError, TypeError):  # not a time, or only one of them in UTC
        return False
    return abs(apart.total_seconds()) <= _AT_ONE_TIME


def _status(observation: Observation) -> int | None:
    return status(observation.response.start_line) if observation.response else None


def _duration(observation: Observation) -> float:
    handshake = observation.handshake
    return handshake.duration if handshake and handshake.duration is not None else -1.0


def _on_path(hops: tuple[Observation, ...]) -> tuple[tuple[Observation, ...], list[Observation]]:
    """The hops that the answer can have come through, and those that were asked beside the path.

    A proxy that asks an authentication service first sends it the same ids. An answer does not change on its way out
    and change back, and no 2xx becomes a 101.
    """
    codes = [_status(hop) for hop in hops]
    if codes[0] is None:  # who got no answer does not tell which ones passed on one
        return hops, []
    last = max(index for index, code in enumerate(codes) if code == codes[0])
    side = [
        hop
        for index, (hop, code) in enumerate(zip(hops, codes, strict=True))
        if code != codes[0] and (index < last or (codes[0] == 101 and code is not None and 200 <= code < 300))
    ]
    return tuple(hop for hop in hops if all(hop is not other for other in side)), side


def in_path_order(hops: Sequence[Observation]) -> tuple[tuple[Observation, ...], str | None]:
    """The hops from the client inwards and how that is known; None where it is not."""
    client = [hop for hop in hops if hop.name == CLIENT]
    rest = sorted((hop for hop in hops if hop.name != CLIENT), key=_duration, reverse=True)
    if len(rest) <= 1:
        return (*client, *rest), "one recorder behind the client" if client and rest else "one hop"
    if all(_clearly_longer(outer, inner) for outer, inner in pairwise(rest)):
        return (*client, *rest), "by the time that the handshake took at each hop" if _nested(client, rest) else None
    if len({hop.instance for hop in rest}) == 1 and len({hop.at for hop in rest}) == len(rest):
        by_clock = sorted(rest, key=lambda hop: hop.at)
        if not any(_clearly_longer(inner, outer) for outer, inner in pairwise(by_clock)):
            return (*client, *by_clock), "by the one clock that all recorders share"
    return (*client, *rest), None


def _clearly_longer(outer: Observation, inner: Observation) -> bool:
    """Whether one handshake surely took longer: measured on two hosts, more than their clocks can drift apart."""
    longer, shorter = _duration(outer), _duration(inner)
    margin = 0.0 if outer.instance == inner.instance else longer * DRIFT
    return shorter >= 0 and longer - shorter > margin


def _nested(client: list[Observation], rest: list[Observation]) -> bool:
    """Whether each handshake can lie within the one further out.

    It does not behind a gateway that answers 101 before it asks its own upstream: there the inner one takes longer.
    """
    if client and _duration(client[0]) >= 0 and _clearly_longer(rest[0], client[0]):
        return False
    return all(
        outer.instance != inner.instance or _seconds_between(outer, inner) > -_SAME_CLOCK
        for outer, inner in pairwise(rest)
    )


def _seconds_between(outer: Observation, inner: Observation) -> float:
    try:
        return (datetime.fromisoformat(inner.at) - datetime.fromisoformat(outer.at)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
