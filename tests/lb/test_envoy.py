"""Envoy's configs as they are read: shapes of files, matches, edits, filters, timers, and what is refused."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsprobe.inspection import Prediction, Timer
from wsprobe.lb import recognised
from wsprobe.lb.envoy import read, sniff
from wsprobe.lb.expressions import Of, Subject, Text
from wsprobe.lb.model import Config, Effect, Gate
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import Files, ReadError, from_text
from wsprobe.parts import Header
from wsprobe.veil import Veil

BEARER: Header = ("Authorization", "Bearer x")
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
FILTERS = "type.googleapis.com/envoy.extensions.filters.http"

BOOTSTRAP = """\
static_resources:
  listeners:
  - name: edge
    address: {{socket_address: {{address: 0.0.0.0, port_value: 8080}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {manager}
          upgrade_configs: [{{upgrade_type: websocket}}]
          {option}
          route_config:
            {table}
            virtual_hosts:
            - name: app
              domains: ["*"]
              {host}
              routes:
              - match: {match}
                {route}
                route:
                  cluster: app
                  {action}
          http_filters:
          {filter}
          - name: envoy.filters.http.router
            typed_config: {{"@type": {filters}.router.v3.Router}}
  clusters:
  - name: app
    type: STRICT_DNS
    {cluster}
    load_assignment:
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: app, port_value: 80}}}}}}}}]}}]
"""


def bootstrap(**parts: str) -> str:
    """A bootstrap with one listener, one route and one cluster, and something of its own at one place."""
    named = ("option", "table", "host", "route", "action", "filter", "cluster")
    said = {"manager": MANAGER, "filters": FILTERS, "match": "{prefix: /}", **dict.fromkeys(named, ""), **parts}
    return "\n".join(line for line in BOOTSTRAP.format(**said).splitlines() if line.strip()) + "\n"


def config(text: str, version: str | None = None) -> Config:
    return read(from_text(text, "envoy.yaml"), version)


def asked(text: str, *headers: Header, target: str = "/ws", host: str = "app.example.com") -> Prediction:
    """What becomes of an upgrade."""
    return predict(config(text), upgrade(target, host, headers))


def received(prediction: Prediction) -> dict[str, str]:
    assert prediction.request
    return {name.lower(): value for name, value in prediction.request.headers}


def filter_(kind: str, message: str, body: str) -> str:
    return (
        f'- name: envoy.filters.http.{kind}\n            typed_config:\n              "@type": '
        f"{FILTERS}.{kind}.v3.{message}\n              {body}"
    )


# Shapes of files.


def as_json(text: str) -> Any:  # noqa: ANN401  whatever it holds
    import yaml

    return yaml.safe_load(text)


def camel(value: Any) -> Any:  # noqa: ANN401  whatever it is
    """Fields as JSON may write them."""
    if isinstance(value, dict):
        kept = {key: camel(inner) for key, inner in value.items()}
        return {"".join([p if i == 0 else p.title() for i, p in enumerate(k.split("_"))]): v for k, v in kept.items()}
    return [camel(each) for each in value] if isinstance(value, list) else value


def shapes() -> list[Any]:
    whole = as_json(bootstrap(route="request_headers_to_remove: [authorization]"))
    resources = whole["static_resources"]
    [listener], [cluster] = resources["listeners"], resources["clusters"]
    table = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    kinds = "type.googleapis.com/envoy.admin.v3"
    dump = {
        "configs": [
            {"@type": f"{kinds}.BootstrapConfigDump", "bootstrap": whole},
            {"@type": f"{kinds}.ListenersConfigDump", "static_listeners": [{"listener": listener}]},
            {"@type": f"{kinds}.ClustersConfigDump", "dynamic_active_clusters": [{"cluster": cluster}]},
            {"@type": f"{kinds}.RoutesConfigDump", "static_route_configs": []},
        ]
    }
    named = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **listener}
    return [
        pytest.param(json.dumps(whole, indent=1), id="bootstrap in JSON"),
        pytest.param(json.dumps(whole), id="bootstrap in one line"),
        pytest.param(json.dumps(camel(whole), indent=1), id="camelCase"),
        pytest.param(json.dumps(dump, indent=1), id="config_dump"),
        pytest.param(json.dumps({"resources": [named]}, indent=1), id="file of listeners"),
        pytest.param(json.dumps(listener, indent=1), id="bare listener"),
        pytest.param(json.dumps(table, indent=1), id="bare route configuration"),
    ]


@pytest.mark.parametrize("text", shapes())
def test_a_config_is_read_whatever_shape_it_has(text: str) -> None:
    assert recognised(from_text(text, "x.json")) == "envoy"
    found = asked(text, BEARER)
    assert found.reached
    assert [
        (edit.kind.value, edit.place and edit.place.line > 0) for edit in found.edits if edit.name == "authorization"
    ]
    assert "authorization" not in received(found)


@pytest.mark.parametrize(
    "text",
    [
        "# About static_resources\n\nWrite `static_resources:` at the top of envoy.yaml, then its listeners.\n",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  envoy.yaml: |\n    static_resources:\n      listeners: []\n",
        '{"name": "x", "dependencies": {"envoy": "1"}}',
        "services:\n  envoy:\n    image: envoyproxy/envoy\n    command: -c static_resources\n",
        'resource "x" "y" {\n  filter_chains = []\n}\n',
        "http {\n  # virtual_hosts: none\n}\n",
    ],
)
def test_what_only_speaks_of_envoy_is_no_config_of_it(text: str) -> None:
    assert not sniff(from_text(text))


def test_a_dump_tells_the_version() -> None:
    built = {"node": {"user_agent_build_version": {"version": {"major_number": 1, "minor_number": 30, "patch": 2}}}}
    whole = as_json(bootstrap()) | built
    dump = {"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": whole}]}
    found = config(json.dumps(dump))
    assert (found.version, found.assumed) == ("1.30.2", False)
    assert (config(bootstrap()).version, config(bootstrap()).assumed) == ("1.40", True)


# Files that are included.


def included(folder: Path, text: str) -> Config:
    (folder / "envoy.yaml").write_text(text)
    return read(Files(folder.resolve()).open(folder / "envoy.yaml", "envoy.yaml"))


def rds(path: str) -> str:
    whole = as_json(bootstrap())
    manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    table = manager.pop("route_config")
    manager["rds"] = {"route_config_name": "t", "config_source": {"path_config_source": {"path": path}}}
    return (
        json.dumps(whole)
        + "\0"
        + json.dumps({"resources": [{**table, "name": "t", "@type": "envoy.config.route.v3.RouteConfiguration"}]})
    )


def test_routes_are_read_from_the_file_that_names_them(tmp_path: Path) -> None:
    text, table = rds("rds.json").split("\0")
    (tmp_path / "rds.json").write_text(table)
    found = included(tmp_path, text)
    assert predict(found, upgrade()).reached
    assert len(found.files) == 2
    assert not found.problems


@pytest.mark.parametrize(
    ("path", "said"), [("missing.json", "cannot be opened"), ("../other.json", "lies outside"), ("envoy.yaml", "")]
)
def test_routes_that_cannot_be_read_are_told_and_nothing_is_guessed(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path.parent / "other.json").write_text("{}")
    found = included(tmp_path, rds(path).split("\0")[0])
    assert predict(found, upgrade()).reached is None
    assert [problem.line > 0 and said in problem.message for problem in found.problems] == ([True] if said else [])


def test_listeners_and_clusters_come_from_files_too(tmp_path: Path) -> None:
    whole = as_json(bootstrap())["static_resources"]
    for name in ("listeners", "clusters"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"resources": whole[name]}))
    text = "dynamic_resources: {lds_config: {path: listeners.json}, cds_config: {path: clusters.json}}\n"
    found = included(tmp_path, text)
    assert not found.problems
    assert found.listeners[0].routes[0].upstream is not None
    assert found.listeners[0].routes[0].upstream.addresses == ("app:80",)


def test_routes_of_a_management_server_are_not_known() -> None:
    whole = as_json(bootstrap())
    manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]
    manager["rds"] = {"route_config_name": "t", "config_source": {"ads": {}}}
    found = predict(config(json.dumps(whole)), upgrade())
    assert (found.reached, found.request) == (None, None)


# What is refused.


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        (bootstrap().replace("  clusters:", "  clusters: x: y"), 22, 14, "mapping values are not allowed"),
        (bootstrap() + "x: [1, 2\n", 28, 1, "did not find expected"),
        (bootstrap(action="timeout: {{ .Values.timeout }}"), 19, 28, "a template ({{ at line 19), not read"),
        (bootstrap(action="host_rewrite_literal: ${HOST}"), 19, 41, "a template (${ at line 19), not read"),
        (bootstrap(action="cluster: @CLUSTER@"), 19, 28, "a template (@CLUSTER@ at line 19), not read"),
        ("{% if x %}\nstatic_resources: {}\n{% endif %}\n", 1, 1, "a template ({% at line 1), not read"),
        ("static_resources: {}\n", 0, 0, "no listener"),
        ("static_resources: " + "[" * 500 + "]" * 500, 1, 1, "nested more than"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(ReadError) as caught:
        config(text)
    problem = caught.value.problem
    assert said in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_a_script_with_braces_is_no_template() -> None:
    body = 'default_source_code: {inline_string: "function envoy_on_request(h) local x = {{1}} end"}'
    assert asked(bootstrap(filter=filter_("lua", "Lua", body))).reached


def test_a_repeated_field_counts_as_it_stands_last() -> None:
    found = config(bootstrap(match="{prefix: /a, prefix: /b}"))
    assert [(one.what, one.place and one.place.line) for one in found.unread] == [("prefix", 16)]
    assert predict(found, upgrade("/b")).reached
    assert predict(found, upgrade("/a")).status == 404


def test_fields_and_filters_that_are_not_known_are_listed_with_their_line() -> None:
    text = bootstrap(option="frobnicate: true", filter=filter_("acme", "Acme", "x: 1"))
    found = config(text)
    assert [(one.what, one.place and one.place.line) for one in found.unread] == [
        ("frobnicate", 11),
        ("envoy.filters.http.acme", 21),
    ]
    assert any(unknown.what == "any header" for unknown in predict(found, upgrade()).unknown)


def test_a_large_config_is_read_quickly() -> None:
    whole = as_json(bootstrap())
    manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    [host] = manager["route_config"]["virtual_hosts"]
    manager["route_config"]["virtual_hosts"] = [
        {**host, "name": f"h{n}", "domains": [f"h{n}.test", f"*.h{n}.test"]} for n in range(1500)
    ]
    begun = time.process_time()
    found = config(json.dumps(whole, indent=1))
    assert predict(found, upgrade("/", "x.h1400.test")).reached
    assert time.process_time() - begun < 20


# What becomes of an upgrade.


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, {"authorization": "Bearer x"}),
        ({"route": "request_headers_to_remove: [Authorization]"}, {"authorization": None}),
        ({"host": "request_headers_to_remove: [authorization]"}, {"authorization": None}),
        ({"table": "request_headers_to_remove: [authorization]"}, {"authorization": None}),
        (
            {"route": "request_headers_to_add: [{header: {key: Authorization, value: Basic y}}]"},
            {"authorization": "Bearer x,Basic y"},
        ),
        (
            {"route": "request_headers_to_add: [{header: {key: X-A, value: '%REQ(Authorization):6%!'}}]"},
            {"x-a": "Bearer!"},
        ),
        (
            {
                "table": "most_specific_header_mutations_wins: true",
                "route": "request_headers_to_remove: [authorization]",
            },
            {"authorization": None},
        ),
        (
            {
                "route": "request_headers_to_add: [{header: {key: X-A, value: '%REQUEST_HEADER(X-None?Authorization)%'}}]"
            },
            {"x-a": "Bearer x"},
        ),
        (
            {"route": "request_headers_to_add: [{header: {key: X-A, value: '%PATH(NQ)% %QUERY_PARAM(t)%'}}]"},
            {"x-a": "/ws a+b c"},
        ),
        ({"route": "request_headers_to_add: [{header: {key: X-A, value: '%QUERY_PARAM(none)%'}}]"}, {"x-a": None}),
        ({"action": "host_rewrite_literal: b"}, {"host": "b", "x-envoy-original-host": "app.example.com"}),
        ({"action": "auto_host_rewrite: true"}, {"host": "app"}),
        ({"action": "timeout: 3s"}, {"x-envoy-expected-rq-timeout-ms": "3000"}),
        ({"action": "timeout: 0s"}, {"x-envoy-expected-rq-timeout-ms": None}),
        ({"option": "via: lab"}, {"via": "lab"}),
        ({"option": "common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER}"}, {"x_u": None}),
    ],
)
def test_edits(parts: dict[str, str], said: dict[str, str | None]) -> None:
    found = asked(bootstrap(**parts), BEARER, ("X_U", "1"), target="/ws?t=a+b%20c&t=d")
    assert found.reached
    assert {name: received(found).get(name) for name in said} == said


@pytest.mark.parametrize(
    ("parts", "reached", "status"),
    [
        ({"action": "upgrade_configs: [{upgrade_type: websocket, enabled: false}]"}, False, 403),
        ({"match": "{prefix: /other}"}, False, 404),
        ({"option": "common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}"}, False, 400),
        ({"option": "codec_type: HTTP2"}, False, None),
        ({"option": "max_request_headers_kb: 1"}, True, None),
        ({"filter": filter_("buffer", "Buffer", "max_request_bytes: 9")}, False, None),
        ({"filter": filter_("rbac", "RBAC", "rules: {policies: {}}")}, None, None),
        ({"filter": filter_("ext_authz", "ExtAuthz", "http_service: {path_prefix: /x}")}, None, None),
        (
            {"filter": filter_("fault", "HTTPFault", "abort: {http_status: 503, percentage: {numerator: 100}}")},
            False,
            503,
        ),
        ({"match": "{prefix: /, runtime_fraction: {default_value: {numerator: 10}}}"}, None, None),
        ({"match": "{prefix: /, headers: [{name: x_u, present_match: false}]}"}, False, 404),
    ],
)
def test_where_an_upgrade_ends(parts: dict[str, str], reached: bool | None, status: int | None) -> None:  # noqa: FBT001
    found = asked(bootstrap(**parts), BEARER, ("X_U", "1"))
    assert (found.reached, found.status) == (reached, status)


@pytest.mark.parametrize(
    ("domains", "host", "taken"),
    [
        ([["*"], ["a.test"]], "a.test", 1),
        ([["*.test"], ["*.a.test"]], "b.a.test", 1),
        ([["a.*"], ["*.test"]], "a.test", 1),
        ([["a.*"], ["a.b.*"]], "a.b.c", 1),
        ([["*"], ["a.test:80"]], "a.test", 0),
        ([["A.TEST"], ["*"]], "a.test", 0),
        ([["*.test"], ["*"]], ".test", 1),
        ([["*"], ["a.test"]], "a.test:8080", 0),
    ],
)
def test_a_host_leads_to_the_most_specific_domain(domains: list[list[str]], host: str, taken: int) -> None:
    whole = as_json(bootstrap())
    table = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    table["virtual_hosts"] = [
        {
            "name": f"h{at}",
            "domains": each,
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200 + at}}],
        }
        for at, each in enumerate(domains)
    ]
    assert predict(config(json.dumps(whole)), upgrade("/", host)).status == 200 + taken


@pytest.mark.parametrize(("value", "taken"), [("a%20b", True), ("a b", False), ("a+b", False)])
def test_a_query_parameter_is_compared_as_it_travels(value: str, taken: bool) -> None:  # noqa: FBT001
    match = f"{{prefix: /, query_parameters: [{{name: t, string_match: {{exact: '{value}'}}}}]}}"
    assert asked(bootstrap(match=match), target="/ws?t=a%20b&t=a+b").reached is taken


def test_the_domains_behind_the_name_of_a_credential_are_not_taken_for_one() -> None:
    match = "{prefix: /, headers: [{name: authorization, present_match: true}]}"
    text = bootstrap(match=match).replace('["*"]', '["*.internal"]')
    label = config(text).listeners[0].routes[0].label
    assert "*.internal" in Veil().text(label)


def test_ports_of_hosts_can_be_left_out_of_it() -> None:
    text = bootstrap(table="ignore_port_in_host_matching: true").replace('["*"]', '["a.test"]')
    assert asked(text, host="a.test:99").reached
    assert received(asked(text, host="a.test:99"))["host"] == "a.test:99"
    stripped = bootstrap(option="strip_any_host_port: true").replace('["*"]', '["a.test"]')
    assert received(asked(stripped, host="a.test:99"))["host"] == "a.test"


def secured(*names: list[str]) -> str:
    """A listener with TLS and a filter chain for each list of names, which answers with a status of its own."""
    whole = as_json(bootstrap())
    [listener] = whole["static_resources"]["listeners"]
    [chain] = listener["filter_chains"]
    tls = {"name": "tls", "typed_config": {"@type": "x.tls.v3.DownstreamTlsContext"}}
    listener["filter_chains"] = []
    for at, each in enumerate(names):
        own = json.loads(json.dumps(chain))
        table = own["filters"][0]["typed_config"]["route_config"]
        table["virtual_hosts"][0]["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200 + at}}]
        match = {"filter_chain_match": {"server_names": each}} if each else {}
        listener["filter_chains"].append({**own, **match, "transport_socket": tls})
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("host", "status"),
    [("api.test", 200), ("API.test:8080", 200), ("a.ws.test", 201), ("ws.test", 202), ("other", 202)],
)
def test_the_name_that_a_client_of_tls_asks_for_chooses_the_filter_chain(host: str, status: int) -> None:
    found = config(secured(["api.test"], ["*.ws.test"], []))
    request = Request(headers=upgrade(host=host).headers, scheme="https", port=8080)
    assert predict(found, request).status == status
    assert [listener.routes[0].sample_host for listener in found.listeners] == ["api.test", "app.ws.test", None]


def test_a_name_that_no_filter_chain_has_is_told() -> None:
    request = Request(headers=upgrade(host="other.test").headers, scheme="https", port=8080)
    [unknown] = predict(config(secured(["api.test"], ["ws.test"])), request).unknown
    assert "TLS for other.test" in unknown.why


# Authentication.

JWT = "providers: {p: {issuer: i%s}}\n              rules: [{match: {prefix: /}, requires: {provider_name: p}}]"


@pytest.mark.parametrize(
    ("more", "effect", "kept"),
    [
        ("", Effect.CONSUMES, False),
        (", forward: false", Effect.CONSUMES, False),
        (", forward: true", Effect.READS, True),
    ],
)
def test_a_token_is_consumed_unless_it_is_forwarded(more: str, effect: Effect, kept: bool) -> None:  # noqa: FBT001
    text = bootstrap(filter=filter_("jwt_authn", "JwtAuthentication", JWT % more))
    [gate] = [step for step in config(text).listeners[0].routes[0].steps if isinstance(step, Gate)]
    assert (gate.kind, gate.header, gate.effect) == ("jwt_authn", "Authorization", effect)
    assert gate.place is not None
    found = asked(text, BEARER)
    assert found.reached is None
    assert ("authorization" in received(found)) is kept
    assert (asked(text).reached, asked(text).status) == (False, 401)


def per_route(settings: str) -> str:
    kind = f"{FILTERS}.jwt_authn.v3.PerRouteConfig"
    return f'typed_per_filter_config: {{envoy.filters.http.jwt_authn: {{"@type": {kind}, {settings}}}}}'


def test_jwt_authn_that_a_route_switches_off_still_removes_the_headers_that_it_would_write() -> None:
    jwt = JWT % ", claim_to_headers: [{header_name: x-user-id, claim_name: sub}]"
    text = bootstrap(filter=filter_("jwt_authn", "JwtAuthentication", jwt), route=per_route("disabled: true"))
    found = asked(text, BEARER, ("X-User-Id", "spoofed"))
    assert found.reached
    assert {name: received(found).get(name) for name in ("authorization", "x-user-id")} == {
        "authorization": "Bearer x",
        "x-user-id": None,
    }


def test_a_route_that_asks_for_an_unknown_requirement_refuses_all() -> None:
    filter_config = filter_("jwt_authn", "JwtAuthentication", JWT % "")
    found = asked(bootstrap(filter=filter_config, route=per_route("requirement_name: gone")), BEARER)
    assert (found.reached, found.status) == (False, 403)


def test_a_token_that_is_only_looked_at_lets_all_pass_and_what_becomes_of_it_is_open() -> None:
    text = bootstrap(
        filter=filter_(
            "jwt_authn",
            "JwtAuthentication",
            JWT.replace("provider_name: p", "extract_only_without_validation: {}") % "",
        )
    )
    found = asked(text, BEARER)
    assert found.reached
    assert {"authorization", "x-jwt-signature-verified"} <= {unknown.what for unknown in found.unknown}


@pytest.mark.parametrize(("more", "open_"), [("", False), (", overwrite: true", True)])
def test_a_credential_of_envoys_own_replaces_the_clients_where_it_says_so(more: str, open_: bool) -> None:  # noqa: FBT001
    kind = f"{FILTERS}.credential_injector.v3.CredentialInjector"
    settings = f"{{'@type': {kind}, credential: {{typed_config: {{header: X-Api-Key}}}}{more}}}"
    text = bootstrap(filter=f"- {{name: envoy.filters.http.credential_injector, typed_config: {settings}}}")
    assert ("x-api-key" in {unknown.what for unknown in asked(text, ("X-Api-Key", "k")).unknown}) is open_


@pytest.mark.parametrize(
    ("mutation", "target", "open_"),
    [
        ("remove: token", "/ws", False),
        ("remove: token", "/ws?token=x", True),
        ("append: {record: {key: edge, value: '1'}}", "/ws", True),
    ],
)
def test_a_query_that_a_filter_edits_is_open(mutation: str, target: str, open_: bool) -> None:  # noqa: FBT001
    body = f"mutations: {{query_parameter_mutations: [{{{mutation}}}]}}"
    found = asked(bootstrap(filter=filter_("header_mutation", "HeaderMutation", body)), target=target)
    assert ("the request target" in {unknown.what for unknown in found.unknown}) is open_


def test_what_an_authorization_service_returns_is_unknown_and_named() -> None:
    body = (
        "http_service: {authorization_response: "
        "{allowed_upstream_headers: {patterns: [{exact: authorization}, {prefix: x-role}]}}}"
    )
    text = bootstrap(filter=filter_("ext_authz", "ExtAuthz", body))
    [gate] = [step for step in config(text).listeners[0].routes[0].steps if isinstance(step, Gate)]
    assert (gate.effect, gate.returns) == (Effect.REPLACES, ("authorization",))
    found = asked(text, BEARER, ("X-Role-A", "1"), ("X-Other", "2"))
    assert {"authorization", "x-role-a"} <= {unknown.what.lower() for unknown in found.unknown}
    assert received(found)["x-other"] == "2"


def test_oauth2_puts_its_own_token_in_the_place_of_the_clients() -> None:
    body = "config: {forward_bearer_token: true, pass_through_matcher: [{name: x-pass, present_match: true}]}"
    text = bootstrap(filter=filter_("oauth2", "OAuth2", body))
    assert (asked(text, BEARER).reached, asked(text, BEARER).status) == (False, 302)
    session = asked(text, BEARER, ("Cookie", "OauthHMAC=x"))
    assert session.reached is None
    assert "authorization" in {unknown.what for unknown in session.unknown}
    assert received(asked(text, BEARER, ("X-Pass", "1")))["authorization"] == "Bearer x"


def test_a_filter_can_be_off_on_a_route() -> None:
    off = "typed_per_filter_config: {envoy.filters.http.ext_authz: {'@type': x.ext_authz.v3.ExtAuthzPerRoute, disabled: true}}"
    text = bootstrap(filter=filter_("ext_authz", "ExtAuthz", "http_service: {}"), host=off)
    assert asked(text).reached


# Timers, and what depends on the version.


@pytest.mark.parametrize(
    ("parts", "idle", "lifetime"),
    [
        ({}, 300, None),
        ({"option": "stream_idle_timeout: 30s"}, 30, None),
        ({"option": "stream_idle_timeout: 30s", "action": "idle_timeout: 5s"}, 5, None),
        ({"option": "stream_idle_timeout: 30s", "action": "idle_timeout: 0s"}, None, None),
        ({"action": "max_stream_duration: {max_stream_duration: 60s}"}, 300, 60),
        ({"option": "common_http_protocol_options: {max_stream_duration: 9s}"}, 300, 9),
    ],
)
def test_timers(parts: dict[str, str], idle: float | None, lifetime: float | None) -> None:
    timers = {timer.kind: timer for timer in asked(bootstrap(**parts)).timeouts}
    assert timers[Timer.IDLE].seconds == idle
    assert (timers[Timer.LIFETIME].seconds if Timer.LIFETIME in timers else None) == lifetime
    assert "no close frame" in timers[Timer.IDLE].ends


def test_a_timer_that_does_nothing_to_a_websocket_says_why() -> None:
    text = bootstrap(option="common_http_protocol_options: {idle_timeout: 5s, max_connection_duration: 9s}")
    without = [timer for timer in config(text).listeners[0].routes[0].timeouts if not timer.applies]
    assert [(timer.name, timer.seconds) for timer in without] == [("idle_timeout", 5), ("max_connection_duration", 9)]
    assert all(timer.why and timer.place for timer in without)


@pytest.mark.parametrize(("version", "trusted"), [("1.32", True), ("1.33.1", False), (None, False)])
def test_private_addresses_were_trusted_before_1_33(version: str | None, trusted: bool) -> None:  # noqa: FBT001
    request = upgrade(headers=(("X-Forwarded-For", "10.1.1.1"), ("X-Envoy-Force-Trace", "1")))
    found = received(predict(config(bootstrap(), version), request))
    assert ("x-envoy-internal" in found, "x-envoy-force-trace" in found) == (trusted, trusted)


def test_lines_of_a_header_are_matched_one_by_one_since_1_39() -> None:
    text = bootstrap(match="{prefix: /, headers: [{name: x-a, string_match: {exact: v}}]}")
    request = upgrade(headers=(("X-A", "v"), ("X-A", "w")))
    assert predict(config(text, "1.39"), request).reached
    assert predict(config(text, "1.38"), request).status == 404


def test_the_peer_is_appended_to_the_forwarded_addresses() -> None:
    request = Request(
        target="/",
        headers=(*upgrade().headers, ("X-Forwarded-For", "1.1.1.1")),
        peer="9.9.9.9",
        peer_port=1,
        scheme="http",
    )
    found = received(predict(config(bootstrap(option="use_remote_address: true")), request))
    assert (found["x-forwarded-for"], found["x-envoy-external-address"]) == ("1.1.1.1,9.9.9.9", "9.9.9.9")


def test_the_upstream_is_told_with_its_protocol_and_tls() -> None:
    options = (
        "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: "
        "{explicit_http_config: {http2_protocol_options: {}}}}\n    "
        "transport_socket: {name: tls, typed_config: {'@type': x.tls.v3.UpstreamTlsContext}}"
    )
    to = config(bootstrap(cluster=options)).listeners[0].routes[0].upstream
    assert to is not None
    assert (to.protocol, to.tls, to.addresses) == ("h2", True, ("app:80",))
    assert to.protocol_place is not None


def test_weighted_clusters_with_edits_of_their_own_leave_them_open() -> None:
    whole = as_json(bootstrap())
    manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]
    entries = [
        {"name": "app", "weight": 1},
        {"name": "app", "weight": 1, "request_headers_to_remove": ["authorization"]},
    ]
    route["route"] = {"weighted_clusters": {"clusters": entries}}
    found = predict(config(json.dumps(whole)), upgrade(headers=(BEARER,)))
    assert found.reached
    assert "authorization" in {unknown.what for unknown in found.unknown}
    entries[0]["request_headers_to_remove"] = ["authorization"]
    assert "authorization" not in received(predict(config(json.dumps(whole)), upgrade(headers=(BEARER,))))


def test_a_tcp_proxy_passes_everything_on() -> None:
    text = """\
