"""A line edits a header of the answer, and the proxy does not apply it to a 101.

Apache's Header, Caddy's header_down and Traefik's customResponseHeaders leave the answer to an upgrade alone. Who
wants to change a subprotocol or to set a cookie on it has to do that in the application.

Bad (apache):
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    Header unset Sec-WebSocket-Protocol
    </VirtualHost>
Good (apache):
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    Header unset X-Powered-By
    </VirtualHost>
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.lb.model import Named
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, CADDY_PROXY, NGINX_CORE, TRAEFIK_HEADERS

RULE = ConfigRule(
    __name__,
    {
        "nginx": NGINX_CORE.replace("core", "headers") + "#add_header",
        "caddy": f"{CADDY_PROXY}#headers",
        "apache": f"{APACHE}/mod_headers.html#header",
        "traefik": TRAEFIK_HEADERS,
    },
)

_OF_THE_UPGRADE = ("sec-websocket-", "upgrade", "connection")


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each edit of a header of the handshake that a 101 does not get; others on a 101 harm nobody."""
    if intent.level is Level.NOT or not passage.passes:
        return
    for edit in passage.route.response:
        names = edit.which.names if isinstance(edit.which, Named) and edit.place and not edit.effective else ()
        for name in names:
            if name.lower().startswith(_OF_THE_UPGRADE):
                yield RULE.finding(
                    passage,
                    f"{name} of the answer is edited here, and the proxy does not do that to a 101: the client gets "
                    "what the upstream sent.",
                    severity=Severity.NOTE,
                    place=edit.place,
                    related=[passage.where],
                    header=name,
                    fix="Delete the line; have the application answer what is wanted.",
                )
