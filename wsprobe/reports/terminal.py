"""The terminal: the path, the verdict and what it rests on, on one screen of 100 columns and 40 lines, and what to do.

Nothing of the traffic is markup here: every text is escaped by `visible` and set as rich's Text.
"""

import io
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from wsprobe.model import Finding, Link, Remedy, Report, Reports, Row, Severity, State, WriteUp
from wsprobe.reports import _view
from wsprobe.reports._path import draw
from wsprobe.reports._text import shortened, visible

NAME = "terminal"
SUFFIXES = (".txt",)

NARROWEST, WIDEST = 60, 200

_GUTTER = 12
_ROOMY = 76
_MOST = 20
_NARROWEST_VALUE = 15
_LONGEST_VALUE = 160
_LONGEST_TEXT = 600
_MOST_PLACES = 4
_STYLES = {"hop": "bold", "line": "dim", "mark": "bold red", "": ""}
_GLYPH_STYLES = {
    State.PRESENT: "green",
    State.ABSENT: "bold red",
    State.ALTERED: "bold yellow",
    State.UNCOMPARED: "cyan",
    State.UNOBSERVED: "dim",
}
_SEVERITY_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
_SIGNS = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.NOTE: "·"}


def render(report: Report, *, width: int = 100, colour: bool = False) -> str:
    """One report in `width` columns (60 to 200); without `colour` it holds no escape sequence at all."""
    page = _Page(width)
    _report(page, report)
    return page.printed(colour=colour)


def render_all(reports: Reports, *, width: int = 100, colour: bool = False) -> str:
    """Several connections: their numbers, a line for each result, and the report of each problem."""
    if len(reports.reports) == 1:
        return render(reports.reports[0], width=width, colour=colour)
    page = _Page(width)
    kinds = _view.kinds(reports)
    _overview(page, reports, kinds)
    for kind in [kind for kind in kinds if kind.first.verdict][:_MOST]:
        page.blank()
        page.add(Text("─" * page.width, "dim"))
        page.blank()
        _report(page, kind.first)
    return page.printed(colour=colour)


