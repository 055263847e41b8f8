"""What the records of traces and of inspections have in common.

Apart from the others, because `wsprobe inspect` runs before each commit: it must not pay for the records of traces.
"""

from enum import StrEnum

from wsprobe.frozen import dataclass

Header = tuple[str, str]
"""Name and value as they stood on the wire: octets as latin-1, case and order kept, optional whitespace off."""


class Confidence(StrEnum):
    """How far the observations carry a finding; the words are used for nothing else."""

    PROVEN = "proven"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Severity(StrEnum):
    """How much a finding matters for the connection."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The body of a refused upgrade: text where it is text, its size on the wire, and whether it was cut."""

    text: str | None
    size: int
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The head of a request or response (RFC 9112, 2.1), with the body only where an upgrade was refused."""

    start_line: str
    headers: tuple[Header, ...]
    body: Body | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A place in a config: the file as it was named, the line, where on it, and the text of that line.

    `length` is how many characters from `column` on are meant, 0 where it is the rest of the line. `text` is without
    the white space around it, of which `indent` characters stood before; what is shown of a very long line is the
    part around the place, and `indent` counts all before it.
    """

    path: str
    line: int
    text: str
    column: int = 1
    length: int = 0
    indent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A line of the redaction manifest: what was replaced, where, how often."""

    what: str
    where: str
    times: int
