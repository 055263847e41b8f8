"""What an exception of a WebSocket client tells of its connection: websockets, aiohttp and httpx-ws.

Nothing of them is imported: their objects are known by the names of their classes, and read by public attributes
alone. They stand in the exception, in the variables of the frames that it passed through, or in what caused it.
"""

import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import CellType, FrameType, TracebackType
from typing import Any
from urllib.parse import urlsplit

from wsprobe.closecodes import NEVER_SENT
from wsprobe.model import Body, Close, Ending, Header, Message, Observation, Recorder, Sender
from wsprobe.observer import Unredacted

_MOST_ERRORS, _MOST_FRAMES, _MOST_BODY = 32, 200, 4096
_CLOSE_MESSAGE, _ENDS = 8, frozenset({8, 256, 257, 258})
"""aiohttp's types of messages: a close frame, and all that say that it is over (closing, closed, error)."""
_LATE = ("WSMessageTypeError", "ClientConnectionResetError")
"""What aiohttp raises where a test goes on after the end."""


@dataclass(slots=True, kw_only=True)
class Raised:
    """What is known of one connection, with the secrets still in it; `local` is a code whose sender is not known."""

    client: str
    url: str = ""
    request: Message | None = None
    response: Message | None = None
    closes: tuple[Close, ...] = ()
    ending: str = ""
    local: int | None = None
    peers: tuple[str, str] = ("", "")
    timings: list[str] = field(default_factory=list)

    def seen(self) -> Unredacted:
        """All of it as an observation, which can be redacted; its interim lines are the URL and how it ended."""
        return Unredacted(
            Observation(
                name="client",
                instance="",
                recorder=Recorder(kind=self.client, version=""),
                connection="",
                exchange=1,
                trace=None,
                at="",
                request=self.request,
                response=self.response,
                closes=self.closes,
                ended=None,
                interim=(self.url, self.ending),
            )
        )


def raised(error: BaseException) -> Raised | None:
    """The connection that an exception is about, None where it is about none that is known.

    An exception of a client comes first; a test can also fail for a connection that ended without one.
    """
    errors = list(_errors(error))
    values = list(_values(errors))
    for one in errors:
        for module, name, read in _EXCEPTIONS:
            if _is(one, module, name) and (found := read(one, values)) is not None:
                return found
    # A client that leaves its block closes with 1000: that is an end worth telling only where the test met it.
    met = any(map(_of_the_end, values)) or any(_is(one, "aiohttp", name) for one in errors for name in _LATE)
    for value in values:
        code = getattr(value, "close_code", None) if _connection(value) else None
        if isinstance(code, int) and (code != 1000 or met):
            return _of_connection(value, values)
    return None


def _is(value: object, module: str, name: str) -> bool:
    """Whether a value is of a class of that name and package, or of one derived from it."""
    return any(kind.__name__ == name and kind.__module__.partition(".")[0] == module for kind in type(value).__mro__)


def _errors(error: BaseException) -> Iterator[BaseException]:
    """The exception, those that are grouped in it, and those that led to it."""
    waiting, known = [error], set[int]()
    while waiting and len(known) < _MOST_ERRORS:
        one = waiting.pop(0)
        if id(one) in known:
            continue
        known.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [led for led in (one.__cause__, one.__context__) if led is not None]


def _values(errors: Iterable[BaseException]) -> Iterator[Any]:
    """The variables of the frames that exceptions passed through, the innermost frame first.

    As the garbage collector finds them: to list `f_locals` of the frame of a coroutine can crash Python 3.13.
    """
    for error in errors:
        for frame in reversed(list(_frames(error.__traceback__))):
            for value in gc.get_referents(frame):
                yield _content(value) if isinstance(value, CellType) else value


def _content(cell: CellType) -> object:
    """What a variable holds that an inner function uses too."""
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    for _ in range(_MOST_FRAMES):
        if traceback is None:
            return
        yield traceback.tb_frame
        traceback = traceback.tb_next


