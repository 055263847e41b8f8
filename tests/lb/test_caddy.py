"""Caddy's reader: what a Caddyfile and Caddy's JSON are said to do, and what of them is not read."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsprobe.inspection import Change, HeaderEdit, Prediction, Timer
from wsprobe.lb import caddy, recognised
from wsprobe.lb.model import Config, Gate, Route
from wsprobe.lb.predict import predict, steps_of
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import Files, ReadError, from_text
from wsprobe.model import Header

AUTH: Header = ("Authorization", "Bearer x")


def config(text: str, version: str | None = None) -> Config:
    return caddy.read(from_text(text, "Caddyfile"), version)


def site(body: str) -> str:
    return f"http://:80 {{\n{body}\n}}\n"


def asked(*headers: Header, target: str = "/ws", host: str = "a.test") -> Request:
    made = upgrade(target, host, (AUTH, *headers))
    return Request(target=target, headers=made.headers, scheme="http", port=80, peer="10.0.0.9", local="10.0.0.1")


def told(
    text: str, *headers: Header, target: str = "/ws", host: str = "a.test", version: str | None = None
) -> Prediction:
    return predict(config(text, version), asked(*headers, target=target, host=host))


def sent(found: Prediction, name: str) -> list[str]:
    assert found.request is not None, found
    return [value for key, value in found.request.headers if key.lower() == name.lower()]


def edit_of(found: Prediction, name: str) -> HeaderEdit | None:
    return next((edit for edit in found.edits if edit.name.lower() == name.lower()), None)


# What becomes of a header, and which line says so.


@pytest.mark.parametrize(
    ("body", "name", "values", "line"),
    [
        pytest.param("reverse_proxy app:1", "Authorization", ["Bearer x"], None, id="kept by default"),
        pytest.param("reverse_proxy app:1 {\nheader_up -Authorization\n}", "Authorization", [], 3, id="header_up -"),
        pytest.param("reverse_proxy app:1 {\nheader_up -auth*\n}", "Authorization", [], 3, id="header_up - with a star"),
        pytest.param("reverse_proxy app:1 {\nheader_up -*zation\n}", "Authorization", [], 3, id="a star before"),
        pytest.param("reverse_proxy app:1 {\nheader_up -*\n}", "Authorization", [], 3, id="all of them"),
        pytest.param('reverse_proxy app:1 {\nheader_up Authorization "Basic y"\n}', "Authorization", ["Basic y"], 3, id="set"),
        pytest.param("reverse_proxy app:1 {\nheader_up +Authorization b\n}", "Authorization", ["Bearer x", "b"], 3, id="added"),
        pytest.param("reverse_proxy app:1 {\nheader_up Authorization Bearer Token\n}", "Authorization", ["Token x"], 3, id="replaced"),
        pytest.param("request_header -Authorization\nreverse_proxy app:1", "Authorization", [], 2, id="request_header -"),
        pytest.param("reverse_proxy app:1\nrequest_header Authorization {header.Cookie}", "Authorization", [""], 3, id="a placeholder without value, and the order of directives"),
        pytest.param("reverse_proxy app:1 {\nheader_up X {vars.none}{nothing}{host}\n}", "X", ["{nothing}a.test"], 3, id="placeholders"),
        pytest.param("reverse_proxy app:1 {\nheader_up Host {upstream_hostport}\n}", "Host", ["app:1"], 3, id="Host"),
        pytest.param("reverse_proxy app:1 app:2 {\nheader_up -Connection\n}", "Connection", [], 3, id="Connection"),
        pytest.param("reverse_proxy app:1", "Host", ["a.test"], None, id="Host is kept"),
        pytest.param("reverse_proxy https://app", "Host", ["app"], None, id="Host is the upstream's over TLS"),
        pytest.param("reverse_proxy https://app {\nheader_up Host {host}\n}", "Host", ["a.test"], None, id="unless it is set"),
        pytest.param("reverse_proxy app:1", "X-Forwarded-For", ["10.0.0.9"], None, id="X-Forwarded-For"),
        pytest.param("reverse_proxy app:1", "Via", ["1.1 Caddy"], None, id="Via"),
        pytest.param("reverse_proxy app:1", "X_Token", [], None, id="names with an underscore"),
        pytest.param("vars v 1\n@v vars v 1\nreverse_proxy @v app:1 {\nheader_up X {vars.v}\n}", "X", ["1"], 5, id="variables"),
        pytest.param("vars v 1\nvars v 2\nreverse_proxy app:1 {\nheader_up X {vars.v}\n}", "X", ["1"], 5, id="of two variables the first stays"),
        pytest.param("map {host} {x} {\na.test one\ndefault two\n}\nreverse_proxy app:1 {\nheader_up X {x}\n}", "X", ["one"], 7, id="map"),
        pytest.param("map {header.Authorization} {x} {\n~^Bearer in\ndefault out\n}\nrequest_header -Authorization\nreverse_proxy app:1 {\nheader_up X {x}\n}", "X", ["out"], 8, id="a map is looked up where it is asked for"),
        pytest.param("map {host} {x} {\na.test one\n}\nmap {method} {x} {\ndefault two\n}\nreverse_proxy app:1 {\nheader_up X {x}\n}", "X", ["one"], 9, id="of two maps the first counts"),
        pytest.param("map {host} {x} {\n~^(\\w)[.] $1-{method}\n}\nreverse_proxy app:1 {\nheader_up X {x}\n}", "X", ["a-{http.request.method}"], 6, id="a pattern of a map leads to its groups and no placeholders"),
        pytest.param("reverse_proxy app:1 {\nheader_up X {http.reverse_proxy.upstream.address}\n}", "X", ["tcp/app:1"], 3, id="the address of the upstream"),
        pytest.param("@p path_regexp id ^/(.)\nreverse_proxy @p app:1 {\nheader_up X {re.id.1}\n}", "X", ["w"], 4, id="what a pattern catches"),
        pytest.param("route {\nrequest_header X 1\n@x header X 1\nreverse_proxy @x app:1\n}", "X", ["1"], 3, id="a matcher looks at what was set"),
        pytest.param("@a header Authorization *\nrequest_header @a -Authorization\nrequest_header @a X 1\nreverse_proxy app:1", "X", ["1"], 4, id="equal matchers are asked once"),
    ],
)  # fmt: skip
def test_a_header_reaches_the_upstream_as_the_config_says(
    body: str, name: str, values: list[str], line: int | None
) -> None:
    found = told(site(body), ("X_Token", "t"))
    assert sent(found, name) == values
    edit = edit_of(found, name)
    if line is None:
        assert edit is None or edit.place is None
    else:
        assert edit is not None
        assert edit.place is not None
        assert (edit.place.path, edit.place.line) == ("Caddyfile", line)


@pytest.mark.parametrize(
    ("edit", "target", "known"),
    [
        ("uri query -token", "/ws?token=x", False),
        ("uri query -token", "/ws", True),
        ("uri query edge 1", "/ws", False),
        ("uri query {\n-token\nedge 1\n}", "/ws", False),
    ],
)
def test_a_query_that_is_edited_is_not_known(edit: str, target: str, known: bool) -> None:  # noqa: FBT001
    found = told(site(f"{edit}\nreverse_proxy app:1"), target=target)
    assert found.reached
    assert ("the request target" not in {unknown.what for unknown in found.unknown}) is known


@pytest.mark.parametrize(
    ("target", "sent_on"),
    [
        ("/api/x%2Fy", "/x%2Fy"),
        ("/api%2Fx", "/x"),
        ("/api/a/%2e%2e/x%2Fy", "/x/y"),
        ("/api/a%2F%2Fb", "/a%2F%2Fb"),
        ("/other/%2e%2e/x", "/other/%2e%2e/x"),
    ],
)
def test_what_is_left_of_a_path_without_its_prefix_has_no_dots(target: str, sent_on: str) -> None:
    found = told(site("uri strip_prefix /api\nreverse_proxy app:1"), target=target)
    assert found.request is not None
    assert found.request.start_line == f"GET {sent_on} HTTP/1.1"


def test_what_connection_names_is_removed() -> None:
    found = told(site("reverse_proxy app:1"), ("Connection", "Upgrade, Authorization"))
    assert sent(found, "Authorization") == []
    assert edit_of(found, "Authorization") == HeaderEdit(
        kind=Change.REMOVED, name="Authorization", before="Bearer x", after=None, place=None
    )


# Which directive gets the request.


@pytest.mark.parametrize(
    ("body", "target", "upstream"),
    [
        pytest.param("reverse_proxy a:1\nreverse_proxy /ws b:1", "/ws", "b:1", id="a matcher goes before none"),
        pytest.param("reverse_proxy /ws* a:1\nreverse_proxy /ws/x/* b:1", "/ws/x/y", "b:1", id="the longer path"),
        pytest.param("reverse_proxy /ws* a:1\nreverse_proxy /ws b:1", "/ws", "b:1", id="exact before the star"),
        pytest.param("reverse_proxy /realtime a:1\nreverse_proxy b:1", "/realtime/x", "b:1", id="no star, no prefix"),
        pytest.param("reverse_proxy a:1\nrespond /ws 404", "/ws", None, id="respond goes first"),
        pytest.param("reverse_proxy a:1\nhandle /ws {\nreverse_proxy b:1\n}", "/ws", "b:1", id="so does handle"),
        pytest.param("handle {\nreverse_proxy a:1\n}\nhandle /ws* {\nreverse_proxy b:1\n}", "/ws/x", "b:1", id="one handle"),
        pytest.param("handle /w* {\nrequest_header X 1\n}\nhandle /ws* {\nreverse_proxy b:1\n}\nreverse_proxy c:1", "/ws", "b:1", id="of two the longer path"),
        pytest.param("handle /ws* {\nrequest_header X 1\n}\nhandle /w* {\nreverse_proxy b:1\n}\nreverse_proxy c:1", "/ws", "c:1", id="they exclude each other"),
        pytest.param("handle {\nrequest_header X 1\n}\nhandle {\nreverse_proxy b:1\n}\nreverse_proxy c:1", "/ws", "b:1", id="unless their matchers are equal"),
        pytest.param("route {\nreverse_proxy a:1\nreverse_proxy /ws b:1\n}", "/ws", "a:1", id="route keeps the order"),
        pytest.param("handle_path /ws/* {\nreverse_proxy /ws/* a:1\nreverse_proxy b:1\n}", "/ws/x", "b:1", id="handle_path strips"),
        pytest.param("@n not path /ws\nreverse_proxy @n a:1\nreverse_proxy b:1", "/ws", "b:1", id="not"),
        pytest.param("@w {\nheader Connection *Upgrade*\nheader Upgrade websocket\n}\nreverse_proxy @w a:1\nreverse_proxy b:1", "/", "a:1", id="the usual matcher for upgrades"),
        pytest.param("@w `path('/ws*', '/socket') && header({'Upgrade': 'websocket', 'Authorization': ['Basic*', 'Bearer*']})`\nreverse_proxy @w a:1\nreverse_proxy b:1", "/ws/x", "a:1", id="matchers that CEL calls"),
        pytest.param("@w expression `!header({'X-None':'*'}) && !(host('a.test') && query({'a': '1'}))`\nreverse_proxy @w a:1\nreverse_proxy b:1", "/?a=1", "b:1", id="matchers that CEL denies"),
        pytest.param("@w expression {header.Upgrade} == 'websocket'\nreverse_proxy @w a:1\nreverse_proxy b:1", "/", "a:1", id="simple CEL"),
        pytest.param("uri strip_prefix /api\nreverse_proxy /ws a:1\nreverse_proxy b:1", "/api/ws", "a:1", id="after a rewrite"),
        pytest.param("error /ws 404\nhandle_errors {\nreverse_proxy a:1\n}", "/ws", "a:1", id="handle_errors"),
        pytest.param("handle_errors 5xx {\nreverse_proxy a:1\n}\nerror /ws 404", "/ws", None, id="but not of that status"),
        pytest.param("invoke r", "/ws", "n:1", id="a named route"),
        pytest.param("import sn /ws b:1\nreverse_proxy a:1", "/ws", "b:1", id="a snippet with arguments"),
    ],
)  # fmt: skip
def test_the_request_goes_where_caddy_sends_it(body: str, target: str, upstream: str | None) -> None:
    snippets = "(sn) {\n\treverse_proxy {args[0]} {args[1]}\n}\n&(r) {\n\treverse_proxy n:1\n}\n"
    read = config(snippets + site(body))
    found = predict(read, asked(target=target))
    assert found.reached is (upstream is not None)
    if upstream:
        assert sent(found, "Upgrade") == ["websocket"]
        routes = [route for listener in read.listeners for route in listener.routes if route.place == found.place]
        assert upstream in {address for route in routes if route.upstream for address in route.upstream.addresses}


@pytest.mark.parametrize(
    ("host", "answered"),
    [("a.test", "one"), ("b.test", "two"), ("x.b.test", "three"), ("X.B.TEST:80", "three"), ("y.x.b.test", "four")],
)
def test_the_site_with_the_most_specific_host_gets_the_request(host: str, answered: str) -> None:
    sites = {
        "http://*.b.test": "three",
        "http://": "four",
        "http://a.test, http://c.test": "one",
        "http://b.test": "two",
    }
    text = "".join(f"{address} {{\n\treverse_proxy {name}:1\n}}\n" for address, name in sites.items())
    found = told(text, host=host)
    addresses = next(address for address, name in sites.items() if name == answered)
    assert found.route == ", ".join(addresses.split(", "))


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("a.test {\nrespond ok\n}", [(443, True), (80, False)]),
        ("http://a.test {\nrespond ok\n}", [(80, False)]),
        (":8080 {\nrespond ok\n}", [(8080, False)]),
        ("localhost:8443 {\nrespond ok\n}", [(8443, True)]),
        ("{\nauto_https off\n}\nlocalhost:8443 {\nrespond ok\n}", [(8443, True)]),
        ("{\nauto_https off\n}\na.test {\nrespond ok\n}", [(443, True)]),
        ("{\nauto_https off\n}\n:443 {\nrespond ok\n}", [(443, False)]),
        ("{\nhttp_port 8080\n}\nhttp://a.test {\nrespond ok\n}", [(8080, False)]),
        ("a.test, http://b.test:81 {\nrespond ok\n}", [(443, True), (81, False), (80, False)]),
        ("a.test {\nbind 10.0.0.1\nrespond ok\n}", [(443, True), (80, False)]),
        ("{$SITE} {\nrespond ok\n}", [(None, False), (None, True)]),
        ("{$SITE:http://c.test} {\nrespond ok\n}", [(80, False)]),
        ("a.test\n\nrespond ok\n", [(443, True), (80, False)]),
    ],
)
def test_a_site_listens_where_its_address_says(text: str, binds: list[tuple[int | None, bool]]) -> None:
    read = config(text)
    assert [(bind.port, bind.tls) for listener in read.listeners for bind in listener.binds] == binds


def test_plain_http_is_redirected_for_a_host_that_gets_certificates() -> None:
    found = told("a.test {\n\treverse_proxy app:1\n}\n")
    assert (found.reached, found.status) == (False, 308)


# Answers, gates and what nobody knows.


@pytest.mark.parametrize(
    ("body", "reached", "status"),
    [
        pytest.param("basic_auth {\nu h\n}\nreverse_proxy app:1", False, 401, id="basic_auth refuses a Bearer"),
        pytest.param("basicauth /none {\nu h\n}\nreverse_proxy app:1", True, None, id="where it is asked"),
        pytest.param("forward_auth auth:1 {\nuri /\n}\nreverse_proxy app:1", None, None, id="forward_auth"),
        pytest.param("redir https://x.test{uri} permanent", False, 301, id="redir"),
        pytest.param("respond 204", False, 204, id="respond"),
        pytest.param("abort", False, None, id="abort"),
        pytest.param("error oops 418", False, 418, id="error"),
        pytest.param("file_server", False, None, id="file_server"),
        pytest.param("php_fastcgi php:9000", None, None, id="php_fastcgi"),
        pytest.param("log", False, 200, id="nothing answers"),
        pytest.param("reverse_proxy h2c://app:1", False, 502, id="an upgrade is not sent over HTTP/2"),
        pytest.param("reverse_proxy app:1 {\nheader_up X: 1\n}", False, 502, id="a name that is none"),
        pytest.param("reverse_proxy app:1 {\nresponse_buffers 4k\n}", True, 200, id="buffers spoil the 101"),
        pytest.param("reverse_proxy app:1 {\nhandle_response {\nrespond no 403\n}\n}", True, 403, id="a handled 101"),
        pytest.param("reverse_proxy app:1 {\n@e status 5xx\nhandle_response @e {\nrespond no 403\n}\n}", True, None, id="an error that is handled"),
        pytest.param("frob x\nreverse_proxy app:1", True, None, id="a directive of a plugin"),
        pytest.param("@f file\nreverse_proxy @f app:1\nreverse_proxy b:1", None, None, id="whether a file is there"),
    ],
)  # fmt: skip
def test_an_upgrade_ends_as_the_config_says(body: str, reached: bool | None, status: int | None) -> None:  # noqa: FBT001  what is expected
    found = told(site(body))
    assert (found.reached, found.status) == (reached, status)


def test_what_a_plugin_may_change_is_unknown_and_its_line_unread() -> None:
    read = config(site("frob x\nreverse_proxy app:1"))
    assert [(each.what, each.place and each.place.line) for each in read.unread] == [("frob", 2)]
    assert "any header" in {each.what for each in predict(read, asked()).unknown}


@pytest.mark.parametrize(
    ("version", "unknown"),
    [("2.11", {"X-User", "Authorization"}), ("2.6", {"X-User", "Authorization"})],
)
def test_forward_auth_tells_which_headers_it_takes_from_the_answer(version: str, unknown: set[str]) -> None:
    body = "forward_auth auth:1 {\nuri /check\ncopy_headers X-A>X-User Authorization\n}\nreverse_proxy app:1"
    read = config(site(body), version)
    [route] = [route for listener in read.listeners for route in listener.routes if route.upstream]
    [gate] = [step for step in steps_of(read.listeners[0], route) if isinstance(step, Gate)]
    assert (gate.kind, gate.effect, set(gate.returns)) == ("forward_auth", "replaces", unknown)
    assert gate.place is not None
    assert gate.place.line == 2
    assert unknown <= {each.what for each in predict(read, asked()).unknown}


def test_a_variable_of_the_environment_is_not_known() -> None:
    found = told(site("reverse_proxy app:1 {\nheader_up Authorization {$TOKEN}\n}"))
    [unknown] = found.unknown
    assert (unknown.what, unknown.place and unknown.place.line) == ("Authorization", 3)
    assert "$TOKEN" in unknown.why


def test_a_default_of_the_environment_is_taken_and_told() -> None:
    read = config(site("reverse_proxy app:1 {\nheader_up X {$TOKEN:abc}z\n}"))
    assert sent(predict(read, asked()), "X") == ["abcz"]
    [told_of] = read.unread
    assert (told_of.what, told_of.place and (told_of.place.line, told_of.place.column)) == ("{$TOKEN}", (3, 13))


# Versions.


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("2.6.2", {"x_token"}),
        ("2.9", {"x_token"}),
        ("2.10.0", {"x_token", "via"}),
        ("2.11.3", {"x_token", "via"}),
        ("2.11.4", {"via"}),
        ("2.11", {"via"}),
        (None, {"via"}),
    ],
)
def test_what_is_dropped_and_added_depends_on_the_version(version: str | None, names: set[str]) -> None:
    found = told(site("reverse_proxy app:1"), ("X_Token", "t"), version=version)
    assert found.request is not None
    assert {name.lower() for name, _ in found.request.headers} & {"x_token", "via"} == names


@pytest.mark.parametrize(("version", "passes"), [("2.6", True), ("2.11.4", True), ("2.11", False)])
def test_how_long_a_token_may_be_depends_on_the_version(version: str, passes: bool) -> None:  # noqa: FBT001  what is expected
    found = told(site("reverse_proxy app:1"), ("X-Long", "x" * 24_000), version=version)
    assert (found.reached, found.status) == ((True, None) if passes else (False, 431))


# Timers.


def test_timers_are_told_with_their_lines_and_with_what_they_do_not_do() -> None:
    text = """{
	servers {
		timeouts {
			idle 5s
		}
	}
}
http://:80 {
	reverse_proxy app:1 {
		stream_timeout 1h30m
		transport http {
			read_timeout 90s
			write_timeout 2s
			dial_timeout 500ms
		}
	}
}
"""
    [listener] = config(text).listeners
    [route] = [route for route in listener.routes if route.upstream]
    timers = {timer.name: timer for timer in route.timeouts}
    told_of = {
        name: (timer.kind, timer.seconds, timer.place and timer.place.line, timer.applies)
        for name, timer in timers.items()
    }
    assert told_of == {
        "stream_timeout": (Timer.LIFETIME, 5400, 10, True),
        "read_timeout": (Timer.IDLE, 90, 12, True),
        "write_timeout": (Timer.IDLE, 2, 13, False),
        "response_header_timeout": (Timer.HANDSHAKE, None, None, True),
        "dial_timeout": (Timer.HANDSHAKE, 0.5, 14, True),
        "servers idle_timeout": (Timer.IDLE, 5, 4, False),
    }
    assert all(timer.why for timer in route.timeouts if not timer.applies)


def test_names_with_an_underscore_may_be_allowed() -> None:
    text = "{\nservers {\nallow_underscore_in_headers\n}\n}\n" + site("reverse_proxy app:1")
    assert sent(told(text, ("X_Token", "t")), "X_Token") == ["t"]


def test_before_2_7_no_timer_ends_a_stream() -> None:
    [listener] = config(site("reverse_proxy app:1 {\nstream_timeout 1h\n}"), "2.6").listeners
    assert "stream_timeout" not in {timer.name for route in listener.routes for timer in route.timeouts}


# JSON.

JSON = """{
  "apps": {"http": {"servers": {"web": {
    "listen": [":80"],
    "max_header_bytes": 5000,
    "routes": [
      {
        "match": [{"path": ["/ws*"], "header": {"X-No": null}}],
        "handle": [
          {"handler": "headers", "request": {"delete": ["Cookie"]}},
          {
            "handler": "reverse_proxy",
            "headers": {"request": {
              "delete": ["X-Gone",
                         "Authorization"],
              "set": {"X-Host": ["{http.request.host}", "{host}"]}
            }},
            "stream_timeout": 3000000000,
            "upstreams": [{"dial": "app:1"}]
          }
        ]
      }
    ]
  }}}}
}
"""


def test_json_is_read_with_the_line_of_each_edit() -> None:
    found = told(JSON, ("Cookie", "a=1"))
    assert sent(found, "X-Host") == ["a.test,{host}"]
    lines = {edit.name: edit.place.line for edit in found.edits if edit.place}
    assert lines == {"Cookie": 9, "Authorization": 14, "X-Host": 15}
    assert [(timer.name, timer.seconds) for timer in found.timeouts if timer.place] == [("stream_timeout", 3)]
    assert told(JSON, ("X-No", "1")).status == 200
    assert told(JSON, ("X-Long", "x" * 10_000)).status == 431


# What cannot be read.


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        pytest.param("a.test {\n\trespond ok\n", 1, 8, "this { is not closed", id="a brace that is not closed"),
        pytest.param("a.test {\n\thandle {\n\t\trespond\n}\n", 1, 8, "this { is not closed", id="an inner one"),
        pytest.param("a.test {\n\t@m {\n\t\t{\n\t\t}\n\t}\n}\n", 3, 3, "a { on a line of its own", id="a brace alone"),
        pytest.param("(s) {\n\t{args[0:]} {\n\t}\n}\na.test {\n\timport s\n}\n", 2, 13, "a { on a line of its own", id="a brace that an import leaves alone"),
        pytest.param("a.test {\n}\n}\n", 3, 1, "a } that closes nothing", id="a brace too many"),
        pytest.param('a.test {\n\trespond "ok\n}\n', 2, 10, 'expecting "', id="a quote that is not closed"),
        pytest.param("a.test {\n\trespond <<END\n\tx\n}\n", 2, 10, "heredoc", id="a heredoc without end"),
        pytest.param("{{ site }} {\n\trespond ok\n}\n", 1, 1, "a template ({{ at line 1), not read", id="Jinja"),
        pytest.param("a.test {\n\t{% if x %}\n}\n", 2, 2, "a template ({% at line 2), not read", id="a block of Jinja"),
        pytest.param("n8n.<domain> {\n\trespond ok\n}\n", 1, 5, "a template (<domain> at line 1), not read", id="a placeholder for people"),
        pytest.param("a.test {\n\treverse_proxy ${APP}:80\n}\n", 2, 16, "a template (${APP} at line 2), not read", id="envsubst"),
        pytest.param("a {\n" * 200, 101, 3, "nested deeper", id="deep nesting"),
        pytest.param('{"apps": {"http": [}}', 1, 20, "", id="broken JSON"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ReadError) as caught:
        config(text)
    problem = caught.value.problem
    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message


def in_folder(folder: Path, **files: str) -> Config:
    for name, text in files.items():
        (folder / name).write_text(text)
    return caddy.read(Files(folder.resolve()).open(folder / "Caddyfile"))


def test_imports_are_read_by_path_and_by_pattern_and_keep_their_lines(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.caddy").write_text("http://a.test {\n\timport ../common\n}\n")
    read = in_folder(
        tmp_path, Caddyfile="import sites/*.caddy\n", common="\nreverse_proxy app:1 {\nheader_up -Authorization\n}\n"
    )
    assert not read.problems
    assert [Path(name).name for name in read.files] == ["Caddyfile", "a.caddy", "common"]
    edit = edit_of(predict(read, asked()), "Authorization")
    assert edit is not None
    assert edit.place is not None
    assert (Path(edit.place.path).name, edit.place.line) == ("common", 3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import missing", "cannot be opened"),
        ("import ../outside", "lies outside of"),
        ("import /etc/hostname", "lies outside of"),
        ("import Caddyfile", "a loop of imports"),
        ("import other", "a loop of imports"),
        ("import", "is missing"),
    ],
)
def test_an_import_that_cannot_be_followed_is_a_problem_and_the_rest_is_read(
    tmp_path: Path, body: str, message: str
) -> None:
    (tmp_path / "outside").write_text("respond no\n")
    (tmp_path / "in").mkdir()
    text = f"http://:80 {{\n\t{body}\n\treverse_proxy app:1\n}}\n"
    read = in_folder(tmp_path / "in", Caddyfile=text, other="import other\n")
    assert any(message in problem.message for problem in read.problems), read.problems
    assert predict(read, asked()).reached is True or body == "import Caddyfile"


def test_a_snippet_that_imports_itself_twice_stays_small() -> None:
    doubled = "".join(f"(s{n}) {{\n\timport s{n - 1}\n\timport s{n - 1}\n}}\n" for n in range(1, 40))
    with pytest.raises(ReadError, match="words"):
        config(f"(s0) {{\n\trequest_header X 1\n}}\n{doubled}:80 {{\n\timport s39\n}}\n")


def test_a_long_config_is_read_in_time() -> None:
    lines = "".join(f"\trequest_header /{n}/* X-{n} 1\n\treverse_proxy /ws{n}/* app:{n}\n" for n in range(1, 3000))
    begin = time.process_time()
    config(f":80 {{\n{lines}}}\n")
    config(f":80 {{\n\trespond `{'x' * 5_000_000}`\n}}\n")
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("name", "text", "is_caddy"),
    [
        ("Caddyfile", "a.test\nrespond ok\n", True),
        ("x.conf", "example.com {\n\treverse_proxy app:1\n}\n", True),
        ("x.conf", "(common) {\n\tencode gzip\n}\n:80 {\n\timport common\n}\n", True),
        ("x.json", '{"apps": {"http": {"servers": {}}}}', True),
        ("x.conf", "server {\n    listen 80;\n    location / { proxy_pass http://a; }\n}\n", False),
        ("x.conf", "upstream a {\n    server b:1;\n}\n", False),
        ("haproxy.cfg", "frontend a\n    bind :80\n    redirect scheme https\n", False),
        ("httpd.conf", "<VirtualHost *:80>\n    ProxyPass / http://a/\n</VirtualHost>\n", False),
        ("x.yaml", "http:\n  routers:\n    a:\n      rule: Host(`a`)\n", False),
        ("package.json", '{"name": "x", "apps": ["a"]}', False),
        ("main.tf", 'resource "aws_lb" "x" {\n  route = 1\n}\n', False),
        ("README.md", "# Title\n\nUse reverse_proxy to {\nproxy\n", False),
        ("app.js", "function handle() {\n  respond(1);\n}\n", False),
        ("x.go", "func main() {\n\thandle := 1\n}\n", False),
        ("style.css", ".handle {\n  color: red;\n}\n", False),
    ],
)
def test_a_file_is_recognised_by_its_content(name: str, text: str, is_caddy: bool) -> None:  # noqa: FBT001  what is expected
    assert caddy.sniff(from_text(text, name)) is is_caddy
    if is_caddy:
        assert recognised(from_text(text, name)) == "caddy"


# Whatever a file says, the reader says something, and in time.

EVERYTHING = """{
	admin off
	servers {
		trusted_proxies static private_ranges
	}
}
(s) {
	header_up -{args[0]}
}
a.test, *.b.test:8080 {
	@m {
		not path /x* %2f
		header_regexp X (a)(b)
		expression {host} in ['a']
	}
	handle_path /api/* {
		reverse_proxy @m h2c://a:1-5 {
			import s Auth*
			header_up X `(a)` $1
		}
	}
	forward_auth {$A:b:1} {
		uri /x
		copy_headers A>B
	}
	rewrite * /x{uri}?{query}&a=b
	map {host} {x} {
		~a b
	}
	handle_errors 4xx {
		respond <<E
		x
		E 200
	}
}
"""
SEEDS = (JSON, EVERYTHING)
PIECES = (
    "{",
    "}",
    '"',
    "`",
    "\\",
    "\n",
    "{$",
    "{args[0]}",
    "import s\n",
    "<<E\n",
    "*",
    "@m ",
    "\0",
    "é",
    "(",
    "[",
    "-",
    " 9" * 30,
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 40)))
        put = draw(st.one_of(st.just(""), st.sampled_from(PIECES), st.just(text[begin:end] * 2), st.text(max_size=5)))
        text = text[:begin] + put + text[end:]
    return text


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_file_raises_nothing_but_that_it_cannot_be_read(text: str) -> None:
    try:
        read = config(text)
    except ReadError:
        return
    for listener in read.listeners:
        for route in listener.routes:
            assert isinstance(route, Route)
    predict(read, asked())
