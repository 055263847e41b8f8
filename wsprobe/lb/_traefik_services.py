"""Traefik's services: which servers a router leads to, how they are spoken to, and which timers there are."""

from collections.abc import Iterator
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._paths import PathForm, written
from wsprobe.lb._traefik_chain import Chain, DisabledError
from wsprobe.lb._traefik_middlewares import Scope, qualified
from wsprobe.lb._traefik_proxy import ESCAPED_PATH, Entry, with_query
from wsprobe.lb._traefik_sending import leaving
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb._traefik_url import Url, UrlError, parsed
from wsprobe.lb.expressions import ALWAYS, Join, Or, Substituted, Text, Undecided, Value
from wsprobe.lb.model import Answer, Retarget, Step, Upstream
from wsprobe.parts import Line

MAX_NESTED = 50
"""How deep services may consist of services."""

_BALANCER = (
    "servers",
    "server",
    "sticky",
    "healthCheck",
    "passiveHealthCheck",
    "passHostHeader",
    "responseForwarding",
    "serversTransport",
    "strategy",
)
_GROUPS = {"weighted": "services", "highestRandomWeight": "services", "mirroring": "mirrors", "failover": ""}
_STRATEGIES = frozenset({"", "wrr", "p2c", "hrw", "leasttime"})
_FORWARDING = ("dialTimeout", "responseHeaderTimeout", "idleConnTimeout", "readIdleTimeout", "pingTimeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of a service: its address, and what is sent to it."""

    address: str
    scheme: str
    place: Line
    path: str = ""
    spoken: bool = True
    host: Value
    passes: bool
    passes_place: Line
    transport: Setting | None = None


@dataclass(slots=True)
class Target:
    """Where a router leads."""

    servers: list[Server] = field(default_factory=list)
    unsure: str = ""
    place: Line | None = None


def resolved(named: Setting, provider: str, scope: Scope, chain: Chain) -> Target:
    """The servers of a service; DisabledError where it cannot be built."""
    resolving = _Resolving(scope, chain, Target(place=named.place))
    resolving.add(named, provider, ())
    return resolving.target


@dataclass(frozen=True, slots=True)
class _Resolving:
    """Follows services to their servers."""

    scope: Scope
    chain: Chain
    target: Target
    seen: set[str] = field(default_factory=set)

    def add(self, named: Setting, provider: str, above: tuple[str, ...], watcher: str = "") -> None:
        """Follows one service; `watcher` is the one above that needs to be told whether it is healthy."""
        name = qualified(named.text or "", provider)
        if named.unsure:
            self.target.unsure = f"the service is not known: {named.unsure}"
            return
        if name in above or len(above) > MAX_NESTED:
            raise DisabledError(f"the service {name} contains itself", named.place)
        if name.endswith("@internal"):
            _internal(name, named, self.chain)
            return
        found = self.scope.services.get(name)
        if found and watcher and not any(kind.get("healthCheck") for kind in found.fields.values()):
            raise DisabledError(f"{watcher} needs a healthCheck of the service {name}, which has none", named.place)
        if name in self.seen:
            return
        self.seen.add(name)
        if found:
            self._service(found, name, above, watcher)
        elif self.scope.missing(name):
            raise DisabledError(f"the service {name} does not exist", named.place)
        else:
            self.target.unsure = f"the service {name} is defined elsewhere"

    def _service(self, found: Setting, name: str, above: tuple[str, ...], watcher: str) -> None:
        balancer = found.get("loadBalancer")
        if balancer is not None:
            self._balancer(balancer, name)
            return
        kind = next((kind for kind in _GROUPS if found.get(kind)), "")
        group = found.get(kind)
        if group is None:
            raise DisabledError(f"the service {name} has no servers", found.place)
        self._group(kind, group, name, above, watcher)

    def _group(self, kind: str, group: Setting, name: str, above: tuple[str, ...], watcher: str) -> None:
        taken, others = _children(group, kind, _GROUPS[kind], self.chain)
        provider = name.rpartition("@")[2]
        checked = group.get("healthCheck") is not None
        # A mirroring is as healthy as its service, and asks it only when it is asked. A failover that does not go by
        # the statuses of answers has to be told when its service is down.
        asks = {"mirroring": bool(watcher), "failover": checked or not group.get("errors")}.get(kind, checked)
        for child in taken:
            self.add(child, provider, (*above, name), name if asks else "")
        aside = replace(self, chain=Chain(), target=Target(), seen=set())
        for child in others:
            aside.add(child, provider, (*above, name), name if checked and kind != "mirroring" else "")
        if not taken:
            self._none_left(name, group)

    def _none_left(self, name: str, place: Setting) -> None:
        why = f"the service {name} has no servers"
        self.chain.steps.append(Answer(status=503, why=why, place=place.place))

    def _balancer(self, balancer: Setting, name: str) -> None:
        self.chain.unknown_fields(balancer, _BALANCER)
        self.target.place = balancer.place
        transport = _transport(balancer, name, self.scope)
        strategy = balancer.get("strategy")
        if strategy and not strategy.unsure and strategy.text not in _STRATEGIES:
            raise DisabledError(f"{strategy.text} is no strategy of Traefik's", strategy.place)
        servers = balancer.words("servers")
        if balancer.word("strategy") != "p2c":  # which knows no weights
            servers = _weighed(servers)
        for each in servers:
            url = each.get("url")
            if url is None or url.unsure:
                self.target.unsure = f"the server is not known: {url.unsure}" if url else "a server has no url here"
            if url:
                self.target.servers.append(_server(each, url, balancer, transport))
        if not servers:
            self._none_left(name, balancer)


def _server(each: Setting, url: Setting, balancer: Setting, transport: Setting | None) -> Server:
    read = _url(url)
    why = url.unsure or ("it is the address of a container" if each.flag("container") else "")
    return Server(
        address=read.address,
        scheme=read.scheme or "http",
        place=url.place,
        path=read.path if each.flag("preservePath") else "",
        spoken=read.spoken or bool(url.unsure),
        host=Undecided("Host", why) if why else Text(read.address),
        passes=balancer.flag("passHostHeader", default=True),
        passes_place=(balancer.get("passHostHeader") or balancer).place,
        transport=transport,
    )


def _url(setting: Setting) -> Url:
    text = setting.text or ""
    try:
        return parsed(text)
    except UrlError as error:
        if setting.unsure:
            return Url("http", text.rpartition("//")[2].partition("/")[0], "")
        raise DisabledError(f"the url of a server is refused: {error}", setting.place) from None


def _weighed(found: list[Setting]) -> list[Setting]:
    """Those that get any requests: a weight that is not positive takes one out."""
    return [one for one in found if (weight := one.integer("weight")) is None or weight > 0]


def _children(group: Setting, kind: str, children: str, chain: Chain) -> tuple[list[Setting], list[Setting]]:
    """The services that a group leads to, and the others that it names: those that get copies, or wait for a failure.

    DisabledError where one that it needs is not named.
    """
    if kind in {"weighted", "highestRandomWeight"}:
        every, weighed = group.words(children), _weighed(group.words(children))
        return _names(weighed), _names([one for one in every if one not in weighed])
    for needed in ("service", "fallback") if kind == "failover" else ("service",):
        if not (group.get(needed) or group).text:
            raise DisabledError(f"{kind} has no {needed}", group.place)
    main = [each for each in (group.get("service"),) if each]
    if kind == "failover":
        chain.notes.append(f"failover: {group.word('fallback')} is used while {group.word('service')} is down")
        return main, [each for each in (group.get("fallback"),) if each]
    mirrors = ", ".join(one.word("name") for one in group.words(children))
    chain.notes.append(f"mirroring: {mirrors} gets copies of requests")
    return main, _names(group.words(children))


def _names(found: list[Setting]) -> list[Setting]:
    return [name for one in found if (name := one.get("name"))]


def _internal(name: str, named: Setting, chain: Chain) -> None:
    """What Traefik answers by itself."""
    answers = {"noop@internal": 418, "ping@internal": 200}
    why = f"{name} is a service of Traefik's own"
    chain.steps.append(Answer(status=answers.get(name), why=why, place=named.place))


def _transport(balancer: Setting, name: str, scope: Scope) -> Setting | None:
    named = balancer.get("serversTransport")
    if named is None or not named.text or named.unsure:
        return scope.transports.get("default@internal")
    wanted = qualified(named.text, name.rpartition("@")[2])
    found = scope.transports.get(wanted)
    if found is None and scope.missing(wanted) and wanted != "default@internal":
        raise DisabledError(f"the serversTransport {wanted} does not exist", named.place)
    return found


# What a route is made of.


def upstream(target: Target) -> Upstream | None:
    """Where a route leads."""
    servers = target.servers
    if not servers or target.place is None:
        return Upstream(protocol="http/1.1", place=target.place) if target.unsure else None
    return Upstream(
        protocol="http/1.1",
        tls=all(server.scheme == "https" for server in servers),
        addresses=tuple(dict.fromkeys(server.address for server in servers)),
        place=servers[0].place,
        protocol_place=servers[0].place,
    )


def sent(target: Target, *, appended: bool) -> Iterator[Step]:
    """The last steps of a route: what is sent to its servers, and under which name."""
    servers = target.servers
    yield from _unspoken(servers)
    hosts = list(dict.fromkeys(server.host for server in servers))
    host = hosts[0] if len(hosts) == 1 else Undecided("Host", "the servers have different names")
    passed = {server.passes for server in servers} or {True}
    if len(passed) > 1:
        host = Undecided("Host", "some of the servers get the client's, others their own")
    place = next((server.passes_place for server in servers if not server.passes), None)
    yield Retarget(value=with_query(Or(ESCAPED_PATH, Text("/"))))
    yield from joined(target)
    yield from leaving(appended=appended, host=host, passed=passed == {True}, place=place)


def _unspoken(servers: list[Server]) -> Iterator[Answer]:
    """The answer in place of a server that Traefik cannot call."""
    found = [server for server in servers if not server.spoken]
    if not found:
        return
    some = Undecided("servers", "Traefik can call only some of the servers")
    why = "Traefik calls a server by http, https or h2c, also for a WebSocket"
    yield Answer(status=500, why=why, when=ALWAYS if found == servers else some, place=found[0].place)


def joined(target: Target) -> Iterator[Retarget]:
    """The path of the server's URL before that of the request, where it is kept."""
    found = list(dict.fromkeys((server.path, server.place) for server in target.servers))
    if len(found) > 1 and len({path for path, _ in found}) > 1:
        unsure = Undecided("preservePath", "the servers have different paths")
        yield Retarget(value=unsure, when=ALWAYS, place=found[0][1])
    elif found and found[0][0].strip("/"):
        path = written(PathForm.QUOTED, found[0][0].rstrip("/"))
        rooted = Substituted(Substituted(ESCAPED_PATH, r"\A\*\Z", "%2A"), r"\A/?", "/")
        yield Retarget(value=with_query(Join((Text(path), rooted))), place=found[0][1])


def timeouts(target: Target, entry: Entry) -> tuple[Timeout, ...]:
    """All timers that look as if they could end a WebSocket. None does."""
    transport = next((server.transport for server in target.servers if server.transport), None)
    return (*_forwarding(transport), *_responding(entry))


def _forwarding(transport: Setting | None) -> Iterator[Timeout]:
    found = transport.get("forwardingTimeouts") if transport else None
    defaults: dict[str, float | None] = {"dialTimeout": 30, "responseHeaderTimeout": None, "idleConnTimeout": 90}
    handshake = {"dialTimeout", "responseHeaderTimeout"}
    for name in _FORWARDING:
        written_at = found.get(name) if found else None
        if written_at is None and name not in defaults:
            continue
        seconds = found.seconds(name) if found and written_at else defaults[name]
        applies = name in handshake
        yield Timeout(
            kind=Timer.HANDSHAKE if applies else Timer.IDLE,
            name=name,
            seconds=seconds or None,
            place=written_at.place if written_at else None,
            resets_on="nothing" if applies else "",
            applies=applies,
            why="" if applies else "it is about connections that no request uses, not about a WebSocket",
            ends="the client gets 504" if applies else "",
        )


def _responding(entry: Entry) -> Iterator[Timeout]:
    base = ("transport", "respondingTimeouts")
    for name, default in {"readTimeout": 60.0, "writeTimeout": None, "idleTimeout": 180.0}.items():
        found = entry.option(*base, name)
        seconds = entry.setting.seconds(*base, name) if found and entry.setting else default
        yield Timeout(
            kind=Timer.IDLE,
            name=f"respondingTimeouts.{name}",
            seconds=seconds or None,
            place=found.place if found else None,
            applies=False,
            why="Traefik gives up its timers with the 101: none of them ends a WebSocket",
        )
