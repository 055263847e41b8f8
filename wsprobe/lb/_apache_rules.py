"""The rules of mod_rewrite with their conditions and flags, as they are written."""

import re
from dataclasses import dataclass, field

from wsprobe.inspection import Unknown
from wsprobe.lb._apache_grammar import Node, Parsed
from wsprobe.lb._numbers import natural
from wsprobe.model import Line

_STATUS = {"permanent": 301, "temp": 302, "seeother": 303}


_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|balancer:|unix:", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A RewriteRule with its conditions. `key` is the name of its end."""

    pattern: str
    negated: bool
    ignore_case: bool
    target: str
    flags: dict[str, str]
    conditions: tuple["Cond", ...]
    node: Node
    key: str

    @property
    def place(self) -> Line:
        """Where the rule stands."""
        return self.node.place

    @property
    def proxied(self) -> bool:
        """Whether it hands the request to another server."""
        return "P" in self.flags

    @property
    def redirects(self) -> bool:
        """Whether it sends the client elsewhere."""
        return self.status is not None and 300 <= self.status < 400

    @property
    def status(self) -> int | None:
        """The status that it answers, None where it answers none."""
        if "F" in self.flags:
            return 403
        if "G" in self.flags:
            return 410
        if "R" not in self.flags:
            return 302 if _ABSOLUTE.match(self.target) and not self.proxied else None
        given = self.flags["R"]
        return _STATUS.get(given.lower(), natural(given) or 302)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cond:
    """A RewriteCond."""

    text: str
    pattern: str
    ignore_case: bool
    alternative: bool
    node: Node


@dataclass(slots=True)
class Rewriting:
    """The rules that are in force in one place, in their order."""

    on: bool | None = None
    options: set[str] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)

    def take_over(self, outer: "Rewriting") -> None:
        """What a virtual host has of the main server: whether rules run, and the rules where options say so."""
        if self.on is None:
            self.on = outer.on
        down = set() if "ignoreinherit" in self.options else outer.options
        if "inheritbefore" in self.options or "inheritdownbefore" in down:
            self.rules = [*outer.rules, *self.rules]
        elif "inherit" in self.options or "inheritdown" in down:
            self.rules = [*self.rules, *outer.rules]


_LONG = {
    "nocase": "NC", "ornext": "OR", "proxy": "P", "redirect": "R", "forbidden": "F", "gone": "G", "last": "L",
    "passthrough": "PT", "noescape": "NE", "qsappend": "QSA", "qsdiscard": "QSD", "qslast": "QSL", "chain": "C",
    "skip": "S", "next": "N", "env": "E", "handler": "H", "type": "T", "cookie": "CO", "nosubreq": "NS",
    "discardpath": "DPI", "novary": "NV",
}  # fmt: skip


_IGNORED = {"L", "NS", "CO", "T", "NV", "DPI", "NE", "QSA", "QSD", "P", "R", "F", "G", "PT", "C", "S", "E", "NC", "END"}


def rewriting(nodes: list[Node], parsed: Parsed) -> Rewriting:
    """The rules that stand in one context."""
    found = Rewriting()
    waiting: list[Cond] = []
    for node in nodes:
        match node.name:
            case "rewriteengine":
                found.on = node.first.lower() == "on"
            case "rewriteoptions":
                found.options |= {arg.lower() for arg in node.args}
            case "rewritecond":
                waiting += _cond(node, parsed)
            case "rewriterule":
                found.rules += _rule(node, tuple(waiting), parsed)
                waiting = []
    return found


def _flags(text: str) -> list[tuple[str, str]]:
    found = []
    for each in text.strip().removeprefix("[").removesuffix("]").split(","):
        name, _, value = each.strip().partition("=")
        found.append((_LONG.get(name.lower(), name.upper()), value))
    return found


def _cond(node: Node, parsed: Parsed) -> list[Cond]:
    if len(node.args) < 2:
        parsed.problem(node.place, "RewriteCond needs a test string and a pattern")
        return []
    flags = dict(_flags(node.args[2])) if len(node.args) > 2 else {}
    return [
        Cond(
            text=node.args[0],
            pattern=node.args[1],
            ignore_case="NC" in flags,
            alternative="OR" in flags,
            node=node,
        )
    ]


def _rule(node: Node, conditions: tuple[Cond, ...], parsed: Parsed) -> list[Rule]:
    if len(node.args) < 2:
        parsed.problem(node.place, "RewriteRule needs a pattern and a substitution")
        return []
    flags: dict[str, str] = {}
    for name, value in _flags(node.args[2]) if len(node.args) > 2 else []:
        flags[name] = f"{flags[name]},{value}" if name == "E" and name in flags else value
    unknown = [name for name in flags if name and name not in _IGNORED]
    for name in unknown:
        what, why = f"the flag [{name[:20]}] of RewriteRule", "what it does is not read"
        parsed.unread.append(Unknown(what=what, why=why, place=node.place))
    pattern = node.args[0]
    return [
        Rule(
            pattern=pattern.removeprefix("!"),
            negated=pattern.startswith("!"),
            ignore_case="NC" in flags,
            target=node.args[1],
            flags=flags,
            conditions=conditions,
            node=node,
            key=f"rule of {node.place.path}:{node.place.line}",
        )
    ]


# Steps.
