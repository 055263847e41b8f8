"""One route for each location of a server, and for each `if` of it that changes who answers."""

from collections.abc import Iterator
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_head import dropped, limits
from wsprobe.lb._nginx_input import NAMES as INPUT
from wsprobe.lb._nginx_maps import captures
from wsprobe.lb._nginx_match import Place, modifier, ordered
from wsprobe.lb._nginx_rest import HANDLERS, Rest
from wsprobe.lb._nginx_rewrite import CHANGED, ENTERED, HANDLED, REWRITTEN, Errors, Rewriting, said
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_values import PATH, Around, Values
from wsprobe.lb._numbers import natural
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    NEVER,
    Cases,
    How,
    Not,
    Of,
    Subject,
    Test,
    Text,
    Value,
    Written,
    both,
)
from wsprobe.lb.model import Answer, Assign, Reroute, Route, Step

_CONFIGURES = frozenset({*HANDLERS, "error_page", *INPUT})
_WRITES = ("rewrite", "error_page", "try_files")


@dataclass(slots=True)
class Server:
    """The routes of one server block.

    `name` tells its named locations from those of other servers, `prefix` stands before the labels of its routes.
    """

    scope: Scope
    values: Values
    name: str
    prefix: str
    addresses: dict[str, tuple[str, ...]]
    host: str | None = None
    problems: list[Problem] = field(default_factory=list)
    default: Scope | None = None
    _rewriting: Rewriting | None = None
    _path: Value | None = None
    _before: tuple[Step, ...] | None = None
    _answers: dict[str, int] | None = None
    _named: dict[str, str] | None = None
    _statuses: frozenset[int] | None = None

    # What all blocks of the server share.

    def around(self, scope: Scope, *, original: bool = False) -> Around:
        """What variables stand for in a block."""
        first = next((name for each in scope.nearest("server_name") for name in each.args), "")
        checked = scope.flag("ignore_invalid_headers", default=True)
        underscores = scope.flag("underscores_in_headers", default=False) or not checked
        names: dict[str, Value] = {"server_name": Text(first.removeprefix("."))}
        if trusted := [each.arg(0) for each in scope.nearest("set_real_ip_from")]:
            names["remote_addr"] = self.values.real_address(trusted)
        return Around(names, self.path, original, underscores)

    def errors(self, scope: Scope) -> Errors:
        """What becomes of errors in a block."""
        recursive = scope.flag("recursive_error_pages", default=False)
        pages = scope.nearest("error_page")
        return Errors(pages, self._names(), self.values, self.around(scope), self._kept(), recursive)

    def _names(self) -> dict[str, str]:
        if self._named is None:
            found = [each.arg(0) for each in self.scope.own("location") if each.arg(0).startswith("@")]
            self._named = {name: f"{self.name}{name}" for name in found}
        return self._named

    def _kept(self) -> frozenset[int]:
        """The statuses for which some error page of the server, or around it, keeps the status."""
        if self._statuses is None:
            found = [*self.scope.nearest("error_page"), *_within(self.scope.directives, "error_page")]
            codes = {arg.removeprefix("=") for page in found for arg in page.args[:-1]}
            self._statuses = frozenset(filter(None, map(natural, codes)))
        return self._statuses

    @property
    def path(self) -> Value:
        """The path that locations are compared with; what nginx itself wrote is not put in order once more."""
        if self._path is None:
            raw = Written(Of(Subject.RAW_PATH), PathForm.DECODED)
            # The request line is read before Host, and so as the default server of the address says.
            merged = (self.default or self.scope).flag("merge_slashes", default=True)
            sent: Value = PATH if merged else Written(raw, PathForm.WITHOUT_DOTS)
            writes = any(True for name in _WRITES for _ in _within(self.scope.directives, name))
            self._path = Cases(((said(REWRITTEN), raw),), sent) if writes else sent
        return self._path

    def rewriting(self) -> Rewriting:
        """What the server block itself does before a location is chosen."""
        if self._rewriting is None:
            self._rewriting = Rewriting(self.values, self.around(self.scope), self.errors(self.scope), server=True)
            self._rewriting.run(self.scope.directives)
        return self._rewriting

    def fixed_answers(self) -> dict[str, int]:
        """What locations answer that only return a code, by their path: auth_request may ask them."""
        if self._answers is None:
            self._answers = {}
            # The request to the service goes through the server block as well, and may end up elsewhere.
            elsewhere = any(not isinstance(step, Assign) for step in self.rewriting().steps)
            for each in () if elsewhere else self.scope.own("location"):
                codes = [inner for inner in each.block or () if inner.name != "internal"]
                returned = natural(codes[0].arg(0)) if len(codes) == 1 and codes[0].name == "return" else None
                if each.args and returned is not None:
                    self._answers[each.args[-1]] = returned
        return self._answers

    def before(self) -> tuple[Step, ...]:
        """What the server block does, as steps of its routes: where it rewrites, the listener has them instead."""
        if self.rewriting().rewrites:
            return ()
        if self._before is None:
            steps = tuple(self.rewriting().all())
            if steps and self.path is not PATH:
                fresh = Not(said(ENTERED))
                once = (replace(step, when=both(fresh, step.when)) for step in steps)
                steps = (*once, Assign(name=ENTERED, value=Text("1")))
            self._before = steps
        return self._before

    # Routes.

    def routes(self) -> Iterator[Route]:
        """The routes in the order of nginx; the last one is for what no location takes."""
        for each in self.scope.own("proxy_pass"):
            self.problems.append(each.problem('"proxy_pass" directive is not allowed here, in "server"'))
        whole = False
        for place in ordered(self.scope, self.path):
            how, name = modifier(place.scope)
            whole = whole or (name == "/" and how in {"", "^~"})
            if place.redirect:
                yield self._redirect(place, name)
            else:
                yield from self._location(place)
        if not whole:
            yield self._unlocated()

    def _redirect(self, place: Place, name: str) -> Route:
        why = f"the location is {name}, and nginx answers 301 to what lacks its last slash"
        at = place.scope.place
        answer = Answer(status=301, why=why, place=at)
        return Route(
            label=f"{self.prefix}location {name} without its slash",
            match=place.match,
            place=at,
            sample=name[:-1],
            sample_host=self.host,
            steps=(*dropped(place.scope), *self.before(), *self._internal(place.scope), answer),
        )

    def _unlocated(self) -> Route:
        """What no location takes: the server block itself answers it."""
        route = Rest(self, self.scope, "", self.rewriting().rewrites)
        return Route(
            label=f"{self.prefix}no location",
            place=self.scope.place,
            sample_host=self.host,
            steps=(*dropped(self.scope), *self.before(), *route.steps()),
            limits=limits(self.scope),
        )

    def _location(self, place: Place) -> Iterator[Route]:
        scope = place.scope
        how, name = modifier(scope)
        label = f"{self.prefix}location {' '.join(scope.directive.args if scope.directive else ())}"
        special = [each for each in scope.own("if") if {inner.name for inner in each.block or ()} & _CONFIGURES]
        handlers = {id(each): self._called(each) for each in special}
        rewriting = Rewriting(self.values, self.around(scope), self.errors(scope), handlers=handlers)
        rewriting.run(scope.directives)
        rewrites = rewriting.rewrites or self.rewriting().rewrites
        rest = Rest(self, scope, name if how in {"", "=", "^~"} else "", rewrites, regex=how.startswith(("~", "@")))
        before = () if how == "@" else self.before()
        chosen = [*dropped(scope), *before, *self._entered(scope, how, name), *rewriting.all()]
        chosen += self._handled(handlers)
        ends = () if rewriting.answered else (*rest.input_edits(), *_moved(rewriting), *rest.steps())
        yield rest.route(label, place, [*chosen, *ends], name=f"{self.name}{name}" if how == "@" else "")
        for each in special:
            inner = Rest(self, scope.inner(each), rest.location, rewrites, regex=True)
            steps: list[Step] = [*inner.input_edits(), *_moved(rewriting), *inner.steps()]
            own = f"{label}, if at line {each.line}"
            yield inner.route(own, Place(inner.scope, NEVER), steps, name=handlers[id(each)])
        for each in scope.own("limit_except"):
            inner = Rest(self, scope.inner(each), rest.location, self.rewriting().rewrites, regex=True)
            steps = [*inner.input_edits(), *inner.steps()]
            yield inner.route(f"{label}, limit_except", Place(inner.scope, NEVER), steps, name=self._called(each))

    def _called(self, block: Directive) -> str:
        """What a block is called by that gets requests only from within its location."""
        return f"{self.name} {block.name} {block.source.path}:{block.line}:{block.column}"

    def _entered(self, scope: Scope, how: str, name: str) -> Iterator[Step]:
        """What happens when the location is chosen, before its own directives are run."""
        yield from self._internal(scope)
        if how.startswith("~"):
            caught = captures(name, self.path, ignore_case=how == "~*")
            for group, value in caught.items():
                if group in self.values.used:
                    yield Assign(name=group, value=value)
        for each in scope.own("limit_except"):
            allowed = tuple(each.args) + (("HEAD",) if "GET" in each.args else ())
            others = Not(Test(Of(Subject.METHOD), How.EQUALS, allowed))
            yield Reroute(to=self._called(each), why="limit_except", when=others, place=each.place)

    def _internal(self, scope: Scope) -> Iterator[Step]:
        """A location for requests that nginx itself makes."""
        if internal := scope.setting("internal"):
            outside = Not(said(REWRITTEN))
            yield from self.errors(scope).steps(404, "the location is internal", outside, internal)

    @staticmethod
    def _handled(handlers: dict[int, str]) -> Iterator[Step]:
        """Where the request goes when the condition of an `if` held that says who answers."""
        for handler in handlers.values():
            chosen = Test(Of(Subject.VARIABLE, HANDLED), How.EQUALS, (handler,))
            yield Reroute(to=handler, why="the condition of an if holds", when=chosen)


def _moved(rewriting: Rewriting) -> Iterator[Step]:
    """The location is looked for again where the URI was rewritten in it."""
    if rewriting.rewrites:
        yield Reroute(why="the URI was rewritten", when=said(CHANGED))


def _within(directives: tuple[Directive, ...], name: str) -> Iterator[Directive]:
    """The directives of that name at any depth."""
    for each in directives:
        if each.name == name:
            yield each
        yield from _within(each.block or (), name)
