"""One connection as it is asked for, and the one that a redirection makes of it."""

import secrets
import socket
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from urllib.parse import quote

from yarl import URL

from wsprobe.credentials import is_secret_name, secret_subprotocols
from wsprobe.heads import status, tokens, values
from wsprobe.model import Header, Observation
from wsprobe.net.conversation import Beat, Steps
from wsprobe.net.dial import Way
from wsprobe.net.tls import dialling

RUN_OCTETS = 14
"""Octets of a run's id; the two that follow are the number of the request within the run."""

ANSWER_SECONDS = 30.0
"""How long the answer to the upgrade may take, from the start of the connection on."""

_SECURE = frozenset({"wss", "https"})

context_for = cache(dialling)
"""A client's TLS context, made once: the system's authorities take their time to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Everything that one connection needs. Times are in seconds; `max_time` bounds all of it.

    `answers` are the user's own host and port to connect to, by the host and port of a URL. `hold` is how long the
    connection is watched after the 101 or after the last message that was waited for. `plain` makes it an ordinary
    GET, which asks for no WebSocket.
    """

    url: URL
    headers: tuple[Header, ...] = ()
    run: bytes = field(default_factory=lambda: secrets.token_bytes(RUN_OCTETS))
    number: int = 0
    steps: Steps = ()
    within: float = 10.0
    hold: float = 5.0
    beat: Beat | None = None
    max_time: float | None = None
    answer_time: float = ANSWER_SECONDS
    browser: bool = False
    verify: bool = True
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    answers: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    family: socket.AddressFamily = socket.AF_UNSPEC
    proxy: URL | None = None
    plain: bool = False

    @property
    def octets(self) -> bytes:
        """The 16 octets that are Sec-WebSocket-Key and trace id at once."""
        return self.run + self.number.to_bytes(2)

    @property
    def way(self) -> Way:
        """Where the connection goes. OSError or ValueError where a file for TLS cannot be used."""
        asked = (self.url.host or "").lower(), self.url.port or 0
        host, port = self.answers.get(asked, asked)
        context = None
        if self.url.scheme in _SECURE:
            context = context_for(self.authority, verify=self.verify, certificate=self.certificate, key=self.key)
        return Way(host=host, port=port, name=asked[0], context=context, family=self.family, proxy=self.proxy)


TICKET = "{ticket}"
"""Where a single-use ticket stands in a URL or in a header's value."""


def ticketed(attempt: Attempt, ticket: str) -> Attempt:
    """The attempt with a ticket in all places that are kept for one."""
    text = str(attempt.url).replace("%7Bticket%7D", TICKET).replace(TICKET, quote(ticket, safe=""))
    headers = tuple((name, value.replace(TICKET, ticket)) for name, value in attempt.headers)
    return replace(attempt, url=URL(text, encoded=True), headers=headers)


def redirected(attempt: Attempt, seen: Observation) -> Attempt | None:
    """The next attempt where this one was sent elsewhere, None where it was not.

    Credentials stay behind when scheme, host or port change (RFC 9110, 15.4): the headers that hold some, tokens
    among the subprotocols, the client's certificate.
    """
    response = seen.response
    code = status(response.start_line) if response else None
    found = values(response.headers, "location") if response and code in {301, 302, 303, 307, 308} else []
    if not found:
        return None
    try:
        url = attempt.url.join(URL(found[0]))
    except ValueError:
        return None
    if url.scheme not in {"ws", "wss", "http", "https"} or not url.host:
        return None
    url = url.with_scheme({"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)).with_fragment(None)
    onward = replace(attempt, url=url, run=secrets.token_bytes(RUN_OCTETS))
    if url.origin() == attempt.url.origin():
        return onward
    kept = tuple((name, value) for name, value in attempt.headers if not holds_secret(name, value))
    return replace(onward, headers=kept, certificate=None, key=None)


def holds_secret(name: str, value: str) -> bool:
    """Whether a header carries what says who somebody is."""
    if name.lower() == "sec-websocket-protocol":
        return any(secret for _, secret in secret_subprotocols(tokens([(name, value)], name)))
    return is_secret_name(name)
