"""The reader of nginx configs: what each directive makes of an upgrade, and what is wrong with a file."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsprobe.inspection import Prediction
from wsprobe.lb.model import Config, Gate
from wsprobe.lb.nginx import read, sniff
from wsprobe.lb.predict import Request, carry, predict, upgrade
from wsprobe.lb.source import Files, ReadError, from_text
from wsprobe.parts import Header

BEARER: Header = ("Authorization", "Bearer x")
WS = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'


def config(text: str, version: str | None = None) -> Config:
    """A config in which nothing is wrong."""
    found = read(from_text(text), version)
    assert not found.problems
    return found


def inside(location: str) -> str:
    """A config with one location that says this and passes requests on."""
    return f"http {{ server {{ listen 80; location / {{ {location} proxy_pass http://app; }} }} }}"


def sent(text: str, request: Request | None = None, version: str | None = None) -> Prediction:
    """What becomes of an upgrade with a token."""
    return predict(config(text, version), request or upgrade("/ws", headers=(BEARER,)))


def header(prediction: Prediction, name: str) -> list[str]:
    """The values of a header as the upstream receives it."""
    assert prediction.request
    return [value for key, value in prediction.request.headers if key.lower() == name.lower()]


# Headers.


@pytest.mark.parametrize(
    ("location", "name", "values"),
    [
        pytest.param("", "Upgrade", [], id="Upgrade is not passed on by itself"),
        pytest.param("", "Connection", ["close"], id="Connection says close in old versions"),
        pytest.param("", "Host", ["app"], id="Host is that of proxy_pass"),
        pytest.param("proxy_set_header Host $host;", "Host", ["app.example.com"], id="$host is without its port"),
        pytest.param("proxy_set_header Host $http_host;", "Host", ["App.example.com:81"], id="$http_host is all of it"),
        pytest.param('proxy_set_header Authorization "";', "Authorization", [], id="an empty value removes a header"),
        pytest.param("proxy_set_header authorization x;", "Authorization", ["x"], id="names have no case"),
        pytest.param("proxy_set_header X a; proxy_set_header X b;", "X", ["a", "b"], id="a name twice is two lines"),
        pytest.param("proxy_set_header X $http_authorization;", "X", ["Bearer x"], id="the value of another header"),
        pytest.param(
            'proxy_set_header Authorization ""; proxy_set_header X $http_authorization;',
            "X",
            ["Bearer x"],
            id="values are those of the client whatever is removed",
        ),
        pytest.param("proxy_set_header X ${host}x;", "X", ["app.example.comx"], id="braces end a name"),
        pytest.param("proxy_set_header X '$arg_t';", "X", ["1"], id="an argument"),
        pytest.param("proxy_set_header X $upstream_http_x;", "X", [], id="nothing of the upstream is known yet"),
        pytest.param("proxy_pass_request_headers off;", "Authorization", [], id="request headers off"),
        pytest.param("set $v $http_authorization; proxy_set_header X $v;", "X", ["Bearer x"], id="set"),
        pytest.param('set $v a; if ($http_x = "") { set $v b; } proxy_set_header X $v;', "X", ["b"], id="if"),
        pytest.param(
            "if ($http_authorization ~* ^bearer\\s+(.*)$) { set $v $1; } proxy_set_header X $v;",
            "X",
            ["x"],
            id="what a pattern of an if catches",
        ),
        pytest.param("more_set_input_headers 'X: $http_host';", "X", ["App.example.com:81"], id="headers-more sets"),
        pytest.param("more_clear_input_headers 'Auth*';", "Authorization", [], id="headers-more clears"),
    ],
)
def test_a_header_reaches_the_upstream(location: str, name: str, values: list[str]) -> None:
    request = upgrade("/ws?t=1", "App.example.com:81", (BEARER,))
    assert header(sent(inside(location), request), name) == values


@pytest.mark.parametrize(
    ("underscores", "values"),
    [
        pytest.param("", [], id="dropped by default"),
        pytest.param("underscores_in_headers on;", ["t"], id="kept where they are allowed"),
        pytest.param("ignore_invalid_headers off;", ["t"], id="kept where names are not checked"),
    ],
)
def test_a_header_with_an_underscore(underscores: str, values: list[str]) -> None:
    text = f"server {{ {underscores} location / {{ proxy_pass http://app; }} }}"
    assert header(sent(text, upgrade("/", headers=(("X_Token", "t"),))), "X_Token") == values


@pytest.mark.parametrize(
    ("version", "line", "connection"),
    [
        (None, "GET /ws HTTP/1.0", ["close"]),
        ("1.22", "GET /ws HTTP/1.0", ["close"]),
        ("1.29.6", "GET /ws HTTP/1.0", ["close"]),
        ("1.29.7", "GET /ws HTTP/1.1", []),
        ("1.31.3", "GET /ws HTTP/1.1", []),
    ],
)
def test_the_defaults_depend_on_the_version(version: str | None, line: str, connection: list[str]) -> None:
    found = sent(inside(""), version=version)
    assert found.request
    assert found.request.start_line == line
    assert header(found, "Connection") == connection
    assert bool(found.assumed) is (version is None)


@pytest.mark.parametrize(("version", "value"), [("1.22.1", "a"), ("1.23.0", "a, b")])
def test_lines_of_one_name_are_joined_from_1_23_on(version: str, value: str) -> None:
    request = upgrade("/", headers=(("X-A", "a"), ("X-A", "b")))
    assert header(sent(inside("proxy_set_header X $http_x_a;"), request, version), "X") == [value]


def test_headers_of_an_outer_block_hold_where_the_inner_sets_none() -> None:
    text = f"http {{ {WS} server {{ location / {{ proxy_pass http://app; }} }} }}"
    assert header(sent(text), "Upgrade") == ["websocket"]
    assert not config(text).listeners[0].routes[0].lost


def test_headers_of_an_outer_block_are_lost_where_the_inner_sets_one() -> None:
    text = f"""http {{
    {WS}
    server {{
        proxy_set_header Authorization "";
        location / {{ proxy_pass http://app; }}
        location /ws {{
            proxy_set_header X-Extra 1;
            proxy_pass http://app;
        }}
    }}
}}"""
    found = sent(text)
    assert header(found, "Upgrade") == []
    assert header(found, "Authorization") == ["Bearer x"]
    lost = next(route for route in config(text).listeners[0].routes if "/ws" in route.label).lost
    assert [(each.edit.place.line if each.edit.place else 0, each.by.line) for each in lost] == [(4, 7), (2, 7), (2, 7)]


def test_an_edit_has_the_line_that_causes_it() -> None:
    found = sent(
        "server {\n  location / {\n    proxy_set_header Authorization '';\n    proxy_pass http://app;\n  }\n}\n"
    )
    place = next(edit.place for edit in found.edits if edit.name == "Authorization")
    assert place
    assert (place.path, place.line, place.column, place.text) == (
        "<stdin>",
        3,
        5,
        "proxy_set_header Authorization '';",
    )
    assert next(edit.place for edit in found.edits if edit.name == "Upgrade") is None


# Maps.


@pytest.mark.parametrize(
    ("entries", "host", "value"),
    [
        ("default d; a.test 1;", "A.TEST", "1"),
        ("default d; a.test 1;", "b.test", "d"),
        ("a.test 1;", "b.test", None),
        ("~^(?<name>.+)\\.test$ $name;", "x.test", "x"),
        ("~*^A\\.(.+)$ $1-$http_x;", "a.test", "test-y"),
        ("~b 1; ~t 2; b.test 3;", "b.test", "3"),
        ("hostnames; *.test 1; .a.test 2; x.* 3; default 4;", "x.a.test", "2"),
        ("hostnames; *.test 1; .a.test 2; x.* 3; default 4;", "a.test", "2"),
        ("hostnames; *.test 1; .a.test 2; x.* 3; default 4;", "x.org", "3"),
        ("hostnames; *.test 1; .a.test 2; x.* 3; default 4;", "b.test", "1"),
        ("hostnames; *.test 1; .a.test 2; x.* 3; default 4;", "b.org", "4"),
        ("\\default 1;", "default", "1"),
    ],
)
def test_a_map_gives_the_value_that_nginx_would(entries: str, host: str, value: str | None) -> None:
    text = f"map $host $v {{ {entries} }} server {{ location / {{ proxy_set_header X $v; proxy_pass http://app; }} }}"
    assert header(sent(text, upgrade("/", host, (("X", "y"),))), "X") == ([] if value is None else [value])


def test_maps_that_ask_each_other_are_unknown() -> None:
    text = "map $b $a { default $b; } map $a $b { default $a; } " + inside("proxy_set_header X $a;")
    assert [each.what for each in sent(text).unknown] == ["X"]


def test_a_variable_that_nothing_defines_is_unknown() -> None:
    found = sent(inside("proxy_set_header Connection $connection_upgrade;"))
    assert [(each.what, each.why) for each in found.unknown] == [
        ("Connection", "no file that was read defines $connection_upgrade")
    ]
    assert header(found, "Connection") == []


# Locations and servers.

LOCATIONS = """server {
    location / { return 201; }
    location = / { return 202; }
    location /docs/ { return 203; }
    location ^~ /images/ { return 204; }
    location ~* \\.(gif|jpg)$ { return 205; }
    location = /ws { return 206; }
    location /ws { return 207; location ~ /deep { return 208; } location /ws/a/ { return 209; } }
    location /ws/a { return 210; }
    location ~ ^/ws/b/(.*)$ { return 211; }
}"""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 202),
        ("/index", 201),
        ("/docs/x", 203),
        ("/docs/1.gif", 205),
        ("/images/1.gif", 204),
        ("/ws", 206),
        ("/ws/deep", 208),
        ("/ws/b/deep", 208),
        ("/ws/b/c", 211),
        ("/ws/a/c", 210),
        ("/ws/x", 207),
        ("//ws//x", 207),
        ("/docs/../ws/x", 207),
        ("/%77s/x", 207),
        ("/WS", 201),
        ("/a.JPG", 205),
    ],
)
def test_the_location_is_the_one_that_nginx_takes(path: str, status: int) -> None:
    assert sent(LOCATIONS, upgrade(path)).status == status


SERVERS = """
server { listen 80; server_name first.test; return 201; }
server { listen 80 default_server; server_name _; return 202; }
server { listen 80; server_name *.a.test; return 203; }
server { listen 80; server_name x.*; return 204; }
server { listen 80; server_name ~^y(?<n>\\d+)\\.; return 205; }
server { listen 80; server_name x.a.test .b.test; return 206; }
server { listen 8080; return 207; }
"""


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("first.test", 201),
        ("other.test", 202),
        ("y.a.test", 203),
        ("x.org", 204),
        ("y12.org", 205),
        ("x.a.test:80", 206),
        ("b.test", 206),
        ("z.B.test.", 206),
    ],
)
def test_the_server_is_the_one_that_nginx_takes(host: str, status: int) -> None:
    found = predict(config(SERVERS), Request(target="/", headers=(("Host", host),), port=80))
    assert found.status == status


def test_what_passes_on_and_ends_with_a_slash_redirects_what_lacks_it() -> None:
    text = "server { location /ws/ { proxy_pass http://app; } }"
    assert sent(text, upgrade("/ws")).status == 301
    assert sent(text, upgrade("/ws/")).reached


@pytest.mark.parametrize(
    ("passes", "path", "line"),
    [
        ("proxy_pass http://app;", "/ws/a%20b?x", "/ws/a%20b?x"),
        ("proxy_pass http://app/;", "/ws/a%20b?x", "/a%20b?x"),
        ("proxy_pass http://app/base;", "/ws/a", "/basea"),
        ("proxy_pass http://app/?k=1;", "/ws/a?x", "/?k=1a?x"),
        ("set $u app; proxy_pass http://$u;", "/ws/a?x", "/ws/a?x"),
        ("set $u app; proxy_pass http://$u/y;", "/ws/a?x", "/y"),
        ("set $u app; proxy_pass http://$u$request_uri;", "/ws/a?x", "/ws/a?x"),
        ("rewrite ^/ws/(.*)$ /v2/$1 break; proxy_pass http://app;", "/ws/a?x", "/v2/a?x"),
        ("rewrite ^/ws/(.*)$ /v2/$1? break; proxy_pass http://app/base;", "/ws/a?x", "/v2/a"),
        ("rewrite ^/ws/(.*)$ /other/$1; proxy_pass http://app;", "/ws/a", "/named"),
    ],
)
def test_the_request_target_is_the_one_that_nginx_sends(passes: str, path: str, line: str) -> None:
    text = f"server {{ location /ws/ {{ {passes} }} location /other {{ proxy_pass http://app/named?; }} }}"
    found = sent(text.replace("/named?", "/named"), upgrade(path))
    assert found.request
    expected = line if line != "/named" else "/named/a"
    assert found.request.start_line.split(" ")[1] == expected


# Answers of nginx itself.


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (inside('if ($http_upgrade = "websocket") { return 403; }'), 403),
        (inside("return 301 https://x;"), 301),
        (inside("deny all;"), 403),
        (inside("limit_except POST { deny all; }"), 403),
        (inside("auth_basic r; auth_basic_user_file f;"), 401),
        (inside("auth_jwt r token=$arg_token;"), 401),
        (inside("internal;"), 404),
        (inside("error_page 403 = @x; deny all; } location @x { return 418;"), 418),
        ("server { return 301 https://$host$request_uri; }", 301),
        ("server { location = /auth { return 401; } location / { auth_request /auth; proxy_pass http://a; } }", 401),
        (inside("set $u ''; proxy_pass http://$u; }location /x {"), 500),
        (inside("rewrite ^ /ws;"), 500),
        (inside("rewrite ^ https://x permanent;"), 301),
    ],
)
def test_nginx_answers_by_itself(text: str, status: int) -> None:
    found = sent(text)
    assert found.reached is not True
    assert found.status == status


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("root /srv;", "there is no proxy_pass, and nginx looks for a file", id="files"),
        pytest.param(WS, "there is no proxy_pass, and nginx looks for a file", id="headers without an upstream"),
        pytest.param("fastcgi_pass x;", "fastcgi_pass: FastCGI has no upgrade", id="FastCGI"),
        pytest.param("js_content m.f;", "js_content: a script answers", id="a script"),
        pytest.param("return 444;", "return 444 closes the connection without an answer", id="no answer"),
    ],
)
def test_what_leads_to_no_upstream_says_so(text: str, why: str) -> None:
    found = sent(f"server {{ location / {{ {text} }} }}")
    assert (found.reached, found.status, found.why) == (False, None, why)


def test_an_error_page_keeps_the_status_of_the_error_also_of_an_upgrade() -> None:
    text = (
        f"server {{ error_page 418 @ws; location / {{ return 418; }} location @ws {{ {WS} proxy_pass http://app; }} }}"
    )
    assert (sent(text).reached, sent(text).status) == (True, 418)
    text = text.replace("418 @ws", "418 = @ws")
    assert (sent(text).reached, sent(text).status) == (True, None)


def test_an_address_that_is_known_decides_allow_and_deny() -> None:
    text = inside("allow 10.0.0.0/8; deny all;")
    known = {peer: predict(config(text), Request(target="/", headers=(("Host", "a"),), peer=peer)) for peer in PEERS}
    assert {peer: found.reached for peer, found in known.items()} == PEERS
    assert sent(text).reached is None


PEERS: dict[str | None, bool | None] = {"10.1.2.3": True, "127.0.0.1": False, None: None}


# What only the running nginx knows.


@pytest.mark.parametrize(
    ("location", "what"),
    [
        pytest.param("proxy_set_header X $request_id;", "X", id="an id"),
        pytest.param("proxy_set_header X $ssl_client_cert;", "X", id="the client's certificate"),
        pytest.param("proxy_set_header X $geo;", "X", id="geo"),
        pytest.param("proxy_set_header X $script;", "X", id="a script gives a variable"),
        pytest.param(
            "auth_request /auth; auth_request_set $tok $upstream_http_x; proxy_set_header Authorization $tok;",
            "Authorization",
            id="the answer of a service",
        ),
        pytest.param("if (-f /etc/x) { set $v 1; } proxy_set_header X $v;", "X", id="a file"),
        pytest.param("access_by_lua_block { ngx.req.clear_header('Authorization') }", "any header", id="Lua"),
        pytest.param("js_access m.f;", "any header", id="njs"),
        pytest.param("try_files $uri @x;", "whether the proxy answers by itself", id="files"),
        pytest.param("auth_oidc x;", "whether auth_oidc lets the request pass", id="another authentication"),
        pytest.param("proxy_pass http://$geo;", "Host", id="the upstream"),
    ],
)
def test_what_cannot_be_known_is_said(location: str, what: str) -> None:
    outer = "geo $geo { default 0; 10.0.0.0/8 1; } js_set $script m.f; "
    named = "location = /auth { proxy_pass http://auth; } location @x { proxy_pass http://app; } "
    passes = "" if "proxy_pass" in location else "proxy_pass http://app;"
    text = f"{outer} server {{ listen 443 ssl; {named} location / {{ {location} {passes} }} }}"
    asked = upgrade("/ws", headers=(("Authorization", "Bearer x"),))
    found = predict(config(text), Request(target="/ws", headers=asked.headers, scheme="https"))
    assert what in {each.what for each in found.unknown}
    assert all(each.why for each in found.unknown)


def test_auth_request_says_which_headers_its_answer_gives() -> None:
    lines = "auth_request /auth; auth_request_set $tok $upstream_http_x; proxy_set_header Authorization $tok;"
    routes = config(inside(lines)).listeners[0].routes
    gate = next(step for step in routes[0].steps if isinstance(step, Gate))
    assert (gate.kind, gate.header, str(gate.effect), gate.returns) == (
        "auth_request",
        "Authorization",
        "replaces",
        ("Authorization",),
    )


# Timers, limits, protocols.


def test_timers_have_their_defaults_and_lines() -> None:
    found = sent(inside("proxy_read_timeout 1h30m;\n proxy_send_timeout 5;"))
    timers = {(each.kind, each.name): (each.seconds, each.place and each.place.line) for each in found.timeouts}
    assert timers == {
        ("idle", "proxy_read_timeout"): (5400, 1),
        ("handshake", "proxy_read_timeout"): (5400, 1),
        ("handshake", "proxy_connect_timeout"): (60, None),
    }


@pytest.mark.parametrize(
    ("text", "protocol", "tls"),
    [
        ("proxy_pass http://app;", "http/1.0", False),
        ("proxy_http_version 1.1; proxy_pass https://app;", "http/1.1", True),
        ("proxy_http_version 2; proxy_pass https://app;", "h2", True),
        ("grpc_pass app;", "h2c", False),
        ("grpc_pass grpcs://app;", "h2", True),
    ],
)
def test_the_protocol_of_the_upstream(text: str, protocol: str, tls: bool) -> None:  # noqa: FBT001
    upstream = config(f"server {{ location / {{ {text} }} }}").listeners[0].routes[0].upstream
    assert upstream
    assert (upstream.protocol, upstream.tls, upstream.addresses) == (protocol, tls, ("app",))


def test_the_addresses_of_an_upstream_block_are_those_of_its_servers() -> None:
    text = f"upstream app {{ least_conn; server a:1; server b:2 backup; keepalive 8; }} {inside('')[6:-2]}"
    upstream = config(text).listeners[0].routes[0].upstream
    assert upstream
    assert upstream.addresses == ("a:1", "b:2")


@pytest.mark.parametrize(("size", "status"), [(8000, None), (9000, 400)])
def test_a_header_that_fits_in_no_buffer_is_refused(size: int, status: int | None) -> None:
    found = sent(inside(WS), upgrade("/", headers=(("Authorization", "x" * size),)))
    assert found.status == status


def test_a_stream_passes_connections_on_as_they_are() -> None:
    text = "stream { upstream app { server a:1; } server { listen 443; proxy_pass app; proxy_timeout 5m; } }"
    found = predict(config(text), Request(target="/", headers=(("Host", "a"),), scheme="https", port=443))
    assert found.reached
    assert not found.edits
    assert [(each.kind, each.seconds) for each in found.timeouts] == [("idle", 300), ("handshake", 60)]


# Fragments and other files.


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"server {{ location / {{ {WS} proxy_pass http://app; }} }}", id="a server"),
        pytest.param(f"location / {{ {WS} proxy_pass http://app; }}", id="a location"),
        pytest.param(f"{WS} proxy_pass http://app;", id="directives of a location"),
        pytest.param(f"{WS}", id="directives of a location without the one that passes on"),
        pytest.param(
            f"{WS} map $a $b {{ default 1; }} server {{ location / {{ proxy_pass http://app; }} }}", id="conf.d"
        ),
    ],
)
def test_fragments_are_read(text: str) -> None:
    assert sniff(from_text(text))
    found = sent(text)
    assert found.reached
    assert header(found, "Upgrade") == ["websocket"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "apiVersion: v1\nkind: Ingress\nmetadata:\n  annotations:\n    snippet: |\n      proxy_set_header X y;\n",
        "example.com {\n  reverse_proxy app:80\n}\n",
        "frontend f\n  bind :80\n  default_backend b\n",
        '{"static_resources": {"listeners": []}}',
        "<VirtualHost *:80>\n  ProxyPass / http://a/\n</VirtualHost>\n",
        'resource "x" "y" {\n  server = true\n}\n',
        "server {\n  enabled = true\n}\n",
        "This server is good; it has a location / with a proxy_pass.\n",
        "# nginx\n\nWrite this:\n\n    location / {\n        proxy_pass http://a;\n    }\n",
        "#include <stdio.h>\nint main(void) {\n  return 0;\n}\n",
        "const server = http.createServer();\nserver.listen(80);\n",
        "[http.routers.r]\nrule = 'Path(`/`)'\n",
        "#!/bin/sh\nset -e\ncat > x <<E\nproxy_pass http://a;\nE\n",
    ],
)
def test_other_files_are_not_taken_for_nginx(text: str) -> None:
    assert not sniff(from_text(text))


# Bad input.


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("http {\n  server {\n    listen 80;\n", 2, 3, 'the block of "server" is not closed: expecting "}"'),
        ("server {\n}\n}\n", 3, 1, 'unexpected "}"'),
        ("server {\n  listen 80\n  location / { }\n}\n", 2, 3, 'directive "listen" is not terminated by ";"'),
        (
            "server {\n  location / {\n    proxy_pass http://a\n    proxy_http_version 1.1;\n  }\n}\n",
            3,
            5,
            'directive "proxy_pass" is not terminated by ";": "proxy_http_version" follows at 4:5',
        ),
        ("server {\n  listen 80\n}\n", 3, 1, 'unexpected "}": directive "listen" is not terminated by ";"'),
        ("events {}\nuser x", 2, 1, 'unexpected end of file, expecting ";" or "}" after "user"'),
        ("server {\n  add_header X 'a;\n}\n", 2, 16, 'unexpected end of file, expecting "\'"'),
        ('server {\n  add_header X "a"b;\n}\n', 2, 19, 'unexpected "b" after a quoted text'),
        ("server {\n  ;\n}\n", 2, 3, 'unexpected ";"'),
        ("server { location / { content_by_lua_block { x = '}'", 1, 44, "unexpected end of file in a block of Lua"),
        ("server {\n  server_name {{ host }};\n}\n", 2, 15, "a template ({{ at line 2), not read"),
        ("{% if x %}\nserver { listen 80; }\n", 1, 1, "a template ({% at line 1), not read"),
        ("server {\n  listen %ip%:80;\n}\n", 2, 10, "a template (%ip% at line 2), not read"),
        (
            "server {\n  listen 80;\n  server_name <your-domain>;\n}\n",
            3,
            3,
            "a template (<your-domain> at line 3), not read",
        ),
        ("server {\n  listen ${PORT};\n}\n", 2, 3, "a template (${PORT} at line 2), not read"),
        ("{ " * 100, 1, 1, 'unexpected "{"'),
        ("location / { " * 100, 1, 781, "blocks are nested more than 60 deep"),
    ],
)
def test_broken_syntax_is_told_with_line_and_column(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(ReadError) as raised:
        read(from_text(text))
    problem = raised.value.problem
    assert (problem.path, problem.line, problem.column) == ("<stdin>", line, column)
    assert problem.message.startswith(reason)


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        (
            "server {\n  location / {\n    proxy_set_header X;\n  }\n}",
            3,
            5,
            'invalid number of arguments in "proxy_set_header"',
        ),
        ("server {\n  proxy_pass http://a;\n}", 2, 3, '"proxy_pass" directive is not allowed here'),
        (
            "server { location / { if ($a) { proxy_set_header X y; } } }",
            1,
            33,
            '"proxy_set_header" directive is not allowed',
        ),
        ("server { location ~ /x { proxy_pass http://a/b; } }", 1, 26, '"proxy_pass" cannot have a URI part here'),
        ("server {\n  root a;\n  root b;\n}", 3, 3, '"root" directive is duplicate'),
        ("server {\n  location /a {}\n  location /a {}\n}", 3, 3, 'location "/a" is duplicate'),
        ("server {\n  location / {\n    proxy_pass app;\n  }\n}", 3, 5, 'invalid URL prefix in "proxy_pass"'),
        ("server {\n  location /;\n}", 2, 3, 'directive "location" has no opening "{"'),
    ],
)
def test_what_nginx_refuses_is_told_and_the_rest_is_read(text: str, line: int, column: int, reason: str) -> None:
    found = read(from_text(text))
    assert [(each.line, each.column) for each in found.problems] == [(line, column)]
    assert found.problems[0].message.startswith(reason)
    assert found.listeners


def test_a_directive_that_is_not_known_is_listed_with_its_line() -> None:
    found = config("server {\n  frobnicate on;\n  location / { proxy_pass http://a; shield { deep x; } }\n}")
    assert [(each.what, each.place.line if each.place else 0) for each in found.unread] == [
        ("frobnicate", 2),
        ("shield", 3),
        ("deep", 3),
    ]


# Includes.


def _files(folder: Path, **texts: str) -> Config:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_conf", ".conf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read(Files(folder.resolve()).open(folder / "nginx.conf"))


def test_what_is_included_counts_as_if_it_stood_there(tmp_path: Path) -> None:
    found = _files(
        tmp_path,
        nginx_conf="http { include conf.d/*.conf; include mime.types; }",
        **{
            "conf.d__b_conf": "server { listen 81; location / { include snippets/ws.conf; proxy_pass http://b; } }",
            "conf.d__a_conf": "map $http_upgrade $c { default upgrade; '' close; }",
            "snippets__ws_conf": f"{WS}\nproxy_set_header Connection $c;\n",
        },
    )
    assert not found.problems
    assert [Path(name).name for name in found.files] == ["nginx.conf", "a.conf", "b.conf", "ws.conf"]
    prediction = predict(found, upgrade("/"))
    place = next(edit.place for edit in prediction.edits if edit.name == "Connection")
    assert place
    assert (Path(place.path).name, place.line) == ("ws.conf", 1)


def test_a_broken_file_that_is_included_is_told_and_what_it_may_hold_is_unknown(tmp_path: Path) -> None:
    found = _files(
        tmp_path,
        nginx_conf="http { server { location / { include x.conf; proxy_pass http://a; } } }",
        x_conf="proxy_set_header X",
    )
    assert [(Path(each.path).name, each.line, each.column) for each in found.problems] == [("x.conf", 1, 1)]
    assert [each.what for each in predict(found, upgrade("/")).unknown] == ["any header"]


@pytest.mark.parametrize(
    ("include", "reason"),
    [
        ("missing.conf", "cannot be opened: No such file or directory"),
        ("/etc/hostname", "lies outside of"),
        ("../*.conf", "lies outside of"),
        ("nginx.conf", "a loop of includes"),
    ],
)
def test_an_include_that_gives_nothing_is_told_at_its_line(tmp_path: Path, include: str, reason: str) -> None:
    text = f"http {{\n server {{\n  location / {{\n   include {include};\n   proxy_pass http://a;\n  }}\n }}\n}}\n"
    found = _files(tmp_path, nginx_conf=text)
    assert [(each.line, each.column) for each in found.problems] == [(4, 4)]
    assert reason in found.problems[0].message
    route = next(route for route in found.listeners[0].routes if route.upstream)
    assert route.upstream
    assert route.upstream.protocol == "unknown"
    unknown = carry(found, found.listeners[0], route, upgrade("/")).unknown
    assert [(each.what, each.place.line if each.place else 0) for each in unknown] == [("any header", 4)]


def test_includes_that_multiply_are_bounded(tmp_path: Path) -> None:
    files = {f"f{n}_conf": f"include f{n + 1}.conf; include f{n + 1}.conf;" for n in range(40)}
    with pytest.raises(ReadError, match="more than 300000 directives"):
        _files(tmp_path, nginx_conf="include f0.conf; gzip on;", f40_conf="gzip on;", **files)


# Anything.

SEED = """
# a comment with { and ;
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
upstream app { server 127.0.0.1:8080; keepalive 16; }
server {
    listen 443 ssl; listen [::]:80 default_server; server_name app.example.com *.example.com ~^(?<sub>.+)\\.test$;
    set $a $http_authorization; if ($http_x ~* "^(a|b)$") { set $a ""; rewrite ^/(.*)$ /$1 break; }
    error_page 403 404 = @named; error_page 500 /50x.html;
    location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; }
    location ~ ^/ws/(.*)$ { auth_request /auth; limit_except GET { deny all; } proxy_pass http://$sub$1; }
    location = /auth { internal; proxy_pass http://auth/; proxy_pass_request_headers off; }
    location @named { try_files $uri /index.html =404; return 418 "a \\" b"; }
    location /lua { content_by_lua_block { local t = { "}", [[ } ]] } -- }
        ngx.say(t) } }
}
"""
_PIECES = [
    *SEED.split(),
    "{",
    "}",
    ";",
    '"',
    "'",
    "\\",
    "$",
    "${",
    "#",
    "\n",
    "~",
    "(",
    ")",
    "%",
    "..",
    "\0",
    "é",
    "[[",
]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_text_makes_the_reader_fail(data: st.DataObject) -> None:
    randoms = random.Random(data.draw(st.integers(0, 2**32)))
    text = SEED
    for _ in range(data.draw(st.integers(1, 12))):
        begin = randoms.randrange(len(text) + 1)
        end = min(len(text), begin + randoms.choice((0, 0, 1, 3, 20)))
        text = (
            text[:begin] + randoms.choice(("", " ")) + randoms.choice(_PIECES) + randoms.choice(("", " ")) + text[end:]
        )
    sniff(from_text(text))
    try:
        found = read(from_text(text), randoms.choice((None, "1.22", "1.31.3", "x")))
    except ReadError:
        return
    for listener in found.listeners:
        for route in listener.routes:
            carry(found, listener, route, upgrade(route.sample, route.sample_host or "app.example.com"))
    predict(found, upgrade("/ws/x", "a.test", (BEARER,)))


def test_a_large_config_is_read_in_time_that_grows_with_its_size() -> None:
    block = f"location /%d {{ {WS} proxy_pass http://app; if ($http_x) {{ return 403; }} }}\n"
    text = "server {\n" + "".join(block % number for number in range(2000)) + "}\n"
    assert len(config(text).listeners[0].routes) == 2001
    line = "map $a $b { " + " ".join(f"k{number} v;" for number in range(20_000)) + " }"
    assert len(line) > 100_000
    assert not config(line).listeners
