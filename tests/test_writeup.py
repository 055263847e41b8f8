"""The write-up: a chain no surer than its findings, fixes by who can apply them, and commands that work."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mitm import IGNORED
from tests.reports.samples import CLIENT_ONLY, HEALTHY, INCIDENT, LOST
from tests.test_rules import BAD
from tests.test_rules import report as report_of
from tests.tracing import run
from wsprobe import mending
from wsprobe.codec import decode, encode
from wsprobe.diagnose import diagnose
from wsprobe.model import (
    Confidence,
    Failure,
    Finding,
    Line,
    Message,
    Remedy,
    Report,
    Severity,
    Trial,
    Verification,
    Who,
    WriteUp,
)
from wsprobe.reports import markdown, terminal
from wsprobe.rules import config, names
from wsprobe.writeup import _DIRECT, _PREVENTED_BY, _WHO, with_write_up

pytestmark = [pytest.mark.filterwarnings(ignored) for ignored in IGNORED]

BYPASSES = re.compile(
    r"satisfy any|auth_basic off|allow_missing|without (?:a )?(?:token|credentials?) |disable|verify off|-k\b",
    re.IGNORECASE,
)


def written(report: Report) -> WriteUp:
    found = with_write_up(report).writeup
    assert found
    return found


def predicted(text: str, path: str = "nginx.conf", finding: Finding = LOST) -> Report:
    """The incident with the line of a config that predicts it, as `meet` names it."""
    line = Line(path=path, line=42, text=text)
    found = replace(finding, lines=(line,), message=f"{finding.message} {path}:42 `{text}` predicts it.")
    return replace(INCIDENT, verdict=found, findings=(found, *INCIDENT.findings[1:]))


def test_the_chain_goes_from_the_symptom_to_the_root_and_is_as_sure_as_its_findings() -> None:
    found = written(predicted('proxy_set_header Authorization "";'))
    symptom, closed, lost, line = found.chain
    assert symptom.what == "Seen at client: received 1011 (internal error); then sent 1011."
    assert (symptom.confidence, symptom.leads, symptom.places[0].hop) == (Confidence.PROVEN, None, "client")
    assert (closed.rule, closed.leads) == ("closed-by-origin", INCIDENT.findings[1].confidence)
    assert (lost.rule, lost.confidence, lost.leads) == ("header-removed", Confidence.PROVEN, Confidence.POSSIBLE)
    assert lost.places == LOST.places
    assert "nginx.conf" not in lost.what, "the line is a link of its own"
    assert (line.confidence, line.lines[0].line) == (Confidence.POSSIBLE, 42)
    assert "not observed" in (line.because or "")


def test_that_a_lost_header_is_the_cause_is_proven_only_where_the_application_says_so() -> None:
    origin = replace(
        INCIDENT.trace.hops[-1],
        recorder=replace(INCIDENT.trace.hops[-1].recorder, kind="origin"),
        verification=Verification(carrier="header", valid=False, reason="no token in header Authorization"),
    )
    told = replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(*INCIDENT.trace.hops[:2], origin)))
    assert written(told).chain[-1].leads is Confidence.PROVEN
    assert "no token" in (written(told).chain[-1].because or "")
    well = Trial(name="the same upgrade straight to the origin", hops=HEALTHY.trace.hops[:1])
    beside = replace(INCIDENT, trace=replace(INCIDENT.trace, trials=(well,)))
    assert written(beside).chain[-1].leads is Confidence.LIKELY


def ending(reason: str = "", answer: str | None = None) -> Report:
    """The incident with another end at the innermost hop: a close frame's reason, or another answer all the way."""
    hops = INCIDENT.trace.hops
    if answer:
        hops = tuple(replace(hop, response=Message(start_line=answer, headers=()), closes=()) for hop in hops)
    else:
        close = replace(hops[-1].closes[0], reason=reason)
        hops = (*hops[:-1], replace(hops[-1], closes=(close, *hops[-1].closes[1:])))
    return replace(INCIDENT, trace=replace(INCIDENT.trace, hops=hops))


@pytest.mark.parametrize(
    ("reason", "leads"),
    [
        ("no token in header Authorization", Confidence.LIKELY),
        ("Missing authorization header", Confidence.LIKELY),
        ("invalid JWT", Confidence.LIKELY),
        ("authorization backend timed out", Confidence.POSSIBLE),
        ("no database", Confidence.POSSIBLE),
        ("", Confidence.POSSIBLE),
    ],
)
def test_a_reason_that_names_the_fault_makes_it_likely(reason: str, leads: Confidence) -> None:
    found = written(ending(reason))
    link = found.chain[-1]
    assert link.leads is leads
    told = f"says so: {reason}" if leads is Confidence.LIKELY else "neither an answer nor a close code tells why"
    assert told in (link.because or "")


