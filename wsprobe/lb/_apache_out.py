"""What mod_proxy does to every request on its way out: hop-by-hop headers, Host, X-Forwarded-*, Upgrade, Connection."""

import re
from dataclasses import dataclass

from wsprobe.lb._apache_grammar import Parsed, undefined
from wsprobe.lb._apache_preprocess import has
from wsprobe.lb._apache_values import all_of, env
from wsprobe.lb._apache_workers import PLAIN, Worker, url_parts
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
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
from wsprobe.lb.model import Answer, Edit, Named, Nominated, Op, Opaque, Retarget, Spoil, Step
from wsprobe.model import Line

_OTHER = {"ajp", "fcgi", "scgi", "uwsgi", "ftp", "fdpass", "h2", "h2c"}
_HOP_BY_HOP = ("Connection", "Proxy-Connection", "Keep-Alive", "TE", "Trailer")
_COUNTED = Of(Subject.HEADER, "Max-Forwards")
_UPGRADE = Of(Subject.HEADER, "Upgrade")


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """What decides how a request leaves: the upstream, and settings of the server and of the sections that it is in.

    `handler` is the module that takes it, `upgrade` whether the Upgrade is passed on, `token` the protocol that
    mod_proxy_wstunnel asks for. `via` is what is added to Via, and `via_removed` that the whole is taken out.
    """

    handler: str
    host: Value
    secure: bool
    upgrade: Condition
    token: str
    server_name: Value
    via: Value | None
    via_removed: bool
    via_place: Line | None
    preserve_host: Condition
    host_place: Line | None
    forwarded: Condition
    tls_engine: Condition
    kept_alive: Condition
    old_protocol: Line | None
    sometimes_old: Line | None
    peer: Value


def handled(scheme: str, parsed: Parsed, *, fallback: bool) -> str:
    """Which module takes the request: http, wstunnel, other, or none where it is not loaded."""
    if scheme in {"http", "https"}:
        return "http" if has(parsed, "proxy_http") else ""
    if scheme in {"ws", "wss"}:
        tunnel, http = has(parsed, "proxy_wstunnel"), has(parsed, "proxy_http")
        if http and parsed.version >= (2, 4, 47) and (fallback or not tunnel):
            return "http"
        return "wstunnel" if tunnel else ""
    return "other" if scheme in _OTHER else ""


def upgradable(worker: Worker | None, scheme: str, parsed: Parsed, handler: str) -> Condition:
    """Whether the Upgrade of a request is passed on."""
    wanted = worker.settings.get("upgrade", "") if worker else ""
    if parsed.version < (2, 4, 47) and scheme in {"http", "https"}:
        return NEVER
    if not wanted and scheme in {"ws", "wss"}:
        wanted = "WebSocket"
    if not wanted or wanted.upper() == "NONE" or handler not in {"http", "wstunnel"}:
        return NEVER
    if wanted.upper() == "ANY":
        return ALWAYS if handler == "wstunnel" else Test(_UPGRADE, How.EXISTS)
    # Of a list Apache compares as much of the header as each name is long, but all of it with what ws:// implies.
    if handler == "http" and worker and worker.settings.get("upgrade"):
        return Test(_UPGRADE, How.PREFIX, tuple(filter(None, re.split(r"[,\s]+", wanted))), ignore_case=True)
    return Test(_UPGRADE, How.EQUALS, (wanted,), ignore_case=True)


def steps(way: WayOut) -> list[Step]:
    """The steps from the request as the directives leave it to the one that travels on."""
    made: list[Step] = [*_refused(way), *_stripped(way), *_forwarded(way)]
    if way.preserve_host != ALWAYS:
        when = unless(way.preserve_host)
        made.append(Edit(op=Op.SET, which=Named(("Host",)), value=way.host, when=when, place=way.host_place))
    if way.preserve_host != NEVER:
        which, when = Named(("Host",)), way.preserve_host
        made.append(Edit(op=Op.FIRST, which=which, when=when))
        missing = all_of(when, Not(Test(Of(Subject.HEADER, "Host"), How.EXISTS)))
        made.append(Edit(op=Op.DEFAULT, which=which, value=way.server_name, when=missing))
    if way.old_protocol:
        return [*made, Edit(op=Op.REMOVE, which=Named(("Upgrade",)), place=way.old_protocol)]
    if way.handler == "wstunnel":
        token = Text("*" if way.token.upper() == "ANY" else way.token)
        return [
            *made,
            Edit(op=Op.SET, which=Named(("Upgrade",)), value=token),
            Edit(op=Op.SET, which=Named(("Connection",)), value=Text("Upgrade")),
        ]
    return [*made, *_upgraded(way), *_sometimes_old(way)]


