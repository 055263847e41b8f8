"""What happened as a Mermaid sequence diagram, and beside it what should have happened.

A text of the traffic is told letter by letter: all but letters, digits and a few signs stand as entity codes, so that
none of it is Mermaid's syntax, Markdown or HTML. A diagram has fewer than 40 messages however long the path is and
however much passed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from wsprobe.model import Close, Ending, Finding, Frames, Observation, Report, Sender, State
from wsprobe.reports import _life, _view
from wsprobe.reports._text import shortened, visible

MOST_STATIONS = 8
"""Stations that a diagram has: seven links with a request, an answer and two ends each stay below 40 messages."""

MOST_EVENTS, MOST_AFTER = 8, 4
"""Arrows of what passed before the first end, and after it; what lies between the first and the last is counted."""

_PLAIN = frozenset(" .,()=_-/")
_LONGEST_NAME, _LONGEST_TEXT, _LONGEST_TARGET = 40, 100, 48
_FAR_ENDS = frozenset({"origin", "application"})
_GUILTY = "rgba(220, 38, 38, 0.16)"
_SWITCHING = "101"
_SIDES = (Sender.CLIENT, Sender.SERVER)
_AT_THE_ANSWER = frozenset({"upgrade-refused", "redirected", "malformed-response", "no-answer", "subprotocol-dropped"})
_AT_THE_END = frozenset(
    {
        "close-code-rewritten",
        "closed-by-origin",
        "closed-by-client",
        "closed-without-frame",
        "idle-timeout",
        "lifetime-limit",
        "broken-frames",
        "expectation-unmet",
    }
)


def escaped(text: str, room: int = _LONGEST_TEXT) -> str:
    """A text as a label: what is not a letter, a digit or a harmless sign as an entity code."""
    return "".join(
        character if character.isalnum() or character in _PLAIN else f"#{ord(character)};"
        for character in shortened(visible(text), room)
    )


def happened(report: Report, *, frames: bool = True) -> str:
    """The diagram of what was observed, from the request to the end; without `frames` these are only counted."""
    return _Diagram(report, frames=frames).happened()


def expected(report: Report) -> str:
    """The diagram of what a healthy upgrade would have been on the same path; empty where nothing went wrong."""
    hops = report.trace.hops
    asked = any(hop.handshake and hop.handshake.asked for hop in hops)
    if report.verdict is None or not asked:
        return ""
    return _Diagram(report).expected()


@dataclass(frozen=True, slots=True)
class _Station:
    """A lifeline: what it is called, and the hop that it stands for; several that are not shown have none."""

    name: str
    hop: Observation | None = None
    index: int | None = None


class _Diagram:
    """One report as lines of Mermaid."""

    def __init__(self, report: Report, *, frames: bool = True) -> None:
        self._report = report
        self._frames = frames
        self._verdict = report.verdict
        self._stations = _stations(report)

    def happened(self) -> str:
        """All that was seen, the guilty stretch marked."""
        lines = [*self._head()]
        for phase, part in (("request", self._requests), ("answer", self._answers), ("end", self._ends)):
            lines += self._marked(list(part()), phase) if self._verdict and _phase(self._verdict) == phase else part()
            lines += self._passed() if phase == "answer" else []
        lines += self._passed(after=True)
        return "\n".join(lines)

    def expected(self) -> str:
        """The same path with nothing lost and nothing ended."""
        lines = [*self._head()]
        last = len(self._stations) - 1
        credential = self._header()
        beside = f" with {credential}" if credential else ""
        lines += [self._arrow(at, at + 1, f"{self._asked()}{beside}") for at in range(last)]
        lines += [self._arrow(at + 1, at, "101 Switching Protocols", back=True) for at in reversed(range(last))]
        if last:
            lines.append(self._over(0, last, self._promise()))
        return "\n".join(lines)

    def _head(self) -> Iterator[str]:
        yield "sequenceDiagram"
        for at, station in enumerate(self._stations):
            yield f"    participant p{at} as {escaped(station.name, _LONGEST_NAME) or '#63;'}"

    def _arrow(self, begin: int, end: int, text: str, *, back: bool = False, cut: bool = False) -> str:
        stroke = ("--x" if cut else "-->>") if back else ("-x" if cut else "->>")
        return f"    p{begin}{stroke}p{end}: {escaped(text) or '#8230;'}"

    def _over(self, begin: int, end: int, text: str) -> str:
        over = f"p{begin}" if begin == end else f"p{begin},p{end}"
        return f"    Note over {over}: {escaped(text) or '#8230;'}"

    # What was asked and answered.

    def _asked(self) -> str:
        hop = next((hop for hop in self._report.trace.hops if hop.request), None)
        words = hop.request.start_line.split(" ") if hop and hop.request else []
        target = shortened(visible(words[1]), _LONGEST_TARGET) if len(words) > 1 else ""
        return f"{words[0][:12]} {target}" if target else "request"

    def _header(self) -> str:
        """The header that the verdict is about, or the credential that the request had."""
        if self._verdict and self._verdict.header:
            return self._verdict.header
        rows = (row for row in self._report.matrix if row.message == "request")
        return next((row.name for row in rows if row.name.lower() == "authorization"), "")

    def _carried(self, station: _Station) -> str:
        """What became of that header at a hop, in words that follow the request; nothing where it has no row."""
        name = self._header()
        rows = (row for row in self._report.matrix if row.message == "request" and row.name.lower() == name.lower())
        row = next(rows, None)
        if row is None or station.index is None or station.index >= len(row.cells):
            return ""
        state = row.cells[station.index].state
        words = {
            State.PRESENT: "with",
            State.UNCOMPARED: "with",
            State.ABSENT: "without",
            State.ALTERED: "with another",
        }
        return f" {words[state]} {name}" if state in words else ""

    def _requests(self) -> Iterator[str]:
        asked = self._asked()
        for at in range(1, len(self._stations)):
            outer, inner = self._stations[at - 1], self._stations[at]
            told = inner if inner.hop else outer
            if told.hop is None or told.hop.request is None:
                continue
            yield self._arrow(at - 1, at, f"{asked}{self._carried(told)}")

    def _answers(self) -> Iterator[str]:
        for at in reversed(range(len(self._stations))):
            hop = self._stations[at].hop
            if hop is None or (at == len(self._stations) - 1 and at):
                continue
            if hop.response:
                words = hop.response.start_line.partition(" ")[2] or hop.response.start_line
                yield self._back(at, words)
            elif hop.failure:
                yield self._over(at, at, f"failed at {hop.failure.phase}: {hop.failure.message}")
            elif hop.request:
                yield self._over(at, at, "no answer")

    def _back(self, at: int, text: str, *, cut: bool = False) -> str:
        """An arrow that comes back to a station from the one behind it."""
        if at + 1 >= len(self._stations):
            return self._over(at, at, text)
        return self._arrow(at + 1, at, text, back=True, cut=cut)

    # The life of the connection, and its end.

    def _passed(self, *, after: bool = False) -> Iterator[str]:
        """What passed at the outermost hop before its end, or `after`: in order if that was kept, else in numbers."""
        hop = self._stations[0].hop
        if hop is None or hop.frames is None or len(self._stations) == 1:
            return
        if self._frames and _life.kept(hop):
            end = hop.closes[0].at if hop.closes else math.inf
            events = [event for event in _life.in_order(hop, together=math.inf) if not event.close]
            told = [event for event in events if (event.begin > end) is after]
            yield from (self._event(event) for event in _few(told, MOST_AFTER if after else MOST_EVENTS))
        elif not after:
            yield from self._counts(hop.frames)

    def _ways(self, side: Sender) -> tuple[int, int]:
        """From where to where frames of a side are drawn: past the next hop only if no hop counted them otherwise."""
        seen = [getattr(hop.frames, side.value) for hop in self._report.trace.hops if hop.frames]
        far = len(self._stations) - 1 if all(one == seen[0] for one in seen) else 1
        return (0, far) if side is Sender.CLIENT else (far, 0)

    def _event(self, event: _life.Event) -> str:
        begin, end = self._ways(event.sender)
        at, until = _view.seconds(event.begin), _view.seconds(event.end)
        when = f"at {at}" if at == until else f"{at} to {until}"
        octets = _view.counted(event.octets, "octet")
        return self._arrow(begin, end, f"{event.what}, {octets}, {when}", back=begin > end)

    def _counts(self, frames: Frames) -> Iterator[str]:
        for side, counts in ((Sender.CLIENT, frames.client), (Sender.SERVER, frames.server)):
            ends = self._ways(side)
            told = ", ".join(f"{one.frames} {name}" for name, one in counts.items() if name != "close")
            if told:
                yield self._arrow(*ends, told, back=ends[0] > ends[1])

    def _ends(self) -> Iterator[str]:
        hops = [(at, one.hop) for at, one in enumerate(self._stations) if one.hop]
        # What never got an answer has been told as failed; that the recorder then let go is no end of its own.
        closed = [(at, hop.closes[0]) for at, hop in hops if hop.closes and not (hop.failure and hop.response is None)]
        for at, close in reversed(closed):
            if close.sender is Sender.SERVER and not (at and at == len(self._stations) - 1):
                yield self._back(at, _end(close), cut=close.ending is not Ending.FRAME)
        for at, close in closed:
            if close.sender is Sender.LOCAL:
                yield self._over(at, at, f"the recorder ended it: {_end(close)}")
            elif close.sender is Sender.CLIENT and len(self._stations) > 1:
                if not at and len(closed) > 1 and closed[1][0] == 1 and closed[1][1].sender is Sender.CLIENT:
                    continue  # the next hop tells when it arrived
                begin = max(0, at - 1)
                yield self._arrow(begin, begin + 1, _end(close), cut=close.ending is not Ending.FRAME)
        outermost = self._stations[0].hop
        if not closed and outermost and outermost.response and _answered(outermost) == _SWITCHING:
            yield self._over(0, len(self._stations) - 1, "still open when the observation ended")

    def _marked(self, drawn: list[str], phase: str) -> list[str]:
        """The lines of a phase with the verdict where it happened, in a box with the arrow that shows it."""
        verdict = self._verdict
        if verdict is None:
            return drawn
        begin, end = self._segment(verdict)
        name = f"{verdict.header}: " if verdict.header else ""
        note = self._over(begin, end, f"✗ {name}{verdict.rule} ({verdict.confidence.value})")
        arrow = f"    p{begin}->>p{end}:" if phase == "request" else f"    p{end}--"
        at = next((at for at, line in enumerate(drawn) if line.startswith(arrow)), None)
        boxed = [note] if at is None else [drawn[at], note]
        rest = (drawn, []) if at is None else (drawn[:at], drawn[at + 1 :])
        return [*rest[0], f"    rect {_GUILTY}", *(f"    {line}" for line in boxed), "    end", *rest[1]]

    def _segment(self, verdict: Finding) -> tuple[int, int]:
        names = [station.hop.name if station.hop else None for station in self._stations]
        outer, inner = verdict.segment or (None, None)
        begin = names.index(outer) if outer in names else 0
        end = names.index(inner) if inner is not None and inner in names else len(names) - 1
        return min(begin, end), max(begin, end)

    def _promise(self) -> str:
        rule = self._verdict.rule if self._verdict else ""
        if rule == "idle-timeout":
            return "stays open while pings pass, however long it is silent"
        if rule in {"token-expired", "token-invalid"}:
            return "a token that holds is taken, and the connection stays open"
        return "stays open until one side closes it with 1000"


def _few(events: list[_life.Event], most: int) -> list[_life.Event]:
    """The first events and the last ones; of each side, what lies between these is one more."""
    if len(events) <= most:
        return events
    late = most // 4
    early = events[: most - late - 2]
    sums = [_sum([one for one in events[len(early) : -late] if one.sender is side]) for side in _SIDES]
    return [*early, *filter(None, sums), *events[-late:]]


def _sum(events: list[_life.Event]) -> _life.Event | None:
    if not events:
        return None
    frames, octets = sum(one.frames for one in events), sum(one.octets for one in events)
    end, kind = max(one.end for one in events), _life.more(frames)
    return _life.Event(begin=events[0].begin, end=end, sender=events[0].sender, kind=kind, frames=frames, octets=octets)


def _phase(verdict: Finding) -> str:
    if verdict.rule in _AT_THE_ANSWER:
        return "answer"
    return "end" if verdict.rule in _AT_THE_END else "request"


def _answered(hop: Observation) -> str:
    return hop.response.start_line.split(" ")[1] if hop.response and " " in hop.response.start_line else ""


def _end(close: Close) -> str:
    when = f" after {_view.seconds(close.at)}"
    match close.ending:
        case Ending.FRAME:
            code = "close frame without a code" if close.code is None else f"close {close.code}"
            return f"{code}{when}"  # the table of hops has the reason
        case Ending.EOF:
            return f"end of TCP without a close frame{when}"
        case Ending.RESET:
            return f"TCP reset{when}"
    return f"nothing more{when}"


def _stations(report: Report) -> list[_Station]:
    """The lifelines: the hops, what is beyond the last one, and in place of hops between one that counts them."""
    hops = report.trace.hops
    shown = [_Station(hop.name, hop, index) for index, hop in enumerate(hops)]
    if report.trace.order is None and len(hops) > 1:
        known = 1 if hops[0].recorder.kind == "probe" else 0
        others = ", ".join(hop.name for hop in hops[known:])
        return [*shown[:known], _Station(f"{others} (order not known)")]
    open_end = not hops or hops[-1].recorder.kind not in _FAR_ENDS
    room = MOST_STATIONS - open_end
    if len(shown) > room:
        shown = _collapsed(shown, report)
    return [*shown, _Station("not observed")] if open_end else shown


def _collapsed(shown: list[_Station], report: Report) -> list[_Station]:
    """The ends of the path and of the guilty stretch; what lies between them is one lifeline each."""
    kept = _view.landmarks(report)
    found: list[_Station] = []
    for at, index in enumerate(kept):
        between = index - kept[at - 1] - 1 if at else 0
        found += [_Station(_view.counted(between, "hop"))] if between else []
        found.append(shown[index])
    return found
