"""Which extra request separates the explanations that are left. Pure: a trace with its trials in, the next ask out.

Who runs a control is `net/`; what came of it stands in the trace as a trial, so that a saved trace is judged again
with the same result. An ask never says a secret: it says what to do with those of the main request.
"""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

from wsprobe.frozen import dataclass
from wsprobe.heads import values
from wsprobe.model import Control, Trace, Trial, Weighing
from wsprobe.path import Path, code_of
from wsprobe.trials import (
    AFTER,
    AGAIN,
    BROKEN,
    CANARY,
    CARRIED,
    HOST,
    HTTP2,
    NO_ORIGIN,
    NONE,
    ONCE_MORE,
    ORIGIN,
    PLAIN,
    PLAIN_NONE,
    STRAIGHT,
    Elimination,
    Outcome,
    elimination,
    has_credentials,
    in_words,
    outcome,
    why_stopped,
)

CANARY_HEADER = "X-Wsprobe-Canary"

_ORIGIN_MATTERS = frozenset({Outcome(403), Outcome(101, "1008"), Outcome(101, "3003"), Outcome(101, "4403")})
_HOST_MATTERS = frozenset({400, 403, 404, 421})


class Mode(StrEnum):
    """When controls are made: on an unhealthy connection, on each, on none, or also those that can raise an alarm."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
    AUTH = "auth"


class Credentials(StrEnum):
    """What becomes of the credentials of the main request."""

    KEPT = "kept"
    NONE = "none"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One control. `plain` is an ordinary GET; `path` and `url` are in place of those of the main request.

    `headers` replace those of the same name, and `without` are left out. `carrier` is where the bearer token is put in
    place of Authorization: cookie:NAME, query:NAME or subprotocol. `http2` asks by extended CONNECT (RFC 8441). What is
    `spare` is left out first where not all can be made.
    """

    name: str
    plain: bool = False
    credentials: Credentials = Credentials.KEPT
    path: str | None = None
    url: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    carrier: str | None = None
    http2: bool = False
    spare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the user lets controls do: at most so many, plain HTTP on another `path` too, the origin by its own URL.

    `carriers` are other places for the token, `canary` a header value that recorders are looked at for, and `host` the
    name in the URL without its port, where it has one; `http2` says that the way may be asked for HTTP/2.
    """

    mode: Mode = Mode.AUTO
    most: int = 8
    path: str | None = None
    bypass: str | None = None
    origins: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    canary: str | None = None
    host: str | None = None
    http2: bool = False


def wanted(path: Path, allowed: Allowed) -> bool:
    """Whether controls are made at all beside this connection."""
    if allowed.mode is Mode.NEVER or path.client is None or path.client.request is None:
        return False
    return allowed.mode is not Mode.AUTO or not path.healthy


def next_ask(trace: Trace, allowed: Allowed) -> Ask | None:
    """The next control that is worth its connection, None where none is."""
    path = Path(trace)
    if not wanted(path, allowed) or len(trace.trials) >= allowed.most or why_stopped(trace):
        return None
    made = {trial.name for trial in trace.trials}
    return next((ask for ask in _fitting(path, allowed) if ask.name not in made), None)


def _fitting(path: Path, allowed: Allowed) -> list[Ask]:
    """What is worth asking, as far as it can all be made: the last of what can be spared is left out first."""
    asks = list(worth_asking(path, allowed))
    spare = [ask for ask in reversed(asks) if ask.spare][: max(0, len(asks) - allowed.most)]
    return [ask for ask in asks if ask not in spare]


def left_out(trace: Trace, allowed: Allowed) -> str | None:
    """Which controls were worth their connection and not made, since the most that may be made were; else None."""
    path = Path(trace)
    if not wanted(path, allowed) or why_stopped(trace):
        return None
    made = {trial.name for trial in trace.trials}
    missing = [ask.name for ask in worth_asking(path, allowed) if ask.name not in made]
    return f"--max-controls {allowed.most} is reached; not made: {', '.join(missing)}" if missing else None


def worth_asking(path: Path, allowed: Allowed) -> Iterator[Ask]:
    """All controls that this connection calls for, the cheapest and most telling first, the alarming ones last.

    Whether the main upgrade comes to the same result twice is asked before anything is compared with it.
    """
    if path.outermost.response is None:
        return
    compared = tuple(_compared(path, allowed))
    if not compared:
        return
    yield Ask(name=AGAIN)
    yield from compared
    found = elimination(path)
    helped = _first_of_each(found)
    blameless = found.varied is not None and found.varied[0] != HTTP2
    alarming = allowed.mode is Mode.AUTH and has_credentials(path.outermost) and not blameless
    if alarming:
        yield Ask(name=NONE, credentials=Credentials.NONE)
        yield Ask(name=BROKEN, credentials=Credentials.BROKEN)
    yield from (replace(ask, name=f"{ask.name}{ONCE_MORE}", spare=False) for ask in compared if ask.name in helped)
    if alarming or helped:
        yield Ask(name=AFTER)


def _first_of_each(found: Elimination) -> set[str]:
    """What helped and is worth a second try, which tells it from chance."""
    first = [one[0] for one in (found.varied, found.carrier) if one]
    return {*first, *([STRAIGHT] if found.well_straight else [])}


def _compared(path: Path, allowed: Allowed) -> Iterator[Ask]:
    credentials = has_credentials(path.outermost)
    if credentials:
        yield Ask(name=PLAIN, plain=True)
        yield Ask(name=PLAIN_NONE, plain=True, credentials=Credentials.NONE)
    if credentials and allowed.path:
        yield Ask(name=f"{PLAIN} on {allowed.path}", plain=True, path=allowed.path)
        yield Ask(name=f"{PLAIN_NONE} on {allowed.path}", plain=True, path=allowed.path, credentials=Credentials.NONE)
    if allowed.bypass:
        yield Ask(name=STRAIGHT, url=allowed.bypass)
    if credentials:
        yield from (Ask(name=f"{CARRIED} {_where(carrier)} instead", carrier=carrier) for carrier in allowed.carriers)
    if allowed.canary:
        yield Ask(name=CANARY, headers=((CANARY_HEADER, allowed.canary),), spare=True)
    if allowed.host and code_of(path.outermost) in _HOST_MATTERS:
        yield Ask(name=f"{HOST} {allowed.host}", headers=(("Host", allowed.host),), spare=True)
    if allowed.http2:
        yield Ask(name=HTTP2, http2=True, spare=True)
    if outcome(path.outermost) in _ORIGIN_MATTERS:
        yield from _origins(path, allowed)


def _where(carrier: str) -> str:
    kind, _, name = carrier.partition(":")
    return f"{'query parameter' if kind == 'query' else kind} {name}".strip()


def _origins(path: Path, allowed: Allowed) -> Iterator[Ask]:
    """A refusal may be about the Origin: what a page of the same host would send, and none at all."""
    request = path.outermost.request
    sent = values(request.headers, "origin") if request else []
    for origin in allowed.origins:
        if sent != [origin]:
            yield Ask(name=f"{ORIGIN} {origin}", headers=(("Origin", origin),))
    if sent:
        yield Ask(name=NO_ORIGIN, without=("Origin",))


# What came of them.


def told(trace: Trace) -> tuple[Control, ...]:
    """Each control with its result, what they rule out together, and why there are no more."""
    found = [Control(name=trial.name, result=f"{in_words(trial.hops[0])}{_canary(trial)}") for trial in trace.trials]
    if trace.trials:
        found += _together(trace)
    found += [Control(name=_weighed(one), result=_weight(one)) for one in trace.weighings]
    stopped = why_stopped(trace) or trace.stopped
    return (*found, *([Control(name="no more controls", result=stopped)] if stopped else []))


def _canary(trial: Trial) -> str:
    """Where the canary was seen: what arrives beside the credential that does not."""
    if trial.name != CANARY or len(trial.hops) == 1:
        return ""
    saw = {hop.name: values(hop.request.headers, CANARY_HEADER) for hop in trial.hops[1:] if hop.request}
    arrived, lost = [name for name, found in saw.items() if found], [name for name, found in saw.items() if not found]
    said = [f"the canary arrived at {', '.join(arrived)}"] if arrived else []
    return "; " + ", and ".join([*said, *([f"not at {', '.join(lost)}"] if lost else [])])


def _weighed(one: Weighing) -> str:
    if not one.header:
        return f"how large a head may be, {one.tries} requests"
    return f"{one.header} weighed {'over plain HTTP' if one.plain else 'on upgrades'}, {one.tries} requests"


def _weight(one: Weighing) -> str:
    if one.why:
        return f"not told: {one.why}"
    if not one.header:
        return f"with {one.edge} octets of filler it passes, with {one.straw} more it is refused ({one.refusal})"
    tips = "tips the scale as well" if one.arrived else "does not"
    return f"at {one.edge} {one.unit} of filler a canary of its size is refused ({one.refusal}), and it {tips}"


def _together(trace: Trace) -> Iterator[Control]:
    """The lines of the elimination table that apply, as far as the trials are evidence."""
    found = elimination(Path(trace))
    if why_stopped(trace) is None and found.checked and found.differs(found.none):
        yield Control(
            name="together",
            result="on the upgrade the credentials make a difference: they reached whoever answered, so they were not "
            "lost before that point, and no more than that is shown",
        )
    for plain in found.plain:
        good, none = in_words(plain.good), in_words(plain.none)
        if outcome(plain.good) == outcome(plain.none):
            said = f"{plain.name} answered {good} with and without credentials: it tells nothing of them"
            yield Control(name="together", result=said)
        elif not plain.tells:
            said = f"{plain.name} answered {good} with the credentials and {none} without: that does not show that it "
            yield Control(name="together", result=f"{said}takes them")
