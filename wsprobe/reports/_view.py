"""What reports for people show of a report value: which rows of the matrix, what came of each hop, in what order."""

import re

from wsprobe.frozen import dataclass
from wsprobe.model import Cell, Finding, Line, Link, Observation, Remedy, Report, Reports, Row, Severity, State, WriteUp

GLYPHS = {
    State.PRESENT: "✓",
    State.ABSENT: "✗",
    State.ALTERED: "≠",
    State.UNCOMPARED: "?",
    State.UNOBSERVED: "·",
}

_HANDSHAKE = re.compile(r"upgrade|connection|host|origin|sec-websocket-.*|location|www-authenticate", re.IGNORECASE)
_CREDENTIAL = re.compile(r"(proxy-)?authorization|(set-)?cookie|.*(token|secret|api-?key|session).*", re.IGNORECASE)
_UTC = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)")


@dataclass(frozen=True, slots=True)
class Matrix:
    """The rows to show, most telling first within request and response; the others, in which nothing happened.

    Of the others, `handshake` names those that an upgrade is made of, and `others` counts the rest.
    """

    rows: tuple[Row, ...]
    quiet: tuple[Row, ...]
    handshake: tuple[str, ...]
    others: int


def matrix(report: Report) -> Matrix:
    """The matrix without the rows in which nothing happened; those of the handshake are still named."""
    blamed = {(finding.header or "").lower() for finding in findings(report)}
    ranks = [_rank(row, blamed, len(report.trace.hops)) for row in report.matrix]
    shown = [
        (row.message != "request", rank, row) for row, rank in zip(report.matrix, ranks, strict=True) if rank < _QUIET
    ]
    shown.sort(key=lambda entry: entry[:2])
    quiet = [row for row, rank in zip(report.matrix, ranks, strict=True) if rank == _QUIET]
    handshake = tuple(dict.fromkeys(row.name for row in quiet if _HANDSHAKE.fullmatch(row.name)))
    others = sum(1 for row in quiet if row.name not in handshake)
    return Matrix(tuple(row for _, _, row in shown), tuple(quiet), handshake, others)


_QUIET = 9


def _rank(row: Row, blamed: set[str], hops: int) -> int:
    states = {cell.state for cell in row.cells}
    differs = bool(states & {State.ABSENT, State.ALTERED})
    if row.name.lower() in blamed and (differs or row.message == "request"):
        return 0
    if differs:
        return 1 if row.note is None else 4
    if _CREDENTIAL.fullmatch(row.name):
        return 2
    return 3 if State.UNCOMPARED in states and hops > 1 else _QUIET


def name(row: Row) -> str:
    """A header's name, with a word beside it where it is one of the response."""
    return row.name if row.message == "request" else f"{row.name} (response)"


def cells(row: Row, hops: int) -> list[Cell]:
    """One cell per hop, whatever a file says."""
    return [*row.cells[:hops], *[Cell(state=State.UNOBSERVED)] * (hops - len(row.cells))]


def change(row: Row) -> tuple[str, str | None]:
    """The first value of a row, and the last one where that is another."""
    values = [cell.value for cell in row.cells if cell.value is not None]
    if not values:
        return "", None
    altered = any(cell.state is State.ALTERED for cell in row.cells)
    return values[0], values[-1] if altered and values[-1] != values[0] else None


def landmarks(report: Report) -> list[int]:
    """The hops that say most: both ends of the path, and those of the stretch that the verdict names."""
    names = [hop.name for hop in report.trace.hops]
    segment = report.verdict.segment if report.verdict and report.verdict.segment else ()
    return sorted({0, len(names) - 1, *(names.index(end) for end in segment if end in names)}) if names else []


def findings(report: Report) -> list[Finding]:
    """All findings, the verdict first."""
    others = [finding for finding in report.findings if finding != report.verdict]
    return [report.verdict, *others] if report.verdict else others


def answer(hop: Observation) -> str:
    """What the request got at a hop: the status and how long it took, or why there is none."""
    if hop.response is None:
        return f"failed at {hop.failure.phase}" if hop.failure else "no answer" if hop.request else "no request"
    words = hop.response.start_line.split(" ", 2)
    status = words[1] if len(words) > 1 and re.fullmatch(r"\d{3}", words[1], re.ASCII) else "an answer"
    took = hop.handshake.duration if hop.handshake else None
    return status if took is None else f"{status}, {seconds(took)}"


def seconds(time: float) -> str:
    """A time as people read it."""
    if time >= 10:
        return f"{time:.0f} s"
    if time >= 1:
        return f"{time:.1f} s"
    return f"{time * 1000:.0f} ms" if time >= 0.01 else f"{time * 1000:.1f} ms"


