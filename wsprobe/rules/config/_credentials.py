"""What the rules on credentials have in common: how grave a loss is, and what an authentication has taken already."""

from wsprobe.lb.expressions import Subject
from wsprobe.lb.model import Effect, Gate
from wsprobe.parts import Severity
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
