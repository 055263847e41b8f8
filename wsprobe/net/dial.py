"""How the probe reaches a server: names, addresses, TLS, and how long each took."""

import asyncio
import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from wsprobe.model import Certificate, Tls

_LOOK_SECONDS = 5.0


class Phases:
    """When each phase of a connection began and ended; durations in seconds by name."""

    def __init__(self) -> None:
        self.done: dict[str, float] = {}
        self._began = time.monotonic()
        self.current = "tcp"

    def enter(self, name: str) -> None:
        """The next phase begins, so the one before is over."""
        now = time.monotonic()
        self.done[self.current] = round(now - self._began, 6)
        self._began, self.current = now, name

    def start(self, name: str) -> None:
        """The first phase begins."""
        self._began, self.current = time.monotonic(), name


class Resolver(AbstractResolver):
    """The system's resolver, with the user's own answers before it, and a note of what it said.

    `answers` maps a host and port to an address and port to connect to: what curl calls --resolve and --connect-to.
    """

    def __init__(self, answers: dict[tuple[str, int], tuple[str, int]], phases: Phases) -> None:
        self._answers = answers
        self._phases = phases
        self._system = ThreadedResolver()
        self.addresses: tuple[str, ...] = ()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host, in the order in which they are tried."""
        self._phases.start("dns")
        asked, port = self._answers.get((host.lower(), port), self._answers.get(("", port), (host, port)))
        found = await self._system.resolve(asked, port, family)
        self.addresses = tuple(dict.fromkeys(address(entry["host"], entry["port"]) for entry in found))
        self._phases.enter("tcp")
        return found

    async def close(self) -> None:
        """Nothing is held open."""


class Context(ssl.SSLContext):
    """A TLS context that notes when a handshake begins."""

    on_handshake: Callable[[], None] | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # noqa: ANN401  whatever ssl takes
        """Begins a handshake."""
        if self.on_handshake:
            self.on_handshake()
        return super().wrap_bio(*args, **kwargs)


def context(*, verify: bool, authority: str | None, certificate: str | None, key: str | None) -> Context:
    """A client's TLS context that offers HTTP/1.1 alone; OSError or ssl.SSLError where a file is not good."""
    made = Context(ssl.PROTOCOL_TLS_CLIENT)
    made.set_alpn_protocols(["http/1.1"])
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif authority:
        made.load_verify_locations(authority)
    else:
        made.load_default_certs()
    if certificate:
        made.load_cert_chain(certificate, key)
    return made


def describe(transport: asyncio.BaseTransport, sni: str | None) -> Tls | None:
    """What TLS negotiated on a connection, None where it is plain."""
    session: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if session is None:
        return None
    cipher = session.cipher()
    return Tls(
        version=session.version(),
        cipher=cipher[0] if cipher else None,
        alpn=session.selected_alpn_protocol(),
        sni=sni,
        verified=session.context.verify_mode is ssl.CERT_REQUIRED,
        certificates=tuple(read_certificate(der) for der in _chain(session)),
    )


def _chain(session: ssl.SSLObject) -> list[bytes]:
    """The certificates as presented, the server's own first; before Python 3.13 only that one is to be had."""
    if hasattr(session, "get_unverified_chain"):
        return list(session.get_unverified_chain())[:10]
    leaf = session.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def read_certificate(der: bytes) -> Certificate:
    """The parts of a certificate that explain a refusal."""
    from cryptography import x509
    from cryptography.x509.oid import ExtensionOID

    parsed = x509.load_der_x509_certificate(der)
    try:
        names = parsed.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        alternatives = tuple(str(name.value)[:256] for name in names)[:50]  # type: ignore[attr-defined]
    except (x509.ExtensionNotFound, ValueError):  # ValueError: a stranger's certificate may be malformed here
        alternatives = ()
    return Certificate(
        subject=parsed.subject.rfc4514_string()[:512],
        issuer=parsed.issuer.rfc4514_string()[:512],
        names=alternatives,
        not_before=parsed.not_valid_before_utc.isoformat(),
        not_after=parsed.not_valid_after_utc.isoformat(),
        sha256=hashlib.sha256(der).hexdigest(),
    )


async def look(host: str, port: int, sni: str) -> Tls | None:
    """What a server presents to somebody who verifies nothing; sends nothing above TLS. None where nothing came."""
    unverified = context(verify=False, authority=None, certificate=None, key=None)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=unverified, server_hostname=sni)
    except (OSError, TimeoutError):
        return None
    try:
        return describe(writer.transport, sni)
    finally:
        writer.transport.abort()


def address(host: str, port: int) -> str:
    """An address and port as they are written; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peername(transport: asyncio.BaseTransport, what: str) -> str | None:
    """One end of a connection: `peername` or `sockname`."""
    name = transport.get_extra_info(what)
    return address(str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) > 1 else None
