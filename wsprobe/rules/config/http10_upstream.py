"""The upgrade goes to the upstream as HTTP/1.0, which knows no upgrades.

RFC 6455, 4.1 asks for HTTP/1.1 or later. nginx before 1.29.7 speaks 1.0 to upstreams unless proxy_http_version says
otherwise. Servers that insist answer 505 or 426; others upgrade all the same, so it may work here and fail there.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.0;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import NGINX_PROXY

RULE = ConfigRule(__name__, {"nginx": f"{NGINX_PROXY}#proxy_http_version"})

_FIX = {
    "nginx": "Write `proxy_http_version 1.1;` beside the proxy_pass.",
    "apache": "Take `SetEnv force-proxy-request-1.0` off this route.",
}


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where an upgrade is passed on in a version that has none."""
    upstream = passage.route.upstream
    if upstream is None or upstream.protocol != "http/1.0":
        return
    if intent.level is Level.NOT or not passage.passes:
        return
    default = upstream.protocol_place is None
    version = f" That is the default of nginx < 1.29.7; {passage.config.version} was assumed."
    unless = " unless the file that includes this one says otherwise" if passage.included else ""
    yield RULE.finding(
        passage,
        f"The upgrade goes out as HTTP/1.0{unless}: servers that insist on 1.1 answer 505 or 426 (RFC 6455, 4.1)."
        + (version if default and passage.config.assumed else ""),
        severity=Severity.WARNING if unless else Severity.ERROR,
        place=upstream.protocol_place,
        related=[upstream.place],
        fix=_FIX.get(passage.config.kind),
    )
