"""The matchers of Traefik's rules, those of v3 and those of v2: what each looks at."""

import re
from collections.abc import Callable

from wsprobe.frozen import dataclass
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    NEVER,
    All,
    Cased,
    Condition,
    How,
    Lines,
    Of,
    OneOf,
    Subject,
    Test,
    Undecided,
    Value,
    Written,
)

HOST = Cased(Of(Subject.HOST))
ROUTED = Written(Written(Of(Subject.RAW_PATH), PathForm.ESCAPED), PathForm.UNLESS_RESERVED)
"""The path that rules look at: decoded, but for what would divide a URL."""


class RuleError(Exception):
    """Why a rule is refused."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was understood: its condition, and a path and a host of requests that it should take.

    `hosts` are the only ones that it takes, None where it takes others too.
    """

    condition: Condition
    path: str = "/"
    host: str | None = None
    hosts: frozenset[str] | None = None


Matcher = Callable[[list[str]], Rule]


# What a matcher looks at.


def pattern(text: str) -> str:
    r"""A pattern of Go (RE2), whose \w, \d, \s and \b are those of ASCII, for the engine here."""
    return f"(?a){text}".replace(r"\z", r"\Z")


def lines(name: str) -> Of:
    """Any line of a header."""
    return Of(Subject.HEADER, name, lines=Lines.ANY_LINE)


def regex(value: Value, text: str) -> Test:
    """Whether Go's pattern is found in a value; RuleError where it is no pattern."""
    import regex as engine

    made = pattern(text)
    try:
        engine.compile(made)
    except (engine.error, RecursionError, OverflowError) as error:
        raise RuleError(f"a pattern that is not understood: {error}") from None
    return Test(value, How.REGEX, (made,))


def _host(values: list[str]) -> Rule:
    if not all(value.isascii() for value in values):
        raise RuleError("a host that is not ASCII")
    lowered = [value.lower() for value in values]
    also = [value.removesuffix(".") if value.endswith(".") else f"{value}." for value in lowered]
    return Rule(Test(HOST, How.EQUALS, (*lowered, *also)), host=lowered[0], hosts=frozenset((*lowered, *also)))


def _host_regexp(values: list[str]) -> Rule:
    return Rule(regex(HOST, values[0]))


def _rooted(values: list[str]) -> list[str]:
    if not all(value.startswith("/") for value in values):
        raise RuleError("a path that does not begin with /")
    return values


def _path(values: list[str]) -> Rule:
    return Rule(Test(ROUTED, How.EQUALS, tuple(_rooted(values))), values[0])


def _path_prefix(values: list[str]) -> Rule:
    prefix = _rooted(values)[0]
    return Rule(Test(ROUTED, How.PREFIX, (prefix,)), f"{prefix}x" if prefix.endswith("/") and prefix != "/" else prefix)


def _path_regexp(values: list[str]) -> Rule:
    found = re.match(r"\^?(/[\w/.-]*)", values[0])
    return Rule(regex(ROUTED, values[0]), found[1] if found else "/")


def _header(values: list[str]) -> Rule:
    name, value = values
    if name.lower() == "host":
        return Rule(NEVER)  # Go keeps Host apart from the headers
    return Rule(Test(lines(name), How.EQUALS, (value,)))


def _header_regexp(values: list[str]) -> Rule:
    name, text = values
    return Rule(NEVER if name.lower() == "host" else regex(lines(name), text))


def _method(values: list[str]) -> Rule:
    return Rule(Test(Of(Subject.METHOD), How.EQUALS, tuple(value.upper() for value in values)))


def _query(values: list[str]) -> Rule:
    return Rule(_in_query(values[0], "".join(values[1:])))


def _in_query(key: str, value: str) -> Condition:
    given = f"={_encoded(value)}" if value else "=?"
    return Test(Of(Subject.QUERY), How.REGEX, (f"(?:^|&){_encoded(key)}{given}(?:&|$)",))


def _encoded(text: str) -> str:
    """A pattern for a text in a query, each character as it is or escaped."""
    return "".join(_encoded_character(character) for character in text)


def _encoded_character(character: str) -> str:
    escaped = "".join(f"%{octet:02x}" for octet in character.encode())
    return rf"(?:\+|{escaped})" if character == " " else f"(?:{re.escape(character)}|(?i:{escaped}))"


