"""The relay in a thread of its own, between two raw sockets that a test holds."""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from wsprobe.model import Observation
from wsprobe.net.relay import Relay
from wsprobe.recordfile import read

T = TypeVar("T")
Loop = Callable[[], asyncio.AbstractEventLoop]

SECONDS = 15.0
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass
class Running:
    """A relay that listens; `problems` is what it told."""

    port: int
    relay: Relay
    records: Path
    loop: asyncio.AbstractEventLoop
    problems: list[str] = field(default_factory=list)
    passed: list[Observation] = field(default_factory=list)

    def seen(self) -> list[Observation]:
        """The last line of each exchange so far."""
        return list(read([self.records]).observations)

    def ended(self, number: int = 1) -> list[Observation]:
        """The exchanges that ended, once there are so many."""
        deadline = time.monotonic() + SECONDS
        while len(found := [seen for seen in self.seen() if seen.ended is not None]) < number:
            assert time.monotonic() < deadline, f"{len(found)} of {number} exchanges ended: {self.seen()}"
            time.sleep(0.01)
        return found

    def call(self, function: Callable[[], T]) -> T:
        """What a function returns that is called in the relay's thread."""

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(SECONDS)

    def connect(self, context: ssl.SSLContext | None = None, receive: int = 0) -> socket.socket:
        """A client's connection; `receive` bounds its kernel's receive buffer."""
        client = socket.socket()
        client.settimeout(SECONDS)
        if receive:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        client.connect(("127.0.0.1", self.port))
        return context.wrap_socket(client, server_hostname="localhost") if context else client


@contextlib.contextmanager
def running(loop: Loop, records: Path, upstream: str, **options: Any) -> Iterator[Running]:  # noqa: ANN401  whatever a relay takes
    """A relay while the block runs."""
    started: list[Running] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    leave = asyncio.Event()

    async def serve() -> None:
        problems: list[str] = []
        passed: list[Observation] = []
        hooks: dict[str, Any] = {"passed": passed.append, "problem": problems.append}
        relay = Relay("edge", records, upstream, ("127.0.0.1", 0), **{**hooks, **options})
        _, port = await relay.start()
        started.append(Running(port, relay, records, asyncio.get_running_loop(), problems, passed))
        ready.set()
        await leave.wait()
        await relay.stop()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(serve())
        except BaseException as error:  # noqa: BLE001  told in the test's own thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(SECONDS)
        if failed:
            raise failed[0]
        yield started[0]
    finally:
        if started:
            started[0].loop.call_soon_threadsafe(leave.set)
        thread.join(SECONDS)
    assert not thread.is_alive()
    assert not failed, failed


@contextlib.contextmanager
def listener() -> Iterator[tuple[socket.socket, str]]:
    """A socket that takes the relay's connections, and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


def accepted(listening: socket.socket) -> socket.socket:
    """The next connection that the relay made."""
    server, _ = listening.accept()
    server.settimeout(SECONDS)
    return server


def reset(conn: socket.socket) -> None:
    """Ends a connection with a RST."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    conn.close()


def exactly(conn: socket.socket, size: int) -> bytes:
    """So many bytes, or what came before the end."""
    data = bytearray()
    while len(data) < size and (chunk := conn.recv(size - len(data))):
        data += chunk
    return bytes(data)


def to_the_end(conn: socket.socket) -> tuple[bytes, str]:
    """What comes until the peer's direction ends, and how: eof or reset."""
    data = bytearray()
    try:
        while chunk := conn.recv(65536):
            data += chunk
    except ConnectionResetError:
        return bytes(data), "reset"
    return bytes(data), "eof"


def wait_until_taken(conn: socket.socket) -> None:
    """Returns when the peer's kernel has all that was sent: a RST would drop what is still here."""
    deadline = time.monotonic() + SECONDS
    waiting = -1
    while waiting:
        assert time.monotonic() < deadline
        (waiting,) = struct.unpack("i", fcntl.ioctl(conn.fileno(), termios.TIOCOUTQ, bytes(4)))
        time.sleep(0.001)


def is_reset(conn: socket.socket) -> bool:
    """Whether a RST ended a connection that was read to its end: over TLS Python 3.11 calls that an end of file too."""
    state: bytes = conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return state[0] == 7  # TCP_CLOSE; after a FIN alone it would be TCP_CLOSE_WAIT
