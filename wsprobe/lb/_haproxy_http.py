"""What HAProxy does to every request in HTTP mode without being told: checks, Connection, and options that add headers.

Observed with HAProxy 2.6.12; a table of the tests compares it with the real one.
"""

import re
from collections.abc import Iterator

from wsprobe.lb._haproxy_grammar import Directive
from wsprobe.lb._haproxy_proxy import Proxy, Server
from wsprobe.lb._haproxy_samples import Scope, fetched
from wsprobe.lb._haproxy_words import Word
from wsprobe.lb.expressions import (
    All,
    Condition,
    Count,
    How,
    Lines,
    Not,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
    both,
    has,
    header,
)
from wsprobe.lb.model import Answer, Assign, Edit, Like, Limit, Measure, Method, Named, Op, Spoil, Step
from wsprobe.parts import Line

_NOMINATED = Of(Subject.HEADER, "Connection", lines=Lines.ANY_MEMBER, quotes=True)
NOMINATES_UPGRADE = Test(_NOMINATED, How.EQUALS, ("upgrade",), ignore_case=True)
ASKS_WEBSOCKET = Test(
    header("Upgrade", Lines.LAST), How.REGEX, (r"(?:^|,)[ \t]*websocket[ \t]*(?:,|$)",), ignore_case=True
)
_HAS_BODY = OneOf((Test(header("Content-Length"), How.REGEX, ("[1-9]",)), has("Transfer-Encoding")))
_TARGET = Of(Subject.TARGET)
_ONE_ZERO = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.0",))

_ASKED = "the client asked for an upgrade"


def _lines(name: str) -> Value:
    return Of(Subject.HEADER, name, lines=Lines.JOINED, separator="\n")


def _several(name: str) -> Condition:
    return Test(Count(header(name, Lines.ANY_LINE)), How.BETWEEN, ("2:",))


def _differing(name: str) -> Condition:
    """Whether a header stands there twice with different values."""
    pattern = r"(?s)\A([^\n]*)(?:\n\1)*\n(?!\1(?:\n|\Z))"
    return Test(_lines(name), How.REGEX, (pattern,), ignore_case=True)


def entering(proxy: Proxy) -> Iterator[Step]:
    """What comes before all rules."""
    if proxy.option("accept-invalid-http-request") is None:
        wrong = Test(_TARGET, How.REGEX, (r"[^\x21-\x7e]|#",))
        yield Answer(status=400, why="the request target is not valid", when=wrong)
    # What begins with neither is taken for a target with a host in it (RFC 9112, 3.2.2 and 3.2.3).
    absolute = Not(OneOf((Test(_TARGET, How.PREFIX, ("/",)), Test(_TARGET, How.EQUALS, ("*",)))))
    other = Undecided("Host", "whether Host is that of the request target is not followed")
    yield Answer(status=400, why="Host is not that of the request target", when=both(absolute, has("Host"), other))
    names = Test(Of(Subject.NAMES), How.REGEX, (r"[^!#$%&'*+.^_`|~0-9A-Za-z\n-]|^\n|\n\n",))
    yield Answer(status=400, why="the name of a header is not valid", when=names)
    yield Answer(status=400, why="two Host headers that differ", when=both(_several("Host"), _differing("Host")))
    yield Edit(op=Op.FIRST, which=Named(("Host",)))
    length = both(has("Content-Length"), Not(Test(_lines("Content-Length"), How.REGEX, (r"\A(\d+)(?:\n\1)*\Z",))))
    coding = both(has("Transfer-Encoding"), Not(Test(header("Transfer-Encoding"), How.REGEX, ("(?i)chunked$",))))
    yield Answer(status=400, why="the length of the body is not valid", when=OneOf((length, coding)))
    yield Edit(op=Op.FIRST, which=Named(("Content-Length",)))
    yield Edit(op=Op.PRUNE, which=Named(("Connection",)), pattern="keep-alive|close")
    upgrades = both(NOMINATES_UPGRADE, Not(_HAS_BODY))
    no_key = Not(Test(header("Sec-WebSocket-Key"), How.REGEX, (".",)))
    why = "a WebSocket upgrade without Sec-WebSocket-Key"
    yield Answer(status=400, why=why, when=both(upgrades, ASKS_WEBSOCKET, no_key))
    yield Assign(name=_ASKED, value=Text("1"), when=upgrades)
    yield Edit(op=Op.REMOVE, which=Named(("Upgrade",)), when=All((NOMINATES_UPGRADE, _HAS_BODY)))


