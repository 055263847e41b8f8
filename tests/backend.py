"""A raw TCP origin for tests: it keeps every request head as it came, and answers as the test wants."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from tests import wire

_SECONDS = 30  # that a connection may be silent
_LINGER = 3  # seconds that the peer gets to end its direction after ours
_KEPT = 1 << 20  # octets of what a peer sends that are kept


@dataclass(frozen=True, slots=True)
class Request:
    """A request head as it was received, octets as latin-1."""

    start_line: str
    headers: list[tuple[str, str]]

    def get(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(slots=True)
class Exchange:
    """One connection: its request, what came after it (the first 1 MiB) and how the peer ended it.

    `ended` is "eof", "reset", or "open" where the peer did not end it in time; it is set when `done` is.
    """

    conn: socket.socket
    request: Request
    received: bytearray
    ended: str = "open"
    done: threading.Event = field(default_factory=threading.Event)

    def send(self, data: bytes) -> None:
        """Sends raw bytes."""
        self.conn.sendall(data)

    def chunks(self) -> Iterator[bytes]:
        """What the peer sent after the head, as it comes, to the end of its direction."""
        yield bytes(self.received)
        while chunk := self.conn.recv(65536):
            self.received += chunk[: _KEPT - len(self.received)]
            yield chunk
        self.ended = "eof"

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """The peer's frames, the close frame being the last one."""
        for opcode, payload in wire.frames(self.chunks()):
            yield opcode, payload
            if opcode == wire.CLOSE:
                return

    def reset(self) -> None:
        """Ends the connection with a RST."""
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.conn.close()


Answer = Callable[[Exchange], None]


class Backend:
    """Listens on a free port of 127.0.0.1 while the `with` block runs; `answer` is called once per connection.

    When it returns, the connection is closed as RFC 6455, 7.1.1 has it: the server first, after what was sent.
    """

    def __init__(self, answer: Answer) -> None:
        self.exchanges: list[Exchange] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._serving: list[threading.Thread] = []

    @property
    def requests(self) -> list[Request]:
        """The request of every connection so far."""
        return [exchange.request for exchange in self.exchanges]

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which a close does not
        self._accepting.join(_LINGER)
        self._listener.close()
        for conn in tuple(self._open):
            with contextlib.suppress(OSError):  # it ended by itself meanwhile
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self._serving:
            thread.join(_LINGER)
        left = sum(thread.is_alive() for thread in [self._accepting, *self._serving])
        assert not left, f"{left} threads of the backend on port {self.port} did not end"

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:  # the listener was shut down: the test is over
                return
            self._open.add(conn)
            self._serving.append(threading.Thread(target=self._serve, args=(conn,), daemon=True))
            self._serving[-1].start()

    def _serve(self, conn: socket.socket) -> None:
        conn.settimeout(_SECONDS)
        with conn, contextlib.suppress(OSError):  # a peer that leaves before its head is whole is no request
            head, rest = wire.read_head(conn)
            if head:
                self._run(Exchange(conn, _parse(head), bytearray(rest[:_KEPT])))
        self._open.discard(conn)

    def _run(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        try:
            self._answer(exchange)
            exchange.conn.settimeout(_LINGER)
            exchange.conn.shutdown(socket.SHUT_WR)
            for _ in exchange.chunks():
                pass  # bytes that are left unread would turn the close into a RST
        except ConnectionResetError:
            exchange.ended = "reset"
        except OSError:
            pass  # the peer left during an answer, the time is over or the test is; `ended` says which end was seen
        finally:
            exchange.done.set()


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port of 127.0.0.1 on which every connection is refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: no one else can get it
        yield bound.getsockname()[1]


def switching(request: Request) -> bytes:
    """The 101 that accepts an upgrade, with the first subprotocol that was offered."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {wire.accept(request.get('sec-websocket-key') or '')}",
    ]
    if offered := request.get("sec-websocket-protocol"):
        lines.append(f"Sec-WebSocket-Protocol: {offered.split(',')[0].strip()}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def plain(status: str, body: str = "") -> bytes:
    """An ordinary response that ends the connection."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def needs_token(exchange: Exchange) -> None:
    """The incident's application: 101 for every upgrade, then 1011 without a token and 1000 with one.

    A plain request gets 200 with a token and 401 without; an upgrade that lost its Upgrade header gets 426.
    """
    request = exchange.request
    token = request.get("authorization")
    if not request.get("sec-websocket-key"):
        exchange.send(plain("200 OK", "hello") if token else plain("401 Unauthorized"))
    elif (request.get("upgrade") or "").lower() != "websocket":
        exchange.send(plain("426 Upgrade Required"))
    else:
        last = wire.close(1000, "done") if token else wire.close(1011, "Internal error")
        exchange.send(switching(request) + last)
        for _ in exchange.frames():
            pass  # the peer's close frame ends the handshake (7.1.4)


def stay_open(exchange: Exchange) -> None:
    """101, and then nothing until the peer ends the connection."""
    exchange.send(switching(exchange.request))
    for _ in exchange.chunks():
        pass  # what the peer sends is kept and not answered


def echo(exchange: Exchange) -> None:
    """101, then every message comes back, a ping as a pong, and a close frame with its own code."""
    exchange.send(switching(exchange.request))
    for opcode, payload in exchange.frames():
        exchange.send(wire.frame(wire.PONG if opcode == wire.PING else opcode, payload))


def _parse(head: bytes) -> Request:
    start_line, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Request(start_line, [(name, value.strip(" \t")) for name, _, value in pairs])
