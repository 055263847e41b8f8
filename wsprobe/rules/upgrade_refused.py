"""The upgrade was answered with an HTTP error instead of 101.

Who answered is told by the hops that saw the answer. 401 and 403 speak of credentials or of the Origin, 404 of the
route, 426 and 400 of an upgrade that arrived without its headers, 502 to 504 of what lies beyond the answering proxy.

Bad:
    HTTP/1.1 403 Forbidden
Good:
    HTTP/1.1 101 Switching Protocols
"""

from collections.abc import Iterator

from wsprobe.model import Confidence, Finding
from wsprobe.path import Origin, Path, code_of
from wsprobe.rules import Rule, answer_place, answers, observe_beyond
from wsprobe.wording import stretch

RULE = Rule(__name__, needs=answers, rank=60)

_REDIRECTS = range(300, 400)
_WHY = {
    400: "The request was not accepted as it arrived: too large a header, or an upgrade that lost its headers.",
    401: "Credentials were asked for: none arrived, or not good ones. WWW-Authenticate says more.",
    403: "Refused: credentials, the Origin, or a proxy that does not pass upgrades on (Envoy without upgrade_configs).",
    404: "No such route for this request: upgrades may be routed elsewhere, or the Host was rewritten.",
    426: "The request arrived without its upgrade headers.",
    431: "A header was too large.",
    500: "The handler failed before it accepted.",
    502: "The proxy got no usable answer from its upstream.",
    503: "The proxy has no upstream to ask.",
    504: "The upstream did not answer in time.",
}


def check(refusal: tuple[Path, int]) -> Iterator[Finding]:
    """One finding per refusal; a redirection is told by a rule of its own."""
    path, code = refusal
    where = path.where_answered(code)
    if code in _REDIRECTS or where is None or not path.asks_for_websocket:
        return
    silent = "".join(f" {name} has no record of this request." for name in path.trace.silent)
    yield RULE.finding(
        f"The upgrade was answered with {code} instead of 101. {_source(path, where)}{silent}",
        *(answer_place(hop) for hop in path.hops if hop.response),
        confidence=Confidence.PROVEN,
        segment=where.segment if where.at_end or where.segment[1] else None,
        fix=_WHY.get(code, "Read what the answer says, and the log of what gave it."),
        untested=() if where.in_application else (f"what lies {stretch(where.segment)}",),
        next_=() if where.in_application or where.segment[1] else observe_beyond(where.hop),
    )


def _source(path: Path, where: Origin) -> str:
    if where.in_application:
        return f"The application at {where.hop.name} answered so."
    inner = where.segment[1]
    if inner:
        seen = next(hop for hop in path.hops if hop.name == inner)
        code = code_of(seen)
        what = f"saw {code}" if code else "saw no answer"
        return f"The answer was made between {where.hop.name} and {inner}, which {what}."
    return f"The answer came from beyond {where.hop.name}."
