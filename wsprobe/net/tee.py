"""A tee for aiohttp's connections: what passes between the transport and aiohttp is told to a listener first.

It sits above TLS, so that both sides of the stream are seen as HTTP/1.1 and WebSocket frames, on asyncio's own loop
and on uvloop. It changes no byte. A server takes a `Tee` as its protocol; a client's connector takes
`client_factory` in the place of its own factory.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from aiohttp.client_proto import ResponseHandler

from wsprobe.model import Sender


class Listener(Protocol):
    """Who is told; times are of `time.monotonic()`, taken before anybody else got the bytes. An Observer is one."""

    def feed(self, sender: Sender, data: bytes, at: float) -> None:
        """Bytes that came from `sender`, or that our side gives to its transport as `sender`."""

    def eof(self, sender: Sender, at: float) -> None:
        """`sender` closed its direction in order."""

    def reset(self, sender: Sender, at: float) -> None:
        """`sender` broke the connection."""

    def end(self, at: float) -> None:
        """The connection is over; nothing is told after it."""


ListenerFor = Callable[[asyncio.Transport], Listener]
"""Gives a new connection its listener; the transport's `get_extra_info` knows the addresses and TLS."""


class Tee(asyncio.Protocol):
    """Stands between a transport and aiohttp's protocol; `peer` is whose bytes are received.

    What our own side does is told when it asks its transport for it: bytes that wait in a buffer are told before they
    leave, and a close before what waits has left. After our own close the transport reads no more, so the peer's end
    is not seen then. An abort is told as eof: the kernel sends a FIN for it, unless bytes were left unread.
    """

    def __init__(self, inner: asyncio.Protocol, listener_for: ListenerFor, peer: Sender) -> None:
        self._inner = inner
        self._listener_for = listener_for
        self._peer = peer
        self._own = Sender.CLIENT if peer is Sender.SERVER else Sender.SERVER
        self._listener: Listener | None = None
        self._closed: set[Sender] = set()

    def wrap(self, transport: asyncio.BaseTransport) -> asyncio.Transport:
        """The transport that aiohttp is to write to: from here on the listener is told."""
        real = cast("asyncio.Transport", transport)
        self._listener = self._listener_for(real)
        return cast("asyncio.Transport", _Transport(real, self))

    def wrote(self, data: bytes | bytearray | memoryview) -> None:
        """Our side gives these bytes to the transport."""
        if data and self._listener:
            self._listener.feed(self._own, data if type(data) is bytes else bytes(data), time.monotonic())

    def closing(self) -> None:
        """Our side ends its direction."""
        self._eof(self._own)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands; the inner protocol gets the wrapped transport."""
        self._inner.connection_made(self.wrap(transport))

    def data_received(self, data: bytes) -> None:
        """The peer's bytes."""
        if self._listener:
            self._listener.feed(self._peer, data if type(data) is bytes else bytes(data), time.monotonic())
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """FIN, or close_notify of TLS."""
        self._eof(self._peer)
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more passes in either direction."""
        if self._listener:
            if isinstance(exc, ConnectionError):
                self._listener.reset(self._peer, time.monotonic())
            elif exc is None:
                if self._own not in self._closed:  # TLS tells no eof where a FIN came without close_notify
                    self._eof(self._peer)
                self._eof(self._own)
            self._listener.end(time.monotonic())
            self._listener = None
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self._inner.resume_writing()

    def _eof(self, sender: Sender) -> None:
        if self._listener and sender not in self._closed:
            self._closed.add(sender)
            self._listener.eof(sender, time.monotonic())


class _Transport:
    """A transport that tells its tee what is written and that it is closed; all else is the real one's."""

    __slots__ = ("_real", "_tee", "get_extra_info", "is_closing")

    def __init__(self, real: asyncio.Transport, tee: Tee) -> None:
        self._real = real
        self._tee = tee
        self.get_extra_info = real.get_extra_info
        self.is_closing = real.is_closing

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():  # after a close the transport drops what it is given
            self._tee.wrote(data)
        self._real.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        pieces = list(list_of_data)
        if not self.is_closing():
            for piece in pieces:
                self._tee.wrote(piece)
        self._real.writelines(pieces)

    def write_eof(self) -> None:
        self._tee.closing()
        self._real.write_eof()

    def close(self) -> None:
        self._tee.closing()
        self._real.close()

    def abort(self) -> None:
        self._tee.closing()
        self._real.abort()


def client_factory(listener_for: ListenerFor) -> Callable[[], ResponseHandler]:
    """What a client's connector takes as `_factory`, the one private name of aiohttp that is needed.

    Through a proxy's CONNECT tunnel `listener_for` is called twice: first for the connection to the proxy, whose
    listener hears CONNECT and its answer and no end, then for the TLS connection inside the tunnel.
    """
    loop = asyncio.get_running_loop()
    return lambda: _TeedHandler(loop, listener_for)


class _TeedHandler(ResponseHandler):
    """aiohttp's client protocol, which hands the transport over to a tee.

    Its own `data_received` is not overridden: aiohttp calls that again with bytes that it had put aside.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, listener_for: ListenerFor) -> None:
        super().__init__(loop)
        self._tee = Tee(self, listener_for, Sender.SERVER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        teed = self._tee.wrap(transport)
        transport.set_protocol(self._tee)
        super().connection_made(teed)

    def set_response_params(self, **params: Any) -> None:  # noqa: ANN401  whatever aiohttp's own takes
        """For an upgrade aiohttp would read no body that ends with the connection, and a refusal may have one."""
        super().set_response_params(**{**params, "read_until_eof": True})
