"""What long-running commands tell on stderr: for humans on a terminal, as JSON Lines where a program reads."""

import contextlib
import os
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from wsprobe.heads import status
from wsprobe.model import Observation
from wsprobe.wording import ending

_INFO, _WARNING = 20, 30
_MAX_SHOWN = 300


def logger(stream: TextIO | None = None, *, quiet: bool = False) -> FilteringBoundLogger:
    """A logger of its own, which changes no global setting. With `quiet` it tells what is wrong and nothing else."""
    stream = stream or sys.stderr
    for_humans = stream.isatty()
    last: Processor = structlog.processors.JSONRenderer()
    if for_humans:
        colors = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        last = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, sort_keys=False)
    log: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if for_humans else "iso", utc=not for_humans),
            _printable,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_WARNING if quiet else _INFO),
        cache_logger_on_first_use=True,
    )
    return log


class _Lines:
    """Prints a line; one that nobody reads any more is dropped, and what the command is there for goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a pipe whose reader left; a stream that was closed
            print(line, file=self._stream, flush=True)

    info = warning = error = msg


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What strangers sent never reaches the terminal raw."""
    return {key: _clean(value) if isinstance(value, str) else value for key, value in event.items()}


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:_MAX_SHOWN])


def tell_passed(log: FilteringBoundLogger, seen: Observation) -> None:
    """One line about an exchange that is over, made from the redacted record and nothing else."""
    request, response = seen.request, seen.response
    asked = request.start_line.removesuffix(" HTTP/1.1") if request else "no request"
    answered = status(response.start_line) if response else None
    ended = seen.failure.message if seen.failure else ending(seen) if seen.closes else "answered"
    client = seen.peers.client if seen.peers else None
    log.info(asked, hop=seen.name, client=client, status=answered, ended=ended, seconds=seen.ended)
