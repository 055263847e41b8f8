"""A trace to a report: what was found, in the order from cause to effect, what was not judged, and what to do next.

Pure: the same trace gives the same report. The report value carries all the text that a format shows.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from wsprobe import __version__
from wsprobe.headers import Edit, Kind, Value, is_credential, permitted, same, values_of
from wsprobe.join import CLIENT
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
from wsprobe.rules import judge, rank
from wsprobe.wording import ending, seconds, stretch

_SEVERITY = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_HANDSHAKE = ("upgrade", "connection", "host", "origin")


def diagnose(trace: Trace, *, subject: str | None = None, browser: bool = False) -> Report:
    """Judges one trace. `subject` names what was traced; `browser` holds it to the rules of a web page."""
    path = Path(trace, browser)
    findings: list[Finding] = []
    skips: list[Skip] = []
    for result in judge(path):
        (findings if isinstance(result, Finding) else skips).append(result)  # type: ignore[arg-type]  by its type
    findings.sort(key=lambda finding: (_SEVERITY[finding.severity], rank(finding.rule)))
    verdict = next((finding for finding in findings if finding.severity is not Severity.NOTE), None)
    return Report(
        version=__version__,
        subject=subject or _subject(trace),
        summary=_summary(path, findings),
        trace=trace,
        verdict=verdict,
        findings=tuple(findings),
        skips=tuple(skips),
        controls=(),
        next=tuple(dict.fromkeys(step for finding in findings for step in finding.next)),
        redactions=manifest(trace),
        matrix=_matrix(path),
        endings=tuple(f"{hop.name}: {_outcome(hop)}" for hop in trace.hops),
        unobserved=_unobserved(path),
        alters=tuple(f"{hop.name}: {'; '.join(hop.recorder.alters)}" for hop in trace.hops if hop.recorder.alters),
    )


def collect(reports: Sequence[Report]) -> Reports:
    """Several reports, those with problems first, and what they are in numbers."""
    ordered = sorted(reports, key=lambda report: _SEVERITY[report.verdict.severity] if report.verdict else 3)
    phases: dict[str, list[float]] = {}
    for report in reports:
        for name, took in _phases(report.trace).items():
            phases.setdefault(name, []).append(took)
    return Reports(
        reports=tuple(ordered),
        summary=Summary(
            connections=len(reports),
            healthy=sum(Path(report.trace).healthy and report.verdict is None for report in reports),
            phases={name: _spread(sorted(times)) for name, times in phases.items()},
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
    parts.append("1 connection")
    if path.client is not None:
        parts.append("1 address")
        sent = [r.name for r in hop.redactions if r.message == "request"]
        parts.append("with this token" if sent else "without credentials")
    return ", ".join(parts)


def _outcome(hop: Observation) -> str:
    if hop.failure:
        return hop.failure.message
    code = code_of(hop)
    if hop.response and code != 101:  # noqa: PLR2004
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
        columns = [None if values is None else tuple(values.get(key, (name, []))[1]) for values in seen]
        cells = _cells(columns)
        rows.append(
            Row(
                message=kind,
                name=name,
                cells=tuple(cells if kind == "request" else cells[::-1]),
                note=_note(name, columns),
            )
        )
    return sorted(rows, key=_interest)


def _message(hop: Observation, kind: str) -> bool:
    return (hop.request if kind == "request" else hop.response) is not None


def _cells(columns: list[tuple[Value, ...] | None]) -> list[Cell]:
    cells, last = [], None
    for column in columns:
        if column is None:
            cells.append(Cell(state=State.UNOBSERVED))
            continue
        cells.append(_cell(last, column))
        last = column or last
    return cells


def _cell(last: tuple[Value, ...] | None, column: tuple[Value, ...]) -> Cell:
    if not column:
        return Cell(state=State.ABSENT)
    text = ", ".join(value.text for value in column)
    if last is None:
        return Cell(state=State.PRESENT, value=text)
    verdicts = [same(a, b) for a, b in zip(last, column, strict=False)]
    if len(last) != len(column) or False in verdicts:
        return Cell(state=State.ALTERED, value=text)
    return Cell(state=State.PRESENT if all(verdicts) else State.UNCOMPARED, value=text)


def _note(name: str, columns: list[tuple[Value, ...] | None]) -> str | None:
    """Why the first change of a row is one that a proxy may make."""
    known = [column for column in columns if column is not None]
    for before, after in zip(known, known[1:], strict=False):
        kind = Kind.ADDED if not before else Kind.REMOVED if not after else Kind.ALTERED
        if before != after and (before or after) and [v.bare for v in before] != [v.bare for v in after]:
            return permitted(Edit(name, kind, before, after))
    return None


def _interest(row: Row) -> tuple[int, int]:
    differs = any(cell.state in {State.ABSENT, State.ALTERED} for cell in row.cells)
    weight = 0 if differs and row.note is None else 1 if is_credential(row.name) else 2
    if weight == 2 and row.name.lower() not in _HANDSHAKE and not row.name.lower().startswith("sec-websocket-"):  # noqa: PLR2004
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
    said += [f"{len(path.trace.retries)} further tries of the same request at an inner hop"] if path.trace.retries else []
    if path.trace.ambiguous:
        others = ", ".join(sorted({hop.name for hop in path.trace.ambiguous}))
        said.append(f"what of {others} belongs to this connection: several share its id, and none was guessed")
    return (*said, *path.trace.problems)
