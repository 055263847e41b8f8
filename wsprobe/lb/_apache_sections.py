"""The sections of a config, and to which requests they apply."""

import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import islice, takewhile

from wsprobe.lb._apache_expr import condition
from wsprobe.lb._apache_grammar import Node, Parsed, undefined
from wsprobe.lb._apache_values import PATH, all_of, wildcard
from wsprobe.lb._apache_workers import under
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Condition,
    How,
    Not,
    Test,
    Undecided,
    Value,
)
from wsprobe.model import Line

_FLAT = {"limit", "limitexcept", "ifmodule"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section that applies to some requests; `path` is the literal that a <Location> or a <Directory> names."""

    kind: str
    when: Condition
    path: str
    pattern: bool
    nodes: list[Node]
    node: Node
    inner: tuple["Section", ...] = ()

    @property
    def place(self) -> Line:
        """Where it begins."""
        return self.node.place


@dataclass(frozen=True, slots=True)
class Places:
    """The <Location> sections of a server, found by their paths; `others` are patterns, which may apply anywhere."""

    plain: dict[str, list[tuple[int, Section]]]
    paths: list[str]
    others: list[tuple[int, Section]]

    @classmethod
    def of(cls, sections: list[Section]) -> "Places":
        """Of sections in their order."""
        plain: dict[str, list[tuple[int, Section]]] = {}
        others = []
        for number, each in enumerate(sections):
            if each.pattern or re.search(r"[*?\[$]", each.path):
                others.append((number, each))
            else:
                plain.setdefault(each.path.rstrip("/"), []).append((number, each))
        return cls(plain, sorted(plain), others)

    def near(self, base: str | None) -> list[Section]:
        """Those that may apply below a path."""
        if base is None:
            found = [each for sections in self.plain.values() for each in sections]
        else:
            inner = base.rstrip("/")
            parts = inner.split("/")
            outer = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
            at = bisect_left(self.paths, f"{inner}/")
            below = takewhile(lambda path: path.startswith(f"{inner}/"), islice(self.paths, at, None))
            found = [each for path in dict.fromkeys([*outer, *below]) for each in self.plain.get(path, [])]
        return [section for _, section in sorted([*found, *self.others], key=lambda each: each[0])]


def split(body: tuple[Node, ...], parsed: Parsed, outer: Condition = ALWAYS) -> tuple[list[Node], list[Section]]:
    """The plain directives and the sections of a body; <Limit> counts where it is about GET."""
    flat: list[Node] = []
    sections: list[Section] = []
    chain: list[Condition] = []
    for node in body:
        if node.body is None or node.name in {"requireall", "requireany", "requirenone"}:
            flat.append(node)
        elif node.name in _FLAT:
            if _about_get(node):
                inner, more = split(node.body, parsed, outer)
                flat += inner
                sections += more
        elif found := _section(node, parsed, chain):
            sections.append(found)
    return flat, sections


def _about_get(node: Node) -> bool:
    methods = {arg.upper() for arg in node.args}
    return ("GET" in methods) is (node.name == "limit") or node.name == "ifmodule"


def _section(node: Node, parsed: Parsed, chain: list[Condition]) -> Section | None:
    args = [arg for arg in node.args if arg != "~"]
    path = args[0] if args else ""
    pattern = node.name.endswith("match") or node.args[:1] == ("~",)
    when = _when(node, path, chain, pattern=pattern)
    if when is None:
        return None
    flat, inner = split(node.body or (), parsed, when)
    kind = node.name.removesuffix("match")
    return Section(
        kind={"elseif": "if", "else": "if"}.get(kind, kind),
        when=when,
        path=path,
        pattern=pattern,
        nodes=flat,
        node=node,
        inner=tuple(inner),
    )


def _when(node: Node, path: str, chain: list[Condition], *, pattern: bool) -> Condition | None:
    match node.name.removesuffix("match"):
        case "location":
            return located(path, PATH, pattern=pattern)
        case "if" | "elseif" | "else":
            return _branch(node, chain)
        case "directory" | "files" | "proxy":
            return ALWAYS
    return None


def located(path: str, value: Value, *, pattern: bool) -> Condition:
    """Whether a path lies in a <Location>."""
    if name := undefined(path):
        return Undecided(path, f"${{{name}}} is not defined in the config")
    if pattern:
        return Test(value, How.REGEX, (path,))
    if re.search(r"[*?\[]", path):
        return Test(value, How.REGEX, (wildcard(path, "[^/]"),))
    return under(path, value)


def _branch(node: Node, chain: list[Condition]) -> Condition:
    if node.name == "if":
        chain.clear()
    before = [Not(each) for each in chain]
    text = node.text.strip()
    quoted = text[:1] in {'"', "'"} and text[-1:] == text[:1]
    own = ALWAYS if node.name == "else" else condition(text[1:-1].replace('\\"', '"') if quoted else text)
    chain.append(own)
    return all_of(*before, own)


def relation(section: Section, base: str | None) -> Condition:
    """When a <Location> applies to what a ProxyPass of `base` takes: decided where both are plain paths."""
    if section.kind != "location" or section.pattern or base is None or re.search(r"[*?\[$]", section.path):
        return section.when
    inner, outer = base.rstrip("/") + "/", section.path.rstrip("/") + "/"
    if inner.startswith(outer) and (base != section.path.rstrip("/") or base == section.path):
        return ALWAYS
    return section.when if outer.startswith(inner) or inner == outer else NEVER


# Which server a request is for.
