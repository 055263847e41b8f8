"""`wsprobe trace URL`: connects, observes, joins what recorders saw, diagnoses, reports."""

import argparse
import asyncio
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import asked, gather, output
from wsprobe.cli.configoptions import config_arguments, read_configs
from wsprobe.cli.controloptions import allowed, control_arguments
from wsprobe.cli.headeroptions import NOT_IMITATED
from wsprobe.cli.interruption import Interruption
from wsprobe.cli.running import Run
from wsprobe.cli.targets import targets
from wsprobe.model import Control, Trace
from wsprobe.redact import redact_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsprobe.model import Header, Report, Reports

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
    config_arguments(parser)
    output.arguments(parser)


def run(options: argparse.Namespace) -> int:
    """One connection, or --repeat of them; interrupted, it reports what it has and ends with 130."""
    output.check(options)
    attempt = asked.attempt(options)
    if options.plan:
        sys.stdout.write(asked.plan(attempt, options))
        return 0
    may = allowed(options, attempt)
    configs = read_configs(options)
    gather.fingerprint_key()  # what cannot be used is told before anything is sent
    gather.records(options.records)
    run_ = Run(attempt, options, may, targets(options, attempt))
    with Interruption() as interruption:
        try:
            for part in (run_.timers,) if options.timers else (run_.connections, run_.controls, run_.weigh):
                interruption.run(part)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        if not run_.seen:
            return _INTERRUPTED
        found = gather.beside(run_.observations, options.records, lambda: interruption.happened)
        status = output.write(configs.beside(_judged(run_, found)), options)
    return _INTERRUPTED if interruption.happened else status


def bounded(url: str, headers: "Sequence[Header]", seconds: float, authorities: "Path | None") -> "Report | None":
    """A trace of a URL with these headers that is over in time; None where nothing was seen until then.

    For who is no command line: the failed test of somebody. It needs a thread without an event loop. `authorities` are
    those to trust, None for those of the system.
    """
    from wsprobe.model import Report

    parser = argparse.ArgumentParser()
    arguments(parser)
    trusted = ["--cacert", str(authorities)] if authorities else []
    options = parser.parse_args(["--hold", "2", "--max-time", str(seconds / 2), *trusted, "--", url])
    options.header = [f"{name}: {value}" for name, value in headers]
    attempt = asked.attempt(options)
    run_ = Run(attempt, options, allowed(options, attempt))
    asyncio.run(_in_time(run_, seconds))
    judged = _judged(run_, gather.Found()) if run_.seen else None
    return judged if isinstance(judged, Report) else None


async def _in_time(run_: Run, seconds: float) -> None:
    with suppress(TimeoutError):  # what was seen until then is kept
        async with asyncio.timeout(seconds):
            await run_.connections()
            await run_.controls()


def _judged(run_: Run, found: gather.Found) -> "Report | Reports":
    from wsprobe.diagnose import collect
    from wsprobe.join import CLIENT, join

    seen, options = run_.seen, run_.options
    tried = {one.hops[0].connection: one for one in run_.trials}
    everything = join((*run_.observations, *found.observations), found.problems)
    traces = [trace for trace in everything if trace.hops[0].name == CLIENT]
    trials = tuple(
        replace(tried[trace.hops[0].connection], hops=trace.hops)
        for trace in sorted(traces, key=lambda trace: trace.id or "")
        if trace.hops[0].connection in tried
    )
    redirections = {one.observation.connection: one.redirections for one in seen}
    first = min((trace.id or "" for trace in traces), default="")
    reports = []
    for trace in traces:
        if trace.hops[0].connection not in redirections:
            continue
        if trace.id == first:
            weighings = tuple(run_.weighings)
            trace = replace(trace, trials=trials, stopped=run_.stopped, weighings=weighings)  # noqa: PLW2901
        reports.append(_report(trace, redirections[trace.hops[0].connection], options))
    return reports[0] if run_.total == 1 else collect(reports)


def _report(trace: Trace, redirections: tuple[Control, ...], options: argparse.Namespace) -> "Report":
    from wsprobe.diagnose import diagnose

    report = diagnose(trace, subject=redact_text(options.url), browser=options.as_browser)
    not_imitated = [f"not imitated of a browser: {what}" for what in NOT_IMITATED] if options.as_browser else []
    return replace(report, controls=(*report.controls, *redirections), unobserved=(*report.unobserved, *not_imitated))
