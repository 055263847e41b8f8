"""The HTTP servers of a Caddy config as listeners of the model."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._caddy_context import Context, End, Report, seconds
from wsprobe.lb._caddy_map import destinations, value_in
from wsprobe.lb._caddy_match import captures, networks
from wsprobe.lb._caddy_rewrite import ESCAPED_PATH, KEPT_QUERY
from wsprobe.lb._caddy_routes import Flattened, Way
from wsprobe.lb._caddy_tree import Said, Tree
from wsprobe.lb._caddy_values import Scope, nonempty
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Cases,
    Condition,
    How,
    Join,
    Lines,
    Not,
    Of,
    OneOf,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    both,
    header,
)
from wsprobe.lb.model import (
    Answer,
    Bind,
    Edit,
    Every,
    Like,
    Limit,
    Listener,
    Measure,
    Named,
    Op,
    Retarget,
    Route,
    Step,
)

MAX_PORTS = 1000
"""How many ports of a range are listened on at most."""

_ADDRESS = re.compile(
    r"(?:(?P<network>[a-z0-9]+)/)?(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d{1,5})(?:-(?P<last>\d{1,5}))?)?\Z"
)


def listeners(config: Tree, version: tuple[int, ...], report: Report) -> Iterator[Listener]:
    """All HTTP servers, those for redirects to HTTPS last."""
    http = (config.tree("apps") or Tree(config.place)).tree("http") or Tree(config.place)
    servers = http.tree("servers") or Tree(http.place)
    scope = _scope(http)
    read: list[tuple[Tree, Listener]] = []
    for name, found in servers.marked():
        if isinstance(found, Tree):
            read.append((found, _Server(name, found, http, version, report, scope).listener()))
    yield from (listener for _, listener in read)
    yield from _redirects(read, _port(http, "http_port", 80), _port(http, "https_port", 443))


def _port(http: Tree, name: str, default: int) -> int:
    said = natural(http.text(name) or "")
    return default if said is None else said


def _scope(http: Tree) -> Scope:
    """The variables that the config sets anywhere, the groups that it catches, and whether it asks other services."""
    named: set[str] = set()
    maps: dict[str, tuple[Tree, ...]] = {}
    caught: set[str] = set()
    answers = False
    waiting: list[object] = [http]
    while waiting:
        at = waiting.pop()
        if isinstance(at, list):
            waiting += at
        elif isinstance(at, Tree):
            waiting += at.values()
            if at.text("handler") == "vars":
                named |= {name for name in at if name != "handler"}
            elif at.text("handler") == "map":
                for name in destinations(at):
                    maps[name] = (*maps.get(name, ()), at)
            caught |= {name for name, _ in captures(at)}
            answers = answers or "handle_response" in at
    made = partial(value_in, maps)
    return Scope({}, frozenset(named), frozenset(caught), answers, dict.fromkeys(maps, made))


@dataclass(frozen=True, slots=True)
class _Server:
    """One server of the app, with what all of them share."""

    name: str
    tree: Tree
    http: Tree
    version: tuple[int, ...]
    report: Report
    scope: Scope

    def listener(self) -> Listener:
        """The server as a listener with its routes."""
        binds = tuple(bind for each in self.tree.texts("listen") for bind in _binds(each))
        tls = is_tls(self.tree, self.http, binds)
        trusted = self._trusted()
        peer = Of(Subject.PEER)
        unknown = Undecided("{client_ip}", "which address of X-Forwarded-For is the client's is not known here")
        client = peer if trusted == NEVER else Cases(((Not(trusted), peer),), unknown)
        errors = tuple((self.tree.tree("errors") or Tree(self.tree.place)).trees("routes"))
        context = Context(
            version=self.version,
            report=self.report,
            tls=tls if all(bind.port for bind in binds) else None,
            trusted=trusted,
            scope=replace(self.scope, known={"http.vars.client_ip": client}),
            errors=(errors,) if errors else (),
            named_routes=self.tree.tree("named_routes"),
        )
        label = self.tree.label or ", ".join(self.tree.texts("listen")) or self.name
        flattened, way = Flattened(label), Way()
        if context.since(2, 11) and context.errors:
            answer = Answer(status=400, why=_NO_HOST)
            no_host = Way(match=[_without_host()], labels=("no Host",))
            flattened.end(no_host, End(place=self.tree.place, answer=answer, failed=400), context)
        if not flattened.run(self.tree.trees("routes"), way, context):
            flattened.rest(way, self.tree.place)
        timers = tuple(self._timers())
        return Listener(
            label=label,
            place=self.tree.place,
            binds=tuple(replace(bind, tls=each) for bind in binds for each in ({tls} if bind.port else {True, False})),
            steps=tuple(_received(context, underscores=self.tree.text("allow_underscore_in_headers") == "true")),
            routes=tuple(replace(route, timeouts=(*route.timeouts, *timers)) for route in flattened.routes),
            limits=(self._limit(),),
            otherwise=None,
        )

    def _trusted(self) -> Condition:
        found = self.tree.tree("trusted_proxies")
        if found is None:
            return NEVER
        if found.text("source") != "static":
            return Undecided("trusted_proxies", "which proxies are trusted is not in the config")
        return Test(Of(Subject.PEER), How.NETWORK, networks(found.texts("ranges")))

    def _limit(self) -> Limit:
        most = natural(self.tree.text("max_header_bytes") or "") or 0
        new = self.version >= (2, 11, 5)
        default = 16 * 1024 if new else 1024 * 1024
        # Go reads 4096 octets more than that, and Caddy has read the first 14 before, to see whether it is HTTP/2.
        return Limit(
            name="max_header_size",
            measure=Measure.HEAD,
            most=(most or default) + 4096 + (14 if new else 0),
            slack=0 if new else 16,
            status=431,
            place=self.tree.where("max_header_bytes") if most else None,
        )

    def _timers(self) -> Iterator[Timeout]:
        why = "it is over with the answer to the upgrade: what follows is not HTTP any more"
        for name in ("read_timeout", "read_header_timeout", "write_timeout", "idle_timeout"):
            said = self.tree.text(name)
            if said is not None:
                yield Timeout(
                    kind=Timer.IDLE,
                    name=f"servers {name}",
                    seconds=seconds(said) or None,
                    place=self.tree.where(name),
                    applies=False,
                    why=why,
                )


def _binds(listen: Said) -> Iterator[Bind]:
    found = _ADDRESS.match(listen)
    if not found or not found["port"]:
        yield Bind(address=found["host"].strip("[]") if found else "")
        return
    if (found["network"] or "tcp").startswith(("udp", "unix", "fd")):
        return
    first = int(found["port"])
    last = min(int(found["last"] or first), first + MAX_PORTS)
    for port in range(first, last + 1):
        yield Bind(address=found["host"].strip("[]"), port=port)


def is_tls(server: Tree, http: Tree, binds: tuple[Bind, ...]) -> bool:
    """Whether a server speaks TLS: it is told how, or Caddy gets certificates for the hosts of its routes."""
    if server.trees("tls_connection_policies"):
        return True
    automatic = server.tree("automatic_https") or Tree(server.place)
    if automatic.text("disable") == "true":
        return False
    ports = {bind.port for bind in binds}
    if ports == {_port(http, "http_port", 80)}:
        return False
    if ports == {_port(http, "https_port", 443)}:
        return True
    return bool(_domains(server))


def _domains(server: Tree) -> list[Said]:
    """The hosts that Caddy gets certificates for by itself."""
    automatic = server.tree("automatic_https") or Tree(server.place)
    skipped = set(automatic.texts("skip"))
    hosts = [host for route in server.trees("routes") for each in route.trees("match") for host in each.texts("host")]
    return [host for host in dict.fromkeys(hosts) if host not in skipped]


def _received(context: Context, *, underscores: bool) -> Iterator[Step]:
    """What Go's server does before any route is asked."""
    yield Edit(op=Op.REPLACE, which=Every(), value=Text(""), pattern=r"\A[ \t]+|[ \t]+\Z", every=True)
    hosts = Of(Subject.HEADER, "Host", lines=Lines.JOINED, separator="\n")
    old = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.0",))
    missing = both(Not(old), Not(Test(hosts, How.EXISTS)))
    malformed = OneOf((missing, Test(hosts, How.REGEX, (r"\n|[\s/\\<>\"{}|^`]",))))
    yield Answer(status=400, why="Go needs exactly one Host that is well-formed", when=malformed)
    broken = Test(Of(Subject.RAW_PATH), How.REGEX, (r"%(?![0-9A-Fa-f]{2})",))
    yield Answer(status=400, why="the path has a broken escape", when=broken)
    expects = header("Expect")
    continues = Test(expects, How.REGEX, (r"(?i)(?:\A|[ ,\t])100-continue(?:[ ,\t]|\Z)",))
    unmet = both(nonempty(expects), Not(continues))
    yield Answer(status=417, why="Go knows no other expectation than 100-continue", when=unmet)
    if context.since(2, 11) and not context.errors:
        yield Answer(status=400, why=_NO_HOST, when=_without_host())
    absolute = Test(Of(Subject.TARGET), How.REGEX, (r"\A[A-Za-z][A-Za-z0-9+.-]*://",))
    authority = Substituted(Of(Subject.TARGET), r"\A[A-Za-z][A-Za-z0-9+.-]*://([^/?]*).*\Z", r"\1")
    yield Edit(op=Op.SET, which=Named(("Host",)), value=authority, when=absolute)
    yield Retarget(value=Join((ESCAPED_PATH, KEPT_QUERY)))
    if context.since(2, 11, 4) and not underscores:
        yield Edit(op=Op.REMOVE, which=Like("_"), when=Not(_without_host()) if context.errors else ALWAYS)


