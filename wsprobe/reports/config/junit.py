"""JUnit XML of an inspection: one suite, in which each finding is a test and each unreadable file an error.

An error is a failure; warnings and notes pass and tell what they found. What a comment silences is skipped, with the
reason that it gives.
"""

from collections.abc import Sequence

from wsprobe.inspection import ConfigFinding, Inspection, Problem, Silenced
from wsprobe.parts import Severity
from wsprobe.reports._junit import Case, Suite, document

NAME = "junit"
SUFFIXES = (".xml",)

_CLASS = "wsprobe.inspect"
_NO_TIME = "1970-01-01T00:00:00"
"""An inspection depends on no time, and the same configs give the same document."""


def render(inspection: Inspection) -> str:
    """An inspection as a document with a suite."""
    cases = [
        *map(_problem, inspection.problems),
        *map(_finding, inspection.findings),
        *map(_silenced, inspection.silenced),
    ]
    if not any(case.failure is not None or case.error is not None for case in cases):
        cases.insert(0, Case(name=_configs(inspection), classname=_CLASS, text=inspection.summary))
    suite = Suite(
        name="wsprobe inspect",
        timestamp=_NO_TIME,
        hostname="localhost",
        cases=cases,
        properties=[("wsprobe", inspection.version)],
        out="\n".join((inspection.summary, *_unread(inspection))),
    )
    return document("wsprobe inspect", [suite])


def _configs(inspection: Inspection) -> str:
    return ", ".join(config.path for config in inspection.configs) or "no config"


def _unread(inspection: Inspection) -> Sequence[str]:
    return [
        f"not understood: {_place(one.place.path, one.place.line) if one.place else ''}{one.what}: {one.why}"
        for one in inspection.unread
    ]


def _place(path: str, line: int) -> str:
    return f"{path}:{line}: " if line else f"{path}: "


def _problem(problem: Problem) -> Case:
    where = _place(problem.path, problem.line)
    return Case(
        name=f"{where}read",
        classname=_CLASS,
        kind="not read",
        error=f"{where}{problem.message}",
        text=problem.message,
    )


def _finding(finding: ConfigFinding) -> Case:
    failure = finding.message if finding.severity is Severity.ERROR else None
    return Case(name=_name(finding), classname=_CLASS, kind=finding.rule, failure=failure, text=_told(finding))


def _silenced(silenced: Silenced) -> Case:
    return Case(name=_name(silenced.finding), classname=_CLASS, skipped=f"silenced in the config: {silenced.reason}")


def _name(finding: ConfigFinding) -> str:
    return f"{_place(finding.place.path, finding.place.line)}{finding.rule}"


def _told(finding: ConfigFinding) -> str:
    place = finding.place
    return "\n".join(
        (
            f"{finding.severity}: {finding.message}",
            f"{_place(place.path, place.line)}{place.text}",
            *(f"{_place(line.path, line.line)}{line.text}" for line in finding.related),
            *((f"fix: {finding.fix}",) if finding.fix else ()),
            *((f"see: {finding.url}",) if finding.url else ()),
        )
    )
