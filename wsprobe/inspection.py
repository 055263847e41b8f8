"""The records of `wsprobe inspect`: what a config does to an upgrade, route by route, and what is wrong with it.

Everything here is text that may be shown: values of secrets were replaced before. Lines and columns count from 1,
times are seconds. A place of None is the proxy's own default: no line of the config says so.
"""

from dataclasses import field
from enum import StrEnum

from wsprobe.frozen import dataclass
from wsprobe.parts import Line, Message, Replaced, Severity


class Change(StrEnum):
    """What a proxy does to a header of the request."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"
    MERGED = "merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderEdit:
    """One change of one header and the line that causes it; `after` of a renamed header is its new name."""

    kind: Change
    name: str
    before: str | None
    after: str | None
    place: Line | None


class Timer(StrEnum):
    """What a timer measures: silence, the age of the connection, or the wait for the answer to the upgrade."""

    IDLE = "idle"
    LIFETIME = "lifetime"
    HANDSHAKE = "handshake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """One timer as it is in force. `seconds` is None where it never fires; `resets_on` says what starts it anew.

    `name` is the proxy's own word for it. Where `applies` is False it looks right and does nothing to an upgraded
    connection; `why` says so. `ends` tells how each side sees the end, in words.
    """

    kind: Timer
    name: str
    seconds: float | None
    place: Line | None = field(metadata={"none": "default"})
    resets_on: str = field(default="", metadata={"always": True})
    applies: bool = field(default=True, metadata={"always": True})
    why: str = ""
    ends: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Something that a config does not tell, and why."""

    what: str
    why: str
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What becomes of one request. It speaks for the config as it was read, not for a proxy that runs.

    `reached` is whether the upstream gets a request, None where the config does not decide it; `status` what the
    client gets from the proxy itself where the upgrade does not pass. `request` is what the upstream receives,
    without the headers that are listed in `unknown`. `why` says why the proxy answers by itself, or never.
    `assumed` are the choices that nobody made: a listener, a version of the proxy.
    """

    reached: bool | None
    status: int | None
    request: Message | None
    edits: tuple[HeaderEdit, ...]
    timeouts: tuple[Timeout, ...]
    unknown: tuple[Unknown, ...]
    route: str | None = None
    place: Line | None = None
    why: str = ""
    assumed: tuple[str, ...] = ()
    config: str = ""


class Handling(StrEnum):
    """What happens to an upgrade on a route."""

    PASSED = "passed on"
    DROPPED = "dropped"
    REFUSED = "refused"
    ANSWERED = "answered by the proxy"
    HANGS = "hangs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something about a route in words, and the line that says it."""

    text: str
    place: Line | None = field(metadata={"none": "default"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """One route: how it is matched, where it leads, and what it does to an upgrade, in the order of the proxy."""

    config: str
    listener: str
    match: str
    place: Line | None
    upstream: str
    upgrade: Handling
    edits: tuple[HeaderEdit, ...]
    timeouts: tuple[Timeout, ...]
    auth: tuple[Remark, ...] = ()
    limits: tuple[Remark, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[Unknown, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFinding:
    """The result of one rule over a config; `related` are further lines that are part of it."""

    rule: str
    message: str
    severity: Severity
    place: Line
    related: tuple[Line, ...] = ()
    route: str | None = None
    header: str | None = None
    fix: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that could not be read, in one line: what, where, and why; `line` and `column` are 0 where unknown."""

    path: str
    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigView:
    """One config: the file that it begins in, those that it includes, and the version of the proxy it was read for."""

    path: str
    kind: str
    version: str
    assumed: bool
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Silenced:
    """A finding that a comment in the config silences, with the reason that stands there."""

    finding: ConfigFinding
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """What a rule means: in one sentence, and with reasons and examples."""

    name: str
    summary: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that `wsprobe inspect` says; `status` is the exit status, `rules` are those that found something."""

    version: str
    summary: str
    status: int
    configs: tuple[ConfigView, ...]
    routes: tuple[RouteView, ...]
    findings: tuple[ConfigFinding, ...]
    unread: tuple[Unknown, ...]
    problems: tuple[Problem, ...]
    prediction: Prediction | None
    silenced: tuple[Silenced, ...]
    rules: tuple[RuleText, ...]
    redactions: tuple[Replaced, ...] = ()
