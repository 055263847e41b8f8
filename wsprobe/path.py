"""A trace as a path: neighbouring hops, how the connection ended at each, and where on the path that began."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from wsprobe import closecodes
from wsprobe.headers import Edit, diff, values_of
from wsprobe.heads import method, status
from wsprobe.join import CLIENT
from wsprobe.model import Close, Ending, Observation, Segment, Sender, Trace

SWITCHING = 101


@dataclass(frozen=True, slots=True)
class Pair:
    """Two neighbouring hops; what lies between them was not observed."""

    outer: Observation
    inner: Observation
    path: "Path"

    @property
    def segment(self) -> Segment:
        """The names of both."""
        return self.outer.name, self.inner.name

    def edits(self, kind: str) -> list[Edit]:
        """What happened to each header on the way: of a request inwards, of a response outwards."""
        sent, got = (self.outer, self.inner) if kind == "request" else (self.inner, self.outer)
        return diff(values_of(sent, kind), values_of(got, kind))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something came from: the stretch of the path, and the innermost hop that saw it."""

    segment: Segment
    hop: Observation
    at_end: bool

    @property
    def in_application(self) -> bool:
        """Whether the hop is the application itself, so that nothing lies beyond it."""
        return self.at_end and self.hop.recorder.kind in APPLICATIONS


APPLICATIONS = frozenset({"origin", "application"})
"""Recorders that are the far end of the path."""


@dataclass(frozen=True, slots=True)
class Path:
    """A trace with the questions that rules ask of it. `browser` says that the client held itself to a page's rules."""

    trace: Trace
    browser: bool = False

    @property
    def hops(self) -> tuple[Observation, ...]:
        """The observations from the client inwards."""
        return self.trace.hops

    @property
    def outermost(self) -> Observation:
        """The hop that is nearest to the client: what it saw is what the client got."""
        return self.trace.hops[0]

    @property
    def client(self) -> Observation | None:
        """The probe's own observation."""
        return self.outermost if self.outermost.name == CLIENT else None

    @property
    def pairs(self) -> list[Pair]:
        """Neighbours on the path of which both saw a request; none while the order is not known."""
        if self.trace.order is None:
            return []
        asked = [hop for hop in self.hops if hop.request]
        return [Pair(outer, inner, self) for outer, inner in pairwise(asked)]

    @property
    def asks_for_websocket(self) -> bool:
        """Whether any hop saw a request for a WebSocket."""
        return any(hop.handshake and hop.handshake.asked for hop in self.hops)

    @property
    def upgraded(self) -> bool:
        """Whether the client got its 101."""
        return code_of(self.outermost) == SWITCHING

    @property
    def healthy(self) -> bool:
        """Whether the client got what it asked for: an upgrade that did not end badly, and the messages expected."""
        ended = first_close(self.outermost)
        return (
            self.upgraded
            and self.outermost.failure is None
            and (ended is None or is_healthy(ended))
            and all(step.met for step in self.outermost.expectations)
        )

    def where_ended_without_frame(self) -> Origin | None:
        """Where a connection was ended that no close frame ended: the first sign of it at each hop decides."""
        return self._where(lambda hop: not frames(hop) and _came_from_inside(hop))

    def where_closed_with_frame(self) -> Origin | None:
        """Where a server's close frame came from: the innermost hop that saw it first."""
        return self._where(lambda hop: _closed_by(hop, Sender.SERVER))

    def where_answered(self, code: int) -> Origin | None:
        """Where a final response with that status came from."""
        return self._where(lambda hop: code_of(hop) == code)

    def _where(self, saw: Callable[[Observation], bool]) -> Origin | None:
        seen = [hop for hop in self.hops if saw(hop)]
        if not seen or not saw(self.outermost):
            return None
        if self.trace.order is None:
            return Origin((self.outermost.name, None), self.outermost, at_end=False)
        last = self.outermost
        for hop in self.hops:
            if not saw(hop):
                return Origin((last.name, hop.name), last, at_end=False)
            last = hop
        return Origin((last.name, None), last, at_end=True)


def code_of(hop: Observation) -> int | None:
    """The status code of the final response, None where none came."""
    return status(hop.response.start_line) if hop.response else None


def method_of(hop: Observation) -> str:
    """The method of the request."""
    return method(hop.request.start_line) if hop.request else ""


def first_close(hop: Observation) -> Close | None:
    """What ended the connection first at a hop; None while it goes on."""
    return hop.closes[0] if hop.closes else None


def frames(hop: Observation) -> list[Close]:
    """The close frames at a hop, in the order seen."""
    return [close for close in hop.closes if close.ending is Ending.FRAME]


def is_healthy(close: Close) -> bool:
    """Whether an end is none to worry about: an ordinary close code, or the recorder's own doing."""
    if close.ending is Ending.FRAME:
        return close.code is None or close.code in closecodes.HEALTHY
    return close.sender is Sender.LOCAL


def silence(hop: Observation) -> float | None:
    """Seconds between the last byte of either side, or the 101, and the first sign of the end."""
    ended = first_close(hop)
    if ended is None or hop.handshake is None:
        return None
    last = [hop.handshake.duration or 0.0]
    if hop.activity:
        last += [at for at in (hop.activity.client, hop.activity.server) if at is not None]
    return max(0.0, ended.at - max(last))


def _came_from_inside(hop: Observation) -> bool:
    ended = first_close(hop)
    return ended is not None and ended.sender is Sender.SERVER and ended.ending in {Ending.EOF, Ending.RESET}


def _closed_by(hop: Observation, sender: Sender) -> bool:
    seen = frames(hop)
    return bool(seen) and seen[0].sender is sender
