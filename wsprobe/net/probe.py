"""The probe: one opening handshake and one conversation, observed on its own wire like at every other hop."""

import asyncio
import json
import re
import secrets
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from wsprobe import __version__
from wsprobe.closecodes import may_be_sent
from wsprobe.credentials import is_secret_name
from wsprobe.handshake import accept_for
from wsprobe.heads import MAX_BODY, status, values
from wsprobe.join import CLIENT
from wsprobe.model import Expectation, Failure, Header, Peers, Recorder, Subprotocol, Tls, TlsEnds
from wsprobe.net.dial import Phases, Resolver, context, describe, look, peername
from wsprobe.net.tee import client_factory
from wsprobe.observer import Observer, Source, Unredacted

RUN_OCTETS = 14
"""Octets of a run's id; the two that follow are the number of the request within the run."""

_MAX_MESSAGE = 16 * 1024 * 1024
_CLOSE_SECONDS = 2.0
_MAX_HEAD = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A step of the conversation: a message that goes out."""

    data: str | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """A step of the conversation: a message to wait for, `kind` being expect, expect-regex or event."""

    kind: str
    what: str
    field: str = "type"

    def fits(self, message: str) -> bool:
        """Whether a message is the one that is waited for."""
        if self.kind == "event":
            return _field(message, self.field) == self.what
        return self.what in message if self.kind == "expect" else re.search(self.what, message) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Everything that one connection needs. Times are in seconds; `max_time` bounds all of it.

    `answers` are the user's own addresses for names. `hold` is how long the connection is watched after the 101 or
    after the last message that was waited for.
    """

    url: URL
    headers: tuple[Header, ...] = ()
    run: bytes = field(default_factory=lambda: secrets.token_bytes(RUN_OCTETS))
    number: int = 0
    steps: tuple[Send | Await, ...] = ()
    within: float = 10.0
    hold: float = 5.0
    ping: float | None = None
    max_time: float | None = None
    answer_time: float = 30.0
    browser: bool = False
    traceparent: bool = True
    verify: bool = True
    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    answers: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    family: socket.AddressFamily = socket.AF_UNSPEC
    proxy: URL | None = None

    @property
    def octets(self) -> bytes:
        """The 16 octets that are Sec-WebSocket-Key and trace id at once."""
        return self.run + self.number.to_bytes(2)


class _Refused(Exception):
    """The answer was no 101, or one that a client must not accept."""


async def probe(attempt: Attempt) -> Unredacted:
    """Connects, asks, talks, watches, closes; returns what was seen, however it ended. Raises for nothing remote."""
    return await _Probe(attempt).run()


