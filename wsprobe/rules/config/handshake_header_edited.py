"""A header of the WebSocket handshake is removed or changed on the way.

Key, Version and Accept carry the handshake itself: without them there is none (RFC 6455, 4.2). Subprotocol and
extensions are agreed between client and server (RFC 6455, 4.1): a browser fails a connection whose subprotocol is not
among those that it offered, and one that offered some and gets none back fails as well.

Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Sec-WebSocket-Protocol "";
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
Bad (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_hide_header Sec-WebSocket-Protocol;
    }
Good (nginx):
    location /ws {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_hide_header X-Powered-By;
    }
"""

from collections.abc import Iterator

from wsprobe.inspection import Change, ConfigFinding, HeaderEdit
from wsprobe.lb.model import Edit, Every, Named
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import REQUEST_HEADERS
from wsprobe.rules.config._upgrade import HANDSHAKE

RULE = ConfigRule(__name__, REQUEST_HEADERS)

_HARM = {
    "sec-websocket-key": "without the client's key the handshake fails",
    "sec-websocket-version": "without its version the handshake fails",
    "sec-websocket-accept": "without the answer to its key the client fails the handshake",
    "sec-websocket-protocol": "a client that offers subprotocols fails when none of them is agreed",
    "sec-websocket-extensions": "compression is not agreed",
}
_ANSWERS = ("Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Upgrade", "Connection")


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each header of the handshake that a line edits, on the request or on the 101."""
    if intent.level is Level.NOT or passage.prediction.request is None:
        return
    upstream = passage.route.upstream
    anew = upstream is not None and upstream.protocol in {"h2", "h2c"}  # HTTP/2 has another handshake (RFC 8441, 5)
    for name in () if anew else HANDSHAKE:
        changed = [change for change in passage.changes(name) if change.place and change.kind is not Change.ADDED]
        if changed and passage.arrived(name) != passage.sent(name) and not _all(passage, changed[-1]):
            yield _found(passage, name, changed[-1].kind is Change.REMOVED, changed[-1], "")
    for edit in passage.route.response:
        names = edit.which.names if isinstance(edit.which, Named) and edit.place and edit.effective else ()
        for name in names:
            if name.lower() in {each.lower() for each in _ANSWERS}:
                yield _found(passage, name, edit.value is None, edit, " on the answer")


def _found(passage: Passage, name: str, removed: bool, by: HeaderEdit | Edit, where: str) -> ConfigFinding:  # noqa: FBT001  a word of the sentence
    lowered = name.lower()
    harm = _HARM.get(lowered, "the client fails the handshake")
    grave = {"sec-websocket-extensions": Severity.NOTE, "sec-websocket-protocol": Severity.WARNING}
    return RULE.finding(
        passage,
        f"{name} is {'removed' if removed else 'changed'}{where}: {harm}.",
        severity=grave.get(lowered, Severity.ERROR),
        place=by.place,
        related=[passage.where],
        header=name,
        fix="Delete the line, or limit it to requests that are no upgrade.",
    )


def _all(passage: Passage, change: HeaderEdit) -> bool:
    """Whether it went with all other headers, which is a fault of its own."""
    cause = passage.cause(change)
    return cause is not None and isinstance(cause.which, Every)