def _query_regexp(values: list[str]) -> Rule:
    if len(values) == 1:
        return _query(values)
    key = _encoded(values[0])
    odd = Test(Of(Subject.QUERY), How.REGEX, (f"(?:^|&){key}(?:&|$)|(?:^|&){key}=.*&{key}(?:[=&]|$)",))
    several = Undecided("QueryRegexp", "the parameter has no value or several")
    return Rule(OneOf((regex(Of(Subject.PARAMETER, values[0]), values[1]), All((odd, several)))))


def client_ip(values: list[str]) -> Condition:
    """Whether the client's address lies in one of the networks; RuleError where they are none."""
    import ipaddress

    try:
        for value in values:
            ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise RuleError(str(error)) from None
    return Test(Of(Subject.PEER), How.NETWORK, tuple(values))


def _client_ip(values: list[str]) -> Rule:
    return Rule(client_ip(values))


# The syntax of v2, whose hosts and paths may hold `{name:pattern}`.


def _template(text: str, default: str) -> str:
    """A pattern for a text with placeholders in braces."""
    made, at = [], 0
    while (start := text.find("{", at)) >= 0:
        end, deep = start + 1, 1
        while end < len(text) and deep:
            deep += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if deep:
            raise RuleError("a { without its }")
        name, colon, wanted = text[start + 1 : end - 1].partition(":")
        if not name or (colon and not wanted):
            raise RuleError("a placeholder without a name or a pattern")
        made += [re.escape(text[at:start]), f"({wanted or default})"]
        at = end
    return "".join([*made, re.escape(text[at:])])


def _v2_host_regexp(values: list[str]) -> Rule:
    tests = [regex(HOST, f"^{_template(value, '[^.]+')}$") for value in values]
    return Rule(OneOf(tuple(tests)))


def _v2_path(values: list[str]) -> Rule:
    return Rule(
        OneOf(tuple(regex(ROUTED, f"^{_template(value, '[^/]+')}$") for value in _rooted(values))), _plain(values)
    )


def _v2_path_prefix(values: list[str]) -> Rule:
    return Rule(
        OneOf(tuple(regex(ROUTED, f"^{_template(value, '[^/]+')}") for value in _rooted(values))), _plain(values)
    )


def _plain(values: list[str]) -> str:
    return next((value for value in values if "{" not in value), "/")


def _v2_query(values: list[str]) -> Rule:
    return Rule(All(tuple(_v2_pair(*value.partition("=")) for value in values)))


def _v2_pair(key: str, equals: str, value: str) -> Condition:
    if not equals:
        raise RuleError("Query without a =")
    given = f"=(?:{_template(value, '.*')})" if value else "(?:=[^&]*)?"
    given = f"={_encoded(value)}" if value and "{" not in value else given
    name = _encoded(key)
    # Of a parameter that stands several times, v2 looks at the first one only.
    first = f"^(?:(?!{name}(?:[=&]|$))[^&]*&)*{name}{given}(?:&|$)"
    return Test(Of(Subject.QUERY), How.REGEX, (first,))


def _several(matcher: Matcher, most: int | None = 1, least: int = 1) -> Matcher:
    def checked(values: list[str]) -> Rule:
        if len(values) < least or (most and len(values) > most):
            raise RuleError(f"{len(values)} values, where {least} to {most} are expected" if most else "too few values")
        return matcher(values)

    return checked


def _named(matchers: dict[str, Matcher]) -> dict[str, Matcher]:
    """Matchers by every spelling of their name that Traefik takes."""
    spelled: dict[str, Matcher] = {}
    for name, matcher in matchers.items():
        spelled |= dict.fromkeys((name, name.lower(), name.upper(), name.lower().capitalize()), matcher)
    return spelled


SYNTAXES: dict[str, dict[str, Matcher]] = {
    "v3": _named(
        {
            "Host": _several(_host),
            "HostRegexp": _several(_host_regexp),
            "Path": _several(_path),
            "PathPrefix": _several(_path_prefix),
            "PathRegexp": _several(_path_regexp),
            "Header": _several(_header, 2, 2),
            "HeaderRegexp": _several(_header_regexp, 2, 2),
            "Method": _several(_method),
            "Query": _several(_query, 2),
            "QueryRegexp": _several(_query_regexp, 2),
            "ClientIP": _several(_client_ip),
        }
    ),
    "v2": _named(
        {
            "Host": _host,
            "HostHeader": _host,
            "HostRegexp": _v2_host_regexp,
            "Path": _v2_path,
            "PathPrefix": _v2_path_prefix,
            "Headers": _several(_header, 2, 2),
            "HeadersRegexp": _several(_header_regexp, 2, 2),
            "Method": _method,
            "Query": _v2_query,
            "ClientIP": _client_ip,
        }
    ),
}
