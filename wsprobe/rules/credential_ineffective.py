"""On the upgrade the credentials make no difference: with them, without them, and with a broken token alike.

So they were not received, not read, or the application fails whatever it gets. From outside no more can be told: a
header that was stripped, a filter that consumed it and a fault of the application look the same to the client. An
upgrade without credentials and one with a broken token are made only with `--controls auth`, since they can raise an
alarm. Where plain HTTP takes the same credentials, they are good, and that makes the upgrade the suspect and no more.

Bad:
    with the token: 101, then 1011; without it: 101, then 1011; with a broken one: 101, then 1011
Good:
    with the token: 101, and it stays open; without it: 401
"""

from collections.abc import Iterator

from wsprobe.judging import Rule, again, credentials_compared, header_of, observe_beyond
from wsprobe.model import Confidence, Finding, Observation, Place, Severity
from wsprobe.path import Path
from wsprobe.stacks import hint
from wsprobe.trials import Elimination, in_words, outcome

RULE = Rule(__name__, needs=credentials_compared, rank=35)


def check(found: Elimination) -> Iterator[Finding]:
    """One finding where the credentials are not shown to matter on the upgrade."""
    if found.none and outcome(found.none) != outcome(found.good):
        return  # they reached whoever answered
    if found.none and found.broken and outcome(found.broken) != outcome(found.good):
        return  # something read them: credential-intercepted tells it
    path, names = found.path, _names(found.good)
    likely = found.none is not None and found.broken is not None
    yield RULE.finding(
        f"{_compared(found, names)}{_plain(found)}",
        *_places(found),
        # Where it arrived, how the application ended the connection tells more than that it made no difference.
        severity=Severity.ERROR if likely and not _arrived(path, names) else Severity.WARNING,
        confidence=Confidence.LIKELY if likely else Confidence.POSSIBLE,
        segment=(path.outermost.name, None),
        header=names[0] if len(names) == 1 else None,
        fix=f"Put a recorder beside the application and ask again: it shows whether {' and '.join(names)} arrived."
        f"{_hint(found)}",
        others=() if likely else (f"{' and '.join(names)} matters on the upgrade, and something else fails",),
        untested=_causes(found, names),
        next_=(
            *([] if likely else [again(path, "--controls auth")]),
            *observe_beyond(path, path.hops[-1]),
        ),
    )


def _names(hop: Observation) -> list[str]:
    """The headers, or the request target, that the credentials stand in."""
    found = [header_of(hop, one) or "the query" for one in hop.redactions if one.message == "request"]
    return list(dict.fromkeys(found))


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
    if not found.plain_tells:
        return ""
    good, none = next(pair for pair in found.plain if outcome(pair[0]) != outcome(pair[1]))
    return f" Plain HTTP takes it: {in_words(good)} with it and {in_words(none)} without."


def _hint(found: Elimination) -> str:
    said = hint(outcome(found.good))
    return f" A hint, no evidence: {said}." if said else ""


def _arrived(path: Path, names: list[str]) -> bool:
    """Whether the innermost recorder saw all of them."""
    inner = path.hops[-1] if len(path.hops) > 1 else None
    if inner is None or inner.request is None:
        return False
    return {name.lower() for name in names} <= {name.lower() for name, _ in inner.request.headers}


def _causes(found: Elimination, names: list[str]) -> tuple[str, ...]:
    """What each leaves the same trace, without those that a recorder rules out."""
    what, path = " and ".join(names), found.path
    beyond = f"beyond {path.hops[-1].name}" if _arrived(path, names) else "on the way"
    return (
        f"possible: {what} was removed {beyond}, on upgrades only",
        f"possible: a filter {beyond} consumed {what} and did not pass it on",
        "possible: the application's WebSocket handler does not read it, or fails whatever it gets",
        *([] if path.upgraded else ["possible: something before the application refuses every upgrade"]),
    )


def _places(found: Elimination) -> Iterator[Place]:
    tried = {"with credentials": found.good, "without": found.none, "with a broken token": found.broken}
    for name, hop in tried.items():
        if hop is not None:
            yield Place(hop=found.good.name, part=f"upgrade {name}", shows=in_words(hop))
    for good, none in found.plain:
        yield Place(hop=found.good.name, part="plain HTTP", shows=f"{in_words(good)}; without: {in_words(none)}")
