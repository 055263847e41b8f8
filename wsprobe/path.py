"""A trace as a path: neighbouring hops, how the connection ended at each, and where on the path that began."""

import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise

from wsprobe.ends import closed_from_inside, ended_from_inside, ended_itself, first_close, is_healthy, surely_later
from wsprobe.frozen import dataclass
from wsprobe.headers import Edit, diff, values_of
from wsprobe.heads import status
from wsprobe.join import CLIENT
from wsprobe.model import Ending, Observation, Segment, Sender, Subprotocol, Trace
from wsprobe.wording import plain

SWITCHING = 101

APPLICATIONS = frozenset({"origin", "application"})
"""Recorders that are the far end of the path."""

UNECHOED = frozenset({Subprotocol.NOT_ECHOED, Subprotocol.FOREIGN})
"""What a browser fails a connection for."""

_CUT_HEADS = ("a request head that did not end", "a response head that did not end", "a head longer than")


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

    @property
    def cut(self) -> Observation | None:
        """The hop of the two that saw a part of a head only: what is missing there may have been in the rest."""
        return next((hop for hop in (self.outer, self.inner) if _has_cut_head(hop)), None)

    def edits(self, kind: str) -> list[Edit]:
        """What happened to each header on the way: of a request inwards, of a response outwards."""
        sent, got = (self.outer, self.inner) if kind == "request" else (self.inner, self.outer)
        return diff(values_of(sent, kind), values_of(got, kind))


class Reach(StrEnum):
    """How far inwards something can be followed."""

    BEYOND = "every hop saw it"
    BETWEEN = "the next hop did not see it"
    RECORDER = "the recorder of the next hop did it itself"
    UNTOLD = "the record of the next hop does not tell"
    UNORDERED = "the order of the hops is not known"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something came from: `hop` is the innermost that surely saw it, `inner` the next one after it."""

    hop: Observation
    inner: Observation | None
    reach: Reach

    @property
    def segment(self) -> Segment | None:
        """The stretch that it came from, a hop twice where it was that hop's recorder; None where nobody knows."""
        match self.reach:
            case Reach.BETWEEN if self.inner:
                return self.hop.name, self.inner.name
            case Reach.RECORDER if self.inner:
                return self.inner.name, self.inner.name
            case Reach.UNORDERED if self.hop.name != CLIENT:
                return None
        return self.hop.name, None

    @property
    def in_application(self) -> bool:
        """Whether it came from the application itself, so that nothing lies beyond."""
        return self.reach is Reach.BEYOND and self.hop.recorder.kind in APPLICATIONS

    @property
    def known(self) -> bool:
        """Whether the stretch is all that the records leave open."""
        return self.reach in {Reach.BEYOND, Reach.BETWEEN}

    @property
    def words(self) -> str:
        """Where it came from, to be put after "from"."""
        hop, inner = self.hop.name, self.inner.name if self.inner else ""
        match self.reach:
            case Reach.BETWEEN:
                return f"between {hop} and {inner}"
            case Reach.RECORDER:
                return f"the recorder at {inner} itself"
            case Reach.UNTOLD:
                return f"beyond {hop}; on which side of {inner}, the record of {inner} does not tell"
            case Reach.UNORDERED:
                where = f"beyond {hop}" if hop == CLIENT else "an unknown place"
                return f"{where}: the order of the hops is not known"
        return f"the application at {hop}" if self.in_application else f"beyond {hop}"


@dataclass(frozen=True, slots=True)
class Path:
    """A trace with the questions that rules ask of it.

    `browser` says that the client held itself to a page's rules; `subject` is the URL that was traced, if one was.
    """

    trace: Trace
    browser: bool = False
    subject: str | None = None

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
    def url(self) -> str:
        """The traced URL as a word of a shell command, and the word URL where it is not known or not whole."""
        subject = self.subject or ""
        known = subject.partition("://")[0] in {"ws", "wss", "http", "https"} and "[withheld" not in subject
        return shlex.quote(plain(subject)) if known else "URL"

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
        """Whether the client got what it asked for: a right 101, an end that is none to worry about, its messages.

        A client that leaves is no fault of the path; the probe never leaves without a close frame.
        """
        hop, ended = self.outermost, first_close(self.outermost)
        left = ended is not None and ended.sender is Sender.CLIENT and ended.ending is not Ending.FRAME
        return (
            self.upgraded
            and hop.failure is None
            and not (hop.handshake and hop.handshake.response_flaws)
            and (ended is None or is_healthy(ended) or (left and self.client is None))
            and all(step.met for step in hop.expectations)
        )

    def failed_beyond(self, hop: Observation) -> bool:
        """Whether what went wrong came to this hop from further in, so that what it was sent may be the cause."""
        if self.healthy or code_of(hop) != SWITCHING:
            return not self.healthy
        ended = first_close(hop)
        unmet = not all(step.met for step in self.outermost.expectations)
        return unmet or ended is None or (ended.sender is Sender.SERVER and not is_healthy(ended))

    def where_ended_without_frame(self) -> Origin | None:
        """Where a connection was ended that no close frame ended: the first sign of it at each hop decides."""
        return self._where(ended_from_inside)

    def where_closed_with_frame(self) -> Origin | None:
        """Where a server's close frame came from: the innermost hop that saw it first."""
        where = self._where(closed_from_inside)
        if where and where.reach is Reach.RECORDER:  # a recorder makes no close frame: it left before that
            return Origin(where.hop, where.inner, Reach.UNTOLD)
        return where

    def where_answered(self, code: int) -> Origin | None:
        """Where a final response with that status came from."""
        return self._where(lambda hop: code_of(hop) == code, timed=False)

    def where_not_echoed(self) -> Origin | None:
        """Where a 101 without one of the offered subprotocols came from."""
        return self._where(lambda hop: bool(hop.handshake and hop.handshake.subprotocol in UNECHOED), timed=False)

    def _where(self, saw: Callable[[Observation], bool | None], *, timed: bool = True) -> Origin | None:
        """Follows something inwards; `saw` is None at a hop whose record does not tell.

        Of ends (`timed`) the one that came later is not the cause of the other.
        """
        if not saw(self.outermost):
            return None
        if self.trace.order is None:
            return Origin(self.outermost, None, Reach.UNORDERED)
        last = self.outermost
        for hop in self.hops[1:]:
            seen = saw(hop)
            if timed and surely_later(first_close(hop), first_close(last)):
                return Origin(last, hop, Reach.BETWEEN)
            if seen is None:
                return Origin(last, hop, Reach.RECORDER if ended_itself(hop) else Reach.UNTOLD)
            if not seen:
                return Origin(last, hop, Reach.BETWEEN)
            last = hop
        return Origin(last, None, Reach.BEYOND)


def code_of(hop: Observation) -> int | None:
    """The status code of the final response, None where none came."""
    return status(hop.response.start_line) if hop.response else None


def clock(hop: Observation) -> float | None:
    """When the exchange began by the hop's own clock, in seconds of UTC; None where a record says nothing usable."""
    try:
        at = datetime.fromisoformat(hop.at)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _has_cut_head(hop: Observation) -> bool:
    return any(flaw.kind.startswith(_CUT_HEADS) for flaw in hop.anomalies)
