"""Caddy's nested routes as routes of the model: one for each handler that ends a request's way, with all on its way.

Caddy asks each matcher when the request gets there. What no step on the way can have changed stands in the route's
match; the rest is asked in its steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass, replace

from wsprobe.lb._caddy_context import Context, End, Pass, gate_of
from wsprobe.lb._caddy_handlers import handled
from wsprobe.lb._caddy_labels import label_of, sample_of
from wsprobe.lb._caddy_match import captures, matches_any
from wsprobe.lb._caddy_rewrite import ORIGINAL
from wsprobe.lb._caddy_tree import Tree
from wsprobe.lb.expressions import (
    ALWAYS,
    Condition,
    How,
    Not,
    Of,
    Subject,
    Test,
    Text,
    Undecided,
    both,
)
from wsprobe.lb.model import Answer, Assign, Edit, Method, Named, Only, Opaque, Retarget, Route, Step
from wsprobe.model import Line

MAX_DEPTH = 60
"""How deep routes may be nested."""

MAX_STEPS = 400_000
"""How many steps all routes of a config may have together; each route repeats those on its way."""


@dataclass(slots=True)
class Way:
    """The way of a request up to one point: conditions that held, steps that were taken, and how people call it."""

    match: list[Condition] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    response: list[Edit] = field(default_factory=list)
    labels: tuple[str, ...] = ()
    place: Line | None = None
    sample: str | None = None
    host: str | None = None
    changed: set[str] = field(default_factory=set)

    def take(self, steps: Iterable[Step]) -> None:
        """Takes steps, and keeps in mind what they change."""
        for step in steps:
            self.steps.append(step)
            self.changed |= _changed(step)

    def copy(self, steps: Iterable[Step] = ()) -> "Way":
        """The same way, with more steps."""
        way = replace(
            self,
            match=list(self.match),
            steps=list(self.steps),
            response=list(self.response),
            changed=set(self.changed),
        )
        way.take(steps)
        return way

    def branch(self, route: Tree, condition: Condition) -> "Way":
        """The way of those requests that a route matches."""
        sets = route.trees("match")
        label = route.label or label_of(sets)
        path, host = sample_of(sets)
        way = self.copy()
        if label:
            way.labels = (*self.labels, label)
        if label or self.place is None:
            way.place = route.place
        way.sample, way.host = path or self.sample, host or self.host
        if condition != ALWAYS and _depends(condition, self.changed):
            way.steps.append(Only(when=condition, place=route.place))
        elif condition != ALWAYS:
            way.match.append(condition)
        return way


class Flattened:
    """The routes of one server, in the order in which Caddy comes to them."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.routes: list[Route] = []
        self.room = MAX_STEPS

    def run(self, routes: Iterable[Tree], way: Way, context: Context) -> bool:
        """Takes a way through a list of routes, which it lengthens; whether it always ends there."""
        taken: dict[str, list[Condition]] = {}
        ended = False
        for route in routes:
            condition = matches_any(route.trees("match"), context.scope)
            group = route.text("group")
            if group is None:
                flag = None
            else:
                flag = context.report.name("group")
                condition = both(condition, *map(Not, taken.setdefault(group, [])))
                taken[group].append(_is_set(flag))
            if not ended:
                ended = self._route(route, condition, way, context, flag)
            elif condition != ALWAYS:
                # Nothing comes here any more: a route with a matcher of its own was meant to be taken.
                self._route(route, condition, way.copy(), context, flag)
        return ended

    def _route(self, route: Tree, condition: Condition, way: Way, context: Context, flag: str | None = None) -> bool:
        """One route of a list; what it leaves of a request that goes on is put on the way.

        `flag` is the variable that tells the others of its group that it matched.
        """
        inside = way.branch(route, condition)
        begin, answered = len(inside.steps), len(inside.response)
        sets = route.trees("match")
        for name, value in captures(sets[0]) if len(sets) == 1 else ():
            if context.scope.caught:
                inside.take([Assign(name=name, value=value)])
        ended = self._handlers(route.trees("handle"), inside, context)
        if not ended and route.text("terminal") == "true":
            self._emit(inside, _silence(route.place, context))
            ended = True
        if ended:
            return condition == ALWAYS
        way.take(_guarded(inside.steps[begin:], condition, flag, context))
        way.response += inside.response[answered:]
        return False

    def _handlers(self, handlers: list[Tree], way: Way, context: Context) -> bool:
        for handler in handlers:
            name = handler.text("handler")
            if context.depth > MAX_DEPTH:
                context.report.unknown(str(name), f"routes are nested deeper than {MAX_DEPTH}", handler.place)
                return False
            if name == "subroute":
                errors = tuple((handler.tree("errors") or Tree(handler.place)).trees("routes"))
                inner = replace(context, errors=(errors, *context.errors)) if errors else context
                if self.run(handler.trees("routes"), way, inner.deeper()):
                    return True
            elif name == "invoke":
                if self._invoke(handler, way, context):
                    return True
            else:
                done = handled(handler, context)
                if isinstance(done, End):
                    self.end(way, done, context)
                    return True
                self._refused(way, done, handler, context)
                way.take(done.steps)
                way.response += done.response
        return False

    def _refused(self, way: Way, done: Pass, handler: Tree, context: Context) -> None:
        """Where errors are handled, a request that an authentication refuses goes that way."""
        gate = gate_of(done.steps)
        if gate is None or gate.kind != "basic_auth" or not context.errors:
            return
        refusal = Answer(status=401, why="basic_auth refuses the request", place=gate.place)
        left = Only(when=Not(gate.passes), place=gate.place)
        failed = way.copy([left])
        self.end(failed, End(place=handler.place, answer=refusal, failed=401), context)

    def _invoke(self, handler: Tree, way: Way, context: Context) -> bool:
        name = handler.text("name") or ""
        route = context.named_routes.tree(name) if context.named_routes else None
        if route is None:
            context.report.unknown(f"invoke {name}", "there is no route of that name", handler.place)
            return False
        return self._route(route, matches_any(route.trees("match"), context.scope), way, context.deeper())

    # Ends.

    def end(self, way: Way, end: End, context: Context) -> None:
        """Ends a way; an error goes through the routes for errors."""
        if end.failed is not None and context.errors and context.depth <= MAX_DEPTH:
            self._error(way, end, context)
        else:
            self._emit(way, end)

    def _error(self, way: Way, end: End, context: Context) -> None:
        """An error goes through the routes for errors, with the target and the method that the client sent."""
        status = str(end.failed or "")
        known = {**context.scope.known, "http.error.status_code": _status(status)}
        scope = replace(context.scope, known=known)
        inner = replace(context, scope=scope, errors=context.errors[1:], depth=context.depth + 1)
        restored: list[Step] = [
            Retarget(value=ORIGINAL),
            Method(value=Of(Subject.METHOD, original=True)),
        ]
        failed = way.copy(restored)
        if not self.run(context.errors[0], failed, inner):
            self.end(failed, end, inner)

    def _emit(self, way: Way, end: End) -> None:
        steps = (*way.steps, *end.steps, *([end.answer] if end.answer else []))
        self.room -= len(steps)
        if self.room < 0:
            steps = (Answer(status=None, why="the config has too many routes to follow them all", place=end.place),)
        self.routes.append(
            Route(
                label=" ".join(way.labels) or self.label,
                match=_all(way.match),
                place=way.place or end.place,
                sample=way.sample or "/",
                sample_host=way.host,
                steps=steps,
                response=(*way.response, *end.response),
                upstream=end.upstream if self.room >= 0 else None,
                timeouts=end.timeouts,
                notes=end.notes,
            )
        )

    def rest(self, way: Way, place: Line) -> None:
        """What no handler answers gets an empty 200."""
        answer = Answer(status=200, why=_SILENCE, place=place)
        self._emit(replace(way, labels=(*way.labels, "anything else"), place=place), End(place=place, answer=answer))


