"""Connections held side by side, each with another kind of traffic: which of them ended, and what that says of timers.

All were made by one probe, so their times are of one clock. A timer is told apart from a reload by the starts, which
lie apart: a lifetime ends each at the same age, a reload ends all at the same moment.
"""

from datetime import datetime

from wsprobe.ends import first_close
from wsprobe.frozen import dataclass
from wsprobe.heads import values
from wsprobe.inspection import Timer
from wsprobe.model import Ending, Observation, Sender
from wsprobe.path import Path

SILENT, SILENT_TOO = "held silent", "held silent once more"
PINGED, PONGED = "held with pings", "held with pongs from the client alone"
TALKED = "held with messages"
RUNGS = (SILENT_TOO, PINGED, PONGED, TALKED)

_SHARE, _SLACK = 0.1, 0.4
_AT_ONCE = 0.25


@dataclass(frozen=True, slots=True)
class Rung:
    """One connection. `lasted` are the seconds from the 101 to an end that the far side made without a close frame.

    It is None where the connection stayed open, for `held` seconds, or ended in another way.
    """

    name: str
    hop: Observation
    lasted: float | None
    held: float

    @property
    def answered(self) -> bool:
        """Whether bytes came from the server after the 101."""
        return self.hop.activity is not None and self.hop.activity.server is not None


@dataclass(frozen=True, slots=True)
class Ladder:
    """What the connections say together.

    `timer` is the kind of timer that fits, None where none does, and `seconds` its times, one for each connection that
    it ended. `resets` says which traffic starts an idle timer anew, and `others` what fits as well. `later` are the
    ages at which those ended that an idle timer spared. `why` says what it is where it is no timer.
    """

    rungs: tuple[Rung, ...]
    timer: Timer | None = None
    seconds: tuple[float, ...] = ()
    resets: str = ""
    others: tuple[str, ...] = ()
    later: tuple[float, ...] = ()
    why: str = ""

    @property
    def time(self) -> float:
        """The time that the timer stands at, as far as it was measured: the shortest, since nothing ends early."""
        return min(self.seconds, default=0.0)

    @property
    def delayed(self) -> float:
        """Seconds by which the end came after the timer, as far as the answer tells who ended the connection.

        Envoy closes the client's side a second after its own timer (delayed_close_timeout).
        """
        response = self.rungs[0].hop.response
        served_by = values(response.headers, "server") if response else []
        return 1.0 if served_by == ["envoy"] and self.timer is Timer.IDLE else 0.0

    @property
    def spread(self) -> str:
        """The shortest and the longest time, in words."""
        return f"{min(self.seconds):.2f} to {max(self.seconds):.2f} s"

    @property
    def server_pings(self) -> int:
        """Pings of the server on the silent connection: where there are some, it was none."""
        pings = self.rungs[0].hop.pings
        return pings.server.sent if pings and pings.server else 0


def ladder(path: Path) -> Ladder | None:
    """What the held connections of a path say; None where there are none."""
    trials = [trial for trial in path.trace.trials if trial.name in RUNGS]
    if not trials:
        return None
    rungs = (_rung(SILENT, path.outermost), *(_rung(trial.name, trial.hops[0]) for trial in trials))
    silent = [rung for rung in rungs if rung.name in {SILENT, SILENT_TOO}]
    ended = [rung.lasted for rung in silent if rung.lasted is not None]
    if not ended:
        return Ladder(rungs, why="no silent connection was ended without a close frame")
    if len(ended) < len(silent) or not _alike(ended):
        return Ladder(
            rungs, why="silent connections ended at different ages, or one of them stayed: no timer does that"
        )
    if _all_at_once(rungs):
        return Ladder(
            rungs, why="all connections ended at one moment, whatever their age: a reload or a restart does that"
        )
    return _timer(rungs, ended)


def _timer(rungs: tuple[Rung, ...], ended: list[float]) -> Ladder:
    by_name = {rung.name: rung for rung in rungs}
    dead = {name for name, rung in by_name.items() if rung.lasted is not None and _alike([*ended, rung.lasted])}
    busy = [name for name in (PINGED, PONGED, TALKED) if name in by_name]
    later = [lasted for name in busy if name not in dead and (lasted := by_name[name].lasted) is not None]
    if not busy or (later and not _another_timer(ended, later, [by_name[name] for name in busy if name not in dead])):
        return Ladder(
            rungs, why="connections with traffic ended at another age than the silent ones: no one timer does that"
        )
    times = tuple(rung.lasted for name, rung in by_name.items() if name in dead and rung.lasted is not None)
    if all(name in dead for name in busy):
        return Ladder(rungs, Timer.LIFETIME, times, others=_not_reset(by_name))
    return Ladder(rungs, Timer.IDLE, times, resets=_resets(by_name, dead), later=tuple(later))


def _another_timer(silent: list[float], later: list[float], busy: list[Rung]) -> bool:
    """Whether all connections with traffic that outlived the silent ones ended at one age, and clearly later."""
    return len(later) == len(busy) and _alike(later) and not _alike([*silent, *later])


def _not_reset(by_name: dict[str, Rung]) -> tuple[str, ...]:
    """The idle timers that the traffic which there was need not have reset."""
    talked = by_name.get(TALKED)
    if not any(rung.answered for rung in by_name.values()):
        return ("an idle timer that only bytes from the server reset: none came on any connection",)
    if talked is None:
        return ("an idle timer that messages alone reset, and no ping: none were sent (--send TEXT)",)
    return () if talked.answered else ("an idle timer that only messages of the server reset: none came",)


def _resets(by_name: dict[str, Rung], dead: set[str]) -> str:
    if PONGED in by_name and PONGED not in dead:
        return "bytes from the client alone reset it"
    if PINGED in by_name and PINGED not in dead:
        return "a ping and its answer reset it, and bytes from the client alone do not"
    return "messages reset it, and pings do not"


def _rung(name: str, hop: Observation) -> Rung:
    close, began = first_close(hop), hop.handshake.duration if hop.handshake else None
    by_far_side = close is not None and close.sender is Sender.SERVER and close.ending in {Ending.EOF, Ending.RESET}
    lasted = close.at - (began or 0.0) if close is not None and by_far_side else None
    held = (close.at if close else hop.ended or 0.0) - (began or 0.0)
    return Rung(name, hop, lasted, held)


def _alike(times: list[float]) -> bool:
    return max(times) - min(times) <= min(times) * _SHARE + _SLACK


def _all_at_once(rungs: tuple[Rung, ...]) -> bool:
    """Whether all ended at one moment and began at different ones."""
    ends = [_moment(rung) for rung in rungs if rung.lasted is not None]
    starts = [_start(rung) for rung in rungs]
    return len(ends) == len(rungs) and max(ends) - min(ends) <= _AT_ONCE and max(starts) - min(starts) > 2 * _AT_ONCE


def _start(rung: Rung) -> float:
    return datetime.fromisoformat(rung.hop.at).timestamp()


def _moment(rung: Rung) -> float:
    close = first_close(rung.hop)
    return _start(rung) + (close.at if close else 0.0)
