"""HAProxy's rules about requests and responses: which of them apply, in which order, and what ends them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Unknown
from wsprobe.lb._haproxy_acl import Lists, RefusedError, condition
from wsprobe.lb._haproxy_actions import ACTIONS, WITHOUT_EFFECT, WORDS, Rule
from wsprobe.lb._haproxy_grammar import Directive
from wsprobe.lb._haproxy_samples import Scope
from wsprobe.lb.expressions import (
    How,
    Not,
    Of,
    Subject,
    Test,
    Text,
    Undecided,
    both,
)
from wsprobe.lb.model import (
    Assign,
    Opaque,
    Step,
)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What turns the rules of one kind of a section into steps; `unread` gets what is not understood."""

    keyword: str
    section: str
    lists: Lists
    scope: Scope
    unread: list[Unknown]

    def steps(self, lines: Sequence[Directive], refused: Callable[[Directive, RefusedError], None]) -> Iterator[Step]:
        """The steps of the rules in their order; an `allow` or `accept` lets those after it be passed over."""
        allowed = f"{self.keyword} allow of {self.section}"
        stopping = False
        for line in lines:
            try:
                rule = self._rule(line)
                found = list(self._of(rule, allowed))
            except RefusedError as error:
                refused(line, error)
                continue
            passed_over = Not(Test(Of(Subject.VARIABLE, allowed), How.EXISTS))
            yield from (replace(step, when=both(passed_over, step.when)) if stopping else step for step in found)
            stopping = stopping or any(isinstance(step, Assign) and step.name == allowed for step in found)

    def _rule(self, line: Directive) -> Rule:
        words = line.words[len(self.keyword.split()) :]
        if not words:
            raise RefusedError(f"{self.keyword} without an action", line.place.column)
        name, _, argument = words[0].partition("(")
        least = WORDS.get(name, 0)
        end = next((at for at in range(1 + least, len(words)) if words[at] in {"if", "unless"}), len(words))
        when = condition(words[end:], self.lists, self.scope)
        if line.doubt:
            when = both(when, Undecided(".if", line.doubt))
        return Rule(name, argument.rstrip(")"), tuple(words[1:end]), when, line.place, self.scope)

    def _of(self, rule: Rule, allowed: str) -> Iterator[Step]:
        if rule.action in {"allow", "accept"}:
            yield Assign(name=allowed, value=Text("1"), when=rule.when, place=rule.place)
        elif rule.action.startswith("lua."):
            yield Opaque(why=f"the Lua action {rule.action} is not followed", when=rule.when, place=rule.place)
        elif build := ACTIONS.get(rule.action):
            yield from build(rule)
        elif rule.action not in WITHOUT_EFFECT:
            why = f"the action {rule.action} of {self.keyword} is not known"
            self.unread.append(Unknown(what=rule.action, why=why, place=rule.place))
            yield Opaque(why=why, when=rule.when, place=rule.place)
