"""The probe: one opening handshake and one conversation, observed on its own wire like at every other hop."""

import asyncio
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict

from wsprobe import __version__
from wsprobe.handshake import extensions
from wsprobe.heads import values
from wsprobe.join import CLIENT
from wsprobe.model import Expectation, Failure, Peers, Recorder, Sender, Subprotocol, TlsEnds
from wsprobe.net.address import shown
from wsprobe.net.aiohttp_ways import Failed, answer_class, in_chrome_order, in_words, read_body
from wsprobe.net.attempt import Attempt
from wsprobe.net.conversation import Await, Conversation
from wsprobe.net.dial import Dial, Progress, look, session_of
from wsprobe.net.upstream import Unreachable
from wsprobe.observer import Observer, Source, Unredacted

_MAX_MESSAGE = 16 * 1024 * 1024
_MAX_FIELD = 256 * 1024
_PHASES = ("dns", "tcp", "proxy", "tls", "upgrade")


class _Refused(Exception):  # noqa: N818  an outcome, not an error
    """The answer was no 101, or one that a client must not accept."""


async def probe(attempt: Attempt) -> Unredacted:
    """Connects, asks, talks, watches, closes; returns what was seen, however it ended. Raises for nothing remote.

    Cancelled, it closes the connection and still returns what was seen so far: whoever awaits it in a task of its own
    asks that whether it is `cancelling`.
    """
    return await _Probe(attempt).run()


