"""Caddy: for generated Caddyfiles and requests, what the upstream received is what was predicted."""

from collections.abc import Callable, Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.prediction import Tally, compare, examples
from wsprobe.lb.request import Request
from wsprobe.model import Header

PROXY = "caddy"
VERSION = "2.11"

HASH = "$2a$14$U4GA3/09cJtbDiVnPHTJh.gir/SD8T/a5uXayXyGjN1CGqkwHYD6q"
"""Of the password `p`, with bcrypt."""

OPTIONS = "\tadmin off\n\tauto_https off\n\tpersist_config off\n"

NAMES = ("X-A", "X-B", "Authorization", "Cookie", "User-Agent", "X-Forwarded-For", "Sec-WebSocket-Protocol", "Via")
VALUES = ("1", "two words", "Bearer x", "", "a=1; b=2", "%41", "x,y", "$1")
PATHS = ("/ws", "/ws/*", "/api/*", "/api/ws", "*.js", "/A/b*", "*mid*", "/w?/*/x", "/%2F*", "/a//b", "/x/*/y")
TARGETS = (
    *("/ws", "/ws/", "/ws/x?token=1", "/api/ws", "/api/ws/y.js?a=1&a=2", "/API/WS", "/", "/a/b", "/A/B/c", "/w/mid"),
    *("/a//b", "//ws", "/ws/../api/ws", "/%77s", "/ws%2Fx", "/wz/q/x", "/x/1/y", "/a|b", "/ws?", "/a%zz", "/~%7E/(x)"),
    *("/api", "/apix/y", "/api/a%20b%2Fc", "/api/%2e%2E/x%2Fy", "/-/%2F/x", "/ws/%C3%A4"),
)
PLACEHOLDERS = (
    *("{header.X-A}", "{http.request.header.X-None}", "{host}", "{hostport}", "{port}", "{scheme}", "{method}"),
    *("{uri}", "{path}", "{query}", "{query.a}", "{path.0}", "{path.1}", "{remote_host}", "{client_ip}", "{cookie.b}"),
    *("{n}", "{http.reverse_proxy.upstream.address}", "{http.reverse_proxy.upstream.requests}"),
    *("{labels.0}", "{labels.1}", "{dir}", "{file}", "{vars.v}", "{vars.none}", "{m}", "{nothing}", "{http.nope}"),
    *(
        "{re.m0.1}",
        "{re.m1.0}",
        "{http.regexp.1}",
        "{?query}",
        "{%path}",
        "{http.request.uri.path.file.ext}",
        "{remote_ip}",
        "{http.request.orig_uri}",
        "{http.request.orig_uri.path}",
        "{http.request.proto}",
        "{upstream_hostport}",
    ),
)


def quoted(text: str) -> str:
    """A word of a Caddyfile."""
    return '"' + text.replace('"', '\\"') + '"'


names = st.sampled_from(NAMES)
values = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(PLACEHOLDERS),
    st.lists(st.sampled_from((*PLACEHOLDERS, "-", "q")), min_size=2, max_size=3).map("".join),
)
wild = st.sampled_from(
    (
        "X-*",
        "*-A",
        "*uth*",
        "Sec-*",
        "*",
        "Cookie*",
        "*Host",
        "User-Agent",
        "Host",
        "Connection",
        "Upgrade",
        "Accept-Encoding",
        "X-Forwarded-*",
    )
)
patterns = st.sampled_from(
    (
        ("(\\w+) (\\w+)", "$2 $1"),
        ("^(.)", "<$0>"),
        ("[a-z]+", "${1}x"),
        ("(?P<n>\\d)", "${n}$n-$$"),
        ("Bearer ", "Token "),
        ("(a)|(b)", "$1$2"),
    )
)


