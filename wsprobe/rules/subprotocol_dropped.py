"""A subprotocol was offered and lost on the way, or its echo was, or none was chosen.

A browser that offers subprotocols fails the connection when the 101 names none of them (WHATWG WebSockets), while
most command-line clients go on: "works with curl, not in the browser".

Bad:
    http-request del-header Sec-WebSocket-Protocol
Good:
    # nothing: the header passes both ways, and the application echoes one of the offered names
"""

from collections.abc import Iterator

from wsprobe.headers import Edit, Kind
from wsprobe.model import Confidence, Finding, Severity, Subprotocol
from wsprobe.path import Pair, Path
from wsprobe.rules import Rule, header_place, observe_beyond, paths
from wsprobe.wording import what_stands_between

NAME = "Sec-WebSocket-Protocol"

RULE = Rule(__name__, needs=paths, rank=12)


def check(path: Path) -> Iterator[Finding]:
    """One finding per stretch that lost the header, or one that it was not echoed."""
    lost = [(pair, kind, edit) for pair in path.pairs for kind, edit in _lost(pair)]
    yield from (_lost_between(pair, kind, edit) for pair, kind, edit in lost)
    handshake = path.outermost.handshake
    if not lost and handshake and handshake.subprotocol in {Subprotocol.NOT_ECHOED, Subprotocol.FOREIGN}:
        yield _not_echoed(path, handshake.subprotocol)


def _lost(pair: Pair) -> list[tuple[str, Edit]]:
    kinds = ["request", *(["response"] if pair.path.upgraded else [])]
    edits = [(kind, edit) for kind in kinds for edit in pair.edits(kind)]
    return [(kind, edit) for kind, edit in edits if edit.name.lower() == NAME.lower() and edit.kind is Kind.REMOVED]


def _lost_between(pair: Pair, kind: str, edit: Edit) -> Finding:
    sent, got = (pair.outer, pair.inner) if kind == "request" else (pair.inner, pair.outer)
    fails = not pair.path.upgraded or pair.path.browser or not pair.path.healthy
    return RULE.finding(
        f"{NAME} of the {kind} left {sent.name} and did not arrive at {got.name}. A browser fails such a connection. "
        f"{what_stands_between(pair.segment)}",
        header_place(sent, kind, NAME, edit.before),
        header_place(got, kind, NAME, ()),
        severity=Severity.ERROR if fails else Severity.WARNING,
        segment=pair.segment,
        header=NAME,
        fix=f"Between {pair.outer.name} and {pair.inner.name}, let {NAME} pass in both directions.",
    )


def _not_echoed(path: Path, how: Subprotocol) -> Finding:
    innermost = path.hops[-1]
    words = "named none of" if how is Subprotocol.NOT_ECHOED else "named something that is not among"
    return RULE.finding(
        f"The 101 {words} the offered subprotocols. A browser fails such a connection; other clients may go on.",
        header_place(path.outermost, "response", NAME, ()),
        severity=Severity.ERROR if path.browser else Severity.WARNING,
        confidence=Confidence.PROVEN if len(path.hops) > 1 and path.trace.order else Confidence.POSSIBLE,
        segment=(innermost.name, None) if path.trace.order else None,
        header=NAME,
        fix="Let the application choose one of the offered subprotocols and echo it in the 101.",
        others=("the application knows none of them", "the header was lost on the way, in either direction"),
        next_=observe_beyond(innermost),
    )
