"""One rule a file. Its name is the file's, its text the docstring, its findings what `check` yields.

A rule declares what it needs; it is called once for each such thing, and where there is none and that matters the
skip says what was missing. Rules are found by their folder: a new one is a new file, and no list has to be edited.
"""

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from wsprobe.headers import Value
from wsprobe.model import Confidence, Finding, Observation, Place, Segment, Severity, Skip
from wsprobe.path import Pair, Path, code_of
from wsprobe.wording import ending


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing, in words that end the sentence "it was not judged for want of …"."""

    what: str


Need = Callable[[Path], "list[Any] | Lack"]


def paths(path: Path) -> list[Path] | Lack:
    """The whole path, whatever was observed of it."""
    return [path]


def pairs(path: Path) -> list[Pair] | Lack:
    """Each two neighbouring hops that saw the request, in the order of the path."""
    if path.trace.order is None:
        return Lack("the order of the hops: no handshake took clearly longer than another")
    found = path.pairs
    if not found:
        return Lack(f"a second recorder: only {path.outermost.name} saw this request")
    return found


def upgraded_pairs(path: Path) -> list[Pair] | Lack:
    """Each two neighbouring hops that both saw the connection end."""
    if not path.upgraded:
        return []
    found = pairs(path)
    if isinstance(found, Lack):
        return found
    return [pair for pair in found if pair.outer.closes and pair.inner.closes]


def upgraded(path: Path) -> list[Path] | Lack:
    """A path on which the client got its 101."""
    return [path] if path.upgraded else []


def answers(path: Path) -> list[tuple[Path, int]] | Lack:
    """A path whose upgrade was answered with another status than 101, and that status."""
    code = code_of(path.outermost)
    return [(path, code)] if code is not None and not path.upgraded else []


def hops(path: Path) -> list[tuple[Observation, Path]] | Lack:
    """Each hop."""
    return [(hop, path) for hop in path.hops]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule needs, and how near to the cause its findings are: the lower the rank, the nearer.

    Below 20 a loss on the way or a path that ends; below 40 the credential itself; below 60 an answer; from there
    on how the connection ended, which is the effect of the others.
    """

    module: str
    needs: Need
    rank: int

    @property
    def name(self) -> str:
        """The name of the rule's file, in kebab case."""
        return self.module.rpartition(".")[2].replace("_", "-")

    def finding(  # noqa: PLR0913  the parts of a finding
        self,
        message: str,
        *places: Place,
        severity: Severity = Severity.ERROR,
        confidence: Confidence = Confidence.PROVEN,
        segment: Segment | None = None,
        header: str | None = None,
        fix: str | None = None,
        others: Iterable[str] = (),
        untested: Iterable[str] = (),
        next_: Iterable[str] = (),
    ) -> Finding:
        """A finding of this rule."""
        return Finding(
            rule=self.name,
            message=message,
            severity=severity,
            confidence=confidence,
            segment=segment,
            header=header,
            fix=fix,
            places=places,
            others=tuple(others),
            untested=tuple(untested),
            next=tuple(next_),
        )


def header_place(hop: Observation, message: str, name: str, values: Iterable[Value]) -> Place:
    """Where a header stands, or does not, as evidence."""
    shows = ", ".join(f"{name}: {value.text}" for value in values) or f"no {name}"
    return Place(hop=hop.name, part=message, shows=shows)


def close_place(hop: Observation) -> Place:
    """How a connection ended at a hop, as evidence."""
    return Place(hop=hop.name, part="closes", shows=ending(hop))


def answer_place(hop: Observation) -> Place:
    """What a hop got for an answer, as evidence."""
    return Place(hop=hop.name, part="response", shows=hop.response.start_line if hop.response else "no response")


def observe_beyond(hop: Observation) -> tuple[str, ...]:
    """The commands that put a recorder behind a hop and ask again."""
    return (
        "wsprobe record app --listen 0.0.0.0:8081 --to http://127.0.0.1:8080 -o app.jsonl"
        f"   # beside the application, beyond {hop.name}; point the balancer to 8081",
        "wsprobe trace URL --records app.jsonl",
    )


def names() -> tuple[str, ...]:
    """The names of all rules, sorted."""
    return tuple(sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__)))


@cache
def load(name: str) -> ModuleType:
    """The module of one rule; TypeError where a part is missing."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    missing = [part for part in ("__doc__", "RULE", "check") if not getattr(module, part, None)]
    if missing:
        msg = f"rule {name} lacks {', '.join(missing)}"
        raise TypeError(msg)
    return module


def text(name: str) -> str:
    """What a rule means, with its examples: its docstring."""
    return f"{name}\n\n{(load(name).__doc__ or '').strip()}"


def judge(path: Path) -> Iterator[Finding | Skip]:
    """All findings and skips of all rules on one path."""
    for name in names():
        module = load(name)
        found = module.RULE.needs(path)
        if isinstance(found, Lack):
            yield Skip(rule=name, lacks=found.what)
            continue
        for thing in found:
            yield from module.check(thing)


def rank(name: str) -> int:
    """How near to the cause the findings of a rule are."""
    found: int = load(name).RULE.rank
    return found
