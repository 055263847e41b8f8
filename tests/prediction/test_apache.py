"""Apache's config as it was read, against the real Apache: every header, the status, and what was reached."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.prediction import Tally, compare, examples
from wsprobe.lb.request import Request, upgrade
from wsprobe.model import Header

PROXY = "apache"

_MODULES = (
    "mpm_event", "authz_core", "authn_core", "authz_host", "authz_user", "auth_basic", "authn_file", "access_compat",
    "headers", "proxy", "proxy_http", "proxy_wstunnel", "proxy_balancer", "slotmem_shm", "lbmethod_byrequests",
    "rewrite", "setenvif", "env", "alias", "macro",
)  # fmt: skip
_BASE = """\
ServerRoot @FOLDER@
ServerName Main.example.com
PidFile @FOLDER@/pid
DefaultRuntimeDir @FOLDER@
ErrorLog @FOLDER@/log
LogLevel info
User "#65534"
Group "#65534"
Listen 127.0.0.1:@PORT@
DocumentRoot @FOLDER@
"""


def config(body: str, folder: Path, port: int, upstream: int) -> Mapping[str, str]:
    """A whole config around directives; @U@ is the upstream, @PORT@ where Apache listens."""
    modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _MODULES)
    text = modules + _BASE + body
    places = {"@FOLDER@": str(folder), "@PORT@": str(port), "@U@": f"127.0.0.1:{upstream}"}
    for place, value in places.items():
        text = text.replace(place, value)
    return {"apache.conf": text}


# What is generated.

_NAMES = ("Authorization", "Cookie", "X-A", "X-B", "x_under", "Origin", "X-Forwarded-For", "Sec-WebSocket-Protocol")
_VALUES = ("", "a", "b, c", "Bearer abc", "abacab", "x=1; y=2", "websocket", "%41 é", "one, two")
name = st.sampled_from(_NAMES)
plain = st.sampled_from(("v", "abc", "two words", "a%%b", "Bearer fixed", ""))
variable = st.sampled_from(("%{MATCH_PART}e", "%{E1}e", "%{E2}e", "%{NOPE}e", "x%{E1}ey", "%{HTTPS}s"))
expression = st.sampled_from(
    (
        "expr=%{HTTP_HOST}",
        "expr=h-%{req:X-A}",
        "expr=%{tolower:%{HTTP_HOST}}",
        "expr=%{REQUEST_URI}?%{QUERY_STRING}",
        "expr=%{REMOTE_ADDR}",
        "expr=%{HTTP:Cookie}",
    )
)
value = st.one_of(plain, variable, expression)
test = st.sampled_from(
    (
        "%{HTTP:X-A} == 'a'",
        "%{HTTP:X-B} =~ /^b/",
        "-n req('Cookie')",
        "-z %{QUERY_STRING}",
        "%{REQUEST_URI} =~ m#^/(a|b)#",
        "! %{HTTP:Upgrade} == 'websocket'",
        "%{HTTP_HOST} in {'a.example.com','app.example.com'} || reqenv('E1') == '1'",
        "%{HTTP:X-A} -strmatch 'a*' && %{REQUEST_METHOD} == 'GET'",
        "%{REMOTE_ADDR} -ipmatch '127.0.0.0/8'",
        "true && !(false || %{HTTP:X-A} != 'b, c')",
    )
)
clause = st.one_of(
    st.just(""),
    st.sampled_from((" env=E1", " env=!E1", " env=E2")),
    test.map(lambda text: f' "expr={text}"'),
)


@st.composite
def request_header(draw: st.DrawFn, *, early: bool = True) -> str:
    """A RequestHeader of any form."""
    action = draw(st.sampled_from(("set", "append", "merge", "add", "setifempty", "unset", "edit", "edit*")))
    header = draw(st.one_of(name, st.sampled_from(("Connection", "Upgrade", "Host"))))
    when = draw(st.one_of(clause, st.just(" early") if early else st.just("")))
    if action == "unset":
        return f"RequestHeader unset {header}{when}"
    if action.startswith("edit"):
        pattern, new = draw(st.sampled_from((("a(.)", "<$1>"), ("^", "p-"), ("b", ""), ("(?i)bearer", "Token"))))
        action = "edit" if pattern == "^" else action  # Apache does not end where edit* finds nothing
        return f'RequestHeader {action} {header} "{pattern}" "{new}"{when}'
    if header in {"Connection", "Upgrade", "Host"}:
        text = draw(st.sampled_from({"Host": ("set.example.com",)}.get(header, ("websocket", "Upgrade", "close, X-A"))))
        return f'RequestHeader {action} {header} "{text}"{when}'
    return f'RequestHeader {action} {header} "{draw(value)}"{when}'


environment = st.sampled_from(
    (
        'SetEnvIf X-A "^(.)" E1=$1',
        "SetEnvIf X-B . E2",
        "SetEnvIfNoCase Cookie X=(\\d) E1=c$1 E2=$0",
        "SetEnvIf Request_URI ^/a E1",
        "SetEnvIf X-A b !E2",
        "SetEnv E2 fixed",
        "SetEnvIfExpr \"%{HTTP:X-A} == 'a'\" E1=yes",
        'SetEnvIfExpr "%{HTTP:X-A} =~ /^(.)/" E1=$1',
        "BrowserMatch wget E1",
    )
)
params = st.sampled_from(
    (
        "",
        " upgrade=websocket",
        " upgrade=ANY",
        " upgrade=NONE",
        " upgrade=h2c,websocket",
        " disablereuse=On",
        " nocanon",
    )
)
scheme = st.sampled_from(("http", "ws", "ws"))
setting = st.sampled_from(
    (
        "ProxyPreserveHost On",
        "ProxyPreserveHost Off",
        "ProxyAddHeaders Off",
        "ProxyAddHeaders On",
    )
)
access = st.sampled_from(
    (
        "Require all granted",
        "Require all denied",
        "Require ip 127.0.0.1",
        "Require ip 10.0.0.0/8",
        "Require env E1",
        "<RequireAny>\nRequire local\nRequire all denied\n</RequireAny>",
        "<RequireAll>\nRequire all granted\nRequire not env E2\n</RequireAll>",
        "Require expr %{HTTP:X-A} == 'a'",
        "AuthType Basic\nAuthName x\nAuthUserFile /nonexistent\nRequire valid-user",
    )
)
inside = st.lists(
    st.one_of(request_header(), request_header(), request_header(), setting, environment, access), max_size=3
)
path = st.sampled_from(("/", "/a", "/a/", "/a/b", "/b", "/b/c/"))
target = st.sampled_from(("", "/", "/t", "/t/", "/a b/"))


@st.composite
def section(draw: st.DrawFn) -> str:
    """A section with what may stand in it."""
    opening, closing = draw(
        st.one_of(
            path.map(lambda each: (f"<Location {each}>", "</Location>")),
            st.sampled_from(
                (
                    ('<LocationMatch "^/(a|b)/.*c">', "</LocationMatch>"),
                    ("<Location /a/*>", "</Location>"),
                    ('<LocationMatch "^/(?<part>[^/]+)/">', "</LocationMatch>"),
                    ("<Proxy *>", "</Proxy>"),
                )
            ),
            test.map(lambda text: (f'<If "{text}">', "</If>")),
        )
    )
    lines = draw(inside)
    if opening.startswith(("<Proxy", "<If")):
        lines = [line for line in lines if line.startswith(("RequestHeader", "SetEnvIf"))]
    if opening.startswith("<Location") and draw(st.booleans()):
        lines = [*lines, draw(st.one_of(st.just("ProxyPass !"), proxied()))]
    return "\n".join([opening, *lines, closing])


@st.composite
def proxied(draw: st.DrawFn) -> str:
    """A ProxyPass inside of a <Location>."""
    return f'ProxyPass "{draw(scheme)}://@U@{draw(target)}"{draw(params)}'


@st.composite
def proxy_pass(draw: st.DrawFn) -> str:
    """A ProxyPass or ProxyPassMatch of a server."""
    if draw(st.integers(0, 4)) == 0:
        pattern, to = draw(
            st.sampled_from((("^/a/(.*)$", "/m/$1"), ("^/(b)", "/$1/x"), ("c$", ""), ("^/A(.?)/?(.*)", "/$2/$1")))
        )
        return f"ProxyPassMatch {pattern} {draw(scheme)}://@U@{to}{draw(params).replace(' nocanon', '')}"
    if draw(st.integers(0, 5)) == 0:
        return f"ProxyPass {draw(path)} !"
    return f'ProxyPass {draw(path)} "{draw(scheme)}://@U@{draw(target)}"{draw(params)}'


condition = st.sampled_from(
    (
        "%{HTTP:Upgrade} =websocket [NC]",
        "%{HTTP:Upgrade} websocket [NC]",
        "%{HTTP:Connection} upgrade [NC]",
        "%{HTTP:X-A} ^(a|b)$ [OR]",
        "%{QUERY_STRING} x=(\\d) [NC]",
        "%{HTTP_HOST} !^b\\. [NC]",
        "%{REQUEST_URI} ^/a",
        "%{HTTP:X-B} ^$",
        "%{ENV:E1} =1",
        "%{HTTPS} off",
        "%{REQUEST_METHOD} ^GET",
        "expr \"%{HTTP:X-A} == 'a'\"",
        "$1 ^.+",
    )
)
rule = st.sampled_from(
    (
        "^/a/(.*)$ ws://@U@/r/$1 [P,L]",
        "^/b(.*) http://@U@/h$1 [P]",
        "/(.*) ws://@U@/$1 [P,L]",
        "^/?(.*) ws://@U@/all/$1 [NC,P]",
        "^/c ws://@U@%{REQUEST_URI} [P,QSA]",
        "^/a ws://@U@/q?z=1 [P,QSA]",
        "^/a ws://@U@/q?z=%1 [P]",
        "^/b/(.*) /a/$1 [PT]",
        "^/b/(.*) /files/$1",
        "^/f - [F]",
        "^/a/b - [L]",
        "^/(a)(.*) - [E=E1:$1%1,E=E2]",
        "^/old http://elsewhere.example.com/ [R=301,L]",
        "^/r(.*) /n$1 [R]",
        "!^/(a|b) - [G]",
        "^/a/(.*) ws://@U@/ne/$1 [P,NE]",
        "^/a - [S=1]",
        "^/b - [C]",
    )
)


@st.composite
def rewriting(draw: st.DrawFn) -> str:
    """Rules of mod_rewrite with their conditions."""
    lines = ["RewriteEngine On"]
    for _ in range(draw(st.integers(1, 4))):
        lines += [f"RewriteCond {each}" for each in draw(st.lists(condition, max_size=3))]
        lines.append(f"RewriteRule {draw(rule)}")
    return "\n".join(lines)


other = st.sampled_from(
    (
        "Redirect /old http://x/",
        "ErrorDocument 403 http://elsewhere.example.com/",
        "RedirectMatch 403 ^/f",
        "ProxyVia On",
        "ProxyVia Block",
        "AllowEncodedSlashes On",
        "LimitRequestFieldSize 200",
        "LimitRequestFields 12",
        "LimitRequestLine 60",
        "SetEnv proxy-nokeepalive 1",
        "SetEnvIf X-A a proxy-nokeepalive no-proxy",
    )
)


@st.composite
def directives(draw: st.DrawFn, *, main: bool) -> str:
    """What stands in one server."""
    parts = draw(st.lists(st.one_of(request_header(), section(), environment, setting, other, section()), max_size=5))
    parts += draw(st.lists(proxy_pass(), max_size=3 if main else 4))
    if draw(st.booleans()):
        parts.append(draw(rewriting()))
    return "\n".join(draw(st.permutations(parts)))


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """One config: a main server alone, or virtual hosts."""
    text = draw(directives(main=True))
    hosts = draw(st.integers(0, 3))
    names = ("ServerName a.example.com", "ServerName B.example.com:99", "ServerName c.x\nServerAlias *.example.com")
    for index in range(hosts):
        text += f"\n<VirtualHost *:@PORT@>\n{names[index]}\n{draw(directives(main=False))}\n</VirtualHost>"
    return text + "\n"


targets = st.sampled_from(
    (
        "/", "/a", "/a/", "/a/b", "/a/b/c?x=1", "/b", "/b/c/", "/b/c/d?x=2&y=%20", "/c", "/old/x", "/f", "/none", "/ab",
        "/a//b", "/a/./b/../c", "/a%20b", "/a/%41%7e%c3%a9", "/a/b%2Fc", "/a/x;y=1", "/A/z", "/a/%3fq", "/a?", "/r/s",
        "/a/..", "/b/+&=!*'()", '/a/[x]|{}"<>^`', "/%61/b",
    )
)  # fmt: skip
extra = st.lists(
    st.one_of(
        st.tuples(name, st.sampled_from(_VALUES)),
        st.tuples(
            st.just("Connection"),
            st.sampled_from(("keep-alive, Upgrade", "Upgrade, X-A", "upgrade, Authorization, cookie", "", "close")),
        ),
        st.tuples(st.just("Upgrade"), st.sampled_from(("WebSocket", "h2c", "", "websocket, h2c", "h2c, websocket"))),
        st.tuples(
            st.sampled_from(("TE", "Trailer", "Keep-Alive", "Proxy-Connection", "Via", "Max-Forwards", "User-Agent")),
            st.sampled_from(("trailers", "5", "x", "1.0 wget", "0")),
        ),
        st.tuples(st.just("X-Long"), st.sampled_from((150, 190, 191, 192, 193, 250)).map(lambda size: "v" * size)),
    ),
    max_size=6,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """What is sent."""

    target: str
    host: str
    headers: tuple[Header, ...]

    def request(self) -> Request:
        """The upgrade with these headers."""
        return upgrade(self.target, self.host, self.headers)


hosts = st.sampled_from(
    ("app.example.com", "a.example.com", "b.example.com", "B.EXAMPLE.COM:8080", "q.example.com", "zzz")
)
pairs = st.lists(st.builds(Pair, targets, hosts, extra.map(tuple)), min_size=12, max_size=24)


@examples(24)
@given(bodies(), pairs)
def test_what_apache_does_is_what_was_predicted(tally: Tally, body: str, sent: list[Pair]) -> None:
    requests = [pair.request() for pair in sent]
    compare(PROXY, lambda folder, port, upstream: config(body, folder, port, upstream), requests, tally)
