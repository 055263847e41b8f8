"""The settings that are in force for a request: of its server, and of the sections that it is in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from wsprobe.inspection import Timeout, Timer
from wsprobe.lb import _apache_headers as headers
from wsprobe.lb import _apache_workers as proxy
from wsprobe.lb._apache_grammar import Node, Parsed, undefined
from wsprobe.lb._apache_out import WayOut, handled, upgradable
from wsprobe.lb._apache_rules import Rewriting
from wsprobe.lb._apache_servers import Server
from wsprobe.lb._apache_values import ARGS, all_of, either, env
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Captured,
    Cases,
    Condition,
    How,
    Join,
    Not,
    Of,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
)
from wsprobe.lb.model import Edit, Named, Op
from wsprobe.model import Line

ENDS = "FIN on both sides, no close frame"


_ANY = "any traffic"
_TIMEOUT = 60.0  # compiled in; the config that Debian ships writes 300


Layers = list[tuple[Condition, list[Node]]]


@dataclass(slots=True, kw_only=True)
class Context:
    """What the routes of a server need to know."""

    server: Server
    guard: Condition
    port: int | None
    address: str
    parsed: Parsed
    rules: Rewriting = field(default_factory=Rewriting)

    @property
    def root(self) -> str | None:
        """Its DocumentRoot, where the config tells it."""
        node = self.server.last("documentroot")
        return node.first if node and not undefined(node.first) else None

    @property
    def query(self) -> Value:
        """The query, as rules may have changed it."""
        return ARGS if self.rules.on and self.rules.rules else Of(Subject.QUERY)


def switch(layers: Layers, name: str, *, on: bool) -> Condition:
    """When a setting is on that sections may switch; the last one that applies counts."""
    held: Condition = ALWAYS if on else NEVER
    for when, nodes in layers:
        node = next((each for each in reversed(nodes) if each.name == name), None)
        if node:
            held = either(when, ALWAYS if node.first.lower() == "on" else NEVER, held)
    return held


_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def error_status(at: Context, status: int | None, layers: Layers | None = None) -> int | None:
    """What a client gets for an error: an ErrorDocument that is a URL sends it there, but not in place of a 401."""
    own = [(ALWAYS, node) for node in at.server.all("errordocument")]
    inside = [(when, node) for when, nodes in layers or () for node in nodes if node.name == "errordocument"]
    told = status
    for when, node in (*own, *inside):
        if len(node.args) > 1 and node.first == str(status) != "401":
            here = 302 if _ELSEWHERE.match(node.args[1]) else status
            told = here if when == ALWAYS or here == told else None
    return told


def way_out(at: Context, layers: Layers, choice: proxy.Choice, scheme: str, host: Value) -> WayOut:
    """How a request leaves for an upstream."""
    server = at.server
    via, fallback = server.last("proxyvia"), server.last("proxywebsocketfallbacktoproxyhttp")
    said = via.first.lower() if via else "off"
    handler = handled(scheme, at.parsed, fallback=not fallback or fallback.first.lower() != "off")
    worker = choice[-1][1]
    kept = proxy.over(choice, lambda each: ALWAYS if each and each.reused else NEVER)
    old, sometimes_old = _old_protocol(layers, at)
    peer: Value = Of(Subject.PEER)
    if remote := server.last("remoteipheader"):
        peer = Undecided(remote.text, "RemoteIPHeader takes it from a header that it trusts")
    return WayOut(
        handler=handler,
        host=host,
        secure=scheme in {"https", "wss"},
        upgrade=proxy.over(choice, lambda each: upgradable(each, scheme, at.parsed, handler)),
        token=worker.settings.get("upgrade", "WebSocket") if worker else "WebSocket",
        server_name=_server_name(at),
        via=_via(at, full=said == "full") if said in {"on", "full"} else None,
        via_removed=said == "block",
        via_place=via.place if via else None,
        preserve_host=switch(layers, "proxypreservehost", on=False),
        host_place=_place(layers, "proxypreservehost"),
        forwarded=switch(layers, "proxyaddheaders", on=True),
        tls_engine=switch(layers, "sslproxyengine", on=False),
        kept_alive=all_of(kept, Not(Test(env("proxy-nokeepalive"), How.EXISTS))),
        old_protocol=old,
        sometimes_old=sometimes_old,
        peer=peer,
    )


def _place(layers: Layers, name: str) -> Line | None:
    """Where a setting is written that is off by default, and is switched off."""
    found = [node.place for _, nodes in layers for node in nodes if node.name == name and node.first.lower() == "off"]
    return found[-1] if found else None


_OLD = "force-proxy-request-1.0"
_SET_OLD = {"setenv", "setenvif", "setenvifnocase", "setenvifexpr", "browsermatch", "browsermatchnocase"}


def _old_protocol(layers: Layers, at: Context) -> tuple[Line | None, Line | None]:
    """The line that has the upstream spoken to in HTTP/1.0: for all requests, or for some."""
    everywhere = [(ALWAYS, node) for node in at.server.all(*_SET_OLD - {"setenv"})]
    inside = [(when, node) for when, nodes in layers for node in nodes if node.name in _SET_OLD]
    found = [each for each in (*everywhere, *inside) if any(arg.partition("=")[0] == _OLD for arg in each[1].args)]
    always = next((node.place for when, node in found if when == ALWAYS and node.name == "setenv"), None)
    return always, found[0][1].place if found and not always else None


def _server_name(at: Context) -> Value:
    own = at.server.own_name
    if not own and at.server.main and at.address == "*":
        own = at.server.main.own_name
    if not own:
        return Undecided("ServerName", "there is no ServerName: it is the name that the machine gives itself")
    if undefined(own):
        return headers.literal(own)
    host = own.rpartition("://")[2]
    bare, colon, port = host.rpartition(":")
    return Text(bare if colon and port.isdigit() else host)


def server_port(at: Context) -> Value:
    """What %{SERVER_PORT} says: the port of Host, else that of ServerName, else the usual one, not the one it is."""
    own = at.server.own_name.rpartition(":")[2]
    canonical = at.server.last("usecanonicalname")
    if undefined(own) or (canonical and canonical.first.lower() != "off") or at.server.last("usecanonicalphysicalport"):
        return Undecided("SERVER_PORT", "ServerName, UseCanonicalName and UseCanonicalPhysicalPort decide it")
    port = Captured(Of(Subject.HEADER, "Host", original=True), r":(\d+)$", "1")
    by_scheme = Cases(((Test(Of(Subject.SCHEME), How.EQUALS, ("https",)), Text("443")),), Text("80"))
    given = own if own.isdigit() else "" if at.server.own_name else str(at.port or "")
    return Cases(((Test(port, How.EXISTS), port),), Text(given) if given else by_scheme)


def _via(at: Context, *, full: bool) -> Value:
    """The member of Via: with the port of Host, or of ServerName, unless it is 80."""
    own = at.server.own_name.rpartition(":")[2]
    given = own if own.isdigit() else "" if at.server.own_name else str(at.port or "")
    fallback = Text(f":{given}" if given not in {"", "80"} else "")
    port = Captured(Of(Subject.HEADER, "Host", original=True), r":(\d+)$", "1")
    default = Test(port, How.EQUALS, ("80",))
    shown = Cases(((default, Text("")), (Test(port, How.EXISTS), Join((Text(":"), port)))), fallback)
    product: Value = Text("")
    if full:
        product = Undecided("ProxyVia Full", "how the server names itself depends on ServerTokens and its version")
    return Join((Text("1.1 "), _server_name(at), shown, product))


_OF_RESPONSE = {"set": Op.SET, "unset": Op.REMOVE, "append": Op.APPEND, "add": Op.ADD, "merge": Op.APPEND}


def response(layers: Layers) -> Iterator[Edit]:
    """The Header directives; on a 101 Apache ignores them all."""
    headed = ((when, node) for when, nodes in layers for node in nodes if node.name == "header")
    for when, node in headed:
        args = [arg for arg in node.args if arg.lower() not in {"always", "onsuccess"}]
        if len(args) > 1 and args[0].lower() in _OF_RESPONSE:
            yield Edit(
                op=_OF_RESPONSE[args[0].lower()],
                which=Named((args[1].rstrip(":"),)),
                value=headers.literal(args[2]) if len(args) > 2 else None,
                when=when,
                place=node.place,
                effective=False,
            )


def timeouts(at: Context, worker: proxy.Worker | None, handler: str) -> list[Timeout]:
    """All timers, those that do nothing to a tunnel too."""
    general, for_proxy = at.server.last("timeout"), at.server.last("proxytimeout")
    idle = _seconds(general.first) if general else _TIMEOUT
    place = general.place if general else None
    made = [Timeout(kind=Timer.IDLE, name="Timeout", seconds=idle, place=place, resets_on=_ANY, ends=ENDS)]
    if handler == "wstunnel":
        made = [replace(made[0], applies=False, why="nothing ends a tunnel of mod_proxy_wstunnel", ends="")]
    wait, name, where = idle, "Timeout", place
    if for_proxy:
        wait, name, where = _seconds(for_proxy.first), "ProxyTimeout", for_proxy.place
        made.append(_idle_without_effect("ProxyTimeout", wait, for_proxy.place))
    if worker and "timeout" in worker.settings:
        wait, name, where = _seconds(worker.settings["timeout"]), "timeout=", worker.place
        made.append(_idle_without_effect("timeout=", wait, worker.place))
    others = (at.server.last(other) for other in ("keepalivetimeout", "requestreadtimeout"))
    made += [_idle_without_effect(node.written, _seconds(node.first), node.place) for node in others if node]
    made.append(Timeout(kind=Timer.HANDSHAKE, name=name, seconds=wait, place=where, ends="502 to the client"))
    return made


def _idle_without_effect(name: str, seconds: float | None, place: Line) -> Timeout:
    why = "it does not apply once the connection is upgraded: only Timeout does"
    return Timeout(kind=Timer.IDLE, name=name, seconds=seconds, place=place, applies=False, why=why)


_UNITS = {"ms": 0.001, "s": 1.0, "mi": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}


def _seconds(text: str) -> float | None:
    found = re.fullmatch(r"(\d{1,18})\s*(ms|s|min|mi|h)?", text.strip(), re.IGNORECASE)
    return int(found[1]) * _UNITS[(found[2] or "").lower()] if found else None


def sample_host(at: Context) -> str | None:
    """A Host that finds the server, where there is a choice."""
    names = [name for name in at.server.hosts if not undefined(name)]
    return re.sub(r"[*?]", "x", names[0]) if names and at.guard != ALWAYS else None
