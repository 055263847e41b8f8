"""A sans-I/O counter of WebSocket frames in one direction (RFC 6455, 5), usable alone.

It counts and bounds; only the payloads of close, ping and pong frames (125 octets at most) are looked at, all
others are skipped without a copy. What breaks the standard is told and counted, and reading goes on as far as the
framing allows. When each frame came and how long it was is kept of the first ones and of some of the last.
"""

from operator import itemgetter
from struct import Struct
from typing import Protocol

from wsprobe.model import Count, Frame, Frames, Sender

OPCODES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}

_NAMES = tuple(OPCODES.get(code, f"reserved {code}") for code in range(16))

FIRST, LAST = 32, 8
"""Frames of a direction that are kept one by one: so many from its beginning, and of the later ones so many."""

Kept = tuple[float, int, int]
"""When a frame came, the first octet of its head (FIN, reserved bits, opcode), and the octets of its payload."""

_CLOSE, _PING, _PONG = 8, 9, 10
_FRAME = Struct("<dBQ")  # packed, because tuples of every connection's frames would take eight times the memory
_FULL, _TAIL = FIRST * _FRAME.size, LAST * _FRAME.size
_FIN, _MASKED = 0x80, 0x80
_MAX_CONTROL = 125
_RESPONSE = b"HTTP/1."


class Sink(Protocol):
    """Who is told what a direction carries; `at` is the time of the chunk that completed it."""

    def on_close(self, payload: bytes, at: float) -> None:
        """A close frame with its payload, unmasked."""

    def on_ping(self, payload: bytes, at: float) -> None:
        """A ping with its payload, unmasked."""

    def on_pong(self, payload: bytes, at: float) -> None:
        """A pong with its payload, unmasked."""

    def on_flaw(self, kind: str, detail: str, at: float) -> None:
        """Something that RFC 6455 does not allow."""