def waiting(proxy: Proxy) -> Iterator[Step]:
    """`option http-buffer-request` waits for a body; an upgrade has none, and passes at once."""
    if line := proxy.option("http-buffer-request"):
        yield awaited(All(), line.place)


def awaited(when: Condition, place: Line) -> Answer:
    """What becomes of a request whose body does not come."""
    body = Undecided("body", "whether the body of the request comes in time is not known")
    return Answer(status=408, why="waits for the body", when=both(when, _HAS_BODY, body), place=place)


def restricted(proxy: Proxy) -> Iterator[Step]:
    """What `option http-restrict-req-hdr-names` does to names with other characters than letters, digits and `-`."""
    line = proxy.option("http-restrict-req-hdr-names")
    if line is None:
        return
    policy = line.words[2] if len(line.words) > 2 else ""
    if policy == "delete":
        which = Like("[^A-Za-z0-9-]", ignore_case=False)
        yield Edit(op=Op.REMOVE, which=which, place=line.place)
    elif policy == "reject":
        names = Test(Of(Subject.NAMES), How.REGEX, (r"[^A-Za-z0-9\n-]",))
        yield Answer(status=403, why="the name of a header is not allowed", when=names, place=line.place)


def leaving(front: Proxy, back: Proxy, server: Server | None, scope: Scope) -> Iterator[Step]:
    """What comes after all rules."""
    yield from _identified(front)
    yield from _forwarded(front, back, scope, _FORWARDFOR)
    yield from _forwarded(front, back, scope, _ORIGINALTO)
    yield from _persistence(back)
    yield from _server_name(back, server)
    yield from _connection(front, back)
    # Of TE only this member travels, in this case.
    yield Edit(op=Op.PRUNE, which=Named(("TE",)), pattern="(?!(?-i:trailers)$).*")
    without = both(NOMINATES_UPGRADE, ASKS_WEBSOCKET, Not(has("Sec-WebSocket-Key")))
    made = Undecided("Sec-WebSocket-Key", "HAProxy makes a key where its rules have removed that of the client")
    yield Edit(op=Op.SET, which=Named(("Sec-WebSocket-Key",)), value=made, when=without)
    unasked = both(NOMINATES_UPGRADE, Not(Test(Of(Subject.VARIABLE, _ASKED), How.EXISTS)))
    yield Spoil(status=502, why="the client did not ask for the upgrade that a rule asks the server for", when=unasked)


def _identified(front: Proxy) -> Iterator[Step]:
    line = front.last("unique-id-header")
    if line and len(line.words) > 1 and front.last("unique-id-format"):
        value = Undecided("unique-id", "the unique id is made when the request comes")
        yield Edit(op=Op.ADD, which=Named((str(line.words[1]),)), value=value, place=line.place)


_FORWARDFOR = ("forwardfor", "X-Forwarded-For", "src")
_ORIGINALTO = ("originalto", "X-Original-To", "dst")


def _forwarded(front: Proxy, back: Proxy, scope: Scope, which: tuple[str, str, str]) -> Iterator[Step]:
    """`option forwardfor` and `option originalto`, of the frontend, the backend, or both; the backend's name counts."""
    option, usual, fetch = which
    lines = [line for line in (back.option(option), front.option(option)) if line]
    if not lines:
        return
    name = str(_behind(lines[0], "header") or usual)
    value = fetched(fetch, [], scope).single
    excepted = [str(word) for line in lines if (word := _behind(line, "except"))]
    conditions: list[Condition] = [Not(Test(value, How.NETWORK, (network,))) for network in excepted]
    if all("if-none" in line.words for line in lines):
        conditions.append(Not(has(name)))
    when = both(*conditions) if conditions else All()
    yield Edit(op=Op.ADD, which=Named((name,)), value=value, when=when, place=lines[0].place)


def _behind(line: Directive, keyword: str) -> Word | None:
    return next((line.words[at + 1] for at, word in enumerate(line.words[:-1]) if word == keyword), None)


