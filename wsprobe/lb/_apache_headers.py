"""What Apache's directives do to the request: RequestHeader, SetEnvIf and its like, as steps of the model."""

import re
from collections.abc import Callable

from wsprobe.inspection import Unknown
from wsprobe.lb._apache_expr import condition
from wsprobe.lb._apache_grammar import Node, Parsed, undefined
from wsprobe.lb._apache_preprocess import has
from wsprobe.lb._apache_values import SECURE, all_of, env, header_text, interpolated, join, variable
from wsprobe.lb.evaluation import matches
from wsprobe.lb.expressions import (
    ALWAYS,
    All,
    Captured,
    Cases,
    Condition,
    How,
    Not,
    Of,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
)
from wsprobe.lb.model import Assign, Edit, Named, Op, Stall, Step

_OPS = {
    "set": Op.SET,
    "append": Op.APPEND,
    "merge": Op.APPEND,
    "add": Op.ADD,
    "setifempty": Op.DEFAULT,
    "unset": Op.REMOVE,
    "edit": Op.REPLACE,
    "edit*": Op.REPLACE,
}
_FORMAT = re.compile(r"%(?:\{([^}]*)\}([a-zA-Z])|(.))")
_ATTRIBUTES: dict[str, Value] = {
    "remote_addr": Of(Subject.PEER),
    "server_addr": Of(Subject.LOCAL),
    "request_method": Of(Subject.METHOD),
    "request_protocol": Of(Subject.VERSION),
}


def literal(text: str) -> Value:
    """A text of the config, undecided where a variable in it is not defined there."""
    name = undefined(text)
    return Undecided(text, f"${{{name}}} is not defined in the config") if name else Text(text)


def request_header(node: Node, parsed: Parsed, when: Condition, *, early: bool) -> Edit | Stall | None:
    """The edit of one RequestHeader; None where it belongs to the other round (`early`) or is not understood."""
    args = list(node.args)
    action = args[0].lower() if args else ""
    if action not in _OPS or len(args) < 2:
        _not_read(node, parsed)
        return None
    name, rest = args[1].rstrip(":"), args[2:]
    takes = {"unset": 0, "edit": 2, "edit*": 2}.get(action, 1)
    values, clause = rest[:takes], rest[takes] if len(rest) > takes else ""
    if len(values) < takes or len(rest) > takes + 1 or undefined(name):
        _not_read(node, parsed)
        return None
    if (clause.lower() == "early") is not early:
        return None
    held = all_of(when, _clause(clause))
    return _edit(node, values, held, parsed)


def _not_read(node: Node, parsed: Parsed) -> None:
    parsed.unread.append(Unknown(what=node.written, why="its form is not understood", place=node.place))


def _edit(node: Node, values: list[str], when: Condition, parsed: Parsed) -> Edit | Stall:
    action, name, place = node.args[0].lower(), node.args[1].rstrip(":"), node.place
    which = Named((name,))
    if action == "edit*" and matches(values[0], "") is True:
        why = "edit* with a pattern that is found in the empty text never ends"
        return Stall(why=why, when=all_of(when, Test(Of(Subject.HEADER, name), How.EXISTS)), place=place)
    if action.startswith("edit"):
        return Edit(
            op=Op.REPLACE,
            which=which,
            pattern=values[0],
            value=_replacement(values[1], parsed),
            every=action == "edit*",
            when=when,
            place=place,
        )
    value = _formatted(values[0], parsed) if values else None
    if action == "merge":
        when = all_of(when, _not_yet(name, value))
    return Edit(op=_OPS[action], which=which, value=value, to_first=True, when=when, place=place)


def _not_yet(name: str, value: Value | None) -> Condition:
    """Whether a list does not have the value as a member."""
    if not isinstance(value, Text):
        return Undecided("merge", "whether the list has the value already is not known")
    if not value.text:
        return ALWAYS  # no member is empty
    member = rf"(?:^|,)\s*{re.escape(value.text)}\s*(?:,|$)"
    return Not(Test(Of(Subject.HEADER, name), How.REGEX, (member,)))


def _clause(clause: str) -> Condition:
    lowered = clause.lower()
    if lowered.startswith("env="):
        name = clause[4:]
        held = Test(env(name.removeprefix("!")), How.EXISTS)
        return Not(held) if name.startswith("!") else held
    if lowered.startswith("expr="):
        return condition(clause[5:])
    return ALWAYS if lowered in {"", "early"} else Undecided(clause, "the condition is not understood")


def _formatted(text: str, parsed: Parsed) -> Value:
    if text.lower().startswith("expr="):
        return interpolated(text[5:])
    return _by_format(text, parsed, lambda part: part)


def _replacement(text: str, parsed: Parsed) -> Value:
    r"""The replacement of an edit: $1 becomes \g<1>, and a backslash stays one."""
    return _by_format(text, parsed, lambda part: re.sub(r"\$(\d)", r"\\g<\1>", part.replace("\\", "\\\\")))


