"""Markdown for an issue on GitHub or GitLab: the verdict first, and nothing that the traffic wrote is live.

What comes from strangers stands in code spans and fences, where neither site looks for mentions, references, links,
HTML or emphasis (their filters pass over `code` and `pre`). A sentence is let through word by word: only plain words
and small numbers stand outside of code, so that no list of dangerous syntax has to be complete.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wsprobe.model import Finding, Report, Reports, Row
from wsprobe.reports import _view
from wsprobe.reports._path import draw
from wsprobe.reports._text import shortened, visible

NAME = "markdown"
SUFFIX = ".md"

LONGEST = 60_000
"""Characters of a document; GitHub takes 65,536 in an issue or a comment."""

_AROUND = re.compile(r"""([("\u201c]*)(.*?)([)"\u201d.,:;?]*)""", re.DOTALL)
"""A word between the punctuation of a sentence, none of which means anything to Markdown."""

# Letters, in one word or in joined ones, or a number that cannot be a reference.
_PLAIN = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d{1,6}(?:\.\d{1,6})?")
_COMMIT = re.compile(r"[0-9a-f]{7,40}", re.IGNORECASE)
_LIST = re.compile(r"\d+[.)]")


def inert(text: str) -> str:
    """A sentence in which every word that could be more than a word stands in a code span."""
    parts: list[str] = []
    words = visible(text).split()
    for at, word in enumerate(words):
        before, core, after = _AROUND.fullmatch(word).groups()  # type: ignore[union-attr]  # it matches any word
        if not core or (at == 0 and _LIST.match(word)):  # "1." would begin a list
            before, core, after = "", word, ""
        elif _PLAIN.fullmatch(core) and not _COMMIT.fullmatch(core):
            parts.append(word)
            continue
        parts.append(f"{before}{code(core)}{after}")
    return " ".join(parts)


def code(text: str) -> str:
    """A code span (CommonMark 6.1) that holds the text whatever backticks are in it; nothing for no text."""
    text = visible(text)
    if not text:
        return ""
    fence = "`" * (_longest_run(text) + 1)
    padded = text.strip(" ") and (text[0] in "` " or text[-1] in "` ")  # spaces alone are not stripped
    return f"{fence} {text} {fence}" if padded else f"{fence}{text}{fence}"


def block(lines: Iterable[str], language: str) -> str:
    """A fenced code block (CommonMark 4.5) that holds the lines whatever backticks are in them."""
    body = "\n".join(lines)
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
    """How much is shown: the headers that are the same everywhere, items of a list, characters of one text."""

    everything: bool
    items: int
    characters: int


# From all there is down to what is small whatever the report holds. Nothing is cut but at the end of a value.
_SIZES = (
    _Size(everything=True, items=200, characters=2000),
    _Size(everything=False, items=200, characters=2000),
    _Size(everything=False, items=50, characters=400),
    _Size(everything=False, items=20, characters=200),
    _Size(everything=False, items=8, characters=120),
    _Size(everything=False, items=2, characters=60),
)


def render(report: Report) -> str:
    """One report, at most 60,000 characters: where it is longer, what says least is left out, and that is said."""
    return _fitting(lambda size: _Page(size).report(report))


def render_all(reports: Reports) -> str:
    """Several connections: their numbers, each result, and the report of each problem, in 60,000 characters."""
    if len(reports.reports) == 1:
        return render(reports.reports[0])
    return _fitting(lambda size: _Page(size).reports(reports))


def _fitting(written: Callable[[_Size], list[str]]) -> str:
    for size in _SIZES:
        text = "\n\n".join(part for part in written(size) if part) + "\n"
        if len(text) <= LONGEST:
            break
    return text


class _Page:
    """The parts of a document in one size."""

    def __init__(self, size: _Size) -> None:
        self._size = size

    def report(self, report: Report) -> list[str]:
        """All parts of one report."""
        return [
            *self._verdict(report),
            block(["".join(text for text, _ in line) for line in draw(report, 100)], "text"),
            *self._matrix(report),
            self._hops(report),
            *self._findings(report),
            *self._reach(report),
            self._commands("Next", _view.commands(report)),
            self._manifest(report),
            self._foot(report),
        ]

    def reports(self, reports: Reports) -> list[str]:
        """The overview, and the report of each kind of problem."""
        summary = reports.summary
        kinds = _view.kinds(reports)
        rows = [[str(kind.times), self._result(kind.first)] for kind in kinds]
        spreads = [
            [self._code(name), *(_view.seconds(time) for time in (spread.p50, spread.p95, spread.p99))]
            for name, spread in summary.phases.items()
        ]
        parts = [
            f"**{_view.counted(summary.connections, 'connection')}**, {summary.healthy} healthy",
            self._table(["connections", "result"], rows),
            self._table(["phase", "p50", "p95", "p99"], spreads),
        ]
        for kind in [kind for kind in kinds if kind.first.verdict][: self._size.items]:
            parts += ["---", *self.report(kind.first)]
        return parts

    # Texts and lists in this size.

    def _prose(self, text: str) -> str:
        return inert(shortened(visible(text), self._size.characters))

    def _code(self, text: str) -> str:
        return code(shortened(visible(text), self._size.characters))

    def _bold(self, text: str) -> str:
        return f"**{shown}**" if (shown := self._prose(text)) else ""

    def _list(self, title: str, items: Sequence[str]) -> str:
        """A list with its title; nothing where it is empty."""
        shown = [f"- {item}" for item in items[: self._size.items]]
        if len(items) > len(shown):
            shown.append(f"- and {len(items) - len(shown)} more, which the JSON report has")
        return "\n".join([f"**{title}**", "", *shown]) if items else ""

    def _table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        if not rows:
            return ""
        shown = [*rows[: self._size.items]]
        lines = [heads, ["---"] * len(heads), *shown]
        table = "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)
        more = len(rows) - len(shown)
        return f"{table}\n\n{more} more rows are in the JSON report." if more else table

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

    def _verdict(self, report: Report) -> list[str]:
        verdict = report.verdict
        if verdict is None:
            return [self._bold(report.summary)]
        return [
            self._title(verdict),
            self._prose(verdict.message),
            f"Fix: {self._prose(verdict.fix)}" if verdict.fix else "",
            self._list("Not ruled out", [self._prose(other) for other in verdict.others]),
            self._list("Not tested", [self._prose(one) for one in verdict.untested]),
            self._commands("What would settle it", verdict.next),
        ]

    def _matrix(self, report: Report) -> list[str]:
        matrix = _view.matrix(report)
        states = {cell.state for row in matrix.rows for cell in row.cells}
        legend = ", ".join(f"{sign} {state.value}" for state, sign in _view.GLYPHS.items() if state in states)
        quiet = self._rows(matrix.quiet, report) if self._size.everything else ""
        return [
            self._rows(matrix.rows, report),
            legend,
            _details(_view.counted(len(matrix.quiet), "header") + " in which nothing happened", quiet),
        ]

    def _rows(self, rows: Sequence[Row], report: Report) -> str:
        hops = report.trace.hops[: self._size.items]
        heads = ["header", *(self._code(hop.name) for hop in hops), "value"]
        lines = []
        for row in rows:
            before, after = _view.change(row)
            value = " → ".join(self._code(text) for text in (before, after) if text)
            glyphs = [_view.GLYPHS[cell.state] for cell in _view.cells(row, len(hops))]
            lines.append([self._code(_view.name(row)), *glyphs, value])
        return self._table(heads, lines)

    def _hops(self, report: Report) -> str:
        rows = [
            [
                self._code(hop.name),
                self._prose(_view.answer(hop)),
                self._prose(_view.ending(report, index)),
                self._prose(f"{hop.recorder.kind} on {hop.instance}"),
            ]
            for index, hop in enumerate(report.trace.hops)
        ]
        return self._table(["hop", "answer", "ending", "recorder"], rows)

    def _findings(self, report: Report) -> list[str]:
        parts = []
        for finding in _view.findings(report)[: self._size.items]:
            places = [
                f"{self._code(place.hop)}, {self._prose(place.part)}: {self._code(place.shows)}"
                for place in finding.places
            ]
            if finding != report.verdict:
                parts += [
                    f"{finding.severity.value.capitalize()}: {self._title(finding)}",
                    self._prose(finding.message),
                ]
            parts.append(self._list("Evidence", places))
        return parts

    def _reach(self, report: Report) -> list[str]:
        skips = [
            f"{self._prose(', '.join(rules))}: for want of {self._prose(lacks)}" for lacks, rules in _view.skips(report)
        ]
        return [
            self._list("Controls", [f"{self._prose(one.name)}: {self._prose(one.result)}" for one in report.controls]),
            self._list("Not observed", [self._prose(one) for one in report.unobserved]),
            self._list("Not judged", skips),
            self._list("What the recorders alter", [self._prose(one) for one in report.alters]),
        ]

    def _manifest(self, report: Report) -> str:
        rows = [[self._prose(one.what), self._prose(one.where), str(one.times)] for one in report.redactions]
        times = sum(one.times for one in report.redactions)
        return _details(f"{_view.counted(times, 'value')} withheld", self._table(["what", "where", "times"], rows))

    def _foot(self, report: Report) -> str:
        parts = [self._code(report.subject), self._code(_view.when(report)), f"wsprobe {self._prose(report.version)}"]
        return f"<sub>{', '.join(part for part in parts if part)}</sub>"


def _details(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>" if content else ""
