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

from wsprobe.headers import Edit, Kind, is_credential, permitted
from wsprobe.judging import Rule, header_place, pairs
from wsprobe.model import Finding, Severity
from wsprobe.path import Pair
from wsprobe.wording import what_stands_between

RULE = Rule(__name__, needs=pairs, rank=10)

_OWN_RULES = frozenset({"upgrade", "connection", "sec-websocket-protocol"})
_HANDSHAKE = frozenset({"sec-websocket-key", "sec-websocket-version"})


def check(pair: Pair) -> Iterator[Finding]:
    """One finding per header that was lost."""
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
