"""Markdown for an issue on GitHub or GitLab: the verdict first, and nothing that the traffic wrote is live.

What comes from strangers stands in code spans and fences, where neither site looks for mentions, references, links,
HTML or emphasis (their filters pass over `code` and `pre`). A sentence is let through word by word: only plain words
and small numbers stand outside of code, so that no list of dangerous syntax has to be complete.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from wsprobe.model import Finding, Place, Remedy, Replaced, Report, Reports, Row, Spread
from wsprobe.reports import _life, _sequence, _view
from wsprobe.reports._path import draw
from wsprobe.reports._text import shortened, visible

T = TypeVar("T")

NAME = "markdown"
SUFFIXES = (".md",)

LONGEST = 60_000
"""Characters of a document; GitHub takes 65,536 in an issue or a comment."""

_WORD = re.compile(r"""(?<!\S)[("\u201c]*`[^`]+`[)"\u201d.,:;?]*(?!\S)|\S+""")
_QUOTED = re.compile("`[^`]+`")
"""What a message of ours already gives as code, in one piece."""

_AROUND = re.compile(r"""([("\u201c]*)(.*?)([)"\u201d.,:;?]*)""", re.DOTALL)
"""A word between the punctuation of a sentence, none of which means anything to Markdown."""

# Letters, in one word or in joined ones, or a number that cannot be a reference.
_PLAIN = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d{1,6}(?:\.\d{1,6})?")
_COMMIT = re.compile(r"\b[0-9a-f]{7,40}\b", re.IGNORECASE)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_COMMAND = re.compile("^/", re.MULTILINE)
_LIST = re.compile(r"\d+[.)]")


def inert(text: str) -> str:
    """A sentence in which every word that could be more than a word stands in a code span."""
    parts: list[str] = []
    for word in _WORD.findall(visible(text)):
        before, core, after = _AROUND.fullmatch(word).groups()  # type: ignore[union-attr]  # it matches any word
        if not core or (not parts and _LIST.fullmatch(word)):  # "1." would begin a list
            before, core, after = "", word, ""
        elif _PLAIN.fullmatch(core) and not _COMMIT.search(core):
            parts.append(word)
            continue
        parts.append(f"{before}{code(core[1:-1] if _QUOTED.fullmatch(core) else core)}{after}")
    return " ".join(parts)


def code(text: str) -> str:
    """A code span (CommonMark 6.1) that holds the text whatever backticks are in it; nothing for no text."""
    text = untagged(visible(text))
    if not text:
        return ""
    fence = "`" * (_longest_run(text) + 1)
    padded = text.strip(" ") and (text[0] in "` " or text[-1] in "` ")  # spaces alone are not stripped
    return f"{fence} {text} {fence}" if padded else f"{fence}{text}{fence}"


def untagged(text: str) -> str:
    """The text without the beginning of a tag: Markdown is also shown by what knows no code spans."""
    return _TAG.sub(r"\\x3c", text)


def block(lines: Iterable[str], language: str) -> str:
    """A fenced code block (CommonMark 4.5) that holds the lines whatever backticks are in them."""
    # A fence that is longer than three is not seen by all that look for GitLab's quick actions line by line.
    body = _COMMAND.sub(" /", untagged("\n".join(lines)))
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def cell(markdown: str) -> str:
    r"""Markdown as it may stand in a table (GFM 4.10), where a pipe ends the cell, in a code span too.

    Renderers differ about `\\|`, so a backslash before a pipe is told as `\x5c`.
    """
    return markdown.replace("\\|", "\\x5c|").replace("|", "\\|")


@dataclass(frozen=True, slots=True)
class _Size:
    """How much is shown, and in `left_out` what is not, in words.

    `frames` of each hop, the headers in which nothing happened (`everything`), the `hops` between those that say most,
    items of a list, characters of one text.
    """

    left_out: tuple[str, ...] = ()
    frames: bool = True
    everything: bool = True
    hops: bool = True
    items: int = 200
    characters: int = 2000


_FRAMES = ("the frames of each hop",)
_QUIET = (*_FRAMES, "headers in which nothing happened")
_HOPS = (*_QUIET, "hops between those that say most")
_LISTS = (*_HOPS, "the ends of long lists", "the middle of long texts")

# From all there is down to what is small whatever the report holds. Nothing is cut but in the middle of a value.
_SIZES = (
    _Size(),
    _Size(left_out=_FRAMES, frames=False),
    _Size(left_out=_QUIET, frames=False, everything=False),
    _Size(left_out=_HOPS, frames=False, everything=False, hops=False),
    _Size(left_out=_LISTS, frames=False, everything=False, hops=False, items=50, characters=400),
    _Size(left_out=_LISTS, frames=False, everything=False, hops=False, items=20, characters=200),
    _Size(left_out=_LISTS, frames=False, everything=False, hops=False, items=8, characters=120),
    _Size(left_out=_LISTS, frames=False, everything=False, hops=False, items=2, characters=60),
)


def render(report: Report, *, room: int = LONGEST) -> str:
    """One report, at most 60,000 characters: where it is longer, what says least is left out, and that is said.

    `room` is less where something of another's stands beside it.
    """
    return _fitting(lambda size: _Page(size).report(report), room)


def render_all(reports: Reports, *, room: int = LONGEST) -> str:
    """Several connections: their numbers, each result, and the report of each problem, in 60,000 characters."""
    if len(reports.reports) == 1:
        return render(reports.reports[0], room=room)
    return _fitting(lambda size: _Page(size).reports(reports), room)


def _fitting(written: Callable[[_Size], Iterator[str]], room: int) -> str:
    """The first size that fits; the last one always does."""
    for size in _SIZES:
        parts: list[str] = []
        length = 0
        for part in filter(None, written(size)):
            parts.append(part)
            length += len(part) + 2
            if length > room:
                break
        else:
            break
    return "\n\n".join(parts) + "\n"


class _Page:
    """The parts of a document in one size."""

    def __init__(self, size: _Size) -> None:
        self._size = size

    def report(self, report: Report) -> Iterator[str]:
        """All parts of one report; an empty one is to be passed over."""
        yield from self._verdict(report)
        yield block(["".join(text for text, _ in line) for line in draw(report, 100)], "text")
        yield from self._hops(report)
        yield from self._diagrams(report)
        yield from self._matrix(report)
        yield from self._why(report)
        yield from self._what_to_do(report)
        yield self._commands("Next", _view.commands(report))
        yield _details("Findings and their evidence", self._findings(report))
        yield _details("How it was observed, and what was not", self._reach(report))
        yield _details("What passed at each hop", self._passed(report))
        yield self._manifest(report)
        yield self._foot(report)

    def reports(self, reports: Reports) -> Iterator[str]:
        """The overview, and the report of each kind of problem."""
        summary = reports.summary
        kinds = _view.kinds(reports)
        yield f"**{_view.counted(summary.connections, 'connection')}**, {summary.healthy} healthy"
        yield self._table(["connections", "result"], kinds, lambda kind: [str(kind.times), self._result(kind.first)])
        yield self._list("Nodes", summary.said, self._prose)
        yield self._table(["phase", "p50", "p95", "p99"], list(summary.phases.items()), self._phase)
        for kind in [kind for kind in kinds if kind.first.verdict][: self._size.items]:
            yield "---"
            yield from self.report(kind.first)

    # Texts and lists in this size.

    def _prose(self, text: str) -> str:
        return inert(shortened(visible(text), self._size.characters))

    def _code(self, text: str) -> str:
        return code(shortened(visible(text), self._size.characters))

    def _bold(self, text: str) -> str:
        return f"**{shown}**" if (shown := self._prose(text)) else ""

    def _list(self, title: str, items: Sequence[T], shown: Callable[[T], str]) -> str:
        """A list with its title; nothing where it is empty."""
        lines = [f"- {shown(item)}" for item in items[: self._size.items]]
        if len(items) > len(lines):
            lines.append(f"- and {len(items) - len(lines)} more, which the JSON report has")
        return "\n".join([f"**{title}**", "", *lines]) if items else ""

    def _table(self, heads: Sequence[str], rows: Sequence[T], shown: Callable[[T], Sequence[str]]) -> str:
        """A table, nothing where it has no row."""
        if not rows:
            return ""
        lines = [heads, ["---"] * len(heads), *(shown(row) for row in rows[: self._size.items])]
        table = "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)
        more = len(rows) - self._size.items
        return f"{table}\n\n{more} more rows are in the JSON report." if more > 0 else table

    def _commands(self, title: str, commands: Sequence[str]) -> str:
        lines = []
        for command in commands[: self._size.items]:
            words, comment = _view.split_comment(shortened(visible(command), self._size.characters))
            lines += [f"# {comment}"] if comment else []
            lines.append(" ".join(words))
        return f"**{title}**\n\n{block(lines, 'sh')}" if lines else ""

    # The parts.

    def _title(self, finding: Finding) -> str:
        where = " → ".join(self._code(end) if end else "?" for end in finding.segment or ())
        return f"{self._bold(finding.rule)} ({finding.confidence.value}){f', {where}' if where else ''}"

    def _result(self, report: Report) -> str:
        if report.verdict is None:
            return self._prose(report.summary)
        return f"{self._title(report.verdict)} {self._code(report.verdict.header or '')}".rstrip()

    def _phase(self, phase: tuple[str, Spread]) -> list[str]:
        name, spread = phase
        return [self._code(name), *(_view.seconds(time) for time in (spread.p50, spread.p95, spread.p99))]

    def _verdict(self, report: Report) -> Iterator[str]:
        verdict = report.verdict
        if verdict is None:
            yield self._bold(report.summary)
            return
        yield self._title(verdict)
        yield self._prose(verdict.message)
        yield f"Fix: {self._prose(verdict.fix)}" if verdict.fix else ""
        yield self._list("Not ruled out", verdict.others, self._prose)
        yield self._list("Not tested", verdict.untested, self._prose)
        yield self._commands("What would settle it", verdict.next)

    def _diagrams(self, report: Report) -> Iterator[str]:
        """What happened, and beside it what should have happened."""
        yield f"**What happened**\n\n{block([_sequence.happened(report, frames=self._size.frames)], 'mermaid')}"
        if should := _sequence.expected(report):
            yield f"**What should have happened**\n\n{block([should], 'mermaid')}"

    def _matrix(self, report: Report) -> Iterator[str]:
        matrix = _view.matrix(report)
        states = {cell.state for row in matrix.rows for cell in row.cells}
        yield self._rows(matrix.rows, report)
        yield ", ".join(f"{sign} {state.value}" for state, sign in _view.GLYPHS.items() if state in states)
        if self._size.everything:
            title = f"{_view.counted(len(matrix.quiet), 'header')} in which nothing happened"
            yield _details(title, [self._rows(matrix.quiet, report)])

    def _shown(self, report: Report) -> list[int]:
        """The hops to show: all of them, or those that say most."""
        every = range(len(report.trace.hops)) if self._size.hops else _view.landmarks(report)
        return list(every)[: self._size.items]

    def _rows(self, rows: Sequence[Row], report: Report) -> str:
        hops = report.trace.hops
        places = self._shown(report)

        def shown(row: Row) -> list[str]:
            value = " → ".join(self._code(text) for text in _view.change(row) if text)
            cells = _view.cells(row, len(hops))
            return [self._code(_view.name(row)), *(_view.GLYPHS[cells[at].state] for at in places), value]

        return self._table(["header", *(self._code(hops[at].name) for at in places), "value"], rows, shown)

    def _hops(self, report: Report) -> Iterator[str]:
        def shown(index: int) -> list[str]:
            hop = report.trace.hops[index]
            told = [_view.answer(hop), _view.ending(report, index), f"{hop.recorder.kind} on {hop.instance}"]
            cells = [_view.GLYPHS[_view.cells(row, len(report.trace.hops))[index].state] for row in blamed]
            return [self._code(hop.name), *cells, *map(self._prose, told)]

        blamed = [row for row in _view.matrix(report).rows if report.verdict and row.name == report.verdict.header][:1]
        places = self._shown(report)
        heads = ["hop", *(self._code(row.name) for row in blamed), "answer", "ending", "recorder"]
        yield self._table(heads, places, shown)
        more = len(report.trace.hops) - len(places)
        yield f"{_view.counted(more, 'more hop')} between these." if more else ""

    def _passed(self, report: Report) -> Iterator[str]:
        if not self._size.frames:
            return
        found = [(hop.name, told) for hop in report.trace.hops if (told := _view.passed(hop))]
        yield self._table(
            ["hop", "frames and pings"], found, lambda one: [self._code(one[0]), self._prose("; ".join(one[1]))]
        )
        for hop in report.trace.hops:
            events = _life.in_order(hop)
            if any(event.opcode for event in events):
                yield f"In order at {self._code(hop.name)}, by its own clock:"
                yield self._table(["at", "sender", "what", "octets"], events, self._event)

    def _event(self, event: _life.Event) -> list[str]:
        octets = "" if event.close else str(event.octets)
        return [_view.span(event.begin, event.end), event.sender.value, event.what, octets]

    def _why(self, report: Report) -> Iterator[str]:
        if report.writeup is None:
            return
        lines = []
        for number, (sure, link) in enumerate(_view.chain(report.writeup)[: self._size.items], 1):
            start = f"{number}. "
            lines.append(f"{start}**{sure}**: {self._prose(link.what)}")
            lines += [f"{' ' * len(start)}- {self._place(place)}" for place in link.places[: self._size.items]]
        yield "\n".join(["**Why it happened**, from the symptom to the root", "", *lines])
        yield self._prose(report.writeup.proven)

    def _what_to_do(self, report: Report) -> Iterator[str]:
        if report.writeup is None:
            return
        for remedy in report.writeup.fixes[: self._size.items]:
            yield from self._remedy(remedy)
        yield self._commands("How to verify", report.writeup.verify)
        yield self._commands("How to prevent", report.writeup.prevent)

    def _remedy(self, remedy: Remedy) -> Iterator[str]:
        line = remedy.line
        where = f", {self._code(_view.place(line))}" if line else ""
        yield f"**Fix** ({remedy.who.value}{where}): {self._prose(remedy.what)}"
        if line and remedy.instead is not None and len(line.text) <= self._size.characters:
            instead = [f"+{visible(remedy.instead)}"] if remedy.instead else []
            yield block([f"-{visible(line.text)}", *instead], "diff")

    def _findings(self, report: Report) -> Iterator[str]:
        for finding in _view.findings(report)[: self._size.items]:
            yield f"{finding.severity.value.capitalize()}: {self._title(finding)}"
            if finding != report.verdict:
                yield self._prose(finding.message)
            yield self._list("Evidence", finding.places, self._place)

    def _place(self, place: Place) -> str:
        return f"{self._code(place.hop)}, {self._prose(place.part)}: {self._code(place.shows)}"

    def _reach(self, report: Report) -> Iterator[str]:
        yield self._list("Connection", report.connection, self._prose)
        yield self._list("Configs", report.config, self._prose)
        yield self._list("Controls", report.controls, lambda one: self._prose(f"{one.name}: {one.result}"))
        yield self._list("Not observed", _view.unobserved(report), self._prose)
        yield self._list("Not judged", _view.skips(report), lambda skip: self._prose(_view.told(skip)))
        yield self._list("What the recorders alter", report.alters, self._prose)

    def _manifest(self, report: Report) -> str:
        def shown(one: Replaced) -> list[str]:
            return [self._prose(one.what), self._prose(one.where), str(one.times)]

        times = sum(one.times for one in report.redactions)
        table = self._table(["what", "where", "times"], report.redactions, shown)
        return _details(f"{_view.counted(times, 'value')} withheld", [table])

    def _foot(self, report: Report) -> str:
        parts = [self._code(report.subject), self._code(_view.when(report)), f"wsprobe {self._prose(report.version)}"]
        foot = f"<sub>{', '.join(part for part in parts if part)}</sub>"
        if not self._size.left_out:
            return foot
        return f"Left out to fit: {', '.join(self._size.left_out)}. The attached JSON report has all of it.\n\n{foot}"


def _details(title: str, parts: Iterable[str]) -> str:
    content = "\n\n".join(filter(None, parts))
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>" if content else ""
