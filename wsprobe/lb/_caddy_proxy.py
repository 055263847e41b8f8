"""Caddy's reverse proxy: what Go and Caddy do to every request, what the config adds, and the timers."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._caddy_context import Context, End, seconds
from wsprobe.lb._caddy_headers import deletes_header, request_edits
from wsprobe.lb._caddy_match import networks
from wsprobe.lb._caddy_rewrite import rewrites
from wsprobe.lb._caddy_tree import Tree
from wsprobe.lb._caddy_values import Scope, has_placeholder, nonempty, value_of
from wsprobe.lb.expressions import (
    Cased,
    Cases,
    Condition,
    How,
    Join,
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
    has,
    header,
)
from wsprobe.lb.model import Answer, Assign, Edit, Every, Named, Nominated, Op, Step, Upstream

HOP_BY_HOP = (
    "Alt-Svc",
    "Proxy-Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Trailer",
    "Transfer-Encoding",
    "Content-Length",
)
"""What never travels on, beside Connection, TE and Upgrade; Go writes Content-Length itself where there is a body."""

_UPSTREAM = "http.reverse_proxy.upstream"
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_MEMBER = r"(?i)(?:\A|,)[ \t]*{}[ \t]*(?:,|\Z)"


def is_upgrade() -> Condition:
    """Whether the request asks for another protocol, as Go sees it."""
    names = Test(Of(Subject.HEADER, "Connection", lines=Lines.ANY_LINE), How.REGEX, (_MEMBER.format("upgrade"),))
    return both(names, nonempty(header("Upgrade")))


def proxy(handler: Tree, context: Context) -> End:
    """A reverse proxy with all that it does to a request."""
    transport = handler.tree("transport") or Tree(handler.place)
    upstream = _upstream(handler, transport)
    scope = _scope(context.scope, upstream)
    ops = _request_ops(handler)
    before, edits = _frozen(ops, scope, context)
    steps: list[Step] = [*before, *rewrites(handler.tree("rewrite"), scope)]
    steps += _hop_by_hop(context)
    steps += _forwarded(handler, context)
    if context.since(2, 11) and upstream.tls and not _sets_host(ops):
        steps.append(Edit(op=Op.SET, which=Named(("Host",)), value=_address(upstream)))
    if _agent_is_written(ops):
        # Go is told to send none by an empty one, which such an edit then finds.
        steps.append(Edit(op=Op.DEFAULT, which=Named(("User-Agent",)), value=Text("")))
    steps += edits
    steps += _sent(ops, transport, upstream)
    steps += _refused(upstream, handler, ops)
    return End(
        place=handler.place,
        steps=tuple(steps),
        response=tuple(_response(handler)),
        upstream=upstream,
        timeouts=tuple(_timeouts(handler, transport, context)),
    )


def _request_ops(handler: Tree) -> Tree | None:
    found = handler.tree("headers")
    return found.tree("request") if found else None


def _upstream(handler: Tree, transport: Tree) -> Upstream:
    dialled = [address for each in handler.trees("upstreams") if (address := each.text("dial"))]
    tls = "tls" in transport
    versions = transport.texts("versions")
    protocol, place = "http/1.1", None
    if "h2c" in versions or (versions and "1.1" not in versions):
        protocol = "h2c" if "h2c" in versions else f"h{versions[0]}"
        place = versions[0].place
    elif dynamic := handler.tree("dynamic_upstreams"):
        place = dynamic.place
    return Upstream(
        protocol=protocol, tls=tls, addresses=tuple(map(str, dialled)), place=handler.place, protocol_place=place
    )


def _address(upstream: Upstream) -> Value:
    """Host and port of the upstream, as Go writes them: without the port that the scheme has anyway."""
    if len(upstream.addresses) != 1 or "{" in upstream.addresses[0]:
        return Undecided("the upstream's address", "which upstream gets the request is not known here")
    address = upstream.addresses[0]
    if address.startswith("unix/"):
        return Undecided(address, "what is sent as Host to a Unix socket is not known here")
    return Text(re.sub(r":443\Z" if upstream.tls else r":80\Z", "", address))


def _scope(scope: Scope, upstream: Upstream) -> Scope:
    """What the placeholders of the upstream stand for."""
    address = _address(upstream)
    known = dict(scope.known)
    whole = upstream.addresses[0] if isinstance(address, Text) else ""
    host, _, port = whole.rpartition(":")
    parts = {"hostport": whole, "address": f"tcp/{whole}", "host": host, "port": port}
    for name, text in parts.items():
        known[f"{_UPSTREAM}.{name}"] = Text(text) if whole else address
    for name in ("requests", "max_requests", "fails"):
        known[f"{_UPSTREAM}.{name}"] = Undecided(name, "Caddy counts it while it runs")
    return replace(scope, known=known)


def _frozen(ops: Tree | None, scope: Scope, context: Context) -> tuple[list[Step], list[Step]]:
    """The edits of header_up; their placeholders speak of the request as it came, so that is kept in variables."""
    kept: list[Step] = []

    def valued(text: str) -> Value:
        value = value_of(text, scope)
        if isinstance(value, (Text, Undecided)):
            return value
        name = context.report.name("header_up")
        kept.append(Assign(name=name, value=value))
        return Of(Subject.VARIABLE, name)

    edits: list[Step] = list(request_edits(ops, valued))
    return kept, edits


def _hop_by_hop(context: Context) -> Iterator[Step]:
    """Connection, what it names, and the rest of what concerns one connection only; an upgrade is put back."""
    name = context.report.name("upgrade")
    upgrading = nonempty(Of(Subject.VARIABLE, name))
    trailers = Test(Of(Subject.HEADER, "TE", lines=Lines.ANY_LINE), How.REGEX, (_MEMBER.format("trailers"),))
    yield Assign(name=name, value=Cased(header("Upgrade")), when=is_upgrade())
    yield Edit(op=Op.REMOVE, which=Nominated(but=("Host", "Upgrade", "Connection")))
    yield Edit(op=Op.REMOVE, which=Named(HOP_BY_HOP))
    yield Edit(op=Op.REMOVE, which=Named(("TE",)), when=Not(trailers))
    yield Edit(op=Op.SET, which=Named(("TE",)), value=Text("trailers"), when=trailers)
    yield Edit(op=Op.REMOVE, which=Named(("Connection", "Upgrade")), when=Not(upgrading))
    yield Edit(op=Op.SET, which=Named(("Connection",)), value=Text("Upgrade"), when=upgrading)
    yield Edit(op=Op.SET, which=Named(("Upgrade",)), value=Of(Subject.VARIABLE, name), when=upgrading)


def _forwarded(handler: Tree, context: Context) -> Iterator[Step]:
    """X-Forwarded-*, replaced where they come from somebody who is not trusted, and Via."""
    trusted = _trusted(handler, context)
    prior = Of(Subject.HEADER, "X-Forwarded-For", lines=Lines.JOINED)
    peer = Of(Subject.PEER)
    addresses: Value = Cases(((both(trusted, nonempty(prior)), Join((prior, Text(", "), peer))),), peer)
    scheme = Of(Subject.SCHEME) if context.tls is None else Text("https" if context.tls else "http")
    yield Edit(op=Op.SET, which=Named(("X-Forwarded-For",)), value=addresses)
    for name, value in (("X-Forwarded-Proto", scheme), ("X-Forwarded-Host", Join((Of(Subject.AUTHORITY),)))):
        last = Of(Subject.HEADER, name, lines=Lines.LAST)
        kept: Value = Cases(((both(trusted, nonempty(last)), last),), value)
        yield Edit(op=Op.SET, which=Named((name,)), value=kept)
    if context.since(2, 10):
        old = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.0",))
        yield Edit(op=Op.ADD, which=Named(("Via",)), value=Cases(((old, Text("1.0 Caddy")),), Text("1.1 Caddy")))


def _trusted(handler: Tree, context: Context) -> Condition:
    ranges = handler.texts("trusted_proxies")
    if not ranges:
        return context.trusted
    own = Test(Of(Subject.PEER), How.NETWORK, networks(ranges))
    return OneOf((own, context.trusted))


def _sets_host(ops: Tree | None) -> bool:
    for key in ("set", "add", "replace"):
        found = ops.tree(key) if ops else None
        if found and any(name.lower() == "host" for name in found):
            return True
    return deletes_header(ops, "Host") is not None


def _agent_is_written(ops: Tree | None) -> bool:
    """Whether an edit looks at the User-Agent that is there."""
    keys = [name.lower() for key in ("add", "replace") if ops and (found := ops.tree(key)) for name in found]
    return "user-agent" in keys or "*" in keys


def _sent(ops: Tree | None, transport: Tree, upstream: Upstream) -> Iterator[Step]:
    """What Go's transport makes of the headers when it writes them."""
    yield Edit(op=Op.REPLACE, which=Every(), value=Text(""), pattern=r"\A[ \t]+|[ \t]+\Z", every=True)
    no_host = Not(nonempty(header("Host")))
    yield Edit(op=Op.SET, which=Named(("Host",)), value=_address(upstream), when=no_host)
    malformed = Test(header("Host"), How.REGEX, (r"[^A-Za-z0-9!$%&'()*+,\-.:;=@\[\]_~]",))
    yield Edit(op=Op.SET, which=Named(("Host",)), value=Text(""), when=malformed)
    yield Edit(op=Op.FIRST, which=Named(("User-Agent",)))
    every = next((name for name in ops.texts("delete") if name == "*"), None) if ops else None
    deleted = every if every is not None else deletes_header(ops, "User-Agent")
    if deleted is not None:
        agent = Text("Go-http-client/1.1")
        yield Edit(op=Op.DEFAULT, which=Named(("User-Agent",)), value=agent, place=deleted.place)
    yield Edit(op=Op.REMOVE, which=Named(("User-Agent",)), when=Not(nonempty(header("User-Agent"))))
    yield Edit(op=Op.REMOVE, which=Named(("Content-Length", "Transfer-Encoding", "Trailer")))
    with_body = Test(Of(Subject.METHOD), How.EQUALS, ("POST", "PUT", "PATCH"))
    yield Edit(op=Op.SET, which=Named(("Content-Length",)), value=Text("0"), when=with_body)
    if (alive := transport.tree("keep_alive")) and alive.text("enabled") == "false":
        connection = Of(Subject.HEADER, "Connection", lines=Lines.ANY_LINE)
        closes = Test(connection, How.REGEX, (_MEMBER.format("close"),))
        closing = both(Not(closes), Not(is_upgrade()))
        yield Edit(op=Op.ADD, which=Named(("Connection",)), value=Text("close"), when=closing, place=alive.place)
    if transport.text("compression") != "false":
        asks = both(
            Not(nonempty(header("Accept-Encoding"))),
            Not(nonempty(header("Range"))),
            Not(Test(Of(Subject.METHOD), How.EQUALS, ("HEAD",))),
        )
        yield Edit(op=Op.ADD, which=Named(("Accept-Encoding",)), value=Text("gzip"), when=asks)


