"""On the upgrade the credentials make no difference: with them, without them, and with a broken token alike.

So they were not received, not read, or the application fails whatever it gets. From outside no more can be told: a
header that was stripped, a filter that consumed it and a fault of the application look the same to the client. An
upgrade without credentials and one with a broken token are made only with `--controls auth`, since they can raise an
alarm. Where plain HTTP takes the same credentials, they are good, and that makes the upgrade the suspect and no more.
Where the upgrade goes well with the token in another place, the token and the handler are good, and that is likely too.

Only an end that credentials can be to blame for is judged: a redirection, a missing route or an upstream that is down
is alike with them and without, and says nothing of them.

Bad:
    with the token: 101, then 1011; without it: 101, then 1011; with a broken one: 101, then 1011
Good:
    with the token: 101, and it stays open; without it: 401
"""

from collections.abc import Iterator

from wsprobe.heads import values
from wsprobe.judging import Rule, again, credentials_compared, header_of, observe_beyond
from wsprobe.model import Confidence, Finding, Observation, Place, Severity
from wsprobe.path import Path, code_of
from wsprobe.stacks import hint
from wsprobe.trials import (
    STRAIGHT,
    Elimination,
    in_words,
    may_be_a_timer,
    outcome,
    waited_in_vain,
)

RULE = Rule(__name__, needs=credentials_compared, rank=35)

_QUERY = "the query"
_FORBIDDEN = 403


def check(found: Elimination) -> Iterator[Finding]:
    """One finding where the credentials are not shown to matter on the upgrade."""
    if found.differs(found.none):
        return  # they reached whoever answered
    if found.none and found.differs(found.broken):
        return  # something read them: credential-intercepted tells it
    path, names = found.path, _names(found.good)
    if _lost(path, names):
        return  # a recorder saw that they did not arrive: header-removed tells where
    by_carrier = found.carrier is not None and found.stays(found.carrier[0])
    likely = by_carrier or (found.none is not None and found.broken is not None)
    yield RULE.finding(
        " ".join(filter(None, (_compared(found, names), _plain(found), _elsewhere(found)))),
        *_places(found),
        severity=Severity.ERROR if likely and _leads(found, names) else Severity.WARNING,
        confidence=Confidence.LIKELY if likely else Confidence.POSSIBLE,
        segment=(path.outermost.name, None),
        header=names[0] if len(names) == 1 else None,
        fix=_fix(found, names),
        others=()
        if likely
        else (f"{' and '.join(names)} arrives and counts, and the upgrade fails for another reason",),
        untested=_causes(found, names),
        next_=_next(found, likely=likely),
    )


def _names(hop: Observation) -> list[str]:
    """The headers, or the request target, that the credentials stand in."""
    found = [header_of(hop, one) or _QUERY for one in hop.redactions if one.message == "request"]
    return list(dict.fromkeys(found))


def _leads(found: Elimination, names: list[str]) -> bool:
    """Whether this tells more than how the connection ended.

    It does not where the credentials arrived, where a timer or a message that did not come is at hand, and where the
    answer may be Envoy's own, which is 403 for every upgrade that it has no upgrade_configs for.
    """
    response = found.good.response
    of_envoy = code_of(found.good) == _FORBIDDEN and response and values(response.headers, "server") == ["envoy"]
    at_hand = may_be_a_timer(found.good) or waited_in_vain(found.good)
    return not (_arrived(found.path, names) or at_hand or of_envoy)


def _compared(found: Elimination, names: list[str]) -> str:
    what, seen = " and ".join(names), found.good.name
    if found.none is None:
        return f"Seen from {seen}, the upgrade with {what} failed: {in_words(found.good)}."
    tried = "without it and with a broken token" if found.broken else "and without it"
    return (
        f"Seen from {seen}, {what} makes no difference on the upgrade: with it, {tried} the result was "
        f"{in_words(found.good)}."
    )


