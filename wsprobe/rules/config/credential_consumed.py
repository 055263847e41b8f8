"""An authentication on the way takes the token, so that the upstream does not get it.

The proxy checks the token and does not pass it on: Envoy's jwt_authn removes it unless `forward: true`, a forward-auth
that copies Authorization from the answer of its service deletes it where the answer has none. The check succeeds, the
upgrade is passed on, and the application misses the token: 401, or a close right after the 101.

Bad (caddy):
    :8080 {
        forward_auth 127.0.0.1:9091 {
            uri /verify
            copy_headers Authorization
        }
        reverse_proxy 127.0.0.1:9000
    }
Good (caddy):
    :8080 {
        forward_auth 127.0.0.1:9091 {
            uri /verify
            copy_headers Remote-User
        }
        reverse_proxy 127.0.0.1:9000
    }
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.lb.model import Effect, Gate
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._credentials import consumed, severity, taking
from wsprobe.rules.config._pages import APACHE, ENVOY, NGINX_PROXY, TRAEFIK
from wsprobe.rules.config._passage import credentials

RULE = ConfigRule(
    __name__,
    {
        "nginx": f"{NGINX_PROXY}#proxy_set_header",
        "envoy": f"{ENVOY}/configuration/http/http_filters/jwt_authn_filter",
        "caddy": "https://caddyserver.com/docs/caddyfile/directives/forward_auth",
        "apache": f"{APACHE}/mod_auth_basic.html",
        "traefik": f"{TRAEFIK}/middlewares/http/forwardauth/",
    },
)

_PAGES = {
    "oauth2": f"{ENVOY}/configuration/http/http_filters/oauth2_filter",
    "ext_authz": f"{ENVOY}/configuration/http/http_filters/ext_authz_filter",
    "api_key_auth": f"{ENVOY}/configuration/http/http_filters/api_key_auth_filter",
    "basicAuth": f"{TRAEFIK}/middlewares/http/basicauth/",
    "digestAuth": f"{TRAEFIK}/middlewares/http/digestauth/",
}
"""The pages of authentications other than the one that stands for the proxy."""

_FIX = {
    "jwt_authn": "Write `forward: true` into the provider.",
    "oauth2": "Write `forward_bearer_token: false` where the application checks the client's own token.",
    "forward_auth": "Leave Authorization out of copy_headers, or make the service answer with it.",
    "forwardAuth": "Leave Authorization out of authResponseHeaders, or make the service answer with it.",
    "basicAuth": "Write `removeHeader: false`, or let the client authenticate by another header.",
    "digestAuth": "Write `removeHeader: false`, or let the client authenticate by another header.",
    "auth_request": "Write `proxy_set_header Authorization $http_authorization;`, or make the service answer with it.",
}


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each credential that an authentication consumes or replaces."""
    if intent.level is Level.NOT:
        return
    for name in credentials(passage):
        gate = consumed(passage, name)
        if gate and (gate.place or passage.arrived(name) != passage.sent(name)):
            yield _taken(passage, intent, name, gate)


def _taken(passage: Passage, intent: Intent, name: str, gate: Gate) -> ConfigFinding:
    gone = passage.arrived(name) == []
    edit = taking(passage, name, gate)
    after = edit.place if edit else None
    if gate.effect is Effect.REPLACES:
        said = (
            f"{gate.kind} puts what its service answers in place of {name}; without one there, the upstream gets none."
        )
    else:
        said = f"{gate.kind} checks {name} and does not pass it on: the upstream gets none."
    return RULE.finding(
        passage,
        said,
        severity=severity(intent, name) if gone or gate.effect is Effect.CONSUMES else Severity.WARNING,
        place=after or gate.place,
        related=[gate.place, passage.where],
        header=name,
        fix=_FIX.get(gate.kind, f"Make it pass {name} on."),
        url=_PAGES.get(gate.kind),
    )
