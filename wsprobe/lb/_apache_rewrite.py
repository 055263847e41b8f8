"""mod_rewrite: rules of a server as steps on variables, each rule's end as a route of its own.

The rules run in their order on the variables `uri` and `args`; `end` says which rule has ended them, `redirect` and
`changed` what became of the path.
"""

import re
from dataclasses import dataclass, replace

from wsprobe.lb._apache_expr import condition
from wsprobe.lb._apache_grammar import undefined
from wsprobe.lb._apache_rules import Cond, Rewriting, Rule
from wsprobe.lb._apache_values import ARGS, PATH, all_of, join, variable
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import (
    All,
    Captured,
    Cased,
    Cases,
    Condition,
    How,
    Join,
    Not,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
)
from wsprobe.lb.model import Assign, Step

URI = Of(Subject.VARIABLE, "uri")


END = Of(Subject.VARIABLE, "end")


REDIRECT = Of(Subject.VARIABLE, "redirect")


CHANGED = Of(Subject.VARIABLE, "changed")


_MET = Test(Of(Subject.VARIABLE, "rule met"), How.EXISTS)


_GOING = Not(Test(END, How.EXISTS))


@dataclass(frozen=True, slots=True)
class Scope:
    """A rule, what it is applied to, and the DocumentRoot."""

    rule: Rule
    uri: Value
    root: str | None
    nested: int = 0
    """How many conditions refer to each other here."""


def steps(found: Rewriting, root: str | None, guard: Condition) -> list[Step]:
    """What the rules of a server do to the variables; `guard` says for which requests that is the server."""
    made: list[Step] = [
        Assign(name="uri", value=PATH, when=guard),
    ]
    chained = False
    skipping: list[tuple[int, Rule]] = []
    for number, rule in enumerate(found.rules):
        skipping = [(last, each) for last, each in skipping if last >= number]
        left = [Not(Test(Of(Subject.VARIABLE, f"skip {each.key}"), How.EXISTS)) for _, each in skipping]
        held = all_of(_GOING, *([_MET] if chained else []), *left, met(Scope(rule, URI, root)))
        made.append(Assign(name="rule met", value=Cases(((held, Text("1")),)), when=guard, place=rule.place))
        made += _done(rule, root, all_of(guard, _MET))
        chained = "C" in rule.flags
        if (skipped := natural(rule.flags.get("S", ""))) is not None:
            skipping.append((number + skipped, rule))
    return made


def met(scope: Scope) -> Condition:
    """Whether the pattern and the conditions of a rule hold."""
    rule = scope.rule
    if undefined(rule.pattern):
        return Undecided(rule.pattern, f"${{{undefined(rule.pattern)}}} is not defined in the config")
    pattern: Condition = Test(scope.uri, How.REGEX, (rule.pattern,), ignore_case=rule.ignore_case)
    groups = [[rule.conditions[index] for index in each] for each in _runs(rule.conditions)]
    # After a last condition with [OR] Apache finds no other one, and goes on as if one had held.
    made = [OneOf(tuple(_holds(each, scope) for each in group)) for group in groups if not group[-1].alternative]
    return all_of(
        Not(pattern) if rule.negated else pattern,
        *(each.conditions[0] if len(each.conditions) == 1 else each for each in made),
    )


def _runs(conditions: tuple[Cond, ...]) -> list[list[int]]:
    """The conditions in groups of which one has to hold."""
    found: list[list[int]] = []
    joined = False
    for index, each in enumerate(conditions):
        if joined:
            found[-1].append(index)
        else:
            found.append([index])
        joined = each.alternative
    return found


_FILES = {"-d", "-f", "-F", "-h", "-l", "-L", "-s", "-U", "-x", "-H"}


def _holds(cond: Cond, scope: Scope) -> Condition:
    pattern = cond.pattern.removeprefix("!")
    if undefined(pattern):
        return Undecided(pattern, f"${{{undefined(pattern)}}} is not defined in the config")
    if cond.text.lower() == "expr":
        found = condition(pattern)
    else:
        before = scope.rule.conditions[: scope.rule.conditions.index(cond)]
        found = _compared(expanded(cond.text, scope, before), pattern, ignore_case=cond.ignore_case)
    return Not(found) if cond.pattern.startswith("!") else found


