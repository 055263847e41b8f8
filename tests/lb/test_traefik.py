"""Traefik's configs as they are read: YAML, TOML, labels and flags, and what becomes of an upgrade."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lb.traefik_configs import BEARER, COMPOSE, asked, config, http, received
from wsprobe.lb import reader, recognised
from wsprobe.lb.model import Effect, Gate
from wsprobe.lb.predict import predict
from wsprobe.lb.request import upgrade
from wsprobe.lb.source import Files, ReadError, from_text

# Middlewares.


@pytest.mark.parametrize(
    ("middleware", "header", "value"),
    [
        ("{headers: {customRequestHeaders: {Authorization: ''}}}", "Authorization", None),
        ("{headers: {customRequestHeaders: {authorization: Basic eDp5}}}", "Authorization", "Basic eDp5"),
        ("{headers: {customRequestHeaders: {Authorization: , X-A: b}}}", "Authorization", "Bearer x"),
        ("{headers: {customRequestHeaders: {X-A: 1.5}}}", "X-A", "1.500000"),
        ("{headers: {customRequestHeaders: {X-A: 0x10}}}", "X-A", "16"),
        ("{headers: {customRequestHeaders: {X-A: '1.5'}}}", "X-A", "1.5"),
        ("{headers: {customRequestHeaders: {X-A: true}}}", "X-A", "true"),
        ("{headers: {customRequestHeaders: {Host: other}}}", "Host", "other"),
        ("{headers: {customRequestHeaders: {Host: ''}}}", "Host", "app.example.com"),
        ("{headers: {customRequestHeaders: {Connection: ''}}}", "Upgrade", None),
        ("{headers: {customResponseHeaders: {Authorization: ''}}}", "Authorization", "Bearer x"),
        ("{Headers: {CUSTOMREQUESTHEADERS: {Authorization: ''}}}", "Authorization", None),
        ("{stripPrefix: {prefixes: [/other, /ws]}}", "X-Forwarded-Prefix", "/ws"),
        ("{replacePath: {path: /x}}", "X-Replaced-Path", "/ws"),
        ("{buffering: {maxRequestBodyBytes: 1}}", "Upgrade", "websocket"),
        ("{rateLimit: {average: 1}}", "Upgrade", "websocket"),
    ],
)
def test_a_middleware_changes_a_header(middleware: str, header: str, value: str | None) -> None:
    assert received(asked(http(middleware), "/ws", "app.example.com", BEARER)).get(header) == value


@pytest.mark.parametrize(
    ("middleware", "target", "expected"),
    [
        ("{addPrefix: {prefix: /p}}", "/ws?a=1", "/p/ws?a=1"),
        ("{addPrefix: {prefix: p q}}", "/ws", "/p%20q/ws"),
        ("{stripPrefix: {prefixes: [/ws]}}", "/ws", "/"),
        ("{stripPrefix: {prefixes: [/ws]}}", "/wsx/a%2Fb", "/x/a%2Fb"),
        ("{stripPrefix: {prefixes: [/a b]}}", "/a%20b/c%2Fd", "/c%2Fd"),
        ("{stripPrefixRegex: {regex: ['/[a-z]+/']}}", "/ws/x", "/x"),
        ("{stripPrefixRegex: {regex: ['/(a|b)?']}}", "/a%2Fb", "/b"),
        ("{replacePath: {path: '/a?b'}}", "/ws?c", "/a%3Fb?c"),
        ("{replacePathRegex: {regex: '^/(\\w+)(.*)', replacement: '/$2$1x-${1}'}}", "/ws/1", "//1-ws"),
        ("{replacePathRegex: {regex: '^/(?P<a>\\w+)/(.*)', replacement: '/${2}/$a'}}", "/ws/1", "/1/ws"),
        ("{chain: {middlewares: [one, two]}}", "/ws", "/b/a/ws"),
    ],
)
def test_a_middleware_changes_the_path(middleware: str, target: str, expected: str) -> None:
    others = "\n    one: {addPrefix: {prefix: /a}}\n    two: {addPrefix: {prefix: /b}}"
    prediction = asked(http(middleware + others), target)
    if expected.startswith("//"):
        assert prediction.status == 400  # what is not clean is refused
    else:
        assert prediction.request
        assert prediction.request.start_line == f"GET {expected} HTTP/1.1"


@pytest.mark.parametrize(
    ("last", "what"),
    [
        ("{replacePath: {path: /n}}", "X-Replaced-Path"),
        ("{replacePathRegex: {regex: '^/a(.*)', replacement: '/q$1'}}", "the request target"),
    ],
)
def test_a_path_that_an_escape_in_a_prefix_doubles_is_not_guessed(last: str, what: str) -> None:
    others = f"\n    one: {{addPrefix: {{prefix: /a%2Fb}}}}\n    two: {last}"
    text = http("{chain: {middlewares: [one, two]}}" + others)
    assert what not in {each.what for each in asked(text, "/x").unknown}
    assert what in {each.what for each in asked(text, "/x%2Fy").unknown}


@pytest.mark.parametrize(
    ("middleware", "status"),
    [
        ("{redirectScheme: {scheme: https}}", 302),
        ("{redirectScheme: {scheme: https, permanent: true}}", 301),
        ("{redirectScheme: {scheme: http}}", None),
        ("{redirectRegex: {regex: '^http://app', replacement: 'http://x'}}", 302),
        ("{inFlightReq: {amount: 0}}", 429),
        ("{inFlightReq: {sourceCriterion: {requestHost: true}}}", 429),
        ("{headers: {allowedHosts: [x.y]}}", 500),
        ("{basicAuth: {users: ['a:b']}}", 401),
        ("{digestAuth: {users: ['a:b:c']}}", 401),
        ("{ipAllowList: {sourceRange: [10.0.0.0/8], ipStrategy: {depth: 1}}}", 403),
        ("{headers: {sslRedirect: true}}", None),
    ],
)
def test_a_middleware_answers_by_itself(middleware: str, status: int | None) -> None:
    prediction = asked(http(middleware), "/ws", "app.example.com", BEARER)
    assert prediction.status == status
    assert (prediction.request is None) is (status is not None)


def test_a_redirection_of_v2_follows_its_version() -> None:
    text = http("{headers: {sslRedirect: true}}")
    assert predict(config(text, "2.11"), upgrade("/ws")).status == 301


def test_what_asks_for_credentials_is_a_gate_and_what_it_takes_away_an_edit() -> None:
    text = http("\n      basicAuth:\n        users: ['a:b']\n        removeHeader: true\n        headerField: X-User")
    route = config(text).listeners[0].routes[0]
    gate = next(step for step in route.steps if isinstance(step, Gate))
    assert (gate.kind, gate.header, gate.effect) == ("basicAuth", "Authorization", Effect.CONSUMES)
    prediction = asked(text, "/ws", "h", ("Authorization", "Basic YTpi"))
    assert prediction.reached is None
    removed = next(edit for edit in prediction.edits if edit.name == "Authorization")
    assert removed.place
    assert removed.place.text == "removeHeader: true"
    assert "X-User" in {unknown.what for unknown in prediction.unknown}


def test_a_service_that_is_asked_takes_the_headers_that_it_may_return() -> None:
    text = http(
        "\n      forwardAuth:\n        address: http://auth\n        authResponseHeaders:\n        - Authorization"
    )
    prediction = asked(text, "/ws", "h", BEARER)
    unknown = next(each for each in prediction.unknown if each.what == "Authorization")
    assert unknown.place
    assert unknown.place.text == "- Authorization"
    gate = next(step for step in config(text).listeners[0].routes[0].steps if isinstance(step, Gate))
    assert (gate.effect, gate.returns) == (Effect.REPLACES, ("Authorization",))


@pytest.mark.parametrize("middleware", ["{plugin: {demo: {a: 1}}}", "{jwt: {signingSecret: s}}", "{quantum: {a: 1}}"])
def test_what_nobody_can_follow_is_unknown_and_not_guessed(middleware: str) -> None:
    prediction = asked(http(middleware), "/ws", "h", BEARER)
    assert prediction.reached is None
    assert {"any header", "Authorization"} & {each.what for each in prediction.unknown}


def test_an_asterisk_asks_for_the_server_itself() -> None:
    assert predict(config(http()), replace(upgrade("*"), method="OPTIONS")).status == 200
    assert predict(config(http()), upgrade("*")).status == 404


# Routers.


@pytest.mark.parametrize(
    ("routers", "target", "taken"),
    [
        ("a: {rule: 'PathPrefix(`/ws`)', service: s}\n    b: {rule: 'PathPrefix(`/`)', service: s}", "/ws", "a"),
        (
            "a: {rule: 'PathPrefix(`/`)', service: s, priority: 99}\n    b: {rule: 'PathPrefix(`/ws`)', service: s}",
            "/ws",
            "a",
        ),
        ("a: {rule: 'Path(`/ws`)', service: s}\n    b: {rule: 'Path(`/ws`) && Host(`h`)', service: s}", "/ws", "b"),
        ("a: {rule: 'Path(`/w`) || Path(`/ws`)', service: s}", "/ws", "a"),
        ("a: {rule: '!Path(`/w`)', service: s}", "/ws", "a"),
        ("a: {rule: 'Query(`a`, `b c`)', service: s}", "/?x&a=b+c", "a"),
        ("a: {rule: 'Path(`/é`)', service: s}", "/%C3%A9", "a"),
    ],
)
def test_the_longest_rule_comes_first_and_a_priority_before_it(routers: str, target: str, taken: str) -> None:
    text = f"http:\n  routers:\n    {routers}\n  services:\n    s: {{loadBalancer: {{servers: [{{url: 'http://app'}}]}}}}\n"
    prediction = asked(text, target, "h")
    assert prediction.route
    assert prediction.route.startswith(f"{taken}: ")


def test_routers_of_the_same_priority_that_both_match_are_not_settled() -> None:
    text = http(more="    q: {rule: 'Path(`/ws/ws/ws`)', service: s, priority: 15}")
    assert asked(text, "/ws/ws/ws").reached is None
    assert asked(text, "/ws").reached is True


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("Host(`a`", "too early"),
        ("Host(`a`) Host(`b`)", "not expected"),
        ("Foo(`a`)", "no matcher"),
        ("PathRegexp(`[`)", "pattern"),
        ("Host(`a`,`b`)", "values"),
        ("Path(`ws`)", "does not begin with /"),
        ("ClientIP(`x`)", "x"),
        ("(" * 200 + "Path(`/`)" + ")" * 200, "deep"),
        ("Host(`a`)\n\n&& Host(`b`)", "line"),
        ("Host(a)", "no text in quotes"),
        ("Host(``)", "no value"),
    ],
)
def test_a_rule_that_traefik_refuses_is_a_problem_with_its_line(rule: str, why: str) -> None:
    text = json.dumps({"http": {"routers": {"r": {"rule": rule, "service": "s"}}, "services": {}}}, indent=1)
    (problem,) = config(text, "3.7").problems
    assert why in problem.message
    assert (problem.line, problem.column) == (5, 5)


def test_rules_of_v2_tell_the_version() -> None:
    text = http(router=", priority: 1", more="    q: {rule: 'Host(`a.example`, `b.example`)', service: s}")
    assert (config(text).version, config(text).assumed, config(text).problems) == ("2", False, ())
    assert config(text, "3.7").problems
    template = http(more="    q: {rule: 'HostRegexp(`{name:[a-z]+}.example`)', service: s}")
    assert predict(config(template), upgrade("/", "abc.example")).route == "q: HostRegexp(`{name:[a-z]+}.example`)"


@pytest.mark.parametrize(
    "text",
    [
        http("{addPrefix: {prefix: ''}}"),
        http("{chain: {middlewares: [m]}}"),
        http("{headers: {customRequestHeaders: {A: b}}, compress: {}}"),
        http(service="    s: {weighted: {services: [{name: s}]}}"),
        http(router=", priority: 1", more="    q: {rule: 'Path(`/q`)'}"),
    ],
)
def test_a_router_that_cannot_be_built_is_a_problem(text: str) -> None:
    (problem,) = config(text).problems
    assert "leaves the router" in problem.message
    assert problem.line


def test_what_is_defined_elsewhere_is_unknown_and_what_cannot_exist_a_problem(tmp_path: Path) -> None:
    assert asked(http(router=", middlewares: [auth@docker]")).reached is None
    (tmp_path / "traefik.yml").write_text(
        "entryPoints: {web: {address: ':80'}}\nproviders: {file: {filename: d.yml}}\n"
    )
    (tmp_path / "d.yml").write_text(http(router=", middlewares: [nowhere]"))
    found = reader("traefik").read(Files(tmp_path).open(tmp_path / "traefik.yml"))
    assert [problem.message for problem in found.problems] == [
        "Traefik leaves the router r out: the middleware nowhere@file does not exist"
    ]
    assert predict(found, upgrade("/")).status == 404


# Entry points and files.


STATIC = """\
[entryPoints.web]
  address = ":80"
  [entryPoints.web.http.redirections.entryPoint]
    to = "websecure"