def test_the_evidence_of_a_failure_is_the_failure() -> None:
    failure = Failure(phase="tls", kind="timed out", message="no answer within 3 s")
    hop = replace(INCIDENT.trace.hops[0], response=None, failure=failure)  # the recorder closed it then
    report = replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(hop,)), endings=("client: tls: no answer",))
    assert written(report).chain[0].places[0].part == "failure"


def test_an_answer_of_401_makes_it_likely_and_is_not_asked_for_again() -> None:
    found = written(ending(answer="HTTP/1.1 401 Unauthorized"))
    assert found.chain[-1].leads is Confidence.LIKELY
    assert "401" in (found.chain[-1].because or "")
    assert Who.APPLICATION not in [one.who for one in found.fixes]
    assert Who.APPLICATION in [one.who for one in written(ending(answer="HTTP/1.1 500 Oops")).fixes]


@pytest.mark.parametrize(
    ("segment", "answer", "who"),
    [
        (("edge", "inner"), "HTTP/1.1 500 Oops", Who.CONFIG),
        (("inner", None), "HTTP/1.1 500 Oops", Who.APPLICATION),
        (("inner", None), "HTTP/1.1 502 Bad Gateway", Who.CONFIG),
        (("inner", "inner"), "HTTP/1.1 403 Forbidden", Who.APPLICATION),
    ],
)
def test_what_happened_between_two_hops_is_no_matter_of_the_application(
    segment: tuple[str, str | None], answer: str, who: Who
) -> None:
    refused = replace(LOST, rule="upgrade-refused", header=None, segment=segment, fix="Look there.")
    report = replace(ending(answer=answer), verdict=refused, findings=(refused,))
    assert [one.who for one in written(report).fixes] == [who]


def test_where_only_the_client_saw_it_the_chain_ends_at_what_is_possible() -> None:
    found = written(CLIENT_ONLY)
    assert [link.rule for link in found.chain] == [None, "closed-by-origin"]
    assert found.proven.startswith("Of what lies behind the symptom nothing is proven.")
    assert "The chain ends at what is possible: closed-by-origin beyond client." in found.proven
    assert found.prevent == ()


def test_without_a_verdict_there_is_no_write_up() -> None:
    assert with_write_up(replace(HEALTHY, writeup=INCIDENT.writeup)).writeup is None
    assert "Why it happened" not in markdown.render(HEALTHY)


def test_fixes_come_in_the_order_of_who_can_apply_them() -> None:
    found = written(predicted('proxy_set_header Authorization "";')).fixes
    assert [one.who for one in found] == [Who.CONFIG, Who.APPLICATION, Who.CLIENT]
    assert (found[0].line, found[0].instead) == (
        Line(path="nginx.conf", line=42, text='proxy_set_header Authorization "";'),
        "",
    )
    without = written(INCIDENT).fixes
    assert without[0] == Remedy(who=Who.CONFIG, what=LOST.fix or "")


ALTERED = replace(LOST, rule="header-altered")
HOST = replace(LOST, rule="host-rewritten", header="Host")
CONNECTION = replace(LOST, rule="upgrade-dropped", header="Connection")
IDLE = replace(LOST, rule="idle-timeout", header=None)


@pytest.mark.parametrize(
    ("text", "finding", "instead"),
    [
        ('proxy_set_header Authorization "";', LOST, ""),
        ("proxy_set_header authorization ''; # not for them", LOST, ""),
        ('proxy_set_header Authorization "Basic [withheld 12 characters]";', ALTERED, ""),
        ("http-request del-header Authorization", LOST, ""),
        ("http-request del-header authorization if is_ws", LOST, ""),
        ("header_up -Authorization", LOST, ""),
        ("request_header -Authorization", LOST, ""),
        ("RequestHeader unset Authorization", LOST, ""),
        ("request_headers_to_remove: [authorization]", LOST, ""),
        ("- authorization", LOST, ""),
        ("proxy_pass_request_headers off;", LOST, "proxy_pass_request_headers on;"),
        ("forward: false", LOST, "forward: true"),
        ("removeHeader: true", LOST, "removeHeader: false"),
        ("proxy_set_header Host app;", HOST, "proxy_set_header Host $http_host;"),
        ("ProxyPreserveHost Off", HOST, "ProxyPreserveHost On"),
        ("header_up Host {upstream_hostport}", HOST, "header_up Host {http.request.hostport}"),  # host has no port
        ('proxy_set_header Connection "";', CONNECTION, 'proxy_set_header Connection "upgrade";'),
        ("proxy_read_timeout 2s;", IDLE, "proxy_read_timeout 1h;"),
        ("timeout tunnel 2s", IDLE, "timeout tunnel 1h"),
        ("stream_idle_timeout: 2s", IDLE, "stream_idle_timeout: 3600s"),
        ("Timeout 2", IDLE, "Timeout 3600"),
        # What says more than one thing, or checks who somebody is, is not taken out.
        ('location /ws { proxy_set_header Authorization ""; proxy_pass http://app; }', LOST, None),
        ("request_headers_to_remove: [authorization, x-internal]", LOST, None),
        ('middlewares: {edit: {headers: {customRequestHeaders: {Authorization: ""}}}}', LOST, None),
        ("auth_basic realm;", LOST, None),
        ("- name: envoy.filters.http.jwt_authn", LOST, None),
        ("proxy_set_header Authorization-Old x;", LOST, None),
        ("timeout client 2s", IDLE, None),
        ("route: {cluster: app, idle_timeout: 2s}", IDLE, None),
        ("x" * 5000, LOST, None),
    ],
)
def test_the_exact_change_is_given_where_the_line_says_one_thing(
    text: str, finding: Finding, instead: str | None
) -> None:
    (found,) = mending.remedies(predicted(text, finding=finding).findings[0])
    assert (found.who, found.instead) == (Who.CONFIG, instead)
    assert "Keep the check" in found.what or "auth_basic" not in text


