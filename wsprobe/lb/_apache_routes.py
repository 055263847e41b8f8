"""The routes of one server: rules of mod_rewrite, then ProxyPass, then what the server answers by itself."""

import re
from collections.abc import Iterator
from dataclasses import replace

from wsprobe.lb import _apache_headers as headers
from wsprobe.lb import _apache_rewrite as rewrite
from wsprobe.lb import _apache_workers as proxy
from wsprobe.lb._apache_grammar import Node, undefined
from wsprobe.lb._apache_leading import REDIRECTS, WORDS, Out, described, leading, status_of
from wsprobe.lb._apache_out import host_of
from wsprobe.lb._apache_rules import Rule, rewriting
from wsprobe.lb._apache_sections import Section, located
from wsprobe.lb._apache_servers import PASSES
from wsprobe.lb._apache_settings import Context, error_status, sample_host, server_port
from wsprobe.lb._apache_values import ARGS, ASKED, PATH, all_of, env
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    ALWAYS,
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
    Without,
    Written,
)
from wsprobe.lb.model import Answer, Assign, Opaque, Retarget, Route, Step, Upstream

SAFE = "~$-_.+!*'(),;:@&=/"


_SLASH = Test(Of(Subject.RAW_PATH), How.REGEX, ("%2[fF]",))


def before_routes(at: Context) -> list[Step]:
    """What happens to all requests of a server before it is known where they lead."""
    made: list[Step] = []
    # What comes before the path is taken apart sees it as it travels.
    made.append(Assign(name="path", value=Of(Subject.RAW_PATH), when=at.guard))
    made.append(Assign(name="args", value=Of(Subject.QUERY), when=at.guard))
    made.append(Assign(name="server port", value=server_port(at), when=at.guard))
    for node in at.server.all("requestheader"):
        edit = headers.request_header(node, at.parsed, at.guard, early=True)
        made += [edit] if edit else []
    for node in at.server.all("setenvif", "setenvifnocase", "browsermatch", "browsermatchnocase", "setenvifexpr"):
        made += headers.environment(node, at.parsed, at.guard)
    made += _path(at)
    if at.rules.on and at.rules.rules:
        made += rewrite.steps(at.rules, at.root, at.guard)
        passed = Test(rewrite.CHANGED, How.EQUALS, ("passed through",))
        made.append(Assign(name="path", value=rewrite.URI, when=all_of(at.guard, passed)))
    return made


def _path(at: Context) -> list[Step]:
    """The path, taken apart."""
    path: Value = Written(Written(Of(Subject.RAW_PATH), PathForm.OCTETS), PathForm.FOLDED)
    # That of the main server does not count for its virtual hosts.
    slashes = at.server.own("allowencodedslashes")
    said, place = (slashes.first.lower(), slashes.place) if slashes else ("off", None)
    made: list[Step] = []
    if said == "off":
        why = "AllowEncodedSlashes is off"
        made.append(Answer(status=404, why=why, when=all_of(at.guard, _SLASH), place=place))
    elif said == "nodecode":
        why = "AllowEncodedSlashes NoDecode leaves it as it is, which is not read"
        path = Cases(((_SLASH, Undecided("%2F", why)),), path)
    return [*made, *(Assign(name=name, value=path, when=at.guard) for name in ("path", "asked"))]


def routes(at: Context) -> list[Route]:
    """All routes of a server, in the order in which it decides."""
    found = [*_of_rules(at), *_of_passes(at), *_of_redirects(at)]
    inner = [route for section in at.server.all_sections() for route in _of_files(section, at, ALWAYS)]
    return [*found, *inner, _local(at)]


# Rules.


