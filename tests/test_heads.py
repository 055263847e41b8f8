"""Heads and bodies of HTTP/1.1, checked by tables, against h11, and for what must not depend on chunking."""

import tracemalloc
from collections.abc import Iterable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsprobe.heads import (
    MAX_BODY,
    MAX_HEAD,
    BodyReader,
    Head,
    HeadReader,
    method,
    parse_head,
    request_body,
    response_body,
    status,
    tokens,
    values,
)

MIB = 1 << 20


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """The same bytes in pieces of the given sizes, the rest in one."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


def read_head(pieces: Iterable[bytes]) -> tuple[Head | None, bytes]:
    """The head and what follows it; None where the head did not end."""
    reader = HeadReader()
    rest: bytes | None = None
    for piece in pieces:
        if rest is None:
            rest = reader.feed(piece)
        else:
            rest += piece
    return (None, b"") if rest is None else (reader.head(), rest)


@pytest.mark.parametrize(
    ("raw", "start_line", "headers", "flaws"),
    [
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Two: 1\r\nx-two:  2 \t",
            "GET / HTTP/1.1",
            (("Host", "a"), ("X-Empty", ""), ("X-Two", "1"), ("x-two", "2")),
            (),
            id="order, case and repeats are kept, white space around values is not",
        ),
        pytest.param(b"GET / HTTP/1.1", "GET / HTTP/1.1", (), (), id="a head without headers"),
        pytest.param(
            b"GET / HTTP/1.1\r\nX: \xe9\xff", "GET / HTTP/1.1", (("X", "\xe9\xff"),), (), id="octets stay as latin-1"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nX: a:b::c", "GET / HTTP/1.1", (("X", "a:b::c"),), (), id="only the first colon divides"
        ),
        pytest.param(
            b"GET / HTTP/1.1\nHost: a\nX: b",
            "GET / HTTP/1.1",
            (("Host", "a"), ("X", "b")),
            ("a line ends in LF without CR",),
            id="bare LF ends a line and is told",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nX: a\r\n\tb\r\n  c",
            "GET / HTTP/1.1",
            (("X", "a b c"),),
            ("a header is folded over lines",),
            id="a folded value is one value, told once",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nAuthorization : x",
            "GET / HTTP/1.1",
            (("Authorization", "x"),),
            ("white space before a header's colon",),
            id="white space before the colon",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nnonsense\r\n: y",
            "GET / HTTP/1.1",
            (("nonsense", ""), ("", "y")),
            ("a header line without a name",),
            id="lines without a colon or a name are kept and told",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\n X: y",
            "GET / HTTP/1.1",
            (("X", "y"),),
            ("white space before a header's colon",),
            id="a fold before the first header is a header",
        ),
        pytest.param(b"", "", (), (), id="nothing at all"),
    ],
)
def test_a_head_is_read_as_it_stands(
    raw: bytes, start_line: str, headers: tuple[tuple[str, str], ...], flaws: tuple[str, ...]
) -> None:
    assert parse_head(raw) == Head(start_line, headers, flaws)


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        pytest.param(b"A\r\nB: c\r\n\r\nrest", b"rest", id="CRLF"),
        pytest.param(b"A\nB: c\n\nrest", b"rest", id="LF"),
        pytest.param(b"A\r\nB: c\n\r\nrest", b"rest", id="LF, then an empty line with CRLF"),
        pytest.param(b"A\r\nB: c\r\n\nrest", b"rest", id="CRLF, then an empty line with LF"),
        pytest.param(b"A\r\nB: c\n\r\n\r\nrest", b"\r\nrest", id="LF, then two empty lines with CRLF"),
        pytest.param(b"\r\n\n\r\nA\r\nB: c\r\n\r\n\r\nrest", b"\r\nrest", id="empty lines before it are passed over"),
    ],
)
def test_a_head_ends_at_the_first_empty_line(data: bytes, rest: bytes) -> None:
    for pieces in ([data], cut(data, [1] * len(data))):
        head, left = read_head(pieces)
        assert head is not None
        assert (head.start_line, head.headers, left) == ("A", (("B", "c"),), rest)


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"A", b": ", b" ", b"\t", b"\x00", b"\xff"]), max_size=24),
    st.lists(st.integers(1, 5), max_size=30),
)
def test_chunking_does_not_change_a_head(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    assert read_head(cut(data, sizes)) == read_head(cut(data, []))


_token = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_!#", min_size=1, max_size=12)
_field = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)


@given(st.lists(st.tuples(_token, _field), max_size=8))
def test_heads_that_h11_writes_are_read_as_they_were_written(headers: list[tuple[str, str]]) -> None:
    framing = {"host", "content-length", "transfer-encoding", "connection", "expect"}
    headers = [("Host", "a"), *((name, value) for name, value in headers if name.lower() not in framing)]
    written = h11.Connection(h11.CLIENT).send(h11.Request(method="GET", target="/ws", headers=headers))
    assert written is not None
    head, rest = read_head([written])
    assert head == Head("GET /ws HTTP/1.1", tuple(headers))
    assert rest == b""


@pytest.mark.parametrize("over", range(-2, 9), ids=lambda over: f"{over:+} octets around the limit")
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n"], ids=["CRLF CRLF", "LF LF", "LF CRLF"])
def test_chunking_does_not_change_a_head_at_the_limit(over: int, end: bytes) -> None:
    lines = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    data = lines + b"x" * (MAX_HEAD + over - len(lines)) + end + b"rest"
    whole, rest = read_head([data])
    assert rest == b"rest"
    assert whole is not None
    assert bool(whole.flaws) == (over > 0)
    for first in (MAX_HEAD - 1, MAX_HEAD, MAX_HEAD + 1, MAX_HEAD + 3, MAX_HEAD + 5):
        assert read_head(cut(data, [first, 1, 1, 1, 1, 1, 1, 1])) == (whole, rest)


def test_an_endless_head_takes_bounded_memory_and_keeps_whole_lines() -> None:
    reader = HeadReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    chunk = b"x" * 65536
    tracemalloc.start()
    for _ in range(160):
        assert reader.feed(chunk) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MIB
    assert reader.head() == Head("GET / HTTP/1.1", (("Host", "a"),), (f"a head longer than {MAX_HEAD} octets",))
    assert reader.feed(b"\r\n\r\nrest") == b"rest"


# Bodies.


def read_body(length: int | None, pieces: Iterable[bytes]) -> tuple[bytes, int, bool, bytes | None]:
    """What was kept, its size, whether it is malformed, and what follows; None where the body did not end."""
    body = BodyReader(length, keep=True)
    rest: bytes | None = None
    for piece in pieces:
        if rest is None:
            rest = body.feed(piece)
        else:
            rest += piece
    return bytes(body.kept), body.size, body.bad, rest


@pytest.mark.parametrize(
    ("length", "data", "kept", "bad", "rest"),
    [
        pytest.param(5, b"helloGET", b"hello", False, b"GET", id="a counted body ends after its octets"),
        pytest.param(5, b"hel", b"hel", False, None, id="a counted body that is not all there"),
        pytest.param(None, b"hello", b"hello", False, None, id="a body until the connection ends"),
        pytest.param(-1, b"5\r\nhello\r\n0\r\n\r\nGET", b"hello", False, b"GET", id="one chunk"),
        pytest.param(-1, b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: x\r\n\r\nGET", b"hello", False, b"GET", id="extensions"),
        pytest.param(-1, b"5\nhello\r\n0\n\nGET", b"hello", False, b"GET", id="lines that end in LF"),
        pytest.param(-1, b"00A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", False, b"", id="zeros before the size"),
        pytest.param(-1, b"2\r\nab\r\nzz\r\nxy", b"abzz\r\nxy", True, None, id="a size that is none: all that follows"),
        pytest.param(-1, b"-1\r\nab", b"-1\r\nab", True, None, id="a negative size"),
        pytest.param(-1, b"1" * 17 + b"\r\nab", b"1" * 17 + b"\r\nab", True, None, id="a size over 64 bits"),
        pytest.param(-1, b"\r\nab", b"\r\nab", True, None, id="an empty size line"),
    ],
)
def test_a_body_is_counted_and_kept(length: int | None, data: bytes, kept: bytes, *, bad: bool, rest: bytes) -> None:
    for pieces in ([data], cut(data, [1] * len(data))):
        assert read_body(length, pieces) == (kept, len(kept), bad, rest)


@given(
    st.sampled_from([-1, 0, 3, 40, None]),
    st.lists(
        st.sampled_from(
            [b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\n", b"T: x\r\n", b"f;e=", b"\n", b"zz\r\n", b"7", b"\xff"]
        ),
        max_size=12,
    ),
    st.lists(st.integers(1, 7), max_size=40),
)
def test_chunking_does_not_change_a_body(length: int | None, parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    assert read_body(length, cut(data, sizes)) == read_body(length, cut(data, []))


@pytest.mark.parametrize("size", [4095, 4096, 4097, 9000])
def test_chunking_does_not_change_a_long_size_line(size: int) -> None:
    data = b"3;" + b"e" * size + b"\r\nabc\r\n0\r\n\r\nGET"
    whole = read_body(-1, [data])
    assert read_body(-1, cut(data, [1] * len(data))) == whole
    assert read_body(-1, cut(data, [4096, 1, 1])) == whole


def test_an_endless_size_line_takes_bounded_memory() -> None:
    body = BodyReader(-1, keep=True)
    chunk = b"f" * 65536
    tracemalloc.start()
    for _ in range(160):
        assert body.feed(chunk) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert body.bad
    assert len(body.kept) == MAX_BODY
    assert body.size == 160 * len(chunk)
    assert peak < MIB


def test_of_a_long_body_the_first_octets_are_kept() -> None:
    kept, size, bad, rest = read_body(None, [b"a" * MAX_BODY, b"b" * MAX_BODY])
    assert (kept, size, bad, rest) == (b"a" * MAX_BODY, 2 * MAX_BODY, False, None)


@pytest.mark.parametrize(
    ("headers", "code", "asked", "length"),
    [
        pytest.param([("Content-Length", "5")], 200, "GET", 5, id="counted"),
        pytest.param([("content-length", "5")], 200, "HEAD", 0, id="an answer to HEAD has none"),
        pytest.param([("Content-Length", "5")], 204, "GET", 0, id="204 has none"),
        pytest.param([("Content-Length", "5")], 304, "GET", 0, id="304 has none"),
        pytest.param(
            [("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "5")], 200, "GET", -1, id="chunked wins"
        ),
        pytest.param([], 200, "GET", None, id="until the connection ends"),
        pytest.param([("Content-Length", "x")], 200, "GET", None, id="a length that is none"),
        pytest.param([("Content-Length", "-5")], 200, "GET", None, id="a negative length"),
        pytest.param([("Content-Length", "\xb2")], 200, "GET", None, id="a digit that is not ASCII"),
        pytest.param([("Content-Length", "9" * 30)], 200, "GET", None, id="a length beyond reason"),
    ],
)
def test_the_length_of_a_responses_body(
    headers: list[tuple[str, str]], code: int, asked: str, length: int | None
) -> None:
    assert response_body(headers, code, asked) == length


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        pytest.param([], 0, id="none without a length"),
        pytest.param([("Content-Length", "7")], 7, id="counted"),
        pytest.param([("Transfer-Encoding", "chunked")], -1, id="chunked"),
    ],
)
def test_the_length_of_a_requests_body(headers: list[tuple[str, str]], length: int) -> None:
    assert request_body(headers) == length


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("HTTP/1.1 101 Switching Protocols", 101),
        ("HTTP/1.0 200", 200),
        ("HTTP/1.1 1011 x", None),
        ("HTTP/1.1 10", None),
        ("HTTP/1.1 \xb2\xb2\xb2", None),
        ("ICY 200 OK", None),
        ("", None),
    ],
)
def test_the_status_of_a_start_line(line: str, code: int | None) -> None:
    assert status(line) == code


def test_a_header_is_found_by_its_name_without_case_and_as_a_list() -> None:
    headers = [("Connection", "keep-alive, Upgrade"), ("X", "1"), ("connection", " , close,")]
    assert values(headers, "CONNECTION") == ["keep-alive, Upgrade", " , close,"]
    assert tokens(headers, "connection") == ["keep-alive", "Upgrade", "close"]
    assert method("GET /ws HTTP/1.1") == "GET"