_CONNECTIONS = (
    ("websockets", "ClientConnection"),
    ("aiohttp", "ClientWebSocketResponse"),
)


def _connection(value: object) -> bool:
    return any(_is(value, module, name) for module, name in _CONNECTIONS)


def _first(values: Iterable[Any], module: str, *names: str) -> Any:  # noqa: ANN401  an object of a client
    return next((value for value in values if any(_is(value, module, name) for name in names)), None)


def _of_connection(connection: Any, values: list[Any]) -> Raised:  # noqa: ANN401
    """A connection that ended, where no exception of its client says so."""
    if _is(connection, "aiohttp", "ClientWebSocketResponse"):
        return _aiohttp_open(connection, values)
    found = _websockets([connection])
    ended = getattr(getattr(connection, "protocol", None), "close_exc", None)
    return _ended(found, ended) if ended is not None else found


# websockets.


def _websockets(values: list[Any]) -> Raised:
    found = Raised(client="websockets")
    connection = _first(values, "websockets", "ClientConnection")
    older = _first(values, "websockets", "WebSocketClientProtocol") if connection is None else None
    if older is not None:
        return _websockets_older(older)
    if connection is None:
        maker = _first(values, "websockets", "connect")
        found.url = _text(getattr(maker, "uri", ""))
        return found
    request, response = connection.request, connection.response
    if request is not None:
        found.request = Message(start_line=f"GET {request.path} HTTP/1.1", headers=_pairs(request.headers.raw_items()))
    if response is not None:
        found.response = _websockets_answer(response)
    protocol = connection.protocol
    uri = getattr(protocol, "uri", None) or getattr(protocol, "wsuri", None)
    if uri is not None and request is not None:
        host = f"[{uri.host}]" if ":" in uri.host else uri.host
        port = "" if uri.port == (443 if uri.secure else 80) else f":{uri.port}"
        found.url = f"{'wss' if uri.secure else 'ws'}://{host}{port}{request.path}"
    latency = getattr(connection, "latency", 0)
    found.timings += [f"the last ping was answered after {latency * 1000:.1f} ms"] if latency else []
    found.peers = _address(connection, "local_address"), _address(connection, "remote_address")
    return found


def _websockets_older(connection: Any) -> Raised:  # noqa: ANN401
    """A connection of websockets.legacy, which websockets.connect made until version 14."""
    found = Raised(client="websockets")
    sent, got = getattr(connection, "request_headers", None), getattr(connection, "response_headers", None)
    path = getattr(connection, "path", "/")
    if sent is not None:
        found.request = Message(start_line=f"GET {path} HTTP/1.1", headers=_pairs(sent.raw_items()))
        found.url = f"{'wss' if connection.secure else 'ws'}://{sent.get('Host', connection.host)}{path}"
    if got is not None:
        found.response = Message(start_line="HTTP/1.1 101 Switching Protocols", headers=_pairs(got.raw_items()))
    return found


def _websockets_answer(response: Any) -> Message:  # noqa: ANN401
    line = f"HTTP/1.1 {response.status_code} {response.reason_phrase or ''}".rstrip()
    refused = response.status_code != 101 and response.body
    return Message(
        start_line=line, headers=_pairs(response.headers.raw_items()), body=_body(response.body) if refused else None
    )


def _address(connection: Any, name: str) -> str:  # noqa: ANN401
    try:
        return _peer(getattr(connection, name))
    except OSError:  # the socket is gone
        return ""


