"""HAProxy's log formats as values, as far as rules about requests use them: `%[src]`, `%ci` (manual, 8.2.4)."""

import re

from wsprobe.lb._haproxy_samples import Scope, sample
from wsprobe.lb.expressions import (
    Join,
    Text,
    Undecided,
    Value,
)

_ALIAS = re.compile(r"%(?:\{[^}]*\})?(?:(?P<percent>%)|\[|(?P<name>[A-Za-z]+))")
_VALUES: dict[str, str] = {
    "ci": "src",
    "cp": "src_port",
    "fi": "dst",
    "fp": "dst_port",
    "f": "fe_name",
    "HM": "capture.req.method",
}


def formatted(text: str, scope: Scope) -> Value:
    """The value of a log format."""
    parts: list[Value] = []
    at = 0
    while at < len(text):
        found = _ALIAS.search(text, at)
        if not found:
            break
        parts.append(Text(text[at : found.start()]))
        at = found.end()
        if found["percent"]:
            parts.append(Text("%"))
        elif found["name"]:
            parts.append(_alias(found["name"], found[0], scope))
        else:
            end = _closing(text, at)
            parts.append(_inner(text[at:end], found[0], scope))
            at = end + 1
    parts.append(Text(text[at:]))
    kept = tuple(part for part in parts if part != Text(""))
    return kept[0] if len(kept) == 1 and isinstance(kept[0], Text) else Join(kept)


def _alias(name: str, text: str, scope: Scope) -> Value:
    if name in _VALUES and "{" not in text:
        return sample(_VALUES[name], scope).single
    return Undecided(text, f"{text} is known to the running HAProxy only")


def _inner(expression: str, opening: str, scope: Scope) -> Value:
    if "{" in opening:
        return Undecided(opening, "the flags of a log format are not followed")
    return sample(expression.strip(), scope).single


def _closing(text: str, at: int) -> int:
    """Where the bracket of an expression is closed; quotes and parentheses inside count."""
    depth, quote = 0, ""
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            at += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif not quote and char in "()":
            depth += 1 if char == "(" else -1
        elif not quote and char == "]" and depth <= 0:
            return at
        at += 1
    return len(text)
