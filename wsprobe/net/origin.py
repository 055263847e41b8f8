"""The stand-in origin: an aiohttp server behind a real load balancer, which records what reaches it.

It speaks for itself: that a header reached it says nothing of the application's own routes.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from wsprobe import __version__
from wsprobe.model import Observation, Peers, Recorder, Sender, TlsEnds
from wsprobe.net.address import shown
from wsprobe.net.carriers import Refusal, TokenPolicy
from wsprobe.net.standin import OWN_HEADERS, StandIn
from wsprobe.net.tee import Tee
from wsprobe.net.tls import AcceptedObject, negotiated, terminating
from wsprobe.observer import Observer, Source, Unredacted
from wsprobe.recordfile import RecordWriter
from wsprobe.redact import redact, shared_key

HEAD_SECONDS = 30.0
"""How long the first request may take from its first octet on; a connection may be idle before and between."""

HANDSHAKE_SECONDS = 10.0
STOP_SECONDS = 2.0
"""How long conversations get to end when the origin leaves."""

MAX_FIELD = 32 * 1024
"""Octets of the longest start line, header name or header value: a token of 16 KiB passes."""

MAX_FIELDS = 128

RECORDER = Recorder(
    kind="origin",
    version=__version__,
    blind=("HTTP/2", "what the client does after this side has closed"),
    alters=("a stand-in answers: the application's own routes and checks are not tried",),
)


class Origin:
    """Listens, answers as `StandIn` does, and appends what it saw to a records file, if one is given.

    `on_bad` is as `on_missing` where it is None; `certificate` and `key` (PEM) terminate TLS. `passed` is told each
    finished exchange, redacted, and `problem` in one line what goes wrong in the origin itself. OSError and ValueError
    where a file or an argument cannot be used; nothing listens before `start`.
    """

    def __init__(  # noqa: PLR0913  keywords, each of them an option of the command line
        self,
        name: str,
        listen: tuple[str, int],
        *,
        tokens: TokenPolicy,
        records: Path | None = None,
        on_missing: Refusal = "1011",
        on_bad: Refusal | None = None,
        check_origin: bool = False,
        certificate: Path | None = None,
        key: Path | None = None,
        passed: Callable[[Observation], None] | None = None,
        problem: Callable[[str], None] | None = None,
    ) -> None:
        shared = os.environ.get("WSPROBE_FINGERPRINT_KEY")
        self._key = shared_key(shared) if shared else None
        self._stand_in = StandIn(
            tokens=tokens, on_missing=on_missing, on_bad=on_bad or on_missing, check_origin=check_origin, key=self._key
        )
        self.source = Source(name=name, instance=socket.gethostname(), recorder=RECORDER)
        self.connections: set[_Connection] = set()
        self._listen = listen
        self._tls = terminating(certificate, key) if certificate else None
        self._passed = passed
        self._problem = problem
        self._unwritten = 0
        self._writer = RecordWriter(records) if records else None
        self._web: web.Server | None = None
        self._listening: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        """Listens; returns the address that it has, the first of several. OSError where it is taken."""
        loop = asyncio.get_running_loop()
        server = self._web = web.Server(self._answer)
        host, port = self._listen
        seconds = HANDSHAKE_SECONDS if self._tls else None
        self._listening = await loop.create_server(
            lambda: _Connection(self, loop).protocol(server), host, port, ssl=self._tls, ssl_handshake_timeout=seconds
        )
        taken: tuple[str, int] = self._listening.sockets[0].getsockname()[:2]
        return taken

    async def stop(self) -> None:
        """Listens no more, records what is known of open connections and closes them."""
        if self._listening:
            self._listening.close()
        transports = [connection.stop() for connection in tuple(self.connections)]
        if self._web:
            await self._web.shutdown(STOP_SECONDS)
        for transport in filter(None, transports):
            transport.abort()
        await asyncio.sleep(0)
        if self._writer:
            self._writer.close()
        if self._unwritten > 1:
            self.tell(f"{self._unwritten} records were lost, the first of them as told above")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = request.protocol
        assert isinstance(handler, _Handler)  # noqa: S101  the only protocol that this server has
        return await self._stand_in.answer(request, handler.connection.asked())

    def record(self, due: list[Unredacted]) -> None:
        """Writes observations. What cannot be written is counted and told once, and the service goes on."""
        for seen in due:
            try:
                observation = self._writer.write(seen) if self._writer else redact(seen, self._key)
            except OSError as error:
                self._unwritten += 1
                if self._unwritten == 1:
                    self.tell(f"a record was lost: {error.strerror}")
                continue
            if self._passed and observation.ended is not None:
                self._passed(observation)

    def tell(self, problem: str) -> None:
        """Something went wrong in the origin itself."""
        if self._problem:
            self._problem(problem)


class _Connection:
    """One connection and what is known of it: the tee's listener."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self._origin = origin
        self._loop = loop
        epoch = time.time() - time.monotonic()
        self._observer = Observer(origin.source, secrets.token_hex(8), epoch=epoch)
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._was_asked = False
        self._over = False

    def protocol(self, server: web.Server) -> asyncio.Protocol:
        """The protocol of aiohttp behind a tee."""
        return Tee(_Handler(self, server, self._loop), self._opened, Sender.CLIENT)

    def tell(self, problem: str) -> None:
        self._origin.tell(problem)

    def _opened(self, transport: asyncio.Transport) -> "_Connection":
        self._transport = transport
        self._origin.connections.add(self)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._observer.peers = Peers(client=shown(peer), local=shown(own))
        secured = transport.get_extra_info("ssl_object")
        if isinstance(secured, AcceptedObject):
            self._observer.tls = TlsEnds(client=negotiated(secured, sni=secured.sni))
        return self

    def asked(self) -> Observer:
        """A request has come; its observer is to be told what the verification found before it is answered."""
        self._was_asked = True
        if self._patience:
            self._patience.cancel()
        return self._observer

    def _too_slow(self) -> None:
        self._observer.timeout(time.monotonic())
        if self._transport:
            self._transport.abort()

    # What the tee tells.

    def feed(self, sender: Sender, data: bytes, at: float) -> None:
        if self._patience is None and not self._was_asked:
            self._patience = self._loop.call_later(HEAD_SECONDS, self._too_slow)
        if not self._over:
            self._observer.feed(sender, data, at)
            self._record()

    def eof(self, sender: Sender, at: float) -> None:
        if not self._over:
            self._observer.eof(sender, at)
            self._record()

    def reset(self, sender: Sender, at: float) -> None:
        if not self._over:
            self._observer.reset(sender, at)
            self._record()

    def end(self, at: float) -> None:
        self._origin.connections.discard(self)
        if self._patience:
            self._patience.cancel()
        self._over = True
        self._observer.end(at)
        self._record()

    def _record(self) -> None:
        if self._observer.due:
            self._origin.record(self._observer.take())

    # How the origin leaves.

    def stop(self) -> asyncio.Transport | None:
        """What is known is recorded now, and what comes after it no more; returns the transport, which is closing."""
        at = time.monotonic()
        self._observer.stop(at)
        self.end(at)
        if self._transport:
            self._transport.close()
        return self._transport


class _Handler(web.RequestHandler):
    """aiohttp's server protocol, kept from quoting what it could not read: that may be a token."""

    def __init__(self, connection: _Connection, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # as the runner of aiohttp gives it
            max_line_size=MAX_FIELD,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
        )
        self.connection = connection

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp's words, which quote
    ) -> web.StreamResponse:
        self.connection.asked()
        if status >= 500:
            self.connection.tell(f"a request could not be answered: {type(exc).__name__}")
        if request.writer.output_size > 0:
            raise ConnectionError("a response was begun already")
        problem = "the request cannot be read" if status < 500 else "the origin failed"
        response = web.json_response({"problem": problem}, status=status, headers=OWN_HEADERS)
        response.force_close()
        return response

    def log_exception(self, *_: object, **about: object) -> None:
        """The message of aiohttp may quote the request: only the kind of the error is told."""
        self.connection.tell(f"a connection was given up: {type(about.get('exc_info')).__name__}")
