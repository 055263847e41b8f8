"""One side of a comparison: its reports, with the questions that are asked of them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from wsprobe import closecodes
from wsprobe.comparison import Side
from wsprobe.ends import first_close, is_healthy
from wsprobe.groups import nodes
from wsprobe.model import Close, Ending, Finding, Observation, Redaction, Report, Sender, Severity
from wsprobe.path import SWITCHING, Path, code_of

_ENDS = {
    Ending.EOF: "TCP ended (FIN) without a close frame",
    Ending.RESET: "reset (RST) without a close frame",
    Ending.TIMEOUT: "given up waiting for it",
}
STAYED_OPEN = "stayed open as long as it was watched"


@dataclass(frozen=True, slots=True)
class One:
    """One connection with what is asked of it."""

    report: Report
    problems: tuple[Finding, ...]
    well: bool
    result: str

    @property
    def hop(self) -> Observation:
        """What the client got."""
        return self.report.trace.hops[0]

    @property
    def open(self) -> bool:
        """Whether it stayed open as long as it was watched."""
        return self.result == STAYED_OPEN

    @property
    def lasted(self) -> float | None:
        """Seconds until its end began or it was let go; None while it goes on."""
        ended = first_close(self.hop)
        return ended.at if ended else self.hop.ended


@dataclass(frozen=True)
class Group:
    """All connections of one side."""

    ones: tuple[One, ...]

    @cached_property
    def hops(self) -> tuple[str, ...]:
        """The names of the recorded hops, the client's side first."""
        return tuple(dict.fromkeys(hop.name for one in self.ones for hop in one.report.trace.hops))

    @cached_property
    def recorders(self) -> frozenset[str]:
        """Who recorded; of a connection that failed also who saw nothing of it, since it may have ended before."""
        return frozenset(self.hops).union(*(one.report.trace.silent for one in self.failed))

    @cached_property
    def failed(self) -> tuple[One, ...]:
        """The connections that did not go well."""
        return tuple(one for one in self.ones if not one.well)

    @property
    def well(self) -> int:
        """How many went well."""
        return len(self.ones) - len(self.failed)

    @cached_property
    def nodes(self) -> dict[str, set[str]]:
        """The nodes that were met, by what names them."""
        return nodes(one.hop for one in self.ones)

    @cached_property
    def credentials(self) -> dict[str, list[Redaction]]:
        """What was withheld from the requests, by where it stood."""
        found: dict[str, list[Redaction]] = {}
        for one in self.ones:
            for where, redaction in _sent(one.hop):
                found.setdefault(where, []).append(redaction)
        return found


def group(reports: Sequence[Report]) -> Group:
    """The reports of one side, each of at least one hop."""
    return Group(tuple(map(_one, reports)))


def _one(report: Report) -> One:
    path = Path(report.trace)
    problems = tuple(finding for finding in report.findings if finding.severity is not Severity.NOTE)
    well = not problems and (path.healthy or not path.asks_for_websocket)
    return One(report, problems, well, _result(path.outermost))


def _result(hop: Observation) -> str:
    """What the client got, in few words, so that many connections can be counted by it."""
    if hop.failure:
        return f"failed at {hop.failure.phase}"
    code = code_of(hop)
    if code != SWITCHING:
        return f"answered {code}" if code else "not answered"
    ended = first_close(hop)
    if ended is None or (ended.sender is not Sender.SERVER and is_healthy(ended)):
        return STAYED_OPEN
    return _ended(ended)


def _ended(close: Close) -> str:
    who = {Sender.CLIENT: " by the client", Sender.LOCAL: " by the recorder"}.get(close.sender, "")
    if close.ending is not Ending.FRAME:
        return _ENDS[close.ending] + who
    code = "without a code" if close.code is None else f"with {close.code} ({closecodes.name(close.code)})"
    return f"closed {code}{who}"


def _sent(hop: Observation) -> Iterator[tuple[str, Redaction]]:
    headers = hop.request.headers if hop.request else ()
    for redaction in hop.redactions:
        if redaction.message == "request" and redaction.header is None:
            yield f"query {redaction.name}", redaction
        elif redaction.message == "request" and redaction.header is not None and 0 <= redaction.header < len(headers):
            yield headers[redaction.header][0].lower(), redaction


def side(one: Group, urls: tuple[str, ...]) -> Side:
    """What a comparison shows of one side."""
    times = sorted(each.hop.at for each in one.ones)
    lasted = [each.lasted for each in one.ones if each.lasted is not None]
    return Side(
        urls=urls,
        versions=tuple(sorted({each.report.version for each in one.ones})),
        first=times[0],
        last=times[-1],
        connections=len(one.ones),
        well=one.well,
        open=sum(each.open for each in one.ones),
        watched=max(lasted, default=None),
        hops=one.hops,
        credentials=tuple(sorted(one.credentials)),
    )