def _peer(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return ""


def _websockets_closed(error: Any, values: list[Any]) -> Raised:  # noqa: ANN401
    return _ended(_websockets(values), error)


def _ended(found: Raised, error: Any) -> Raised:  # noqa: ANN401  a ConnectionClosed
    frames = [(Sender.SERVER, error.rcvd), (Sender.CLIENT, error.sent)]
    if error.rcvd_then_sent is False:
        frames.reverse()
    return replace(
        found, closes=tuple(_close(sender, frame.code, frame.reason) for sender, frame in frames if frame is not None)
    )


def _close(sender: Sender, code: int, reason: str) -> Close:
    return Close(
        sender=sender, ending=Ending.FRAME, code=None if code in NEVER_SENT else code, reason=reason or "", at=0.0
    )


def _websockets_refused(error: Any, values: list[Any]) -> Raised:  # noqa: ANN401
    found = _websockets(values)
    response = getattr(error, "response", None)
    if hasattr(response, "status_code"):
        found.response = _websockets_answer(response)
    elif hasattr(error, "status_code"):  # websockets.legacy
        found.response = Message(start_line=f"HTTP/1.1 {error.status_code}", headers=_pairs(error.headers.raw_items()))
    found.ending = str(error)
    return found


# aiohttp.


def _aiohttp_refused(error: Any, _: list[Any]) -> Raised:  # noqa: ANN401
    found = _aiohttp_request(error.request_info)
    line = f"HTTP/1.1 {error.status}"
    found.response = Message(start_line=line, headers=_pairs((error.headers or {}).items()))
    found.ending = f"the upgrade was refused: {error.message}"
    return found


def _aiohttp_unanswered(error: Any, values: list[Any]) -> Raised | None:  # noqa: ANN401
    """An upgrade that got no answer; None for any other request, of which the exception says the same."""
    request = _first(values, "aiohttp", "ClientRequest")
    if request is None or not _asks(request.headers):
        return None
    found = _aiohttp_request(request)
    found.ending = f"the upgrade was not answered: {error}"
    return found


def _asks(headers: Any) -> bool:  # noqa: ANN401  a mapping without case
    return str(headers.get("Upgrade", "")).lower() == "websocket"


def _aiohttp_request(info: Any) -> Raised:  # noqa: ANN401
    url = str(info.url)
    found = Raised(client="aiohttp", url=_without_user(_as_websocket(url)))
    line = f"{info.method} {info.url.raw_path_qs} HTTP/1.1"
    found.request = Message(start_line=line, headers=_pairs(info.headers.items()))
    return found


def _aiohttp_open(connection: Any, values: list[Any]) -> Raised:  # noqa: ANN401
    """A WebSocket of aiohttp, which tells its end and, to who asks what it holds, the answer that it began with."""
    answer = _held(connection, "aiohttp", "ClientResponse")
    found = _aiohttp_request(answer.request_info) if answer is not None else Raised(client="aiohttp")
    if answer is not None:
        version = answer.version
        number = f"{version.major}.{version.minor}" if version else "1.1"
        line = f"HTTP/{number} {answer.status} {answer.reason or ''}".rstrip()
        found.response = Message(start_line=line, headers=_pairs(answer.headers.items()))
    frames = (one for one in values if _of_the_end(one, frozenset({_CLOSE_MESSAGE})))
    message = next(frames, None)
    if message is not None and isinstance(message.data, int):
        found.closes = (_close(Sender.SERVER, message.data, message.extra or ""),)
    else:
        found.local = connection.close_code
        found.ending = (
            f"aiohttp's close code is {connection.close_code}; it does not tell whose frame that was, if there was one"
        )
        error = connection.exception()
        found.ending += f"; {type(error).__name__}" if error is not None else ""
    found.peers = "", _peer(connection.get_extra_info("peername"))
    return found


def _of_the_end(value: object, kinds: frozenset[int] = _ENDS) -> bool:
    """Whether a value is a message of aiohttp that says that the connection is over."""
    if type(value).__module__.partition(".")[0] != "aiohttp" or not type(value).__name__.startswith("WSMessage"):
        return False
    return getattr(value, "type", None) in kinds


def _held(value: object, module: str, name: str) -> Any:  # noqa: ANN401
    """The object of a class that a value holds, found as the garbage collector finds it."""
    held = gc.get_referents(value)
    for one in (*held, *(inner for each in held if isinstance(each, dict) for inner in each.values())):
        if _is(one, module, name):
            return one
    return None


# httpx-ws.


def _httpx(values: list[Any], response: Any = None) -> Raised:  # noqa: ANN401
    found = Raised(client="httpx-ws")
    session = _first(values, "httpx_ws", "WebSocketSession", "AsyncWebSocketSession")
    response = response if response is not None else getattr(session, "response", None)
    if response is None:
        return found
    found = _httpx_request(response.request)
    line = f"{response.http_version} {response.status_code} {response.reason_phrase}".rstrip()
    found.response = Message(
        start_line=line,
        headers=_octets(response.headers.raw),
        body=_httpx_body(response) if response.status_code != 101 else None,
    )
    found.timings += _elapsed(response)
    return found


def _httpx_request(request: Any) -> Raised:  # noqa: ANN401
    target = request.url.raw_path.decode("latin-1")
    head = Message(start_line=f"{request.method} {target} HTTP/1.1", headers=_octets(request.headers.raw))
    return Raised(client="httpx-ws", url=_without_user(_as_websocket(str(request.url))), request=head)


def _httpx_body(response: Any) -> Body | None:  # noqa: ANN401
    try:
        return _body(response.content)
    except RuntimeError:  # it was not read
        return None


def _elapsed(response: Any) -> list[str]:  # noqa: ANN401
    try:
        return [f"the answer was there after {response.elapsed.total_seconds() * 1000:.0f} ms"]
    except RuntimeError:  # the response is still open
        return []


def _httpx_closed(error: Any, values: list[Any]) -> Raised:  # noqa: ANN401
    return replace(_httpx(values), closes=(_close(Sender.SERVER, error.code, error.reason),))


def _httpx_refused(error: Any, values: list[Any]) -> Raised:  # noqa: ANN401
    found = _httpx(values, error.response)
    found.ending = "the upgrade was refused"
    return found


def _httpx_unanswered(error: Any, _: list[Any]) -> Raised | None:  # noqa: ANN401
    """An upgrade that got no answer; None for any other request."""
    try:
        request = error.request
    except RuntimeError:  # the error is about none
        return None
    return (
        replace(_httpx_request(request), ending=f"the upgrade was not answered: {error}")
        if _asks(request.headers)
        else None
    )


def _httpx_lost(_: Any, values: list[Any]) -> Raised:  # noqa: ANN401
    return replace(_httpx(values), ending="no close frame received")


_EXCEPTIONS = (
    ("websockets", "ConnectionClosed", _websockets_closed),
    ("websockets", "InvalidHandshake", _websockets_refused),
    ("aiohttp", "WSServerHandshakeError", _aiohttp_refused),
    ("aiohttp", "ClientConnectionError", _aiohttp_unanswered),
    ("httpx_ws", "WebSocketDisconnect", _httpx_closed),
    ("httpx_ws", "WebSocketUpgradeError", _httpx_refused),
    ("httpx_ws", "WebSocketNetworkError", _httpx_lost),
    ("httpx", "TransportError", _httpx_unanswered),
)
"""Which exceptions tell of a connection, by package and class, and how each is read."""


# Parts.


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _pairs(items: Iterable[tuple[object, object]]) -> tuple[Header, ...]:
    return tuple((str(name), str(value)) for name, value in items)


def _octets(items: Iterable[tuple[bytes, bytes]]) -> tuple[Header, ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in items)


def _body(octets: bytes) -> Body:
    kept = octets[:_MOST_BODY]
    text = kept.decode("utf-8", "replace")
    return Body(text=text, size=len(octets), cut=len(kept) < len(octets))


def _as_websocket(url: str) -> str:
    scheme, colon, rest = url.partition(":")
    return {"http": "ws", "https": "wss"}.get(scheme, scheme) + colon + rest


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
