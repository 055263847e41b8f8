"""How the probe reaches a server: name, addresses, a proxy's tunnel, TLS, and how long each of them took."""

import asyncio
import base64
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import aiohttp
from aiohappyeyeballs import AddrInfoType, start_connection
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from wsprobe.heads import HeadReader, status
from wsprobe.model import Tls
from wsprobe.net.address import is_literal, shown
from wsprobe.net.certificates import presented
from wsprobe.net.tee import ListenerFor, client_factory
from wsprobe.net.tls import dialling, negotiated, reason
from wsprobe.net.upstream import CONNECT_SECONDS, Factory, Unreachable, no_tcp

if TYPE_CHECKING:
    from aiohttp.client import ClientTimeout
    from aiohttp.tracing import Trace

_LOOK_SECONDS = 5.0
_NEXT_ADDRESS_SECONDS = 0.25  # RFC 8305, 5
_SHUTDOWN_SECONDS = 2.0
_MAX_PROXY_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a connection goes: `host` and `port` are what is connected to, `name` is whom TLS has to meet there.

    `context` is None without TLS. `proxy` is an HTTP proxy, which is asked for a tunnel also to a server without TLS
    (RFC 6455, 4.1).
    """

    host: str
    port: int
    name: str
    context: ssl.SSLContext | None = None
    family: socket.AddressFamily = socket.AF_UNSPEC
    proxy: URL | None = None


@dataclass(slots=True)
class Progress:
    """How far a connection has come: `phase` is the one that goes on, `took` the seconds of those that are over.

    `addresses` are what the name resolved to, in the order in which they are tried.
    """

    phase: str = "tcp"
    took: dict[str, float] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    _began: float = field(default_factory=time.monotonic)

    def enter(self, phase: str) -> None:
        """The next phase begins, so the one before is over."""
        now = time.monotonic()
        self.took[self.phase] = round(now - self._began, 6)
        self.begin(phase, now)

    def begin(self, phase: str, now: float | None = None) -> None:
        """A phase begins; the time before it belongs to none."""
        self.phase, self._began = phase, time.monotonic() if now is None else now


class Dial(aiohttp.BaseConnector):
    """aiohttp's connector of one connection, which takes the way that the user wants and says where it ends.

    aiohttp's own sends no CONNECT for a server without TLS, and tells a failed phase in one word. It raises
    Unreachable.
    """

    def __init__(self, way: Way, progress: Progress, listener_for: ListenerFor) -> None:
        super().__init__(force_close=True)
        self._way = way
        self._progress = progress
        self._listener_for = listener_for

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,  # noqa: ARG002  the way is known without it
        traces: "list[Trace]",  # noqa: ARG002
        timeout: "ClientTimeout",  # noqa: ARG002, ASYNC109  each phase has its own
    ) -> ResponseHandler:
        _, protocol = await reach(self._way, self._progress, client_factory(self._listener_for))
        self._progress.enter("request")
        return cast("ResponseHandler", protocol)


async def reach(way: Way, progress: Progress, factory: Factory) -> tuple[asyncio.Transport, asyncio.Protocol]:
    """A connection to the server, through the proxy and with TLS where there are such. Unreachable where it fails."""
    infos = await _resolved(way, progress)
    progress.enter("tcp") if progress.phase == "dns" else progress.begin("tcp")
    connection = await _connected(way, infos)
    try:
        if way.proxy:
            progress.enter("proxy")
            async with _limit("proxy", f"the proxy at {shown(connection.getpeername())} did not answer CONNECT"):
                await _tunnel(way, way.proxy, connection)
        if way.context is None:
            return await asyncio.get_running_loop().create_connection(factory, sock=connection)
        progress.enter("tls")
        async with _limit("tls", "the handshake was not done"):
            return await _secured(way, way.context, connection, factory)
    except BaseException:
        connection.close()
        raise


@contextlib.asynccontextmanager
async def _limit(phase: str, what: str) -> AsyncIterator[None]:
    """Bounds one phase."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            yield
    except TimeoutError:
        raise Unreachable(phase, "timed out", f"{what} in {CONNECT_SECONDS:g} s") from None


