"""Traefik's routers: which ones an entry point has, in the order of priority, and what each makes of a request."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem, Unknown
from wsprobe.lb import _traefik_services as services
from wsprobe.lb._traefik_chain import Chain, DisabledError
from wsprobe.lb._traefik_matchers import HOST, Rule, RuleError
from wsprobe.lb._traefik_middlewares import Scope, build
from wsprobe.lb._traefik_paths import redirection
from wsprobe.lb._traefik_proxy import Entry, encoded, entering, limits
from wsprobe.lb._traefik_rule import UNKNOWN, parsed
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.expressions import Condition, How, Not, OneOf, Test, Undecided, both
from wsprobe.lb.model import Answer, Bind, Listener, Opaque, Route
from wsprobe.parts import Line

_OPTIONS = (
    "entryPoints",
    "middlewares",
    "service",
    "rule",
    "ruleSyntax",
    "priority",
    "tls",
    "observability",
    "parentRefs",
)
DEFAULT_HOST = "host of the default rule"
"""The option of a router, added by who makes routers without a rule, that tells how its host begins."""

MAX_RIVALS = 1000
"""How many routers of the same priority are looked at."""

_VARIABLE = re.compile(r"\$\{[^}]*\}|\$[A-Za-z_]\w*|\{\{.*?\}\}")
_V2 = re.compile(r"(?:HostRegexp|Path|PathPrefix)\([^)]*\{\w+:", re.IGNORECASE)
_FIRST = (1 << 63) - 2
_KNOWN = {option.lower() for option in (*_OPTIONS, DEFAULT_HOST)}
_NOT_FOUND = "no router takes the request"
_INTERNAL_ENTRY = "traefik"


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """One router, read: its settings, its rule, its priority, and the entry points that it names."""

    name: str
    provider: str
    setting: Setting
    rule: Rule
    label: str
    priority: int
    entries: frozenset[str] = frozenset()

    @property
    def tls(self) -> bool:
        """Whether it is for clients that use TLS."""
        found = self.setting.get("tls")
        return found is not None and (found.text or "").lower() != "false"

    @property
    def place(self) -> Line:
        """Where its rule is written."""
        return (self.setting.get("rule") or self.setting).place


@dataclass(slots=True)
class Reading:
    """What was read so far of a whole config, and what could not be."""

    place: Line
    version: int = 3
    syntax: str = "v3"
    scope: Scope = field(default_factory=Scope)
    entries: list[Entry] = field(default_factory=list)
    routers: list[Router] = field(default_factory=list)
    written: list[Setting] = field(default_factory=list)
    unread: list[Unknown] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def problem(self, place: Line, message: str) -> None:
        """Something that Traefik refuses."""
        self.problems.append(Problem(path=place.path, line=place.line, column=place.column, message=message))

    def router(self, setting: Setting, provider: str) -> None:
        """Takes a router in; one whose rule is refused is a problem, and Traefik leaves it out."""
        for name, found in setting.fields.items():
            if name.lower() not in _KNOWN:
                self.unread.append(Unknown(what=name, why="not an option of a router that is known", place=found.place))
        rule = setting.get("rule")
        if rule is None or not rule.text:
            self.problem(setting.place, f"the router {setting.name} has no rule")
            return
        self.written.append(setting)
        try:
            read = self._rule(setting, rule)
        except RuleError as error:
            self.problem(rule.place, f"the rule of the router {setting.name} is refused: {error}")
            return
        priority = setting.integer("priority") or len(rule.text.encode())
        self.routers.append(
            Router(
                name=setting.name,
                provider=provider,
                setting=setting,
                rule=read,
                label=rule.text,
                priority=priority,
                entries=frozenset(setting.texts("entryPoints")),
            )
        )

    def speaks_v2(self) -> bool:
        """Whether the rules tell that they are written for v2: v3 refuses one, or reads it as something else."""
        if self.syntax != "v3" or any(rule.get("ruleSyntax") for rule in self.written):
            return False
        texts = [_VARIABLE.sub("x", router.word("rule")) for router in self.written]
        return any(_refused(text, "v3") or _V2.search(text) for text in texts) and not any(
            _refused(text, "v2") for text in texts
        )

    def _rule(self, setting: Setting, rule: Setting) -> Rule:
        usual = setting.word(DEFAULT_HOST)
        if usual:
            return Rule(both(Test(HOST, How.PREFIX, (usual,)), Undecided(rule.text or "", rule.unsure)))
        syntax = setting.word("ruleSyntax") or self.syntax
        syntax = syntax if self.version >= 3 and syntax in {"v2", "v3"} else self.syntax
        if not rule.unsure:
            return parsed(rule.text or "", syntax)
        try:
            return parsed(_VARIABLE.sub(UNKNOWN, rule.text or ""), syntax)
        except RuleError:
            return Rule(Undecided(rule.text or "", rule.unsure))

    def listeners(self) -> Iterator[Listener]:
        """What listens: each entry point, once for clients in the clear and once for those of TLS, if any."""
        there = {entry.name for entry in self.entries}
        for router in self.routers:
            if router.entries and not router.entries & there:
                self.problem(router.place, f"the router {router.name} names no entry point that is there")
        for entry in self.entries:
            for tls in (False, True):
                found = self._listener(entry, tls=tls)
                if found:
                    yield found

    def _listener(self, entry: Entry, *, tls: bool) -> Listener | None:
        default_tls = entry.option("http", "tls") is not None
        taken = [
            router for router in self.routers if self._serves(router, entry) and (router.tls or default_tls) is tls
        ]
        ranked = list(self._routes(taken, entry, tls=tls))
        if default_tls is tls:
            ranked += self._redirection(entry)
        routes = [route for _, route in sorted(ranked, key=lambda each: -each[0])]
        if not routes and (tls or (default_tls and entry.setting)):
            return None
        label = f"{entry.name}{' with TLS' if tls else ''}"
        return Listener(
            label=label,
            place=entry.setting.place if entry.setting else self.place,
            binds=_binds(entry, tls=tls),
            steps=tuple(entering(entry, tls=tls)),
            routes=tuple(routes),
            limits=limits(entry),
            otherwise=Answer(status=404, why=_NOT_FOUND),
        )

    def _serves(self, router: Router, entry: Entry) -> bool:
        if router.entries:
            return entry.name in router.entries
        defaults = [each for each in self.entries if each.setting and each.setting.flag("asDefault")]
        return entry in (defaults or [each for each in self.entries if each.name != _INTERNAL_ENTRY])

    def _redirection(self, entry: Entry) -> Iterator[tuple[int, Route]]:
        """The router that an entry point has for a redirection of all requests."""
        found = entry.option("http", "redirections", "entryPoint")
        if found is None or not found.word("to"):
            return
        to = found.word("to")
        target = next((each for each in self.entries if each.name == to), None)
        if to.startswith(":"):
            port: str | None = to[1:]
        else:
            port = str(_port(target) or "") if target else None
        scheme = found.word("scheme") or "https"
        permanent = found.flag("permanent", default=True)
        steps = redirection(scheme, port or "", permanent=permanent, place=found.place)
        if port is None:
            self.problem(found.place, f"the entry point {to} does not exist")
        label = f"all requests, sent to {to}"
        route = Route(label=label, match=Test(HOST, How.REGEX, ("^.+$",)), place=found.place, steps=steps)
        yield found.integer("priority") or _FIRST, route

    def _routes(self, routers: list[Router], entry: Entry, *, tls: bool) -> Iterator[tuple[int, Route]]:
        rivals = _Rivals(routers)
        for router in routers:
            try:
                route = self._route(router, entry, tls=tls)
            except DisabledError as error:
                self.problem(error.place, f"Traefik leaves the router {router.name} out: {error.reason}")
                continue
            yield router.priority, replace(route, match=rivals.against(router, route.match))

    def _route(self, router: Router, entry: Entry, *, tls: bool) -> Route:
        chain = Chain(tls=tls, version=self.version)
        named = router.setting.get("service")
        if named is None or not named.text:
            raise DisabledError("it has no service", router.setting.place)
        chain.steps.extend(encoded(entry))
        shared = entry.setting.words("http", "middlewares") if entry.setting else []
        build(shared, "file", self.scope, chain)
        build(router.setting.words("middlewares"), router.provider, self.scope, chain)
        target = services.resolved(named, router.provider, self.scope, chain)
        if target.unsure:
            chain.steps.append(Opaque(why=target.unsure, names=("Host",), place=target.place))
            chain.notes.append(target.unsure)
        kept = entry.setting is not None and entry.setting.flag("forwardedHeaders", "notAppendXForwardedFor")
        chain.steps.extend(services.sent(target, appended=chain.appended and not kept))
        self.unread += [each for each in chain.unread if each not in self.unread]
        return Route(
            label=f"{router.name}: {router.label}",
            match=router.rule.condition,
            place=router.place,
            sample=router.rule.path,
            sample_host=router.rule.host,
            steps=tuple(chain.steps),
            response=tuple(chain.response),
            upstream=services.upstream(target),
            timeouts=services.timeouts(target, entry),
            notes=tuple(dict.fromkeys(chain.notes)),
        )


def _refused(text: str, syntax: str) -> bool:
    try:
        parsed(text, syntax)
    except RuleError:
        return True
    return False


class _Rivals:
    """Routers of the same priority: which of those that match gets a request is not settled."""

    def __init__(self, routers: Iterable[Router]) -> None:
        self.by_host: dict[tuple[str, int, str | None], list[Router]] = {}
        self.anywhere: dict[tuple[str, int], list[Router]] = {}
        for router in routers:
            if router.rule.hosts is None:
                self.anywhere.setdefault((router.provider, router.priority), []).append(router)
            for host in (*(router.rule.hosts or ()), None):
                self.by_host.setdefault((router.provider, router.priority, host), []).append(router)

    def against(self, router: Router, match: Condition) -> Condition:
        """A match where no router of the same priority could take the request as well."""
        groups = [self.by_host[router.provider, router.priority, host] for host in router.rule.hosts or (None,)]
        if router.rule.hosts:
            groups.append(self.anywhere.get((router.provider, router.priority), []))
        unsettled = Undecided("priority", "another router has the same priority, and the order of the two changes")
        if sum(map(len, groups)) > MAX_RIVALS:
            return both(match, unsettled)
        found = [each for group in groups for each in group if each is not router]
        if not found:
            return match
        others = OneOf(tuple(each.rule.condition for each in found))
        return both(match, OneOf((Not(others), unsettled)))


def _binds(entry: Entry, *, tls: bool) -> tuple[Bind, ...]:
    if entry.setting is None:
        return (Bind(tls=tls),)
    address = entry.setting.word("address").partition("/")[0]
    return (Bind(address=address.rpartition(":")[0], port=_port(entry), tls=tls),)


def _port(entry: Entry) -> int | None:
    text = entry.setting.word("address").partition("/")[0].rpartition(":")[2] if entry.setting else ""
    return int(text) if text.isdigit() and len(text) <= 5 else None
