"""From the directives of an Apache config to listeners with routes."""

import re

from wsprobe.inspection import Unknown
from wsprobe.lb._apache_directives import known, misplaced
from wsprobe.lb._apache_grammar import Node, Parsed
from wsprobe.lb._apache_preprocess import resolved
from wsprobe.lb._apache_routes import before_routes, routes
from wsprobe.lb._apache_rules import rewriting
from wsprobe.lb._apache_servers import Group, Server, chooser, groups, guard, servers
from wsprobe.lb._apache_settings import Context
from wsprobe.lb._apache_values import all_of
from wsprobe.lb._numbers import natural
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import ALWAYS, Captured, Condition, How, Not, Of, OneOf, Subject, Test, Written
from wsprobe.lb.model import Answer, Assign, Bind, Config, Edit, Every, Limit, Listener, Measure, Op, Route, Step
from wsprobe.lb.source import ReadError, Source

_TEMPLATE = re.compile(r"\{\{|\{%-?\s|<%=?\s|%[A-Z][A-Z0-9_]{2,}%")
# Segments that lead down and those that lead up again are taken together; what then leads up leads out.
_ABOVE_ROOT = r"^((?:/\.?(?=/)|/(?!\.{1,2}(?:/|$))[^/]+(?1)/\.\.(?=/|$))*)/\.\.(?:/|$)"
_HOST = r"^(?!.*\.\.)(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$"


def config(source: Source, version: str, *, assumed: bool) -> Config:
    """The whole config that begins in a file."""
    _no_template(source)
    parsed = Parsed(version=tuple(int(part) for part in re.findall(r"\d+", version)[:3]))
    top = _placed(resolved(source, parsed), source)
    found = servers(top, parsed, source.at(1))
    _unread(top, parsed)
    listeners = [_listener(group, found, parsed) for group in groups(found)]
    if main := _main(found, top, parsed):
        listeners.append(main)
    return Config(
        kind="apache",
        path=source.path,
        version=version,
        assumed=assumed,
        listeners=tuple(listeners),
        unread=tuple(dict.fromkeys(parsed.unread)),
        problems=tuple(dict.fromkeys(parsed.problems)),
        files=tuple(parsed.files),
    )


def _placed(top: tuple[Node, ...], source: Source) -> tuple[Node, ...]:
    """The directives of a .htaccess are those of a <Directory>."""
    if source.real.name != ".htaccess":
        return top
    text = "of this .htaccess"
    return (Node(name="directory", written="Directory", args=(text,), text=text, place=source.at(1), body=top),)


def _no_template(source: Source) -> None:
    for number, line in enumerate(source.lines, 1):
        if not line.lstrip().startswith("#") and (found := _TEMPLATE.search(line)):
            mark = found[0].strip()
            raise ReadError(source.path, f"a template ({mark} at line {number}), not read", number, found.start() + 1)


def _unread(body: tuple[Node, ...], parsed: Parsed, section: str = "") -> None:
    """Every directive that is neither read nor known to leave requests alone, or that may not stand where it does."""
    for node in body:
        if misplaced(node, section):
            parsed.problem(node.place, f"{node.written} is not allowed in <{section}>: Apache does not start")
        if not known(node):
            what = f"<{node.written}>" if node.body is not None else node.written
            why = "the directive is not read"
            parsed.unread.append(Unknown(what=what[:80], why=why, place=node.place))
        if node.body:
            _unread(node.body, parsed, section if node.name == "virtualhost" else node.written)


# Listeners.


def _listener(group: Group, found: list[Server], parsed: Parsed) -> Listener:
    first = group.servers[0]
    steps: list[Step] = list(_taken_in())
    if choice := chooser(group):
        steps.append(Assign(name="server", value=choice))
    made: list[Route] = []
    for server in group.servers:
        at = _context(server, guard(server, group), group.port, group.address, parsed)
        made += routes(at)
        steps += before_routes(at)
    where = _elsewhere(group, found)
    if where != ALWAYS:
        made = [_only(route, where) for route in made]
    secure = any(_secure(server) for server in group.servers) or group.port == 443
    port = "" if group.port is None else f":{group.port}"
    return Listener(
        label=f"{group.address}{port}",
        place=first.place,
        binds=(Bind(address="" if group.address == "*" else group.address, port=group.port, tls=secure),),
        steps=tuple(steps),
        routes=tuple(made),
        limits=_limits(first),
    )


