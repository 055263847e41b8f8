"""What RFC 6455, section 4, says of an upgrade: is it one, is its answer right, and what is wrong with either."""

import base64
import binascii
import hashlib

from wsprobe.heads import Fields, status
from wsprobe.model import Handshake, Header, Message, Subprotocol

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONSTANT_KEYS = frozenset({b"0" * 16, bytes(16)})
"""Octets of keys that name no connection: what lighttpd sends for each one that came over HTTP/2, and all zeros."""

_KEY_OCTETS = 16


def accept_for(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key.strip().encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def key_octets(key: str) -> bytes | None:
    """The 16 octets of a Sec-WebSocket-Key, None where it is not one (RFC 6455, 4.1)."""
    try:
        octets = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if len(octets) == _KEY_OCTETS else None


def trace_ids(headers: tuple[Header, ...] | Fields) -> tuple[str, ...]:
    """The ids that name this exchange at every hop: of Sec-WebSocket-Key and of traceparent, 32 hex digits each.

    A key that many connections share is none. Where a proxy replaced one of the two, the other still joins.
    """
    fields = Fields.of(headers)
    found = []
    for key in fields.values("sec-websocket-key")[:1]:
        octets = key_octets(key)
        if octets and octets not in CONSTANT_KEYS:
            found.append(octets.hex())
    for parent in fields.values("traceparent")[:1]:
        parts = parent.split("-")
        if len(parts) >= 4 and len(parts[1]) == 32 and _is_hex(parts[1]) and parts[1].strip("0"):
            found.append(parts[1].lower())
    return tuple(dict.fromkeys(found))


def _is_hex(text: str) -> bool:
    return not text.strip("0123456789abcdefABCDEF")


def asks_for_websocket(headers: tuple[Header, ...] | Fields) -> bool:
    """Whether a request asks for a WebSocket, or did before somebody took half of the question away."""
    fields = Fields.of(headers)
    return bool(fields.values("sec-websocket-key")) or fields.names("upgrade", "websocket")


def request_flaws(start_line: str, headers: tuple[Header, ...] | Fields) -> tuple[str, ...]:
    """What keeps a request from being an opening handshake (RFC 6455, 4.2.1)."""
    fields = Fields.of(headers)
    keys = fields.values("sec-websocket-key")
    flaws = {
        "the method is not GET": not start_line.startswith("GET "),
        "HTTP/1.0": start_line.endswith("HTTP/1.0"),
        "no Upgrade: websocket": not fields.names("upgrade", "websocket"),
        "Connection does not name upgrade": not fields.names("connection", "upgrade"),
        "no Sec-WebSocket-Key": not keys,
        "more than one Sec-WebSocket-Key": len(keys) > 1,
        "Sec-WebSocket-Key is not 16 octets in base64": bool(keys) and key_octets(keys[0]) is None,
        "Sec-WebSocket-Version is not 13": fields.values("sec-websocket-version") != ["13"],
    }
    return _those_that_hold(flaws)


def response_flaws(request: tuple[Header, ...] | Fields, response: tuple[Header, ...] | Fields) -> tuple[str, ...]:
    """What is wrong with a 101 (RFC 6455, 4.1, the list at its end)."""
    asked, answer = Fields.of(request), Fields.of(response)
    keys, accepts = asked.values("sec-websocket-key"), answer.values("sec-websocket-accept")
    foreign = set(extensions(answer)).difference(extensions(asked))
    flaws = {
        "no Upgrade: websocket": not answer.names("upgrade", "websocket"),
        "Connection does not name upgrade": not answer.names("connection", "upgrade"),
        "no Sec-WebSocket-Accept": not accepts,
        "Sec-WebSocket-Accept does not answer the key": bool(accepts and keys and accepts[0] != accept_for(keys[0])),
        "an extension that was not offered": bool(foreign),
    }
    return _those_that_hold(flaws)


def _those_that_hold(flaws: dict[str, bool]) -> tuple[str, ...]:
    return tuple(flaw for flaw, holds in flaws.items() if holds) if True in flaws.values() else ()


def extensions(headers: tuple[Header, ...] | Fields) -> tuple[str, ...]:
    """The names of the extensions in Sec-WebSocket-Extensions (RFC 6455, 9.1)."""
    accepted = Fields.of(headers).tokens("sec-websocket-extensions")
    return tuple([extension.partition(";")[0].strip() for extension in accepted])


def judge(
    request: Message, response: Message | None, duration: float | None, fields: tuple[Fields, Fields] | None = None
) -> Handshake:
    """All judgements about one upgrade that need the values as they were on the wire.

    `fields` are the headers of both by name, for who has them so already.
    """
    asked, answer = fields or (Fields(request.headers), Fields(response.headers if response else ()))
    asks = asks_for_websocket(asked)
    upgraded = asks and response is not None and status(response.start_line) == 101
    offered = asked.tokens("sec-websocket-protocol")
    return Handshake(
        asked=asks,
        upgraded=upgraded,
        duration=duration,
        request_flaws=request_flaws(request.start_line, asked) if asks else (),
        response_flaws=response_flaws(asked, answer) if upgraded else (),
        connection=tuple(asked.tokens("connection")),
        subprotocol=_subprotocol(offered, answer.tokens("sec-websocket-protocol")) if upgraded else None,
        offered=len(offered),
        extensions=extensions(answer) if upgraded else (),
    )


def _subprotocol(offered: list[str], chosen: list[str]) -> Subprotocol:
    if not chosen:
        return Subprotocol.NOT_ECHOED if offered else Subprotocol.NOT_OFFERED
    return Subprotocol.ECHOED if chosen[0] in offered and len(chosen) == 1 else Subprotocol.FOREIGN
