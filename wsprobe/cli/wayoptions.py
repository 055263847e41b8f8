"""The way that a connection takes: addresses, a proxy, TLS; the names are curl's."""

import argparse
import ipaddress
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError
from wsprobe.net.address import is_literal

if TYPE_CHECKING:
    from yarl import URL

_RESOLVE = re.compile(r"([^:\s]+):(\d{1,5}):\[?([0-9A-Fa-f.:]+?)\]?")
_CONNECT_TO = re.compile(r"([^:\s]*):(\d{0,5}):(\[[0-9A-Fa-f:.]+\]|[^:\s\[\]]+):(\d{1,5})")
_MAX_PORT = 65535


def way_arguments(parser: argparse.ArgumentParser) -> None:
    """How the server is reached."""
    group = parser.add_argument_group("the way")
    add = group.add_argument
    add("--location", action="store_true", help="follow redirections; without credentials on another host")
    add("--resolve", metavar="HOST:PORT:ADDR", action="append", default=[], help="this address for that host and port")
    add("--connect-to", metavar="H1:P1:H2:P2", action="append", default=[], help="connect to H2:P2 for H1:P1")
    add("--cacert", metavar="FILE", type=Path, help="authorities to trust, in PEM")
    add("--cert", metavar="FILE", type=Path, help="a client certificate, in PEM")
    add("--key", metavar="FILE", type=Path, help="its key, in PEM")
    add("-k", "--insecure", action="store_true", help="do not verify the certificate")
    add("-x", "--proxy", metavar="URL", help="an HTTP proxy to go through, by CONNECT")
    only = group.add_mutually_exclusive_group().add_argument
    only("-4", "--ipv4", dest="family", action="store_const", const=socket.AF_INET, help="IPv4 only")
    only("-6", "--ipv6", dest="family", action="store_const", const=socket.AF_INET6, help="IPv6 only")


def check_tls(options: argparse.Namespace, url: "URL") -> None:
    """Refuses what contradicts itself, and files that cannot be used, before anything is sent."""
    if options.insecure and options.cacert:
        raise UsageError("--insecure and --cacert contradict each other: one verifies, the other does not")
    if options.key and not options.cert:
        raise UsageError("--key needs --cert")
    if url.scheme == "ws" and not options.location:
        if options.cert or options.cacert:
            raise UsageError("--cert and --cacert are for wss: this URL is not encrypted")
        return
    from wsprobe.net.attempt import context_for

    try:
        context_for(options.cacert, verify=not options.insecure, certificate=options.cert, key=options.key)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def answers(options: argparse.Namespace, url: "URL") -> dict[tuple[str, int], tuple[str, int]]:
    """Where to connect to for a host and port, as curl's --resolve and --connect-to have it."""
    host = url.host or ""
    found: dict[tuple[str, int], tuple[str, int]] = {}
    for line in options.resolve:
        match = _RESOLVE.fullmatch(line)
        if not match or not is_literal(match[3]) or not 0 < int(match[2]) <= _MAX_PORT:
            raise UsageError(f"--resolve {line!r} is not HOST:PORT:ADDRESS")
        found[match[1].lower(), int(match[2])] = (match[3], int(match[2]))
    for line in options.connect_to:
        match = _CONNECT_TO.fullmatch(line)
        if not match or not 0 < int(match[4]) <= _MAX_PORT:
            raise UsageError(f"--connect-to {line!r} is not HOST1:PORT1:HOST2:PORT2")
        key = (match[1].lower() or host.lower(), int(match[2]) if match[2] else (url.port or 0))
        found[key] = (match[3].strip("[]"), int(match[4]))
    if found and is_literal(host):
        raise UsageError("--resolve and --connect-to need a URL with a name: this one has an address")
    return found


def family(options: argparse.Namespace, url: "URL") -> socket.AddressFamily:
    """IPv4, IPv6 or whatever comes; UsageError where the URL has an address of the other kind."""
    wanted: socket.AddressFamily = options.family or socket.AF_UNSPEC
    host = url.host or ""
    version = ipaddress.ip_address(host).version if is_literal(host) else None
    if (wanted, version) in {(socket.AF_INET, 6), (socket.AF_INET6, 4)}:
        raise UsageError(f"-{4 if version == 6 else 6}: the URL has an address of IPv{version}")
    return wanted


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that no pace has to be kept."""
    return host == "localhost" or (is_literal(host) and ipaddress.ip_address(host).is_loopback)
