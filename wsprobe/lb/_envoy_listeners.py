"""Envoy's listeners: their filter chains, and the connection manager in each."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Timeout, Timer
from wsprobe.lb import _envoy_filters as filters
from wsprobe.lb import _envoy_hcm as hcm_
from wsprobe.lb._envoy_actions import suppresses
from wsprobe.lb._envoy_clusters import upstream
from wsprobe.lb._envoy_files import Found, file_of, gather, included, named
from wsprobe.lb._envoy_head import UPGRADE, upgrade_of
from wsprobe.lb._envoy_headers import Scope
from wsprobe.lb._envoy_match import Domains, domain, domain_match, example
from wsprobe.lb._envoy_proto import Extension, Reading, extension, flag, get, number, seconds, text, under, words
from wsprobe.lb._envoy_routes import Manager, elsewhere, routes, unmatched
from wsprobe.lb._envoy_targets import Router
from wsprobe.lb._envoy_timers import Cluster
from wsprobe.lb._envoy_trust import trust
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import Of, Subject, Text, Undecided, Value, both
from wsprobe.lb.model import Answer, Bind, Listener, Opaque, Route, Step, Upstream

_LISTENER = words(
    "name address additional_addresses stat_prefix filter_chains filter_chain_matcher use_original_dst "
    "default_filter_chain per_connection_buffer_limit_bytes metadata deprecated_v1 drain_type listener_filters "
    "listener_filters_timeout continue_on_listener_filters_timeout transparent freebind socket_options "
    "additional_socket_options tcp_fast_open_queue_length traffic_direction udp_listener_config api_listener "
    "connection_balance_config reuse_port enable_reuse_port access_log tcp_backlog_size "
    "max_connections_to_accept_per_socket_event bind_to_port internal_listener enable_mptcp "
    "ignore_global_conn_limit bypass_overload_manager keepalive fcds_config"
)
_MANAGER = words(
    "codec_type stat_prefix rds route_config scoped_routes http_filters add_user_agent tracing "
    "common_http_protocol_options http1_safe_max_connection_duration http_protocol_options http2_protocol_options "
    "http3_protocol_options server_name server_header_transformation scheme_header_transformation "
    "max_request_headers_kb stream_idle_timeout stream_flush_timeout request_timeout request_headers_timeout "
    "drain_timeout delayed_close_timeout access_log access_log_flush_interval flush_access_log_on_new_request "
    "access_log_options use_remote_address xff_num_trusted_hops original_ip_detection_extensions "
    "internal_address_config skip_xff_append via generate_request_id preserve_external_request_id "
    "always_set_request_id_in_response forward_client_cert_details set_current_client_cert_details "
    "proxy_100_continue represent_ipv4_remote_address_as_ipv4_mapped_ipv6 upgrade_configs normalize_path "
    "merge_slashes path_with_escaped_slashes_action request_id_extension local_reply_config "
    "strip_matching_host_port strip_any_host_port stream_error_on_invalid_http_message strip_trailing_host_dot "
    "proxy_status_config typed_header_validation_config append_x_forwarded_port append_local_overload "
    "add_proxy_protocol_connection_state early_header_mutation_extensions"
)
_TRACED = words(
    "b3 baggage grpc-trace-bin sw8 traceparent tracestate uber-trace-id x-amzn-trace-id x-b3-flags x-b3-parentspanid "
    "x-b3-sampled x-b3-spanid x-b3-traceid x-client-trace-id x-cloud-trace-context x-datadog-parent-id "
    "x-datadog-sampling-priority x-datadog-trace-id x-ot-span-context x-request-id"
)
_ROUTER = words(
    "dynamic_stats start_child_span upstream_log upstream_log_options suppress_envoy_headers "
    "suppress_grpc_request_failure_code_stats upstream_http_filters"
)
_NOT_FOLLOWED = {
    "scoped_routes": "which routes are used depends on the request, in a way that is not followed",
    "typed_header_validation_config": "an extension may refuse requests",
    "local_reply_config": "Envoy's own answers may get another status",
}
_QUIET = frozenset({"rbac", "ratelimit", "local_ratelimit", "connection_limit", "sni_cluster", "geoip"})
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all listeners of a config share."""

    reading: Reading
    clusters: dict[str, Cluster]
    complete: bool
    tables: dict[str, Node]


