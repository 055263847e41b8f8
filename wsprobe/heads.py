"""A sans-I/O reader of HTTP/1.1 message heads and a counter of their bodies (RFC 9112), each usable alone.

It reads what is there and names what is wrong with it; it never refuses. What it keeps is bounded.
"""

from collections.abc import Iterable
from typing import NamedTuple

from wsprobe.model import Header

MAX_HEAD = 256 * 1024
"""Octets of a head that are kept; what follows is passed over until the head ends."""

MAX_BODY = 64 * 1024
"""Octets of a body that are kept where a body is kept at all."""

_WHITESPACE = " \t"
_MAX_CHUNK_LINE = 4096

# Lines that most connections have alike and that hold no credentials: read once, and one object for all of them.
_COMMON_NAMES = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "origin",
        "pragma",
        "sec-websocket-extensions",
        "sec-websocket-version",
        "server",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "vary",
        "via",
        "x-forwarded-port",
        "x-forwarded-proto",
    )
)
_COMMON_LENGTH, _COMMON_MOST = 200, 1024
_common_lines: dict[str, Header] = {}


class Head(NamedTuple):
    """A start line and headers in the order, case and octets (as latin-1) in which they came, and what is malformed."""

    start_line: str
    headers: tuple[Header, ...]
    flaws: tuple[str, ...] = ()


def parse_head(raw: bytes) -> Head:
    """A head, without the empty line that ends it, as start line and headers (RFC 9112, 2.2 and 5)."""
    text = raw.decode("latin-1")
    start_line, *lines = text.split("\r\n")
    flaws: list[str] = []
    if text.count("\n") > len(lines):
        flaws.append("a line ends in LF without CR")
        start_line, *lines = text.replace("\r\n", "\n").split("\n")
    headers: list[Header] = []
    for line in lines:
        if line in _common_lines:
            headers.append(_common_lines[line])
            continue
        name, colon, value = line.partition(":")
        if colon and name and name[0] not in _WHITESPACE and name[-1] not in _WHITESPACE:
            header = name, value.strip(_WHITESPACE)
            headers.append(header)
            if len(line) <= _COMMON_LENGTH and len(_common_lines) < _COMMON_MOST and name.lower() in _COMMON_NAMES:
                _common_lines[line] = header
        else:
            _odd_line(line, headers, flaws)
    return Head(start_line, tuple(headers), tuple(flaws))


def _odd_line(line: str, headers: list[Header], flaws: list[str]) -> None:
    if line[:1] in (" ", "\t") and headers:  # RFC 9112, 5.2: a folded line stands for one space
        name, value = headers[-1]
        headers[-1] = (name, f"{value} {line.strip(_WHITESPACE)}")
        _once(flaws, "a header is folded over lines")
        return
    name, colon, value = line.partition(":")
    _once(flaws, "white space before a header's colon" if colon and name.strip() else "a header line without a name")
    headers.append((name.strip(_WHITESPACE), value.strip(_WHITESPACE)))


def _once(flaws: list[str], flaw: str) -> None:
    if flaw not in flaws:
        flaws.append(flaw)


class HeadReader:
    """Collects one head from bytes in any chunks; `feed` gives back what follows it, or None while it goes on."""

    __slots__ = ("_kept", "_searched", "_tail", "dropped")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._searched = 0
        self._tail = b""
        self.dropped = 0

    def __bool__(self) -> bool:
        """Whether any byte of the head has come."""
        return bool(self._kept)

    def feed(self, data: bytes) -> bytes | None:
        """Takes the next bytes; returns those after the head once it is complete."""
        if self.dropped:
            return self._pass_over(data)
        if not self._kept:  # RFC 9112, 2.2: empty lines before a request line are to be ignored
            data = data.lstrip(b"\r\n")
        kept = self._kept
        kept += data
        end = _end_of_head(kept, max(0, self._searched - 3))
        if end and end[0] <= MAX_HEAD:
            rest = bytes(kept[end[1] :])
            del kept[end[0] :]
            return rest
        self._searched = len(kept)
        if end or len(kept) > MAX_HEAD + 4:  # the longest end of a head has four octets
            over = bytes(kept[MAX_HEAD:])
            self._tail = bytes(kept[MAX_HEAD - 3 : MAX_HEAD])
            del kept[MAX_HEAD:]
            return self._pass_over(over)
        return None

    def _pass_over(self, data: bytes) -> bytes | None:
        joined = self._tail + data
        end = _end_of_head(joined, 0)
        self.dropped += len(data) if end is None else end[1] - len(self._tail)
        self._tail = joined[-3:]
        return None if end is None else joined[end[1] :]

    def head(self) -> Head:
        """The head as far as it has come."""
        raw = bytes(self._kept)
        if not self.dropped:
            return parse_head(raw)
        whole_lines = raw[: raw.rfind(b"\n") + 1].rstrip(b"\r\n")
        head = parse_head(whole_lines or raw[:4096])
        return head._replace(flaws=(*head.flaws, f"a head longer than {MAX_HEAD} octets"))


