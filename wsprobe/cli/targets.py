"""The addresses that one trace connects to: those of the name, or those that the user lists."""

import argparse
import asyncio
import socket
import sys
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError, one_line
from wsprobe.cli.headeroptions import read_text
from wsprobe.net.address import is_literal

if TYPE_CHECKING:
    from wsprobe.net.attempt import Attempt

MOST = 256
"""Addresses that one run connects to at most."""

_MAX_OCTETS = 64 * 1024
_MAX_PORT = 65535

Target = tuple[str, int]


def targets(options: argparse.Namespace, attempt: "Attempt") -> tuple[Target, ...]:
    """Each address and port to connect to; none where the name alone decides. UsageError for what is no address."""
    if options.addresses is not None:
        return _listed(options.addresses, attempt.url.port or 0)
    return _resolved(attempt) if options.each_address else ()


def _listed(file: str, port: int) -> tuple[Target, ...]:
    text = sys.stdin.read(_MAX_OCTETS + 1) if file == "-" else read_text(file)
    where = "stdin" if file == "-" else file
    found: list[Target] = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word:
            target = _parsed(word, port)
            if target is None:
                raise UsageError(
                    f"{where}:{number}: {one_line(word)[:80]!r} is no address: HOST or HOST:PORT, IPv6 in []"
                )
            found.append(target)
    unique = tuple(dict.fromkeys(found))
    if not unique:
        raise UsageError(f"{where}: there is no address in it")
    if len(unique) > MOST:
        raise UsageError(f"{where}: more than {MOST} addresses")
    return unique


def _parsed(word: str, port: int) -> Target | None:
    host, colon, digits = word.rpartition(":")
    if (word.startswith("[") and word.endswith("]")) or not colon or is_literal(word):
        host, digits = word, ""
    host = host.strip("[]")
    plain = host.isascii() and host.isprintable() and not set(host) & set(" /@?#")
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else 0 if digits else port
    return (host, number) if host and plain and 0 < number <= _MAX_PORT else None


def _resolved(attempt: "Attempt") -> tuple[Target, ...]:
    way = attempt.way

    async def look() -> tuple[Target, ...]:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(way.host, way.port, family=way.family, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys((str(info[4][0]), way.port) for info in infos))

    try:
        return asyncio.run(asyncio.wait_for(look(), 10))[:MOST]
    except (OSError, TimeoutError, UnicodeError) as error:
        raise UsageError(
            f"--each-address: {way.host}: {getattr(error, 'strerror', None) or 'cannot be resolved'}"
        ) from None
