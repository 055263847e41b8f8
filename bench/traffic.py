"""Measurements of proxies: rates, CPU time and memory of each, one after the other within a round."""

import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import ADDON, PLAIN, Figures
from bench.load import Load, awake, session
from bench.programs import SETTLE_SECONDS, Cores, NotInstalledError, Unmeasured, cpu_seconds, free_port, pss_kb
from bench.proxies import Proxy, Site, proxy

DIRECT = "no proxy"
PEERS = ["haproxy", "wsprobe", "nginx", "mitmdump"]
ECHO_CONNECTIONS, UPGRADES_AT_A_TIME = 64, 16
TOGETHER_SECONDS, TOGETHER_ROUNDS = 2, 3
# Memory hardly varies, and every round takes fresh processes.
IDLE_WARM_UP, IDLE_CONNECTIONS, IDLE_ROUNDS = 50, 600, 3
# A stock mitmdump passes about a twentieth of what the others do; the same download would take most of the run.
BULK_MB, BULK_MB_MITMDUMP = 400, 24


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs: the load generator, the origin, the cores, a folder, and where figures go."""

    load: Load
    origin: int
    cores: Cores
    folder: Path
    rounds: int
    figures: Figures


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def left_out_on_failure(bench: Bench, subject: str) -> Iterator[None]:
    """A subject that is missing or fails is left out with its reason; the others go on."""
    try:
        yield
    except Unmeasured as reason:
        say(f"  {subject}: not measured: {reason}")
        bench.figures.leave_out(subject, str(reason), failed=not isinstance(reason, NotInstalledError))


def _site(bench: Bench, name: str) -> Site:
    folder = bench.folder / f"{len(list(bench.folder.iterdir()))}-{name.replace(', ', '-')}"
    return Site(folder=folder, port=free_port(), origin=bench.origin, core=bench.cores.measured)


def _cpu(target: Proxy) -> float:
    """CPU seconds of the proxy so far, once it has nothing left to do."""
    if target.pid is None:
        return 0.0
    time.sleep(SETTLE_SECONDS)
    return cpu_seconds(target.pid)


def _measured(bench: Bench, target: Proxy, mode: str, *arguments: int) -> tuple[dict[str, float], float]:
    """The figures of one load, and the CPU seconds that it cost the proxy."""
    with session(bench.load, mode, target.port, *arguments) as load:
        before = _cpu(target)
        figures = load.go()
        return figures, _cpu(target) - before


def _add_with_cpu(bench: Bench, target: Proxy, cpu: dict[str, float], **metrics: float) -> None:
    bench.figures.add(target.name, **metrics, **(cpu if target.pid else {}))


def echo(bench: Bench, target: Proxy) -> None:
    """64-byte echoes on 64 connections, one in flight on each: echoes/s and CPU µs for each."""
    load, cpu = _measured(bench, target, "echo", ECHO_CONNECTIONS, 1)
    _add_with_cpu(bench, target, {"echo_cpu": cpu / load["count"] * 1e6}, echo_rate=load["per_second"])


def latency(bench: Bench, target: Proxy) -> None:
    """Round-trip time of 64-byte echoes on one connection: p50 and p99 in µs. The cores do not sleep in between."""
    with (
        awake(bench.load, bench.cores.load, bench.cores.measured),
        session(bench.load, "echo", target.port, 1, 1) as load,
    ):
        figures = load.go()
    bench.figures.add(target.name, p50=figures["p50_us"], p99=figures["p99_us"])


def upgrade(bench: Bench, target: Proxy) -> None:
    """Connect, upgrade, close handshake, 16 at a time: upgrades/s and CPU µs for each."""
    before = _lines(target)
    load, cpu = _measured(bench, target, "upgrade", UPGRADES_AT_A_TIME, 1)
    _check_records(target, before, load["count"])
    _add_with_cpu(bench, target, {"upgrade_cpu": cpu / load["count"] * 1e6}, upgrade_rate=load["per_second"])


def _lines(target: Proxy) -> int:
    """Records written so far: a rate without recording would not count."""
    if target.records is None or not target.records.exists():
        return 0
    with target.records.open("rb") as records:
        return sum(1 for _ in records)


def _check_records(target: Proxy, before: int, upgrades: float) -> None:
    written = _lines(target) - before
    if target.records and written < upgrades:
        raise Unmeasured(f"{written} records of {upgrades:.0f} upgrades were written")


def bulk(bench: Bench, target: Proxy) -> None:
    """One download in frames of 64 KiB: MB/s and CPU ms per GB (10^6 and 10^9 bytes)."""
    megabytes = BULK_MB_MITMDUMP if target.name == "mitmdump" else BULK_MB
    load, cpu = _measured(bench, target, "bulk", megabytes)
    _add_with_cpu(bench, target, {"bulk_cpu": cpu * 1e3 / (load["count"] / 1e9)}, bulk_rate=load["per_second"] / 1e6)


MEASUREMENTS: dict[str, Callable[[Bench, Proxy], None]] = {
    "echo": echo,
    "latency": latency,
    "upgrade": upgrade,
    "bulk": bulk,
}


def _rounds(bench: Bench, targets: Sequence[Proxy], measurements: Sequence[Callable[[Bench, Proxy], None]]) -> None:
    """Proxy by proxy within each measurement, so that noise hits all alike; every other round runs backwards."""
    for turn in range(bench.rounds):
        say(f"round {turn + 1} of {bench.rounds}: {', '.join(target.name for target in targets)}")
        for measure in measurements:
            for target in targets if turn % 2 == 0 else reversed(targets):
                if target.name not in bench.figures.reasons:
                    with left_out_on_failure(bench, target.name):
                        measure(bench, target)


@contextlib.contextmanager
def _all(bench: Bench, names: Sequence[str]) -> Iterator[list[Proxy]]:
    """All the proxies at once; one without traffic takes next to no CPU time."""
    with contextlib.ExitStack() as stack:
        targets = []
        for name in names:
            with left_out_on_failure(bench, name):
                targets.append(stack.enter_context(proxy(name, _site(bench, name))))
        yield targets


def relay(bench: Bench, names: Sequence[str]) -> None:
    """The relay beside the other proxies: the measurements named, in rounds."""
    with _all(bench, PEERS) as targets:
        direct = Proxy(name=DIRECT, port=bench.origin)
        _rounds(bench, [*targets, direct], [MEASUREMENTS[name] for name in names])


def addon(bench: Bench) -> None:
    """The addon beside the same mitmdump without it: CPU time of each under the same load at the same time.

    In turns, as the others are measured, two equal mitmdumps differ by a tenth and more; on one core together by a
    few hundredths, and the one whose load starts first has the better of it: hence both orders in each round.
    """
    with _all(bench, [PLAIN, ADDON]) as targets:
        for turn in range(TOGETHER_ROUNDS if len(targets) == 2 else 0):
            say(f"round {turn + 1} of {TOGETHER_ROUNDS}: {PLAIN} and {ADDON} at once")
            with left_out_on_failure(bench, ADDON):
                echoes = _together(bench, targets, "echo", ECHO_CONNECTIONS)
                upgrades = _together(bench, targets, "upgrade", UPGRADES_AT_A_TIME)
                for target in targets:
                    bench.figures.add(target.name, echo_cpu=echoes[target.name], upgrade_cpu=upgrades[target.name])


def _together(bench: Bench, targets: Sequence[Proxy], mode: str, connections: int) -> dict[str, float]:
    """CPU µs for each echo or upgrade of each proxy, both orders taken together."""
    counts: dict[str, float] = defaultdict(float)
    seconds: dict[str, float] = defaultdict(float)
    for order in (targets, targets[::-1]):
        lines = [_lines(target) for target in order]
        with contextlib.ExitStack() as stack:
            loads = [
                stack.enter_context(session(bench.load, mode, target.port, connections, TOGETHER_SECONDS))
                for target in order
            ]
            before = [_cpu(target) for target in order]
            for load in loads:
                load.start()
            done = [load.figures()["count"] for load in loads]
            after = [_cpu(target) for target in order]
        for i, target in enumerate(order):
            _check_records(target, lines[i], done[i] if mode == "upgrade" else 0)
            counts[target.name] += done[i]
            seconds[target.name] += after[i] - before[i]
    return {name: seconds[name] / counts[name] * 1e6 for name in counts}


def idle(bench: Bench) -> None:
    """Growth of PSS for each of 600 upgraded connections that carried one message, in a process warmed up by 50."""
    for name in [name for _ in range(IDLE_ROUNDS) for name in PEERS if name not in bench.figures.reasons]:
        say(f"idle connections: {name}")
        with left_out_on_failure(bench, name), proxy(name, _site(bench, name)) as target:
            if target.pid is not None:
                bench.figures.add(name, idle=_idle_kb(bench, target, target.pid))


def _idle_kb(bench: Bench, target: Proxy, pid: int) -> float:
    with session(bench.load, "idle", target.port, IDLE_WARM_UP) as warm_up:
        warm_up.go()
    time.sleep(SETTLE_SECONDS)
    before = pss_kb(pid)
    with session(bench.load, "idle", target.port, IDLE_CONNECTIONS) as held:
        time.sleep(SETTLE_SECONDS)
        after = pss_kb(pid)
        held.go()
    return (after - before) / IDLE_CONNECTIONS
