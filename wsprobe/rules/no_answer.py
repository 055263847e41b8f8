"""The request for an upgrade got no answer: the connection was ended, or nobody spoke, before a response head.

A filter that buffers the body of an upgrade waits for ever; so does a proxy whose upstream accepts and says nothing.
What is further out may then answer in its own name, with 502 or 504.

Bad:
    http_filters: [envoy.filters.http.buffer, …]  # on a route that is upgraded
Good:
    a response head within the time that the client waits
"""

from collections.abc import Iterator

from wsprobe.durations import seconds
from wsprobe.ends import first_close
from wsprobe.judging import Rule, observe_beyond, paths
from wsprobe.model import Finding, Observation, Place, Segment, Sender
from wsprobe.path import APPLICATIONS, Path
from wsprobe.wording import bare_ending, stretch

RULE = Rule(__name__, needs=paths, rank=58)

_SLACK = 0.5
"""Seconds by which an answer must have come before the end of the wait for it, to count as lost."""


def check(path: Path) -> Iterator[Finding]:
    """One finding where the request was seen at a hop and no response head came back whole."""
    reached = [hop for hop in path.hops if hop.request]
    silent = [hop for hop in reached if hop.response is None]
    if not silent or not path.asks_for_websocket or path.upgraded:
        return
    if any(hop.failure and hop.failure.phase != "response" for hop in path.hops):
        return  # the connection itself failed: unreachable or tls-failed tells it
    last = silent[-1] if path.trace.order else silent[0]
    further = reached[reached.index(last) + 1 :] if path.trace.order else []
    segment = _segment(last, further)
    open_end = segment[1] is None
    yield RULE.finding(
        f"The request {'left' if last is path.client else 'reached'} {last.name}, and no answer came back to it: "
        f"{_why(last)}.{_heard(last, further)}",
        *(Place(hop=hop.name, part="response", shows=_shows(hop)) for hop in reached),
        segment=segment if path.trace.order else None,
        fix=f"Look {stretch(segment) if path.trace.order else 'on the path'} for what holds the request: a filter that "
        "buffers, an upstream that hangs or drops it.",
        untested=(f"whether the request arrived {stretch(segment)}",) if open_end else (),
        next_=observe_beyond(path, further[-1] if further else last) if open_end else (),
    )


def _segment(last: Observation, further: list[Observation]) -> Segment:
    """Where the answer was lost, or where it was waited for."""
    if further and _in_time(last, further[0]):
        return last.name, further[0].name
    innermost = further[-1] if further else last
    return innermost.name, innermost.name if innermost.recorder.kind in APPLICATIONS else None


def _in_time(last: Observation, inner: Observation) -> bool:
    """Whether the hop further in had its answer while this one still waited."""
    ended = first_close(last)
    took = inner.handshake.duration if inner.handshake else None
    return ended is None or ended.sender is Sender.SERVER or (took is not None and took + _SLACK < ended.at)


def _why(hop: Observation) -> str:
    return hop.failure.message if hop.failure and not hop.closes else bare_ending(hop)


def _heard(last: Observation, further: list[Observation]) -> str:
    if not further:
        return ""
    inner = further[0]
    if _in_time(last, inner):
        return f" {inner.name}, further in, saw an answer: it was lost between {last.name} and {inner.name}."
    took = inner.handshake.duration if inner.handshake else None
    return f" {inner.name}, further in, had one after {seconds(took)}, which was too late." if took is not None else ""


def _shows(hop: Observation) -> str:
    return hop.response.start_line if hop.response else f"no response; {_why(hop)}"
