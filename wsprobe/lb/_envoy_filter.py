"""A filter of Envoy's as it stands on a route, and the places that a credential is looked for in."""

from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_headers import Scope
from wsprobe.lb._envoy_proto import Reading
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    Condition,
    How,
    Lines,
    Not,
    Of,
    Subject,
    Test,
    Undecided,
    both,
)
from wsprobe.lb.model import Edit, Named, Op, Retarget, Step
from wsprobe.parts import Line

_RAW_PATH = Of(Subject.RAW_PATH)


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as it stands on a route: its own settings, and what the route says in their place."""

    reading: Reading
    scope: Scope
    kind: str
    name: str
    node: Node
    config: Node | None
    override: Node | None = None

    @property
    def place(self) -> Line:
        """Where it stands."""
        return self.node.place


@dataclass(frozen=True, slots=True)
class Source:
    """A place in a request that a credential is looked for in."""

    kind: str
    name: str
    prefix: str = ""

    @property
    def found(self) -> Condition:
        """Whether there is one."""
        if self.kind == "header":
            value = Of(Subject.HEADER, self.name, lines=Lines.JOINED, separator=",")
            return Test(value, How.CONTAINS, (self.prefix,)) if self.prefix else Test(value, How.EXISTS)
        return Test(Of(Subject.PARAMETER if self.kind == "query" else Subject.COOKIE, self.name), How.EXISTS)

    def removed(self, when: Condition, place: Line) -> Iterator[Step]:
        """The credential taken out of the request."""
        if self.kind == "header":
            yield Edit(op=Op.REMOVE, which=Named((self.name,)), when=when, place=place)
        elif self.kind == "query":
            alone = Test(Of(Subject.QUERY), How.REGEX, (r"\A[^&]*\Z",))
            yield Retarget(value=_RAW_PATH, when=both(when, alone), place=place)
            rest = Undecided("", "Envoy writes the other query parameters anew")
            yield Retarget(value=rest, when=both(when, Not(alone)), place=place)

    @property
    def header(self) -> str:
        """The header that it stands in."""
        return self.name.title() if self.kind == "header" else "Cookie" if self.kind == "cookie" else ""
