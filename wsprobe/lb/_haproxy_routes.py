"""HAProxy's sections as listeners and routes of the model: what a frontend does, and which backend it chooses."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Unknown
from wsprobe.lb import _haproxy_backend as backend
from wsprobe.lb import _haproxy_http as http
from wsprobe.lb._haproxy_acl import RefusedError, condition
from wsprobe.lb._haproxy_actions import REMOVED_RULES, Rule, of_old, redirects
from wsprobe.lb._haproxy_formats import formatted
from wsprobe.lb._haproxy_grammar import Directive
from wsprobe.lb._haproxy_proxy import Proxy, Refuse, duration
from wsprobe.lb._haproxy_rules import RuleSet
from wsprobe.lb._haproxy_samples import Scope
from wsprobe.lb._haproxy_samples_of import sampled
from wsprobe.lb._haproxy_timers import Tunnel, timeouts
from wsprobe.lb._haproxy_words import Word
from wsprobe.lb.evaluation import holds
from wsprobe.lb.expressions import ALWAYS, Condition, How, Of, Subject, Test, Undecided, both
from wsprobe.lb.model import (
    Answer,
    Edit,
    Limit,
    Listener,
    Opaque,
    Route,
    Step,
)
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.run import Run
from wsprobe.parts import Line

_MAX_CHOICES = 200  # backends that a name made from the request may be


@dataclass(frozen=True, slots=True)
class Settings:
    """What the global section, the userlists and all rules together make known."""

    limits: tuple[Limit, ...] = ()
    assigned: frozenset[str] = frozenset()
    scripted: str = ""
    users: dict[str, Condition] = field(default_factory=dict)


@dataclass(slots=True)
class Routes:
    """Makes listeners of proxies; what is not understood goes to `unread`, what HAProxy refuses to `refused`."""

    backends: dict[str, Proxy]
    settings: Settings
    unread: list[Unknown]
    refused: Refuse
    _known: dict[tuple[str, str, bool, bool], dict[str, list[Condition]]] = field(default_factory=dict)
    _scopes: dict[str, Scope] = field(default_factory=dict)
    _entries: dict[str, tuple[Step, ...]] = field(default_factory=dict)

    def listener(self, front: Proxy) -> Listener:
        """One frontend or listen section."""
        scope = self._scope(front)
        lists = self._lists(front, scope)
        place = front.section.place
        missing = scope.errors.get(503, 503) if front.mode == "http" else None
        return Listener(
            label=f"{front.section.kind} {front.name}",
            place=place,
            binds=front.binds(),
            steps=tuple(self._before(front, lists, scope)),
            routes=tuple(self._routes(front, lists, scope)),
            limits=self.settings.limits if front.mode == "http" else (),
            otherwise=Answer(status=missing, why="no backend is chosen", place=place),
        )

    def _lists(self, proxy: Proxy, scope: Scope) -> dict[str, list[Condition]]:
        """The access control lists of a section, read once for all routes that ask for them."""
        key = f"{proxy.section.kind} {proxy.name}", scope.frontend, scope.response, scope.tcp
        if key not in self._known:
            self._known[key] = proxy.lists(scope, self.refused)
        return self._known[key]

    def _scope(self, front: Proxy) -> Scope:
        if front.name not in self._scopes:
            self._scopes[front.name] = self._scope_of(front)
        return self._scopes[front.name]

    def _scope_of(self, front: Proxy) -> Scope:
        binds = front.binds()
        tls, ports = {bind.tls for bind in binds}, {bind.port for bind in binds}
        return Scope(
            frontend=front.name,
            assigned=self.settings.assigned,
            scripted=self.settings.scripted,
            peer=_peer(front),
            tls=next(iter(tls)) if len(tls) == 1 else None,
            port=next(iter(ports)) if len(ports) == 1 else None,
            tcp=front.mode != "http",
            users=self.settings.users,
            errors=backend.errors(front),
            logged=bool(front.option("httplog") or front.option("httpslog")),
        )

    # What is done.

    def _before(self, front: Proxy, lists: dict[str, list[Condition]], scope: Scope) -> Iterator[Step]:
        """What a frontend does before it chooses a backend."""
        for kind in ("connection", "session", "content"):
            yield from self._rules(front, f"tcp-request {kind}", lists, scope)
        if front.mode != "http":
            return
        yield from http.entering(front)
        yield from self._monitor(front, lists, scope)
        yield from self._common(front, lists, scope)

    def _common(self, proxy: Proxy, lists: dict[str, list[Condition]], scope: Scope) -> Iterator[Step]:
        """What a frontend and a backend do alike in HTTP mode."""
        yield from http.waiting(proxy)
        yield from self._rules(proxy, "http-request", lists, scope)
        yield from (of_old(line) for line in proxy.all(*REMOVED_RULES))
        yield from http.restricted(proxy)
        yield from backend.statistics(proxy)
        yield from self._redirects(proxy, lists, scope)

    def _rules(self, proxy: Proxy, keyword: str, lists: dict[str, list[Condition]], scope: Scope) -> Iterator[Step]:
        rules = RuleSet(keyword, f"{proxy.section.kind} {proxy.name}", lists, scope, self.unread)
        yield from rules.steps(proxy.rules(keyword), self.refused)

    def _monitor(self, front: Proxy, lists: dict[str, list[Condition]], scope: Scope) -> Iterator[Step]:
        line = front.last("monitor-uri")
        if line is None or len(line.words) < 2:
            return
        asked = Test(Of(Subject.TARGET), How.EQUALS, (str(line.words[1]),))
        for failing in front.rules("monitor fail"):
            when = self._when(failing, 2, lists, scope)
            yield Answer(status=503, why="monitor fail", when=both(asked, when), place=failing.place)
        yield Answer(status=200, why="monitor-uri", when=asked, place=line.place)

    def _redirects(self, proxy: Proxy, lists: dict[str, list[Condition]], scope: Scope) -> Iterator[Step]:
        for line in proxy.all("redirect"):
            end = _condition_at(line.words, 1)
            rule = Rule("redirect", "", line.words[1:end], self._when(line, end, lists, scope), line.place, scope)
            try:
                yield from redirects(rule)
            except RefusedError as error:
                self.refused(line, error)

    def _when(self, line: Directive, at: int, lists: dict[str, list[Condition]], scope: Scope) -> Condition:
        try:
            found = condition(line.words[at:], lists, scope)
        except RefusedError as error:
            self.refused(line, error)
            return Undecided("if", str(error))
        return both(found, Undecided(".if", line.doubt)) if line.doubt else found

    # Which backend is chosen.

    def _routes(self, front: Proxy, lists: dict[str, list[Condition]], scope: Scope) -> Iterator[Route]:
        for line in front.all("use_backend"):
            if len(line.words) < 2:
                self.refused(line, RefusedError("use_backend needs a name", line.place.column))
                continue
            end = _condition_at(line.words, 2)
            when = self._when(line, end, lists, scope)
            label = f"use_backend {line.words[1]}{_told(line.words[end:])}"
            yield from self._chosen(front, line, label, when)
        default = front.last("default_backend")
        if default is not None and len(default.words) > 1:
            yield from self._chosen(front, default, f"default_backend {default.words[1]}", ALWAYS)
        elif front.leads:
            yield self._route(front, front, f"listen {front.name}", ALWAYS, front.section.place)

    def _chosen(self, front: Proxy, line: Directive, label: str, when: Condition) -> Iterator[Route]:
        """The route to a backend that is named; several where the request decides which of them it is."""
        name = line.words[1]
        if name in self.backends:
            yield self._route(front, self.backends[name], label, when, line.place)
        elif "%[" in name and self.backends and not name.variables:
            value = formatted(name, self._scope(front))
            for choice in list(self.backends.values())[:_MAX_CHOICES]:
                named = both(when, Test(value, How.EQUALS, (choice.name,)))
                yield self._route(front, choice, f"{label}: {choice.name}", named, line.place)
        else:
            why = "the running HAProxy decides which backend that is"
            if "%[" not in name and not name.variables:
                why = "no backend of that name is in this file; where no other file has it, HAProxy does not start"
                self.unread.append(Unknown(what=label, why=why, place=line.place))
            yield Route(label=label, match=both(when, Undecided(name, why)), place=line.place)

    def _route(self, front: Proxy, back: Proxy, label: str, match: Condition, place: Line) -> Route:
        target, host = sampled(match)
        scope = replace(
            self._scope(front),
            tcp=front.mode != "http" and back.mode != "http",
            errors=backend.errors(back, front),
        )
        steps = tuple(self._behind(front, back, scope))
        server = backend.first(back)
        if server is None and not backend.transparent(back):
            steps += (
                Answer(status=scope.errors.get(503, 503), why=f"{back.name} has no server", place=back.section.place),
            )
        tunnel = self._tunnel(front, back, scope, steps, upgrade(target, host or "app.example.com"))
        if tunnel.sometimes:
            why = "it applies to some requests only, and the request decides which timer ends a WebSocket"
            self.unread.append(Unknown(what="set-timeout tunnel", why=why, place=tunnel.sometimes))
        return Route(
            label=label,
            match=match,
            place=place,
            sample=target,
            sample_host=host,
            steps=steps,
            response=tuple(self._answers(front, back, scope)),
            upstream=backend.upstream(back, server),
            timeouts=tuple(timeouts(front, back, tunnel)),
            notes=tuple(backend.notes(back)),
        )

    def _behind(self, front: Proxy, back: Proxy, scope: Scope) -> Iterator[Step]:
        """What is done once the backend is chosen."""
        lists = self._lists(back, scope) if back is not front else {}
        if front.mode != "http" and back.mode == "http":
            yield from http.entering(back)
        if back is not front:
            yield from self._rules(back, "tcp-request content", lists, scope)
            if back.mode == "http":
                yield from self._common(back, lists, scope)
        if back.mode != "http":
            return
        yield from backend.filters(front, back)
        server = backend.first(back)
        yield from http.leaving(front, back, server, scope)
        yield from (step for proxy in (back, front) for step in self._spoilt(proxy, scope))
        if server is not None and backend.protocol(server) in {"h2", "h2c"}:
            yield from http.extended_connect(server)

    def _responses(self, proxy: Proxy, scope: Scope) -> Iterator[Step]:
        about = replace(scope, response=True)
        lists = self._lists(proxy, about)
        yield from self._rules(proxy, "http-response", lists, about)
        yield from self._rules(proxy, "http-after-response", lists, about)

    def _spoilt(self, proxy: Proxy, scope: Scope) -> Iterator[Step]:
        """The rules about the response that keep a 101 from the client; they say `Spoil`."""
        yield from (step for step in self._responses(proxy, scope) if not isinstance(step, (Edit, Opaque)))

    def _answers(self, front: Proxy, back: Proxy, scope: Scope) -> Iterator[Edit]:
        """The edits of the response: those of the backend come first."""
        if back.mode != "http":
            return
        for owner in _both(back, front):
            yield from (step for step in self._responses(owner, scope) if isinstance(step, Edit))

    def _tunnel(self, front: Proxy, back: Proxy, scope: Scope, steps: tuple[Step, ...], request: Request) -> Tunnel:
        """What `http-request set-timeout tunnel` sets for an upgrade that goes through these steps of a route."""
        rules = [
            (owner, line)
            for owner in _both(front, back)
            for line in owner.rules("http-request set-timeout")
            if line.words[2:3] == ("tunnel",) and len(line.words) > 3
        ]
        found = Tunnel()
        run = Run(request)
        if rules:
            if front.name not in self._entries:
                self._entries[front.name] = tuple(self._before(front, self._lists(front, scope), scope))
            way = (*self._entries[front.name], *steps)
            run.enter(Listener(label="", place=front.section.place, steps=way))
        for owner, line in rules:
            at = _condition_at(line.words, 4)
            if holds(self._when(line, at, self._lists(owner, scope), scope), run) is True:
                found = Tunnel(duration(line.words[3], line.place) or found.time)
            else:
                found = replace(found, sometimes=line.place)
        return found


def _both(first: Proxy, second: Proxy) -> list[Proxy]:
    """Two sections, or the one that both are: a listen section."""
    return [first] if first is second else [first, second]


def _condition_at(words: Sequence[Word], least: int) -> int:
    return next((at for at in range(least, len(words)) if words[at] in {"if", "unless"}), len(words))


_OPEN = re.compile(
    r"^!?(?:path|url|base|method|ssl_fc|src|dst|hdr\w*\(host\)|req\.hdr\(host\)|hdr\w*\(upgrade\))", re.IGNORECASE
)


def _told(words: Sequence[Word]) -> str:
    """A condition as a label: patterns only where they cannot be a secret."""
    told: list[str] = []
    at = 0
    while at < len(words):
        end = next((index for index in range(at, len(words)) if words[index] == "}"), len(words))
        if words[at].endswith("{") and at + 1 < len(words):
            inside = words[at + 1 : end] if _OPEN.match(words[at + 1]) else (words[at + 1].partition("(")[0], "…")
            told += [words[at], *inside, "}"]
            at = end
        else:
            told.append(words[at])
        at += 1
    return "".join(f" {word}" for word in told)


def _peer(front: Proxy) -> str:
    """Why nobody can tell the client's address, where that is so."""
    if any("accept-proxy" in line.words for line in front.all("bind")):
        return "the client's address comes in the PROXY protocol"
    for keyword in ("http-request set-src", "tcp-request"):
        if any("set-src" in line.words for line in front.rules(keyword)):
            return "a rule sets the client's address (set-src)"
    return ""
