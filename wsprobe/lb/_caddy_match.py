"""Caddy's matchers as conditions over the request as it stands when they are asked."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wsprobe.lb import _caddy_cel as cel
from wsprobe.lb._caddy_headers import groups_of
from wsprobe.lb._caddy_tree import NULL, Said, Tree, as_trees
from wsprobe.lb._caddy_values import Scope, has_placeholder, placeholder, text_of, value_of
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    ALWAYS,
    Captured,
    Cased,
    Condition,
    How,
    Lines,
    Not,
    Of,
    OneOf,
    Or,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
    Written,
    both,
)
from wsprobe.model import Line

PRIVATE = (
    "192.168.0.0/16",
    "172.16.0.0/12",
    "10.0.0.0/8",
    "127.0.0.1/8",
    "fd00::/8",
    "::1",
)
"""What Caddy calls private_ranges."""

MAX_NESTING = 50
"""How deep `not` may be nested."""


def matches_any(sets: list[Tree], scope: Scope, depth: int = 0) -> Condition:
    """Whether one of the matcher sets of a route matches; a route without any matches always."""
    found = tuple(matches_all(each, scope, depth) for each in sets)
    return ALWAYS if not found or ALWAYS in found else found[0] if len(found) == 1 else OneOf(found)


def matches_all(matchers: Tree, scope: Scope, depth: int = 0) -> Condition:
    """Whether all matchers of a set match."""
    return both(*(_matcher(name, found, scope, depth) for name, found in matchers.marked()))


def _matcher(name: Said, found: Any, scope: Scope, depth: int) -> Condition:  # noqa: ANN401  what a Tree holds
    if name == "not":
        if depth > MAX_NESTING:
            return Undecided("not", f"not is nested deeper than {MAX_NESTING}")
        return Not(matches_any(as_trees(found), scope, depth + 1))
    read = _KINDS.get(name)
    if read is None:
        return Undecided(str(name), _WHY.get(name, f"the matcher {name} is not read"))
    return read(found, scope)


_WHY = {
    "file": "it depends on the files of the proxy",
    "tls": "it depends on the handshake of TLS",
}


# Paths.


def _paths(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    return _one_of(map(_path, _texts(found)))


def _path(pattern: Said) -> Condition:
    if has_placeholder(pattern):
        return Undecided(pattern, "a path with a placeholder is not followed")
    if pattern == "*":
        return ALWAYS
    form = PathForm.WITHOUT_DOTS if "//" in pattern else PathForm.CLEAN
    if "%" in pattern:
        escaped = Written(Written(Of(Subject.RAW_PATH), PathForm.ESCAPED), form)
        return Test(escaped, How.REGEX, (_escaped_glob(pattern),))
    decoded = Cased(Written(Written(Of(Subject.RAW_PATH), PathForm.DECODED), form))
    return Test(decoded, *_how_path(pattern.lower()))


def _how_path(pattern: str) -> tuple[How, tuple[str, ...]]:
    """A star at an end stands for anything; others, and those beside them, do not pass a slash."""
    stars = pattern.count("*")
    if stars == 2 and pattern.startswith("*") and pattern.endswith("*"):
        return How.CONTAINS, (pattern[1:-1],)
    if stars == 1 and pattern.startswith("*"):
        return How.SUFFIX, (pattern[1:],)
    if stars == 1 and pattern.endswith("*"):
        return How.PREFIX, (pattern[:-1],)
    return (How.REGEX, (_glob(pattern),)) if set(pattern) & set("*?[\\") else (How.EQUALS, (pattern,))


def _glob(pattern: str) -> str:
    """What Go's path.Match takes, as a pattern: neither * nor ? passes a slash."""
    parts = []
    for part in re.findall(r"\*|\?|\[[^\]]*\]|\\.|[^*?\[\\]+|[\[\\]", pattern):
        if part == "*":
            parts.append("[^/]*")
        elif part == "?":
            parts.append("[^/]")
        elif part[0] == "[" and len(part) > 1:
            parts.append(part.replace("\\", "\\\\"))
        else:
            parts.append(re.escape(part[1:] if part[0] == "\\" and len(part) > 1 else part))
    return rf"\A{''.join(parts)}\Z"


def _escaped_glob(pattern: str) -> str:
    """A pattern with escapes is compared with the path as it travels; `%*` passes slashes."""
    parts = []
    for part in re.findall(r"%\*|%[0-9A-Fa-f]{2}|\*|.", pattern):
        if part == "%*":
            parts.append(".*")
        elif part == "*":
            parts.append("[^/]*")
        elif part[0] == "%" and len(part) == 3:
            parts.append(f"(?i:{part})")
        else:
            octet = f"%{ord(part):02x}" if part.isascii() and part != "/" else ""
            parts.append(f"(?i:{re.escape(part)}|{octet})" if octet else re.escape(part))
    return rf"\A{''.join(parts)}\Z"