_SILENCE = "no handler answers, so Caddy sends an empty 200"


def _silence(place: Line, context: Context) -> End:
    """Nothing answers: an empty 200, and of an error its status."""
    error = context.scope.known.get("http.error.status_code")
    if error is None:
        return End(place=place, answer=Answer(status=200, why=_SILENCE, place=place))
    status = int(error.text) if isinstance(error, Text) else None
    return End(place=place, answer=Answer(status=status, why="no route for errors answers", place=place))


def _status(status: str) -> Text | Undecided:
    return Text(status) if status not in {"", "0"} else Undecided("{err.status_code}", "the error is not known here")


def _all(conditions: list[Condition]) -> Condition:
    return both(*conditions) if conditions else ALWAYS


def _is_set(name: str) -> Condition:
    return Test(Of(Subject.VARIABLE, name), How.EQUALS, ("1",))


def _guarded(steps: list[Step], condition: Condition, flag: str | None, context: Context) -> list[Step]:
    """Steps that are taken where a condition holds when the first of them is reached."""
    if flag is None and (condition == ALWAYS or not steps):
        return steps
    if flag is None and len(steps) == 1:
        return [_when(steps[0], condition)]
    name = flag or context.report.name("matched")
    return [Assign(name=name, value=Text("1"), when=condition), *(_when(step, _is_set(name)) for step in steps)]


def _when(step: Step, condition: Condition) -> Step:
    return replace(step, when=both(condition, step.when))


# What a condition looks at, and what steps change.


_ANY_HEADER = "any header"


def _changed(step: Step) -> set[str]:
    """What a step changes, in the words of `_looked_at`."""
    match step:
        case Retarget():
            return {"target"}
        case Method():
            return {"method"}
        case Assign():
            return {f"variable {step.name}"}
        case Edit(which=Named(names=names)) | Opaque(names=names) if names:
            return {name.lower() for name in names}
        case Edit() | Opaque():
            return {_ANY_HEADER}
    return set()


def _depends(condition: Condition, changed: set[str]) -> bool:
    """Whether a condition looks at what was changed."""
    looked_at = _looked_at(condition)
    headers = {each for each in looked_at if " " not in each} - {"target", "method"}
    return bool(looked_at & changed or (headers and _ANY_HEADER in changed))


_PARTS = {
    Subject.HOST: "host",
    Subject.AUTHORITY: "host",
    Subject.COOKIE: "cookie",
    Subject.METHOD: "method",
    Subject.TARGET: "target",
    Subject.PATH: "target",
    Subject.RAW_PATH: "target",
    Subject.QUERY: "target",
    Subject.PARAMETER: "target",
}


def _looked_at(condition: Condition) -> frozenset[str]:
    """The names of headers in lower case, `target`, `method`, and the variables that a condition depends on."""
    found: set[str] = set()
    waiting: list[object] = [condition]
    while waiting:
        at = waiting.pop()
        match at:
            case Of(subject=Subject.HEADER, original=False):
                found.add(at.name.lower())
            case Of(subject=Subject.VARIABLE):
                found.add(f"variable {at.name}")
            case Of(original=False):
                found.add(_PARTS.get(at.subject, ""))
            case tuple():
                waiting += at
            case _ if is_dataclass(at):
                waiting += [getattr(at, each.name) for each in fields(at)]
    return frozenset(found)
