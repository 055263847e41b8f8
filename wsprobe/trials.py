"""Controls as they were made: what came of each, whether they are evidence at all, and what they leave open.

An outcome is compared and never guessed from: two exchanges are equal where a client could not tell their answers and
ends apart. A server that answers differently at each try makes every comparison worthless, and that is said.
"""

from collections.abc import Mapping

from wsprobe.durations import seconds
from wsprobe.ends import first_close, is_healthy, silence
from wsprobe.frozen import dataclass
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
STRAIGHT = "the same upgrade straight to the origin"
ORIGIN, NO_ORIGIN = "the same upgrade with Origin", "the same upgrade without Origin"
HOST = "the same upgrade with Host"
CARRIED = "the token in"
ONCE_MORE = ", once more"

_TOO_MANY, _UNAVAILABLE = 429, 503
_CONNECTING = frozenset({"dns", "tcp", "tls", "proxy"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """Equal where a client could not tell two exchanges apart by answer and end; times and reasons do not count.

    `status` is that of the final response, None without one. `end` is how the far side ended an upgraded connection:
    its close code, `eof`, `reset`, or nothing where it stayed open; `malformed` where the 101 is none that a client may
    take, and `client` with a code where the client had to end it.
    """

    status: int | None
    end: str = ""


def outcome(hop: Observation) -> Outcome:
    """What came of an exchange at the hop that saw it."""
    status = _switched(hop)
    if status != SWITCHING:
        return Outcome(status, "" if status else hop.failure.kind if hop.failure else "no answer")
    close = first_close(hop)
    if hop.handshake and hop.handshake.response_flaws:
        return Outcome(status, "malformed")
    if close is None or (close.sender is not Sender.SERVER and is_healthy(close)):
        return Outcome(status)
    end = str(close.code) if close.ending is Ending.FRAME else close.ending.value
    return Outcome(status, end if close.sender is Sender.SERVER else f"client {end}")


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
    if hop.handshake and hop.handshake.response_flaws:
        return f"a 101 that is malformed: {'; '.join(hop.handshake.response_flaws)}"
    if close is None or (close.sender is not Sender.SERVER and is_healthy(close)):
        return "101, and it stayed open"
    if close.ending is Ending.FRAME:
        by = "" if close.sender is Sender.SERVER else f" by {hop.name} itself"
        return f"101, then closed{by} with {close_code(close)}"
    return f"101, then ended without a close frame ({close.ending}) after {seconds(close.at)}"


def asks_for_pause(hop: Observation) -> int | None:
    """The status by which a server wants to be left alone for a while; None where it does not."""
    code, later = code_of(hop), values(hop.response.headers, "retry-after") if hop.response else []
    return code if code == _TOO_MANY or (code == _UNAVAILABLE and later) else None


def why_stopped(trace: Trace) -> str | None:
    """Why no further control would tell anything, or may be made; None where nothing speaks against it."""
    if main := asks_for_pause(trace.hops[0]):
        return f"the server asks for a pause: it answered the first request with {main}"
    alarming = any(one.name in {NONE, BROKEN} for one in trace.trials)
    return next((why for one in trace.trials if (why := _stopped_by(one, trace.hops[0], alarming=alarming))), None)


def _stopped_by(one: Trial, main: Observation, *, alarming: bool) -> str | None:
    hop = one.hops[0]
    if code := asks_for_pause(hop):
        return f"the server asks for a pause: {one.name} was answered with {code}"
    connecting = hop.failure is not None and hop.failure.phase in _CONNECTING and one.name != HTTP2
    if code_of(hop) is None and connecting and hop.failure and not main.failure:
        return f"the server took no more connections: {one.name}: {hop.failure.message}"
    if one.name in {AGAIN, AFTER} and outcome(hop) != outcome(main):
        when = "first" if one.name == AGAIN else "banned" if alarming else "later"
        return _CHANGED[when].format(now=in_words(hop), first=in_words(main))
    return None


_CHANGED = {
    "first": "the same upgrade came to another result at its second try ({now}; at first {first}): a server that has "
    "to warm up or takes one connection only looks like that, and so do a ticket that is good once (--ticket-cmd) and "
    "a fault that comes and goes",
    "later": "at its last try the same upgrade came to another result ({now}; at first {first}): a fault that comes "
    "and goes looks like that, and what was compared before is no evidence",
    "banned": "after the tries without good credentials the same upgrade came to another result ({now}; at first "
    "{first}): the server may have banned this client, and what came before it is no evidence",
}


_WANT_CREDENTIALS = frozenset({401, 403, 500})
_FAIL_WITHOUT = frozenset({1008, 1011, 1014, 3000, 3003})
_ANY_OF_THE_APPLICATION = range(4000, 5000)
_QUIET = frozenset({"", "1000", "1001", "None"})
_TIMER = 0.9
"""Seconds of silence from which on an end may be a timer's: none is set below one second."""


def went_well(hop: Observation) -> bool:
    """Whether an upgrade came to a good end; over HTTP/2 too."""
    found = outcome(hop)
    return found.status == SWITCHING and found.end in _QUIET and not waited_in_vain(hop)


def waited_in_vain(hop: Observation) -> bool:
    """Whether a message that was expected did not come."""
    return not all(step.met for step in hop.expectations)


def may_want_credentials(hop: Observation) -> bool:
    """Whether an exchange ended as it does where credentials are refused, or where a handler fails without them.

    A redirection, a route that there is not, an upstream that is down or a restart speak of something else, whatever
    the credentials are.
    """
    found = outcome(hop)
    if found.status != SWITCHING:
        return found.status in _WANT_CREDENTIALS
    if found.end.isdigit() and found.end not in _QUIET:
        return int(found.end) in _FAIL_WITHOUT or int(found.end) in _ANY_OF_THE_APPLICATION
    return found.end in {"eof", "reset"} or (found.end in _QUIET and waited_in_vain(hop))


def may_be_a_timer(hop: Observation) -> bool:
    """Whether the connection was ended without a close frame, after a silence."""
    return outcome(hop).end in {"eof", "reset"} and (silence(hop) or 0.0) >= _TIMER


@dataclass(frozen=True, slots=True)
class Plain:
    """One path over plain HTTP with the credentials and without; `name` is what it is called in a sentence."""

    name: str
    good: Observation
    none: Observation

    @property
    def tells(self) -> bool:
        """Whether the credentials are taken, and refused without; a server that fails or limits refuses nobody."""
        good, none = code_of(self.good) or 0, code_of(self.none) or 0
        return 200 <= good < 400 <= none < 500 or 200 <= good < 300 <= none < 400


@dataclass(frozen=True, slots=True)
class Elimination:
    """The main upgrade beside its controls, by name; what was not made is None."""

    path: Path
    good: Observation
    made: Mapping[str, Observation]

    @property
    def none(self) -> Observation | None:
        """The upgrade without credentials."""
        return self.made.get(NONE)

    @property
    def broken(self) -> Observation | None:
        """The upgrade with a broken token."""
        return self.made.get(BROKEN)

    @property
    def straight(self) -> Observation | None:
        """The same upgrade straight to the application."""
        return self.made.get(STRAIGHT)

    @property
    def plain(self) -> list[Plain]:
        """The plain HTTP of each path, with the credentials and without."""
        without = {name: name.replace(PLAIN, PLAIN_NONE, 1) for name in self.made if name.startswith(PLAIN)}
        return [
            Plain(name.replace(PLAIN, "plain HTTP", 1), self.made[name], self.made[other])
            for name, other in without.items()
            if other in self.made
        ]

    @property
    def telling(self) -> Plain | None:
        """The plain HTTP that shows that the credentials are good for something: it takes them, and refuses without."""
        return next((one for one in self.plain if one.tells), None)

    @property
    def helped(self) -> list[tuple[str, Observation]]:
        """What went better with one thing changed, each time that it was tried."""
        return [
            (name, hop)
            for name, hop in self.made.items()
            if name.startswith((*_VARIED, CARRIED, STRAIGHT))
            and not name.endswith(ONCE_MORE)
            and self._better(hop)
            and self._better(self.made.get(f"{name}{ONCE_MORE}", hop))
        ]

    @property
    def carrier(self) -> tuple[str, Observation] | None:
        """Another place of the token in which the upgrade went well."""
        return next((one for one in self.helped if one[0].startswith(CARRIED) and went_well(one[1])), None)

    @property
    def varied(self) -> tuple[str, Observation] | None:
        """What helped and is another way, or a header that is no credential."""
        return next((one for one in self.helped if one[0].startswith(_VARIED)), None)

    @property
    def well_straight(self) -> bool:
        """Whether the upgrade went well straight to the application."""
        return any(name == STRAIGHT and went_well(hop) for name, hop in self.helped)

    @property
    def checked(self) -> bool:
        """Whether the main upgrade was made once more after all that, and so came to the same."""
        return AFTER in self.made

    @property
    def changed(self) -> bool:
        """Whether the main upgrade came to another result when it was made again."""
        return self.differs(self.made.get(AGAIN)) or self.differs(self.made.get(AFTER))

    def stays(self, name: str) -> bool:
        """Whether what helped did so twice, and the main upgrade failed before and after."""
        return self.checked and f"{name}{ONCE_MORE}" in self.made

    def differs(self, other: Observation | None) -> bool:
        """Whether an upgrade with other credentials was made and came to another result than the main one."""
        return other is not None and outcome(other) != outcome(self.good)

    def _better(self, hop: Observation) -> bool:
        accepted, before = (outcome(one).status == SWITCHING for one in (hop, self.good))
        return went_well(hop) or (accepted and not before)


_VARIED = (ORIGIN, NO_ORIGIN, HOST, HTTP2)


def elimination(path: Path) -> Elimination:
    """What the trials of a path compare."""
    return Elimination(path, path.outermost, {one.name: one.hops[0] for one in path.trace.trials})


def has_credentials(hop: Observation) -> bool:
    """Whether a request carries something that says who somebody is."""
    return any(redaction.message == "request" for redaction in hop.redactions)
