"""What is told of two sides beside the verdict: nodes, credentials, who recorded, and what was withheld. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from wsprobe.comparison import HeaderChange
from wsprobe.diff.alike import credentials, queries
from wsprobe.diff.changes import met
from wsprobe.diff.sides import Group
from wsprobe.model import Replaced

_TIME = re.compile(r" after [\d.]+ m?s\b")
"""What of a control's result is another one each time."""

_Urls = tuple[tuple[str, ...], tuple[str, ...]]


def some(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def notes(before: Group, after: Group, urls: _Urls, headers: Sequence[HeaderChange]) -> Iterator[str]:
    """All that is told beside the verdict."""
    yield from _nodes(before, after)
    yield from (one.said for one in credentials(before, after))
    yield from _asked(before, urls, headers)
    yield from _parameters(before, after)
    yield from _controls(before, after)
    for name, one, other in (("before", before, after), ("after", after, before)):
        if alone := [hop for hop in one.hops if hop not in other.recorders]:
            yield f"recorded {name} alone: {', '.join(alone)}"
    versions = [sorted({one.report.version for one in each.ones}) for each in (before, after)]
    if versions[0] != versions[1]:
        yield f"judged by wsprobe {some(versions[0])} before and {some(versions[1])} after"
    traces = [{one.report.trace.id for one in each.ones} - {None} for each in (before, after)]
    if traces[0] & traces[1]:
        yield "both sides hold the same trace"
    if max(one.hop.at for one in after.ones) < min(one.hop.at for one in before.ones):
        yield "what is called after was recorded before the other: are they swapped?"


def _nodes(before: Group, after: Group) -> Iterator[str]:
    """Whether the same nodes were met."""
    for each in met(before, after):
        if not each.before and not each.after:
            yield f"the same {each.by}: {some(each.both)}"
        elif not each.both:
            yield f"other {each.by}: {some(each.before) or 'none'} before, {some(each.after) or 'none'} after"
        else:
            told = [("before", each.before), ("after", each.after)]
            alone = "; ".join(f"{name} alone {some(names)}" for name, names in told if names)
            yield f"{each.by}: {some(each.both)} on both sides; {alone}"
    if len(after.ones) > 1 and after.nodes and all(len(names) == 1 for names in after.nodes.values()):
        yield (
            "one node met after, as far as addresses, answers and certificates tell: if an affinity pins the tries to "
            "it, a fault of another node would not show"
        )


def _asked(before: Group, urls: _Urls, headers: Sequence[HeaderChange]) -> Iterator[str]:
    """In what the requests of both sides differ."""
    one, other = map(set, urls)
    for name, alone in (("before", one - other), ("after", other - one)):
        if alone and one & other:
            yield f"{name} alone: {some(sorted(alone))}"
    if not one or not other:
        yield "the URLs are not compared: not told on both sides"
    sent = [each.name for each in headers if (each.message, each.hop) == ("request", before.hops[0])]
    if sent:
        yield f"not the same request at {before.hops[0]}: {some(list(dict.fromkeys(sent)))}"


def _parameters(before: Group, after: Group) -> Iterator[str]:
    one, other = queries(before), queries(after)
    if one != other:
        told = [
            f"{some(sorted(alone)) or 'nothing of its own'} {name}"
            for name, alone in (("before", one - other), ("after", other - one))
        ]
        yield f"not the same query: {', '.join(told)}"


def _controls(before: Group, after: Group) -> Iterator[str]:
    """The controls that were made on both sides and came out otherwise."""
    one, other = _results(before), _results(after)
    for name in sorted(one.keys() & other.keys()):
        if one[name] != other[name]:
            yield f"control {name}: {some(sorted(one[name]))} before, {some(sorted(other[name]))} after"


def _results(side: Group) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in side.ones:
        for control in each.report.controls:
            found.setdefault(control.name, set()).add(_TIME.sub("", control.result))
    return found


def manifest(before: Group, after: Group) -> tuple[Replaced, ...]:
    """What was withheld on both sides, where, and how often."""
    found: Counter[tuple[str, str]] = Counter()
    for name, each in (("before", before), ("after", after)):
        for one in each.ones:
            for replaced in one.report.redactions:
                found[replaced.what, f"{name}: {replaced.where}"] += replaced.times
    return tuple(Replaced(what=what, where=where, times=times) for (what, where), times in found.items())
