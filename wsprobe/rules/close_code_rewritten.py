"""A connection was closed with one code at an inner hop and with another, or with none, further out.

Proxies that tunnel pass close frames byte for byte. One that terminates WebSockets and opens new ones writes its own
frames: 4401 becomes 1005, a lost connection becomes 1000 or 1011. Caddy closes both sides with 1001 when it reloads.

Bad:
    a gateway that answers every end of its upstream with 1000
Good:
    a gateway that copies code and reason, or a tunnel
"""

from collections.abc import Iterator

from wsprobe.ends import first_close, frames, lost_frame, surely_later
from wsprobe.headers import Value, same
from wsprobe.judging import Rule, again, close_place, ended_pairs
from wsprobe.model import Close, Confidence, Ending, Finding, Observation, Sender, Severity
from wsprobe.path import Pair
from wsprobe.wording import code

RULE = Rule(__name__, needs=ended_pairs, rank=15)


def check(pair: Pair) -> Iterator[Finding]:
    """One finding where a close frame was made, changed or lost between two hops, in the one direction or the other."""
    outer, inner = pair.outer, pair.inner
    if any(ended is None or ended.sender is Sender.LOCAL for ended in (first_close(outer), first_close(inner))):
        return  # a recorder that left first saw nothing of the end
    if _made(outer, inner, Sender.SERVER):
        yield _finding(pair, inner, outer, "made")
    elif _made(inner, outer, Sender.CLIENT):
        yield _finding(pair, outer, inner, "made")
    elif _changed(inner, outer, Sender.SERVER):
        yield _finding(pair, inner, outer, "rewrote")
    elif _changed(outer, inner, Sender.CLIENT):
        yield _finding(pair, outer, inner, "rewrote")
    elif lost_frame(outer, inner):
        yield _finding(pair, inner, outer, "dropped")


def _made(got_at: Observation, source: Observation, sender: Sender) -> bool:
    """Whether a frame ended the connection at one hop while none had come from there at the hop nearer to its source.

    A frame that passed was at the source's hop before anything that answers it, so it was the first there too.
    """
    got = first_close(got_at)
    if got is None or got.ending is not Ending.FRAME or got.sender is not sender:
        return False
    sent = first_close(source)
    late = sender is Sender.SERVER and surely_later(sent, got)
    return sent is None or sent.ending is not Ending.FRAME or sent.sender is not sender or late


def _changed(sent_at: Observation, got_at: Observation, sender: Sender) -> bool:
    """Whether the frame that ended the connection at both hops is not the same one."""
    sent, got = first_close(sent_at), first_close(got_at)
    if sent is None or got is None or any((c.ending, c.sender) != (Ending.FRAME, sender) for c in (sent, got)):
        return False
    return sent.code != got.code or same(_reason(sent_at, sent), _reason(got_at, got)) is False


def _reason(hop: Observation, close: Close) -> Value:
    return Value(close.reason, tuple(r for r in hop.redactions if r.message == "closes" and r.shown in close.reason))


def _finding(pair: Pair, sent_at: Observation, got_at: Observation, did: str) -> Finding:
    sender = Sender.SERVER if sent_at is pair.inner else Sender.CLIENT
    sent, got = _frame(sent_at, sender), _frame(got_at, sender)
    was = f"closed with {code(sent)}" if sent else "sent no close frame"
    if did == "made" and sent:
        was = f"{was}, and not first"
    unsure = did == "dropped" and got_at.closes[0].ending is Ending.RESET
    return RULE.finding(
        f"At {sent_at.name} the {sender}'s side {was}; at {got_at.name} "
        f"{f'{code(got)} arrived' if got else 'no close frame arrived'}. Something between them "
        f"{'may have ' if unsure else ''}{did} the close; nothing in between was observed.",
        close_place(sent_at),
        close_place(got_at),
        severity=_severity(pair, did, sent, got),
        confidence=Confidence.POSSIBLE if unsure else Confidence.PROVEN,
        segment=pair.segment,
        fix=f"Between {pair.outer.name} and {pair.inner.name}, look for what terminates WebSockets instead of "
        "tunnelling them, or restarts, and have it copy code and reason.",
        others=("the frame arrived, and the reset behind it threw it away before it was read",) if unsure else (),
        next_=(again(pair.path, "--repeat 5"),) if unsure else (),
    )


def _frame(hop: Observation, sender: Sender) -> Close | None:
    return next((close for close in frames(hop) if close.sender is sender), None)


def _severity(pair: Pair, did: str, sent: Close | None, got: Close | None) -> Severity:
    """A client that left, a proxy that goes away, a reason that was lost: none of it breaks a connection."""
    left = first_close(pair.outer)
    by_client = left is not None and left.sender is Sender.CLIENT
    away = got is not None and got.code == 1001
    reason_only = did == "rewrote" and sent is not None and got is not None and sent.code == got.code
    return Severity.WARNING if by_client or away or reason_only else Severity.ERROR
