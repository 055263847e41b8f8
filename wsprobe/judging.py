"""What rules over traces are made of: what they need, their findings, and the evidence that several of them show.

A rule declares what it needs; it is called once for each such thing, and where there is none and that matters the
skip says what was missing.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count
from typing import Any

from wsprobe.durations import seconds
from wsprobe.frozen import dataclass
from wsprobe.headers import Value
from wsprobe.ladder import Ladder, ladder
from wsprobe.model import Confidence, Finding, Observation, Place, Redaction, Segment, Severity, Skip
from wsprobe.path import Origin, Pair, Path, clock, code_of
from wsprobe.rules import load, names
from wsprobe.trials import (
    AFTER,
    HTTP2,
    Elimination,
    elimination,
    has_credentials,
    in_words,
    may_be_a_timer,
    may_want_credentials,
    why_stopped,
)
from wsprobe.wording import ending, plain, stretch


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing, in words that end the sentence "it was not judged for want of …"."""

    what: str


Need = Callable[[Path], "list[Any] | Lack"]
"""What a rule is called with, once for each; a lack among them, or in their place, becomes a skip."""


def paths(path: Path) -> list[Path] | Lack:
    """The whole path, whatever was observed of it."""
    return [path]


def pairs(path: Path) -> "list[Pair | Lack] | Lack":
    """Each two neighbouring hops that saw the whole head of the request, in the order of the path."""
    if path.trace.order is None:
        return Lack("the order of the hops: no handshake took clearly longer than another")
    if not path.pairs:
        saw = [hop.name for hop in path.hops if hop.request]
        return Lack(f"a second recorder: only {saw[0]} saw this request" if saw else "a hop that saw the request")
    return [Lack(f"the whole head: {pair.cut.name} saw only a part of it") if pair.cut else pair for pair in path.pairs]


def ended_pairs(path: Path) -> "list[Pair | Lack] | Lack":
    """Each two neighbouring hops that both saw how an upgraded connection ended."""
    if not path.upgraded:
        return []
    if path.trace.order is None:
        return Lack("the order of the hops: no handshake took clearly longer than another")
    found: list[Pair | Lack] = []
    for pair in path.pairs:
        if pair.outer.closes and not pair.inner.closes:
            found.append(Lack(f"the end of the connection at {pair.inner.name}: its record stops before it"))
        elif pair.outer.closes:
            found.append(pair)
    return found


def upgraded(path: Path) -> list[Path] | Lack:
    """A path on which the client got its 101."""
    return [path] if path.upgraded else []


def answers(path: Path) -> list[tuple[Path, int]] | Lack:
    """A path whose upgrade was answered with another status than 101, and that status."""
    code = code_of(path.outermost)
    return [(path, code)] if code is not None and not path.upgraded and path.asks_for_websocket else []


def hops(path: Path) -> list[tuple[Observation, Path]] | Lack:
    """Each hop."""
    return [(hop, path) for hop in path.hops]


def credentials_compared(path: Path) -> list[Elimination] | Lack:
    """A failed upgrade with credentials, beside what came of it without them, elsewhere, or over plain HTTP."""
    answered_before = bool(path.trace.silent) and not path.upgraded  # then nobody further in was asked
    if path.healthy or path.client is None or not has_credentials(path.outermost) or answered_before:
        return []
    found = elimination(path)
    lacks = _uncomparable(path, found)
    return Lack(lacks) if lacks else [found]


def _uncomparable(path: Path, found: Elimination) -> str | None:  # noqa: PLR0911  one reason after the other
    """Why nothing can be said of the credentials; None where it can."""
    if why := why_stopped(path.trace):
        return f"controls that can be compared: {why}"
    if not may_want_credentials(found.good):
        return f"an end that credentials can be to blame for; it was: {in_words(found.good)}"
    name, hop = found.varied or ("", found.good)
    if name and name != HTTP2:  # over HTTP/2 the credentials may be what is treated otherwise
        return f"credentials that can be to blame: {name} came to this: {in_words(hop)}"
    if found.none is None and not found.telling and not found.carrier:
        return "an upgrade without credentials beside it, which --controls auth makes"
    if not found.telling and not found.carrier and _expired(found.good):
        return "credentials that hold: the token had expired, and such a one counts for as little as none"
    if (found.differs(found.none) or found.differs(found.broken)) and not found.checked:
        return f"{AFTER}: whether those without good credentials changed what the server does is not known"
    return None


def _expired(hop: Observation) -> bool:
    sent = clock(hop)
    exps = [one.jwt.exp for one in hop.redactions if one.message == "request" and one.jwt]
    return sent is not None and any(exp is not None and exp <= sent for exp in exps)


def varied(path: Path) -> list[Elimination] | Lack:
    """A failed upgrade beside what went well with one thing changed that is no credential."""
    if path.healthy or path.client is None or why_stopped(path.trace):
        return []
    found = elimination(path)
    return [found] if found.varied or found.well_straight else []


