"""The command line: one file per command, imported only when it is used, so that help answers at once.

A command's module has `arguments(parser)` and `run(options) -> exit status`. Wrong usage and unreadable input end
with one line on stderr and exit status 2, an interruption with 130.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from wsprobe import __version__

COMMANDS = {
    "demo": "the 1011 incident on loopback, traced, diagnosed, reported",
    "trace": "open a WebSocket, observe, join what recorders saw, and say where it broke",
    "record": "record at a hop: a relay that passes every byte on untouched",
    "origin": "a stand-in backend that checks the token and tells what arrived",
    "diagnose": "join and judge what recorders saw, of anyone's traffic",
    "inspect": "read load balancer configs, and say per route what happens to an upgrade",
    "report": "render a saved trace or report",
    "diff": "what changed between two traces or two sets of repeats, and whether a fix worked",
    "attach": "post a report to an issue of GitHub or GitLab; prints what it would post unless --post",
    "explain": "a close code or a rule in words",
    "token": "what a JSON Web Token says, and whether it would verify",
}


class UsageError(Exception):
    """Wrong usage or unreadable input: one line that says what, where, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the pipe has seen enough
        sys.stderr.close()
        return 1


def _run(words: list[str]) -> int:
    collects = gc.isenabled()
    gc.disable()  # what is imported stays: to look for garbage in it takes a twentieth of a start
    try:
        options = _parser(words).parse_args(words)
    finally:
        if collects:
            gc.enable()
    try:
        status: int = import_module(f"wsprobe.cli.{options.command}").run(options)
    except UsageError as error:
        print(f"wsprobe {options.command}: {one_line(str(error))}", file=sys.stderr)
        return 2
    return status


def one_line(text: str) -> str:
    """A text from anywhere as one printable line: control characters never reach a terminal."""
    return "".join(c if c.isprintable() else " " if c in "\t\r\n" else "\ufffd" for c in text)[:2000]


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line: the usage of a command with many options fills a screen."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  argparse's own
        super().__init__(formatter_class=_formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Ends with exit status 2."""
        from wsprobe.redact import redact_text  # it may quote what was meant for another place

        print(f"{self.prog}: {one_line(redact_text(message))} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Help as wide as the terminal, which argparse would load the modules of five archive formats to ask for."""
    try:
        columns = int(os.environ.get("COLUMNS", "")) or os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    except (ValueError, OSError, AttributeError):
        columns = 80
    return argparse.HelpFormatter(prog, width=columns - 2)


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="wsprobe", description="Traceroute for WebSocket upgrades: which hop lost the header, with proof."
    )
    parser.add_argument("--version", action="version", version=f"wsprobe {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, does in COMMANDS.items():
        command = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
        if name == asked:  # only the command that runs pays for its imports
            import_module(f"wsprobe.cli.{name}").arguments(command)
    return parser
