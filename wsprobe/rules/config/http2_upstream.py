"""The upstream is spoken to in HTTP/2, which has no Upgrade.

HTTP/2 asks for a WebSocket with an extended CONNECT (RFC 8441), and few servers take one: an upstream that speaks
HTTP/1.1 answers 502 through the proxy, one that speaks HTTP/2 without RFC 8441 refuses the stream.

Bad (caddy):
    :8080 {
        reverse_proxy h2c://127.0.0.1:9000
    }
Good (caddy):
    :8080 {
        reverse_proxy 127.0.0.1:9000
    }
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import CADDY_PROXY, ENVOY_UPGRADES, HAPROXY, NGINX_PROXY

RULE = ConfigRule(
    __name__,
    {
        "nginx": f"{NGINX_PROXY}#proxy_http_version",
        "haproxy": f"{HAPROXY}#5.2-ws",
        "envoy": ENVOY_UPGRADES,
        "caddy": f"{CADDY_PROXY}#the-http-transport",
    },
)

_FIX = {
    "nginx": "Write `proxy_http_version 1.1;`.",
    "haproxy": "Write `ws h1` on the server line: upgrades then go out as HTTP/1.1.",
    "envoy": "Write `explicit_http_config: {http_protocol_options: {}}` into the options of the cluster, or lead the "
    "route to a cluster that has it. Where the upstream knows RFC 8441, say so with `http2_protocol_options: "
    "{allow_connect: true}`: Envoy sends the same either way.",
    "caddy": "Write http:// in place of h2c://, or `versions 1.1` in `transport http`.",
}


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where an upgrade would have to travel in HTTP/2."""
    upstream = passage.route.upstream
    if intent.level < Level.LIKELY or upstream is None or upstream.protocol not in {"h2", "h2c"} or upstream.extended:
        return
    yield RULE.finding(
        passage,
        "The upstream is spoken to in HTTP/2: an upgrade arrives as an extended CONNECT (RFC 8441) or not at all, and "
        "a server of HTTP/1.1 never gets it.",
        severity=Severity.ERROR if intent.level is Level.SURE else Severity.WARNING,
        place=upstream.protocol_place,
        related=[upstream.place],
        fix=_FIX.get(passage.config.kind),
    )
