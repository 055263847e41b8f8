"""Traefik's middlewares that ask who the client is, and those that look at its address."""

from collections.abc import Callable

from wsprobe.lb._traefik_chain import Chain, DisabledError
from wsprobe.lb._traefik_matchers import RuleError, client_ip, pattern, regex
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.evaluation import matches
from wsprobe.lb.expressions import Condition, How, Not, Of, Piece, Subject, Test, Undecided, both, has, header
from wsprobe.lb.model import Answer, Edit, Effect, Gate, Like, Named, Op, Opaque

_USERS = ("users", "usersFile", "realm", "removeHeader", "headerField")
_FORWARD = (
    "address",
    "tls",
    "trustForwardHeader",
    "authResponseHeaders",
    "authResponseHeadersRegex",
    "authRequestHeaders",
    "addAuthCookiesToResponse",
    "headerField",
    "forwardBody",
    "maxBodySize",
    "maxResponseBodySize",
    "preserveLocationHeader",
    "preserveRequestMethod",
    "authSigninURL",
)


def users(scheme: str) -> Callable[[Setting, Chain], None]:
    """The middleware that asks for a name and a password in that scheme (RFC 7617, RFC 7616)."""

    def read(setting: Setting, chain: Chain) -> None:
        chain.unknown_fields(setting, _USERS)
        removes = setting.flag("removeHeader")
        offered = Test(header("Authorization"), How.PREFIX, (f"{scheme} ",), ignore_case=True)
        known = Undecided(setting.name, "it depends on the password")
        place = setting.place
        chain.steps.append(
            Gate(
                kind=setting.name,
                header="Authorization",
                effect=Effect.CONSUMES if removes else Effect.READS,
                passes=both(offered, known),
                place=place,
            )
        )
        told = setting.get("headerField")
        if told and told.text:
            name = Undecided(told.text, "it is the name of the user")
            chain.steps.append(Edit(op=Op.SET, which=Named((told.text,)), value=name, place=told.place))
        if removes:
            removed = setting.get("removeHeader") or setting
            chain.steps.append(Edit(op=Op.REMOVE, which=Named(("Authorization",)), place=removed.place))

    return read


def forward_auth(setting: Setting, chain: Chain) -> None:
    """Asks another service, and takes headers from its answer: each that it does not return is lost."""
    chain.unknown_fields(setting, _FORWARD)
    returned = setting.words("authResponseHeaders")
    names = tuple(each.text or "" for each in returned)
    like = setting.get("authResponseHeadersRegex")
    replaced = "authorization" in {name.lower() for name in names}
    if like and like.text:
        try:
            regex(header("Authorization"), like.text)
        except RuleError as error:
            raise DisabledError(f"authResponseHeadersRegex: {error}", like.place) from None
        replaced = replaced or matches(pattern(like.text), "Authorization") is True
    asked = setting.texts("authRequestHeaders")
    chain.steps.append(
        Gate(
            kind=setting.name,
            header="Authorization" if not asked or "authorization" in map(str.lower, asked) else asked[0],
            effect=Effect.REPLACES if replaced else Effect.READS,
            passes=Undecided(setting.name, "another service decides"),
            status=None,
            returns=names,
            place=setting.place,
        )
    )
    why = "it is taken from the answer of the service that was asked, and removed where that has none"
    for each in returned:
        chain.appended = chain.appended or (each.text or "").lower() == "x-forwarded-for"
        value = Undecided(each.text or "", why)
        chain.steps.append(Edit(op=Op.SET, which=Named((each.text or "",)), value=value, place=each.place))
    if like and like.text:
        which = Like(pattern(like.text), ignore_case=False)
        chain.steps.append(Edit(op=Op.SET, which=which, value=Undecided(like.text, why), place=like.place))
        chain.notes.append("headers that match authResponseHeadersRegex may come from the service that was asked")


def enterprise(reads: str) -> Callable[[Setting, Chain], None]:
    """An authentication that only Traefik Hub and Enterprise have."""

    def read(setting: Setting, chain: Chain) -> None:
        strips = setting.get("stripAuthorizationHeader")
        removes = bool(strips) and setting.flag("stripAuthorizationHeader")
        chain.steps.append(
            Gate(
                kind=setting.name,
                header=reads,
                effect=Effect.CONSUMES if removes else Effect.READS,
                passes=Undecided(setting.name, "it depends on the credentials"),
                place=setting.place,
            )
        )
        for each in setting.under("forwardHeaders"):
            value = Undecided(each.name, "it is taken from the token")
            chain.steps.append(Edit(op=Op.SET, which=Named((each.name,)), value=value, place=each.place))
        if strips and removes:
            chain.steps.append(Edit(op=Op.REMOVE, which=Named(("Authorization",)), place=strips.place))
        elif not strips:
            why = f"whether {setting.name} passes it on depends on the edition"
            chain.steps.append(Opaque(why=why, names=(reads,), place=setting.place))

    return read


def ip_list(setting: Setting, chain: Chain) -> None:
    """Refuses clients by their address."""
    chain.unknown_fields(setting, ("sourceRange", "ipStrategy", "rejectStatusCode"))
    ranges = setting.texts("sourceRange")
    if not ranges:
        raise DisabledError(f"{setting.name} has no sourceRange", setting.place)
    try:
        allowed = client_ip(ranges)
    except RuleError as error:
        raise DisabledError(f"{setting.name}: {error}", setting.place) from None
    depth = setting.integer("ipStrategy", "depth") or 0
    excluded = setting.texts("ipStrategy", "excludedIPs")
    if depth:
        told = Piece(Of(Subject.HEADER, "X-Forwarded-For"), ",", -depth)
        allowed = Test(_trimmed(told), How.NETWORK, tuple(ranges))
    elif excluded:
        unsure = Undecided("excludedIPs", "the address is looked for in X-Forwarded-For")
        allowed = both(has("X-Forwarded-For"), unsure)
    refused: Condition = Not(allowed)
    status = setting.integer("rejectStatusCode") or 403
    why = f"{setting.name} does not allow the address"
    chain.steps.append(Answer(status=status, why=why, when=refused, place=setting.place))


def _trimmed(piece: Piece) -> Piece:
    return Piece(piece, " ", 1, skip_empty=True)
