"""One request on its way through a proxy: what stands in its head, and what is not sure of it, step by step."""

from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Change, HeaderEdit, Prediction, Unknown
from wsprobe.lb.edits import appended, net, pruned, told
from wsprobe.lb.evaluation import evaluate, holds, matches, members_of, substitute
from wsprobe.lb.expressions import Subject, Text, Unsure
from wsprobe.lb.model import (
    Answer,
    Assign,
    Config,
    Edit,
    Empty,
    Every,
    Gate,
    Like,
    Limit,
    Listener,
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
from wsprobe.lb.request import OF_TARGET, Request, host_of, of_target
from wsprobe.lb.sizes import measured
from wsprobe.parts import Header, Line, Message


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
    elsewhere: bool = False
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
        if parsed != self.request.headers:
            self.request = replace(self.request, headers=parsed)
        self.headers = self.headers or list(parsed)
        self.target = self.target or self.request.target
        self.method = self.method or self.request.method

    def copy(self, *, choosing: bool = True) -> "Run":
        """The same request; `choosing` where it is tried on a route that may leave it to the next one."""
        return replace(
            self,
            headers=list(self.headers),
            unsure=dict(self.unsure),
            settled=set(self.settled),
            edits=list(self.edits),
            unknown=list(self.unknown),
            variables=dict(self.variables),
            choosing=choosing,
        )

    # What expressions ask: wsprobe.lb.evaluation.View.

    def withheld(self, text: str) -> str | None:
        """What a recorder put in the place of a secret in a text."""
        if text in self.request.arguments:
            return text
        return next((mark for mark in self.request.withheld if mark in text), None)

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
        if subject in OF_TARGET:
            if self.target_unsure and not original:
                return self.target_unsure
            return of_target(subject, request.target if original else self.target)
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
                return host_of(authority) if subject is Subject.HOST and isinstance(authority, str) else authority
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

    def take(self, route: Route) -> None:
        """Takes the request along a route: its size limits and its steps."""
        self._limits(route.limits)
        self._steps(route.steps)

    def passed(self, config: Config, listener: Listener, route: Route) -> Prediction:
        """The request at the end of a route: it goes to the upstream, or the proxy has answered."""
        if not self.ended and route.upstream is None:
            self.end(None, "the proxy answers by itself", route.place)
        if self.ended:
            return self.refused(config, listener, route)
        return self._prediction(config, listener, route, reached=None if self.doubts else True)

    def refused(self, config: Config, listener: Listener, route: Route | None) -> Prediction:
        """The request goes no further, unless another route may have got it; the status is open after a doubt."""
        if self.doubts:
            self.status = None
        return self._prediction(config, listener, route, reached=None if self.elsewhere else False)

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
            edits=net(self.edits),
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
                self.elsewhere = True
                self._doubted("whether another route gets the request", f"{step.why}: {unsure.why}", step.place)
            case Reroute():
                self._steps(step.first)
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
                after = before if value is None or (edit.drop_empty and not value) else [*before, value]
            case Op.DEFAULT:
                after = before or ([] if value is None else [value])
            case Op.APPEND if value is not None:
                after = appended(edit, before, value)
            case Op.REMOVE:
                after = []
            case Op.FIRST:
                after = before[:1]
            case Op.PRUNE:
                after = [kept for text in before if (kept := pruned(edit.pattern, text))]
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
            self.edits.append(told(edit, name, before, after))

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
