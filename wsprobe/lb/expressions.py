"""The values and conditions of a config, as expressions over one request.

An expression is plain data that a reader builds; `wsprobe.lb.evaluation` says what it comes to for a request, and where
that cannot be known, why.
"""

from enum import StrEnum

from wsprobe.frozen import dataclass
from wsprobe.lb._paths import PathForm


@dataclass(frozen=True, slots=True)
class Unsure:
    """Why something cannot be told from the config and the request."""

    why: str


class Subject(StrEnum):
    """A part of the request, or of the connection that it came on."""

    METHOD = "method"
    TARGET = "request target"
    PATH = "path"
    RAW_PATH = "path as it travels"
    QUERY = "query"
    PARAMETER = "query parameter"
    HEADER = "header"
    COOKIE = "cookie"
    HOST = "host"
    AUTHORITY = "host and port"
    SCHEME = "scheme"
    VERSION = "HTTP version"
    PEER = "address of the client"
    PEER_PORT = "port of the client"
    LOCAL = "address that the proxy listens on"
    LOCAL_PORT = "port that the proxy listens on"
    MACHINE = "name of the machine that the proxy runs on"
    VARIABLE = "variable"
    NAMES = "names of all headers, one a line"


class Lines(StrEnum):
    """What counts as the value of a header that stands on several lines, or of a parameter that stands several times.

    With ANY_LINE and ANY_MEMBER a test holds where it holds for one of them; elsewhere they mean the first.
    """

    FIRST = "the first line"
    LAST = "the last line"
    JOINED = "all lines, joined with a comma"
    LAST_MEMBER = "the last member of the list"
    FIRST_MEMBER = "the first member of the list"
    ANY_LINE = "any of the lines"
    ANY_MEMBER = "any member of the list"


@dataclass(frozen=True, slots=True)
class Text:
    """A literal."""

    text: str


@dataclass(frozen=True, slots=True)
class Of:
    """A part of the request, as it stands when the expression is evaluated, or as the client sent it (`original`).

    PATH is without query, decoded, dot segments resolved and slashes merged; RAW_PATH is without query and nothing else
    done to it; TARGET is path and query as they would travel. `separator` joins the lines of a
    header where `lines` is JOINED; with `quotes`, a comma between quotes does not divide a list (RFC 9110, 5.6.1). It
    has no value where the part is missing.
    """

    subject: Subject
    name: str = ""
    original: bool = False
    lines: Lines = Lines.FIRST
    separator: str = ", "
    quotes: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Values one after the other; one that is missing counts as the empty text."""

    parts: tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Cases:
    """The value of the first condition that holds, else the default: what nginx calls a map."""

    cases: tuple[tuple["Condition", "Value"], ...]
    default: "Value | None" = None


@dataclass(frozen=True, slots=True)
class Or:
    """The first value, or the second where the first is missing or empty."""

    first: "Value"
    second: "Value"


@dataclass(frozen=True, slots=True)
class Substituted:
    r"""A value with what a pattern finds in it replaced; `\1` and `\g<name>` in the replacement are its groups."""

    value: "Value"
    pattern: str
    replacement: str
    ignore_case: bool = False
    all: bool = False


@dataclass(frozen=True, slots=True)
class Captured:
    """What a group of a pattern catches where the pattern is first found in a value; no value where it is not found.

    `group` is a number, or the name of a group.
    """

    value: "Value"
    pattern: str
    group: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Without:
    """A value without a prefix or suffix that it begins or ends with."""

    value: "Value"
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Cased:
    """A value in lower or upper case."""

    value: "Value"
    upper: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A path, written in another way."""

    value: "Value"
    form: PathForm


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of that number where separators (each character is one) divide a value; negative counts from the end.

    `skip_empty` leaves out parts without text; where there are fewer the part is missing, or with `or_empty` the empty
    text. With `quotes`, the separator is a comma, and one between quotes does not divide.
    """

    value: "Value"
    separators: str
    number: int
    skip_empty: bool = False
    quotes: bool = False
    or_empty: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """How many values a header or its list has, as a number."""

    of: Of


@dataclass(frozen=True, slots=True)
class Length:
    """How many octets a value has, as a number."""

    value: "Value"


@dataclass(frozen=True, slots=True)
class Undecided:
    """A value or a condition that only the running proxy knows: its text in the config, and why."""

    text: str
    why: str


Value = (
    Text
    | Of
    | Join
    | Cases
    | Or
    | Substituted
    | Captured
    | Without
    | Cased
    | Written
    | Piece
    | Count
    | Length
    | Undecided
)


class How(StrEnum):
    """How a value is tested."""

    EXISTS = "exists"
    EQUALS = "equals"
    PREFIX = "begins with"
    SUFFIX = "ends with"
    CONTAINS = "contains"
    REGEX = "matches"
    BETWEEN = "is a number between"
    NETWORK = "lies in"


@dataclass(frozen=True, slots=True)
class Test:
    """Whether a value is as one of the texts says; EXISTS needs none. A missing value fails all tests.

    The texts of BETWEEN are `low:high`, both included and each optional; those of NETWORK, which is for addresses, are
    an address, or a network with the length of its prefix.
    """

    value: Value
    how: How
    texts: tuple[str, ...] = ()
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class All:
    """Whether all of them hold; it does where there is none."""

    conditions: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class OneOf:
    """Whether one of them holds; none does where there is none."""

    conditions: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """Whether it does not hold."""

    condition: "Condition"


Condition = Test | All | OneOf | Not | Undecided


ALWAYS = All()


NEVER = OneOf()


def header(name: str, lines: Lines = Lines.FIRST) -> Of:
    """The value of a request header as it stands."""
    return Of(Subject.HEADER, name, lines=lines)


def has(name: str) -> Test:
    """Whether a request header is there, whatever it says."""
    return Test(header(name), How.EXISTS)


def path_begins(prefix: str) -> Test:
    """Whether the decoded path begins with a text."""
    return Test(Of(Subject.PATH), How.PREFIX, (prefix,))


def path_is(path: str) -> Test:
    """Whether the decoded path is a text."""
    return Test(Of(Subject.PATH), How.EQUALS, (path,))


def both(*conditions: Condition) -> Condition:
    """All of them, without what always holds."""
    needed = tuple(condition for condition in conditions if condition != ALWAYS)
    return needed[0] if len(needed) == 1 else All(needed)
