"""What a backend of HAProxy's leads to: servers and their protocol, filters, the statistics page, error pages."""

from collections.abc import Iterator
from itertools import pairwise

from wsprobe.lb._haproxy_actions import status_of
from wsprobe.lb._haproxy_grammar import Directive
from wsprobe.lb._haproxy_proxy import Proxy, Server
from wsprobe.lb._haproxy_samples import METHOD
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    How,
    Of,
    Subject,
    Test,
    Undecided,
    both,
)
from wsprobe.lb.model import (
    Answer,
    Edit,
    Effect,
    Gate,
    Named,
    Op,
    Opaque,
    Step,
    Upstream,
)


def errors(*proxies: Proxy) -> dict[int, int | None]:
    """What is sent in place of HAProxy's own statuses; the first section that says something counts."""
    codes = {"errorloc": 302, "errorloc302": 302, "errorloc303": 303}
    found: dict[int, int | None] = {}
    for proxy in reversed(proxies):
        for line in proxy.all(*codes, "errorfile", "http-error"):
            status, page = _replaced(line)
            if (code := natural(status)) is not None:
                found[code] = codes[line.name] if line.name in codes else status_of(page, code)
    return found


def _replaced(line: Directive) -> tuple[str, str]:
    """Which status a line replaces, and by what file; empty where it names none."""
    words = [*line.words, "", ""]
    if line.name != "http-error":
        return words[1], words[2]
    pairs = {str(word): str(then) for word, then in pairwise(words)}
    return pairs.get("status", ""), pairs.get("errorfile", "")


def first(back: Proxy) -> Server | None:
    """The server that the others are like: the first that is no backup."""
    servers = back.servers()
    return next((server for server in servers if not server.has("backup")), servers[0] if servers else None)


def transparent(back: Proxy) -> bool:
    """Whether the address of the upstream comes from the connection or the request."""
    return bool(back.option("transparent") or back.option("http_proxy") or back.last("transparent"))


def protocol(server: Server) -> str:
    """What an upgrade is spoken in: `ws` decides where ALPN leaves a choice (5.2)."""
    forced, offered, choice = server.after("proto"), server.after("alpn").split(","), server.after("ws")
    tls = server.has("ssl")
    if choice == "h1":
        return "http/1.1"
    if forced == "h2" or choice == "h2" or (tls and offered == ["h2"]):
        return "h2" if tls else "h2c"
    return "client" if forced in {"", "h1"} else forced


def upstream(back: Proxy, server: Server | None) -> Upstream | None:
    """Where a backend leads; None where it has no server."""
    if server is None:
        return Upstream(protocol="client", place=back.section.place) if transparent(back) else None
    addresses = tuple(dict.fromkeys(each.address for each in back.servers() if each.address))
    spoken = protocol(server) if back.mode == "http" else "client"
    return Upstream(
        protocol="client" if spoken == "http/1.1" else spoken,
        tls=server.has("ssl"),
        addresses=addresses,
        place=server.place,
        protocol_place=server.place if spoken in {"h2", "h2c"} else None,
    )


def notes(back: Proxy) -> Iterator[str]:
    """What to know about a route to it."""
    servers = back.servers()
    if len({protocol(server) for server in servers}) > 1:
        yield "the servers are spoken to in different protocols; this is about the first"
    if back.last("use-server"):
        yield "use-server may choose another server"


def filters(front: Proxy, back: Proxy) -> Iterator[Step]:
    """Filters that may change headers; `compression offload` takes Accept-Encoding out."""
    for line in (*front.all("filter"), *(back.all("filter") if back is not front else ())):
        name = str(line.words[1]) if len(line.words) > 1 else ""
        if name.startswith("lua.") or name in {"opentracing", "opentelemetry", "fcgi-app"}:
            yield Opaque(why=f"the filter {name} is not followed", place=line.place)
    for line in (*back.all("compression"), *(front.all("compression") if back is not front else ())):
        if line.words[1:2] == ("offload",):
            value = Undecided("compression offload", "whether the answer could be compressed decides it")
            yield Edit(op=Op.SET, which=Named(("Accept-Encoding",)), value=value, place=line.place)


def statistics(proxy: Proxy) -> Iterator[Step]:
    """The statistics page answers for all that begins with its URI."""
    lines = proxy.all("stats")
    if not lines:
        return
    uri = next((line for line in reversed(lines) if line.words[1:2] == ("uri",) and len(line.words) > 2), None)
    place = uri.place if uri else lines[-1].place
    begins = Test(Of(Subject.TARGET), How.PREFIX, (str(uri.words[2]) if uri else "/haproxy?stats",))
    asked = both(begins, Test(METHOD, How.EQUALS, ("GET", "HEAD", "POST")))
    if any(line.words[1:2] in {("auth",), ("http-request",)} for line in lines):
        passes = Undecided("stats auth", "it depends on the password")
        yield Gate(
            kind="stats auth", header="Authorization", effect=Effect.READS, passes=passes, when=asked, place=place
        )
    posted = both(asked, Test(METHOD, How.EQUALS, ("POST",)))
    yield Answer(status=303, why="a command to the statistics page", when=posted, place=place)
    yield Answer(status=200, why="the statistics page", when=asked, place=place)
