"""A header left one hop and did not arrive at the next.

Proxies forward what they do not know (RFC 9110, 5.1); a header that is gone was removed by something on the way: a
rule that clears it, a filter that consumes the token, a Connection header that nominates it, a name with an
underscore. Edits that proxies may make (`Via`, `X-Forwarded-*`, hop-by-hop headers …) are none.

Bad:
    proxy_set_header Authorization "";
Good:
    # nothing: nginx passes Authorization on unless it is told otherwise
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wsprobe.headers import Edit, Kind, is_credential, permitted
from wsprobe.judging import Lack, Rule, header_place, observe_beyond, pairs
from wsprobe.model import Confidence, Finding, Place, Severity, Weighing
from wsprobe.path import Pair, Path
from wsprobe.wording import what_stands_between


def losses(path: Path) -> "list[Pair | Weighed | Lack] | Lack":
    """Each two neighbouring hops, and each header that was weighed from outside."""
    weighed = [Weighed(path, one) for one in path.trace.weighings if not one.plain]
    found = pairs(path)
    if isinstance(found, Lack):
        return [*weighed, found] if weighed else found
    return [*weighed, *found]


@dataclass(frozen=True, slots=True)
class Weighed:
    """One header that was weighed on upgrades."""

    path: Path
    weighing: Weighing


RULE = Rule(__name__, needs=losses, rank=10)

_OWN_RULES = frozenset({"upgrade", "connection", "sec-websocket-protocol"})
_HANDSHAKE = frozenset({"sec-websocket-key", "sec-websocket-version"})


def check(found: Pair | Weighed) -> Iterator[Finding]:
    """One finding per header that was lost."""
    if isinstance(found, Pair):
        yield from _between(found)
    elif found.weighing.arrived is False:
        yield _from_outside(found)


def _from_outside(found: Weighed) -> Finding:
    """The canary tipped the scale, and the header did not."""
    one, path = found.weighing, found.path
    name = path.outermost.name
    over_http = next(
        (other.arrived for other in path.trace.weighings if other.plain and other.header == one.header), None
    )
    return RULE.finding(
        f"Weighed from {name}, {one.header} does not arrive on upgrades: with {one.edge} {one.unit} of filler a canary "
        f"of its size is refused ({one.refusal}), and {one.header} itself is not. It was removed, or overwritten by "
        "one that is always set, before whoever holds that limit."
        f"{' Over plain HTTP it arrives.' if over_http else ''}",
        Place(hop=name, part="weighing", shows=f"{one.edge} {one.unit}: canary refused, {one.header} passes"),
        confidence=Confidence.LIKELY,
        segment=(name, None),
        header=one.header,
        fix=f"Beyond {name}, look for what clears, renames or consumes {one.header} on upgrades.",
        untested=(
            "a replacement of the same length, which no scale shows",
            "where on the way it is lost, and what became of it",
        ),
        next_=observe_beyond(path, path.hops[-1]),
    )


def _between(pair: Pair) -> Iterator[Finding]:
    edits = pair.edits("request")
    for edit in edits:
        if edit.kind is Kind.REMOVED and edit.name.lower() not in _OWN_RULES and not permitted(edit):
            yield _finding(pair, edit, _moved(edit, edits))


def _finding(pair: Pair, edit: Edit, moved: Edit | None) -> Finding:
    name, outer, inner = edit.name, pair.outer.name, pair.inner.name
    matters = is_credential(name) or name.lower() in _HANDSHAKE
    nominated = name.lower() in {token.lower() for token in _nominated(pair)}
    because = f" {outer} saw it nominated by Connection, so the next proxy has to remove it." if nominated else ""
    because += f" Its value arrived as {moved.name}." if moved else ""
    return RULE.finding(
        f"{name} left {outer} and did not arrive at {inner}.{because} {what_stands_between(pair.segment)}",
        header_place(pair.outer, "request", name, edit.before),
        header_place(pair.inner, "request", name, ()),
        *([header_place(pair.inner, "request", moved.name, moved.after)] if moved else []),
        severity=Severity.ERROR if matters and pair.path.failed_beyond(pair.inner) else Severity.WARNING,
        segment=pair.segment,
        header=name,
        fix=_fix(pair, name, nominated=nominated),
    )


def _nominated(pair: Pair) -> tuple[str, ...]:
    return pair.outer.handshake.connection if pair.outer.handshake else ()


def _moved(lost: Edit, edits: list[Edit]) -> Edit | None:
    """The header that arrived with the same secret in the place of the lost one."""
    marks = {mark for value in lost.before for redaction in value.redactions for mark in _marks(redaction.fingerprints)}
    added = (edit for edit in edits if edit.kind is Kind.ADDED)
    return next(
        (edit for edit in added for v in edit.after for r in v.redactions if marks & _marks(r.fingerprints)), None
    )


def _marks(fingerprints: dict[str, str] | None) -> set[tuple[str, str]]:
    return set((fingerprints or {}).items())


def _fix(pair: Pair, name: str, *, nominated: bool) -> str:
    if nominated:
        return f"Take {name} out of the Connection header: what is named there is for one hop only (RFC 9110, 7.6.1)."
    where = f"Between {pair.outer.name} and {pair.inner.name}, look for what clears, renames or consumes {name}"
    if "_" in name:
        return f"{where}; nginx and Caddy drop names with an underscore (nginx: underscores_in_headers on)."
    if is_credential(name):
        return (
            f"{where} on upgrades: an empty proxy_set_header, request_headers_to_remove, del-header, RequestHeader "
            "unset, header_up -, or an authentication filter that does not forward the token; make it pass it on."
        )
    return f"{where}."
