"""A timer ends the connection after a silence that is shorter than a WebSocket's usual one.

No load balancer says goodbye when its timer fires: both sides see a bare end of the connection, code 1006. Libraries
send a ping each 20 to 30 s, many applications none at all, so anything below 60 s cuts idle connections in silence.
`--ping SECONDS` says how often pings really come.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_read_timeout 10s;
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_read_timeout 1h;
    }
Bad (haproxy):
    defaults
      mode http
      timeout client 30s
      timeout server 30s
    frontend fe
      bind :8080
      default_backend ws
    backend ws
      server s1 127.0.0.1:9000
Good (haproxy):
    defaults
      mode http
      timeout client 30s
      timeout server 30s
      timeout tunnel 1h
    frontend fe
      bind :8080
      default_backend ws
    backend ws
      server s1 127.0.0.1:9000
Bad (apache):
    Timeout 20
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    </VirtualHost>
Good (apache):
    Timeout 300
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    </VirtualHost>
"""

from collections.abc import Iterator

from wsprobe.durations import seconds
from wsprobe.inspection import ConfigFinding, Timeout, Timer
from wsprobe.parts import Line, Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, CADDY_PROXY, ENVOY_TIMEOUTS, HAPROXY, NGINX_PROXY
from wsprobe.rules.config._timers import ENOUGH, SHORTEST_PING

RULE = ConfigRule(
    __name__,
    {
        "nginx": f"{NGINX_PROXY}#proxy_read_timeout",
        "haproxy": f"{HAPROXY}#4.2-timeout%20tunnel",
        "envoy": ENVOY_TIMEOUTS,
        "caddy": f"{CADDY_PROXY}#transports",
        "apache": f"{APACHE}/core.html#timeout",
    },
)

_FIX = {
    "nginx": "Write `proxy_read_timeout 1h;` in the location.",
    "haproxy": "Write `timeout tunnel 1h` in the backend or in defaults: it replaces client and server timeouts after "
    "the 101.",
    "envoy": "Write `timeout: 0s` and `idle_timeout: 3600s` into the route.",
    "caddy": "Write a longer `read_timeout` in `transport http`, or leave it out: its default is none.",
    "apache": "Write `Timeout 3600` for the server or the virtual host.",
}
_BORROWED = {"haproxy": ("timeout client", "timeout server")}
"""Timers of requests that end a WebSocket only because the one that is made for tunnels is not written."""


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where the timer that fires first is short."""
    timers = passage.timers(Timer.IDLE)
    if intent.level is Level.NOT or not timers or passage.prediction.request is None:
        return
    first, ping = timers[0], passage.asked.ping
    limit = first.seconds or 0
    lasting = [each for each in _written(passage) if each is not first and each.seconds and each.seconds >= ENOUGH]
    meant = intent.level is Level.SURE or _of_tunnels(passage)
    if ping is not None and limit <= ping:
        said, severity = f", and pings come each {seconds(ping)}", Severity.WARNING
    elif limit < (ENOUGH if meant or lasting or ping else SHORTEST_PING):
        said, severity = "", Severity.WARNING
        if ping is not None:
            said, severity = f"; only the pings each {seconds(ping)} keep it open", Severity.NOTE
    elif limit < ENOUGH and first.name in _BORROWED.get(passage.config.kind, ()) and _open_to_others(passage):
        said, severity = ": no timeout tunnel takes its place on a WebSocket, if one comes this way", Severity.NOTE
    else:
        return
    yield RULE.finding(
        passage,
        f"An idle connection ends after {seconds(limit)}: {_named(first)}{said}.{_others(lasting)}",
        severity=severity,
        place=first.place,
        related=[*(each.place for each in lasting), passage.where],
        fix=_fix(passage, ping, first.place),
    )


def _open_to_others(passage: Passage) -> bool:
    """Whether clients of other machines come to the listener, as far as it says where it listens."""
    return not all(bind.address.startswith(("127.", "::1", "[::1", "localhost")) for bind in passage.listener.binds)


def _of_tunnels(passage: Passage) -> bool:
    """Whether the timer that ends it is written for tunnels, and so for WebSockets, in a config that has others too."""
    timers, borrowed = passage.timers(Timer.IDLE), _BORROWED.get(passage.config.kind)
    return borrowed is not None and any(each.place and each.name not in borrowed for each in timers)


def _written(passage: Passage) -> Iterator[Timeout]:
    """The idle timers that lines of the config set, whether or not they come to fire."""
    written = (each for each in passage.route.timeouts if each.kind is Timer.IDLE and each.place)
    return (each for each in written if not (_of_tunnels(passage) and each.name in _BORROWED[passage.config.kind]))


def _named(timer: Timeout) -> str:
    resets = f", begun anew by {timer.resets_on}" if timer.resets_on else ""
    return f"{timer.name}{'' if timer.place else ', by default'}{resets}"


def _others(lasting: list[Timeout]) -> str:
    names = list(dict.fromkeys(each.name for each in lasting))
    said = "is longer and does not help" if len(names) == 1 else "are longer and do not help"
    return f" {' and '.join(names)} {said}." if names else ""


def _fix(passage: Passage, ping: float | None, place: Line | None) -> str | None:
    above = f" Anything above {seconds(2 * ping)} outlives two pings." if ping else ""
    unit = ""
    if passage.config.kind == "haproxy" and place and place.text.rstrip()[-1:].isdigit():
        unit = " A number without a unit counts milliseconds."
    return f"{_FIX.get(passage.config.kind, 'Write a longer one.')}{unit}{above}"
