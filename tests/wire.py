"""WebSocket bytes by hand (RFC 6455), for peers that must be able to do what a library would refuse to do."""

import base64
import hashlib
import socket
import struct
from collections.abc import Iterable, Iterator

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_HEAD = 1 << 20


def accept(key: str) -> str:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key (4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID).digest()).decode()


def frame(opcode: int, payload: bytes = b"", *, mask: bytes = b"") -> bytes:
    """One final frame (5.2); with `mask`, four octets, as a client must send it."""
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, bit | size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, bit | 126]) + struct.pack(">H", size)
    else:
        head = bytes([0x80 | opcode, bit | 127]) + struct.pack(">Q", size)
    return head + mask + _masked(payload, mask)


def close(code: int, reason: str = "", *, mask: bytes = b"") -> bytes:
    """A close frame (5.5.1) with any code, also one that must not be on the wire."""
    return frame(CLOSE, struct.pack(">H", code) + reason.encode(), mask=mask)


def upgrade(path: str = "/ws", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The request head of an opening handshake (4.1), `headers` after the required ones."""
    required = [
        ("Host", "app.example.test"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in [*required, *headers])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_head(conn: socket.socket) -> tuple[bytes, bytes]:
    """Reads an HTTP head; returns it without its empty line, and what came after it. Both are empty at an early end."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = conn.recv(65536)
        if not chunk or len(data) > _MAX_HEAD:
            return b"", b""
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The opcode and unmasked payload of each frame, as soon as it is whole; one that the end cuts off is left out."""
    data = b""
    for chunk in chunks:
        data += chunk
        while (found := _first(data)) is not None:
            opcode, payload, size = found
            data = data[size:]
            yield opcode, payload


def _first(data: bytes) -> tuple[int, bytes, int] | None:
    """Opcode, payload and octets taken of the frame at the start of `data`; None where it is not whole."""
    if len(data) < 2:
        return None
    size, at = data[1] & 0x7F, 2
    if size >= 126:
        at = 4 if size == 126 else 10
        if len(data) < at:
            return None
        size = int.from_bytes(data[2:at])
    mask = data[at : at + 4] if data[1] & 0x80 else b""
    end = at + (4 if data[1] & 0x80 else 0) + size
    return (data[0] & 0x0F, _masked(data[end - size : end], mask), end) if len(data) >= end else None


def _masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload)) if mask else payload
