"""Rules on saved traces: what must fire, what must stay silent, and what no finding may ever claim.

`tests/rules/RULE/` holds a trace a file: `bad-*` makes that rule fire exactly as its `expect` says, `ok-*` is a near
miss that keeps it silent. `verdict` names the rule that leads the report, `case` tells what happened there.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from wsprobe.codec import decode
from wsprobe.diagnose import diagnose
from wsprobe.join import CLIENT
from wsprobe.model import Confidence, Finding, Report, Severity, Trace
from wsprobe.rules import load, names, text

CASES = Path(__file__).parent / "rules"
UNKNOWN = object()


@dataclass(frozen=True)
class Case:
    rule: str
    path: Path

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    @property
    def findings(self) -> list[Finding]:
        return [finding for finding in report(self.path).findings if finding.rule == self.rule]

    def __str__(self) -> str:
        return f"{self.rule}/{self.path.stem}"


@cache
def report(path: Path) -> Report:
    document = json.loads(path.read_text())
    trace = decode(document)
    assert isinstance(trace, Trace)
    return diagnose(trace, browser=document.get("browser", False))


def collected() -> list[Case]:
    """All cases; a rule without a bad and an ok one ends the collection, and so does a folder that is no rule's."""
    cases = []
    for rule in names():
        folder = CASES / rule.replace("-", "_")
        for kind in ("bad", "ok"):
            files = sorted(folder.glob(f"{kind}-*.json"))
            assert files, f"{rule} has no {kind}-*.json in {folder}"
            cases += [Case(rule, file) for file in files]
    known = {case.path for case in cases}
    stray = [file for file in CASES.rglob("*") if file.is_file() and file not in known]
    assert not stray, f"no rule's cases: {stray}"
    return cases


ALL = collected()
BAD = [case for case in ALL if case.path.stem.startswith("bad-")]
OK = [case for case in ALL if case.path.stem.startswith("ok-")]
each_case = pytest.mark.parametrize("case", ALL, ids=str)


@pytest.mark.parametrize("case", BAD, ids=str)
def test_a_bad_case_makes_its_rule_fire_as_expected(case: Case) -> None:
    found = [
        {
            "severity": finding.severity.value,
            "confidence": finding.confidence.value,
            "segment": None if finding.segment is None else list(finding.segment),
            "header": finding.header,
        }
        for finding in case.findings
    ]
    assert found == case.document["expect"], [finding.message for finding in case.findings]


@pytest.mark.parametrize("case", OK, ids=str)
def test_an_ok_case_keeps_its_rule_silent(case: Case) -> None:
    assert [finding.message for finding in case.findings] == []


@each_case
def test_the_report_leads_with_the_rule_that_the_case_names(case: Case) -> None:
    verdict = report(case.path).verdict
    expected = case.document.get("verdict", UNKNOWN)
    if expected is not UNKNOWN:
        assert (verdict and verdict.rule) == expected, verdict and verdict.message


# What no finding may claim, over every case, and over every case with less evidence.


def with_less(trace: Trace) -> Iterator[Trace]:
    """The trace itself, then without a hop, without its order, with a record cut before the end, by other recorders."""
    yield trace
    if len(trace.hops) > 1:
        yield replace(trace, order=None)
    for index, hop in enumerate(trace.hops):
        before, after = trace.hops[:index], trace.hops[index + 1 :]
        if before or after:
            yield replace(trace, hops=(*before, *after), order="by hand")
        yield replace(trace, hops=(*before, replace(hop, closes=(), ended=None), *after))
        if hop.name != CLIENT:
            for kind in ("mitmproxy", "origin", "relay"):
                yield replace(trace, hops=(*before, replace(hop, recorder=replace(hop.recorder, kind=kind)), *after))


@cache
def judged(case: Case) -> list[tuple[Trace, Finding]]:
    return [(trace, finding) for trace in with_less(report(case.path).trace) for finding in diagnose(trace).findings]


def named(finding: Finding) -> set[str]:
    return {name for name in finding.segment or () if name}


@each_case
def test_nobody_who_was_not_observed_is_accused(case: Case) -> None:
    for _, finding in judged(case):
        said = " ".join([finding.message, finding.fix or "", *finding.others, *finding.untested]).lower()
        assert not re.search(r"(load balancer|the proxy|nginx|envoy|caddy|haproxy) (has )?\w+ed ", said), said


