"""Upgrade is passed on, but Connection does not say upgrade.

An upgrade needs both headers (RFC 6455, 4.2.1; RFC 9110, 7.8): Connection has to name upgrade. nginx sends
`Connection: close` (or none from 1.29.7 on) unless a line sets it, and a line copied from a recipe for keep-alive to
the upstream empties it. Lenient servers upgrade all the same, strict ones answer 400 or 426.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "";
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
from wsprobe.rules.config._pages import NGINX_WEBSOCKET, REQUEST_HEADERS

RULE = ConfigRule(__name__, {**REQUEST_HEADERS, "nginx": NGINX_WEBSOCKET})

_FIX = {
    "nginx": (
        'Write `proxy_set_header Connection "upgrade";`, or, where plain requests take this route too, '
        '`map $http_upgrade $connection_upgrade { default upgrade; "" close; }` beside the server and '
        "`proxy_set_header Connection $connection_upgrade;` here."
    )
}
_TOLD = frozenset({"close", "keep-alive"})


def _says_upgrade(value: str | None) -> bool:
    return "upgrade" in (value or "").lower()


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where the upstream gets Upgrade without a Connection that names it."""
    if intent.level is Level.NOT or not passage.passes:
        return
    values = passage.arrived("Connection")
    if values is None or any("upgrade" in value.lower() for value in values):
        return
    said = " and ".join(f"says {value.lower()}" for value in values if value.lower() in _TOLD)
    told = "is missing" if not values else said or "does not say upgrade"
    changes = [change for change in passage.changes("Connection") if change.place]
    # What was written before the line that takes the token out, and after it, is not to blame.
    guilty = [change for change in changes if _says_upgrade(change.before) and not _says_upgrade(change.after)]
    written = [change.place for change in guilty or changes]
    lost = [lost for lost in passage.route.lost if "connection" in str(getattr(lost.edit.which, "names", "")).lower()]
    yield RULE.finding(
        passage,
        f"Upgrade is passed on, but Connection {told}: servers that insist on it answer 400 or 426.",
        severity=Severity.ERROR,
        place=written[-1] if written else None,
        related=[*(edit.place for edit in passage.written("Upgrade")), *(each.edit.place for each in lost)],
        header="Connection",
        fix=_FIX.get(passage.config.kind, "Delete the line, or limit it to requests without Upgrade."),
    )
