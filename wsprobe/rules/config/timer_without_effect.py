"""A timer that looks as if it ended idle WebSockets, or kept them open, does nothing to them.

Many timers stop counting with the 101: Apache's ProxyTimeout and `timeout=` of a ProxyPass, Envoy's route timeout and
the idle timeout of its connection manager, Traefik's respondingTimeouts, Caddy's server timeouts. What is in force is
another timer, or none.

Bad (apache):
    <VirtualHost *:80>
    ProxyTimeout 3600
    ProxyPass /ws ws://127.0.0.1:9000/ws
    </VirtualHost>
Good (apache):
    Timeout 3600
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    </VirtualHost>
"""

from collections.abc import Iterator

from wsprobe.durations import seconds
from wsprobe.inspection import ConfigFinding, Timer
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, CADDY_OPTIONS, ENVOY_TIMEOUTS, HAPROXY, NGINX_PROXY, TRAEFIK
from wsprobe.rules.config._timers import ENOUGH

RULE = ConfigRule(
    __name__,
    {
        "nginx": f"{NGINX_PROXY}#proxy_read_timeout",
        "haproxy": f"{HAPROXY}#4.2-timeout%20tunnel",
        "envoy": ENVOY_TIMEOUTS,
        "caddy": f"{CADDY_OPTIONS}#timeouts",
        "apache": f"{APACHE}/core.html#timeout",
        "traefik": f"{TRAEFIK}/routing/entrypoints/#respondingtimeouts",
    },
)

_FIX = {
    "apache": "`Timeout` of the server or the virtual host is what ends an idle WebSocket.",
    "envoy": "`stream_idle_timeout`, or `idle_timeout` of the route, is what ends an idle WebSocket.",
    "haproxy": "`timeout tunnel` is what ends an idle WebSocket.",
    "caddy": "`stream_timeout`, or `read_timeout` of the transport, is what ends a WebSocket.",
    "traefik": "Traefik has no timer for WebSockets: let the application ping and close.",
}


_MOVED = "Move the line into the backend, or into `defaults`."
"""Where the right timer stands in a section that has no use for it."""

_OVER_WITH_THE_ANSWER = frozenset({("envoy", "timeout")})
"""Timers of the answer that people take for timers of the whole connection."""

_SERVES = {"haproxy": "timeout tunnel"}
"""The timer that is made for tunnels: where it is in force, the others are right to stand back."""


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each line whose timer does not apply to an upgraded connection."""
    if intent.level < Level.LIKELY or not passage.passes:
        return
    applying = passage.timers(Timer.IDLE)
    first = applying[0] if applying else None
    own = _SERVES.get(passage.config.kind)
    for timer in passage.route.timeouts:
        over = timer.kind is Timer.HANDSHAKE and (passage.config.kind, timer.name) in _OVER_WITH_THE_ANSWER
        if not over and (timer.applies or timer.kind is Timer.HANDSHAKE):
            continue
        if timer.place is None or not timer.seconds:
            continue
        vain = first is not None and timer.seconds >= ENOUGH and timer.seconds > (first.seconds or 0)
        if own and (not vain or (first and first.name == own)):
            continue
        force = f"; {first.name} ends it after {seconds(first.seconds or 0)} of silence" if first else ""
        yield RULE.finding(
            passage,
            f"{timer.name} ({seconds(timer.seconds)}) does nothing to an upgraded connection: "
            f"{timer.why or 'it is over with the 101'}{force}.",
            severity=Severity.WARNING if vain else Severity.NOTE,
            place=timer.place,
            related=[first.place if first else None, passage.where],
            fix=_MOVED if timer.name == own else _FIX.get(passage.config.kind),
        )
