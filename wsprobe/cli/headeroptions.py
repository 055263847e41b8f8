"""The headers and credentials that a request gets; a secret is never needed on the command line."""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError
from wsprobe.patterns import lazy

if TYPE_CHECKING:
    from yarl import URL

_TOKEN = lazy(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_BEARER = lazy(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_SCHEME = lazy(r"^bearer(\s+|$)", re.IGNORECASE)
_IN_BEARER = lazy(r"[A-Za-z0-9._~+/=-]")
_BAD_VALUE = lazy(r"[\x00-\x08\x0a-\x1f\x7f]")
_RESERVED = {
    **dict.fromkeys(
        ("sec-websocket-key", "traceparent"), "this header carries the trace id, which joins what the hops saw"
    ),
    **dict.fromkeys(("content-length", "transfer-encoding"), "an upgrade has no body"),
}
"""What a probe's request cannot be given, and why."""
_PAGE_CAN = frozenset({"cookie", "origin", "sec-websocket-protocol", "user-agent", "accept-language"})
_MAX_FILE = 1024 * 1024
_COMMAND_SECONDS = 30

NOT_IMITATED = (
    "TLS: the hello is OpenSSL's, not Chrome's",
    "User-Agent: it says wsprobe; give Chrome's with -H if the edge looks at it",
    "Origin: it is the URL's own unless given with -H",
    "cookies: only those given with -H Cookie",
    "connections that a page already has open, HTTP/2 among them",
)
"""What --as-browser cannot do as Chrome does it."""


def header_arguments(parser: argparse.ArgumentParser) -> None:
    """What the request carries."""
    add = parser.add_argument_group("the request").add_argument
    add("-H", "--header", metavar="LINE", action="append", default=[], help="a header, or @FILE with one a line")
    add("--bearer-env", metavar="NAME", help="Authorization: Bearer, with the token in this environment variable")
    add("--bearer-file", metavar="PATH", type=Path, help="… with the token in this file")
    add("--bearer-cmd", metavar="CMD", help="… with the token that this command prints (no shell)")
    add("--as-browser", action="store_true", help="what Chrome sends, no more, and as strict about the answer")


def headers_for(options: argparse.Namespace, url: "URL") -> tuple[tuple[str, str], ...]:
    """The headers that the options ask for, in their order; UsageError where one cannot be sent."""
    headers = given_headers(options, url)
    for name, _ in headers:
        if name.lower() in _RESERVED:
            raise UsageError(f"-H {name}: {_RESERVED[name.lower()]}")
    return headers


def given_headers(options: argparse.Namespace, url: "URL") -> tuple[tuple[str, str], ...]:
    """The same, also those that a probe cannot send: for a request that is not sent."""
    lines: list[str] = []
    for given in options.header:
        lines += read_text(given[1:]).splitlines() if given.startswith("@") else [given]
    headers = [_header(line) for line in lines if line.strip()]
    names = {name.lower() for name, _ in headers}
    bearer = _bearer(options)
    if bearer:
        if "authorization" in names:
            raise UsageError("Authorization is given twice: by -H and by --bearer-…; leave one out")
        headers.append(("Authorization", f"Bearer {bearer}"))
    if url.user is not None and (bearer or "authorization" in names):
        raise UsageError("Authorization is given twice: by the URL's user and by an option; leave one out")
    return _as_chrome(headers, url) if options.as_browser else tuple(headers)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        from wsprobe.redact import redact_text

        raise UsageError(f"-H {redact_text(line[:80])!r} is no header: it needs NAME: VALUE, and a name without spaces")
    if _BAD_VALUE.search(value):
        raise UsageError(f"-H {name}: the value has a control character (CR, LF or the like) in it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"-H {name}: the value is not UTF-8") from None
    return name, value


def _as_chrome(headers: list[tuple[str, str]], url: "URL") -> tuple[tuple[str, str], ...]:
    """With what Chrome adds, and nothing that a page could not set."""
    foreign = [name for name, _ in headers if name.lower() not in _PAGE_CAN]
    if foreign or url.user is not None:
        what = ", ".join(foreign) or "the URL's user"
        raise UsageError(f"--as-browser: a page's script cannot set {what} on a WebSocket; use a cookie or the query")
    given = {name.lower() for name, _ in headers}
    origin = url.with_scheme("https" if url.scheme == "wss" else "http").origin()
    chrome = [
        ("Pragma", "no-cache"),
        ("Cache-Control", "no-cache"),
        ("Origin", str(origin)),
        ("Accept-Encoding", "gzip, deflate, br, zstd" if url.scheme == "wss" else "gzip, deflate"),
        ("Accept-Language", "en-US,en;q=0.9"),
    ]
    return (*(pair for pair in chrome if pair[0].lower() not in given), *headers)


# Tokens.


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
    if options.bearer_env is not None:
        name = options.bearer_env
        if name not in os.environ:
            raise UsageError(f"--bearer-env: there is no environment variable {name}")
        return checked_token(os.environ[name], f"--bearer-env: the value of {name}")
    if options.bearer_file is not None:
        return checked_token(read_text(options.bearer_file), f"--bearer-file: what {options.bearer_file} holds")
    return checked_token(printed(options.bearer_cmd, "--bearer-cmd"), "--bearer-cmd: what the command printed")


def checked_token(text: str, what: str) -> str:
    """A bearer token as RFC 6750, 2.1, has it; UsageError that tells what is wrong and nothing of the token."""
    token = _SCHEME.sub("", text.strip())
    if not token:
        raise UsageError(f"{what} is empty")
    if not _BEARER.fullmatch(token):
        at = next((i for i in range(len(token)) if not _IN_BEARER.fullmatch(token[i])), token.find("="))
        kind = "a line break" if token[at] in "\r\n" else "a space" if token[at].isspace() else "a character"
        raise UsageError(
            f"{what} is no token: {kind} that no token has there stands at position {at + 1} of {len(token)}"
        )
    return token


def printed(command: str, option: str) -> str:
    """What a command of the user prints, up to 1 MiB; UsageError, naming the option, where it fails."""
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
    except ValueError as error:  # a quote that does not close
        raise UsageError(f"{option}: {str(error).lower()}") from None
    if not words:
        raise UsageError(f"{option}: no command is given")
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=False)  # noqa: S603  the user's own command, without a shell
    except OSError as error:
        raise UsageError(f"{option}: {words[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{option}: not done after {_COMMAND_SECONDS} s") from None
    if done.returncode:
        raise UsageError(f"{option}: the command failed with status {done.returncode}")
    return done.stdout[: _MAX_FILE + 1].decode(errors="replace")


# Files.


def read_octets(path: str | Path) -> bytes:
    """What a file holds, up to 1 MiB; UsageError where it cannot be read or is longer."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(content) > _MAX_FILE:
        raise UsageError(f"{path}: longer than {_MAX_FILE} octets")
    return content


def read_text(path: str | Path) -> str:
    """What a file holds as text in UTF-8; UsageError where it does not."""
    try:
        return read_octets(path).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not text in UTF-8") from None
