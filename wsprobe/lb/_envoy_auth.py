"""Envoy's authentication filters: what lets a request pass, and what becomes of the credential that it carries."""

from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_headers import INLINE, Scope
from wsprobe.lb._envoy_match import header_match, names, request_match, string
from wsprobe.lb._envoy_proto import Reading, flag, get, share, text, under
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
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
    both,
    has,
)
from wsprobe.lb.model import Answer, Edit, Effect, Gate, Like, Named, Op, Opaque, Retarget, Step
from wsprobe.parts import Line

_RAW_PATH = Of(Subject.RAW_PATH)


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as it stands on a route: its own settings, and what the route says in their place."""

    reading: Reading
    scope: Scope
    kind: str
    name: str
    node: Node
    config: Node | None
    override: Node | None = None

    @property
    def place(self) -> Line:
        """Where it stands."""
        return self.node.place


def not_empty(value: Value) -> Condition:
    """Whether a value says anything."""
    return Test(value, How.REGEX, ("(?s).",))


def appended(option: Node, value: Value) -> Iterator[Step]:
    """One header as a mutation of its own adds it; an empty value adds nothing unless it is to be kept."""
    name = text(option, "header", "key").lower()
    place = (get(option, "header", "key") or option).place
    when: Condition = not_empty(value)
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


@dataclass(frozen=True, slots=True)
class Source:
    """A place in a request that a credential is looked for in."""

    kind: str
    name: str
    prefix: str = ""

    @property
    def found(self) -> Condition:
        """Whether there is one."""
        if self.kind == "header":
            value = Of(Subject.HEADER, self.name, lines=Lines.JOINED, separator=",")
            return Test(value, How.CONTAINS, (self.prefix,)) if self.prefix else Test(value, How.EXISTS)
        return Test(Of(Subject.PARAMETER if self.kind == "query" else Subject.COOKIE, self.name), How.EXISTS)

    def removed(self, when: Condition, place: Line) -> Iterator[Step]:
        """The credential taken out of the request."""
        if self.kind == "header":
            yield Edit(op=Op.REMOVE, which=Named((self.name,)), when=when, place=place)
        elif self.kind == "query":
            alone = Test(Of(Subject.QUERY), How.REGEX, (r"\A[^&]*\Z",))
            yield Retarget(value=_RAW_PATH, when=both(when, alone), place=place)
            rest = Undecided("", "Envoy writes the other query parameters anew")
            yield Retarget(value=rest, when=both(when, Not(alone)), place=place)

    @property
    def header(self) -> str:
        """The header that it stands in."""
        return self.name.title() if self.kind == "header" else "Cookie" if self.kind == "cookie" else ""


# jwt_authn.


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
    """What a requirement asks for: when it is met, whose tokens are read, and whether a bad one passes too."""

    passes: Condition
    providers: tuple[_Provider, ...]
    lenient: bool = False


_GOOD = Undecided("", "whether the token is good is not known here")


def _required(node: Node | None, providers: dict[str, _Provider], depth: int = 0) -> _Required:
    """What a JwtRequirement asks for."""
    every = tuple(providers.values())
    missing = Not(OneOf(tuple(one.found for one in every)))
    for name, path in (("provider_name", ()), ("provider_and_audiences", ("provider_name",))):
        if found := get(node, name, *path):
            one = providers.get(found.text)
            return _Required(both(one.found, _GOOD), (one,)) if one else _Required(_GOOD, every)
    for name in ("requires_any", "requires_all"):
        if found := get(node, name):
            inner = [_required(each, providers, depth + 1) for each in under(found, "requirements")]
            return _together(inner, any_of=name == "requires_any")
    if get(node, "allow_missing_or_failed") is not None:
        return _Required(ALWAYS, every, lenient=True)
    if get(node, "allow_missing") is not None:
        return _Required(OneOf((missing, _GOOD)), every)
    return _Required(ALWAYS, ())


def _together(inner: list[_Required], *, any_of: bool) -> _Required:
    """Several requirements. Beside others, one that allows a missing token reads none of its own."""
    named = [one for one in inner if one.passes != ALWAYS and not _allows(one)]
    providers = tuple(dict.fromkeys(provider for one in named or inner for provider in one.providers))
    lenient = any(one.lenient for one in inner)
    if not any_of:
        return _Required(both(*(one.passes for one in inner)), providers, lenient)
    if lenient:
        return _Required(ALWAYS, providers, lenient)
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
    named = get(it.config, "requirement_map")
    if it.override is not None and (chosen := get(it.override, "requirement_name")):
        yield from _jwt_rule(_required(get(named, chosen.text), providers), ALWAYS)
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


def _forwarded(provider: _Provider) -> Iterator[Node]:
    """The headers that the filter writes what a token says into; it removes those of the client first."""
    if payload := get(provider.node, "forward_payload_header"):
        yield payload
    for claim in under(provider.node, "claim_to_headers"):
        if name := get(claim, "header_name"):
            yield name


# Others.


def ext_authz(it: Filter) -> Iterator[Step]:
    """Another service decides; of its answer, the headers that the config names are put on the request."""
    enabled = get(it.config, "filter_enabled")
    when = share(enabled, "the filter sees a part of the requests") if enabled else ALWAYS
    if when is None:
        return
    response = get(it.config, "http_service", "authorization_response")
    lists = ("allowed_upstream_headers", "allowed_upstream_headers_to_append")
    matchers = [(name, one) for name in lists for one in under(response, name, "patterns")]
    exact, patterns = names(one for _, one in matchers)
    replaces = "authorization" in exact or any(Test(Text("authorization"), How.REGEX, (p,)) is None for p in patterns)
    yield Gate(
        kind="ext_authz",
        header="Authorization",
        effect=Effect.REPLACES if replaces else Effect.READS,
        passes=Undecided("", "another service decides"),
        status=403,
        returns=exact,
        when=when,
        place=it.place,
    )
    if get(it.config, "grpc_service") is not None:
        why = "the authorization service may set and remove any header"
        yield Opaque(why=why, when=when, place=it.place)
        return
    for _, one in matchers:
        yield from _returned(one, when)


def _returned(matcher: Node, when: Condition) -> Iterator[Step]:
    exact, patterns = names([matcher])
    why = "the authorization service may return it"
    if exact:
        yield Opaque(why=why, names=exact, when=when, place=matcher.place)
    for pattern in patterns:
        yield Edit(op=Op.SET, which=Like(pattern), value=Undecided("", why), when=when, place=matcher.place)
        yield Opaque(why=why, names=(f"headers like {pattern}",), when=when, place=matcher.place)


def oauth2(it: Filter) -> Iterator[Step]:
    """Who has no session is sent to the authorization server; Authorization is Envoy's own from here on."""
    config = get(it.override, "config") or get(it.config, "config") or it.config
    place = it.place
    matchers = get(config, "pass_through_matcher")
    listed = matchers.items() or [matchers] if matchers else []
    when = both(*(Not(header_match(one, it.reading.version)) for one in listed))
    if out := get(config, "signout_path", "path"):
        leaves = both(when, string(out, _RAW_PATH))
        yield Answer(status=302, why="oauth2 signs the client out", when=leaves, place=out.place)
    if back := get(config, "redirect_path_matcher", "path"):
        returns = both(when, string(back, _RAW_PATH))
        yield Answer(status=None, why="oauth2 takes the authorization server's answer", when=returns, place=back.place)
    names_of = get(config, "credentials", "cookie_names")
    session = Test(Of(Subject.COOKIE, text(names_of, "oauth_hmac") or "OauthHMAC"), How.EXISTS)
    passes = both(session, Undecided("", "whether the session is good is not known here"))
    forward = get(config, "forward_bearer_token")
    replaces = forward is not None and forward.boolean is True
    denied = OneOf(tuple(header_match(one, it.reading.version) for one in under(config, "deny_redirect_matcher")))
    kept = flag(config, "preserve_authorization_header")
    effect = Effect.REPLACES if replaces else Effect.READS if kept else Effect.CONSUMES
    spot = forward.place if forward and replaces else place
    for status, asked in ((401, both(when, denied)), (302, both(when, Not(denied)))):
        if asked != both(when, OneOf()):
            yield Gate(
                kind="oauth2",
                header="Authorization",
                effect=effect,
                passes=passes,
                status=status,
                when=asked,
                place=spot,
            )
    if not kept:
        yield Edit(op=Op.REMOVE, which=Named(("authorization",)), when=when, place=spot)
    if replaces:
        token = Undecided("", "the access token of the session")
        yield Edit(op=Op.SET, which=Named(("authorization",)), value=token, when=when, place=spot)
    yield Opaque(why="oauth2 may remove its own cookies", names=("cookie",), when=both(when, session), place=place)


