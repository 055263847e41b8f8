"""Two sides to a comparison: what changed between them, and whether what was wrong is fixed as far as was seen.

Pure and without chance: the same reports give the same comparison.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log

from wsprobe import __version__
from wsprobe.comparison import Comparison, Fate, FindingChange, Outcome
from wsprobe.diff.alike import credentials, urls
from wsprobe.diff.besides import manifest, notes, some
from wsprobe.diff.changes import SURE, findings, headers, met, rates, timings
from wsprobe.diff.sides import Group, group, side
from wsprobe.durations import seconds
from wsprobe.groups import exact, unseen
from wsprobe.model import Report, Severity, State
from wsprobe.wording import stretch

STATUS = {
    Outcome.FIXED: 0,
    Outcome.NOTHING: 0,
    Outcome.UNSHOWN: 1,
    Outcome.PARTLY: 1,
    Outcome.NOT_FIXED: 1,
    Outcome.WORSE: 1,
    Outcome.OTHER: 1,
    Outcome.INCOMPARABLE: 2,
}
"""The exit status of each outcome, for CI."""

_SLACK = 0.95
"""The share of the time to the failure that a connection must have been watched to count: timers are not exact."""

_NO_NODE = frozenset({"header via", "header server", "header x-cache", "header cf-ray"})
"""What tells nodes apart and does not name the one that failed: software, caches, the client's own city."""

_TOKEN_RULES = ("token-", "credential-")


def compare(before: Sequence[Report], after: Sequence[Report]) -> Comparison:
    """Compares two sides, each of at least one report, each with at least one hop."""
    return _Two(group(before), group(after)).comparison()


@dataclass(frozen=True, slots=True)
class _Judgement:
    """The outcome, what it rests on in words, and what it cannot tell."""

    outcome: Outcome
    what: tuple[str, ...]
    reasons: tuple[str, ...] = ()


