"""A control as a connection: the main attempt with the one thing changed that the control is about."""

import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from yarl import URL

from wsprobe.controls import Ask, Credentials
from wsprobe.credentials import JWT, is_secret_name, secret_subprotocols
from wsprobe.heads import tokens
from wsprobe.model import Header, Observation
from wsprobe.net.attempt import Attempt, holds_secret

Change = Callable[[str], str | None]
"""What becomes of a secret; None leaves it out."""

_LEAST_WATCHED = 1.0
_ANSWER_SECONDS = 10.0
_WEBSOCKET = {"http": "ws", "https": "wss"}
_BEARER = re.compile("authorization", re.IGNORECASE)
_OPENING = re.compile(r"sec-websocket-(protocol|extensions|version)", re.IGNORECASE)


def attempt_for(ask: Ask, main: Attempt, seen: Observation, number: int) -> Attempt:
    """The attempt that a control is, told apart from the main one by the number in its id.

    It is watched for twice as long as the main connection lasted and a second, so that it can end as that did.
    """
    url = main.url
    if ask.url is not None:
        url = URL(ask.url)
        url = url.with_scheme(_WEBSOCKET.get(url.scheme, url.scheme))
    elif ask.path is not None:
        url = url.join(URL(ask.path))
    headers = _changed(main.headers, ask)
    if ask.carrier is not None:
        url, headers = _carried(url, headers, ask.carrier)
    if ask.credentials is not Credentials.KEPT:
        change = _without if ask.credentials is Credentials.NONE else broken
        headers = tuple(header for name, value in headers for header in _each(name, value, change))
        url = _of_url(url, change)
    lasted = seen.closes[0].at if seen.closes else main.hold
    return replace(
        main,
        url=url,
        headers=headers,
        number=number,
        plain=ask.plain,
        hold=min(main.hold, 2 * lasted + _LEAST_WATCHED),
        answer_time=min(main.answer_time, _ANSWER_SECONDS),
        answers=main.answers if ask.url is None else {},
    )


def _changed(headers: tuple[Header, ...], ask: Ask) -> tuple[Header, ...]:
    gone = {name.lower() for name in ask.without} | {name.lower() for name, _ in ask.headers}
    kept = tuple(header for header in headers if header[0].lower() not in gone)
    if ask.plain:
        kept = tuple(header for header in kept if not _OPENING.fullmatch(header[0]) or holds_secret(*header))
    return (*kept, *ask.headers)


def _carried(url: URL, headers: tuple[Header, ...], carrier: str) -> tuple[URL, tuple[Header, ...]]:
    """The bearer token in another place than Authorization; nothing changes where there is none."""
    token = next((value[7:].strip() for name, value in headers if _BEARER.fullmatch(name) and len(value) > 7), None)
    if token is None:
        return url, headers
    kind, _, name = carrier.partition(":")
    rest = tuple(header for header in headers if not _BEARER.fullmatch(header[0]))
    if kind == "query":
        mark = "&" if url.raw_query_string else "?"
        return URL(f"{url}{mark}{name}={quote(token, safe='')}", encoded=True), rest
    if kind == "cookie":
        return url, _joined(rest, "Cookie", f"{name}={token}", "; ")
    return url, _joined(rest, "Sec-WebSocket-Protocol", f"bearer, {token}", ", ")


def _joined(headers: tuple[Header, ...], name: str, more: str, separator: str) -> tuple[Header, ...]:
    """With one more member in a header, which is added where there is none."""
    if all(key.lower() != name.lower() for key, _ in headers):
        return (*headers, (name, more))
    return tuple((key, f"{value}{separator}{more}" if key.lower() == name.lower() else value) for key, value in headers)


def _without(_: str) -> str | None:
    return None


def broken(secret: str) -> str:
    """A secret of the same length and form that verifies nowhere: of a JWT a part of the signature is another one."""
    token = JWT.search(secret)
    start, end = (token.start() + token[0].rfind(".") + 1, token.end()) if token else (0, len(secret))
    middle = (start + end) // 2
    swapped = "".join("B" if character == "A" else "A" for character in secret[middle : middle + 4])
    return secret[:middle] + swapped + secret[middle + 4 :]


def _each(name: str, value: str, change: Change) -> list[Header]:
    """A header with its secrets changed; none where nothing of it is left."""
    if name.lower() == "sec-websocket-protocol":
        parts = [
            shown + (changed if secret else "")
            for shown, secret in secret_subprotocols(tokens([(name, value)], name))
            if (changed := change(secret) if secret else "") is not None
        ]
        return [(name, ", ".join(parts))] if parts else []
    if not holds_secret(name, value):
        return [(name, value)]
    changed = change(value)
    return [] if changed is None else [(name, changed)]


def _of_url(url: URL, change: Change) -> URL:
    """The URL with the secrets of its user and its query changed, and all else as it was written."""
    if url.user is not None:
        password = change(url.password or "")
        url = url.with_user(None) if password is None else url.with_password(password)
    base, mark, query = str(url).partition("?")
    parts = [part for pair in query.split("&") if (part := _pair(pair, change)) is not None]
    return URL(f"{base}?{'&'.join(parts)}" if mark and parts else base, encoded=True)


def _pair(pair: str, change: Change) -> str | None:
    name, equals, value = pair.partition("=")
    if not (is_secret_name(name) or JWT.search(value)) or not value:
        return pair
    changed = change(value)
    return None if changed is None else f"{name}{equals}{changed}"
