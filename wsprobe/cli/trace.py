"""`wsprobe trace URL`: connects, observes, joins what recorders saw, diagnoses, reports."""

import argparse
import asyncio
import sys
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import asked, gather, output
from wsprobe.cli.controloptions import allowed, control_arguments
from wsprobe.cli.headeroptions import NOT_IMITATED
from wsprobe.controls import Allowed, left_out, next_ask
from wsprobe.model import Control, Trace, Trial
from wsprobe.redact import redact_text

if TYPE_CHECKING:
    from wsprobe.model import Observation, Report, Reports
    from wsprobe.net.attempt import Attempt

_INTERRUPTED = 130


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    asked.arguments(parser)
    control_arguments(parser)
    joined = parser.add_argument_group("what recorders saw")
    joined.add_argument(
        "--records",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="records files or folders to join with (repeatable); their last lines are waited for, up to 2 s",
    )
    output.arguments(parser)


def run(options: argparse.Namespace) -> int:
    """One connection, or --repeat of them; interrupted, it reports what it has and ends with 130."""
    output.check(options)
    attempt = asked.attempt(options)
    if options.plan:
        sys.stdout.write(asked.plan(attempt, options))
        return 0
    may = allowed(options, attempt)
    gather.fingerprint_key()  # what cannot be used is told before anything is sent
    gather.records(options.records)
    run_ = _Run(attempt, options, may)
    try:
        asyncio.run(run_.connections())
        asyncio.run(run_.controls())
    except KeyboardInterrupt:
        run_.interrupted = True
    if not run_.seen:
        return _INTERRUPTED
    found = gather.beside(run_.observations, [] if run_.interrupted else options.records)
    status = output.write(_judged(run_, found), options)
    return _INTERRUPTED if run_.interrupted or found.interrupted else status


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of one request: its last connection, and the redirections before that."""

    observation: "Observation"
    redirections: tuple[Control, ...]


@dataclass(slots=True)
class _Run:
    """All connections that were asked for, paced and side by side, at most --concurrency at a time."""

    attempt: "Attempt"
    options: argparse.Namespace
    may: Allowed
    trials: list[Trial] = field(default_factory=list)
    stopped: str | None = None
    seen: list[_Seen] = field(default_factory=list)
    interrupted: bool = False
    _next: float = 0.0

    @property
    def observations(self) -> "list[Observation]":
        """What the probe itself saw, the controls included."""
        return [*(one.observation for one in self.seen), *(one.hops[0] for one in self.trials)]

    async def connections(self) -> None:
        """Makes them; cancelled, it keeps what those that are open have seen."""
        free = asyncio.Semaphore(self.options.concurrency)
        async with asyncio.TaskGroup() as group:
            for number in range(self.options.repeat):
                await free.acquire()
                await self._turn(self.attempt)
                group.create_task(self._one(replace(self.attempt, number=number))).add_done_callback(
                    lambda _: free.release()
                )

    async def controls(self) -> None:
        """Asks what separates the explanations that the first connection left, one request after the other."""
        from wsprobe.net.probe import probe
        from wsprobe.net.trial import attempt_for
        from wsprobe.redact import redact

        if not self.seen:
            return
        main = min((one.observation for one in self.seen), key=lambda one: one.trace or "")
        trace = Trace(id=main.trace, hops=(main,), order="one hop")
        for number in count(self.options.repeat):
            ask = next_ask(trace, self.may)
            if ask is None:
                break
            attempt = attempt_for(ask, self.attempt, main, number)
            await self._turn(attempt)
            seen = redact(await probe(attempt), gather.fingerprint_key())
            self.trials.append(Trial(name=ask.name, hops=(seen,)))
            trace = replace(trace, trials=tuple(self.trials))
            task = asyncio.current_task()
            if task and task.cancelling():
                self.stopped = "interrupted"
                break
        self.stopped = self.stopped or left_out(trace, self.may)

    async def _turn(self, attempt: "Attempt") -> None:
        """Waits until the next connection may start."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + asked.interval(attempt, self.options)
        await asyncio.sleep(start - now)

    async def _one(self, attempt: "Attempt") -> None:
        """One connection, and with --location those that it is sent on to."""
        from wsprobe.net.attempt import redirected
        from wsprobe.net.probe import probe
        from wsprobe.redact import redact

        redirections: list[Control] = []
        for step in range(asked.REDIRECTS):
            found = await probe(attempt)
            observation = redact(found, gather.fingerprint_key())
            task = asyncio.current_task()
            last = not self.options.location or step == asked.REDIRECTS - 1 or (task and task.cancelling())
            onward = None if last else redirected(attempt, found.observation)
            if onward is None:
                self.seen.append(_Seen(observation, tuple(redirections)))
                self._tell()
                return
            redirections.append(_redirection(attempt, observation, onward))
            await self._turn(onward)
            attempt = onward

    def _tell(self) -> None:
        if self.options.repeat > 1 and sys.stderr.isatty():
            end = "\n" if len(self.seen) == self.options.repeat else ""
            print(f"\r{len(self.seen)} of {self.options.repeat}", end=end, file=sys.stderr, flush=True)


def _redirection(attempt: "Attempt", answered: "Observation", onward: "Attempt") -> Control:
    line = answered.response.start_line.partition(" ")[2] if answered.response else ""
    came = f"answered {line[:100]} and sent on to {redact_text(str(onward.url))[:500]}"
    return Control(name=f"redirected: {redact_text(str(attempt.url))[:500]}", result=came)


def _judged(run_: _Run, found: gather.Found) -> "Report | Reports":
    from wsprobe.diagnose import collect
    from wsprobe.join import CLIENT, join

    seen, options = run_.seen, run_.options
    tried = {one.hops[0].connection: one for one in run_.trials}
    everything = join((*run_.observations, *found.observations), found.problems)
    traces = [trace for trace in everything if trace.hops[0].name == CLIENT]
    trials = tuple(
        replace(tried[trace.hops[0].connection], hops=trace.hops)
        for trace in traces
        if trace.hops[0].connection in tried
    )
    redirections = {one.observation.connection: one.redirections for one in seen}
    first = min((trace.id or "" for trace in traces), default="")
    reports = [
        _report(
            replace(trace, trials=trials, stopped=run_.stopped) if trace.id == first else trace,
            redirections[trace.hops[0].connection],
            options,
        )
        for trace in traces
        if trace.hops[0].connection in redirections
    ]
    return reports[0] if options.repeat == 1 else collect(reports)


def _report(trace: Trace, redirections: tuple[Control, ...], options: argparse.Namespace) -> "Report":
    from wsprobe.diagnose import diagnose

    report = diagnose(trace, subject=redact_text(options.url), browser=options.as_browser)
    not_imitated = [f"not imitated of a browser: {what}" for what in NOT_IMITATED] if options.as_browser else []
    return replace(report, controls=(*report.controls, *redirections), unobserved=(*report.unobserved, *not_imitated))