def _plain(found: Elimination) -> str:
    if found.telling is None:
        return ""
    good, none, where = in_words(found.telling.good), in_words(found.telling.none), found.telling.name
    return f"{where[0].upper()}{where[1:]} takes it: {good} with it and {none} without."


def _elsewhere(found: Elimination) -> str:
    """What the same credentials came to in another place, and straight to the application."""
    said = []
    if found.carrier:
        name, hop = found.carrier
        said.append(f"With {name} the upgrade went well ({in_words(hop)}): the token is good, and a handler takes it.")
    if found.straight:
        alike = "it came to the same" if _fails_straight(found) else f"it came to this: {in_words(found.straight)}"
        said.append(f"Straight to the application {alike}.")
    return " ".join(said)


def _fails_straight(found: Elimination) -> bool:
    return found.straight is not None and not found.differs(found.straight)


def _fix(found: Elimination, names: list[str]) -> str:
    said = hint(outcome(found.good))
    recorder = f"Put a recorder beside the application and ask again: it shows whether {' and '.join(names)} arrived."
    log = "Read the log of the application: asked directly it fails as well, so nothing before it is needed for that."
    return f"{log if _fails_straight(found) else recorder}{f' A hint, no evidence: {said}.' if said else ''}"


def _lost(path: Path, names: list[str]) -> bool:
    """Whether the innermost recorder saw a request without any of the headers that they stood in."""
    inner = path.hops[-1].request if len(path.hops) > 1 else None
    if inner is None or _QUERY in names:
        return False
    return not {name.lower() for name in names} & {name.lower() for name, _ in inner.headers}


def _arrived(path: Path, names: list[str]) -> bool:
    """Whether the innermost recorder saw all of them."""
    inner = path.hops[-1] if len(path.hops) > 1 else None
    if inner is None or inner.request is None:
        return False
    return {name.lower() for name in names} <= {name.lower() for name, _ in inner.request.headers}


def _causes(found: Elimination, names: list[str]) -> tuple[str, ...]:
    """What each leaves the same trace, without those that a recorder or a control rules out."""
    what, path, plain = " and ".join(names), found.path, found.telling is not None
    beyond = f"beyond {path.hops[-1].name}" if _arrived(path, names) else "on the way"
    well = found.well_straight
    before = not _fails_straight(found)
    handler = "does not read it" + ("" if found.carrier else ", or fails for another reason, whatever it gets")
    refuses = "" if path.upgraded or found.carrier else "upgrade" if plain else "request"
    causes = {
        f"{what} was removed {beyond}{', on upgrades only' if plain else ''}": before,
        f"a filter {beyond} consumed {what} and did not pass it on": before,
        f"something else that the application needs was lost {beyond}": well,
        f"the application's WebSocket handler {handler}": not well,
        "the credentials themselves are not good: nothing here shows that they are": not (
            plain or found.carrier or well
        ),
        "a timer ended the silent connection, whatever came with it": may_be_a_timer(found.good),
        f"something before the application refuses every {refuses}": bool(refuses) and before,
    }
    return tuple(f"possible: {cause}" for cause, left in causes.items() if left)


def _next(found: Elimination, *, likely: bool) -> Iterator[str]:
    path = found.path
    if not likely:
        yield again(path, "--controls auth")
    elif not (found.telling or found.carrier or found.well_straight):
        yield (
            again(path, "--controls auth --http-control PATH")
            + ": a PATH of plain HTTP that wants the same credentials"
        )
    yield from observe_beyond(path, path.hops[-1])


def _places(found: Elimination) -> Iterator[Place]:
    tried = {
        "upgrade with credentials": found.good,
        "upgrade without": found.none,
        "upgrade with a broken token": found.broken,
        STRAIGHT: found.straight,
        **dict([found.carrier] if found.carrier else []),
    }
    for name, hop in tried.items():
        if hop is not None:
            yield Place(hop=found.good.name, part=name, shows=in_words(hop))
    for one in found.plain:
        shows = f"{in_words(one.good)}; without: {in_words(one.none)}"
        yield Place(hop=found.good.name, part=one.name, shows=shows)
