"""A timer ends the connection after a time, however busy it is.

Such a timer is made for requests. On a WebSocket it cuts every connection at that age, in the middle of whatever goes
on, without a close frame; all clients that came together come back together.

Bad (caddy):
    :8080 {
        reverse_proxy 127.0.0.1:9000 {
            stream_timeout 5m
        }
    }
Good (caddy):
    :8080 {
        reverse_proxy 127.0.0.1:9000
    }
"""

from collections.abc import Iterator

from wsprobe.durations import seconds
from wsprobe.inspection import ConfigFinding, Timer
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import CADDY_PROXY, ENVOY_TIMEOUTS

RULE = ConfigRule(__name__, {"envoy": ENVOY_TIMEOUTS, "caddy": f"{CADDY_PROXY}#streaming"})

_FIX = {
    "envoy": "Write `max_stream_duration: {max_stream_duration: 0s}` into the route of the WebSocket.",
    "caddy": "Delete the line, or write `stream_timeout 24h` if connections have to end at some time.",
}


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where a lifetime applies to an upgraded connection."""
    timers = passage.timers(Timer.LIFETIME)
    if intent.level is Level.NOT or not timers or passage.prediction.request is None:
        return
    first = timers[0]
    yield RULE.finding(
        passage,
        f"Every connection ends {seconds(first.seconds or 0)} after it began, busy or not: {first.name}.",
        severity=Severity.WARNING,
        place=first.place,
        related=[passage.where],
        fix=_FIX.get(passage.config.kind, "Delete the line, or have clients reconnect at different times."),
    )