def _context(server: Server, held: Condition, port: int | None, address: str, parsed: Parsed) -> Context:
    rules = rewriting(server.nodes, parsed)
    if server.main:
        rules.take_over(rewriting(server.main.nodes, parsed))
    return Context(server=server, guard=held, port=port, address=address, parsed=parsed, rules=rules)


def _elsewhere(group: Group, found: list[Server]) -> Condition:
    """That the address is the one of these hosts, where others listen on the same port."""
    others = [each for each in groups(found) if each.address != group.address and each.port == group.port]
    if not others:
        return ALWAYS
    local = Of(Subject.LOCAL)
    if group.address != "*":
        return Test(local, How.EQUALS, (group.address,))
    return Not(Test(local, How.EQUALS, tuple(each.address for each in others)))


def _only(route: Route, where: Condition) -> Route:
    from dataclasses import replace

    return replace(route, match=all_of(where, route.match))


def _secure(server: Server) -> bool:
    node = server.last("sslengine")
    return node is not None and node.first.lower() in {"on", "optional"}


_ROUTING = {"proxypass", "proxypassmatch", "rewriterule"}


def _main(found: list[Server], top: tuple[Node, ...], parsed: Parsed) -> Listener | None:
    """The main server, which takes what comes in where no virtual host listens."""
    main = found[0]
    ports = [_listen(node) for node in top if node.name == "listen" and node.args]
    taken = {group.port for group in groups(found)}
    binds = [bind for bind in ports if bind.port not in taken and None not in taken]
    routing = any(node.name in _ROUTING for node in main.nodes) or any(
        node.name in _ROUTING for section in main.sections for node in section.nodes
    )
    if not binds and (len(found) > 1) and (ports or not routing):
        return None
    if len(found) > 1 and not routing:
        return None
    at = _context(main, ALWAYS, binds[0].port if binds else None, "*", parsed)
    made = routes(at)
    return Listener(
        label="main server",
        place=main.place,
        binds=tuple(binds),
        steps=(*_taken_in(), *before_routes(at)),
        routes=tuple(made),
        limits=_limits(main),
    )


def _listen(node: Node) -> Bind:
    host, colon, port = node.first.rpartition(":")
    number = port if colon else node.first
    secure = len(node.args) > 1 and node.args[1].lower() == "https"
    port_number = natural(number)
    return Bind(address=host.strip("[]"), port=port_number, tls=secure or port_number == 443)


def _taken_in() -> list[Step]:
    """What Apache does to every request that it reads, before it knows more than its address."""
    host, target = Of(Subject.HEADER, "Host"), Of(Subject.TARGET)
    port = Captured(host, r":(\d+)$", "1")
    named = all_of(
        Test(host, How.REGEX, (_HOST,)),
        OneOf((Not(Test(port, How.EXISTS)), Test(port, How.BETWEEN, ("0:65535",)))),
    )
    bad_target = OneOf(
        (
            Not(Test(target, How.PREFIX, ("/",))),
            Test(target, How.CONTAINS, ("#",)),
            Test(Of(Subject.RAW_PATH), How.REGEX, (r"%(?![0-9A-Fa-f]{2})",)),
            Test(Written(Of(Subject.RAW_PATH), PathForm.UNRESERVED), How.REGEX, (_ABOVE_ROOT,)),
        )
    )
    return [
        Edit(op=Op.JOIN, which=Every()),
        Answer(status=400, why="a Host that is none, or none at all", when=Not(named)),
        Answer(status=400, why="the request target is not valid", when=bad_target),
    ]


def _limits(server: Server) -> tuple[Limit, ...]:
    """The size limits, which are those of the first virtual host of an address."""
    made = []
    for name, default, measures in (
        ("LimitRequestLine", 8190, ((Measure.START, 1, 414),)),
        ("LimitRequestFieldSize", 8190, ((Measure.LINE, 1, 400), (Measure.JOINED, 0, 400))),
        ("LimitRequestFields", 100, ((Measure.COUNT, 0, 400),)),
    ):
        node = server.last(name.lower())
        said = natural(node.first) if node else None
        most = default if said is None else said
        if name == "LimitRequestFields" and most == 0:
            continue
        made += [
            Limit(name=name, measure=measure, most=most + more, status=status, place=node.place if node else None)
            for measure, more, status in measures
        ]
    return tuple(made)
