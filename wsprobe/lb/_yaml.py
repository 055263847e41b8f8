"""YAML and JSON as readers look at them: nodes that know where they stand, and nothing constructed from them.

Bounded whatever the text says: nesting, and what its aliases would expand to, are measured before anyone walks it.
"""

import re
from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum
from functools import cache
from typing import Any

from wsprobe.frozen import dataclass
from wsprobe.lb.source import ReadError, Source
from wsprobe.parts import Line
from wsprobe.patterns import lazy

MAX_DEPTH = 200
"""How deep a document may be nested; none that a proxy reads comes near."""

MAX_EXPANDED = 1_000_000
"""How many nodes a document's aliases may make of it."""

_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})
_NULL = frozenset({"", "~", "null"})
_INTEGER = lazy(r"[-+]?(?:0x[0-9a-f]{1,16}|0o[0-7]{1,22}|[0-9][0-9_]{0,25})\Z", re.IGNORECASE)
_NUMBER = lazy(r"[-+]?(?:[0-9]{1,18}(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]{1,2})?\Z", re.IGNORECASE)
_SURROGATES = lazy(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{\{|\{%|@[A-Z][A-Z0-9_]*@")
_PLAIN = frozenset({None, ""})
_BLOCK = frozenset({"|", ">"})

TEMPLATES = ("{{", "{%", "${")
"""What begins a placeholder in the templates that configs are made from: Helm, Jinja, envsubst."""


class Kind(StrEnum):
    """What a node is."""

    MAPPING = "mapping"
    SEQUENCE = "sequence"
    SCALAR = "scalar"


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One document of a file. `duplicates` are keys that their mapping already has: the node, and the first's line."""

    source: Source
    duplicates: "tuple[tuple[Node, int], ...]" = ()
    _mappings: dict[int, dict[str, "Node"]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A mapping, a sequence or a scalar. `key` is the key that it is the value of, None in a sequence or at the top.

    Asked for what it is not, it gives nothing: a scalar has no entries, a mapping no text.
    """

    document: Document
    raw: Any
    key: "Node | None" = None

    @property
    def kind(self) -> Kind:
        """What it is."""
        return Kind(self.raw.id)

    @property
    def line(self) -> int:
        """The line that it begins on, from 1."""
        return int(self.raw.start_mark.line) + 1

    @property
    def column(self) -> int:
        """The column that it begins at, from 1."""
        return int(self.raw.start_mark.column) + 1

    @property
    def place(self) -> Line:
        """Where it is written: at its key where it has one, else at its first character."""
        at = self.key or self
        return self.document.source.at(at.line, at.column)

    # Mappings.

    def entries(self) -> dict[str, "Node"]:
        """The values of a mapping by key, in their order, with those of `<<` merged in; of a repeated key the last."""
        found = self.document._mappings.get(id(self.raw))  # noqa: SLF001  a cache that the two share
        if found is None:
            if self.raw.id != "mapping":
                return {}
            found = self._merged()
            self.document._mappings[id(self.raw)] = found  # noqa: SLF001
        return found

    def _merged(self) -> dict[str, "Node"]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for raw_key, raw_value in self.raw.value:
            key = Node(self.document, raw_key)
            value = Node(self.document, raw_value, key)
            if key.text == "<<" and key.plain:
                for each in value.items() or [value]:
                    merged = {**each.entries(), **merged}
            else:
                own[key.text] = value
        return {**merged, **own} if merged else own

    def get(self, *path: str) -> "Node | None":
        """What stands under a key, or under a path of keys; None where it is missing or null."""
        at: Node | None = self
        for key in path:
            at = at.entries().get(key) if at else None
        return None if at is None or at.is_null else at

    def under(self, *path: str) -> list["Node"]:
        """The elements of the sequence under a path of keys."""
        found = self.get(*path)
        return found.items() if found else []

    # Sequences.

    def items(self) -> list["Node"]:
        """The elements of a sequence."""
        return [Node(self.document, each) for each in self.raw.value] if self.raw.id == "sequence" else []

    # Scalars.

    @property
    def plain(self) -> bool:
        """Whether it is a scalar without quotes."""
        return self.raw.id == "scalar" and self.raw.style in _PLAIN

    @property
    def text(self) -> str:
        """The text of a scalar, whatever type it has."""
        return str(self.raw.value) if self.raw.id == "scalar" else ""

    @property
    def is_null(self) -> bool:
        """Whether it says nothing: null, ~, or no text at all."""
        return self.plain and self.text.lower() in _NULL

    @property
    def boolean(self) -> bool | None:
        """True or false, in any way in which YAML 1.1 and 1.2 write them; None where it is neither."""
        lowered = self.text.lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else None

    @property
    def integer(self) -> int | None:
        """A whole number, also where it is quoted; None where it is none."""
        digits = self.text.replace("_", "")
        return int(digits, 10 if digits.lstrip("+-").isdigit() else 0) if _INTEGER.match(self.text) else None

    @property
    def number(self) -> float | None:
        """A number, also where it is quoted; None where it is none."""
        return float(self.text) if _NUMBER.match(self.text) else self.integer

    # All of them.

    def walk(self) -> Iterator["Node"]:
        """The node itself and all below it, keys left out, in the order of the text; an alias repeats them."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed([*node.entries().values(), *node.items()])


def documents(source: Source) -> list[Node]:
    """The documents of a file that say something; ReadError with line, column and the parser's reason where it fails.

    JSON is YAML. A `{{` or `{%` that the grammar does not take is named as a template.
    """
    import yaml

    roots = []
    try:
        loader = _loader()(_SURROGATES.sub(_joined, source.text))
        while loader.check_node():
            roots.append(loader.get_node())
    except yaml.MarkedYAMLError as error:
        raise _not_read(source, error) from None
    except yaml.YAMLError as error:  # of a character that YAML has not, there is a position only
        at = source.text[: getattr(error, "position", 0) or 0]
        line, column = at.count("\n") + 1, len(at) - at.rfind("\n")
        raise ReadError(source.path, f"not YAML: {getattr(error, 'reason', error)}", line, column) from None
    except RecursionError:
        raise ReadError(source.path, "nested too deep to be a config") from None
    nodes = [_measured(source, root) for root in roots]
    return [node for node in nodes if not node.is_null]


def template(node: Node, marks: tuple[str, ...] = TEMPLATES, but: frozenset[str] = frozenset()) -> ReadError | None:
    """Why a document is a template and not a config: its first scalar with a placeholder that its grammar has not.

    Block scalars are left out, and what stands under the keys `but`: scripts and pages have marks of their own.
    """
    if not any(mark in node.document.source.text for mark in marks):
        return None
    for each in node.walk():
        found = next((mark for mark in marks if mark in each.text), None)
        if found and each.raw.style not in _BLOCK and not (each.key and each.key.text in but):
            return _template(node.document.source, found, each.line, each.column)
    return None


def _template(source: Source, mark: str, line: int, column: int) -> ReadError:
    return ReadError(source.path, f"a template ({mark} at line {line}), not read", line, column)


@cache
def _loader() -> Any:  # noqa: ANN401  made of PyYAML's own classes
    """A loader that stops at nodes and resolves no tags: what a scalar means is asked of its text."""
    import yaml

    if not yaml.__with_libyaml__:
        return yaml.SafeLoader

    resolvers = {"resolve": lambda *_: "", "descend_resolver": lambda *_: None, "ascend_resolver": lambda *_: None}
    return type("Loader", (yaml.CSafeLoader,), resolvers)


def _joined(pair: re.Match[str]) -> str:
    """A character that JSON escapes as two surrogates, which YAML does not."""
    return chr(0x10000 + ((int(pair[1], 16) - 0xD800) << 10) + int(pair[2], 16) - 0xDC00)


def _not_read(source: Source, error: Any) -> ReadError:  # noqa: ANN401  yaml.MarkedYAMLError, whose stubs lack its fields
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    for number, text in enumerate(source.lines[: line or None], 1):
        found = _PLACEHOLDER.search(text.partition(" #")[0])
        if found and not text.lstrip().startswith("#"):
            return _template(source, found[0], number, found.start() + 1)
    reason = " ".join(part.strip() for part in (error.context, error.problem) if part)
    return ReadError(source.path, f"not YAML: {reason}", line, column)


def _measured(source: Source, root: Any) -> Node:  # noqa: ANN401  a yaml.Node
    """A document whose depth and expanded size are within bounds, with its repeated keys told.

    Children are measured before their parents, each once, however many aliases lead there.
    """
    duplicates: list[tuple[Node, int]] = []
    document = Document(source)
    sizes: dict[int, tuple[int, int]] = {}
    opened: set[int] = set()
    waiting = [root]
    while waiting:
        raw = waiting[-1]
        if id(raw) in sizes:
            waiting.pop()
            continue
        children = _children(source, raw)
        if id(raw) not in opened:
            opened.add(id(raw))
            for child in children:
                if id(child) in opened and id(child) not in sizes:
                    raise _refused(source, child, "an alias that contains itself")
            waiting += reversed([child for child in children if id(child) not in sizes])
            continue
        waiting.pop()
        below = [sizes[id(child)] for child in children]
        size, depth = 1 + sum(each for each, _ in below), 1 + max((deep for _, deep in below), default=0)
        if depth > MAX_DEPTH:
            raise _refused(source, root, f"nested more than {MAX_DEPTH} deep")
        if size > MAX_EXPANDED and len(sizes) + 1 < size:
            raise _refused(source, raw, f"its aliases expand to more than {MAX_EXPANDED} nodes")
        sizes[id(raw)] = size, depth
        if raw.id == "mapping":
            duplicates += _repeated(document, raw)
    return Node(Document(source, tuple(duplicates)), root)


def _children(source: Source, raw: Any) -> list[Any]:  # noqa: ANN401
    if raw.id == "sequence":
        return list(raw.value)
    if raw.id == "scalar":
        return []
    for key, _ in raw.value:
        if key.id != "scalar":
            line, column = raw.start_mark.line + 1, raw.start_mark.column + 1
            if source.lines[line - 1][column - 1 :].startswith("{{"):
                raise _template(source, "{{", line, column)
            raise _refused(source, key, "a key that is no scalar")
    return [value for _, value in raw.value]


def _repeated(document: Document, raw: Any) -> Iterator[tuple[Node, int]]:  # noqa: ANN401
    first: dict[str, int] = {}
    for key, _ in raw.value:
        if key.value in first and key.value != "<<":
            yield Node(document, key), first[key.value]
        first.setdefault(key.value, key.start_mark.line + 1)


def _refused(source: Source, raw: Any, reason: str) -> ReadError:  # noqa: ANN401
    return ReadError(source.path, reason, raw.start_mark.line + 1, raw.start_mark.column + 1)
