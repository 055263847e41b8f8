"""`wsprobe report`: a saved trace or report in another format; other commands print and write theirs the same way."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from wsprobe.cli import UsageError
from wsprobe.codec import DecodeError, decode, decode_line, parse
from wsprobe.model import Observation, Report, Reports, Trace
from wsprobe.reports import Format, by_suffix, formats

MAX_FILE = 64 * 1024 * 1024
"""Octets of the longest file that is read."""

_NARROWEST, _WIDEST, _UNKNOWN = 60, 200, 100
# For a terminal whose encoding has no such signs: each is replaced by one character, so that columns stay.
_ASCII = str.maketrans("✓✗≠·─▶┄│┊…→", "+x!.->.|:~>")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What can be given."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a saved report, or a saved trace to be judged now")
    output_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Renders the file."""
    document = read(options.file)
    if isinstance(document, Trace):
        from wsprobe.diagnose import diagnose

        document = diagnose(document)
    deliver(document, options)
    return 0


def output_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that choose how and where a report goes; `deliver` obeys them."""
    names = list(formats())
    parser.add_argument("--format", choices=names, help=f"{', '.join(names)}; without it terminal, or what -o says")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write there and print nothing: a file, whose suffix picks the format, or a folder",
    )


def deliver(report: Report | Reports, options: argparse.Namespace) -> None:
    """Writes a report where the options say, or prints it. UsageError where that cannot be done."""
    if options.output is None:
        print_report(report, options.format or "terminal")
    else:
        write_report(report, options.output, options.format)


def print_report(report: Report | Reports, name: str) -> None:
    """Prints a report: coloured and as wide as the terminal, if stdout is one, else 100 columns without colour."""
    if name == "terminal":
        from wsprobe.reports import terminal

        columns = shutil.get_terminal_size((_UNKNOWN, 40)).columns
        width = max(_NARROWEST, min(columns, _WIDEST))
        if isinstance(report, Reports):
            text = terminal.render_all(report, width=width, colour=_colour())
        else:
            text = terminal.render(report, width=width, colour=_colour())
    else:
        text = _rendered(report, formats()[name])
    sys.stdout.write(_encodable(text))
    sys.stdout.flush()


def write_report(report: Report | Reports, path: str, name: str | None = None) -> None:
    """Writes a report to a file, in a format or in that of its suffix; into a folder as `report.json` and `report.md`.

    Beside the report of one connection a folder gets its `trace.json`.
    """
    if path.endswith(os.sep) or Path(path).is_dir():
        _write_folder(report, Path(path), [name] if name else ["json", "markdown"])
        return
    found = name or by_suffix(path)
    if found is None:
        suffixes = ", ".join(sorted(module.SUFFIX for module in formats().values()))
        raise UsageError(f"{path}: no format is known by that suffix; use one of {suffixes}, or give --format")
    _write(Path(path), _rendered(report, formats()[found]))


def _write_folder(report: Report | Reports, folder: Path, names: list[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}") from error
    if isinstance(report, Report):
        from wsprobe.reports.json import document

        _write(folder / "trace.json", document(report.trace))
    for name in names:
        module = formats()[name]
        _write(folder / f"report{module.SUFFIX}", _rendered(report, module))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _rendered(report: Report | Reports, module: Format) -> str:
    return module.render_all(report) if isinstance(report, Reports) else module.render(report)


def _colour() -> bool:
    """Whether stdout is a terminal that takes colour, and nobody said no (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _encodable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text


# Reading.


def read(path: Path) -> Report | Reports | Trace:
    """The document in a file. UsageError where it cannot be read or is none that can be rendered."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > MAX_FILE:
        raise UsageError(f"{path}: longer than {MAX_FILE} octets, which no report is")
    try:
        document = decode(parse(text))
    except DecodeError as error:
        raise UsageError(f"{path}: {_records(text) or error}") from error
    if isinstance(document, Observation):
        raise UsageError(f"{path}: {_records(text)}")
    if isinstance(document, Trace) and not document.hops:
        raise UsageError(f"{path}: a trace without a hop; there is nothing to judge")
    return document


def _records(text: bytes) -> str | None:
    """What to do with a file of records, None for any other."""
    try:
        decode_line(text.partition(b"\n")[0])
    except DecodeError:
        return None
    return "records of single hops, not a trace or a report: wsprobe diagnose joins and judges them"
