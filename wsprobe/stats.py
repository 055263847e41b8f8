"""By how much one set of times is longer than another, and how surely, without a guess at how times are spread.

The shift is that of Hodges and Lehmann, the median of all differences between a time of the one and a time of the
other; its interval is the one that belongs to the Mann-Whitney test. Both need no particular distribution, and one
outlier moves neither.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import comb, floor, sqrt

_Z = 1.959963984540054
"""What the normal distribution leaves 2.5 percent above."""

_ALPHA = 0.05
_EXACT = 30
_STEPS = 64


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much the second set is higher; `low` and `high` enclose it with 95 % confidence, None with too few."""

    shift: float
    low: float | None
    high: float | None


def median(values: Sequence[float]) -> float:
    """The middle of the values, of which there is at least one."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def shift(before: Sequence[float], after: Sequence[float]) -> Shift:
    """The shift from the one to the other, each of at least one value."""
    one, other = sorted(before), sorted(after)
    pairs = len(one) * len(other)
    middle = (_difference(one, other, (pairs + 1) // 2) + _difference(one, other, pairs // 2 + 1)) / 2
    outside = _outside(len(one), len(other))
    if outside is None:
        return Shift(middle, None, None)
    return Shift(middle, _difference(one, other, outside + 1), _difference(one, other, pairs - outside))


def _difference(one: Sequence[float], other: Sequence[float], rank: int) -> float:
    """The difference of that rank, counted from 1: halved in on, since there may be a hundred million of them."""
    low, high = other[0] - one[-1], other[-1] - one[0]
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if _at_most(one, other, middle) >= rank:
            high = middle
        else:
            low = middle
    return low if _at_most(one, other, low) >= rank else high


def _at_most(one: Sequence[float], other: Sequence[float], difference: float) -> int:
    """How many of the differences are at most that: as the one climbs, so does how far the other counts."""
    found = at = 0
    for value in one:
        at = bisect_right(other, value + difference, at)
        found += at
    return found


@cache
def _outside(one: int, other: int) -> int | None:
    """How many differences lie on either side outside of the interval; None where it would hold less than 95 %."""
    if max(one, other) > _EXACT:
        if min(one, other) < 2:
            return None
        return max(0, floor(one * other / 2 - _Z * sqrt(one * other * (one + other + 1) / 12)))
    ways, whole, below = _ways(one, other), comb(one + other, one), 0
    for count, number in enumerate(ways):
        below += number
        if 2 * below > _ALPHA * whole:
            return count - 1 if count else None
    return None


def _ways(one: int, other: int) -> list[int]:
    """In how many orders of both sets the Mann-Whitney statistic has each value, from 0 on.

    Counted by its generating function, the Gaussian binomial coefficient.
    """
    ways = [1] + [0] * (one * other)
    for each in range(1, one + 1):
        for at in range(len(ways) - 1, other + each - 1, -1):
            ways[at] -= ways[at - other - each]
        for at in range(each, len(ways)):
            ways[at] += ways[at - each]
    return ways
