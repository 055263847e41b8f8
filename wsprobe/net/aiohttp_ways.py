"""Where a probe and aiohttp's client want different things of the same handshake."""

import asyncio
import ssl
from collections.abc import Callable, Iterable

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy

from wsprobe.handshake import accept_for
from wsprobe.heads import MAX_BODY
from wsprobe.model import Header
from wsprobe.net.tls import reason

_BODY_SECONDS = 5.0
# As Chrome sends them; what is not here comes last.
_CHROME_ORDER = (
    "host",
    "connection",
    "pragma",
    "cache-control",
    "user-agent",
    "upgrade",
    "origin",
    "sec-websocket-version",
    "accept-encoding",
    "accept-language",
    "cookie",
    "sec-websocket-key",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
)


class Failed(Exception):  # noqa: N818  an outcome, not an error
    """aiohttp gave up; the cause says why. It would make the request again where the connection was lost."""


def in_chrome_order(headers: Iterable[Header]) -> list[Header]:
    """Headers as Chrome orders those of an upgrade."""

    def place(header: Header) -> int:
        name = header[0].lower()
        return _CHROME_ORDER.index(name) if name in _CHROME_ORDER else len(_CHROME_ORDER)

    return sorted(headers, key=place)


def answer_class(key: Callable[[], str]) -> type[aiohttp.ClientResponse]:
    """A 101 as aiohttp wants to see it.

    aiohttp checks the answer against the key that it made itself, which was replaced by the trace's, and knows only
    one spelling of Connection. The answer to the key that was really sent is judged by the middleware before.
    """

    class Answer(aiohttp.ClientResponse):
        @property
        def headers(self) -> CIMultiDictProxy[str]:  # reified there, the same to its readers
            shown_ = CIMultiDict(super().headers)
            if self.status == 101:
                shown_[hdrs.CONNECTION] = "upgrade"
                shown_[hdrs.SEC_WEBSOCKET_ACCEPT] = accept_for(key())
            return CIMultiDictProxy(shown_)

    return Answer


async def read_body(response: aiohttp.ClientResponse) -> None:
    """Lets the body of a refusal come, up to a size and a time; the observer keeps it."""
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while size <= MAX_BODY and (data := await response.content.readany()):
                size += len(data)
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # as much as came is the evidence; the observer tells where it was cut short
    response.close()


def in_words(error: BaseException) -> tuple[str, str, str]:
    """Why there was no answer: the phase, a short kind, and words without anything that aiohttp adds of its own."""
    cause = error.__cause__ if isinstance(error, Failed) and error.__cause__ else error
    below = cause.__cause__ or cause
    if isinstance(below, ssl.SSLError):  # TLS 1.3: the server judges the client's certificate after the handshake
        return "tls", "handshake", reason(below)
    match cause:
        case aiohttp.ServerDisconnectedError():
            return "response", "closed", "the connection was closed before a whole answer came"
        case ConnectionError():
            return "response", "reset", "the connection was reset"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            what = getattr(cause, "message", "").partition("\n")[0].partition(":")[0]
            return "response", "malformed", f"what came is no HTTP response that can be read: {what or 'cut short'}"
        case OSError() if cause.strerror:
            return "response", "failed", cause.strerror.lower()
    return "response", "failed", f"{type(cause).__name__}: {cause}"
