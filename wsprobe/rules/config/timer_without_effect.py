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
from wsprobe.inspection import ConfigFinding, Handling, Timer
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


_SERVES = {"haproxy": "timeout tunnel"}
"""The timer that is made for tunnels: where it is in force, the others are right to stand back."""


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each line whose timer does not apply to an upgraded connection."""
    if intent.level < Level.LIKELY or passage.handling is not Handling.PASSED:
        return
    applying = passage.timers(Timer.IDLE)
    first = applying[0] if applying else None
    own = _SERVES.get(passage.config.kind)
    for timer in passage.route.timeouts:
        if timer.applies or timer.place is None or timer.kind is Timer.HANDSHAKE or (first and first.name == own):
            continue
        lasting = timer.seconds is None or timer.seconds >= ENOUGH
        vain = lasting and first is not None and (timer.seconds or ENOUGH) > (first.seconds or 0)
        if own and not vain:
            continue
        told = "never fires" if timer.seconds is None else seconds(timer.seconds)
        force = f"; {first.name} ends it after {seconds(first.seconds or 0)} of silence" if first else ""
        yield RULE.finding(
            passage,
            f"{timer.name} ({told}) does nothing to an upgraded connection: {timer.why or 'it counts before the 101'}"
            f"{force}.",
            severity=Severity.WARNING if vain else Severity.NOTE,
            place=timer.place,
            related=[first.place if first else None, passage.where],
            fix=_FIX.get(passage.config.kind),
        )
