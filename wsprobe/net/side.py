"""One connection of the relay, as asyncio sees it: the hot path, back-pressure and the ways to end."""

import asyncio
import contextlib
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING, cast

from wsprobe.frames import FrameCounter
from wsprobe.model import Sender
from wsprobe.net.kernel import is_reset

if TYPE_CHECKING:
    from wsprobe.net.link import Link

BUFFER_OCTETS = 256 * 1024
"""Octets that wait for a side before the other one is no longer read."""

_NO_LINGER = struct.pack("ii", 1, 0)  # SO_LINGER: a close drops what is unsent and sends a RST


class Side(asyncio.Protocol):
    """One of the two connections of a link: what it reads is observed, and written to the other one.

    `transport` is None before the connection stands and once it is gone, `peer` (where to write) too. `ended` says
    that nothing more will be read, `paused` that nothing is read for now. `counter` takes what is read once it is
    frames, so that a message passes without a look at more than these few objects.
    """

    __slots__ = ("counter", "ended", "link", "paused", "peer", "sender", "transport")

    def __init__(self, link: "Link", sender: Sender) -> None:
        self.link = link
        self.sender = sender
        self.transport: asyncio.Transport | None = None
        self.peer: asyncio.Transport | None = None
        self.counter: FrameCounter | None = None
        self.ended = False
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER_OCTETS)
        self.link.opened(self)

    def data_received(self, data: bytes) -> None:
        """Observes, then passes on."""
        counter, peer = self.counter, self.peer
        if counter is None or peer is None:
            self.link.received(self, data)
            return
        try:
            counter.feed(data, monotonic())
        except Exception as bug:  # noqa: BLE001  whatever is wrong with us must not be what breaks the traffic
            self.link.blind(bug)
        peer.write(data)

    def eof_received(self) -> bool:
        """A FIN, or the end of TLS. True keeps a TCP connection open for the other direction."""
        return self.link.eof(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone in both directions."""
        self.transport = None
        self.link.lost(self, exc)

    def pause_writing(self) -> None:
        """What is written waits: the other side is not read for now."""
        self.link.other(self).pause()
        self.link.watch()

    def resume_writing(self) -> None:
        """What was written has mostly gone: the other side is read again."""
        self.link.other(self).resume()

    def pause(self) -> None:
        """Reads no more for now."""
        if self.transport and not self.ended:
            self.transport.pause_reading()
            self.paused = True

    def resume(self) -> None:
        """Reads again, unless the end was read: the loops would read that once more."""
        if self.transport and not self.ended:
            self.transport.resume_reading()
            self.paused = False

    @property
    def broken_unread(self) -> bool:
        """Whether a RST has come while the connection was not read, so that the loop does not see it."""
        return (self.paused or self.ended) and self.transport is not None and is_reset(self.transport)

    @property
    def half_closes(self) -> bool:
        """Whether one direction can end and the other one go on."""
        return self.transport is not None and self.transport.can_write_eof()

    def close(self) -> None:
        """Ends the connection in order, after what was written."""
        if self.transport:
            self.transport.close()

    def reset(self) -> None:
        """Ends the connection with a RST; what still waits for this side is dropped."""
        if self.transport and not self.transport.is_closing():
            with contextlib.suppress(OSError):  # it is gone already
                connection = self.transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.transport.abort()
