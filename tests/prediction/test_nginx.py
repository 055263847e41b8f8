"""nginx does to an upgrade what its config was said to do: generated configs, run by the real nginx."""

import re
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.prediction import Tally, compare, examples
from tests.prediction.nginx_versions import WHEEL, version
from wsprobe.lb.request import Request

PROXY = "nginx"

__all__ = ["version"]  # a fixture

MAIN = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/client-body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 1s;
    root {folder};
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    map $http_x_kind $kind {{ default other; a A; ~^b(.*)$ "B-$1"; "" ""; }}
    map $host $tenant {{ hostnames; default none; .example.com example; www.* www; exact.test exact; }}
    map $uri $place {{ default none; ~^/ws ws; ~^/api "api-$args"; }}
    map $http_x_a:$kind $both {{ ~*^(?<first>[a-z]+):(.*)$ $first.$2; one:A 1; }}
    upstream app {{ server 127.0.0.1:{upstream}; }}
{http}
}}
"""

NAMES = (
    "Authorization",
    "Cookie",
    "Origin",
    "X-A",
    "X-B",
    "x-kind",
    "X-Forwarded-For",
    "X_Under",
    "x_a",
    "X.Dot",
    "Sec-WebSocket-Protocol",
    "TE",
    "Keep-Alive",
    "Range",
)
VALUES = ("", "one", "Bearer x.y.z", "a", "A", "bc", "a, b", "session=s; token=t", "1.2.3.4", "Basic bGFiOmxhYg==")

PARTS = (
    "$http_upgrade",
    "$http_authorization",
    "$http_x_a",
    "$http_x_kind",
    "$http_cookie",
    "$http_x_forwarded_for",
    "$http_sec_websocket_protocol",
    "$connection_upgrade",
    "$kind",
    "$tenant",
    "$both",
    "$place",
    "$host",
    "$http_host",
    "$proxy_host",
    "$proxy_port",
    "$remote_addr",
    "$proxy_add_x_forwarded_for",
    "$scheme",
    "$https",
    "$uri",
    "$request_uri",
    "$args",
    "$arg_token",
    "$is_args",
    "$cookie_session",
    "$request_method",
    "$server_name",
    "$server_port",
    "$server_addr",
    "$request",
    "$hostname",
    "$upstream_http_x",
    "$v",
    "${v}s",
    "literal",
    "",
)


def lines(parts: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    """Some of them, one after the other; of a directive that nginx takes once only the first."""
    once = st.lists(parts, max_size=most, unique_by=lambda text: text if text.startswith(MANY) else text.split(" ")[0])
    return once.map(" ".join)


MANY = (
    "proxy_set_header",
    "set ",
    "if ",
    "rewrite ",
    "more_",
    "allow",
    "deny",
    "break",
    "return",
    "error_page",
    "location",
)

set_values = st.one_of(st.sampled_from(PARTS), st.lists(st.sampled_from(PARTS), min_size=2, max_size=3).map(" ".join))
set_headers = st.builds(
    lambda name, value: f'proxy_set_header {name} "{value}";',
    st.sampled_from(("Upgrade", "Connection", "connection", "Host", *NAMES, "X-New", "Content-Length")),
    set_values,
)
UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
versions = st.sampled_from(("proxy_http_version 1.1;", "proxy_http_version 1.0;"))
levels = lines(st.one_of(set_headers, set_headers, st.just(UPGRADE), versions), 4)

conditions = st.sampled_from(
    (
        '$http_upgrade = ""',
        "$http_upgrade = websocket",
        "$http_upgrade != websocket",
        "$http_upgrade ~* ^websocket$",
        "$http_x_a",
        "$http_authorization ~ ^Bearer",
        "$http_authorization !~* bearer",
        '$http_authorization ~* "^bearer (?<bearer>.*)$"',
        "$arg_token",
        "$request_method = GET",
        "$host = app.example.com",
        "$uri ~ ^/ws(.*)$",
        "$http_x_kind = $http_x_a",
        "$v",
        "$place = ws",
    )
)
OF_MAPS = ('set $v "$place";', 'set $v "$v-$both";')
OWN_NAMES = ("set $args $args;", 'set $args "k=$http_x_a";', 'set $args "";', 'set $http_x_kind "$http_x_a";')
SETS = (
    'set $v "";',
    "set $v $http_x_a;",
    'set $v "$1";',
    'set $v "$bearer.";',
    'set $v "$v-$uri";',
    "set $v $args;",
    *OWN_NAMES,
    *OF_MAPS,
)
REWRITES = (
    "rewrite ^/ws/(.*)$ /api/$1 {flag};",
    "rewrite ^/ws$ /ws/a?new=1 {flag};",
    "rewrite ^/(\\w+)/(.*)$ /$2/$1? {flag};",
    "rewrite ^ /api{flag2};",
    "rewrite ^/gone https://other.test$uri {flag2};",
    "rewrite ^/api /ws redirect;",
    "rewrite ^(.*)//(.*)$ $1/$2;",
)
FLAGS = (("", ""), ("break", " break"), ("last", " last"))
rewrites = st.builds(
    lambda text, flag: text.replace("{flag2}", flag[1]).replace(" {flag}", flag[1]),
    st.sampled_from(REWRITES),
    st.sampled_from(FLAGS),
)
ANSWERS = ("return 403;", "return 426;", "return 302 /x;", 'return 200 "no";', "return 404;", "break;")
inside = st.one_of(st.sampled_from(SETS), st.sampled_from(ANSWERS), rewrites)
ifs = st.builds(lambda asked, found: f"if ({asked}) {{ {' '.join(found)} }}", conditions, st.lists(inside, max_size=2))
rewritings = lines(st.one_of(st.sampled_from(SETS), ifs, ifs, rewrites, st.just("break;")), 4)

URI_PASSES = (
    "proxy_pass http://app/base/;",
    "proxy_pass http://app/b?x=1;",
    "proxy_pass http://127.0.0.1:{upstream}/;",
)
PASSES = (
    "proxy_pass http://app;",
    "proxy_pass http://app;",
    "proxy_pass http://127.0.0.1:{upstream};",
    "set $to app; proxy_pass http://$to;",
    "set $to app; proxy_pass http://$to$request_uri;",
    "set $to http://127.0.0.1:{upstream}; proxy_pass $to;",
    "set $to app; proxy_pass http://$to/fixed;",
)
SWITCHES = (
    "proxy_pass_request_headers off;",
    "proxy_method POST;",
    "proxy_method $request_method;",
    "allow 127.0.0.1; deny all;",
    "allow 10.0.0.0/8; deny all;",
    "deny all;",
    "deny 127.0.0.0/8;",
    'auth_basic "x"; auth_basic_user_file htpasswd;',
    'auth_basic "x";',
    'satisfy any; allow 127.0.0.1; deny all; auth_basic "x"; auth_basic_user_file htpasswd;',
    'satisfy any; deny all; auth_basic "x"; auth_basic_user_file htpasswd;',
    "auth_request /auth-yes; auth_request_set $v $upstream_http_x_token;",
    "auth_request /auth-no;",
    "auth_request off;",
    "more_set_input_headers 'X-A: changed' 'X-New: $http_x_b';",
    "more_clear_input_headers Authorization 'X-*';",
    "more_set_input_headers -r 'Cookie: none';",
    "more_set_input_headers 'X-B: $http_x_a' 'X-A: changed' 'X-New: $http_x_a$both';",
    "more_set_input_headers 'Authorization: Bearer $cookie_session'; more_clear_input_headers Cookie;",
    "limit_except POST { deny all; }",
    "limit_except GET { deny all; }",
    "limit_except POST { proxy_pass http://app; }",
    "error_page 403 404 426 = @named;",
    "error_page 403 /api/forbidden;",
    "error_page 426 https://other.test/;",
    "error_page 403 404 =307 https://other.test/;",
    "recursive_error_pages on; error_page 403 404 426 = @paged;",
    "if ($http_x_kind) { proxy_pass http://app; }",
    "if ($http_upgrade = websocket) { proxy_pass http://127.0.0.1:{upstream}; set $v inner; }",
    "proxy_set_body fixed;",
    "internal;",
)
switches = lines(st.sampled_from(SWITCHES), 2).filter(lambda text: text.count("auth_basic ") < 2)
bodies = st.tuples(rewritings, levels, switches).map(" ".join)
PREFIXES = ("/", "/ws", "/ws/", "= /ws", "= /api/", "^~ /ws/a", "/ws/a/b", "/api", "/api/")
PATTERNS = ("~ ^/ws(?<rest>/.*)$", "~* /API/(.+)", "~ \\.js$", "~ /b")


def _located(path: str, body: str, to: str) -> str:
    return f"location {path} {{ {body} {to} }}"


prefixes = st.builds(_located, st.sampled_from(PREFIXES), bodies, st.sampled_from((*PASSES, *URI_PASSES)))
patterns = st.builds(_located, st.sampled_from(PATTERNS), bodies, st.sampled_from(PASSES))
nested = st.builds(
    lambda body, inner: f"location /ws/ {{ {body} proxy_pass http://app; {inner} }}",
    bodies,
    st.lists(
        st.builds(
            _located,
            st.sampled_from(("/ws/a", "^~ /ws/a/b", "= /ws/", "~ ^/ws/(.)", "~ b$")),
            bodies,
            st.sampled_from(PASSES),
        ),
        min_size=1,
        max_size=2,
        unique_by=lambda text: text.split("{")[0],
    ).map(" ".join),
)


def _path(location: str) -> str:
    return location.split("{", maxsplit=1)[0].replace("^~ ", "")


locations = st.lists(st.one_of(prefixes, prefixes, patterns, nested), min_size=1, max_size=4, unique_by=_path)
FIXED = """\
        location @named { proxy_set_header X-Named "$uri $v"; proxy_set_header Upgrade $http_upgrade; proxy_pass http://app; }
        location @paged { error_page 418 = @named; return 418; }
        location = /known { set $v ""; set $bearer ""; set $rest ""; set $sub ""; set $first ""; return 204; }
        location = /auth-yes { internal; return 204; }
        location = /auth-no { internal; return 401; }
"""
HEAD = ("", "underscores_in_headers on;", "ignore_invalid_headers off;", "merge_slashes off;", "set $v server;")
servers = st.tuples(
    st.one_of(st.just(""), levels), st.sampled_from(HEAD), st.one_of(st.just(""), rewritings), locations
)
configs = st.tuples(levels, st.lists(servers, min_size=1, max_size=3))

given_headers = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4)
HOSTS = (
    "app.example.com",
    "APP.example.com:8080",
    "b.example.com",
    "www.other",
    "exact.test",
    "127.0.0.1",
    "x.example.com.",
)
TARGETS = (
    "/",
    "/ws",
    "/ws/",
    "/ws/a/b?token=t",
    "/ws/a",
    "/ws/a.js",
    "/wsx",
    "/WS",
    "/api",
    "/api/",
    "/api/v1?x=1&TOKEN=2",
    "/a%20b//c/../d?",
    "/ws/%7e%2Fb?a=%20",
    "/ws//b/./c",
    "/gone/a?",
    "/auth-yes",
)
UPGRADES = (
    (("Upgrade", "websocket"), ("Connection", "Upgrade")),
    (("Upgrade", "websocket"), ("Connection", "Upgrade")),
    (("Upgrade", "WebSocket"), ("Connection", "keep-alive, Upgrade, Authorization")),
    (("upgrade", "websocket"), ("upgrade", "h2c"), ("Connection", "Upgrade")),
    (("Upgrade", "websocket"),),
    (("Connection", "Upgrade"),),
    (),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """An upgrade, whole or with parts missing, and headers of all kinds."""
    own = (("Host", draw(st.sampled_from(HOSTS))), *draw(st.sampled_from(UPGRADES)))
    key = (("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13"))
    return Request(target=draw(st.sampled_from(TARGETS)), headers=(*own, *key, *draw(given_headers)))


Server = tuple[str, str, str, list[str]]
SERVER_NAMES = ("app.example.com", ".example.com www.*", '"~^(?<sub>.+)\\.test$"')


def render(config: tuple[str, list[Server]], folder: Path, port: int, upstream: int) -> Mapping[str, str]:
    """The files of a generated config."""
    level, blocks = config
    http = [f"    {level}"]
    for number, (inner, head, rewriting, found) in enumerate(blocks):
        http.append(f"    server {{\n        listen 127.0.0.1:{port}; server_name {SERVER_NAMES[number]};")
        http.append(f"        {inner} {head} {rewriting}")
        # Where the server rewrites, what auth_request asks leads to the upstream as well, which then gets two requests.
        asked = [re.sub(r"auth_request /[^;]*;", "", each) if rewriting else each for each in found]
        http += [f"        {each}" for each in asked]
        http.append(f"{FIXED}    }}")
    body = "\n".join(http).replace("{upstream}", str(upstream))
    text = MAIN.format(folder=folder, upstream=upstream, http=body)
    return {"nginx.conf": text, "htpasswd": "lab:{PLAIN}lab\n"}


def without_modules(config: str) -> str:
    """A config without the directives of modules that a distribution's nginx has not."""
    return re.sub(r"more_\w+ [^;]*;", "", config)


@examples(50)
@given(config=configs, asked=st.lists(requests(), min_size=10, max_size=12))
def test_what_nginx_sends_is_what_was_predicted(
    config: tuple[str, list[Server]], asked: list[Request], tally: Tally
) -> None:
    compare(PROXY, lambda *where: render(config, *where), asked, tally, WHEEL)


@examples(15)
@given(config=configs, asked=st.lists(requests(), min_size=10, max_size=12))
def test_what_an_old_nginx_sends_is_what_was_predicted(
    config: tuple[str, list[Server]], asked: list[Request], tally: Tally, version: str
) -> None:
    def rendered(folder: Path, port: int, upstream: int) -> Mapping[str, str]:
        return {name: without_modules(text) for name, text in render(config, folder, port, upstream).items()}

    compare(PROXY, rendered, asked, tally, version)
