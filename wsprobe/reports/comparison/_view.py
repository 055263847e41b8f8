"""What formats for people show of a comparison: sections with a table each, and what in them comes from the traffic."""

from collections.abc import Iterator
from dataclasses import dataclass

from wsprobe.comparison import Comparison, Fate, FindingChange, HeaderChange, Outcome, Rate, Side, Timing
from wsprobe.model import Segment, Severity
from wsprobe.reports._view import seconds

SIGNS = {
    Outcome.FIXED: "✓",
    Outcome.NOTHING: "✓",
    Outcome.UNSHOWN: "?",
    Outcome.INCOMPARABLE: "?",
    Outcome.PARTLY: "≠",
    Outcome.NOT_FIXED: "✗",
    Outcome.WORSE: "✗",
    Outcome.OTHER: "✗",
}
"""A shape for each outcome, so that colour alone tells nothing."""

FATES = {Fate.GONE: "✓", Fate.NEW: "✗", Fate.STILL: "✗", Fate.UNJUDGED: "?"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A text of a table; `code` is one that stands as it is in the traffic, `sign` a shape of ours before it."""

    text: str
    code: bool = False
    sign: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A table with its title, never without a row. Without heads it is a list of one column."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def sections(comparison: Comparison) -> Iterator[Section]:
    """All sections that have something to show, in the order in which they are read."""
    yield Section("sides", ("", "before", "after"), _sides(comparison))
    told = [
        (
            "findings",
            ("", "finding", "where", "before", "after"),
            [_finding(comparison, f) for f in comparison.findings],
        ),
        ("headers", ("header", "at", "before", "after"), [_header(one) for one in comparison.headers]),
        ("results", ("result", "before", "after", "chance"), [_rate(rate) for rate in comparison.rates]),
        (
            "times",
            ("phase", "before", "after", "difference, with 95 % confidence"),
            [_timing(timing) for timing in comparison.timings],
        ),
    ]
    for title, heads, rows in told:
        if rows:
            yield Section(title, heads, tuple(rows))
    lists = [("nodes and credentials", comparison.notes), ("not compared", comparison.uncompared)]
    for title, texts in lists:
        if texts:
            yield Section(title, (), tuple((Cell(text),) for text in texts))
    if comparison.redactions:
        yield Section("withheld", ("what", "where", "times"), _withheld(comparison))


def _sides(comparison: Comparison) -> tuple[tuple[Cell, ...], ...]:
    sides = comparison.before, comparison.after
    rows = {
        "URL": [Cell(", ".join(side.urls[:5]), code=True) for side in sides],
        "when": [Cell(_when(side)) for side in sides],
        "connections": [Cell(_connections(side)) for side in sides],
        "hops": [Cell(", ".join(side.hops[:20]), code=True) for side in sides],
        "credentials": [
            Cell(", ".join(side.credentials[:20]) or "none", code=bool(side.credentials)) for side in sides
        ],
    }
    return tuple((Cell(name), *cells) for name, cells in rows.items())


def _when(side: Side) -> str:
    """From the first connection to the last, to the second."""
    first, last = (
        f"{at.partition('.')[0]}Z" if "." in at and at.endswith("Z") else at for at in (side.first, side.last)
    )
    return first if first == last else f"{first} to {last}"


def _connections(side: Side) -> str:
    lasted = f"; the longest lasted {seconds(side.watched)}" if side.watched is not None else ""
    return f"{side.connections}, {side.well} went well{lasted}"


def _finding(comparison: Comparison, change: FindingChange) -> tuple[Cell, ...]:
    grave = "" if change.severity is Severity.ERROR else f" ({change.severity.value})"
    sign = "·" if change.severity is Severity.NOTE else FATES[change.fate]
    what = " ".join(filter(None, (change.rule, change.header)))
    return (
        Cell(f"{change.fate.value}{grave}{f' ({change.note})' if change.note else ''}", sign=sign),
        Cell(what, code=True),
        Cell(_where(change.segment), code=bool(change.segment)),
        Cell(f"{change.before} of {comparison.before.connections}"),
        Cell(f"{change.after} of {comparison.after.connections}"),
    )


def _where(segment: Segment | None) -> str:
    return " → ".join(end or "?" for end in segment) if segment else ""


def _header(change: HeaderChange) -> tuple[Cell, ...]:
    name = change.name if change.message == "request" else f"{change.name} (response)"
    both = change.before_value is not None and change.after_value is not None and change.before == change.after
    states = [_states(states) for states in (change.before, change.after)]
    told = [
        value if both and value is not None else f"{state}: {value}" if value is not None else state
        for state, value in zip(states, (change.before_value, change.after_value), strict=True)
    ]
    return Cell(name, code=True), Cell(change.hop, code=True), *(Cell(text, code=True) for text in told)


def _states(states: dict[str, int]) -> str:
    """The state, and where connections differ how many had each."""
    if len(states) == 1:
        return next(iter(states))
    total = sum(states.values())
    return ", ".join(f"{state} in {times} of {total}" for state, times in states.items())


def _rate(rate: Rate) -> tuple[Cell, ...]:
    return (
        Cell(rate.result),
        Cell(f"{rate.before} of {rate.before_of}"),
        Cell(f"{rate.after} of {rate.after_of}"),
        Cell(_chance(rate.chance)),
    )


def _chance(chance: float) -> str:
    if chance >= 1:
        return "says nothing"
    return f"1 of {1 / chance:,.0f}" if chance >= 1e-6 else "less than 1 of a million"


def _timing(timing: Timing) -> tuple[Cell, ...]:
    return (
        Cell(timing.phase, code=True),
        Cell(seconds(timing.before_median), code=True),
        Cell(seconds(timing.after_median), code=True),
        Cell(timing.said.replace(" with 95 % confidence", "")),  # the head of the column says so
    )


def _withheld(comparison: Comparison) -> tuple[tuple[Cell, ...], ...]:
    return tuple((Cell(one.what), Cell(one.where), Cell(str(one.times))) for one in comparison.redactions)
