"""Blocks of an nginx config, each within its outer one, and what is in force in them by inheritance."""

from collections.abc import Iterator
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.parts import Line
from wsprobe.patterns import lazy

_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
_TIME = lazy(r"(\d{1,18})(ms|[smhdwMy]?)(?=\d|$)")
_SIZE = lazy(r"(\d{1,18})([kKmMgG]?)\Z")
_FACTOR = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(slots=True, eq=False)
class Scope:
    """One block: `http`, `server`, `location`, `if` or `limit_except`.

    `directive` is None for a block that a fragment leaves out.
    """

    kind: str
    directive: Directive | None
    parent: "Scope | None"
    directives: tuple[Directive, ...]
    _named: dict[str, list[Directive]] = field(default_factory=dict)
    _inherited: dict[tuple[str, ...], list[Directive]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in self.directives:
            self._named.setdefault(each.name, []).append(each)

    def inner(self, directive: Directive) -> "Scope":
        """A block that stands in this one."""
        return Scope(directive.name, directive, self, directive.block or ())

    @property
    def place(self) -> Line:
        """Where it begins; of a block that is left out, its first directive."""
        return (self.directive or self.directives[0]).place

    def chain(self) -> Iterator["Scope"]:
        """The block itself and those around it, the outermost last."""
        scope: Scope | None = self
        while scope:
            yield scope
            scope = scope.parent

    def own(self, *names: str) -> list[Directive]:
        """The directives of these names that stand in the block itself, in their order."""
        if len(names) == 1:
            return self._named.get(names[0], [])
        present = [name for name in names if name in self._named]
        if len(present) > 1:
            return [each for each in self.directives if each.name in present]
        return self._named[present[0]] if present else []

    def nearest(self, *names: str) -> list[Directive]:
        """The directives of these names in the innermost block that has one: nginx inherits them all or none."""
        if names not in self._inherited:
            own = self.own(*names)
            self._inherited[names] = own or (self.parent.nearest(*names) if self.parent else own)
        return self._inherited[names]

    def setting(self, name: str) -> Directive | None:
        """The directive of that name that is in force."""
        found = self.nearest(name)
        return found[0] if found else None

    def flag(self, name: str, *, default: bool) -> bool:
        """Whether a switch is on."""
        found = self.setting(name)
        return found.arg(0).lower() == "on" if found else default

    def missing_include(self) -> Directive | None:
        """An include of the block itself that gives nothing and may hold what matters."""
        return next((each for each in self.own("include") if each.unread), None)


def seconds(text: str) -> float | None:
    """A time as nginx writes it, in seconds; None where it is none."""
    compact = text.replace(" ", "")
    if not compact or _TIME.sub("", compact):
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in _TIME.findall(compact))


def size(text: str) -> int | None:
    """A size as nginx writes it, in octets; None where it is none."""
    found = _SIZE.match(text)
    return int(found[1]) * _FACTOR[found[2].lower()] if found else None
