"""One client connection of a mitmproxy: what is observed on it, and how mitmproxy's words become the records'."""

import errno
import ipaddress
import os
import re
import secrets
import socket
import time
from asyncio import StreamReader
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from mitmproxy.certs import Cert
from mitmproxy.connection import Connection, Server
from mitmproxy.tls import TlsData

from wsprobe.model import Certificate, Failure, Peers, Sender, Tls, TlsEnds
from wsprobe.observer import Observer, Source

if TYPE_CHECKING:
    from OpenSSL import SSL

_BOTH = (Sender.SERVER, Sender.CLIENT)  # where both have ended: RFC 6455, 7.1.1 has the server go first
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
_MAX_NAMES = 64


class Link:
    """A client's connection and what it is passed on to; `patience` is after how many silent seconds mitmproxy ends it.

    mitmproxy's hooks tell neither who ended a connection nor how. The stream readers that it reads from do: a FIN
    and a RST stand there until mitmproxy has closed that side itself, and a close_notify in the TLS connection.
    """

    __slots__ = ("_failed", "_patience", "_readers", "_server", "_tls", "answered", "heard", "observer", "settled")

    def __init__(self, source: Source, client: Connection, reader: StreamReader, patience: float) -> None:
        peers = Peers(client=_address(client.peername), local=_address(client.sockname))
        epoch = time.time() - time.monotonic()
        self.observer = Observer(source, secrets.token_hex(8), epoch=epoch, peers=peers)
        self.answered = False  # whether the head that answers the latest request has come
        self.heard = time.monotonic()
        self.settled = False  # whether it was found out who ended the connection
        self._failed = False
        self._patience = patience
        self._readers = {Sender.CLIENT: reader}
        self._server: Server | None = None
        self._tls: dict[Sender, SSL.Connection] = {}

    @property
    def silent(self) -> bool:
        """Whether mitmproxy ends the connection now because nothing came for so long."""
        return time.monotonic() - self.heard >= self._patience

    def feed(self, sender: Sender, data: bytes) -> None:
        """Bytes that were received just now."""
        self.heard = at = time.monotonic()
        self.observer.feed(sender, data, at)

    def ask(self, head: bytes) -> None:
        """A request head."""
        self.answered = False
        if self._server and not self._server.connected:  # it ended after an earlier exchange: a new one will follow
            self._server = None
            self._readers.pop(Sender.SERVER, None)
            self._tls.pop(Sender.SERVER, None)
        self.feed(Sender.CLIENT, head)

    def answer(self, head: bytes) -> None:
        """A response head."""
        self.answered = True
        self.feed(Sender.SERVER, head)

    def connected(self, server: Server, reader: StreamReader) -> None:
        """The upstream has taken the connection."""
        self._server = server
        self._readers[Sender.SERVER] = reader
        self._goes_to(_address(server.peername))

    def unreachable(self, server: Server) -> None:
        """The upstream has not taken the connection."""
        where = _address(server.address)
        self._goes_to(where)
        phase, kind, words = _unreachable(server.error or "")
        self.fail(phase, kind, f"{where}: {words}")

    def _goes_to(self, where: str | None) -> None:
        if self.observer.peers:
            self.observer.peers = replace(self.observer.peers, server=where)

    def secured(self, data: TlsData, *, verified: bool | None = None) -> None:
        """TLS with one side stands."""
        side = self._side(data)
        certificates = _leaf(data.conn) if side is Sender.SERVER else ()
        self._speaks(side, replace(_tls(data.conn), verified=verified, certificates=certificates))
        if data.ssl_conn:
            self._tls[side] = data.ssl_conn

    def not_secured(self, data: TlsData) -> None:
        """TLS with one side failed."""
        side, error = self._side(data), (data.conn.error or "")[:_MAX_WORDS]
        bad = "verify failed" in error
        self._speaks(side, replace(_tls(data.conn), error=error, verified=False if bad else None))
        self.fail("tls", "certificate" if bad else "handshake", f"with the {side.value}: {error}")

    def _side(self, data: TlsData) -> Sender:
        return Sender.CLIENT if data.conn == data.context.client else Sender.SERVER

    def _speaks(self, side: Sender, tls: Tls) -> None:
        ends = self.observer.tls or TlsEnds()
        self.observer.tls = replace(ends, server=tls) if side is Sender.SERVER else replace(ends, client=tls)

    def fail(self, phase: str, kind: str, message: str) -> None:
        """The exchange gets no answer. The first reason is the one: others follow from it."""
        if not self._failed:
            self._failed = True
            self.observer.fail(Failure(phase=phase, kind=kind, message=message[:_MAX_WORDS]))

    def settle(self, sides: Iterable[Sender] = _BOTH) -> set[Sender]:
        """Finds out which of `sides` have ended, none of them where mitmproxy did, and tells the observer."""
        self.settled = True
        if self.silent:  # then mitmproxy closes the client's side first, which looks as if the client had
            self.observer.timeout(time.monotonic())
            return set()
        ended = {side for side in sides if self.ended(side)}
        if not ended:
            self.observer.stop(time.monotonic())
        return ended

    def ended(self, side: Sender) -> bool:
        """Whether one side has ended by itself, which the observer is told."""
        reader, tls = self._readers.get(side), self._tls.get(side)
        if reader is None:
            return False
        if isinstance(reader.exception(), ConnectionError):
            self.observer.reset(side, time.monotonic())
        elif reader.at_eof() or reader.exception() or (tls and tls.get_shutdown() & _RECEIVED_SHUTDOWN):
            self.observer.eof(side, time.monotonic())
        else:
            return False
        return True


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
    if len(codes) != 1:  # several addresses, each with a reason of its own
        return "tcp", "failed", words
    code = codes.pop()
    return "tcp", _KINDS.get(code, "failed"), os.strerror(code)


def _tls(connection: Connection) -> Tls:
    alpn = connection.alpn.decode("latin-1") if connection.alpn else None
    sni = None if _is_literal(connection.sni or "") else connection.sni  # RFC 6066, 3: an address is never sent
    return Tls(version=connection.tls_version, cipher=connection.cipher, alpn=alpn, sni=sni)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _leaf(connection: Connection) -> tuple[Certificate, ...]:
    """The server's own certificate, the first of its chain."""
    return tuple(
        Certificate(
            subject=_distinguished(cert.subject),
            issuer=_distinguished(cert.issuer),
            names=_names(cert),
            not_before=cert.notbefore.isoformat(),
            not_after=cert.notafter.isoformat(),
            sha256=cert.fingerprint().hex(),
        )
        for cert in connection.certificate_list[:1]
    )


def _names(cert: Cert) -> tuple[str, ...]:
    try:
        return tuple(str(name.value)[:_MAX_WORDS] for name in cert.altnames)[:_MAX_NAMES]
    except ValueError:  # a stranger's certificate may be malformed here
        return ()


def _distinguished(name: list[tuple[str, str]]) -> str:
    """A name as RFC 4514, 2.1 orders it, the most specific part first."""
    return ",".join(f"{kind}={value}" for kind, value in reversed(name))[:_MAX_WORDS]
