"""What Envoy's HTTP connection manager does to every request before it looks for a route."""

from collections.abc import Iterator

from wsprobe.lb import _envoy_head as head
from wsprobe.lb._envoy_head import UPGRADE, upgrade_of
from wsprobe.lb._envoy_headers import INLINE
from wsprobe.lb._envoy_proto import Reading, flag, get, number, words
from wsprobe.lb._envoy_trust import Trust, appends, refusals, trust
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    Cases,
    How,
    Not,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
    header,
)
from wsprobe.lb.model import Edit, Limit, Measure, Named, Op, Step

_LOOPBACK = ("127.0.0.0/8", "::1/128")

_REMOVED_OUTSIDE = words(
    "x-envoy-retriable-status-codes x-envoy-retriable-header-names x-envoy-retry-on x-envoy-retry-grpc-on "
    "x-envoy-max-retries x-envoy-upstream-alt-stat-name x-envoy-upstream-rq-timeout-ms "
    "x-envoy-upstream-rq-per-try-timeout-ms x-envoy-upstream-rq-timeout-alt-response "
    "x-envoy-upstream-stream-duration-ms x-envoy-expected-rq-timeout-ms x-envoy-force-trace x-envoy-ip-tags "
    "x-envoy-original-url x-envoy-hedge-on-per-try-timeout"
)
_REMOVED_AT_EDGE = words(
    "x-envoy-decorator-operation x-envoy-downstream-service-cluster x-envoy-downstream-service-node "
    "x-envoy-original-path x-envoy-original-host"
)


def limits(hcm: Node) -> tuple[Limit, ...]:
    """How large a head may be."""
    octets = get(hcm, "max_request_headers_kb")
    kibi = number(hcm, "max_request_headers_kb") or 60
    return (
        Limit(
            name="max_request_headers_kb",
            measure=Measure.HEAD,
            most=kibi * 1024,
            status=431,
            place=octets.place if octets else None,
        ),
    )


def steps(hcm: Node, reading: Reading, internal_only: list[Node], scheme: Value) -> tuple[Step, ...]:
    """What happens to every request before a route is chosen; `scheme` is what its connection came with."""
    believed = trust(hcm, reading.version)
    return (
        Edit(op=Op.JOIN, which=Named(tuple(sorted(INLINE))), separator=",", drop_empty=True),
        *head.steps(hcm),
        *_hop_by_hop(hcm),
        *refusals(hcm),
        *_forwarded(hcm, scheme),
        *_sanitized(believed, internal_only),
        *_added(hcm, believed),
    )


def _hop_by_hop(hcm: Node) -> Iterator[Step]:
    yield Edit(op=Op.REMOVE, which=Named(("connection", "upgrade")), when=Not(UPGRADE))
    yield Edit(op=Op.REMOVE, which=Named(("http2-settings",)), when=upgrade_of("h2c"))
    yield Edit(op=Op.REMOVE, which=Named(("x-envoy-internal", "keep-alive", "proxy-connection", "transfer-encoding")))
    if not flag(hcm, "proxy_100_continue"):
        waits = Test(header("expect"), How.EQUALS, ("100-continue",), ignore_case=True)
        yield Edit(op=Op.REMOVE, which=Named(("expect",)), when=waits)