def _of_rules(at: Context) -> list[Route]:
    if not at.rules.on:
        return []
    made = []
    for rule in at.rules.rules:
        ended = all_of(at.guard, Test(rewrite.END, How.EQUALS, (rule.key,)))
        if rule.proxied:
            made.append(_proxied_rule(rule, at, ended))
        elif rule.status is not None and not rule.redirects:
            made.append(_answered(at, rule.node, ended, rule.status, _sample(rule.pattern)))
    for rule in at.rules.rules:
        if rule.redirects and not rule.proxied:
            held = all_of(at.guard, Test(rewrite.REDIRECT, How.EQUALS, (rule.key,)))
            made.append(_answered(at, rule.node, held, rule.status, _sample(rule.pattern)))
        elif rule.target != "-" and not rule.proxied and rule.status is None and "PT" not in rule.flags:
            held = all_of(at.guard, Test(rewrite.CHANGED, How.EQUALS, (rule.key,)))
            made.append(_answered(at, rule.node, held, None, _sample(rule.pattern)))
    return made


def _answered(at: Context, node: Node, match: Condition, status: int | None, sample: str) -> Route:
    why = "the server answers by itself" if status is None else f"{node.written} answers"
    return Route(
        label=described(node),
        match=match,
        place=node.place,
        sample=sample,
        sample_host=sample_host(at),
        steps=(Answer(status=error_status(at, status), why=why, place=node.place),),
    )


def _sample(pattern: str) -> str:
    """A path that a pattern should match, as far as it is plain text."""
    text = re.sub(r"\(\?[^()]*\)|\[[^\]]*\]\S?|\\.", "x", pattern.lstrip("^").rstrip("$"))
    text = re.sub(r"\(([^()|]*)[^()]*\)", r"\1", text).replace(".*", "x").replace(".+", "x").replace("/?", "/")
    text = re.sub(r"[\^$*+?(){}|\\]", "", text).partition("|")[0]
    return text if text.startswith("/") else f"/{text}"


def _below(path: str) -> str:
    """A path that a ProxyPass of this one takes."""
    inner = f"{path}x" if path.endswith("/") else path
    return inner if inner.startswith("/") else f"/{inner}"


def _proxied_rule(rule: Rule, at: Context, match: Condition, section: Section | None = None) -> Route:
    """Where a rule with [P] leads; in a section it sees the file that the path was mapped to."""
    literal = re.split(r"[$%]", rule.target)[0]
    scheme = proxy.url_parts(literal)[0]
    label = _named(section, rule.node) if section else described(rule.node)
    sample = _place_of(section) if section else _sample(rule.pattern)
    if not scheme:
        why = "where the rule leads is known to the running server only"
        return _opaque(rule.node, label, match, why, sample)
    new, query = rewrite.target(rewrite.Scope(rule, _FILE if section else rewrite.URI, at.root))
    path: Value = Captured(new, r"^(?:unix:[^|]*\|)?[A-Za-z][\w+.-]*://[^/]*(.*)$", "1")
    if "NE" not in rule.flags:
        path = Written(path, PathForm.STRICT)
    refused = [
        Answer(status=403, why="an escaped ? in the path", when=Test(new, How.CONTAINS, ("?",)), place=rule.place)
    ]
    if "NE" in rule.flags:
        refused.append(_no_space(new, "[NE]", rule.node))
    out = Out(
        node=rule.node,
        label=label,
        match=match,
        url=literal,
        host=_host_of_rule(rule, literal, new),
        path=path,
        query=ARGS,
        before=[Assign(name="new args", value=query), Assign(name="args", value=Of(Subject.VARIABLE, "new args"))],
        base=None,
        sample=sample,
        first=[] if section else list(refused),
        section=section,
    )
    return leading(out, at)


def _host_of_rule(rule: Rule, literal: str, new: Value) -> Value:
    """The host that a rule names: known where it ends with what is put in, as before %{REQUEST_URI}."""
    if literal.count("/") > 2 or literal == rule.target:
        return host_of(literal)
    ends = Test(new, How.REGEX, (rf"^{re.escape(literal)}(?:/|$)",))
    return Cases(((ends, host_of(literal)),), Undecided(rule.target, "the rule puts the host together"))