def _by_format(text: str, parsed: Parsed, plain: Callable[[str], str]) -> Value:
    if undefined(text):
        return literal(text)
    parts: list[Value] = []
    at = 0
    for found in _FORMAT.finditer(text):
        parts += [Text(plain(text[at : found.start()])), _specifier(found, parsed)]
        at = found.end()
    return join([*parts, Text(plain(text[at:]))])


def _specifier(found: re.Match[str], parsed: Parsed) -> Value:
    name, kind, single = found.groups()
    if single == "%":
        return Text("%")
    if kind == "e":
        return Cases(((Test(env(name), How.EXISTS), env(name)),), Text("(null)"))
    if kind == "s" and not has(parsed, "ssl"):
        return Text("(null)")
    if kind == "s" and name == "HTTPS":
        return Cases(((SECURE, Text("on")),), Text("off"))
    return Undecided(found[0], f"{found[0]} is known to the running server only")


# Environment.


def environment(node: Node, parsed: Parsed, when: Condition) -> list[Step]:
    """The variables that a SetEnvIf, SetEnvIfNoCase, BrowserMatch or SetEnvIfExpr sets."""
    args = list(node.args)
    if node.name.startswith("browsermatch"):
        args = ["User-Agent", *args]
    if node.name == "setenvifexpr":
        if len(args) < 2:
            _not_read(node, parsed)
            return []
        held = condition(args[0])
        return [_assigned(each, held, _matched(held), node, when) for each in args[1:]]
    if len(args) < 3:
        _not_read(node, parsed)
        return []
    subject = _attribute(args[0], parsed, node)
    ignore_case = node.name in {"setenvifnocase", "browsermatchnocase"}
    held = Test(subject, How.REGEX, (args[1],), ignore_case=ignore_case)
    match = (subject, args[1], ignore_case)
    return [_assigned(each, held, match, node, when) for each in args[2:]]


def _matched(held: Condition) -> tuple[Value, str, bool] | None:
    """The match that `$1` refers to: the last one of an expression, where only one way leads to it."""
    if isinstance(held, All):
        found = [match for each in held.conditions if (match := _matched(each))]
        return found[-1] if found else None
    if isinstance(held, Test) and held.how is How.REGEX:
        return held.value, held.texts[0], held.ignore_case
    return None


def _attribute(name: str, parsed: Parsed, node: Node) -> Value:
    lowered = name.lower()
    if lowered == "request_uri":
        return variable("REQUEST_URI")
    if lowered in _ATTRIBUTES:
        return _ATTRIBUTES[lowered]
    if re.fullmatch(r"[\w-]+", name) and lowered != "remote_host":
        return Cases(((Test(Of(Subject.HEADER, name), How.EXISTS), header_text(name)),), join([env(name), Text("")]))
    parsed.unread.append(Unknown(what=f"{node.written} {name[:60]}", why="a pattern of names", place=node.place))
    return Undecided(name, "which headers a pattern means is not read")


def _assigned(text: str, held: Condition, match: tuple[Value, str, bool] | None, node: Node, when: Condition) -> Assign:
    name, equals, value = text.partition("=")
    if text.startswith("!"):
        return Assign(name=f"env:{text[1:]}", value=NOTHING, when=all_of(when, held), place=node.place)
    given = _with_groups(value, match) if equals else Text("1")
    return Assign(name=f"env:{name}", value=given, when=all_of(when, held), place=node.place)


NOTHING = Cases(())
"""A value that is missing."""


def _with_groups(text: str, match: tuple[Value, str, bool] | None) -> Value:
    if undefined(text):
        return literal(text)
    if match is None:
        why = "which match it refers to is not followed"
        return Undecided(text, why) if re.search(r"\$\d", text) else Text(text)
    subject, pattern, ignore_case = match
    parts: list[Value] = []
    at = 0
    for found in re.finditer(r"\$(\d)", text):
        parts += [Text(text[at : found.start()]), Captured(subject, pattern, found[1], ignore_case)]
        at = found.end()
    return join([*parts, Text(text[at:])])


def set_env(node: Node, when: Condition) -> list[Step]:
    """The variables of SetEnv, UnsetEnv and PassEnv, the last directive first: what is set already stays as it is.

    They are set late, so that mod_rewrite and SetEnvIf do not see them; UnsetEnv undoes SetEnv and PassEnv only.
    """
    names = {"setenv": node.args[:1]}.get(node.name, node.args)
    if node.name == "unsetenv":
        return [Assign(name=f"unset:{name}", value=Text("1"), when=when, place=node.place) for name in names]
    value: Value = literal(node.args[1]) if len(node.args) > 1 else Text("")
    if node.name == "passenv":
        value = Undecided(node.text, "it comes from the environment that the server was started in")
    return [Assign(name=f"env:{name}", value=value, when=_open(name, when), place=node.place) for name in names]


def _open(name: str, when: Condition) -> Condition:
    undone = Of(Subject.VARIABLE, f"unset:{name}")
    return all_of(when, Not(Test(env(name), How.EXISTS)), Not(Test(undone, How.EXISTS)))
