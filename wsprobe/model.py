"""The records: what a hop observed, the trace that joins the hops, and the report that judges it.

All times are seconds as floats; `at` of an observation is UTC in ISO 8601, every other time counts from there.
A field with a default is left out of JSON while it holds that default; a field without one is always written.
"""

from enum import StrEnum

from wsprobe.connection import (
    Activity,
    Anomaly,
    Certificate,
    Close,
    Count,
    Ending,
    Frame,
    Frames,
    Peers,
    Pings,
    PingsBySide,
    Sender,
    Tls,
    TlsEnds,
)
from wsprobe.frozen import dataclass
from wsprobe.parts import Body, Confidence, Header, Line, Message, Replaced, Severity

__all__ = [  # beside all that is defined here
    "Activity",
    "Anomaly",
    "Body",
    "Certificate",
    "Close",
    "Confidence",
    "Count",
    "Ending",
    "Frame",
    "Frames",
    "Header",
    "Line",
    "Message",
    "Peers",
    "Pings",
    "PingsBySide",
    "Replaced",
    "Sender",
    "Severity",
    "Tls",
    "TlsEnds",
]


class Subprotocol(StrEnum):
    """What became of the offered subprotocols (RFC 6455, 4.2.2)."""

    NOT_OFFERED = "not offered"
    ECHOED = "echoed"
    NOT_ECHOED = "not echoed"
    FOREIGN = "not among the offered"


