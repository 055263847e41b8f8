"""Envoy's clusters, as far as a route has to know them: protocol, TLS, addresses."""

from collections.abc import Iterator

from wsprobe.lb._envoy_proto import Reading, extension, flag, get, number, text, under, words
from wsprobe.lb._envoy_timers import Cluster
from wsprobe.lb._yaml import Node
from wsprobe.lb.model import Upstream

UNKNOWN = "unknown"
"""What stands for a protocol that is settled with the upstream, or that a cluster from elsewhere tells."""

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CLUSTER = words(
    "name alt_stat_name type cluster_type eds_cluster_config connect_timeout per_connection_buffer_limit_bytes "
    "lb_policy load_assignment health_checks max_requests_per_connection circuit_breakers "
    "upstream_http_protocol_options common_http_protocol_options http_protocol_options http2_protocol_options "
    "typed_extension_protocol_options dns_refresh_rate dns_jitter dns_failure_refresh_rate respect_dns_ttl "
    "dns_lookup_family dns_resolvers use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config "
    "wait_for_warm_on_init outlier_detection cleanup_interval upstream_bind_config lb_subset_config "
    "ring_hash_lb_config maglev_lb_config original_dst_lb_config least_request_lb_config round_robin_lb_config "
    "common_lb_config transport_socket transport_socket_matches metadata protocol_selection "
    "upstream_connection_options close_connections_on_host_health_failure ignore_health_on_host_removal filters "
    "load_balancing_policy lrs_server lrs_report_endpoint_metrics track_timeout_budgets upstream_config "
    "track_cluster_stats preconnect_policy connection_pool_per_downstream_connection dns_cluster_config "
    "transport_socket_matcher"
)


def cluster(node: Node, reading: Reading) -> Cluster:
    """A cluster as a route has to know it."""
    reading.fields(node, _CLUSTER, "a cluster")
    options = get(node, "typed_extension_protocol_options")
    options = options.get(_OPTIONS) if options else None
    protocol, written, notes = _protocol(node, options)
    endpoints = list(_endpoints(node))
    return Cluster(
        name=text(node, "name"),
        node=node,
        protocol=protocol,
        protocol_node=written,
        tls=_tls(node),
        addresses=tuple(dict.fromkeys(address for address, _ in endpoints)),
        hostnames=tuple(dict.fromkeys(name for _, name in endpoints)),
        notes=notes,
        options=options or node,
    )


def _protocol(node: Node, options: Node | None) -> tuple[str, Node | None, tuple[str, ...]]:
    old = get(node, "http2_protocol_options")
    explicit = get(options, "explicit_http_config")
    secure = _tls(node)
    if explicit is not None:
        if (two := get(explicit, "http2_protocol_options")) is not None:
            return ("h2" if secure else "h2c"), two, ()
        if (three := get(explicit, "http3_protocol_options")) is not None:
            return "h2", three, ("the upstream is spoken to in HTTP/3",)
        return "http/1.1", None, ()
    if get(options, "use_downstream_protocol_config") is not None:
        return "http/1.1", None, ("the upstream is spoken to in the client's version of HTTP",)
    if (auto := get(options, "auto_config")) is not None:
        return UNKNOWN, auto, ()
    return (("h2" if secure else "h2c"), old, ()) if old is not None else ("http/1.1", None, ())


def _tls(node: Node) -> bool:
    socket = get(node, "transport_socket")
    return socket is not None and (extension(socket).kind in {"tls", "quic"} or "tls" in text(socket, "name"))


def _endpoints(node: Node) -> Iterator[tuple[str, str]]:
    """Each endpoint's address, and the name that `auto_host_rewrite` would write (empty for a plain address)."""
    kind = text(node, "type").upper()
    for locality in under(node, "load_assignment", "endpoints"):
        for each in under(locality, "lb_endpoints"):
            endpoint = get(each, "endpoint")
            address = get(endpoint, "address", "socket_address")
            host = text(address, "address")
            port = number(address, "port_value")
            pipe = text(endpoint, "address", "pipe", "path")
            named = host if kind in {"STRICT_DNS", "LOGICAL_DNS"} else ""
            yield (f"{host}:{port}" if port else pipe or host), text(endpoint, "hostname") or named


def upstream(found: Cluster) -> Upstream:
    """Where a cluster leads."""
    return Upstream(
        protocol=found.protocol,
        tls=found.tls,
        extended=flag(found.protocol_node, "allow_connect"),
        addresses=found.addresses,
        place=found.node.place,
        protocol_place=found.protocol_node.place if found.protocol_node else None,
    )


def discovered(bootstrap: Node | None) -> bool:
    """Whether clusters come from elsewhere while Envoy runs."""
    dynamic = get(bootstrap, "dynamic_resources")
    return get(dynamic, "cds_config") is not None or flag(dynamic, "cds_resources_locator")
