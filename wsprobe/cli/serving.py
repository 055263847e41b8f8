"""What listens until it is told to leave: signals, the event loop, and what is told on stderr."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from wsprobe.cli import UsageError
from wsprobe.net.address import shown

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

INTERRUPTED = 130


class Serving(Protocol):
    """What the commands start."""

    async def start(self) -> tuple[str, int]:
        """Listens."""

    async def stop(self) -> None:
        """Records what is known of open connections and leaves."""


def serve(serving: Serving, log: "FilteringBoundLogger", *, listen: str, **about: object) -> int:
    """Serves until SIGTERM (status 0) or SIGINT (status 130); `about` is told with the address."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(serving, log, listen, about))


async def _serve(serving: Serving, log: "FilteringBoundLogger", listen: str, about: dict[str, object]) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(partial(_tell_exception, log))
    leave: asyncio.Future[int] = loop.create_future()
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)):
        loop.add_signal_handler(number, _leave, leave, status)
    try:
        host, port = await serving.start()
    except OSError as error:
        # The loops word it in their own ways, all but the resolver's errors, which have numbers of their own.
        words = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise UsageError(f"--listen {listen}: {words or error}") from None
    log.info("listening", at=shown((host, port)), **about)
    status = await leave
    await serving.stop()
    return status


def _leave(leave: "asyncio.Future[int]", status: int) -> None:
    if not leave.done():
        leave.set_result(status)


def _tell_exception(log: "FilteringBoundLogger", _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What asyncio would print with a traceback; the text of an exception could hold what was received."""
    log.error(str(context.get("message")), error=type(context.get("exception")).__name__)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):  # no wheel for this platform: asyncio's own loop does the same, slower
        import uvloop

        return uvloop.new_event_loop
    return None