@st.composite
def header_ops(draw: st.DrawFn) -> str:
    """What stands after header_up and request_header."""
    kind = draw(st.sampled_from(("set", "set", "add", "delete", "wild", "replace", "host")))
    name = draw(names)
    match kind:
        case "set":
            return f"{name} {quoted(draw(values))}"
        case "add":
            return f"+{name} {quoted(draw(values))}"
        case "delete":
            return f"-{name}"
        case "wild":
            return f"-{draw(wild)}"
        case "replace":
            find, replacement = draw(patterns)
            return f"{name} `{find}` `{replacement}`"
    return f"Host {quoted(draw(st.sampled_from(('b.test', '{upstream_hostport}', '{header.X-A}', '{host}:1', ''))))}"


matchers = st.one_of(
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=2).map(lambda paths: f"path {' '.join(paths)}"),
    st.sampled_from(("^/(w)s", "/(api|ws)/", "s$", "^/[A-Z]", "//")).map(lambda pattern: f"path_regexp {pattern}"),
    st.builds(
        lambda name, value: f"header {name} {quoted(value)}",
        names,
        st.sampled_from(("1", "*", "Bearer*", "*x", "*wo*", "", "websocket")),
    ),
    st.sampled_from(
        (
            "header Upgrade websocket",
            "header Connection *Upgrade*",
            "header !Authorization",
            "header Host a.test",
            "header_regexp Connection (?i)upgrade",
            "header_regexp X-A ^two",
            "header X-A 1\n\t\theader X-A two*",
            "header X-A 1\n\t\theader X-B 1",
        )
    ),
    st.sampled_from(
        (
            "method GET",
            "method POST PUT",
            "protocol http",
            "protocol https",
            "host a.test",
            "host *.wild.test",
            "host x.wild.test b.test",
        )
    ),
    st.sampled_from(
        (
            "query token=1",
            "query a=2",
            "query a=*",
            "query none=1",
            "remote_ip 127.0.0.1",
            "remote_ip 10.0.0.0/8",
            "remote_ip private_ranges",
            "client_ip 127.0.0.0/8",
        )
    ),
    st.sampled_from(
        (
            "vars v 1",
            "vars {http.request.method} GET",
            "vars_regexp v ^on",
            "vars {query.a} 1,2",
            "expression {query.a} in ['1', '2'] || {method} == 'POST'",
            "expression `!({host} == \"a.test\") && {header.X-A}.startsWith('t')`",
            "expression {http.request.uri.path}.matches('s$')",
            "expression `path('/ws*', '/api/*') && header({'Connection': '*pgrade*', 'X-A': ['1', 'two*']})`",
            "expression `!host('a.test', '*.wild.test') || query({'a': '2'}) && method('GET')`",
            "expression `remote_ip('127.0.0.1') && vars({'v': ['1', 'on']}) && protocol('http')`",
        )
    ),
    st.sampled_from(
        (
            "not path /ws*",
            "not header X-A *",
            "not {\n\t\t\tpath /ws*\n\t\t\theader X-A *\n\t\t}",
            "not path /api/*\n\t\tnot header X-B *",
        )
    ),
)
definitions = st.lists(matchers, min_size=1, max_size=2, unique_by=lambda each: each.split()[0]).map("\n\t\t".join)
chosen = st.one_of(
    st.just(""),
    st.sampled_from(("/ws", "/ws/*", "/api/*", "/api/ws", "/x/*/y")),
    st.sampled_from(("@m0", "@m1", "@m2")),
)
targets = st.sampled_from(
    (
        "/new",
        "/new{uri}",
        "/p{path}",
        "/ws{path}?q={host}&{query}",
        "/q?x=1",
        "?y=2",
        "/a%20b",
        "{path}?",
        "/x|y(z)!",
        "{uri}",
        "/v/{vars.v}/{header.X-A}",
    )
)

PROXIED = "reverse_proxy"


