"""HAProxy: configs of its whole vocabulary and requests of all kinds, predicted and sent through the real one."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.prediction import Tally, compare, examples
from wsprobe.lb.request import Request
from wsprobe.parts import Header

PROXY = "haproxy"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

GLOBAL = """\
global
    log stdout format raw local0
    noreuseport
    setenv KNOWN "from the environment"

userlist people
    user ada insecure-password lovelace
    user bob insecure-password "b o b"

defaults
    mode http
    log global
    retries 0
    timeout connect 3s
    timeout client 10s
    timeout server 10s
"""

NAMES = ("Authorization", "X-A", "X-B", "x_under", "Cookie", "Origin", "X-Forwarded-For", "Sec-WebSocket-Protocol")
TOUCHY = ("Connection", "Upgrade", "Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
WORDS = (
    '"a,b",c',
    "a,",
    ",",
    "one",
    "two",
    "Bearer x",
    "a,b , c",
    "",
    "websocket",
    "upgrade",
    "close",
    "10.0.0.7",
    "k=v; sid=2",
    "  x  y ",
)

names = st.sampled_from(NAMES)
words = st.sampled_from(WORDS)


# How a text is written in a config: quoted in one way or another.


def single(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def double(text: str) -> str:
    return '"' + "".join(f"\\{char}" if char in '\\"$' else char for char in text) + '"'


def escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\ #'\"" else char for char in text) or "''"


quoting = st.sampled_from([single, double, escaped])
literals = st.text(st.sampled_from("ab Z09-_,;=/.#'\"\\$"), min_size=1, max_size=12).filter(str.strip)


@st.composite
def literal(draw: st.DrawFn) -> str:
    """A text as a log format."""
    return draw(quoting)(draw(literals).replace("%", "%%"))


EXPRESSIONS = (
    "%[req.hdr(x-a)]",
    "%[req.fhdr(X-A)]",
    "%[req.hdr(x-a,1)]",
    "%[req.hdr(x-a,-2)]",
    "%[req.fhdr(x-a,1)]",
    "%[req.hdr(Authorization),field(2,' ')]",
    "%[req.hdr(Authorization),word(1,' ')]",
    "%[req.hdr(x-a),lower]",
    "%[req.hdr(x-b),upper]",
    "%[req.hdr(x-b),regsub(o,0)]",
    '%[req.hdr(x-b),regsub("(t)w(o)","<\\2\\1>",g)]',
    "%[req.hdr_cnt(x-a)]",
    "%[req.fhdr_cnt(x-a)]",
    "%[req.hdr(x-a),length]",
    "%[req.hdr(x-a),iif(yes,no)]",
    "%[req.hdr(x-a),word(9,' '),length]",
    "%[req.hdr(x-b),concat(<,txn.a,>)]",
    "%[path]",
    "%[pathq]",
    "%[query]",
    "%[url]",
    "%[base]",
    "%[method]",
    "%[req.ver]",
    "%[src]",
    "%[src_port]",
    "%[dst_port]",
    "%ci:%cp",
    "%[ssl_fc]",
    "%[var(txn.a)]",
    "%[var(req.b)]",
    "%[url_param(token)]",
    "%[urlp(sid)]",
    "%[req.cook(sid)]",
    "%[str(x),concat(<,txn.a,>)]",
    "%[fe_name]",
    "%[capture.req.uri]",
    "%[capture.req.method]",
    "%[http_auth_bearer]",
    "%HM/",
    "%%",
)


@st.composite
def formats(draw: st.DrawFn) -> str:
    """A log format of literals and expressions."""
    parts = draw(st.lists(st.sampled_from([*EXPRESSIONS, "a", " ", "b  c", "-"]), min_size=1, max_size=3))
    return draw(st.sampled_from([single, double]))("".join(parts))


values = st.one_of(literal(), formats(), st.just('"$KNOWN"'))

CRITERIA = (
    "path /ws",
    "path_beg /ws /b",
    "path_end s .x",
    "path_sub b",
    "path_dir ws",
    "path_reg ^/[a-w]",
    "path -i -m beg /WS",
    "path,lower -m end /ws",
    "path_len 3:5",
    "path -m len gt 4",
    "url_beg /ws?",
    "query -m found",
    "method GET",
    "method POST PUT",
    "hdr(upgrade) -i websocket",
    "hdr(Upgrade) WebSocket",
    "req.hdr(connection) -i -m sub upgrade",
    "hdr(connection) -i upgrade",
    "hdr(x-a) one two",
    "hdr(x-a) 'one' \"two\"",
    "hdr(x-a) -i -m str ONE",
    r"path_reg -i ^/W\S$",
    r"path_reg ^/(ws|b)\ ?",
    "path -m reg '^/ws$' ^/b",
    "hdr(x-b) -m beg t -- -i",
    'req.hdr(x-b),regsub("o+",0) -m sub tw0',
    "req.hdr(x-a),length 3",
    "req.hdr_val(x-a) 0:5",
    "req.hdr(x-a) -m int 0:5",
    "req.hdr(x-a) -m bool",
    "ssl_fc 0",
    "hdr(x-a),not",
    "hdr_ip(x-a) 10.0.0.0/24",
    "query -m beg x=",
    "url -m end abc",
    "hdr_reg(x-a) ^(one|two)$ ^c",
    "req.fhdr(x-a) one 'a,b , c'",
    "hdr(x-a,1) a one",
    "hdr(x-a,-1) c two",
    "hdr_beg(x-a) o a",
    "hdr_end(x-a) e c",
    "hdr_sub(x-a) ,",
    "hdr_dom(host) example",
    "hdr_dir(x-a) one",
    "hdr_reg(x-b) ^t.o$",
    "hdr_len(x-a) 0",
    "hdr(x-a) -m found",
    "hdr(x-none) -m found",
    "hdr_cnt(x-a) eq 0",
    "req.hdr_cnt(x-a) gt 1",
    "req.fhdr_cnt(x-a) ge 1 lt 3",
    "req.hdr_cnt(x-a) 1 3:4",
    "hdr(host) -i app.example.com",
    "hdr_beg(host) -i APP.",
    "hdr(host),lower,field(1,:) app.example.com",
    "base_beg app.example.com/ws",
    "req.cook(sid) -m found",
    "cook(sid) 2",
    "url_param(token) -m found",
    "urlp(token) abc",
    "src 127.0.0.0/8",
    "src 10.0.0.1 127.1",
    "req.hdr_ip(x-forwarded-for) 10.0.0.0/8",
    "dst_port gt 0",
    "ssl_fc",
    "req.ver 1.1",
    "var(txn.a) -m found",
    "var(txn.a) -m str one",
    "always_true",
    "always_false",
    "hdr(authorization) -m beg -i bearer",
    "http_auth(people)",
    "req.proto_http",
)
NAMED = ("METH_GET", "TRUE", "FALSE", "HTTP_1.1", "LOCALHOST", "HTTP_URL_SLASH", "METH_POST")


@st.composite
def conditions(draw: st.DrawFn, declared: tuple[str, ...] = ("ws", "auth", "first")) -> str:
    """`if` or `unless`, and acls by name or between braces, joined by and, or, not; or nothing."""
    if draw(st.integers(0, 2)) == 0:
        return ""
    said = draw(st.sampled_from(["if", "unless"]))
    for index in range(draw(st.integers(1, 3))):
        if index:
            said += draw(st.sampled_from([" or", " ||", "", ""]))
        inside = "{ " + draw(st.sampled_from(CRITERIA)) + " }"
        term = draw(st.sampled_from([inside, inside, inside, draw(st.sampled_from([*NAMED, *declared]))]))
        said += " " + draw(st.sampled_from(["", "", "!", "! "])) + term
    return f" {said}"


@st.composite
def edits(draw: st.DrawFn) -> str:
    """A rule that changes the request."""
    name = draw(st.one_of(names, names, names, st.sampled_from(TOUCHY[:3])))
    value = draw(values)
    token = draw(st.sampled_from(["upgrade", "close", "Upgrade, X-A", "keep-alive", "websocket", "app.example.com"]))
    kind = draw(st.integers(0, 19))
    if name in TOUCHY:
        value = double(token)
    rules = {
        0: f"set-header {name} {value}",
        1: f"set-header {name} {value}",
        2: f"add-header {name} {value}",
        3: f"del-header {name}",
        4: f"del-header {draw(st.sampled_from(['x-', 'X-A', 'auth', 'o', 'Sec-WebSocket-P']))} "
        f"-m {draw(st.sampled_from(['beg', 'end', 'sub', 'reg', 'str']))}",
        5: r"del-header '^(auth|x-)' -m reg",
        6: rf"replace-header {draw(names)} 'o(.)' '<\0|\1>'",
        7: r"replace-header Authorization '^Bearer (.*)' 'Token \1'",
        8: rf"replace-value {draw(names)} '^(.)(.*)$' '\2\1'",
        9: r"replace-value x-a o 0",
        10: f"set-path {draw(st.sampled_from(['/ws', '/b%[path]', '/%[req.hdr(host)]', '%[path,regsub(^/ws,/b)]']))}",
        11: rf"replace-path {draw(st.sampled_from(['^/ws(.*)', '(.*)/b', 's', '^/(.)']))} '/b\1'",
        12: rf"replace-uri {draw(st.sampled_from(['^/ws(.*)', 'x=(.)', '^([^?]*)']))} '/u\1'",
        13: r"replace-pathq '([^?]*)(\?.*)?' '\1/q\2'",
        14: f"set-query {draw(st.sampled_from(['a=b', '%[query]&c', 'x=%[src_port]']))}",
        15: f"set-uri {draw(st.sampled_from(['/u', '/u?%[query]', '/%[method]']))}",
        16: f"set-var(txn.a) {draw(st.sampled_from(['req.hdr(x-a)', 'path', 'str(one)', 'req.hdr(x-b),lower', 'int(7)']))}",
        17: f"set-var-fmt(req.b) {draw(formats())}",
        18: "unset-var(txn.a)",
        19: f"set-method {draw(st.sampled_from(['POST', 'PUT']))}",
    }
    return rules[kind]


@st.composite
def answers(draw: st.DrawFn) -> str:
    """A rule that ends it, or the rules."""
    return draw(
        st.sampled_from(
            [
                "deny",
                "deny deny_status 429",
                "deny status 404",
                "return status 418",
                "return",
                "reject",
                "redirect location /elsewhere",
                "redirect scheme https code 301",
                "redirect prefix http://other",
                "auth realm lab",
                "allow",
                "allow",
            ]
        )
    )


@st.composite
def rules(draw: st.DrawFn, most: int = 6) -> list[str]:
    """The rules of a section."""
    made = []
    for _ in range(draw(st.integers(0, most))):
        if draw(st.integers(0, 7)) == 0:
            made.append(f"http-request {draw(answers())} if {{ {draw(st.sampled_from(CRITERIA))} }}")
        else:
            made.append(f"http-request {draw(edits())}{draw(conditions())}")
    return made


OPTIONS = (
    "option forwardfor",
    "option forwardfor if-none",
    "option forwardfor except 127.0.0.0/8",
    "option forwardfor except 10.0.0.0/8 header X-Client",
    "option forwardfor header X-A if-none",
    "option originalto",
    "option originalto header X-B",
    "option httpclose",
    "option http-server-close",
    "option http-keep-alive",
    "no option httpclose",
    "option http-restrict-req-hdr-names delete",
    "option http-restrict-req-hdr-names preserve",
    "redirect location /there if { path /t }",
    "stats uri /stats",
    "http-request wait-for-body time 1s",
    "option http-buffer-request",
    "errorloc 403 /refused",
    "errorloc303 503 /down",
    "tcp-request content reject if { path_beg /ws/tcp }",
    "tcp-request content accept if { hdr(x-a) one }",
)
FRONTEND = ("monitor-uri /ping", "tcp-request connection accept if { src 10.0.0.0/8 }", "maxconn 100")
BACKEND = (
    "http-send-name-header X-Server",
    "http-send-name-header X-A",
    "option http-pretend-keepalive",
    "http-reuse always",
)


@st.composite
def sections(draw: st.DrawFn, extra: tuple[str, ...]) -> str:
    """The lines that a frontend and a backend can both have."""
    lines = ["acl ws hdr(upgrade) -i websocket", "acl ws path_beg /ws", "acl auth hdr(authorization) -m found"]
    lines.append(f"acl first {draw(st.sampled_from(CRITERIA))}")
    lines += draw(st.lists(st.sampled_from([*OPTIONS, *extra]), max_size=3, unique=True))
    lines += draw(rules())
    return "\n".join(f"    {line}" for line in lines)


@st.composite
def configs(draw: st.DrawFn) -> str:
    """A config with the places @PORT@ and @UP@."""
    defaults = draw(
        st.lists(st.sampled_from([option for option in OPTIONS if option.startswith("option")]), max_size=2)
    )
    uses = [
        f"    use_backend b{draw(st.integers(1, 3))} if {{ {draw(st.sampled_from(CRITERIA))} }}"
        for _ in range(draw(st.integers(0, 3)))
    ]
    default = draw(st.sampled_from(["default_backend b1", "default_backend b2", "default_backend b1", ""]))
    front = draw(sections(FRONTEND))
    backs = [draw(sections(BACKEND)) for _ in range(3)]
    lines = [GLOBAL, *(f"    {option}" for option in defaults), "frontend edge", "    bind 127.0.0.1:@PORT@", front]
    lines += [*uses, f"    {default}"]
    for number, back in enumerate(backs, 1):
        servers = "" if number == 3 and draw(st.booleans()) else "    server s1 127.0.0.1:@UP@"
        lines += [f"backend b{number}", back, servers]
    return "\n".join(lines) + "\n"


# Requests.

TARGETS = (
    "*",
    "/a#b",
    "ws",
    "/ws\xe4",
    "/",
    "/ws",
    "/ws/x",
    "/WS",
    "/b/ws",
    "/a//b/../ws",
    "/ws?x=1&token=abc",
    "/ws?",
    "/ping",
    "/stats",
    "/t",
    "/b.x",
)
more_headers = st.lists(
    st.tuples(st.one_of(names, names, st.sampled_from(["X-MiXeD", "Keep-Alive", "TE"])), words), max_size=5
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """An upgrade, mostly a good one."""
    connection = draw(
        st.sampled_from(
            [
                *["Upgrade"] * 6,
                "keep-alive, Upgrade",
                "close , upgrade,X-A",
                "Upgrade,,x",
                "close",
                "X-A",
                "",
                " , ",
                None,
            ]
        )
    )
    upgrade = draw(st.sampled_from([*["websocket"] * 6, "WebSocket", "h2c", "websocket, x", "", None]))
    host = draw(st.sampled_from([*["app.example.com"] * 4, "APP.example.com:8080", "other", "", None]))
    key = draw(st.sampled_from([*[KEY] * 8, "", None]))
    own = [("Host", host), ("Upgrade", upgrade), ("Connection", connection), ("Sec-WebSocket-Key", key)]
    headers: list[Header] = [(name, value) for name, value in own if value is not None]
    headers += [("Sec-WebSocket-Version", "13"), *draw(more_headers)]
    odd = draw(st.integers(0, 19))
    headers += {
        0: [("Connection", "X-B")],
        1: [("Upgrade", "y")],
        2: [("Content-Length", "0")],
        3: [("Host", "x")],
    }.get(odd, [])
    if draw(st.booleans()):
        headers.append(
            ("Authorization", draw(st.sampled_from(["Bearer tok", "Basic YWRhOmxvdmVsYWNl", "Basic eHg6eQ==", ""])))
        )
    headers = draw(st.permutations(headers)) if odd > 15 else headers
    return Request(
        target=draw(st.sampled_from([*["/ws"] * 6, *TARGETS])),
        headers=tuple(headers),
        method=draw(st.sampled_from([*["GET"] * 6, "POST", "OPTIONS"])),
        version=draw(st.sampled_from([*["HTTP/1.1"] * 6, "HTTP/1.0"])),
    )


def rendered(config: str) -> Callable[[Path, int, int], dict[str, str]]:
    def render(folder: Path, port: int, upstream: int) -> dict[str, str]:
        return {"haproxy.cfg": config.replace("@PORT@", str(port)).replace("@UP@", str(upstream))}

    return render


@examples(30)
@given(configs(), st.lists(requests(), min_size=12, max_size=12))
def test_what_haproxy_does_is_what_was_predicted(tally: Tally, config: str, asked: list[Request]) -> None:
    compare(PROXY, rendered(config), asked, tally)
