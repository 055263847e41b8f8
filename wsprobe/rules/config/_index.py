"""Which routes of a listener could take a request, found without asking each of thousands whether it does.

Most routes ask for a host, a path, or the beginning of one. Each is filed under the rarest such text that it asks for;
what asks for nothing of the kind is looked at for every request. The order of the routes stays what it was.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.lb.evaluation import evaluate
from wsprobe.lb.expressions import All, Condition, How, Test, Unsure, Value
from wsprobe.lb.model import Reroute, Route
from wsprobe.lb.run import Run

_Key = tuple[int, How, str]
"""What a text is compared with (the number of the value), how, and the text."""

_FEW = 32
"""Below so many routes each is simply asked."""


@dataclass(slots=True)
class Index:
    """The routes of one listener by what they ask for; `sought` keeps what conditions of all of them look for."""

    routes: tuple[Route, ...]
    values: list[Value] = field(default_factory=list)
    filed: dict[_Key, list[int]] = field(default_factory=dict)
    lengths: dict[tuple[int, How], set[int]] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    follows: bool = False
    sought: dict[int, tuple[Condition, tuple[str, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.follows = len(self.routes) < _FEW or any(
            isinstance(step, Reroute) for route in self.routes for step in route.steps
        )
        if self.follows:
            return
        numbers = _Numbers(self.values)
        asked = [list(_asked(route.match, numbers)) for route in self.routes]
        common = Counter(key for tests in asked for keys in tests for key in keys)
        for number, tests in enumerate(asked):
            rarest = min(tests, key=lambda keys: sum(common[key] for key in keys), default=())
            for key in rarest:
                self.filed.setdefault(key, []).append(number)
                self.lengths.setdefault(key[:2], set()).add(len(key[2]))
            if not rarest:
                self.others.append(number)

    def candidates(self, run: Run) -> tuple[Route, ...]:
        """The routes that could take a request, in their order; all of them where one may hand it over to another."""
        if self.follows:
            return self.routes
        found = set(self.others)
        for (value, how), lengths in self.lengths.items():
            text = evaluate(self.values[value], run)
            if isinstance(text, Unsure):
                return self.routes
            for length in lengths:
                whole = how is How.PREFIX or len(text or "") == length
                if text is not None and whole and len(text) >= length:
                    found.update(self.filed.get((value, how, text[:length]), ()))
        return tuple(self.routes[number] for number in sorted(found))


@dataclass(slots=True)
class _Numbers:
    """A number for each value, the same for equal ones; asked for by identity first, since hashing them takes long."""

    values: list[Value]
    by_identity: dict[int, int] = field(default_factory=dict)
    by_value: dict[Value, int] = field(default_factory=dict)

    def of(self, value: Value) -> int:
        """The number of a value."""
        number = self.by_identity.get(id(value))
        if number is None:
            number = self.by_value.setdefault(value, len(self.values))
            if number == len(self.values):
                self.values.append(value)
            self.by_identity[id(value)] = number
        return number


def _asked(condition: Condition, numbers: _Numbers) -> Iterator[tuple[_Key, ...]]:
    """The texts that a condition needs, one tuple for each test that has to hold."""
    match condition:
        case Test(how=How.EQUALS | How.PREFIX, ignore_case=False):
            number = numbers.of(condition.value)
            yield tuple((number, condition.how, text) for text in condition.texts)
        case All():
            for each in condition.conditions:
                yield from _asked(each, numbers)
