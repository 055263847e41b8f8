"""Controls as they were made: what came of each, whether they are evidence at all, and what they leave open.

An outcome is compared and never guessed from: two exchanges are equal where a client could not tell their answers and
ends apart. A server that answers differently at each try makes every comparison worthless, and that is said.
"""

from dataclasses import dataclass

from wsprobe.durations import seconds
from wsprobe.ends import first_close
from wsprobe.heads import values
from wsprobe.model import Ending, Observation, Sender, Trace, Trial
from wsprobe.path import SWITCHING, Path, code_of
from wsprobe.wording import code as close_code

AGAIN = "the same upgrade again"
PLAIN, PLAIN_NONE = "the same credentials over plain HTTP", "plain HTTP without credentials"
NONE, BROKEN = "an upgrade without credentials", "an upgrade with a broken token"
AFTER = "the same upgrade after these"
HTTP2 = "the same upgrade over HTTP/2"
CANARY = "the same upgrade with a canary header"

_TOO_MANY, _UNAVAILABLE = 429, 503
_CONNECTING = frozenset({"dns", "tcp", "tls", "proxy"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """Equal where a client could not tell two exchanges apart by answer and end; times and reasons do not count.

    `status` is that of the final response, None without one. `end` is how the far side ended an upgraded connection:
    its close code, `eof`, `reset`, or nothing where it stayed open.
    """

    status: int | None
    end: str = ""


def outcome(hop: Observation) -> Outcome:
    """What came of an exchange at the hop that saw it."""
    status = _switched(hop)
    if status != SWITCHING:
        return Outcome(status, "" if status else hop.failure.kind if hop.failure else "no answer")
    close = first_close(hop)
    if close is None or close.sender is not Sender.SERVER:
        return Outcome(status)
    return Outcome(status, str(close.code) if close.ending is Ending.FRAME else close.ending.value)


def _switched(hop: Observation) -> int | None:
    """The status; over HTTP/2 a 2xx that answers CONNECT is what a 101 is over HTTP/1.1 (RFC 8441, 5)."""
    status = code_of(hop)
    connects = hop.request is not None and hop.request.start_line.startswith("CONNECT ")
    return SWITCHING if connects and status is not None and 200 <= status < 300 else status


def in_words(hop: Observation) -> str:
    """The same for people: `101, then closed with 1011 (internal error)`."""
    status, close = _switched(hop), first_close(hop)
    if status is None:
        return hop.failure.message if hop.failure else "no answer"
    if status != SWITCHING:
        return str(status)
    if close is None or close.sender is not Sender.SERVER:
        return "101, and it stayed open"
    if close.ending is Ending.FRAME:
        return f"101, then closed with {close_code(close)}"
    return f"101, then ended without a close frame ({close.ending}) after {seconds(close.at)}"


def why_stopped(trace: Trace) -> str | None:
    """Why no further control would tell anything, or may be made; None where nothing speaks against it."""
    return next((why for one in trace.trials if (why := _stopped_by(one, trace.hops[0]))), None)


def _stopped_by(one: Trial, main: Observation) -> str | None:
    hop = one.hops[0]
    code = code_of(hop)
    if code == _TOO_MANY or (code == _UNAVAILABLE and hop.response and values(hop.response.headers, "retry-after")):
        return f"the server asks for a pause: {one.name} was answered with {code}"
    connecting = hop.failure is not None and hop.failure.phase in _CONNECTING and one.name != HTTP2
    if code is None and connecting and hop.failure and not main.failure:
        return f"the server took no more connections: {one.name}: {hop.failure.message}"
    if one.name in {AGAIN, AFTER} and outcome(hop) != outcome(main):
        return _CHANGED[one.name].format(now=in_words(hop), first=in_words(main))
    return None


_CHANGED = {
    AGAIN: "the same upgrade came to another result at its second try ({now}; at first {first}): a server that has to "
    "warm up or takes one connection only looks like that, and so does a fault that comes and goes",
    AFTER: "after the tries without good credentials the same upgrade came to another result ({now}; at first "
    "{first}): the server may have banned this client, and what came before it is no evidence",
}


@dataclass(frozen=True, slots=True)
class Elimination:
    """The main upgrade beside its controls with other credentials; None for a control that was not made.

    `plain` and `plain_none` are pairs of plain HTTP exchanges on one path, with the credentials and without.
    """

    path: Path
    good: Observation
    none: Observation | None
    broken: Observation | None
    plain: tuple[tuple[Observation, Observation], ...]

    @property
    def plain_tells(self) -> bool:
        """Whether plain HTTP shows that the credentials are good for something: it differs without them."""
        return any(outcome(good) != outcome(none) and (code_of(good) or 999) < 400 for good, none in self.plain)


def elimination(path: Path) -> Elimination:
    """What the trials of a path compare."""
    made = {one.name: one.hops[0] for one in path.trace.trials}
    pairs = [
        (hop, made[other])
        for name, hop in made.items()
        if name.startswith(PLAIN) and (other := name.replace(PLAIN, PLAIN_NONE, 1)) in made
    ]
    return Elimination(path, path.outermost, made.get(NONE), made.get(BROKEN), tuple(pairs))


def has_credentials(hop: Observation) -> bool:
    """Whether a request carries something that says who somebody is."""
    return any(redaction.message == "request" for redaction in hop.redactions)