def every_fix() -> Iterator[str]:
    for rule in names():
        for header in ("Authorization", "Host", None):
            finding = replace(LOST, rule=rule, header=header)
            report = replace(INCIDENT, verdict=finding, findings=(finding,))
            yield from (one.what for one in written(report).fixes)
            lined = predicted("auth_basic realm;", finding=finding)
            yield from (one.what for one in written(lined).fixes)


def test_no_fix_goes_around_authentication() -> None:
    assert [fix for fix in every_fix() if BYPASSES.search(fix)] == []
    told = {finding.fix for case in BAD for finding in report_of(case.path).findings if finding.fix}
    assert len(told) > 20
    told |= {config.text(name) for name in config.names()}
    assert [fix for fix in told if BYPASSES.search(fix)] == []


def test_the_tables_name_rules_that_there_are() -> None:
    assert set(_WHO) | set(_PREVENTED_BY) | _DIRECT <= set(names())
    assert {one for rules in _PREVENTED_BY.values() for one in rules} <= set(config.names())


@pytest.mark.parametrize("rule", names())
def test_each_rule_has_a_write_up_in_every_format(rule: str) -> None:
    finding = replace(LOST, rule=rule, header=None, severity=Severity.ERROR)
    report = with_write_up(replace(INCIDENT, verdict=finding, findings=(finding,)))
    assert decode(json.loads(json.dumps(encode(report)))) == report
    assert "**Why it happened**" in markdown.render(report)
    assert "\nwhy " in terminal.render(report)


def test_the_commands_are_those_of_the_command_line(tmp_path: Path) -> None:
    text = 'server {\n location /ws {\n  proxy_pass http://app;\n  proxy_http_version 1.1;\n  proxy_set_header Upgrade $http_upgrade;\n  proxy_set_header Connection "upgrade";\n  proxy_set_header Authorization "";\n }\n}\n'
    file = tmp_path / "it's nginx.conf"
    file.write_text(text)
    found = written(predicted('proxy_set_header Authorization "";', path=str(file)))
    asked, compared = found.verify
    assert shlex.split(asked, comments=True)[:3] == ["wsprobe", "trace", "wss://staging.example.com/ws?room=7"]
    assert shlex.split(compared, comments=True) == ["wsprobe", "diff", "before.json", "after.json"]
    (inspected,) = found.prevent
    words = shlex.split(inspected, comments=True)
    ran = run(*words[1:], "--format", "json")
    assert ran.status == 1
    assert "credential-removed" in {one["rule"] for one in ran.report["findings"]}
    file.write_text(text.replace('proxy_set_header Authorization "";', ""))
    assert run(*words[1:]).status == 0


def test_the_demo_tells_why_and_what_to_do_in_every_format() -> None:
    ran = run("demo", "--format", "json")
    told = ran.report["writeup"]
    assert [link.get("rule") for link in told["chain"]] == [None, "closed-by-origin", "header-removed"]
    assert told["fixes"][0]["who"] == "config"
    assert told["verify"][0].partition("   # ")[0] == "wsprobe demo --fault none -o after.json"
    assert told["prevent"][0].startswith("wsprobe inspect CONFIGS --select credential-removed,")
    report = decode(json.loads(ran.out))
    assert isinstance(report, Report)
    assert diagnose(report.trace, subject=report.subject).writeup == report.writeup
    shown = markdown.render(report)
    assert shown.index("header-removed") < shown.index("| hop |") < shown.index("```mermaid") < shown.index("**Why it")
