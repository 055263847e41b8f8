"""HTML: one file that opens from disk and as an attachment, loads nothing, and runs no script but its own."""

from collections.abc import Callable, Iterator

from wsprobe.model import Report, Reports
from wsprobe.reports import _view
from wsprobe.reports._html_document import document
from wsprobe.reports._html_findings import others, verdict
from wsprobe.reports._html_hops import hops
from wsprobe.reports._html_matrix import matrix, numbers, ordered
from wsprobe.reports._html_overview import overview
from wsprobe.reports._html_waterfall import waterfall
from wsprobe.reports._html_write import NOTHING, Html, Sheet, Size, joined, tag
from wsprobe.reports._html_writeup import to_do, why
from wsprobe.reports._text import shortened, visible

NAME = "html"
SUFFIXES = (".html",)

LARGEST = 4_900_000
"""Octets of a document: what mail and issue trackers take, and what a browser shows without a pause."""

_SIZES = (
    Size(characters=8000, items=400, rows=2000),
    Size(characters=1000, items=100, rows=600),
    Size(characters=300, items=30, rows=300),
    Size(characters=100, items=12, rows=100),
    Size(characters=40, items=4, rows=20),
)


_LONGEST_TITLE = 200
"""Characters of a heading: below it stands the verdict, which is to be seen first."""


def render(report: Report) -> str:
    """One report; where it is too large, what is left out of it is said, and the JSON report has it."""
    return _fitting(lambda size: _report(_sheet(report, size)), visible(report.subject))


def render_all(reports: Reports) -> str:
    """Several connections: their numbers, each result, and the report of the first of each."""
    if len(reports.reports) == 1:
        return render(reports.reports[0])
    kinds = _view.kinds(reports)

    def written(size: Size) -> Iterator[Html]:
        yield overview(reports, kinds, size)
        for number, kind in enumerate(kinds[: size.items]):
            sheet = _sheet(kind.first, size, f"k{number}-", 3)
            title = tag(
                "h2",
                _view.counted(kind.times, "connection"),
                ": ",
                shortened(visible(kind.first.subject), _LONGEST_TITLE),
            )
            body = joined(_parts(sheet))
            folded = tag(
                "details",
                tag("summary", title, " ", tag("span", _view.when(kind.first), class_="hint")),
                body,
                open=number == 0,
            )
            yield tag("div", folded, id=f"kind-{number}", class_="kind")

    return _fitting(written, _view.counted(reports.summary.connections, "connection"))


def _sheet(report: Report, size: Size, prefix: str = "", level: int = 2) -> Sheet:
    return Sheet(report, size, prefix, level, numbers(ordered(report)))


def _fitting(written: Callable[[Size], Iterator[Html]], title: str) -> str:
    """The document in the first size that fits, in the last one that there is."""
    for size in _SIZES:
        parts: list[str] = []
        length = 0
        for part in written(size):
            parts.append(part.encode("ascii", "xmlcharrefreplace").decode("ascii"))
            length += len(parts[-1])
            if length > LARGEST:
                break
        else:
            break
    return document(Html("".join(parts)), title)


# One report.


def _report(sheet: Sheet) -> Iterator[Html]:
    report = sheet.report
    title = shortened(visible(report.subject), _LONGEST_TITLE)
    yield tag("header", tag("h1", title), tag("p", _when(report), class_="hint"))
    yield from _parts(sheet)


def _when(report: Report) -> str:
    tries = _view.counted(1 + len(report.trace.trials), "connection")
    return " \N{MIDDLE DOT} ".join(filter(None, (_view.when(report), tries, f"wsprobe {report.version}")))


def _parts(sheet: Sheet) -> Iterator[Html]:
    yield verdict(sheet)
    made = [(name, title, part(sheet)) for name, title, part in _PARTS]
    links = [tag("a", title, href=f"#{sheet.anchor(name)}") for name, title, part in made if part]
    yield tag("nav", *links, aria_label="Parts of the report")
    yield from (part for _, _, part in made)


def _controls(sheet: Sheet) -> Html:
    rows = ([sheet.said(one.name), sheet.said(one.result)] for one in sheet.report.controls)
    table = sheet.table(["control", "what came of it"], rows, "Controls")
    return sheet.section("controls", "Controls", table, _stopped(sheet) if table else NOTHING)


def _stopped(sheet: Sheet) -> Html:
    stopped = sheet.report.trace.stopped
    return tag("p", "No more were made: ", sheet.said(stopped), class_="hint") if stopped else NOTHING


def _configs(sheet: Sheet) -> Html:
    return sheet.section("configs", "Configs", sheet.listed(sheet.report.config))


def _reach(sheet: Sheet) -> Html:
    report = sheet.report
    return sheet.section(
        "reach",
        "What this rests on",
        sheet.titled("Connection", report.connection),
        sheet.titled("Not observed", _view.unobserved(report)),
        sheet.titled("Not judged", map(_view.told, _view.skips(report))),
        sheet.titled("What the recorders alter", report.alters),
    )


def _manifest(sheet: Sheet) -> Html:
    report = sheet.report
    times = sum(one.times for one in report.redactions)
    rows = ([sheet.said(one.what), sheet.said(one.where), str(one.times)] for one in report.redactions)
    table = sheet.table(["what", "where", "times"], rows, "Redaction manifest")
    none = NOTHING if table else tag("p", "Nothing had to be withheld.")
    return sheet.section("withheld", f"Redactions: {_view.counted(times, 'value')} withheld", table, none)


def _next(sheet: Sheet) -> Html:
    """The commands that stand beside no finding: here every finding shows its own."""
    told = {command for finding in sheet.report.findings for command in finding.next}
    left = [command for command in _view.commands(sheet.report) if command not in told]
    return sheet.section("next", "Next", sheet.commands("Commands", left))


_PARTS = (
    ("headers", "Headers", matrix),
    ("times", "Times", waterfall),
    ("findings", "Also found", others),
    ("why", "Why it happened", why),
    ("fixes", "What to do", to_do),
    ("controls", "Controls", _controls),
    ("configs", "Configs", _configs),
    ("hops", "Hops", hops),
    ("reach", "What this rests on", _reach),
    ("next", "Next", _next),
    ("withheld", "Redactions", _manifest),
)
"""All parts but the verdict, by their anchors."""
