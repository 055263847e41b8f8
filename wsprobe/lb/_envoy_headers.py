"""Envoy's header edits: what `request_headers_to_add` and the like make of a request, and Envoy's value formats.

Within one level, headers are removed first; then all values are formatted; then those that overwrite are set, and
those that append are added.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_proto import flag, get, text, under, words
from wsprobe.lb._paths import PathForm
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    Captured,
    Cases,
    Condition,
    How,
    Join,
    Not,
    Of,
    Or,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    Written,
    both,
    has,
    header,
)
from wsprobe.lb.model import Assign, Edit, Named, Op, Step

INLINE = words(
    "accept accept-encoding access-control-request-headers access-control-request-method "
    "access-control-request-private-network authorization cache-control connection content-encoding "
    "content-length content-type expect grpc-accept-encoding grpc-timeout host if-modified-since if-none-match "
    "keep-alive origin pragma proxy-connection referer te transfer-encoding upgrade user-agent via "
    "x-client-trace-id x-envoy-attempt-count x-envoy-decorator-operation x-envoy-downstream-service-cluster "
    "x-envoy-downstream-service-node x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-force-trace "
    "x-envoy-internal x-envoy-ip-tags x-envoy-is-timeout-retry x-envoy-original-host x-envoy-original-path "
    "x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-request-id"
)
"""The headers that Envoy keeps on one line: what comes on several, or is appended, is joined with a comma."""

_ACTIONS = {
    "": "append",
    "0": "append",
    "APPEND_IF_EXISTS_OR_ADD": "append",
    "1": "absent",
    "ADD_IF_ABSENT": "absent",
    "2": "overwrite",
    "OVERWRITE_IF_EXISTS_OR_ADD": "overwrite",
    "3": "existing",
    "OVERWRITE_IF_EXISTS": "existing",
}
_COMMAND = re.compile(r"%%|%([A-Z][A-Z0-9_]*)(\((?:[^()]|\([^()]*\))*\))?(?::(\d+))?%")
_RUNNING = "what %{}% comes to is not known here"


_NOTHING = Text("")


@dataclass(frozen=True, slots=True)
class Scope:
    """What the value formats may ask for and the request does not tell."""

    client: Value
    route: str = ""
    cluster: Value = _NOTHING


def formatted(pattern: str, scope: Scope) -> Value:
    """A value in Envoy's format: literals, `%%`, and commands such as `%REQ(X?Y):Z%`."""
    parts: list[Value] = []
    at = 0
    for found in _COMMAND.finditer(pattern):
        parts.append(Text(pattern[at : found.start()]))
        parts.append(Text("%") if found[0] == "%%" else _command(found, scope))
        at = found.end()
    parts.append(Text(pattern[at:]))
    kept = [part for part in parts if part != Text("")]
    if all(isinstance(part, Text) for part in kept):
        return Text("".join(part.text for part in kept if isinstance(part, Text)))
    return kept[0] if len(kept) == 1 else Join(tuple(kept))


def _command(found: re.Match[str], scope: Scope) -> Value:
    name, arguments, most = found[1], (found[2] or "")[1:-1], found[3]
    port = Of(Subject.PEER_PORT)
    known: dict[str, Value] = {
        "PROTOCOL": Of(Subject.VERSION),
        "DOWNSTREAM_REMOTE_ADDRESS": Undecided(found[0], "the port of a forwarded address is not known here")
        if scope.client != Of(Subject.PEER)
        else Join((scope.client, Text(":"), port)),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": scope.client,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": Join((Of(Subject.PEER), Text(":"), port)),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": Of(Subject.PEER),
        "DOWNSTREAM_DIRECT_REMOTE_PORT": port,
        "DOWNSTREAM_LOCAL_ADDRESS": Join((Of(Subject.LOCAL), Text(":"), Of(Subject.LOCAL_PORT))),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": Of(Subject.LOCAL),
        "DOWNSTREAM_LOCAL_PORT": Of(Subject.LOCAL_PORT),
        "HOSTNAME": Of(Subject.MACHINE),
        "ROUTE_NAME": Text(scope.route),
        "UPSTREAM_CLUSTER": scope.cluster,
        "UPSTREAM_CLUSTER_RAW": scope.cluster,
        "RESPONSE_CODE": Text("0"),
    }
    asks = _OF_REQUEST.get(name)
    value = asks(arguments) if asks else known.get(name, Undecided(found[0], _RUNNING.format(name)))
    return Substituted(value, rf"(?s)\A(.{{0,{int(most)}}}).*", r"\1") if most and int(most) < 10_000 else value


_PSEUDO: dict[str, Value] = {
    ":path": Of(Subject.TARGET),
    ":method": Of(Subject.METHOD),
    ":authority": header("host"),
    ":scheme": Cases(
        ((Test(header("x-forwarded-proto"), How.EQUALS, ("http", "https")), header("x-forwarded-proto")),),
        Of(Subject.SCHEME),
    ),
}


