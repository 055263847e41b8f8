"""Traefik: what is predicted for generated configs and requests is what it does."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prediction import Tally, compare, examples
from wsprobe.lb.request import Request

PROXY = "traefik"
ROUTES = 12
REQUESTS = 30

Tree = dict[str, Any]

Config = tuple[Tree, Tree, str]
"""The settings of the entry point, the dynamic config, and the format that it is written in."""

_NAMES = ("Authorization", "X-A", "x-a", "X-Dup", "X_Under", "X-Empty", "Cookie", "Origin", "Sec-WebSocket-Protocol")
_OWN = (
    "X-Forwarded-For",
    "x-forwarded-for",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Real-Ip",
)
_HOP = (
    "Connection",
    "Upgrade",
    "Te",
    "Keep-Alive",
    "Proxy-Authorization",
    "User-Agent",
    "Accept-Encoding",
    "Host",
    "Range",
)
_VALUES = ("", "1", "a, b", "Bearer t", "websocket", "Upgrade", "keep-alive", "https", "10.0.0.1", "app.example.com:81")

_texts = st.sampled_from(_VALUES)
_scalars = st.sampled_from((*_VALUES, 1, 1.5, True, None))
_headers = st.dictionaries(st.sampled_from((*_NAMES, *_OWN, *_HOP)), _scalars, min_size=1, max_size=3).filter(
    lambda found: any(value is not None for value in found.values())  # else Traefik refuses the whole file
)
_bcrypt = "u:$apr1$BA0.ITPh$DkfkVcU/DUUFUm4..m4y00"
_paths = st.sampled_from(("/a", "/a/", "/a b", "/é", "/a%2Fb", "/a!", "/", "/r1", "/r"))
_regexes = st.sampled_from(
    ("^/r[0-9]+", "/r[0-9]+/a", "a", "/(a|b)?", "^/(?P<first>[^/]+)/(.*)$", "[^a-z]+", "/?", "^$")
)
_wanted = st.sampled_from(("/n/$1", "/x${1}y", "$first/${2}", "/n", "/$1a/$$", "/é ", "\\1", "/%41"))
_ranges = st.lists(st.sampled_from(("127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "::1")), min_size=1, max_size=2)

_middlewares: st.SearchStrategy[Tree] = st.one_of(
    _headers.map(lambda found: {"headers": {"customRequestHeaders": found}}),
    _headers.map(lambda found: {"headers": {"customRequestHeaders": found}}),
    _headers.map(lambda found: {"headers": {"customResponseHeaders": found}}),
    st.sampled_from(
        (
            {"headers": {"allowedHosts": ["app.example.com"]}},
            {"headers": {"allowedHosts": ["x.y"], "hostsProxyHeaders": ["X-Nowhere"]}},
            {"headers": {"sslRedirect": True, "stsSeconds": 5}},
            {"headers": {"accessControlAllowMethods": ["GET"]}},
            {"compress": {}},
            {"contentType": {}},
            {"buffering": {"maxRequestBodyBytes": 100000}},
            {"retry": {"attempts": 2}},
            {"circuitBreaker": {"expression": "NetworkErrorRatio() > 0.9"}},
            {"rateLimit": {"average": 10000, "burst": 10000}},
            {"inFlightReq": {"amount": 1000}},
            {"grpcWeb": {"allowOrigins": ["*"]}},
            {"passTLSClientCert": {"pem": True}},
            {"encodedCharacters": {"allowEncodedSlash": True}},
            {"basicAuth": {"users": [_bcrypt], "removeHeader": True}},
            {"digestAuth": {"users": ["t:traefik:a2688e031edb4be6a3797f3882655c05"], "headerField": "X-User"}},
            {"redirectScheme": {"scheme": "https", "permanent": True}},
            {"redirectScheme": {"scheme": "http"}},
            {"redirectScheme": {"scheme": "http", "port": "81"}},
            {"redirectRegex": {"regex": "^http://app.example.com/r1/(.*)", "replacement": "http://x/$1"}},
            {"chain": {"middlewares": ["m0", "m1"]}},
        )
    ),
    _paths.map(lambda path: {"addPrefix": {"prefix": path}}),
    _paths.map(lambda path: {"replacePath": {"path": path}}),
    st.lists(_paths, min_size=1, max_size=3).map(lambda found: {"stripPrefix": {"prefixes": found}}),
    st.lists(_regexes, min_size=1, max_size=2).map(lambda found: {"stripPrefixRegex": {"regex": found}}),
    st.builds(lambda found, to: {"replacePathRegex": {"regex": found, "replacement": to}}, _regexes, _wanted),
    st.builds(
        lambda ranges, depth: {
            "ipAllowList": {"sourceRange": ranges, **({"ipStrategy": {"depth": depth}} if depth else {})}
        },
        _ranges,
        st.integers(0, 2),
    ),
)

_leaves = st.sampled_from(
    (
        "Host(`app.example.com`)",
        "Host(`other.example`)",
        "Host(`OTHER.example.`)",
        "HostRegexp(`^[a-z]+\\.example`)",
        "PathPrefix(`/r1`)",
        "PathPrefix(`/r1/a b`)",
        "PathPrefix(`/r2/a%2Fb`)",
        "Path(`/r3/`)",
        "Path(`/r3/é`)",
        "PathRegexp(`^/r[1-4]/\\w*$`)",
        "PathRegexp(`\\.js$|b$`)",
        "Header(`X-A`, `1`)",
        "header(`x-dup`, `two`)",
        "HeaderRegexp(`Authorization`, `^Bearer .`)",
        "HeaderRegexp(`Connection`, `(?i)^upgrade$`)",
        "Header(`X-Forwarded-Proto`, `ws`)",
        "HEADER(`Host`, `app.example.com`)",
        "Method(`GET`)",
        "Method(`post`)",
        "Query(`a`, `b`)",
        "Query(`a`)",
        "Query(`a b`, `c d`)",
        "QueryRegexp(`a`, `^b|c$`)",
        "ClientIP(`127.0.0.0/8`)",
        "ClientIP(`10.0.0.0/8`)",
    )
)
_v2_leaves = st.sampled_from(
    (
        "Host(`app.example.com`, `OTHER.example`)",
        "HostRegexp(`{name:[a-z]+}.example`, `app.{rest}.com`)",
        "Path(`/r1/{id}`, `/r2/`)",
        "PathPrefix(`/r3/{name:[a-z]+}`)",
        "Headers(`X-A`, `1`)",
        "HeadersRegexp(`Authorization`, `^Bearer`)",
        "Query(`a=b`)",
        "Query(`a=`)",
        "Method(`GET`, `HEAD`)",
        "HostHeader(`other.example`)",
        "ClientIP(`10.0.0.0/8`, `127.0.0.1`)",
    )
)
_rules = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} && {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"{pair[0]} || {pair[1]}"),
        inner.map(lambda rule: f"!({rule})"),
        inner.map(lambda rule: f"( {rule} )"),
    ),
    max_leaves=5,
)

_entries: st.SearchStrategy[Tree] = st.sampled_from(
    (
        {},
        {},
        {"forwardedHeaders": {"insecure": True}},
        {"forwardedHeaders": {"insecure": True, "notAppendXForwardedFor": True}},
        {"forwardedHeaders": {"trustedIPs": ["127.0.0.1/32"]}},
        {"forwardedHeaders": {"trustedIPs": ["10.0.0.0/8"], "connection": ["X-A", "x-dup"]}},
        {"http": {"sanitizePath": False, "encodeQuerySemicolons": True}},
        {"http": {"aliasHeadersStrategy": "delete"}},
        {"http": {"aliasHeadersStrategy": "reject", "maxHeaderBytes": 2000}},
        {"http": {"underscoreHeadersStrategy": "delete", "encodedCharacters": {"allowEncodedSlash": False}}},
        {"http": {"middlewares": ["m0@file", "m2@file"]}},
    )
)


@st.composite
def _configs(draw: st.DrawFn) -> Config:
    middlewares = {f"m{number}": draw(_middlewares) for number in range(ROUTES)}
    for name in ("m0", "m1"):
        while "chain" in middlewares[name]:
            middlewares[name] = draw(_middlewares)
    routers: Tree = {}
    for number in range(ROUTES):
        rule = draw(_rules) if number % 3 == 0 else f"PathPrefix(`/r{number}`)"
        v2 = {"rule": f"!{draw(_v2_leaves)} && {draw(_v2_leaves)}", "ruleSyntax": "v2"} if number % 3 == 1 else {}
        used = draw(st.lists(st.sampled_from([*middlewares, "m0@file"]), max_size=3))
        routers[f"r{number}"] = {
            "rule": rule,
            "middlewares": used,
            "service": draw(
                st.sampled_from(
                    ("app", "app", "app", "named", "based", "weighted", "none", "called", "idle", "noop@internal")
                )
            ),
            "priority": draw(st.sampled_from((100 + number, 1000 - number))),
            **(v2 if draw(st.booleans()) else {}),
        }
    ready = {"rule": "Path(`/lab-is-ready`)", "service": "ping@internal", "priority": 100000}
    services = {
        "app": {"loadBalancer": {"servers": [{"url": "http://@UPSTREAM@"}]}},
        "named": {"loadBalancer": {"passHostHeader": False, "servers": [{"url": "http://@UPSTREAM@/x"}]}},
        "based": {"loadBalancer": {"servers": [{"url": "http://@UPSTREAM@/base/", "preservePath": True}]}},
        "weighted": {"weighted": {"services": [{"name": "named", "weight": 0}, {"name": "app@file", "weight": 2}]}},
        "none": {"loadBalancer": {"servers": []}},
        "called": {"loadBalancer": {"servers": [{"url": "ws://@UPSTREAM@"}]}},
        "idle": {"loadBalancer": {"strategy": "hrw", "servers": [{"url": "http://@UPSTREAM@", "weight": 0}]}},
    }
    http = {"routers": {**routers, "ready": ready}, "services": services, "middlewares": middlewares}
    return draw(_entries), {"http": http}, draw(st.sampled_from(("yaml", "json", "toml")))


_HOSTS = st.sampled_from(
    ("app.example.com", "app.example.com", "app.example.com:81", "OTHER.example", "other.example.:80", "[::1]:8")
)
_TARGETS = st.sampled_from(
    (
        "",
        "/",
        "/a",
        "/a/b?x=1",
        "/a//b/../c",
        "/%41%2f%7e",
        "/a%2Fb",
        "/é",
        "/%C3%A9/a%20b",
        "/a b",
        "/a%zz",
        "/a!b'(c)*",
        "/a^b|c",
    )
)
_QUERIES = st.sampled_from(("", "", "?", "?a=b", "?a=%62&x", "?a", "?a=", "?a+b=c%20d", "?a=x;a=b", "?a=c&a=x#f"))
_LINES = st.tuples(
    st.sampled_from(
        (
            *_NAMES,
            *_OWN,
            "X-Forwarded-Port",
            "X_Forwarded_For",
            "X.Dot",
            "Te",
            "Range",
            "Forwarded",
            "Proxy-Connection",
            "Expect",
            "Trailer",
            "Sec-WebSocket-Extensions",
            "User-Agent",
            "Accept-Encoding",
        )
    ),
    st.sampled_from((*_VALUES, "two", "x" * 2000)),
)


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    """An upgrade, most often in order, with more headers than a client would send."""
    lines = [("Host", draw(_HOSTS))]
    for name, usual, odd in (
        ("Upgrade", "websocket", ("WebSocket", "h2c", "websocket, foo", "", None)),
        (
            "Connection",
            "Upgrade",
            (
                "keep-alive, Upgrade",
                "upgrade,X-A , authorization",
                "close",
                "x-dup",
                "Upgrade, Upgrade, X-Forwarded-For, te",
                "",
                None,
            ),
        ),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", (None, "two")),
        ("Sec-WebSocket-Version", "13", ("13",)),
    ):
        value = draw(st.sampled_from((usual,) * 5 * len(odd) + odd))
        lines += [(name, value)] if value is not None else []
    lines += draw(st.lists(_LINES, max_size=5))
    if draw(st.integers(0, 20)) == 0:
        lines += draw(st.sampled_from(((("Host", "two"),), (("Connection", "X-A"),), (("Upgrade", "foo"),))))
    target = f"/r{draw(st.integers(0, ROUTES))}{draw(_TARGETS)}{draw(_QUERIES)}"
    target = draw(st.sampled_from((target,) * 20 + (f"http://abs.example{target}", "x", "//r1/a")))
    method = draw(st.sampled_from(("GET",) * 10 + ("POST", "HEAD", "OPTIONS")))
    version = draw(st.sampled_from(("HTTP/1.1",) * 20 + ("HTTP/1.0",)))
    return Request(target=target, headers=tuple(lines), method=method, version=version)


def render(config: Config, port: int, upstream: int, folder: Path) -> Mapping[str, str]:
    """The files of a config."""
    entry, dynamic, form = config
    name = "routes.toml" if form == "toml" else "routes.yaml"
    static = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO"},
        "entryPoints": {
            "edge": {"address": f"127.0.0.1:{port}", "transport": {"lifeCycle": {"graceTimeOut": 0}}, **entry}
        },
        "providers": {"providersThrottleDuration": "0s", "file": {"filename": f"{folder}/{name}"}},
        "ping": {"manualRouting": True},
    }
    writers: dict[str, Callable[[Tree], str]] = {"toml": _toml, "json": json.dumps, "yaml": _yaml}
    text = writers[form](dynamic)
    return {"traefik.yaml": _yaml(static), name: text.replace("@UPSTREAM@", f"127.0.0.1:{upstream}")}


def _yaml(tree: Tree) -> str:
    import yaml

    return str(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))


def _toml(tree: Tree) -> str:
    """TOML, tables in some places and inline tables in others."""
    lines = []
    for section, entries in tree["http"].items():
        for name, entry in entries.items():
            lines.append(f"[http.{section}.{name}]")
            lines += [f"  {key} = {_inline(value)}" for key, value in entry.items()]
    return "\n".join(lines) + "\n"


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items() if each is not None)
            + " }"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@given(_configs(), st.lists(_requests(), min_size=REQUESTS, max_size=REQUESTS))
@examples(12)
def _pairs(tally: Tally, config: Config, requests: list[Request]) -> None:
    compare(PROXY, lambda folder, port, upstream: render(config, port, upstream, folder), requests, tally)


def test_what_is_predicted_is_what_the_upstream_receives(tally: Tally) -> None:
    _pairs(tally)


@pytest.mark.parametrize("upgrade", ["websocket", ""])
@pytest.mark.parametrize(
    "connection",
    ["keep-alive, Upgrade", "X-A , upgrade", "upgrade,x-a", "X-Dup,X-B,close", "", "X-A", ",X-A,,Upgrade,"],
)
def test_what_connection_may_name_is_settled_before_a_route_is_chosen(
    tally: Tally, connection: str, upgrade: str
) -> None:
    app = {"loadBalancer": {"servers": [{"url": "http://@UPSTREAM@"}]}}
    ready = {"rule": "Path(`/lab-is-ready`)", "service": "ping@internal", "priority": 100_000}
    plain = {"rule": "PathPrefix(`/`)", "service": "app", "priority": 1}
    named = {"rule": "Header(`Connection`, `Upgrade`)", "service": "noop@internal", "priority": 2}
    dynamic = {"http": {"routers": {"plain": plain, "named": named, "ready": ready}, "services": {"app": app}}}
    config = ({"forwardedHeaders": {"connection": ["X-A", "x-dup"]}}, dynamic, "toml")
    own = (("Host", "a"), ("Upgrade", upgrade), ("Connection", connection), ("X-A", "1"), ("X-Dup", "2"), ("X-B", "3"))
    asked = Request(headers=(*own, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")))
    compare(PROXY, lambda folder, port, upstream: render(config, port, upstream, folder), [asked], tally)