@st.composite
def proxied(draw: st.DrawFn, matcher: str) -> str:
    """A reverse_proxy with a few of its options."""
    lines = [f"header_up {op}" for op in draw(st.lists(header_ops(), max_size=3))]
    lines += draw(
        st.lists(
            st.sampled_from(
                (
                    "trusted_proxies private_ranges",
                    "trusted_proxies 10.0.0.0/8",
                    "header_down X-D 1",
                    "flush_interval -1",
                    "stream_timeout 1h",
                    "lb_try_duration 0s",
                )
            ),
            max_size=1,
        )
    )
    if draw(st.integers(0, 4)) == 0:
        lines.append(f"rewrite {quoted(draw(targets))}")
    if draw(st.integers(0, 6)) == 0:
        lines.append("method POST")
    if draw(st.integers(0, 4)) == 0:
        lines.append("transport http {\n\t\t\tcompression off\n\t\t\tkeepalive off\n\t\t}")
    block = " {\n\t\t" + "\n\t\t".join(lines) + "\n\t}" if lines else ""
    return f"reverse_proxy {matcher} @UPSTREAM@{block}"


STRIPS = (
    "strip_prefix /ws",
    "strip_prefix api",
    "strip_suffix /x",
    "replace /a /bb",
    "replace s S 1",
    "path_regexp /+ /",
    "query -token",
    "query a 3",
)

SIMPLE: Mapping[str, st.SearchStrategy[str]] = {
    "request_header {}": header_ops(),
    "rewrite {*}": targets.map(quoted),
    "uri {}": st.sampled_from(STRIPS),
    "vars {} v": st.sampled_from(("1", "on", "{host}")).map(quoted),
    "respond {}": st.sampled_from(("404", "204", "hello 403", "hello")),
    "method {*}": st.sampled_from(("POST", "get")),
    "header {}": st.sampled_from(("X-Edge 1", "-Server", "?X-Edge 1")),
    "error {}": st.sampled_from(("404", "503", "oops 410")),
    "redir {}": st.sampled_from(("https://x.test{uri} 301", "https://x.test permanent", "https://x.test")),
    "abort {}": st.just(""),
    "encode": st.sampled_from(("gzip", "zstd gzip")),
    "basic_auth {*}": st.just(f"{{\n\tu {HASH}\n}}"),
    "map {{host}} {{m}}": st.just("{\n\ta.test one\n\t~^x\\. two\n\tdefault three\n}"),
    "map {}": st.sampled_from(
        (
            "{header.X-A} {m} {n} {\n\t1 h1 -\n\t~^(\\w+) h$1 {vars.v}\n\tdefault h2 {header.X-B}\n}",
            "{path} {m} {\n\t/ws p1\n\t~^/api p2-{host}\n}",
            "{vars.v} {n} {\n\ton {path}\n\tdefault <{nothing}>\n}",
        )
    ),
}
"""Directives by how they begin: with a matcher at the braces, at `*` one that is never left out."""

NESTED = ("handle {}", "handle {}", "handle_path {path}", "route {}", "route {}")


@st.composite
def directives(draw: st.DrawFn, depth: int = 0) -> str:
    """One directive."""
    matcher = draw(chosen)
    begin = draw(st.sampled_from(("reverse_proxy", "reverse_proxy", *SIMPLE, *(NESTED if depth < 2 else ()))))
    if begin == "reverse_proxy":
        return draw(proxied(matcher))
    head = begin.replace("{}", matcher).replace("{*}", matcher or "*").replace("{{", "{").replace("}}", "}")
    if begin in SIMPLE:
        return f"{head} {draw(SIMPLE[begin])}"
    head = head.replace("{path}", draw(st.sampled_from(("/ws/*", "/api*", "/api/*"))))
    return f"{head} {{\n{draw(blocks(depth + 1))}\n}}"


def blocks(depth: int) -> st.SearchStrategy[str]:
    """The lines of a block."""
    return st.lists(directives(depth), min_size=1, max_size=5 - depth).map("\n".join)


