"""What headers-more does to the headers of the client, before anything else looks at them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_values import Around, Values, names_in
from wsprobe.lb.evaluation import matches
from wsprobe.lb.expressions import ALWAYS, Cased, Condition, How, Of, Piece, Subject, Test, Undecided, Value, both, has
from wsprobe.lb.model import Edit, Like, Named, Op, Step

NAMES = ("more_set_input_headers", "more_clear_input_headers")
"""Its directives."""

_WITH_VALUE = frozenset({"-t", "-s"})


@dataclass(slots=True)
class Asked:
    """The variables whose value nginx has from before: it keeps one from the first time that it is asked for.

    `kept` were asked for before anything edited what they are about, `doubtful` are those of which that is not sure.
    """

    values: Values
    kept: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    _edited: list[Edit] = field(default_factory=list)

    def around(self, around: Around) -> Around:
        """What a block knows of variables from here on."""
        first = self.kept | self.doubtful
        mixed = {name for name in self.values.maps if self._moved(self.values.asked_by({name}) & first)}
        doubtful = self.doubtful | (mixed - self.kept)
        return replace(around, kept=frozenset(self.kept), doubtful=frozenset(doubtful))

    def ask(self, names: set[str], *, certain: bool) -> None:
        """Something asks for these variables; not `certain` where that depends on the request."""
        for name in self.values.asked_by(names) - self.kept:
            known = self.kept if certain and not self._moved({name}) else self.doubtful
            known.add(name)

    def edit(self, edit: Edit) -> None:
        """A header is edited after what has been asked for so far."""
        self._edited.append(edit)

    def _moved(self, names: Iterable[str]) -> bool:
        """Whether one of the variables is about a header that was edited."""
        return any(_touches(edit, header) for edit in self._edited for name in names for header in _headers_of(name))


def _headers_of(name: str) -> tuple[str, ...]:
    """The header that a variable is about, in both spellings where its name has underscores; none of another one."""
    if name.startswith("http_"):
        return name[5:].replace("_", "-"), name[5:]
    if name in {"content_type", "content_length"}:
        return (name.replace("_", "-"),)
    if name.startswith("proxy_add_x_"):
        return ("x-forwarded-for",)
    return ("cookie",) if name.startswith("cookie_") else ()


def _touches(edit: Edit, header: str) -> bool:
    if isinstance(edit.which, Named):
        return header in {name.lower() for name in edit.which.names}
    return isinstance(edit.which, Like) and matches(edit.which.pattern, header, ignore_case=True) is not False


_SURELY, _MAYBE = frozenset({"set", "if"}), frozenset({"if", "rewrite"})


def asked_before(blocks: tuple[Scope | None, ...], values: Values) -> Asked:
    """The variables that the rewriting of these blocks asks for; it comes before the edits."""
    asked = Asked(values)
    for certain in (True, False):
        for scope in blocks:
            for each in scope.directives if scope else ():
                if names := _asked_by(each, certain=certain):
                    asked.ask(names, certain=certain)
    return asked


def _asked_by(each: Directive, *, certain: bool) -> set[str]:
    """The variables that a directive of the rewriting surely asks for, or all that it may ask for."""
    if each.name not in (_SURELY if certain else _MAYBE):
        return set()
    inner = () if certain else each.block or ()
    return {name for one in (each, *inner) for arg in one.args for name in names_in(arg)}


def input_edits(scope: Scope, around: Around, asked: Asked) -> Iterator[Step]:
    """The edits of a block; those of outer blocks come first: this module adds to what it inherits."""
    alive: Condition = ALWAYS
    for outer in reversed(list(scope.chain())):
        for each in outer.own(*NAMES):
            types, replaces, texts = _options(each)
            for text in texts:
                name = text.partition(":")[0].strip()
                when = both(alive, *types, *([has(name)] if replaces else []))
                edit = _edit(each, text, asked.values, asked.around(around), when)
                asked.ask(set(names_in(text)), certain=not types and alive == ALWAYS)
                asked.edit(edit)
                yield edit
                if replaces and name.lower() == "cookie":
                    # Whether the module goes on after it differs with what stands there, and follows no rule.
                    alive = Undecided(each.name, f"{each.name} -r with Cookie may keep later edits from being made")


def unmoved(scope: Scope, values: Values) -> frozenset[str]:
    """The variables that do not see a header go that a pattern clears: they have the client's from elsewhere."""
    found: set[str] = set()
    for each in scope.nearest("more_clear_input_headers"):
        for arg in each.args:
            prefix = arg.removesuffix("*").lower()
            if arg.endswith("*") and "x-forwarded-for".startswith(prefix):
                found.add("proxy_add_x_forwarded_for")
            if arg.endswith("*") and "cookie".startswith(prefix):
                found.update(name for name in values.used if name.startswith("cookie_"))
    return frozenset(found)


def host(scope: Scope, values: Values, around: Around) -> Value | None:
    """What `$host` is where headers-more sets Host, None where it does not."""
    for each in reversed(scope.nearest("more_set_input_headers")):
        for arg in reversed(each.args):
            name, colon, value = arg.partition(":")
            if name.strip().lower() == "host" and colon and value.strip():
                return Cased(Piece(values.value(value.strip(), around), ":", 1))
    return None


def _options(each: Directive) -> tuple[list[Condition], bool, list[str]]:
    """The types of bodies that it is for, whether it only replaces, and the headers."""
    types: list[Condition] = []
    texts: list[str] = []
    words = iter(each.args)
    for word in words:
        if word == "-t":
            types.append(Test(Of(Subject.HEADER, "content-type"), How.PREFIX, tuple(next(words, "").split())))
        elif word in _WITH_VALUE:
            next(words, "")
        elif word != "-r":
            texts.append(word)
    return types, "-r" in each.args, texts


def _edit(each: Directive, text: str, values: Values, around: Around, when: Condition) -> Edit:
    name, colon, value = text.partition(":")
    name = name.strip()
    if each.name == "more_set_input_headers" and colon:
        new = values.value(value.strip(), around)
        return Edit(op=Op.SET, which=Named((name,)), value=new, drop_empty=True, when=when, place=each.place)
    which = Like(f"^{re.escape(name[:-1])}") if name.endswith("*") else Named((name,))
    return Edit(op=Op.REMOVE, which=which, when=when, place=each.place)