class _Two:
    """Both sides, and what is asked of them together."""

    def __init__(self, before: Group, after: Group) -> None:
        self.before, self.after = before, after
        self.urls = urls(before, after)
        self.findings = findings(before, after)
        self.headers, self.uncompared = headers(before, after)
        ends = [one.lasted if one.result.startswith(_TIMED) else 0.0 for one in before.failed]
        self.soonest = min((end for end in ends if end is not None), default=0.0)
        lasted = [one.lasted for one in after.ones]
        long_enough = sum(time is None or time >= self.soonest * _SLACK for time in lasted)
        self.tries = long_enough or len(after.ones)
        """The connections after that were watched for as long as it took to fail before; all where none was."""

    def comparison(self) -> Comparison:
        """All of it as one value."""
        judged = self._judgement()
        return Comparison(
            version=__version__,
            outcome=judged.outcome,
            line=f"{judged.outcome.value}: {'; '.join((*judged.what, *judged.reasons))}",
            before=side(self.before, self.urls[0]),
            after=side(self.after, self.urls[1]),
            reasons=judged.reasons,
            unseen=None if self.after.failed else unseen(self.tries),
            findings=self.findings,
            headers=self.headers,
            uncompared=self.uncompared,
            timings=timings(self.before, self.after),
            rates=rates(self.before, self.after),
            nodes=tuple(met(self.before, self.after)),
            notes=tuple(notes(self.before, self.after, self.urls, self.headers)),
            redactions=manifest(self.before, self.after),
        )

    # The verdict.

    def _judgement(self) -> _Judgement:
        if unlike := (*self._unlike_urls(), *self._unlike_credentials()):
            return _Judgement(Outcome.INCOMPARABLE, tuple(unlike))
        if not self.before.failed:
            return self._of_a_good_one()
        if self.after.failed:
            return self._of_failures()
        if blind := self._blind():
            return _Judgement(Outcome.INCOMPARABLE, (blind, self._counted()))
        reasons = (*self._not_shown_by_number(), *self._not_shown_by_time(), *self._not_shown_by_nodes())
        if reasons:
            return _Judgement(Outcome.UNSHOWN, (*self._gone(), self._counted()), reasons)
        caveats = (*self._by_luck(), *self._other_nodes())
        return _Judgement(Outcome.FIXED, (*self._gone(), self._counted(), self._bound()), caveats)

    def _of_a_good_one(self) -> _Judgement:
        """Nothing was wrong before."""
        if not self.after.failed:
            return _Judgement(Outcome.NOTHING, (self._counted(), self._bound()))
        known = [change for change in self._there() if not change.note]
        if not known and all(one.open for one in self.after.ones) == all(one.open for one in self.before.ones):
            notes = [change.note for change in self._there() if change.note]
            return _Judgement(Outcome.INCOMPARABLE, (*dict.fromkeys(notes), self._now(self._there())))
        return _Judgement(
            Outcome.WORSE, ("nothing was wrong before", self._now(known), self._counted()), tuple(self._by_chance())
        )

    def _of_failures(self) -> _Judgement:
        """Something was wrong before, and something is now."""
        there = self._there()
        still = [change for change in there if change.fate is Fate.STILL]
        new = [change for change in there if change.fate is Fate.NEW and not change.note]
        gone = [change for change in self.findings if change.fate is Fate.GONE and _matters(change)]
        if not still:
            if blind := self._blind():
                return _Judgement(Outcome.INCOMPARABLE, (blind, self._counted()))
            return _Judgement(Outcome.OTHER, (*self._gone(), self._now(there), self._counted()))
        told = [self._still(still), *([self._now(new)] if new else [])]
        blind = self._blind()
        if blind or any(map(self._is_lead, still)):
            if self._more_often() or (new and not gone):
                return _Judgement(Outcome.WORSE, (*told, self._rate()), tuple(self._by_chance()))
            mended = self._gone() if any(map(self._is_lead, gone)) else ()
            reasons = (*([blind] if blind else []), *self._by_chance())
            return _Judgement(Outcome.NOT_FIXED, (*told, *mended, self._rate()), reasons)
        if new:
            return _Judgement(Outcome.OTHER, (*self._gone(), *reversed(told), self._counted()))
        return _Judgement(Outcome.PARTLY, (*self._gone(), self._still(still), self._counted()))

    def _there(self) -> list[FindingChange]:
        """What is wrong now and matters."""
        return [one for one in self.findings if one.fate in {Fate.STILL, Fate.NEW} and _matters(one)]

    def _leads(self) -> list[tuple[str, str | None]]:
        """What the verdicts before named, by rule and header; the most frequent first."""
        firsts = [one.problems[0] if one.problems else None for one in self.before.failed]
        named = Counter((each.rule, each.header) if each else ("unexplained", None) for each in firsts)
        return [lead for lead, _ in named.most_common()]

    # Why it can not be compared.

    def _unlike_urls(self) -> Iterator[str]:
        before, after = self.urls
        if before and after and not set(before) & set(after):
            yield f"{some(before)} before, {some(after)} after: not the same URL"

    def _unlike_credentials(self) -> Iterator[str]:
        unlike = [one for one in credentials(self.before, self.after) if one.differs]
        if unlike and not self._blames_the_token():
            yield f"not the same credential: {'; '.join(one.said for one in unlike)}"

    def _blames_the_token(self) -> bool:
        """Whether it was the credential that was wrong before: then another one is the fix."""
        return any(rule.startswith(_TOKEN_RULES) for rule, _ in self._leads())

    def _blind(self) -> str:
        """Why nothing can be said of what was found before: its recorders saw nothing after."""
        notes = [one.note for one in self.findings if one.fate is Fate.UNJUDGED and _matters(one) and one.note]
        leads = [one for one in self.findings if one.fate is Fate.UNJUDGED and self._is_lead(one)]
        return f"not the same recorders: {'; '.join(dict.fromkeys(notes))}" if leads else ""

    def _is_lead(self, change: FindingChange) -> bool:
        return any(_same(change, lead) for lead in self._leads())

    # Why it is not shown.

    def _not_shown_by_number(self) -> Iterator[str]:
        share, tries = len(self.before.failed) / len(self.before.ones), self.tries
        if unseen(tries) > share:
            needed = ceil(log(0.05) / log(1 - share))
            yield (
                f"a failure rate below {_percent(unseen(tries))} would not have shown, and it was {_percent(share)} "
                f"before: {needed} tries without a failure would show it"
            )

    def _not_shown_by_time(self) -> Iterator[str]:
        lasted = [one.lasted for one in self.after.ones if one.lasted is not None]
        if len(lasted) == len(self.after.ones) and max(lasted) < self.soonest * _SLACK:
            yield f"watched for {seconds(max(lasted))}, and before it took {seconds(self.soonest)} to fail"

    def _not_shown_by_nodes(self) -> Iterator[str]:
        for by, failing, well in self._failing_nodes():
            now = self.after.nodes.get(by, set())
            missed = sorted(failing - now)
            if missed and now & well:
                yield f"not met again of the nodes that failed before: {by} {some(missed)}"

    def _by_luck(self) -> Iterator[str]:
        """A caveat where it went well at times before: how often it failed is itself known by those tries alone."""
        chance = exact(len(self.before.failed), len(self.before.ones), 0, self.tries)
        if self.before.well and chance > SURE:
            yield (
                f"with {len(self.before.ones)} tries before and {self.tries} after, chance alone makes such a "
                f"difference in 1 of {1 / chance:.0f} comparisons"
            )

    def _other_nodes(self) -> Iterator[str]:
        """A caveat where no node is known from before: a new release may name them anew, or another place answered."""
        for by, failing, _ in self._failing_nodes():
            now = self.after.nodes.get(by, set())
            if failing and now and not failing & now:
                yield f"none of the nodes that failed before was met again ({by})"
                return

    def _failing_nodes(self) -> Iterator[tuple[str, set[str], set[str]]]:
        """By each thing that names a node: those at which every connection failed before, and those that went well."""
        good = Group(tuple(one for one in self.before.ones if one.well)).nodes
        bad = Group(self.before.failed).nodes
        for by, names in bad.items():
            loopback = by == "address" and any(name.startswith(("127.", "[::1]")) for name in names)
            if by not in _NO_NODE and not (loopback and not good.get(by)):
                yield by, names - good.get(by, set()), good.get(by, set())

    # In words.

    def _gone(self) -> Iterator[str]:
        """What the verdicts named and is gone."""
        gone = [one for one in self.findings if one.fate is Fate.GONE and _matters(one)]
        leads = [one for one in gone if self._is_lead(one)] or gone
        yield from dict.fromkeys(self._mended(change) for change in leads[:3])

    def _mended(self, change: FindingChange) -> str:
        inner = change.segment[1] if change.segment else None
        if change.header and inner and change.rule in _ARRIVES and self._arrives(change.header, inner):
            return f"{change.header} now reaches {inner}{_ARRIVES[change.rule]}"
        where = f" {stretch(change.segment)}" if change.segment and any(change.segment) else ""
        if change.rule == "header-removed" and change.header:
            return f"{change.header} is no longer lost{where}"
        return f"no {change.rule}{f' ({change.header})' if change.header else ''}{where} any more"

    def _arrives(self, header: str, hop: str) -> bool:
        """Whether every connection now has the header there, as it was sent."""
        return any(
            one.name.lower() == header.lower()
            and (one.message, one.hop) == ("request", hop)
            and set(one.after) == {State.PRESENT.value}
            for one in self.headers
        )

    def _still(self, changes: Sequence[FindingChange]) -> str:
        return f"still there: {', '.join(_named(change) for change in changes[:3])}{_more(changes)}"

    def _now(self, changes: Sequence[FindingChange]) -> str:
        return f"now {', '.join(_named(change) for change in changes[:3])}{_more(changes)}"

    def _counted(self) -> str:
        """How many connections go well now and did before."""
        open_ = [sum(one.open for one in each.ones) for each in (self.before, self.after)]
        well = [self.before.well, self.after.well]
        stays = open_ == well and any(open_)
        total = len(self.after.ones)
        verb = ("stays open" if total == 1 else "stay open") if stays else ("goes well" if total == 1 else "go well")
        noun = "connection" if total == 1 else "connections"
        before = f"{well[0]} of {len(self.before.ones)}"
        return f"{well[1]} of {total} {noun} {verb}, before {before}"

    def _rate(self) -> str:
        return (
            f"{len(self.after.failed)} of {len(self.after.ones)} failed, before {len(self.before.failed)} of "
            f"{len(self.before.ones)}"
        )

    def _bound(self) -> str:
        return f"a failure rate below {_percent(unseen(self.tries))} would not have shown"

    def _chance(self) -> float:
        return exact(len(self.before.failed), len(self.before.ones), len(self.after.failed), len(self.after.ones))

    def _more_often(self) -> bool:
        more = len(self.after.failed) * len(self.before.ones) > len(self.before.failed) * len(self.after.ones)
        return more and self._chance() <= SURE

    def _by_chance(self) -> Iterator[str]:
        """Whether the numbers differ by more than chance would make it, where both sides are mixed or many."""
        if (
            len(self.before.ones) + len(self.after.ones) > 2
            and self.before.failed
            and self.before.well + self.after.well
        ):
            often = "more often than before" if self._more_often() else "less often than before"
            yield often if self._chance() <= SURE else "no difference that chance would not make"


_ARRIVES = {"header-removed": "", "upgrade-dropped": "", "subprotocol-dropped": "", "header-altered": " as it was sent"}
"""Rules of which a header that arrives is the opposite."""

_TIMED = ("closed", "TCP ended", "reset", "given up")
"""Results of a connection that was open for a time before it failed."""


def _matters(change: FindingChange) -> bool:
    return change.severity is not Severity.NOTE


def _same(change: FindingChange, lead: tuple[str, str | None]) -> bool:
    return (change.rule, (change.header or "").lower()) == (lead[0], (lead[1] or "").lower())


def _named(change: FindingChange) -> str:
    where = f" {stretch(change.segment)}" if change.segment and any(change.segment) else ""
    return f"{change.rule}{f' of {change.header}' if change.header else ''}{where}"


def _more(changes: Sequence[FindingChange]) -> str:
    return f" and {len(changes) - 3} more" if len(changes) > 3 else ""


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
