"""Fields of Envoy's messages as YAML and JSON write them, and what a reading of a config gathers on its way."""

import re
from dataclasses import field
from functools import cache

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem, Unknown
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import ALWAYS, Condition, Undecided
from wsprobe.lb.source import Source

_DURATION = re.compile(r"(-?[0-9]{1,18}(?:\.[0-9]+)?)s\Z")
_EXTENSION = re.compile(r"(?:type\.googleapis\.com/)?(?P<package>[\w.]+)\.(?P<message>\w+)\Z")
_HUNDREDS = {"": 100, "HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
_STRUCTS = ("TypedStruct",)


def words(listed: str) -> frozenset[str]:
    """Names with spaces between them, as a set."""
    return frozenset(listed.split())


def get(node: Node | None, *path: str) -> Node | None:
    """The field under a path of names, written as `snake_case` or as `camelCase`; None where it is not set."""
    at = node
    for name in path:
        if at is None:
            return None
        at = at.get(name) or (at.get(camel(name)) if "_" in name else None)
    return at


def under(node: Node | None, *path: str) -> list[Node]:
    """The elements of a repeated field."""
    found = get(node, *path)
    return found.items() if found else []


def text(node: Node | None, *path: str) -> str:
    """A text field, empty where it is not set."""
    found = get(node, *path)
    return found.text if found else ""


def flag(node: Node | None, *path: str, default: bool = False) -> bool:
    """A boolean field."""
    found = get(node, *path)
    return default if found is None or found.boolean is None else found.boolean


def number(node: Node | None, *path: str) -> int | None:
    """A field that holds a whole number."""
    found = get(node, *path)
    return found.integer if found else None


def seconds(node: Node | None, *path: str) -> float | None:
    """A duration in seconds (`1.5s`), None where none is set that can be read."""
    found = get(node, *path)
    match = _DURATION.match(found.text) if found else None
    return float(match[1]) if match else None


@cache
def camel(name: str) -> str:
    """The name of a field as JSON may write it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def snake(name: str) -> str:
    """The name of a field as Envoy's manual writes it."""
    return re.sub("(?<=[a-z0-9])[A-Z]", lambda upper: "_" + upper[0].lower(), name)


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension: its name in the config, its type (`jwt_authn`), its message (`JwtAuthentication`), its settings."""

    name: str
    kind: str
    message: str
    config: Node | None
    node: Node


def extension(node: Node) -> Extension:
    """What a name with a `typed_config` stands for, also where that is wrapped in a TypedStruct."""
    config = get(node, "typed_config")
    kind, message = typed(config)
    if message in _STRUCTS:
        kind, message = _type(text(config, "type_url"))
        config = get(config, "value")
    name = text(node, "name")
    return Extension(name, kind or name.rpartition(".")[2], message, config, node)


def typed(config: Node | None) -> tuple[str, str]:
    """The package (its last part before the version) and the message that an `@type` names."""
    return _type(text(config, "@type"))


def _type(url: str) -> tuple[str, str]:
    match = _EXTENSION.match(url)
    if not match:
        return "", ""
    parts = [part for part in match["package"].split(".") if not re.fullmatch(r"v\d+\w*", part)]
    return parts[-1] if parts else "", match["message"]


@dataclass(slots=True)
class Reading:
    """What is gathered while a config is read: the file at hand, and what was not understood."""

    source: Source
    version: tuple[int, int] = (0, 0)
    unread: list[Unknown] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def skip(self, node: Node, why: str, what: str = "") -> None:
        """Lists something as unread."""
        name = what or (snake(node.key.text) if node.key else node.kind)
        self.unread.append(Unknown(what=name, why=why, place=node.place))

    def problem(self, node: Node, message: str) -> None:
        """Lists something that is wrong."""
        at = node.key or node
        self.problems.append(Problem(path=at.document.source.path, line=at.line, column=at.column, message=message))

    def fields(self, node: Node | None, known: frozenset[str], where: str) -> None:
        """Lists the fields that are not among the known ones."""
        for name, value in (node.entries() if node else {}).items():
            if snake(name) not in known and not value.is_null and name != "@type":
                self.skip(value, f"a field of {where} that this reader does not know")


def share(node: Node | None, why: str) -> Condition | None:
    """Whether a fraction of the requests is this one: always, never (None), or only the running Envoy knows."""
    fraction = get(node, "default_value") or node
    of = _HUNDREDS.get(text(fraction, "denominator"), 100)
    numerator = number(fraction, "numerator") or 0
    if get(node, "runtime_key"):
        return Undecided("", f"{why}; a runtime key may change it")
    if numerator <= 0:
        return None
    return ALWAYS if numerator >= of else Undecided("", f"{why}: {numerator} of {of} requests")
