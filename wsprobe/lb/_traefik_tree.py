"""Traefik's config as one tree, whether it is written in YAML, in TOML, as labels of a container or as flags."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.lb.expressions import Text, Undecided, Value
from wsprobe.parts import Line

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_TRUE = frozenset({"1", "t", "true"})


_INTEGER = re.compile(r"[-+]?(?:0x[0-9a-fA-F]{1,16}|0o?[0-7]{1,21}|[0-9]{1,19})\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,30}\.[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,2})?\Z")


def number(text: str) -> str:
    """A text as Traefik writes it that takes it for a number: an integer in decimal, a fraction with six places."""
    if _FLOAT.match(text):
        return f"{float(text):f}"
    if not _INTEGER.match(text):
        return text
    digits = text.lstrip("+-")
    base = 16 if "x" in digits else 8 if digits.startswith("0") else 10
    value = int(digits.removeprefix("0x").removeprefix("0o"), base)
    return str(-value if text.startswith("-") else value)


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A key and what stands under it: a text, fields by name, or items. `unsure` is why nobody can tell its text.

    Traefik compares the names of its own keys without case; names that users give keep theirs.
    """

    name: str
    place: Line
    text: str | None = None
    fields: Mapping[str, "Setting"] = field(default_factory=dict)
    items: tuple["Setting", ...] = ()
    unsure: str = ""

    def get(self, *path: str) -> "Setting | None":
        """What stands under a path of keys; None where it is missing."""
        at: Setting | None = self
        for key in path:
            at = next((found for name, found in at.fields.items() if name.lower() == key.lower()), None) if at else None
        return at

    def under(self, *path: str) -> "list[Setting]":
        """The fields that stand under a path of keys."""
        found = self.get(*path)
        return list(found.fields.values()) if found else []

    def word(self, *path: str) -> str:
        """The text under a path of keys; the empty one where there is none or where nobody can tell it."""
        found = self.get(*path)
        return found.text or "" if found and not found.unsure else ""

    def words(self, *path: str) -> list["Setting"]:
        """The elements of a list; labels and flags write it as one text with commas."""
        found = self.get(*path)
        if found is None or found.items:
            return list(found.items) if found else []
        return [replace(found, text=part.strip()) for part in (found.text or "").split(",") if part.strip()]

    def texts(self, *path: str) -> list[str]:
        """The elements of a list of texts."""
        return [each.text or "" for each in self.words(*path)]

    def flag(self, *path: str, default: bool = False) -> bool:
        """A switch; `default` where it is not set or where nobody can tell."""
        found = self.get(*path)
        return default if found is None or not found.text or found.unsure else found.text.lower() in _TRUE

    def integer(self, *path: str) -> int | None:
        """A whole number, None where there is none."""
        text = self.word(*path)
        return int(text) if re.fullmatch(r"[-+]?[0-9]{1,19}", text) else None

    def seconds(self, *path: str) -> float | None:
        """A duration as Go writes it, or a number of seconds; None where there is none."""
        text = self.word(*path).strip()
        if re.fullmatch(r"[-+]?[0-9]{1,15}", text):
            return float(text)
        parts = _DURATION.findall(text)
        return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None

    @property
    def value(self) -> Value:
        """Its text as a value."""
        return Undecided(self.text or "", self.unsure) if self.unsure else Text(self.text or "")

    @property
    def empty(self) -> bool:
        """Whether nothing stands under it."""
        return not (self.text or self.fields or self.items)

    def walk(self) -> Iterator["Setting"]:
        """It and all below it, in the order of the text."""
        waiting = [self]
        while waiting:
            at = waiting.pop()
            yield at
            waiting += reversed([*at.fields.values(), *at.items])


@dataclass(slots=True)
class Growing:
    """A tree that is made from paths, as labels and flags have them: `servers[0].url`."""

    name: str
    place: Line
    text: str | None = None
    unsure: str = ""
    fields: dict[str, "Growing"] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)

    def put(self, path: str, text: str, place: Line, unsure: str = "") -> None:
        """Sets the text at a path; an index in brackets is a field of that number."""
        at = self
        for key in path.replace("[", ".[").split("."):
            known = at.spelled.setdefault(key.lower(), key)
            at = at.fields.setdefault(known, Growing(key, place))
        at.text, at.unsure, at.place = text, unsure, place

    def grown(self) -> Setting:
        """The tree as it is now."""
        fields = {name: child.grown() for name, child in self.fields.items()}
        items = tuple(child for name, child in fields.items() if name.startswith("["))
        named = {name: child for name, child in fields.items() if not name.startswith("[")}
        return Setting(self.name, self.place, self.text, named, items, self.unsure)
