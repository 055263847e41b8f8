"""A hop recorder inside mitmproxy in reverse mode: the addon that `addons/wsprobe_hop.py` hands over.

mitmproxy's own WebSocket mode falsifies how a connection ended: a dropped TCP connection reaches the other side as a
clean 1000, and 1014 becomes 1002. So it is switched off, and the frames are read here from the bytes that pass.
Nothing but the standard library, mitmproxy and wsprobe's lower layers is imported: a stock mitmproxy has no more.
"""

import functools
import logging
import socket
import time
import traceback
from asyncio import StreamReader
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Concatenate, ParamSpec

from mitmproxy import http, tcp, version
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client, Connection
from mitmproxy.net.http import http1
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from wsprobe import __version__
from wsprobe.middleware.mitmproxy_link import Link
from wsprobe.model import Observation, Recorder, Sender
from wsprobe.observer import Source
from wsprobe.recordfile import RecordWriter

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
    "what follows a 1xx response other than 101",
    "trailers",
    "what came right before a reset",
)
ALTERS = (
    "the source address",
    "ALPN: h2 is not offered",
    "white space in heads",
    "malformed heads, Upgrade: h2c and Expect: 100-continue are not passed on",
    "a 1xx response other than 101 and trailers break the exchange",
    "a reset is passed on as FIN, and half a close as a whole one",
    "over TLS the end comes without close_notify",
)

_NAME, _RECORDS = "wsprobe_hop", "wsprobe_records"
_TCP_TIMEOUT = 600  # seconds; mitmproxy 11 has no option for it
_CUT = "mitmproxy ended the exchange by itself"
_P = ParamSpec("_P")
_Stream = Callable[[bytes], Iterable[bytes] | bytes]

