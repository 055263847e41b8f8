"""Where a result goes: stdout in one format, and files whose suffix picks theirs."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from wsprobe.cli import UsageError
from wsprobe.cli.writing import check_output, is_folder, save_all, say, screen
from wsprobe.model import Report, Reports, Severity
from wsprobe.reports import formats

_RANKS = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.NOTE: 0}
_FOLDER_FILES = ("report.json", "report.md", "report.html")
TRACE_FILE = "trace.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every command with a report has."""
    parser.add_argument("--format", choices=tuple(formats()), default="terminal", help="what stdout gets")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="also write a file, whose suffix picks the format, or into a folder: trace.json, report.json, .md, .html",
    )
    parser.add_argument(
        "--fail-on",
        choices=[*map(str, _RANKS), "never"],
        default="error",
        help="exit with 1 from this severity on (default: error)",
    )


def check(options: argparse.Namespace) -> None:
    """Refuses outputs that cannot be written before anything is done; a folder is made where none is."""
    for path in options.output:
        check_output(path, formats())


def write(result: Report | Reports, options: argparse.Namespace) -> int:
    """Writes the result everywhere it was asked for; the exit status that it deserves.

    A file that cannot be written is told after all else was.
    """
    failed = save_all(file for path in options.output for file in _files(path, result))
    say(_for_terminal(result) if options.format == "terminal" else rendered(result, options.format))
    if failed:
        raise UsageError("; ".join(failed))
    return status(result, options.fail_on)


def _files(path: Path, result: Report | Reports) -> Iterator[tuple[Path, str]]:
    if not is_folder(path):
        yield path, rendered(result, formats().by_suffix(path) or "json")
        return
    if isinstance(result, Report):
        from wsprobe.reports.json import document

        yield path / TRACE_FILE, document(result.trace)
    for name in _FOLDER_FILES:
        yield path / name, rendered(result, formats().by_suffix(name) or "json")


def rendered(result: Report | Reports, name: str) -> str:
    """The result in one format."""
    module = formats()[name]
    return module.render(result) if isinstance(result, Report) else module.render_all(result)


def _for_terminal(result: Report | Reports) -> str:
    from wsprobe.reports import terminal

    width, colour = screen()
    if isinstance(result, Report):
        return terminal.render(result, width=width, colour=colour)
    return terminal.render_all(result, width=width, colour=colour)


def status(result: Report | Reports, fail_on: str) -> int:
    """1 where a finding is at or above the severity named, 0 otherwise."""
    if fail_on == "never":
        return 0
    reports = (result,) if isinstance(result, Report) else result.reports
    floor = _RANKS[Severity(fail_on)]
    return int(any(_RANKS[finding.severity] >= floor for report in reports for finding in report.findings))
