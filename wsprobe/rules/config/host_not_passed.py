"""The upstream gets another Host than the client asked for, and checks of the Origin fail.

A server that compares Origin with Host (a browser sends both) takes a page of its own for a foreign one and answers
403. nginx and Apache send the name of their upstream unless told otherwise, others do so only where a line says it. A
server that reads X-Forwarded-Host does not mind, so a default is told only where that is missing too.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Host backend.internal;
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Host $http_host;
    }
"""

import re
from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.parts import Severity
from wsprobe.patterns import lazy
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, CADDY_PROXY, ENVOY, NGINX_PROXY, REQUEST_HEADERS, TRAEFIK

RULE = ConfigRule(
    __name__,
    {
        **REQUEST_HEADERS,
        "nginx": f"{NGINX_PROXY}#proxy_set_header",
        "envoy": f"{ENVOY}/configuration/http/http_conn_man/headers#host",
        "caddy": f"{CADDY_PROXY}#headers",
        "apache": f"{APACHE}/mod_proxy.html#proxypreservehost",
        "traefik": f"{TRAEFIK}/routing/services/#pass-host-header",
    },
)

_FIX = {
    "nginx": "Write `proxy_set_header Host $http_host;`.",
    "haproxy": "Delete the line, or set X-Forwarded-Host to the client's Host before it.",
    "envoy": "Leave host_rewrite_literal and auto_host_rewrite out, or set append_x_forwarded_host beside them.",
    "caddy": "Write `header_up Host {http.request.hostport}`.",
    "apache": "Write `ProxyPreserveHost On`.",
    "traefik": "Write `passHostHeader: true`, which is the default.",
}
_ADDRESS = lazy(r"[\d.]+(?::\d+)?|\[[0-9a-f:.]+\](?::\d+)?|localhost(?::\d+)?", re.IGNORECASE)


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where Host is another one, and nothing else tells the upstream the client's."""
    if intent.level < Level.LIKELY or not passage.passes:
        return
    host, arrived = passage.sent("Host")[0], passage.arrived("Host")
    if not arrived or not arrived[0] or _same(arrived[0], host):
        return
    changed, told = passage.changes("Host"), _told_elsewhere(passage, host)
    place = changed[-1].place if changed else None
    if place is None and (told or _ADDRESS.fullmatch(arrived[0]) or _lost(passage)):
        return  # the default for an upstream that is written as an address: nothing says that it matters here
    unless = " and does not read X-Forwarded-Host, which has it" if told else ""
    yield RULE.finding(
        passage,
        f"The upstream gets another Host than the client asked for: where it compares Origin with Host{unless}, it "
        "refuses browsers.",
        severity=Severity.WARNING if place and not told else Severity.NOTE,
        place=place,
        related=[passage.where],
        header="Host",
        fix=_FIX.get(passage.config.kind),
    )


def _lost(passage: Passage) -> bool:
    """Whether a line around the route sets Host, and lines of the route have it lost: that is told as such."""
    return any(
        "host" in {name.lower() for name in getattr(each.edit.which, "names", ())} for each in passage.route.lost
    )


def _same(arrived: str, host: str) -> bool:
    return arrived.partition(":")[0].lower() == host.partition(":")[0].lower()


def _told_elsewhere(passage: Passage, host: str) -> bool:
    """Whether another header that servers read instead holds the client's Host."""
    told = [value for name in ("X-Forwarded-Host", "Forwarded") for value in passage.arrived(name) or ()]
    return any(host in value for value in told)
