"""`wsprobe token`: what a JSON Web Token says, and whether it would verify. The token itself is never shown."""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from wsprobe.cli import UsageError, one_line
from wsprobe.cli.keyoptions import key_arguments, verifier
from wsprobe.credentials import read_jwt, short_signature, truncated
from wsprobe.model import Jwt

MAX_OCTETS = 64 * 1024
"""Octets of the longest token that is read."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_PREFIX = re.compile(r"^(authorization\s*:\s*)?(bearer(\s+|$))?", re.IGNORECASE)
_SIGNED_PARTS, _ENCRYPTED_PARTS = 3, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a token says, and what is wrong with it at a time."""

    jwt: Jwt
    parts: tuple[int, ...]
    now: float
    checked: bool
    fault: str | None

    @property
    def expired(self) -> bool:
        """RFC 7519, 4.1.4."""
        return self.jwt.exp is not None and self.jwt.exp <= self.now

    @property
    def too_early(self) -> bool:
        """RFC 7519, 4.1.5."""
        return self.jwt.nbf is not None and self.jwt.nbf > self.now

    @property
    def unsigned(self) -> bool:
        """RFC 7518, 3.6."""
        return (self.jwt.alg or "").lower() == "none"

    @property
    def encrypted(self) -> bool:
        """RFC 7516, 3.1."""
        return len(self.parts) == _ENCRYPTED_PARTS

    @property
    def truncated(self) -> bool:
        """Whether it is too short to be whole."""
        if self.unsigned or self.encrypted:
            return len(self.parts) < _SIGNED_PARTS
        return truncated(self.parts) or short_signature(self.parts, self.jwt.alg) is not None

    @property
    def holds(self) -> bool:
        """Whether nothing is known that a server would refuse it for."""
        return not (self.expired or self.too_early or self.truncated or self.unsigned or self.fault)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    parser.add_argument("--env", metavar="NAME", help="the token is in this environment variable (default: on stdin)")
    key_arguments(parser)
    parser.add_argument("--format", choices=["terminal", "json"], default="terminal", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Tells; exit status 1 for a token that is expired or would not verify."""
    check = verifier(options)
    token = _token(options.env)
    jwt = read_jwt(token)
    if jwt is None or not token.isascii() or any(c.isspace() for c in token):
        raise UsageError(_no_token(token))
    fault = None
    if check:
        import asyncio

        fault = asyncio.run(check.fault(token))
    parts = tuple(len(part) for part in token.split("."))
    judged = Judged(jwt=jwt, parts=parts, now=time.time(), checked=check is not None, fault=fault)
    if options.format == "json":
        print(json.dumps(_document(judged), indent=2))
    else:
        for name, words in _lines(judged):
            print(one_line(f"{name:<14}{words}"))
    return 0 if judged.holds else 1


def _token(variable: str | None) -> str:
    """What was given, without the words that stand before a token in a header."""
    if variable is None:
        text = sys.stdin.buffer.read(MAX_OCTETS + 1).decode("utf-8", "replace")
    else:
        text = os.environ.get(variable, "")
    if len(text) > MAX_OCTETS:
        raise UsageError(f"more than {MAX_OCTETS} octets: no server takes a token of that length")
    text = text.strip()
    text = _PREFIX.sub("", text, count=1)
    if not text:
        raise UsageError(f"no token in the environment variable {variable}" if variable else "no token on stdin")
    return text


def _no_token(text: str) -> str:
    """Why it is none, without a character of it."""
    if any(c.isspace() for c in text):
        return f"no JSON Web Token: {len(text)} characters with white space among them; was it copied in pieces?"
    return f"no JSON Web Token: {len(text)} characters that do not begin with the head of one (RFC 7519, 3)"


# In words.


def _lines(judged: Judged) -> Iterator[tuple[str, str]]:
    jwt, parts = judged.jwt, judged.parts
    yield "token", f"{sum(parts) + len(parts) - 1} characters in {len(parts)} parts: {'.'.join(map(str, parts))}"
    for name in ("alg", "typ", "kid", "iss"):
        if value := getattr(jwt, name):
            yield name, value
    for name, values in (("aud", jwt.aud), ("scope", jwt.scope)):
        if values:
            yield name, ", ".join(values)
    if jwt.iat is not None:
        yield "issued", _when(jwt.iat, judged.now)
    if jwt.nbf is not None:
        yield "not before", _when(jwt.nbf, judged.now) + (": not yet valid" if judged.too_early else "")
    yield "expires", _expiry(judged)
    if others := [name for name in jwt.claims if name not in {"iss", "aud", "exp", "nbf", "iat", "scope", "scp"}]:
        yield "other claims", f"{', '.join(others)} (by name only)"
    yield "whole", _wholeness(judged)
    yield "verifies", _verdict(judged)


def _expiry(judged: Judged) -> str:
    exp = judged.jwt.exp
    if exp is None:
        return "the claim exp is no time in seconds" if "exp" in judged.jwt.claims else "never: it has no exp"
    left = exp - judged.now
    words = f"expired {_span(-left)} ago" if judged.expired else f"valid for {_span(left)}"
    return f"{_when(exp, None)}: {words}"


def _wholeness(judged: Judged) -> str:
    parts, alg = judged.parts, judged.jwt.alg
    if judged.encrypted:
        return "encrypted (RFC 7516): only its head can be read"
    if not judged.truncated:
        return "yes, by the length of its parts"
    if len(parts) < _SIGNED_PARTS:
        return f"no: it has {len(parts)} of 3 parts and looks truncated"
    wanted = short_signature(parts, alg)
    if wanted is not None:
        return f"no: the signature has {parts[2]} characters, of {alg} it has at least {wanted}: it looks truncated"
    return "no: a part is empty or has a length that base64 never has: it looks truncated"


def _verdict(judged: Judged) -> str:
    if judged.unsigned:
        return "no: alg none means no signature"
    if not judged.checked:
        return "not tried: no key was given (--jwt-key-env, --jwks)"
    return f"no: {judged.fault}" if judged.fault else "yes"


def _when(at: float, now: float | None) -> str:
    try:
        words = datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
    except (ValueError, OverflowError, OSError):  # beyond the year 9999, or before the year 1
        return f"{at:.0f} s since 1970"
    if now is None:
        return words
    return f"{words} ({_span(now - at)} ago)" if at <= now else f"{words} (in {_span(at - now)})"


def _span(seconds: float) -> str:
    """The two largest units of a duration."""
    left = int(seconds)
    found: list[str] = []
    for size, unit in _UNITS:
        if left >= size or (unit == "s" and not found):
            found.append(f"{left // size} {unit}")
        left %= size
    return " ".join(found[:2])


def _document(judged: Judged) -> dict[str, object]:
    exp = judged.jwt.exp
    verification = {"valid": judged.fault is None, "reason": judged.fault} if judged.checked else None
    return {
        **asdict(judged.jwt),
        "parts": judged.parts,
        "length": sum(judged.parts) + len(judged.parts) - 1,
        "truncated": judged.truncated,
        "expired": judged.expired,
        "expires_in": None if exp is None else round(exp - judged.now),
        "not_yet_valid": judged.too_early,
        "verification": verification,
    }
