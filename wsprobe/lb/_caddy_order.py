"""The order in which Caddy takes the directives of a block, whatever order they are written in."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cmp_to_key

from wsprobe.lb._caddy_tree import Tree
from wsprobe.model import Line

ORDER = (
    *("tracing", "map", "vars", "fs", "root", "log_append", "skip_log", "log_skip", "log_name"),
    *("header", "copy_response_headers", "request_body", "redir"),
    *("method", "rewrite", "uri", "try_files"),
    *("basicauth", "basic_auth", "forward_auth", "request_header", "encode", "push", "intercept", "templates"),
    *("invoke", "handle", "handle_path", "route"),
    *("abort", "error", "copy_response", "respond", "metrics", "reverse_proxy", "php_fastcgi", "file_server"),
    "acme_server",
)
"""The order of Caddy's own directives, whatever order they are written in."""

OF_SITE = frozenset({"bind", "tls", "log", "handle_errors"})
"""Directives that are about the site, and no handlers."""

EXCLUSIVE = frozenset({"rewrite", "handle", "root"})
"""Of these only the first that matches is taken."""

_PLUGIN_BEFORE = "invoke"


def route(place: Line, sets: list[Tree], *handlers: Tree) -> Tree:
    """A route of Caddy's JSON."""
    return Tree(place, [("match", sets), ("handle", list(handlers))])


def sorted_as(name: str) -> str:
    """The name that a directive is sorted by."""
    return {"handle_path": "handle"}.get(name, name)


def _compared(one: tuple[str, Tree], other: tuple[str, Tree], positions: Mapping[str, int]) -> int:
    unknown = positions.get(_PLUGIN_BEFORE, 0) - 0.5
    left, right = positions.get(one[0], unknown), positions.get(other[0], unknown)
    if one[0] != other[0]:
        return -1 if left < right else 1 if left > right else 0
    specific = int(_goes_before(other[1], one[1])) - int(_goes_before(one[1], other[1]))
    return -specific if one[0] == "vars" else specific


def _goes_before(one: Tree, other: Tree) -> bool:
    """Whether the matcher of a route is the more specific one: the longer path, or any matcher at all."""
    left, right = _single_path(one), _single_path(other)
    if left and right:
        if left.removesuffix("*") == right.removesuffix("*"):
            return len(left) < len(right)
        return len(left) > len(right)
    return bool(one.trees("match")) and not other.trees("match")


def _single_path(each: Tree) -> str:
    sets = each.trees("match")
    paths = sets[0].texts("path") if len(sets) == 1 else []
    return paths[0] if len(paths) == 1 else ""


def consolidated(routes: Iterable[Tree]) -> list[Tree]:
    """Neighbours with the same matchers as one route: it is asked once whether they match."""
    made: list[Tree] = []
    for each in routes:
        last = made[-1] if made else None
        same = last is not None and all(last.get(key) == each.get(key) for key in ("match", "group", "terminal"))
        if last is not None and same and (each.trees("match") or "group" in each):
            last["handle"] = [*last.trees("handle"), *each.trees("handle")]
        else:
            made.append(each)
    return made


def in_order(made: Sequence[tuple[str, Tree]], order: Sequence[str]) -> list[tuple[str, Tree]]:
    """Routes by the name of their directive, sorted: by the order of directives, then by their matchers."""
    positions = {name: index for index, name in enumerate(order)}

    def compared(one: tuple[str, Tree], other: tuple[str, Tree]) -> int:
        return _compared(one, other, positions)

    # Of variables that are set in equal ways, Caddy has the last one first.
    backwards = iter([each for each in made if each[0] == "vars"][::-1])
    turned = [next(backwards) if each[0] == "vars" else each for each in made]
    return sorted(turned, key=cmp_to_key(compared))
