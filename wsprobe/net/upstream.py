"""Connects a recorder to its upstream, and says why where it cannot."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from wsprobe.model import Failure, Tls
from wsprobe.net.address import Upstream, is_literal, shown
from wsprobe.net.tls import dialling, negotiated, reason

CONNECT_SECONDS = 10.0
"""How long name resolution, TCP and TLS may each take."""

Factory = Callable[[], asyncio.Protocol]

_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}


class Unreachable(Exception):  # noqa: N818  an outcome that is recorded, not an error of the recorder
    """The upstream could not be reached."""

    def __init__(self, phase: str, kind: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(phase=phase, kind=kind, message=message)


def no_tcp(error: OSError, where: str | None) -> Unreachable:
    """What came of a TCP connection that `where` did not take, or not in time."""
    if isinstance(error, TimeoutError):
        return Unreachable("tcp", "timed out", f"{where} did not answer in {CONNECT_SECONDS:g} s")
    words = os.strerror(error.errno) if error.errno else str(error)
    return Unreachable("tcp", _KINDS.get(error.errno or 0, "failed"), f"{where}: {words}")


class Dialler:
    """Opens connections to one upstream. OSError or ValueError where `authorities` cannot be used.

    With `insecure` a certificate that does not verify is no hindrance; the reason is still found out and told.
    `address` is the upstream's as host:port, None where the host is a name.
    """

    def __init__(self, upstream: Upstream, *, authorities: Path | None = None, insecure: bool = False) -> None:
        self._upstream = upstream
        self.address = shown((upstream.host, upstream.port)) if is_literal(upstream.host) else None
        self._sni = None if self.address else upstream.host
        self._strict = dialling(authorities, verify=True) if upstream.tls else None
        self._lax = dialling(authorities, verify=False) if upstream.tls and insecure else None
        self._refused: dict[bytes, str] = {}  # why certificates do not verify, by the SHA-256 of the certificate

    async def __call__(self, factory: Factory) -> Tls | None:
        """Connects; `factory` makes the protocol, whose `connection_made` has run when this returns.

        Unreachable where that fails.
        """
        loop = asyncio.get_running_loop()
        if self._strict:
            return await self._secured(loop, self._strict, factory)
        if self.address:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await loop.create_connection(factory, self._upstream.host, self._upstream.port)
            except OSError as error:
                raise self._failed(error) from None
        else:
            await loop.create_connection(factory, sock=await self._connected(loop))
        return None

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """A TCP connection to the first address that takes it."""
        host, port = self._upstream.host, self._upstream.port
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise Unreachable("dns", "timed out", f"no answer about {host} in {CONNECT_SECONDS:g} s") from None
        except OSError as error:
            raise Unreachable("dns", "not found", f"{host}: {error.strerror or error}") from None
        failures = []
        for family, kind, protocol, _, address in found:
            try:
                return await _tcp(loop, socket.socket(family, kind, protocol), address)
            except OSError as error:
                failures.append(self._failed(error, address))
        raise failures[0]

    async def _secured(self, loop: asyncio.AbstractEventLoop, strict: ssl.SSLContext, factory: Factory) -> Tls:
        """A TLS connection. Where the certificate does not verify and need not, once more without verifying.

        Which certificates those are is remembered, so that the server sees the handshake that fails only once.
        """
        why = ""
        if self._lax is None or not self._refused:
            try:
                secured = await self._handshake(loop, strict, factory)
            except ssl.SSLCertVerificationError as error:
                why = reason(error)
                if self._lax is None:
                    raise Unreachable("tls", "certificate", why) from None
            else:
                return negotiated(secured, sni=self._sni, verified=True)
        secured = await self._handshake(loop, self._lax, factory)
        presented = sha256(secured.getpeercert(binary_form=True) or b"").digest()
        if why:
            self._refused = {presented: why}
        elif presented not in self._refused:
            self._refused = {}  # another certificate: the next connection tells what is wrong with it
        why = self._refused.get(presented, "not verified, as --insecure wants it")
        return negotiated(secured, sni=self._sni, verified=False, error=why)

    async def _handshake(
        self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext, factory: Factory
    ) -> ssl.SSLObject:
        connection = await self._connected(loop)
        try:
            transport, _ = await loop.create_connection(
                factory,
                sock=connection,
                ssl=context,
                server_hostname=self._upstream.host,
                ssl_handshake_timeout=CONNECT_SECONDS,
            )
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            raise Unreachable("tls", "handshake", reason(error)) from None
        secured: ssl.SSLObject = transport.get_extra_info("ssl_object")
        return secured

    def _failed(self, error: OSError, address: object = None) -> Unreachable:
        return no_tcp(error, shown(address or (self._upstream.host, self._upstream.port)))


async def _tcp(loop: asyncio.AbstractEventLoop, connection: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    connection.setblocking(False)  # noqa: FBT003  the name of the method says it
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.sock_connect(connection, address)
    except BaseException:  # also where the relay stops or the client left
        connection.close()
        raise
    return connection
