"""Envoy's jwt_authn: which tokens a request needs, and what becomes of them."""

from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_filter import Filter, Source
from wsprobe.lb._envoy_match import request_match
from wsprobe.lb._envoy_proto import flag, get, text, under
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    Condition,
    Not,
    OneOf,
    Undecided,
    both,
)
from wsprobe.lb.model import Answer, Edit, Effect, Gate, Named, Op, Step
from wsprobe.parts import Line


@dataclass(frozen=True, slots=True)
class _Provider:
    """Where a token is looked for, and what becomes of it."""

    node: Node
    sources: tuple[Source, ...]
    forward: bool
    place: Line

    @property
    def found(self) -> Condition:
        return OneOf(tuple(source.found for source in self.sources))


def _provider(node: Node) -> _Provider:
    sources = [
        Source("header", text(each, "name").lower(), text(each, "value_prefix")) for each in under(node, "from_headers")
    ]
    sources += [Source("query", each.text) for each in under(node, "from_params")]
    sources += [Source("cookie", each.text) for each in under(node, "from_cookies")]
    default = (Source("header", "authorization", "Bearer "), Source("query", "access_token"))
    written = get(node, "forward")
    return _Provider(node, tuple(sources) or default, flag(node, "forward"), (written or node).place)


@dataclass(frozen=True, slots=True)
class _Required:
    """What a requirement asks for: when it is met, whose tokens are read, and whether a bad one passes too.

    `unverified` is its part that passes whatever a token says.
    """

    passes: Condition
    providers: tuple[_Provider, ...]
    lenient: bool = False
    unverified: Node | None = None


_GOOD = Undecided("", "whether the token is good is not known here")


def _required(node: Node | None, providers: dict[str, _Provider]) -> _Required:
    """What a JwtRequirement asks for."""
    every = tuple(providers.values())
    missing = Not(OneOf(tuple(one.found for one in every)))
    for name, path in (("provider_name", ()), ("provider_and_audiences", ("provider_name",))):
        if found := get(node, name, *path):
            one = providers.get(found.text)
            return _Required(both(one.found, _GOOD), (one,)) if one else _Required(_GOOD, every)
    for name in ("requires_any", "requires_all"):
        if found := get(node, name):
            inner = [_required(each, providers) for each in under(found, "requirements")]
            return _together(inner, any_of=name == "requires_any")
    if get(node, "allow_missing_or_failed") is not None:
        return _Required(ALWAYS, every, lenient=True)
    if (unverified := get(node, "extract_only_without_validation")) is not None:
        return _Required(ALWAYS, every, lenient=True, unverified=unverified)
    if get(node, "allow_missing") is not None:
        return _Required(OneOf((missing, _GOOD)), every)
    return _Required(ALWAYS, ())


def _together(inner: list[_Required], *, any_of: bool) -> _Required:
    """Several requirements. Beside others, one that allows a missing token reads none of its own."""
    named = [one for one in inner if one.passes != ALWAYS and not _allows(one)]
    providers = tuple(dict.fromkeys(provider for one in named or inner for provider in one.providers))
    lenient = any(one.lenient for one in inner)
    unverified = next((one.unverified for one in inner if one.unverified), None)
    if not any_of:
        return _Required(both(*(one.passes for one in inner)), providers, lenient, unverified)
    if lenient:
        return _Required(ALWAYS, providers, lenient, unverified)
    passes = tuple(one.passes for one in named)
    if len(named) < len(inner):
        passes += (Not(OneOf(tuple(provider.found for provider in providers))),)
    return _Required(OneOf(passes), providers)


def _allows(one: _Required) -> bool:
    return isinstance(one.passes, OneOf) and any(isinstance(each, Not) for each in one.passes.conditions)


def jwt_authn(it: Filter) -> Iterator[Step]:
    """Rules decide which tokens are needed; a good one is taken out of the request unless `forward` is true."""
    found = get(it.config, "providers")
    providers = {name: _provider(node) for name, node in (found.entries() if found else {}).items()}
    for one in providers.values():
        for name in _forwarded(one):
            yield Edit(op=Op.REMOVE, which=Named((name.text.lower(),)), place=name.place)
    if flag(it.override, "disabled"):
        return
    named = get(it.config, "requirement_map")
    if it.override is not None and (chosen := get(it.override, "requirement_name")):
        requires = get(named, chosen.text)
        if requires is None:
            why = f"requirement_map has no {chosen.text}"
            yield Answer(status=403, why=why, place=chosen.place)
        yield from _jwt_rule(_required(requires, providers), ALWAYS)
        return
    before: list[Condition] = []
    for rule in under(it.config, "rules"):
        match = get(rule, "match")
        matching = request_match(match, it.reading) if match else ALWAYS
        when = both(*(Not(one) for one in before), matching)
        before.append(matching)
        requires = get(rule, "requires") or get(named, text(rule, "requirement_name"))
        yield from _jwt_rule(_required(requires, providers), when)
    if rules := get(it.config, "filter_state_rules"):
        it.reading.skip(rules, "depends on what filters found out about the request")


def _jwt_rule(required: _Required, when: Condition) -> Iterator[Step]:
    if not required.providers:
        return
    first = required.providers[0]
    keeps = all(provider.forward for provider in required.providers)
    header = next((source.header for source in first.sources if source.header), "")
    yield Gate(
        kind="jwt_authn",
        header=header,
        effect=Effect.READS if keeps else Effect.CONSUMES,
        passes=required.passes,
        when=when,
        place=first.place,
    )
    sure = len(required.providers) == 1 and not required.lenient
    maybe = Undecided("", "depends on which token is good")
    for provider in required.providers:
        for source in provider.sources:
            taken = both(when, source.found, *(() if sure else (maybe,)))
            if not provider.forward:
                yield from source.removed(taken, provider.place)
        for name in _forwarded(provider):
            claims = Undecided("", "the filter writes here what the token says")
            there = both(when, provider.found)
            yield Edit(op=Op.SET, which=Named((name.text.lower(),)), value=claims, when=there, place=name.place)
    if required.unverified:
        found = OneOf(tuple(provider.found for provider in required.providers))
        verified = Named(("x-jwt-signature-verified",))
        yield Edit(op=Op.SET, which=verified, value=maybe, when=both(when, found), place=required.unverified.place)


def _forwarded(provider: _Provider) -> Iterator[Node]:
    """The headers that the filter writes what a token says into; it removes those of the client first."""
    if payload := get(provider.node, "forward_payload_header"):
        yield payload
    for claim in under(provider.node, "claim_to_headers"):
        if name := get(claim, "header_name"):
            yield name
