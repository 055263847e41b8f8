"""A header arrived with another value than it left with: replaced, shortened, or appended to.

Secrets are compared by scheme, length and fingerprint; where these decide nothing, the header is "present, not
compared" and there is no finding. Joining the lines of one header with commas is allowed, except where a header may
stand only once, as Authorization.

Bad:
    http-request set-header Authorization "Basic bGI6bGI="
Good:
    # nothing: the client's own credentials pass
"""

from collections.abc import Iterator

from wsprobe.headers import Edit, Kind, Value, is_credential, permitted
from wsprobe.judging import Rule, header_place, pairs
from wsprobe.model import Finding, Severity
from wsprobe.path import Pair
from wsprobe.wording import what_stands_between

RULE = Rule(__name__, needs=pairs, rank=11)

_OWN_RULES = frozenset({"upgrade", "connection"})
_MATTER = frozenset({"origin", "sec-websocket-version", "sec-websocket-extensions"})


def check(pair: Pair) -> Iterator[Finding]:
    """One finding per header whose value changed."""
    for edit in pair.edits("request"):
        if edit.kind is Kind.ALTERED and edit.name.lower() not in _OWN_RULES and not permitted(edit):
            yield _finding(pair, edit)


def _finding(pair: Pair, edit: Edit) -> Finding:
    name = edit.name
    matters = is_credential(name) or name.lower() in _MATTER
    return RULE.finding(
        f"{name} arrived at {pair.inner.name} {_how(edit)} from how it left {pair.outer.name}. "
        f"{what_stands_between(pair.segment)}",
        header_place(pair.outer, "request", name, edit.before),
        header_place(pair.inner, "request", name, edit.after),
        severity=Severity.ERROR if matters and pair.path.failed_beyond(pair.inner) else Severity.WARNING,
        segment=pair.segment,
        header=name,
        fix=f"Between {pair.outer.name} and {pair.inner.name}, look for what sets, replaces or limits {name}; "
        "let the client's own value pass.",
    )


def _how(edit: Edit) -> str:
    if len(edit.before) != len(edit.after):
        return f"in {_lines(edit.after)} instead of {_lines(edit.before)}, and so different"
    old, new = _length(edit.before[0]), _length(edit.after[0])
    schemes = _scheme(edit.before[0]), _scheme(edit.after[0])
    if len(edit.before) == 1 and schemes[0] != schemes[1]:
        return f"replaced ({schemes[1] or 'no scheme'} instead of {schemes[0] or 'no scheme'}), so different"
    if len(edit.before) > 1 or new == old:
        return "different"
    return (
        f"shortened from {old} to {new} characters, so different"
        if new < old
        else (f"longer, {new} characters instead of {old}, so different")
    )


def _lines(values: tuple[Value, ...]) -> str:
    return "one line" if len(values) == 1 else f"{len(values)} lines"


def _length(value: Value) -> int:
    return len(value.bare) + sum(redaction.length - 1 for redaction in value.redactions)


def _scheme(value: Value) -> str | None:
    return value.redactions[0].scheme if value.redactions else None
