"""An upgrade on this route does not reach the upstream as one.

Upgrade and Connection are meant for one hop (RFC 9110, 7.6.1), so a proxy passes them on only if it is built for that
or told to. nginx and Apache drop them by default, and the upstream sees a plain request; Envoy answers 403 unless
upgrade_configs names websocket; HAProxy, Caddy and Traefik pass an upgrade on unless a line removes it.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
Bad (apache):
    <VirtualHost *:80>
    ProxyPass /ws http://127.0.0.1:9000/ws
    </VirtualHost>
Good (apache):
    <VirtualHost *:80>
    ProxyPass /ws http://127.0.0.1:9000/ws upgrade=websocket
    </VirtualHost>
Bad (haproxy):
    defaults
      mode http
    backend ws
      http-request del-header Upgrade
      server s1 127.0.0.1:9000
    frontend fe
      bind :8080
      default_backend ws
Good (haproxy):
    defaults
      mode http
    backend ws
      server s1 127.0.0.1:9000
    frontend fe
      bind :8080
      default_backend ws
"""

import re
from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding, Handling
from wsprobe.lb.expressions import ALWAYS
from wsprobe.lb.model import Answer, Spoil
from wsprobe.parts import Line, Severity
from wsprobe.patterns import lazy
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, CADDY_PROXY, ENVOY_UPGRADES, HAPROXY, NGINX_WEBSOCKET, TRAEFIK

RULE = ConfigRule(
    __name__,
    {
        "nginx": NGINX_WEBSOCKET,
        "haproxy": f"{HAPROXY}#4.2-http-request",
        "envoy": ENVOY_UPGRADES,
        "caddy": CADDY_PROXY,
        "apache": f"{APACHE}/mod_proxy.html#protoupgrade",
        "traefik": f"{TRAEFIK}/user-guides/websocket/",
    },
)

_FIX = {
    "nginx": (
        "Write `proxy_http_version 1.1;`, `proxy_set_header Upgrade $http_upgrade;` and "
        '`proxy_set_header Connection "upgrade";` beside the proxy_pass.'
    ),
    "apache": (
        "Append `upgrade=websocket` to the ProxyPass line (httpd 2.4.47 or later), or lead it to ws:// instead of "
        "http:// with mod_proxy_wstunnel."
    ),
    "envoy": (
        "Write `upgrade_configs: [{upgrade_type: websocket}]` into the HttpConnectionManager, or into the route where "
        "only this one is meant."
    ),
}
_WEBSOCKET_URL = lazy(r"\bws(s?)://([^\s\"'`,}]+)", re.IGNORECASE)
_SWITCHED_ON = "Write `enabled: true` here, or delete the field: that is its default."
_LIMIT = "Delete the line, or limit it to requests without Upgrade."
_SETS = ("proxy_set_header", "RequestHeader")


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where the upgrade is dropped or refused on a route that is meant for it."""
    if intent.level < Level.LIKELY or _http2(passage) or not passage.arrives:
        return
    match passage.handling:
        case Handling.DROPPED if not any(_about_upgrade(lost.edit.which) for lost in passage.route.lost):
            yield from _dropped(passage, intent)
        case Handling.REFUSED if (answer := passage.ended_by) and passage.plain.request:
            yield RULE.finding(
                passage,
                f"An upgrade is answered with {answer.status or 'an error'} and does not reach the upstream "
                f"({intent.why}).",
                severity=_severity(intent),
                place=answer.place,
                header="Upgrade",
                fix=_let_through(passage, answer),
            )
        case Handling.REFUSED if (answer := passage.ended_by) and _never_reaches(passage, answer):
            yield RULE.finding(
                passage,
                f"Nothing that comes here reaches the upstream, an upgrade as little: {answer.why}.",
                severity=Severity.ERROR,
                place=answer.place,
                header="Upgrade",
                fix=_never_fix(passage),
            )
        case Handling.PASSED if spoil := _spoilt(passage):
            yield RULE.finding(
                passage,
                f"The 101 of the upstream does not reach the client, which gets {spoil.status or 'an error'}: "
                f"{spoil.why}.",
                severity=Severity.ERROR,
                place=spoil.place,
                header="Upgrade",
                fix=_LIMIT,
            )
        case Handling.ANSWERED if headers := _set_for_nobody(passage):
            yield RULE.finding(
                passage,
                "Headers for an upstream are set here, and no line leads to one: the proxy answers by itself.",
                severity=Severity.ERROR,
                place=passage.route.place,
                related=[headers],
                header="Upgrade",
                fix="Write the line that leads to the upstream, such as `proxy_pass http://127.0.0.1:8080;`.",
            )


def _let_through(passage: Passage, answer: Answer) -> str | None:
    """The fix of an answer to an upgrade: by the line that gives it, else by what the proxy lacks."""
    if _switched_off(answer):
        return _SWITCHED_ON
    if answer.place and passage.config.kind != "envoy":
        return _LIMIT
    return _FIX.get(passage.config.kind)


def _dropped(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    by = passage.lost_by("Upgrade")
    place = by.place if by else None
    if place is None and passage.arrived("Connection") == [] and (other := passage.lost_by("Connection")):
        place = other.place  # without Connection some proxies take it for a plain request
    if place:
        said = "This line keeps the upgrade from the upstream, which sees a plain request."
        fix = _LIMIT
    else:
        said = f"Upgrade is not passed on, so the upstream sees a plain request ({intent.why})."
        fix = _fix(passage)
    yield RULE.finding(passage, said, severity=_severity(intent), place=place, header="Upgrade", fix=fix)


def _fix(passage: Passage) -> str:
    """The fix text of the proxy; of Apache's by what leads to the upstream."""
    text = passage.route.place.text
    if passage.config.kind == "apache" and "balancer://" in text:
        return (
            "Append `upgrade=websocket` to each BalancerMember line of the balancer (httpd 2.4.47 or later); ProxyPass "
            "does not take it for one."
        )
    if passage.config.kind == "apache" and text.lower().startswith("rewriterule"):
        return (
            "Write `ws://` instead of `http://` in the rule (before httpd 2.4.47 mod_proxy_wstunnel has to be loaded)."
        )
    return _FIX.get(passage.config.kind, "")


