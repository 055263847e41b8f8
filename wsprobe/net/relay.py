"""The relay: passes every byte on untouched, both ways, and records what it sees of HTTP and WebSocket in them.

What ends a connection passes too. A FIN goes on as a FIN and the other direction stays open; a RST goes on as a RST
after what was read before it, for at most FLUSH_SECONDS. TLS has no half-close: its end ends the connection, and what
the other side sends after it is recorded as not passed on. Memory is bounded by back-pressure: a side is read no
faster than the other one takes it.
"""

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from wsprobe import __version__
from wsprobe.heads import HeadReader
from wsprobe.model import Failure, Observation, Peers, Recorder, Sender, Tls, TlsEnds
from wsprobe.net.address import parse_upstream, shown
from wsprobe.net.upstream import Dialler, Unreachable
from wsprobe.net.kernel import error_of, unsent
from wsprobe.net.tls import AcceptedObject, negotiated, terminating
from wsprobe.observer import Observer, Source, Unredacted
from wsprobe.recordfile import RecordWriter

FLUSH_SECONDS = 5.0
"""How long a side that is to be reset gets to take what was read for it before."""

HEAD_SECONDS = 5.0
"""How long the request head is waited for where the upstream cannot be reached: it is recorded beside the reason."""

STOP_SECONDS = 2.0
"""How long connections get to end in order when the relay leaves."""

HANDSHAKE_SECONDS = 10.0
BUFFER_OCTETS = 256 * 1024
"""Octets that wait for a side before the other is no longer read."""

_BACKLOG = 1024
_WATCH_SECONDS = 0.25
_FLUSH_STEP = 0.01
_LINGER_NONE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: a close sends RST

Clock = Callable[[], float]


class Relay:
    """Listens, passes connections on to one upstream, and appends what it saw to a records file.

    `upstream` is a URL of scheme, host and port; `certificate` and `key` (PEM) terminate TLS; `authorities` and
    `insecure` are about the upstream's certificate. `passed` is told each finished exchange, redacted, and `problem`
    in one line what is wrong with the recording, which never touches the traffic. OSError and ValueError where a file
    or an argument cannot be used; nothing listens before `start`.
    """

    def __init__(
        self,
        name: str,
        records: Path,
        upstream: str,
        listen: tuple[str, int],
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        authorities: Path | None = None,
        insecure: bool = False,
        passed: Callable[[Observation], None] | None = None,
        problem: Callable[[str], None] | None = None,
    ) -> None:
        target = parse_upstream(upstream)
        self._listen = listen
        self._tls = terminating(certificate, key) if certificate else None
        self.dial = Dialler(target, authorities=authorities, insecure=insecure)
        recorder = _recorder(tls=target.tls or self._tls is not None)
        self.source = Source(name=name, instance=socket.gethostname(), recorder=recorder)
        self.links: set[_Link] = set()
        self._passed = passed
        self._problem = problem
        self._unwritten = 0
        self._server: asyncio.Server | None = None
        self._file = records
        self._writer = RecordWriter(records)

    async def start(self) -> tuple[str, int]:
        """Listens; returns the address that it has, the first of several. OSError where it is taken."""
        loop = asyncio.get_running_loop()
        host, port = self._listen
        seconds = HANDSHAKE_SECONDS if self._tls else None
        self._server = await loop.create_server(
            lambda: _Link(self, loop).client, host, port, ssl=self._tls, ssl_handshake_timeout=seconds, backlog=_BACKLOG
        )
        taken: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return taken

    async def stop(self) -> None:
        """Listens no more, records what is known of open connections and closes them."""
        if self._server:
            self._server.close()
        for link in tuple(self.links):
            link.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while self.links and time.monotonic() < deadline:
            await asyncio.sleep(_FLUSH_STEP)
        for link in tuple(self.links):
            link.abort()
        await asyncio.sleep(0)
        self._writer.close()
        if self._unwritten > 1:
            self._tell(f"{self._unwritten} records were lost, the first of them as told above")

    def record(self, due: list[Unredacted]) -> None:
        """Writes observations. What cannot be written is counted and told once, and the traffic goes on."""
        for seen in due:
            try:
                observation = self._writer.write(seen)
            except OSError as error:
                self._unwritten += 1
                if self._unwritten == 1:
                    self._tell(f"a record was lost, the traffic goes on: {self._file}: {error.strerror}")
                continue
            if self._passed and observation.ended is not None:
                self._passed(observation)

    def _tell(self, problem: str) -> None:
        if self._problem:
            self._problem(problem)


