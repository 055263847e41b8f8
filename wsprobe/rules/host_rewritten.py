"""The Host was rewritten on the way, and an upgrade whose Origin named the old one was refused.

Applications compare Origin with Host against cross-site WebSockets (RFC 6455, 10.2). A proxy that names its upstream
instead makes every browser look like a stranger. Without a refusal, a rewritten Host is no finding.

Bad:
    proxy_pass http://app;  # Host becomes "app"
Good:
    proxy_set_header Host $http_host;
"""

import re
import shlex
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from wsprobe.headers import Kind
from wsprobe.heads import values
from wsprobe.judging import Rule, again, answer_place, header_place, pairs
from wsprobe.model import Confidence, Finding, Severity
from wsprobe.path import Pair, code_of
from wsprobe.wording import plain, what_stands_between

RULE = Rule(__name__, needs=pairs, rank=14)

_REFUSED = (400, 401, 403)
_ABOUT_ORIGIN = re.compile(r"\borigin\b(?![ -]?server)", re.IGNORECASE)  # a CDN calls its upstream "origin server"


def check(pair: Pair) -> Iterator[Finding]:
    """One finding where the refusal came from beyond the rewriting, and Origin fits the old Host only."""
    code = code_of(pair.inner)
    edit = next((edit for edit in pair.edits("request") if edit.name.lower() == "host"), None)
    if edit is None or edit.kind is not Kind.ALTERED or code not in _REFUSED:
        return
    origin, was, became = _origin(pair), edit.before[0].text, edit.after[0].text
    if origin is None or origin.netloc.lower() != was.lower() or origin.netloc.lower() == became.lower():
        return
    said = _ABOUT_ORIGIN.search(_body(pair)) is not None
    fitting = shlex.quote(f"Origin: {origin.scheme}://{plain(became)}")
    yield RULE.finding(
        f"Host left {pair.outer.name} as {was} and arrived at {pair.inner.name} as {became}; the Origin names the old "
        f"one, and the upgrade was refused with {code}"
        f"{'; the answer speaks of the origin' if said else ''}. {what_stands_between(pair.segment)}",
        header_place(pair.outer, "request", "Host", edit.before),
        header_place(pair.inner, "request", "Host", edit.after),
        answer_place(pair.inner),
        severity=Severity.ERROR if said else Severity.WARNING,
        confidence=Confidence.LIKELY if said else Confidence.POSSIBLE,
        segment=pair.segment,
        header="Host",
        fix=f"Between {pair.outer.name} and {pair.inner.name}, pass the client's Host on "
        "(nginx: proxy_set_header Host $http_host), or allow this Origin in the application.",
        others=() if said else ("the upgrade was refused for another reason, and the Host does not matter",),
        untested=("the same upgrade with an Origin that fits the rewritten Host",),
        next_=(again(pair.path, f"-H {fitting}"),),
    )


def _origin(pair: Pair) -> SplitResult | None:
    found = values(pair.inner.request.headers, "origin") if pair.inner.request else []
    try:
        return urlsplit(found[0]) if found else None
    except ValueError:  # brackets that do not match
        return None


def _body(pair: Pair) -> str:
    response = pair.inner.response
    return (response.body.text or "") if response and response.body else ""
