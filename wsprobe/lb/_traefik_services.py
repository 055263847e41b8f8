"""Traefik's services: which servers a router leads to, how they are spoken to, and which timers there are."""

from collections.abc import Iterator
from dataclasses import field
from urllib.parse import urlsplit

from wsprobe.frozen import dataclass
from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._paths import PathForm, written
from wsprobe.lb._traefik_chain import Chain, DisabledError
from wsprobe.lb._traefik_middlewares import Scope, qualified
from wsprobe.lb._traefik_proxy import ESCAPED_PATH, Entry, with_query
from wsprobe.lb._traefik_sending import leaving
from wsprobe.lb._traefik_tree import Setting
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
_FORWARDING = ("dialTimeout", "responseHeaderTimeout", "idleConnTimeout", "readIdleTimeout", "pingTimeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of a service: its address, and what is sent to it."""

    address: str
    scheme: str
    place: Line
    path: str = ""
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

    def add(self, named: Setting, provider: str, above: tuple[str, ...]) -> None:
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
        if name in self.seen:
            return
        self.seen.add(name)
        if found:
            self._service(found, name, above)
        elif self.scope.missing(name):
            raise DisabledError(f"the service {name} does not exist", named.place)
        else:
            self.target.unsure = f"the service {name} is defined elsewhere"

    def _service(self, found: Setting, name: str, above: tuple[str, ...]) -> None:
        balancer = found.get("loadBalancer")
        if balancer is not None:
            self._balancer(balancer, name)
            return
        for kind, children in _GROUPS.items():
            group = found.get(kind)
            if group is None:
                continue
            for child in _children(group, kind, children, self.chain):
                self.add(child, name.rpartition("@")[2], (*above, name))
            return
        raise DisabledError(f"the service {name} has no servers", found.place)

    def _balancer(self, balancer: Setting, name: str) -> None:
        self.chain.unknown_fields(balancer, _BALANCER)
        self.target.place = balancer.place
        transport = _transport(balancer, name, self.scope)
        servers = balancer.words("servers")
        for each in servers:
            url = each.get("url")
            if url is None or url.unsure:
                self.target.unsure = f"the server is not known: {url.unsure}" if url else "a server has no url here"
            if url:
                self.target.servers.append(_server(each, url, balancer, transport))
        if not servers:
            why = f"the service {name} has no servers"
            self.chain.steps.append(Answer(status=503, why=why, place=balancer.place))


def _server(each: Setting, url: Setting, balancer: Setting, transport: Setting | None) -> Server:
    try:
        parts = urlsplit(url.text or "")
    except ValueError:
        raise DisabledError("the url of a server is none", url.place) from None
    address = parts.netloc.rpartition("@")[2]
    why = url.unsure or ("it is the address of a container" if each.flag("container") else "")
    return Server(
        address=address,
        scheme=parts.scheme.lower() or "http",
        place=url.place,
        path=parts.path if each.flag("preservePath") else "",
        host=Undecided("Host", why) if why else Text(address),
        passes=balancer.flag("passHostHeader", default=True),
        passes_place=(balancer.get("passHostHeader") or balancer).place,
        transport=transport,
    )


def _children(group: Setting, kind: str, children: str, chain: Chain) -> list[Setting]:
    """The services that a group leads to; those that get copies, or wait for a failure, are noted."""
    if kind in {"weighted", "highestRandomWeight"}:
        weighed = [one for one in group.words(children) if one.integer("weight") != 0]
        return [found for one in weighed if (found := one.get("name"))]
    main = group.get("service")
    if kind == "failover":
        chain.notes.append(f"failover: {group.word('fallback')} is used while {group.word('service')} is down")
    else:
        mirrors = ", ".join(one.word("name") for one in group.words(children))
        chain.notes.append(f"mirroring: {mirrors} gets copies of requests")
    return [main] if main else []


def _internal(name: str, named: Setting, chain: Chain) -> None:
    """What Traefik answers by itself."""
    answers = {"noop@internal": 418, "ping@internal": 200}
    why = f"{name} is a service of Traefik's own"
    chain.steps.append(Answer(status=answers.get(name), why=why, place=named.place))


def _transport(balancer: Setting, name: str, scope: Scope) -> Setting | None:
    named = balancer.get("serversTransport")
    if named is None or not named.text or named.unsure:
        return scope.transports.get("default@internal")
    return scope.transports.get(qualified(named.text, name.rpartition("@")[2]))


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
    hosts = list(dict.fromkeys(server.host for server in servers))
    host = hosts[0] if len(hosts) == 1 else Undecided("Host", "the servers have different names")
    passed = {server.passes for server in servers} or {True}
    if len(passed) > 1:
        host = Undecided("Host", "some of the servers get the client's, others their own")
    place = next((server.passes_place for server in servers if not server.passes), None)
    yield Retarget(value=with_query(Or(ESCAPED_PATH, Text("/"))))
    yield from joined(target)
    yield from leaving(appended=appended, host=host, passed=passed == {True}, place=place)


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
