"""`wsprobe report`: a saved trace or report in another format."""

import argparse
from pathlib import Path

from wsprobe.cli import UsageError, output
from wsprobe.codec import DecodeError, decode, decode_line, parse
from wsprobe.comparison import Comparison
from wsprobe.inspection import Inspection
from wsprobe.model import Observation, Report, Reports, Trace

MAX_FILE = 256 * 1024 * 1024
"""Octets of the longest file that is read: ten thousand connections at three hops are 226 MB."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What can be given."""
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="a saved report or its folder, or a saved trace to be judged now"
    )
    output.arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Renders the file; the exit status is that of the command that made it."""
    output.check(options)
    document = read(located(options.file))
    if isinstance(document, Trace):
        from wsprobe.diagnose import diagnose

        document = diagnose(document)
    return output.write(document, options)


def located(path: Path) -> Path:
    """The file of a report that was named, or of which the folder was."""
    inside = path / "report.json"
    return inside if inside.is_file() else path


def read(path: Path) -> Report | Reports | Trace:
    """The report or trace in a file. UsageError where it cannot be read or is none that can be rendered."""
    document = read_result(path)
    if isinstance(document, Comparison):
        raise UsageError(f"{path}: a comparison: wsprobe diff writes it in any format")
    return document


def read_result(path: Path) -> Report | Reports | Trace | Comparison:
    """What a command saved about connections. UsageError where it cannot be read or is none of that."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > MAX_FILE:
        raise UsageError(f"{path}: longer than {MAX_FILE >> 20} MiB, which is more than is read")
    try:
        document = decode(parse(text))
    except DecodeError as error:
        raise UsageError(f"{path}: {_records(text) or error}") from error
    if isinstance(document, Inspection):
        raise UsageError(f"{path}: an inspection of configs: wsprobe inspect writes it in any format")
    if isinstance(document, Observation):
        raise UsageError(f"{path}: {_records(text)}")
    if isinstance(document, Trace) and not all((document.hops, *(trial.hops for trial in document.trials))):
        raise UsageError(f"{path}: a trace, or a control in it, without a hop; there is nothing to judge")
    return document


def _records(text: bytes) -> str | None:
    """What to do with a file of records, None for any other."""
    try:
        decode_line(text.partition(b"\n")[0])
    except DecodeError:
        return None
    return "records of single hops, not a trace or a report: wsprobe diagnose joins and judges them"