def _compared(value: Value, pattern: str, *, ignore_case: bool) -> Condition:
    text = Join((value,))
    if pattern in _FILES:
        return Undecided(pattern, "whether a file is there is not in the config")
    if pattern.startswith("="):
        wanted = "" if pattern == '=""' else pattern[1:]
        return Test(text, How.EQUALS, (wanted,), ignore_case=ignore_case)
    if pattern[:1] in {"<", ">"} or re.match(r"-(eq|ne|lt|le|gt|ge)", pattern):
        return Undecided(pattern, f"the comparison {pattern[:3]} is not read")
    return Test(text, How.REGEX, (pattern,), ignore_case=ignore_case)


_REFERENCE = re.compile(r"\\(.)|\$(\d)|%(\d)|%\{|\$\{", re.DOTALL)


def expanded(text: str, scope: Scope, before: tuple[Cond, ...] | None = None) -> Value:
    """A test string or substitution with groups and variables put in."""
    before = scope.rule.conditions if before is None else before
    parts: list[Value] = []
    at = 0
    while found := _REFERENCE.search(text, at):
        parts.append(Text(text[at : found.start()]))
        at = found.end()
        if found[1] is not None:
            parts.append(Text(found[1]))
        elif found[2] is not None:
            parts.append(_group(scope, int(found[2])))
        elif found[3] is not None:
            parts.append(_captured(scope, before, int(found[3])))
        else:
            end = _closing(text, at)
            inner, at = text[at:end], end + 1
            parts.append(_named(found[0], inner, scope))
    return join([*parts, Text(text[at:])])


def _closing(text: str, at: int) -> int:
    end = text.find("}", at)
    return len(text) if end < 0 else end


def _named(opening: str, name: str, scope: Scope) -> Value:
    if opening == "${":
        why = "it comes from a RewriteMap" if ":" in name else f"${{{name}}} is not defined in the config"
        return Undecided(f"${{{name}}}", why)
    if name.upper() in {"REQUEST_FILENAME", "SCRIPT_FILENAME"}:
        return scope.uri  # outside of a section: the path as the rules have left it
    if name.upper() == "QUERY_STRING" and scope.uri == URI:
        return Join((ARGS,))
    return variable(name, scope.root)


def _group(scope: Scope, number: int) -> Value:
    rule = scope.rule
    if rule.negated:
        return Text("")
    return _safe(rule, Captured(scope.uri, rule.pattern, str(number), rule.ignore_case))


def _safe(rule: Rule, value: Value) -> Value:
    """What [B] makes of a group: escaped, which only changes what holds more than letters and digits."""
    if "B" not in rule.flags:
        return value
    plain = Test(Join((value,)), How.REGEX, (r"^\w*$",))
    return Cases(((plain, value),), Undecided("[B]", "how [B] escapes it is not read"))


def _captured(scope: Scope, before: tuple[Cond, ...], number: int) -> Value:
    """What %n stands for: a group of the last condition whose pattern was found."""
    if scope.nested > 1:
        return Undecided(f"%{number}", "conditions refer to conditions that refer to conditions")
    for run in reversed(_runs(before)):
        group = [before[index] for index in run]
        cases = [
            (_holds(each, scope), _of_cond(each, scope, before[: before.index(each)], number))
            for each in group
            if _catches(each)
        ]
        if len(cases) == 1 and len(group) == 1:
            return cases[0][1]
        if cases:
            return Cases(tuple(cases), _captured(scope, before[: run[0]], number))
    return Text("")


def _catches(cond: Cond) -> bool:
    """Whether a condition is a pattern whose groups can be referred to."""
    special = cond.pattern[:1] in {"!", "=", "<", ">"} or cond.pattern in _FILES
    return not special and cond.text.lower() != "expr"