class _Page:
    """Lines of at most `width` columns. A label stands in a gutter beside its text, above it where that is narrow."""

    def __init__(self, width: int) -> None:
        self.width = max(NARROWEST, min(width, WIDEST))
        self._gutter = _GUTTER if self.width >= _ROOMY else 2
        self.room = self.width - self._gutter
        self._lines: list[Text] = []
        self._wrapper = Console(width=self.width, file=io.StringIO())
        self._apart = False

    def add(self, *lines: Text) -> None:
        """Lines that already fit."""
        if self._apart and lines and self._lines:
            self._lines.append(Text())
        self._apart = self._apart and not lines
        self._lines += lines

    def blank(self) -> None:
        """One empty line before whatever comes next."""
        self._apart = True

    def wrapped(self, text: Text, indent: int) -> None:
        """A text with all its lines indented."""
        self.add(*(Text(" " * indent) + line for line in self._wrap(text, self.width - indent)))

    def block(self, label: str, items: Iterable[Text], style: str = "dim") -> None:
        """Texts under a label that stands in the gutter of the first."""
        lines = [line for item in items for line in self._wrap(item, self.room)]
        if self._gutter != _GUTTER and label and lines:
            self.add(Text(label, style))
            label = ""
        for line in lines:
            self.add(Text.assemble((label.ljust(self._gutter), style), line))
            label = ""

    def table(self, label: str, rows: Sequence[tuple[Text, ...]]) -> None:
        """A block with columns as wide as their longest entry, and a last one that wraps beside them."""
        if not rows:
            return
        columns = [min(max(cell_len(row[at].plain) for row in rows), self.room // 3) for at in range(len(rows[0]) - 1)]
        items = []
        for *starts, last in rows:
            lead = Text()
            for start, column in zip(starts, columns, strict=True):
                lead += _padded(start, column) + Text("  ")
            for line in self._wrap(last, self.room - cell_len(lead.plain)):
                items.append(lead + line)
                lead = Text(" " * cell_len(lead.plain))
        self.block(label, items)

    def _wrap(self, text: Text, width: int) -> list[Text]:
        return list(text.wrap(self._wrapper, width))

    def printed(self, *, colour: bool) -> str:
        """All lines, each without white space at its end."""
        out = io.StringIO()
        console = Console(
            file=out,
            width=self.width,
            force_terminal=colour,
            color_system="standard" if colour else None,
            no_color=not colour,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
        )
        for line in self._lines:
            line.rstrip()
            console.print(line, soft_wrap=True)
        return out.getvalue()


def _padded(text: Text, column: int) -> Text:
    short = shortened(text.plain, column, cell_len)
    return Text.assemble((short, text.style), " " * (column - cell_len(short)))


def _plain(texts: Iterable[str]) -> list[Text]:
    """Texts as lines, the first of them where there are too many."""
    every = list(texts)
    lines = [_said(text) for text in every[:_MOST]]
    return lines if len(every) <= _MOST else [*lines, _more(len(every) - _MOST)]


def _said(text: str, style: str = "") -> Text:
    return Text(shortened(visible(text), _LONGEST_TEXT, cell_len), style)


def _more(number: int) -> Text:
    return Text(f"and {number} more: --format json has them all", "dim")


def _report(page: _Page, report: Report) -> None:
    _head(page, report)
    _judgement(page, report)
    _matrix(page, report)
    _hops(page, report)
    _others(page, report)
    _reach(page, report)
    _write_up(page, report)
    page.blank()
    page.block("next", _commands(_view.commands(report), page.room))


def _head(page: _Page, report: Report) -> None:
    told = [_view.when(report), _view.counted(1 + len(report.trace.trials), "connection"), f"wsprobe {report.version}"]
    beside = Text("  ".join(visible(part) for part in told if part), "dim")
    subject = Text(shortened(visible(report.subject), page.width, cell_len), "bold")
    if cell_len(subject.plain) + 3 + cell_len(beside.plain) <= page.width:
        page.add(Text.assemble(subject, "   ", beside))
    else:
        page.add(subject)
        page.wrapped(beside, 0)
    page.blank()
    for line in draw(report, page.width - 2, cell_len):
        page.add(Text("  ") + Text.assemble(*((span, _STYLES[role]) for span, role in line)))
    page.blank()


def _judgement(page: _Page, report: Report) -> None:
    verdict = report.verdict
    if verdict is None:
        sign, style = ("✓", "bold green") if _view.calm(report) else ("!", "bold yellow")
        page.wrapped(Text.assemble((sign, style), " ", _said(report.summary)), 0)
        page.blank()
        return
    style = _SEVERITY_STYLES[verdict.severity]
    title = f"{_SIGNS[verdict.severity]} {visible(verdict.rule)}"
    page.wrapped(Text.assemble((title, style), "  ", (verdict.confidence.value, "bold"), "  ", _where(verdict)), 0)
    page.wrapped(_said(verdict.message), 2)
    page.blank()
    page.table("evidence", _places(verdict))
    page.block("fix", _plain([verdict.fix] if verdict.fix else []))
    page.block("or else", _plain(verdict.others))
    page.block("not tested", _plain(verdict.untested))
    page.block("settled by", _commands(verdict.next, page.room))
    page.blank()


def _where(finding: Finding) -> str:
    return " → ".join(visible(end) if end else "?" for end in finding.segment or ())


def _places(finding: Finding) -> list[tuple[Text, ...]]:
    return [
        (_bold(place.hop), Text(visible(place.part), "dim"), Text(shortened(visible(place.shows), _LONGEST_VALUE)))
        for place in finding.places[:_MOST]
    ]


def _bold(text: str) -> Text:
    return Text(visible(text), "bold")


def _commands(commands: Iterable[str], room: int) -> list[Text]:
    """Commands that can be copied, each below its comment; where one is broken, a backslash says so to the shell."""
    lines = []
    for command in list(commands)[:_MOST]:
        words, comment = _view.split_comment(shortened(visible(command), _LONGEST_TEXT, cell_len))
        if comment:
            lines.append(Text(f"# {comment}", "dim"))
        lines += [Text(line, "bold") for line in _continued(words, room)]
    return lines


def _continued(words: Sequence[str], room: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in words:
        if line and cell_len(line) + 1 + cell_len(word) > room - 2:
            lines.append(f"{line} \\")
            line = f"  {word}"
        else:
            line = f"{line} {word}".lstrip() if line else word
    return [*lines, line] if line else lines


# The matrix.


def _matrix(page: _Page, report: Report) -> None:
    hops = report.trace.hops
    matrix = _view.matrix(report)
    names = min(max((cell_len(visible(_view.name(row))) for row in matrix.rows), default=0), page.room // 3)
    columns = [max(3, min(cell_len(visible(hop.name)), 12)) for hop in hops]
    values = page.room - names - sum(columns) - 2 * len(columns)
    if values < 0:
        page.block("headers", [_listed(row, report) for row in matrix.rows[:_MOST]])
    elif matrix.rows:
        heads = [shortened(visible(hop.name), column, cell_len) for hop, column in zip(hops, columns, strict=True)]
        lines = [Text(" " * names) + _columns([Text(head, "bold") for head in heads], columns)]
        for row in matrix.rows[:_MOST]:
            name = shortened(visible(_view.name(row)), names, cell_len)
            line = Text.assemble((name + " " * (names - cell_len(name)), "dim" if row.note else ""))
            line += _columns([_glyph(cell.state, row) for cell in _view.cells(row, len(hops))], columns)
            lines.append(line + _value(row, values - 3) if values >= _NARROWEST_VALUE else line)
        page.block("headers", lines)
    page.block("" if matrix.rows else "headers", _legend(matrix, report, page.room))
    page.blank()


def _columns(texts: list[Text], columns: list[int]) -> Text:
    line = Text()
    for text, column in zip(texts, columns, strict=True):
        space = column - cell_len(text.plain)
        line += Text("  " + " " * (space // 2)) + text + Text(" " * (space - space // 2))
    return line


def _glyph(state: State, row: Row) -> Text:
    return Text(_view.GLYPHS[state], "dim" if row.note else _GLYPH_STYLES[state])


def _value(row: Row, room: int) -> Text:
    before, after = _view.change(row)
    shown = shortened(visible(before), room, cell_len)
    if after is not None:
        half = (room - 3) // 2
        shown = " → ".join(shortened(visible(value), half, cell_len) for value in (before, after))
    note = visible(row.note or "")
    fits = note and cell_len(shown) + 2 + cell_len(note) <= room
    return Text(f"   {shown}{f'  {note}' if fits else ''}", "dim")


def _listed(row: Row, report: Report) -> Text:
    """A row where there are too many hops for columns."""
    line = Text.assemble((visible(_view.name(row)), "bold"))
    for hop, cell in zip(report.trace.hops[:_MOST], _view.cells(row, len(report.trace.hops)), strict=False):
        line.append(f"  {visible(hop.name)} ").append(_glyph(cell.state, row))
    return line


def _legend(matrix: _view.Matrix, report: Report, room: int) -> list[Text]:
    lines = []
    if matrix.handshake:
        names, left_out = _fitting(matrix.handshake, room - 36)
        more = left_out + matrix.others
        alike = "the same at each hop" if len(report.trace.hops) > 1 else "also"
        lines.append(Text(f"{alike}: {', '.join(names)}{f' and {more} more' if more else ''}", "dim"))
    left_out = len(matrix.rows) - _MOST
    if left_out > 0:
        lines.append(_more(left_out))
    states = {cell.state for row in matrix.rows for cell in row.cells}
    legend = "  ".join(f"{_view.GLYPHS[state]} {state.value}" for state in State if state in states)
    return [*lines, Text(legend, "dim")] if states - {State.PRESENT} else lines


def _fitting(names: Iterable[str], room: int) -> tuple[list[str], int]:
    """The names that fit, and how many do not."""
    shown, left_out = [], 0
    for name in names:
        short = shortened(visible(name), 40, cell_len)
        room -= cell_len(short) + 2
        if room >= 0:
            shown.append(short)
        else:
            left_out += 1
    return shown, left_out


# What came of each hop, and what else there is.


def _hops(page: _Page, report: Report) -> None:
    rows = [
        (_bold(hop.name), Text(visible(_view.answer(hop))), _said(_view.ending(report, index)))
        for index, hop in enumerate(report.trace.hops[:_MOST])
    ]
    page.table("hops", rows)
    page.block("", [_more(len(report.trace.hops) - _MOST)] if len(report.trace.hops) > _MOST else [])


def _others(page: _Page, report: Report) -> None:
    told = {visible(_view.ending(report, index)) for index in range(len(report.trace.hops))}  # a few lines above
    for finding in [finding for finding in _view.findings(report) if finding != report.verdict][:_MOST]:
        title = (visible(finding.rule), _SEVERITY_STYLES[finding.severity])
        page.block(
            finding.severity.value,
            [Text.assemble(title, "  ", (finding.confidence.value, "bold"), "  ", _said(finding.message))],
        )
        page.table("", [line for line in _places(finding)[:_MOST_PLACES] if line[-1].plain not in told])


def _reach(page: _Page, report: Report) -> None:
    page.blank()
    page.block("connected", _plain(report.connection))
    page.block("configs", _plain(report.config))
    page.block("controls", _plain(f"{control.name}: {control.result}" for control in report.controls))
    page.block("unobserved", _plain(_joined(_view.unobserved(report), page.room)))
    page.block("not judged", _plain(map(_view.told, _view.skips(report))))
    page.block("altered by", _plain(_first(text, page.room) for text in report.alters))
    page.block("withheld", _plain(f"{what} ({'; '.join(places)})" for what, places in _view.withheld(report)))


def _write_up(page: _Page, report: Report) -> None:
    """Why it happened and what to do, short: Markdown and JSON have all of it. The verdict's own fix is above."""
    if report.writeup is None:
        return
    page.blank()
    page.block("why", [_said(_causes(report.writeup))])
    lines = [one for one in report.writeup.fixes if one.line]
    page.block("change", [_change(one) for one in lines[:_MOST]])
    more = [one.who.value for one in _view.remedies(report) if not one.line]
    told = f"{_view.counted(len(more), 'fix', 'fixes')} more ({', '.join(dict.fromkeys(more))}): --format markdown"
    page.block("" if lines else "fixes", [Text(told, "dim")] if more else [])
    for label, commands in (("verify", report.writeup.verify), ("prevent", report.writeup.prevent)):
        page.block(label, _commands((command.partition("   # ")[0] for command in commands), page.room))


def _causes(writeup: WriteUp) -> str:
    """The chain in one line, each link by its name."""
    return " ← ".join(f"{f'{one.leads.value}: ' if one.leads else ''}{_link(one)}" for one in writeup.chain)


def _link(link: Link) -> str:
    if link.lines:
        return _view.place(link.lines[0])
    return f"{link.rule} ({link.confidence.value})" if link.rule else link.what.rstrip(".")


def _change(remedy: Remedy) -> Text:
    line = remedy.line
    told = "" if line is None else f"{_view.place(line)} `{line.text}`: "
    return _said(f"{told}{remedy.what}{f' `{remedy.instead}`' if remedy.instead else ''}")


def _joined(texts: Sequence[str], room: int) -> Sequence[str]:
    """Short texts on one line."""
    line = "; ".join(texts)
    return [line] if cell_len(visible(line)) <= room else texts


def _first(text: str, room: int) -> str:
    """Of a list in words what fits on one line, and how much more there is."""
    text = visible(text)
    if cell_len(text) <= room:
        return text
    parts = text.split("; ")
    kept = len(parts)
    while kept > 1 and cell_len("; ".join(parts[:kept])) + len("; 99 more in --format markdown") > room:
        kept -= 1
    left_out = len(parts) - kept
    return "; ".join(parts[:kept]) + (f"; {left_out} more in --format markdown" if left_out else "")


def _overview(page: _Page, reports: Reports, kinds: Sequence[_view.Kind]) -> None:
    summary = reports.summary
    healthy = f"{summary.healthy} healthy"
    page.add(Text.assemble((_view.counted(summary.connections, "connection"), "bold"), f", {healthy}"))
    page.blank()
    page.table("results", [_result(kind) for kind in kinds[:_MOST]])
    if len(kinds) > _MOST:
        page.block("", [_more(len(kinds) - _MOST)])
    page.blank()
    page.block("nodes", _plain(summary.said))
    if summary.phases:
        page.blank()
        page.table("phases", [tuple(Text(word, "dim") for word in ("", "p50", "p95", "p99")), *_phases(reports)])


def _result(kind: _view.Kind) -> tuple[Text, ...]:
    verdict = kind.first.verdict
    times = Text(f"{kind.times}x", "bold")
    if verdict is None:
        sign, style = ("✓", "green") if _view.calm(kind.first) else ("!", "yellow")
        return times, Text(sign, style), _said(kind.first.summary)
    sign, style = _SIGNS[verdict.severity], _SEVERITY_STYLES[verdict.severity]
    title = (visible(verdict.rule), style)
    return (
        times,
        Text(sign, style),
        Text.assemble(title, "  ", (verdict.confidence.value, "bold"), "  ", _what(verdict)),
    )


def _what(verdict: Finding) -> str:
    parts = [verdict.header or "", _where(verdict)]
    return "  ".join(shortened(visible(part), _LONGEST_VALUE) for part in parts if part)


def _phases(reports: Reports) -> list[tuple[Text, ...]]:
    return [
        (_bold(name), *(Text(_view.seconds(time)) for time in (spread.p50, spread.p95, spread.p99)))
        for name, spread in list(reports.summary.phases.items())[:_MOST]
    ]
