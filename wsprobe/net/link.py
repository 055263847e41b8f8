"""A link: the client's connection and one to the upstream, which pass on to each other what they read.

What ends a connection passes too. A FIN goes on as a FIN and the other direction stays open; a RST goes on as a RST
after what was read before it, for at most FLUSH_SECONDS. TLS has no half-close that asyncio could pass on: there the
end of one direction ends the connection, and the record says where that cut the other one off. Memory is bounded by
back-pressure: a side is read no faster than the other one takes it.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from wsprobe.heads import HeadReader
from wsprobe.model import Failure, Peers, Sender, Tls, TlsEnds
from wsprobe.net.address import shown
from wsprobe.net.kernel import unsent
from wsprobe.net.side import Side
from wsprobe.net.tls import AcceptedObject, negotiated
from wsprobe.net.upstream import Factory, Unreachable
from wsprobe.observer import Observer, Source, Unredacted

FLUSH_SECONDS = 5.0
"""How long a side that is to be reset gets to take what was read for it before."""

HEAD_SECONDS = 5.0
"""How long the request head is waited for where the upstream cannot be reached: it is recorded beside the reason."""

_WATCH_SECONDS = 0.25
_FLUSH_STEP = 0.01


class Owner(Protocol):
    """The relay that a link belongs to."""

    source: Source
    upstream: str | None
    """The upstream's address, where it is known: to ask the kernel for each connection takes time and memory."""
    local: str | None
    """The address that clients connect to, likewise."""

    async def dial(self, factory: Factory) -> Tls | None:
        """Connects to the upstream; Unreachable where that fails."""

    def opened(self, link: "Link") -> None:
        """A client has connected."""

    def closed(self, link: "Link") -> None:
        """Both connections of a link are gone."""

    def record(self, due: list[Unredacted]) -> None:
        """Writes what became due."""

    def failed(self, bug: Exception) -> None:
        """The recording of a connection failed; its traffic goes on."""


