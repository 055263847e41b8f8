"""Where a route of Envoy's leads: a cluster, one of several that is drawn, or the one that a header names."""

from collections.abc import Iterable
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_clusters import UNKNOWN, upstream
from wsprobe.lb._envoy_headers import guarded
from wsprobe.lb._envoy_proto import Reading, get, number, text, under
from wsprobe.lb._envoy_timers import Cluster
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import ALWAYS, Condition, How, Not, Test, Text, Undecided, Value, both, has, header
from wsprobe.lb.model import Answer, Step, Upstream

_NOT_FOUND = {"NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
_LISTED = frozenset({"", "STATIC", "STRICT_DNS", "LOGICAL_DNS"})
"""Types of clusters whose endpoints stand in the config."""

_NO_NAME = Text("")


@dataclass(frozen=True, slots=True)
class Router:
    """What the router of a connection manager knows: the clusters, and whether those are all that there will be.

    `inner` are its filters behind the choice of a cluster, for clusters that have none of their own.
    """

    reading: Reading
    clusters: dict[str, Cluster]
    complete: bool
    client: Value
    suppressed: bool = False
    inner: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where an action leads.

    `cluster` is the one that settles what a route says; `asked` are all that may be, each with its condition.
    """

    cluster: Cluster | None
    upstream: Upstream
    steps: tuple[Step, ...] = ()
    weighted: tuple[Node, ...] = ()
    name: Value = _NO_NAME
    asked: tuple[tuple[Condition, Cluster], ...] = ()


def target(action: Node, router: Router) -> Target:
    """Where a route action leads."""
    if weighted := get(action, "weighted_clusters"):
        return _drawn(action, weighted, router)
    if named := get(action, "cluster"):
        return _one(named, named.text, action, router)
    if name := get(action, "cluster_header"):
        return _by_header(name, action, router)
    router.reading.skip(action, "what chooses the cluster is an extension", "cluster")
    somewhere = Upstream(protocol=UNKNOWN, place=action.place)
    return Target(None, somewhere, name=Undecided("", "an extension chooses the cluster"))


def _missing(action: Node) -> int:
    return _NOT_FOUND.get(text(action, "cluster_not_found_response_code"), 503)


def _one(named: Node, name: str, action: Node, router: Router) -> Target:
    found = router.clusters.get(name)
    if found:
        nobody = not found.addresses and text(found.node, "type") in _LISTED and get(found.node, "cluster_type") is None
        empty = Answer(status=503, why=f"the cluster {name} has no endpoint", place=named.place)
        return Target(found, upstream(found), (empty,) if nobody else (), name=Text(name), asked=((ALWAYS, found),))
    if not router.complete:
        return Target(None, Upstream(protocol=UNKNOWN, place=named.place), name=Text(name))
    there = Upstream(protocol="http/1.1", place=named.place)
    why = f"there is no cluster {name}"
    return Target(None, there, (Answer(status=_missing(action), why=why, place=named.place),), name=Text(name))


def _by_header(name: Node, action: Node, router: Router) -> Target:
    """The cluster that a header of the request names."""
    value = header(name.text.lower())
    clusters = router.clusters.values()
    known: Condition = Test(value, How.EQUALS, tuple(router.clusters))
    if not router.complete:
        known = both(has(name.text), Undecided("", "clusters come from elsewhere while Envoy runs"))
    missing = Answer(status=_missing(action), why="there is no such cluster", when=Not(known), place=name.place)
    there = Upstream(
        protocol=_together(clusters) if router.complete else UNKNOWN,
        addresses=tuple(dict.fromkeys(address for each in clusters for address in each.addresses)),
        place=name.place,
    )
    asked = tuple((Test(value, How.EQUALS, (each.name,)), each) for each in clusters)
    return Target(None, there, (missing,), name=value, asked=asked)


def _together(clusters: Iterable[Cluster]) -> str:
    """The protocol that all of them are spoken to in."""
    protocols = {each.protocol for each in clusters} or {"http/1.1"}
    return protocols.pop() if len(protocols) == 1 else UNKNOWN


def _drawn(action: Node, weighted: Node, router: Router) -> Target:
    """Clusters with weights: one is drawn for each request."""
    entries = [each for each in under(weighted, "clusters") if number(each, "weight") != 0]
    targets = [_weighed(each, action, router) for each in entries]
    if not targets:
        return Target(None, Upstream(protocol="http/1.1", place=weighted.place))
    which = Undecided("", f"one of {len(targets)} weighted clusters is drawn for each request")
    sure = len(targets) == 1
    first = next((one for one in targets if one.cluster), targets[0])
    drawn: Condition = ALWAYS if sure else which
    steps = tuple(step for one in targets for step in guarded(one.steps, drawn))
    asked = tuple((both(drawn, when), cluster) for one in targets for when, cluster in one.asked)
    protocols = {one.upstream.protocol for one in targets}
    merged = replace(
        first.upstream,
        protocol=first.upstream.protocol if len(protocols) == 1 else UNKNOWN,
        addresses=tuple(dict.fromkeys(address for one in targets for address in one.upstream.addresses)),
    )
    return Target(first.cluster, merged, steps, tuple(entries), first.name if sure else which, asked)


def _weighed(entry: Node, action: Node, router: Router) -> Target:
    """One cluster of several, by its name or by that of the header that names it."""
    by = get(entry, "cluster_header")
    return _by_header(by, action, router) if by else _one(entry, text(entry, "name"), action, router)