@each_case
def test_what_is_not_proven_names_a_command_that_would_settle_it(case: Case) -> None:
    for _, finding in judged(case):
        assert finding.next or finding.confidence is Confidence.PROVEN, finding
        for command in finding.next:
            assert re.match(r"wsprobe \w+ |date -u ", command), command
            assert command.isprintable()


@each_case
def test_confidence_is_used_as_the_words_are_defined(case: Case) -> None:
    """Likely: every other explanation that is listed was ruled out, so none is. Possible: others are beside it."""
    for _, finding in judged(case):
        assert bool(finding.others) is (finding.confidence is Confidence.POSSIBLE), finding
        assert finding.untested or finding.confidence is not Confidence.LIKELY, finding


@each_case
def test_what_is_proven_was_seen_at_every_hop_that_it_names(case: Case) -> None:
    for _, finding in judged(case):
        assert finding.places, finding
        if finding.confidence is Confidence.PROVEN:
            assert named(finding) <= {place.hop for place in finding.places}, finding


@each_case
def test_a_finding_names_its_hops_and_they_are_in_the_trace(case: Case) -> None:
    for trace, finding in judged(case):
        hops = {hop.name for hop in trace.hops}
        assert named(finding) | {place.hop for place in finding.places} <= hops
        assert all(re.search(rf"\b{re.escape(name)}\b", finding.message) for name in named(finding)), finding


@each_case
def test_a_segment_is_a_stretch_of_the_path(case: Case) -> None:
    """Neighbouring hops, or a hop itself, or an end that was not observed; none across an unknown order."""
    for trace, finding in judged(case):
        outer, inner = finding.segment or (None, None)
        if outer and inner:
            order = [hop.name for hop in trace.hops if hop.request or hop.failure]
            assert order.index(inner) - order.index(outer) in {0, 1}
            assert trace.order is not None or outer == inner


@each_case
def test_the_end_of_a_record_that_stops_before_it_is_never_evidence(case: Case) -> None:
    """Whoever saw the end of the connection, a record without one says nothing of who ended it."""
    for trace, finding in judged(case):
        silent = {hop.name for hop in trace.hops if hop.ended is None}
        about_ends = finding.rule.startswith(("closed-", "close-", "idle-")) and finding.confidence is Confidence.PROVEN
        assert not (about_ends and named(finding) & silent), finding


@each_case
def test_sentences_are_short_and_whole(case: Case) -> None:
    for _, finding in judged(case):
        assert finding.message[0].isupper() or finding.message.startswith((*named(finding), "expect"))
        assert finding.message.endswith(".")
        assert ".." not in finding.message.replace("...", "")
        assert len(finding.message) <= 420, finding.message
        assert finding.fix, finding


# What a rule says of itself.


@pytest.mark.parametrize("rule", names())
def test_a_rule_explains_itself_with_a_bad_and_a_good_example(rule: str) -> None:
    doc = (load(rule).__doc__ or "").strip()
    first, _, rest = doc.partition("\n")
    assert first.endswith(".")
    assert len(first) <= 120
    assert not rest.partition("\n")[0].strip(), "the first sentence stands alone"
    blocks = re.search(r"(?ms)^Bad:\n((?:    .*\n)+)Good:\n((?:    .*(?:\n|\Z))+)\Z", doc)
    assert blocks, "it ends with an indented Bad and an indented Good block"
    assert text(rule).startswith(f"{rule}\n\n{first}")


@pytest.mark.parametrize("rule", names())
def test_explain_prints_a_rule(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    from wsprobe.cli import main

    assert main(["explain", rule]) == 0
    assert capsys.readouterr().out == f"{text(rule)}\n"


def test_a_rule_without_a_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("header-removed")
    load.cache_clear()
    monkeypatch.delattr(module, "check")
    with pytest.raises(TypeError, match="rule header-removed lacks check"):
        load("header-removed")


def test_every_severity_and_confidence_is_reached_by_some_case() -> None:
    findings = [finding for case in BAD for finding in case.findings]
    assert {finding.severity for finding in findings} == set(Severity)
    assert {finding.confidence for finding in findings} == set(Confidence)
