"""`wsprobe origin`: a stand-in backend to put behind a real load balancer, until it is told to leave."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError
from wsprobe.cli.keyoptions import key_arguments, verifier
from wsprobe.model import Observation
from wsprobe.net.address import parse_listen
from wsprobe.net.carriers import REFUSALS, Carrier, TokenPolicy, parse_carrier

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from wsprobe.net.tokens import Verifier

_REFUSED = "close with this code, refuse the handshake with this status, or end TCP after the 101"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    parser.add_argument("--listen", metavar="HOST:PORT", required=True, help="where connections are taken")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="append what arrived to this records file")
    parser.add_argument("--name", default="origin", help="what to call this hop (default: %(default)s)")
    key_arguments(parser)
    parser.add_argument(
        "--token-from",
        metavar="PLACE",
        action="append",
        help="header (the default), cookie:NAME, query:NAME or subprotocol; repeat it to look in several, in order",
    )
    parser.add_argument("--on-missing-auth", choices=REFUSALS, default="1011", help=f"no token: {_REFUSED}")
    parser.add_argument("--on-bad-auth", choices=REFUSALS, help="a token that does not hold (default: the same)")
    parser.add_argument("--check-origin", action="store_true", help="403 where Origin names another host than Host")
    parser.add_argument("--cert", metavar="FILE", type=Path, help="take TLS with this certificate chain (PEM)")
    parser.add_argument("--key", metavar="FILE", type=Path, help="its key (PEM), unless it stands in the same file")
    parser.add_argument("--quiet", action="store_true", help="no line per exchange, only what goes wrong")


def run(options: argparse.Namespace) -> int:
    """Serves until SIGTERM (status 0) or SIGINT (status 130)."""
    from wsprobe.cli.serving import serve
    from wsprobe.net.logs import logger
    from wsprobe.net.origin import Origin

    if options.key and not options.cert:
        raise UsageError("--key is the key of --cert, which is missing")
    check = verifier(options)
    log = logger(quiet=options.quiet)
    try:
        origin = Origin(
            options.name,
            _checked_listen(options.listen),
            tokens=TokenPolicy(carriers=_carriers(options.token_from or ["header"]), verifier=check),
            records=options.output,
            on_missing=options.on_missing_auth,
            on_bad=options.on_bad_auth,
            check_origin=options.check_origin,
            certificate=options.cert,
            key=options.key,
            passed=lambda seen: _tell(log, seen),
            problem=log.error,
        )
    except OSError as error:
        raise UsageError(f"{error.filename or options.output}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    return serve(origin, log, listen=options.listen, hop=options.name, token=_in_words(check, options))


def _checked_listen(text: str) -> tuple[str, int]:
    try:
        return parse_listen(text)
    except ValueError as error:
        raise UsageError(f"--listen {text}: {error}") from None


def _carriers(places: Sequence[str]) -> tuple[Carrier, ...]:
    try:
        return tuple(dict.fromkeys(parse_carrier(place) for place in places))
    except ValueError as error:
        raise UsageError(f"--token-from: {error}") from None


def _in_words(check: "Verifier | None", options: argparse.Namespace) -> str:
    """What is asked of a token, so that nobody takes presence for proof."""
    if check is None:
        return "must be there; it is not verified, since no key was given (--jwt-key-env, --jwks)"
    demands = check.demands
    more = [f"audience {options.audience}"] if options.audience else []
    more += [f"issuer {options.issuer}"] if options.issuer else []
    return "; ".join([f"verified with {options.jwks or options.jwt_key_env}: {', '.join(demands.algorithms)}", *more])


def _tell(log: "FilteringBoundLogger", seen: Observation) -> None:
    from wsprobe.net.logs import tell_passed

    if seen.verification:
        log = log.bind(token=seen.verification.reason or "verified")
    tell_passed(log, seen)
