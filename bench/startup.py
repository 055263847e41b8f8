"""Whole processes of the command line, from start to exit, beside the least that could do the same."""

import compileall
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import wsprobe
from bench.figures import EXPLAIN, HELP, INSPECT, PYTHON, SMALLEST, TRACE
from bench.programs import Unmeasured, pinned, program
from bench.traffic import Bench, left_out_on_failure, say

# One-off processes are noisier than a second of traffic and cheap: many more rounds.
RUNS_PER_ROUND = 4
CONFIG = Path(__file__).with_name("nginx.conf")
SCRIPT = Path(__file__).with_name("smallest.py")


def _commands(bench: Bench) -> dict[str, list[str]]:
    url = f"ws://127.0.0.1:{bench.origin}/close"
    commands = {PYTHON: [sys.executable, "-c", "pass"], SMALLEST: [sys.executable, str(SCRIPT), url]}
    wsprobe = {
        HELP: ["--help"],
        EXPLAIN: ["explain", "1011"],
        INSPECT: ["inspect", str(CONFIG)],
        TRACE: ["trace", url, "--format", "json"],
    }
    for name, arguments in wsprobe.items():
        with left_out_on_failure(bench, name):
            commands[name] = [program("wsprobe"), *arguments]
    return commands


def _milliseconds(bench: Bench, command: Sequence[str]) -> float:
    """The time from start to exit of a process that must succeed."""
    with pinned(bench.cores.measured):
        start = time.perf_counter()
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        elapsed = time.perf_counter() - start
    if run.returncode:
        said = run.stderr.strip().splitlines() or ["nothing was said"]
        raise Unmeasured(f"status {run.returncode}: {said[-1][:200]}")
    return elapsed * 1e3


def startup(bench: Bench) -> None:
    """Interleaved runs of every command; the first, which finds cold files, does not count."""
    say("whole processes")
    # As pip leaves a package that it installs, and as aiohttp beside it is; an editable one may never get bytecode.
    compileall.compile_dir(Path(wsprobe.__file__).parent, quiet=1)
    commands = _commands(bench)
    for turn in range(bench.rounds * RUNS_PER_ROUND + 1):
        for name, command in commands.items():
            if name not in bench.figures.reasons:
                with left_out_on_failure(bench, name):
                    elapsed = _milliseconds(bench, command)
                    if turn:
                        bench.figures.add(name, time=elapsed)
