"""What the rules on credentials have in common: how grave a loss is, and what an authentication has taken already."""

from wsprobe.lb.expressions import Subject
from wsprobe.lb.model import Edit, Effect, Gate, Op
from wsprobe.parts import Line, Severity
from wsprobe.rules.config._intent import Intent, Level
from wsprobe.rules.config._passage import Passage

FROM_ELSEWHERE = frozenset({Subject.PARAMETER, Subject.QUERY, Subject.COOKIE})
"""Where a browser, which cannot set Authorization on a WebSocket, puts a token instead."""

PASS_ON = {
    "nginx": " To pass on what the client sent: `proxy_set_header NAME $http_VARIABLE;`.",
}


def severity(intent: Intent, name: str) -> Severity:
    """How grave it is that the upstream does not get the credential as it was sent."""
    grave = name.lower() == "authorization" and intent.level >= Level.LIKELY
    return Severity.ERROR if grave else Severity.WARNING


def consumed(passage: Passage, name: str) -> Gate | None:
    """The authentication that takes or replaces a credential; it has a rule of its own."""
    takes = {Effect.CONSUMES, Effect.REPLACES}
    return next((g for g in passage.gates if g.effect in takes and g.header.lower() == name.lower()), None)


def taking(passage: Passage, name: str, gate: Gate) -> Edit | None:
    """The edit by which an authentication takes or replaces a credential; None where it does so by default."""
    op = Op.REMOVE if gate.effect is Effect.CONSUMES else Op.SET
    after = passage.steps[passage.steps.index(gate) :]
    doubt = passage.doubt(name)
    unknown = doubt.place if doubt else None  # what a service answers is not known
    edits = (edit for edit in passage.written(name) if edit in after)
    own = (e for e in edits if e.place == gate.place or (e.op is op and (op is Op.REMOVE or e.place == unknown)))
    return next(own, None)


def told_as_consumed(passage: Passage, name: str, place: Line | None) -> bool:
    """Whether what a line does to a credential is what an authentication does."""
    gate = consumed(passage, name)
    edit = taking(passage, name, gate) if gate else None
    return gate is not None and place in {gate.place, edit.place if edit else gate.place}
