"""Traefik's rules: the expression that decides whether a router takes a request, as Go reads it."""

import re
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.lb._traefik_matchers import SYNTAXES, Matcher, Rule, RuleError
from wsprobe.lb.expressions import All, Not, OneOf, Undecided

MAX_DEPTH = 100
"""How deep a rule may be nested."""

UNKNOWN = "\0"
"""What stands in a rule for something that nobody can tell."""

_TOKEN = re.compile(
    r'[ \t\r]*(?:(?P<text>`[^`]*`|"(?:[^"\\\n]|\\.)*")|(?P<name>[A-Za-z_]\w*)|(?P<mark>&&|\|\||[!(),])|(?P<end>\n))'
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


def parsed(text: str, syntax: str = "v3") -> Rule:
    """A rule; RuleError with the reason where Traefik would refuse it."""
    return _Parser(text, SYNTAXES[syntax]).whole()


@dataclass(slots=True)
class _Parser:
    """Go's grammar of expressions, as far as rules use it: `!` binds closest, then `&&`, then `||`."""

    text: str
    matchers: dict[str, Matcher]
    tokens: list[str] = field(default_factory=list)  # the next one last
    depth: int = 0

    def __post_init__(self) -> None:
        self.tokens = _tokens(self.text)[::-1]

    def _at(self, *marks: str) -> bool:
        return bool(self.tokens) and self.tokens[-1] in marks

    def whole(self) -> Rule:
        rule = self._either()
        if self.tokens:
            raise RuleError(f"{self.tokens[-1]!r} is not expected")
        return rule

    def _next(self) -> str:
        if not self.tokens:
            raise RuleError("it ends too early")
        return self.tokens.pop()

    def _either(self) -> Rule:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RuleError(f"nested more than {MAX_DEPTH} deep")
        rules = [self._all()]
        while self._at("||"):
            self.tokens.pop()
            rules.append(self._all())
        self.depth -= 1
        return rules[0] if len(rules) == 1 else _one_of(rules)

    def _all(self) -> Rule:
        rules = [self._one()]
        while self._at("&&"):
            self.tokens.pop()
            rules.append(self._one())
        if len(rules) == 1:
            return rules[0]
        path = next((rule.path for rule in rules if rule.path != "/"), "/")
        host = next((rule.host for rule in rules if rule.host), None)
        hosts = next((rule.hosts for rule in rules if rule.hosts), None)
        return Rule(All(tuple(rule.condition for rule in rules)), path, host, hosts)

    def _one(self) -> Rule:
        word = self._next()
        turned = 0
        while word == "!":
            turned += 1
            word = self._next()
        if word == "(":
            rule = self._either()
            self._expect(")")
        else:
            rule = self._call(word)
        return rule if turned % 2 == 0 else Rule(Not(rule.condition))

    def _call(self, name: str) -> Rule:
        matcher = self.matchers.get(name)
        if matcher is None:
            raise RuleError(f"{name} is no matcher")
        self._expect("(")
        values: list[str] = []
        while self.tokens and not self._at(")"):
            values.append(_unquoted(self._next()))
            if not self._at(","):
                break
            self.tokens.pop()
        self._expect(")")
        if not values or not all(values):
            raise RuleError(f"{name} has no value")
        if any(UNKNOWN in value for value in values):
            return Rule(Undecided(name, "its value has a variable of the environment"))
        return matcher(values)

    def _expect(self, mark: str) -> None:
        word = self._next()
        if word != mark:
            raise RuleError(f"{mark!r} is expected, not {word!r}")


def _one_of(rules: list[Rule]) -> Rule:
    hosts: frozenset[str] | None = frozenset().union(*(rule.hosts or () for rule in rules))
    hosts = hosts if all(rule.hosts for rule in rules) else None
    return Rule(OneOf(tuple(rule.condition for rule in rules)), rules[0].path, rules[0].host, hosts)


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise RuleError(f"{text[at : at + 10].strip()!r} is not expected")
        at = found.end()
        # As in Go, a line ends a statement wherever it could end there.
        if found["end"] and tokens and (tokens[-1] == ")" or tokens[-1][0] in '`"' or tokens[-1].isidentifier()):
            raise RuleError("a line ends inside it")
        if not found["end"]:
            tokens.append(found["text"] or found["name"] or found["mark"])
    return tokens


def _unquoted(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    if token[0] == '"':
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), token[1:-1])
    raise RuleError(f"{token!r} is no text in quotes")
