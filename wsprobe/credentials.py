"""Which values are credentials, and what a JSON Web Token says of itself. Standard library only; verifies nothing."""

import base64
import binascii
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from wsprobe.patterns import lazy

if TYPE_CHECKING:
    from wsprobe.model import Jwt

_SECRET_NAME = lazy(
    r"token|key|secret|auth|session|passw|passphrase|pwd|ticket|jwt|credential|signature|^sig$|^code$|bearer"
    r"|sess_?id|(?:^|[._-]|user)(?:sid|otp|pin|pw|pass)$|csrf|xsrf|hmac|saml|cookie|assertion|oidc|principal|client-?cert"
    r"|x-forwarded-(?:user|email|preferred-username|groups)|x-goog-authenticated|remote-user|userinfo",
    re.IGNORECASE,
)
# They look like the above and say why a handshake failed, or hold nothing secret (RFC 6455, 11.3; RFC 9110, 11.6).
_TELLING_NAME = lazy(
    r"^(sec-websocket-key|sec-websocket-accept|.*-authenticate|(proxy-)?authentication-info|access-control-.*)$",
    re.IGNORECASE,
)

SCHEMES = frozenset(
    "apikey aws4-hmac-sha256 basic bearer digest dpop gnap hoba hmac jwt mac mutual negotiate ntlm oauth "  # noqa: SIM905  they read as words
    "privatetoken scram-sha-1 scram-sha-256 signature splunk token vapid".split()
)
"""Authentication schemes that may be told beside a credential (RFC 9110, 11.1, and common use)."""

JWT = lazy(
    r"(?:eyJ|eyA[gi]|(?<![A-Za-z0-9])(?:ewo|ewk|ew0K))[A-Za-z0-9_-]{6,}(?:={0,2}(?:\.|%2[Ee])[A-Za-z0-9_-]*){0,4}"
)
"""A JSON Web Token or what is left of one: its first part is the base64url of a JSON object (RFC 7515, 7.1).

Padding and encoded dots are taken too: a token that somebody wrote wrongly is as secret as a right one.
"""

SIGNATURE_LENGTHS: Mapping[str, tuple[int, ...]] = {
    "HS256": (43,),
    "HS384": (64,),
    "HS512": (86,),
    "ES256": (86,),
    "ES384": (128,),
    "ES512": (176,),
    "EdDSA": (86, 152),
    "RS256": (342, 512, 683),
    "RS384": (342, 512, 683),
    "RS512": (342, 512, 683),
    "PS256": (342, 512, 683),
    "PS384": (342, 512, 683),
    "PS512": (342, 512, 683),
}
"""How many characters the signature of a whole token has (RFC 7518, 3; RSA keys of 2048, 3072 and 4096 bits)."""

_JWT_PARTS = 3
_MAX_SHOWN = 200
_MAX_CACHED = 64
_SEPARATORS = lazy(r"[._/\-]")
_KUBERNETES = lazy(r"base64url\.bearer\.authorization\.k8s\.io\.|base64url\.bearer\.authorization\.", re.IGNORECASE)
_PROTOCOL_MARKERS = frozenset(
    "authorization bearer token access_token access-token jwt auth apikey api-key api_key ticket".split()  # noqa: SIM905
)


def is_secret_name(name: str) -> bool:
    """Whether a header, cookie, or parameter of that name holds something that must not be shown."""
    return _is_secret_name(name) if len(name) <= _MAX_CACHED else _is_secret_name.__wrapped__(name)


@lru_cache(maxsize=1024)  # the names of headers are few, and each is asked for at every connection
def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _TELLING_NAME.match(name)


def is_explaining_name(name: str) -> bool:
    """Whether a header of that name tells why a handshake failed, or answers it, and must stay readable."""
    return _is_explaining_name(name) if len(name) <= _MAX_CACHED else _is_explaining_name.__wrapped__(name)


@lru_cache(maxsize=1024)  # as above
def _is_explaining_name(name: str) -> bool:
    return bool(_TELLING_NAME.match(name))


def split_scheme(value: str) -> tuple[str | None, str]:
    """The authentication scheme of a credentials value, if it is a known one, and the rest (RFC 9110, 11.4)."""
    scheme, space, rest = value.partition(" ")
    return (scheme, rest.strip()) if space and scheme.lower() in SCHEMES else (None, value)


def secret_subprotocols(elements: list[str]) -> list[tuple[str, str]]:
    """Each element of Sec-WebSocket-Protocol as what may be shown of it and what must not.

    Browsers cannot set Authorization on a WebSocket, so tokens travel here: behind a marker of their own element,
    or behind a prefix as Kubernetes does it. What does not look like the name of a protocol counts as a token.
    """
    found = []
    marked = False
    for element in elements:
        prefix = _secret_from(element, marked=marked)
        found.append((element[:prefix], element[prefix:]))
        marked = element.lower() in _PROTOCOL_MARKERS
    return found


