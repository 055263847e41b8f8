"""How Envoy matches: strings, headers, query parameters, paths, and the domains of virtual hosts."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice, takewhile

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_headers import parameter, request_header
from wsprobe.lb._envoy_proto import Reading, flag, get, number, share, snake, text, under, words
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
    Condition,
    How,
    Lines,
    Not,
    Of,
    OneOf,
    Subject,
    Test,
    Text,
    Undecided,
    Value,
    both,
)

_INDIVIDUALLY = (1, 39)  # before, a header's lines were joined with commas and compared as one
_PATH = Of(Subject.RAW_PATH)
_STRINGS = {"exact": How.EQUALS, "prefix": How.PREFIX, "suffix": How.SUFFIX, "contains": How.CONTAINS}
_HEADERS = {
    "exact_match": How.EQUALS,
    "prefix_match": How.PREFIX,
    "suffix_match": How.SUFFIX,
    "contains_match": How.CONTAINS,
}
_MATCH = words(
    "prefix path safe_regex connect_matcher path_separated_prefix path_match_policy case_sensitive runtime_fraction "
    "headers query_parameters grpc tls_context dynamic_metadata filter_state cookies"
)
_RUNNING = {
    "tls_context": "depends on the client's certificate",
    "dynamic_metadata": "depends on what filters found out about the request",
    "filter_state": "depends on what filters found out about the request",
    "path_match_policy": "an extension decides",
    "cookies": "cookie matchers are not read",
}


def whole(pattern: str) -> str:
    """A pattern that has to match all of a text, as RE2 has it."""
    flags = re.match(r"\(\?([ims]+)\)", pattern)
    inner = f"(?{flags[1]}:{pattern[flags.end() :]})" if flags else f"(?:{pattern})"
    return rf"\A{inner}\Z"


def regex(node: Node | None) -> str:
    """The pattern of a RegexMatcher."""
    return text(node, "regex")


def string(matcher: Node | None, value: Value) -> Condition:
    """Whether a value is as a StringMatcher says."""
    ignore = flag(matcher, "ignore_case")
    for name, how in _STRINGS.items():
        if found := get(matcher, name):
            return Test(value, how, (found.text,), ignore_case=ignore)
    if pattern := get(matcher, "safe_regex"):
        return Test(value, How.REGEX, (whole(regex(pattern)),))
    return Undecided("", "a string matcher that this reader does not know")


def names(matchers: Iterable[Node]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The header names that a list of StringMatchers takes: those told exactly, and patterns for the others."""
    exact: list[str] = []
    patterns: list[str] = []
    for matcher in matchers:
        for kind, found in matcher.entries().items():
            escaped = re.escape(found.text)
            made = {"prefix": rf"\A{escaped}", "suffix": rf"{escaped}\Z", "contains": escaped}
            if kind == "exact":
                exact.append(found.text.lower())
            elif snake(kind) == "safe_regex":
                patterns.append(whole(regex(found)))
            elif kind in made:
                patterns.append(made[kind])
    return tuple(exact), tuple(patterns)


def header_match(matcher: Node, version: tuple[int, int]) -> Condition:
    """Whether a request has a header as a HeaderMatcher says.

    A header that is missing fails all matchers but those for presence, inverted or not, unless it is to be treated as
    an empty one.
    """
    value = request_header(text(matcher, "name"))
    if isinstance(value, Of) and value.subject is Subject.HEADER:
        lines = Lines.ANY_LINE if version >= _INDIVIDUALLY else Lines.JOINED
        value = replace(value, lines=lines, separator=",")
    there: Condition = Test(value, How.EXISTS)
    empty = flag(matcher, "treat_missing_header_as_empty")
    inverted = flag(matcher, "invert_match")
    wanted = get(matcher, "present_match")
    if empty:
        there = ALWAYS
    tested = _header_value(matcher, value)
    if tested is None:
        present = wanted is None or wanted.boolean is not False
        return there if present is not inverted else Not(there)
    if empty:
        tested = OneOf((tested, both(Not(Test(value, How.EXISTS)), _header_value(matcher, Text("")) or NEVER)))
    return both(there, Not(tested)) if inverted else tested


