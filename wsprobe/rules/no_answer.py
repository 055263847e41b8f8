"""The request for an upgrade got no answer: the connection was ended, or nobody spoke, before a response head.

A filter that buffers the body of an upgrade waits for ever; so does a proxy whose upstream accepts and says nothing.

Bad:
    http_filters: [envoy.filters.http.buffer, …]  # on a route that is upgraded
Good:
    a response head within the time that the client waits
"""

from collections.abc import Iterator

from wsprobe.model import Finding
from wsprobe.path import Path
from wsprobe.rules import Rule, close_place, observe_beyond, paths
from wsprobe.wording import ending, stretch

RULE = Rule(__name__, needs=paths, rank=58)


def check(path: Path) -> Iterator[Finding]:
    """One finding where the client asked and no response head came back whole."""
    outermost = path.outermost
    reached = [hop for hop in path.hops if hop.request]
    if outermost.response or not outermost.request or not path.asks_for_websocket:
        return
    if any(hop.failure and hop.failure.phase != "response" for hop in path.hops):
        return  # the connection itself failed: unreachable or tls-failed tells it
    silent = [hop for hop in reached if hop.response is None]
    answered = [hop for hop in reached if hop.response is not None]
    last = silent[-1]
    segment = (last.name, answered[0].name) if answered and path.trace.order else (last.name, None)
    why = outermost.failure.message if outermost.failure else ending(outermost)
    yield RULE.finding(
        f"The request reached {last.name} and no answer came back: {why}. Nothing was heard from "
        f"{stretch(segment)}.",
        *(close_place(hop) for hop in reached),
        segment=segment if path.trace.order else None,
        fix=f"Look {stretch(segment)} for what holds the request: a filter that buffers, an upstream that hangs.",
        untested=(f"whether the request arrived {stretch(segment)}",),
        next_=() if answered else observe_beyond(last),
    )
