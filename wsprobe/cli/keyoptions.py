"""The options of commands that verify a token: the key, and what the token must fulfil."""

import argparse
import os

from wsprobe.cli import UsageError
from wsprobe.net.tokens import (
    ASYMMETRIC,
    Demands,
    Key,
    Keys,
    KeySetError,
    OneKey,
    Verifier,
    parse_algorithms,
    read_key,
)


def key_arguments(parser: argparse.ArgumentParser) -> None:
    """How a token is verified."""
    parser.add_argument(
        "--jwt-key-env", metavar="NAME", help="verify with the key in this variable: a public PEM, else a secret"
    )
    parser.add_argument("--jwks", metavar="FILE-OR-URL", help="verify with the keys of this JSON Web Key Set")
    parser.add_argument(
        "--algorithms",
        metavar="LIST",
        help="accept these alone, as in RS256,ES256 (default: all that fit the key; of a key set, all but HMAC's)",
    )
    parser.add_argument("--audience", metavar="AUD", help="the token must be for this audience")
    parser.add_argument("--issuer", metavar="ISS", help="the token must be from this issuer")


def verifier(options: argparse.Namespace) -> Verifier | None:
    """What the options make of a verifier, None without a key; UsageError where they contradict each other."""
    if options.jwt_key_env is not None and options.jwks is not None:
        raise UsageError("--jwt-key-env and --jwks contradict each other: give one of them")
    if options.jwt_key_env is None and options.jwks is None:
        for name in ("algorithms", "audience", "issuer"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name} needs a key to verify with: give --jwt-key-env or --jwks")
        return None
    try:
        asked = parse_algorithms(options.algorithms) if options.algorithms is not None else None
    except ValueError as error:
        raise UsageError(f"--algorithms: {error}") from None
    if options.jwks is not None:
        keys: Keys = _key_set(options.jwks)
        accepted = asked or ASYMMETRIC
    else:
        key = _key(options.jwt_key_env)
        keys = OneKey(key)
        accepted = tuple(name for name in asked or key.algorithms if name in key.algorithms)
        if not accepted:
            fitting = ", ".join(key.algorithms)
            raise UsageError(f"--algorithms: none of them fits the key in {options.jwt_key_env}: {fitting} do")
    return Verifier(keys, Demands(algorithms=accepted, audience=options.audience, issuer=options.issuer))


def _key_set(where: str) -> Keys:
    from wsprobe.net.jwks import KeySet

    try:
        return KeySet.loaded(where)
    except KeySetError as error:
        raise UsageError(f"--jwks {error}") from None


def _key(name: str) -> Key:
    text = os.environ.get(name)
    if text is None:
        raise UsageError(f"--jwt-key-env {name}: there is no such environment variable")
    try:
        return read_key(text)
    except ValueError as error:
        raise UsageError(f"--jwt-key-env {name}: it {error}") from None
