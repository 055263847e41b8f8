"""The upgrade was answered with a redirection. WebSocket clients do not follow it (RFC 6455, 4.1, leaves it open).

Plain http that is sent to https, a path without its slash, a login page: HTTP clients follow and work, WebSocket
clients fail; one that follows drops Authorization when the origin changes.

Bad:
    ws://app.example/ws   ->  301 https://app.example/ws
Good:
    wss://app.example/ws
"""

from collections.abc import Iterator

from wsprobe.heads import values
from wsprobe.model import Finding
from wsprobe.path import Path
from wsprobe.rules import Rule, answer_place, answers
from wsprobe.wording import stretch

RULE = Rule(__name__, needs=answers, rank=50)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def check(answer: tuple[Path, int]) -> Iterator[Finding]:
    """One finding per redirection."""
    path, code = answer
    where = path.where_answered(code)
    if code not in _REDIRECTS or where is None or not path.asks_for_websocket:
        return
    response = path.outermost.response
    location = next(iter(values(response.headers, "location") if response else []), "nowhere")
    yield RULE.finding(
        f"The upgrade was answered with {code} and sent to {location[:300]}; the answer came from "
        f"{'the application at ' + where.hop.name if where.in_application else stretch(where.segment)}.",
        *(answer_place(hop) for hop in path.hops if hop.response),
        segment=where.segment,
        header="Location",
        fix="Connect to the final URL; if that is a login page, the edge wants other credentials than were sent.",
        next_=("wsprobe trace URL --location   # follow, without credentials on another host",),
    )