def _of_cond(cond: Cond, scope: Scope, earlier: tuple[Cond, ...], number: int) -> Value:
    value = Join((expanded(cond.text, replace(scope, nested=scope.nested + 1), earlier),))
    return _safe(scope.rule, Captured(value, cond.pattern, str(number), cond.ignore_case))


def _done(rule: Rule, root: str | None, when: Condition) -> list[Step]:
    """What a rule that is met does."""
    made: list[Step] = [*_environment(rule, root, when)]
    place = rule.place
    flags = rule.flags
    if skips := flags.get("S"):
        made.append(Assign(name=f"skip {rule.key}", value=Text(skips), when=when, place=place))
    if "N" in flags:
        again = Undecided("[N]", "a rule with [N] begins the rules anew, which is not followed")
        made.append(Assign(name="uri", value=again, when=when, place=place))
    elif rule.target != "-" and not rule.proxied:  # the route of a rule with [P] looks at the path as the rule found it
        path, query = target(Scope(rule, URI, root))
        if rule.redirects:
            path = _with_host(path)
        made.append(Assign(name="new args", value=query, when=when, place=place))
        made.append(Assign(name="uri", value=path, when=when, place=place))
        made.append(Assign(name="args", value=Of(Subject.VARIABLE, "new args"), when=when, place=place))
    status = rule.status
    ends = bool(flags.keys() & {"P", "F", "G", "L", "END", "PT"}) or (status is not None and not rule.redirects)
    if status is not None:
        made.append(Assign(name="redirect", value=Text(rule.key), when=when, place=place))
    elif rule.target != "-" and not rule.proxied:
        kept = Text("passed through") if "PT" in flags else Text(rule.key)
        made.append(Assign(name="changed", value=kept, when=when, place=place))
    if ends:
        made.append(Assign(name="end", value=Text(rule.key), when=when, place=place))
    return made


_SECURE = Test(Of(Subject.SCHEME), How.EQUALS, ("https",))
_PORT = Of(Subject.VARIABLE, "server port")


def _with_host(path: Value) -> Value:
    """What the rules behind one with [R] see: its path has become a URL of this server."""
    usual = OneOf(
        (
            All((_SECURE, Test(_PORT, How.EQUALS, ("443",)))),
            All((Not(_SECURE), Test(_PORT, How.EQUALS, ("80",)))),
        )
    )
    port = Cases(((usual, Text("")),), Join((Text(":"), _PORT)))
    host = Cased(Of(Subject.HOST))
    slash = Cases(((Test(path, How.PREFIX, ("/",)), Text("")),), Text("/"))
    made = Join((Of(Subject.SCHEME), Text("://"), host, port, slash, path))
    absolute = Test(path, How.REGEX, (r"^[A-Za-z][A-Za-z0-9+.-]*://",))
    return Cases(((absolute, path),), made)


def _environment(rule: Rule, root: str | None, when: Condition) -> list[Step]:
    given = [each for each in rule.flags.get("E", "").split(",") if each]
    made: list[Step] = []
    for each in given:
        name, _, value = each.partition(":")
        cleared = name.startswith("!")
        text = Cases(()) if cleared else expanded(value, Scope(rule, URI, root))
        made.append(Assign(name=f"env:{name.removeprefix('!')}", value=text, when=when, place=rule.place))
    return made


def target(scope: Scope, args: Value = ARGS) -> tuple[Value, Value]:
    """The path or URL that a rule makes, and the query: as it was, its own, both with [QSA], none with [QSD]."""
    rule = scope.rule
    text, mark, query = rule.target.partition("?")
    path = expanded(text, scope)
    if not mark:
        return path, Cases(()) if "QSD" in rule.flags else args
    own = expanded(query, scope)
    if "QSA" not in rule.flags:
        return path, Cases(((Not(Test(own, How.EQUALS, ("",))), own),))
    joined = Join((own, Text("&"), args))
    none = Test(Join((args,)), How.EQUALS, ("",))
    return path, Cases(((none, own), (Test(own, How.EQUALS, ("",)), args)), joined)
