"""nginx does to an upgrade what its config was said to do: generated configs, run by the real nginx."""

from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.prediction import Tally, compare, examples
from wsprobe.lb.predict import Request

PROXY = "nginx"
WHEEL = "1.31.3"

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
    "X-Kind",
    "X-Forwarded-For",
    "X_Under",
    "Sec-WebSocket-Protocol",
)
VALUES = ("", "one", "Bearer x.y.z", "a", "bc", "a, b", "1.2.3.4", "Basic bGFiOmxhYg==")

PARTS = (
    "$http_upgrade",
    "$http_authorization",
    "$http_x_a",
    "$http_x_kind",
    "$http_cookie",
    "$connection_upgrade",
    "$kind",
    "$tenant",
    "$host",
    "$http_host",
    "$proxy_host",
    "$remote_addr",
    "$proxy_add_x_forwarded_for",
    "$scheme",
    "$uri",
    "$request_uri",
    "$args",
    "$arg_token",
    "$is_args",
    "$cookie_session",
    "$request_method",
    "$server_name",
    "$server_port",
    "$request",
    "$v",
    "literal",
    "",
)

set_values = st.one_of(st.sampled_from(PARTS), st.lists(st.sampled_from(PARTS), min_size=2, max_size=3).map(" ".join))
set_headers = st.builds(
    lambda name, value: f'proxy_set_header {name} "{value}";',
    st.sampled_from(("Upgrade", "Connection", "Host", *NAMES, "TE", "X-New")),
    set_values,
)
UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
levels = st.lists(
    st.one_of(
        set_headers,
        st.just(UPGRADE),
        st.sampled_from(("proxy_http_version 1.1;", "proxy_http_version 1.0;")),
    ),
    max_size=4,
    unique_by=lambda text: text.split(" ")[0] if text.startswith("proxy_http") else text,
).map(" ".join)

conditions = st.sampled_from(
    (
        '$http_upgrade = ""',
        "$http_upgrade = websocket",
        "$http_upgrade != websocket",
        "$http_upgrade ~* ^websocket$",
        "$http_x_a",
        "$http_authorization ~ ^Bearer",
        "$http_authorization !~* bearer",
        "$arg_token",
        "$request_method = GET",
        "$host = app.example.com",
    )
)
rewritings = st.lists(
    st.one_of(
        st.builds("set $v {};".format, st.sampled_from(("$http_authorization", '"x"', '""', '"$v-$http_x_a"'))),
        st.builds(
            "if ({}) {{ {} }}".format,
            conditions,
            st.sampled_from(
                ('set $v "";', "set $v $http_x_a;", "return 403;", "return 426;", "return 302 /x;", "break;")
            ),
        ),
    ),
    max_size=3,
).map(" ".join)

passes = st.sampled_from(
    (
        "proxy_pass http://app;",
        "proxy_pass http://app;",
        "proxy_pass http://127.0.0.1:{upstream};",
        "proxy_pass http://app/base/;",
    )
)
switches = st.lists(
    st.sampled_from(
        (
            "proxy_pass_request_headers off;",
            "proxy_method POST;",
            "allow 127.0.0.1; deny all;",
            "deny all;",
            'auth_basic "x"; auth_basic_user_file htpasswd;',
            'auth_basic "x";',
        )
    ),
    max_size=1,
).map(" ".join)
bodies = st.tuples(rewritings, levels, switches, passes).map(" ".join)
PATHS = ("/", "/ws", "/ws/", "= /ws", "^~ /ws/a", "/ws/a/b", "/api")
locations = st.lists(
    st.tuples(st.sampled_from(PATHS), bodies), min_size=1, max_size=4, unique_by=lambda one: one[0]
).map(lambda found: "\n".join(f"        location {path} {{ {body} }}" for path, body in found))
servers = st.tuples(levels, st.sampled_from(("", "underscores_in_headers on;", "set $v server;")), locations)
configs = st.tuples(levels, st.lists(servers, min_size=1, max_size=1))

headers = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4)
hosts = st.sampled_from(("app.example.com", "APP.example.com:8080", "www.other", "exact.test", "127.0.0.1"))
targets = st.sampled_from(
    ("/", "/ws", "/ws/", "/ws/a/b?token=t", "/ws/a", "/wsx", "/api/v1?x=1&token=2", "/a%20b//c/../d", "/ws/%7e")
)
upgrades = st.sampled_from(
    (
        (("Upgrade", "websocket"), ("Connection", "Upgrade")),
        (("Upgrade", "WebSocket"), ("Connection", "keep-alive, Upgrade, Authorization")),
        (("Upgrade", "websocket"),),
        (("Connection", "Upgrade"),),
        (),
    )
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """An upgrade, whole or with parts missing, and headers of all kinds."""
    own = (("Host", draw(hosts)), *draw(upgrades), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
    return Request(target=draw(targets), headers=(*own, ("Sec-WebSocket-Version", "13"), *draw(headers)))


def render(config: tuple[str, list[tuple[str, str, str]]], folder: Path, port: int, upstream: int) -> Mapping[str, str]:
    """The files of a generated config."""
    level, blocks = config
    http = [f"    {level}"]
    for number, (inner, more, inside) in enumerate(blocks):
        name = ("app.example.com", "*.example.com", "~^www")[number]
        http.append(f"    server {{ listen 127.0.0.1:{port}; server_name {name}; {more} {inner}\n{inside}\n    }}")
    text = MAIN.replace(
        "{http}", "\n".join(http).replace("{", "{{").replace("}", "}}").replace("{{upstream}}", str(upstream))
    )
    return {"nginx.conf": text.format(folder=folder, upstream=upstream), "htpasswd": "lab:{PLAIN}lab\n"}


@examples(30)
@given(config=configs, asked=st.lists(requests(), min_size=10, max_size=12))
def test_what_nginx_sends_is_what_was_predicted(
    config: tuple[str, list[tuple[str, str, str]]], asked: list[Request], tally: Tally
) -> None:
    compare(PROXY, lambda *where: render(config, *where), asked, tally, WHEEL)
