"""The demo's load balancer: passes HTTP on as it is, and does one thing wrong with upgrades.

Small on purpose. It serves the demo and nothing else: what real balancers do is tested with real ones.
"""

import asyncio
import struct
from collections.abc import Callable

from wsprobe.handshake import asks_for_websocket
from wsprobe.heads import parse_head
from wsprobe.model import Header

Edit = Callable[[tuple[Header, ...]], tuple[Header, ...]]
"""What happens to the headers of an upgrade on their way in."""

_MAX_HEAD = 64 * 1024
_END = b"\r\n\r\n"
_CLOSE = 0x88
_TOKEN_KEPT = 100


def strip(*names: str) -> Edit:
    """Removes headers, as `proxy_set_header NAME "";` does."""
    lowered = {name.lower() for name in names}
    return lambda headers: tuple(pair for pair in headers if pair[0].lower() not in lowered)


def replaced(name: str, value: Callable[[str], str]) -> Edit:
    """Writes another value into a header."""
    return lambda headers: tuple((key, value(old) if key.lower() == name.lower() else old) for key, old in headers)


EDITS: dict[str, Edit] = {
    "strip-authorization": strip("Authorization"),
    "strip-upgrade": strip("Upgrade", "Connection"),
    "rewrite-host": replaced("Host", lambda _: "app.internal"),
    "drop-subprotocol": strip("Sec-WebSocket-Protocol"),
    "truncate-token": replaced("Authorization", lambda value: value[:_TOKEN_KEPT]),
}
"""The faults that are edits of an upgrade's headers, by the name that the demo gives them."""


class Balancer:
    """Listens and passes connections on to one server; `idle` seconds without a byte end an upgraded connection.

    `rewrite` is the code that every close frame of the server gets; None leaves them as they are.
    """

    def __init__(
        self,
        server: tuple[str, int],
        *,
        edit: Edit | None = None,
        idle: float | None = None,
        rewrite: int | None = None,
    ) -> None:
        self._to = server
        self._edit = edit
        self._idle = idle
        self._rewrite = rewrite
        self._listening: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[str, int]:
        """Listens on a free port of loopback; returns the address."""
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MAX_HEAD)
        host, port = self._listening.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Listens no more and ends what is open."""
        if self._listening:
            self._listening.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  streams run each connection in a task
        self._open.add(task)
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one side left, or sent what is no head: the connection ends with it
        finally:
            self._open.discard(task)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = await reader.readuntil(_END)
        head = parse_head(raw[: -len(_END)])
        upgrade = asks_for_websocket(head.headers)
        headers = self._edit(head.headers) if upgrade and self._edit else head.headers
        lines = [head.start_line, *(f"{name}: {value}" for name, value in headers)]
        inner_reader, inner_writer = await asyncio.open_connection(*self._to, limit=_MAX_HEAD)
        try:
            inner_writer.write("\r\n".join(lines).encode("latin-1") + _END)
            writer.write(await inner_reader.readuntil(_END))
            await self._tunnel((reader, inner_writer), (inner_reader, writer))
        finally:
            inner_writer.close()

    async def _tunnel(
        self,
        inwards: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        outwards: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Both directions until one of them ends, or nothing passes for as long as the timer allows."""
        quiet = asyncio.timeout(self._idle)
        try:
            async with quiet, asyncio.TaskGroup() as both:
                both.create_task(_copy(*inwards, self._passed(quiet)))
                both.create_task(self._outwards(*outwards, self._passed(quiet)))
        except* OSError:
            pass  # the timer fired (TimeoutError), or one side broke: both are closed without a frame

    def _passed(self, quiet: asyncio.Timeout) -> Callable[[], None]:
        def restart() -> None:
            if self._idle:
                quiet.reschedule(asyncio.get_running_loop().time() + self._idle)

        return restart

    async def _outwards(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Callable[[], None]
    ) -> None:
        if self._rewrite is None:
            await _copy(reader, writer, passed)
            return
        while frame := await _frame(reader):
            if frame[0] == _CLOSE:
                frame = b"\x88\x02" + struct.pack(">H", self._rewrite)
            writer.write(frame)
            passed()
        writer.write_eof()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Callable[[], None]) -> None:
    while data := await reader.read(_MAX_HEAD):
        writer.write(data)
        passed()
        await writer.drain()
    if not writer.is_closing():
        writer.write_eof()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One whole frame of a server (RFC 6455, 5.2); empty at the end of the stream."""
    try:
        head = await reader.readexactly(2)
        size = head[1] & 0x7F
        extended = await reader.readexactly({126: 2, 127: 8}.get(size, 0))
        return head + extended + await reader.readexactly(int.from_bytes(extended) if extended else size)
    except asyncio.IncompleteReadError:
        return b""
