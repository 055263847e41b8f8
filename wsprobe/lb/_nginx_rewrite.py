"""What nginx's rewrite module does: `set`, `if`, `rewrite`, `return` and `break`, as steps in their order."""

from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_maps import group_names
from wsprobe.lb._nginx_values import TEXT_EMPTY, Around, Values, after, names_in, remembered_as, sent
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    ALWAYS,
    Captured,
    Cases,
    Condition,
    How,
    Join,
    Not,
    Of,
    OneOf,
    Or,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
    both,
)
from wsprobe.lb.model import Answer, Assign, Method, Reroute, Retarget, Spoil, Step

REWRITTEN = "the URI was rewritten"
"""The variable that says so: nginx then no longer sends what the client sent."""

LEFT = "the location was left"
"""The variable that says that a `break` ended the rewriting: the URI of proxy_pass is then ignored."""

CHANGED = "the location is looked for again"
"""The variable that says so."""

HANDLED = "the block that handles the request"
"""The variable that names the `if` whose directives are in force."""

ENTERED = "the server block was gone through"
"""The variable that says so: it is gone through again only for a request that nginx makes itself."""

PAGED = "an error page was looked for"
"""The variable that says so."""

ERROR = "the status of the error"
"""The variable that has it, while an error page is answered."""

STOPPED = "the rewriting has ended"
"""The variable that says so."""


def said(variable: str) -> Test:
    """Whether such a variable says yes."""
    return Test(Of(Subject.VARIABLE, variable), How.EQUALS, ("1",))


def resent(path: Value) -> Value:
    """A path that is written anew: escaped where the client had escaped anything, or where it was rewritten."""
    escaped = Test(Of(Subject.RAW_PATH, original=True), How.CONTAINS, ("%",))
    return Cases(((OneOf((escaped, said(REWRITTEN))), sent(path)),), path)


_STOPPED = said(STOPPED)
_CLOSES = 444
_ERRORS = 400
_HEAD = Test(Of(Subject.METHOD), How.EQUALS, ("HEAD",))
_MOVES = frozenset({"301", "302", "303", "307", "308"})
_FILE_TESTS = frozenset({"-f", "-d", "-e", "-x", "!-f", "!-d", "!-e", "!-x"})
_REDIRECTS = ("http://", "https://", "$scheme")
_OPERATORS = {"=": (How.EQUALS, False), "~": (How.REGEX, False), "~*": (How.REGEX, True)}
SIMPLE = frozenset({"set", "return", "rewrite", "break", "if"})
"""The directives of this module."""


