"""`make bench`: measures wsprobe beside its peers in one run, and prints the figures against their goals."""

import argparse
import datetime as dt
import importlib.metadata
import os
import platform
import resource
import signal
import sys
import tempfile
from pathlib import Path

from bench.configs import configs
from bench.figures import Figures, figure_tables, goal_table
from bench.load import compiled, origin
from bench.programs import NotInstalledError, Unmeasured, machine_seconds, own_seconds, two_cores, version
from bench.proxies import DESCRIPTORS, nginx_program
from bench.startup import startup
from bench.traffic import MEASUREMENTS, Bench, addon, idle, relay

PARTS = [*MEASUREMENTS, "idle", "addon", "startup", "configs"]
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="run one part")
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is taken (default: 5, least: 3)")
    parser.add_argument("--write", action="store_true", help="keep the figures in bench/README.md")
    arguments = parser.parse_args()
    if arguments.rounds < 3:
        parser.error("--rounds: a median takes at least 3")
    if arguments.write and arguments.only:
        parser.error("--write keeps a whole run: leave --only out")
    return arguments


def _measure(bench: Bench, parts: list[str]) -> None:
    traffic = [part for part in parts if part in MEASUREMENTS]
    if traffic:
        relay(bench, traffic)
    for part, measure in (("idle", idle), ("addon", addon), ("startup", startup), ("configs", configs)):
        if part in parts:
            measure(bench)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _installed(*names: str) -> str:
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return ", ".join(versions)


def _nginx_version() -> str:
    try:
        return version(nginx_program(), "-v")
    except NotInstalledError as reason:
        return str(reason)


def _circumstances(rounds: int, others: float) -> str:
    today = dt.datetime.now(dt.UTC).date()
    machine = f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}"
    packages = _installed("wsprobe", "aiohttp", "uvloop", "mitmproxy")
    return (
        f"{today}, {machine}, {rounds} rounds. Others took {others:.0%} of the CPU time meanwhile.\n"
        f"Python {platform.python_version()}, {packages}; {version('haproxy', '-v')}; {_nginx_version()}."
    )


def _keep(text: str) -> None:
    """Replaces what stands between the two markers of README.md."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"bench: {README} lacks the lines {BEGIN} and {END}; put them where the figures belong")
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Measures, prints, and returns 1 where something that is installed could not be measured."""
    arguments = _arguments()
    parts = [arguments.only] if arguments.only else PARTS
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most) if most > 0 else DESCRIPTORS, most))
    cores, figures = two_cores(), Figures()
    busy, total = machine_seconds()
    try:
        with tempfile.TemporaryDirectory(prefix="wsprobe-bench-") as name:
            load = compiled(Path(name), cores.load)
            with origin(load) as port:
                _measure(Bench(load, port, cores, Path(name), arguments.rounds, figures), parts)
    except Unmeasured as reason:
        sys.exit(f"bench: {reason}")
    busy, total = machine_seconds()[0] - busy, machine_seconds()[1] - total
    others = max(0.0, busy - own_seconds()) / total
    text = "\n\n".join([_circumstances(arguments.rounds, others), goal_table(figures, parts), figure_tables(figures)])
    print(text)
    if figures.failed:
        print("bench: something that is installed could not be measured; nothing is kept", file=sys.stderr)
        return 1
    if arguments.write:
        _keep(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
