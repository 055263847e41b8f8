"""The request asked for a WebSocket at one hop and no longer did at the next.

Upgrade is hop-by-hop (RFC 9110, 7.8): a proxy removes it, and Connection with it, unless it is told to pass it on.
What arrives is an ordinary GET, answered with 426, 400, 404 or a page.

Bad:
    location /ws { proxy_pass http://app; }
Good:
    location /ws {
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
"""

from collections.abc import Iterator

from wsprobe.headers import Value, values_of
from wsprobe.judging import Rule, answer_place, header_place, pairs
from wsprobe.model import Finding, Observation, Severity
from wsprobe.path import SWITCHING, Pair, code_of
from wsprobe.wording import what_stands_between

RULE = Rule(__name__, needs=pairs, rank=5)

_HALVES = {"no Upgrade: websocket": "Upgrade", "Connection does not name upgrade": "Connection"}


def check(pair: Pair) -> Iterator[Finding]:
    """One finding where half of the question, or all of it, was lost."""
    if not pair.outer.handshake or not pair.outer.handshake.asked or _lost(pair.outer):
        return
    lost = _lost(pair.inner)
    if not lost:
        return
    yield RULE.finding(
        f"The request asked for a WebSocket at {pair.outer.name} and did not at {pair.inner.name}: "
        f"{' and '.join(f'{name} {_what(pair.inner, name)}' for name in lost)}.{_all_the_same(pair)} "
        f"{what_stands_between(pair.segment)}",
        *(header_place(hop, "request", name, _values(hop, name)) for name in lost for hop in (pair.outer, pair.inner)),
        answer_place(pair.inner),
        severity=Severity.WARNING if pair.path.upgraded else Severity.ERROR,
        segment=pair.segment,
        header=lost[0],
        fix=f"Between {pair.outer.name} and {pair.inner.name}, tell the proxy to pass upgrades on (nginx: "
        "proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade, proxy_set_header Connection "
        '"upgrade"; Apache: ProxyPass … upgrade=websocket; Envoy: upgrade_configs).',
    )


def _lost(hop: Observation) -> list[str]:
    """The halves of the question that the request lacks."""
    if hop.handshake and not hop.handshake.asked:  # all of it is gone, the key too
        return list(_HALVES.values())
    flaws = hop.handshake.request_flaws if hop.handshake else ()
    return [name for flaw, name in _HALVES.items() if flaw in flaws]


def _what(hop: Observation, name: str) -> str:
    """What became of one half: a header that is there and says something else is not gone."""
    found = _values(hop, name)
    return f"says {', '.join(value.text for value in found)}" if found else "did not arrive"


def _all_the_same(pair: Pair) -> str:
    if not pair.path.upgraded:
        return ""
    if code_of(pair.inner) == SWITCHING:
        return f" What answered {pair.inner.name} upgraded all the same; others refuse."
    return " The client got its 101 all the same."


def _values(hop: Observation, name: str) -> tuple[Value, ...]:
    return tuple(values_of(hop, "request").get(name.lower(), (name, []))[1])
