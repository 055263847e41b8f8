"""What the parts of the terminal page have in common: signs for changes, places, and timers in words."""

from wsprobe.inspection import Change, Timeout, Timer
from wsprobe.parts import Line
from wsprobe.reports.config._page import Span, fitted

CHANGES: dict[Change, Span] = {
    Change.ADDED: ("+", "added"),
    Change.REMOVED: ("-", "removed"),
    Change.CHANGED: ("~", "changed"),
    Change.RENAMED: ("~", "changed"),
    Change.MERGED: ("~", "changed"),
}


def at(place: Line | None, otherwise: str, beneath: str = "") -> Span:
    """Where something is written, or the word for what stands in no line; only the line below a file's own name."""
    if place is None:
        return otherwise, "dim"
    return fitted(f"{'' if place.path == beneath else place.path}:{place.line}", 40), "place"


def duration(timeout: Timeout) -> str:
    """A timer in words: what it measures, and what it does not."""
    name = f" ({timeout.name})" if timeout.name else ""
    if not timeout.applies:
        return f"no effect: {timeout.name or timeout.kind}, {timeout.why or 'it does not apply to an upgrade'}"
    if timeout.seconds is None:
        return f"never ends by its {timeout.kind} timer{name}"
    if timeout.kind is Timer.IDLE:
        return f"ends after {timeout.seconds:.10g} s without {timeout.resets_on}{name}"
    if timeout.kind is Timer.LIFETIME:
        return f"ends {timeout.seconds:.10g} s after it began, whatever happens{name}"
    return f"the handshake is given up after {timeout.seconds:.10g} s{name}"
