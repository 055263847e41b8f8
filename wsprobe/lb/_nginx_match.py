"""Which location of a server gets a request: nginx's order of `=`, `^~`, patterns and longest prefixes, and nesting."""

import re
from collections.abc import Iterator
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb.evaluation import matches
from wsprobe.lb.expressions import ALWAYS, NEVER, Condition, How, Not, OneOf, Test, Value, both
from wsprobe.patterns import lazy

_SAMPLES = (
    (re.compile(r"\\\(|\\\)"), "_"),
    (re.compile(r"\(\?[:=!]|\(\?P?<\w+>|\(\?i\)"), "("),
    (re.compile(r"\\[dD]"), "1"),
    (re.compile(r"\\w"), "x"),
    (re.compile(r"\\[bBAzZ]|\^|\$(?![\w{])"), ""),
    (re.compile(r"\\(.)"), r"\1"),
    (re.compile(r"\[\^[^\]]*\]|\[\w[^\]]*\]|\."), "x"),
    (re.compile(r"[*?+]|\{[\d,]*\}"), ""),
)
_SIMPLE = lazy(r"\^(/[A-Za-z0-9/_-]*)(\(?\.[*+]\)?)?\$?\Z")
_ALTERNATIVES = lazy(r"\(([^()|]*)(?:\|[^()]*)?\)")


@dataclass(frozen=True, slots=True)
class Place:
    """A location in the order in which nginx decides, and when it is meant.

    `redirect` is for what lacks its last slash.
    """

    scope: Scope
    match: Condition
    redirect: bool = False


def modifier(scope: Scope) -> tuple[str, str]:
    """The modifier of a location, and its path or pattern; `~*/x` in one word is taken apart."""
    args = scope.directive.args if scope.directive else ("/",)
    if len(args) > 1:
        return args[0], args[1]
    word = args[0] if args else ""
    if word.startswith("@"):
        return "@", word
    found = re.match(r"(=|\^~|~\*|~)(?=.)", word)
    return (found[1], word[found.end() :]) if found else ("", word)


def ordered(scope: Scope, path: Value) -> Iterator[Place]:
    """The locations in a block, in an order in which the first that matches is the one that nginx takes."""
    yield from _level(scope, path, ALWAYS)
    for inner in _locations(scope):
        if modifier(inner)[0] == "@":
            yield Place(inner, NEVER)


def _locations(scope: Scope) -> list[Scope]:
    return [scope.inner(each) for each in scope.own("location") if each.block is not None and each.args]


def _level(scope: Scope, path: Value, within: Condition) -> list[Place]:
    """All of a block where nothing outside of it is asked any more."""
    parts = _parts(scope, path, within)
    return [*parts.final, *parts.guarded, *parts.patterns, *parts.late]


@dataclass(slots=True)
class _Parts:
    """The locations of a block: those that settle it, those of `^~`, the patterns, and the other prefixes.

    A prefix only settles it where no pattern matches, also none of the blocks around it, unless they have `^~`.
    """

    final: list[Place]
    guarded: list[Place]
    patterns: list[Place]
    late: list[Place]
    guards: tuple[Condition, ...]


def _parts(scope: Scope, path: Value, within: Condition) -> _Parts:
    inner = [(*modifier(each), each) for each in _locations(scope)]
    exact = [(name, each) for how, name, each in inner if how == "="]
    prefixes = [(how, name, each) for how, name, each in inner if how in {"", "^~"}]
    final = [Place(each, both(within, _is(path, name))) for name, each in exact]
    parts = _Parts([*final, *_redirects(exact, prefixes, path, within)], [], [], [], ())
    longest = _longest(prefixes, path)
    for how, name, each in sorted(prefixes, key=lambda entry: -len(entry[1])):
        match = both(within, longest[name] if _locations(each) or how == "^~" else _begins(path, name))
        later = []
        if _locations(each):
            nested = _parts(each, path, match)
            free = Not(OneOf(nested.guards)) if nested.guards else ALWAYS
            parts.final += [*nested.final, *(replace(one, match=both(one.match, free)) for one in nested.patterns)]
            later = [*nested.guarded, *nested.late]
        (parts.guarded if how == "^~" else parts.late).extend([*later, Place(each, match)])
        parts.guards += (match,) if how == "^~" else ()
    for how, pattern, each in inner:
        if how in {"~", "~*"}:
            match = both(within, Test(path, How.REGEX, (pattern,), ignore_case=how == "~*"))
            parts.patterns += [*(_level(each, path, match) if _locations(each) else ()), Place(each, match)]
    return parts


def _redirects(
    exact: list[tuple[str, Scope]], prefixes: list[tuple[str, str, Scope]], path: Value, within: Condition
) -> Iterator[Place]:
    """Locations that pass requests on and end with a slash: what lacks it is redirected, unless another is meant."""
    names = {name for name, _ in exact} | {name for _, name, _ in prefixes}
    for name, each in [*exact, *((name, each) for _, name, each in prefixes)]:
        if name.endswith("/") and len(name) > 1 and name[:-1] not in names and passes_on(each):
            yield Place(each, both(within, _is(path, name[:-1])), redirect=True)


def passes_on(scope: Scope) -> bool:
    """Whether a location itself hands requests to another server."""
    return bool(scope.own("proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"))


def _longest(prefixes: list[tuple[str, str, Scope]], path: Value) -> dict[str, Condition]:
    """For each prefix, that it is the longest one: no prefix that goes on from it is there as well."""
    names = sorted({name for _, name, _ in prefixes})
    further: dict[str, list[str]] = {name: [] for name in names}
    open_: list[str] = []
    for name in names:
        while open_ and not name.startswith(open_[-1]):
            open_.pop()
        if open_:
            further[open_[-1]].append(name)
        open_.append(name)
    return {
        name: both(_begins(path, name), Not(Test(path, How.PREFIX, tuple(more)))) if more else _begins(path, name)
        for name, more in further.items()
    }


def _is(path: Value, name: str) -> Condition:
    return Test(path, How.EQUALS, (name,))


def _begins(path: Value, name: str) -> Condition:
    return Test(path, How.PREFIX, (name,))


def sample(scope: Scope) -> str:
    """A path that the location should match."""
    how, name = modifier(scope)
    if how not in {"~", "~*"}:
        return name if how == "=" or not name.endswith("/") else f"{name}x"
    if simple := _SIMPLE.match(name):
        return simple[1] + ("x" if simple[2] else "")
    text = re.sub(r"\[\^[^\]]*\][*+]|\.[*+]", "x", name)
    for _ in range(20):
        found = _ALTERNATIVES.search(text.replace("(?:", "("))
        if not found:
            break
        text = _ALTERNATIVES.sub(r"\1", text.replace("(?:", "("), count=1)
    for pattern, to in _SAMPLES:
        text = pattern.sub(to, text)
    text = text.replace("(", "").replace(")", "").partition("|")[0]
    text = text if text.startswith("/") else f"/{text}"
    return text if matches(name, text, ignore_case=how == "~*") is True else "/"
