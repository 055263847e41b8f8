"""How the stand-in origin answers: it echoes messages, refuses who has no token, and tells what arrived of a request.

No value that came with a request stands in an answer unredacted: only presence, lengths and fingerprints.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from wsprobe import __version__, codec, handshake, heads
from wsprobe.credentials import secret_subprotocols
from wsprobe.model import Header, Message, Observation, Verification
from wsprobe.net.carriers import Refusal, TokenPolicy
from wsprobe.net.tokens import MISSING
from wsprobe.observer import Observer, Unredacted
from wsprobe.redact import redact

MAX_MESSAGE = 4 * 1024 * 1024
"""Octets of the longest message that is echoed; a longer one ends the connection with 1009."""

CLOSE_SECONDS = 10.0
"""How long the peer gets to answer a close frame."""

_MAX_REASON = 123  # RFC 6455, 5.5: a control frame holds 125 octets, two of them the code
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_UPGRADE_REQUIRED = frozenset(
    {"no Upgrade: websocket", "Connection does not name upgrade", "Sec-WebSocket-Version is not 13"}
)
OWN_HEADERS = {"Server": f"wsprobe/{__version__}", "Cache-Control": "no-store"}
_WANTED = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Connection": "Upgrade, close"}
_TOLD = ("name", "trace", "request", "verification", "redactions")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """What the answers depend on; `key` is the fingerprint key that recorders share."""

    tokens: TokenPolicy
    on_missing: Refusal
    on_bad: Refusal
    check_origin: bool
    key: bytes | None

    async def answer(self, request: web.BaseRequest, observer: Observer) -> web.StreamResponse:
        """The response, which for an upgrade is also the conversation; the observer gets the verification first."""
        arrived = _Arrived(request, observer, self.key)
        arrived.verification = observer.verification = await self.tokens.judge(request)
        if handshake.asks_for_websocket(arrived.headers):
            return await self._upgrade(request, arrived)
        if request.method == "CONNECT":
            return arrived.told(405)
        if request.path == "/" or arrived.verification.valid:  # a health check has no token
            return arrived.told(200)
        return arrived.told(401)

    async def _upgrade(self, request: web.BaseRequest, arrived: "_Arrived") -> web.StreamResponse:
        flaws = handshake.request_flaws(arrived.start_line, arrived.headers)
        if flaws:
            return arrived.told(400 if set(flaws) - _UPGRADE_REQUIRED else 426, "; ".join(flaws))
        if self.check_origin and heads.values(arrived.headers, "origin") and _is_foreign(arrived.headers):
            return arrived.told(403, "Origin names another host than Host")
        verification = arrived.verification
        if verification is None or verification.valid:
            return await _conversation(request, arrived.headers)
        how = self.on_missing if verification.reason == MISSING else self.on_bad
        if how in {"401", "403"}:
            return arrived.told(int(how))
        return await _conversation(request, arrived.headers, how, in_words(verification))


def in_words(verification: Verification) -> str:
    """Why an upgrade is refused, for a close frame or a person."""
    if verification.reason == MISSING:
        return f"no token in {verification.carrier}"
    return f"the token in {verification.carrier} was refused: {verification.reason}"


class _Arrived:
    """A request as it arrived, and what may be told about it."""

    def __init__(self, request: web.BaseRequest, observer: Observer, key: bytes | None) -> None:
        version = request.version
        self.start_line = f"{request.method} {request.raw_path} HTTP/{version.major}.{version.minor}"
        self.headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        self.verification: Verification | None = None
        self._observer = observer
        self._key = key

    def told(self, status: int, problem: str | None = None) -> web.Response:
        """A response that says what arrived; one that refuses ends the connection."""
        told = self._document()
        answer = {key: told[key] for key in _TOLD if key in told}
        if problem is None and status in {401, 403} and self.verification:
            problem = in_words(self.verification)
        response = web.json_response({"problem": problem, **answer} if problem else answer, status=status)
        response.headers.update(OWN_HEADERS)
        if status == 401:
            response.headers["WWW-Authenticate"] = self._challenge()
        if status == 426:
            response.headers.update(_WANTED)
        if status != 200:
            response.force_close()
        return response

    def _challenge(self) -> str:
        """RFC 6750, 3: no error is named to a caller that sent no token."""
        reason = self.verification.reason if self.verification else None
        error = "" if reason in {None, MISSING} else f', error="invalid_token", error_description="{reason}"'
        return f'Bearer realm="wsprobe"{error}'

    def _document(self) -> codec.Json:
        source = self._observer.source
        ids = handshake.trace_ids(self.headers)
        seen = Observation(
            name=source.name,
            instance=source.instance,
            recorder=source.recorder,
            connection=self._observer.connection,
            exchange=0,
            trace=ids[0] if ids else None,
            at="",
            request=Message(start_line=self.start_line, headers=self.headers),
            response=None,
            closes=(),
            ended=None,
            verification=self.verification,
        )
        return codec.encode(redact(Unredacted(seen), self._key))


async def _conversation(
    request: web.BaseRequest, headers: tuple[Header, ...], refusal: Refusal | None = None, reason: str = ""
) -> web.WebSocketResponse:
    """The 101, then an echo of every message, or the refusal."""
    protocol = _subprotocol(headers)
    # Closed by hand: aiohttp would answer every close code with 1000.
    ws = web.WebSocketResponse(
        timeout=CLOSE_SECONDS, autoclose=False, protocols=(protocol,) if protocol else (), max_msg_size=MAX_MESSAGE
    )
    ws.headers["Server"] = OWN_HEADERS["Server"]
    try:
        await ws.prepare(_opening(request, protocol))
        if refusal is None:
            await _echo(ws)
        elif refusal == "drop":
            if request.transport:
                request.transport.close()
        else:
            await ws.close(code=int(refusal), message=_cut(reason))
    except ConnectionError:
        pass  # the peer left meanwhile: the observer has seen it
    return ws


def _cut(reason: str) -> bytes:
    """A close reason that fits, cut between characters."""
    return reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()


def _opening(request: web.BaseRequest, protocol: str | None) -> web.BaseRequest:
    """The handshake and nothing else: of offered subprotocols, one of which may be a token, aiohttp logs the values."""
    kept = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions"):
        value = ", ".join(request.headers.getall(name, []))
        if value and value.isascii():
            kept[name] = value
    if protocol:
        kept["Sec-WebSocket-Protocol"] = protocol
    return request.clone(headers=kept)


def _subprotocol(headers: tuple[Header, ...]) -> str | None:
    """The first subprotocol offered that is not a token; echoing a token would make caches and logs keep it."""
    pairs = secret_subprotocols(heads.tokens(headers, "sec-websocket-protocol"))
    return next((shown for shown, secret in pairs if not secret), None)


async def _echo(ws: web.WebSocketResponse) -> None:
    while True:
        message = await ws.receive()
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
        elif message.type is WSMsgType.CLOSE:
            await ws.close(code=message.data or 1000)
            return
        else:  # the peer broke the protocol, and aiohttp has told it so, or it is gone
            return


def _is_foreign(headers: tuple[Header, ...]) -> bool:
    """Whether Origin names another host or port than Host (RFC 6455, 10.2)."""
    hosts = heads.values(headers, "host")
    try:
        origin, host = urlsplit(heads.values(headers, "origin")[0]), urlsplit(f"//{hosts[0] if hosts else ''}")
        default = _PORTS.get(origin.scheme)
        same = origin.hostname == host.hostname and (origin.port or default) == (host.port or default)
    except ValueError:  # a port that is no number, brackets that do not match
        same = False
    return not same