def listeners(nodes: Iterable[Node], shared: Shared) -> Iterator[Listener]:
    """The listeners of a config, one for each filter chain."""
    for node in nodes:
        shared.reading.fields(node, _LISTENER, "a listener")
        chains = [*under(node, "filter_chains"), *([last] if (last := get(node, "default_filter_chain")) else [])]
        every = Domains(domain(name) for chain in chains for name in _names(chain))
        for chain in chains:
            yield from _chain(node, chain, every, shared)
        if (api := get(node, "api_listener", "api_listener")) is not None:
            yield _managed(f"listener {text(node, 'name')}", node, (), api, shared)


def bare(tables: Iterable[Node], shared: Shared) -> Iterator[Listener]:
    """Route configurations that stand alone: what their connection manager says is not known."""
    for table in tables:
        shared.reading.skip(table, "the connection manager that uses these routes stands elsewhere", "listener")
        manager = _manager(table, shared, lone=True)
        yield Listener(
            label=f"route configuration {text(table, 'name')}".strip(),
            place=table.place,
            steps=hcm_.steps(table, shared.reading, under(table, "internal_only_headers"), Of(Subject.SCHEME)),
            routes=tuple(routes(table, manager)),
            limits=hcm_.limits(table),
            otherwise=Answer(status=404, why="no route matches"),
        )


def _names(chain: Node) -> list[str]:
    """The names that a client of TLS may ask a filter chain for; all where it tells none."""
    return [each.text for each in under(chain, "filter_chain_match", "server_names")] or ["*"]


def _chain(listener: Node, chain: Node, every: Domains, shared: Shared) -> Iterator[Listener]:
    """A filter chain; of those of a listener, the one with the name that fits best takes a connection."""
    label = f"listener {text(listener, 'name') or text(listener, 'address', 'socket_address', 'port_value')}"
    names = _names(chain)
    match = domain_match(map(domain, names), every, Of(Subject.HOST, original=True))
    if len(under(listener, "filter_chains")) > 1 or get(listener, "default_filter_chain") is not None:
        said = "" if names == ["*"] else ", ".join(names)
        label += f", filter chain {text(chain, 'name') or said or 'at line ' + str(chain.line)}"
    binds = tuple(_binds(listener, chain))
    for node in under(chain, "filters"):
        each = extension(node)
        if each.kind == "http_connection_manager" and each.config is not None:
            made = _managed(label, node, binds, each.config, shared)
            yield replace(made, match=match, routes=tuple(_at(example(names), route) for route in made.routes))
        elif each.kind == "tcp_proxy":
            yield replace(_tunnel(label, each, binds, shared), match=match)
        elif each.kind not in _QUIET:
            shared.reading.skip(node, "a network filter that this reader does not know", each.name)


def _at(host: str | None, route: Route) -> Route:
    """A route with a host that its filter chain takes, where it names none itself."""
    return replace(route, sample_host=host) if host and route.sample_host is None else route


def _binds(listener: Node, chain: Node) -> Iterator[Bind]:
    socket = get(chain, "transport_socket")
    secure = socket is not None and (extension(socket).kind in {"tls", "quic"} or "tls" in text(socket, "name"))
    secure = secure or get(chain, "tls_context") is not None
    addresses = [get(listener, "address"), *(get(one, "address") for one in under(listener, "additional_addresses"))]
    for address in addresses:
        found = get(address, "socket_address")
        if found is not None:
            yield Bind(address=text(found, "address"), port=number(found, "port_value"), tls=secure)
        elif pipe := get(address, "pipe", "path"):
            yield Bind(address=pipe.text, tls=secure)


def _tunnel(label: str, each: Extension, binds: tuple[Bind, ...], shared: Shared) -> Listener:
    """A tcp_proxy passes octets on, whatever they say."""
    named_ = get(each.config, "cluster")
    found = shared.clusters.get(named_.text) if named_ else None
    to = upstream(found) if found else Upstream(protocol="client", place=each.node.place)
    idle, life = get(each.config, "idle_timeout"), get(each.config, "max_downstream_connection_duration")
    value = seconds(idle)
    timers = [
        Timeout(
            kind=Timer.IDLE,
            name="idle_timeout",
            seconds=_HOUR if idle is None else value or None,
            place=idle.place if idle else None,
            resets_on="any traffic",
            ends="FIN on both sides, no close frame",
        )
    ]
    if life:
        timers.append(
            Timeout(
                kind=Timer.LIFETIME,
                name="max_downstream_connection_duration",
                seconds=seconds(life) or None,
                place=life.place,
                resets_on="nothing",
                ends="FIN on both sides, no close frame",
            )
        )
    route = Route(
        label="tcp_proxy",
        place=each.node.place,
        upstream=Upstream(protocol="client", tls=to.tls, addresses=to.addresses, place=to.place),
        timeouts=tuple(timers),
        notes=("the connection is passed on as it is, HTTP or not",),
    )
    return Listener(label=label, place=each.node.place, binds=binds, routes=(route,))


