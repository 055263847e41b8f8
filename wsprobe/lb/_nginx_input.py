"""What headers-more does to the headers of the client, before anything else looks at them."""

import re
from collections.abc import Iterator

from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_values import Around, Values, names_in
from wsprobe.lb.expressions import ALWAYS, Cased, Condition, How, Of, Piece, Subject, Test, Value, both, has
from wsprobe.lb.model import Edit, Like, Named, Op, Step

NAMES = ("more_set_input_headers", "more_clear_input_headers")
"""Its directives."""

_WITH_VALUE = frozenset({"-t", "-s"})


def input_edits(scope: Scope, values: Values, around: Around) -> Iterator[Step]:
    """The edits of a block; those of outer blocks come first: this module adds to what it inherits."""
    alive: Condition = ALWAYS
    for outer in reversed(list(scope.chain())):
        for each in outer.own(*NAMES):
            types, replaces, texts = _options(each)
            for text in texts:
                name = text.partition(":")[0].strip()
                when = both(alive, *types, *([has(name)] if replaces else []))
                yield _edit(each, text, values, around, when)
                if replaces and name.lower() == "cookie":
                    # The module stops altogether where there is no Cookie to be replaced.
                    alive = both(alive, Test(Of(Subject.HEADER, "cookie", original=True), How.EXISTS))


def evaluated(blocks: tuple[Scope | None, ...], values: Values) -> tuple[frozenset[str], frozenset[str]]:
    """The variables that the rewriting of these blocks surely asks for, and those that it may ask for.

    nginx keeps the value of a variable from the first time it is asked for: an edit that comes later changes nothing.
    """
    sure: set[str] = set()
    perhaps: set[str] = set()
    for scope in blocks:
        for each in scope.directives if scope else ():
            if each.name in {"set", "if"}:
                sure.update(name for arg in each.args for name in names_in(arg))
            for inner in (each, *(each.block or ())) if each.name in {"if", "rewrite"} else ():
                perhaps.update(name for arg in inner.args for name in names_in(arg))
    return values.asked_by(sure), values.asked_by(perhaps) - values.asked_by(sure)


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
