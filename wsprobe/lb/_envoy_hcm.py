"""What Envoy's HTTP connection manager does to every request before it looks for a route."""

from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_headers import INLINE
from wsprobe.lb._envoy_proto import Reading, flag, get, number, text, under, words
from wsprobe.lb._paths import PathForm
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Cases,
    Condition,
    How,
    Join,
    Lines,
    Not,
    Of,
    OneOf,
    Piece,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    Written,
    both,
    has,
    header,
)
from wsprobe.lb.model import Answer, Edit, Like, Limit, Measure, Named, Nominated, Op, Retarget, Step
from wsprobe.parts import Line

_UNTRUSTED = (1, 33)  # before, private addresses were internal where nothing was configured
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.1/32", "::1/128", "fd00::/8")
_ADDRESSES = ("0.0.0.0/0", "::/0")
_LOOPBACK = ("127.0.0.0/8", "::1/128")

_HOP = Of(Subject.HEADER, "connection", original=True, lines=Lines.ANY_MEMBER)
_TYPE = Of(Subject.HEADER, "upgrade", original=True, lines=Lines.JOINED, separator=",")

UPGRADE = both(
    Test(_TYPE, How.EXISTS),
    Test(_HOP, How.EQUALS, ("upgrade",), ignore_case=True),
    Not(Test(_TYPE, How.EQUALS, ("h2c",), ignore_case=True)),
)
"""Whether Envoy takes the request for an upgrade: Upgrade is there, and Connection names it. It ignores h2c."""

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


STILL = both(
    has("upgrade"),
    Test(Of(Subject.HEADER, "connection", lines=Lines.ANY_MEMBER), How.EQUALS, ("upgrade",), ignore_case=True),
)
"""Whether what is left of the head still asks for an upgrade."""


def upgrade_of(*types: str) -> Condition:
    """Whether the upgrade is to one of these."""
    return Test(_TYPE, How.EQUALS, types, ignore_case=True)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a connection manager believes: `client` is the address that it takes for the client's."""

    client: Value
    internal: Condition
    edge: bool


def trust(hcm: Node, version: tuple[int, int]) -> Trust:
    """Whom a connection manager believes."""
    hops = number(hcm, "xff_num_trusted_hops") or 0
    edge = flag(hcm, "use_remote_address")
    forwarded = Of(Subject.HEADER, "x-forwarded-for", original=True, lines=Lines.JOINED, separator=",")
    place = hops if not edge else hops - 1
    listed: Value = Substituted(Piece(forwarded, ",", -1 - place), r"\A\s+|\s+\Z", "", all=True)
    peer = Of(Subject.PEER)
    client: Value = peer
    if not edge or hops:
        client = Cases(((Test(listed, How.NETWORK, _ADDRESSES), listed),), peer)
    networks = _networks(hcm, version)
    if not networks:
        return Trust(client, NEVER, edge)
    single = Not(Test(forwarded, How.EXISTS)) if edge else Not(Test(forwarded, How.CONTAINS, (",",)))
    known = ALWAYS if edge else Test(listed, How.NETWORK, _ADDRESSES)
    return Trust(client, both(single, known, Test(client, How.NETWORK, networks)), edge)


def _networks(hcm: Node, version: tuple[int, int]) -> tuple[str, ...]:
    internal = get(hcm, "internal_address_config")
    if internal is None:
        return () if version >= _UNTRUSTED else _PRIVATE
    return tuple(
        f"{text(each, 'address_prefix')}/{number(each, 'prefix_len') or 0}" for each in under(internal, "cidr_ranges")
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
        *_counted(hcm),
        *_nominated(),
        *_absolute(),
        *_head(hcm),
        *_path(hcm),
        *_host(hcm),
        *_hop_by_hop(hcm),
        *_forwarded(hcm, scheme),
        *_sanitized(believed, internal_only),
        *_added(hcm, believed),
    )


