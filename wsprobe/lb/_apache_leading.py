"""A route to an upstream, step by step: what the directives do in the order of the phases, then the way out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from wsprobe.inspection import Unknown
from wsprobe.lb import _apache_access as access
from wsprobe.lb import _apache_headers as headers
from wsprobe.lb import _apache_out as leave
from wsprobe.lb import _apache_rewrite as rewrite
from wsprobe.lb import _apache_workers as proxy
from wsprobe.lb._apache_grammar import Node
from wsprobe.lb._apache_rules import Rule, rewriting
from wsprobe.lb._apache_sections import Section, relation
from wsprobe.lb._apache_servers import OPAQUE
from wsprobe.lb._apache_settings import Context, Layers, error_status, response, sample_host, timeouts, way_out
from wsprobe.lb._apache_values import PATH, all_of
from wsprobe.lb._numbers import natural
from wsprobe.lb._paths import IN_PATHS
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
    Or,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
)
from wsprobe.lb.model import Answer, Assign, Opaque, Retarget, Route, Step, Upstream


def described(node: Node) -> str:
    """A directive as it is written, cut where it is long."""
    return f"{node.written} {node.text}"[:200]


@dataclass(slots=True, kw_only=True)
class Out:
    """A route to an upstream, before its steps are known.

    `section` is where it is decided, where that is after the path was mapped to a file.
    """

    node: Node
    label: str
    match: Condition
    url: str
    host: Value
    path: Value
    query: Value
    base: str | None
    sample: str
    first: list[Step]
    before: list[Step] = field(default_factory=list)
    late: list[Step] = field(default_factory=list)
    raw: bool = False
    section: Section | None = None


def leading(out: Out, at: Context) -> Route:
    """The route with all that happens on it."""
    scheme, host, base = proxy.url_parts(out.url)
    name = proxy.without_port(scheme, host.lower())
    literal = f"{scheme}://{name}{quote(base, safe=IN_PATHS)}"
    whole = Join((Text(f"{scheme}://{name}"), _target(out)))
    choice = proxy.chosen(at.server.all_workers(), literal, whole)
    members: tuple[proxy.Worker, ...] = ()
    if scheme == "balancer":
        balancer = at.server.balancer(out.url)
        members = balancer.members if balancer else ()
        if not members:
            why = "the balancer has no members in the config"
            status = 503 if balancer is None else None
            out.late = [*out.late, Answer(status=status, why=why, place=out.node.place)]
        else:
            _of_members(out, members)
            choice, scheme = [(ALWAYS, members[0])], members[0].scheme
    layers, ifs = _layers(at, out)
    inside = _inside(at, layers, out)
    way = way_out(at, layers, choice, scheme, out.host)
    if len({(each.scheme, each.settings.get("upgrade", "")) for each in members}) > 1:
        way = replace(way, upgrade=Undecided(out.url, "the members of the balancer differ"))
    steps = [
        *out.before,
        *ifs,
        *inside,
        *out.first,
        leave.counted(),
        *out.late,
        Retarget(value=_target(out), place=out.node.place),
        *leave.steps(way),
    ]
    if way.handler == "other":
        steps.append(Opaque(why=f"{scheme}:// does not carry headers as they are", place=out.node.place))
    addresses = tuple(each.parts[1] for each in members) or (proxy.url_parts(out.url)[1],)
    return Route(
        label=out.label,
        match=out.match,
        place=out.node.place,
        sample=out.sample,
        sample_host=sample_host(at),
        steps=tuple(
            replace(step, status=error_status(at, step.status, layers)) if isinstance(step, Answer) else step
            for step in steps
        ),
        response=tuple(response(layers)),
        upstream=Upstream(
            protocol="http/1.0" if way.old_protocol else {"h2": "h2", "h2c": "h2c"}.get(scheme, "http/1.1"),
            tls=scheme in {"https", "wss", "h2"},
            addresses=addresses,
            place=out.node.place,
            protocol_place=way.old_protocol,
        ),
        timeouts=tuple(timeouts(at, choice[-1][1], way.handler)),
    )


def _target(out: Out) -> Value:
    path = Or(out.path, Text("/"))
    return path if out.raw else leave.with_query(path, out.query)


def _of_members(out: Out, members: tuple[proxy.Worker, ...]) -> None:
    hosts = {proxy.url_parts(each.url)[1] for each in members}
    paths = {each.parts[2].rstrip("/") for each in members}
    out.host = leave.host_of(members[0].url) if len(hosts) == 1 else Undecided(out.url, "the balancer chooses a member")
    if len(paths) > 1:
        out.path = Undecided(out.url, "the members of the balancer have different paths")
    elif paths != {""}:
        out.path = Join((Text(paths.pop()), out.path))


def _layers(at: Context, out: Out) -> tuple[Layers, list[Step]]:
    """What applies to a request on its way, in the order in which Apache merges it."""
    server = at.server
    made: Layers = [(ALWAYS, server.main.on_a_request)] if server.main else []
    made.append((ALWAYS, server.on_a_request))
    sections = server.all_sections()
    if out.section is None:
        made += [(ALWAYS, each.nodes) for each in sections if each.kind == "proxy" and _is_for(each, out.url)]
    else:
        made += [(_of_file(each, out.section), each.nodes) for each in sections if each.kind in {"directory", "files"}]
    located = [(relation(each, out.base), each) for each in server.located(out.base)]
    made += [(when, each.nodes) for when, each in located if when != NEVER]
    outer = [*((ALWAYS, each) for each in sections if each.kind == "if"), *located]
    nested = [found for when, each in outer if when != NEVER for found in _nested(when, each)]
    steps = [step for when, each in located if when != NEVER and each.pattern for step in _matched(each)]
    for number, (when, each) in enumerate(nested):
        name = f"if {number}"
        steps.append(Assign(name=name, value=Cases(((all_of(when, each.when), Text("1")),)), place=each.place))
        made.append((Test(Of(Subject.VARIABLE, name), How.EXISTS), each.nodes))
    return made, steps


def _nested(outer: Condition, section: Section) -> Iterator[tuple[Condition, Section]]:
    """The <If> sections that a section is, or has in it, each with when it may apply."""
    if section.kind == "if":
        yield outer, section
        outer = all_of(outer, section.when)
    for inner in section.inner:
        if inner.kind == "if":
            yield from _nested(outer, inner)


_GROUP_NAMES = re.compile(r"\(\?P?<([A-Za-z_]\w*)>")


def _matched(section: Section) -> Iterator[Step]:
    """The variables that the named groups of a <LocationMatch> set."""
    for name in _GROUP_NAMES.findall(section.path):
        value = Captured(PATH, section.path, name)
        yield Assign(name=f"env:MATCH_{name.upper()}", value=value, when=section.when, place=section.place)


def _of_file(section: Section, taken: Section) -> Condition:
    """When a <Directory> or <Files> applies to a request that a section has taken by its file."""
    if section is taken:
        return ALWAYS
    return Undecided(section.path, "it depends on the file that the path is mapped to, and so on the server")


def _is_for(section: Section, url: str) -> bool:
    if section.pattern:
        return True
    return section.path == "*" or url.startswith(section.path.rstrip("*"))


_CONDITIONAL = {"setenvif", "setenvifnocase", "browsermatch", "browsermatchnocase", "setenvifexpr"}


def _inside(at: Context, layers: Layers, out: Out) -> list[Step]:
    """What the directives do, in the order of the phases in which Apache runs them."""
    own = [(when, nodes) for when, nodes in layers if nodes is not at.server.on_a_request and not _of_main(at, nodes)]
    made: list[Step] = []
    for when, node in _each(own):
        if node.name in _CONDITIONAL:
            made += headers.environment(node, at.parsed, when)
    made += access.steps([(when, [node for node in nodes if node.name in access.NAMES]) for when, nodes in layers])
    for when, nodes in own:
        made += _rewritten_again(at, when, nodes, out)
    for when, node in reversed(list(_each(layers))):
        if node.name in {"setenv", "unsetenv", "passenv"}:
            made += headers.set_env(node, when)
    for when, node in _each(layers):
        if OPAQUE.match(node.name):
            made.append(Opaque(why=f"{node.written} may change it", when=when, place=node.place))
    made += [_redirect(node, when) for when, node in _each(own) if node.name in REDIRECTS]
    for when, node in _each(layers):
        if node.name == "requestheader" and (edit := headers.request_header(node, at.parsed, when, early=False)):
            made.append(edit)
    return made


def _each(layers: Layers) -> Iterator[tuple[Condition, Node]]:
    return ((when, node) for when, nodes in layers for node in nodes)


def _of_main(at: Context, nodes: list[Node]) -> bool:
    return at.server.main is not None and nodes is at.server.main.on_a_request


def _rewritten_again(at: Context, when: Condition, nodes: list[Node], out: Out) -> list[Step]:
    """Rules inside of a <Location>: of a request that is proxied already they see the whole `proxy:` URL."""
    found = rewriting(nodes, at.parsed)
    if not found.on or not found.rules or out.section is not None:
        return []
    base, host = out.url.partition("://")[0], out.url.partition("://")[2].partition("/")[0]
    seen = Join((Text(f"proxy:{base}://{host}"), Or(out.path, Text("/"))))
    made: list[Step] = []
    before: list[Condition] = []
    for rule in found.rules:
        held = all_of(when, *before, rewrite.met(rewrite.Scope(rule, seen, at.root)))
        status = rule.status
        if rule.proxied:
            made += _proxied_again(rule, seen, at, held, out)
        elif status is not None:
            made.append(Answer(status=status, why=f"{rule.node.written} answers", when=held, place=rule.place))
        elif rule.target != "-":
            what = Unknown(
                what=described(rule.node), why="a rule inside of a section, after ProxyPass", place=rule.place
            )
            at.parsed.unread.append(what)
        if rule.proxied or "L" in rule.flags or "END" in rule.flags:
            before.append(Not(rewrite.met(rewrite.Scope(rule, seen, at.root))))
    return made


def _proxied_again(rule: Rule, seen: Value, at: Context, held: Condition, out: Out) -> list[Step]:
    """The target that a rule makes of a request that is on its way to an upstream."""
    new, query = rewrite.target(rewrite.Scope(rule, seen, at.root), Of(Subject.QUERY))
    path = Captured(new, r"^[A-Za-z][\w+.-]*://[^/]*(.*)$", "1")
    if proxy.url_parts(re.split(r"[$%]", rule.target)[0])[:2] != proxy.url_parts(out.url)[:2]:
        return [Opaque(why="a rule inside of a section sends it elsewhere", when=held, place=rule.place)]
    out.path = Cases(((held, path),), out.path)
    out.query = Cases(((held, query),), out.query)
    return []


REDIRECTS = {"redirect", "redirectmatch", "redirectpermanent", "redirecttemp"}


WORDS = {"permanent": 301, "temp": 302, "seeother": 303, "gone": 410}


def _redirect(node: Node, when: Condition) -> Answer:
    return Answer(status=status_of(node), why=f"{node.written} answers", when=when, place=node.place)


def status_of(node: Node) -> int:
    """The status that a Redirect answers."""
    if node.name == "redirectpermanent":
        return 301
    first = node.first.lower()
    number = natural(first)
    return WORDS.get(first, 302) if number is None else number
