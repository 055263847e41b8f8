"""SIGINT at every moment of a collection, also those at which asyncio's own handler is not there."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from wsprobe.cli.interruption import Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        yield interruption
    assert signal.getsignal(signal.SIGINT) is before


def test_before_the_work_it_is_not_begun(interruption: Interruption) -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("begun")

    signal.raise_signal(signal.SIGINT)
    interruption.run(work)
    assert (done, interruption.happened) == ([], True)


def test_while_the_loop_starts_the_work_is_not_begun(
    interruption: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    start = asyncio.new_event_loop

    def interrupted_start() -> asyncio.AbstractEventLoop:
        signal.raise_signal(signal.SIGINT)
        return start()

    async def work() -> None:
        done.append("begun")

    monkeypatch.setattr("asyncio.events.new_event_loop", interrupted_start)
    interruption.run(work)
    assert (done, interruption.happened) == ([], True)


def test_during_the_work_it_ends_and_keeps_what_it_has(interruption: Interruption) -> None:
    kept: list[str] = []

    async def work() -> None:
        asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            kept.append("what was seen")

    async def next_work() -> None:
        kept.append("too much")

    interruption.run(work)
    interruption.run(next_work)
    assert (kept, interruption.happened) == (["what was seen"], True)


def test_after_the_work_nothing_is_lost(interruption: Interruption) -> None:
    async def work() -> None:
        pass

    interruption.run(work)
    assert not interruption.happened
    signal.raise_signal(signal.SIGINT)
    assert interruption.happened


def test_who_insists_is_heard(interruption: Interruption) -> None:
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert interruption.happened