def _header_value(matcher: Node, value: Value) -> Condition | None:
    """What is asked of the value; None where only presence counts."""
    if found := get(matcher, "string_match"):
        return string(found, value)
    if found := get(matcher, "safe_regex_match"):
        return Test(value, How.REGEX, (whole(regex(found)),))
    if found := get(matcher, "range_match"):
        return Test(value, How.BETWEEN, (f"{number(found, 'start') or 0}:{(number(found, 'end') or 0) - 1}",))
    for name, how in _HEADERS.items():
        if found := get(matcher, name):
            return Test(value, how, (found.text,))
    return None


def _parameter(matcher: Node) -> Condition:
    """Whether the first query parameter of a name is as a QueryParameterMatcher says; Envoy decodes neither."""
    value = parameter(text(matcher, "name"))
    if found := get(matcher, "string_match"):
        return string(found, value)
    there = Test(value, How.EXISTS)
    present = get(matcher, "present_match")
    return Not(there) if present is not None and present.boolean is False else there


def _path(match: Node) -> Condition:
    ignore = not flag(match, "case_sensitive", default=True)
    if (found := get(match, "prefix")) is not None:
        return ALWAYS if found.text in {"", "/"} else Test(_PATH, How.PREFIX, (found.text,), ignore_case=ignore)
    if found := get(match, "path"):
        return Test(_PATH, How.EQUALS, (found.text,), ignore_case=ignore)
    if found := get(match, "path_separated_prefix"):
        same = Test(_PATH, How.EQUALS, (found.text,), ignore_case=ignore)
        return OneOf((same, Test(_PATH, How.PREFIX, (f"{found.text}/",), ignore_case=ignore)))
    if found := get(match, "safe_regex"):
        return Test(_PATH, How.REGEX, (whole(regex(found)),))
    if get(match, "connect_matcher") is not None:
        return Test(Of(Subject.METHOD), How.EQUALS, ("CONNECT",))
    return ALWAYS


def request_match(match: Node, reading: Reading) -> Condition:
    """Whether path, headers and query parameters are as a RouteMatch says; filters look at no more of it."""
    headers = [header_match(each, reading.version) for each in under(match, "headers")]
    return both(_path(match), *headers, *(_parameter(each) for each in under(match, "query_parameters")))


def route_match(match: Node | None, reading: Reading) -> Condition:
    """Whether a request is as a RouteMatch says."""
    if match is None:
        return ALWAYS
    reading.fields(match, _MATCH, "a route's match")
    conditions = [request_match(match, reading)]
    if get(match, "grpc") is not None:
        conditions.append(Test(request_header("content-type"), How.PREFIX, ("application/grpc",)))
    if fraction := get(match, "runtime_fraction"):
        conditions.append(share(fraction, "a runtime fraction decides") or NEVER)
    for name, why in _RUNNING.items():
        if found := get(match, name):
            conditions.append(Undecided("", why))
            reading.skip(found, why)
    return both(*conditions)


def label(match: Node | None) -> str:
    """A route's match as the config writes it."""
    said = []
    for name, value in (match.entries() if match else {}).items():
        kind = snake(name)
        if kind in {"prefix", "path", "path_separated_prefix"}:
            said.append(f"{kind} {value.text}")
        elif kind == "safe_regex":
            said.append(f"safe_regex {regex(value)}")
        elif kind in {"headers", "query_parameters"}:
            # The name first: what follows the name of a credential's header is taken for the credential.
            said += [f"{text(each, 'name')} {kind.removesuffix('s').replace('_', ' ')}" for each in value.items()]
        else:
            said.append(kind)
    return ", ".join(said) or "any request"