def _opaque(node: Node, label: str, match: Condition, why: str, sample: str) -> Route:
    return Route(
        label=label,
        match=match,
        place=node.place,
        sample=sample,
        steps=(Opaque(why=why, place=node.place), Retarget(value=Undecided(node.text, why), place=node.place)),
        upstream=Upstream(protocol="http/1.1", place=node.place),
    )


# ProxyPass.


def _of_passes(at: Context) -> list[Route]:
    made = []
    for section in reversed([each for each in at.server.all_sections() if each.kind == "location"]):
        node = next((each for each in reversed(section.nodes) if each.name in PASSES and each.args), None)
        found = proxy.proxy_pass(node, section.path) if node else None
        if node and found:
            made.append(_passed(found, at, section))
    own = (proxy.proxy_pass(node, None) for node in at.server.all(*PASSES))
    return [*made, *(_passed(found, at, None) for found in own if found)]


def _passed(found: proxy.Pass, at: Context, section: Section | None) -> Route:
    node = found.node
    label = (
        f"<{section.node.written} {section.node.text}> {node.written}" if section else f"{node.written} {found.path}"
    )
    own = Test(PATH, How.REGEX, (found.path,)) if found.pattern else proxy.under(found.path)
    wanted = all_of(at.guard, _asked(section), own, Not(Test(env("no-proxy"), How.EXISTS)))
    sample = _sample(found.path) if found.pattern else _below(found.path)
    if section and not found.path:
        sample = _place_of(section)
    if found.excluded:
        return replace(_answered(at, node, wanted, None, sample), label=f"{label} !")
    if name := undefined(found.url):
        return _opaque(node, label, wanted, f"${{{name}}} is not defined in the config", sample)
    path, refused = _mapped(found)
    out = Out(
        node=node,
        label=label,
        match=wanted,
        url=found.url,
        host=host_of(found.url),
        path=path,
        query=at.query,
        base=None if found.pattern else found.path,
        sample=sample,
        first=refused,
        late=[] if found.pattern else _glued(found, path),
        raw=found.raw,
    )
    return leading(out, at)


def _asked(section: Section | None) -> Condition:
    """Whether the path as it was asked for lies in a section: [PT] does not change which ProxyPass it has."""
    return located(section.path, ASKED, pattern=section.pattern) if section else ALWAYS


def _mapped(found: proxy.Pass) -> tuple[Value, list[Step]]:
    """The path that a ProxyPass makes of the one that it takes."""
    _, _, base = proxy.url_parts(found.url)
    if found.pattern:
        return _by_pattern(found, base), []
    rest = Without(PATH, prefix=found.path)
    quoted = Written(Join((Text(base), rest)), PathForm.STRICT)
    if not found.raw:
        return quoted, []
    target = Of(Subject.TARGET)
    # Apache looks for the path at the begin of the whole target: right before a query it does not find it.
    raw = proxy.under(found.path, target)
    if found.path.endswith("/"):  # as many slashes as stand there count as one, and then the path is not taken raw
        raw = all_of(raw, Not(Test(target, How.PREFIX, (f"{found.path}/",))))
    query = Cases(((Test(Of(Subject.QUERY), How.EXISTS), Join((Text("?"), Of(Subject.QUERY)))),), Text(""))
    taken = Join((Text(base), Without(target, prefix=found.path)))
    path = Cases(((raw, taken),), Join((Or(quoted, Text("/")), query)))
    return path, [_no_space(path, "nocanon", found.node)]


def _no_space(target: Value, word: str, node: Node) -> Answer:
    spaces = Test(target, How.REGEX, (r"[\x00-\x20\x7f]",))
    return Answer(status=403, why=f"{word} leaves a space or control character", when=spaces, place=node.place)


