"""How things are said: the end of a connection at a hop, and stretches of the path.

Close codes are worded in the grammar of the `websockets` library: "received 1011 (internal error); then sent 1011".
"""

from wsprobe import closecodes
from wsprobe.durations import seconds
from wsprobe.model import Close, Ending, Observation, Segment, Sender, Tls

_PEER = {Sender.CLIENT: "the client's side", Sender.SERVER: "the server's side", Sender.LOCAL: "the recorder"}


def code(close: Close) -> str:
    """A close frame's code with its name and reason."""
    if close.code is None:
        return "a close frame without a code"
    reason = f" {close.reason}" if close.reason else ""
    return f"{close.code} ({closecodes.name(close.code)}){reason}"


def plain(text: str) -> str:
    """Text of a stranger for a command that will be pasted: what does not print is replaced."""
    return "".join(character if character.isprintable() else "?" for character in text)


def connected(hop: Observation) -> tuple[str, ...]:
    """How a hop connected and what passed: addresses, the time of each phase, TLS, frames and pings."""
    tls = hop.tls.server if hop.tls else None
    return tuple(filter(None, (_reached(hop), *(_secured(tls) if tls else ()), _passed(hop), _pinged(hop))))


def _reached(hop: Observation) -> str:
    server = hop.peers.server if hop.peers else None
    others = f" (of {', '.join(hop.addresses)})" if len(hop.addresses) > 1 else ""
    took = ", ".join(f"{name} {seconds(value)}" for name, value in (hop.phases or {}).items())
    return "; ".join(filter(None, (f"{server}{others}" if server else "", took)))


def _secured(tls: Tls) -> tuple[str, ...]:
    agreed = ", ".join(filter(None, (tls.version, tls.cipher, f"ALPN {tls.alpn}" if tls.alpn else "no ALPN")))
    verified = f"not verified: {tls.error}" if tls.error else "verified" if tls.verified else "not verified"
    chain = tuple(
        f"certificate {one.subject} for {', '.join(one.names[:5]) or 'no name'}, until {one.not_after}, by {one.issuer}"
        for one in tls.certificates
    )
    return f"{agreed}, {verified}", *chain


def _passed(hop: Observation) -> str:
    sides = (("client", hop.frames.client), ("server", hop.frames.server)) if hop.frames else ()
    return "; ".join(
        f"frames of the {side}: "
        + ", ".join(f"{one.frames} {name} ({one.bytes} octets)" for name, one in counts.items())
        for side, counts in sides
        if counts
    )


def _pinged(hop: Observation) -> str:
    sides = (("client", hop.pings.client), ("server", hop.pings.server)) if hop.pings else ()
    return "; ".join(
        f"pings of the {side}: {pings.answered} of {pings.sent} answered"
        + (f", in {seconds(pings.shortest)} to {seconds(pings.longest)}" if pings.shortest and pings.longest else "")
        for side, pings in sides
        if pings
    )


def ending(hop: Observation) -> str:
    """How the connection ended at a hop, from that hop's point of view."""
    if not hop.closes:
        return "went on when last seen" if hop.ended is None else "ended; nobody was seen to close it"
    probe = hop.recorder.kind == "probe"
    frames = [close for close in hop.closes if close.ending is Ending.FRAME]
    if not frames:
        return f"no close frame received or sent; {bare_ending(hop)}"
    said = []
    for close in frames:
        verb = ("sent" if close.sender is Sender.CLIENT else "received") if probe else f"{_PEER[close.sender]} sent"
        said.append(f"{verb} {code(close)}")
    if len(frames) == 1 and hop.closes[0].ending is Ending.FRAME:
        said.append("no close frame came back")
    if hop.closes[0].ending is not Ending.FRAME:
        said.insert(0, bare_ending(hop))
    return f"{'; then '.join(said)}, after {seconds(hop.closes[0].at)}"


def bare_ending(hop: Observation) -> str:
    """Who ended the connection first at a hop where no close frame came before that, and how."""
    if not hop.closes:
        return ending(hop)
    close = hop.closes[0]
    probe = hop.recorder.kind == "probe"
    who = "wsprobe" if probe and close.sender in {Sender.CLIENT, Sender.LOCAL} else _PEER[close.sender]
    after = f"after {seconds(close.at)}"
    match close.ending:
        case Ending.RESET:
            return f"{who} reset the connection (RST) {after}"
        case Ending.TIMEOUT:
            return f"{who} gave up waiting {after}"
        case Ending.EOF if close.sender is Sender.LOCAL:
            return f"{who} was stopped {after}"
        case _:
            return f"{who} ended TCP (FIN) {after}"


def stretch(segment: Segment) -> str:
    """A stretch of the path in words."""
    outer, inner = segment
    if outer and outer == inner:
        return f"at {outer}"
    if outer and inner:
        return f"between {outer} and {inner}"
    return f"beyond {outer}" if outer else f"before {inner}"


def what_stands_between(segment: Segment) -> str:
    """The sentence that keeps a verdict from accusing what nobody observed."""
    outer, inner = segment
    if outer and inner:
        return "Whatever stands between them may have done it; nothing in between was observed."
    return f"What lies {stretch(segment)} was not observed."
