"""A hop recorder inside mitmproxy in reverse mode: the addon that `addons/wsprobe_hop.py` hands over.

mitmproxy's own WebSocket mode falsifies how a connection ended: a dropped TCP connection reaches the other side as a
clean 1000, and 1014 becomes 1002. So it is switched off, and the frames are read here from the bytes that pass.
Nothing but the standard library, mitmproxy and wsprobe's lower layers is imported: a stock mitmproxy has no more.
"""

import errno
import functools
import logging
import os
import re
import secrets
import socket
import time
import traceback
from asyncio import StreamReader
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from mitmproxy import http, tcp, version
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client, Connection, Server
from mitmproxy.net.http import http1
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from wsprobe import __version__
from wsprobe.model import Certificate, Failure, Observation, Peers, Recorder, Sender, Tls, TlsEnds
from wsprobe.observer import Observer, Source
from wsprobe.recordfile import RecordWriter

if TYPE_CHECKING:
    from OpenSSL import SSL

SETTINGS = {
    "websocket": False,  # see above
    "rawtcp": True,  # what follows a 101 passes at all
    "keep_host_header": True,  # the Host of the client, not the upstream's
    "keep_alt_svc_header": True,  # the server's own, not one that points to mitmproxy
    "connection_strategy": "lazy",  # a request is seen before its upstream turns out to be unreachable
    "http2": False,  # mitmproxy has no WebSockets over HTTP/2 (RFC 8441): such a client would lose its connection
}
"""What mitmproxy has to run with so that it shows everything and changes as little as it can."""

BLIND = (
    "a head that mitmproxy cannot parse",
    "1xx responses but 101",
    "what came right before a reset",
)
ALTERS = (
    "the source address",
    "ALPN: h2 is not offered",
    "white space in heads",
    "malformed heads, Upgrade: h2c and Expect: 100-continue are not passed on",
    "a reset is passed on as FIN, and half a close as a whole one",
    "over TLS the end comes without close_notify",
)

_NAME, _RECORDS = "wsprobe_hop", "wsprobe_records"
_TCP_TIMEOUT = 600  # seconds; mitmproxy 11 has no option for it
_RECEIVED_SHUTDOWN = 2  # SSL_RECEIVED_SHUTDOWN of OpenSSL's ssl.h: the peer's close_notify has come
_NO_SUCH_NAME = {socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_NONAME}
_ERRNO = re.compile(r"\[Errno (-?\d+)\] ")
_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}
_MAX_WORDS = 512
_P = ParamSpec("_P")
_Stream = Callable[[bytes], Iterable[bytes] | bytes]

logger = logging.getLogger(__name__)


class _Link:
    """One client connection: its observer, and what tells how each side ended."""

    __slots__ = ("answered", "failed", "last", "observer", "readers", "server", "tls")

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.readers: dict[Sender, StreamReader] = {}
        self.server: Server | None = None
        self.tls: dict[Sender, SSL.Connection] = {}
        self.last = time.monotonic()
        self.answered = False  # whether the head that answers the latest request has come
        self.failed = False

    def feed(self, sender: Sender, data: bytes) -> None:
        """Bytes that were received just now."""
        self.last = at = time.monotonic()
        self.observer.feed(sender, data, at)

    def silence(self) -> float:
        """Seconds since anything was received."""
        return time.monotonic() - self.last

    def fail(self, phase: str, kind: str, message: str) -> None:
        """The exchange gets no answer. The first reason is the one; what comes of it is told later."""
        if not self.failed:
            self.failed = True
            self.observer.fail(Failure(phase=phase, kind=kind, message=message[:_MAX_WORDS]))

    def endings(self, at: float) -> set[Sender]:
        """Tells the observer which sides have ended by themselves; mitmproxy's hooks don't say.

        It holds only until mitmproxy has closed the other side too, after which that looks ended as well.
        """
        ended = set()
        for sender in (Sender.SERVER, Sender.CLIENT):  # where both have ended: RFC 6455, 7.1.1 has the server go first
            reader, tls = self.readers.get(sender), self.tls.get(sender)
            if reader is None:
                continue
            if isinstance(reader.exception(), ConnectionError):
                self.observer.reset(sender, at)
            elif reader.at_eof() or reader.exception() or (tls and tls.get_shutdown() & _RECEIVED_SHUTDOWN):
                self.observer.eof(sender, at)
            else:
                continue
            ended.add(sender)
        return ended


