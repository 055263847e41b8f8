"""The frame counter, checked by tables, against the serialiser of a real library, and under hostile input."""

import struct
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.wire import BINARY, CLOSE, MASK, PING, PONG, TEXT, close, frame
from wsprobe.frames import FIRST, LAST, OPCODES, FrameCounter
from wsprobe.model import Count

MIB = 1 << 20


@dataclass
class Heard:
    """A sink that keeps what it is told."""

    closes: list[bytes] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    flaws: list[tuple[str, str]] = field(default_factory=list)

    def on_close(self, payload: bytes, at: float) -> None:
        del at
        self.closes.append(payload)

    def on_ping(self, payload: bytes, at: float) -> None:
        del at
        self.pings.append(payload)

    def on_pong(self, payload: bytes, at: float) -> None:
        del at
        self.pongs.append(payload)

    def on_flaw(self, kind: str, detail: str, at: float) -> None:
        del at
        self.flaws.append((kind, detail))


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


def count(
    pieces: Iterable[bytes], *, masked: bool = False, reserved: int = 0, ended: bool = True
) -> tuple[dict[str, Count], Heard]:
    """What is counted, by a new counter and by one that has its first frames behind it, which reads in another way."""
    pieces = list(pieces)
    found = []
    for before in (0, FIRST):
        heard = Heard()
        counter = FrameCounter(heard, masked=masked, reserved=reserved)
        for piece in [frame(TEXT, b"x", mask=MASK if masked else b"")] * before + pieces:
            counter.feed(piece, 0.0)
        if ended:
            counter.finish(1.0)
        found.append((without_texts(counter.counts, before), heard))
    assert found[0] == found[1]
    return found[0]


def without_texts(counted: dict[str, Count], number: int) -> dict[str, Count]:
    """The counts but for so many texts of one octet."""
    text = counted.get("text", Count(frames=0, bytes=0))
    rest = Count(frames=text.frames - number, bytes=text.bytes - number)
    return {name: rest if name == "text" else one for name, one in counted.items() if name != "text" or rest.frames}


def counts(**numbers: tuple[int, int]) -> dict[str, Count]:
    return {name: Count(frames=frames, bytes=octets) for name, (frames, octets) in numbers.items()}


def raw(first: int, length: int, *, mask: bytes = b"", form: int | None = None) -> bytes:
    """A head of a frame by hand, its length in the form that is asked for."""
    size = form if form is not None else length if length < 126 else 126 if length < 1 << 16 else 127
    extended = struct.pack(">H", length) if size == 126 else struct.pack(">Q", length) if size == 127 else b""
    return bytes([first, size | (0x80 if mask else 0)]) + extended + mask


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", {}, id="nothing"),
        pytest.param(frame(TEXT, b"hello"), counts(text=(1, 5)), id="a text"),
        pytest.param(frame(BINARY), counts(binary=(1, 0)), id="an empty frame"),
        pytest.param(frame(BINARY, b"x" * 125), counts(binary=(1, 125)), id="the longest of the short form"),
        pytest.param(frame(BINARY, b"x" * 126), counts(binary=(1, 126)), id="the shortest of the middle form"),
        pytest.param(frame(BINARY, b"x" * 65535), counts(binary=(1, 65535)), id="the longest of the middle form"),
        pytest.param(frame(BINARY, b"x" * 65536), counts(binary=(1, 65536)), id="the shortest of the long form"),
        pytest.param(
            raw(0x01, 2) + b"ab" + frame(PING, b"p") + raw(0x00, 1) + b"c" + raw(0x80, 0),
            counts(continuation=(2, 1), text=(1, 2), ping=(1, 1)),
            id="a message in fragments with a ping between them",
        ),
        pytest.param(
            b"".join([frame(TEXT, b"a"), frame(PING), frame(PONG), frame(CLOSE), b""]),
            counts(text=(1, 1), close=(1, 0), ping=(1, 0), pong=(1, 0)),
            id="one of each",
        ),
    ],
)
def test_frames_are_counted_by_opcode(data: bytes, expected: dict[str, Count]) -> None:
    for pieces in (cut(data, []), cut(data, [1] * len(data))):
        assert count(pieces) == (expected, Heard(*_control_payloads(data)))


