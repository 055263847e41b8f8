"""What the user asks a probe to do: options to an Attempt, each mistake told in one line before anything is sent."""

import argparse
import ipaddress
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsprobe.cli import UsageError

if TYPE_CHECKING:
    from yarl import URL

    from wsprobe.net.probe import Attempt, Await, Send

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OWN = frozenset({"sec-websocket-key", "traceparent"})
_PAGE_CAN = frozenset({"cookie", "origin", "sec-websocket-protocol", "user-agent", "accept-language"})
_MAX_FILE = 1024 * 1024
_COMMAND_SECONDS = 30
_CANNOT_IMITATE = (
    "TLS: the hello is OpenSSL's, not Chrome's",
    "User-Agent: it says wsprobe, give Chrome's with -H if the edge looks at it",
    "Origin: it is the URL's own unless given with -H",
    "cookies: only those given with -H Cookie",
    "connections that a page already has open, HTTP/2 among them",
)


class _Step(argparse.Action):
    """Collects --send, --expect and the like in the order in which they stand on the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.steps = [*(namespace.steps or []), (self.option_strings[0], values)]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What a connection is made of; the names are curl's where curl has one."""
    parser.add_argument("url", metavar="URL", help="ws, wss, http or https")
    add = parser.add_argument_group("the request").add_argument
    add("-H", "--header", metavar="LINE", action="append", default=[], help="a header, or @FILE with one a line")
    add("--bearer-env", metavar="NAME", help="Authorization: Bearer, with the token in this environment variable")
    add("--bearer-file", metavar="PATH", type=Path, help="… with the token in this file")
    add("--bearer-cmd", metavar="CMD", help="… with the token that this command prints (no shell)")
    add("--as-browser", action="store_true", help="what Chrome sends, no more, and as strict about the answer")
    add("--location", action="store_true", help="follow redirections; without credentials on another host")
    add = parser.add_argument_group("the way").add_argument
    add("--resolve", metavar="HOST:PORT:ADDR", action="append", default=[], help="this address for that host and port")
    add("--connect-to", metavar="H1:P1:H2:P2", action="append", default=[], help="connect to H2:P2 for H1:P1")
    add("--cacert", metavar="FILE", help="authorities to trust, in PEM")
    add("--cert", metavar="FILE", help="a client certificate, in PEM")
    add("--key", metavar="FILE", help="its key, in PEM")
    add("-k", "--insecure", action="store_true", help="do not verify the certificate")
    add("-x", "--proxy", metavar="URL", help="an HTTP proxy to go through")
    add("-4", "--ipv4", dest="family", action="store_const", const=socket.AF_INET, help="IPv4 only")
    add("-6", "--ipv6", dest="family", action="store_const", const=socket.AF_INET6, help="IPv6 only")
    add("--max-time", metavar="SECONDS", type=_seconds, help="bounds the whole connection")
    add("--plan", action="store_true", help="print every connection that would be made, and make none")
    add = parser.add_argument_group("the conversation, in the order given").add_argument
    add("--send", metavar="TEXT|@FILE", action=_Step, dest="steps", help="send a message")
    add("--expect", metavar="TEXT", action=_Step, dest="steps", help="wait for a message that holds TEXT")
    add("--expect-regex", metavar="RE", action=_Step, dest="steps", help="wait for a message that RE is found in")
    add("--events", metavar="A,B,C", action=_Step, dest="steps", help="wait for JSON messages with these names, in order")
    add("--event-field", metavar="PATH", default="type", help="where a JSON message has its name (default: type)")
    add("--within", metavar="SECONDS", type=_seconds, default=10.0, help="for each message waited for (default: 10)")
    add("--hold", metavar="SECONDS", type=_seconds, default=5.0, help="watch for so long after that (default: 5)")
    add("--ping", metavar="SECONDS", type=_seconds, help="send a ping as often as this")
    add = parser.add_argument_group("many connections").add_argument
    add("--repeat", metavar="N", type=_count, default=1, help="make N connections")
    add("--concurrency", metavar="C", type=_count, default=1, help="at most C at a time (default: 1)")
    add("--rate", metavar="R", type=_seconds, help="start R a second (default: 1, on loopback as fast as they go)")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 7 * 24 * 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and a week")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 65535")
    return value


