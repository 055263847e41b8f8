"""Many connections, some of which failed: whether the failures gather at one node, and how surely.

Connections are grouped by what names a node: the address, a header of the answer, the certificate. Each group is held
against all others with Fisher's exact test, and the result corrected for the number of groups that were compared
(Bonferroni), since with enough groups one of them always looks bad.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil, comb, log

from wsprobe.frozen import dataclass
from wsprobe.heads import values
from wsprobe.model import Group, Observation
from wsprobe.path import SWITCHING, code_of

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
    differ = [group for group in found if group.chance <= _HINT and failed]
    gather = [group for group in differ if _worse(group)]
    spared = [group for group in differ if not _worse(group) and group.by not in {one.by for one in gather}]
    together = [] if differ else list(_together(found, len(tried)))
    for group in gather:
        yield f"{_said('gather at', group, f'{len(found)} groups')}{_of_answers(group, tried)}"
    yield from (_said("spare", group, f"{len(found)} groups") for group in spared)
    yield from together
    if failed and found and not differ and not together:
        yield f"no group differs by more than chance would make it: {failed} of {len(tried)} failed"
    yield from _nodes(tried)


def _worse(group: Group) -> bool:
    return group.failed * group.elsewhere > group.failed_elsewhere * group.connections


def _said(how: str, group: Group, compared: str) -> str:
    sure = "surely" if group.chance <= _SURE else "perhaps"
    return (
        f"failures {sure} {how} {group.by} {group.name}: {group.failed} of {group.connections} failed there, "
        f"{group.failed_elsewhere} of {group.elsewhere} elsewhere; chance makes such a difference in "
        f"{_one_in(group.chance)} cases (exact test, corrected for {compared})"
    )


def _of_answers(group: Group, tried: Sequence[Tried]) -> str:
    """A refusal names who made it: then the header may be an effect, and no node that fails."""
    failed = [one.hop for one in tried if not one.well and _KEYS[group.by](one.hop) == group.name]
    refused = group.by.startswith("header") and all(hop.response and code_of(hop) != SWITCHING for hop in failed)
    return "; those answers are refusals, and it may say who refused rather than at which node" if refused else ""


def _together(found: Sequence[Group], total: int) -> Iterator[str]:
    """Several bad nodes, none of which stands out alone: those that are worse than the whole against all others.

    They are chosen by their results, so it is corrected for all ways in which the groups can be parted in two.
    """
    kinds = {group.by for group in found}
    for by in sorted(kinds):
        members = [group for group in found if group.by == by]
        bad = [group for group in members if _worse(group)]
        if len(bad) < 2 or len(bad) == len(members):
            continue
        failed, tries = sum(group.failed for group in bad), sum(group.connections for group in bad)
        others = bad[0].failed + bad[0].failed_elsewhere - failed
        ways = (2 ** (len(members) - 1) - 1) * len(kinds)
        one = Group(
            by=by,
            name=" and ".join(group.name for group in bad),
            failed=failed,
            connections=tries,
            failed_elsewhere=others,
            elsewhere=total - tries,
            chance=min(1.0, exact(failed, tries, others, total - tries) * ways),
        )
        if one.chance <= _HINT:
            yield _said("gather at", one, f"{ways} ways to part the groups")


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
    """Where it connected to, or the one address at which nobody took the connection."""
    if hop.peers and hop.peers.server:
        return hop.peers.server
    return hop.addresses[0] if hop.failure and len(hop.addresses) == 1 else ""


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