def request_header(name: str) -> Value:
    """The first value of a request header, or of a pseudo-header."""
    return _PSEUDO.get(name.lower()) or header(name.lower())


def _requested(arguments: str) -> Value:
    """The value of the first header of `X?Y` that there is."""
    first, mark, second = arguments.partition("?")
    value = request_header(first.strip())
    if not mark:
        return value
    return Cases(((Test(value, How.EXISTS), value),), request_header(second.strip()))


def _path(arguments: str) -> Value:
    """The path as `X:Y` asks for it: without the query (NQ), the one that came, the one that goes on, or either."""
    query, _, which = arguments.partition(":")
    original = header("x-envoy-original-path")
    either = Cases(((Test(original, How.EXISTS), original),), Of(Subject.TARGET))
    value = {"PATH": Of(Subject.TARGET), "ORIG": original}.get(which, either)
    return Substituted(value, r"(?s)\?.*", "") if query == "NQ" else value


def parameter(name: str) -> Value:
    """The first value of a query parameter as it travels; empty where only its name is there."""
    return Captured(Of(Subject.QUERY), rf"(?:\A|&){re.escape(name)}(?=[=&]|\Z)=?([^&]*)", "1")


_OF_REQUEST: dict[str, Callable[[str], Value]] = {
    "REQ": _requested,
    "REQUEST_HEADER": _requested,
    "PATH": _path,
    "QUERY_PARAM": lambda name: Written(parameter(name), PathForm.OCTETS),
}
"""The commands that ask for a part of the request."""


@dataclass(frozen=True, slots=True)
class _Added:
    """One header that a level adds."""

    name: str
    value: Value
    how: str
    when: Condition
    node: Node


def mutations(node: Node | None, scope: Scope, prefix: str = "request_headers", when: Condition = ALWAYS) -> list[Step]:
    """The edits of one level: a route configuration, a virtual host, a route, or a cluster of several."""
    removed = [
        Edit(op=Op.REMOVE, which=Named((each.text.lower(),)), when=when, place=each.place)
        for each in under(node, f"{prefix}_to_remove")
    ]
    added = [found for each in under(node, f"{prefix}_to_add") if (found := _added(each, scope))]
    return [*removed, *_written(added, when)]


def _added(option: Node, scope: Scope) -> _Added | None:
    name = text(option, "header", "key").lower()
    value = formatted(text(option, "header", "value"), scope)
    how = _ACTIONS.get(text(option, "append_action"), "append")
    if get(option, "append") and not flag(option, "append", default=True):
        how = "overwrite"
    when: Condition = ALWAYS
    if flag(option, "keep_empty_value"):
        value = Or(value, Text(""))
    elif value == Text(""):
        return None
    elif not isinstance(value, Text):
        when = Test(value, How.REGEX, (r"(?s).",))
    place = get(option, "header", "key") or option
    conditions: dict[str, Condition] = {"absent": Not(has(name)), "existing": has(name)}
    return _Added(name, value, how, both(when, conditions.get(how, ALWAYS)), place) if name else None


def _written(added: list[_Added], when: Condition) -> Iterator[Step]:
    """The edits, first those that overwrite; a value or condition that an edit before would change is taken before."""
    ordered = sorted(added, key=lambda each: each.how in {"append", "absent"})
    written: set[str] = set()
    taken: list[Step] = []
    edits: list[Step] = []
    for position, each in enumerate(ordered):
        value, condition = each.value, each.when
        if written & {*names_in(value), *names_in(condition)}:
            name = f"{each.name} {position}"
            taken.append(Assign(name=name, value=Cases(((condition, value),)), when=when, place=each.node.place))
            value = Of(Subject.VARIABLE, name)
            condition = Test(value, How.EXISTS)
        written.add(each.name)
        edits.append(_edit(each, value, both(when, condition)))
    yield from [*taken, *edits]


def _edit(added: _Added, value: Value, when: Condition) -> Edit:
    op = Op.SET
    if added.how in {"append", "absent"}:
        op = Op.APPEND if added.name in INLINE else Op.ADD
    return Edit(
        op=op,
        which=Named((added.name,)),
        value=value,
        separator=",",
        drop_empty=op is Op.APPEND,
        when=when,
        place=added.node.place,
    )


def names_in(expression: object) -> Iterator[str]:
    """The headers that an expression reads."""
    waiting: list[object] = [expression]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Of):
            yield {Subject.HEADER: each.name.lower(), Subject.COOKIE: "cookie"}.get(each.subject, "")
        elif isinstance(each, tuple):
            waiting += each
        elif hasattr(each, "__dataclass_fields__"):
            waiting += [getattr(each, name) for name in each.__dataclass_fields__]


def guarded(steps: Iterable[Step], when: Condition) -> list[Step]:
    """The same steps, taken only where the condition holds."""
    return [replace(step, when=both(when, step.when)) for step in steps] if when != ALWAYS else list(steps)