def attempt(options: argparse.Namespace) -> "Attempt":
    """The connection that was asked for; UsageError for what contradicts itself or cannot be."""
    from wsprobe.net.probe import Attempt

    url = _url(options.url)
    headers = _headers(options, url)
    local = _is_loopback(url, options)
    if options.rate is None:
        options.rate = 0.0 if local else 1.0
    _check_tls(options, url)
    steps = _steps(options)
    return Attempt(
        url=url,
        headers=headers,
        steps=steps,
        within=options.within,
        hold=options.hold,
        ping=options.ping,
        max_time=options.max_time,
        answer_time=min(30.0, options.max_time or 30.0),
        browser=options.as_browser,
        verify=not options.insecure,
        authority=options.cacert,
        certificate=options.cert,
        key=options.key,
        answers=_answers(options, url),
        family=options.family or socket.AF_UNSPEC,
        proxy=_url(options.proxy, "proxy", {"http"}) if options.proxy else None,
    )


def shown(url: "URL") -> str:
    """A URL without its secrets."""
    return shown_text(str(url))


def shown_text(text: str) -> str:
    """A URL as it was typed, without its secrets."""
    from wsprobe.redact import redact_text

    return redact_text(text)


def plan(attempt: "Attempt", options: argparse.Namespace) -> str:
    """Every connection that would be made, a line each."""
    url = attempt.url
    names = ", ".join(dict.fromkeys(name for name, _ in attempt.headers)) or "no header of yours"
    pace = f", {options.rate:g} a second" if options.rate else ""
    through = f" through {shown(attempt.proxy)}" if attempt.proxy else ""
    lines = [
        f"{options.repeat} × upgrade to {shown(url)}{through} ({names}){pace}, "
        f"watched for {options.hold:g} s, User-Agent {_agent(attempt)}",
    ]
    if url.scheme in {"wss", "https"} and attempt.verify:
        lines.append(f"at most 1 more to {url.host}:{url.port}, only if its certificate is refused: looks, sends nothing")
    if options.location:
        lines.append("at most 9 more, only if redirected, without credentials on another host")
    if options.as_browser:
        lines += [f"not imitated: {what}" for what in _CANNOT_IMITATE]
    return "".join(f"{line}\n" for line in lines)


def _agent(attempt: "Attempt") -> str:
    from wsprobe import __version__

    return next((value for name, value in attempt.headers if name.lower() == "user-agent"), f"wsprobe/{__version__}")


def _url(text: str, what: str = "URL", schemes: frozenset[str] | set[str] = frozenset({"ws", "wss", "http", "https"})) -> "URL":  # noqa: E501
    from yarl import URL

    plain = text.isascii() and text.isprintable() and " " not in text
    try:
        url = URL(text, encoded=plain)
        port = url.port
    except ValueError as error:
        raise UsageError(f"{shown_text(text[:200])!r} is not a {what}: {shown_text(str(error))}") from None
    if url.scheme not in schemes or not url.host or not port:
        raise UsageError(f"{shown_text(text[:200])!r} is not a {what} with {', '.join(sorted(schemes))} and a host")
    if not text.isprintable():
        raise UsageError(f"the {what} has a control character in it")
    if url.fragment:
        raise UsageError(f"a WebSocket {what} has no fragment (RFC 6455, 3): leave #… out")
    if what == "URL" and url.scheme in {"http", "https"}:
        url = URL(text.replace("http", "ws", 1), encoded=plain)
    return url if url.path else url.with_path("/")