class _Probe:
    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._phases = Phases()
        self._resolver = Resolver(attempt.answers, self._phases)
        self._observer = Observer(
            Source(name=CLIENT, instance=socket.gethostname(), recorder=Recorder(kind="probe", version=__version__)),
            secrets.token_hex(8),
            epoch=time.time() - time.monotonic(),
        )
        self._tls: Tls | None = None
        self._failure: Failure | None = None
        self._key_of_aiohttp = ""
        self._met: list[Expectation] = []
        self._began = time.monotonic()
        self._connections = 0

    async def run(self) -> Unredacted:
        attempt = self._attempt
        try:
            async with asyncio.timeout(attempt.max_time):
                await self._exchange()
        except _Refused:
            pass  # the answer itself is the evidence, and the observer has it
        except Exception as error:  # noqa: BLE001  whatever fails is the result: it is told as what it is
            self._fail(error)
            if self._failure and self._failure.kind == "certificate":
                await self._look()
        self._observer.end(time.monotonic())
        return self._seen()

    # The exchange.

    async def _exchange(self) -> None:
        attempt = self._attempt
        async with self._session() as session:
            async with asyncio.timeout(attempt.answer_time):
                socket_ = await session.ws_connect(
                    attempt.url,
                    headers=CIMultiDict(attempt.headers),
                    compress=15 if attempt.browser else 0,
                    autoclose=False,
                    max_msg_size=_MAX_MESSAGE,
                    proxy=attempt.proxy,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),  # type: ignore[call-arg]  attrs
                )
            self._phases.enter("watch")
            pinging = asyncio.create_task(_ping(socket_, attempt.ping)) if attempt.ping else None
            try:
                await self._converse(socket_)
            finally:
                if pinging:
                    pinging.cancel()
                await socket_.close()

    def _session(self) -> aiohttp.ClientSession:
        attempt = self._attempt
        # Each connection gets its own session: nothing is reused, so that every trace shows a whole one.
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            family=attempt.family,
            ssl=self._context() if attempt.url.scheme in {"wss", "https"} else False,
            use_dns_cache=False,
            force_close=True,
        )
        connector._factory = client_factory(self._listener)  # type: ignore[assignment]  # noqa: SLF001  see net/tee.py
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._identify)
        trace.on_request_headers_sent.append(self._sent)
        skipped = () if any(name.lower() == "accept-encoding" for name, _ in attempt.headers) else ("Accept-Encoding",)
        return aiohttp.ClientSession(
            connector=connector,
            trace_configs=[trace],
            middlewares=(self._refuse,),
            response_class=_answer_class(lambda: self._key_of_aiohttp),
            headers={hdrs.USER_AGENT: f"wsprobe/{__version__}"},
            skip_auto_headers=("Accept", *skipped),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=attempt.answer_time),
            max_line_size=_MAX_HEAD,
            max_field_size=_MAX_HEAD,
        )

    def _context(self) -> object:
        attempt = self._attempt
        made = context(
            verify=attempt.verify, authority=attempt.authority, certificate=attempt.certificate, key=attempt.key
        )
        made.on_handshake = lambda: self._phases.enter("tls")
        return made

    def _listener(self, transport: asyncio.Transport) -> Observer:
        self._connections += 1
        secure = self._attempt.url.scheme in {"wss", "https"}
        if self._attempt.proxy and secure and self._connections == 1:  # CONNECT: not the exchange that is traced
            return Observer(self._observer.source, "proxy", epoch=0.0)
        observer = self._observer
        observer.peers = Peers(local=peername(transport, "sockname"), server=peername(transport, "peername"))
        self._tls = describe(transport, self._attempt.url.host) if secure else None
        observer.tls = TlsEnds(server=self._tls) if self._tls else None
        self._phases.enter("request")
        return observer

    async def _identify(self, _session: object, _context: object, params: aiohttp.TraceRequestStartParams) -> None:
        """Key and trace id are the same octets, so that recorders join by either."""
        octets = self._attempt.octets
        self._key_of_aiohttp = params.headers[hdrs.SEC_WEBSOCKET_KEY]
        params.headers[hdrs.SEC_WEBSOCKET_KEY] = b64encode(octets).decode()
        if self._attempt.traceparent and not self._attempt.browser:
            params.headers["traceparent"] = f"00-{octets.hex()}-{secrets.token_hex(8)}-01"
        self._phases.start("tcp")

    async def _sent(self, *_: object) -> None:
        self._phases.enter("upgrade")

    async def _refuse(
        self, request: aiohttp.ClientRequest, handler: Callable[..., Awaitable[aiohttp.ClientResponse]]
    ) -> aiohttp.ClientResponse:
        """Stops at every answer that is not a right 101; what its body says is read first, up to a limit."""
        response = await handler(request)
        if response.status != 101:
            await response.content.read(1)
            while response.content.total_bytes < MAX_BODY and await response.content.readany():
                continue
            raise _Refused
        current = self._observer.upgrade()
        judged = current.observation.handshake if current else None
        strict = self._attempt.browser and judged and judged.subprotocol in {Subprotocol.NOT_ECHOED, Subprotocol.FOREIGN}
        if judged is None or judged.response_flaws or strict:
            raise _Refused
        return response

    # The conversation.

    async def _converse(self, socket_: aiohttp.ClientWebSocketResponse) -> None:
        attempt = self._attempt
        steps = list(attempt.steps)
        for index, step in enumerate(steps):
            if isinstance(step, Send):
                await (socket_.send_str if isinstance(step.data, str) else socket_.send_bytes)(step.data)  # type: ignore[operator]
                continue
            if not await self._await(socket_, step):
                for missed in steps[index + 1 :]:
                    if isinstance(missed, Await):
                        self._expected(missed, met=False)
                return
        await _watch(socket_, attempt.hold)

    async def _await(self, socket_: aiohttp.ClientWebSocketResponse, step: Await) -> bool:
        try:
            async with asyncio.timeout(self._attempt.within):
                while message := await _message(socket_):
                    if step.fits(message):
                        self._expected(step, met=True)
                        return True
        except TimeoutError:
            pass  # the time that the user allowed is over: that is the result
        self._expected(step, met=False)
        return False

    def _expected(self, step: Await, *, met: bool) -> None:
        at = round(time.monotonic() - self._began, 6) if met else None
        self._met.append(Expectation(kind=step.kind, what=repr(step.what[:100]), met=met, at=at))

    # What came of it.

    def _fail(self, error: BaseException) -> None:
        """What went wrong, as phase, kind and words. After the 101 the wire itself tells it."""
        if self._observer.upgraded and not isinstance(error, TimeoutError):
            return
        now = time.monotonic()
        phase = self._phases.current
        if self._observer.upgraded:
            self._observer.timeout(now)
            return
        if phase in {"request", "upgrade", "watch"}:
            phase = "response"
            if isinstance(error, TimeoutError):
                self._observer.timeout(now)
        if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            phase = "proxy"
        kind, words = _in_words(error, self._attempt.answer_time)
        self._failure = Failure(phase=phase, kind=kind, message=f"{phase}: {words}")
        self._observer.fail(self._failure)

    async def _look(self) -> None:
        """A refused certificate is not shown by the handshake that refused it: look at it without verification."""
        url = self._attempt.url
        host, port = self._attempt.answers.get((url.host or "", url.port or 443), (url.host or "", url.port or 443))
        self._tls = await look(host, port, url.host or "")
        if self._tls:
            error = self._failure.message if self._failure else None
            self._observer.tls = TlsEnds(server=replace(self._tls, verified=False, error=error))

    def _seen(self) -> Unredacted:
        seen = self._observer.take()[-1].observation
        self._phases.enter("end")
        phases = {name: self._phases.done[name] for name in ("dns", "tcp", "tls", "upgrade") if name in self._phases.done}
        if seen.handshake and seen.handshake.duration is not None:
            phases["upgrade"] = seen.handshake.duration
        return Unredacted(
            replace(
                seen,
                trace=self._attempt.octets.hex(),
                phases=phases,
                addresses=self._resolver.addresses,
                expectations=tuple(self._met),
            )
        )


