"""The origin and the load generator (load.c), compiled for this run and driven from here."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.programs import Unmeasured, pinned, program

SOURCE = Path(__file__).with_name("load.c")
# load.c ends itself after four minutes; the longest session here takes under a minute.
END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """The compiled program and the core that origin and load share."""

    binary: Path
    core: int


def compiled(folder: Path, core: int) -> Load:
    """Compiles load.c into `folder`."""
    binary = folder / "load"
    subprocess.run([program("cc"), "-O2", "-o", binary, SOURCE], check=True, timeout=120)
    return Load(binary, core)


class Session:
    """One run of the load generator, warmed up and waiting."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        _line(process)  # {"ready": true}

    def start(self) -> None:
        """Begins to measure."""
        stdin = _pipe(self._process.stdin)
        stdin.write("\n")
        stdin.flush()

    def figures(self) -> dict[str, float]:
        """Waits for the end: count, per_second, and for echoes p50_us and p99_us."""
        return _line(self._process)

    def go(self) -> dict[str, float]:
        """Measures from start to end."""
        self.start()
        return self.figures()


def _line(process: subprocess.Popen[str]) -> dict[str, float]:
    """The next line of figures; a load generator that ended instead says why on stderr."""
    line = _pipe(process.stdout).readline()
    if not line:
        raise Unmeasured(_pipe(process.stderr).read().strip() or "the load generator ended without a word")
    figures: dict[str, float] = json.loads(line)
    return figures


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("the process was started without pipes")
    return stream


@contextlib.contextmanager
def _started(load: Load, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with (
        pinned(load.core),
        subprocess.Popen(
            [load.binary, *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def origin(load: Load) -> Iterator[int]:
    """An origin while the block runs; yields its port."""
    with _started(load, "origin") as process:
        yield int(_line(process)["port"])


@contextlib.contextmanager
def awake(load: Load, *cores: int) -> Iterator[None]:
    """Keeps the cores from sleeping while the block runs; whatever else wants to run there comes first."""
    with contextlib.ExitStack() as stack:
        for core in cores:
            stack.enter_context(_started(Load(load.binary, core), "awake"))
        yield


@contextlib.contextmanager
def session(load: Load, mode: str, port: int, *arguments: int) -> Iterator[Session]:
    """A load against `port`: echo CONNECTIONS SECONDS, upgrade CONNECTIONS SECONDS, bulk MB or idle CONNECTIONS."""
    with _started(load, mode, port, *arguments) as process:
        yield Session(process)
        # Lets it close its connections with the handshake, so that the proxy is idle again for the next.
        _pipe(process.stdin).close()
        if process.wait(END_SECONDS):
            raise Unmeasured(_pipe(process.stderr).read().strip())
