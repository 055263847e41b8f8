"""Envoy's other authentication filters: what lets a request pass, and what becomes of its credential."""

from collections.abc import Iterator

from wsprobe.lb._envoy_filter import Filter, Source
from wsprobe.lb._envoy_match import header_match, names, string
from wsprobe.lb._envoy_proto import flag, get, share, text, under
from wsprobe.lb._yaml import Node
from wsprobe.lb.evaluation import matches
from wsprobe.lb.expressions import ALWAYS, Condition, How, Not, Of, OneOf, Subject, Test, Undecided, both
from wsprobe.lb.model import Answer, Edit, Effect, Gate, Like, Named, Op, Opaque, Step

_RAW_PATH = Of(Subject.RAW_PATH)


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
    replaces = "authorization" in exact or any(matches(p, "authorization") is True for p in patterns)
    yield Gate(
        kind="ext_authz",
        header="Authorization",
        effect=Effect.REPLACES if replaces else Effect.READS,
        passes=Undecided("", "another service decides, and may name headers that Envoy then removes"),
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