def _answer_class(key: Callable[[], str]) -> type[aiohttp.ClientResponse]:
    """A 101 as aiohttp wants to see it.

    aiohttp checks the answer against the key that it made itself, which was replaced by the trace's, and knows only
    one spelling of Connection. The answer to the key that was really sent is judged by the middleware before.
    """

    class Answer(aiohttp.ClientResponse):
        @property
        def headers(self) -> CIMultiDictProxy[str]:  # type: ignore[override]  reified there, the same to its readers
            shown = CIMultiDict(super().headers)
            if self.status == 101:
                shown[hdrs.CONNECTION] = "upgrade"
                shown[hdrs.SEC_WEBSOCKET_ACCEPT] = accept_for(key())
            return CIMultiDictProxy(shown)

    return Answer


async def _ping(socket_: aiohttp.ClientWebSocketResponse, every: float) -> None:
    number = 0
    while not socket_.closed:
        await asyncio.sleep(every)
        number += 1
        await socket_.ping(number.to_bytes(4))


async def _watch(socket_: aiohttp.ClientWebSocketResponse, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while await _message(socket_) is not None:
                continue
    except TimeoutError:
        pass  # it stayed open for as long as it was watched


async def _message(socket_: aiohttp.ClientWebSocketResponse) -> str | None:
    """The next message as text, None when there will be none."""
    message = await socket_.receive()
    match message.type:
        case aiohttp.WSMsgType.TEXT:
            return str(message.data)
        case aiohttp.WSMsgType.BINARY:
            return bytes(message.data).decode("latin-1")
        case aiohttp.WSMsgType.CLOSE:  # RFC 6455, 5.5.1: the answer echoes the code
            await socket_.close(code=message.data if may_be_sent(message.data or 0) else 1000)
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


def _in_words(error: BaseException, waited: float) -> tuple[str, str]:
    """Why a connection failed: a short kind, and words without anything that aiohttp adds of its own."""
    cause = getattr(error, "os_error", None) or error
    match cause:
        case TimeoutError() | aiohttp.ServerTimeoutError():
            return "timed out", f"nothing came within {waited:g} s"
        case ssl.SSLCertVerificationError():
            return "certificate", f"the certificate was not accepted: {cause.verify_message}"
        case aiohttp.ClientConnectorCertificateError():
            return "certificate", f"the certificate was not accepted: {cause.certificate_error}"
        case ssl.SSLError():
            return "handshake", f"the TLS handshake failed: {(cause.reason or str(cause)).replace('_', ' ').lower()}"
        case socket.gaierror():
            return "not found", f"the name was not found: {cause.strerror}"
        case ConnectionRefusedError():
            return "refused", "connection refused"
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return "reset", "the connection was reset"
        case aiohttp.ServerDisconnectedError():
            return "closed", "the connection was closed before a response came"
        case aiohttp.ClientHttpProxyError():
            return "proxy", f"the proxy answered {cause.status}"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "malformed", f"what came is no HTTP response that can be read ({type(cause).__name__})"
        case OSError() if cause.strerror:
            return "failed", cause.strerror.lower()
    return "failed", f"{type(cause).__name__}"


def redirected(attempt: Attempt, seen: Unredacted) -> Attempt | None:
    """The next attempt where this one was sent elsewhere, None where it was not.

    Credentials stay behind when scheme, host or port change (RFC 9110, 15.4), and so do the answers given for names.
    """
    response = seen.observation.response
    code = status(response.start_line) if response else None
    found = values(response.headers, "location") if response and code in {301, 302, 303, 307, 308} else []
    if not found:
        return None
    try:
        url = attempt.url.join(URL(found[0]))
    except ValueError:
        return None
    url = url.with_scheme({"http": "ws", "https": "wss"}.get(url.scheme, url.scheme))
    if url.scheme not in {"ws", "wss"} or not url.host:
        return None
    kept = attempt.headers
    if url.origin() != attempt.url.origin():
        kept = tuple((name, value) for name, value in kept if not is_secret_name(name))
    return replace(attempt, url=url, headers=kept, run=secrets.token_bytes(RUN_OCTETS))
