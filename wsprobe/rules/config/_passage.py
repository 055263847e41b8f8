"""What a rule over configs looks at: an upgrade on its way through one route, and what became of it there.

The upgrade is the same one on every route: it carries what clients of WebSockets carry, and every authentication lets
it pass, so that what comes after one can be seen. Size limits and what an authentication would say have rules of
their own.
"""

from collections.abc import Iterator
from dataclasses import field, replace
from functools import cached_property
from itertools import islice

from wsprobe.credentials import is_secret_name
from wsprobe.frozen import dataclass
from wsprobe.inspection import Change, Handling, HeaderEdit, Prediction, Timeout, Timer, Unknown
from wsprobe.lb.evaluation import holds
from wsprobe.lb.expressions import ALWAYS, NEVER, Condition, How, Of, Subject, Test
from wsprobe.lb.model import (
    Answer,
    Config,
    Edit,
    Gate,
    Listener,
    Named,
    Only,
    Reroute,
    Route,
    Stall,
    Step,
)
from wsprobe.lb.predict import carry, finish, predict, steps_of, takes
from wsprobe.lb.request import Request
from wsprobe.lb.run import Run
from wsprobe.parts import Header, Line
from wsprobe.patterns import lazy
from wsprobe.rules.config._index import Index
from wsprobe.rules.config._made import made_of, parts
from wsprobe.rules.config._upgrade import ONLY_UPGRADES, Asked, asking, opened

_PATHS = frozenset({Subject.PATH, Subject.RAW_PATH, Subject.TARGET, Subject.VARIABLE})
_UPSTREAM_APART = frozenset({"envoy", "haproxy", "traefik"})
"""Where the upstream stands in a section of its own, which many routes share."""