logger = logging.getLogger(__name__)


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
        self._source: Source | None = None
        self._patience = _TCP_TIMEOUT
        self._links: dict[str, Link] = {}

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
        self._patience = getattr(self._master.options, "tcp_timeout", _TCP_TIMEOUT)
        recorder = Recorder(
            kind="mitmproxy",
            version=f"{__version__} (mitmproxy {version.VERSION})",
            blind=BLIND,
            alters=(*ALTERS, f"{self._patience} s without traffic end a connection"),
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
        if self._writer and self.lost:
            self._on_problem(f"wsprobe: {_lost(self.lost)}")
        self._close()

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = self._source = None

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

    def _write(self, link: Link) -> None:
        for seen in link.observer.take():
            try:
                if self._writer:
                    observation = self._writer.write(seen)
                    if self._on_record and observation.ended is not None:
                        self._on_record(observation)
            except Exception as error:  # noqa: BLE001  the other observations may be more lucky
                self.lose(error)

    def _reader(self, client: Client, connection: Connection) -> StreamReader:
        handler = self._master.addons.get("proxyserver").connections[client.id]
        reader: StreamReader = handler.transports[connection].reader
        return reader

    @_counted
    def client_connected(self, client: Client) -> None:
        """A connection begins."""
        if self._source:
            self._links[client.id] = Link(self._source, client, self._reader(client, client), self._patience)

    @_counted
    def client_disconnected(self, client: Client) -> None:
        """The last that is heard of a connection."""
        link = self._links.pop(client.id, None)
        if link:
            if not link.settled:  # what else ends an exchange has a hook of its own; the server looks ended by now
                link.settle((Sender.CLIENT,))
            link.observer.end(time.monotonic())
            self._write(link)

    @_counted
    def server_connected(self, data: ServerConnectionHookData) -> None:
        """The upstream has taken the connection."""
        if link := self._links.get(data.client.id):
            link.connected(data.server, self._reader(data.client, data.server))

    @_counted
    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """The upstream cannot be reached."""
        if link := self._links.get(data.client.id):
            link.unreachable(data.server)

    @_counted
    def tls_established_client(self, data: TlsData) -> None:
        """The client speaks TLS."""
        if link := self._links.get(data.context.client.id):
            link.secured(data)

    @_counted
    def tls_established_server(self, data: TlsData) -> None:
        """The upstream speaks TLS, and its certificate was verified unless mitmproxy was told not to."""
        if link := self._links.get(data.context.client.id):
            link.secured(data, verified=None if self._master.options.ssl_insecure else True)

    @_counted
    def tls_failed_client(self, data: TlsData) -> None:
        """The client wanted TLS and did not get it."""
        if link := self._links.get(data.context.client.id):
            link.not_secured(data)

    @_counted
    def tls_failed_server(self, data: TlsData) -> None:
        """TLS with the upstream failed: no verified certificate, no common version, an alert."""
        if link := self._links.get(data.context.client.id):
            link.not_secured(data)

    # HTTP.

    @_counted
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request head, as it was received."""
        if link := self._links.get(flow.client_conn.id):
            link.ask(http1.assemble_request_head(flow.request))  # type: ignore[no-untyped-call]
            flow.request.stream = self._body(link, Sender.CLIENT, flow.request)

    @_counted
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """A response head, as it was received."""
        link = self._links.get(flow.client_conn.id)
        if link and flow.response:
            self._answer(link, flow.response)
            if not link.observer.upgraded:
                flow.response.stream = self._body(link, Sender.SERVER, flow.response)

    def _answer(self, link: Link, response: http.Response) -> None:
        link.answer(http1.assemble_response_head(response))  # type: ignore[no-untyped-call]
        if 100 <= response.status_code < 200 and not link.observer.upgraded:
            words = f"{response.status_code} taken for the answer"
            link.observer.anomaly(Sender.LOCAL, _CUT, words, link.heard)
        self._write(link)

    def _body(self, link: Link, sender: Sender, message: http.Message) -> _Stream:
        """Passes a body on as it comes, which mitmproxy would otherwise hold back, and in memory, until it is whole."""
        before = message.stream  # of another addon

        def stream(data: bytes) -> Iterable[bytes] | bytes:
            self._piece(link, sender, message, data)
            return before(data) if callable(before) else data

        return stream

    @_counted
    def _piece(self, link: Link, sender: Sender, message: http.Message, data: bytes) -> None:
        """A piece of a body without its framing; an empty one says that the body has ended."""
        if "chunked" in message.headers.get("transfer-encoding", "").lower():
            link.feed(sender, b"%x\r\n%s\r\n" % (len(data), data))
        elif data:
            link.feed(sender, data)
        elif sender is Sender.SERVER and "content-length" not in message.headers:
            link.ended(sender)  # and with it the body
        if link.observer.due:
            self._write(link)

    @_counted
    def error(self, flow: http.HTTPFlow) -> None:
        """An exchange that mitmproxy gave up. What it then answers in its own name is nobody's response."""
        link = self._links.get(flow.client_conn.id)
        if link is None:
            return
        timed_out = link.silent
        words = f"nothing came for {self._patience} s" if timed_out else flow.error.msg if flow.error else ""
        if flow.response and not link.answered:  # a head that mitmproxy refuses to pass on
            link.observer.anomaly(Sender.LOCAL, _CUT, words, time.monotonic())
            self._answer(link, flow.response)
        ended = link.settle()
        if not flow.response and Sender.SERVER in ended:
            link.fail("response", "closed", "the server ended the connection before it answered")
        elif not flow.response and not ended:
            link.fail("response", "timed out" if timed_out else "refused", words)
        if Sender.CLIENT not in ended and not link.observer.due:  # what is due is told without it
            link.observer.anomaly(Sender.LOCAL, _CUT, words, time.monotonic())
        self._write(link)

    # What an upgrade makes of the connection, and all of it in a mode that reads no HTTP.

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
        if link := self._links.get(flow.client_conn.id):
            link.settle()
            link.observer.end(time.monotonic())
            self._write(link)


def _lost(number: int) -> str:
    return "1 observation is lost or incomplete" if number == 1 else f"{number} observations are lost or incomplete"
