"""Caddy's `map`: placeholders whose value is worked out where they are asked for, from the request as it is then."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from wsprobe.lb._caddy_headers import go_template
from wsprobe.lb._caddy_tree import Said, Tree, as_list
from wsprobe.lb._caddy_values import Scope, value_of
from wsprobe.lb.expressions import (
    Cases,
    Condition,
    How,
    Join,
    Not,
    Of,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
)
from wsprobe.lb.model import Assign


def destinations(handler: Tree) -> list[str]:
    """The placeholders that a map gives a value to."""
    return [name.strip("{}") for name in handler.texts("destinations")]


def mapped(handler: Tree) -> Iterator[Assign]:
    """What a map does when a request passes it: its placeholders are its own, unless another map was there before."""
    for name in destinations(handler):
        own = Of(Subject.VARIABLE, _owner(name))
        free = Not(Test(own, How.EXISTS))
        yield Assign(name=_owner(name), value=Text(_called(handler)), when=free, place=handler.place)


def value_in(maps: Mapping[str, tuple[Tree, ...]], name: str, scope: Scope) -> Value:
    """What a placeholder stands for, by the map that it belongs to; itself where the request passed none."""
    own = Of(Subject.VARIABLE, _owner(name))
    inner = replace(scope, mapped=dict.fromkeys(maps, _nested))
    cases = tuple((Test(own, How.EQUALS, (_called(each),)), _value(each, name, inner)) for each in maps[name])
    return Cases(cases, Text(f"{{{name}}}"))


def _owner(name: str) -> str:
    return f"{{{name}}}"


def _called(handler: Tree) -> str:
    return f"{handler.place.path}:{handler.place.line}:{handler.place.column}"


def _nested(name: str, _: Scope) -> Value:
    return Undecided(name, "a map whose values are made of another map is not followed")


def _value(handler: Tree, name: str, scope: Scope) -> Value:
    index = destinations(handler).index(name)
    source = value_of(handler.text("source") or "", scope, unknown_stays=False)
    cases = tuple(case for each in handler.trees("mappings") if (case := _mapping(each, index, source, scope)))
    defaults = handler.texts("defaults")
    return Cases(cases, value_of(defaults[index], scope, unknown_stays=False) if index < len(defaults) else Join(()))


def _mapping(each: Tree, index: int, source: Value, scope: Scope) -> tuple[Condition, Value] | None:
    outputs = as_list(each.get("outputs"))
    output = outputs[index] if index < len(outputs) else None
    if not isinstance(output, Said) or output == "-" or not output.place:
        return None
    pattern = each.text("input_regexp")
    if pattern is not None:
        # What a pattern leads to may hold groups of it, and no placeholders.
        template = go_template(output, pattern)
        made: Value = Substituted(source, rf"(?s:\A.*?)(?:{pattern})(?s:.*)\Z", template)
        if r"\g<0>" in template:
            made = Undecided(output, "all that a pattern of a map matches is not followed")
        return Test(source, How.REGEX, (pattern,)), made
    return Test(source, How.EQUALS, (each.text("input") or "",)), value_of(output, scope, unknown_stays=False)
