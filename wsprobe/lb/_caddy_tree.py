"""Caddy's own JSON as its reader looks at it: texts, lists and objects that know their lines.

A Caddyfile is adapted to the same form, as Caddy itself does it, so that what a config means is written once.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Self

from wsprobe.lb._yaml import Kind, Node
from wsprobe.model import Line


class Said(str):
    """A text of the config and the line that says it; None where no line does."""

    __slots__ = ("place",)

    place: Line | None

    def __new__(cls, text: str, place: Line | None = None) -> Self:
        made = super().__new__(cls, text)
        made.place = place
        return made


NULL = Said("")
"""What null is, where it says something else than nothing."""


class Tree(dict[str, Any]):
    """An object: its values are texts (`Said`), lists and objects. What has the wrong type counts as missing."""

    __slots__ = ("label", "place")

    def __init__(self, place: Line, pairs: Iterable[tuple[str, Any]] = (), label: str = "") -> None:
        super().__init__((key, value) for key, value in pairs if value is not None)
        self.place = place
        self.label = label

    def text(self, key: str) -> Said | None:
        """The text under a key, also where it is a number or a boolean."""
        found = self.get(key)
        return found if isinstance(found, Said) and found is not NULL else None

    def tree(self, key: str) -> "Tree | None":
        """The object under a key."""
        found = self.get(key)
        return found if isinstance(found, Tree) else None

    def texts(self, key: str) -> list[Said]:
        """The texts of the list under a key."""
        return [each for each in as_list(self.get(key)) if isinstance(each, Said) and each is not NULL]

    def trees(self, key: str) -> list["Tree"]:
        """The objects of the list under a key."""
        return as_trees(self.get(key))

    def marked(self) -> Iterator[tuple[Said, Any]]:
        """Keys and values, each key with its line."""
        for key, value in self.items():
            yield key if isinstance(key, Said) else Said(key, self.place), value

    def where(self, key: str) -> Line:
        """The line of a key; that of the object where the key has none."""
        found = next((name for name in self if name == key), None)
        return found.place if isinstance(found, Said) and found.place else self.place


def as_list(found: Any) -> list[Any]:  # noqa: ANN401  what a Tree holds
    """A list as it is, and one thing as a list of it."""
    return found if isinstance(found, list) else [] if found is None else [found]


def as_trees(found: Any) -> list[Tree]:  # noqa: ANN401
    """The objects of a list."""
    return [each for each in as_list(found) if isinstance(each, Tree)]


def from_node(node: Node) -> Any:  # noqa: ANN401  a Tree, a list or a Said
    """A JSON document as a tree."""
    if node.kind is Kind.MAPPING:
        pairs = ((Said(key, value.place), from_node(value)) for key, value in node.entries().items())
        return Tree(node.place, ((key, value) for key, value in pairs))
    if node.kind is Kind.SEQUENCE:
        return [from_node(each) for each in node.items()]
    return NULL if node.is_null else Said(node.text, node.place)