def _recorder(*, tls: bool) -> Recorder:
    alters = ["the source address", "one upstream connection for each connection of a client"]
    if tls:
        alters += ["ALPN: only http/1.1 is offered", "over TLS the end of one direction ends the connection"]
    return Recorder(
        kind="relay", version=__version__, blind=("HTTP/2, which passes unread",), alters=tuple(alters)
    )


class _Side(asyncio.Protocol):
    """One of the two connections of a link: what it reads is observed and written to the other one."""

    __slots__ = ("ended", "link", "peer", "sender", "transport")

    def __init__(self, link: "_Link", sender: Sender) -> None:
        self.link = link
        self.sender = sender
        self.transport: asyncio.Transport | None = None
        self.peer: asyncio.Transport | None = None  # where to write: None before it is there and once it is gone
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.link.opened(self, self.transport)

    def data_received(self, data: bytes) -> None:
        observer = self.link.observer
        observer.feed(self.sender, data, time.monotonic())
        peer = self.peer
        if peer is not None:
            peer.write(data)
        else:
            self.link.keep(self, data)
        if observer.due:
            self.link.relay.record(observer.take())

    def eof_received(self) -> bool:
        return self.link.eof(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.link.lost(self, exc)

    def pause_writing(self) -> None:
        """This side takes no more for now: the other is not read."""
        self.link.other(self).pause()

    def resume_writing(self) -> None:
        self.link.other(self).resume()

    def pause(self) -> None:
        if self.transport and not self.ended and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Reads again, unless the end was read: the loops would read it once more."""
        if self.transport and not self.ended and not self.transport.is_closing():
            self.transport.resume_reading()

    @property
    def one_way(self) -> bool:
        """Whether this side can end one direction and keep the other: over TLS it cannot."""
        return self.transport is not None and self.transport.can_write_eof()

    def close(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.close()

    def reset(self) -> None:
        """Ends the connection with a RST; what still waits for this side is dropped."""
        if self.transport and not self.transport.is_closing():
            connection = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it is gone already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            self.transport.abort()


class _Link:
    """Two connections that pass on to each other what they read: the client's, and one to the upstream."""

    __slots__ = ("_dialling", "_failure", "_head", "_held", "_loop", "_over", "_timer", "client", "observer", "relay", "server")

    def __init__(self, relay: Relay, loop: asyncio.AbstractEventLoop) -> None:
        self.relay = relay
        self.client = _Side(self, Sender.CLIENT)
        self.server = _Side(self, Sender.SERVER)
        epoch = time.time() - time.monotonic()
        self.observer = Observer(relay.source, secrets.token_hex(8), epoch=epoch)
        self._loop = loop
        self._held = b""  # what the client sent before the upstream was there
        self._dialling: asyncio.Task[None] | None = None
        self._failure: Failure | None = None
        self._head: HeadReader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def other(self, side: _Side) -> _Side:
        return self.server if side is self.client else self.client

    # How it begins.

    def opened(self, side: _Side, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=BUFFER_OCTETS)
        if side is self.client:
            self._accepted(transport)
        elif self._over:  # the client left while the upstream was being dialled
            side.reset()
        else:
            self._connected(transport)

    def _accepted(self, transport: asyncio.Transport) -> None:
        self.relay.links.add(self)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.observer.peers = Peers(client=shown(peer), local=shown(own))
        secured = transport.get_extra_info("ssl_object")
        if isinstance(secured, AcceptedObject):
            self.observer.tls = TlsEnds(client=negotiated(secured, sni=secured.sni))
        transport.pause_reading()
        self._dialling = self._loop.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            tls = await self.relay.dial(lambda: self.server)
        except Unreachable as unreachable:
            self._refused(unreachable.failure)
        except OSError as error:
            self._refused(Failure(phase="tcp", kind="failed", message=error.strerror or type(error).__name__))
        else:
            if tls:
                ends = self.observer.tls
                self.observer.tls = TlsEnds(client=ends.client if ends else None, server=tls)
        finally:
            self._dialling = None

    def _connected(self, transport: asyncio.Transport) -> None:
        client = self.client
        peers = self.observer.peers
        if peers:
            self.observer.peers = Peers(
                client=peers.client, local=peers.local, server=shown(transport.get_extra_info("peername"))
            )
        if self._held:
            transport.write(self._held)
            self._held = b""
        client.peer, self.server.peer = transport, client.transport
        if client.ended:
            self._pass_eof(client)
        client.resume()

    def keep(self, side: _Side, data: bytes) -> None:
        """Bytes that came while there is nobody to pass them on to."""
        if self._head is not None:
            if self._head.feed(data) is not None:
                self._give_up()
        elif self._dialling:
            self._held += data
            side.pause()  # uvloop reads a new connection although it was paused when it was made
        elif not self._over:
            self.observer.anomaly(side.sender, "data after the other side's end, not passed on", "", time.monotonic())

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
        if self._failure and self._head:
            self.observer.fail(self._failure)
        self._head = None
        self._finish(time.monotonic())
        self.client.reset()

    # How it ends.

    def eof(self, side: _Side) -> bool:
        """The side's direction ended in order; returns whether its connection stays open for the other one."""
        if self._over:
            return False
        at = time.monotonic()
        side.ended = True
        self.observer.eof(side.sender, at)
        other = self.other(side)
        if self._head is not None:
            self._give_up()
            return False
        if self.server.transport is None and self._dialling:
            return side.one_way
        if other.ended:
            self._finish(at)
            other.close()
            return False
        self._pass_eof(side)
        return side.one_way

    def _pass_eof(self, side: _Side) -> None:
        other = self.other(side)
        if not side.one_way:
            other.peer = None
        if other.transport is None or not other.one_way:
            self._finish(time.monotonic())
            other.close()
            return
        with contextlib.suppress(OSError):  # a RST has overtaken it, and is told next
            other.transport.write_eof()
        if side.one_way:
            self._later(_WATCH_SECONDS, partial(self._watch, side))
        else:
            self._later(FLUSH_SECONDS, self._last)

    def _watch(self, side: _Side) -> None:
        """The loops do not read on after a FIN: a RST that follows it would go unseen."""
        error = error_of(side.transport)
        if error:
            side.reset()
            self.lost(side, OSError(error, "reset after the end of its direction"))
        else:
            self._later(_WATCH_SECONDS, partial(self._watch, side))

    def _last(self) -> None:
        """A side whose other one ended over TLS had its time to end too."""
        at = time.monotonic()
        self.observer.stop(at)
        self._finish(at)
        self.client.close()
        self.server.close()

    def lost(self, side: _Side, exc: Exception | None) -> None:
        """The side's connection is gone: by RST, by our own hand, or over TLS after its end."""
        other = self.other(side)
        other.peer = None
        if not self._over and (exc is not None or not side.ended):
            at = time.monotonic()
            side.ended = True
            self._tell_end(side, exc, at)
            self._finish(at)
            if exc is None:
                other.close()
            else:
                other.pause()
                self._flush(other, at + FLUSH_SECONDS)
        if self.client.transport is None and self.server.transport is None:
            self.relay.links.discard(self)

    def _tell_end(self, side: _Side, exc: Exception | None, at: float) -> None:
        if exc is None:
            self.observer.eof(side.sender, at)
        elif isinstance(exc, TimeoutError):  # the kernel gave up on it
            self.observer.timeout(at)
        else:
            self.observer.reset(side.sender, at)

    def _flush(self, side: _Side, until: float) -> None:
        """Resets the side when it has taken what was read for it, or when its time is over."""
        if side.transport and not side.transport.is_closing() and time.monotonic() < until and unsent(side.transport):
            self._later(_FLUSH_STEP, partial(self._flush, side, until))
        else:
            side.reset()

    def _finish(self, at: float) -> None:
        """Both directions are over, or one that takes the other with it: what is known is recorded now."""
        self._over = True
        self._cancel()
        if self._dialling:
            self._dialling.cancel()
        self.observer.end(at)
        if self.observer.due:
            self.relay.record(self.observer.take())

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._cancel()
        self._timer = self._loop.call_later(seconds, call)

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """The relay leaves."""
        if not self._over:
            at = time.monotonic()
            self.observer.stop(at)
            self._finish(at)
        self._cancel()
        self.client.close()
        self.server.close()

    def abort(self) -> None:
        for side in (self.client, self.server):
            if side.transport:
                side.transport.abort()
