"""What the parts of Caddy's reader share while they read one server."""

import re
from dataclasses import dataclass, field, replace

from wsprobe.inspection import Timeout, Unknown
from wsprobe.lb._caddy_tree import Tree
from wsprobe.lb._caddy_values import Scope
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import NEVER, Condition
from wsprobe.lb.model import Answer, Edit, Gate, Step, Upstream
from wsprobe.model import Line


@dataclass(slots=True)
class Report:
    """What the reader did not understand, with a counter for names that no config has."""

    unread: list[Unknown] = field(default_factory=list)
    made: int = 0

    def unknown(self, what: str, why: str, place: Line | None) -> None:
        """Something that is not read."""
        self.unread.append(Unknown(what=what, why=why, place=place))

    def name(self, of: str) -> str:
        """A name for a variable of the reader's own."""
        self.made += 1
        return f"{of} #{self.made}"


@dataclass(frozen=True, slots=True)
class Context:
    """One server at one point of its routes.

    `tls` is None where the environment decides it; `errors` are the routes for errors, the innermost first.
    """

    version: tuple[int, ...]
    report: Report
    tls: bool | None = False
    trusted: Condition = NEVER
    scope: Scope = field(default_factory=Scope)
    errors: tuple[tuple[Tree, ...], ...] = ()
    named_routes: Tree | None = None
    depth: int = 0

    def since(self, *version: int) -> bool:
        """Whether the proxy is of that version or later."""
        return self.version >= version

    def deeper(self) -> "Context":
        """The same, one level of routes further in."""
        return replace(self, depth=self.depth + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A handler that does not call the next one: it proxies, or answers; `failed` is the status of an error."""

    place: Line
    steps: tuple[Step, ...] = ()
    response: tuple[Edit, ...] = ()
    upstream: Upstream | None = None
    answer: Answer | None = None
    failed: int | None = None
    timeouts: tuple[Timeout, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A handler that changes the request, or the response, and calls the next one."""

    steps: tuple[Step, ...] = ()
    response: tuple[Edit, ...] = ()


def gate_of(steps: tuple[Step, ...]) -> Gate | None:
    """The authentication among steps."""
    return next((step for step in steps if isinstance(step, Gate)), None)


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d{1,18}(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")


def seconds(text: str) -> float | None:
    """A duration of Caddy's: `1h30m`, or a number of nanoseconds; None where it is neither."""
    bare = text.removeprefix("-").removeprefix("+")
    if (nanoseconds := natural(bare)) is not None:
        return nanoseconds / 1e9
    parts = _SPAN.findall(bare)
    if not parts or "".join(number + unit for number, unit in parts) != bare:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


_SIZES = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "kib": 1024,
    "m": 10**6,
    "mb": 10**6,
    "mib": 2**20,
    "g": 10**9,
    "gb": 10**9,
    "gib": 2**30,
}


def octets(text: str) -> int | None:
    """A size as Caddyfiles write it: `16KB`, `1MiB`; None where it is none."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*([A-Za-z]*)", text.strip().replace(",", ""))
    if not found or found[2].lower() not in _SIZES:
        return None
    return int(float(found[1]) * _SIZES[found[2].lower()])
