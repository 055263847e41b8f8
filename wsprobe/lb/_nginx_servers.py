"""Which server block gets a request: the address that it comes in on, then the names, in nginx's order."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_head import refused
from wsprobe.lb._nginx_maps import captures
from wsprobe.lb._nginx_routes import Server
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_values import HOST, TEXT_EMPTY
from wsprobe.lb.expressions import ALWAYS, Condition, How, Not, OneOf, Or, Test, both
from wsprobe.lb.model import Assign, Bind, Listener, Route, Step
from wsprobe.parts import Line
from wsprobe.patterns import lazy

_PORT = lazy(r"(?:(?P<host>\[[^\]]*\]|[^:\[\]]*):)?(?P<port>\d{1,5})(?:-(?P<last>\d{1,5}))?\Z")
_MAX_PORTS = 1000
_ANY = frozenset({"*", "0.0.0.0", ""})  # noqa: S104  an address to compare with, not to listen on
_HOST = Or(HOST, TEXT_EMPTY)


@dataclass(frozen=True, slots=True)
class Socket:
    """An address that a server listens on."""

    address: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Listen:
    """One address of one server, and what stands behind it."""

    socket: Socket
    tls: bool
    default: bool
    directive: Directive | None


def listeners(servers: list[Server]) -> Iterator[Listener]:
    """One listener for each set of servers that share addresses."""
    sockets: dict[Socket, list[tuple[Server, Listen]]] = {}
    for server in servers:
        for listen in listens(server.scope):
            sockets.setdefault(listen.socket, []).append((server, listen))
    groups: dict[tuple[int, ...], list[Socket]] = {}
    for socket, found in sockets.items():
        default = next((index for index, (_, listen) in enumerate(found) if listen.default), 0)
        key = (default, *dict.fromkeys(id(server) for server, _ in found))
        groups.setdefault(key, []).append(socket)
    for (default, *_), group in groups.items():
        for server, _ in sockets[group[0]]:
            server.default = server.default or sockets[group[0]][default][0].scope
    routes = {id(server): list(server.routes()) for server in servers}
    for (default, *_), group in groups.items():
        found = sockets[group[0]]
        chosen = list({id(server): server for server, _ in found}.values())
        binds = [
            Bind(address=each.address, port=each.port, tls=any(listen.tls for _, listen in sockets[each]))
            for each in group
        ]
        server, listen = found[default]
        written = listen.directive or server.scope.directive
        yield _listener(chosen, server, binds, written.place if written else server.scope.place, routes)


def fragment(server: Server) -> Listener:
    """The listener of a fragment, which does not say where it listens."""
    return _listener([server], server, [], server.scope.place, {id(server): list(server.routes())})


def _listener(
    servers: list[Server], default: Server, binds: list[Bind], place: Line, routes: dict[int, list[Route]]
) -> Listener:
    conditions = _conditions(servers, default)
    steps: list[Step] = list(refused(default.values.version))
    taken: list[Route] = []
    for server in servers:
        match = conditions[id(server)]
        steps += _caught(server, match)
        if server.rewriting().rewrites:  # and so decides about the location
            steps += [replace(step, when=both(match, step.when)) for step in server.rewriting().all()]
        taken += [replace(each, match=both(match, each.match)) for each in routes[id(server)]]
    label = ", ".join(shown(bind) for bind in binds) or "a fragment, included somewhere"
    return Listener(label=label, place=place, binds=tuple(binds), steps=tuple(steps), routes=tuple(taken))


def shown(bind: Bind) -> str:
    """An address as people write it."""
    port = f":{bind.port}" if bind.port else ""
    return f"{bind.address or '*'}{port}{' tls' if bind.tls else ''}"


def listens(scope: Scope) -> Iterator[Listen]:
    """The addresses of a server block; port 80 of all addresses where it names none."""
    found = [each for each in scope.own("listen") if each.args]
    tls = scope.flag("ssl", default=False)
    if not found:
        yield Listen(Socket("", 80), tls, default=False, directive=None)
    for each in found:
        if "quic" in each.args:
            continue
        default = "default_server" in each.args or "default" in each.args[1:]
        for socket in _sockets(each.args[0]):
            yield Listen(socket, tls or "ssl" in each.args, default, each)


def _sockets(text: str) -> Iterator[Socket]:
    found = _PORT.match(text)
    if text.startswith("unix:"):
        yield Socket(text, None)
    elif found:
        address = (found["host"] or "").strip("[]")
        first, last = int(found["port"]), int(found["last"] or found["port"])
        for port in range(first, min(last, first + _MAX_PORTS) + 1):
            yield Socket("" if address in _ANY else address, port)
    else:
        yield Socket("" if text in _ANY else text.strip("[]"), 80)


# Names.


def _names(server: Server) -> list[str]:
    found = [
        name.lower() if not name.startswith("~") else name
        for each in server.scope.own("server_name")
        for name in each.args
    ]
    return found or [""]


def _conditions(servers: list[Server], default: Server) -> dict[int, Condition]:
    """When each server is meant: exact names first, then `*.x` and `x.*` by length, then patterns in their order."""
    if len(servers) == 1:
        return {id(servers[0]): ALWAYS}
    exact, tests = _ranked(servers)
    parts: dict[int, list[Condition]] = {id(server): [] for server in servers}
    owned: dict[int, list[str]] = {}
    for name, owner in exact.items():
        owned.setdefault(id(owner), []).append(name)
    for key, names in owned.items():
        parts[key].append(Test(_HOST, How.EQUALS, tuple(names)))
    before: list[tuple[Condition, Server]] = []
    for test, server in tests:
        parts[id(server)].append(both(test, *_unless(server, exact, before)))
        before.append((test, server))
    parts[id(default)].append(both(*_unless(default, exact, before)))
    return {key: OneOf(tuple(found)) if len(found) != 1 else found[0] for key, found in parts.items()}


def _ranked(servers: list[Server]) -> tuple[dict[str, Server], list[tuple[Condition, Server]]]:
    """The owners of exact names, and the other names as tests in the order in which nginx tries them."""
    exact: dict[str, Server] = {}
    wild: list[tuple[int, int, Condition, Server]] = []
    patterns: list[tuple[Condition, Server]] = []
    for server in servers:
        for name in _names(server):
            if name.startswith("~"):
                patterns.append((Test(_HOST, How.REGEX, (name[1:],), ignore_case=True), server))
                continue
            if "*" in name or name.startswith("."):
                wild.append((int(name.endswith("*")), -len(name), _wild(name), server))
            if "*" not in name:
                exact.setdefault(name.removeprefix("."), server)
    wild.sort(key=lambda entry: entry[:2])
    return exact, [*((test, server) for _, _, test, server in wild), *patterns]


def _unless(
    server: Server, exact: dict[str, Server], before: Iterable[tuple[Condition, Server]]
) -> Iterator[Condition]:
    """That no name of another server is meant before."""
    others = tuple(name for name, owner in exact.items() if owner is not server)
    if others:
        yield Not(Test(_HOST, How.EQUALS, others))
    tests = tuple(test for test, owner in before if owner is not server)
    if tests:
        yield Not(OneOf(tests))


def _wild(name: str) -> Condition:
    if name.endswith("*"):
        return Test(_HOST, How.PREFIX, (name[:-1],))
    return Test(_HOST, How.SUFFIX, (name.removeprefix("*"),))


def _caught(server: Server, match: Condition) -> Iterator[Step]:
    """What the pattern in a server_name catches, where anything asks for it."""
    for name in _names(server):
        if name.startswith("~"):
            for group, value in captures(name[1:], _HOST, ignore_case=True).items():
                if group in server.values.used:
                    yield Assign(name=group, value=value, when=match)


def sample_host(scope: Scope) -> str | None:
    """A host that a server is meant for, None where any will do."""
    for each in scope.own("server_name"):
        for name in each.args:
            if not name.startswith("~") and name not in {"", "_"} and "$" not in name:
                return re.sub(r"^\*?\.", "x.", name).replace("*", "x")
    return None
