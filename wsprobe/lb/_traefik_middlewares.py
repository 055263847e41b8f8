"""All of Traefik's middlewares by name, and the chains that are made of them."""

from collections.abc import Callable, Iterable
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.inspection import Unknown
from wsprobe.lb import _traefik_auth as auth
from wsprobe.lb import _traefik_paths as paths
from wsprobe.lb._traefik_chain import Chain, DisabledError
from wsprobe.lb._traefik_headers import headers
from wsprobe.lb._traefik_proxy import denied
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.expressions import Undecided
from wsprobe.lb.model import Answer, Opaque

MAX_CHAIN = 500
"""How many middlewares a router may have, those of chains counted."""


@dataclass(slots=True)
class Scope:
    """What routers name: middlewares, services and transports by name and provider (`auth@file`).

    `whole` are the providers of which everything was read: what they do not have does not exist.
    """

    middlewares: dict[str, Setting] = field(default_factory=dict)
    services: dict[str, Setting] = field(default_factory=dict)
    transports: dict[str, Setting] = field(default_factory=dict)
    whole: frozenset[str] = frozenset({"internal"})

    def missing(self, name: str) -> bool:
        """Whether something that was not found does not exist, rather than being defined elsewhere."""
        return name.rpartition("@")[2] in self.whole


def qualified(name: str, provider: str) -> str:
    """A name with its provider, which is that of the one who names it where none is given."""
    return name if "@" in name else f"{name}@{provider}"


def build(names: Iterable[Setting], provider: str, scope: Scope, chain: Chain) -> None:
    """Adds the middlewares of these names; DisabledError where one cannot be built."""
    waiting = [(each, provider, frozenset[str]()) for each in reversed(list(names))]
    count = 0
    while waiting:
        each, provider, above = waiting.pop()
        count += 1
        name = qualified(each.text or "", provider)
        if each.unsure:
            _elsewhere(each, f"the middleware is not known: {each.unsure}", chain)
            continue
        if name in above or count > MAX_CHAIN:
            raise DisabledError(f"the middleware {name} contains itself", each.place)
        found = scope.middlewares.get(name)
        if found is None:
            if scope.missing(name):
                raise DisabledError(f"the middleware {name} does not exist", each.place)
            _elsewhere(each, f"the middleware {name} is defined elsewhere", chain)
            continue
        kind = _only(found, name)
        if kind.name.lower() == "chain":
            inner = [(one, name.rpartition("@")[2], above | {name}) for one in kind.words("middlewares")]
            waiting += reversed(inner)
        else:
            _one(kind, chain)


def _only(found: Setting, name: str) -> Setting:
    kinds = list(found.fields.values())
    if len(kinds) != 1:
        what = "several kinds of middleware in one" if kinds else "no kind of middleware"
        raise DisabledError(f"the middleware {name}: {what}", found.place)
    return kinds[0]


def _one(kind: Setting, chain: Chain) -> None:
    name = _NAMES.get(kind.name.lower())
    if name is None:
        chain.unread.append(Unknown(what=kind.name, why="not a middleware that is known here", place=kind.place))
        _elsewhere(kind, f"{kind.name} is no middleware that is known here", chain)
        return
    _KINDS[name](replace(kind, name=name), chain)


def _elsewhere(setting: Setting, why: str, chain: Chain) -> None:
    """Something that may do anything to a request."""
    refuses = Undecided(setting.text or setting.name, why)
    chain.steps.append(Answer(status=None, why="it may answer by itself", when=refuses, place=setting.place))
    chain.steps.append(Opaque(why=why, place=setting.place))


def _plugin(setting: Setting, chain: Chain) -> None:
    name = next(iter(setting.fields), setting.name)
    _elsewhere(setting, f"the plugin {name} may do anything", chain)


def _encoded(setting: Setting, chain: Chain) -> None:
    chain.steps.extend(denied(setting, default=False))


def _certificate(setting: Setting, chain: Chain) -> None:
    """Tells the upstream of the client's certificate, if it has sent one."""
    options = {"pem": "X-Forwarded-Tls-Client-Cert", "info": "X-Forwarded-Tls-Client-Cert-Info"}
    chain.unknown_fields(setting, options)
    names = tuple(name for option, name in options.items() if setting.get(option))
    if chain.tls and names:
        why = "it tells of the client's certificate, if there is one"
        chain.steps.append(Opaque(why=why, names=names, place=setting.place))


def _noted(note: str, *options: str) -> Callable[[Setting, Chain], None]:
    """A middleware that does nothing to an upgrade while all is well."""

    def read(setting: Setting, chain: Chain) -> None:
        if options:
            chain.unknown_fields(setting, options)
        chain.notes.append(f"{setting.name}: {note}")

    return read


def _standing(setting: Setting, chain: Chain) -> None:
    chain.unknown_fields(setting, ("amount", "sourceCriterion"))
    written, amount = setting.get("amount"), setting.integer("amount")
    if not amount and not (written and written.unsure):
        chain.steps.append(Answer(status=429, why="inFlightReq lets no request in", place=(written or setting).place))
    chain.notes.append(f"inFlightReq: a WebSocket counts as long as it lasts; above {amount or 'the amount'}, 429")


_KINDS: dict[str, Callable[[Setting, Chain], None]] = {
    "headers": headers,
    "addPrefix": paths.add_prefix,
    "stripPrefix": paths.strip_prefix,
    "stripPrefixRegex": paths.strip_prefix_regex,
    "replacePath": paths.replace_path,
    "replacePathRegex": paths.replace_path_regex,
    "redirectScheme": paths.redirect_scheme,
    "redirectRegex": paths.redirect_regex,
    "basicAuth": auth.users("Basic"),
    "digestAuth": auth.users("Digest"),
    "forwardAuth": auth.forward_auth,
    "jwt": auth.enterprise("Authorization"),
    "oAuthIntrospection": auth.enterprise("Authorization"),
    "ldap": auth.enterprise("Authorization"),
    "hmac": auth.enterprise("Authorization"),
    "apiKey": auth.enterprise("Authorization"),
    "oidc": auth.enterprise("Cookie"),
    "ipAllowList": auth.ip_list,
    "ipWhiteList": auth.ip_list,
    "encodedCharacters": _encoded,
    "passTLSClientCert": _certificate,
    "plugin": _plugin,
    "inFlightReq": _standing,
    "rateLimit": _noted("above the rate, the client gets 429"),
    "circuitBreaker": _noted("while it is open, the client gets 503"),
    "retry": _noted("an upgrade that got no answer is tried again"),
    "buffering": _noted("it does not hold an upgrade back"),
    "compress": _noted("it leaves an upgrade alone"),
    "errors": _noted(
        "another page in place of an answer of these statuses",
        "status",
        "statusRewrites",
        "service",
        "query",
        "errorRequestHeaders",
    ),
    "contentType": _noted("it leaves an upgrade alone"),
    "grpcWeb": _noted("it leaves an upgrade alone"),
}
_NAMES = {name.lower(): name for name in _KINDS}
"""How each is called, whatever the case that it is written in: labels have them in lower case."""