class FrameCounter:
    """Counts the frames of one direction; `feed` takes bytes in any chunks.

    `masked` is what this direction must be (RFC 6455, 5.1), `reserved` the RSV bits that a negotiated extension
    may set. `last` is the time of the last byte.
    """

    __slots__ = (
        "_binary",
        "_binary_octets",
        "_fragmented",
        "_head",
        "_kept",
        "_masked",
        "_newest",
        "_odd",
        "_opaque",
        "_others",
        "_reserved",
        "_sink",
        "_skip",
        "_text",
        "_text_octets",
        "closed",
        "last",
    )

    def __init__(self, sink: Sink, *, masked: bool, reserved: int = 0) -> None:
        self._sink = sink
        self._masked = _MASKED if masked else 0
        self._reserved = reserved
        # Numbers of their own for what nearly all frames are: an idle connection should take little memory.
        self._text = self._text_octets = self._binary = self._binary_octets = 0
        self._others: dict[int, tuple[int, int]] | None = None  # frames and octets by opcode
        self._skip = 0
        self._head = b""
        self._fragmented = False
        self._opaque = False
        self._kept = b""  # the first frames, then of the later ones control frames and the data frame before each
        self._newest: Kept | None = None  # the data frame after all of these
        self._odd = True  # whether any of these, or the end, keeps the next bytes from being the plain case
        self.closed = False
        self.last: float | None = None

    @property
    def counts(self) -> dict[str, Count]:
        """Frames and payload octets so far, by the name of the opcode."""
        found = self._others or {}
        if self._text:
            found = {**found, 1: (self._text, self._text_octets)}
        if self._binary:
            found = {**found, 2: (self._binary, self._binary_octets)}
        return {_NAMES[code]: Count(frames=found[code][0], bytes=found[code][1]) for code in sorted(found)}

    @property
    def first(self) -> list[Kept]:
        """The first frames."""
        return list(_FRAME.iter_unpack(self._kept[:_FULL]))

    @property
    def later(self) -> list[Kept]:
        """Of those after them: control frames, the data frame before each, and the newest frame."""
        return [*_FRAME.iter_unpack(self._kept[_FULL:]), *([self._newest] if self._newest else [])][-LAST:]

    @property
    def between_frames(self) -> bool:
        """Whether the last byte ended a frame."""
        return not self._skip and not self._head

    def feed(self, data: bytes, at: float) -> None:  # noqa: C901, PLR0912  one loop: calls would cost more
        """Takes the next bytes, which came at time `at`."""
        self.last = at
        end = len(data)
        pos = self._skip
        if pos >= end:
            self._skip = pos - end
            return
        if self._odd:
            self._slow(data, at)
            return
        masked = self._masked
        newest = 0
        while pos + 1 < end:
            first, size = data[pos], data[pos + 1] ^ masked
            # The plain case, without a call: a whole data frame that is not fragmented.
            if size > 127 or (first != 0x82 and first != 0x81):  # noqa: PLR1714  a set would take longer
                break
            begin = pos + 2
            if size > 125:
                begin += 2 if size == 126 else 8
                if begin > end:
                    break
                least, size = 126 if size == 126 else 65536, int.from_bytes(data[pos + 2 : begin])
                if size < least or size >> 63:
                    break
            if masked:
                begin += 4
            if begin > end:
                break
            if first == 0x82:
                self._binary += 1
                self._binary_octets += size
            else:
                self._text += 1
                self._text_octets += size
            pos = begin + size
            newest, length = first, size
        if newest:
            self._newest = at, newest, length
        if pos >= end:
            self._skip = pos - end
        else:
            self._skip = 0
            self._slow(data[pos:] if pos else data, at)

    def _slow(self, data: bytes, at: float) -> None:
        """Frame by frame, whatever they are."""
        self._read(self._head + data, at)
        one_by_one = len(self._kept) < _FULL
        self._odd = one_by_one or bool(self._head) or self._opaque or self.closed or self._fragmented

    def _read(self, data: bytes, at: float) -> None:
        """The head of a frame is collected until it is whole, then judged."""
        self._head = b""
        pos, end = 0, len(data)
        while pos < end and not self._opaque:
            if self._skip:
                step = min(self._skip, end - pos)
                self._skip -= step
                pos += step
                continue
            taken = self._one(data, pos, at)
            if taken is None:
                self._head = data[pos:]
                return
            pos += taken

    def _one(self, data: bytes, pos: int, at: float) -> int | None:
        """Reads the frame at `pos`; returns how far it went, None where more bytes are needed to judge."""
        left = len(data) - pos
        if not self._masked and data[pos] == _RESPONSE[0]:
            start = data[pos : pos + len(_RESPONSE)]
            if start == _RESPONSE[: len(start)]:
                return self._response(data, pos, at)
        size = _head_size(data, pos, left)
        if size is None or left < size:
            return None
        first, second = data[pos], data[pos + 1]
        length = _length(data, pos, second & 0x7F)
        opcode = first & 15
        if opcode >= _CLOSE and length <= _MAX_CONTROL:
            if left < size + length:
                return None  # a control frame is small: wait for all of it
            self._count(first, second, length, at)
            self._control(opcode, _unmask(data, pos, size, length, masked=bool(second & _MASKED)), at)
            return size + length
        self._count(first, second, length, at)
        if length >> 63:
            self._tell("a frame that claims 2^63 octets or more", str(length), at)
        elif ((second & 0x7F) == 127 and length < 65536) or ((second & 0x7F) == 126 and length < 126):
            self._tell("a length that is not in its shortest form", str(length), at)
        self._skip = length
        return size

    def _count(self, first: int, second: int, length: int, at: float) -> None:
        """Counts one frame and tells what RFC 6455, 5.2, 5.4 and 5.5 do not allow of it."""
        opcode, final = first & 15, first & _FIN
        self._add(opcode, length)
        self._keep(first, length, at)
        if self.closed:
            self._tell("a frame after the close frame", OPCODES.get(opcode, f"opcode {opcode}"), at)
        if (second & _MASKED) != self._masked:
            self._tell("a frame that is not masked" if self._masked else "a masked frame", "", at)
        if first & 0x70 & ~self._reserved:
            self._tell("reserved bits without an extension", f"{(first & 0x70) >> 4:03b}", at)
        if opcode not in OPCODES:
            self._tell("a reserved opcode", str(opcode), at)
        if opcode >= _CLOSE:
            if length > _MAX_CONTROL:
                self._tell("a control frame longer than 125 octets", str(length), at)
            if not final:
                self._tell("a fragmented control frame", "", at)
            return
        if (opcode == 0) != self._fragmented:
            self._tell("a message inside a message" if opcode else "a continuation of nothing", "", at)
        self._fragmented = not final

    def _add(self, opcode: int, length: int) -> None:
        if opcode == 1:
            self._text += 1
            self._text_octets += length
        elif opcode == 2:
            self._binary += 1
            self._binary_octets += length
        else:
            self._others = self._others or {}
            frames, octets = self._others.get(opcode, (0, 0))
            self._others[opcode] = frames + 1, octets + length

    def _keep(self, first: int, length: int, at: float) -> None:
        kept = self._kept
        if len(kept) < _FULL:
            self._kept = kept + _FRAME.pack(at, first, length)
        elif first & 15 < _CLOSE:
            self._newest = at, first, length
        else:
            before = _FRAME.pack(*self._newest) if self._newest else b""
            self._kept = kept[:_FULL] + (kept[_FULL:] + before + _FRAME.pack(at, first, length))[-_TAIL:]
            self._newest = None

    def _control(self, opcode: int, payload: bytes, at: float) -> None:
        if opcode == _CLOSE:
            self.closed = True
            self._sink.on_close(payload, at)
        elif opcode == _PING:
            self._sink.on_ping(payload, at)
        elif opcode == _PONG:
            self._sink.on_pong(payload, at)

    def _response(self, data: bytes, pos: int, at: float) -> int | None:
        """An HTTP response where a frame should begin: some proxies write their error page into the WebSocket."""
        line = data[pos : pos + 256].partition(b"\n")
        if not line[1] and len(line[0]) < 256:
            return None
        self._tell("an HTTP response inside the WebSocket", line[0].decode("latin-1").strip(), at)
        self._opaque = True
        return len(data) - pos

    def give_up(self) -> None:
        """Bytes are missing: nothing that follows can be read as frames."""
        self._opaque = self._odd = True

    def finish(self, at: float) -> None:
        """The direction has ended: what is left of a frame is told."""
        if self._head.startswith(_RESPONSE) and not self._masked:
            self._tell("an HTTP response inside the WebSocket", self._head.decode("latin-1").strip(), at)
        elif not self.between_frames:
            self._tell("the direction ended inside a frame", f"{self._skip or 'some'} octets short", at)

    def _tell(self, kind: str, detail: str, at: float) -> None:
        self._sink.on_flaw(kind, detail, at)


