"""The same upgrade works with one thing changed that is no credential: another Origin, another Host, another way.

With that one thing changed it went well twice; before and after, without the change, it failed each time.
With another Origin or without one, something checks it (RFC 6455, 10.2). With the Host without its port, something
routes by it. Straight to the application, what makes it fail stands on the way there. Over HTTP/2 (RFC 8441), it is in
how upgrades of HTTP/1.1 are treated.

Bad:
    Origin: https://app.example.com -> 403; Origin: https://www.example.com -> 101
Good:
    the application allows the Origin of the pages that connect to it
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from wsprobe.heads import values
from wsprobe.judging import Rule, again, observe_beyond, varied
from wsprobe.model import Confidence, Finding, Observation, Place
from wsprobe.trials import HOST, HTTP2, ORIGIN, STRAIGHT, Elimination, in_words
from wsprobe.wording import plain

RULE = Rule(__name__, needs=varied, rank=36)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a change that helped says, and what to do; `header` is the one that was changed, if it was one."""

    means: str
    fix: str
    header: str | None = None
    untested: tuple[str, ...] = ()


_OF_ORIGIN = _Change(
    "Whoever answers checks the Origin.",
    "Allow the Origin of the pages that connect; if it names the right host already, look on the way for what rewrites "
    "Host, which it is compared with (nginx: proxy_set_header Host $http_host).",
    "Origin",
)
_CHANGES = {
    HOST: _Change("Whoever answers goes by the Host.", "Have the Host with its port routed as well.", "Host"),
    HTTP2: _Change(
        "What differs is how an upgrade of HTTP/1.1 is treated on the way.",
        "Look on the way at what is done to upgrades of HTTP/1.1 alone; until then, connect over HTTP/2 (RFC 8441).",
    ),
    STRAIGHT: _Change(
        "What makes it fail is on the way there, or is lost on it.",
        "Look between client and application at how upgrades are routed, and at what is taken from the request; a "
        "recorder beside the application shows what arrives there.",
        untested=("whether the way leads to the same application, and to the same instance of it",),
    ),
}


def check(found: Elimination) -> Iterator[Finding]:
    """One finding for the first change that helped, and one for the way past what stands before the application."""
    if found.varied:
        yield _finding(found, *found.varied)
    if found.straight and found.well_straight:
        yield _finding(found, STRAIGHT, found.straight)


def _finding(found: Elimination, name: str, hop: Observation) -> Finding:
    path, seen, sure = found.path, found.good.name, found.stays(name)
    change = next((one for key, one in _CHANGES.items() if name.startswith(key)), _OF_ORIGIN)
    return RULE.finding(
        f"Seen from {seen}, the upgrade failed ({in_words(found.good)}), and {name} came to this"
        f"{' twice' if sure else ''}: {in_words(hop)}. {change.means}",
        Place(hop=seen, part="the upgrade", shows=_shows(found.good, change.header)),
        Place(hop=seen, part=name, shows=_shows(hop, change.header)),
        confidence=Confidence.LIKELY if sure else Confidence.POSSIBLE,
        segment=(path.outermost.name, None),
        header=change.header,
        fix=change.fix,
        others=() if sure else ("a fault that comes and goes looks the same",),
        untested=(*change.untested, "more tries than these"),
        next_=(
            *(observe_beyond(path, path.hops[-1]) if change.header is None else ()),
            again(path, f"{_option(hop, name, change.header)}--repeat 10"),
        ),
    )


def _shows(hop: Observation, header: str | None) -> str:
    sent = values(hop.request.headers, header) if hop.request and header else []
    return f"{f'{header}: ' + ', '.join(sent) + '; ' if sent else f'no {header}; ' if header else ''}{in_words(hop)}"


def _option(hop: Observation, name: str, header: str | None) -> str:
    """What makes a trace differ in that header as the control did."""
    sent = values(hop.request.headers, header) if hop.request and header and name.startswith((ORIGIN, HOST)) else []
    return f"-H {shlex.quote(f'{header}: {plain(sent[0])}')} " if sent else ""
