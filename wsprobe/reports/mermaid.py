"""Mermaid: the sequence diagram of what happened, alone, for whatever draws it."""

from wsprobe.model import Report, Reports
from wsprobe.reports import _sequence, _view

NAME = "mermaid"
SUFFIXES = (".mmd",)


def render(report: Report) -> str:
    """The diagram of one report."""
    return f"{_sequence.happened(report)}\n"


def render_all(reports: Reports) -> str:
    """Of several connections the diagram of the first, which has a problem if any has; a comment counts them."""
    if not reports.reports:
        return "sequenceDiagram\n"
    summary = reports.summary
    counted = f"%% {_view.counted(summary.connections, 'connection')}, {summary.healthy} healthy; the first of them"
    return f"{counted}\n{render(reports.reports[0])}"
