"""A connection was closed with one code at an inner hop and with another, or with none, further out.

Proxies that tunnel pass close frames byte for byte. One that terminates WebSockets and opens new ones writes its own
frames: 4401 becomes 1005, a lost connection becomes 1000 or 1011.

Bad:
    a gateway that answers every end of its upstream with 1000
Good:
    a gateway that copies code and reason, or a tunnel
"""

from collections.abc import Iterator

from wsprobe.model import Close, Ending, Finding, Observation, Sender
from wsprobe.path import Pair
from wsprobe.rules import Rule, close_place, upgraded_pairs
from wsprobe.wording import code

RULE = Rule(__name__, needs=upgraded_pairs, rank=15)


def check(pair: Pair) -> Iterator[Finding]:
    """One finding per direction in which a close did not arrive as it was sent."""
    yield from _direction(pair, pair.inner, pair.outer, Sender.SERVER)
    yield from _direction(pair, pair.outer, pair.inner, Sender.CLIENT)


def _direction(pair: Pair, sent_at: Observation, got_at: Observation, sender: Sender) -> Iterator[Finding]:
    sent, got = _frame(sent_at, sender), _frame(got_at, sender)
    if sent is None and (got is None or sender is Sender.CLIENT):
        return  # what is made in between goes to both sides; it is told once, as what the client got
    if sent and got and (sent.code, sent.reason) == (got.code, got.reason):
        return
    if _answers(sent_at, sent) or _answers(got_at, got) or (got is None and _left_before(got_at, sender)):
        return
    who = "the server" if sender is Sender.SERVER else "the client"
    was = f"closed with {code(sent)}" if sent else "sent no close frame"
    came = f"{code(got)} arrived" if got else "no close frame arrived"
    did = "rewrote" if sent and got else "made" if got else "dropped"
    yield RULE.finding(
        f"At {sent_at.name} {who} {was}; at {got_at.name} {came}. Something between them {did} the close; "
        "nothing in between was observed.",
        close_place(sent_at),
        close_place(got_at),
        segment=pair.segment,
        fix=f"Between {pair.outer.name} and {pair.inner.name}, look for what terminates WebSockets instead of "
        "tunnelling them, or restarts, and have it copy code and reason.",
    )


def _frame(hop: Observation, sender: Sender) -> Close | None:
    return next((close for close in hop.closes if close.sender is sender and close.ending is Ending.FRAME), None)


def _answers(hop: Observation, frame: Close | None) -> bool:
    """Whether the other side had ended before the frame came: it may never have been wanted any more."""
    return frame is not None and hop.closes[0].sender is not frame.sender


def _left_before(hop: Observation, sender: Sender) -> bool:
    """Whether the other side left this hop before a frame of `sender` could arrive."""
    return hop.closes[0].sender is not sender
