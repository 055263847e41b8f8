"""Addresses as the command line takes them and as a record shows them."""

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_MAX_PORT = 65535


class Upstream(NamedTuple):
    """Where a recorder passes connections on to."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{shown((self.host, self.port))}"


def parse_upstream(url: str) -> Upstream:
    """The server that a URL names; ValueError in one line where it names none, or more than a relay can heed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:  # a port that is no number, brackets that do not match
        raise ValueError(f"not a URL: {error}") from None
    if parts.scheme not in _PORTS or not host:
        raise ValueError("not a URL of http, https, ws or wss with a host, such as http://127.0.0.1:8080")
    if "@" in parts.netloc:
        raise ValueError("a relay passes on the credentials that the client sends: leave those in the URL out")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("a relay changes no path: give scheme, host and port only")
    if port == 0 or not _is_host(host):
        raise ValueError("not a host and port that one can connect to")
    return Upstream(host, port or _PORTS[parts.scheme], parts.scheme in {"https", "wss"})


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port to listen on, as in 127.0.0.1:8080 or [::1]:0; ValueError in one line where they are none."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets, as in [::1]:8080")
    if not colon or not host or not _is_host(host):
        raise ValueError("not HOST:PORT, such as 127.0.0.1:8080; 0.0.0.0 is every address of this host")
    if not (port.isascii() and port.isdigit()) or len(port) > len(str(_MAX_PORT)) or int(port) > _MAX_PORT:
        raise ValueError("the port is not a number from 0 to 65535; 0 is any free one")
    return host, int(port)


def shown(address: object) -> str | None:
    """`host:port` of a socket address, IPv6 in brackets; None for what is no such address (a closed socket)."""
    if not isinstance(address, tuple) or len(address) < 2:
        return None
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_literal(host: str) -> bool:
    """Whether a host is an address, so that no name has to be resolved."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    """Whether a name can be looked up at all: the codec that the resolver uses refuses some."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host