def _control_payloads(data: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Close, ping and pong payloads as the rows above have them."""
    closes = [b""] if frame(CLOSE) in data else []
    pings = [b"p"] if frame(PING, b"p") in data else [b""] if frame(PING) in data else []
    pongs = [b""] if frame(PONG) in data else []
    return closes, pings, pongs


FLAWS = [
    pytest.param(frame(TEXT, b"a", mask=MASK), False, 0, ["a masked frame"], id="a server must not mask"),
    pytest.param(frame(TEXT, b"a"), True, 0, ["a frame that is not masked"], id="a client must mask"),
    pytest.param(b"\xc1\x00", False, 0, ["reserved bits without an extension"], id="RSV1 without an extension"),
    pytest.param(b"\xc1\x00", False, 0x40, [], id="RSV1 with permessage-deflate"),
    pytest.param(b"\xa1\x00", False, 0x40, ["reserved bits without an extension"], id="RSV2 with permessage-deflate"),
    pytest.param(b"\x83\x00", False, 0, ["a reserved opcode"], id="a reserved data opcode"),
    pytest.param(b"\x8b\x00", False, 0, ["a reserved opcode"], id="a reserved control opcode"),
    pytest.param(b"\x09\x00", False, 0, ["a fragmented control frame"], id="a ping in fragments"),
    pytest.param(raw(0x89, 126) + b"x" * 126, False, 0, ["a control frame longer than 125 octets"], id="a long ping"),
    pytest.param(raw(0x88, 130) + b"x" * 130, False, 0, ["a control frame longer than 125 octets"], id="a long close"),
    pytest.param(b"\x80\x00", False, 0, ["a continuation of nothing"], id="a continuation of nothing"),
    pytest.param(b"\x01\x00\x81\x00", False, 0, ["a message inside a message"], id="a message inside a message"),
    pytest.param(
        raw(0x82, 5, form=126) + b"x" * 5, False, 0, ["a length that is not in its shortest form"], id="16 bits for 5"
    ),
    pytest.param(
        raw(0x82, 5, form=127) + b"x" * 5, False, 0, ["a length that is not in its shortest form"], id="64 bits for 5"
    ),
    pytest.param(
        close(1000) + frame(TEXT, b"a"), False, 0, ["a frame after the close frame"], id="a text after the close"
    ),
    pytest.param(
        close(1000) + close(1000), False, 0, ["a frame after the close frame"], id="a close frame after the close frame"
    ),
    pytest.param(
        raw(0x82, 1 << 63), False, 0,
        ["a frame that claims 2^63 octets or more", "the direction ended inside a frame"], id="2^63 octets",
    ),
    pytest.param(raw(0x82, 10) + b"x", False, 0, ["the direction ended inside a frame"], id="the end inside a payload"),
    pytest.param(b"\x82", False, 0, ["the direction ended inside a frame"], id="the end inside a head"),
    pytest.param(raw(0x88, 2) + b"\x03", False, 0, ["the direction ended inside a frame"], id="the end inside a close"),
    pytest.param(
        frame(TEXT, b"a") + b"HTTP/1.1 504 Gateway Timeout\r\nServer: squid\r\n\r\n" + b"x" * 300, False, 0,
        ["an HTTP response inside the WebSocket"], id="an error page inside the WebSocket, as Squid writes it",
    ),
    pytest.param(b"HTTP/1.1 502", False, 0, ["an HTTP response inside the WebSocket"], id="an error page cut off"),
    pytest.param(
        b"HTTP/1." + b"x" * 300, False, 0, ["an HTTP response inside the WebSocket"], id="an error page without a line"
    ),
    pytest.param(
        b"HT" + b"x" * 84, False, 0, ["reserved bits without an extension", "a fragmented control frame"],
        id="what only begins like one is a frame",
    ),
    pytest.param(
        b"HTTP/1.1 502 Bad Gateway\r\n" + b"x" * 300, True, 0,
        ["a frame that is not masked", "reserved bits without an extension", "a fragmented control frame"],
        id="a client sends no responses",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "masked", "reserved", "kinds"), FLAWS)
def test_what_breaks_the_standard_is_told(data: bytes, masked: bool, reserved: int, kinds: list[str]) -> None:  # noqa: FBT001  a column of the table
    whole = count([data], masked=masked, reserved=reserved)
    told = list(dict.fromkeys(kind for kind, _ in whole[1].flaws))
    assert told[: len(kinds)] == kinds
    assert masked or told == kinds
    assert count(cut(data, [1] * len(data)), masked=masked, reserved=reserved) == whole


def test_the_error_page_inside_a_websocket_is_told_by_its_status_line() -> None:
    _, heard = count([b"HTTP/1.1 504 Gateway Timeout\r\nServer: squid\r\n\r\n<html>"])
    assert heard.flaws == [("an HTTP response inside the WebSocket", "HTTP/1.1 504 Gateway Timeout")]


def test_reading_goes_on_behind_a_flaw() -> None:
    data = b"\xf3\x01x" + raw(0x89, 200) + b"x" * 200 + frame(TEXT, b"ab") + frame(PING, b"p")
    found, heard = count([data])
    assert found == {
        "text": Count(frames=1, bytes=2),
        "reserved 3": Count(frames=1, bytes=1),
        "ping": Count(frames=2, bytes=201),
    }
    assert heard.pings == [b"p"]


# Against a real library.

payloads = st.one_of(st.binary(max_size=130), st.sampled_from([125, 126, 127, 65535, 65536]).map(bytes))
frames = st.one_of(
    st.builds(Frame, st.sampled_from([Opcode.TEXT, Opcode.BINARY]), payloads),
    st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
)
sizes = st.lists(st.integers(1, 400), max_size=60)


@st.composite
def conversations(draw: st.DrawFn) -> list[Frame]:
    """Messages, some in fragments with control frames between them, and perhaps a close at the end."""
    found: list[Frame] = []
    for message in draw(st.lists(frames, max_size=8)):
        if message.opcode in {Opcode.PING, Opcode.PONG}:
            found.append(message)
            continue
        rest = draw(st.lists(st.one_of(st.binary(max_size=20), st.just(None)), max_size=4))
        pieces = [piece for piece in rest if piece is not None]
        found.append(Frame(message.opcode, message.data, fin=not pieces))
        left = len(pieces)
        for piece in rest:
            if piece is None:
                found.append(Frame(Opcode.PING, b"between"))
            else:
                left -= 1
                found.append(Frame(Opcode.CONT, piece, fin=not left))
    if draw(st.booleans()):
        found.append(Frame(Opcode.CLOSE, draw(st.one_of(st.just(b""), st.just(b"\x03\xe8bye")))))
    return found


@given(conversations(), st.booleans(), sizes)
def test_what_websockets_writes_is_counted_without_a_flaw(sent: list[Frame], masked: bool, pieces: list[int]) -> None:  # noqa: FBT001  drawn
    data = b"".join(one.serialize(mask=masked) for one in sent)
    found, heard = count(cut(data, pieces), masked=masked)
    expected: dict[str, Count] = {}
    for code, name in OPCODES.items():
        of_code = [one for one in sent if one.opcode == code]
        if of_code:
            expected[name] = Count(frames=len(of_code), bytes=sum(len(one.data) for one in of_code))
    assert found == expected
    assert heard.flaws == []
    assert heard.pings == [bytes(one.data) for one in sent if one.opcode == Opcode.PING]
    assert heard.pongs == [bytes(one.data) for one in sent if one.opcode == Opcode.PONG]
    assert heard.closes == [bytes(one.data) for one in sent if one.opcode == Opcode.CLOSE]


pieces_of_frames = st.one_of(
    st.binary(max_size=12),
    st.binary(max_size=140).map(lambda payload: frame(BINARY, payload)),
    st.binary(max_size=20).map(lambda payload: frame(TEXT, payload, mask=MASK)),
    st.builds(raw, st.integers(0, 255), st.integers(0, 65535), form=st.sampled_from([None, 126, 127])),
    st.sampled_from(
        [raw(0x82, 2**63), b"HTTP/1.1 502 Bad\r\n", b"HTTP/", close(1006), close(1000, "bye"), b"\x88\x01a"]
    ),
)


@given(st.lists(pieces_of_frames, max_size=10).map(b"".join), sizes, st.booleans(), st.sampled_from([0, 0x40, 0x70]))
def test_chunking_does_not_change_what_is_counted(data: bytes, pieces: list[int], masked: bool, reserved: int) -> None:  # noqa: FBT001  drawn
    whole = count(cut(data, []), masked=masked, reserved=reserved)
    assert count(cut(data, pieces), masked=masked, reserved=reserved) == whole
    assert count(cut(data, [1] * len(data)), masked=masked, reserved=reserved) == whole


# Frames one by one.


@given(conversations(), st.sampled_from([0, FIRST - 1, FIRST, FIRST + 40]), st.booleans(), sizes)
def test_the_first_frames_and_some_of_the_last_are_kept(
    sent: list[Frame],
    before: int,
    masked: bool,  # noqa: FBT001  drawn
    pieces: list[int],
) -> None:
    sent = [*[Frame(Opcode.TEXT, b"ab")] * before, *sent]
    counter = FrameCounter(Heard(), masked=masked)
    for piece in cut(b"".join(one.serialize(mask=masked) for one in sent), pieces):
        counter.feed(piece, 2.5)
    rest = sent[FIRST:]
    told = [
        one
        for at, one in enumerate(rest)
        if one.opcode >= Opcode.CLOSE or at + 1 == len(rest) or rest[at + 1].opcode >= Opcode.CLOSE
    ]
    for found, expected in ((counter.first, sent[:FIRST]), (counter.later, told[-LAST:])):
        assert found == [(2.5, one.fin << 7 | one.opcode, len(one.data)) for one in expected]


def test_a_frame_came_when_its_head_had() -> None:
    for before in (0, FIRST):
        counter = FrameCounter(Heard(), masked=False)
        for _ in range(before):
            counter.feed(frame(TEXT), 0.0)
        for at, piece in enumerate([b"\x82\x7e\x01", b"\x00" + b"x" * 200, b"x" * 56 + b"\x89\x01", b"p"]):
            counter.feed(piece, float(at))
        assert [*counter.first, *counter.later][before:] == [(1.0, 0x82, 256), (3.0, 0x89, 1)]


def test_what_stands_in_one_chunk_with_a_close_is_kept_before_it() -> None:
    counter = FrameCounter(Heard(), masked=False)
    for at in range(FIRST + 10):
        counter.feed(frame(TEXT, b"abc"), float(at))
    counter.feed(frame(TEXT, b"last words") + close(1011), 60.0)
    assert counter.later == [(60.0, 0x81, 10), (60.0, 0x88, 2)]


# Hostile peers.


@pytest.mark.parametrize(
    ("head", "chunk", "times"),
    [
        pytest.param(raw(0x82, 2**63 - 1), bytes(MIB), 50, id="a frame that claims 2^63 octets"),
        pytest.param(raw(0x82, 50 * MIB), bytes(MIB), 50, id="a payload of 50 MiB"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", bytes(MIB), 50, id="a response without an end"),
        pytest.param(b"", frame(PING, b"x" * 125) * 100, 100, id="ten thousand pings"),
        pytest.param(b"", raw(0x01, 1) + b"a", 10000, id="messages that do not end"),
        pytest.param(b"", bytes([0xF3, 0x00]) * 1000, 10, id="reserved frames"),
        pytest.param(b"", frame(CLOSE) * 1000, 10, id="ten thousand close frames"),
    ],
)
def test_memory_is_bounded(head: bytes, chunk: bytes, times: int) -> None:
    class Deaf:
        def on_close(self, payload: bytes, at: float) -> None: ...
        def on_ping(self, payload: bytes, at: float) -> None: ...
        def on_pong(self, payload: bytes, at: float) -> None: ...
        def on_flaw(self, kind: str, detail: str, at: float) -> None: ...

    counter = FrameCounter(Deaf(), masked=False)
    counter.feed(head, 0.0)
    tracemalloc.start()
    for _ in range(times):
        counter.feed(chunk, 0.0)
    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 4096
    assert peak < len(chunk) * 2 + 65536


def test_a_payload_of_any_length_is_counted() -> None:
    counter = FrameCounter(Heard(), masked=False)
    counter.feed(raw(0x82, 2**63 + 5), 0.0)
    assert counter.counts == {"binary": Count(frames=1, bytes=2**63 + 5)}
    assert not counter.between_frames


def test_the_time_of_the_last_byte_is_kept() -> None:
    counter = FrameCounter(Heard(), masked=False)
    assert counter.last is None
    counter.feed(frame(TEXT, b"a"), 1.5)
    counter.feed(raw(0x82, 10), 2.5)
    counter.feed(b"x", 3.5)
    assert counter.last == 3.5
