"""Envoy's HTTP filters: what each does to an upgrade on its way, in the order in which they stand."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.lb import _envoy_auth as auth
from wsprobe.lb import _envoy_jwt as jwt
from wsprobe.lb._envoy_filter import Filter
from wsprobe.lb._envoy_head import UPGRADE
from wsprobe.lb._envoy_headers import INLINE, Scope, formatted, guarded
from wsprobe.lb._envoy_match import header_match, names
from wsprobe.lb._envoy_proto import Extension, Reading, extension, flag, get, number, share, text, typed, under, words
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import ALWAYS, Condition, How, Not, Of, Or, Subject, Test, Text, Undecided, Value, both, has
from wsprobe.lb.model import Answer, Edit, Like, Named, Op, Opaque, Retarget, Stall, Step
from wsprobe.parts import Line

_SCRIPTS = {
    "lua": "a Lua script may read and change any header",
    "wasm": "a WebAssembly module may read and change any header",
    "golang": "a Go plugin may read and change any header",
    "dynamic_modules": "a dynamic module may read and change any header",
    "ext_proc": "an external processor may change any header, or answer the request",
    "composite": "another filter may be chosen while the request runs",
    "match_delegate": "another filter may be chosen while the request runs",
}
_SIGNERS = {
    "aws_request_signing": "Envoy signs the request for AWS",
    "aws_lambda": "Envoy signs the request for AWS",
    "gcp_authn": "Envoy adds a token of Google Cloud's metadata server",
}
_SIGNED = ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token")
_ANSWERS_SOME = {
    "admission_control": (503, "the filter may refuse requests while the upstream fails"),
    "adaptive_concurrency": (503, "the filter may refuse requests while the upstream is slow"),
    "ratelimit": (429, "a rate limit service decides"),
    "rate_limit_quota": (429, "a quota service decides"),
}
_HARMLESS = words(
    "router cors csrf compressor grpc_web grpc_stats grpc_http1_bridge grpc_http1_reverse_bridge set_filter_state "
    "set_metadata on_demand tap bandwidth_limit original_src stateful_session alternate_protocols_cache cache cache_v2 "
    "custom_response json_to_metadata thrift_to_metadata proto_message_logging connect_grpc_bridge mcp "
    "file_server upstream_codec"
)


@dataclass(frozen=True, slots=True)
class Chain:
    """The filters of a connection manager: those for all requests, and by upgrade type those in their place."""

    reading: Reading
    scope: Scope
    filters: tuple[Node, ...]
    upgrades: tuple[tuple[Condition, tuple[Node, ...]], ...] = ()


def steps(chain: Chain, levels: Iterable[Node]) -> tuple[Step, ...]:
    """What the filters do on a route; `levels` hold its `typed_per_filter_config`, the innermost first."""
    settings = list(levels)
    found: list[Step] = []
    own: Condition = ALWAYS
    for when, filters in chain.upgrades:
        found += guarded(_chain(chain, filters, settings), when)
        own = both(own, Not(when))
    return (*found, *guarded(_chain(chain, chain.filters, settings), own))


def inside(chain: Chain, nodes: Iterable[Node], levels: list[Node], scope: Scope) -> list[Step]:
    """What filters do that stand behind the choice of a cluster."""
    return list(_chain(replace(chain, scope=scope), nodes, levels))


def _chain(chain: Chain, filters: Iterable[Node], levels: list[Node]) -> Iterator[Step]:
    for node in filters:
        each = extension(node)
        override = _override(each, levels)
        if _disabled(node, override):
            continue
        if typed(override)[1] == "FilterConfig":
            override = get(override, "config")
        found = Filter(chain.reading, chain.scope, each.kind, each.name, node, each.config, override)
        yield from _filter(found, levels)


def _override(each: Extension, levels: list[Node]) -> Node | None:
    """What the innermost level says about a filter."""
    names = [each.name, f"envoy.filters.http.{each.kind}"]
    for level in levels:
        configs = get(level, "typed_per_filter_config")
        found = next((got for name in names if configs and (got := configs.get(name)) is not None), None)
        if found is not None:
            return found
    return None


def _disabled(node: Node, override: Node | None) -> bool:
    """Whether a filter is left out: by its own `disabled`, or on this route."""
    if override is None:
        return flag(node, "disabled")
    return (flag(override, "disabled") and typed(override)[1] in {"FilterConfig", ""}) or _off(override)


def _off(override: Node) -> bool:
    """Whether the settings of a route switch a filter off in the filter's own way.

    Not those of jwt_authn: it still takes the headers away that it writes itself.
    """
    return flag(override, "disabled") and typed(override)[1].endswith("PerRoute")


def _filter(it: Filter, levels: list[Node]) -> Iterator[Step]:
    place = it.place
    if get(it.node, "config_discovery") is not None:
        it.reading.skip(it.node, "the filter's settings come from elsewhere while Envoy runs", it.name)
        yield Opaque(why=f"{it.name} gets its settings while Envoy runs, and may change any header", place=place)
    elif it.kind in _FILTERS:
        yield from _FILTERS[it.kind](it)
    elif it.kind == "header_mutation":
        yield from _header_mutation(it, levels)
    elif it.kind in _SCRIPTS:
        yield Opaque(why=f"{_SCRIPTS[it.kind]} ({it.name})", place=_script(it))
    elif it.kind in _SIGNERS:
        value = Undecided("", _SIGNERS[it.kind])
        yield Edit(op=Op.SET, which=Named(("authorization",)), value=value, place=place)
        if it.kind.startswith("aws"):
            yield Opaque(why=_SIGNERS[it.kind], names=_SIGNED, place=place)
    elif it.kind in _ANSWERS_SOME:
        status, why = _ANSWERS_SOME[it.kind]
        yield Answer(status=status, why=f"{it.kind} refuses the request", when=Undecided("", why), place=place)
    elif it.kind not in _HARMLESS:
        it.reading.skip(it.node, "a filter that this reader does not know; it may change any header", it.name)
        yield Opaque(why=f"the filter {it.name} may change any header", place=place)


def _script(it: Filter) -> Line:
    """Where a script stands: its own line, else that of its filter."""
    for path in (("default_source_code", "inline_string"), ("inline_code",), ("default_source_code",)):
        if found := get(it.config, *path):
            return found.place
    return it.place


def _header_mutation(it: Filter, levels: list[Node]) -> Iterator[Step]:
    """The mutations of the filter, and of all levels, the innermost first unless it is told otherwise."""
    each = extension(it.node)
    inner = [own for level in levels if (own := _override(each, [level])) is not None]
    if flag(it.config, "most_specific_header_mutations_wins"):
        inner.reverse()
    for config in [*([it.config] if it.config else []), *inner]:
        for mutation in under(config, "mutations", "request_mutations"):
            yield from mutated(mutation, it.scope)
        if parameters := get(config, "mutations", "query_parameter_mutations"):
            yield _requeried(parameters)


def _requeried(mutations: Node) -> Retarget:
    """Query parameters that are added or removed: the others are written anew, where there is a query at all."""
    adds = any(get(each, "append") for each in mutations.items())
    when = ALWAYS if adds else Test(Of(Subject.QUERY), How.EXISTS)
    return Retarget(value=Undecided("", "Envoy writes the query anew"), when=when, place=mutations.place)


def mutated(mutation: Node, scope: Scope) -> Iterator[Step]:
    """One mutation of a header."""
    if removed := get(mutation, "remove"):
        yield Edit(op=Op.REMOVE, which=Named((removed.text.lower(),)), place=removed.place)
    elif pattern := get(mutation, "remove_on_match", "key_matcher"):
        exact, patterns = names([pattern])
        if exact:
            yield Edit(op=Op.REMOVE, which=Named(exact), place=pattern.place)
        for each in patterns:
            yield Edit(op=Op.REMOVE, which=Like(each), place=pattern.place)
    elif appended := get(mutation, "append"):
        yield from _appended(appended, formatted(text(appended, "header", "value"), scope))


def _not_empty(value: Value) -> Condition:
    """Whether a value says anything."""
    return Test(value, How.REGEX, ("(?s).",))


def _appended(option: Node, value: Value) -> Iterator[Step]:
    """One header as a mutation of its own adds it; an empty value adds nothing unless it is to be kept."""
    name = text(option, "header", "key").lower()
    place = (get(option, "header", "key") or option).place
    when: Condition = _not_empty(value)
    if flag(option, "keep_empty_value"):
        value, when = Or(value, Text("")), ALWAYS
    joined = Op.APPEND if name in INLINE else Op.ADD
    action = text(option, "append_action")
    op = joined
    if action in {"ADD_IF_ABSENT", "1"}:
        op = Op.DEFAULT
    elif action in {"OVERWRITE_IF_EXISTS_OR_ADD", "2"}:
        op = Op.SET
    elif action in {"OVERWRITE_IF_EXISTS", "3"}:
        op, when = Op.SET, both(when, has(name))
    yield Edit(
        op=op, which=Named((name,)), value=value, separator=",", drop_empty=op is Op.APPEND, when=when, place=place
    )


def _injected(it: Filter) -> Iterator[Step]:
    """A credential of Envoy's own, in the place of the client's only where it says so."""
    config = it.override or it.config
    name = text(config, "credential", "typed_config", "header").lower() or "authorization"
    overwrite = get(config, "overwrite")
    taken = overwrite is not None and overwrite.boolean is True
    yield Edit(
        op=Op.SET if taken else Op.DEFAULT,
        which=Named((name,)),
        value=Undecided("", "Envoy injects a credential of its own"),
        when=ALWAYS if taken else Not(has(name)),
        place=(overwrite if taken and overwrite else it.node).place,
    )


def _buffer(it: Filter) -> Iterator[Step]:
    place = get(it.override, "buffer") or it.node
    why = "the buffer filter waits for the end of the body, which an upgrade has not before it ends"
    yield Stall(why=why, when=UPGRADE, place=place.place)


def _fault(it: Filter) -> Iterator[Step]:
    config = it.override or it.config
    abort = get(config, "abort")
    when = share(get(abort, "percentage"), "faults are injected into a part of the requests") if abort else None
    matching = [header_match(one, it.reading.version) for one in under(config, "headers")]
    if abort and when is not None and (status := number(abort, "http_status")):
        yield Answer(status=status, why="a fault is injected", when=both(when, *matching), place=abort.place)
    elif abort and get(abort, "header_abort") is not None and when is not None:
        asked = has("x-envoy-fault-abort-request")
        why = "a fault that the client asks for is injected"
        yield Answer(status=None, why=why, when=both(when, asked, *matching), place=abort.place)


def _health_check(it: Filter) -> Iterator[Step]:
    if not flag(it.config, "pass_through_mode"):
        when = both(*(header_match(one, it.reading.version) for one in under(it.config, "headers")))
        why = "the health check filter answers when the body ends, which an upgrade has not before it ends"
        yield Stall(why=why, when=both(UPGRADE, when), place=it.place)
        yield Answer(status=200, why="Envoy answers health checks", when=when, place=it.place)


def _local_ratelimit(it: Filter) -> Iterator[Step]:
    config = it.override or it.config
    parts = [get(config, name) for name in ("filter_enabled", "filter_enforced")]
    if all(part is not None and share(part, "") is not None for part in parts):
        status = number(config, "status", "code") or 429
        when = Undecided("", "depends on how many requests came before")
        yield Answer(status=status, why="the rate limit is reached", when=when, place=it.place)


def _rbac(it: Filter) -> Iterator[Step]:
    config = get(it.override, "rbac") if it.override else it.config
    if get(config, "rules") is not None or get(config, "matcher") is not None:
        when = Undecided("", "the policies of rbac are not followed")
        yield Answer(status=403, why="rbac refuses the request", when=when, place=it.place)


def _compressor(it: Filter) -> Iterator[Step]:
    removes = get(it.config, "response_direction_config", "remove_accept_encoding_header")
    if removes and removes.boolean:
        yield Edit(op=Op.REMOVE, which=Named(("accept-encoding",)), place=removes.place)


def _header_to_metadata(it: Filter) -> Iterator[Step]:
    for rule in under(it.override or it.config, "request_rules"):
        removes = get(rule, "remove")
        if removes and removes.boolean and (name := text(rule, "header")):
            yield Edit(op=Op.REMOVE, which=Named((name.lower(),)), place=removes.place)


def _cdn_loop(it: Filter) -> Iterator[Step]:
    identity = Undecided("", "the filter writes the names of the networks that the request passed")
    yield Edit(op=Op.SET, which=Named(("cdn-loop",)), value=identity, place=it.place)


def _ip_tagging(it: Filter) -> Iterator[Step]:
    value = Undecided("", "depends on the client's address")
    yield Edit(op=Op.SET, which=Named(("x-envoy-ip-tags",)), value=value, place=it.place)


def _dynamic_forward(it: Filter) -> Iterator[Step]:
    rewrites = get(it.override, "host_rewrite_literal")
    if rewrites:
        value = formatted(rewrites.text, it.scope)
        yield Edit(op=Op.SET, which=Named(("host",)), value=value, place=rewrites.place)


_FILTERS: dict[str, Callable[[Filter], Iterator[Step]]] = {
    "jwt_authn": jwt.jwt_authn,
    "ext_authz": auth.ext_authz,
    "oauth2": auth.oauth2,
    "basic_auth": auth.basic_auth,
    "api_key_auth": auth.api_key_auth,
    "buffer": _buffer,
    "file_system_buffer": _buffer,
    "fault": _fault,
    "health_check": _health_check,
    "local_ratelimit": _local_ratelimit,
    "rbac": _rbac,
    "compressor": _compressor,
    "header_to_metadata": _header_to_metadata,
    "cdn_loop": _cdn_loop,
    "ip_tagging": _ip_tagging,
    "dynamic_forward_proxy": _dynamic_forward,
    "credential_injector": _injected,
}
