"""Starts programs pinned to a core, reads what they cost from /proc, and ends them by their process id."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 10.0
# What a program does after the last byte (records, freeing) belongs to the exchange.
SETTLE_SECONDS = 0.2
TICK = 1 / os.sysconf("SC_CLK_TCK")


class Unmeasured(Exception):  # noqa: N818 -- an outcome that the table shows, like a figure
    """Something could not be measured; the text is the reason as the table shows it."""


class NotInstalledError(Unmeasured):
    """The program is not on this machine: a row without a figure, and no failure."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of origin and load, and the core of what is measured."""

    load: int
    measured: int


def two_cores() -> Cores:
    """The first two cores that this process may use; one core alone would measure the load generator too."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        sys.exit("bench: two cores are needed, one for what is measured and one for the load; only one is usable here")
    return Cores(load=allowed[0], measured=allowed[1])


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Whatever is started in this block runs on `core` alone: children inherit the affinity."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def program(name: str) -> str:
    """The path of a program: beside this Python, as a virtual environment has it, or else on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise NotInstalledError(f"{name} is not installed")
    return found


def version(*command: str) -> str:
    """The first line that a program says about its version."""
    try:
        run = subprocess.run(
            [program(command[0]), *command[1:]], capture_output=True, text=True, timeout=30, check=True
        )
    except (Unmeasured, subprocess.SubprocessError) as error:
        return f"{command[0]}: {error}"
    return (run.stdout + run.stderr).strip().splitlines()[0]


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: Sequence[str | Path], *, core: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program while the block runs; what it says goes to `log`."""
    with log.open("wb") as output, pinned(core):
        # A session of its own, so that its workers can be ended with it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_listening(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    """Returns when `port` of 127.0.0.1 accepts connections."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines() or ["nothing was said"]
            raise Unmeasured(f"{name} ended with status {process.returncode}: {said[-1][:200]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise Unmeasured(f"{name} did not listen within {START_SECONDS:g} s")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name, which may itself hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended in between
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree so far, in seconds; resolution is the clock tick, mostly 10 ms."""
    return sum(int(field) for member in _tree(pid) for field in _stat(member)[11:13]) * TICK


def machine_seconds() -> tuple[float, float]:
    """CPU time of all cores since the machine started: busy (the host's other guests included) and in all."""
    fields = [int(field) * TICK for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - sum(fields[3:5]), sum(fields)  # idle and waiting for a disk are not busy


def own_seconds() -> float:
    """CPU time of this process and of all that it started and that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def pss_kb(pid: int) -> int:
    """Proportional set size of a process tree in kB (1024 bytes): memory that is shared counts once."""
    rollups = [Path(f"/proc/{member}/smaps_rollup").read_text().splitlines() for member in _tree(pid)]
    return sum(int(line.split()[1]) for lines in rollups for line in lines if line.startswith("Pss:"))