async def _resolved(way: Way, progress: Progress) -> list[AddrInfoType]:
    host, port = (way.proxy.host or "", way.proxy.port or 80) if way.proxy else (way.host, way.port)
    if not is_literal(host):
        progress.begin("dns")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, family=way.family, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Unreachable("dns", "timed out", f"no answer about {host} in {CONNECT_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that the codec for names refuses
        words = getattr(error, "strerror", None) or "not a name that can be looked up"
        raise Unreachable("dns", "not found", f"{host}: {words}") from None
    progress.addresses = tuple(dict.fromkeys(shown(info[4]) or "" for info in infos))
    return list(infos)


async def _connected(way: Way, infos: list[AddrInfoType]) -> socket.socket:
    """TCP to the address that answers first, each getting a head start (RFC 8305)."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1)
    except OSError as error:
        if not error.errno and not isinstance(error, TimeoutError):  # several addresses, each with its own reason
            error = OSError("none of them took the connection")
        failed = no_tcp(error, ", ".join(dict.fromkeys(shown(info[4]) or "" for info in infos)))
    failure = failed.failure
    raise Unreachable("proxy", failure.kind, f"the proxy at {failure.message}") if way.proxy else failed


async def _tunnel(way: Way, proxy: URL, connection: socket.socket) -> None:
    """CONNECT (RFC 9110, 9.3.6)."""
    loop, target = asyncio.get_running_loop(), shown((way.host, way.port))
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        pair = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    head, rest, size = HeadReader(), None, 0
    try:
        await loop.sock_sendall(connection, "\r\n".join([*lines, "", ""]).encode())
        while rest is None and size < _MAX_PROXY_HEAD:
            data = await loop.sock_recv(connection, 4096)
            size += len(data)
            rest = head.feed(data)
            if not data:
                break
    except OSError as error:
        raise Unreachable("proxy", "closed", f"the proxy closed the connection: {error.strerror or error}") from None
    line = head.head().start_line
    code = status(line)
    if rest is None:
        raise Unreachable("proxy", "malformed", "the proxy gave no whole answer to CONNECT")
    if code is None or not 200 <= code < 300:  # 2xx is the tunnel
        raise Unreachable("proxy", "refused", f"the proxy answered CONNECT {target} with {line[:200]!r}")
    if rest:
        raise Unreachable("proxy", "malformed", "the proxy sent data before the tunnel was used")


async def _secured(
    way: Way, context: ssl.SSLContext, connection: socket.socket, factory: Factory
) -> tuple[asyncio.Transport, asyncio.Protocol]:
    try:
        return await asyncio.get_running_loop().create_connection(
            factory,
            sock=connection,
            ssl=context,
            server_hostname=way.name,
            ssl_handshake_timeout=2 * CONNECT_SECONDS,  # longer than the one that is told
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )
    except TimeoutError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise Unreachable("tls", "certificate", reason(error)) from None
    except (OSError, ValueError) as error:  # ValueError: a name that no certificate can have
        raise Unreachable("tls", "handshake", reason(error)) from None


def session_of(transport: asyncio.BaseTransport, name: str) -> Tls | None:
    """What TLS agreed on, with the certificates presented; None on a connection without TLS."""
    session: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if session is None:
        return None
    verified = session.context.verify_mode is ssl.CERT_REQUIRED
    return negotiated(
        session,
        sni=None if is_literal(name) else name,
        verified=verified,
        error=None if verified else "not verified, as --insecure wants it",
        certificates=presented(session),
    )


async def look(way: Way) -> Tls | None:
    """What a server presents to somebody who verifies nothing; sends nothing above TLS. None where nothing came.

    A refused certificate is not shown by the handshake that refused it.
    """
    unverified = replace(way, context=dialling(None, verify=False))
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            transport, _ = await reach(unverified, Progress(), asyncio.Protocol)
    except (Unreachable, TimeoutError):
        return None
    try:
        return session_of(transport, way.name)
    finally:
        transport.abort()