def _forwarded(hcm: Node, scheme: Value) -> Iterator[Step]:
    edge, hops = get(hcm, "use_remote_address"), number(hcm, "xff_num_trusted_hops") or 0
    if (by := appends(hcm)) is not None:
        own = Undecided("", "the client is on the same host: Envoy writes an address of its own")
        local = Test(Of(Subject.PEER), How.NETWORK, _LOOPBACK)
        peer = Cases(((local, own),), Of(Subject.PEER))
        name = Named(("x-forwarded-for",))
        yield Edit(op=Op.APPEND, which=name, value=peer, separator=",", drop_empty=True, place=by.place)
    if edge and edge.boolean:
        op = Op.DEFAULT if hops else Op.SET
        yield Edit(op=op, which=Named(("x-forwarded-proto",)), value=scheme, place=edge.place)
        if (port := get(hcm, "append_x_forwarded_port")) and port.boolean:
            own_port = Of(Subject.LOCAL_PORT)
            yield Edit(op=op, which=Named(("x-forwarded-port",)), value=own_port, place=port.place)
    yield Edit(op=Op.DEFAULT, which=Named(("x-forwarded-proto",)), value=scheme)
    overwrite = get(hcm, "scheme_header_transformation", "scheme_to_overwrite")
    if overwrite:
        yield Edit(op=Op.SET, which=Named(("x-forwarded-proto",)), value=Text(overwrite.text), place=overwrite.place)


def _sanitized(believed: Trust, internal_only: list[Node]) -> Iterator[Step]:
    inside = believed.internal
    yield Edit(op=Op.SET, which=Named(("x-envoy-internal",)), value=Text("true"), when=inside)
    outside = Not(inside)
    if believed.edge:
        yield Edit(op=Op.REMOVE, which=Named(tuple(sorted(_REMOVED_AT_EDGE))), when=outside)
    yield Edit(op=Op.REMOVE, which=Named(tuple(sorted(_REMOVED_OUTSIDE))), when=outside)
    for each in internal_only:
        yield Edit(op=Op.REMOVE, which=Named((each.text.lower(),)), when=outside, place=each.place)


def _added(hcm: Node, believed: Trust) -> Iterator[Step]:
    if (agent := get(hcm, "add_user_agent")) and agent.boolean:
        own = Undecided("", "the cluster's name stands on Envoy's command line or in its node")
        yield Edit(op=Op.SET, which=Named(("x-envoy-downstream-service-cluster",)), value=own, place=agent.place)
        none = Not(Test(header("user-agent"), How.REGEX, (".",)))
        yield Edit(op=Op.SET, which=Named(("user-agent",)), value=own, when=none, place=agent.place)
        node = Undecided("", "whether Envoy's node has a name is not known here")
        yield Edit(
            op=Op.SET, which=Named(("x-envoy-downstream-service-node",)), value=node, when=node, place=agent.place
        )
    if via := get(hcm, "via"):
        yield Edit(
            op=Op.APPEND, which=Named(("via",)), value=Text(via.text), separator=", ", drop_empty=True, place=via.place
        )
    outside = Not(believed.internal)
    if believed.edge:
        yield Edit(op=Op.SET, which=Named(("x-envoy-external-address",)), value=believed.client, when=outside)
    if flag(hcm, "generate_request_id", default=True):
        fresh = Undecided("", "Envoy makes a new one for each request")
        none = Not(Test(header("x-request-id"), How.REGEX, (".",)))
        forced = believed.edge and not flag(hcm, "preserve_external_request_id")
        when = OneOf((outside, none)) if forced else none
        place = get(hcm, "use_remote_address") if forced else None
        yield Edit(
            op=Op.SET, which=Named(("x-request-id",)), value=fresh, when=when, place=place.place if place else None
        )
    yield from _client_certificate(hcm)


def _client_certificate(hcm: Node) -> Iterator[Step]:
    forward = get(hcm, "forward_client_cert_details")
    action = forward.text if forward else ""
    place = forward.place if forward else None
    name = Named(("x-forwarded-client-cert",))
    if action in {"ALWAYS_FORWARD_ONLY", "4"}:
        return
    secure = Test(Of(Subject.SCHEME), How.EQUALS, ("https",))
    if action in {"", "SANITIZE", "0"}:
        yield Edit(op=Op.REMOVE, which=name, place=place)
        return
    yield Edit(op=Op.REMOVE, which=name, when=Not(secure), place=place)
    mutual = Undecided("", "depends on whether the client shows a certificate, and on which")
    yield Edit(op=Op.SET, which=name, value=mutual, when=secure, place=place)