def sample(match: Node | None) -> str:
    """A request target that should match."""
    for name, made in (("prefix", "{}"), ("path", "{}"), ("path_separated_prefix", "{}/x")):
        if (found := get(match, name)) is not None:
            return made.format(found.text) if found.text.startswith("/") else f"/{found.text}"
    return "/"


# Domains.


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of a virtual host; `shape` is exact, suffix (`*.x`), prefix (`x.*`) or any (`*`)."""

    shape: str
    part: str


_HOWS = {"exact": How.EQUALS, "suffix": How.SUFFIX, "prefix": How.PREFIX}


def domain(written: str) -> Domain:
    """A domain as a virtual host writes it."""
    lowered = written.lower()
    if lowered == "*":
        return Domain("any", "")
    if lowered.startswith("*"):
        return Domain("suffix", lowered[1:])
    return Domain("prefix", lowered[:-1]) if lowered.endswith("*") else Domain("exact", lowered)


class Domains:
    """All domains of a route configuration, so that those that win over one are found without looking at each."""

    def __init__(self, domains: Iterable[Domain]) -> None:
        parts: dict[str, list[str]] = {shape: [] for shape in (*_HOWS, "any")}
        for each in domains:
            parts[each.shape].append(each.part)
        self._all = {shape: tuple(found) for shape, found in parts.items()}
        self._sorted = {shape: sorted(found) for shape, found in parts.items()}
        self._reversed = {shape: sorted(part[::-1] for part in found) for shape, found in parts.items()}

    def better(self, own: Domain) -> dict[str, tuple[str, ...]]:
        """The domains, by shape, that win over one where both take a host."""
        match own.shape:
            case "any":
                return {shape: self._all[shape] for shape in _HOWS}
            case "suffix":
                return {shape: self._ending(shape, own.part) for shape in ("exact", "suffix")}
            case "prefix":
                longer = {shape: _longer(self._sorted[shape], own.part) for shape in ("exact", "prefix")}
                return longer | {"suffix": self._all["suffix"]}
        return {}

    def _ending(self, shape: str, part: str) -> tuple[str, ...]:
        return tuple(each[::-1] for each in _longer(self._reversed[shape], part[::-1]))


def _longer(ordered: list[str], part: str) -> tuple[str, ...]:
    """The texts that begin with a part and are longer."""
    first = bisect_right(ordered, part)
    return tuple(takewhile(lambda each: each.startswith(part), islice(ordered, first, None)))


def domain_match(own: Iterable[Domain], every: Domains, value: Value) -> Condition:
    """Whether a host leads to the virtual host with these domains.

    An exact domain wins, then the longest suffix, then the longest prefix, then `*`.
    """
    mine = list(own)
    alternatives = []
    for each in mine:
        lost = []
        for shape, better in every.better(each).items():
            ours = {one.part for one in mine if one.shape == shape}
            if rivals := tuple(part for part in better if part not in ours):
                lost.append(Not(_any_of(shape, rivals, value)))
        alternatives.append(both(_is(each, value), *lost))
    if ALWAYS in alternatives:
        return ALWAYS
    return alternatives[0] if len(alternatives) == 1 else OneOf(tuple(alternatives))


def _is(each: Domain, value: Value) -> Condition:
    if each.shape == "any":
        return ALWAYS
    found = Test(value, _HOWS[each.shape], (each.part,), ignore_case=True)
    # A `*` stands for one character at least.
    return found if each.shape == "exact" else both(found, Not(Test(value, How.EQUALS, (each.part,), ignore_case=True)))


def _any_of(shape: str, parts: tuple[str, ...], value: Value) -> Condition:
    found = Test(value, _HOWS[shape], parts, ignore_case=True)
    if shape == "exact":
        return found
    return both(found, Not(Test(value, How.EQUALS, parts, ignore_case=True)))


def example(domains: Iterable[str]) -> str | None:
    """A host that the first of the domains takes."""
    first = next(iter(domains), "*")
    return (
        None if first == "*" else first.replace("*", "app", 1) if first.startswith("*") else first.replace("*", "test")
    )
