"""What nginx sends to the server behind it: proxy_pass and the headers, as steps."""

import re
from collections.abc import Iterator
from dataclasses import replace

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_head import hardly_found
from wsprobe.lb._nginx_rewrite import LEFT, resent, said
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_values import TEXT_EMPTY, Around, Values, after
from wsprobe.lb.expressions import (
    ALWAYS,
    Captured,
    Cases,
    Condition,
    How,
    Join,
    Length,
    Not,
    Of,
    Or,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    Without,
)
from wsprobe.lb.model import Answer, Assign, Edit, Every, Lost, Method, Named, Op, Opaque, Retarget, Step, Upstream
from wsprobe.parts import Line
from wsprobe.patterns import lazy

NEW_DEFAULTS = (1, 29, 7)
"""The version from which upstreams are spoken to in HTTP/1.1, and Connection is no longer set to close."""

UNKNOWN = "unknown"
"""What stands for the protocol where a file that may say it could not be read."""

ELSEWHERE = "$the_location_that_includes_this"
"""The host of a proxy_pass that a fragment leaves to the file that includes it."""

_URL = lazy(r"(https?|grpcs?)://(.*)\Z", re.IGNORECASE | re.DOTALL)
_SOCKET = lazy(r"\w+://(unix:[^:]+)")
_HOST_OF = r"(?is)\A(?:https?|grpcs?)://(?:unix:.*|(?:(?<=p://|c://)([^/?]*?)(?::80)?|([^/?]*?)(?::443)?)(?:[/?].*)?)\Z"
_URI_OF = r"(?is)\A(?:https?|grpcs?)://[^/?]*([/?].*)\Z"
_NOT_SENT = ("Transfer-Encoding", "TE", "Keep-Alive", "Expect")
_NOT_CACHED = ("If-Modified-Since", "If-Unmodified-Since", "If-None-Match", "If-Match", "Range", "If-Range")
_PORTS = {"http": "80", "https": "443", "grpc": "80", "grpcs": "443"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a proxy_pass leads: the host as it is sent, and the URI that it writes, empty without one.

    `variable` says that only the request decides it.
    """

    scheme: str
    host: str
    uri: str
    variable: bool


def target(directive: Directive) -> Target:
    """What a proxy_pass says."""
    text = directive.arg(0)
    found = _URL.match(text)
    if "$" in text or found is None:
        scheme = found[1].lower() if found else "grpc" if directive.name == "grpc_pass" else ""
        return Target(scheme, text if found is None else found[2], "", "$" in text)
    scheme, rest = found[1].lower(), found[2]
    if rest.startswith("unix:"):
        return Target(scheme, "localhost", rest[5:].partition(":")[2], variable=False)
    cut = re.search(r"[/?]", rest)
    host, uri = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    return Target(scheme, host.removesuffix(f":{_PORTS[scheme]}"), uri, variable=False)


@dataclass(frozen=True, slots=True)
class Passing:
    """One block that passes requests on by `directive`.

    `location` is the prefix that a URI of proxy_pass takes the place of, `rewrites` whether the URI may have been
    rewritten before.
    """

    scope: Scope
    directive: Directive
    values: Values
    around: Around
    location: str
    rewrites: bool

    @property
    def to(self) -> Target:
        """Where it leads."""
        return target(self.directive)

    @property
    def version(self) -> tuple[str, Line | None]:
        """The protocol that is spoken to the upstream, and the line that says so."""
        if self.directive.name == "grpc_pass":
            return "h2" if self.to.scheme == "grpcs" else "h2c", self.directive.place
        default = "1.1" if self.values.version >= NEW_DEFAULTS else "1.0"
        if unread_include(self.scope, "proxy_http_version"):
            return UNKNOWN, None
        said_so = self.scope.setting("proxy_http_version")
        version = said_so.arg(0) if said_so else default
        if version.startswith("2"):
            version = "h2" if self.to.scheme == "https" else "h2c"
        protocol = version if version.startswith("h2") else f"http/{version}"
        return protocol, said_so.place if said_so else None

    def upstream(self, addresses: dict[str, tuple[str, ...]]) -> Upstream:
        """The upstream; `addresses` are those of the upstream blocks by name."""
        to = self.to
        protocol, place = self.version
        found = () if to.host == ELSEWHERE else addresses.get(to.host, (to.host,) if to.host else ())
        if socket := _SOCKET.match(self.directive.arg(0)):
            found = (socket[1],)
        return Upstream(
            protocol=protocol,
            tls=to.scheme in {"https", "grpcs"},
            addresses=found,
            place=self.directive.place,
            protocol_place=place,
        )

    def steps(self) -> Iterator[Step]:
        """Headers first, then the method and the request target: a header is made of what was before."""
        yield from self._hostless()
        yield from self._headers()
        method = self.scope.setting("proxy_method")
        if method:
            yield Method(value=self.values.value(method.arg(0), self.around), place=method.place)
        yield from self._retargeted()

    # Headers.

    def _set_name(self) -> str:
        return "grpc_set_header" if self.directive.name == "grpc_pass" else "proxy_set_header"

    def edits(self, directives: list[Directive]) -> list[Edit]:
        """The edits of a block's proxy_set_header: of one name each that is not empty is sent."""
        around = self.around.knowing(proxy_host=self._host(), proxy_port=self._port())
        found: list[Edit] = []
        names: set[str] = set()
        for each in directives:
            if len(each.args) != 2:
                continue
            name = each.arg(0)
            value = self.values.value(each.arg(1), around)
            op = Op.ADD if name.lower() in names else Op.SET
            if op is Op.SET and hardly_found(self.scope, name):
                value = _unless_sent(name, value)
            names.add(name.lower())
            found.append(Edit(op=op, which=Named((name,)), value=value, drop_empty=True, place=each.place))
        return found

    def _headers(self) -> Iterator[Step]:
        own = self.edits(self.scope.nearest(self._set_name()))
        named = {name.lower() for edit in own for name in _names(edit)}
        defaults = [edit for edit in self._defaults() if not {name.lower() for name in _names(edit)} & named]
        steps: list[Step] = [*self._off(own), *defaults, *self._missing(), *own]
        if self.around.original:
            yield from steps
            return
        # Something before may have edited headers: what stands there now is looked at before these edits begin.
        looked_at: list[Step] = []
        for step in steps:
            if not isinstance(step, Edit) or step.value is None or isinstance(step.value, Text):
                looked_at.append(step)
                continue
            name = f"header {len(looked_at)}"
            yield Assign(name=name, value=step.value, place=step.place)
            looked_at.append(replace(step, value=Of(Subject.VARIABLE, name)))
        yield from looked_at

    def _missing(self) -> Iterator[Step]:
        """A file that could not be read may set headers in place of the defaults."""
        if missing := unread_include(self.scope, self._set_name()):
            yield Opaque(why=f"{missing.unread}; it may set headers", place=missing.place)

    def _off(self, own: list[Edit]) -> Iterator[Edit]:
        """proxy_pass_request_headers: nothing that the client sent is passed on; what is set is set nevertheless."""
        passed = self.scope.setting("proxy_pass_request_headers")
        if passed and passed.arg(0).lower() == "off":
            replaced = [edit for edit in [*self._defaults(), *own] if edit.op is not Op.ADD]
            kept = tuple(name for edit in replaced for name in _names(edit))
            yield Edit(op=Op.REMOVE, which=Every(kept), place=passed.place)

    def _defaults(self) -> Iterator[Edit]:
        """What nginx does by itself where no proxy_set_header names the header."""
        protocol, _ = self.version
        yield Edit(op=Op.SET, which=Named(("Host",)), value=self._host())
        if self.values.version >= NEW_DEFAULTS or protocol.startswith("h2"):
            yield Edit(op=Op.REMOVE, which=Named(("Connection",)))
        else:
            yield Edit(op=Op.SET, which=Named(("Connection",)), value=Text("close"))
        body = self.scope.setting("proxy_set_body")
        if body:
            length = Length(self.values.value(body.arg(0), self.around))
            yield Edit(op=Op.SET, which=Named(("Content-Length",)), value=length, place=body.place)
        for name in (*_NOT_SENT, "Upgrade"):
            yield Edit(op=Op.REMOVE, which=Named((name,)))
        cache = self.scope.setting("proxy_cache")
        if cache and cache.arg(0) != "off":
            for name in _NOT_CACHED:
                yield Edit(op=Op.REMOVE, which=Named((name,)), place=cache.place)

    def lost(self) -> Iterator[Lost]:
        """Headers that a block around sets, and that are not set here since this one sets its own."""
        name = self._set_name()
        winner = next((scope for scope in self.scope.chain() if scope.own(name)), None)
        if winner is None:
            return
        by = winner.own(name)[0].place
        named = {each.arg(0).lower() for each in winner.own(name)}
        for scope in list(winner.chain())[1:]:
            for edit in self.edits(scope.own(name)):
                if not {each.lower() for each in _names(edit)} & named:
                    yield Lost(edit=edit, by=by)

    # Where to.

    def _host(self) -> Value:
        to = self.to
        if not to.variable:
            return Text(to.host)
        url = self.values.value(self.directive.arg(0), self.around)
        host = Substituted(url, _HOST_OF, r"\1\2")
        unix = Test(url, How.REGEX, (r"(?i)\A\w+://unix:",))
        return Cases(((unix, Text("localhost")),), host)

    def _port(self) -> Value:
        to = self.to
        url = self.values.value(self.directive.arg(0), self.around) if to.variable else Text(f"x://{to.host}")
        secure = Test(url, How.PREFIX, ("https", "grpcs"), ignore_case=True)
        usual = Cases(((secure, Text("443")),), Text(_PORTS.get(to.scheme, "80")))
        return Or(Captured(url, r"\A\w+://(?:\[[^\]]*\]|[^/?:\[]*):(\d+)", "1"), usual)

    def _hostless(self) -> Iterator[Step]:
        """A 500 where the variables of proxy_pass make no URL, say since a `break` came before them."""
        url = self.values.value(self.directive.arg(0), self.around)
        parts = url.parts if isinstance(url, Join) else (url,)
        if self.to.variable and not any(isinstance(part, Undecided) for part in parts):
            good = Test(url, How.REGEX, (r"(?i)\A(?:https?|grpcs?)://[^/?:]",))
            why = f"the variables of {self.directive.name} make no URL"
            yield Answer(status=500, why=why, when=Not(good), place=self.directive.place)

    def _retargeted(self) -> Iterator[Step]:
        """The request target that is sent; without a URI in proxy_pass it stays what it is."""
        to = self.to
        if to.variable:
            url = self.values.value(self.directive.arg(0), self.around)
            uri = Captured(url, _URI_OF, "1")
            slash = Cases(((Test(uri, How.PREFIX, ("?",)), Text("/")),), TEXT_EMPTY)
            given = Test(uri, How.EXISTS)
            yield Retarget(value=Join((slash, uri)), when=given, place=self.directive.place)
        elif to.uri and self.directive.name == "proxy_pass":
            rest = Without(self.around.path, prefix=self.location)
            when: Condition = Not(said(LEFT)) if self.rewrites else ALWAYS
            value = Join((Text(to.uri), resent(rest), after("?", Of(Subject.QUERY))))
            yield Retarget(value=value, when=when, place=self.directive.place)


def _unless_sent(name: str, value: Value) -> Value:
    """The value of a header that is set; unknown where the client sends one of that name."""
    sent = Test(Of(Subject.HEADER, name, original=True), How.EXISTS)
    why = f"whether the client's {name} stays beside the one that is set depends on all the names that are set"
    return Cases(((sent, Undecided(name, why)),), value)


def _names(edit: Edit) -> tuple[str, ...]:
    return edit.which.names if isinstance(edit.which, Named) else ()


def unread_include(scope: Scope, name: str) -> Directive | None:
    """An include that could not be read and that may hold a directive of that name which would be in force."""
    for each in scope.chain():
        if each.kind == "http":
            return None
        if missing := each.missing_include():
            return missing
        if each.own(name):
            return None
    return None