def _http2(passage: Passage) -> bool:
    """Whether the upstream is spoken to in HTTP/2, which is a fault of its own."""
    return passage.route.upstream is not None and passage.route.upstream.protocol in {"h2", "h2c"}


def _set_for_nobody(passage: Passage) -> Line | None:
    """The line that sets a header of the request on a route that leads to no upstream."""
    answer = passage.ended_by
    written = (answer.place if answer else None, *(edit.place for edit in passage.edits))
    return next((line for line in written if line and line.text.startswith(_SETS)), None)


def _never_reaches(passage: Passage, answer: Answer) -> bool:
    """Whether the route leads to an upstream, and the proxy fails on every request before it comes there."""
    upstream = passage.route.upstream
    fails = answer.when == ALWAYS and (answer.status or 0) >= 500
    return fails and upstream is not None and answer.place in {None, upstream.place}


def _never_fix(passage: Passage) -> str | None:
    if passage.config.kind == "apache":
        return "Write `SSLProxyEngine on` in the virtual host."
    upstream = passage.route.upstream
    found = _WEBSOCKET_URL.search(upstream.place.text) if upstream and upstream.place else None
    return f"Write `http{found[1]}://{found[2]}`." if found else None


def _switched_off(answer: Answer) -> bool:
    """Whether a line of Envoy's says that upgrades are not enabled."""
    return answer.place is not None and "enabled" in answer.place.text.lower()


def _spoilt(passage: Passage) -> Spoil | None:
    """What keeps the answer to an upgrade that was passed on from the client."""
    found = passage.prediction
    spoils = (step for step in passage.steps if isinstance(step, Spoil))
    return next((step for step in spoils if found.status is not None and step.why == found.why), None)


def _severity(intent: Intent) -> Severity:
    return Severity.ERROR if intent.level is Level.SURE or intent.alone else Severity.NOTE


def _about_upgrade(which: object) -> bool:
    return "upgrade" in {name.lower() for name in getattr(which, "names", ())}
