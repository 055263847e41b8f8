"""The servers of a config: the main one and its virtual hosts, with their sections, and how a request finds one."""

import re
from dataclasses import dataclass, field, replace

from wsprobe.lb._apache_grammar import Node, Parsed, undefined
from wsprobe.lb._apache_sections import Places, Section, split
from wsprobe.lb._apache_values import wildcard
from wsprobe.lb._apache_workers import Pass, Worker, Workers, proxy_pass, settings
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    ALWAYS,
    Cases,
    Condition,
    How,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
)
from wsprobe.model import Line

ON_A_REQUEST = {
    "requestheader", "header", "setenv", "unsetenv", "passenv", "require", "requireall", "requireany", "requirenone",
    "order", "allow", "deny", "authtype", "proxypreservehost", "proxyaddheaders", "sslproxyengine",
}  # fmt: skip
"""The directives that a server applies to a request once it is known where it leads."""

OPAQUE = re.compile(r"secrule|secaction|lua(hook|quick|input|output|map|auth)|perl|python|iffile", re.IGNORECASE)
"""What may do anything to a request: scripts, and sections of which nobody can tell whether they are read."""

PASSES = ("proxypass", "proxypassmatch")
CHOSEN = Of(Subject.VARIABLE, "server")


@dataclass(slots=True, kw_only=True)
class Server:
    """The main server, or a virtual host. `nodes` are its directives outside of sections."""

    number: int
    node: Node | None
    place: Line
    main: "Server | None" = None
    nodes: list[Node] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    named: dict[str, list[tuple[int, Node]]] = field(default_factory=dict)
    on_a_request: list[Node] = field(default_factory=list)
    places: "Places | None" = None
    workers: Workers = field(default_factory=Workers)
    balancers: dict[str, Worker] = field(default_factory=dict)

    def put(self, nodes: list[Node]) -> None:
        """Its directives, found by their names afterwards."""
        for node in nodes:
            self.named.setdefault(node.name, []).append((len(self.nodes), node))
            self.nodes.append(node)
            if node.name in ON_A_REQUEST or OPAQUE.match(node.name):
                self.on_a_request.append(node)

    def own(self, name: str) -> Node | None:
        """Its own last directive of that name."""
        return self.named[name][-1][1] if name in self.named else None

    def last(self, name: str) -> Node | None:
        """The directive in force: its own last one, else the main server's."""
        return self.own(name) or (self.main.last(name) if self.main else None)

    def all(self, *names: str) -> list[Node]:
        """All directives of these names, those of the main server first."""
        outer = self.main.all(*names) if self.main else []
        found = sorted((each for name in names for each in self.named.get(name, [])), key=lambda each: each[0])
        return [*outer, *(node for _, node in found)]

    def all_sections(self) -> list[Section]:
        """All sections, those of the main server first."""
        return [*(self.main.sections if self.main else []), *self.sections]

    def all_workers(self) -> list[Workers]:
        """All workers that a request may get, those of the main server first."""
        return [*([self.main.workers] if self.main else []), self.workers]

    def located(self, base: str | None) -> list[Section]:
        """The <Location> sections that may apply below a path, in their order; all where it is not known."""
        if self.places is None:
            self.places = Places.of([each for each in self.all_sections() if each.kind == "location"])
        return self.places.near(base)

    def balancer(self, url: str) -> Worker | None:
        """The balancer of a URL."""
        name = url.partition("://")[2].partition("/")[0].lower()
        return self.balancers.get(name) or (self.main.balancer(url) if self.main else None)

    @property
    def own_name(self) -> str:
        """Its ServerName, empty where it has none."""
        node = self.own("servername")
        return node.first if node else ""

    @property
    def hosts(self) -> list[str]:
        """The names by which a request finds it: its own first, else that of the main server."""
        own = self.own_name or (self.main.own_name if self.main else "")
        aliases = [arg for _, node in self.named.get("serveralias", []) for arg in node.args]
        return [name for name in (_host(own), *aliases) if name]


def _host(name: str) -> str:
    host = name.rpartition("://")[2]
    bare, colon, port = host.rpartition(":")
    return bare if colon and port.isdigit() else host


def servers(top: tuple[Node, ...], parsed: Parsed, begins: Line) -> list[Server]:
    """The main server and the virtual hosts, in their order."""
    main = Server(number=0, node=None, place=begins)
    found = [main]
    _fill(main, tuple(node for node in top if node.name != "virtualhost"), parsed)
    for node in top:
        if node.name == "virtualhost":
            host = Server(number=len(found), node=node, place=node.place, main=main)
            found.append(host)
            _fill(host, node.body or (), parsed)
    return found