def frames_of(client: FrameCounter, server: FrameCounter, began: float) -> Frames:
    """What the record of an exchange that began then keeps of its frames."""
    return Frames(
        client=client.counts,
        server=server.counts,
        first=_in_order(client.first, server.first, began),
        last=_in_order(client.later, server.later, began),
    )


def _in_order(client: list[Kept], server: list[Kept], began: float) -> tuple[Frame, ...]:
    both = [(*one, Sender.CLIENT) for one in client] + [(*one, Sender.SERVER) for one in server]
    both.sort(key=itemgetter(0))
    return tuple(
        [  # a list, because it is made for each connection that ends, and a generator takes longer
            Frame(at=round(at - began, 6), sender=sender, opcode=_NAMES[head & 15], bytes=length, more=head < _FIN)
            for at, head, length, sender in both
        ]
    )


def _head_size(data: bytes, pos: int, left: int) -> int | None:
    if left < 2:
        return None
    size = data[pos + 1] & 0x7F
    extended = 2 if size == 126 else 8 if size == 127 else 0
    return 2 + extended + (4 if data[pos + 1] & _MASKED else 0)


def _length(data: bytes, pos: int, size: int) -> int:
    if size == 126:
        return int.from_bytes(data[pos + 2 : pos + 4])
    if size == 127:
        return int.from_bytes(data[pos + 2 : pos + 10])
    return size


def _unmask(data: bytes, pos: int, size: int, length: int, *, masked: bool) -> bytes:
    payload = data[pos + size : pos + size + length]
    if not masked:
        return payload
    mask = data[pos + size - 4 : pos + size]
    return bytes(octet ^ mask[i & 3] for i, octet in enumerate(payload))
