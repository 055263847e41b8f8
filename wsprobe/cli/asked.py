"""What the user asks a probe to do: options to an Attempt, each mistake told in one line before anything is sent."""

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wsprobe.cli import UsageError
from wsprobe.cli.controloptions import planned
from wsprobe.cli.headeroptions import NOT_IMITATED, header_arguments, headers_for, read_octets
from wsprobe.cli.wayoptions import answers, check_tls, family, is_loopback, way_arguments
from wsprobe.redact import redact_text

if TYPE_CHECKING:
    from yarl import URL

    from wsprobe.net.attempt import Attempt
    from wsprobe.net.conversation import Await, Send

REDIRECTS = 10
"""Connections that one request may take until it is no longer followed."""

_WEBSOCKET = {"http": "ws", "https": "wss"}
_HOLD, _HOLD_FOR_TIMERS = 5.0, 330.0
_WEEK = 7 * 24 * 3600


class _Step(argparse.Action):
    """Collects --send, --expect and the like in the order in which they stand on the command line."""

    def __call__(
        self,
        _: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        __: str | None = None,
    ) -> None:
        namespace.steps = [*(namespace.steps or []), (self.option_strings[0], values)]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What connections are made of."""
    parser.add_argument("url", metavar="URL", help="ws, wss, http or https")
    header_arguments(parser)
    way_arguments(parser)
    add = parser.add_argument_group("the conversation, in the order given").add_argument
    add(
        "--send",
        metavar="TEXT|@FILE",
        action=_Step,
        dest="steps",
        help="send a message; a file that is no text as binary",
    )
    add("--expect", metavar="TEXT", action=_Step, dest="steps", help="wait for a message that holds TEXT")
    add("--expect-regex", metavar="RE", action=_Step, dest="steps", help="wait for a message that RE is found in")
    add(
        "--events",
        metavar="A,B,C",
        action=_Step,
        dest="steps",
        help="wait for JSON messages with these names, in order",
    )
    add("--event-field", metavar="PATH", help="where a JSON message has its name (default: type)")
    add("--within", metavar="SECONDS", type=_seconds, default=10.0, help="for each message waited for (default: 10)")
    add("--hold", metavar="SECONDS", type=_hold, help="watch for so long after that (default: 5, with --timers 330)")
    add("--ping", metavar="SECONDS", type=_seconds, help="send a ping as often as this")
    add("--timers", action="store_true", help="find a timer: hold connections side by side, silent and busy")
    add("--max-time", metavar="SECONDS", type=_seconds, help="bounds the whole connection")
    group = parser.add_argument_group("many connections")
    add = group.add_argument
    add("--repeat", metavar="N", type=_count, default=1, help="make N connections")
    only = group.add_mutually_exclusive_group().add_argument
    only("--each-address", action="store_true", help="to each address that the name resolves to, --repeat times")
    only("--addresses", metavar="FILE", help="to each of these addresses, one a line, HOST or HOST:PORT; - is stdin")
    add("--concurrency", metavar="C", type=_count, default=1, help="at most C at a time (default: 1)")
    add("--rate", metavar="R", type=_seconds, help="start R a second (default: 1, on loopback as fast as they go)")
    add("--plan", action="store_true", help="print every connection that would be made, and make none")


def _seconds(text: str) -> float:
    value = _hold(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def _hold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= _WEEK:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and a week")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 5 and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 65535")
    return int(text)


def attempt(options: argparse.Namespace) -> "Attempt":
    """The connection that was asked for; UsageError for what contradicts itself or cannot be."""
    from wsprobe.net.attempt import ANSWER_SECONDS, Attempt
    from wsprobe.net.conversation import Beat

    many = options.repeat > 1 or options.each_address or options.addresses is not None
    if options.timers and (many or options.location):
        raise UsageError("--timers makes its own connections to one URL: leave --repeat and the like out")
    url = parse_url(options.url, "URL", ("ws", "wss", "http", "https"))
    url = url.with_scheme(_WEBSOCKET.get(url.scheme, url.scheme))
    check_tls(options, url)
    return Attempt(
        url=url,
        headers=headers_for(options, url),
        steps=_steps(options),
        within=options.within,
        hold=held(options),
        beat=Beat(kind="ping", every=options.ping) if options.ping else None,
        max_time=options.max_time,
        answer_time=min(ANSWER_SECONDS, options.max_time or ANSWER_SECONDS),
        browser=options.as_browser,
        verify=not options.insecure,
        authority=options.cacert,
        certificate=options.cert,
        key=options.key,
        answers=answers(options, url),
        family=family(options, url),
        proxy=parse_url(options.proxy, "proxy", ("http",)) if options.proxy is not None else None,
    )


def held(options: argparse.Namespace) -> float:
    """Seconds for which a connection is watched."""
    if options.hold is not None:
        return float(options.hold)
    return _HOLD_FOR_TIMERS if options.timers else _HOLD


def interval(attempt: "Attempt", options: argparse.Namespace) -> float:
    """Seconds from the start of one connection to that of the next: none on loopback, one elsewhere, or as asked."""
    if options.rate is not None:
        return 1 / float(options.rate)
    asked = (attempt.url.host or "").lower(), attempt.url.port or 0
    hosts = [attempt.answers.get(asked, asked)[0], *([attempt.proxy.host or ""] if attempt.proxy else [])]
    return 0.0 if all(is_loopback(host) for host in hosts) else 1.0


def parse_url(text: str, what: str, schemes: Sequence[str]) -> "URL":
    """A URL with a host; UsageError, without its secrets, where it is none."""
    from yarl import URL

    shown = repr(redact_text(text[:200]))
    plain = text.isascii() and text.isprintable() and " " not in text
    try:
        url = URL(text, encoded=plain)
        port = url.port
    except ValueError as error:
        raise UsageError(f"{shown} is not a {what}: {redact_text(str(error))}") from None
    if not text.isprintable():
        raise UsageError(f"the {what} has a control character in it")
    if url.scheme not in schemes or not url.host or not port:
        raise UsageError(
            f"{shown} is not a {what}: it needs {', '.join(schemes)} and a host, as in {schemes[0]}://host/"
        )
    if url.fragment:
        raise UsageError(f"a WebSocket {what} has no fragment (RFC 6455, 3): leave #… out")
    return url


# The conversation.


def _steps(options: argparse.Namespace) -> tuple["Send | Await", ...]:
    from wsprobe.net.conversation import Await, Send

    steps: list[Send | Await] = []
    for option, text in options.steps or ():
        if option == "--send":
            steps.append(Send(data=_message(text)))
        elif option == "--events":
            names = [name.strip() for name in text.split(",") if name.strip()]
            if not names:
                raise UsageError("--events names no event")
            steps += [Await(kind="event", what=name, field=options.event_field or "type") for name in names]
        else:
            if option == "--expect-regex":
                _check_regex(text)
            steps.append(Await(kind=option[2:], what=text))
    if options.event_field is not None and not any(option == "--events" for option, _ in options.steps or ()):
        raise UsageError("--event-field says where --events has its names: give --events too")
    return tuple(steps)


def _message(text: str) -> str | bytes:
    if not text.startswith("@"):
        return text
    octets = read_octets(text[1:])
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets


def _check_regex(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError(f"--expect-regex {text[:80]!r}: {error}") from None


# The plan.


def plan(attempt: "Attempt", options: argparse.Namespace) -> str:
    """Every connection that would be made, a line each."""
    url = attempt.url
    names = ", ".join(dict.fromkeys(name for name, _ in attempt.headers)) or "no header of yours"
    pause = interval(attempt, options)
    pace = f", {1 / pause:g} a second" if pause and options.repeat > 1 else ""
    through = f" through {redact_text(str(attempt.proxy))}" if attempt.proxy else ""
    number = f"{options.repeat} upgrades" if options.repeat > 1 else "1 upgrade"
    if options.timers:
        number = f"{5 if any(option == '--send' for option, _ in options.steps or ()) else 4} upgrades side by side"
    request = f"{number} to {redact_text(str(url))}{through} ({names}){pace}"
    if options.each_address or options.addresses is not None:
        where = "given address" if options.addresses is not None else "address of the name"
        request = f"to each {where}: {request}"
    lines = [f"{request}, watched for {attempt.hold:g} s, User-Agent {_agent(attempt)}"]
    if url.scheme == "wss" and attempt.verify:
        lines.append(
            f"at most 1 more to {url.host}:{url.port}, only if its certificate is refused: looks, sends nothing"
        )
    lines += [] if options.timers else [planned(options)]
    if options.location:
        more = options.repeat * (REDIRECTS - 1)
        lines.append(f"at most {more} more, only if redirected, without credentials on another host")
    if options.as_browser:
        lines += [f"not imitated: {what}" for what in NOT_IMITATED]
    return "".join(f"{line}\n" for line in lines)


def _agent(attempt: "Attempt") -> str:
    from wsprobe import __version__

    return next((value for name, value in attempt.headers if name.lower() == "user-agent"), f"wsprobe/{__version__}")