def _managed(label: str, node: Node, binds: tuple[Bind, ...], hcm: Node, shared: Shared) -> Listener:
    reading = shared.reading
    reading.fields(hcm, _MANAGER, "a connection manager")
    _told(hcm, reading)
    manager = _manager(hcm, shared)
    table = get(hcm, "route_config")
    made: Iterable[Route]
    if table is None:
        found, where, why = _table(hcm, shared)
        table = found
        made = routes(found, manager) if found else [elsewhere(where or node, why, reading)]
    else:
        made = routes(table, manager)
    return Listener(
        label=label,
        place=node.place,
        binds=binds,
        steps=(
            *hcm_.steps(hcm, reading, under(table, "internal_only_headers"), _scheme(binds)),
            *_early(hcm, manager),
            *_traced(hcm),
        ),
        routes=tuple(made),
        limits=hcm_.limits(hcm),
        unmatched=unmatched(manager),
        otherwise=Answer(status=404, why="no route matches"),
    )


def _scheme(binds: tuple[Bind, ...]) -> Value:
    return Text("https" if any(bind.tls for bind in binds) else "http") if binds else Of(Subject.SCHEME)


def _told(hcm: Node, reading: Reading) -> None:
    """Settings that may change a request, or Envoy's own answers, and that are not followed."""
    for name, why in _NOT_FOLLOWED.items():
        if (found := get(hcm, name)) is not None:
            reading.skip(found, why)
    for each in under(hcm, "http_filters"):
        if extension(each).kind == "router":
            reading.fields(extension(each).config, _ROUTER, "the router filter")


def _table(hcm: Node, shared: Shared) -> tuple[Node | None, Node | None, str]:
    """A route configuration that stands elsewhere; else where it comes from, and why it is not read."""
    rds = get(hcm, "rds")
    name = text(rds, "route_config_name")
    if name in shared.tables:
        return shared.tables[name], rds, ""
    if path := file_of(get(rds, "config_source")):
        found = Found()
        for node in included(path, shared.reading):
            gather(node, found)
        if table := named(found.tables, name):
            return table, rds, ""
    return None, rds or get(hcm, "scoped_routes"), "the routes come from elsewhere while Envoy runs"


def _manager(hcm: Node, shared: Shared, *, lone: bool = False) -> Manager:
    nodes = under(hcm, "http_filters")
    last = next((extension(each).config for each in reversed(nodes) if extension(each).kind == "router"), None)
    client = trust(hcm, shared.reading.version).client
    if isinstance(client, Undecided) and (found := get(hcm, "original_ip_detection_extensions")):
        shared.reading.skip(found, client.why)
    router = Router(
        reading=shared.reading,
        clusters=shared.clusters,
        complete=shared.complete,
        client=client,
        suppressed=suppresses(last),
        inner=tuple(under(last, "upstream_http_filters")),
    )
    listed = under(hcm, "upgrade_configs")
    upgrades = {text(each, "upgrade_type").lower(): flag(each, "enabled", default=True) for each in listed}
    own = tuple(
        (both(UPGRADE, upgrade_of(text(each, "upgrade_type"))), tuple(under(each, "filters")))
        for each in listed
        if under(each, "filters")
    )
    if lone:
        upgrades = {"websocket": True}
    chain = filters.Chain(shared.reading, Scope(client), tuple(nodes), own)
    return Manager(hcm, upgrades, chain, router)


def _traced(hcm: Node) -> Iterator[Step]:
    """A tracer writes its own headers."""
    if (tracing := get(hcm, "tracing")) is not None:
        why = "the tracer may write it"
        yield Opaque(why=why, names=tuple(sorted(_TRACED)), place=tracing.place)


def _early(hcm: Node, manager: Manager) -> Iterator[Step]:
    for each in under(hcm, "early_header_mutation_extensions"):
        for mutation in under(extension(each).config, "mutations"):
            yield from filters.mutated(mutation, manager.chain.scope)
