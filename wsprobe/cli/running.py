"""The connections of one trace: those that were asked for, the controls beside them, or a ladder of held ones."""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError, asked, gather
from wsprobe.cli.controloptions import weighed
from wsprobe.cli.headeroptions import printed
from wsprobe.cli.targets import Target
from wsprobe.controls import Allowed, Ask, left_out, next_ask
from wsprobe.model import Control, Trace, Trial, Weighing
from wsprobe.redact import redact_text
from wsprobe.trials import asks_for_pause

if TYPE_CHECKING:
    from wsprobe.model import Header, Observation
    from wsprobe.net.attempt import Attempt
    from wsprobe.observer import Unredacted
    from wsprobe.weighing import Scale

_BEAT_SECONDS = 1.0
_LADDER = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one request: its last connection, and the redirections before that."""

    observation: "Observation"
    redirections: tuple[Control, ...]


@dataclass(slots=True)
class Run:
    """All connections that were asked for, paced and side by side, at most --concurrency at a time."""

    attempt: "Attempt"
    options: argparse.Namespace
    may: Allowed
    targets: tuple[Target, ...] = ()
    trials: list[Trial] = field(default_factory=list)
    stopped: str | None = None
    weighings: list[Weighing] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    _next: float = 0.0
    _paused: bool = False

    @property
    def observations(self) -> "list[Observation]":
        """What the probe itself saw, the controls included."""
        return [*(one.observation for one in self.seen), *(one.hops[0] for one in self.trials)]

    async def connections(self) -> None:
        """Makes them; cancelled, it keeps what those that are open have seen."""
        free = asyncio.Semaphore(self.options.concurrency)
        async with asyncio.TaskGroup() as group:
            for number in range(self.total):
                await free.acquire()
                await self._turn(self.attempt)
                group.create_task(self._one(self._numbered(number))).add_done_callback(lambda _: free.release())

    @property
    def total(self) -> int:
        """How many connections were asked for."""
        return int(self.options.repeat) * max(1, len(self.targets))

    def _numbered(self, number: int) -> "Attempt":
        """One of the connections; the addresses take turns."""
        attempt = replace(self.attempt, number=number)
        if not self.targets:
            return attempt
        asked_ = (attempt.url.host or "").lower(), attempt.url.port or 0
        return replace(attempt, answers={**attempt.answers, asked_: self.targets[number % len(self.targets)]})

    async def controls(self) -> None:
        """Asks what separates the explanations that the first connection left, one request after the other."""
        from wsprobe.net.trial import attempt_for
        from wsprobe.redact import redact

        if not self.seen:
            return
        main = min((one.observation for one in self.seen), key=lambda one: one.trace or "")
        trace = Trace(id=main.trace, hops=(main,), order="one hop")
        for number in count(self.total):
            ask = next_ask(trace, self.may)
            if ask is None:
                break
            try:
                ticket = await self._ticket()
                attempt = _with(ticket, attempt_for(ask, _with(ticket, self.attempt), main, number))
                await self._turn(attempt)
                seen = redact(await self._tried(ask, attempt), gather.fingerprint_key())
            except UsageError as error:  # a ticket that could not be had; what was seen before is kept
                self.stopped = str(error)
                break
            self.trials.append(Trial(name=ask.name, hops=(seen,)))
            trace = replace(trace, trials=tuple(self.trials))
            task = asyncio.current_task()
            if task and task.cancelling():
                self.stopped = "interrupted"
                break
        self.stopped = self.stopped or left_out(trace, self.may)

    async def _tried(self, ask: Ask, attempt: "Attempt") -> "Unredacted":
        if not ask.http2:
            from wsprobe.net.probe import probe

            return await probe(attempt)
        from wsprobe.net.http2 import ask_http2

        return await ask_http2(attempt)

    async def _probed(self, attempt: "Attempt") -> "Unredacted":
        from wsprobe.net.probe import probe

        return await probe(await self._ready(attempt))

    async def _ready(self, attempt: "Attempt") -> "Attempt":
        return _with(await self._ticket(), attempt)

    async def _ticket(self) -> str | None:
        """A ticket of its own for one connection, where the user has such; UsageError where none can be had."""
        if self.options.ticket_cmd is None:
            return None
        ticket = (await asyncio.to_thread(printed, self.options.ticket_cmd, "--ticket-cmd")).strip()
        if not ticket.isprintable() or not ticket.isascii() or not ticket:
            raise UsageError("--ticket-cmd: what the command printed is no ticket: one line of ASCII")
        return ticket

    async def _turn(self, attempt: "Attempt") -> None:
        """Waits until the next connection may start."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + asked.interval(attempt, self.options)
        await asyncio.sleep(start - now)

    async def _one(self, attempt: "Attempt") -> None:
        """One connection, and with --location those that it is sent on to."""
        from wsprobe.net.attempt import redirected
        from wsprobe.redact import redact

        redirections: list[Control] = []
        for step in range(asked.REDIRECTS):
            found = await self._probed(attempt)
            observation = redact(found, gather.fingerprint_key())
            task = asyncio.current_task()
            last = not self.options.location or step == asked.REDIRECTS - 1 or (task and task.cancelling())
            onward = None if last else redirected(attempt, found.observation)
            if onward is None:
                self.seen.append(Seen(observation, tuple(redirections)))
                self._tell()
                return
            redirections.append(_redirection(attempt, observation, onward))
            await self._turn(onward)
            attempt = onward

    async def weigh(self) -> None:
        """Weighs the header that the user named, on upgrades and over plain HTTP, in at most 40 requests."""
        if not self.seen or not (self.options.weigh or self.options.size_ladder):
            return
        from wsprobe.weighing import MOST, size_ladder, weigh

        self._paused = any(map(asks_for_pause, self.observations))
        made = 0
        if self.options.size_ladder and not self._paused:
            self.weighings.append(await self._weighed(size_ladder(_LADDER), ("", ""), 0))
            made = self.weighings[-1].tries
        header = weighed(self.options, self.attempt)
        if header is None:
            return
        if self._paused:
            why = "the server asks for a pause"
            self.weighings.append(Weighing(header=header[0], plain=False, tries=0, arrived=None, why=why))
            return
        left, unit = MOST, ""
        for plain in (False, True):
            scale = weigh(header, plain=plain, tries=left, unit=unit)
            found = await self._weighed(scale, header, made + MOST - left)
            self.weighings.append(found)
            if self._paused:
                break
            left, unit = left - found.tries, found.unit

    async def _weighed(self, scale: "Scale", header: "Header", made: int) -> Weighing:
        from wsprobe.net.weigh import loaded
        from wsprobe.redact import redact

        load = next(scale)
        for number in count(self.total + len(self.trials) + made):
            attempt = loaded(self.attempt, header, load, number)
            await self._turn(attempt)
            seen = redact(await self._probed(attempt), gather.fingerprint_key())
            self._paused = self._paused or asks_for_pause(seen) is not None
            try:
                load = scale.send(seen)
            except StopIteration as done:
                found: Weighing = done.value
                return found
        raise AssertionError("a count has no end")

    async def timers(self) -> None:
        """Holds connections side by side; cancelled, it keeps what each has seen so far.

        Once the silent ones were ended, the others are held for as long again and half of it, which tells them apart.
        """
        from wsprobe.ladder import SILENT, SILENT_TOO
        from wsprobe.net.rungs import APART, rungs

        every = self.options.ping or _BEAT_SECONDS
        began = asyncio.get_running_loop().time()
        held: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            for name, attempt in rungs(self.attempt, every):
                held[name] = group.create_task(self._rung(None if name == SILENT else name, attempt))
                await asyncio.sleep(max(APART, asked.interval(attempt, self.options)))
            silent = group.create_task(_all((held[SILENT], held[SILENT_TOO])))
            while not silent.done():
                self._tell_held(began)
                await asyncio.wait([silent], timeout=1)
            took = asyncio.get_running_loop().time() - began
            await asyncio.wait(held.values(), timeout=took * 1.5 + 1)
            for task in held.values():
                task.cancel()

    async def _rung(self, name: str | None, attempt: "Attempt") -> None:
        from wsprobe.redact import redact

        seen = redact(await self._probed(attempt), gather.fingerprint_key())
        if name is None:
            self.seen.append(Seen(seen, ()))
        else:
            self.trials.append(Trial(name=name, hops=(seen,)))

    def _tell_held(self, began: float) -> None:
        """Progress for a person: for how long it has held, and how many ended before."""
        if sys.stderr.isatty():
            took = asyncio.get_running_loop().time() - began
            ended = f", {len(self.observations)} ended" if self.observations else ""
            print(f"\rheld for {took:.0f} of {self.attempt.hold:.0f} s{ended} ", end="", file=sys.stderr, flush=True)

    def _tell(self) -> None:
        if self.total > 1 and sys.stderr.isatty():
            end = "\n" if len(self.seen) == self.total else ""
            print(f"\r{len(self.seen)} of {self.total}", end=end, file=sys.stderr, flush=True)


async def _all(tasks: Iterable["asyncio.Task[None]"]) -> None:
    await asyncio.wait(tasks)


def _with(ticket: str | None, attempt: "Attempt") -> "Attempt":
    if ticket is None:
        return attempt
    from wsprobe.net.attempt import ticketed

    return ticketed(attempt, ticket)


def _redirection(attempt: "Attempt", answered: "Observation", onward: "Attempt") -> Control:
    line = answered.response.start_line.partition(" ")[2] if answered.response else ""
    came = f"answered {line[:100]} and sent on to {redact_text(str(onward.url))[:500]}"
    return Control(name=f"redirected: {redact_text(str(attempt.url))[:500]}", result=came)
