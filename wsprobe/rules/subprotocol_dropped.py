"""A subprotocol was offered and lost on the way, or its echo was, or none was chosen.

A browser that offers subprotocols fails the connection when the 101 names none of them (WHATWG WebSockets), while
most command-line clients go on: "works with curl, not in the browser".

Bad:
    http-request del-header Sec-WebSocket-Protocol
Good:
    # nothing: the header passes both ways, and the application echoes one of the offered names
"""

from collections.abc import Iterator

from wsprobe.headers import Edit, Kind, values_of
from wsprobe.judging import Rule, header_place, observe_beyond, paths, where_else
from wsprobe.model import Confidence, Finding, Observation, Place, Severity, Subprotocol
from wsprobe.path import SWITCHING, UNECHOED, Origin, Pair, Path, Reach, code_of
from wsprobe.wording import stretch, what_stands_between

NAME = "Sec-WebSocket-Protocol"

RULE = Rule(__name__, needs=paths, rank=12)

_BROWSER = "A browser fails such a connection; other clients may go on."


def check(path: Path) -> Iterator[Finding]:
    """One finding per stretch that lost the header, or one that it was not echoed."""
    lost = [(pair, kind, edit) for pair in path.pairs if not pair.cut for kind, edit in _lost(pair)]
    yield from (_lost_between(pair, kind, edit) for pair, kind, edit in lost)
    where = None if lost else path.where_not_echoed()
    if where:
        yield _not_echoed(path, where)


def _lost(pair: Pair) -> list[tuple[str, Edit]]:
    """The header lost inwards; and outwards, where a 101 went out as one."""
    switched = code_of(pair.outer) == code_of(pair.inner) == SWITCHING
    edits = [(kind, edit) for kind in ("request", *(["response"] if switched else [])) for edit in pair.edits(kind)]
    return [(kind, edit) for kind, edit in edits if edit.name.lower() == NAME.lower() and edit.kind is Kind.REMOVED]


def _lost_between(pair: Pair, kind: str, edit: Edit) -> Finding:
    sent, got = (pair.outer, pair.inner) if kind == "request" else (pair.inner, pair.outer)
    path, echo = pair.path, pair.path.outermost.handshake
    unechoed = echo is not None and echo.subprotocol in UNECHOED
    fails = (unechoed and path.browser) or path.failed_beyond(pair.inner)
    return RULE.finding(
        f"{NAME} of the {kind} left {sent.name} and did not arrive at {got.name}. "
        f"{_BROWSER + ' ' if unechoed else ''}{what_stands_between(pair.segment)}",
        header_place(sent, kind, NAME, edit.before),
        header_place(got, kind, NAME, ()),
        severity=Severity.ERROR if fails else Severity.WARNING,
        segment=pair.segment,
        header=NAME,
        fix=f"Between {pair.outer.name} and {pair.inner.name}, let {NAME} pass in both directions.",
    )


def _not_echoed(path: Path, where: Origin) -> Finding:
    hop = where.hop
    foreign = hop.handshake is not None and hop.handshake.subprotocol is Subprotocol.FOREIGN
    words = "names something that is not among" if foreign else "names none of"
    sure = where.known and (where.inner is not None or where.in_application or hop is not path.outermost)
    settled = where.in_application or where.reach is Reach.BETWEEN
    otherwise = f" At {where.inner.name} it was not so." if where.inner and where.known else ""
    return RULE.finding(
        f"The 101 that came to {hop.name} {words} the subprotocols that were offered there.{otherwise} {_BROWSER}",
        *(_place(seen, kind) for seen in (hop, where.inner) if seen for kind in ("request", "response")),
        severity=Severity.ERROR if path.browser else Severity.WARNING,
        confidence=Confidence.PROVEN if sure else Confidence.POSSIBLE,
        segment=where.segment,
        header=NAME,
        fix="Let the application choose one of the offered subprotocols and echo it in the 101.",
        others=() if sure else (*where_else(where), *_reasons(hop)),
        next_=() if settled else observe_beyond(path, hop),
    )


def _reasons(hop: Observation) -> tuple[str, ...]:
    lost = f"the header was lost {stretch((hop.name, None))}, in either direction"
    return "the application knows none of the offered subprotocols", lost


def _place(hop: Observation, kind: str) -> Place:
    return header_place(hop, kind, NAME, values_of(hop, kind).get(NAME.lower(), (NAME, []))[1])