def _nominated() -> Iterator[Step]:
    """What Connection names goes no further (RFC 9110, 7.6.1), but for upgrades: those are passed on as they are."""
    plain = Not(UPGRADE)
    whole = Of(Subject.HEADER, "connection", lines=Lines.JOINED, separator=",")
    ten = Test(Substituted(whole, r"[^,]*[^,\s][^,]*", "x", all=True), How.REGEX, (r"\A,*(?:x,*){10}",))
    yield Answer(status=400, why="Connection names ten headers or more", when=both(plain, ten))
    names = "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"
    kept = Test(_HOP, How.EQUALS, names, ignore_case=True), Test(_HOP, How.PREFIX, (":",))
    yield Answer(status=400, why="Connection names a header that must not be removed", when=both(plain, OneOf(kept)))
    but = ("close", "http2-settings", "keep-alive", "upgrade", "connection", "te")
    yield Edit(op=Op.REMOVE, which=Nominated(but=but), when=plain)
    te = Of(Subject.HEADER, "te", lines=Lines.ANY_MEMBER)
    named = Test(_HOP, How.EQUALS, ("te",), ignore_case=True)
    in_any_case = both(named, Test(te, How.EQUALS, ("trailers",), ignore_case=True))
    trailers = OneOf((in_any_case, Test(te, How.EQUALS, ("trailers",))))
    yield Edit(op=Op.SET, which=Named(("te",)), value=Text("trailers"), when=both(plain, trailers))
    yield Edit(op=Op.REMOVE, which=Named(("te",)), when=both(plain, Not(trailers)))


def _counted(hcm: Node) -> Iterator[Step]:
    """How many headers a head may have; those that are kept on one line count once."""
    count = get(hcm, "common_http_protocol_options", "max_headers_count")
    most = number(hcm, "common_http_protocol_options", "max_headers_count") or 100
    more = Test(Of(Subject.NAMES), How.REGEX, (rf"\A(?:[^\n]*\n){{{most}}}",))
    why = f"there are more than {most} headers (max_headers_count)"
    yield Answer(status=431, why=why, when=more, place=count.place if count else None)


def _head(hcm: Node) -> Iterator[Step]:
    action = get(hcm, "common_http_protocol_options", "headers_with_underscores_action")
    if action and action.text in {"DROP_HEADER", "2"}:
        yield Edit(op=Op.REMOVE, which=Like("_"), place=action.place)
    elif action and action.text in {"REJECT_REQUEST", "1"}:
        named = Test(Of(Subject.NAMES), How.CONTAINS, ("_",))
        yield Answer(status=400, why="Envoy refuses names with an underscore", when=named, place=action.place)
    codec = get(hcm, "codec_type")
    if codec and codec.text in {"HTTP2", "HTTP3", "2", "3"}:
        old = Test(Of(Subject.VERSION), How.PREFIX, ("HTTP/1",))
        why = f"the listener speaks {codec.text} only"
        yield Answer(status=None, why=why, when=old, place=codec.place)
    ten = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.0",))
    host: Condition = Not(has("host"))
    if not flag(hcm, "http_protocol_options", "accept_http_10"):
        yield Answer(status=426, why="Envoy refuses HTTP/1.0", when=ten)
    elif default := get(hcm, "http_protocol_options", "default_host_for_http_10"):
        absent = both(ten, host)
        yield Edit(op=Op.SET, which=Named(("host",)), value=Text(default.text), when=absent, place=default.place)
    yield Answer(status=400, why="there is no Host", when=host)
    length = header("content-length")
    repeated = both(Test(length, How.EXISTS), Not(Test(length, How.REGEX, (r"\A[0-9]+\Z",))))
    yield Answer(status=400, why="Content-Length is no number, or stands there twice", when=repeated)
    bad = Not(Test(header("host"), How.REGEX, (r"\A[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]%]*\Z",)))
    yield Answer(status=400, why="the Host is malformed", when=bad)


def _absolute() -> Iterator[Step]:
    """The absolute form of a target (RFC 9112, 3.2.2) tells the Host."""
    target = Of(Subject.TARGET)
    absolute = Test(target, How.REGEX, (r"\A[A-Za-z][A-Za-z0-9+.\-]*://",))
    host = Substituted(target, r"\A[^:]+://([^/?#]*).*", r"\1")
    yield Edit(op=Op.SET, which=Named(("host",)), value=host, when=absolute)
    yield Retarget(value=Substituted(target, r"\A[^:]+://[^/?#]*", ""), when=absolute)


