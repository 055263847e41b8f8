"""What the probe says and waits for once the WebSocket stands."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

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


async def converse(
    connection: aiohttp.ClientWebSocketResponse, steps: Steps, *, within: float, came: list[float]
) -> bool:
    """Goes through the steps up to the first that is not done within that many seconds.

    `came` gets the time, of `time.monotonic()`, at which each awaited message came. False where one did not, or the
    connection ended before.
    """
    for step in steps:
        if isinstance(step, Send):
            if not await _sent(connection, step.data, within):
                return False
        elif not await _awaited(connection, step, within):
            return False
        else:
            came.append(time.monotonic())
    return True


async def watch(connection: aiohttp.ClientWebSocketResponse, seconds: float) -> None:
    """Takes whatever comes, until the connection ends or for so long."""
    with contextlib.suppress(TimeoutError):  # it stayed open for as long as it was watched
        async with asyncio.timeout(seconds):
            while await _message(connection) is not None:
                continue


@contextlib.asynccontextmanager
async def pinging(connection: aiohttp.ClientWebSocketResponse, every: float | None) -> AsyncIterator[None]:
    """Sends a ping that often while the block runs; None sends none."""
    task = asyncio.create_task(_ping(connection, every)) if every else None
    try:
        yield
    finally:
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def close(connection: aiohttp.ClientWebSocketResponse) -> None:
    """The closing handshake (RFC 6455, 7.1.2), unless it was made already; bounded, whatever the other side sends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()


async def _sent(connection: aiohttp.ClientWebSocketResponse, data: str | bytes, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            if isinstance(data, str):
                await connection.send_str(data)
            else:
                await connection.send_bytes(data)
    except (ConnectionError, TimeoutError):  # the other side has closed, or does not read; the wire tells which
        return False
    return True


async def _awaited(connection: aiohttp.ClientWebSocketResponse, step: Await, within: float) -> bool:
    with contextlib.suppress(TimeoutError):  # the time that the user allowed is over: that is the result
        async with asyncio.timeout(within):
            while (message := await _message(connection)) is not None:
                if step.fits(message):
                    return True
    return False


async def _ping(connection: aiohttp.ClientWebSocketResponse, every: float) -> None:
    number = 0
    with contextlib.suppress(ConnectionError):  # the connection is gone; the wire tells how
        while not connection.closed:
            await asyncio.sleep(every)
            number += 1
            await connection.ping(number.to_bytes(4))


async def _message(connection: aiohttp.ClientWebSocketResponse) -> str | None:
    """The next message as text, octets as latin-1; None when there will be none."""
    try:
        message = await connection.receive()
    except ConnectionError:  # it broke while a ping was answered; the wire tells how
        return None
    match message.type:
        case aiohttp.WSMsgType.TEXT:
            return str(message.data)
        case aiohttp.WSMsgType.BINARY:
            return bytes(message.data).decode("latin-1")
        case aiohttp.WSMsgType.CLOSE:  # RFC 6455, 5.5.1: the answer echoes the code
            code = message.data or 0
            await connection.close(code=code if may_be_sent(code) else aiohttp.WSCloseCode.OK)
    return None


def _field(message: str, path: str) -> str | None:
    """The value at a dotted path of a JSON object, None where the message is none or has none."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return None
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