@dataclass(slots=True)
class Rewriting:
    """Turns the directives of one block into steps. `server` says that no location is chosen yet.

    `failed` gives the steps of an answer with an error status: error_page may lead elsewhere.
    """

    values: Values
    around: Around
    failed: "Errors"
    server: bool = False
    handlers: dict[int, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    rewrites: bool = False
    stops: bool = False
    ended: bool = False
    answered: bool = False

    def run(self, directives: Iterable[Directive], taken: Condition = ALWAYS) -> None:
        """Takes the directives in their order, those of an `if` where its condition holds."""
        for each in directives:
            if self.ended:
                return
            guard = both(taken, Not(_STOPPED)) if self.stops else taken
            if each.name in {"set", "if"}:
                self._remember(each.args, guard, each)
            match each.name:
                case "set":
                    self._set(each, guard)
                case "return":
                    self.steps.extend(self.returned(each, guard))
                    self.ended = self.answered = guard == ALWAYS
                case "rewrite":
                    self._rewrite(each, guard)
                case "break":
                    self._break(each, guard)
                case "if":
                    self._if(each, guard)

    def all(self) -> Iterator[Step]:
        """The steps, after what makes a location that is come to again begin anew."""
        if self.stops:
            yield Assign(name=STOPPED, value=TEXT_EMPTY)
        if self.rewrites and not self.server:
            yield Assign(name=CHANGED, value=TEXT_EMPTY)
        if self.handlers:
            yield Assign(name=HANDLED, value=TEXT_EMPTY)
        yield from self.steps

    def value(self, text: str) -> Value:
        """A text with variables, as the block knows them."""
        return self.values.value(text, self.around)

    def _flag(self, when: Condition, directive: Directive) -> Condition:
        """Remembers whether a condition held, since what comes later may change what it is about."""
        variable = f"{directive.name} {directive.source.path}:{directive.line}:{directive.column}"
        held = Cases(((when, Text("1")),), TEXT_EMPTY)
        self.steps.append(Assign(name=variable, value=held, place=directive.place))
        return said(variable)

    def _remember(self, texts: Iterable[str], when: Condition, directive: Directive) -> None:
        """Keeps the values of maps that are asked for here and whose inputs may change after it."""
        for name in self.values.maps_in(texts):
            if name in self.values.remembered:
                value = Or(self.values.variable(name, self.around), TEXT_EMPTY)
                self.steps.append(Assign(name=remembered_as(name), value=value, when=when, place=directive.place))

    def _stop(self, when: Condition, directive: Directive) -> None:
        self.stops = True
        self.steps.append(Assign(name=STOPPED, value=Text("1"), when=when, place=directive.place))

    def _set(self, each: Directive, guard: Condition) -> None:
        name = each.arg(0).removeprefix("$").lower()
        value = Or(self.value(each.arg(1)), TEXT_EMPTY)
        if name != "args":
            self.steps.append(Assign(name=name, value=value, when=guard, place=each.place))
            return
        anew = Join((resent(self.around.path), after("?", value)))
        self.steps.append(Retarget(value=anew, when=guard, place=each.place))

    def returned(self, each: Directive, guard: Condition) -> Iterator[Step]:
        """The steps of a `return`; after an error page the status is that of the error."""
        told = natural(each.arg(0))
        code = 302 if told is None else told
        if code == _CLOSES:
            why = "return 444 closes the connection without an answer"
            yield Answer(status=None, why=why, when=guard, place=each.place)
        elif code >= _ERRORS and len(each.args) == 1:
            yield from self.failed.steps(code, f"return {code}", guard, each)
        else:
            for status in sorted(self.failed.kept):
                when = both(guard, Test(Of(Subject.VARIABLE, ERROR), How.EQUALS, (str(status),)))
                yield Answer(status=status, why="the status of an error is kept", when=when, place=each.place)
            yield Answer(status=code, why=f"return {code}", when=guard, place=each.place)

    # rewrite and break

    def _rewrite(self, each: Directive, guard: Condition) -> None:
        pattern, replacement, flag = each.arg(0), each.arg(1), each.arg(2)
        found = both(guard, Test(self.around.path, How.REGEX, (pattern,)))
        if replacement.startswith(_REDIRECTS) or flag in {"redirect", "permanent"}:
            status = 301 if flag == "permanent" else 302
            self.steps.append(Answer(status=status, why=f"rewrite answers {status}", when=found, place=each.place))
            return
        found = self._flag(found, each)
        self._catch(self.around.path, pattern, found, ignore_case=False)
        self.rewrites = True
        self._remember((replacement,), found, each)
        self.steps.append(Retarget(value=self._target(replacement), when=found, place=each.place))
        self._note(REWRITTEN, "1", found, each)
        if not self.server:
            self._note(CHANGED, "" if flag == "break" else "1", found, each)
        if flag == "break":
            self._note(LEFT, "1", found, each)
        if flag in {"last", "break"}:
            self._stop(found, each)

    def _note(self, name: str, text: str, when: Condition, directive: Directive) -> None:
        self.steps.append(Assign(name=name, value=Text(text), when=when, place=directive.place))

    def _target(self, replacement: str) -> Value:
        """The new request target: the path escaped, with the arguments that stay."""
        path, mark, query = replacement.partition("?")
        old = Of(Subject.QUERY)
        kept = after("?", old)
        if mark:
            new = self.value(query.removesuffix("?"))
            kept = Join((Text("?"), new)) if query else TEXT_EMPTY
            if query and not query.endswith("?"):
                kept = Join((kept, after("&", old)))
        return Join((sent(self.value(path)), kept))

    def _break(self, each: Directive, guard: Condition) -> None:
        if self.rewrites:
            self._note(LEFT, "1", both(guard, said(REWRITTEN)), each)
            if not self.server:
                self._note(CHANGED, "", guard, each)
        if guard == ALWAYS:
            self.ended = True
        else:
            self._stop(guard, each)

    def _catch(self, value: Value, pattern: str, found: Condition, *, ignore_case: bool) -> None:
        """Remembers what the groups of a pattern catch, where anything asks for it."""
        names = [*group_names(pattern), *(str(n) for n in range(1, min(pattern.count("("), 9) + 1))]
        for name in names:
            if name in self.values.used:
                caught = Captured(value, pattern, name, ignore_case)
                self.steps.append(Assign(name=name.lower(), value=caught, when=found))

    # if

    def _if(self, each: Directive, guard: Condition) -> None:
        simple = [inner for inner in each.block or () if inner.name in SIMPLE]
        tested, pattern, source = self.condition(each)
        taken = both(guard, tested)
        handler = self.handlers.get(id(each), "")
        if len(simple) > 1 or self.handlers or pattern:
            taken = self._flag(taken, each)
        if pattern and source:
            self._catch(source, pattern, taken, ignore_case=each.arg(1).endswith("*"))
        if self.handlers:
            self._note(HANDLED, handler, taken, each)
        self.run(simple, taken)

    def condition(self, each: Directive) -> tuple[Condition, str, Value | None]:
        """What an `if` asks; with the pattern and the value where it is one that catches groups."""
        words = _words(each)
        if words[:1] and words[0] in _FILE_TESTS:
            why = f"whether {' '.join(words)} holds depends on the files of the machine"
            return Undecided(" ".join(words), why), "", None
        if not words or not words[0].startswith("$") or len(words) not in {1, 3}:
            return Undecided("if", "this condition is not understood"), "", None
        value = Or(self.value(words[0]), TEXT_EMPTY)
        if len(words) == 1:
            return Not(Test(value, How.EQUALS, ("", "0"))), "", None
        operator, text = words[1].removeprefix("!"), words[2]
        negated = words[1].startswith("!")
        if operator not in _OPERATORS:
            return Undecided("if", f"the operator {words[1]} is not known"), "", None
        how, ignore_case = _OPERATORS[operator]
        if how is How.EQUALS and names_in(text):
            # Two values are the same where the second repeats the first.
            pair = Join((value, Text("\0"), self.value(text)))
            test = Test(pair, How.REGEX, ("(?s)^([^\0]*)\0\\1$",))
        else:
            test = Test(value, how, (text,), ignore_case=ignore_case)
        catches = how is How.REGEX and not negated
        return (Not(test) if negated else test), text if catches else "", value if catches else None


def _words(each: Directive) -> list[str]:
    """The words of a condition without its parentheses, which may stand alone or touch the words."""
    words = list(each.args)
    if words and words[0].startswith("("):
        words[0] = words[0][1:]
    if words and words[-1].endswith(")"):
        words[-1] = words[-1][:-1]
    if words and not words[0]:
        words.pop(0)
    if len(words) in {2, 4} and not words[-1]:
        words.pop()
    return words


def made_inside(why: str, cause: Directive, when: Condition = ALWAYS, first: tuple[Step, ...] = ()) -> Reroute:
    """Nginx makes the request anew for another URI, and goes through the server block once more."""
    anew = (
        Assign(name=REWRITTEN, value=Text("1"), place=cause.place),
        Assign(name=ENTERED, value=TEXT_EMPTY, place=cause.place),
    )
    return Reroute(why=why, again=True, first=(*first, *anew), when=when, place=cause.place)


@dataclass(slots=True)
class Errors:
    """What becomes of an answer with an error status: error_page may give the request to another location.

    `named` are the names of named locations in the model, `kept` the statuses that an error page leaves as they are.
    """

    pages: list[Directive]
    named: dict[str, str]
    values: Values
    around: Around
    kept: frozenset[int]
    recursive: bool = False

    def steps(self, status: int, why: str, when: Condition, cause: Directive) -> Iterator[Step]:
        """The steps of that answer; none is looked for after one of a block without recursive_error_pages."""
        answer = Answer(status=status, why=why, when=when, place=cause.place)
        page = next((page for page in self.pages if str(status) in page.args[:-1]), None)
        if page is None:
            yield answer
            return
        yield replace(answer, when=both(when, said(PAGED)))
        target = page.args[-1]
        if not target.startswith(("@", "/", "$")):
            other = next((arg[1:] for arg in page.args[:-1] if arg.startswith("=")), "")
            yield replace(answer, status=int(other) if other in _MOVES else 302)
            return
        first = list(self._status(page, status))
        if not self.recursive:
            first.append(Assign(name=PAGED, value=Text("1"), place=page.place))
        why = f"{why}, and error_page gives it to {target if target.startswith('@') else 'another URI'}"
        if target.startswith("@"):
            to = self.named.get(target, target)
            yield Reroute(to=to, why=why, first=tuple(first), when=when, place=cause.place)
            return
        first.append(Retarget(value=self.values.value(target, self.around), place=page.place))
        first.append(Method(value=Cases(((_HEAD, Text("HEAD")),), Text("GET"))))
        yield made_inside(why, cause, when, tuple(first))

    @staticmethod
    def _status(page: Directive, status: int) -> Iterator[Step]:
        """The client gets the status of the error, whatever the page answers, unless the page says another with `=`."""
        other = next((arg[1:] for arg in page.args[:-1] if arg.startswith("=")), str(status))
        if other:
            why = f"error_page keeps the status {other}, also of an upgrade; `=` before its target would not"
            yield Spoil(status=int(other) if other.isdigit() else None, why=why, place=page.place)
        yield Assign(name=ERROR, value=Text(other), place=page.place)