_NO_HOST = "Caddy refuses a request whose Host is empty"


def _without_host() -> Condition:
    """Whether Host is empty, which HTTP/1.1 allows and Caddy does not."""
    old = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.0",))
    return both(Not(old), Not(nonempty(header("Host"))))


def _redirects(read: list[tuple[Tree, Listener]], http_port: int, https_port: int) -> Iterator[Listener]:
    """The listener that sends clients of plain HTTP to HTTPS, for hosts that Caddy gets certificates for."""
    routes = []
    for tree, listener in read:
        automatic = tree.tree("automatic_https") or Tree(tree.place)
        told = automatic.text("disable") == "true" or automatic.text("disable_redirects") == "true"
        if told or not any(bind.tls and bind.port == https_port for bind in listener.binds):
            continue
        for host in _domains(tree):
            answer = Answer(status=308, why="Caddy redirects to HTTPS by itself", place=host.place)
            routes.append(
                Route(
                    label=f"{host} over plain HTTP",
                    match=Test(Of(Subject.HOST), How.EQUALS, (host,), ignore_case=True),
                    place=host.place or tree.place,
                    sample_host=str(host),
                    steps=(answer,),
                )
            )
    taken = any(bind.port == http_port for _, listener in read for bind in listener.binds)
    if routes and not taken:
        place = routes[0].place
        otherwise = Answer(status=308, why="Caddy redirects to HTTPS by itself")
        label = f":{http_port} (redirects to HTTPS)"
        yield Listener(
            label=label, place=place, binds=(Bind(port=http_port),), routes=tuple(routes), otherwise=otherwise
        )
