"""SIGINT while something is collected: the work under way ends, and what was seen until then is reported."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """From entry to exit, the first SIGINT ends the work under way and nothing else; the next one ends the program.

    asyncio's own handler is there only while its loop runs: before and after, an interruption would break up what
    starts or closes the loop, or lose what was collected. It needs the main thread.
    """

    def __init__(self) -> None:
        self.happened = False
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._before)

    def run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Runs it to its end, or until it is interrupted; not at all after an interruption."""
        if self.happened:
            return
        with suppress(asyncio.CancelledError):
            asyncio.run(self._run(work))

    async def _run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._task = asyncio.current_task()
        try:
            if not self.happened:
                await work()
        finally:
            self._task = None

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.happened:
            signal.default_int_handler(number, frame)
        self.happened = True
        if self._task:
            self._task.cancel()
            self._task.get_loop().call_soon_threadsafe(lambda: None)  # wakes a loop that waits for the network