def _glued(found: proxy.Pass, path: Value) -> list[Step]:
    """`ProxyPass /x/ http://host` puts the rest of the path behind the name of the host."""
    _, host, base = proxy.url_parts(found.url)
    if base or not found.path.endswith("/"):
        return []
    why = "the URL has no path, so that the rest of the request's path becomes part of the host"
    status = 500 if host.rpartition(":")[2].isdigit() and not found.raw else None
    place = found.node.place
    made: list[Step] = [Answer(status=status, why=why, when=Test(path, How.REGEX, ("^[^/?]",)), place=place)]
    if not found.raw:  # with a question mark in it the URL is refused earlier
        made.insert(0, Answer(status=400, why=why, when=Test(path, How.REGEX, ("^[^/]*%3F",)), place=place))
    return made


def _by_pattern(found: proxy.Pass, base: str) -> Value:
    if not re.search(r"\$\d", found.url):
        return Written(Join((Text(base), PATH)), PathForm.STRICT)
    parts: list[Value] = []
    for index, piece in enumerate(re.split(r"\$(\d)", base)):
        parts.append(Captured(PATH, found.path, piece) if index % 2 else Text(piece))
    return Written(Join(tuple(parts)), PathForm.STRICT)


# Where a route leads.


def _of_redirects(at: Context) -> list[Route]:
    made = []
    for node in at.server.all(*REDIRECTS):
        args = list(node.args)
        if args and (args[0].lower() in WORDS or args[0].isdigit()):
            args = args[1:]
        if not args:
            continue
        pattern = node.name == "redirectmatch"
        own = Test(PATH, How.REGEX, (args[0],)) if pattern else proxy.under(args[0])
        sample = _sample(args[0]) if pattern else _below(args[0])
        made.append(_answered(at, node, all_of(at.guard, own), status_of(node), sample))
    return made


# What no ProxyPass took may still be handed on, by a rule with [P] in a section or by a handler.

_FILE = Undecided("the file of the path", "it depends on the file that the path is mapped to, and so on the server")
_HANDED_ON = re.compile(r"proxy:((?:unix:[^|]*\|)?(?:https?|wss?)://.*)", re.IGNORECASE)


def _of_files(section: Section, at: Context, outer: Condition) -> Iterator[Route]:
    if section.kind == "proxy":
        return
    inside = all_of(outer, section.when)
    rules = rewriting(section.nodes, at.parsed)
    for rule in rules.rules if rules.on else ():
        if rule.proxied:
            met = all_of(at.guard, inside, rewrite.met(rewrite.Scope(rule, _FILE, at.root)))
            yield _proxied_rule(rule, at, met, section)
    for node in section.nodes:
        found = _HANDED_ON.match(node.first) if node.name == "sethandler" else None
        if found:
            yield _handed_on(node, found[1], at, all_of(at.guard, inside, _FILE), section)
    for inner in section.inner:
        yield from _of_files(inner, at, inside)


def _handed_on(node: Node, url: str, at: Context, match: Condition, section: Section) -> Route:
    out = Out(
        node=node,
        label=_named(section, node),
        match=match,
        url=url,
        host=host_of(url),
        path=_FILE,
        query=at.query,
        base=None,
        sample=_place_of(section),
        first=[],
        section=section,
    )
    return leading(out, at)


def _named(section: Section, node: Node) -> str:
    return f"<{section.node.written} {section.node.text}> {described(node)}"


def _place_of(section: Section) -> str:
    """A path that lies in a section."""
    if section.kind != "location":
        return "/"
    return _sample(section.path) if section.pattern else _below(re.sub(r"[*?]", "x", section.path))


def _local(at: Context) -> Route:
    """What the server answers itself, from files or by a handler: no upstream is asked."""
    why = "no ProxyPass and no rule takes the path: it is answered from files or by a handler"
    return Route(
        label="the server itself",
        match=at.guard,
        place=at.server.place,
        sample="/",
        sample_host=sample_host(at),
        steps=(Answer(status=None, why=why),),
    )


# Settings.
