"""How a connection ended at one hop, and what that says beside the end at a hop further out."""

from wsprobe import closecodes
from wsprobe.join import DRIFT
from wsprobe.model import Close, Ending, Observation, Sender

_SLACK = 0.5
"""Seconds by which an end may be told late: mitmproxy tells it when both directions have ended."""

_AT_ONCE = 0.001


def first_close(hop: Observation) -> Close | None:
    """What ended the connection first at a hop; None while it goes on."""
    return hop.closes[0] if hop.closes else None


def frames(hop: Observation) -> list[Close]:
    """The close frames at a hop, in the order seen."""
    return [close for close in hop.closes if close.ending is Ending.FRAME]


def is_healthy(close: Close) -> bool:
    """Whether an end is none to worry about: an ordinary close code, or the recorder's own doing."""
    if close.ending is Ending.FRAME:
        return close.code is None or close.code in closecodes.HEALTHY
    return close.sender is Sender.LOCAL


def surely_later(inner: Close | None, outer: Close | None) -> bool:
    """Whether the end at an inner hop came after the one further out, and so cannot be its cause.

    Both times count from the request, and that reached the inner hop later: no clocks are compared.
    """
    return inner is not None and outer is not None and inner.at > outer.at * (1 + DRIFT) + _SLACK


def lost_frame(outer: Observation, inner: Observation) -> bool:
    """Whether a server's close frame ended the connection at the inner hop and never came to the outer one."""
    first, further_out = first_close(inner), first_close(outer)
    sent = first is not None and first.ending is Ending.FRAME and first.sender is Sender.SERVER
    came = any(close.sender is Sender.SERVER for close in frames(outer))
    waited = further_out is not None and further_out.sender is Sender.SERVER
    return sent and not came and waited and not surely_later(first, further_out)


def silence(hop: Observation) -> float | None:
    """Seconds between the last byte of either side, or the 101, and the first sign of the end."""
    ended = first_close(hop)
    if ended is None or hop.handshake is None:
        return None
    last = [hop.handshake.duration or 0.0]
    if hop.activity:
        last += [at for at in (hop.activity.client, hop.activity.server) if at is not None]
    return max(0.0, ended.at - max(last))


def both_at_once(hop: Observation) -> bool:
    """Whether both directions had ended when mitmproxy's recorder looked: then which one was first is a guess."""
    if hop.recorder.kind != "mitmproxy" or len(hop.closes) < 2:
        return False
    first, second = hop.closes[:2]
    neither = Ending.FRAME not in {first.ending, second.ending}
    return neither and first.sender is not second.sender and second.at - first.at < _AT_ONCE


def ended_itself(hop: Observation) -> bool:
    """Whether the recorder ended the connection before anybody else did."""
    ended = first_close(hop)
    return ended is not None and ended.sender is Sender.LOCAL


def ended_from_inside(hop: Observation) -> bool | None:
    """Whether the server's side ended the connection, and no close frame did; None where the record does not tell."""
    ended = first_close(hop)
    if ended is None or ended.sender is Sender.LOCAL or both_at_once(hop):
        return None
    return not frames(hop) and ended.sender is Sender.SERVER


def closed_from_inside(hop: Observation) -> bool | None:
    """Whether the server's close frame ended the connection; None where the record does not tell."""
    ended = first_close(hop)
    if ended is None or ended.sender is Sender.LOCAL:
        return None
    return ended.sender is Sender.SERVER and ended.ending is Ending.FRAME
