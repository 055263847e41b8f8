"""A trace to a report: what was found, in the order from cause to effect, what was not judged, and what to do next.

Pure: the same trace gives the same report. The report value carries all the text that a format shows.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from wsprobe import __version__
from wsprobe.controls import told
from wsprobe.durations import seconds
from wsprobe.headers import Edit, Kind, Value, diff, is_credential, permitted, values_of
from wsprobe.join import CLIENT
from wsprobe.judging import judge
from wsprobe.model import (
    Cell,
    Finding,
    Observation,
    Replaced,
    Report,
    Reports,
    Row,
    Severity,
    Skip,
    Spread,
    State,
    Summary,
    Trace,
)
from wsprobe.path import Path, code_of
from wsprobe.rules import rank
from wsprobe.wording import connected, ending, stretch
from wsprobe.writeup import with_write_up

_SEVERITY = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_HANDSHAKE = ("upgrade", "connection", "host", "origin")


def diagnose(trace: Trace, *, subject: str | None = None, browser: bool = False) -> Report:
    """Judges one trace of at least one hop. `subject` names what was traced; `browser` holds it to a page's rules."""
    path = Path(trace, browser, subject)
    results = tuple(judge(path))
    findings = sorted((result for result in results if isinstance(result, Finding)), key=_weight)
    verdict = next((finding for finding in findings if finding.severity is not Severity.NOTE), None)
    report = Report(
        version=__version__,
        subject=subject or _subject(trace),
        summary=_summary(path, findings),
        trace=trace,
        verdict=verdict,
        findings=tuple(findings),
        skips=tuple(result for result in results if isinstance(result, Skip)),
        controls=told(trace),
        next=tuple(dict.fromkeys(step for finding in findings for step in finding.next)),
        redactions=manifest(trace),
        matrix=_matrix(path),
        endings=tuple(f"{hop.name}: {_outcome(hop)}" for hop in trace.hops),
        unobserved=_unobserved(path),
        alters=tuple(f"{hop.name}: {'; '.join(hop.recorder.alters)}" for hop in trace.hops if hop.recorder.alters),
        connection=connected(path.outermost),
    )
    return with_write_up(report)


def _weight(finding: Finding) -> tuple[int, int]:
    """What matters more first, and of equal weight the cause before its effect."""
    return _SEVERITY[finding.severity], rank(finding.rule)


def collect(reports: Sequence[Report]) -> Reports:
    """Several reports, those with problems first, and what they are in numbers."""
    from wsprobe.groups import Tried, groups
    from wsprobe.groups import told as told_of_groups

    ordered = sorted(reports, key=lambda report: _SEVERITY[report.verdict.severity] if report.verdict else 3)
    phases: dict[str, list[float]] = {}
    for report in reports:
        for name, took in _phases(report.trace).items():
            phases.setdefault(name, []).append(took)
    tried = [
        Tried(report.trace.hops[0], well=Path(report.trace).healthy and report.verdict is None) for report in reports
    ]
    found = groups(tried)
    return Reports(
        reports=tuple(ordered),
        summary=Summary(
            connections=len(reports),
            healthy=sum(one.well for one in tried),
            phases={name: _spread(sorted(times)) for name, times in phases.items()},
            groups=found,
            said=tuple(told_of_groups(tried, found)),
        ),
    )


def _phases(trace: Trace) -> dict[str, float]:
    return next((hop.phases for hop in trace.hops if hop.phases), {})


