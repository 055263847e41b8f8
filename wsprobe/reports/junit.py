"""JUnit XML: a suite a connection, in which each finding and each rule that could not be judged is a test.

An error is a failure, as it is for the exit status; warnings and notes pass and tell what they found.
"""

from dataclasses import replace

from wsprobe.model import Finding, Report, Reports, Severity
from wsprobe.reports import _exchange as exchange
from wsprobe.reports._junit import Case, Suite, document
from wsprobe.reports._view import findings

NAME = "junit"
SUFFIXES = (".xml",)

_CLASS = "wsprobe.trace"


def render(report: Report) -> str:
    """One report as a document with one suite."""
    return document("wsprobe trace", [_suite(report)])


def render_all(reports: Reports) -> str:
    """The reports of several connections, a suite each, as many as CI servers take."""
    made, left_out = exchange.fitting(reports, lambda report, _: _suite(report), lambda suite: document("", [suite]))
    told = f" ({left_out} more connections are left out; each is like one that is here)" if left_out else ""
    return document(f"wsprobe trace{told}", made)


def _suite(report: Report) -> Suite:
    hops = report.trace.hops
    first = hops[0] if hops else None
    at = exchange.began(first).isoformat()[:19] if first else "1970-01-01T00:00:00"
    found = findings(report)
    cases = [_found(finding) for finding in found]
    if not any(case.failure is not None for case in cases):
        cases.insert(0, Case(name="the connection", classname=_CLASS, text=report.summary))
    cases[0] = replace(cases[0], time=_time(report))
    cases += [
        Case(name=skip.rule, classname=_CLASS, skipped=f"not judged for want of {skip.lacks}") for skip in report.skips
    ]
    known = (("url", report.subject), ("trace", report.trace.id), ("order", report.trace.order))
    return Suite(
        name=report.subject,
        timestamp=at,
        hostname=first.instance if first else "",
        cases=cases,
        properties=[*((name, value) for name, value in known if value), ("wsprobe", report.version)],
        out="\n".join((report.summary, *report.endings, *(f"not observed: {what}" for what in report.unobserved))),
    )


def _time(report: Report) -> float:
    """How long the connection was there, from the name to its end."""
    first = report.trace.hops[0] if report.trace.hops else None
    return exchange.connecting(first) + max(0.0, first.ended or 0.0) if first else 0.0


def _found(finding: Finding) -> Case:
    segment = " to ".join(name or "?" for name in finding.segment) if finding.segment else ""
    name = " ".join(filter(None, (finding.rule, segment, finding.header)))
    text = "\n".join(
        (
            f"{finding.severity}, {finding.confidence}: {finding.message}",
            *(f"{place.hop} {place.part}: {place.shows}" for place in finding.places),
            *(f"{line.path}:{line.line}: {line.text}" for line in finding.lines),
            *(f"not ruled out: {other}" for other in finding.others),
            *((f"fix: {finding.fix}",) if finding.fix else ()),
            *(f"next: {command}" for command in finding.next),
        )
    )
    failure = finding.message if finding.severity is Severity.ERROR else None
    return Case(name=name, classname=_CLASS, kind=finding.rule, failure=failure, text=text)
