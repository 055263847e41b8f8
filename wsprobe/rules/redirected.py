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
from wsprobe.judging import Rule, again, answer_place, answers, origin_places
from wsprobe.model import Finding
from wsprobe.path import Path

RULE = Rule(__name__, needs=answers, rank=50)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def check(answer: tuple[Path, int]) -> Iterator[Finding]:
    """One finding per redirection."""
    path, code = answer
    where, location = path.where_answered(code), target(path, code)
    if where is None or location is None:
        return
    yield RULE.finding(
        f"The upgrade was answered with {code} and sent to {location[:300]}; the answer came from {where.words}.",
        *origin_places(path, where, answer_place),
        segment=where.segment,
        header="Location",
        fix="Connect to the final URL; if that is a login page, the edge wants other credentials than were sent.",
        next_=(again(path, "--location"),) if path.client else (),
    )


def target(path: Path, code: int) -> str | None:
    """Where a redirection sends the client to, None where the answer is none (RFC 9110, 15.4)."""
    response = path.outermost.response if code in _REDIRECTS else None
    return next(iter(values(response.headers, "location")), None) if response else None