def _spread(times: list[float]) -> Spread:
    """Nearest-rank percentiles: each is a time that was measured."""

    def at(share: int) -> float:
        return times[max(0, -(-share * len(times) // 100) - 1)]

    return Spread(p50=at(50), p95=at(95), p99=at(99))


def _subject(trace: Trace) -> str:
    first = trace.hops[0]
    return f"{first.request.start_line.rpartition(' ')[0] if first.request else 'a connection'} at {first.name}"


def _summary(path: Path, findings: list[Finding]) -> str:
    hop = path.outermost
    worst = [finding for finding in findings if finding.severity is not Severity.NOTE]
    if worst:
        return f"{len(worst)} finding{'s' if len(worst) > 1 else ''} in {_reach(path)}"
    if path.healthy or not path.asks_for_websocket:
        return f"nothing wrong seen in {_reach(path)}"
    return f"the connection did not go well ({_outcome(hop)}), and no rule tells why; seen in {_reach(path)}"


def _reach(path: Path) -> str:
    """How far the statement goes: time, connections, addresses, and with which credentials."""
    hop = path.outermost
    parts = [seconds(hop.ended)] if hop.ended else []
    trials = len(path.trace.trials)
    parts.append(f"1 connection and {trials} more beside it" if trials else "1 connection")
    if path.client is not None:
        parts.append("1 address")
        sent = [r.name for r in hop.redactions if r.message == "request"]
        parts.append("with this token" if sent else "without credentials")
    return ", ".join(parts)


def _outcome(hop: Observation) -> str:
    if hop.failure:
        return hop.failure.message
    code = code_of(hop)
    if hop.response and code != 101:
        return f"answered {hop.response.start_line.partition(' ')[2] or hop.response.start_line}"
    return ending(hop)


def manifest(trace: Trace) -> tuple[Replaced, ...]:
    """What was replaced, where, and how often, over all hops."""
    found = Counter(
        (redaction.name, f"{hop.name}, {redaction.message}")
        for hop in (*trace.hops, *trace.retries, *trace.ambiguous)
        for redaction in hop.redactions
    )
    return tuple(Replaced(what=what, where=where, times=times) for (what, where), times in found.items())


# The matrix.


def _matrix(path: Path) -> tuple[Row, ...]:
    rows = _rows(path, "request")
    if any(hop.response for hop in path.hops):
        rows += _rows(path, "response")
    return tuple(rows)


def _rows(path: Path, kind: str) -> list[Row]:
    """A row per header: what differs first, then credentials, then what the handshake is made of."""
    hops = path.hops if kind == "request" else path.hops[::-1]
    seen = [values_of(hop, kind) if _message(hop, kind) else None for hop in hops]
    names: dict[str, str] = {}
    for values in seen:
        for key, (name, _) in (values or {}).items():
            names.setdefault(key, name)
    rows = []
    for key, name in names.items():
        columns = [None if values is None else values.get(key, (name, []))[1] for values in seen]
        edits = _edits(name, columns)
        cells = _cells(columns, edits, ordered=path.trace.order is not None)
        reasons = [permitted(edit) for edit in edits if edit and edit.kind not in {Kind.SAME, Kind.UNCOMPARED}]
        rows.append(
            Row(
                message=kind,
                name=name,
                cells=tuple(cells if kind == "request" else cells[::-1]),
                note=reasons[0] if reasons and all(reasons) else None,
            )
        )
    return sorted(rows, key=_interest)


def _message(hop: Observation, kind: str) -> bool:
    return (hop.request if kind == "request" else hop.response) is not None


def _edits(name: str, columns: list[list[Value] | None]) -> list[Edit | None]:
    """What happened to a header on its way to each hop, None where there is nothing before it to compare with."""
    edits: list[Edit | None] = []
    last: list[Value] | None = None
    for column in columns:
        known = column is not None and last is not None and bool(column or last)
        edits.append(diff(_one(name, last), _one(name, column))[0] if known else None)
        last = last if column is None else column
    return edits


def _one(name: str, values: list[Value] | None) -> dict[str, tuple[str, list[Value]]]:
    return {name.lower(): (name, values)} if values else {}


def _cells(columns: list[list[Value] | None], edits: list[Edit | None], *, ordered: bool) -> list[Cell]:
    """The state at each hop. Where the order is not known a difference has no direction: it is only not compared."""
    altered = State.ALTERED if ordered else State.UNCOMPARED
    states = {Kind.ALTERED: altered, Kind.MERGED: altered, Kind.UNCOMPARED: State.UNCOMPARED}
    cells = []
    for column, edit in zip(columns, edits, strict=True):
        if column is None:
            cells.append(Cell(state=State.UNOBSERVED))
        elif not column:
            cells.append(Cell(state=State.ABSENT))
        else:
            state = states.get(edit.kind, State.PRESENT) if edit else State.PRESENT
            cells.append(Cell(state=state, value=", ".join(value.text for value in column)))
    return cells


def _interest(row: Row) -> tuple[int, int]:
    differs = any(cell.state in {State.ABSENT, State.ALTERED} for cell in row.cells)
    weight = 0 if differs and row.note is None else 1 if is_credential(row.name) else 2
    if weight == 2 and row.name.lower() not in _HANDSHAKE and not row.name.lower().startswith("sec-websocket-"):
        weight = 3 if differs else 4
    return (0 if row.message == "request" else 1), weight


# What nobody saw.


def _unobserved(path: Path) -> tuple[str, ...]:
    said = []
    names = [hop.name for hop in path.hops]
    if path.trace.order is None:
        said.append("the order of the hops on the path: it could not be told from the records")
    else:
        said += [f"{stretch((outer, inner))}: nothing was observed" for outer, inner in pairwise(names)]
    last = path.hops[-1]
    if last.recorder.kind not in {"origin", "application"}:
        said.append(f"{stretch((last.name, None))}: nothing was observed, the application itself included")
    elif last.recorder.kind == "origin":
        said.append(f"the application's own route: {last.name} is a stand-in and speaks for itself")
    if names[0] != CLIENT:
        said.append(f"{stretch((None, names[0]))}: nothing was observed")
    said += [f"{name}: it recorded other traffic and nothing of this request" for name in path.trace.silent]
    for name, times in Counter(hop.name for hop in path.trace.retries).items():
        tries = "1 other try" if times == 1 else f"{times} other tries"
        said.append(f"{tries} of this request at {name}, which failed; the one that can have been answered was judged")
    if path.trace.ambiguous:
        others = ", ".join(sorted({hop.name for hop in path.trace.ambiguous}))
        said.append(f"what else {others} saw under the same ids: it may be of another request, and none was guessed")
    return (*said, *path.trace.problems)