class Link:
    """Dials when the client has connected, passes on, observes, and ends as its sides end."""

    __slots__ = (
        "_dialling",
        "_failure",
        "_head",
        "_held",
        "_loop",
        "_over",
        "_timer",
        "client",
        "observer",
        "owner",
        "server",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = owner
        self.client = Side(self, Sender.CLIENT)
        self.server = Side(self, Sender.SERVER)
        self.observer = Observer(owner.source, secrets.token_hex(8), epoch=time.time() - time.monotonic())
        self._loop = loop
        self._held = b""  # what the client sent while the upstream was dialled
        self._dialling: asyncio.Task[None] | None = None
        self._failure: Failure | None = None
        self._head: HeadReader | None = None  # of the request that cannot be passed on
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def other(self, side: Side) -> Side:
        """The side across."""
        return self.server if side is self.client else self.client

    def received(self, side: Side, data: bytes) -> None:
        """What a side read while it is not yet, or no longer, frames that are passed on."""
        observer = self.observer
        try:
            observer.feed(side.sender, data, time.monotonic())
        except Exception as bug:  # noqa: BLE001  whatever is wrong with us must not be what breaks the traffic
            self.blind(bug)
        if side.peer is not None:
            side.peer.write(data)
        else:
            self._keep(side, data)
        if observer.due:
            self.owner.record(observer.take())
            self.client.counter, self.server.counter = observer.counter(Sender.CLIENT), observer.counter(Sender.SERVER)

    def blind(self, bug: Exception) -> None:
        """The observer failed: what it saw before is still recorded, the rest passes unseen."""
        self.owner.failed(bug)
        self.observer.anomaly(Sender.LOCAL, "the recorder failed here", type(bug).__name__, time.monotonic())
        self.observer.feed = _unseen  # type: ignore[method-assign]  # nothing is fed to it any more
        self.client.counter = self.server.counter = None

    # How it begins.

    def opened(self, side: Side) -> None:
        """A connection of this link stands."""
        if side.transport is None:
            return
        if side is self.client:
            self._accepted(side.transport)
        elif self._over:  # the client left while the upstream was dialled
            side.reset()
        else:
            self._connected(side.transport)

    def _accepted(self, transport: asyncio.Transport) -> None:
        self.owner.opened(self)
        info = transport.get_extra_info
        local = self.owner.local or shown(info("sockname"))
        self.observer.peers = Peers(client=shown(info("peername")), local=local)
        secured = info("ssl_object")
        if isinstance(secured, AcceptedObject):
            self.observer.tls = TlsEnds(client=negotiated(secured, sni=secured.sni))
        self._dialling = self._loop.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            tls = await self.owner.dial(lambda: self.server)
        except Unreachable as unreachable:
            self._refused(unreachable.failure)
        except OSError as error:  # no descriptor or no memory is left here
            self._refused(Failure(phase="tcp", kind="failed", message=error.strerror or type(error).__name__))
        else:
            if tls:
                ends = self.observer.tls
                self.observer.tls = TlsEnds(client=ends.client if ends else None, server=tls)
        finally:
            self._dialling = None

    def _connected(self, transport: asyncio.Transport) -> None:
        client, before = self.client, self.observer.peers or Peers()
        server = self.owner.upstream or shown(transport.get_extra_info("peername"))
        self.observer.peers = Peers(client=before.client, local=before.local, server=server)
        if self._held:
            transport.write(self._held)
            self._held = b""
        client.peer, self.server.peer = transport, client.transport
        if client.ended:
            self._pass_eof(client)
        client.resume()

    def _keep(self, side: Side, data: bytes) -> None:
        """Bytes that came while there is nobody to pass them on to."""
        if self._head is not None:
            if self._head.feed(data) is not None:
                self._give_up()
        elif self._dialling:
            self._held += data
            side.pause()
        elif not self._over:
            words = f"what the {side.sender} sent after the other side's end was not passed on"
            self.observer.anomaly(Sender.LOCAL, words, "", time.monotonic())

    def _refused(self, failure: Failure) -> None:
        """The upstream cannot be reached: the request is evidence, so its head is waited for."""
        self._dialling = None
        if self._over:
            return
        self._failure, self._head = failure, HeadReader()
        whole = self._head.feed(self._held) is not None
        self._held = b""
        if whole or self.client.ended:
            self._give_up()
        else:
            self._later(HEAD_SECONDS, self._give_up)
            self.client.resume()

    def _give_up(self) -> None:
        if self._failure and self._head:  # a connection on which no byte came is not recorded
            self.observer.fail(self._failure)
        self._head = None
        self._finish(time.monotonic())
        self.client.reset()

    # How it ends.

    def eof(self, side: Side) -> bool:
        """The side's direction ended in order; returns whether its connection stays open for the other one."""
        if self._over:
            return False
        at = time.monotonic()
        side.ended = True
        self.observer.eof(side.sender, at)
        if self._head is not None:
            self._give_up()
            return False
        if self.server.transport is None and self._dialling:
            return side.half_closes  # passed on once the upstream is there
        if self.other(side).ended:
            self._finish(at)
            self.other(side).close()
            return False
        self._pass_eof(side)
        return side.half_closes and not self._over

    def _pass_eof(self, side: Side) -> None:
        other = self.other(side)
        if not other.half_closes:
            self._cut(time.monotonic(), told=side.half_closes)
            return
        if other.transport:
            other.transport.write_eof()
        if side.half_closes:
            self.watch()
        else:
            other.peer = None
            self._later(FLUSH_SECONDS, self._cut)

    def watch(self) -> None:
        """Looks after sides that are not read, because their end was or the other one is slow."""
        if self._timer is None and not self._over:
            self._timer = self._loop.call_later(_WATCH_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for side in (self.client, self.server):
            if side.broken_unread and side.ended:
                side.reset()
                self.lost(side, ConnectionResetError("reset after its end"))
            elif side.broken_unread:
                side.resume()  # what the kernel holds is read in, then the RST
        if self.client.paused or self.client.ended or self.server.paused or self.server.ended:
            self.watch()

    def _cut(self, at: float | None = None, *, told: bool = True) -> None:
        """Ends both sides although one of them had not ended. It is `told` unless both are TLS, where that is usual."""
        at = at or time.monotonic()
        if told:
            self.observer.stop(at)
        self._finish(at)
        self.client.close()
        self.server.close()

    def lost(self, side: Side, exc: Exception | None) -> None:
        """The side's connection is gone: by RST, by our own hand, or over TLS after its end."""
        other = self.other(side)
        other.peer = None
        if not self._over and exc is not None:
            at = time.monotonic()
            side.ended = True
            if isinstance(exc, TimeoutError):  # the kernel gave up on it
                self.observer.timeout(at)
            else:
                self.observer.reset(side.sender, at)
            self._finish(at)
            other.pause()
            self._flush(other, at + FLUSH_SECONDS)
        elif not self._over and not side.ended:  # TLS that ended without saying so: some loops tell no end then
            self.eof(side)
        if self.client.transport is None and self.server.transport is None:
            self.owner.closed(self)

    def _flush(self, side: Side, until: float, empty: int = 0) -> None:
        """Resets the side when it has taken what was read for it, or when its time is over.

        Below TLS is a buffer that cannot be looked into; it is empty if the kernel's stays so for a step.
        """
        transport = side.transport
        if transport and not transport.is_closing() and time.monotonic() < until:
            empty = 0 if unsent(transport) else empty + 1
            if empty < (1 if side.half_closes else 3):
                self._later(_FLUSH_STEP, partial(self._flush, side, until, empty))
                return
        side.reset()

    def _finish(self, at: float) -> None:
        """The connection is over for the record, which is written now; what was read may still be on its way."""
        self._over = True
        self._cancel()
        if self._dialling and self.server.transport is None:  # uvloop would not tell the end of one that stands
            self._dialling.cancel()
        self.observer.end(at)
        if self.observer.due:
            self.owner.record(self.observer.take())

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._cancel()
        self._timer = self._loop.call_later(seconds, call)

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """The relay leaves: what is known is recorded and both sides are closed."""
        if self._over:
            self._cancel()
            self.client.close()
            self.server.close()
        else:
            self._cut()

    def abort(self) -> None:
        """Drops both sides and what waits for them."""
        for side in (self.client, self.server):
            if side.transport:
                side.transport.abort()


def _unseen(sender: Sender, data: bytes, at: float) -> None:
    """What a failed observer is fed to."""
