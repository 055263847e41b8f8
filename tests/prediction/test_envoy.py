"""What the reader says of Envoy's configs, against the real Envoy: headers, status, and whether the upstream is asked.

One generated config has many virtual hosts, each with its own routes, so that one start of Envoy serves many pairs.
"""

import base64
import hmac
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import prediction
from tests.prediction import Tally, compare, examples
from wsprobe.lb.request import Request, upgrade
from wsprobe.parts import Header

PROXY = "envoy"
_TYPES = "type.googleapis.com/envoy.extensions"
_NAMES = (
    "authorization",
    "x-a",
    "X-B",
    "x_under",
    "origin",
    "cookie",
    "x-forwarded-host",
    "x-tenant",
    "user-agent",
    "via",
)
_VALUES = ("v", "w", "v,w", "", "Bearer t", "3", "a b", "xvx")

names = st.sampled_from(_NAMES)
formats = st.sampled_from(
    (
        "lit",
        "",
        "Basic x",
        "100%%",
        "%REQ(x-a)%",
        "pre-%REQ(X-B?x-a)%-post",
        "%REQ(x-missing)%",
        "%REQ(authorization):3%",
        "%REQ(:path)% %REQ(:authority)% %REQ(:method)%",
        "%PROTOCOL%",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_LOCAL_PORT%",
        "%UPSTREAM_CLUSTER%",
        "%REQ(cookie)%",
        "%REQ(:scheme)%",
        "%REQUEST_HEADER(X-B?cookie)%",
        "%QUERY_PARAM(q)%",
        "%PATH(NQ:ORIG)%|%PATH%",
    )
)
actions = st.sampled_from(
    ("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS")
)


@st.composite
def additions(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {"header": {"key": draw(names), "value": draw(formats)}}
    if draw(st.booleans()):
        made["append_action"] = draw(actions)
    elif draw(st.integers(0, 3)) == 0:
        made["append"] = draw(st.booleans())
    if draw(st.integers(0, 4)) == 0:
        made["keep_empty_value"] = True
    return made


@st.composite
def mutations(draw: st.DrawFn, most: int = 2) -> dict[str, Any]:
    """The header edits of a level."""
    made: dict[str, Any] = {}
    if added := draw(st.lists(additions(), max_size=most)):
        made["request_headers_to_add"] = added
    if removed := draw(
        st.lists(st.sampled_from([*_NAMES, "upgrade", "connection", "x-envoy-expected-rq-timeout-ms"]), max_size=1)
    ):
        made["request_headers_to_remove"] = removed
    return made


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(("exact", "prefix", "suffix", "contains", "safe_regex")))
    value = draw(st.sampled_from(("v", "w", "v,w", "V", "x", "Bearer", "/a", "v w", "v%20w")))
    if kind == "safe_regex":
        return {"safe_regex": {"regex": draw(st.sampled_from(("v", "[vw]+", ".*v.*", "(?i)BEARER .*")))}}
    made: dict[str, Any] = {kind: value}
    return made | ({"ignore_case": True} if draw(st.booleans()) else {})


@st.composite
def header_matchers(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": draw(st.sampled_from(("x-a", "X-B", "authorization", ":path", ":authority", "cookie")))
    }
    how = draw(st.sampled_from(("string", "string", "present", "range", "nothing")))
    if how == "string":
        made["string_match"] = draw(strings())
    elif how == "present":
        made["present_match"] = draw(st.booleans())
    elif how == "range":
        made["range_match"] = {"start": 1, "end": draw(st.sampled_from((3, 4)))}
    if draw(st.integers(0, 2)) == 0:
        made["invert_match"] = True
    if draw(st.integers(0, 3)) == 0:
        made["treat_missing_header_as_empty"] = True
    return made


