"""Where a result goes: stdout in one format, and files whose suffix picks theirs."""

import argparse
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from wsprobe.cli import UsageError
from wsprobe.model import Report, Reports, Severity
from wsprobe.reports import by_suffix, formats

_RANKS = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.NOTE: 0}
_FOLDER_FILES = ("report.json", "report.md")
TRACE_FILE = "trace.json"
_ASCII = str.maketrans("✓✗≠·─▶┄│┊…→", "+x!.->.|:~>")


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
        help="also write a file, whose suffix picks the format, or into a folder: trace.json, report.json, report.md",
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
        if _is_folder(path):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"{path}: {error.strerror}") from None
        elif by_suffix(path) is None:
            known = ", ".join(sorted(module.SUFFIX for module in formats().values()))
            raise UsageError(f"{path}: the suffix names no format; use one of {known}, or a folder")
        elif not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
        _check_writable(path)


def _check_writable(path: Path) -> None:
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise UsageError(f"{path}: cannot be written: {os.strerror(errno.EACCES)}")


def write(result: Report | Reports, options: argparse.Namespace) -> int:
    """Writes the result everywhere it was asked for; the exit status that it deserves.

    A file that cannot be written is told after all else was.
    """
    failed: list[str] = []
    for path in options.output:
        for file, text in _files(path, result):
            try:
                _save(file, text)
            except OSError as error:
                failed.append(f"{file}: cannot be written: {error.strerror}")
    _print(result, options.format)
    if failed:
        raise UsageError("; ".join(failed))
    return status(result, options.fail_on)


def _files(path: Path, result: Report | Reports) -> Iterator[tuple[Path, str]]:
    if not _is_folder(path):
        yield path, rendered(result, by_suffix(path) or "json")
        return
    if isinstance(result, Report):
        from wsprobe.reports.json import document

        yield path / TRACE_FILE, document(result.trace)
    for name in _FOLDER_FILES:
        yield path / name, rendered(result, by_suffix(name) or "json")


def rendered(result: Report | Reports, name: str) -> str:
    """The result in one format."""
    module = formats()[name]
    return module.render(result) if isinstance(result, Report) else module.render_all(result)


def _print(result: Report | Reports, name: str) -> None:
    """The result on stdout: colour for a person who wants it, and no sign that the stream cannot carry."""
    text = rendered(result, name) if name != "terminal" else _for_terminal(result)
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    sys.stdout.write(text)
    sys.stdout.flush()


def _for_terminal(result: Report | Reports) -> str:
    from wsprobe.reports import terminal

    person = sys.stdout.isatty()
    colour = person and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size((100, 40)).columns if person else 100
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


def _is_folder(path: Path) -> bool:
    return path.is_dir() or not path.suffix


def _save(path: Path, text: str) -> None:
    """Private, like the records: a report names internal hosts."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