# Headers and credentials.


def _headers(options: argparse.Namespace, url: "URL") -> tuple[tuple[str, str], ...]:
    lines: list[str] = []
    for given in options.header:
        lines += _file(given[1:]).splitlines() if given.startswith("@") else [given]
    headers = [_header(line) for line in lines if line.strip()]
    names = {name.lower() for name, _ in headers}
    bearer = _bearer(options)
    if bearer:
        if "authorization" in names:
            raise UsageError("Authorization is given twice: by -H and by --bearer-…; leave one out")
        headers.append(("Authorization", f"Bearer {bearer}"))
    if url.user is not None and (bearer or "authorization" in names):
        raise UsageError("Authorization is given twice: by the URL's user and by an option; leave one out")
    if options.as_browser:
        return _as_chrome(headers, url)
    return tuple(headers)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        raise UsageError(f"-H {shown_text(line[:80])!r} is no header: it needs NAME: VALUE, and a name without spaces")
    if _BAD_VALUE.search(value):
        raise UsageError(f"-H {name}: the value has a control character (CR, LF or the like) in it")
    if name.lower() in _OWN:
        raise UsageError(f"-H {name}: this header carries the trace id, which joins what the hops saw")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return name, value.encode().decode("latin-1")  # HTTP carries octets: UTF-8 is what was typed
    return name, value


def _as_chrome(headers: list[tuple[str, str]], url: "URL") -> tuple[tuple[str, str], ...]:
    """What Chrome sends with an upgrade, in its order as far as aiohttp keeps it."""
    foreign = [name for name, _ in headers if name.lower() not in _PAGE_CAN]
    if foreign or url.user is not None:
        what = ", ".join(foreign) or "the URL's user"
        raise UsageError(f"--as-browser: a page's script cannot set {what} on a WebSocket; use a cookie or the query")
    given = {name.lower() for name, _ in headers}
    origin = f"{'https' if url.scheme == 'wss' else 'http'}://{url.authority}"
    chrome = [
        ("Pragma", "no-cache"),
        ("Cache-Control", "no-cache"),
        ("Origin", origin),
        ("Accept-Encoding", "gzip, deflate, br, zstd" if url.scheme == "wss" else "gzip, deflate"),
        ("Accept-Language", "en-US,en;q=0.9"),
    ]
    return (*(pair for pair in chrome if pair[0].lower() not in given), *headers)


def _bearer(options: argparse.Namespace) -> str | None:
    given = {
        "--bearer-env": options.bearer_env,
        "--bearer-file": options.bearer_file,
        "--bearer-cmd": options.bearer_cmd,
    }
    used = [name for name, value in given.items() if value is not None]
    if not used:
        return None
    if len(used) > 1:
        raise UsageError(f"{' and '.join(used)} contradict each other: give one")
    where = used[0]
    if where == "--bearer-env":
        name = options.bearer_env
        if name not in os.environ:
            raise UsageError(f"--bearer-env: there is no environment variable {name}")
        return checked_token(os.environ[name], f"--bearer-env: the value of {name}")
    if where == "--bearer-file":
        return checked_token(_file(options.bearer_file), f"--bearer-file: what {options.bearer_file} holds")
    return checked_token(_printed(options.bearer_cmd), "--bearer-cmd: what the command printed")


def checked_token(text: str, what: str) -> str:
    """A bearer token as RFC 6750, 2.1, has it; UsageError that tells what is wrong and nothing of the token."""
    token = text.strip()
    if token.lower().startswith("bearer "):
        token = token[7:].strip()
    if not token:
        raise UsageError(f"{what} is empty")
    if not _BEARER.fullmatch(token):
        at = next((i for i in range(len(token)) if not re.fullmatch(r"[A-Za-z0-9._~+/=-]", token[i])), len(token) - 1)
        kind = "a line break" if token[at] in "\r\n" else "a space" if token[at].isspace() else "a character"
        raise UsageError(f"{what} is no token: {kind} that no token has stands at position {at + 1} of {len(token)}")
    return token