@st.composite
def matches(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = draw(
        st.sampled_from(
            (
                {"prefix": "/"},
                {"prefix": "/a"},
                {"prefix": "/ws/"},
                {"path": "/ws"},
                {"path": "/a/b"},
                {"path_separated_prefix": "/a"},
                {"safe_regex": {"regex": "/w.*"}},
                {"safe_regex": {"regex": "(?i)/A/.*"}},
                {"connect_matcher": {}},
            )
        )
    )
    made = dict(made)
    if not {"safe_regex", "connect_matcher"} & set(made) and draw(st.integers(0, 3)) == 0:
        made["case_sensitive"] = False
    if draw(st.integers(0, 3)) == 0:
        made["headers"] = draw(st.lists(header_matchers(), min_size=1, max_size=2))
    if draw(st.integers(0, 5)) == 0:
        one: dict[str, Any] = {"name": draw(st.sampled_from(("q", "r")))}
        one |= {"present_match": draw(st.booleans())} if draw(st.booleans()) else {"string_match": draw(strings())}
        made["query_parameters"] = [one]
    if draw(st.integers(0, 9)) == 0:
        made["runtime_fraction"] = {"default_value": {"numerator": draw(st.sampled_from((0, 100)))}}
    return made


@st.composite
def weighted(draw: st.DrawFn) -> dict[str, Any]:
    """The only cluster of those that are drawn by weight."""
    named = {"cluster_header": "x-a"} if draw(st.integers(0, 3)) == 0 else {"name": "app"}
    made: dict[str, Any] = {**named, "weight": 1} | draw(mutations(1))
    if draw(st.booleans()):
        made["host_rewrite_literal"] = "canary.example"
    if draw(st.booleans()):
        made["typed_per_filter_config"] = {"jwt": draw(st.sampled_from(_OF_JWT))}
    return made


@st.composite
def route_actions(draw: st.DrawFn, match: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    where = draw(st.integers(0, 9))
    if where == 0:
        made["cluster_header"] = "x-a"
    elif where == 1:
        made["weighted_clusters"] = {"clusters": [draw(weighted())]}
    else:
        made["cluster"] = draw(st.sampled_from(("app", "app", "app", "gone")))
    host = draw(st.integers(0, 9))
    rewrites: dict[int, dict[str, Any]] = {
        0: {"host_rewrite_literal": "new.example"},
        1: {"host_rewrite_header": "x-tenant"},
        2: {"host_rewrite_path_regex": {"pattern": {"regex": "^/([a-z]+)/.*$"}, "substitution": r"\1.example"}},
        3: {"auto_host_rewrite": True},
    }
    made |= rewrites.get(host, {})
    if host < 4 and draw(st.booleans()):
        made["append_x_forwarded_host"] = True
    path = draw(st.integers(0, 9))
    if path == 0 and "connect_matcher" not in match:
        made["prefix_rewrite"] = draw(st.sampled_from(("/", "/new", "/new/")))
    elif path == 1:
        made["regex_rewrite"] = {"pattern": {"regex": "/(a|ws)"}, "substitution": r"/z\1\0"}
    timeout = draw(st.sampled_from(("", "", "0s", "3.5s")))
    if timeout:
        made["timeout"] = timeout
    if draw(st.integers(0, 5)) == 0:
        made["max_stream_duration"] = {"max_stream_duration": "60s"} if draw(st.booleans()) else {}
    if draw(st.integers(0, 7)) == 0:
        made["retry_policy"] = {"retry_on": "5xx", "per_try_timeout": draw(st.sampled_from(("1s", "40s")))}
    if draw(st.integers(0, 5)) == 0:
        made["upgrade_configs"] = [{"upgrade_type": "websocket", "enabled": draw(st.booleans())}]
    return made


@st.composite
def routes(draw: st.DrawFn) -> dict[str, Any]:
    match = draw(matches())
    made: dict[str, Any] = {"match": match, **draw(mutations())}
    kind = draw(st.integers(0, 11))
    if kind == 0:
        made["direct_response"] = {"status": 299}
    elif kind == 1:
        made["redirect"] = {"path_redirect": "/x", "response_code": draw(st.sampled_from(("FOUND", "SEE_OTHER")))}
    else:
        made["route"] = draw(route_actions(match))
    if draw(st.integers(0, 7)) == 0:
        made["typed_per_filter_config"] = {"jwt": draw(st.sampled_from(_OF_JWT))}
    if draw(st.integers(0, 7)) == 0:
        made["name"] = "named"
    return made


_ROUTE = "type.googleapis.com/envoy.config.route.v3"
_PER_ROUTE = f"{_TYPES}.filters.http.jwt_authn.v3.PerRouteConfig"
_OF_JWT: tuple[dict[str, Any], ...] = (
    {"@type": f"{_ROUTE}.FilterConfig", "disabled": True},
    {"@type": _PER_ROUTE, "disabled": True},
    {"@type": _PER_ROUTE, "requirement_name": "named"},
    {"@type": _PER_ROUTE, "requirement_name": "gone"},
)
"""What a route says of the filter that is named jwt."""
_DOMAINS = ("a.test", "*.a.test", "*.b.a.test", "c.*", "c.d.*", "*", "a.test:81", "*-x.test")


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A route configuration of several virtual hosts."""
    domains = draw(st.lists(st.sampled_from(_DOMAINS), min_size=1, max_size=5, unique=True))
    hosts: list[dict[str, Any]] = []
    while domains:
        taken, domains = domains[: draw(st.integers(1, 2))], domains[2:]
        host: dict[str, Any] = {
            "name": f"host{len(hosts)}",
            "domains": taken,
            "routes": draw(st.lists(routes(), min_size=1, max_size=4)),
            **draw(mutations(1)),
        }
        if draw(st.integers(0, 5)) == 0:
            host["include_request_attempt_count"] = True
        if draw(st.integers(0, 9)) == 0:
            host["require_tls"] = draw(st.sampled_from(("ALL", "EXTERNAL_ONLY")))
        hosts.append(host)
    made: dict[str, Any] = {"name": "table", "virtual_hosts": hosts, "validate_clusters": False, **draw(mutations(1))}
    if draw(st.integers(0, 3)) == 0:
        made["most_specific_header_mutations_wins"] = True
    if draw(st.integers(0, 5)) == 0:
        made["ignore_port_in_host_matching"] = True
    if draw(st.integers(0, 9)) == 0:
        made["internal_only_headers"] = ["x-a"]
    return made


_OPTIONS: tuple[dict[str, Any], ...] = (
    {"use_remote_address": True},
    {"use_remote_address": True, "xff_num_trusted_hops": 1},
    {"use_remote_address": True, "skip_xff_append": True},
    {"use_remote_address": True, "append_x_forwarded_port": True, "xff_num_trusted_hops": 2},
    {"xff_num_trusted_hops": 1},
    {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}},
    {
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
    },
    {"via": "lab"},
    {"add_user_agent": True},
    {"generate_request_id": False},
    {"preserve_external_request_id": True, "use_remote_address": True},
    {"scheme_header_transformation": {"scheme_to_overwrite": "https"}},
    {"normalize_path": True},
    {"merge_slashes": True},
    {"path_with_escaped_slashes_action": "REJECT_REQUEST"},
    {"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
    {"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"},
    {"strip_any_host_port": True},
    {"strip_matching_host_port": True},
    {"strip_trailing_host_dot": True},
    {"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}},
    {"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}},
    {"common_http_protocol_options": {"max_headers_count": 12}},
    {"http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "ten.test"}},
    {"forward_client_cert_details": "ALWAYS_FORWARD_ONLY"},
    {"forward_client_cert_details": "APPEND_FORWARD"},
    {"proxy_100_continue": True},
    {"max_request_headers_kb": 8},
)


def _filter(kind: str, message: str, name: str = "", **settings: object) -> dict[str, Any]:
    return {
        "name": name or f"envoy.filters.http.{kind}",
        "typed_config": {"@type": f"{_TYPES}.filters.http.{kind}.v3.{message}", **settings},
    }


_KEYS = '{"keys": [{"kty": "oct", "alg": "HS256", "kid": "k", "k": "bGFiLXNlY3JldC1sYWItc2VjcmV0LWxhYi1zZWNyZXQtMzI"}]}'


def _signed() -> str:
    """A token that the keys above are good for."""
    parts = ({"alg": "HS256", "kid": "k"}, {"iss": "lab", "sub": "me"})
    said = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    key = b"lab-secret-lab-secret-lab-secret-32"
    return f"{said}.{_base64(hmac.digest(key, said.encode(), 'sha256'))}"


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


_GOOD = _signed()

_FIXED: tuple[dict[str, Any], ...] = (
    _filter("cors", "Cors"),
    _filter("csrf", "CsrfPolicy", filter_enabled={"default_value": {"numerator": 100}}),
    _filter(
        "lua",
        "Lua",
        default_source_code={"inline_string": "function envoy_on_request(h) h:headers():replace('x-a', 'lua') end"},
    ),
    _filter(
        "basic_auth",
        "BasicAuth",
        users={"inline_string": "u:{SHA}UWupcCATkJPxIIHFU2FrAYBhYdw="},
        forward_username_header="x-user",
    ),
    _filter(
        "header_to_metadata",
        "Config",
        request_rules=[{"header": "x-a", "on_header_present": {"key": "k"}, "remove": True}],
    ),
    _filter(
        "local_ratelimit", "LocalRateLimit", stat_prefix="r", token_bucket={"max_tokens": 9, "fill_interval": "1s"}
    ),
)


_OF_QUERY: tuple[dict[str, Any], ...] = ({"remove": "q"}, {"append": {"record": {"key": "edge", "value": "1"}}})


@st.composite
def header_mutations(draw: st.DrawFn) -> dict[str, Any]:
    mutation = st.one_of(
        st.builds(lambda name: {"remove": name}, names),
        st.builds(lambda added: {"append": {k: v for k, v in added.items() if k != "append"}}, additions()),
        st.builds(lambda part: {"remove_on_match": {"key_matcher": {"prefix": part}}}, st.sampled_from(("x-", "o"))),
    )
    made: dict[str, Any] = {"request_mutations": draw(st.lists(mutation, min_size=1, max_size=3))}
    if draw(st.integers(0, 9)) == 0:
        made["query_parameter_mutations"] = [draw(st.sampled_from(_OF_QUERY))]
    return _filter("header_mutation", "HeaderMutation", mutations=made)


@st.composite
def api_keys(draw: st.DrawFn) -> dict[str, Any]:
    places = st.sampled_from(({"header": "X-B"}, {"query": "q"}, {"cookie": "ck"}))
    sources = draw(st.lists(places, min_size=1, max_size=2))
    hides = {"header": "x-client", "hide_credentials": draw(st.booleans())}
    credentials = [{"key": "v", "client": "one"}]
    return _filter("api_key_auth", "ApiKeyAuth", credentials=credentials, key_sources=sources, forwarding=hides)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A filter that answers by itself."""
    abort = {"http_status": 418, "percentage": {"numerator": draw(st.sampled_from((0, 50, 100)))}}
    return _filter("fault", "HTTPFault", abort=abort, headers=draw(st.lists(header_matchers(), max_size=1)))


@st.composite
def jwts(draw: st.DrawFn) -> dict[str, Any]:
    provider: dict[str, Any] = {"issuer": "lab", "local_jwks": {"inline_string": _KEYS}}
    if draw(st.booleans()):
        provider["forward"] = draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        provider["forward_payload_header"] = "x-b"
    if draw(st.integers(0, 3)) == 0:
        provider["claim_to_headers"] = [{"header_name": "x-tenant", "claim_name": "sub"}]
    where = draw(st.integers(0, 4))
    elsewhere: dict[int, dict[str, Any]] = {
        0: {"from_headers": [{"name": "x-a"}]},
        1: {"from_headers": [{"name": "X-B", "value_prefix": "v"}], "from_params": ["q"]},
        2: {"from_cookies": ["ck"]},
    }
    provider |= elsewhere.get(where, {})
    one = {"provider_name": "p"}
    requires = st.sampled_from(
        (
            one,
            one,
            {"requires_any": {"requirements": [one, {"allow_missing": {}}]}},
            {"requires_any": {"requirements": [one, {"allow_missing_or_failed": {}}]}},
            {"allow_missing": {}},
            {"allow_missing_or_failed": {}},
            {"requires_all": {"requirements": [one, one]}},
            {"extract_only_without_validation": {}},
            {},
        )
    )
    rules = []
    for _ in range(draw(st.integers(1, 2))):
        rule: dict[str, Any] = {"match": draw(matches())}
        if needed := draw(requires):
            rule["requires"] = needed
        rules.append(rule)
    return _filter(
        "jwt_authn", "JwtAuthentication", "jwt", providers={"p": provider}, rules=rules, requirement_map={"named": one}
    )


filters = st.one_of(jwts(), jwts(), header_mutations(), api_keys(), answers(), st.sampled_from(_FIXED))
"""One filter before the router."""


@st.composite
def detections(draw: st.DrawFn) -> dict[str, Any]:
    """An extension that tells the address of the client."""
    if draw(st.booleans()):
        kind, message = "custom_header", "CustomHeaderConfig"
        settings: dict[str, Any] = {"header_name": "X-Forwarded-For"}
        if draw(st.booleans()):
            settings["allow_extension_to_set_address_as_trusted"] = True
        if draw(st.booleans()):
            settings["reject_with_status"] = {"code": draw(st.sampled_from(("Unauthorized", "OK")))}
    else:
        kind, message = "xff", "XffConfig"
        settings = {"xff_num_trusted_hops": draw(st.integers(0, 1)), "skip_xff_append": draw(st.booleans())}
    package = "type.googleapis.com/envoy.extensions.http.original_ip_detection"
    return {"name": kind, "typed_config": {"@type": f"{package}.{kind}.v3.{message}", **settings}}


@st.composite
def managers(draw: st.DrawFn) -> dict[str, Any]:
    """A connection manager."""
    made: dict[str, Any] = {"@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"}
    made["stat_prefix"] = "edge"
    for option in draw(st.lists(st.sampled_from(_OPTIONS), max_size=3)):
        made |= option
    if draw(st.integers(0, 9)) == 0:
        made |= {"use_remote_address": False, "xff_num_trusted_hops": 0, "append_x_forwarded_port": False}
        made["original_ip_detection_extensions"] = [draw(detections())]
    if (enabled := draw(st.sampled_from((None, True, True, True, False)))) is not None:
        made["upgrade_configs"] = [{"upgrade_type": "websocket", "enabled": enabled}]
    made["route_config"] = draw(tables())
    router = _filter("router", "Router")
    if draw(st.integers(0, 9)) == 0:
        router["typed_config"]["suppress_envoy_headers"] = True
    if draw(st.integers(0, 9)) == 0:
        router["typed_config"]["upstream_http_filters"] = [
            draw(header_mutations()),
            _filter("upstream_codec", "UpstreamCodec"),
        ]
    chosen = (
        draw(st.lists(filters, max_size=2, unique_by=lambda each: each["name"])) if draw(st.integers(0, 2)) == 0 else []
    )
    made["http_filters"] = [*chosen, router]
    if draw(st.integers(0, 11)) == 0 and made.get("upgrade_configs"):
        made["upgrade_configs"][0]["filters"] = [_filter("router", "Router")]
    return made


def config(manager: dict[str, Any], port: int, upstream: int) -> dict[str, Any]:
    """A bootstrap with one listener and one cluster."""

    def at(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "edge", "enable_reuse_port": False, "address": at(port), "filter_chains": [chain]}
    endpoint = {"endpoint": {"address": at(upstream)}}
    cluster = {
        "name": "app",
        "connect_timeout": "2s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


hosts = st.sampled_from(
    (
        "a.test",
        "A.Test",
        "x.a.test",
        "x.b.a.test",
        "c.d",
        "c.d.e",
        "a.test:81",
        "other",
        "q-x.test",
        "-x.test",
        "a.test.",
        "a.test:99",
        "",
    )
)
_PIECES = [
    "/",
    "/",
    "a",
    "b",
    "A",
    ".",
    "..",
    "%2e",
    "%2f",
    "%5C",
    "\\\\",
    "//",
    "%20",
    "%41",
    "%7e",
    "%25",
    "%zz",
    "%",
    "%c3%a9",
    ";x=1",
    "~",
    "%3f",
    "|",
    "{",
    "^",
    "[",
    "%00",
    "!",
    "(",
    "@",
    "..;",
    ".;x",
    "%2d",
]
paths = st.lists(st.sampled_from(_PIECES), max_size=7).map(lambda pieces: "/" + "".join(pieces))
known_targets = st.sampled_from(
    (
        "/",
        "/ws",
        "/WS",
        "/ws/x?q=v",
        "/a",
        "/ab",
        "/A/b",
        "/a/b?q=&r=w",
        "/a//b/../c",
        "/a/%2e%2E/b%2fc?x=/../",
        "/a/./b;p=1?q",
        f"/ws?access_token={_GOOD}",
        f"/a?q={_GOOD}&r=1",
        f"/?q={_GOOD}",
        "/w/%41%7e%20",
        "/ws#frag",
        "/a\\b",
        "http://a.test/ws?q=v",
        "/ws?r=1&q=v%20w&q=2",
    )
)
targets = st.one_of(known_targets, known_targets, paths)
header_values = st.sampled_from(_VALUES)
_EXTRAS: tuple[Header, ...] = (
    ("Authorization", "Bearer abc"),
    ("Authorization", f"Bearer {_GOOD}"),
    ("X-A", _GOOD),
    ("Cookie", f"a=b; ck={_GOOD}"),
    ("authorization", "Basic dTpw"),
    ("X-Forwarded-For", "10.1.2.3"),
    ("X-Forwarded-For", "1.1.1.1, 2.2.2.2"),
    ("X-Forwarded-For", "bogus"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Proto", "wss"),
    ("X-Request-Id", "rid"),
    ("X-Request-Id", ""),
    ("X-Envoy-Internal", "true"),
    ("X-Envoy-Upstream-Rq-Timeout-Ms", "5000"),
    ("X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms", "700"),
    ("X-Envoy-Expected-Rq-Timeout-Ms", "7"),
    ("X-Envoy-Original-Path", "/old"),
    ("X-Envoy-Original-Host", "old"),
    ("X-Envoy-Decorator-Operation", "op"),
    ("X-Envoy-Attempt-Count", "9"),
    ("X-Envoy-Force-Trace", "1"),
    ("X-Envoy-Retry-On", "5xx"),
    ("X-Envoy-Foo", "1"),
    ("X-Forwarded-Client-Cert", "By=x"),
    ("X-Forwarded-Port", "9"),
    ("X-Forwarded-Host", "a.test"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("TE", "gzip"),
    ("Te", "gzip, Trailers"),
    ("Via", "1.1 other"),
    ("User-Agent", ""),
    ("Forwarded", "for=1.1.1.1"),
    ("Content-Length", "0"),
    ("X-Long", "y" * 3000),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """An upgrade, often an odd one."""
    headers: list[Header] = [("Host", draw(hosts))]
    odd = draw(st.integers(0, 9))
    upgrade = "websocket" if odd > 1 else draw(st.sampled_from(("WebSocket", "websocket, foo", "h2c", "foo", "")))
    connection = (
        "Upgrade"
        if odd > 2
        else draw(
            st.sampled_from(
                (
                    "upgrade",
                    "keep-alive, Upgrade",
                    "close",
                    "Upgrade, x-a",
                    "",
                    "x-a, Authorization, te",
                    "host",
                    "x-forwarded-for",
                    "a,b,c,d,e,f,g,h,i,j",
                )
            )
        )
    )
    headers += [("Upgrade", upgrade)] if upgrade else []
    headers += [("Connection", connection)] if connection else []
    headers += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
    headers += draw(st.lists(st.sampled_from(_EXTRAS), max_size=3))
    headers += draw(st.lists(st.tuples(names.map(_recased), header_values), max_size=3))
    if draw(st.integers(0, 11)) == 0:
        headers = draw(st.permutations(headers))
    version = "HTTP/1.0" if draw(st.integers(0, 19)) == 0 else "HTTP/1.1"
    return Request(target=draw(targets), headers=tuple(headers), version=version)


def _recased(name: str) -> str:
    return string.capwords(name, "-")


def _lone(filter_: dict[str, Any]) -> dict[str, Any]:
    """A connection manager with one route and one filter."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    return {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [filter_, _filter("router", "Router")],
    }


_HEALTH = [{"name": ":path", "string_match": {"exact": "/health"}}]


@pytest.mark.parametrize(
    "filter_",
    [
        pytest.param(_filter("buffer", "Buffer", max_request_bytes=1000), id="buffer"),
        pytest.param(
            _filter("health_check", "HealthCheck", pass_through_mode=False, headers=_HEALTH), id="health_check"
        ),
    ],
)
def test_filters_that_wait_for_a_body_hang_an_upgrade(
    tally: Tally, filter_: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "SECONDS", 1)
    compare(
        PROXY,
        lambda _folder, port, upstream: {"envoy.yaml": json.dumps(config(_lone(filter_), port, upstream))},
        [upgrade("/health"), Request(target="/health", headers=(("Host", "a"),))],
        tally,
    )


@given(manager=managers(), sent=st.lists(requests(), min_size=24, max_size=24))
@examples(16)
def test_predictions_are_what_envoy_does(tally: Tally, manager: dict[str, Any], sent: list[Request]) -> None:
    def render(folder: Path, port: int, upstream: int) -> dict[str, str]:
        return {"envoy.yaml": json.dumps(config(manager, port, upstream), indent=1)}

    compare(PROXY, render, sent, tally)