def _end_of_head(data: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """Where the head ends and where what follows begins. A bare LF ends a line too (RFC 9112, 2.2)."""
    crlf = data.find(b"\r\n\r\n", start)
    bare = data.find(b"\n\n", start, crlf if crlf >= 0 else len(data))
    mixed = data.find(b"\n\r\n", start, crlf + 2 if crlf >= 0 else len(data))
    if bare > 0 and data[bare - 1] == 0x0D:  # CR LF LF: the CR belongs to the line's end, not to its value
        bare, size = bare - 1, 3
    else:
        size = 2
    found = [(at, at + size) for at, size in ((crlf, 4), (bare, size), (mixed, 3)) if at >= 0]
    return min(found) if found else None


class BodyReader:
    """Counts one body from bytes in any chunks and keeps the first octets of it, if asked to.

    `length` is the number of octets, -1 for the chunked coding, and None for a body that ends with the connection.
    """

    __slots__ = ("_keep", "_left", "_line", "_trailers", "bad", "kept", "length", "size")

    def __init__(self, length: int | None, *, keep: bool = False) -> None:
        self.length = length
        self.kept = bytearray()
        self.size = 0
        self.bad = False
        self._keep = keep
        self._left = length if length is not None and length >= 0 else 0
        self._line = b""
        self._trailers = False

    def feed(self, data: bytes) -> bytes | None:
        """Takes the next bytes; returns those after the body once it is complete, None while it goes on."""
        if self.length is None or self.bad:
            self._take(data)
            return None
        if self.length >= 0:
            return self._counted(data)
        return self._chunked(data)

    def _take(self, data: bytes) -> None:
        self.size += len(data)
        if self._keep and len(self.kept) < MAX_BODY:
            self.kept += data[: MAX_BODY - len(self.kept)]

    def _counted(self, data: bytes) -> bytes | None:
        piece = data[: self._left]
        self._take(piece)
        self._left -= len(piece)
        return data[len(piece) :] if not self._left else None

    def _chunked(self, data: bytes) -> bytes | None:
        """RFC 9112, 7.1: size line, that many octets, CRLF, …, a size of 0, trailers, an empty line."""
        while True:
            if self._left > 2:
                piece = data[: self._left - 2]
                self._take(piece)
                self._left -= len(piece)
                data = data[len(piece) :]
            if self._left and data:
                piece = data[: self._left]
                self._left -= len(piece)
                data = data[len(piece) :]
            if self._left or not data:
                return None
            data, self._line = self._line + data, b""
            line, newline, rest = data.partition(b"\n")
            if len(line) <= _MAX_CHUNK_LINE and not newline:
                self._line = line
                return None
            if len(line) > _MAX_CHUNK_LINE or not (self._trailers or self._chunk(line)):
                self.bad = True  # from here on nothing says where the body ends
                self._take(data)
                return None
            if self._trailers and not line.strip():
                return rest
            data = rest

    def _chunk(self, line: bytes) -> bool:
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
            return False
        size = int(digits, 16)
        self._trailers = size == 0
        self._left = size + 2 if size else 0
        return True


def status(start_line: str) -> int | None:
    """The status code of a status line, None where there is none (RFC 9112, 4)."""
    version, _, rest = start_line.partition(" ")
    digits = rest.partition(" ")[0]
    good = version.startswith("HTTP/") and len(digits) == 3 and digits.isascii() and digits.isdigit()
    return int(digits) if good else None


def method(start_line: str) -> str:
    """The method of a request line."""
    return start_line.partition(" ")[0]


class Fields:
    """The headers of one message by name, for who asks more than once. Names are compared without case."""

    __slots__ = ("_values",)

    def __init__(self, headers: Iterable[Header]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in headers:
            lowered = name.lower()
            if lowered in self._values:
                self._values[lowered].append(value)
            else:
                self._values[lowered] = [value]

    @staticmethod
    def of(headers: "Iterable[Header] | Fields") -> "Fields":
        """The headers by name, unless they are so already."""
        return headers if isinstance(headers, Fields) else Fields(headers)

    def values(self, name: str) -> list[str]:
        """The values of all lines of that header, whose name is given in lower case (RFC 9110, 5.1)."""
        return self._values.get(name, [])

    def tokens(self, name: str) -> list[str]:
        """The members of a list-based header, over all of its lines, in order (RFC 9110, 5.6.1)."""
        if name not in self._values:
            return []
        return [token for value in self._values[name] for part in value.split(",") if (token := part.strip())]

    def names(self, header: str, token: str) -> bool:
        """Whether a list-based header has that member, which is compared without case."""
        return header in self._values and token in [found.lower() for found in self.tokens(header)]


def values(headers: Iterable[Header], name: str) -> list[str]:
    """The values of all headers of that name, which is compared without case (RFC 9110, 5.1)."""
    name = name.lower()
    return [value for key, value in headers if key.lower() == name]


def tokens(headers: Iterable[Header], name: str) -> list[str]:
    """The members of a list-based header, over all of its lines, in order (RFC 9110, 5.6.1)."""
    return Fields(headers).tokens(name.lower())


def request_body(headers: Iterable[Header] | Fields) -> int | None:
    """The length of a request's body for a BodyReader; 0 where there is none (RFC 9112, 6.3)."""
    length = _declared(headers)
    return 0 if length is None else length


def response_body(headers: Iterable[Header] | Fields, code: int, asked: str) -> int | None:
    """The length of a response's body for a BodyReader (RFC 9112, 6.3); `asked` is the request's method."""
    if asked == "HEAD" or code < 200 or code in {204, 304}:
        return 0
    return _declared(headers)


def _declared(headers: Iterable[Header] | Fields) -> int | None:
    fields = Fields.of(headers)
    if fields.names("transfer-encoding", "chunked"):
        return -1
    length = fields.values("content-length")
    if length and length[0].isascii() and length[0].isdigit() and len(length[0]) < 19:
        return int(length[0])
    return None