def _printed(command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  the user's own command, without a shell
            shlex.split(command), capture_output=True, timeout=_COMMAND_SECONDS, check=False, text=True
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"--bearer-cmd: {getattr(error, 'strerror', None) or error}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"--bearer-cmd: not done after {_COMMAND_SECONDS} s") from None
    if done.returncode:
        raise UsageError(f"--bearer-cmd: the command failed with status {done.returncode}")
    return done.stdout


def _file(path: str | Path) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(content) > _MAX_FILE:
        raise UsageError(f"{path}: longer than {_MAX_FILE} octets")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not text in UTF-8") from None


# The way.


def _check_tls(options: argparse.Namespace, url: "URL") -> None:
    if options.insecure and options.cacert:
        raise UsageError("--insecure and --cacert contradict each other: one verifies, the other does not")
    if options.key and not options.cert:
        raise UsageError("--key needs --cert")
    if url.scheme in {"ws", "http"} and (options.cert or options.cacert):
        raise UsageError("--cert and --cacert are for wss: this URL is not encrypted")
    if url.scheme in {"wss", "https"}:
        import ssl

        from wsprobe.net.dial import context

        try:
            context(verify=True, authority=options.cacert, certificate=options.cert, key=options.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(file) for file in (options.cacert, options.cert, options.key) if file)
            raise UsageError(f"{files}: {error.strerror or 'not the PEM that is needed'}") from None


def _answers(options: argparse.Namespace, url: "URL") -> dict[tuple[str, int], tuple[str, int]]:
    """Where to connect to for a host and port, as curl's --resolve and --connect-to have it."""
    answers: dict[tuple[str, int], tuple[str, int]] = {}
    for line in options.resolve:
        match = re.fullmatch(r"([^:\s]+):(\d{1,5}):\[?([0-9A-Fa-f.:]+?)\]?", line)
        if not match or not _is_address(match[3]):
            raise UsageError(f"--resolve {line!r} is not HOST:PORT:ADDRESS")
        answers[match[1].lower(), int(match[2])] = (match[3], int(match[2]))
    for line in options.connect_to:
        match = re.fullmatch(r"([^:\s]*):(\d{0,5}):(\[[0-9A-Fa-f:]+\]|[^:\s]+):(\d{1,5})", line)
        if not match or not 0 < int(match[4]) < 65536:
            raise UsageError(f"--connect-to {line!r} is not HOST1:PORT1:HOST2:PORT2")
        key = (match[1].lower() or (url.host or ""), int(match[2]) if match[2] else (url.port or 0))
        answers[key] = (match[3].strip("[]"), int(match[4]))
    if answers and _is_address(url.host or ""):
        raise UsageError("--resolve and --connect-to need a URL with a name: this one has an address")
    return answers


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(url: "URL", options: argparse.Namespace) -> bool:
    host = url.host or ""
    elsewhere = options.resolve or options.connect_to or options.proxy
    return not elsewhere and (host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback))


# The conversation.


def _steps(options: argparse.Namespace) -> tuple["Send | Await", ...]:
    from wsprobe.net.probe import Await, Send

    steps: list[Send | Await] = []
    for option, text in options.steps or ():
        if option == "--send":
            steps.append(Send(data=_file(text[1:]) if text.startswith("@") else text))
        elif option == "--events":
            names = [name.strip() for name in text.split(",") if name.strip()]
            if not names:
                raise UsageError("--events names no event")
            steps += [Await(kind="event", what=name, field=options.event_field) for name in names]
        else:
            if option == "--expect-regex":
                _check_regex(text)
            steps.append(Await(kind=option[2:], what=text))
    return tuple(steps)


def _check_regex(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError(f"--expect-regex {text[:80]!r}: {error}") from None
