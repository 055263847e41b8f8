"""The reader of nginx configs: what its directives make of the headers of an upgrade."""

import pytest

from tests.lb.nginx_configs import BEARER, WS, config, header, inside, sent
from wsprobe.lb.request import upgrade


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
        pytest.param(
            "more_set_input_headers 'X-Was: $http_authorization' 'Authorization: new'; "
            "proxy_set_header X $http_authorization;",
            "X",
            ["Bearer x"],
            id="a variable keeps what it was when an edit asked for it",
        ),
        pytest.param(
            "set $v $http_authorization; more_set_input_headers 'Authorization: new' 'X: $http_authorization';",
            "X",
            ["Bearer x"],
            id="a variable keeps what it was when set asked for it",
        ),
        pytest.param(
            "if ($arg_none) { set $http_authorization ''; } proxy_set_header X $http_authorization;",
            "X",
            ["Bearer x"],
            id="a name that is set elsewhere keeps its own meaning",
        ),
        pytest.param("set $http_x s; proxy_set_header X $http_x;", "X", ["s"], id="a name of a header that is set"),
        pytest.param(
            "set $http_authorization $http_none; proxy_set_header X a$http_authorization;",
            "X",
            ["a"],
            id="a name of a header that is set to what is not there",
        ),
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


def test_a_header_in_both_spellings_is_not_guessed() -> None:
    text = "server { underscores_in_headers on; location / { proxy_set_header X $http_x_a; proxy_pass http://a; } }"
    for sent_headers, value in (((("x_a", "a"),), ["a"]), ((("X-A", "b"),), ["b"])):
        assert header(sent(text, upgrade("/", headers=sent_headers)), "X") == value
    found = sent(text, upgrade("/", headers=(("x_a", "a"), ("X-A", ""))))
    assert {each.what for each in found.unknown} == {"X"}


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


def test_whether_a_name_that_nginx_would_not_take_is_replaced_is_unknown() -> None:
    lines = "proxy_set_header X_A s; proxy_set_header X_A t;"
    text = f"server {{ ignore_invalid_headers off; location / {{ {lines} proxy_pass http://a; }} }}"
    assert header(sent(text), "X_A") == ["s", "t"]
    found = sent(text, upgrade("/", headers=(("X_A", "c"),)))
    assert {each.what for each in found.unknown} == {"X_A"}


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


def test_a_chain_of_maps_without_end_is_unknown() -> None:
    maps = "".join(f"map $v{number + 1} $v{number} {{ default $v{number + 1}; }}" for number in range(3000))
    assert [each.what for each in sent(maps + inside("proxy_set_header X $v0;")).unknown] == ["X"]


def test_a_variable_that_nothing_defines_is_unknown() -> None:
    found = sent(inside("proxy_set_header Connection $connection_upgrade;"))
    assert [(each.what, each.why) for each in found.unknown] == [
        ("Connection", "no file that was read defines $connection_upgrade")
    ]
    assert header(found, "Connection") == []
