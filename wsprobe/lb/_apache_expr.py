"""Apache's expression language (ap_expr) as conditions of the model."""

import re
from dataclasses import dataclass

from wsprobe.lb._apache_values import FUNCTIONS, closing, interpolated, join, variable, wildcard
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    All,
    Condition,
    How,
    Not,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
)

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<regex>m(?P<mark>[^\w\s])(?P<pattern>.*?)(?<!\\)(?P=mark)(?P<flags>[a-z]*))
    | (?P<slashes>/(?P<spattern>(?:\\.|[^/\\])*)/(?P<sflags>[a-z]*))
    | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    | (?P<variable>%\{)
    | (?P<operator>&&|\|\||==|!=|=~|!~|<=|>=|[()!<>=,{}.])
    | (?P<option>-[A-Za-z]+)
    | (?P<word>[A-Za-z_][\w-]*|\d+)
    | (?P<back>\$\d)
    )""",
    re.VERBOSE,
)


_MAX_TOKENS = 400


class NotUnderstoodError(Exception):
    """An expression that is not read; its text is said to be undecided."""


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    flags: str = ""


def condition(text: str) -> Condition:
    """The condition that an expression states, an `Undecided` where it is not understood."""
    try:
        return _Parser(_tokens(text)).whole()
    except (NotUnderstoodError, RecursionError):
        return Undecided(text, "the expression is not understood")


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or len(found) > _MAX_TOKENS:
            raise NotUnderstoodError
        kind = str(match.lastgroup)
        at = match.end()
        if match["regex"] or match["slashes"]:
            pattern = match["pattern"] if match["regex"] else match["spattern"]
            found.append(_Token("regex", pattern or "", (match["flags"] or "") + (match["sflags"] or "")))
        elif match["variable"]:
            end = closing(text, at)
            if end < 0:
                raise NotUnderstoodError
            found.append(_Token("variable", text[at:end]))
            at = end + 1
        else:
            found.append(_Token(kind, match[kind]))
    return found


_COMPARED = {"==": False, "=": False, "!=": True, "-eq": False, "-ne": True}


class _Parser:
    """A recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else _Token("end", "")

    def take(self, *texts: str) -> bool:
        """Whether the next token is one of these; it is then passed."""
        taken = self.peek().kind in {"operator", "option", "word"} and self.peek().text in texts
        self.at += taken
        return taken

    def next(self) -> _Token:
        token = self.peek()
        self.at += 1
        return token

    def whole(self) -> Condition:
        found = self.either()
        if self.at < len(self.tokens):
            raise NotUnderstoodError
        return found

    def either(self) -> Condition:
        found = [self.all()]
        while self.take("||"):
            found.append(self.all())
        return found[0] if len(found) == 1 else OneOf(tuple(found))

    def all(self) -> Condition:
        found = [self.single()]
        while self.take("&&"):
            found.append(self.single())
        return found[0] if len(found) == 1 else All(tuple(found))

    def single(self) -> Condition:
        if self.take("!"):
            return Not(self.single())
        if self.take("("):
            found = self.either()
            if not self.take(")"):
                raise NotUnderstoodError
            return found
        if self.take("true"):
            return ALWAYS
        if self.take("false"):
            return NEVER
        if self.peek().kind == "option":
            return self.unary(self.next().text)
        return self.compared(self.value())

    def unary(self, option: str) -> Condition:
        value = self.value()
        match option:
            case "-n":
                return Not(Test(value, How.EQUALS, ("",)))
            case "-z":
                return Test(value, How.EQUALS, ("",))
            case "-T":
                return Not(Test(value, How.EQUALS, ("", "0", "off", "false", "no"), ignore_case=True))
            case "-R" if isinstance(value, Text):
                return Test(Of(Subject.PEER), How.NETWORK, (value.text,))
        return Undecided(option, f"the test {option} depends on the server that runs")

    def compared(self, left: Value) -> Condition:
        token = self.next()
        if token.text in {"=~", "!~"}:
            pattern = self.next()
            if pattern.kind != "regex":
                raise NotUnderstoodError
            found = Test(left, How.REGEX, (pattern.text,), ignore_case="i" in pattern.flags)
            return Not(found) if token.text == "!~" else found
        if token.text in {"in", "-in"}:
            return self.member(left)
        right = self.value()
        if token.text in _COMPARED:
            equal = equals(left, right)
            return Not(equal) if _COMPARED[token.text] else equal
        return self.other(token.text, left, right)

    def other(self, operator: str, left: Value, right: Value) -> Condition:
        if isinstance(right, Text):
            match operator:
                case "-ipmatch":
                    return Test(left, How.NETWORK, (right.text,))
                case "-strmatch" | "-strcmatch":
                    return Test(left, How.REGEX, (wildcard(right.text),), ignore_case=operator == "-strcmatch")
        if operator.startswith("-") or operator in {"<", ">", "<=", ">="}:
            return Undecided(operator, f"the comparison {operator} is not read")
        raise NotUnderstoodError

    def member(self, left: Value) -> Condition:
        if not self.take("{"):
            raise NotUnderstoodError
        found = [equals(left, self.value())]
        while self.take(","):
            found.append(equals(left, self.value()))
        if not self.take("}"):
            raise NotUnderstoodError
        return OneOf(tuple(found))

    def value(self) -> Value:
        parts = [self.atom()]
        while self.take("."):
            parts.append(self.atom())
        return join(parts)

    def atom(self) -> Value:
        token = self.next()
        match token.kind:
            case "string":
                return interpolated(re.sub(r"\\(.)", r"\1", token.text[1:-1]))
            case "variable":
                return variable(token.text)
            case "word" if token.text.isdigit():
                return Text(token.text)
            case "word" if self.take("("):
                return self.call(token.text)
        raise NotUnderstoodError

    def call(self, name: str) -> Value:
        argument = self.value()
        if not self.take(")"):
            raise NotUnderstoodError
        if name.lower() in FUNCTIONS:
            return FUNCTIONS[name.lower()](argument)
        if isinstance(argument, Text):
            return variable(f"{name}:{argument.text}")
        return Undecided(name, f"what {name}() gives depends on the server that runs")


def equals(left: Value, right: Value) -> Condition:
    """Whether two values are the same, as far as one of them is a literal."""
    if isinstance(right, Text):
        return Test(left, How.EQUALS, (right.text,))
    if isinstance(left, Text):
        return Test(right, How.EQUALS, (left.text,))
    return Undecided("==", "two parts of the request are compared with each other")