def _counted(
    hook: Callable[Concatenate["HopRecorder", _P], None],
) -> Callable[Concatenate["HopRecorder", _P], None]:
    """A hook whose failure is counted and told; the traffic goes on either way."""

    @functools.wraps(hook)
    def guarded(self: "HopRecorder", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  evidence is lost whatever it was
            self.lose(error)

    return guarded


class HopRecorder:
    """Records what passes a mitmproxy in reverse mode.

    Its options are `wsprobe_hop`, the name of the hop, and `wsprobe_records`, the file that records are appended to.
    `on_record` is told each finished exchange, redacted, and `on_problem` in one line what is wrong with the
    recording, which never touches the traffic. `lost` counts what could not be observed or written.
    """

    name = "wsprobe_hop"

    def __init__(
        self,
        on_record: Callable[[Observation], None] | None = None,
        on_problem: Callable[[str], None] = logger.error,
    ) -> None:
        self.lost = 0
        self._on_record = on_record
        self._on_problem = on_problem
        self._writer: RecordWriter | None = None
        self._links: dict[str, _Link] = {}

    # How it starts and ends.

    def load(self, loader: Loader) -> None:
        """Declares the options, and sets those of mitmproxy that a recorder depends on."""
        self._master = loader.master
        loader.add_option(_NAME, str, "", "Name of this hop in wsprobe's records.")
        loader.add_option(_RECORDS, str, "", "File that wsprobe's records are appended to.")
        self._master.options.update(**SETTINGS)

    def configure(self, updated: set[str]) -> None:
        """Opens the records file. What is wrong is logged as one error, which ends a mitmproxy that starts."""
        if updated.isdisjoint({_NAME, _RECORDS}):
            return
        options = self._master.options
        # mitmproxy keeps options that it does not know for addons that may come later, and says nothing.
        unknown = sorted(option for option in options.deferred if option.startswith("wsprobe"))
        missing = [option for option in (_NAME, _RECORDS) if not getattr(options, option)]
        if unknown:
            self._on_problem(f"wsprobe: unknown option {', '.join(unknown)}; there are {_NAME} and {_RECORDS}")
        elif missing:
            self._on_problem(f"wsprobe: {' and '.join(missing)} not given; start mitmproxy with --set {missing[0]}=…")
        else:
            try:
                self.open(options.wsprobe_hop, Path(options.wsprobe_records).expanduser())
            except OSError as error:
                self._on_problem(f"wsprobe: {_RECORDS}={error.filename} cannot be written: {error.strerror}")
            except ValueError as error:
                self._on_problem(f"wsprobe: {error}")

    def open(self, name: str, records: Path) -> None:
        """Begins to record as hop `name`; raises OSError or ValueError as RecordWriter does."""
        writer = RecordWriter(records)
        self._close()
        self._writer = writer
        self._timeout = getattr(self._master.options, "tcp_timeout", _TCP_TIMEOUT)
        recorder = Recorder(
            kind="mitmproxy",
            version=f"{__version__} (mitmproxy {version.VERSION})",
            blind=BLIND,
            alters=(*ALTERS, f"{self._timeout} s without traffic end a connection"),
        )
        self._source = Source(name=name, instance=socket.gethostname(), recorder=recorder)

    def done(self) -> None:
        """Writes what is known of open connections, and tells what was lost."""
        at = time.monotonic()
        for link in self._links.values():
            link.observer.stop(at)
            link.observer.end(at)
            self._write(link)
        self._links.clear()
        self._close()
        if self.lost:
            self._on_problem(f"wsprobe: {_lost(self.lost)}")

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    def lose(self, error: Exception) -> None:
        """Counts a failure and logs it: the first, the second, the fourth, and so on."""
        self.lost += 1
        if not self.lost & (self.lost - 1):
            if isinstance(error, OSError):
                words = error.strerror or type(error).__name__
            else:  # the text of an exception may hold what must not be logged
                place = traceback.extract_tb(error.__traceback__)[-1]
                words = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
            self._on_problem(f"wsprobe: {_lost(self.lost)} so far, the traffic goes on: {words}")

    # Connections.

    def _link(self, client: Client) -> _Link | None:
        """The connection of a client, begun where it is new; None while nothing is recorded."""
        link = self._links.get(client.id)
        if link is None and self._writer:
            peers = Peers(client=_address(client.peername), local=_address(client.sockname))
            epoch = time.time() - time.monotonic()
            link = _Link(Observer(self._source, secrets.token_hex(8), epoch=epoch, peers=peers))
            link.readers[Sender.CLIENT] = self._reader(client, client)
            self._links[client.id] = link
        return link

    def _reader(self, client: Client, connection: Connection) -> StreamReader:
        handler = self._master.addons.get("proxyserver").connections[client.id]
        reader: StreamReader = handler.transports[connection].reader
        return reader

    def _write(self, link: _Link) -> None:
        for seen in link.observer.take():
            try:
                if self._writer:
                    observation = self._writer.write(seen)
                    if self._on_record and observation.ended is not None:
                        self._on_record(observation)
            except Exception as error:  # noqa: BLE001  the other observations may be more lucky
                self.lose(error)

    @_counted
    def client_disconnected(self, client: Client) -> None:
        """The last that is heard of a connection."""
        link = self._links.pop(client.id, None)
        if link:
            link.observer.end(time.monotonic())
            self._write(link)

    @_counted
    def server_connected(self, data: ServerConnectionHookData) -> None:
        """The upstream has taken the connection."""
        link = self._link(data.client)
        if link and link.observer.peers:
            link.observer.peers = replace(link.observer.peers, server=_address(data.server.peername))
            link.server = data.server
            link.readers[Sender.SERVER] = self._reader(data.client, data.server)

    @_counted
    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """The upstream cannot be reached."""
        link = self._link(data.client)
        if link and link.observer.peers:
            where = _address(data.server.address)
            link.observer.peers = replace(link.observer.peers, server=where)
            phase, kind, words = _unreachable(data.server.error or "")
            link.fail(phase, kind, f"{where}: {words}")

    @_counted
    def tls_established_client(self, data: TlsData) -> None:
        """The client speaks TLS."""
        self._tls(data, Sender.CLIENT, _tls(data.conn))

    @_counted
    def tls_established_server(self, data: TlsData) -> None:
        """The upstream speaks TLS, and its certificate was verified unless mitmproxy was told not to."""
        verified = None if self._master.options.ssl_insecure else True
        self._tls(data, Sender.SERVER, replace(_tls(data.conn), verified=verified, certificates=_leaf(data.conn)))

    @_counted
    def tls_failed_client(self, data: TlsData) -> None:
        """The client wanted TLS and did not get it."""
        self._tls_failed(data, Sender.CLIENT)

    @_counted
    def tls_failed_server(self, data: TlsData) -> None:
        """TLS with the upstream failed: no verified certificate, no common version, an alert."""
        self._tls_failed(data, Sender.SERVER)

    def _tls_failed(self, data: TlsData, side: Sender) -> None:
        error = (data.conn.error or "")[:_MAX_WORDS]
        bad = "verify failed" in error
        self._tls(data, side, replace(_tls(data.conn), error=error, verified=False if bad else None))
        if link := self._link(data.context.client):
            link.fail("tls", "certificate" if bad else "handshake", f"with the {side.value}: {error}")

    def _tls(self, data: TlsData, side: Sender, seen: Tls) -> None:
        link = self._link(data.context.client)
        if link:
            ends = link.observer.tls or TlsEnds()
            server = side is Sender.SERVER
            link.observer.tls = replace(ends, server=seen) if server else replace(ends, client=seen)
            if data.ssl_conn:
                link.tls[side] = data.ssl_conn

    # HTTP, and what an upgrade makes of it.

    @_counted
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request head, as it was received."""
        link = self._link(flow.client_conn)
        if link:
            link.answered = False
            if link.server and not link.server.connected:  # it ended after an earlier exchange; a new one will follow
                link.readers.pop(Sender.SERVER, None)
                link.tls.pop(Sender.SERVER, None)
                link.server = None
            link.feed(Sender.CLIENT, http1.assemble_request_head(flow.request))  # type: ignore[no-untyped-call]
            flow.request.stream = self._body(link, Sender.CLIENT, flow.request)

    @_counted
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """A response head, as it was received."""
        link = self._links.get(flow.client_conn.id)
        if link and flow.response:
            self._answer(link, flow.response)
            if not link.observer.upgraded:
                flow.response.stream = self._body(link, Sender.SERVER, flow.response)

    def _answer(self, link: _Link, response: http.Response) -> None:
        link.answered = True
        link.feed(Sender.SERVER, http1.assemble_response_head(response))  # type: ignore[no-untyped-call]
        self._write(link)

    def _body(self, link: _Link, sender: Sender, message: http.Message) -> _Stream:
        """Passes a body on as it comes, which mitmproxy would otherwise hold back, and in memory, until it is whole."""
        before = message.stream  # of another addon
        chunked = "chunked" in message.headers.get("transfer-encoding", "").lower()
        to_the_end = sender is Sender.SERVER and not chunked and "content-length" not in message.headers

        @_counted
        def observe(_: HopRecorder, data: bytes) -> None:  # no data says that the body has ended
            if chunked:
                link.feed(sender, b"%x\r\n%s\r\n" % (len(data), data))
            elif data:
                link.feed(sender, data)
            elif to_the_end:
                link.endings(time.monotonic())
            if link.observer.due:
                self._write(link)

        def stream(data: bytes) -> Iterable[bytes] | bytes:
            observe(self, data)
            return before(data) if callable(before) else data

        return stream

    @_counted
    def error(self, flow: http.HTTPFlow) -> None:
        """An exchange that mitmproxy gave up. What it then answers in its own name is nobody's response."""
        link = self._links.get(flow.client_conn.id)
        if link is None:
            return
        if flow.response and not link.answered:  # a head that mitmproxy refuses to pass on
            self._answer(link, flow.response)
        words = flow.error.msg if flow.error else ""
        ended = self._endings(link)
        if flow.response:
            pass  # how far it came tells it
        elif Sender.SERVER in ended:
            link.fail("response", "closed", "the server ended the connection before it answered")
        elif link.silence() >= self._timeout:
            link.fail("response", "timed out", f"no answer came in {self._timeout} s")
        elif not ended:
            link.fail("response", "refused", words)
        if Sender.CLIENT not in ended and not link.observer.due:
            link.observer.anomaly(Sender.LOCAL, "mitmproxy ended the exchange by itself", words, time.monotonic())
        self._write(link)

    def _endings(self, link: _Link) -> set[Sender]:
        """Which peers have ended the connection; none where mitmproxy did, which the observer is told too."""
        at = time.monotonic()
        if link.silence() >= self._timeout:  # then it closes the client's side first, which looks as if the client had
            link.observer.timeout(at)
            return set()
        ended = link.endings(at)
        if not ended:
            link.observer.stop(at)
        return ended

    @_counted
    def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """Raw bytes follow: those of an upgraded connection, or all of them in a mode that reads no HTTP."""
        self._link(flow.client_conn)

    @_counted
    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """Some bytes of one side. All but the last are dropped from the flow, which would keep them for ever."""
        link = self._links.get(flow.client_conn.id)
        message = flow.messages[-1]
        if link:
            link.feed(Sender.CLIENT if message.from_client else Sender.SERVER, message.content)
            if link.observer.due:
                self._write(link)
        del flow.messages[:-1]  # mitmproxy's own addons look at the last one after this

    @_counted
    def tcp_end(self, flow: tcp.TCPFlow) -> None:
        """Both directions have ended."""
        link = self._links.get(flow.client_conn.id)
        if link:
            self._endings(link)
            link.observer.end(time.monotonic())
            self._write(link)


def _lost(number: int) -> str:
    return "1 observation is lost or incomplete" if number == 1 else f"{number} observations are lost or incomplete"


def _address(address: tuple[str, int] | None) -> str | None:
    if address is None:
        return None
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unreachable(words: str) -> tuple[str, str, str]:
    """Phase, kind and words of a failed connect, of which mitmproxy keeps the text of the exception only."""
    codes = {int(code) for code in _ERRNO.findall(words)}
    if codes & _NO_SUCH_NAME:
        return "dns", "not found", _ERRNO.sub("", words)
    if len(codes) != 1:
        return "tcp", "failed", words
    code = codes.pop()
    return "tcp", _KINDS.get(code, "failed"), os.strerror(code)


def _tls(connection: Connection) -> Tls:
    alpn = connection.alpn.decode("latin-1") if connection.alpn else None
    return Tls(version=connection.tls_version, cipher=connection.cipher, alpn=alpn, sni=connection.sni)


def _leaf(connection: Connection) -> tuple[Certificate, ...]:
    """The server's own certificate, the first of its chain."""
    return tuple(
        Certificate(
            subject=cert.to_cryptography().subject.rfc4514_string(),
            issuer=cert.to_cryptography().issuer.rfc4514_string(),
            names=tuple(str(name.value) for name in cert.altnames),
            not_before=cert.notbefore.isoformat(),
            not_after=cert.notafter.isoformat(),
            sha256=cert.fingerprint().hex(),
        )
        for cert in connection.certificate_list[:1]
    )
