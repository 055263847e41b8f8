"""Many connections, some of which failed: whether the failures gather at one node, and how surely.

Connections are grouped by what names a node: the address, a header of the answer, the certificate. Each group is held
against all others with Fisher's exact test, and the result corrected for the number of groups that were compared
(Bonferroni), since with enough groups one of them always looks bad.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, comb, log

from wsprobe.heads import values
from wsprobe.model import Group, Observation

NODE_HEADERS = (
    "via",
    "server",
    "x-served-by",
    "x-backend",
    "x-backend-server",
    "x-upstream",
    "x-node",
    "x-pod",
    "x-pod-name",
    "x-instance",
    "x-server",
    "x-host",
    "x-hostname",
    "x-amz-cf-pop",
    "cf-ray",
    "x-envoy-upstream-service-cluster",
    "x-varnish-server",
    "x-cache",
)
"""Headers by which an answer may name the node that it came from or through."""

_SURE, _HINT = 0.01, 0.05
_CONFIDENCE = 0.95
_MOST_GROUPS = 64


@dataclass(frozen=True, slots=True)
class Tried:
    """One connection: what the client saw of it, and whether it was well."""

    hop: Observation
    well: bool


def groups(tried: Sequence[Tried]) -> tuple[Group, ...]:
    """All groups of more than one kind, those whose difference is least likely chance first."""
    found: list[tuple[str, str, list[Tried]]] = []
    for by, key in _KEYS.items():
        kinds: dict[str, list[Tried]] = {}
        for one in tried:
            if name := key(one.hop):
                kinds.setdefault(name, []).append(one)
        if 1 < len(kinds) <= _MOST_GROUPS:
            found += [(by, name, members) for name, members in kinds.items()]
    compared = len(found)
    made = [_group(by, name, members, tried, compared) for by, name, members in found]
    return tuple(sorted(made, key=lambda group: (group.chance, group.by, group.name)))


def _group(by: str, name: str, members: list[Tried], tried: Sequence[Tried], compared: int) -> Group:
    failed, others = sum(not one.well for one in members), len(tried) - len(members)
    failed_others = sum(not one.well for one in tried) - failed
    chance = exact(failed, len(members), failed_others, others)
    return Group(
        by=by,
        name=name,
        failed=failed,
        connections=len(members),
        failed_elsewhere=failed_others,
        elsewhere=others,
        chance=min(1.0, chance * compared),
    )


def exact(failed: int, total: int, failed_others: int, others: int) -> float:
    """Fisher's exact test, two-sided: how likely chance alone makes a difference at least as large as this one."""
    failures, first = failed + failed_others, max(0, failed + failed_others - others)
    weight = comb(total, first) * comb(others, failures - first)
    weights = [weight]
    for here in range(first, min(total, failures)):  # each from the one before: ten thousand of them take no second
        weight = weight * (total - here) * (failures - here) // ((here + 1) * (others - failures + here + 1))
        weights.append(weight)
    seen = weights[failed - first]
    return sum(each for each in weights if each <= seen) / sum(weights)


def told(tried: Sequence[Tried], found: Sequence[Group]) -> Iterator[str]:
    """What the groups say, in words: where failures gather, how many nodes were seen, and what was not enough."""
    failed = sum(not one.well for one in tried)
    for group in found:
        if group.chance <= _HINT and failed:
            sure = "surely" if group.chance <= _SURE else "perhaps"
            yield (
                f"failures {sure} gather at {group.by} {group.name}: {group.failed} of {group.connections} failed "
                f"there, {group.failed_elsewhere} of {group.elsewhere} elsewhere; chance makes such a difference in "
                f"{_one_in(group.chance)} cases (exact test, corrected for {len(found)} groups)"
            )
    if failed and found and not any(group.chance <= _HINT for group in found):
        yield f"no group differs by more than chance would make it: {failed} of {len(tried)} failed"
    yield from _nodes(tried)


def _one_in(chance: float) -> str:
    return f"1 of {1 / chance:,.0f}" if chance > 0 else "no"


def _nodes(tried: Sequence[Tried]) -> Iterator[str]:
    """How many nodes the tries can have met: what the answers and addresses tell apart."""
    by = nodes(one.hop for one in tried)
    if not by or len(tried) < 2:
        return
    kind, names = max(by.items(), key=lambda item: len(item[1]))
    if len(names) == 1:
        yield (
            "one node seen, as far as addresses, answers and certificates tell: if an affinity pins the tries to it, "
            "they are not independent, and a fault of another node would not show"
        )
        return
    yield f"{len(names)} nodes seen, by {kind}"
    yield f"{needed(len(names))} tries would meet one bad node of {len(names)} with 95 %, if each can meet any"


def nodes(hops: Iterable[Observation]) -> dict[str, set[str]]:
    """The names of the nodes that were met, by what names them."""
    found: dict[str, set[str]] = {}
    for hop in hops:
        for by, key in _KEYS.items():
            if name := key(hop):
                found.setdefault(by, set()).add(name)
    return found


def needed(nodes: int) -> int:
    """How many independent tries meet one bad node of so many with 95 percent."""
    return 1 if nodes == 1 else ceil(log(1 - _CONFIDENCE) / log(1 - 1 / nodes))


def unseen(tries: int) -> float:
    """The failure rate that so many tries without a failure leave possible, with 95 percent confidence."""
    return 1 - float((1 - _CONFIDENCE) ** (1 / tries))


# What names a node.


def _address(hop: Observation) -> str:
    return (hop.peers.server or "") if hop.peers else ""


def _certificate(hop: Observation) -> str:
    server = hop.tls.server if hop.tls else None
    return server.certificates[0].sha256[:16] if server and server.certificates else ""


def _header(name: str, hop: Observation) -> str:
    found: Iterable[str] = values(hop.response.headers, name) if hop.response else ()
    text = ", ".join(found)
    return text.rpartition("-")[2] if name == "cf-ray" else text[:80]


def _of_header(name: str) -> Callable[[Observation], str]:
    return lambda hop: _header(name, hop)


_KEYS: dict[str, Callable[[Observation], str]] = {
    "address": _address,
    **{f"header {name}": _of_header(name) for name in NODE_HEADERS},
    "certificate": _certificate,
}
