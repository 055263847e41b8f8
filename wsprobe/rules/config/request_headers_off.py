"""All headers of the request are kept from the upstream, those of the handshake too.

With `proxy_pass_request_headers off` nginx passes on what proxy_set_header writes and nothing else: no
Sec-WebSocket-Key, no Origin, no Cookie, no Authorization. The upstream answers 400, or 1011 where only the key was
written again.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_pass_request_headers off;
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
from wsprobe.lb.model import Every, Op
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._made import listed
from wsprobe.rules.config._pages import NGINX_PROXY, REQUEST_HEADERS

RULE = ConfigRule(__name__, {**REQUEST_HEADERS, "nginx": f"{NGINX_PROXY}#proxy_pass_request_headers"})

_MATTER = ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Origin", "Authorization", "Cookie")


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where a line removes all headers and the upgrade misses some of them."""
    off = [edit for edit in passage.edits if isinstance(edit.which, Every) and edit.op is Op.REMOVE and edit.place]
    missing = [name for name in _MATTER if passage.arrived(name) == []]
    if intent.level is Level.NOT or not off or not missing:
        return
    yield RULE.finding(
        passage,
        f"All headers of the client are kept from the upstream, which misses {listed(missing)}.",
        severity=Severity.ERROR,
        place=off[-1].place,
        related=[passage.where],
        fix="Delete the line; where some headers have to go, remove those by name.",
    )
