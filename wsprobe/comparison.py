"""The records of `wsprobe diff`: two sides, what of the one is gone, new or still there in the other, and a verdict.

Everything here is text that may be shown: it comes from reports, whose secrets were replaced before.
"""

from enum import StrEnum

from wsprobe.frozen import dataclass
from wsprobe.model import Confidence, Replaced, Segment, Severity


class Outcome(StrEnum):
    """What a comparison says in short."""

    FIXED = "fixed as far as seen"
    UNSHOWN = "not shown to be fixed"
    PARTLY = "fixed in part"
    NOT_FIXED = "not fixed"
    WORSE = "worse"
    OTHER = "something else is wrong now"
    INCOMPARABLE = "cannot be compared"
    NOTHING = "nothing was wrong before, and nothing is now"


class Fate(StrEnum):
    """What became of a finding."""

    GONE = "gone"
    NEW = "new"
    STILL = "still there"
    UNJUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: what was asked and when, over how many connections, and which hops were recorded.

    `open` are the connections that stayed open as long as they were watched, `watched` the seconds of the longest.
    """

    urls: tuple[str, ...]
    versions: tuple[str, ...]
    first: str
    last: str
    connections: int
    well: int
    open: int
    watched: float | None
    hops: tuple[str, ...]
    credentials: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingChange:
    """One finding by rule, segment and header, and in how many connections of each side it was made."""

    fate: Fate
    rule: str
    segment: Segment | None
    header: str | None
    severity: Severity
    confidence: Confidence
    message: str
    before: int
    after: int
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderChange:
    """One header at one hop that is not as it was: connections by its state there, and the value where it is one.

    `note` says why a proxy may make such a difference.
    """

    message: str
    name: str
    hop: str
    before: dict[str, int]
    after: dict[str, int]
    before_value: str | None = None
    after_value: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One phase on both sides: medians, and by how much the later times are longer (Hodges-Lehmann).

    `low` and `high` enclose that with 95 % confidence (the interval that belongs to the Mann-Whitney test); both are
    None where there are too few times for any.
    """

    phase: str
    before: int
    after: int
    before_median: float
    after_median: float
    shift: float
    low: float | None
    high: float | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many connections of each side came to one result; `chance` is how likely chance alone makes the difference.

    It is that of Fisher's exact test, two-sided.
    """

    result: str
    before: int
    before_of: int
    after: int
    after_of: int
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The nodes that were met, as `by` (address, certificate, a header of the answer) tells them apart."""

    by: str
    both: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides compared: `line` is the verdict for an issue, `reasons` say what it cannot tell, and why.

    `unseen` is the failure rate that the tries without a failure leave possible with 95 % confidence, None where
    there were failures. `uncompared` are values that are there on both sides and that nothing tells to be the same.
    """

    version: str
    outcome: Outcome
    line: str
    before: Side
    after: Side
    reasons: tuple[str, ...]
    unseen: float | None
    findings: tuple[FindingChange, ...]
    headers: tuple[HeaderChange, ...]
    uncompared: tuple[str, ...]
    timings: tuple[Timing, ...]
    rates: tuple[Rate, ...]
    nodes: tuple[Nodes, ...]
    notes: tuple[str, ...]
    redactions: tuple[Replaced, ...]
