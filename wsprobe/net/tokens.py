"""Whether a JSON Web Token holds (RFC 7519), checked with PyJWT, which is imported only here and when it is used."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from wsprobe.credentials import short_signature, truncated

if TYPE_CHECKING:
    from jwt.algorithms import AllowedPublicKeys
    from jwt.types import Options

SECRET = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
EDWARDS = ("EdDSA",)
CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",), "secp256k1": ("ES256K",)}
ASYMMETRIC = (*RSA, *(name for names in CURVES.values() for name in names), *EDWARDS)
ALGORITHMS = (*SECRET, *ASYMMETRIC)
"""What may be asked for (RFC 7518, 3.1); `none` is not among them and never accepted."""

MISSING, MALFORMED, SIGNATURE, ALGORITHM = "missing", "malformed", "signature", "algorithm"
EXPIRED, NOT_YET_VALID, AUDIENCE, ISSUER = "expired", "not yet valid", "audience", "issuer"
NO_KEY, NO_KEY_SET = "not verified: no key", "not verified: no key set"
"""The reasons that a verification gives; the words stand in records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, the algorithms that it fits, and the id that a key set gives it (RFC 7517, 4.5)."""

    value: "AllowedPublicKeys | bytes"
    algorithms: tuple[str, ...]
    kid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a token must fulfil; None where its audience or issuer does not matter."""

    algorithms: tuple[str, ...]
    audience: str | None = None
    issuer: str | None = None


class KeySetError(Exception):
    """A key set that cannot be had; the text says from where and why, in one line."""


class Keys(Protocol):
    """Where the keys come from."""

    async def named(self, kid: str | None) -> list[Key]:
        """The keys that may have signed a token with that key id in its head, None for none; may raise KeySetError."""


@dataclass(frozen=True, slots=True)
class OneKey:
    """The same key for every token, whatever id it names."""

    key: Key

    async def named(self, kid: str | None) -> list[Key]:  # noqa: ARG002  the interface's
        """That key."""
        return [self.key]


@dataclass(frozen=True, slots=True)
class Verifier:
    """What decides whether a token holds."""

    keys: Keys
    demands: Demands

    def __post_init__(self) -> None:
        """Imports PyJWT now, not while a first caller waits."""
        import jwt  # noqa: F401

    async def fault(self, token: str) -> str | None:
        """Why a token does not hold, in one of the words above; None where it does."""
        import jwt

        try:
            head = jwt.get_unverified_header(token) if token.isascii() else {}
        except jwt.InvalidTokenError:
            return MALFORMED
        try:
            keys = await self.keys.named(head.get("kid"))
        except KeySetError:
            return NO_KEY_SET
        return verify(token, head.get("alg"), keys, self.demands) if head else MALFORMED


def parse_algorithms(text: str) -> tuple[str, ...]:
    """A list as in `RS256,ES256`; ValueError in one line where it names none that may be accepted."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name.lower() == "none":
            raise ValueError("none means no signature and is never accepted")
        if name not in ALGORITHMS:
            raise ValueError(f"{name[:40]!r} is not known; there are {', '.join(ALGORITHMS)}")
    if not names:
        raise ValueError(f"no algorithm is named; there are {', '.join(ALGORITHMS)}")
    return names


def read_key(text: str) -> Key:
    """The key that a text holds: a public key or certificate in PEM, else a secret for HMAC.

    ValueError in one line where it is PEM of something else.
    """
    if not text.strip():
        raise ValueError("is empty")
    if "-----BEGIN" not in text:
        return Key(value=text.encode("utf-8", "surrogateescape"), algorithms=SECRET)
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    # Environment variables often hold a PEM in one line, with a backslash and an n for each line end.
    pem = text.replace("\\n", "\n").encode("utf-8", "surrogateescape")
    if b"PRIVATE KEY" in pem:
        raise ValueError("holds a private key: give the public one, a token is only verified with it")
    try:
        certificate = b"BEGIN CERTIFICATE" in pem
        value = x509.load_pem_x509_certificate(pem).public_key() if certificate else load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no public key and no certificate in PEM") from None
    if (key := _fitted(value)) is None:
        raise ValueError("holds a key of a kind that verifies no token: RSA, an elliptic curve or Ed25519 does")
    return key


def read_jwk(jwk: object) -> Key | None:
    """A member of a key set, None where it is for something else than to verify signatures (RFC 7517, 4)."""
    import jwt

    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    kid, named = jwk.get("kid"), jwk.get("alg")
    try:
        with warnings.catch_warnings(action="ignore"):
            value = jwt.PyJWK(jwk).key
    except (jwt.PyJWTError, KeyError, AttributeError, TypeError, ValueError):  # a stranger's JSON can be anything
        return None
    key = Key(value=value, algorithms=SECRET) if isinstance(value, bytes) else _fitted(value)
    if key is None or (named is not None and named not in key.algorithms):
        return None
    return replace(key, kid=kid if isinstance(kid, str) else None, algorithms=(named,) if named else key.algorithms)


def _fitted(value: object) -> Key | None:
    """A public key with its algorithms: a token cannot choose one for which the key was not made (RFC 8725, 3.1)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(value, rsa.RSAPublicKey):
        return Key(value=value, algorithms=RSA)
    if isinstance(value, ec.EllipticCurvePublicKey) and value.curve.name in CURVES:
        return Key(value=value, algorithms=CURVES[value.curve.name])
    if isinstance(value, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return Key(value=value, algorithms=EDWARDS)
    return None


def verify(token: str, alg: object, keys: Sequence[Key], demands: Demands) -> str | None:
    """Why a token of that algorithm does not hold, None where it does. `keys` are those that may have signed it."""
    fitting = [key for key in keys if alg in key.algorithms]
    if alg not in demands.algorithms or (keys and not fitting):
        return ALGORITHM
    for key in fitting:
        reason = _checked(token, key, str(alg), demands)
        if reason != SIGNATURE:
            return reason
    # A signature that was cut off does not match either; that it was cut says more.
    parts = tuple(len(part) for part in token.split("."))
    return MALFORMED if truncated(parts) or short_signature(parts, str(alg)) else SIGNATURE


def _checked(token: str, key: Key, alg: str, demands: Demands) -> str | None:
    import jwt

    reasons = {
        jwt.ExpiredSignatureError: EXPIRED,
        jwt.ImmatureSignatureError: NOT_YET_VALID,
        jwt.InvalidAudienceError: AUDIENCE,
        jwt.InvalidIssuerError: ISSUER,
        jwt.InvalidSignatureError: SIGNATURE,
        jwt.InvalidAlgorithmError: ALGORITHM,
        jwt.InvalidKeyError: ALGORITHM,
    }
    # What only PyJWT insists on is left out: other verifiers let a number be a subject.
    options: Options = {"verify_aud": demands.audience is not None, "verify_sub": False, "verify_jti": False}
    try:
        # PyJWT warns of a short secret on stderr: that is the application's affair and says nothing of the token.
        with warnings.catch_warnings(action="ignore"):
            jwt.decode(
                token,
                key.value,
                algorithms=[alg],
                audience=demands.audience,
                issuer=demands.issuer,
                options=options,
            )
    except jwt.MissingRequiredClaimError as error:
        return AUDIENCE if error.claim == "aud" else ISSUER
    except jwt.PyJWTError as error:
        return reasons.get(type(error), MALFORMED)
    return None
