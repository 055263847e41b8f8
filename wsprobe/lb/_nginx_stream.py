"""The stream module: connections that nginx passes on as they are, without looking into them."""

from collections.abc import Iterator

from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_scope import Scope, seconds
from wsprobe.lb._nginx_servers import listens, shown
from wsprobe.lb.model import Bind, Listener, Route, Upstream

_IDLE, _CONNECT = 600.0, 60.0
_ENDS = "FIN on both sides, no close frame"


def streams(block: Directive) -> Iterator[Listener]:
    """One listener with one route for each server of a stream block that passes connections on."""
    scope = Scope("stream", block, None, block.block or ())
    addresses = {
        each.arg(0): tuple(one.arg(0) for one in each.block or () if one.name == "server")
        for each in scope.own("upstream")
    }
    for each in scope.own("server"):
        server = scope.inner(each)
        for passes in server.own("proxy_pass")[:1]:
            if not any("udp" in listen.args for listen in server.own("listen")):
                yield _listener(server, passes, addresses)


def _listener(server: Scope, passes: Directive, addresses: dict[str, tuple[str, ...]]) -> Listener:
    # Where nginx does not end TLS itself, it passes it on, and plain connections too.
    binds = tuple(
        Bind(address=each.socket.address, port=each.socket.port, tls=tls)
        for each in listens(server)
        for tls in ((True,) if each.tls else (False, True))
    )
    found = addresses.get(passes.arg(0), () if "$" in passes.arg(0) else (passes.arg(0),))
    upstream = Upstream(
        protocol="client", tls=server.flag("proxy_ssl", default=False), addresses=found, place=passes.place
    )
    route = Route(
        label="stream",
        place=server.place,
        upstream=upstream,
        timeouts=(
            _timer(server, Timer.IDLE, "proxy_timeout", _IDLE, "any traffic in either direction"),
            _timer(server, Timer.HANDSHAKE, "proxy_connect_timeout", _CONNECT, "nothing"),
        ),
    )
    label = ", ".join(dict.fromkeys(shown(bind).removesuffix(" tls") for bind in binds))
    return Listener(label=f"{label} (stream)", place=server.place, binds=binds, routes=(route,))


def _timer(server: Scope, kind: Timer, name: str, default: float, resets_on: str) -> Timeout:
    found = server.setting(name)
    lasts = seconds(found.arg(0)) if found else default
    place = found.place if found else None
    return Timeout(kind=kind, name=name, seconds=lasts, place=place, resets_on=resets_on, ends=_ENDS)
