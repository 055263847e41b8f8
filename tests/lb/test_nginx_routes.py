"""The reader of nginx configs: which route a request takes, and what nginx answers by itself."""

import pytest

from tests.lb.nginx_configs import WS, config, header, inside, sent
from wsprobe.lb.model import Gate
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade

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


@pytest.mark.parametrize(("first", "second", "value"), [("on", "off", "/a/b"), ("off", "on", "/a//b")])
def test_slashes_are_merged_as_the_default_server_says(first: str, second: str, value: str) -> None:
    inner = "location / { proxy_set_header X $uri; proxy_pass http://app; }"
    text = f"""
        server {{ merge_slashes {first}; server_name a; {inner} }}
        server {{ merge_slashes {second}; server_name b; {inner} }}
    """
    assert header(sent(text, upgrade("/a//b", "b")), "X") == [value]


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
    ("location", "value"),
    [
        ("if ($place = ws) { set $v 1; } rewrite ^ /other break;", ["ws"]),
        ("rewrite ^ /other break;", ["none"]),
        ("set $v $fresh; rewrite ^ /other break; proxy_set_header X $fresh;", ["none"]),
        ("set $v ws; set $w $of_v; set $v b; proxy_set_header X $of_v;", ["is ws"]),
        ("set $v ws; if ($arg_none) { set $w $of_v; } set $v b; proxy_set_header X $of_v;", ["is b"]),
    ],
)
def test_a_map_keeps_the_value_that_it_has_when_it_is_first_asked_for(location: str, value: list[str]) -> None:
    maps = "map $uri $place { default none; /ws ws; } map $uri $fresh { volatile; default none; /ws ws; } "
    maps += 'map $v $of_v { default "is $v"; }'
    shown = "" if "proxy_set_header" in location else "proxy_set_header X $place;"
    text = f"{maps} server {{ location / {{ {location} {shown} proxy_pass http://app; }} }}"
    assert header(sent(text), "X") == value


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
        ("rewrite ^/ws/(.*)$ /other/$1; break; proxy_pass http://app;", "/ws/a", "/other/a"),
        ("if ($host) { rewrite ^/ws/(.*)$ /other/$1; break; } proxy_pass http://app/x/;", "/ws/a", "/other/a"),
        ("set $args ''; proxy_pass http://app;", "/ws/a%2Fb?token=t", "/ws/a/b"),
        ('set $args "$args&k=1"; proxy_pass http://app/x/;', "/ws/a?t=1", "/x/a?t=1&k=1"),
        ("if ($arg_t) { set $args k=1; } proxy_pass http://app;", "/ws/a^//b?t=1", "/ws/a^/b?k=1"),
        ("set $args k=1; rewrite ^/ws/(.*)$ /v2/$1 break; proxy_pass http://app;", "/ws/a?x", "/v2/a?k=1"),
        ("set $args $args; proxy_pass http://app$request_uri;", "/ws/a?x", "/ws/a?x"),
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
        (inside("error_page 403 =308 https://x; deny all;"), 308),
        (inside("error_page 403 =404 https://x; deny all;"), 302),
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


@pytest.mark.parametrize(("first", "reached"), [("on", True), ("off", False)])
def test_the_first_block_says_whether_its_error_page_may_have_one_too(first: str, reached: bool) -> None:  # noqa: FBT001
    text = f"""server {{
        location / {{ recursive_error_pages {first}; error_page 418 = @one; return 418; }}
        location @one {{ error_page 419 = @two; return 419; }}
        location @two {{ {WS} proxy_pass http://app; }}
    }}"""
    assert sent(text).reached is reached


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


def test_a_request_that_an_if_may_pass_on_may_reach_the_upstream() -> None:
    found = sent("server { location / { if (!-f $request_filename) { proxy_pass http://app; } } }")
    assert found.reached is None
    assert "whether another route gets the request" in {each.what for each in found.unknown}


def test_a_page_for_maintenance_makes_nothing_else_unknown() -> None:
    location = "location / { if (-f /srv/maintenance.on) { return 503; } proxy_pass http://app; }"
    found = sent(
        f"server {{ error_page 503 /maintenance.html; {location} location = /maintenance.html {{ root /srv; }} }}"
    )
    assert {each.what for each in found.unknown} == {"whether another route gets the request"}
    assert (found.reached, found.request and found.request.start_line) == (None, "GET /ws HTTP/1.0")


def test_what_headers_more_does_after_it_replaces_cookies_is_not_known() -> None:
    found = sent(inside("more_set_input_headers -r 'Cookie: none'; more_clear_input_headers Authorization;"))
    assert "Authorization" in {each.what for each in found.unknown}


def test_the_last_if_that_holds_says_who_answers() -> None:
    ifs = "if ($http_upgrade) { proxy_pass http://one; } if ($host) { proxy_pass http://two; }"
    found = sent(f"server {{ location / {{ {ifs} proxy_pass http://three; }} }}")
    assert header(found, "Host") == ["two"]


def test_a_limit_except_is_that_of_its_own_server() -> None:
    server = "server {{ server_name {0}; location / {{ limit_except POST {{ proxy_pass http://{0}; }} }} }} "
    assert header(sent(server.format("a") + server.format("b"), upgrade("/", "b")), "Host") == ["b"]


def test_what_auth_request_asks_is_unknown_where_the_server_rewrites() -> None:
    locations = "location = /auth { return 204; } location / { auth_request /auth; proxy_pass http://a; }"
    assert sent(f"server {{ {locations} }}").reached is True
    assert sent(f"server {{ rewrite ^ /x; {locations} }}").reached is None


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


def test_the_address_of_a_socket_is_its_path() -> None:
    upstream = (
        config("server { location / { proxy_pass http://unix:/run/a.sock:/ws/; } }").listeners[0].routes[0].upstream
    )
    assert upstream
    assert upstream.addresses == ("unix:/run/a.sock",)


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
