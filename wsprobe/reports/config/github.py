"""GitHub's workflow commands: each finding is an annotation at its line of the pull request."""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding, Inspection, Problem
from wsprobe.parts import Severity
from wsprobe.reports._text import visible

NAME = "github"
SUFFIXES = ()

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(inspection: Inspection) -> str:
    """An annotation a line, problems first, and the summary for the log."""
    lines = [*map(_problem, inspection.problems), *map(_finding, inspection.findings)]
    return "".join(f"{line}\n" for line in (*lines, f"wsprobe: {visible(inspection.summary)}"))


def _finding(finding: ConfigFinding) -> str:
    place = finding.place
    end = place.column + (place.length or max(0, place.indent + len(place.text) - place.column + 1))
    where: dict[str, str | int] = {
        "file": place.path,
        "line": place.line,
        "col": place.column,
        "endColumn": end,
        "title": finding.rule,
    }
    fix = f"\nfix: {finding.fix}" if finding.fix else ""
    see = f"\nsee: {finding.url}" if finding.url else ""
    return _command(_COMMANDS[finding.severity], where, f"{finding.message}{fix}{see}")


def _problem(problem: Problem) -> str:
    where: dict[str, str | int] = {
        "file": problem.path,
        "line": problem.line,
        "col": problem.column,
        "title": "not read",
    }
    return _command("error", {name: value for name, value in where.items() if value}, problem.message)


def _command(name: str, properties: dict[str, str | int], message: str) -> str:
    told = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    return f"::{name} {told}::{_data(message)}"


def _data(text: str) -> str:
    """A message: what would end the command is encoded, and what would move a cursor in the log is escaped."""
    lines: Iterator[str] = (visible(line) for line in text.split("\n"))
    return "%0A".join(line.replace("%", "%25") for line in lines)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
