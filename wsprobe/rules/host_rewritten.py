"""The Host was rewritten on the way, and an upgrade whose Origin named the old one was refused.

Applications compare Origin with Host against cross-site WebSockets (RFC 6455, 10.2). A proxy that names its upstream
instead makes every browser look like a stranger. Without a refusal, a rewritten Host is no finding.

Bad:
    proxy_pass http://app;  # Host becomes "app"
Good:
    proxy_set_header Host $http_host;
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from wsprobe.headers import Kind
from wsprobe.heads import values
from wsprobe.model import Confidence, Finding
from wsprobe.path import Pair, code_of
from wsprobe.rules import Rule, answer_place, header_place, pairs
from wsprobe.wording import what_stands_between

RULE = Rule(__name__, needs=pairs, rank=14)

_REFUSED = range(400, 404)


def check(pair: Pair) -> Iterator[Finding]:
    """One finding where the refusal came from beyond the rewriting, and Origin fits the old Host only."""
    code = code_of(pair.inner)
    edit = next((edit for edit in pair.edits("request") if edit.name.lower() == "host"), None)
    if edit is None or edit.kind is not Kind.ALTERED or code not in _REFUSED:
        return
    origin = _origin(pair)
    if origin is None or origin != edit.before[0].text.lower() or origin == edit.after[0].text.lower():
        return
    names_it = "origin" in _body(pair).lower()
    yield RULE.finding(
        f"Host left {pair.outer.name} as {edit.before[0].text} and arrived at {pair.inner.name} as "
        f"{edit.after[0].text}; the Origin names the old one, and the upgrade was refused with {code}. "
        f"{what_stands_between(pair.segment)}",
        header_place(pair.outer, "request", "Host", edit.before),
        header_place(pair.inner, "request", "Host", edit.after),
        answer_place(pair.inner),
        confidence=Confidence.LIKELY if names_it else Confidence.POSSIBLE,
        segment=pair.segment,
        header="Host",
        fix=f"Between {pair.outer.name} and {pair.inner.name}, pass the client's Host on "
        "(nginx: proxy_set_header Host $http_host), or allow this Origin in the application.",
        others=() if names_it else ("the application refuses for another reason",),
        untested=("the same upgrade with an Origin that fits the rewritten Host",),
        next_=(f"wsprobe trace URL -H 'Origin: http://{edit.after[0].text}'   # does the refusal go away?",),
    )


def _origin(pair: Pair) -> str | None:
    found = values(pair.inner.request.headers, "origin") if pair.inner.request else []
    return urlsplit(found[0]).netloc.lower() if found else None


def _body(pair: Pair) -> str:
    response = pair.inner.response
    return (response.body.text or "") if response and response.body else ""
