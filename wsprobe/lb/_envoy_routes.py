"""Envoy's route tables: virtual hosts by domain, their routes in order, and what each does to an upgrade."""

from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.lb import _envoy_actions as actions
from wsprobe.lb import _envoy_filters as filters
from wsprobe.lb._envoy_head import UPGRADE, upgrade_of
from wsprobe.lb._envoy_headers import Scope, guarded
from wsprobe.lb._envoy_match import Domains, domain, domain_match, example, label, route_match, sample
from wsprobe.lb._envoy_proto import Reading, flag, get, text, under, words
from wsprobe.lb._envoy_targets import Router, Target, target
from wsprobe.lb._envoy_timers import timeouts
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    Condition,
    How,
    Not,
    Substituted,
    Test,
    Undecided,
    Value,
    both,
    header,
)
from wsprobe.lb.model import Answer, Route, Step

_CONFIG = words(
    "name virtual_hosts vhds internal_only_headers response_headers_to_add response_headers_to_remove "
    "request_headers_to_add request_headers_to_remove most_specific_header_mutations_wins validate_clusters "
    "max_direct_response_body_size_bytes cluster_specifier_plugins request_mirror_policies "
    "ignore_port_in_host_matching ignore_path_parameters_in_path_matching typed_per_filter_config metadata"
)
_HOST = words(
    "name domains routes matcher require_tls virtual_clusters rate_limits request_headers_to_add "
    "request_headers_to_remove response_headers_to_add response_headers_to_remove cors typed_per_filter_config "
    "include_request_attempt_count include_attempt_count_in_response retry_policy retry_policy_typed_config "
    "hedge_policy include_is_timeout_retry_header per_request_buffer_limit_bytes request_body_buffer_limit "
    "request_mirror_policies metadata"
)
_ROUTE = words(
    "name match route redirect direct_response filter_action non_forwarding_action metadata decorator "
    "typed_per_filter_config request_headers_to_add request_headers_to_remove response_headers_to_add "
    "response_headers_to_remove tracing per_request_buffer_limit_bytes request_body_buffer_limit stat_prefix"
)
_ACTION = words(
    "cluster cluster_header weighted_clusters cluster_specifier_plugin inline_cluster_specifier_plugin "
    "cluster_not_found_response_code metadata_match prefix_rewrite regex_rewrite path_rewrite path_rewrite_policy "
    "host_rewrite_literal auto_host_rewrite host_rewrite_header host_rewrite_path_regex host_rewrite "
    "append_x_forwarded_host timeout idle_timeout flush_timeout early_data_policy retry_policy "
    "retry_policy_typed_config request_mirror_policies priority rate_limits include_vh_rate_limits hash_policy "
    "cors max_grpc_timeout grpc_timeout_offset upgrade_configs internal_redirect_policy internal_redirect_action "
    "max_internal_redirects hedge_policy max_stream_duration"
)


@dataclass(frozen=True, slots=True)
class Manager:
    """A connection manager, as far as its routes need it: the types of upgrade that it allows, and its filters."""

    hcm: Node
    upgrades: dict[str, bool]
    chain: filters.Chain
    router: Router

    @property
    def reading(self) -> Reading:
        """What is gathered on the way."""
        return self.router.reading


def unmatched(manager: Manager) -> tuple[Step, ...]:
    """What happens to a request that no route takes, before the 404; Envoy refuses no upgrade without a route."""
    return filters.steps(manager.chain, [])


def routes(table: Node, manager: Manager) -> Iterator[Route]:
    """The routes of a table, virtual host by virtual host."""
    reading = manager.reading
    reading.fields(table, _CONFIG, "a route configuration")
    hosts = under(table, "virtual_hosts")
    every = Domains(domain(each.text) for host in hosts for each in under(host, "domains"))
    for host in hosts:
        reading.fields(host, _HOST, "a virtual host")
        own = [each.text for each in under(host, "domains")]
        there = domain_match([domain(each) for each in own], every, _compared(table))
        yield from _tls_only(table, host, there, manager)
        for route in under(host, "routes"):
            yield _route(route, _Place(table, host, there, tuple(own)), manager)
        if matcher := get(host, "matcher"):
            yield _elsewhere(matcher, there, "a tree of matchers chooses the route, which is not followed", reading)
    if vhds := get(table, "vhds"):
        yield _elsewhere(vhds, ALWAYS, "virtual hosts come from elsewhere while Envoy runs", reading)


def _elsewhere(node: Node, there: Condition, why: str, reading: Reading) -> Route:
    """Routes that the config does not tell."""
    reading.skip(node, why)
    name = node.key.text if node.key else "routes"
    return Route(label=f"routes of {name}", match=both(there, Undecided("", why)), place=node.place)


def elsewhere(node: Node, why: str, reading: Reading) -> Route:
    """A whole table that the config does not tell."""
    return _elsewhere(node, ALWAYS, why, reading)


