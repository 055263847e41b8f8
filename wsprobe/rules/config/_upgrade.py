"""The upgrade that rules carry over each route, and the way that is opened for it."""

from dataclasses import replace
from typing import TypeVar

from wsprobe.frozen import dataclass
from wsprobe.lb.model import Answer, Gate, Listener, Route, Stall, Step
from wsprobe.lb.request import Request, upgrade
from wsprobe.parts import Header, Line

HOST = "app.example.com"

CARRIED: tuple[Header, ...] = (
    ("Origin", f"https://{HOST}"),
    ("Authorization", "Bearer canary-of-authorization"),
    ("Cookie", "session=canary-of-cookie"),
    ("X-Api-Key", "canary-of-api-key"),
    ("X-Auth-Token", "canary-of-auth-token"),
    ("Sec-WebSocket-Protocol", "chat"),
    ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ("X-Request-Id", "canary-of-request-id"),
    ("X-Wsprobe-Canary", "canary"),
)
"""What the upgrade carries beside what every upgrade does."""

HANDSHAKE = ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")

ONLY_UPGRADES = frozenset({"upgrade", "connection", *(name.lower() for name in HANDSHAKE)})
"""What only a request for an upgrade has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user told beside the configs.

    `ping` is the interval of pings in seconds, `token` how many octets the largest credential has, `headers` are names
    of headers that clients send, `paths` request targets that are known to be asked for a WebSocket, `at` the request
    for one whose host is known too.
    """

    ping: float | None = None
    token: int | None = None
    headers: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    at: Request | None = None


def asking(listener: Listener, route: Route, asked: Asked) -> Request:
    """The upgrade of a client that was sent to a route."""
    given = {"host", *ONLY_UPGRADES, *(name.lower() for name, _ in CARRIED)}
    more = tuple((name, "canary") for name in asked.headers if name.lower() not in given)
    target = route.sample if route.sample.startswith("/") else "/"  # a named location is no target
    made = upgrade(target, route.sample_host or HOST, (*CARRIED, *more))
    bind = next((bind for bind in sorted(listener.binds, key=lambda bind: not bind.tls)), None)
    scheme = None if bind is None else "https" if bind.tls else "http"
    return replace(made, scheme=scheme, port=bind.port if bind else None)


_Way = TypeVar("_Way", Listener, Route)


def opened(way: _Way, *, holding: bool = False) -> _Way:
    """A listener or a route without size limits, authentications and the answers that they give.

    What holds a request back for ever stays where `holding`.
    """
    gates = {step.place for step in way.steps if isinstance(step, Gate) and step.place}
    if not way.limits and not any(isinstance(step, Gate | Stall) for step in way.steps):
        return way
    return replace(way, steps=tuple(step for step in way.steps if not _shuts(step, gates, holding=holding)), limits=())


def _shuts(step: Step, gates: set[Line], *, holding: bool) -> bool:
    match step:
        case Gate():
            return True
        case Answer():
            return step.place in gates
        case Stall():
            return not holding
    return False
