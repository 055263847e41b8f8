"""What Go's proxy makes of every request before it sends it to a server."""

from collections.abc import Iterator

from wsprobe.lb._traefik_proxy import APART, ASKS, NO_HOST, filled, member, token
from wsprobe.lb.expressions import All, Cases, How, Not, Of, OneOf, Subject, Test, Text, Value, both, has, header
from wsprobe.lb.model import Edit, Named, Nominated, Op, Spoil, Step
from wsprobe.model import Line

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")


def leaving(*, appended: bool, host: Value, passed: bool, place: Line | None) -> Iterator[Step]:
    """What Go's proxy makes of a request before it sends it. `appended` is whether X-Forwarded-For gets the client.

    `host` is that of the upstream, which a request gets that has none, or unless the client's is `passed`.
    """
    # One that offers h2c is taken for no upgrade, whatever else it offers.
    old = Test(header("Upgrade"), How.REGEX, (member("h2c"),), ignore_case=True)
    asks = both(ASKS, Not(old))
    odd = both(asks, Not(Test(header("Upgrade"), How.EQUALS, ("websocket",), ignore_case=True)))
    why = "the upstream switches to another protocol than Upgrade says"
    yield Spoil(status=500, why=why, when=odd)
    yield Edit(op=Op.REMOVE, which=Nominated(but=(*APART, "Upgrade", "Connection", "Te", *_FORWARDED)))
    gone = ("Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Trailer")
    yield Edit(op=Op.REMOVE, which=Named(gone))
    yield Edit(op=Op.SET, which=Named(("Te",)), value=Cases(((token("Te", "trailers"), Text("trailers")),)))
    yield Edit(op=Op.FIRST, which=Named(("Upgrade",)), when=asks)
    yield Edit(op=Op.REMOVE, which=Named(("Upgrade",)), when=Not(asks))
    yield Edit(op=Op.SET, which=Named(("Connection",)), value=Cases(((asks, Text("Upgrade")),)))
    if appended:
        yield Edit(op=Op.JOIN, which=Named(("X-Forwarded-For",)))
        yield Edit(op=Op.APPEND, which=Named(("X-Forwarded-For",)), value=Of(Subject.PEER))
    if passed:
        yield Edit(op=Op.SET, which=Named(("Host",)), value=host, when=Not(filled("Host")))
    else:
        yield Edit(op=Op.SET, which=Named(("Host",)), value=host, place=place)
    yield Edit(op=Op.SET, which=Named(("Host",)), value=Text(""), when=Test(header("Host"), How.REGEX, (NO_HOST,)))
    yield from _sent()


def _sent() -> Iterator[Step]:
    """What Go's client writes of it."""
    yield Edit(op=Op.FIRST, which=Named(("User-Agent",)))
    yield Edit(op=Op.REMOVE, which=Named(("User-Agent",)), when=Not(filled("User-Agent")))
    without = Not(OneOf((filled("Accept-Encoding"), filled("Range"), Test(Of(Subject.METHOD), How.EQUALS, ("HEAD",)))))
    yield Edit(op=Op.ADD, which=Named(("Accept-Encoding",)), value=Text("gzip"), when=without)
    writes = Test(Of(Subject.METHOD), How.EQUALS, ("POST", "PUT", "PATCH"))
    empty = OneOf((Not(has("Content-Length")), Test(header("Content-Length"), How.EQUALS, ("0",))))
    body = Not(has("Transfer-Encoding"))
    nothing = All((empty, body))
    yield Edit(op=Op.SET, which=Named(("Content-Length",)), value=Text("0"), when=both(nothing, writes))
    yield Edit(op=Op.REMOVE, which=Named(("Content-Length",)), when=both(nothing, Not(writes)))
