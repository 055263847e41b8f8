"""`wsprobe diff`: what changed between two traces or two sets of repeats, and whether a fix worked."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError
from wsprobe.cli.report import located, read
from wsprobe.cli.writing import check_file, save_all, say, screen
from wsprobe.model import Report, Reports, Trace
from wsprobe.reports import comparison as reports

if TYPE_CHECKING:
    from wsprobe.comparison import Comparison

_STATUS = (
    "Exit status: 0 fixed as far as seen, or nothing wrong on either side; 1 still there, new, worse, fixed in part, "
    "or not shown to be fixed; 2 cannot be compared, or wrong usage or unreadable input."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    parser.epilog = _STATUS
    what = "a saved report, trace, or --repeat, or the folder that holds its report.json"
    parser.add_argument("before", metavar="BEFORE", type=Path, help=f"before the change: {what}")
    parser.add_argument("after", metavar="AFTER", type=Path, help="after it: the same")
    parser.add_argument("--format", choices=tuple(reports.formats()), default="terminal", help="what stdout gets")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="also write a file, whose suffix picks the format (repeatable)",
    )


def run(options: argparse.Namespace) -> int:
    """Compares; the exit status is that of the outcome."""
    from wsprobe.diff import STATUS, compare

    for path in options.output:
        check_file(path, reports.formats())
    found = compare(_side(options.before), _side(options.after))
    formats = reports.formats()
    failed = save_all((path, formats[formats.by_suffix(path) or "json"].render(found)) for path in options.output)
    say(_for_terminal(found) if options.format == "terminal" else formats[options.format].render(found))
    if failed:
        raise UsageError("; ".join(failed))
    return STATUS[found.outcome]


def _side(path: Path) -> tuple[Report, ...]:
    """The reports of one side; a trace is judged now."""
    document = read(located(path))
    if isinstance(document, Trace):
        from wsprobe.diagnose import diagnose

        document = diagnose(document)
    found = document.reports if isinstance(document, Reports) else (document,)
    if not found or not all(report.trace.hops for report in found):
        raise UsageError(f"{path}: no connection in it, or one without a hop; there is nothing to compare")
    return found


def _for_terminal(found: "Comparison") -> str:
    from wsprobe.reports.comparison import terminal

    width, colour = screen()
    return terminal.render(found, width=width, colour=colour)
