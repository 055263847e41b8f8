"""Connection names other headers than Upgrade, which the next hop then deletes.

What Connection names is meant for one hop, and who gets it removes those headers (RFC 9110, 7.6.1). A line that lets
the client's Connection through, or that writes a list of its own, has Go's and Apache's proxies behind it delete the
headers named there: with `Connection: Upgrade, Authorization` the token is gone one hop later.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade, authorization";
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

from wsprobe.credentials import is_secret_name
from wsprobe.inspection import ConfigFinding
from wsprobe.lb.expressions import Of
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._made import followed, listed
from wsprobe.rules.config._pages import REQUEST_HEADERS

RULE = ConfigRule(__name__, REQUEST_HEADERS)

_OWN = frozenset({"upgrade", "keep-alive", "close", "te", "trailer", "transfer-encoding", "http2-settings", ""})


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where a line of the config nominates a header, or lets the client do it."""
    written = list(passage.written("Connection"))
    if intent.level is Level.NOT or not written:
        return
    last = written[-1]
    tokens = {token.strip() for value in passage.arrived("Connection") or () for token in value.split(",")}
    named = sorted(token for token in tokens if token.lower() not in _OWN)
    if named:
        grave = any(is_secret_name(token) for token in named)
        yield RULE.finding(
            passage,
            f"Connection names {listed(named)} here: the next hop takes that for a header of this hop alone and "
            "deletes it (RFC 9110, 7.6.1).",
            severity=Severity.ERROR if grave else Severity.WARNING,
            place=last.place,
            header=next((token for token in named if is_secret_name(token)), named[0]),
            fix="Let Connection say upgrade and nothing else.",
        )
    elif any(
        isinstance(part, Of) and part.name.lower() == "connection" for part in followed(passage.steps, last.value)
    ):
        yield RULE.finding(
            passage,
            "Connection of the client is passed on as it came: a header that it names is deleted by the next hop "
            "(RFC 9110, 7.6.1).",
            severity=Severity.NOTE,
            place=last.place,
            header="Connection",
            fix='Write a value of your own, such as `proxy_set_header Connection "upgrade";`.',
        )