def _sometimes_old(way: WayOut) -> list[Step]:
    """What is known of a request that a line may send on in HTTP/1.0, which is known of a whole route only."""
    if not way.sometimes_old:
        return []
    why = "force-proxy-request-1.0 is set for some requests, and what those become is not followed"
    when = Test(env("force-proxy-request-1.0"), How.EXISTS)
    changed = Retarget(value=Undecided("HTTP/1.0", why), when=when, place=way.sometimes_old)
    return [changed, Opaque(why=why, when=when, place=way.sometimes_old)]


def unless(condition: Condition) -> Condition:
    """Whether a condition does not hold, in its shortest form."""
    if condition in {ALWAYS, NEVER}:
        return NEVER if condition == ALWAYS else ALWAYS
    return Not(condition)


def _upgraded(way: WayOut) -> list[Step]:
    passed = Test(_UPGRADE, How.EXISTS)
    several = Test(_UPGRADE, How.CONTAINS, (",",))
    which = Named(("Upgrade",))
    made: list[Step] = [Edit(op=Op.REMOVE, which=which, when=unless(way.upgrade)), Edit(op=Op.FIRST, which=which)]
    for when, value in (
        (passed, "Upgrade"),
        (all_of(Not(passed), way.kept_alive), "Keep-Alive"),
        (all_of(Not(passed), unless(way.kept_alive)), "close"),
    ):
        if when != NEVER:
            made.append(Edit(op=Op.SET, which=Named(("Connection",)), value=Text(value), when=when))
    spoilt = Spoil(status=502, why="the 101 does not name all protocols that Upgrade names", when=several)
    return [*made, spoilt]


def counted() -> Answer:
    """The answer to a request whose Max-Forwards is used up."""
    bad = Not(Test(_COUNTED, How.REGEX, (r"^\s*\+?0*[1-9]\d*$",)))
    when = all_of(Test(_COUNTED, How.EXISTS), bad)
    return Answer(status=400, why="Max-Forwards is not above 0", when=when)


def _refused(way: WayOut) -> list[Step]:
    """What Apache answers by itself when it is about to pass a request on."""
    made: list[Step] = []
    if not way.handler:
        made.append(Answer(status=500, why="no module that is loaded speaks the protocol of the URL"))
    if way.handler == "wstunnel" and way.upgrade != ALWAYS:
        made.append(Answer(status=426, why="mod_proxy_wstunnel takes upgrades only", when=unless(way.upgrade)))
    if way.secure and way.tls_engine != ALWAYS:
        why = "SSLProxyEngine is off: no TLS to the upstream"
        made.append(Answer(status=500, why=why, when=unless(way.tls_engine)))
    return made


def _stripped(way: WayOut) -> list[Step]:
    counted = Undecided("Max-Forwards", "it is counted down by one")
    made: list[Step] = [
        Edit(op=Op.SET, which=Named(("Max-Forwards",)), value=counted, when=Test(_COUNTED, How.EXISTS)),
        Edit(op=Op.REMOVE, which=Nominated(but=("upgrade", "host", "close", "keep-alive"))),
        Edit(op=Op.REMOVE, which=Named(_HOP_BY_HOP)),
    ]
    if way.via_removed:
        made.append(Edit(op=Op.REMOVE, which=Named(("Via",)), place=way.via_place))
    elif way.via is not None:
        made.append(Edit(op=Op.APPEND, which=Named(("Via",)), value=way.via, to_first=True, place=way.via_place))
    return made


def _forwarded(way: WayOut) -> list[Step]:
    if way.forwarded == NEVER:
        return []
    values = {
        "X-Forwarded-For": way.peer,
        "X-Forwarded-Host": Of(Subject.HEADER, "Host"),
        "X-Forwarded-Server": way.server_name,
    }
    return [
        Edit(op=Op.APPEND, which=Named((name,)), value=value, to_first=True, when=way.forwarded)
        for name, value in values.items()
    ]


def host_of(url: str) -> Value:
    """The Host that the upstream gets where the client's is not kept."""
    if name := undefined(url):
        return Undecided(url, f"${{{name}}} is not defined in the config")
    scheme, host, _ = url_parts(url)
    name, colon, port = host.rpartition("@")[2].rpartition(":")
    return Text(name if colon and port == PLAIN.get(scheme) else host.rpartition("@")[2])


def with_query(path: Value, query: Value) -> Value:
    """A request target of a path and a query that may be missing."""
    mark = Cases(((Test(query, How.EXISTS), Text("?")),), Text(""))
    return Join((path, mark, query))