static_resources:
  listeners:
  - address: {socket_address: {address: 0.0.0.0, port_value: 80}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config: {"@type": x.tcp_proxy.v3.TcpProxy, cluster: app, idle_timeout: 30s}
"""
    found = asked(text, BEARER)
    assert found.reached
    assert received(found)["authorization"] == "Bearer x"
    assert [timer.seconds for timer in found.timeouts] == [30]


def test_formats_are_expressions_over_the_request() -> None:
    from wsprobe.lb._envoy_headers import Scope, formatted

    scope = Scope(Of(Subject.PEER))
    assert formatted("a%%b", scope) == Text("a%b")
    assert formatted("%PROTOCOL%", scope) == Of(Subject.VERSION)


# Hostile input.


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_mutation_of_a_config_breaks_the_reader(data: st.DataObject) -> None:
    jwt = filter_("jwt_authn", "JwtAuthentication", JWT % "")
    text = data.draw(
        st.sampled_from(
            [
                bootstrap(filter=jwt, action="regex_rewrite: {pattern: {regex: '^/(a)'}, substitution: '\\1'}"),
                bootstrap(option="use_remote_address: true", table="request_headers_to_remove: [a]", filter=jwt),
                *[shape.values[0] for shape in shapes()],
            ]
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 30))
        put = data.draw(
            st.sampled_from(
                [
                    "",
                    "[",
                    "{",
                    "}",
                    "- ",
                    ": ",
                    "\n",
                    "*a",
                    "&a ",
                    "null",
                    "'",
                    '"',
                    "%REQ(",
                    "9" * 30,
                    "\\",
                    "[]",
                    "{}",
                ]
            )
        )
        text = text[:at] + put + text[at + length :]
    try:
        found = config(text)
    except ReadError:
        return
    predict(found, upgrade("/ws", headers=(BEARER,)))
    for listener in found.listeners:
        assert listener.place.line > 0


def test_a_cluster_without_an_endpoint_answers_503_unless_its_endpoints_come_from_elsewhere() -> None:
    text = bootstrap()
    empty = text[: text.index("    load_assignment:")]
    found = predict(config(empty), upgrade("/ws"))
    assert (found.reached, found.status) == (False, 503)
    assert predict(config(empty.replace("STRICT_DNS", "EDS")), upgrade("/ws")).reached is True
