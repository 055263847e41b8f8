"""The reader of nginx configs: fragments, broken files, includes, and texts that are none."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lb.nginx_configs import BEARER, WS, config, header, sent
from wsprobe.lb.model import Config
from wsprobe.lb.nginx import read, sniff
from wsprobe.lb.predict import carry, predict
from wsprobe.lb.request import upgrade
from wsprobe.lb.source import Files, ReadError, from_text

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
        (
            "server {\n  location / {\n    proxy_pass wss://app/x;\n  }\n}",
            3,
            5,
            'invalid URL prefix in "proxy_pass": write https://app/x, since a WebSocket begins as HTTP',
        ),
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


def test_a_proxy_pass_without_an_address_is_unknown() -> None:
    found = read(from_text("server {\n location / {\n  proxy_pass;\n }\n}\n"), None)
    unknown = predict(found, upgrade("/", "a.test")).unknown
    why = "proxy_pass has no address, and nginx does not start with that"
    assert {(each.why, each.place and each.place.line) for each in unknown} >= {(why, 3)}