[entryPoints.websecure]
  address = ":443"
  http.tls = {}
  forwardedHeaders.insecure = true
[providers.file]
  directory = "/etc/traefik/dynamic"
"""


def test_a_static_config_is_followed_to_its_dynamic_files(tmp_path: Path) -> None:
    (tmp_path / "dynamic" / "more").mkdir(parents=True)
    (tmp_path / "traefik.toml").write_text(STATIC)
    (tmp_path / "dynamic" / "a.yml").write_text(http())
    (tmp_path / "dynamic" / "more" / "b.toml").write_text(
        '[http.routers.b]\n  rule = "Path(`/b`) && Method(`GET`)"\n  service = "s@file"\n  middlewares = ["m"]\n'
        '[http.middlewares]\n  m = { headers = { customRequestHeaders = { "X-B" = "1" } } }\n'
    )
    found = reader("traefik").read(Files(tmp_path).open(tmp_path / "traefik.toml"))
    assert not found.problems
    assert [(listener.label, len(listener.routes)) for listener in found.listeners] == [
        ("web", 3),
        ("websecure with TLS", 2),
    ]
    assert len(found.files) == 3
    secure = predict(found, upgrade("/b", headers=(("X-Forwarded-For", "1"),)))
    assert secure.place
    assert (secure.route, secure.place.line) == ("b: Path(`/b`) && Method(`GET`)", 2)
    added = next(edit for edit in secure.edits if edit.name == "X-B")
    assert added.place
    assert (added.place.line, added.place.column) == (6, 46)
    assert received(secure)["X-Forwarded-Proto"] == "wss"


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("missing.yml", "cannot be opened"),
        ("../outside.yml", "lies outside"),
        ("broken.yml", "not YAML"),
        ("templated.yml", "a template"),
    ],
)
def test_a_dynamic_file_that_cannot_be_read_is_one_line(file: str, why: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.yml").write_text(http())
    (root / "broken.yml").write_text("http: {routers: [\n")
    (root / "templated.yml").write_text("http:\n  routers: {{ range .R }}\n")
    (root / "traefik.yml").write_text(
        f"entryPoints: {{web: {{address: ':80'}}}}\nproviders:\n  file:\n    filename: {file}\n"
    )
    (problem,) = reader("traefik").read(Files(root).open(root / "traefik.yml")).problems
    assert why in problem.message
    assert problem.line


def test_an_entry_point_changes_what_all_its_routes_get() -> None:
    text = "entryPoints:\n  web:\n    address: ':80'\n    forwardedHeaders: {insecure: true}\n    http:\n      middlewares: [m@file]\n"
    text += http().replace(
        "http:\n", "http:\n  middlewares: {m: {headers: {customRequestHeaders: {Authorization: ''}}}}\n", 1
    )
    prediction = asked(text, "/ws", "h", BEARER, ("X-Forwarded-Proto", "https"))
    assert received(prediction).get("Authorization") is None
    assert received(prediction)["X-Forwarded-Proto"] == "https"


def test_a_redirection_goes_by_the_connection_and_not_by_what_another_proxy_says() -> None:
    text = "entryPoints:\n  web:\n    address: ':80'\n    forwardedHeaders: {insecure: true}\n"
    text += http("{redirectRegex: {regex: '^http://', replacement: 'https://'}}")
    assert asked(text, "/ws", "h", ("X-Forwarded-Proto", "https")).status == 302


def test_timers_are_told_and_none_of_them_ends_a_websocket() -> None:
    text = "entryPoints:\n  web:\n    address: ':80'\n    transport:\n      respondingTimeouts:\n        readTimeout: 1m30s\n"
    route = config(text + http()).listeners[0].routes[0]
    timers = {timeout.name: timeout for timeout in route.timeouts}
    read = timers["respondingTimeouts.readTimeout"]
    assert (read.seconds, read.applies, read.place and read.place.line) == (90, False, 6)
    assert timers["respondingTimeouts.idleTimeout"].seconds == 180
    assert [name for name, timer in timers.items() if timer.applies] == ["dialTimeout", "responseHeaderTimeout"]


def test_a_router_on_entry_points_that_are_not_there_is_a_problem() -> None:
    text = "entryPoints: {web: {address: ':80'}}\n" + http(router=", entryPoints: [webb]")
    (problem,) = config(text).problems
    assert "names no entry point" in problem.message


# Bad input.


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("http:\n  routers: {\n", 3, "not YAML"),
        ("http:\n  routers:\n    r: 1\n    r: 2\n", 4, "stands twice"),
        ("[http.routers.r]\nrule = \n", 2, "not TOML"),
        ("[http]\n[http\n", 2, "not TOML"),
        ("http:\n  routers:\n    r:\n      rule: Host(`{{ .Host }}`)\n", 4, "a template ({{ at line 4)"),
        ('[http.routers.r]\nrule = "Host(`${DOMAIN}`)"\n', 2, "a template (${ at line 2)"),
        ("http: " + "[" * 5000 + "\n", 0, ""),
        ("[http.a]\nb = " + "[" * 5000 + "]" * 5000 + "\n", 0, "nested too deep"),
        ("a: 1\n", 0, "not a config of Traefik"),
        ("", 0, "nothing stands in it"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(text: str, line: int, why: str) -> None:
    with pytest.raises(ReadError) as raised:
        config(text)
    assert why in raised.value.problem.message
    assert line in {0, raised.value.problem.line}


def test_a_replacement_and_a_default_rule_may_look_like_templates() -> None:
    static = "entryPoints: {web: {address: ':80'}}\nproviders:\n  docker:\n    defaultRule: 'Host(`{{ .Name }}`)'\n"
    assert config(static + http("\n      replacePathRegex: {regex: a(.*), replacement: '/${1}'}")).listeners
    named = http(
        "\n      redirectRegex:\n        regex: ^x(?P<rest>.*)\n        replacement: '${rest}'  # {{ a comment }}"
    )
    assert config(named).listeners


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (http(), "traefik"),
        (json.dumps({"http": {"services": {}}}), "traefik"),
        ("[http.routers]\n  [http.routers.a]\n", "traefik"),
        ("# static\nentryPoints:\n  web:\n", "traefik"),
        ("providers:\n  file:\n    directory: /d\n", "traefik"),
        (COMPOSE, "traefik"),
        ("services:\n  web:\n    image: nginx\n", None),
        ("apiVersion: v1\nkind: ConfigMap\ndata:\n  t: |\n    http:\n      routers:\n", None),
        ("apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\nspec:\n  entryPoints: [web]\n", None),
        ("# Traefik\n\n```yaml\nhttp:\n  routers:\n```\n", None),
        ('{"name": "x", "scripts": {"http": "routers"}}', None),
    ],
)
def test_a_config_is_known_by_its_content(text: str, kind: str | None) -> None:
    assert recognised(from_text(text)) == kind


def test_many_routers_are_read_in_a_moment() -> None:
    routers = "".join(f"    r{number}: {{rule: 'Host(`{number:05}.example`)', service: s}}\n" for number in range(3000))
    found = config(http(more=routers))
    assert len(found.listeners[0].routes) == 3001
    assert predict(found, upgrade("/", "02999.example")).route == "r2999: Host(`02999.example`)"


_REAL = st.sampled_from(
    (http("{headers: {customRequestHeaders: {A: b}}}"), STATIC, COMPOSE, http("{stripPrefix: {prefixes: [/a]}}"))
)


@given(
    _REAL,
    st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.integers(0, 12),
            st.sampled_from(
                ("", "[", "{", "'", '"', "`", "\n", ":", "&a *a", "!", "(", "=", "\0", "é", "<<: ", "- ", "$", "#")
            ),
        ),
        max_size=4,
    ),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_config_is_read_or_refused(text: str, changes: list[tuple[int, int, str]]) -> None:
    for at, size, put in changes:
        start = at % (len(text) + 1)
        text = text[:start] + put + text[start + size :]
    try:
        found = config(text)
    except ReadError:
        return
    predict(found, upgrade("/ws", headers=(BEARER,)))
