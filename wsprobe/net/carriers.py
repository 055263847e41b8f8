"""Where an origin looks for its caller's token, what it says of it, and how it may refuse the caller."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from wsprobe.credentials import secret_subprotocols
from wsprobe.model import Verification
from wsprobe.net.tokens import MALFORMED, MISSING, NO_KEY, Verifier

if TYPE_CHECKING:
    from aiohttp import web

Refusal = Literal["1011", "1008", "401", "403", "drop"]
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)
"""How an upgrade is refused: by a close frame after the 101, by a status instead of it, or by a TCP close after it."""

_KUBERNETES = "base64url.bearer.authorization"


@dataclass(frozen=True, slots=True)
class Carrier:
    """One place where a token may stand: header, cookie, query or subprotocol; cookies and parameters by name."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        words = {"header": "header Authorization", "subprotocol": "header Sec-WebSocket-Protocol"}
        return words.get(self.kind) or f"{self.kind.replace('query', 'query parameter')} {self.name}"

    def token(self, request: "web.BaseRequest") -> str | None:
        """What stands there: None where nothing does, empty where it is something else than a token."""
        if self.kind == "header":
            return _bearer(request.headers.get("Authorization", ""))
        if self.kind == "subprotocol":
            return _subprotocol(", ".join(request.headers.getall("Sec-WebSocket-Protocol", [])))
        return (request.cookies if self.kind == "cookie" else request.query).get(self.name)


def parse_carrier(text: str) -> Carrier:
    """A carrier as the command line takes it; ValueError in one line where it is none."""
    kind, colon, name = text.partition(":")
    if kind in {"header", "subprotocol"} and not colon:
        return Carrier(kind)
    if kind in {"cookie", "query"} and name:
        return Carrier(kind, name)
    raise ValueError(f"{text[:80]!r} is none of header, cookie:NAME, query:NAME, subprotocol")


def _bearer(value: str) -> str | None:
    """RFC 6750, 2.1."""
    if not value.strip():
        return None
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def _subprotocol(value: str) -> str | None:
    """The element that is no name of a protocol; Kubernetes codes the token once more."""
    for shown, secret in secret_subprotocols([element.strip() for element in value.split(",")]):
        if not secret:
            continue
        if not shown.lower().startswith(_KUBERNETES):
            return secret
        try:
            return base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4)).decode()
        except (binascii.Error, ValueError):
            return ""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """Where a token is looked for, in order, and what decides whether it holds; without that it must only be there."""

    carriers: Sequence[Carrier] = (Carrier("header"),)
    verifier: Verifier | None = None

    async def judge(self, request: "web.BaseRequest") -> Verification:
        """What became of looking for a token in a request and verifying it."""
        for carrier in self.carriers:
            token = carrier.token(request)
            if token is not None:
                reason = await self._reason(token)
                return Verification(carrier=str(carrier), valid=reason in {None, NO_KEY}, reason=reason)
        looked_at = " or ".join(str(carrier) for carrier in self.carriers)
        return Verification(carrier=looked_at, valid=False, reason=MISSING)

    async def _reason(self, token: str) -> str | None:
        if not token:
            return MALFORMED
        return await self.verifier.fault(token) if self.verifier else NO_KEY