def _path_regexp(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    """Whether a pattern is found in the path, decoded and clean."""
    pattern = found.text("pattern") if isinstance(found, Tree) else None
    if pattern is None:
        return Undecided("path_regexp", "it has no pattern")
    return Test(REGEXP_PATH, How.REGEX, (pattern,))


REGEXP_PATH: Value = Written(Written(Of(Subject.RAW_PATH), PathForm.DECODED), PathForm.CLEAN)
"""What path_regexp looks at."""


# Hosts, methods, addresses.


def _hosts(found: Any, scope: Scope) -> Condition:  # noqa: ANN401
    return _one_of(_host(each, scope) for each in _texts(found))


def _host(name: Said, scope: Scope) -> Condition:
    if has_placeholder(name):
        return _environment(name, scope)
    if "*" in name:
        labels = ["[^.]*" if label == "*" else re.escape(label) for label in name.split(".")]
        return Test(Of(Subject.HOST), How.REGEX, (rf"\A{'[.]'.join(labels)}\Z",), ignore_case=True)
    return Test(Of(Subject.HOST), How.EQUALS, (name,), ignore_case=True)


def _environment(name: Said, scope: Scope) -> Condition:
    value = value_of(name, scope)
    parts = getattr(value, "parts", (value,))
    unknown = next((part for part in parts if isinstance(part, Undecided)), None)
    return unknown or Undecided(name, "a host with a placeholder is not followed")


def _methods(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    return Test(Of(Subject.METHOD), How.EQUALS, tuple(_texts(found)))


def _protocol(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    name = str(found)
    if name in {"http", "https"}:
        return Test(Of(Subject.SCHEME), How.EQUALS, (name,))
    if name == "grpc":
        return Test(Of(Subject.HEADER, "Content-Type"), How.PREFIX, ("application/grpc",))
    versions = {
        "http/1.0": ("HTTP/1.0",),
        "http/1.0+": ("HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"),
        "http/1.1": ("HTTP/1.1",),
        "http/1.1+": ("HTTP/1.1", "HTTP/2", "HTTP/3"),
        "http/2": ("HTTP/2",),
        "http/2+": ("HTTP/2", "HTTP/3"),
        "http/3": ("HTTP/3",),
        "http/3+": ("HTTP/3",),
    }
    if name not in versions:
        return Undecided(name, "the matcher protocol does not know that")
    return Test(Of(Subject.VERSION), How.EQUALS, versions[name])


def networks(ranges: Iterable[str]) -> tuple[str, ...]:
    """Ranges of addresses, with private_ranges written out."""
    return tuple(each for one in ranges for each in (PRIVATE if one == "private_ranges" else (str(one),)))


def _remote_ip(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    ranges = found.texts("ranges") if isinstance(found, Tree) else []
    if "forwarded" in ranges or (isinstance(found, Tree) and found.text("forwarded") == "true"):
        return Undecided("remote_ip forwarded", "the client may say any address")
    if any(has_placeholder(each) for each in ranges):
        return Undecided("remote_ip", "an address with a placeholder is not followed")
    return Test(Of(Subject.PEER), How.NETWORK, networks(ranges))


def _client_ip(found: Any, scope: Scope) -> Condition:  # noqa: ANN401
    address = scope.known.get("http.vars.client_ip")
    if isinstance(address, Undecided):
        return address
    return _remote_ip(found, scope)


# Headers and queries.


def _lines(name: str) -> Value:
    """All lines of a header: any of them may match."""
    if name.lower() == "host":
        return Of(Subject.AUTHORITY)
    return Of(Subject.HEADER, name, lines=Lines.ANY_LINE)


def _headers(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    pairs = found.items() if isinstance(found, Tree) else ()
    return both(*(_header(name, values) for name, values in pairs))


def _header(name: str, values: Any) -> Condition:  # noqa: ANN401
    wanted = _texts(values)
    if any(has_placeholder(each) for each in wanted):
        return Undecided(name, "a value with a placeholder is not followed")
    exists = Test(_lines(name), How.EXISTS)
    if values is NULL:
        return Not(exists)
    if not wanted:
        return exists
    return _one_of(Test(_lines(name), *_how(each)) for each in wanted)


def _how(value: str) -> tuple[How, tuple[str, ...]]:
    if value == "*":
        return How.EXISTS, ()
    if value.startswith("*") and value.endswith("*"):
        return How.CONTAINS, (value[1:-1],)
    if value.startswith("*"):
        return How.SUFFIX, (value[1:],)
    if value.endswith("*"):
        return How.PREFIX, (value[:-1],)
    return How.EQUALS, (value,)


def _header_regexp(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    tests: list[Condition] = []
    for name, each in found.items() if isinstance(found, Tree) else ():
        pattern = each.text("pattern") if isinstance(each, Tree) else None
        tests.append(Test(_lines(name), How.REGEX, (pattern or "",)))
    return both(*tests)


def _query(found: Any, _: Scope) -> Condition:  # noqa: ANN401
    pairs = list(found.items()) if isinstance(found, Tree) else []
    if not pairs:
        return Not(Test(Of(Subject.QUERY), How.REGEX, (".",)))
    return both(*(_parameter(name, _texts(values)) for name, values in pairs))


def _parameter(name: str, values: list[Said]) -> Condition:
    if any(has_placeholder(each) for each in (name, *values)):
        return Undecided(name, "a query with a placeholder is not followed")
    of = Of(Subject.PARAMETER, name, lines=Lines.ANY_LINE)
    return Test(of, How.EXISTS) if "*" in values else Test(of, How.EQUALS, tuple(values))


# Variables.


def _variable(name: str, scope: Scope) -> Value:
    if name.startswith("{") and name.endswith("}"):
        found = placeholder(name[1:-1], scope)
        return found if found is not None else Undecided(name, f"{name}: only the running proxy knows")
    return value_of(f"{{http.vars.{name}}}", scope)


def _vars(found: Any, scope: Scope) -> Condition:  # noqa: ANN401
    pairs = found.items() if isinstance(found, Tree) else ()
    return both(*(Test(_variable(name, scope), How.EQUALS, tuple(_texts(values))) for name, values in pairs))


def _vars_regexp(found: Any, scope: Scope) -> Condition:  # noqa: ANN401
    tests: list[Condition] = []
    for name, each in found.items() if isinstance(found, Tree) else ():
        pattern = each.text("pattern") if isinstance(each, Tree) else None
        tests.append(Test(_variable(name, scope), How.REGEX, (pattern or "",)))
    return both(*tests)


def _expression(found: Any, scope: Scope) -> Condition:  # noqa: ANN401
    text = found.text("expr") if isinstance(found, Tree) else found

    def called(name: str, arguments: list[cel.Argument]) -> Condition | None:
        return _function(name, arguments, found.place, scope)

    return cel.condition(str(text or ""), lambda name: text_of(_variable(f"{{{name}}}", scope)), called)


def _function(name: str, arguments: list[cel.Argument], place: Line, scope: Scope) -> Condition | None:
    """A matcher that an expression calls; those that catch groups are not followed."""
    texts = [Said(each, place) for each in arguments if isinstance(each, str)]
    maps = [each for each in arguments if isinstance(each, dict)]
    if name in {"path", "host", "method"} and texts and not maps:
        return _KINDS[name](texts, scope)
    if name == "protocol" and len(texts) == 1 and not maps:
        return _protocol(texts[0], scope)
    if name in {"remote_ip", "client_ip"} and texts and not maps:
        return _KINDS[name](Tree(place, [("ranges", texts)]), scope)
    if name in {"header", "query", "vars"} and len(maps) == 1 and not texts:
        pairs = ((Said(key, place), [Said(value, place) for value in values]) for key, values in maps[0].items())
        return _KINDS[name](Tree(place, pairs), scope)
    return None


_KINDS: Mapping[str, Callable[[Any, Scope], Condition]] = {
    "path": _paths,
    "path_regexp": _path_regexp,
    "host": _hosts,
    "method": _methods,
    "protocol": _protocol,
    "remote_ip": _remote_ip,
    "client_ip": _client_ip,
    "header": _headers,
    "header_regexp": _header_regexp,
    "query": _query,
    "vars": _vars,
    "vars_regexp": _vars_regexp,
    "expression": _expression,
}


def captures(matchers: Tree) -> Iterator[tuple[str, Value]]:
    """What the patterns of a matcher set catch, by the names that placeholders call it."""
    found = matchers.tree("path_regexp")
    if found is not None:
        yield from _caught(found, REGEXP_PATH)
    fields = matchers.tree("header_regexp")
    for name in fields or ():
        each = fields.tree(name) if fields else None
        if each is not None:
            yield from _caught(each, Of(Subject.HEADER, name))


def _caught(found: Tree, value: Value) -> Iterator[tuple[str, Value]]:
    pattern, name = found.text("pattern") or "", found.text("name")
    for group in groups_of(pattern):
        caught = Or(Captured(value, pattern, group), Text(""))
        for prefix in ("http.regexp.", f"http.regexp.{name}.") if name else ("http.regexp.",):
            yield prefix + group, caught


def _texts(found: Any) -> list[Said]:  # noqa: ANN401
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, Said)]


def _one_of(conditions: Iterable[Condition]) -> Condition:
    found = tuple(conditions)
    return found[0] if len(found) == 1 else OneOf(found)