def _compared(table: Node) -> Value:
    host = header("host")
    return Substituted(host, r":\d+\Z", "") if flag(table, "ignore_port_in_host_matching") else host


def _tls_only(table: Node, host: Node, there: Condition, manager: Manager) -> Iterator[Route]:
    required = get(host, "require_tls")
    if required is None or required.text in {"", "NONE", "0"}:
        return
    plain: Condition = Not(Test(header("x-forwarded-proto"), How.EQUALS, ("https",)))
    if required.text in {"EXTERNAL_ONLY", "1"}:
        plain = both(plain, Not(Test(header("x-envoy-internal"), How.EQUALS, ("true",))))
    answer = Answer(status=301, why="require_tls redirects to https", place=required.place)
    yield Route(
        label=f"require_tls of {text(host, 'name')}",
        match=both(there, plain),
        place=required.place,
        steps=(_refusal(manager, None), *filters.steps(manager.chain, [host, table]), answer),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a route stands, from the outside in."""

    table: Node
    host: Node
    there: Condition
    domains: tuple[str, ...]


def _route(route: Node, at: _Place, manager: Manager) -> Route:
    reading = manager.reading
    reading.fields(route, _ROUTE, "a route")
    match, action = get(route, "match"), get(route, "route")
    reading.fields(action, _ACTION, "a route action")
    levels = [route, at.host, at.table]
    answer = actions.answered(route)
    to = target(action, manager.router) if action else None
    before = (_refusal(manager, action), *_filtered(manager, levels, to))
    specific = flag(at.table, "most_specific_header_mutations_wins")
    rest: tuple[Step, ...] = (answer,) if answer else ()
    if to and not answer:
        inner = _inside(manager, levels, Scope(manager.router.client, text(route, "name"), to.name), to)
        own = actions.steps(levels, route, to, manager.router, specific_wins=specific)
        rest = (*own, *inner, *actions.sent(to))
    scope = Scope(manager.router.client, text(route, "name"))
    hosts = "" if at.domains in {("*",), ()} else f" ({', '.join(at.domains[:3])})"
    place = get(match, *_matched(match)) if match else None
    return Route(
        label=f"{label(match)}{hosts}",
        match=both(at.there, route_match(match, reading)),
        place=(place or match or route).place,
        sample=sample(match),
        sample_host=example(at.domains),
        steps=(*before, *rest),
        response=actions.responses(levels, to, scope),
        upstream=to.upstream if to and not answer else None,
        timeouts=timeouts(manager.hcm, action, to.cluster) if to and not answer else (),
        notes=to.cluster.notes if to and to.cluster else (),
    )


def _filtered(manager: Manager, levels: list[Node], to: Target | None) -> tuple[Step, ...]:
    """What the filters do; a cluster that is drawn may have settings for them, which count before those of a route."""
    entries = [entry for entry in to.weighted if get(entry, "typed_per_filter_config")] if to else []
    if to is None or not entries:
        return filters.steps(manager.chain, levels)
    if len(to.weighted) == 1:
        return filters.steps(manager.chain, [*entries, *levels])
    which = Undecided("", f"one of {len(to.weighted)} weighted clusters is drawn, and they set filters differently")
    each = (filters.steps(manager.chain, [entry, *levels]) for entry in to.weighted)
    return tuple(step for steps in each for step in guarded(steps, which))


def _inside(manager: Manager, levels: list[Node], scope: Scope, to: Target) -> Iterator[Step]:
    """What the filters of a cluster do, or else those that the router has for every cluster."""
    for when, cluster in to.asked:
        nodes = under(cluster.options, "http_filters") or manager.router.inner
        yield from guarded(filters.inside(manager.chain, nodes, levels, scope), when)


def _matched(match: Node) -> tuple[str, ...]:
    """The field of a match that says most of it."""
    for name in ("prefix", "path", "path_separated_prefix", "safe_regex"):
        if get(match, name) is not None:
            return (name,)
    return ()


def _refusal(manager: Manager, action: Node | None) -> Answer:
    """Envoy answers 403 to an upgrade that neither the connection manager nor the route allows."""
    allowed = dict(manager.upgrades)
    place: Node | None = None
    for each in under(action, "upgrade_configs"):
        allowed[text(each, "upgrade_type").lower()] = flag(each, "enabled", default=True)
        if not flag(each, "enabled", default=True):
            place = get(each, "enabled")
    if place is None and not allowed.get("websocket"):
        listed = under(manager.hcm, "upgrade_configs")
        place = next((found for each in listed if (found := get(each, "enabled")) and found.boolean is False), None)
    types = tuple(sorted(name for name, enabled in allowed.items() if enabled))
    return Answer(
        status=403,
        why="no upgrade_configs allows the upgrade",
        when=both(UPGRADE, Not(upgrade_of(*types))),
        place=place.place if place else None,
    )