def basic_auth(it: Filter) -> Iterator[Step]:
    """A user and a password in `Authorization: Basic`; the header is passed on."""
    name = text(it.config, "authentication_header").lower() or "authorization"
    shown = Test(Of(Subject.HEADER, name), How.PREFIX, ("basic ",), ignore_case=True)
    passes = both(shown, Undecided("", "whether the password is right is not known here"))
    yield Gate(kind="basic_auth", header=name.title(), effect=Effect.READS, passes=passes, place=it.place)
    if user := get(it.config, "forward_username_header"):
        value = Undecided("", "the user's name")
        yield Edit(op=Op.SET, which=Named((user.text.lower(),)), value=value, place=user.place)


def api_key_auth(it: Filter) -> Iterator[Step]:
    """A key in a header, a query parameter or a cookie: the first that there is counts."""
    listed = under(it.override, "key_sources") or under(it.config, "key_sources")
    sources = [
        Source(kind, found.text.lower() if kind == "header" else found.text)
        for one in listed
        for kind in ("header", "query", "cookie")
        if (found := get(one, kind))
    ]
    forwarding = get(it.override, "forwarding") or get(it.config, "forwarding")
    hides = flag(forwarding, "hide_credentials")
    passes = both(OneOf(tuple(source.found for source in sources)), Undecided("", "whether the key is good"))
    yield Gate(
        kind="api_key_auth",
        header=next((source.header for source in sources if source.header), ""),
        effect=Effect.CONSUMES if hides else Effect.READS,
        passes=passes,
        place=it.place,
    )
    if name := get(forwarding, "header"):
        value = Undecided("", "the name of the client that the key belongs to")
        yield Edit(op=Op.SET, which=Named((name.text.lower(),)), value=value, place=name.place)
    hidden = get(forwarding, "hide_credentials")
    before: list[Condition] = []
    for source in sources if hides and hidden else []:
        first = both(*(Not(one) for one in before), source.found)
        yield from source.removed(first, hidden.place) if hidden else ()
        if source.kind == "cookie" and hidden:
            yield Opaque(why="the key is taken out of it", names=("cookie",), when=first, place=hidden.place)
        before.append(source.found)
