"""Several connections in one HTML report: their numbers, their results, the nodes and the times of their phases."""

from collections.abc import Sequence

from wsprobe.model import Finding, Report, Reports
from wsprobe.reports import _view
from wsprobe.reports._html_drawing import spread
from wsprobe.reports._html_write import Html, Sheet, Size, icon, joined, tag
from wsprobe.reports._text import shortened, visible


def overview(reports: Reports, kinds: Sequence[_view.Kind], size: Size) -> Html:
    """The head of the page."""
    summary = reports.summary
    sheet = Sheet(reports.reports[0], size) if reports.reports else None
    counted = tag("h1", _view.counted(summary.connections, "connection"), f", {summary.healthy} healthy")
    if sheet is None:
        return tag("header", counted, id="verdict")
    rows = (
        [_link(kind, number, size), str(kind.times), _result(sheet, kind.first)] for number, kind in enumerate(kinds)
    )
    return joined(
        (
            tag("header", counted, _shares(kinds, size)),
            tag(
                "section",
                tag("h2", "Results"),
                sheet.table(["result", "connections", "first of them"], rows, "Results"),
                id="verdict",
            ),
            sheet.section("nodes", "Nodes", sheet.listed(summary.said), _groups(sheet, reports)),
            sheet.section("times", "Times of the phases", _phases(sheet, reports)),
        )
    )


def _sign(report: Report) -> str:
    if report.verdict is None:
        return "present" if _view.calm(report) else "warning"
    return {"error": "bad", "warning": "warning", "note": "note"}[report.verdict.severity.value]


def _link(kind: _view.Kind, number: int, size: Size) -> Html:
    verdict = kind.first.verdict
    name = shortened(visible(verdict.rule), size.characters) if verdict else "nothing wrong seen"
    shown = joined((icon(_sign(kind.first)), tag("span", name)))
    return tag("a", shown, href=f"#kind-{number}") if number < size.items else shown


def _result(sheet: Sheet, report: Report) -> Html:
    return sheet.said(_in_words(report.verdict) if report.verdict else report.summary)


def _in_words(verdict: Finding) -> str:
    where = " → ".join(end or "?" for end in verdict.segment or ())
    return ", ".join(filter(None, (verdict.confidence.value, where, verdict.header)))


def _shares(kinds: Sequence[_view.Kind], size: Size) -> Html:
    """The results as parts of a bar, as wide as they are frequent."""
    total = sum(kind.times for kind in kinds) or 1
    parts, at = [], 0.0
    for kind in kinds[: size.items]:
        share = 100 * kind.times / total
        name = kind.first.verdict.rule if kind.first.verdict else "nothing wrong seen"
        parts.append(
            tag(
                "rect",
                tag("title", f"{kind.times}: {shortened(visible(name), 80)}"),
                x=f"{at:.3f}%",
                width=f"{max(share, 0.2):.3f}%",
                y="0",
                height="18",
                class_=f"share {_sign(kind.first)}",
            )
        )
        at += share
    words = ", ".join(f"{kind.times} {_sign(kind.first)}" for kind in kinds[:10])
    return tag("svg", *parts, width="100%", height="18", role="img", aria_label=f"Results: {words}", class_="shares")


def _groups(sheet: Sheet, reports: Reports) -> Html:
    rows = (
        [
            sheet.said(f"{one.by}: {one.name}"),
            f"{one.failed} of {one.connections}",
            f"{one.failed_elsewhere} of {one.elsewhere}",
            f"{one.chance:.2g}",
        ]
        for one in reports.summary.groups
    )
    return sheet.table(["node", "failed", "failed elsewhere", "by chance alone"], rows, "Failures by node")


def _phases(sheet: Sheet, reports: Reports) -> Html:
    phases = reports.summary.phases
    scale = max((one.p99 for one in phases.values()), default=0.0)
    rows = (
        [
            sheet.said(name),
            *(_view.seconds(time) for time in (one.p50, one.p95, one.p99)),
            spread(scale, one.p50, one.p95, one.p99) if scale > 0 else "",
        ]
        for name, one in phases.items()
    )
    return sheet.table(["phase", "p50", "p95", "p99", "spread"], rows, "Times of the phases")