def ladders(path: Path) -> list[tuple[Path, Ladder]] | Lack:
    """Connections that were held side by side, as far as they say something of timers."""
    found = ladder(path)
    if found is None:
        return []
    held = seconds(found.rungs[0].held)
    if found.server_pings and found.timer is None:
        return Lack(
            f"silence: the server sent {found.server_pings} pings on the silent connection in {held}, which keep alive "
            "whatever timer is longer than their interval"
        )
    return [(path, found)] if found.timer else Lack(f"a timer: {found.why} (held for up to {held})")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule needs, and how near to the cause its findings are: the lower the rank, the nearer.

    Below 20 a loss on the way or a path that ends; below 40 the credential itself; below 60 an answer; from there
    on how the connection ended, which is the effect of the others.
    """

    module: str
    needs: Need
    rank: int

    @property
    def name(self) -> str:
        """The name of the rule's file, in kebab case."""
        return self.module.rpartition(".")[2].replace("_", "-")

    def finding(  # noqa: PLR0913  the parts of a finding
        self,
        message: str,
        *places: Place,
        severity: Severity = Severity.ERROR,
        confidence: Confidence = Confidence.PROVEN,
        segment: Segment | None = None,
        header: str | None = None,
        fix: str | None = None,
        others: Iterable[str] = (),
        untested: Iterable[str] = (),
        next_: Iterable[str] = (),
    ) -> Finding:
        """A finding of this rule."""
        return Finding(
            rule=self.name,
            message=message,
            severity=severity,
            confidence=confidence,
            segment=segment,
            header=header,
            fix=fix,
            places=places,
            others=tuple(others),
            untested=tuple(untested),
            next=tuple(next_),
        )


def where_else(where: Origin) -> tuple[str, ...]:
    """What else is possible where the records leave the place open."""
    if where.inner and not where.known:
        return (f"something {stretch((where.hop.name, where.inner.name))} did it",)
    return () if where.known else ("something between two of the hops did it",)


def header_place(hop: Observation, message: str, name: str, values: Iterable[Value]) -> Place:
    """Where a header stands, or does not, as evidence."""
    shows = ", ".join(f"{name}: {value.text}" for value in values) or f"no {name}"
    return Place(hop=hop.name, part=message, shows=shows)


def header_of(hop: Observation, token: Redaction) -> str | None:
    """The name of the request header that a token stands in, None where it stands elsewhere."""
    headers = hop.request.headers if hop.request else ()
    return headers[token.header][0] if token.header is not None and 0 <= token.header < len(headers) else None


def carrier(hop: Observation, token: Redaction) -> str:
    """Where a token stands, in words: its header, its parameter, or its header and the cookie in that."""
    name = header_of(hop, token)
    return token.name if name is None else name if name.lower() == token.name.lower() else f"{name} ({token.name})"


def close_place(hop: Observation) -> Place:
    """How a connection ended at a hop, as evidence."""
    return Place(hop=hop.name, part="closes", shows=ending(hop))


def held_places(found: Ladder) -> tuple[Place, ...]:
    """How long each of the connections lasted that were held side by side, as evidence."""
    return tuple(
        Place(
            hop=rung.hop.name,
            part=rung.name,
            shows=f"ended after {rung.lasted:.2f} s"
            if rung.lasted is not None
            else f"not ended by a timer in {rung.held:.2f} s",
        )
        for rung in found.rungs
    )


def answer_place(hop: Observation) -> Place:
    """What a hop got for an answer, as evidence."""
    return Place(hop=hop.name, part="response", shows=hop.response.start_line if hop.response else "no response")


def origin_places(path: Path, where: Origin, place: Callable[[Observation], Place]) -> tuple[Place, ...]:
    """What the hops saw, as evidence: those that saw something of it, and the one next to where it came from."""
    shown = [hop for hop in path.hops if hop.closes or hop.response or hop is where.inner]
    return tuple(place(hop) for hop in shown)


def observe_beyond(path: Path, hop: Observation) -> tuple[str, ...]:
    """The commands that put one more recorder behind a hop and ask again."""
    taken = {seen.name for seen in path.hops} | set(path.trace.silent)
    name = next(name for name in chain(("app", "backend"), map("hop{}".format, count(2))) if name not in taken)
    record = f"wsprobe record {name} --listen 0.0.0.0:8081 --to http://127.0.0.1:8080 -o {name}.jsonl"
    where = f"beside the application, beyond {plain(hop.name)}; point to 8081 what now points to 8080"
    return f"{record}   # {where}", again(path, f"--records {name}.jsonl", f"RECORDS {name}.jsonl")


def ask_from_outside(path: Path) -> tuple[str, ...]:
    """The command that tells more without a recorder: whether the credentials matter, or how often it fails."""
    hop, found = path.client, elimination(path)
    if hop is None or len(path.hops) > 1:
        return ()
    if why_stopped(path.trace):
        return (again(path, "--repeat 20"),) if found.changed else ()
    asked = found.none is not None or found.varied is not None
    open_ = has_credentials(hop) and may_want_credentials(hop) and not may_be_a_timer(hop)
    return (again(path, "--controls auth"),) if open_ and not asked else ()


def again(path: Path, options: str, records: str = "RECORDS") -> str:
    """The command that asks once more: a trace with more options, or a diagnosis of what others do meanwhile."""
    if path.client:
        return f"wsprobe trace {path.url} {options}   # beside the options of this run"
    return f"wsprobe diagnose {records}   # RECORDS: the files of this diagnosis, after it has happened again"


def judge(path: Path) -> Iterator[Finding | Skip]:
    """All findings and skips of all rules on one path."""
    for name in names():
        module = load(name)
        found = module.RULE.needs(path)
        if isinstance(found, Lack):
            yield Skip(rule=name, lacks=found.what)
            continue
        for thing in found:
            yield from (Skip(rule=name, lacks=thing.what),) if isinstance(thing, Lack) else module.check(thing)
