"""Which of HAProxy's timers ends an upgraded connection, and which look as if they did (manual, 4.2, timeout …)."""

from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._haproxy_proxy import Proxy, Time
from wsprobe.parts import Line

_ANY = "any traffic"
_RST = "FIN to the client, RST to the upstream, no close frame"
_FIN = "FIN to the client and to the upstream, no close frame"
_FOR_EVER = Time(None, None)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What rules set in place of `timeout tunnel`: for an upgrade, and the line that does it for some only."""

    time: Time | None = None
    sometimes: Line | None = None


def timeouts(front: Proxy, back: Proxy, tunnel: Tunnel) -> Iterator[Timeout]:
    """The timers of a route; which one ends a WebSocket is open where a rule sets another for some requests only."""
    if not tunnel.sometimes:
        yield from _idle(front, back, tunnel.time)
    yield from _misplaced(front, back)
    yield from _half_closed(front, back)
    if front.mode == "http" or back.mode == "http":
        yield from _handshake(front, back)
    elif connect := back.timers.get("connect"):
        yield _timer(Timer.HANDSHAKE, "connect", connect, ends="the connection to the client is closed")


def _timer(kind: Timer, name: str, time: Time, **said: str) -> Timeout:
    """One timer; it does not apply where `why` says a reason."""
    applies = not said.get("why")
    return Timeout(kind=kind, name=f"timeout {name}", seconds=time.seconds, place=time.place, applies=applies, **said)


def _idle(front: Proxy, back: Proxy, tunnel: Time | None) -> Iterator[Timeout]:
    tunnel = tunnel or back.timers.get("tunnel")
    client, server = front.timers.get("client", _FOR_EVER), back.timers.get("server", _FOR_EVER)
    if tunnel:
        ends = _RST if back.mode == "http" else _FIN
        yield _timer(Timer.IDLE, "tunnel", tunnel, resets_on=_ANY, ends=ends)
        why = "timeout tunnel is in force instead once the connection is upgraded"
        for name, time in (("client", client), ("server", server)):
            if time.place:
                yield _timer(Timer.IDLE, name, time, why=why)
        return
    first_is_client = (client.seconds or float("inf")) <= (server.seconds or float("inf"))
    first, second = ("client", "server") if first_is_client else ("server", "client")
    times = {"client": client, "server": server}
    alone = first_is_client and client.seconds != server.seconds
    ends = _FIN if alone or back.mode != "http" else _RST
    apart = (front if first_is_client else back).option("independent-streams")
    side = "traffic from the client only" if first_is_client else "traffic from the upstream only"
    resets_on = side if apart else _ANY
    yield _timer(Timer.IDLE, first, times[first], resets_on=resets_on, ends=ends if times[first].seconds else "")
    if times[second].place:
        yield _timer(Timer.IDLE, second, times[second], why=f"timeout {first} fires first")


def _misplaced(front: Proxy, back: Proxy) -> Iterator[Timeout]:
    """Timers in a section that has no use for them; HAProxy warns and ignores them."""
    useless = [(front, name) for name in ("tunnel", "server", "connect", "queue") if not front.leads]
    useless += [(back, "client")] if not back.takes else []
    for proxy, name in useless:
        time = proxy.timers.get(name)
        if time and proxy.owns(time):
            why = f"a {proxy.section.kind} has no use for timeout {name}: HAProxy ignores it"
            yield _timer(Timer.IDLE, name, time, why=why)


def _half_closed(front: Proxy, back: Proxy) -> Iterator[Timeout]:
    for proxy, name in ((front, "client-fin"), (back, "server-fin")):
        if time := proxy.timers.get(name):
            yield _timer(Timer.IDLE, name, time, why="it counts once one side has ended its direction")


def _handshake(front: Proxy, back: Proxy) -> Iterator[Timeout]:
    waits = (
        ("http-request", front.timers.get("http-request"), "408 where the head of the request is not there in time"),
        ("queue", back.timers.get("queue"), "503 where no server is free"),
        ("connect", back.timers.get("connect"), "503 after the retries"),
        ("server", back.timers.get("server"), "504 where the upstream does not answer the upgrade"),
    )
    for name, time, ends in waits:
        if time:
            yield _timer(Timer.HANDSHAKE, name, time, ends=ends)
