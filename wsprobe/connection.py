"""The records of a connection: between whom, over which TLS, what passed after the upgrade, and how it ended.

All times are seconds from the `at` of the observation.
"""

from enum import StrEnum

from wsprobe.frozen import dataclass


class Sender(StrEnum):
    """Whose act it was, seen from the recorder."""

    CLIENT = "client"
    SERVER = "server"
    LOCAL = "local"


class Ending(StrEnum):
    """How one direction of a connection ended."""

    FRAME = "frame"
    EOF = "eof"
    RESET = "reset"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Addresses as `host:port`: who connected, where the recorder took it, and whom it connected to."""

    client: str | None = None
    local: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate that a server presented; times in ISO 8601, `sha256` of the DER."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: str
    not_after: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """One TLS connection as it was negotiated; `error` holds the reason why verification failed, in words."""

    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    sni: str | None = None
    verified: bool | None = None
    error: str | None = None
    certificates: tuple[Certificate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsEnds:
    """TLS towards the client and towards the server; None where that side is plain TCP."""

    client: Tls | None = None
    server: Tls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Frames of one opcode and the bytes of their payloads."""

    frames: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame: when its head had come, the name of its opcode and the octets of its payload, never the payload.

    These are the octets that travelled: compressed ones where permessage-deflate was agreed (RFC 7692).
    `more` is true of a part of a message that is not the last one.
    """

    at: float
    sender: Sender
    opcode: str
    bytes: int
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Frames per direction, by the name of their opcode (RFC 6455, 5.2).

    `first` are the first of each side one by one, in the order seen; `last` of the later ones the latest pings, pongs
    and closes, the data frame before each, and the newest frame. Both are bounded, the counts tell how many there
    were, and a recorder that kept none has both empty.
    """

    client: dict[str, Count]
    server: dict[str, Count]
    first: tuple[Frame, ...] = ()
    last: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """Pings of one side and the round-trip times of those that were answered (RFC 6455, 5.5.2)."""

    sent: int
    answered: int
    shortest: float | None = None
    mean: float | None = None
    longest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PingsBySide:
    """Pings that the client sent and pings that the server sent; None where there were none."""

    client: Pings | None = None
    server: Pings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """One end of one direction. `code` is only what a close frame carried; what never travels is None."""

    sender: Sender
    ending: Ending
    code: int | None
    reason: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """When the last byte of each direction passed; None where none did after the handshake."""

    client: float | None = None
    server: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """Something on the wire that the standards do not allow: an observation, never an error of the recorder."""

    sender: Sender
    kind: str
    detail: str
    at: float
    times: int = 1
