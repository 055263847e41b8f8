"""One model for all load balancers: how a request is routed, and step by step what becomes of it on the way.

A reader turns a config, and what its proxy does by default, into this; `predict` runs a request through it; rules
look at what came out. The first route whose match holds gets the request: a reader puts them in the order in which
its proxy decides. Steps run in their order. A step whose place is None is the proxy's default.
"""

from enum import StrEnum

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem, Timeout, Unknown
from wsprobe.lb.expressions import ALWAYS, Condition, Value
from wsprobe.parts import Line

# Which headers a step is about. Names are compared without case.


@dataclass(frozen=True, slots=True)
class Named:
    """The headers of these names."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """The headers whose name a pattern is found in (anchor it where the proxy does).

    `lowered` says that the proxy puts names in lower case before it compares them.
    """

    pattern: str
    ignore_case: bool = True
    lowered: bool = False


@dataclass(frozen=True, slots=True)
class Nominated:
    """The headers that Connection names, as it stands at that moment (RFC 9110, 7.6.1)."""

    but: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Empty:
    """The headers without a value."""


@dataclass(frozen=True, slots=True)
class Every:
    """All headers but these."""

    but: tuple[str, ...] = ()


Which = Named | Like | Nominated | Empty | Every


class Op(StrEnum):
    """What an edit does to the headers that it is about.

    SET leaves one line of that value, and removes the header where the value is missing, or empty and `drop_empty`.
    ADD adds a line; it adds none where the value is missing. DEFAULT adds one only where there is none. APPEND joins
    the value to the last line, with `separator`, or sets it. RENAME gives another name, KEEP only the first line.
    REPLACE substitutes what `pattern` finds in each line, or in each member of the list where `members`; space around
    such a member is lost. JOIN makes one line of all lines. PRUNE takes out the members that are as `pattern` says,
    whole and in any case, and lines without members: what stands before the first one stays as it is, what stands
    after it is joined with a comma.
    """

    SET = "set"
    ADD = "add"
    DEFAULT = "set if absent"
    APPEND = "append"
    REMOVE = "remove"
    RENAME = "rename"
    REPLACE = "replace"
    JOIN = "join"
    FIRST = "keep the first"
    PRUNE = "remove members"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One edit of headers. `value` is the new value, of RENAME the new name, of REPLACE the replacement.

    `drop_empty` says that an empty value means removal (nginx, Traefik), and that empty members are left out where
    lines are joined or appended to (Envoy), `to_first` that APPEND joins to the first line and not to the last.
    `effective` is False for an edit of the response that the proxy ignores on a 101.
    """

    op: Op
    which: Which
    value: Value | None = None
    pattern: str = ""
    ignore_case: bool = False
    every: bool = False
    members: bool = False
    separator: str = ", "
    drop_empty: bool = False
    to_first: bool = False
    when: Condition = ALWAYS
    place: Line | None = None
    effective: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Retarget:
    """The request target (path and query) becomes another one."""

    value: Value
    when: Condition = ALWAYS
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoil:
    """The request is passed on, but a 101 of the upstream does not reach the client, which gets `status` instead."""

    status: int | None
    why: str
    when: Condition = ALWAYS
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The proxy answers by itself, and no upstream is asked; `status` is None where it cannot be told."""

    status: int | None
    why: str
    when: Condition = ALWAYS
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """The request goes no further and gets no answer: a filter waits for a body that never ends."""

    why: str
    when: Condition = ALWAYS
    place: Line | None = None


class Effect(StrEnum):
    """What an authentication does to the header that it reads."""

    READS = "reads"
    CONSUMES = "consumes"
    REPLACES = "replaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """An authentication that lets a request pass or answers with `status`.

    `kind` is the proxy's own word (auth_basic, jwt_authn, forward_auth); `header` what it reads. `passes` is what can
    be decided of it from here; an `Undecided` where it depends on a secret or another service. What it does to headers
    on success stands in edits after it; `effect` says it in a word for people and rules, `returns` names the headers
    that are taken from the answer of the service that was asked.
    """

    kind: str
    header: str
    effect: Effect
    passes: Condition
    status: int | None = 401
    returns: tuple[str, ...] = ()
    when: Condition = ALWAYS
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """Something that may change headers and that cannot be followed: a script, a filter, a plugin.

    `names` are the headers that it may change; empty means any of them.
    """

    why: str
    names: tuple[str, ...] = ()
    when: Condition = ALWAYS
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """The method of the request becomes another one."""

    value: Value
    when: Condition = ALWAYS
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """A variable of the proxy gets a value; expressions ask for it by name (`Subject.VARIABLE`)."""

    name: str
    value: Value
    when: Condition = ALWAYS
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """The route is taken only where the condition holds at this point of its steps.

    Else the next route is tried, as if none of these steps had been: what a proxy decides after it has changed the
    request stands here, and what it decides before in the route's match.
    """

    when: Condition
    place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reroute:
    """The route is chosen anew, for the request as it stands now; `to` names the route that gets it, whatever matches.

    Steps that come after it on the route that is left are not taken; those of the listener are taken once more where
    it says `again`. `first` are steps on the way there: where nobody can tell whether the request goes that way, they
    are not taken.
    """

    to: str = ""
    why: str = ""
    again: bool = False
    first: "tuple[Step, ...]" = ()
    when: Condition = ALWAYS
    place: Line | None = None


Step = Edit | Retarget | Answer | Stall | Gate | Opaque | Method | Assign | Spoil | Only | Reroute


class Measure(StrEnum):
    """What a size limit counts."""

    LINE = "octets of one header line, name and value"
    VALUE = "octets of one header's value"
    JOINED = "octets of one header's value, its lines joined"
    START = "octets of the request line"
    HEAD = "octets of the whole head"
    COUNT = "header lines"
    BUFFERS = "buffers that the lines of the head fill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The proxy refuses a head above this with `status`. Within `slack` of it nobody can tell.

    `per_line` is what each header line counts in addition, in the memory of the proxy. Of BUFFERS, each of which holds
    whole lines, `first` is the size of one that comes before those that are counted, and `each` that of those.
    """

    name: str
    measure: Measure
    most: int
    status: int | None
    place: Line | None = None
    slack: int = 0
    per_line: int = 0
    first: int = 0
    each: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where a route leads.

    `protocol` is http/1.0, http/1.1, h2 or h2c, client for the version of the client, or unknown. `extended` says that
    the config is made for an upstream that takes upgrades over HTTP/2 (RFC 8441).
    """

    protocol: str
    tls: bool = False
    extended: bool = False
    addresses: tuple[str, ...] = ()
    place: Line | None = None
    protocol_place: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An edit of an outer level that does not apply on a route, because an inner level writes its own."""

    edit: Edit
    by: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What becomes of the requests that match.

    `label` is the match as the config writes it; `sample` a request target that should match it, for looking at the
    route without a request, `sample_host` the host for it. `upstream` is None where the proxy answers by itself.
    `name` is what a `Reroute` calls it by; a route that gets requests in no other way matches `NEVER`.
    """

    label: str
    name: str = ""
    match: Condition = ALWAYS
    place: Line
    sample: str = "/"
    sample_host: str | None = None
    steps: tuple[Step, ...] = ()
    response: tuple[Edit, ...] = ()
    upstream: Upstream | None = None
    timeouts: tuple[Timeout, ...] = ()
    limits: tuple[Limit, ...] = ()
    lost: tuple[Lost, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """An address that a listener listens on; port None where the config does not tell it."""

    address: str = ""
    port: int | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where requests come in. `steps` run before a route is chosen, on all of them.

    Of the connections with TLS to its addresses, it takes those to the hosts that `match` says. `otherwise` is the
    answer where no route matches; `unmatched` what happens to the request before that.
    """

    label: str
    place: Line
    binds: tuple[Bind, ...] = ()
    match: Condition = ALWAYS
    steps: tuple[Step, ...] = ()
    routes: tuple[Route, ...] = ()
    limits: tuple[Limit, ...] = ()
    unmatched: tuple[Step, ...] = ()
    otherwise: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One config, read. `version` is that of the proxy; `assumed` where neither the user nor the file told it.

    `unread` is what the reader did not understand, `problems` what it could not read at all, `files` all files that
    it is made of.
    """

    kind: str
    path: str
    version: str
    assumed: bool = True
    listeners: tuple[Listener, ...] = ()
    unread: tuple[Unknown, ...] = ()
    problems: tuple[Problem, ...] = ()
    files: tuple[str, ...] = ()