def _persistence(back: Proxy) -> Iterator[Step]:
    """`cookie NAME … indirect` takes the cookie that HAProxy itself has set out of the header, `prefix` changes it."""
    line = back.last("cookie")
    if line is None or len(line.words) < 2 or not {"indirect", "prefix"} & set(line.words):
        return
    name = str(line.words[1])
    there = Test(header("Cookie", Lines.ANY_LINE), How.REGEX, (rf"(?:^|;)\s*{re.escape(name)}\s*=",))
    which = Named(("Cookie",))
    value = Undecided(name, f"HAProxy changes its own cookie {name}")
    if "prefix" in line.words:
        yield Edit(op=Op.SET, which=which, value=value, when=there, place=line.place)
        return
    # Written as browsers do it, what is left stays as it is; else HAProxy writes the separators anew.
    odd = Test(header("Cookie", Lines.ANY_LINE), How.REGEX, (r"^\s|\s$|;(?! \S)|\s[;=]|=\s",))
    own = rf"{re.escape(name)}=[^;]*"
    pattern = rf"^{own}(?:; {own})*(?:; |$)|; {own}(?=;|$)"
    yield Edit(op=Op.SET, which=which, value=value, when=both(there, odd), place=line.place)
    yield Edit(
        op=Op.REPLACE,
        which=which,
        value=Text(""),
        pattern=pattern,
        every=True,
        drop_empty=True,
        when=both(there, Not(odd)),
        place=line.place,
    )


def _server_name(back: Proxy, server: Server | None) -> Iterator[Step]:
    line = back.last("http-send-name-header")
    if line is None or server is None:
        return
    name = str(line.words[1]) if len(line.words) > 1 else ""
    one = len(back.servers()) == 1
    value: Value = Text(server.name) if one else Undecided(name, "it depends on the server that is chosen")
    if name:
        yield Edit(op=Op.SET, which=Named((name,)), value=value, place=line.place)


def _connection(front: Proxy, back: Proxy) -> Iterator[Step]:
    """How Connection is written: `close` or `keep-alive` is added where no upgrade is asked for."""
    closing = next(
        (
            line
            for proxy in (back, front)
            for name in ("httpclose", "http-server-close")
            if (line := proxy.option(name))
        ),
        None,
    )
    says_close = Test(_NOMINATED, How.EQUALS, ("close",), ignore_case=True)
    says_keep = Test(_NOMINATED, How.EQUALS, ("keep-alive",), ignore_case=True)
    close: Condition = OneOf((says_close, Not(says_keep))) if closing else says_close
    mark = "the connection to the server is closed"
    yield Assign(name=mark, value=Text("1"), when=close)
    yield Edit(op=Op.PRUNE, which=Named(("Connection",)), pattern="keep-alive|close")
    closes = Test(Of(Subject.VARIABLE, mark), How.EXISTS)
    plain = Not(NOMINATES_UPGRADE)
    which, place = Named(("Connection",)), closing.place if closing else None
    pretending = back.option("http-pretend-keepalive") is not None
    keeps: Condition = All() if pretending else Not(closes)
    yield Edit(op=Op.ADD, which=which, value=Text("keep-alive"), when=both(keeps, plain, _ONE_ZERO))
    if not pretending:
        when = both(closes, plain, Not(_ONE_ZERO))
        yield Edit(op=Op.ADD, which=which, value=Text("close"), when=when, place=place)


_OVERHEAD = 79
"""What of a buffer a head cannot take, as it is measured here: 85 octets, less 6 that separate and end its lines."""
_SLACK = 16  # what is taken out of Connection before the head is measured
_PER_LINE = 4
"""What a header line takes there in addition: 8 octets instead of `: ` and a line end."""


def limits(
    buffer: int, reserve: int, headers: int, place: Line | None, headers_place: Line | None
) -> tuple[Limit, ...]:
    """The size of a head that fits into a buffer, and how many header lines it may have."""
    most = buffer - reserve - _OVERHEAD
    return (
        Limit(
            name="tune.bufsize",
            measure=Measure.HEAD,
            most=most,
            status=400,
            place=place,
            slack=_SLACK,
            per_line=_PER_LINE,
        ),
        Limit(name="tune.http.maxhdr", measure=Measure.COUNT, most=headers - 1, status=400, place=headers_place),
    )


def extended_connect(server: Server) -> Iterator[Step]:
    """Over HTTP/2 an upgrade is a CONNECT with a protocol of its own (RFC 8441); HAProxy leaves the key in it."""
    upgrade = both(NOMINATES_UPGRADE, has("Upgrade"))
    yield Method(value=Text("CONNECT"), when=upgrade, place=server.place)
    yield Edit(op=Op.REMOVE, which=Named(("Connection", "Upgrade")), when=upgrade, place=server.place)
