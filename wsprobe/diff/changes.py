"""What of one side is otherwise on the other: findings, headers, times, results, nodes. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wsprobe.comparison import Fate, FindingChange, HeaderChange, Nodes, Rate, Timing
from wsprobe.diff.alike import without_port
from wsprobe.diff.sides import Group, One
from wsprobe.durations import seconds
from wsprobe.groups import exact
from wsprobe.headers import Kind, Value, is_credential, values_of
from wsprobe.headers import diff as compared
from wsprobe.model import Confidence, Finding, Observation, Segment, Severity, State
from wsprobe.stats import median, shift

SURE = 0.05
"""How likely chance may make a difference that is told as one."""

UNEXPLAINED = "unexplained"
_WEIGHT = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_MOST_NODES = 64

_OWN_EACH_TIME = frozenset(
    {
        "sec-websocket-key",
        "sec-websocket-accept",
        "date",
        "age",
        "traceparent",
        "tracestate",
        "b3",
        "x-request-id",
        "x-correlation-id",
        "x-amzn-trace-id",
        "x-cloud-trace-context",
        "x-varnish",
        "x-amz-cf-id",
        "cf-ray",
    }
)
"""Headers whose value is another one in each exchange."""

Key = tuple[str, Segment | None, str | None]
"""What a finding is told apart by: rule, segment, header without case."""

# Findings.


@dataclass(slots=True)
class Tally:
    """One finding over the connections of a side."""

    finding: Finding
    times: int = 0


def tallied(group: Group) -> dict[Key, Tally]:
    """The findings of one side, each counted once a connection; what no rule tells is one too."""
    found: dict[Key, Tally] = {}
    for one in group.ones:
        findings = list(one.report.findings)
        if not one.well and not one.problems:
            findings.append(_unexplained(one))
        counted: set[Key] = set()
        for finding in findings:
            key = _key(finding)
            found.setdefault(key, Tally(finding)).times += key not in counted
            counted.add(key)
    return found


def _key(finding: Finding) -> Key:
    return finding.rule, finding.segment, finding.header.lower() if finding.header else None


def _unexplained(one: One) -> Finding:
    return Finding(
        rule=UNEXPLAINED,
        message=f"The connection did not go well ({one.result}), and no rule tells why.",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE,
        segment=None,
        header=None,
        fix=None,
        places=(),
    )


def findings(before: Group, after: Group) -> tuple[FindingChange, ...]:
    """Each finding of either side with its fate, those that are there now first and of these the gravest."""
    old, new = tallied(before), tallied(after)
    changes = []
    for key, tally in new.items():
        match = _match(key, old, before, after)
        missing = _missing(key, before)
        note = f"{_listed(missing)} recorded nothing before: it may have been so" if missing and not match else None
        if match and match != key:
            note = f"other hops were recorded: before it was {_where(match)}"
        fate = Fate.STILL if match else Fate.NEW
        changes.append(_change(fate, tally.finding, old[match].times if match else 0, tally.times, note))
    for key, tally in old.items():
        if _match(key, new, after, before):
            continue
        missing = _missing(key, after)
        note = f"{_listed(missing)} recorded nothing after" if missing else None
        changes.append(_change(Fate.UNJUDGED if missing else Fate.GONE, tally.finding, tally.times, 0, note))
    order = [Fate.STILL, Fate.NEW, Fate.UNJUDGED, Fate.GONE]
    return tuple(sorted(changes, key=lambda change: (order.index(change.fate), _WEIGHT[change.severity])))


def _change(fate: Fate, finding: Finding, before: int, after: int, note: str | None) -> FindingChange:
    return FindingChange(
        fate=fate,
        rule=finding.rule,
        segment=finding.segment,
        header=finding.header,
        severity=finding.severity,
        confidence=finding.confidence,
        message=finding.message,
        before=before,
        after=after,
        note=note,
    )


def _match(key: Key, others: dict[Key, Tally], there: Group, here: Group) -> Key | None:
    """The same finding on the other side; where other hops were recorded, by rule and header alone."""
    if key in others:
        return key
    alike = (other for other in others if (other[0], other[2]) == (key[0], key[2]))
    return next((other for other in alike if _missing(key, there) or _missing(other, here)), None)


def _missing(key: Key, group: Group) -> list[str]:
    return [name for name in dict.fromkeys(key[1] or ()) if name and name not in group.recorders]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _where(key: Key) -> str:
    return " → ".join(name or "?" for name in key[1] or ()) or "without a segment"


# Headers.


@dataclass(slots=True)
class _Seen:
    """One header at one hop over the connections of a side, and the first of its values."""

    name: str
    states: Counter[State] = field(default_factory=Counter)
    sample: tuple[Value, ...] = ()
    varies: bool = False
    note: str | None = None


_Spot = tuple[str, str, str]
"""Message, header in lower case, hop."""


class _Table:
    """The headers of one side, by where they were seen."""

    def __init__(self, group: Group) -> None:
        self.spots: dict[_Spot, _Seen] = {}
        self.observed: Counter[tuple[str, str]] = Counter()
        for one in group.ones:
            for hop in one.report.trace.hops:
                for message, there in (("request", hop.request), ("response", hop.response)):
                    if there is not None:
                        self.observed[message, hop.name] += 1
                        self._values(message, hop)
            self._states(one)

    def _values(self, message: str, hop: Observation) -> None:
        for key, (name, values) in values_of(hop, message).items():
            seen = self.spots.setdefault((message, key, hop.name), _Seen(name))
            seen.sample = seen.sample or tuple(values)
            seen.varies = seen.varies or [value.bare for value in values] != [value.bare for value in seen.sample]

    def _states(self, one: One) -> None:
        for row in one.report.matrix:
            for hop, cell in zip(one.report.trace.hops, row.cells, strict=False):
                seen = self.spots.get((row.message, row.name.lower(), hop.name))
                if seen and cell.state not in {State.ABSENT, State.UNOBSERVED}:
                    seen.states[State.ALTERED if cell.state is State.ALTERED else State.PRESENT] += 1
                    seen.note = row.note or seen.note

    def states(self, spot: _Spot) -> dict[State, int]:
        """How many connections had it there in which state."""
        seen = self.spots.get(spot)
        found = dict(seen.states) if seen else {}
        absent = self.observed[spot[0], spot[2]] - sum(found.values())
        return {**found, **({State.ABSENT: absent} if absent > 0 else {})}


def headers(before: Group, after: Group) -> tuple[tuple[HeaderChange, ...], tuple[str, ...]]:
    """What differs at the hops that both sides recorded, credentials first; and what could not be compared."""
    old, new = _Table(before), _Table(after)
    changes, uncompared = [], []
    for spot in dict.fromkeys((*old.spots, *new.spots)):
        place = spot[0], spot[2]
        if not old.observed[place] or not new.observed[place]:
            continue
        one, other = old.spots.get(spot), new.spots.get(spot)
        values = _values(one, other)
        if values is Kind.UNCOMPARED and one:
            uncompared.append(f"{one.name} at {spot[2]} ({spot[0]})")
        if _differ(old.states(spot), new.states(spot)) or values is Kind.ALTERED:
            changes.append(_header(spot, old, new, values))
    places = {name: at for at, name in enumerate(dict.fromkeys((*before.hops, *after.hops)))}
    changes.sort(key=lambda one: (one.message != "request", *_interest(one), places[one.hop]))
    return tuple(changes), tuple(uncompared)


def _interest(change: HeaderChange) -> tuple[bool, bool]:
    return change.note is not None, not is_credential(change.name)


def _header(spot: _Spot, old: _Table, new: _Table, values: Kind) -> HeaderChange:
    one, other = old.spots.get(spot), new.spots.get(spot)
    shown = [", ".join(value.text for value in each.sample) if each else None for each in (one, other)]
    either = other or one
    return HeaderChange(
        message=spot[0],
        name=either.name if either else spot[1],
        hop=spot[2],
        before={state.value: times for state, times in old.states(spot).items()},
        after={state.value: times for state, times in new.states(spot).items()},
        before_value=shown[0] if one and not one.varies else None,
        after_value=shown[1] if other and not other.varies and (not one or values is Kind.ALTERED) else None,
        note=(one.note if one else None) or (other.note if other else None),
    )


def _values(one: _Seen | None, other: _Seen | None) -> Kind:
    """Whether both sides had the same value; SAME too where none is one value, or each exchange has its own."""
    if one is None or other is None or one.varies or other.varies or one.name.lower() in _OWN_EACH_TIME:
        return Kind.SAME
    before, after = ({one.name.lower(): (one.name, list(each.sample))} for each in (one, other))
    kind = compared(before, after)[0].kind
    texts = [[without_port(value.text) for value in each.sample] for each in (one, other)]
    return Kind.SAME if texts[0] == texts[1] or kind is Kind.MERGED else kind


def _differ(one: dict[State, int], other: dict[State, int]) -> bool:
    """Whether the states differ, by more than chance would make it where both are mixed."""
    total, others = sum(one.values()), sum(other.values())
    mixed = len(one) > 1 and len(other) > 1
    for state in {*one, *other}:
        here, there = one.get(state, 0), other.get(state, 0)
        if here * others != there * total and (not mixed or exact(here, total, there, others) <= SURE):
            return True
    return False


# Times, results, nodes.


def timings(before: Group, after: Group) -> tuple[Timing, ...]:
    """Each phase that both sides have."""
    old, new = _times(before), _times(after)
    return tuple(_timing(phase, old[phase], new[phase]) for phase in old if phase in new)


def _times(group: Group) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in group.ones:
        duration = one.hop.handshake.duration if one.hop.handshake else None
        handshake = {} if duration is None else {"upgrade": duration}
        for phase, took in (one.hop.phases or handshake).items():
            found.setdefault(phase, []).append(took)
    return found


def _timing(phase: str, old: list[float], new: list[float]) -> Timing:
    found = shift(old, new)
    low, high = found.low, found.high
    if low is None or high is None:
        said = "too few times for an interval: 4 on either side are enough"
    elif low > 0:
        said = f"{seconds(found.shift)} longer ({seconds(low)} to {seconds(high)} with 95 % confidence)"
    elif high < 0:
        said = f"{seconds(-found.shift)} shorter ({seconds(-high)} to {seconds(-low)} with 95 % confidence)"
    else:
        said = f"no difference shown: {seconds(-low)} shorter to {seconds(high)} longer with 95 % confidence"
    return Timing(
        phase=phase,
        before=len(old),
        after=len(new),
        before_median=median(old),
        after_median=median(new),
        shift=round(found.shift, 9),
        low=None if low is None else round(low, 9),
        high=None if high is None else round(high, 9),
        said=said,
    )


def rates(before: Group, after: Group) -> tuple[Rate, ...]:
    """How many went well, and each result."""
    old, new = (Counter(one.result for one in group.ones) for group in (before, after))
    results = [("went well", before.well, after.well), *((name, old[name], new[name]) for name in {**old, **new})]
    total, others = len(before.ones), len(after.ones)
    return tuple(
        Rate(
            result=name,
            before=here,
            before_of=total,
            after=there,
            after_of=others,
            chance=min(1.0, exact(here, total, there, others)),
        )
        for name, here, there in results
    )


def met(before: Group, after: Group) -> Iterator[Nodes]:
    """The nodes of both sides, by each thing that names them."""
    for by in dict.fromkeys((*before.nodes, *after.nodes)):
        old, new = before.nodes.get(by, set()), after.nodes.get(by, set())
        both, one, other = sorted(old & new), sorted(old - new), sorted(new - old)
        yield Nodes(
            by=by,
            both=tuple(both[:_MOST_NODES]),
            before=tuple(one[:_MOST_NODES]),
            after=tuple(other[:_MOST_NODES]),
        )
