"""A request as it comes to a proxy, what is known of the connection that it comes on, and the parts of its target."""

import posixpath
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from wsprobe.frozen import dataclass
from wsprobe.lb.expressions import Subject
from wsprobe.parts import Header

SOME_HOST = "app.example.com"
"""The host of a request that is asked about by its path alone."""

OF_TARGET = frozenset({Subject.TARGET, Subject.PATH, Subject.RAW_PATH, Subject.QUERY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The head of an HTTP/1.1 request as it comes to the proxy, and what is known of the connection it comes on.

    `port` is the one that the client connected to, `machine` the name of the host that the proxy runs on. What is None
    is not known. `withheld` are texts that a recorder put in the place of secrets in headers, `arguments` those in the
    place of whole arguments of the target.
    """

    target: str = "/"
    headers: tuple[Header, ...] = ()
    method: str = "GET"
    version: str = "HTTP/1.1"
    scheme: str | None = None
    port: int | None = None
    peer: str | None = None
    peer_port: int | None = None
    local: str | None = None
    machine: str | None = None
    withheld: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


def upgrade(target: str = "/", host: str = SOME_HOST, headers: tuple[Header, ...] = ()) -> Request:
    """The request of a client that asks for a WebSocket (RFC 6455, 4.1), with more headers behind its own."""
    own = (
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    )
    given = {name.lower() for name, _ in headers}
    return Request(target=target, headers=(*(pair for pair in own if pair[0].lower() not in given), *headers))


def host_of(authority: str) -> str:
    """The host of an authority, without its port (RFC 3986, 3.2)."""
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() else authority


@lru_cache(maxsize=4096)  # the matches of all routes ask for the path of one request
def of_target(subject: Subject, target: str) -> str | None:
    """The part of a request target that a subject names; None where it has none, or the subject is of another kind."""
    if "://" in target and not target.startswith("/"):  # the absolute form (RFC 9112, 3.2.2)
        slash = target.find("/", target.index("://") + 3)
        whole, target = target, target[slash:] if slash >= 0 else "/"
        if subject is Subject.TARGET:
            return whole
    path, mark, query = target.partition("?")
    match subject:
        case Subject.TARGET:
            return target
        case Subject.RAW_PATH:
            return path
        case Subject.QUERY:
            return query if mark else None
    return _normal(path)


def _normal(path: str) -> str:
    """A path decoded, with its dot segments resolved and its slashes merged."""
    decoded = unquote(path)
    normal = posixpath.normpath(f"/{decoded.lstrip('/')}")
    return f"{normal}/" if decoded.endswith(("/", "/.", "/..")) and normal != "/" else normal


def request_for(url: str, headers: tuple[Header, ...]) -> Request:
    """The upgrade that a client would send to a URL, or to a path where no more is known."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    if not parts.netloc:
        host = next((value for name, value in headers if name.lower() == "host"), SOME_HOST)
        return upgrade(target, host, headers)
    secure = parts.scheme in {"wss", "https"}
    default = 443 if secure else 80
    host = parts.netloc.rpartition("@")[2]
    made = upgrade(target, host, headers)
    return Request(
        target=made.target,
        headers=made.headers,
        scheme="https" if secure else "http",
        port=parts.port or default,
    )
