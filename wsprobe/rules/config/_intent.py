"""Whether a route is meant for WebSockets: a judgement in words, made once, from what the config shows.

A config seldom says it. A proxy that drops an upgrade on a route for pictures is right; on a route for a socket it is
the incident. So everything that tells the two apart stands here: what a route writes, what it is called, and whether
anything else in the config could be the way of a WebSocket.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from enum import IntEnum

from wsprobe.frozen import dataclass
from wsprobe.inspection import Handling
from wsprobe.lb.expressions import All, Condition, How, Of, OneOf, Subject, Test
from wsprobe.lb.model import Edit, Named, Op
from wsprobe.parts import Line
from wsprobe.patterns import lazy
from wsprobe.rules.config._passage import Passage
from wsprobe.rules.config._upgrade import HANDSHAKE


class Level(IntEnum):
    """How sure it is that a route is meant for WebSockets."""

    NOT = 0
    OPEN = 1
    LIKELY = 2
    SURE = 3


@dataclass(frozen=True, slots=True)
class Intent:
    """How sure it is, and what speaks for it, in a few words.

    `alone` says that no route of the whole config passes an upgrade on, so that one has no other way.
    """

    level: Level
    why: str
    alone: bool = False


_NAMED = lazy(
    r"(?:^|[^a-z0-9])(?:wss?|web_?sockets?|socket\.?io|sockjs(?:-node)?|engine\.?io|signalr|websockify|cable|action_?cable"
    r"|hmr|live_?reload|phoenix|graphql-?ws|mqtt|stomp|xmpp-websocket|ws[_-][a-z0-9_-]+|[a-z0-9]+[_-]wss?)(?:[^a-z0-9]|$)"
    r"|websocket",
    re.IGNORECASE,
)
_MAYBE = lazy(
    r"(?:^|[^a-z0-9])(?:sockets?|hubs?|live|streams?|streaming|realtime|real-time|subscriptions?|graphql|events?"
    r"|notifications?|chat|terminal|tty|vnc|novnc)(?:[^a-z0-9]|$)",
    re.IGNORECASE,
)
_OTHER = lazy(
    r"(?:^|[^a-z0-9])(?:static|assets?|media|uploads?|downloads?|files?|images?|img|css|js|fonts?|favicon\.?(?:ico)?"
    r"|robots\.?(?:txt)?|sitemap|metrics|prometheus|health|healthz|healthcheck|ping|ready|readyz|livez|status|stats"
    r"|\.?well-known|acme-challenge|docs?|swagger|openapi|oauth2?|login|logout|auth|saml|error|50x\.html"
    r"|manifest|themes?)(?:[^a-z0-9]|$)",
    re.IGNORECASE,
)
_CHECKED = lazy(r"/(?:health(?:z|check)?|metrics|stats|status|ready(?:z)?|livez)/?$", re.IGNORECASE)
_WEBSOCKET = lazy(r"\bwss?://")
_SPEAKS = lazy(r"\bwss?://|\bupgrade=(?!none\b)\w+", re.IGNORECASE)
_LEADS = lazy(r"\w://([^\s;\"']+)")
_ASKS = frozenset({"upgrade", "connection", *(name.lower() for name in HANDSHAKE)})


def intents(passages: list[Passage]) -> Iterator[Intent]:
    """Of each route of a config whether it is meant for WebSockets; the others of its listener count in that."""
    shown = [next(_shown(passage), None) for passage in passages]
    alone = not any(passage.passes or passage.handling is Handling.UNKNOWN for passage in passages)
    others = {id(passage.listener): _Others() for passage in passages}
    for passage, own in zip(passages, shown, strict=True):
        others[id(passage.listener)].count(passage, own)
    for passage, own in zip(passages, shown, strict=True):
        yield replace(own or _by_the_others(passage, others[id(passage.listener)]), alone=alone)


def intent_elsewhere(passage: Passage, intent: Intent) -> Intent:
    """Of another target on a route whether it is meant for WebSockets, from what holds for the route."""
    if own := next(_shown(passage), None):
        return replace(own, alone=intent.alone)
    if _OTHER.search(passage.route.sample):
        return Intent(Level.NOT, "its path speaks of something else")
    return intent


@dataclass(slots=True)
class _Others:
    """What the routes of one listener have in common: how many lead on, are meant for WebSockets, pass them."""

    proxied: int = 0
    meant: int = 0
    passing: int = 0

    def count(self, passage: Passage, intent: Intent | None) -> None:
        """One more route."""
        self.proxied += passage.route.upstream is not None
        self.meant += intent is not None and intent.level is Level.SURE
        self.passing += passage.passes


def _shown(passage: Passage) -> Iterator[Intent]:
    """What the route itself shows, the surest first."""
    route = passage.route
    if passage.meant:
        yield Intent(Level.SURE, "that is what you asked for")
    led = (
        (*route.upstream.addresses, _from(route.upstream.place) if route.upstream.place else "")
        if route.upstream
        else ()
    )
    if any(_WEBSOCKET.search(text) for text in led):
        yield Intent(Level.SURE, "it leads to ws://")
    if passage.config.kind == "apache" and (found := _SPEAKS.search(route.place.text)):
        yield Intent(Level.SURE, f"its line says {found.group()}")
    if header := next(_written(passage), None):
        yield Intent(Level.SURE, f"it sets {header}")
    if _tests_upgrade(route.match):
        yield Intent(Level.SURE, "it takes the requests that ask for an upgrade")
    if (found := _NAMED.search(_called(passage))) and not _CHECKED.search(route.sample):
        yield Intent(Level.SURE, f"it is called {_word(found)}")
    around = any("upgrade" in _names(lost.edit) and _sets(lost.edit) for lost in route.lost)
    if around and not _OTHER.search(route.sample):
        yield Intent(Level.LIKELY, "Upgrade is set around it")


def _by_the_others(passage: Passage, others: _Others) -> Intent:
    """What the other routes of its listener leave to it."""
    if others.meant:
        return Intent(Level.NOT, "another route is meant for them")
    if passage.route.upstream is None:
        return Intent(Level.NOT, "it leads to no upstream")
    if _OTHER.search(passage.route.sample) and not _is_root(passage) and others.proxied > 1:
        return Intent(Level.NOT, "its name speaks of something else")
    if found := _MAYBE.search(f"{passage.route.label} {passage.route.sample}"):
        return Intent(Level.LIKELY, f"it is called {_word(found)}")
    if others.proxied == 1 or (_is_root(passage) and not others.passing):
        return Intent(Level.LIKELY, "no other route could take one")
    return Intent(Level.OPEN, "nothing speaks for it or against it")


def _word(found: re.Match[str]) -> str:
    return re.sub(r"^\W+|\W+$", "", found.group())


def _written(passage: Passage) -> Iterator[str]:
    """The headers of an upgrade that lines of the route set."""
    for edit in passage.edits:
        if edit.place and _sets(edit):
            names = edit.which.names if isinstance(edit.which, Named) else ()
            for name in names:
                if name.lower() in _ASKS - {"connection"} and not passage.spares(edit):
                    yield name


def _sets(edit: Edit) -> bool:
    return edit.op is not Op.REMOVE and edit.value is not None


def _names(edit: Edit) -> set[str]:
    return {name.lower() for name in edit.which.names} if isinstance(edit.which, Named) else set()


def _tests_upgrade(condition: Condition) -> bool:
    """Whether only requests with an Upgrade header, or one that says websocket, are taken."""
    match condition:
        case Test(value=Of(subject=Subject.HEADER, name=name)):
            return name.lower() in _ASKS and (condition.how is How.EXISTS or bool(condition.texts))
        case All() | OneOf():
            return any(_tests_upgrade(each) for each in condition.conditions)
    return False


def _called(passage: Passage) -> str:
    """The names that a route goes by."""
    upstream = passage.route.upstream
    led = _LEADS.findall(_from(upstream.place)) if upstream and upstream.place else ()
    return " ".join((passage.route.label, passage.route.sample, *(upstream.addresses if upstream else ()), *led))


def _from(place: Line) -> str:
    """What stands at a place: of a config on one line not what stands at all others."""
    start = max(0, place.column - 1 - place.indent)
    return place.text[start : start + 500]


def _is_root(passage: Passage) -> bool:
    return passage.route.sample.partition("?")[0] in {"/", ""}
