"""The API of an issue tracker: the token goes to its own host alone, and each failure is one line."""

import asyncio
import ipaddress
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from wsprobe import __version__
from wsprobe.net.address import is_literal
from wsprobe.net.tls import reason
from wsprobe.redact import redact_text

MAX_OCTETS = 64 * 1024 * 1024
"""Octets of the longest answer that is read: a hundred comments of the longest kind are 26 MB."""

_SECONDS = aiohttp.ClientTimeout(total=120, sock_connect=10, sock_read=20)
_REDIRECTS = 3
_LONGEST_PAUSE = 366 * 86400.0
_EARLIEST = 1e9
"""The time of day that is the first to be one, September 2001: what is less counts from now."""

_UNTOLD_PAUSE = 60.0
"""Seconds that GitHub asks for where a limit comes without a header that says more."""

_WHY = {
    401: "the token is not accepted: it expired, was revoked, or is for another server",
    403: "the token may not do that",
    404: "there is no such issue or project, or the token may not see it",
    410: "issues are switched off there, or this one was deleted",
    413: "it is longer than the server takes",
    422: "the server refuses what was sent",
}


class AttachError(Exception):
    """Why it was not posted, in one line; `unknown` where it may have been."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class RefusedError(AttachError):
    """The server's own no; `limit` where it only asks for a pause."""

    def __init__(self, message: str, status: int, *, limit: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a JSON document, and whether there is a further page of it."""

    document: Any
    more: bool


@dataclass(slots=True, kw_only=True)
class Forge:
    """A conversation with one API; `tell` gets what a person who waits wants to know."""

    api: str
    token: str = field(repr=False)
    headers: Mapping[str, str]
    tell: Callable[[str], None]
    longest_wait: float
    tls: ssl.SSLContext | None = None
    _waited: bool = False

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        file: tuple[str, bytes] | None = None,
    ) -> Answer:
        """One request, sent on as far as the same server says so, and once more after a pause that it asked for."""
        url = URL(self.api + path, encoded=True).with_query(query)
        for _ in range(_REDIRECTS + 2):
            status, headers, document = await self._sent(method, url, body, file)
            if 300 <= status < 400:
                url = self._onward(url, status, headers.get("Location"))
                continue
            pause = _pause(status, headers, document)
            if pause is not None and not self._waited and pause <= self.longest_wait:
                self._waited = True
                self.tell(f"{self._host} asks for a pause: going on in {pause:.0f} s")
                await asyncio.sleep(pause)
                continue
            if status >= 400:
                raise self._refused(method, status, document, pause)
            return Answer(document, 'rel="next"' in headers.get("Link", ""))
        raise AttachError(f"{self._host} sends on from one address to the next without end")

    @property
    def _host(self) -> str:
        return urlsplit(self.api).netloc

    async def _sent(
        self, method: str, url: URL, body: Mapping[str, object] | None, file: tuple[str, bytes] | None
    ) -> tuple[int, Mapping[str, str], Any]:
        """The answer to one request. AttachError for a connection that is not made, or is lost."""
        data: bytes | aiohttp.FormData | None = None
        headers = {**self.headers, "Authorization": f"Bearer {self.token}", "User-Agent": f"wsprobe/{__version__}"}
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif file is not None:
            data = aiohttp.FormData()
            data.add_field("file", file[1], filename=file[0], content_type="application/octet-stream")
        connector = aiohttp.TCPConnector(ssl=self.tls) if self.tls else aiohttp.TCPConnector()
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=_SECONDS) as session,
                session.request(
                    method, url, data=data, headers=headers, allow_redirects=False, proxy=_proxy(url)
                ) as response,
            ):
                text = await self._read(method, response)
                return response.status, response.headers, self._parsed(method, response.status, text)
        except aiohttp.ClientConnectorCertificateError as error:
            raise AttachError(f"{self._host}: {reason(error.certificate_error)}") from None
        except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError, aiohttp.InvalidURL) as error:
            what = (
                f"answered {error.status}" if isinstance(error, aiohttp.ClientHttpProxyError) else "cannot be reached"
            )
            raise AttachError(f"{self._host}: the proxy that the environment names {what}") from None
        except aiohttp.ClientConnectorError as error:
            cause = error.os_error
            why = reason(cause) if isinstance(cause, ssl.SSLError) else cause.strerror or type(cause).__name__
            raise AttachError(f"{self._host} cannot be reached: {why}") from None
        except TimeoutError:
            raise self._lost(method, "it did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(method, f"the connection was lost ({type(error).__name__})") from None

    async def _read(self, method: str, response: aiohttp.ClientResponse) -> bytes:
        text = bytearray()
        async for piece in response.content.iter_chunked(65536):
            text += piece
            if len(text) > MAX_OCTETS:
                raise AttachError(f"{self._host} answered with more than {MAX_OCTETS} octets", unknown=method != "GET")
        return bytes(text)

    def _lost(self, method: str, why: str) -> AttachError:
        return AttachError(f"{self._host}: {why}", unknown=method != "GET")

    def _parsed(self, method: str, status: int, text: bytes) -> Any:  # noqa: ANN401  JSON of a stranger
        try:
            return json.loads(text)
        except (ValueError, RecursionError):  # RecursionError: deeply nested on purpose
            if 200 <= status < 300:
                raise AttachError(
                    f"{self._host} answered {status} with what is no JSON: is {self.api} the address of the API?",
                    unknown=method != "GET",
                ) from None
            return None

    def _onward(self, url: URL, status: int, location: str | None) -> URL:
        """Where it goes on; never another server, which the token is not for."""
        try:
            onward = url.join(URL(location or "", encoded=True))
            same = onward.origin() == url.origin() and bool(location) and status != 303
        except ValueError:
            onward, same = url, False
        if not same:
            where = redact_text(f"{onward.scheme}://{onward.host}")[:200] if location else "nowhere"
            raise AttachError(
                f"{self._host} answered {status} and sends on to {where}: the token is for {self._host} alone"
            )
        return onward

    def _refused(self, method: str, status: int, document: object, pause: float | None) -> RefusedError:
        said = self._said(document)
        quoted = f' ("{said}")' if said else ""
        if pause is not None:
            after = datetime.fromtimestamp(time.time() + pause, UTC).strftime("%H:%M:%S UTC")
            line = f"{self._host} answered {status}: a rate limit{quoted}; it may be tried again in {pause:.0f} s, "
            return RefusedError(f"{line}after {after}", status, limit=True)
        why = _WHY.get(status, "the server failed" if status >= 500 else "the server refuses it")
        error = RefusedError(f"{self._host} answered {status}: {why}{quoted}", status)
        error.unknown = status >= 500 and method != "GET"  # a gateway may have given up on what then came about
        return error

    def _said(self, document: object) -> str:
        """The server's own words, short, and without the token whoever wrote them."""
        if not isinstance(document, dict):
            return ""
        words = [document.get("message") or document.get("error") or "", *_errors(document.get("errors"))]
        text = "; ".join(word if isinstance(word, str) else json.dumps(word) for word in words if word)
        return redact_text(text.replace(self.token, "[withheld]"))[:300]


def _errors(errors: object) -> list[str]:
    """What a 422 of GitHub says in detail."""
    if not isinstance(errors, list):
        return []
    keys = ("resource", "field", "code", "message")
    return [
        one if isinstance(one, str) else " ".join(str(one[key]) for key in keys if one.get(key))
        for one in errors[:5]
        if isinstance(one, str | dict)
    ]


def _proxy(url: URL) -> str | None:
    """The proxy of the environment; aiohttp's own way would also read passwords from .netrc."""
    host = url.host or ""
    here = host == "localhost" or (is_literal(host) and ipaddress.ip_address(host).is_loopback)
    if url.scheme != "https" or here or proxy_bypass(host):
        return None
    return getproxies().get("https")


def _pause(status: int, headers: Mapping[str, str], document: object) -> float | None:
    """Seconds after which it may be tried again; None for what is no limit of a rate."""
    if status not in {403, 429}:
        return None
    told = _seconds(headers)
    said = str(document.get("message", "")).lower() if isinstance(document, dict) else ""
    if told is None and (status == 429 or "rate limit" in said):
        return _UNTOLD_PAUSE
    return None if told is None else min(told, _LONGEST_PAUSE)


def _seconds(headers: Mapping[str, str]) -> float | None:
    """What the headers say (RFC 9110, 10.2.3; GitHub's X-RateLimit-*, GitLab's RateLimit-*), by the server's clock."""
    now = _date(headers.get("Date", "")) or time.time()
    retry = headers.get("Retry-After", "").strip()
    if retry.isdecimal() and len(retry) < 10:
        return float(retry)
    if retry and (at := _date(retry)) is not None:
        return max(0.0, at - now)
    for prefix in ("X-RateLimit", "RateLimit"):
        reset = headers.get(f"{prefix}-Reset", "")
        if headers.get(f"{prefix}-Remaining") == "0" and reset.isdecimal() and len(reset) < 15:
            return max(1.0, _reset(float(reset), now))
    return None


def _reset(number: float, now: float) -> float:
    """Seconds until a limit ends: told as a time in seconds, by gateways also in milliseconds or counted from now."""
    if number < _EARLIEST:
        return number
    return (number / 1000 if number > 1000 * _EARLIEST else number) - now


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