def _path(hcm: Node) -> Iterator[Step]:
    target = Of(Subject.TARGET)
    other = Test(target, How.REGEX, (r"[^\x21-\x7e]",))
    yield Answer(status=400, why="the request target holds other characters than ASCII", when=other)
    fragment = Test(target, How.CONTAINS, ("#",))
    yield Answer(status=400, why="Envoy refuses a path with a fragment", when=fragment)
    rooted = OneOf((Test(target, How.PREFIX, ("/",)), Test(Of(Subject.METHOD), How.EQUALS, ("CONNECT",))))
    yield Answer(status=404, why="the path does not begin with a slash", when=Not(rooted))
    yield from _escaped_slashes(get(hcm, "path_with_escaped_slashes_action"))
    raw = Of(Subject.RAW_PATH)
    if (normalize := get(hcm, "normalize_path")) and normalize.boolean:
        parameters = Substituted(raw, r"(?<=/)(\.\.?);[^/]*", r"\1", all=True)
        yield _repathed(parameters, ALWAYS, normalize.place)
        zero = Test(raw, How.CONTAINS, ("%00",))
        yield Answer(status=400, why="the path cannot be normalized", when=zero, place=normalize.place)
        yield _repathed(Written(raw, PathForm.CANONICAL), ALWAYS, normalize.place)
    if (merge := get(hcm, "merge_slashes")) and merge.boolean:
        nothing_else = Test(raw, How.REGEX, (r"\A/{2,}\Z",))
        merged = Cases(((nothing_else, Text("//")),), Substituted(raw, "/{2,}", "/", all=True))
        yield _repathed(merged, ALWAYS, merge.place)


def _escaped_slashes(action: Node | None) -> Iterator[Step]:
    raw = Of(Subject.RAW_PATH)
    escaped = Test(raw, How.REGEX, ("(?i)%(?:2f|5c)",))
    match action.text if action else "":
        case "REJECT_REQUEST" | "2":
            why = "Envoy refuses escaped slashes"
            yield Answer(status=400, why=why, when=escaped, place=action.place if action else None)
        case "UNESCAPE_AND_REDIRECT" | "3":
            why = "Envoy redirects to the path with its escaped slashes resolved"
            yield Answer(status=307, why=why, when=escaped, place=action.place if action else None)
        case "UNESCAPE_AND_FORWARD" | "4":
            slash = Substituted(raw, "(?i)%2f", "/", all=True)
            yield _repathed(Substituted(slash, "(?i)%5c", r"\\", all=True), escaped, action.place if action else None)


def _repathed(path: Value, when: Condition, place: Line | None) -> Retarget:
    """The path becomes another one, the query stays."""
    query = Cases(((Test(Of(Subject.QUERY), How.EXISTS), Join((Text("?"), Of(Subject.QUERY)))),))
    return Retarget(value=Join((path, query)), when=when, place=place)


def _host(hcm: Node) -> Iterator[Step]:
    host = header("host")
    if (dot := get(hcm, "strip_trailing_host_dot")) and dot.boolean:
        stripped = Substituted(host, r"\.(?=(?::\d+)?\Z)", "")
        yield Edit(op=Op.SET, which=Named(("host",)), value=stripped, place=dot.place)
    if (every := get(hcm, "strip_any_host_port")) and every.boolean:
        yield Edit(op=Op.SET, which=Named(("host",)), value=Substituted(host, r":\d+\Z", ""), place=every.place)
    elif (matching := get(hcm, "strip_matching_host_port")) and matching.boolean:
        port = Join((Text(":"), Of(Subject.LOCAL_PORT)))
        same = Test(Join((header("host"), Text(" "), port)), How.REGEX, (r"(:\d+) \1\Z",))
        value = Substituted(host, r":\d+\Z", "")
        yield Edit(op=Op.SET, which=Named(("host",)), value=value, when=same, place=matching.place)


def _hop_by_hop(hcm: Node) -> Iterator[Step]:
    yield Edit(op=Op.REMOVE, which=Named(("connection", "upgrade")), when=Not(UPGRADE))
    h2c = both(Test(_TYPE, How.EQUALS, ("h2c",), ignore_case=True))
    yield Edit(op=Op.REMOVE, which=Named(("http2-settings",)), when=h2c)
    yield Edit(op=Op.REMOVE, which=Named(("x-envoy-internal", "keep-alive", "proxy-connection", "transfer-encoding")))
    if not flag(hcm, "proxy_100_continue"):
        waits = Test(header("expect"), How.EQUALS, ("100-continue",), ignore_case=True)
        yield Edit(op=Op.REMOVE, which=Named(("expect",)), when=waits)


def _forwarded(hcm: Node, scheme: Value) -> Iterator[Step]:
    edge, hops = get(hcm, "use_remote_address"), number(hcm, "xff_num_trusted_hops") or 0
    if edge and edge.boolean:
        if not flag(hcm, "skip_xff_append"):
            own = Undecided("", "the client is on the same host: Envoy writes an address of its own")
            local = Test(Of(Subject.PEER), How.NETWORK, _LOOPBACK)
            peer = Cases(((local, own),), Of(Subject.PEER))
            yield Edit(
                op=Op.APPEND,
                which=Named(("x-forwarded-for",)),
                value=peer,
                separator=",",
                drop_empty=True,
                place=edge.place,
            )
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