@st.composite
def sites(draw: st.DrawFn, address: str) -> str:
    """A site, which proxies what nothing else takes."""
    lines = [f"@m{index} {{\n\t\t{draw(definitions)}\n\t}}" for index in range(3)]
    lines += draw(st.lists(directives(), min_size=2, max_size=7))
    if draw(st.booleans()):
        lines.append(draw(proxied("")))
    if draw(st.integers(0, 3)) == 0:
        errors = draw(
            st.sampled_from(
                (
                    "respond {err.status_code} 418",
                    "respond oops",
                    "reverse_proxy @UPSTREAM@",
                    "request_header X-E {err.status_code}\n\treverse_proxy @UPSTREAM@",
                )
            )
        )
        lines.append(f"handle_errors {draw(st.sampled_from(('', '404', '5xx')))} {{\n\t{errors}\n}}")
    return f"{address} {{\n\tbind 127.0.0.1\n" + "\n".join(lines) + "\n}\n"


@st.composite
def caddyfiles(draw: st.DrawFn) -> str:
    """A Caddyfile of a few sites on one port."""
    addresses = draw(
        st.lists(
            st.sampled_from(
                (
                    "http://a.test:@PORT@",
                    "http://*.wild.test:@PORT@",
                    "http://:@PORT@",
                    "http://b.test:@PORT@/api/*, http://c.test:@PORT@",
                )
            ),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    servers = draw(
        st.sampled_from(
            (
                "",
                "\tservers {\n\t\ttrusted_proxies static private_ranges\n\t}\n",
                "\torder request_header first\n",
                "\torder uri after request_header\n",
            )
        )
    )
    return f"{{\n{OPTIONS}{servers}}}\n" + "".join(draw(sites(address)) for address in addresses)


hosts = st.sampled_from(
    ("a.test", "A.TEST:80", "x.wild.test", "x.y.wild.test", "b.test", "c.test", "", "other.test:1", "a.test.")
)
connections = st.sampled_from(
    (
        "Upgrade",
        "keep-alive, Upgrade",
        "upgrade",
        "close",
        "Upgrade, X-A",
        "Authorization,Upgrade,Cookie",
        "X-Upgrade",
        "Upgrade, TE, Host",
    )
)
plain_headers = st.tuples(
    st.sampled_from(
        (
            *NAMES,
            "x-a",
            "X_B",
            "TE",
            "Keep-Alive",
            "Proxy-Authorization",
            "Accept-Encoding",
            "Range",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "Expect",
            "Trailer",
            "Origin",
            "Sec-WebSocket-Extensions",
        )
    ),
    st.sampled_from(
        (
            "1",
            "two words",
            "Bearer x",
            "",
            "Basic dTpw",
            "trailers",
            "trailers, deflate",
            "a=1; b=2",
            "10.0.0.1, 10.0.0.2",
            "x" * 300,
            "  spaces  ",
            "http",
        )
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """An upgrade, sometimes a broken one."""
    headers: list[Header] = [("Host", draw(hosts))]
    if draw(st.integers(0, 9)):
        headers.append(("Upgrade", draw(st.sampled_from(("websocket", "WebSocket", "", "h2c")))))
    headers += [("Connection", value) for value in draw(st.lists(connections, max_size=2))]
    headers += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
    headers += draw(st.lists(plain_headers, max_size=5))
    method = draw(st.sampled_from(("GET", "GET", "GET", "GET", "POST")))
    return Request(target=draw(st.sampled_from(TARGETS)), method=method, headers=tuple(headers))


def rendered(text: str) -> Callable[[Path, int, int], Mapping[str, str]]:
    """The Caddyfile for a port to listen on and the port of the upstream."""
    return lambda _, port, upstream: {
        "Caddyfile": text.replace("@PORT@", str(port)).replace("@UPSTREAM@", f"127.0.0.1:{upstream}")
    }


@examples(30)
@given(caddyfiles(), st.lists(requests(), min_size=12, max_size=12))
def test_what_the_upstream_receives_is_what_was_predicted(tally: Tally, caddyfile: str, asked: list[Request]) -> None:
    compare(PROXY, rendered(caddyfile), asked, tally, VERSION)
