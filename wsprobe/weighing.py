"""Weighs a header from outside: the header limit of whoever stands behind is the scale. Sans-I/O, one ask at a time.

Filler lines are added until the request is refused; at that edge a canary of the header's own size tips the scale, and
so does the header, if it arrives. If the canary does and the header does not, it never reached whoever holds the limit.
A limit that the first proxy holds itself weighs the header before that could lose it, and says nothing.
"""

from collections.abc import Generator
from enum import StrEnum

from wsprobe.frozen import dataclass
from wsprobe.model import Header, Observation, Weighing
from wsprobe.path import SWITCHING, code_of
from wsprobe.trials import Outcome, asks_for_pause, in_words, outcome

MOST = 40
"""Requests that all weighing of one trace takes at most."""

LINES = "header lines"
_COUNTS = (64, 128, 256)
_OCTETS = (8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024)
_LINE = 4000
_FAR_TOO_LONG = (320 * 1024, 80 * 1024, 20 * 1024)
_STEP = 64


class Straw(StrEnum):
    """What lies on the scale beside the filler."""

    NOTHING = "nothing"
    CANARY = "canary"
    HEADER = "header"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One request to make: filler lines, and the header itself, a canary of its size, or neither."""

    filler: tuple[Header, ...] = ()
    straw: Straw = Straw.NOTHING
    plain: bool = False


Scale = Generator[Load, Observation, Weighing]
"""Asks for one request after the other, is sent what came of each, and returns what it found."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a limit counts, and how much the scale is tried with."""

    name: str
    steps: tuple[int, ...]
    straw: int

    def filler(self, amount: int) -> tuple[Header, ...]:
        """Filler lines of that many lines or octets."""
        if self.name == LINES:
            return tuple((f"X-Wsprobe-{number:03}", "f") for number in range(amount))
        sizes = [_LINE] * (amount // _LINE) + ([amount % _LINE] if amount % _LINE else [])
        return tuple((f"X-Wsprobe-{number:03}", "f" * max(1, size - 17)) for number, size in enumerate(sizes))


def canary(header: Header) -> Header:
    """A header of the same size that says nothing: as many octets in its name and in its value."""
    name, value = header
    return ("X-Wsprobe-Weight-" + "w" * len(name))[: len(name)], "c" * len(value)


def weigh(header: Header, *, plain: bool, tries: int, unit: str = "") -> Scale:
    """Weighs one header on upgrades, or over plain HTTP, in at most so many requests; by `unit` where that is known."""
    return _Weigher(header, plain=plain, tries=tries, unit=unit).run()


@dataclass(frozen=True, slots=True)
class _Looks:
    """What an answer looks like without what differs from one to the next: who made it can be told by that."""

    status: int | None
    names: frozenset[str]
    body: str

    def may_be_of(self, other: "_Looks") -> bool:
        """Whether one server can have made both; a body is lost where the connection was reset behind the head."""
        if (self.status, self.names) != (other.status, other.names):
            return False
        return self.body == other.body or not self.body or not other.body


def _looks(hop: Observation) -> _Looks:
    response = hop.response
    names = {name.lower() for name, _ in response.headers} if response else set()
    body = response.body.text or "" if response and response.body else ""
    return _Looks(code_of(hop), frozenset(names - {"date", "content-length", "content-type"}), body[:60])


def size_ladder(tries: int) -> Scale:
    """How large a head may be before it is refused, up to 64 KiB, to within 64 octets."""
    return _Weigher(("", ""), plain=False, tries=tries, unit="").ladder()


_STRAWS = (Straw.CANARY, Straw.HEADER)


class _Over(Exception):  # noqa: N818  an outcome, not an error
    """No further request may be made; it says why."""


class _Weigher:
    def __init__(self, header: Header, *, plain: bool, tries: int, unit: str) -> None:
        self._header = header
        self._unit = unit
        self._plain = plain
        self._left = tries
        self._made = 0
        self._normal = Outcome(None)
        self._refusal: Observation | None = None

    def run(self) -> Scale:
        try:
            return (yield from self._weighed())
        except _Over as over:
            return self._skip(str(over))

    def ladder(self) -> Scale:
        try:
            self._normal = outcome((yield from self._ask(Load(straw=Straw.HEADER))))
            unit = _Unit("octets", _OCTETS, 2 * _STEP)
            edge = yield from self._limit(unit, Straw.HEADER)
        except _Over as over:
            return self._skip(str(over))
        if edge is None:
            return self._skip("heads with up to 64 KiB of filler pass")
        return self._result("octets", edge, arrived=None, straw=_STEP)

    def _weighed(self) -> Scale:
        with_it = yield from self._ask(Load(straw=Straw.HEADER))
        without = yield from self._ask(Load())
        if outcome(with_it) != outcome(without):
            return self._skip("without it the answer is another one: it reached whoever answered")
        self._normal = outcome(without)
        own = yield from self._refusal_of_the_first()
        if own is None:
            return self._skip("how the first proxy itself refuses a head could not be seen")
        size = len(self._header[0]) + len(self._header[1]) + 4
        why = "no limit was found up to 256 header lines and 64 KiB"
        for unit in (_Unit(LINES, _COUNTS, 1), _Unit("octets", _OCTETS, size)):
            if self._unit not in {"", unit.name}:
                continue
            edge = yield from self._limit(unit)
            if edge is None:
                continue
            if self._refusal is None or _looks(self._refusal).may_be_of(own):
                why = (
                    f"the limit of {unit.name} may be that of the first proxy, which weighs before it can lose "
                    "anything: its refusal looks like that of a head which is far too long"
                )
                continue
            return (yield from self._last_straws(unit, edge))
        return self._skip(why)

    def _refusal_of_the_first(self) -> Generator[Load, Observation, _Looks | None]:
        """What the first proxy's own refusal looks like: that of a head which nobody takes. None where none came.

        Who closes while the rest of the head still comes in resets the connection, and its answer can be lost.
        """
        for size in _FAR_TOO_LONG:
            far = yield from self._ask(Load(filler=(("X-Wsprobe-000", "f" * size),)))
            if far.response is not None and outcome(far) != self._normal:
                return _looks(far)
        return None

    def _limit(self, unit: _Unit, straw: Straw = Straw.NOTHING) -> Generator[Load, Observation, int | None]:
        """The most filler that passes, within half the weight of a straw; None where none is refused."""
        low, high = 0, None
        for amount in unit.steps:
            if (yield from self._refused(unit, amount, straw)):
                high = amount
                break
            low = amount
        if high is None:
            return None
        while high - low > max(1, unit.straw // 2):
            middle = (low + high) // 2
            if (yield from self._refused(unit, middle, straw)):
                high = middle
            else:
                low = middle
        return low

    def _last_straws(self, unit: _Unit, edge: int) -> Scale:
        """What tips the scale at its edge: each asked twice, since one answer may be chance.

        That the filler alone passes was seen once already, when the edge was found.
        """
        found: dict[Straw, list[bool]] = {straw: [] for straw in Straw}
        for straw in (*_STRAWS, *Straw):
            found[straw].append((yield from self._refused(unit, edge, straw)))
        if any(len(set(answers)) > 1 for answers in found.values()) or found[Straw.NOTHING][0]:
            return self._skip("the limit was not the same at each try")
        if not found[Straw.CANARY][0]:
            return self._skip("a canary of the same size did not tip the scale")
        accuses = not self._plain and not found[Straw.HEADER][0]
        if accuses and (yield from self._refused(unit, 0, Straw.CANARY)):
            return self._skip("a canary is refused without any filler: for what it says, and not for its weight")
        return self._result(unit.name, edge, arrived=found[Straw.HEADER][0])

    def _refused(self, unit: _Unit, amount: int, straw: Straw) -> Generator[Load, Observation, bool]:
        seen = yield from self._ask(Load(filler=unit.filler(amount), straw=straw))
        refused = outcome(seen) != self._normal and code_of(seen) != SWITCHING
        if refused:
            self._refusal = seen
        return refused

    def _ask(self, load: Load) -> Generator[Load, Observation, Observation]:
        if self._made >= self._left:
            raise _Over(f"{self._made} requests were not enough")
        self._made += 1
        seen = yield Load(filler=load.filler, straw=load.straw, plain=self._plain)
        if code := asks_for_pause(seen):
            raise _Over(f"the server asks for a pause: it answered with {code}")
        return seen

    def _skip(self, why: str) -> Weighing:
        return Weighing(header=self._header[0], plain=self._plain, tries=self._made, arrived=None, why=why)

    def _result(self, unit: str, edge: int, *, arrived: bool | None, straw: int = 0) -> Weighing:
        return Weighing(
            header=self._header[0],
            plain=self._plain,
            tries=self._made,
            arrived=arrived,
            unit=unit,
            edge=edge,
            straw=straw,
            refusal=in_words(self._refusal) if self._refusal else "",
        )
