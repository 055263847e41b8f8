"""Another route takes the requests of the route that is meant for WebSockets.

Who comes first wins by other rules in each proxy: the order of lines in Apache, Envoy and HAProxy, the length of the
prefix in nginx unless a regular expression matches, the length of the rule in Traefik, in Caddy the order of its
directives, and in a `route` block that of the lines. The route below is right and never asked.

Bad (apache):
    <VirtualHost *:80>
    ProxyPass / http://127.0.0.1:8000/
    ProxyPass /ws ws://127.0.0.1:9000/ws
    </VirtualHost>
Good (apache):
    <VirtualHost *:80>
    ProxyPass /ws ws://127.0.0.1:9000/ws
    ProxyPass / http://127.0.0.1:8000/
    </VirtualHost>
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding, Handling, Prediction
from wsprobe.parts import Message, Severity
from wsprobe.patterns import lazy
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, ENVOY, HAPROXY, NGINX_CORE, TRAEFIK

RULE = ConfigRule(
    __name__,
    {
        "nginx": f"{NGINX_CORE}#location",
        "haproxy": f"{HAPROXY}#4.2-use_backend",
        "envoy": f"{ENVOY}/configuration/http/http_conn_man/route_matching",
        "caddy": "https://caddyserver.com/docs/caddyfile/directives#directive-order",
        "apache": f"{APACHE}/mod_proxy.html#proxypass",
        "traefik": f"{TRAEFIK}/routing/routers/#priority",
    },
)

_FIX = {
    "nginx": "Write `location ^~ … {`, so that no regular expression is tried after it.",
    "haproxy": "Write its use_backend line before the other.",
    "envoy": "Write it before the other route.",
    "caddy": "Use `handle` with the longer path, or write it before the other in a `route` block.",
    "traefik": "Give its router a higher `priority`.",
}


_PREFIX = lazy(r"location\s+(/[^\s{`]*)")
_REDIRECTIONS = range(300, 400)


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where the upgrade that is meant for this route ends on another that does not pass it on, or elsewhere."""
    if intent.level is not Level.SURE or passage.handling is Handling.ANSWERED or not passage.sampled:
        return
    taken = passage.taken_by
    if taken.route is None or taken.place == passage.prediction.place or passage.arrives:
        return
    if _passes(taken.request) and _same_upstream(passage):
        return
    if taken.status in _REDIRECTIONS:
        return  # all clients are sent to the listener where this route is meant to be taken
    lost = "" if _passes(taken.request) else ", which does not pass an upgrade on"
    yield RULE.finding(
        passage,
        f"A request for {passage.route.sample} is taken by {taken.route}{lost}; this route does not get it.",
        severity=Severity.WARNING if _passes(taken.request) else Severity.ERROR,
        place=passage.route.place,
        related=[taken.place],
        fix=_fix(passage),
    )


def _fix(passage: Passage) -> str | None:
    if passage.config.kind == "apache":
        return _for_apache(passage.taken_by)
    fix = _FIX.get(passage.config.kind)
    found = _PREFIX.match(passage.route.place.text) if passage.route.place else None
    return fix.replace("^~ … {", f"^~ {found[1]} {{") if fix and found else fix


def _for_apache(taken: Prediction) -> str:
    """Rules come before any ProxyPass, the last <Location> that matches before all of the server's own lines."""
    if taken.place and taken.place.text.lower().startswith("rewriterule"):
        return "Write `RewriteCond %{HTTP:Upgrade} !=websocket [NC]` before the rule: rules come before any ProxyPass."
    if (taken.route or "").startswith("<"):
        return "Write its ProxyPass in a <Location> behind the other: of those that match the last one wins."
    return "Write its ProxyPass line before the other: the first that matches wins."


def _passes(request: Message | None) -> bool:
    return request is not None and any(name.lower() == "upgrade" for name, _ in request.headers)


def _same_upstream(passage: Passage) -> bool:
    """Whether the route that takes the request leads to where this one does."""
    taken = passage.taken_by.place
    others = (route for route in passage.listener.routes if route.place == taken)
    mine = passage.route.upstream
    return any(other.upstream and mine and other.upstream.addresses == mine.addresses for other in others)
