"""An authentication on the way reads Authorization in another scheme, and refuses a client with a token.

Basic authentication of the proxy and a bearer token of the application want the same header, which has one value
(RFC 9110, 11.6.2): a client that sends `Authorization: Bearer …` is answered 401 by the proxy, and one that sends
Basic has no place left for its token.

Bad (nginx):
    location /ws {
        auth_basic "staff";
        auth_basic_user_file /etc/nginx/htpasswd;
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
Good (nginx):
    location /ws {
        auth_request /verify;
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
    location = /verify {
        internal;
        proxy_pass http://127.0.0.1:9001;
    }
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.lb.model import Gate
from wsprobe.lb.predict import carry
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, HAPROXY, TRAEFIK

RULE = ConfigRule(
    __name__,
    {
        "nginx": "https://nginx.org/en/docs/http/ngx_http_auth_basic_module.html",
        "haproxy": f"{HAPROXY}#4.2-http-request%20auth",
        "caddy": "https://caddyserver.com/docs/caddyfile/directives/basic_auth",
        "apache": f"{APACHE}/mod_auth_basic.html",
        "traefik": f"{TRAEFIK}/middlewares/http/basicauth/",
    },
)


_REFUSALS = frozenset({401, 403, 407})


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where a bearer token is refused for its scheme."""
    gates = [gate for gate in passage.gates if gate.header.lower() == "authorization"]
    if intent.level is Level.NOT or not gates or passage.prediction.request is None:
        return
    for gate in gates:
        if _refuses(passage, gate):
            yield RULE.finding(
                passage,
                f"{gate.kind} wants another scheme in Authorization: a client with a bearer token is answered "
                f"{gate.status}, and one with {gate.kind} cannot send its token in that header.",
                severity=Severity.WARNING,
                place=gate.place,
                related=[passage.where],
                header="Authorization",
                fix="Have the WebSocket's route ask a service that knows the token, or let clients carry the token in "
                "another header beside these credentials.",
            )


def _refuses(passage: Passage, gate: Gate) -> bool:
    found = carry(passage.config, passage.listener, passage.route, passage.request)
    return found.request is None and found.status in _REFUSALS and found.place == gate.place
