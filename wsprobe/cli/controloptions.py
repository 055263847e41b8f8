"""Which extra requests a trace may make to separate explanations, and the words in which a plan tells them."""

import argparse
import re
import secrets
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError
from wsprobe.controls import Allowed, Mode
from wsprobe.redact import redact_text

if TYPE_CHECKING:
    from wsprobe.model import Header
    from wsprobe.net.attempt import Attempt

_MOST = 100


def control_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked besides."""
    add = parser.add_argument_group("controls: extra requests that separate explanations").add_argument
    add(
        "--controls",
        choices=tuple(map(str, Mode)),
        default=str(Mode.AUTO),
        help="auto: where the connection is unhealthy; auth: also without credentials and with a broken token, which "
        "can raise an alarm (default: auto)",
    )
    add("--max-controls", metavar="N", type=_most, default=8, help="at most so many connections (default: 8)")
    add("--http-control", metavar="PATH", help="a path where plain HTTP is known to want the same credentials")
    add("--bypass", metavar="URL", help="the application itself: the same upgrade, past what stands before it")
    add(
        "--carrier",
        metavar="WHERE",
        action="append",
        default=[],
        help="the bearer token in another place: cookie:NAME, query:NAME or subprotocol (repeatable)",
    )
    add("--size-ladder", action="store_true", help="how large a head may be before it is refused: up to 20 requests")
    add(
        "--ticket-cmd",
        metavar="CMD",
        help="prints a single-use ticket, anew for each connection; it stands where the URL or a header says {ticket}",
    )
    add(
        "--weigh",
        metavar="HEADER",
        help="whether this header of yours arrives, told from outside by the header limit of whoever stands behind: up "
        "to 40 requests, most of them without it",
    )


def _most(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {_MOST}")
    return int(text)


def allowed(options: argparse.Namespace, attempt: "Attempt") -> Allowed:
    """What the user lets controls do; UsageError where it cannot be."""
    from wsprobe.cli.asked import parse_url

    path = options.http_control
    if path is not None and not (path.startswith("/") and path.isascii() and path.isprintable() and " " not in path):
        raise UsageError(f"--http-control {redact_text(path[:80])!r} is not a path: it begins with /")
    if options.bypass is not None:
        parse_url(options.bypass, "bypass", ("ws", "wss", "http", "https"))
    if options.weigh is not None and weighed(options, attempt) is None:
        raise UsageError(
            f"--weigh {options.weigh[:80]!r}: the request has no such header; give it with -H or --bearer-env"
        )
    origin = attempt.url.with_scheme(
        {"wss": "https", "ws": "http"}.get(attempt.url.scheme, attempt.url.scheme)
    ).origin()
    if options.ticket_cmd is not None and not _has_ticket(attempt):
        raise UsageError("--ticket-cmd: neither the URL nor a header says where the ticket goes: write {ticket} there")
    for carrier in options.carrier:
        if not re.fullmatch(r"(cookie|query):[\w.-]+|subprotocol", carrier):
            raise UsageError(f"--carrier {redact_text(carrier[:80])!r} is none of cookie:NAME, query:NAME, subprotocol")
    return Allowed(
        mode=Mode(options.controls),
        most=options.max_controls,
        path=path,
        bypass=options.bypass,
        origins=(str(origin),),
        carriers=tuple(options.carrier),
        canary=secrets.token_hex(8) if options.records else None,
        host=attempt.url.host if attempt.url.explicit_port else None,
        http2=attempt.url.scheme == "wss",
    )


def _has_ticket(attempt: "Attempt") -> bool:
    from wsprobe.net.attempt import TICKET

    url = str(attempt.url).replace("%7Bticket%7D", TICKET)
    return TICKET in url or any(TICKET in value for _, value in attempt.headers)


def weighed(options: argparse.Namespace, attempt: "Attempt") -> "Header | None":
    """The header that is to be weighed, as it is sent."""
    wanted = (options.weigh or "").lower()
    return next(((name, value) for name, value in attempt.headers if name.lower() == wanted), None)


def planned(options: argparse.Namespace) -> str:
    """The controls in a plan: how many connections at most, when, and of which kinds."""
    from wsprobe.weighing import MOST

    mode, most = Mode(options.controls), options.max_controls
    if mode is Mode.NEVER or not most:
        return "no controls"
    when = "" if mode is Mode.ALWAYS or mode is Mode.AUTH else ", only if the connection is unhealthy"
    kinds = ["the same upgrade again", "plain GETs with and without the credentials"]
    kinds += [f"the same on {options.http_control}"] if options.http_control else []
    kinds += [f"the same upgrade to {redact_text(options.bypass)}"] if options.bypass else []
    kinds += [f"the token in {carrier}" for carrier in options.carrier]
    kinds += ["with a canary header"] if options.records else []
    kinds += ["over HTTP/2 where TLS offers it", "after a refusal another Origin or Host", "what helped once more"]
    if mode is Mode.AUTH:
        kinds += ["upgrades without credentials and with a broken token"]
    weighed = f"; at most {MOST} requests to weigh {options.weigh}, without it or with filler" if options.weigh else ""
    weighed += "; at most 20 requests with filler" if options.size_ladder else ""
    return f"at most {most} controls{when}: {', '.join(kinds)}{weighed}"
