"""The same upgrade over HTTP/2: extended CONNECT (RFC 8441), where the server offers both. One stream, observed.

What a browser does to a server that has it. The records are those of the client alone: recorders speak HTTP/1.1.
"""

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from wsprobe import __version__
from wsprobe.frames import FrameCounter
from wsprobe.join import CLIENT
from wsprobe.model import Close, Ending, Failure, Header, Message, Observation, Peers, Recorder, Sender
from wsprobe.net.address import shown
from wsprobe.net.attempt import Attempt
from wsprobe.net.dial import Progress, reach
from wsprobe.net.tls import dialling
from wsprobe.net.upstream import Unreachable
from wsprobe.observer import Unredacted

_OF_HTTP1 = frozenset({"host", "upgrade", "connection", "keep-alive", "transfer-encoding", "sec-websocket-key"})
_MAX_OCTETS = 1024 * 1024
_NOT_OFFERED = "HTTP/2 is offered, and WebSockets over it are not: no SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, 3)"


async def ask_http2(attempt: Attempt) -> Unredacted:
    """Connects with ALPN h2, asks for a WebSocket, watches, closes. Raises for nothing remote."""
    began = time.monotonic()
    seen = Observation(
        name=CLIENT,
        instance=socket.gethostname(),
        recorder=Recorder(kind="probe", version=__version__, blind=("frames but the close frame",)),
        connection=secrets.token_hex(8),
        exchange=0,
        trace=attempt.octets.hex(),
        at=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        request=None,
        response=None,
        closes=(),
        ended=None,
    )
    try:
        async with asyncio.timeout(attempt.answer_time + attempt.hold):
            seen = await _asked(attempt, seen, began)
    except Unreachable as error:
        seen = replace(seen, failure=error.failure)
    except (TimeoutError, OSError, ssl.SSLError, h2.exceptions.ProtocolError) as error:
        what = str(error).partition("\n")[0] or "no whole answer came in time"
        seen = replace(seen, failure=_failed("response", f"over HTTP/2: {what[:200]}"))
    return Unredacted(replace(seen, ended=round(time.monotonic() - began, 6)))


def _failed(phase: str, words: str) -> Failure:
    return Failure(phase=phase, kind="http2", message=words)


async def _asked(attempt: Attempt, seen: Observation, began: float) -> Observation:
    context = dialling(attempt.authority, verify=attempt.verify, certificate=attempt.certificate, key=attempt.key)
    context.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    stream = _Stream(began)
    transport, _ = await reach(replace(attempt.way, context=context), Progress(), lambda: stream)
    try:
        peers = Peers(
            local=shown(transport.get_extra_info("sockname")), server=shown(transport.get_extra_info("peername"))
        )
        seen = replace(seen, peers=peers)
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        if session.selected_alpn_protocol() != "h2":
            return replace(seen, failure=_failed("response", "HTTP/2 is not offered by ALPN"))
        stream.start()
        await stream.until(lambda: stream.settled)
        if not stream.connects:
            words = (
                "HTTP/2 is offered, and WebSockets over it are not: no SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, 3)"
            )
            return replace(seen, failure=_failed("response", words))
        headers = _headers(attempt)
        stream.ask(headers)
        target = next(value for name, value in headers if name == ":path")
        told = tuple(header for header in headers if not header[0].startswith(":"))
        seen = replace(seen, request=Message(start_line=f"CONNECT {target} HTTP/2", headers=told))
        await stream.until(lambda: stream.answer is not None or stream.ended is not None)
        if stream.answer is None:
            return replace(seen, failure=_failed("response", f"over HTTP/2: {stream.ended}"))
        until = loop.time() + attempt.hold
        while stream.ended is None and not stream.closes and (left := until - loop.time()) > 0:
            await stream.changed(left)
        return replace(seen, response=stream.answer, closes=tuple(stream.closes))
    finally:
        transport.close()


