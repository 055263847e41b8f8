"""The upgrade was answered with an HTTP error, or with a page, instead of 101.

Who answered is told by the hops that saw the answer. 401 and 403 speak of credentials or of the Origin, 404 of the
route, 426 and 400 of an upgrade that arrived without its headers, 502 to 504 of what lies beyond the answering proxy.

Bad:
    HTTP/1.1 403 Forbidden
Good:
    HTTP/1.1 101 Switching Protocols
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, answer_place, answers, ask_from_outside, observe_beyond, origin_places, where_else
from wsprobe.model import Confidence, Finding, Observation, Place
from wsprobe.path import Origin, Path, Reach, code_of
from wsprobe.rules.redirected import target
from wsprobe.wording import stretch

RULE = Rule(__name__, needs=answers, rank=60)

_MOST_WORDS = 300
"""Characters of a page that stand in the evidence; the HTML and JSON reports have what was recorded of it."""

_WHY = {
    200: "See which page was served: a route of plain HTTP, a login, a network that wants one, or a proxy that dropped "
    "the upgrade.",
    400: "See how the request arrived: a header that is too large, or an upgrade that lost its headers, is refused so.",
    401: "See which credentials arrived: none did, or none that hold. WWW-Authenticate says more.",
    403: "Look at the credentials, at the Origin, and for a proxy that does not pass upgrades on (Envoy without "
    "upgrade_configs).",
    404: "Look for the route of this request: upgrades may be routed elsewhere, or the Host was rewritten.",
    426: "See how the request arrived: usually without its upgrade headers.",
    429: "Wait, or ask less often (--rate): the server limits how often it is asked.",
    431: "Look for the header that is too large, or raise the limit.",
    500: "Read the log of the handler, which usually failed before it accepted; some proxies say so of an upstream "
    "that they cannot use.",
    502: "Read the log of the proxy that answered: usually it got no usable answer from its upstream.",
    503: "Read the log of the proxy that answered: usually it has no upstream to ask.",
    504: "Read the log of the proxy that answered: usually its upstream did not answer in time.",
    505: "See how the request arrived: a proxy that asks its upstream by HTTP/1.0 (nginx without proxy_http_version "
    "1.1) is refused so.",
}


def check(refusal: tuple[Path, int]) -> Iterator[Finding]:
    """One finding per refusal; a redirection is told by a rule of its own."""
    path, code = refusal
    where = path.where_answered(code)
    if where is None or target(path, code) is not None:
        return
    silent = "".join(f" {name} recorded other traffic and no request with its ids." for name in path.trace.silent)
    ordered = where.reach is not Reach.UNORDERED
    settled = where.in_application or where.reach is Reach.BETWEEN
    yield RULE.finding(
        f"The upgrade was answered with {code} instead of 101. {_source(where)}{silent}",
        *origin_places(path, where, answer_place),
        *_said(where.hop),
        confidence=Confidence.PROVEN if ordered else Confidence.POSSIBLE,
        segment=where.segment,
        fix=_WHY.get(code, "Read what the answer says, and the log of what gave it."),
        others=() if ordered else where_else(where),
        untested=() if where.in_application or not where.segment else (f"what lies {stretch(where.segment)}",),
        next_=() if settled else (*observe_beyond(path, where.hop), *ask_from_outside(path)),
    )


def _said(hop: Observation) -> Iterator[Place]:
    """What the answer says in its own words: a page often names who made it."""
    body = hop.response.body if hop.response else None
    words = " ".join(body.text.split()) if body and body.text else ""
    if words:
        cut = "…" if len(words) > _MOST_WORDS else ""
        yield Place(hop=hop.name, part="response", shows=f"its body: {words[:_MOST_WORDS]}{cut}")


def _source(where: Origin) -> str:
    inner = where.inner
    if where.in_application or inner is None:
        return f"The answer came from {where.words}."
    if inner.failure and inner.response is None:  # mitmproxy's recorder answers in its own name then
        return f"The answer was made between {where.hop.name} and {inner.name} or there: {inner.name} got none itself."
    code = code_of(inner)
    return f"The answer was made {where.words}; {inner.name} saw {code or 'no answer'}."