class _Probe:
    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._way = attempt.way
        self._progress = Progress()
        self._observer = Observer(
            Source(name=CLIENT, instance=socket.gethostname(), recorder=Recorder(kind="probe", version=__version__)),
            secrets.token_hex(8),
            epoch=time.time() - time.monotonic(),
        )
        self._failure: Failure | None = None
        self._key_of_aiohttp = ""
        self._answered = False
        self._came: list[float] = []
        self._began = time.monotonic()
        self._task = asyncio.current_task()
        self._limits: list[asyncio.Timeout] = []
        self._left = False

    async def run(self) -> Unredacted:
        try:
            async with self._limit(self._attempt.max_time):
                await self._exchange()
        except _Refused:
            pass  # the answer itself is the evidence, and the observer has it
        except asyncio.CancelledError:  # interrupted: what was seen so far is the result
            self._interrupted()
        except Exception as error:  # noqa: BLE001  whatever fails is the result: it is told as what it is
            self._fail(error)
            if self._failure and self._failure.kind == "certificate" and not self._attempt.number:
                await self._look()
        self._observer.end(time.monotonic())
        return self._seen()

    # The exchange.

    async def _exchange(self) -> None:
        attempt = self._attempt
        async with self._session() as session:
            if attempt.plain:
                await self._ask_plainly(session)
                return
            async with self._limit(attempt.answer_time):
                connection = await session.ws_connect(
                    attempt.url,
                    headers=CIMultiDict(attempt.headers),
                    compress=15 if attempt.browser or "permessage-deflate" in extensions(attempt.headers) else 0,
                    autoclose=False,
                    max_msg_size=_MAX_MESSAGE,
                )
            self._progress.enter("watch")
            conversation = Conversation(connection)
            self._came = conversation.came
            try:
                async with conversation.beating(attempt.beat):
                    if await conversation.take(attempt.steps, attempt.within):
                        await conversation.watch(attempt.hold)
            finally:
                await conversation.close()

    async def _ask_plainly(self, session: aiohttp.ClientSession) -> None:
        """An ordinary GET, whose answer the middleware reads and keeps to itself."""
        attempt = self._attempt
        url = attempt.url.with_scheme("https" if attempt.url.scheme in {"wss", "https"} else "http")
        async with self._limit(attempt.answer_time):
            await session.get(url, headers=CIMultiDict(attempt.headers), allow_redirects=False)

    def _session(self) -> aiohttp.ClientSession:
        # Each connection gets its own session: nothing is reused, so that every trace shows a whole one.
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._identify)
        trace.on_request_headers_sent.append(self._sent)
        return aiohttp.ClientSession(
            connector=Dial(self._way, self._progress, self._listener),
            trace_configs=[trace],
            middlewares=(self._refuse,),
            response_class=answer_class(lambda: self._key_of_aiohttp),
            headers={hdrs.USER_AGENT: f"wsprobe/{__version__}"},
            skip_auto_headers=("Accept", "Accept-Encoding"),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            max_line_size=_MAX_FIELD,
            max_field_size=_MAX_FIELD,
        )

    def _listener(self, transport: asyncio.Transport) -> "_Open":
        observer = self._observer
        observer.peers = Peers(
            local=shown(transport.get_extra_info("sockname")), server=shown(transport.get_extra_info("peername"))
        )
        session = session_of(transport, self._way.name)
        observer.tls = TlsEnds(server=session) if session else None
        return _Open(observer, self.leave)

    async def _identify(self, _session: object, _context: object, params: aiohttp.TraceRequestStartParams) -> None:
        """Key and trace id are the same octets, so that recorders join by either."""
        octets, headers, attempt = self._attempt.octets, params.headers, self._attempt
        if not attempt.plain:
            self._key_of_aiohttp = headers[hdrs.SEC_WEBSOCKET_KEY]
            headers[hdrs.SEC_WEBSOCKET_KEY] = b64encode(octets).decode()
        offered = values(attempt.headers, hdrs.SEC_WEBSOCKET_EXTENSIONS)
        if offered:  # aiohttp offers its own
            headers.popall(hdrs.SEC_WEBSOCKET_EXTENSIONS)
            headers.extend((hdrs.SEC_WEBSOCKET_EXTENSIONS, value) for value in offered)
        if not attempt.browser:
            headers["traceparent"] = f"00-{octets.hex()}-{secrets.token_hex(8)}-01"
            return
        ordered = in_chrome_order(headers.items())
        headers.clear()
        headers.extend(ordered)

    async def _sent(self, *_: object) -> None:
        self._progress.enter("upgrade")

    async def _refuse(
        self, request: aiohttp.ClientRequest, handler: Callable[..., Awaitable[aiohttp.ClientResponse]]
    ) -> aiohttp.ClientResponse:
        """Stops at every answer that is not a right 101; what its body says is read first, up to a limit."""
        try:
            response = await handler(request)
        except (aiohttp.ClientError, OSError) as error:
            raise Failed from error
        self._answered = True
        if response.status != 101 or self._attempt.plain:
            await read_body(response)
            raise _Refused
        current = self._observer.upgrade()
        judged = current.observation.handshake if current else None
        strict = (
            self._attempt.browser and judged and judged.subprotocol in {Subprotocol.NOT_ECHOED, Subprotocol.FOREIGN}
        )
        if judged is None or judged.response_flaws or strict:
            response.close()
            raise _Refused
        return response

    # What came of it.

    def _limit(self, seconds: float | None) -> asyncio.Timeout:
        self._limits.append(asyncio.timeout(seconds))
        return self._limits[-1]

    def leave(self, at: float) -> None:
        """Notes, before anything else that our side does, that it has waited long enough or was interrupted."""
        if self._left:
            return
        if any(limit.expired() for limit in self._limits):
            self._observer.timeout(at)
            self._left = True
        elif self._task and self._task.cancelling():
            self._observer.stop(at)
            self._left = True

    def _interrupted(self) -> None:
        self.leave(time.monotonic())
        if not self._answered:
            self._failed(self._phase, "interrupted", "interrupted before an answer came")

    @property
    def _phase(self) -> str:
        """The phase that goes on, as a failure names it."""
        return "response" if self._progress.phase in {"request", "upgrade", "watch"} else self._progress.phase

    def _fail(self, error: Exception) -> None:
        """What went wrong, as phase, kind and words. After the 101 the wire itself tells it."""
        if isinstance(error, Unreachable):
            self._failed(error.failure.phase, error.failure.kind, error.failure.message)
        elif isinstance(error, TimeoutError):
            self.leave(time.monotonic())
            if not self._answered:
                after = f"{time.monotonic() - self._began:.2g} s"
                self._failed(self._phase, "timed out", f"no whole answer came within {after}")
        elif isinstance(error, aiohttp.WSServerHandshakeError):  # the rest of what it judges was judged before
            self._failed("response", "malformed", f"the extensions of the 101 cannot be used: {error.message}")
        elif not self._observer.upgraded:
            self._failed(*in_words(error))

    def _failed(self, phase: str, kind: str, words: str) -> None:
        self._failure = Failure(phase=phase, kind=kind, message=f"{phase}: {words}"[:1000])
        self._observer.fail(self._failure)

    async def _look(self) -> None:
        session = await look(self._way)
        if session and self._failure:
            self._observer.tls = TlsEnds(server=replace(session, verified=False, error=self._failure.message))

    def _seen(self) -> Unredacted:
        seen = self._observer.take()[-1].observation
        self._progress.enter("end")
        took = self._progress.took
        if seen.handshake and seen.handshake.duration is not None:
            took["upgrade"] = seen.handshake.duration
        return Unredacted(
            replace(
                seen,
                trace=self._attempt.octets.hex(),
                phases={name: took[name] for name in _PHASES if name in took},
                addresses=self._progress.addresses,
                expectations=self._expectations(),
            )
        )

    def _expectations(self) -> tuple[Expectation, ...]:
        awaited = [step for step in self._attempt.steps if isinstance(step, Await)]
        came = [round(at - self._began, 6) for at in self._came] + [None] * len(awaited)
        return tuple(
            Expectation(kind=step.kind, what=repr(step.what[:100]), met=at is not None, at=at)
            for step, at in zip(awaited, came, strict=False)
        )


class _Open:
    """Tells an observer all but the end, which the probe decides, and first why our side leaves."""

    def __init__(self, observer: Observer, leave: Callable[[float], None]) -> None:
        self._observer = observer
        self._leave = leave
        self.reset = observer.reset

    def feed(self, sender: Sender, data: bytes, at: float) -> None:
        """Bytes that passed."""
        if sender is Sender.CLIENT:
            self._leave(at)
        self._observer.feed(sender, data, at)

    def eof(self, sender: Sender, at: float) -> None:
        """A direction was closed."""
        if sender is Sender.CLIENT:
            self._leave(at)
        self._observer.eof(sender, at)

    def end(self, at: float) -> None:
        """Not yet: why a connection was given up is known only after it is closed."""