class State(StrEnum):
    """What is known of a header at a hop."""

    PRESENT = "present"
    ABSENT = "absent"
    ALTERED = "altered"
    UNCOMPARED = "present, not compared"
    UNOBSERVED = "not observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """What observed, what it cannot see (`blind`) and what its presence changes (`alters`)."""

    kind: str
    version: str
    blind: tuple[str, ...] = ()
    alters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """Judgements about the upgrade that need the unredacted values (RFC 6455, 4.1 and 4.2).

    `duration` runs from the end of the request head to the end of the response head: a hop further out always
    has the longer one. `connection` are the tokens of the request's Connection header: what it nominates.
    """

    asked: bool
    upgraded: bool
    duration: float | None = None
    request_flaws: tuple[str, ...] = ()
    response_flaws: tuple[str, ...] = ()
    connection: tuple[str, ...] = ()
    subprotocol: Subprotocol | None = None
    offered: int = 0
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an exchange never got an answer: the phase (dns, tcp, tls, proxy, response) and the reason in words."""

    phase: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What an origin that checks tokens found: where it looked, whether the token holds, and why not."""

    carrier: str
    valid: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One step of the conversation that the user asked for, and whether it happened."""

    kind: str
    what: str
    met: bool
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """What a JSON Web Token says of itself (RFC 7519), unverified; claims that could name a person only by name."""

    alg: str | None = None
    typ: str | None = None
    kid: str | None = None
    iss: str | None = None
    aud: tuple[str, ...] = ()
    exp: float | None = None
    nbf: float | None = None
    iat: float | None = None
    scope: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What was replaced, where, and what may be told about it.

    `message` is request, response, or closes; `header` the index in its header list, None outside of headers.
    `shown` is the text that stands in its place. `parts` are the lengths of a JWT's parts. `fingerprints` map the
    id of a key to a shortened HMAC under it: equal values have equal fingerprints of the same key, and
    fingerprints of different keys say nothing about each other.
    """

    message: str
    header: int | None
    name: str
    scheme: str | None
    length: int
    shown: str
    parts: tuple[int, ...] = ()
    fingerprints: dict[str, str] | None = None
    jwt: Jwt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one recorder saw of one HTTP exchange and of the connection that an upgrade made of it.

    `ended` is None while the connection goes on. `interim` are the start lines of 1xx responses before the final
    one. `phases` are durations by name (dns, tcp, tls, upgrade), `addresses` what a name resolved to.
    """

    name: str
    instance: str
    recorder: Recorder
    connection: str
    exchange: int
    trace: str | None
    at: str
    request: Message | None
    response: Message | None
    closes: tuple[Close, ...]
    ended: float | None
    peers: Peers | None = None
    tls: TlsEnds | None = None
    interim: tuple[str, ...] = ()
    handshake: Handshake | None = None
    frames: Frames | None = None
    pings: PingsBySide | None = None
    activity: Activity | None = None
    anomalies: tuple[Anomaly, ...] = ()
    failure: Failure | None = None
    phases: dict[str, float] | None = None
    addresses: tuple[str, ...] = ()
    verification: Verification | None = None
    expectations: tuple[Expectation, ...] = ()
    redactions: tuple[Redaction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One control as it was made: a further exchange that separates explanations, by the hops that saw it.

    `name` says which control it is. The number of the request within the run, in its id, tells it from the main one.
    """

    name: str
    hops: tuple[Observation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """A header weighed from outside: whether it `arrived` at whoever holds the limit, None where nobody can tell.

    `plain` says that it was weighed over plain HTTP. `edge` is the most filler that passed, in `unit`, `refusal` what
    came above it, `tries` the requests that it took, and `why` the reason where it could not be weighed. Without a
    header it is the size of a head that passes, to within `straw` octets.
    """

    header: str
    plain: bool
    tries: int
    arrived: bool | None
    unit: str = ""
    edge: int = 0
    straw: int = 0
    refusal: str = ""
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All observations of one exchange in path order, client side first.

    `order` says how the order is known, and is None where it is not. `retries` are further tries of the same
    request at an inner hop; `silent` the recorders that saw other traffic and nothing of this exchange;
    `problems` what was wrong with the records, in words. `trials` are the controls that were made beside it, and
    `stopped` says why no more were.
    """

    id: str | None
    hops: tuple[Observation, ...]
    order: str | None = None
    retries: tuple[Observation, ...] = ()
    ambiguous: tuple[Observation, ...] = ()
    silent: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()
    stopped: str | None = None
    weighings: tuple[Weighing, ...] = ()


Segment = tuple[str | None, str | None]
"""The hops at both ends of a stretch of the path; None is an end that was not observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the evidence of a finding stands: a hop and what part of its observation."""

    hop: str
    part: str
    shows: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one rule.

    `others` are the explanations that were not ruled out, `untested` what nobody looked at, `next` the commands
    that would settle what is open. `lines` are lines of a config that predict what was observed.
    """

    rule: str
    message: str
    severity: Severity
    confidence: Confidence
    segment: Segment | None
    header: str | None
    fix: str | None
    places: tuple[Place, ...]
    others: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A rule that could not be judged, and what it lacked."""

    rule: str
    lacks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An extra request that separates explanations, and what came of it."""

    name: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One header at one hop."""

    state: State
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One header across the hops; `note` tells a change that a proxy may make."""

    message: str
    name: str
    cells: tuple[Cell, ...]
    note: str | None = None


class Who(StrEnum):
    """Who can apply a fix, the one who is nearest to the cause first."""

    CONFIG = "config"
    APPLICATION = "application"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link of the chain from symptom to root: what happened, how sure that is, and the evidence by place.

    `leads` is how sure it is that this brought about the link before it, None for the symptom; `because` says why it
    is no surer. `rule` names the finding that it stands for, `lines` the lines of a config.
    """

    what: str
    confidence: Confidence
    leads: Confidence | None
    places: tuple[Place, ...]
    because: str | None = None
    rule: str | None = None
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One fix and who can apply it. For a `line` of a config, `instead` is the text to have in its place.

    `instead` is empty where the line goes, and None where the exact change depends on more than the line.
    """

    who: Who
    what: str
    line: Line | None = None
    instead: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteUp:
    """Why it happened and what to do: the chain of causes, the fixes by who can apply them, the commands.

    `chain` begins with the symptom; `proven` says how far it is proven and where that ends. `verify` are commands
    that show whether a fix worked, `prevent` those that find the cause in a config before it is in force.
    """

    chain: tuple[Link, ...]
    proven: str
    fixes: tuple[Remedy, ...]
    verify: tuple[str, ...]
    prevent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A judged trace, with all the text that a report shows; `connection` is how the outermost hop connected.

    `config` says what configs that were given predict beside what was observed. `writeup` tells why it happened and
    what to do; it is None where there is no verdict.
    """

    version: str
    subject: str
    summary: str
    trace: Trace
    verdict: Finding | None
    findings: tuple[Finding, ...]
    skips: tuple[Skip, ...]
    controls: tuple[Control, ...]
    next: tuple[str, ...]
    redactions: tuple[Replaced, ...]
    matrix: tuple[Row, ...]
    endings: tuple[str, ...]
    unobserved: tuple[str, ...]
    alters: tuple[str, ...]
    connection: tuple[str, ...]
    config: tuple[str, ...] = ()
    writeup: WriteUp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the times of one phase lie over many connections."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The connections that met one node, as `by` (address, certificate, a header of the answer) tells it.

    `chance` is how likely chance alone makes the difference to the others, corrected for all groups compared.
    """

    by: str
    name: str
    failed: int
    connections: int
    failed_elsewhere: int
    elsewhere: int
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Many connections in numbers; `phases` holds the spread of each phase by name.

    `groups` are the connections by the nodes that they met, and `said` what these say in words.
    """

    connections: int
    healthy: int
    phases: dict[str, Spread]
    groups: tuple[Group, ...] = ()
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The reports of several connections, those with problems first."""

    reports: tuple[Report, ...]
    summary: Summary