def _refused(upstream: Upstream, handler: Tree, ops: Tree | None) -> Iterator[Step]:
    """Go does not send the Upgrade of HTTP/1.1 over HTTP/2, nor a header whose name is none."""
    names = [name for key in ("add", "set") if ops and (found := ops.tree(key)) for name, _ in found.marked()]
    for name in names:
        if not has_placeholder(name) and not _FIELD_NAME.match(name):
            why = "header_up makes a header whose name is not valid, so nothing is sent"
            yield Answer(status=502, why=why, place=name.place)
    if upstream.protocol != "http/1.1":
        place = upstream.protocol_place or handler.place
        yield Answer(
            status=502, why=f"an upgrade cannot be sent over {upstream.protocol}", when=has("Upgrade"), place=place
        )


def _response(handler: Tree) -> Iterator[Edit]:
    found = handler.tree("headers")
    ops = found.tree("response") if found else None
    for each in request_edits(ops, Text):
        if isinstance(each, Edit):
            yield Edit(op=each.op, which=each.which, value=each.value, place=each.place, effective=False)


def _timeouts(handler: Tree, transport: Tree, context: Context) -> Iterator[Timeout]:
    fin = "FIN on both sides, no close frame"
    if context.since(2, 7):
        yield _timer(handler, "stream_timeout", Timer.LIFETIME, None, ends=fin)
    resets = "traffic from the upstream only"
    yield _timer(transport, "read_timeout", Timer.IDLE, None, resets_on=resets, ends=fin)
    if "write_timeout" in transport:
        why = "it bounds one write that blocks, and an idle connection writes nothing"
        yield _timer(transport, "write_timeout", Timer.IDLE, None, applies=False, why=why)
    yield _timer(transport, "response_header_timeout", Timer.HANDSHAKE, None, ends="504 for the client")
    yield _timer(transport, "dial_timeout", Timer.HANDSHAKE, 3.0, ends="502 for the client")


def _timer(tree: Tree, name: str, kind: Timer, default: float | None, **more: Any) -> Timeout:  # noqa: ANN401  fields of the record
    """A timer as it stands in the config, or its default."""
    said = tree.text(name)
    found = seconds(said) if said is not None else default
    place = tree.where(name) if said is not None else None
    return Timeout(kind=kind, name=name, seconds=found or None, place=place, **more)
