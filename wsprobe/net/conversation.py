"""What the probe says and waits for once the WebSocket stands."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from wsprobe.closecodes import may_be_sent

CLOSE_SECONDS = 2.0
"""How long the other side gets to answer our close frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A step of the conversation: a message that goes out, as text or, where it is bytes, as binary."""

    data: str | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """A step of the conversation: a message to wait for, `kind` being expect, expect-regex or event.

    `field` is where a JSON message has the name of its event, as a dotted path.
    """

    kind: str
    what: str
    field: str = "type"

    def fits(self, message: str) -> bool:
        """Whether a message is the one that is waited for."""
        if self.kind == "event":
            return _field(message, self.field) == self.what
        return self.what in message if self.kind == "expect" else re.search(self.what, message) is not None


Steps = tuple[Send | Await, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What is sent again and again while a connection is watched: a ping, a pong that nobody asked for, or a message.

    An unsolicited pong (RFC 6455, 5.5.3) is never answered, so only the client's bytes pass.
    """

    kind: Literal["ping", "pong", "message"]
    every: float
    data: str | bytes = b""


class Conversation:
    """What is said on one connection; `came` are the times, of `time.monotonic()`, at which awaited messages came.

    aiohttp takes a receive that was cancelled for a broken connection, and makes no closing handshake then: so one
    goes on in the background, and only the wait for it ends.
    """

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.came: list[float] = []
        self._connection = connection
        self._receiving: asyncio.Task[str | None] | None = None

    async def take(self, steps: Steps, within: float) -> bool:
        """Goes through the steps up to the first that is not done within that many seconds; False where one was not."""
        for step in steps:
            if isinstance(step, Send):
                if not await self._sent(step.data, within):
                    return False
            elif not await self._awaited(step, within):
                return False
            else:
                self.came.append(time.monotonic())
        return True

    async def watch(self, seconds: float) -> None:
        """Takes whatever comes, until the connection ends or for so long."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):  # it stayed open for as long as it was watched
            while await self._message(deadline) is not None:
                continue

    @contextlib.asynccontextmanager
    async def beating(self, beat: Beat | None) -> AsyncIterator[None]:
        """Sends something that often while the block runs; None sends nothing."""
        task = asyncio.create_task(self._beat(beat)) if beat else None
        try:
            yield
        finally:
            await _ended(task)

    async def close(self) -> None:
        """The closing handshake (RFC 6455, 7.1.2), unless it was made already; bounded, whatever still comes."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close()
        except TimeoutError:
            pass  # the other side does not answer, or sends on and on: the wire tells
        finally:
            await _ended(self._receiving)

    async def _sent(self, data: str | bytes, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                if isinstance(data, str):
                    await self._connection.send_str(data)
                else:
                    await self._connection.send_bytes(data)
        except (ConnectionError, TimeoutError):  # the other side has closed, or does not read; the wire tells which
            return False
        return True

    async def _awaited(self, step: Await, within: float) -> bool:
        deadline = time.monotonic() + within
        with contextlib.suppress(TimeoutError):  # the time that the user allowed is over: that is the result
            while (message := await self._message(deadline)) is not None:
                if step.fits(message):
                    return True
        return False

    async def _message(self, deadline: float) -> str | None:
        """The next message as text, octets as latin-1; None when there will be none, TimeoutError at the deadline."""
        self._receiving = asyncio.create_task(self._receive())
        await asyncio.wait({self._receiving}, timeout=max(0.0, deadline - time.monotonic()))
        if not self._receiving.done():
            raise TimeoutError
        received, self._receiving = self._receiving, None
        return received.result()

    async def _receive(self) -> str | None:
        try:
            message = await self._connection.receive()
        except ConnectionError:  # it broke while a ping was answered; the wire tells how
            return None
        match message.type:
            case aiohttp.WSMsgType.TEXT:
                return str(message.data)
            case aiohttp.WSMsgType.BINARY:
                return bytes(message.data).decode("latin-1")
            case aiohttp.WSMsgType.CLOSE:  # RFC 6455, 5.5.1: the answer echoes the code
                code = message.data or 0
                await self._connection.close(code=code if may_be_sent(code) else aiohttp.WSCloseCode.OK)
        return None

    async def _beat(self, beat: Beat) -> None:
        number = 0
        with contextlib.suppress(ConnectionError):  # the connection is gone; the wire tells how
            while not self._connection.closed:
                await asyncio.sleep(beat.every)
                number += 1
                if beat.kind == "ping":
                    await self._connection.ping(number.to_bytes(4))
                elif beat.kind == "pong":
                    await self._connection.pong(number.to_bytes(4))
                elif isinstance(beat.data, str):
                    await self._connection.send_str(beat.data)
                else:
                    await self._connection.send_bytes(beat.data)


async def _ended(task: asyncio.Task[Any] | None) -> None:
    if task:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _field(message: str, path: str) -> str | None:
    """The value at a dotted path of a JSON object, None where the message is none or has none."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return None
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
