"""Runs a request through a config: the request as the upstream will receive it, and every edit with its line.

Pure, and the same for all proxies. What cannot be known stands in `unknown` with the reason; nothing is guessed: a
header that an undecidable condition touches is in neither the headers nor the edits from there on.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import field, replace
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from wsprobe.frozen import dataclass
from wsprobe.inspection import Change, HeaderEdit, Prediction, Unknown
from wsprobe.lb.expressions import Subject, Text, Unsure, evaluate, holds, matches, members_of, substitute
from wsprobe.lb.model import (
    Answer,
    Assign,
    Bind,
    Config,
    Edit,
    Empty,
    Every,
    Gate,
    Like,
    Limit,
    Listener,
    Measure,
    Method,
    Named,
    Nominated,
    Only,
    Op,
    Opaque,
    Reroute,
    Retarget,
    Route,
    Spoil,
    Stall,
    Step,
)
from wsprobe.parts import Header, Line, Message

_OF_TARGET = frozenset({Subject.TARGET, Subject.PATH, Subject.RAW_PATH, Subject.QUERY})

MAX_REROUTES = 10
"""How often a route is chosen anew for one request; a proxy that does not stop there itself answers 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The head of an HTTP/1.1 request as it comes to the proxy, and what is known of the connection it comes on.

    `port` is the one that the client connected to, `machine` the name of the host that the proxy runs on. What is None
    is not known.
    """

    target: str = "/"
    headers: tuple[Header, ...] = ()
    method: str = "GET"
    version: str = "HTTP/1.1"
    scheme: str | None = None
    port: int | None = None
    peer: str | None = None
    peer_port: int | None = None
    local: str | None = None
    machine: str | None = None


def upgrade(target: str = "/", host: str = "app.example.com", headers: tuple[Header, ...] = ()) -> Request:
    """The request of a client that asks for a WebSocket (RFC 6455, 4.1), with more headers behind its own."""
    own = (
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    )
    given = {name.lower() for name, _ in headers}
    return Request(target=target, headers=(*(pair for pair in own if pair[0].lower() not in given), *headers))


def predict(config: Config, request: Request) -> Prediction:
    """What becomes of a request that comes to the proxy of this config.

    Where several listeners could take it, those of the request's port come first; of the others, the first that
    leads to an upstream. `assumed` says which one was taken.
    """
    listeners = [listener for listener in config.listeners if _takes(listener, request)]
    if not listeners:
        where = f"port {request.port}" if request.port else "this request"
        return _nothing(config, Unknown(what="the listener", why=f"no listener of the config takes {where}"))
    found = [_through(config, listener, request) for listener in listeners]
    at = next((index for index, one in enumerate(found) if one.reached is not False), 0)
    if len(found) == 1:
        return found[0]
    taken = f"the client connects to {listeners[at].label}: {len(found)} listeners could take the request"
    return replace(found[at], assumed=(*found[at].assumed, taken))


def carry(config: Config, listener: Listener, route: Route, request: Request) -> Prediction:
    """What becomes of a request on one route, whether or not it matches."""
    run = Run(_arrived(listener, request))
    return run.finish(config, listener, route) if run.enter(listener) else _left(run, config, listener)


def _takes(listener: Listener, request: Request) -> bool:
    """Whether a listener can be the one that the client connected to, as far as both are known."""
    return bool(_binds(listener, request)) or not listener.binds


def _binds(listener: Listener, request: Request) -> list[Bind]:
    """The addresses of a listener that the client can have connected to."""
    binds = [bind for bind in listener.binds if request.port is None or bind.port in {None, request.port}]
    if request.scheme is not None:
        binds = [bind for bind in binds if bind.tls is (request.scheme == "https")]
    return binds


def _arrived(listener: Listener, request: Request) -> Request:
    """The request with the scheme and port of the listener that takes it, where it has one of each."""
    binds = _binds(listener, request)
    schemes = {"https" if bind.tls else "http" for bind in binds}
    ports = {bind.port for bind in binds}
    return replace(
        request,
        scheme=request.scheme or (schemes.pop() if len(schemes) == 1 else None),
        port=request.port or (ports.pop() if len(ports) == 1 else None),
    )


def _nothing(config: Config, *unknown: Unknown) -> Prediction:
    return Prediction(
        reached=None, status=None, request=None, edits=(), timeouts=(), unknown=unknown, config=config.path
    )


def _through(config: Config, listener: Listener, request: Request) -> Prediction:
    run = Run(_arrived(listener, request))
    return _routed(run, config, listener) if run.enter(listener) else _left(run, config, listener)


def _left(run: "Run", config: Config, listener: Listener) -> Prediction:
    """What becomes of a request that the listener itself does not let go on to a route."""
    return _rerouted(run, config, listener, run.reroute) if run.reroute else run.refused(config, listener, None)


def _routed(run: "Run", config: Config, listener: Listener) -> Prediction:
    """What becomes of a request that has come in, on the first route that takes it."""
    for route in listener.routes:
        held = holds(route.match, run)
        if isinstance(held, Unsure):
            what = f"whether {route.label} takes the request"
            return _nothing(config, Unknown(what=what, why=held.why, place=route.place))
        if held and (found := _taken(run, config, listener, route)):
            return found
    run.pass_by(listener)
    return run.refused(config, listener, None)


def _rerouted(run: "Run", config: Config, listener: Listener, step: Reroute) -> Prediction:
    """What becomes of a request for which a route is chosen anew."""
    run.ended, run.reroute, run.reroutes = False, None, run.reroutes + 1
    if run.reroutes > MAX_REROUTES:
        run.end(500, "the request is routed anew without end", step.place)
        return run.refused(config, listener, None)
    if step.again and not run.enter(listener):
        return _left(run, config, listener)
    if not step.to:
        return _routed(run, config, listener)
    route = next((route for route in listener.routes if route.name == step.to), None)
    if route is None:
        return _nothing(config, Unknown(what=step.to, why="a route that the config does not have", place=step.place))
    return run.finish(config, listener, route)


def _taken(run: "Run", config: Config, listener: Listener, route: Route) -> Prediction | None:
    """What becomes of a request on a route that matches; None where the route leaves it to the next one on the way."""
    if not any(isinstance(step, Only) for step in route.steps):
        return run.finish(config, listener, route)
    trial = run.copy()
    found = trial.finish(config, listener, route)
    if isinstance(trial.chosen, Unsure):
        what = f"whether {route.label} takes the request"
        return _nothing(config, Unknown(what=what, why=trial.chosen.why, place=route.place))
    return found if trial.chosen else None


@dataclass(slots=True)
class Run:
    """One request on its way: what stands in its head now, and what is not sure of it."""

    request: Request
    headers: list[Header] = field(default_factory=list)
    target: str = ""
    target_unsure: Unsure | None = None
    unsure: dict[str, Unknown] = field(default_factory=dict)
    cloud: Unknown | None = None
    settled: set[str] = field(default_factory=set)
    edits: list[HeaderEdit] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    doubts: bool = False
    ended: bool = False
    status: int | None = None
    why: str = ""
    where: Line | None = None
    method: str = ""
    method_unsure: Unsure | None = None
    variables: dict[str, str | Unsure | None] = field(default_factory=dict)
    reroute: Reroute | None = None
    reroutes: int = 0
    choosing: bool = False
    chosen: bool | Unsure = True

    def __post_init__(self) -> None:
        # Space around a value is no part of it (RFC 9110, 5.5).
        parsed = tuple((name, value.strip(" \t")) for name, value in self.request.headers)
        self.request = replace(self.request, headers=parsed)
        self.headers = self.headers or list(parsed)
        self.target = self.target or self.request.target
        self.method = self.method or self.request.method

    def copy(self) -> "Run":
        """The same request, to be tried on a route that may leave it to the next one."""
        return replace(
            self,
            headers=list(self.headers),
            unsure=dict(self.unsure),
            settled=set(self.settled),
            edits=list(self.edits),
            unknown=list(self.unknown),
            variables=dict(self.variables),
            choosing=True,
        )

    # What expressions ask: wsprobe.lb.expressions.View.

    def lines(self, name: str, *, original: bool) -> list[str] | Unsure:
        """The values of all lines of a header."""
        lowered = name.lower()
        if not original and (doubt := self._doubt(lowered)):
            return Unsure(doubt.why)
        headers = self.request.headers if original else self.headers
        return [value for key, value in headers if key.lower() == lowered]

    def part(self, subject: Subject, *, original: bool) -> str | Unsure | None:  # noqa: PLR0911  one branch a part
        """Any other part of the request."""
        request = self.request
        if subject in _OF_TARGET:
            if self.target_unsure and not original:
                return self.target_unsure
            return _of_target(subject, request.target if original else self.target)
        match subject:
            case Subject.METHOD:
                return request.method if original else self.method_unsure or self.method
            case Subject.NAMES:
                return self._names_of_headers(original=original)
            case Subject.VERSION:
                return request.version
            case Subject.HOST | Subject.AUTHORITY:
                found = self.lines("host", original=original)
                authority = found if isinstance(found, Unsure) else found[0] if found else None
                return _host(authority) if subject is Subject.HOST and isinstance(authority, str) else authority
            case (
                Subject.SCHEME | Subject.PEER | Subject.PEER_PORT | Subject.LOCAL | Subject.LOCAL_PORT | Subject.MACHINE
            ):
                known = {
                    Subject.SCHEME: request.scheme,
                    Subject.PEER: request.peer,
                    Subject.PEER_PORT: request.peer_port,
                    Subject.LOCAL: request.local,
                    Subject.LOCAL_PORT: request.port,
                    Subject.MACHINE: request.machine,
                }[subject]
                return Unsure(f"the {subject} is not known here") if known is None else str(known)
        raise ValueError(subject)  # what has a name is asked for by it

    def _doubt(self, name: str) -> Unknown | None:
        if name in self.unsure:
            return self.unsure[name]
        return self.cloud if self.cloud and name not in self.settled else None

    def _names_of_headers(self, *, original: bool) -> str | Unsure:
        doubt = next((each for each in (*self.unsure.values(), self.cloud) if each), None)
        if doubt and not original:
            return Unsure(doubt.why)
        return "\n".join(name for name, _ in (self.request.headers if original else self.headers))

    def variable(self, name: str) -> str | Unsure | None:
        """The value of a variable of the proxy; None where none was assigned."""
        return self.variables.get(name)

    # The way through.

    def enter(self, listener: Listener) -> bool:
        """Takes the request in: size limits and the steps that all routes share; whether it goes on."""
        self._limits(listener.limits)
        self._steps(listener.steps)
        return not self.ended

    def finish(self, config: Config, listener: Listener, route: Route) -> Prediction:
        """The rest of the way on one route."""
        self._limits(route.limits)
        self._steps(route.steps)
        if self.reroute and self.chosen is True:
            return _rerouted(self, config, listener, self.reroute)
        if not self.ended and route.upstream is None:
            self.end(None, "the proxy answers by itself", route.place)
        if self.ended:
            return self.refused(config, listener, route)
        return self._prediction(config, listener, route, reached=None if self.doubts else True)

    def refused(self, config: Config, listener: Listener, route: Route | None) -> Prediction:
        """The request goes no further; with what status is open where it may have been refused before."""
        if self.doubts:
            self.status = None
        return self._prediction(config, listener, route, reached=False)

    def pass_by(self, listener: Listener) -> None:
        """No route takes the request."""
        self._steps(listener.unmatched)
        if not self.ended:
            answer = listener.otherwise or Answer(status=None, why="no route matches")
            self.end(answer.status, answer.why, answer.place)

    def end(self, status: int | None, why: str, place: Line | None) -> None:
        """The proxy answers by itself, or never."""
        self.ended, self.status, self.why, self.where = True, status, why, place

    def _prediction(
        self, config: Config, listener: Listener, route: Route | None, *, reached: bool | None
    ) -> Prediction:
        going = not self.ended and route is not None
        unknown = [*self.unknown, *self.unsure.values()]
        if self.cloud:
            unknown.append(self.cloud)
        if self.target_unsure:
            unknown.append(Unknown(what="the request target", why=self.target_unsure.why))
        if self.method_unsure:
            unknown.append(Unknown(what="the method", why=self.method_unsure.why))
        return Prediction(
            reached=reached,
            status=self.status,
            request=self._head(route) if going and route else None,
            edits=_net(self.edits),
            timeouts=tuple(timeout for timeout in route.timeouts if timeout.applies) if route and going else (),
            unknown=tuple(dict.fromkeys(unknown)),
            route=route.label if route else None,
            place=self.where or (route.place if route else listener.place),
            why=self.why,
            assumed=(f"{config.kind} {config.version}",) if config.assumed else (),
            config=config.path,
        )

    def _head(self, route: Route) -> Message:
        protocol = route.upstream.protocol if route.upstream else "client"
        versions = {"http/1.0": "HTTP/1.0", "http/1.1": "HTTP/1.1", "client": self.request.version}
        version = versions.get(protocol, "HTTP/2" if protocol.startswith("h2") else "HTTP/?")
        target = "?" if self.target_unsure else self.target
        # Spaces around a value are no part of it, wherever they come from (RFC 9110, 5.5).
        known = tuple((name, text.strip(" \t")) for name, text in self.headers if not self._doubt(name.lower()))
        method = "?" if self.method_unsure else self.method
        return Message(start_line=f"{method} {target} {version}", headers=known)

    def _limits(self, limits: tuple[Limit, ...]) -> None:
        for limit in limits:
            size = measured(limit, self.request)
            if size > limit.most + limit.slack:
                self.end(limit.status, f"{limit.name}: {size} {limit.measure}, above {limit.most}", limit.place)
                return
            if size > limit.most - limit.slack and limit.slack:
                self._doubted(f"whether the head passes {limit.name}", f"{size} of {limit.most} octets", limit.place)

    def _steps(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if self.ended or self.chosen is not True:
                return
            held = holds(step.when, self)
            if isinstance(step, Only):
                self.chosen = held if self.choosing else True
            elif held is not False:
                self._step(step, held if isinstance(held, Unsure) else None)

    def _step(self, step: Step, unsure: Unsure | None) -> None:  # noqa: C901, PLR0912  one branch a step
        """One step; `unsure` is why nobody can tell whether it is taken."""
        match step:
            case Edit():
                self._edit(step, unsure)
            case Retarget():
                value = unsure or evaluate(step.value, self)
                if isinstance(value, Unsure):
                    self.target_unsure = value
                elif value is not None:
                    self.target, self.target_unsure = value, None
            case Method():
                value = unsure or evaluate(step.value, self)
                if isinstance(value, Unsure):
                    self.method_unsure = value
                elif value:
                    self.method, self.method_unsure = value, None
            case Assign():
                self.variables[step.name] = unsure or evaluate(step.value, self)
            case Spoil():
                self._spoil(step, unsure)
            case Reroute() if unsure:
                self._doubted("whether another route gets the request", f"{step.why}: {unsure.why}", step.place)
            case Reroute():
                self.ended, self.reroute = True, step
            case Answer() | Stall() if unsure:
                what = f"whether the proxy answers {step.status or 'by itself'}" if isinstance(step, Answer) else ""
                self._doubted(what or "whether the request hangs", f"{step.why}: {unsure.why}", step.place)
            case Answer():
                self.end(step.status, step.why, step.place)
            case Stall():
                self.end(None, step.why, step.place)
            case Gate():
                self._gate(step, unsure)
            case Opaque():
                self._opaque(step)

    def _spoil(self, step: Spoil, unsure: Unsure | None) -> None:
        if unsure:
            self.unknown.append(Unknown(what="whether a 101 reaches the client", why=unsure.why, place=step.place))
        elif self.status is None:
            self.status, self.why, self.where = step.status, step.why, step.place

    def _gate(self, gate: Gate, unsure: Unsure | None) -> None:
        passes = holds(gate.passes, self)
        if passes is False and not unsure:
            self.end(gate.status, f"{gate.kind} refuses the request", gate.place)
        elif passes is not True:
            why = passes.why if isinstance(passes, Unsure) else unsure.why if unsure else ""
            self._doubted(f"whether {gate.kind} lets the request pass", why, gate.place)

    def _doubted(self, what: str, why: str, place: Line | None) -> None:
        self.doubts = True
        self.unknown.append(Unknown(what=what, why=why, place=place))

    def _opaque(self, step: Opaque) -> None:
        if step.names:
            for name in step.names:
                self.unsure[name.lower()] = Unknown(what=name, why=step.why, place=step.place)
            return
        self.cloud = Unknown(what="any header", why=step.why, place=step.place)
        self.settled.clear()

    # Edits.

    def _edit(self, edit: Edit, unsure: Unsure | None) -> None:
        names = self._names(edit)
        if isinstance(names, Unsure):
            self.cloud = Unknown(what="any header", why=names.why, place=edit.place)
            self.settled.clear()
            return
        for name in names:
            value = unsure or evaluate(edit.value, self)
            if isinstance(value, Unsure):
                self.unsure[name.lower()] = Unknown(what=name, why=value.why, place=edit.place)
                if edit.op is Op.RENAME and isinstance(edit.value, Text):
                    self.unsure[edit.value.text.lower()] = self.unsure[name.lower()]
                continue
            self._apply(edit, name, value)

    def _names(self, edit: Edit) -> list[str] | Unsure:
        """The headers that an edit is about, each once, as they are written."""
        match edit.which:
            case Named():
                return list(edit.which.names)
            case Nominated():
                found = self.lines("connection", original=False)
                if isinstance(found, Unsure):
                    return found
                tokens = [token.strip() for line in found for token in line.split(",")]
                but = {name.lower() for name in edit.which.but}
                return [token for token in dict.fromkeys(tokens) if token and token.lower() not in but]
            case Like():
                return self._like(edit.which)
            case Empty():
                return list(dict.fromkeys(name for name, value in self.headers if not value))
            case Every():
                but = {name.lower() for name in edit.which.but}
                return [name for name in dict.fromkeys(name for name, _ in self.headers) if name.lower() not in but]

    def _like(self, which: Like) -> list[str] | Unsure:
        found = []
        for name in dict.fromkeys(name for name, _ in self.headers):
            held = matches(which.pattern, name.lower() if which.lowered else name, ignore_case=which.ignore_case)
            if isinstance(held, Unsure):
                return held
            if held:
                found.append(name)
        return found

    def _apply(self, edit: Edit, name: str, value: str | None) -> None:  # noqa: C901, PLR0912  one branch an operation
        lowered = name.lower()
        doubt = self._doubt(lowered)
        if doubt and edit.op not in {Op.SET, Op.REMOVE}:
            return  # what it makes of something unknown is unknown
        before = [text for key, text in self.headers if key.lower() == lowered]
        after: list[str] | Unsure = before
        match edit.op:
            case Op.SET:
                after = [] if value is None or (edit.drop_empty and not value) else [value]
            case Op.ADD:
                added = [] if value is None or (edit.drop_empty and not value) else [value]
                after = [*added, *before] if edit.ahead else [*before, *added]
            case Op.DEFAULT:
                after = before or ([] if value is None else [value])
            case Op.APPEND if value is not None:
                after = _appended(edit, before, value)
            case Op.REMOVE:
                after = []
            case Op.FIRST:
                after = before[:1]
            case Op.PRUNE:
                after = [kept for text in before if (kept := _pruned(edit.pattern, text))]
            case Op.JOIN if len(before) > 1:
                after = [edit.separator.join(text for text in before if text or not edit.drop_empty)]
            case Op.REPLACE:
                after = self._replaced(edit, before, value or "")
            case Op.RENAME if before and value:
                self._rename(name, value, before, edit.place)
                return
        if isinstance(after, Unsure):
            self.unsure[lowered] = Unknown(what=name, why=after.why, place=edit.place)
            return
        if edit.op in {Op.SET, Op.REMOVE}:
            self.unsure.pop(lowered, None)
            self.settled.add(lowered)
        if after != before:
            self._put(name, after)
            self.edits.append(_told(edit, name, before, after))

    def _replaced(self, edit: Edit, before: list[str], replacement: str) -> list[str] | Unsure:
        after = []
        for text in before:
            members = members_of(text) if edit.members else [text]
            for at, member in enumerate(members):
                inner = member.strip() if edit.members else member
                found = matches(edit.pattern, inner, ignore_case=edit.ignore_case)
                done = substitute(edit.pattern, replacement, inner, ignore_case=edit.ignore_case, every=edit.every)
                if isinstance(done, Unsure):
                    return done
                members[at] = done if found else member
            after.append(",".join(members))
        return [text for text in after if text or not edit.drop_empty]

    def _rename(self, old: str, new: str, values: list[str], place: Line | None) -> None:
        self._put(old, [])
        self.headers += [(new, value) for value in values]
        self.edits.append(HeaderEdit(kind=Change.RENAMED, name=old, before=", ".join(values), after=new, place=place))

    def _put(self, name: str, values: list[str]) -> None:
        """The lines of a header, where its first stood; a new one at the end."""
        lowered = name.lower()
        first = next((index for index, (key, _) in enumerate(self.headers) if key.lower() == lowered), None)
        written = name if first is None else self.headers[first][0]
        rest = [header for header in self.headers if header[0].lower() != lowered]
        at = len(rest) if first is None else first
        self.headers = [*rest[:at], *((written, value) for value in values), *rest[at:]]


def _pruned(pattern: str, line: str) -> str:
    """A list without the members that a pattern matches."""
    members = members_of(line)
    gone = [re.fullmatch(pattern, member.strip(), re.IGNORECASE) is not None for member in members]
    if True not in gone:
        return line if line.strip(" \t,") else ""
    first = gone.index(True)
    kept = [member.strip() for member, is_gone in zip(members[first:], gone[first:], strict=True) if not is_gone]
    return ",".join([",".join(members[:first]), *kept] if first else kept)


def _appended(edit: Edit, before: list[str], value: str) -> list[str]:
    """The lines with a value behind the last, or the first; where empty ones are dropped, no member is empty."""
    if not before:
        return [value]
    at = 0 if edit.to_first else len(before) - 1
    members = [text for text in (before[at], value) if text or not edit.drop_empty]
    return [edit.separator.join(members) if index == at else text for index, text in enumerate(before)]


def _told(edit: Edit, name: str, before: list[str], after: list[str]) -> HeaderEdit:
    kind = Change.CHANGED
    if not before:
        kind = Change.ADDED
    elif not after:
        kind = Change.REMOVED
    elif edit.op is Op.JOIN:
        kind = Change.MERGED
    return HeaderEdit(
        kind=kind,
        name=name,
        before=", ".join(before) if before else None,
        after=", ".join(after) if after else None,
        place=edit.place,
    )


def _net(edits: list[HeaderEdit]) -> tuple[HeaderEdit, ...]:
    """The edits, with what a proxy takes off and puts on again by default told as the one change that it is."""
    found: list[HeaderEdit] = []
    for edit in edits:
        last = next((one for one in reversed(found) if one.name.lower() == edit.name.lower()), None)
        again = edit.kind is Change.ADDED and last is not None and last.kind is Change.REMOVED
        if not again or last is None or edit.place or last.place:
            found.append(edit)
        elif last.before == edit.after:
            found.remove(last)
        else:
            found[found.index(last)] = replace(last, kind=Change.CHANGED, after=edit.after)
    return tuple(found)


def measured(limit: Limit, request: Request) -> int:  # noqa: PLR0911  one branch a measure
    """What a size limit counts, of a request."""
    lines = [(len(name.encode("latin-1", "replace")), len(value.encode("utf-8"))) for name, value in request.headers]
    start = len(request.method) + len(request.target) + len(request.version) + 2
    more = limit.per_line * len(lines)
    match limit.measure:
        case Measure.COUNT:
            return len(lines) + more
        case Measure.VALUE:
            return max((value for _, value in lines), default=0) + more
        case Measure.LINE:
            return max((name + 2 + value for name, value in lines), default=0) + more
        case Measure.JOINED:
            sizes: dict[str, int] = {}
            for (name, _), (_, size) in zip(request.headers, lines, strict=True):
                sizes[name.lower()] = sizes[name.lower()] + 2 + size if name.lower() in sizes else size
            return max(sizes.values(), default=0) + more
        case Measure.START:
            return start + more
        case Measure.HEAD:
            return start + 2 + sum(name + value + 4 for name, value in lines) + 2 + more
        case Measure.BUFFERS:
            return _filled(limit, [start + 2, *(name + value + 4 for name, value in lines), 2])


def _filled(limit: Limit, lines: list[int]) -> int:
    """How many buffers the lines fill, one more than there are where a line fits in none."""
    count, left = 0, limit.first
    for line in lines:
        if line > left:
            count, left = count + 1, limit.each
        if line > left:
            return limit.most + 1
        left -= line
    return count


def _host(authority: str) -> str:
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() else authority


@lru_cache(maxsize=4096)  # the matches of all routes ask for the path of one request
def _of_target(subject: Subject, target: str) -> str | None:
    if "://" in target and not target.startswith("/"):  # the absolute form (RFC 9112, 3.2.2)
        slash = target.find("/", target.index("://") + 3)
        whole, target = target, target[slash:] if slash >= 0 else "/"
        if subject is Subject.TARGET:
            return whole
    path, mark, query = target.partition("?")
    match subject:
        case Subject.TARGET:
            return target
        case Subject.RAW_PATH:
            return path
        case Subject.QUERY:
            return query if mark else None
    return _normal(path)


def _normal(path: str) -> str:
    """A path decoded, with its dot segments resolved and its slashes merged."""
    decoded = unquote(path)
    normal = posixpath.normpath(f"/{decoded.lstrip('/')}")
    return f"{normal}/" if decoded.endswith(("/", "/.", "/..")) and normal != "/" else normal


def request_for(url: str, headers: tuple[Header, ...]) -> Request:
    """The upgrade that a client would send to a URL, or to a path where no more is known."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    if not parts.netloc:
        host = next((value for name, value in headers if name.lower() == "host"), "app.example.com")
        return upgrade(target, host, headers)
    secure = parts.scheme in {"wss", "https"}
    default = 443 if secure else 80
    host = parts.netloc.rpartition("@")[2]
    made = upgrade(target, host, headers)
    return Request(
        target=made.target,
        headers=made.headers,
        scheme="https" if secure else "http",
        port=parts.port or default,
    )


def steps_of(listener: Listener, route: Route) -> Iterator[Step]:
    """All steps of a route, those of its listener first."""
    yield from listener.steps
    yield from route.steps