def _headers(attempt: Attempt) -> list[Header]:
    """What RFC 8441, 5, asks for, and the user's own headers in lower case (RFC 9113, 8.2)."""
    url = attempt.url
    host = next((value for name, value in attempt.headers if name.lower() == "host"), url.authority)
    return [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", url.raw_path_qs),
        (":authority", host),
        ("sec-websocket-version", "13"),
        ("user-agent", f"wsprobe/{__version__}"),
        ("traceparent", f"00-{attempt.octets.hex()}-{secrets.token_hex(8)}-01"),
        *((name.lower(), value) for name, value in attempt.headers if name.lower() not in _OF_HTTP1),
    ]


class _Stream(asyncio.Protocol):
    """One HTTP/2 connection with one stream: what the server settles, how it answers, how it ends."""

    def __init__(self, began: float) -> None:
        self.settled = False
        self.answer: Message | None = None
        self.closes: list[Close] = []
        self.ended: str | None = None
        self._began = began
        self._octets = 0
        self._id = 0
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="latin-1"))
        self._frames = FrameCounter(self, masked=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def start(self) -> None:
        """Sends the preface; not before ALPN has agreed on HTTP/2."""
        self._h2.initiate_connection()
        self._flush()

    @property
    def connects(self) -> bool:
        """Whether the server takes extended CONNECT."""
        return bool(self._h2.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL, 0))

    def ask(self, headers: list[Header]) -> None:
        """Opens the stream."""
        self._id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._id, headers)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._octets += len(data)
        try:
            events = self._h2.receive_data(data) if self._octets <= _MAX_OCTETS else []
        except h2.exceptions.ProtocolError as error:
            self._end(f"the server broke HTTP/2: {str(error)[:100]}")
            return
        for event in events:
            self._take(event)
        self._flush()
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was reset" if exc else "the connection was closed")

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                self.settled = True
            case h2.events.ResponseReceived():
                pairs = tuple((str(name), str(value)) for name, value in event.headers or ())
                status = next((value for name, value in pairs if name == ":status"), "")
                told = tuple(pair for pair in pairs if not pair[0].startswith(":"))
                self.answer = Message(start_line=f"HTTP/2 {status}", headers=told)
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, self._id)
                self._frames.feed(event.data or b"", time.monotonic())
            case h2.events.StreamReset():
                self._end(f"the stream was reset (error code {event.error_code})")
            case h2.events.StreamEnded() | h2.events.ConnectionTerminated():
                self._end("the stream was ended")

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended = how
            if self.answer is not None and not self.closes:
                ending = Ending.RESET if "reset" in how else Ending.EOF
                self._closed(ending, None, "")
        self._changed.set()

    def _closed(self, ending: Ending, code: int | None, reason: str) -> None:
        at = round(time.monotonic() - self._began, 6)
        self.closes.append(Close(sender=Sender.SERVER, ending=ending, code=code, reason=reason, at=at))

    def _flush(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(self._h2.data_to_send())

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits for something that the server does; OSError where the connection ends before."""
        while not true():
            if self.ended is not None:
                raise ConnectionError(self.ended)
            self._changed.clear()
            await self._changed.wait()

    async def changed(self, seconds: float) -> None:
        """Waits until anything has come, or for so long."""
        self._changed.clear()
        await asyncio.wait([asyncio.ensure_future(self._changed.wait())], timeout=seconds)

    # What the frame counter tells: wsprobe.frames.Sink.

    def on_close(self, payload: bytes, at: float) -> None:  # noqa: ARG002
        """A close frame."""
        code = int.from_bytes(payload[:2]) if len(payload) >= 2 else None
        self._closed(Ending.FRAME, code, payload[2:].decode("utf-8", "replace"))

    def on_ping(self, payload: bytes, at: float) -> None:
        """A ping, which is not answered: the stream is watched only for a moment."""

    def on_pong(self, payload: bytes, at: float) -> None:
        """A pong that nobody asked for."""

    def on_flaw(self, kind: str, detail: str, at: float) -> None:
        """What is no WebSocket is no business of this control."""