def span(begin: float, end: float) -> str:
    """When something was, or from when to when, to the millisecond."""
    return f"{begin:.3f} s" if round(begin, 3) == round(end, 3) else f"{begin:.3f} to {end:.3f} s"


def when(report: Report) -> str:
    """When the outermost hop saw the request."""
    at = report.trace.hops[0].at if report.trace.hops else ""
    parts = _UTC.fullmatch(at)
    return f"{parts[1]} {parts[2]} UTC" if parts else at


def ending(report: Report, index: int) -> str:
    """How the connection ended at a hop, in words."""
    if index >= len(report.endings):
        return ""
    return report.endings[index].removeprefix(f"{report.trace.hops[index].name}: ")


def passed(hop: Observation) -> list[str]:
    """The frames and pings of each side at a hop, in words."""
    sides = ("client", "server")
    told = []
    for side, counts in zip(sides, (hop.frames.client, hop.frames.server) if hop.frames else (), strict=False):
        told += [f"{one.frames} {name} of the {side}, {one.bytes} octets" for name, one in counts.items()]
    for side, pings in zip(sides, (hop.pings.client, hop.pings.server) if hop.pings else (), strict=False):
        if pings:
            mean = "" if pings.mean is None else f" in {seconds(pings.mean)}"
            told.append(f"{counted(pings.sent, 'ping')} of the {side}, {pings.answered} answered{mean}")
    return told


def chain(writeup: WriteUp) -> list[tuple[str, Link]]:
    """Each link of the chain after a word on how sure it is, and how sure that it led to the one before it."""
    return [
        (f"{link.confidence.value}{f', and {link.leads.value} as the cause of that' if link.leads else ''}", link)
        for link in writeup.chain
    ]


def remedies(report: Report) -> list[Remedy]:
    """The fixes of the write-up but for the one that the verdict itself gives."""
    if report.writeup is None:
        return []
    told = report.verdict.fix if report.verdict else None
    return [one for one in report.writeup.fixes if one.line or one.what != told]


def place(line: Line) -> str:
    """Where a line of a config stands."""
    return f"{line.path}:{line.line}"


def commands(report: Report) -> list[str]:
    """The next commands but for those of the verdict, which stand beside it."""
    told = set(report.verdict.next) if report.verdict else set()
    return [command for command in dict.fromkeys(report.next) if command not in told]


_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|\S)+""")


def split_comment(command: str) -> tuple[list[str], str]:
    """A command in words, what is quoted left whole, and the comment that a shell would pass over."""
    words = _WORD.findall(command)
    if "#" not in words:
        return words, ""
    at = words.index("#")
    return words[:at], " ".join(words[at + 1 :])


def skips(report: Report) -> list[tuple[str, list[str]]]:
    """What was lacking, and the rules that could not be judged for want of it."""
    found: dict[str, list[str]] = {}
    for skip in report.skips:
        found.setdefault(skip.lacks, []).append(skip.rule)
    return list(found.items())


def told(skip: tuple[str, list[str]]) -> str:
    """What `skips` found as a sentence."""
    lacks, rules = skip
    return f"{', '.join(rules)}: for want of {lacks}"


def withheld(report: Report) -> list[tuple[str, list[str]]]:
    """What was replaced, and where and how often."""
    found: dict[str, list[str]] = {}
    for one in report.redactions:
        found.setdefault(one.what, []).append(one.where if one.times == 1 else f"{one.where}, {one.times} times")
    return list(found.items())


def unobserved(report: Report) -> list[str]:
    """What was not observed, with what is said of several stretches said once."""
    found: dict[str, list[str]] = {}
    for text in report.unobserved:
        where, colon, what = text.partition(": ")
        found.setdefault(f"{colon}{what}", []).append(where)
    return [f"{', '.join(wheres)}{what}" for what, wheres in found.items()]


def calm(report: Report) -> bool:
    """Whether nothing is wrong that anybody would have to look at."""
    return all(finding.severity is Severity.NOTE for finding in findings(report))


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


@dataclass(frozen=True, slots=True)
class Kind:
    """Connections that came to the same result, and the report of the first."""

    first: Report
    times: int


def kinds(reports: Reports) -> list[Kind]:
    """The reports by what they found, those with problems first as they stand in the file."""
    groups: dict[object, list[Report]] = {}
    for report in reports.reports:
        verdict = report.verdict
        key = (verdict.rule, verdict.confidence, verdict.segment, verdict.header) if verdict else calm(report)
        groups.setdefault(key, []).append(report)
    return [Kind(group[0], len(group)) for group in groups.values()]
