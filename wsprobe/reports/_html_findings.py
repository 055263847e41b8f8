"""The findings of an HTML report: the verdict first, each with its evidence as links into the page."""

from itertools import groupby

from wsprobe.model import Finding, Line, Place, Report, Severity
from wsprobe.reports import _view
from wsprobe.reports._html_path import path
from wsprobe.reports._html_write import NOTHING, Html, Sheet, icon, joined, tag, text
from wsprobe.reports._text import visible

_ICONS = {Severity.ERROR: "bad", Severity.WARNING: "warning", Severity.NOTE: "note"}


def verdict(sheet: Sheet) -> Html:
    """What a reader sees first: the judgement, and the path with the guilty segment."""
    report = sheet.report
    found = report.verdict
    if found is None:
        sign = ("present", "well") if _view.calm(report) else ("warning", "warning")
        head = tag("p", icon(sign[0]), tag("strong", sheet.prose(report.summary)), class_="title")
        return tag("section", head, path(sheet), class_=f"verdict {sign[1]}", id=sheet.anchor("verdict"))
    return tag(
        "section",
        sheet.heading(_title(sheet, found)),
        tag("p", sheet.prose(found.message), class_="message"),
        path(sheet),
        _told(sheet, found),
        class_=f"verdict {found.severity.value}",
        id=sheet.anchor("verdict"),
    )


def others(sheet: Sheet) -> Html:
    """What else was found."""
    found = [finding for finding in _view.findings(sheet.report) if finding != sheet.report.verdict]
    cards = [
        tag(
            "article",
            sheet.heading(_title(sheet, finding), 1),
            tag("p", sheet.prose(finding.message)),
            _told(sheet, finding),
            class_=f"finding {finding.severity.value}",
        )
        for finding in found[: sheet.size.items]
    ]
    more = len(found) - len(cards)
    rest = [tag("p", f"{more} more findings are in the JSON report.", class_="more")] if more > 0 else []
    return sheet.section("findings", "Also found", *cards, *rest)


def _title(sheet: Sheet, finding: Finding) -> Html:
    where = " → ".join(end or "?" for end in finding.segment or ())
    return joined(
        (
            icon(_ICONS[finding.severity]),
            tag("span", f"{finding.severity.value} ", class_="vh"),
            tag("span", sheet.said(finding.rule), class_="rule"),
            " ",
            tag("span", finding.confidence.value, class_=f"badge {finding.confidence.value}"),
            " ",
            tag("span", sheet.said(where), class_="where") if where else NOTHING,
        )
    )


def _told(sheet: Sheet, finding: Finding) -> Html:
    fix = [tag("p", tag("b", "Fix: "), sheet.prose(finding.fix), class_="fix")] if finding.fix else []
    return joined(
        (
            sheet.titled("Evidence", (evidence(sheet, finding.header, place) for place in finding.places)),
            excerpts(sheet, finding.lines),
            *fix,
            sheet.titled("Not ruled out", finding.others),
            sheet.titled("Not tested", finding.untested),
            sheet.commands("What would settle it", finding.next),
        )
    )


def evidence(sheet: Sheet, header: str | None, place: Place) -> Html:
    """A piece of evidence, with a link to where it stands on the page."""
    said = joined((tag("b", sheet.said(place.hop)), ", ", sheet.said(place.part)))
    target = _target(sheet, header, place)
    link = tag("a", said, href=f"#{sheet.anchor(target)}") if target else said
    return joined((link, ": ", sheet.code(place.shows)))


def _target(sheet: Sheet, header: str | None, place: Place) -> str | None:
    """Where on the page the evidence stands: the cell of a header, the end of a connection, a control, or the hop."""
    hop = _hop(sheet.report, place.hop)
    if hop is None or hop >= sheet.size.items:
        return None
    row = sheet.rows.get((place.part, (header or "").lower()))
    if row is not None and row < sheet.size.rows:
        return f"c{row}-{hop}"
    seen = sheet.report.trace.hops[hop]
    if place.part == "closes" and (seen.closes or seen.ended is not None):
        return f"life-{hop}"
    return f"hop-{hop}"


def _hop(report: Report, name: str) -> int | None:
    return next((number for number, hop in enumerate(report.trace.hops) if hop.name == name), None)


def excerpts(sheet: Sheet, lines: tuple[Line, ...]) -> Html:
    """Lines of configs, those of one file together, with what is meant marked."""
    figures = []
    for name, group in groupby(lines[: sheet.size.items], key=lambda line: line.path):
        every = list(group)
        shown = [
            joined((tag("span", f"{line.line}", class_="ln"), " ", _line(sheet, line), Html("\n"))) for line in every
        ]
        caption = f"{visible(name)}:{every[0].line}"
        figures.append(
            tag("figure", tag("figcaption", sheet.code(caption)), tag("pre", tag("code", *shown)), class_="excerpt")
        )
    return joined(figures)


def _line(sheet: Sheet, line: Line) -> Html:
    begin = line.column - 1 - line.indent
    if not line.length or begin < 0 or begin >= len(line.text) or len(line.text) > sheet.size.characters:
        return sheet.said(line.text)
    end = begin + line.length
    return joined((text(line.text[:begin]), tag("mark", line.text[begin:end]), text(line.text[end:])))
