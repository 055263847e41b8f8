"""The part of CEL that Caddy's `expression` matchers are mostly made of.

These are comparisons, and Caddy's own matchers called as functions, joined by `&&`, `||` and `!`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from wsprobe.lb.expressions import ALWAYS, NEVER, All, Condition, How, Not, OneOf, Test, Undecided, Value

_T = TypeVar("_T")

MAX_NESTING = 50
"""How deep parentheses may be nested."""

_LEXEME = re.compile(
    r"\s*(?:(?P<place>\{[^{}\s'\"]+\})|(?P<call>(?!in\b)[a-z_]+)\(|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>\d{1,18}(?!\d))"
    r"|(?P<word>true|false|in\b)|\.(?P<method>startsWith|endsWith|contains|matches)\(|(?P<mark>\|\||&&|[=!<>]=|[!<>()\[\],{}:]))"
)
_METHODS: Mapping[str, How] = {
    "startsWith": How.PREFIX,
    "endsWith": How.SUFFIX,
    "contains": How.CONTAINS,
    "matches": How.REGEX,
}


Argument = str | dict[str, list[str]]
"""What a function is called with: a text, or a map of names to texts."""


class _NotRead(Exception):  # noqa: N818  no error: the expression says more than is read
    pass


def condition(
    text: str, valued: Callable[[str], Value], called: Callable[[str, list[Argument]], Condition | None]
) -> Condition:
    """An expression as a condition; an `Undecided` where it says anything else.

    `valued` reads a placeholder, `called` a function; None where it knows none of that name.
    """
    try:
        parser = _Parser(_lexemes(text), valued, called)
        found = parser.either()
        parser.end()
    except _NotRead:
        return Undecided("expression", "what this expression in CEL comes to is not worked out here")
    return found


def _lexemes(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip():
        lexeme = _LEXEME.match(text, at)
        if lexeme is None:
            raise _NotRead
        kind = str(lexeme.lastgroup)
        found.append((kind, lexeme[kind]))
        at = lexeme.end()
    return found


class _Parser:
    def __init__(
        self,
        lexemes: list[tuple[str, str]],
        valued: Callable[[str], Value],
        called: Callable[[str, list[Argument]], Condition | None],
    ) -> None:
        self.lexemes = [*lexemes, ("end", "")]
        self.valued = valued
        self.called = called
        self.at = 0
        self.depth = 0

    def take(self, kind: str, *texts: str) -> str | None:
        """The next lexeme where it is of that kind, and one of the texts where there are any."""
        found, text = self.lexemes[self.at]
        if found != kind or (texts and text not in texts):
            return None
        self.at += 1
        return text

    def need(self, kind: str, *texts: str) -> str:
        found = self.take(kind, *texts)
        if found is None:
            raise _NotRead
        return found

    def end(self) -> None:
        self.need("end")

    def either(self) -> Condition:
        found = [self.both()]
        while self.take("mark", "||"):
            found.append(self.both())
        return found[0] if len(found) == 1 else OneOf(tuple(found))

    def both(self) -> Condition:
        found = [self.one()]
        while self.take("mark", "&&"):
            found.append(self.one())
        return found[0] if len(found) == 1 else All(tuple(found))

    def one(self) -> Condition:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise _NotRead
        found = self._one()
        self.depth -= 1
        return found

    def _one(self) -> Condition:
        if self.take("mark", "!"):
            return Not(self.one())
        if self.take("mark", "("):
            found = self.either()
            self.need("mark", ")")
            return found
        if word := self.take("word", "true", "false"):
            return ALWAYS if word == "true" else NEVER
        if name := self.take("call"):
            found_by = self.called(name, list(self.listed(")", self.argument)))
            if found_by is None:
                raise _NotRead
            return found_by
        return self.comparison(self.valued(self.need("place")[1:-1]))

    def comparison(self, value: Value) -> Condition:
        """What is asked of a value; a text is compared as it is, a number as a number."""
        if method := self.take("method"):
            texts = (self.literal(),)
            self.need("mark", ")")
            return Test(value, _METHODS[method], texts)
        if self.take("word", "in"):
            self.need("mark", "[")
            return Test(value, How.EQUALS, tuple(self.listed("]", self.literal)))
        mark = self.need("mark", "==", "!=", ">=", "<=", ">", "<")
        if mark in {"==", "!="}:
            test = Test(value, How.EQUALS, (self.literal(),))
            return test if mark == "==" else Not(test)
        number = int(self.need("number"))
        bounds = {">=": f"{number}:", ">": f"{number + 1}:", "<=": f":{number}", "<": f":{number - 1}"}[mark]
        return Test(value, How.BETWEEN, (bounds,))

    def listed(self, end: str, each: Callable[[], _T]) -> Iterator[_T]:
        """What stands between commas, to the mark that ends it."""
        if self.take("mark", end):
            return
        yield each()
        while self.take("mark", ","):
            yield each()
        self.need("mark", end)

    def argument(self) -> Argument:
        """A text, or a map of texts, each of which leads to one text or to several."""
        if not self.take("mark", "{"):
            return self.literal()
        return dict(self.listed("}", self.pair))

    def pair(self) -> tuple[str, list[str]]:
        name = self.literal()
        self.need("mark", ":")
        return name, list(self.listed("]", self.literal)) if self.take("mark", "[") else [self.literal()]

    def literal(self) -> str:
        if (number := self.take("number")) is not None:
            return number
        return re.sub(r"\\(.)", r"\1", self.need("text")[1:-1])
