"""`wsprobe trace URL`: connects, observes, joins what recorders saw, diagnoses, reports."""

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import asked, gather, output

if TYPE_CHECKING:
    from wsprobe.model import Observation, Report, Trace
    from wsprobe.net.probe import Attempt

_REDIRECTS = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    asked.arguments(parser)
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
    gather.records(options.records)  # unreadable records are told before anything is sent
    seen, interrupted = _observe(attempt, options)
    if not seen:
        return 130
    status = output.write(_judged(seen, options), options)
    return 130 if interrupted else status


def _observe(attempt: "Attempt", options: argparse.Namespace) -> tuple[list["Observation"], bool]:
    seen: list[Observation] = []
    try:
        asyncio.run(_connections(attempt, options, seen))
    except KeyboardInterrupt:
        return seen, True
    return seen, False


async def _connections(attempt: "Attempt", options: argparse.Namespace, seen: list["Observation"]) -> None:
    """All connections that were asked for, paced and side by side, at most --concurrency at a time."""
    free = asyncio.Semaphore(options.concurrency)
    pause = 1 / options.rate if options.rate else 0.0

    async def one(number: int) -> None:
        async with free:
            await _one(replace(attempt, number=number), options, seen)
            if options.repeat > 1:
                print(f"{len(seen)} of {options.repeat}", end="\r", file=sys.stderr, flush=True) if _tty() else None

    async with asyncio.TaskGroup() as group:
        for number in range(options.repeat):
            group.create_task(one(number))
            if number + 1 < options.repeat:
                await asyncio.sleep(pause)


def _tty() -> bool:
    return sys.stderr.isatty()


async def _one(attempt: "Attempt", options: argparse.Namespace, seen: list["Observation"]) -> None:
    """One connection, and with --location those that it is sent on to."""
    from wsprobe.net.probe import probe, redirected
    from wsprobe.recordfile import fingerprint_key
    from wsprobe.redact import redact

    for step in range(_REDIRECTS):
        found = await probe(attempt)
        onward = redirected(attempt, found) if options.location else None
        if onward is None or step == _REDIRECTS - 1:
            seen.append(redact(found, fingerprint_key()))
            return
        answer = redact(found, fingerprint_key()).response
        print(f"redirected: {answer.start_line if answer else ''} -> {asked.shown(onward.url)}", file=sys.stderr)
        attempt = onward


def _judged(seen: list["Observation"], options: argparse.Namespace) -> "Report":
    from wsprobe.diagnose import collect, diagnose
    from wsprobe.join import CLIENT, join

    found = gather.beside(seen, options.records)
    traces = [trace for trace in join((*seen, *found.observations), found.problems) if trace.hops[0].name == CLIENT]
    reports = [diagnose(trace, subject=asked.shown_text(options.url), browser=options.as_browser) for trace in traces]
    return reports[0] if options.repeat == 1 else collect(reports)  # type: ignore[return-value]
