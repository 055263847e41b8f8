"""What the rules on credentials have in common: how grave a loss is, and what an authentication has taken already."""

import re

from wsprobe.lb.expressions import Of, Subject
from wsprobe.lb.model import Edit, Effect, Gate, Op
from wsprobe.parts import Line, Severity
from wsprobe.rules.config._intent import Intent, Level
from wsprobe.rules.config._made import followed
from wsprobe.rules.config._passage import Passage

_ELSEWHERE = frozenset({Subject.PARAMETER, Subject.QUERY, Subject.COOKIE})
"""Where a browser, which cannot set Authorization on a WebSocket, puts a token instead."""


def elsewhere(passage: Passage, edit: Edit | None, name: str) -> str | None:
    """What other part of the request a line makes a credential from, in words; None where it does not."""
    made = [part for part in followed(passage.steps, edit.value if edit else None) if isinstance(part, Of)]
    if any(part.subject is Subject.HEADER and part.name.lower() == name.lower() for part in made):
        return None
    headers = [f"header {part.name}" for part in made if part.subject is Subject.HEADER]
    return next(iter([*(str(part.subject) for part in made if part.subject in _ELSEWHERE), *headers]), None)


_KEEP = {
    "nginx": "Delete the line, or write `proxy_set_header NAME $http_VARIABLE;` in the location of the WebSocket.",
    "haproxy": "Delete the line, or append `unless { req.hdr(Upgrade) -i websocket }` to it.",
    "envoy": "Take NAME out of request_headers_to_remove here, and remove it on the other routes alone.",
    "caddy": "Delete the line, or move it to the `handle` of the other paths.",
    "apache": 'Delete the line, or append `"expr=-z %{HTTP:Upgrade}"` to it.',
    "traefik": "Take NAME out of customRequestHeaders, or leave the middleware out of the router of the WebSocket.",
}
_OWN = {
    "nginx": "Delete the line, or write `proxy_set_header NAME $http_VARIABLE;` in the location of the WebSocket.",
    "haproxy": "Delete the line, or append `unless { req.hdr(NAME) -m found }` to it.",
    "envoy": "Write `append_action: ADD_IF_ABSENT` beside it, which keeps the client's.",
    "caddy": "Delete the line, or move it to the `handle` of the other paths.",
    "apache": "Write `RequestHeader setifempty NAME …` in its place, which keeps the client's.",
    "traefik": "Take NAME out of customRequestHeaders, or leave the middleware out of the router of the WebSocket.",
}


def kept(kind: str, name: str, line: Line | None) -> str:
    """How to keep a credential that a line removes."""
    return _for(_KEEP, kind, name, line)


def own(kind: str, name: str, line: Line | None) -> str:
    """How to keep the client's own credential where a line sets another."""
    return _for(_OWN, kind, name, line)


def _for(table: dict[str, str], kind: str, name: str, line: Line | None) -> str:
    found = table.get(kind, "Delete the line, or limit it to routes without WebSockets.")
    if kind == "haproxy" and line and (condition := re.search(r"\s(if|unless)\s", line.text)):  # a line has one
        more = r"add `!\1` to its condition" if condition[1] == "if" else r"add `or \1` to its condition"
        found = re.sub(r"append `unless (\{[^`]*)` to it", more, found)
    return found.replace("NAME", name).replace("VARIABLE", name.lower().replace("-", "_"))


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
    its = (e for e in edits if e.place == gate.place or (e.op is op and (op is Op.REMOVE or e.place == unknown)))
    return next(its, None)


def told_as_consumed(passage: Passage, name: str, place: Line | None) -> bool:
    """Whether what a line does to a credential is what an authentication does."""
    gate = consumed(passage, name)
    edit = taking(passage, name, gate) if gate else None
    return gate is not None and place in {gate.place, edit.place if edit else gate.place}
