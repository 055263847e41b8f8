"""Key sets (RFC 7517, 5) from a file or a URL: bounded, kept, and looked up again when a token names a new key."""

import asyncio
import json
import time
from pathlib import Path
from typing import Self

from wsprobe.net.tokens import Key, KeySetError, read_jwk

MAX_OCTETS = 1024 * 1024
"""Octets of the largest key set that is read."""

MAX_KEYS = 200
FETCH_SECONDS = 10.0
REFRESH_SECONDS = 60.0
"""An unknown key id makes the key set be looked up again, at most once in this time."""


class KeySet:
    """A key set at a path or at an http(s) URL."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._keys: list[Key] = []
        self._renewed: float | None = None
        self._renewing = asyncio.Lock()

    @classmethod
    def loaded(cls, where: str) -> Self:
        """A key set that was read, where no event loop runs yet; KeySetError where it cannot be had."""
        key_set = cls(where)
        asyncio.run(key_set.load())
        return key_set

    async def load(self) -> None:
        """Reads it now; KeySetError where it cannot be had, and what was read before stays."""
        is_url = self._where.startswith(("http://", "https://"))
        self._keys = _parsed(self._where, await _fetched(self._where) if is_url else _read(Path(self._where)))

    async def named(self, kid: str | None) -> list[Key]:
        """The keys of that id; all keys for a token that names none. KeySetError where there never was a key set."""
        if found := self._among(kid):
            return found
        async with self._renewing:
            if not self._among(kid) and self._may_renew():
                self._renewed = time.monotonic()
                try:
                    await self.load()
                except KeySetError:
                    if not self._keys:
                        raise
        return self._among(kid)

    def _may_renew(self) -> bool:
        return self._renewed is None or time.monotonic() - self._renewed >= REFRESH_SECONDS

    def _among(self, kid: str | None) -> list[Key]:
        return [key for key in self._keys if kid is None or key.kid == kid]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise KeySetError(f"{path}: {error.strerror or error}") from None


async def _fetched(url: str) -> bytes:
    import aiohttp

    document = bytearray()
    try:
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers={"Accept": "application/json"}, max_redirects=3) as response,
        ):
            if response.status != 200:
                raise KeySetError(f"{_plain(url)} answered {response.status}")
            async for piece in response.content.iter_chunked(65536):
                document += piece
                if len(document) > MAX_OCTETS:
                    break
    except TimeoutError:
        raise KeySetError(f"{_plain(url)} did not answer in {FETCH_SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a URL that is none
        raise KeySetError(f"{_plain(url)}: {type(error).__name__}") from None
    return bytes(document)


def _plain(url: str) -> str:
    """A URL without what may be secret in it: the query, and a user's name and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].partition('#')[0].rpartition('@')[2]}"


def _parsed(where: str, document: bytes) -> list[Key]:
    where = _plain(where) if "://" in where else where
    if len(document) > MAX_OCTETS:
        raise KeySetError(f"{where}: longer than {MAX_OCTETS} octets")
    try:
        members = json.loads(document)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError):  # RecursionError: deeply nested on purpose
        members = None
    if not isinstance(members, list):
        raise KeySetError(f'{where}: not a JSON Web Key Set: it has no list "keys"')
    keys = [key for member in members[:MAX_KEYS] if (key := read_jwk(member)) is not None]
    if not keys:
        raise KeySetError(f"{where}: none of its {len(members)} keys is one to verify a token with")
    return keys
