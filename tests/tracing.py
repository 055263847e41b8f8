"""The command line as tests use it, and what stands around a probe: TLS, IPv6, a proxy, recorders."""

import asyncio
import contextlib
import io
import json
import os
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from unittest import mock

from tests import wire
from tests.backend import Answer, Backend
from wsprobe.cli import main

SECONDS = 20

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one command."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> Document:
        """The one JSON document on stdout."""
        document: Document = json.loads(self.out)
        return document

    @property
    def everything(self) -> str:
        """Both streams."""
        return self.out + self.err


def run(*arguments: str, env: dict[str, str] | None = None) -> Ran:
    """Runs a command to its end, in this process; only `env` of what wsprobe reads is in the environment."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with (
        mock.patch.dict(os.environ, env or {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = main(arguments)
        except SystemExit as left:  # argparse
            status = int(left.code or 0)
    return Ran(status, *(_written(stream) for stream in (out, err)))


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def trace(url: str, *arguments: str, hold: float = 0.2, env: dict[str, str] | None = None) -> Ran:
    """`wsprobe trace` with a JSON report on stdout; it watches only as long as a test needs."""
    return run("trace", url, "--hold", str(hold), "--format", "json", *arguments, env=env)


def client(ran: Ran) -> Document:
    """The probe's own hop in a report."""
    hop: Document = ran.report["trace"]["hops"][0]
    assert hop["name"] == "client"
    return hop


def rules(ran: Ran) -> list[str]:
    """The rules that found something, the verdict's first."""
    return [finding["rule"] for finding in ran.report["findings"]]


def refused(ran: Ran, *words: str) -> None:
    """Wrong usage: exit status 2, nothing on stdout, and one line on stderr that has these words."""
    assert (ran.status, ran.out) == (2, ""), ran
    assert len(ran.err.splitlines()) == 1, ran.err
    assert "Traceback" not in ran.err
    missing = [word for word in words if word not in ran.err]
    assert not missing, f"{missing} not in {ran.err!r}"


class TlsBackend(Backend):
    """A backend that ends TLS; `protocols` are what ALPN agreed on, `refusals` the handshakes that failed."""

    def __init__(self, answer: Answer, context: ssl.SSLContext) -> None:
        super().__init__(answer)
        self.refusals: list[str] = []
        self.protocols: list[str | None] = []
        self._context = context

    def _serve(self, conn: socket.socket) -> None:
        conn.settimeout(SECONDS)
        self._open.discard(conn)
        with conn.dup() as raw:
            try:
                secured = self._context.wrap_socket(conn, server_side=True)
            except (ssl.SSLError, OSError) as error:
                self.refusals.append(str(error))
                _drained(raw)  # a close with bytes unread would be a RST, which can overtake the alert
                return
        self.protocols.append(secured.selected_alpn_protocol())
        self._open.add(secured)
        super()._serve(secured)


def _drained(conn: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer was first
        conn.settimeout(SECONDS)
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(65536):
            pass


class Backend6(Backend):
    """A backend on ::1."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self._listener.close()
        self._listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.port = self._listener.getsockname()[1]


@dataclass
class ConnectProxy:
    """A forward proxy that knows CONNECT alone; `answer` takes the head and gives the response, or None to tunnel."""

    answer: Callable[[str], bytes | None] = field(default=lambda _: None)
    heads: list[str] = field(default_factory=list)
    port: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __enter__(self) -> Self:
        self.port = self._listener.getsockname()[1]
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
        self._listener.close()

    def _run(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # shut down: the test is over
            while True:
                self._run(self._serve, self._listener.accept()[0])

    def _serve(self, conn: socket.socket) -> None:
        with conn, contextlib.suppress(OSError):
            conn.settimeout(SECONDS)
            head, rest = wire.read_head(conn)
            self.heads.append(head.decode("latin-1"))
            refusal = self.answer(self.heads[-1])
            if refusal is not None:
                conn.sendall(refusal)
                return
            host, port = self.heads[-1].split()[1].rsplit(":", 1)
            with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as server:
                conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                server.sendall(rest)
                _tunnel(conn, server)


def _tunnel(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select([one, other], [], [], SECONDS)[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


# Recorders, each in a thread of its own.


class Serving(Protocol):
    """What listens: a relay, mitmproxy's recorder, the stand-in origin."""

    async def start(self) -> tuple[str, int]: ...

    async def stop(self) -> None: ...


@contextlib.contextmanager
def serving(make: Callable[[], Serving]) -> Iterator[int]:
    """Runs what `make` returns while the block runs, and gives its port; it is stopped before the block ends."""
    ports: list[int] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        served, leave = make(), asyncio.Event()
        ports.append((await served.start())[1])
        loops.append((asyncio.get_running_loop(), leave))
        ready.set()
        await leave.wait()
        await served.stop()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  told in the test's own thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        assert ready.wait(SECONDS), "it did not start"
        if failed:
            raise failed[0]
        yield ports[0]
    finally:
        for loop, leave in loops:
            loop.call_soon_threadsafe(leave.set)
        thread.join(SECONDS)
    assert not thread.is_alive(), "it did not stop"
    assert not failed, failed


@contextlib.contextmanager
def relay(name: str, port: int, records: Path) -> Iterator[int]:
    """The relay as the hop `name` before 127.0.0.1:`port`."""
    from wsprobe.net.relay import Relay

    with serving(lambda: Relay(name, records, f"http://127.0.0.1:{port}", ("127.0.0.1", 0))) as listens:
        yield listens


def command(*arguments: str) -> list[str]:
    """The command line as a process of its own."""
    return [sys.executable, "-m", "wsprobe", *arguments]
