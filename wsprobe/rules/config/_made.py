"""What values and conditions are made of, and words in a row."""

from collections.abc import Iterable, Iterator

from wsprobe.lb.expressions import Of, Subject
from wsprobe.lb.model import Assign, Step


def listed(words: list[str]) -> str:
    """Words as people list them: `one, two and three`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def parts(value: object) -> Iterator[object]:
    """A value or a condition, and all that it is made of."""
    yield value
    for name in ("parts", "conditions", "cases", "value", "condition", "first", "second", "default", "of"):
        inner = getattr(value, name, None)
        for each in inner if isinstance(inner, tuple) else (inner,):
            for one in each if isinstance(each, tuple) else (each,):
                if one is not None:
                    yield from parts(one)


def followed(steps: Iterable[Step], value: object) -> Iterator[object]:
    """A value and all that it is made of, through the variables that steps assign."""
    assigned = {step.name: step.value for step in steps if isinstance(step, Assign)}
    seen: set[str] = set()
    left = [value]
    while left:
        for part in parts(left.pop()):
            yield part
            if isinstance(part, Of) and part.subject is Subject.VARIABLE and part.name not in seen:
                seen.add(part.name)
                left.append(assigned.get(part.name))


def made_of(value: object) -> set[Subject]:
    """The parts of the request that a value is made of."""
    return {each.subject for each in parts(value) if isinstance(each, Of)}