_BEGINNINGS = frozenset({How.PREFIX, How.EQUALS, How.REGEX})
_BEGINNING = lazy(r"\^?(/[\w./-]*)")
_MOST_TARGETS = 16


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One route of one listener of one config, and the upgrade that was carried over it.

    `meant` says that it is the upgrade that the user asked about.
    """

    config: Config
    listener: Listener
    route: Route
    asked: Asked = field(default_factory=Asked)
    index: Index | None = None
    meant: bool = False

    @cached_property
    def entry(self) -> Listener:
        """The listener without its routes, with every authentication and every limit open."""
        # What a proxy answers by default before it chooses a route is about malformed requests, and this is none.
        steps = tuple(step for step in self.listener.steps if step.place or not isinstance(step, Answer))
        return replace(opened(replace(self.listener, steps=steps)), binds=(), match=ALWAYS, routes=())

    @cached_property
    def request(self) -> Request:
        """The upgrade as the client sends it."""
        return asking(self.listener, self.route, self.asked)

    @cached_property
    def prediction(self) -> Prediction:
        """What becomes of it on this route, if every authentication lets it pass."""
        if self.entered is None:
            return self.carried(self.request)
        run = self.entered.copy(choosing=False)
        return finish(run, self.config, self._around, opened(self.route))

    def carried(self, request: Request) -> Prediction:
        """What becomes of another request on this route, if every authentication lets it pass."""
        return carry(self.config, self._around, opened(self.route), request)

    @cached_property
    def _around(self) -> Listener:
        """The listener, with other routes only where this one hands requests over."""
        if not any(isinstance(step, Reroute) for step in self.route.steps):
            return self.entry
        return replace(self.entry, routes=tuple(map(opened, self.listener.routes)))

    @cached_property
    def plain(self) -> Prediction:
        """What becomes of the same request without what asks for an upgrade."""
        headers = tuple(header for header in self.request.headers if header[0].lower() not in ONLY_UPGRADES)
        return self.carried(replace(self.request, headers=headers))

    @cached_property
    def taken_by(self) -> Prediction:
        """What the listener does with it: the route that it takes may be another one."""
        index = self.index or Index(self.listener.routes)
        run = self.entered
        routes = index.candidates(run) if run else ()
        for route in routes if run and self.sampled else ():
            if route.place == self.route.place and route.label == self.route.label:
                return self.prediction
            if run is None or holds(route.match, run) is not False:
                break
        listener = replace(self.entry, routes=tuple(map(opened, routes)))
        return predict(replace(self.config, listeners=(listener,)), self.request)

    @cached_property
    def entered(self) -> Run | None:
        """The upgrade where routes are chosen; None where it does not come so far."""
        run = Run(self.request)
        return run if run.enter(self.entry) else None

    @cached_property
    def sampled(self) -> bool:
        """Whether the upgrade is one that the route itself takes; False where that cannot be told."""
        if self.entered is None or holds(self.route.match, self.entered) is not True:
            return False
        if not any(isinstance(step, Only) for step in self.route.steps):
            return True
        alone = replace(self.entry, routes=(opened(self.route),))
        return predict(replace(self.config, listeners=(alone,)), self.request).route == self.route.label

    @property
    def arrives(self) -> bool:
        """Whether the upgrade is decided by this route; True where that cannot be told."""
        if self.route.match == NEVER:
            return True  # another route hands it over
        taken = self.taken_by
        if taken.route is None and taken.reached is None and self.entered:
            return holds(self.route.match, self.entered) is not False
        return taken.route is None or (taken.route == self.route.label and taken.request == self.prediction.request)

    @property
    def included(self) -> bool:
        """Whether the file is a fragment that another one includes, beside the line that leads to an upstream."""
        return self.route.upstream is not None and not self.route.upstream.addresses

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All steps that it passes."""
        return tuple(steps_of(self.listener, self.route))

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """The edits of the request that the config has for this route."""
        return tuple([step for step in self.steps if isinstance(step, Edit)])

    @property
    def referred(self) -> Iterator[str]:
        """The headers of the request that conditions and values of the route look at."""
        for step in (*(step for step in self.steps if getattr(step, "place", None)), self.route):
            looks = (getattr(step, "value", None), getattr(step, "when", None), getattr(step, "match", None))
            for value in (each for look in looks for each in parts(look)):
                if isinstance(value, Of) and value.subject is Subject.HEADER:
                    yield value.name

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """The authentications on the way, without those that are for other requests."""
        return tuple([step for step in self.steps if isinstance(step, Gate) and not self.spares(step)])

    def spares(self, step: Step) -> bool:
        """Whether the condition of a step says that it is for other requests than the upgrade."""
        if step.when == ALWAYS or self._ended is None:
            return False
        return holds(step.when, self._ended) is False

    @cached_property
    def _ended(self) -> Run | None:
        """The upgrade at the end of the route; None where it does not come so far."""
        if self.entered is None:
            return None
        run = self.entered.copy(choosing=False)
        run.take(opened(self.route))
        return run

    @cached_property
    def handling(self) -> Handling:
        """What happens to the upgrade, in a word."""
        if self.stalled_by:
            return Handling.HANGS
        if self.prediction.request is None:
            return Handling.ANSWERED if self.route.upstream is None else Handling.REFUSED
        if self.prediction.request.start_line.startswith("CONNECT "):
            return Handling.PASSED  # what HTTP/2 has in the place of Upgrade (RFC 8441)
        values = self.arrived("Upgrade")
        if values is None:
            return Handling.UNKNOWN
        return Handling.PASSED if any("websocket" in value.lower() for value in values) else Handling.DROPPED

    @cached_property
    def passes(self) -> bool:
        """Whether it is passed on as an upgrade, whatever else holds it up."""
        return any("websocket" in value.lower() for value in self.arrived("Upgrade") or ())

    @cached_property
    def ended_by(self) -> Answer | None:
        """The answer that kept the upgrade from the upstream, None where none did or the route has no upstream."""
        found = self.prediction
        ends = (step for step in self.steps if isinstance(step, Answer))
        return next((step for step in ends if found.request is None and step.why == found.why), None)

    @cached_property
    def stalled_by(self) -> Stall | None:
        """What would hold the upgrade back for ever; elsewhere here it is taken to let it through."""
        stalls = [step for step in self.steps if isinstance(step, Stall)]
        if not stalls:
            return None
        found = carry(self.config, opened(self.listener, holding=True), opened(self.route, holding=True), self.request)
        return next((step for step in stalls if found.request is None and step.why == found.why), None)

    @property
    def where(self) -> Line:
        """Where a default is told: the line of the route, or the one in it that leads to the upstream."""
        upstream = self.route.upstream
        apart = self.config.kind in _UPSTREAM_APART
        return upstream.place if upstream and upstream.place and not apart else self.route.place

    def aimed(self) -> Iterator["Passage"]:
        """The same route with the request targets that were asked for and that it takes."""
        at = self.asked.at
        if at and not takes(self.listener, at):
            return
        host = next((value for name, value in at.headers if name.lower() == "host"), None) if at else None
        for path in self.asked.paths:
            route = replace(self.route, sample=path, sample_host=host or self.route.sample_host)
            other = replace(self, route=route, meant=True)
            if other.sampled and other.arrives:
                yield other

    @cached_property
    def conditional(self) -> list[Step]:
        """The steps that lines of the config take only for some requests."""
        return [step for step in self.steps if getattr(step, "place", None) and step.when != ALWAYS]

    def elsewhere(self) -> Iterator["Passage"]:
        """The same route with other request targets, those that conditions of its steps look for."""
        paths = (path for step in self.conditional for path in self._sought(step.when))
        for path in dict.fromkeys(islice(paths, _MOST_TARGETS)):
            other = replace(self, route=replace(self.route, sample=path), meant=False)
            if path != self.route.sample and other.sampled and other.arrives:
                yield other

    def _sought(self, condition: Condition) -> tuple[str, ...]:
        """The beginnings of paths that a condition looks for; worked out once for all routes of a listener."""
        known = self.index.sought if self.index else {}
        if id(condition) not in known:
            tests = (each for each in parts(condition) if isinstance(each, Test) and each.how in _BEGINNINGS)
            texts = (text for test in tests if made_of(test.value) & _PATHS for text in test.texts)
            found = tuple(match[1] for match in map(_BEGINNING.match, texts) if match)
            known[id(condition)] = condition, found  # while it is kept, nothing else has its identity
        return known[id(condition)][1]

    # Headers.

    @cached_property
    def _sent(self) -> dict[str, list[str]]:
        return _by_name(self.request.headers)

    @cached_property
    def _arrived(self) -> dict[str, list[str]] | None:
        request = self.prediction.request
        return _by_name(request.headers) if request else None

    def sent(self, name: str) -> list[str]:
        """The values of a header as the client sends it."""
        return self._sent.get(name.lower(), [])

    def arrived(self, name: str) -> list[str] | None:
        """The values of a header as the upstream gets it, None where they are not known."""
        if self._arrived is None or self.doubt(name):
            return None
        return self._arrived.get(name.lower(), [])

    def doubt(self, name: str) -> Unknown | None:
        """Why it is not known what becomes of a header."""
        if not self.prediction.unknown or name.lower() in (self._arrived or ()):
            return None
        wanted = {name.lower(), "any header"}
        return next((unknown for unknown in self.prediction.unknown if unknown.what.lower() in wanted), None)

    def changes(self, name: str) -> list[HeaderEdit]:
        """What was done to a header, in its order."""
        return [edit for edit in self.prediction.edits if edit.name.lower() == name.lower()]

    def lost_by(self, name: str) -> HeaderEdit | None:
        """The edit that removed a header which the client sent and the upstream does not get."""
        if self.arrived(name) != [] or not self.sent(name):
            return None
        return next((e for e in reversed(self.changes(name)) if e.kind in {Change.REMOVED, Change.RENAMED}), None)

    def written(self, name: str) -> Iterator[Edit]:
        """The edits that lines of the config make to a header that they name."""
        for edit in self.edits:
            named = edit.which.names if isinstance(edit.which, Named) else ()
            if edit.place and name.lower() in {each.lower() for each in named}:
                yield edit

    def cause(self, change: HeaderEdit) -> Edit | None:
        """The edit of the model that a change came from, None where it is not clear."""
        same = [edit for edit in self.edits if edit.place == change.place]
        named = [edit for edit in self.written(change.name) if edit.place == change.place]
        found = named or same
        return found[-1] if found else None

    # Timers.

    def timers(self, kind: Timer) -> list[Timeout]:
        """The timers of a kind that end an upgraded connection, the shortest first."""
        found = [each for each in self.route.timeouts if each.kind is kind and each.applies and each.seconds]
        return sorted(found, key=lambda each: each.seconds or 0)


def credentials(passage: Passage) -> list[str]:
    """The headers of the upgrade that say who the client is."""
    names = dict.fromkeys(name for name, _ in passage.request.headers)
    return [name for name in names if is_secret_name(name) and not name.lower().startswith("sec-websocket-")]


def _by_name(headers: tuple[Header, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found