def _secret_from(element: str, *, marked: bool) -> int:
    """How many characters of a subprotocol may be shown before the token that is in it."""
    if known := _KUBERNETES.match(element):
        return known.end()
    if token := JWT.search(element):
        return token.start()
    first = _SEPARATORS.split(element, maxsplit=1)[0]
    if first.lower() in _PROTOCOL_MARKERS and len(element) > len(first) + 1:
        return len(first) + 1
    prefix, dot, _ = element.rpartition(".")
    if marked or looks_opaque(element):
        return len(prefix + dot) if prefix.lower().endswith("bearer") else 0
    return len(element)


def looks_opaque(text: str) -> bool:
    """Whether a part of a path or the name of a subprotocol is rather a value that somebody drew at random."""
    return any(_is_run(run) for run in _SEPARATORS.split(text)) or len(text) > 64


def _is_run(run: str) -> bool:
    """A run of letters and digits that no protocol name has: long and mixed, or very long."""
    mixed = any(c.isdigit() for c in run[1:-1]) and any(c.isalpha() for c in run)
    cased = any(c.islower() for c in run) and any(c.isupper() for c in run[1:])
    return (len(run) >= 8 and (mixed or (cased and len(run) >= 14))) or len(run) >= 24


def guessable(secret: str) -> bool:
    """Whether a value may hold fewer than 128 bits, so that a fingerprint under a known key would tell it.

    Only what looks random counts: a signed token, or 32 hex digits or 24 mixed letters and digits with the many
    changes of class that chance makes and words do not.
    """
    if len(secret) < 24:
        return True
    if "." not in secret and (inner := _decoded(secret)):  # no digit of either has a dot
        return guessable(inner)
    if JWT.fullmatch(secret):
        parts = secret.split(".")
        return len(parts) < _JWT_PARTS or len(parts[2]) < 22 or len(set(parts[2])) < 10
    if re.fullmatch(r"[0-9a-f]{32,}", secret):
        return secret.isdigit() or len(set(secret)) < 8 or _repeats(secret)
    # RFC 9562: a UUID has 122 bits at best, and the older versions are made of a clock and an address.
    uuid = re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", secret)
    if uuid or not re.fullmatch(r"[A-Za-z0-9_+/=.~-]{24,}", secret) or len(set(secret)) < 14 or _repeats(secret):
        return True
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" if c.islower() else "o" for c in secret]
    changes = sum(a != b for a, b in pairwise(kinds))
    return changes < 0.45 * len(secret)


def _repeats(secret: str) -> bool:
    runs = [secret[at : at + 4] for at in range(len(secret) - 3)]
    return len(set(runs)) < 0.8 * len(runs)


def _decoded(secret: str) -> str | None:
    """The text that a value is the base64 or the hexadecimal digits of: it looks like chance and is not."""
    for read in (bytes.fromhex, lambda text: base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)):
        try:
            text = read(secret.replace("+", "-").replace("/", "_")).decode()
        except ValueError:  # neither, or not of text
            continue
        if text.isprintable():
            return text
    return None


def read_jwt(token: str) -> "Jwt | None":
    """What the header and the claims of a token say, None where it is no token. Nothing is verified."""
    from wsprobe.model import Jwt  # only who reads tokens pays for the records

    parts = token.split(".")
    header = _json_part(parts[0])
    if header is None or not isinstance(header.get("alg"), str):
        return None
    claims = (_json_part(parts[1]) if len(parts) > 1 else None) or {}
    audience = claims.get("aud")
    scope = claims.get("scope", claims.get("scp"))
    return Jwt(
        alg=_text(header.get("alg")),
        typ=_text(header.get("typ")),
        kid=_text(header.get("kid")),
        iss=_text(claims.get("iss")),
        aud=_texts(audience if isinstance(audience, list) else [audience]),
        exp=_number(claims.get("exp")),
        nbf=_number(claims.get("nbf")),
        iat=_number(claims.get("iat")),
        scope=_texts([*scope.split()] if isinstance(scope, str) else scope if isinstance(scope, list) else []),
        claims=_texts(list(claims)),
    )


def truncated(parts: tuple[int, ...]) -> bool:
    """Whether a token of these part lengths cannot be whole: cut off on its way or when it was copied."""
    # RFC 7515, 7.1: three parts; base64 of no octets has one character more than a multiple of four.
    return len(parts) < _JWT_PARTS or 0 in parts[:_JWT_PARTS] or any(size % 4 == 1 for size in parts)


def short_signature(parts: tuple[int, ...], alg: str | None) -> int | None:
    """How many characters the signature of such a token has at least, if this one has fewer; None otherwise."""
    lengths = SIGNATURE_LENGTHS.get(alg or "")
    return min(lengths) if lengths and len(parts) == _JWT_PARTS and parts[2] < min(lengths) else None


def _json_part(part: str) -> dict[str, object] | None:
    import json

    try:
        decoded = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):  # RecursionError: deeply nested on purpose
        return None
    return decoded if isinstance(decoded, dict) else None


def _text(value: object) -> str | None:
    return value[:_MAX_SHOWN] if isinstance(value, str) else None


def _texts(items: list[object]) -> tuple[str, ...]:
    return tuple(item[:_MAX_SHOWN] for item in items[:32] if isinstance(item, str))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        return None  # not a number, or none that is a time
    return float(value)