def _fill(server: Server, body: tuple[Node, ...], parsed: Parsed) -> None:
    flat, sections = split(body, parsed)
    server.put(flat)
    server.sections += sections
    for node in body:
        if node.name == "proxy" and node.body is not None:
            _proxy(server, node, parsed)
        elif node.name == "balancermember" and len(node.args) > 1:
            _add_members(server, node.first, [(node, node.args[1:])], {}, node.place)
        elif node.name in PASSES:
            _define(server, node, None, parsed)
        elif node.name.startswith("location"):
            for each in node.inside(*PASSES):
                _define(server, each, node.args[-1] if node.args else "", parsed)


def _define(server: Server, node: Node, path: str | None, parsed: Parsed) -> None:
    """The worker of a ProxyPass, in the order of the config: a later one may share an earlier one."""
    found = proxy_pass(node, path)
    if found is None:
        parsed.problem(node.place, f"{node.written} needs a path and a URL")
    elif not found.excluded and not undefined(found.url) and not found.url.startswith("balancer:"):
        # In a section with a wildcard it shares workers with ProxyPassMatch.
        server.workers.define(replace(found, pattern=found.pattern or not found.path), parsed)


def _proxy(server: Server, node: Node, parsed: Parsed) -> None:
    """A <Proxy URL> defines a worker or balancer where it sets something for it."""
    url, words = node.first, node.args[1:]
    if not url or "*" in url:
        return
    given = settings(word for each in node.inside("proxyset") for word in each.args) | settings(words)
    if url.lower().startswith("balancer://"):
        members = [(each, each.args) for each in node.inside("balancermember") if each.args]
        _add_members(server, url, members, given, node.place)
    elif given:
        found = Pass(path="", pattern=False, url=url, settings=given, raw=False, node=node)
        server.workers.define(found, parsed)


def _add_members(
    server: Server, url: str, lines: list[tuple[Node, tuple[str, ...]]], given: dict[str, str], place: Line
) -> None:
    """The members of a balancer, behind those that it has already."""
    name = url.partition("://")[2].partition("/")[0].lower()
    before = server.balancers.get(name, Worker(url=url, settings={}, place=place))
    more = [Worker(url=words[0], settings=settings(words[1:]), place=node.place) for node, words in lines]
    server.balancers[name] = replace(before, settings=before.settings | given, members=(*before.members, *more))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The virtual hosts of one address and port, in their order; the first gets what no name finds."""

    address: str
    port: int | None
    servers: tuple[Server, ...]


def groups(found: list[Server]) -> list[Group]:
    """The virtual hosts by the address that they are for, those for one address before those for all."""
    made: dict[tuple[str, int | None], list[Server]] = {}
    for server in found[1:]:
        for arg in server.node.args if server.node else ():
            made.setdefault(_address(arg), []).append(server)
    listed = [Group(address=at[0], port=at[1], servers=tuple(hosts)) for at, hosts in made.items()]
    return sorted(listed, key=lambda group: group.address == "*")


def _address(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    host = "*" if host in {"*", "_default_", "0.0.0.0", "[::]"} else host.strip("[]")  # noqa: S104  a name in a config
    return host, natural(port)


def chooser(group: Group) -> Cases | None:
    """The number of the virtual host that a request is for; None where there is no choice."""
    if len(group.servers) == 1:
        return None
    cases = tuple((_named(server), Text(str(server.number))) for server in group.servers if server.hosts)
    return Cases(cases, Text(str(group.servers[0].number)))


def _named(server: Server) -> Condition:
    host = Of(Subject.HOST, original=True)
    plain = tuple(name for name in server.hosts if not re.search(r"[*?]", name) and not undefined(name))
    tests: list[Condition] = []
    if plain:
        ends = (*plain, *(f"{name}." for name in plain))
        tests.append(Test(host, How.EQUALS, ends, ignore_case=True))
    patterns = tuple(wildcard(name) for name in server.hosts if re.search(r"[*?]", name) and not undefined(name))
    if patterns:
        tests.append(Test(host, How.REGEX, patterns, ignore_case=True))
    tests += [
        Undecided(name, f"${{{undefined(name)}}} is not defined in the config")
        for name in server.hosts
        if undefined(name)
    ]
    return tests[0] if len(tests) == 1 else OneOf(tuple(tests))


def guard(server: Server, group: Group | None) -> Condition:
    """Whether a request is for that server."""
    if group is None or len(group.servers) == 1:
        return ALWAYS
    return Test(CHOSEN, How.EQUALS, (str(server.number),))
