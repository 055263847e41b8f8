"""From a trace to a report: what leads, what is shown of each header, what was not observed, and many in numbers."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tests.observed import TRACE, asked, frame, hop
from wsprobe.codec import decode, encode
from wsprobe.diagnose import collect, diagnose
from wsprobe.durations import seconds
from wsprobe.headers import Kind, Value, diff, plain
from wsprobe.join import join
from wsprobe.model import Anomaly, Ending, Observation, Report, Row, Sender, Severity, State, Trace
from wsprobe.path import Path as Hops
from wsprobe.path import clock
from wsprobe.reports.json import document
from wsprobe.rules import rank
from wsprobe.wording import plain as printable

CASES = sorted((Path(__file__).parent / "rules").rglob("*.json"))
TOKEN = ("Authorization", "Bearer 4f0d7e2a9b61c83d5e7f0a1b2c3d4e5f")
DIED = (frame(Sender.SERVER, 1011), frame(Sender.CLIENT, 1011))
DONE = (frame(Sender.CLIENT, 1000), frame(Sender.SERVER, 1000))
P, A, ALTERED, UNCOMPARED, UNOBSERVED = State.PRESENT, State.ABSENT, State.ALTERED, State.UNCOMPARED, State.UNOBSERVED


def one(*hops: Observation) -> Report:
    [trace] = join(hops)
    return diagnose(trace)


def incident(closes: tuple[object, ...] = DIED) -> list[Observation]:
    return [
        hop("client", asked(TOKEN), took=0.04, closes=closes),  # type: ignore[arg-type]
        hop("edge", asked(TOKEN), took=0.03, closes=closes),  # type: ignore[arg-type]
        hop("app", asked(), took=0.004, closes=closes),  # type: ignore[arg-type]
    ]


def row(report: Report, name: str, message: str = "request") -> Row:
    [found] = [r for r in report.matrix if (r.message, r.name.lower()) == (message, name.lower())]
    return found


def states(report: Report, name: str, message: str = "request") -> list[State]:
    return [cell.state for cell in row(report, name, message).cells]


# What leads.


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_findings_are_in_order_of_weight_and_the_cause_before_its_effect(path: Path) -> None:
    trace = decode(json.loads(path.read_text()))
    assert isinstance(trace, Trace)
    report = diagnose(trace)
    weights = [([*Severity].index(finding.severity), rank(finding.rule)) for finding in report.findings]
    assert weights == sorted(weights)
    matter = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    assert report.verdict == (matter[0] if matter else None)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_same_trace_gives_the_same_report_byte_for_byte(path: Path) -> None:
    first, again = (decode(json.loads(path.read_text())) for _ in range(2))
    assert isinstance(first, Trace)
    assert isinstance(again, Trace)
    assert document(diagnose(first)) == document(diagnose(again))
    assert diagnose(first) == decode(json.loads(json.dumps(encode(diagnose(again)))))


def test_a_loss_on_the_way_leads_before_the_close_that_follows_from_it() -> None:
    report = one(*incident())
    assert [finding.rule for finding in report.findings] == ["header-removed", "closed-by-origin"]
    assert report.summary == "2 findings in 1.0 s, 1 connection, 1 address, with this token"


def test_skips_are_told_where_evidence_is_missing() -> None:
    alone = one(hop("client", asked(TOKEN), closes=DIED))
    lacks = {skip.rule: skip.lacks for skip in alone.skips}
    assert lacks["header-removed"] == "a second recorder: only client saw this request"
    unordered = diagnose(Trace(id=None, hops=tuple(incident()), order=None))
    lacks = {skip.rule: skip.lacks for skip in unordered.skips}
    assert lacks["header-removed"] == "the order of the hops: no handshake took clearly longer than another"
    killed = replace(incident()[2], closes=(), ended=None)
    lacks = {skip.rule: skip.lacks for skip in one(*incident()[:2], killed).skips}
    assert lacks["close-code-rewritten"] == "the end of the connection at app: its record stops before it"
    half = Anomaly(sender=Sender.CLIENT, kind="a request head that did not end", detail="", at=0.0)
    lacks = {skip.rule: skip.lacks for skip in one(*incident()[:2], replace(incident()[2], anomalies=(half,))).skips}
    assert lacks["header-removed"] == "the whole head: app saw only a part of it"


def test_a_healthy_connection_has_no_finding_and_says_how_far_that_reaches() -> None:
    report = one(
        *(hop(name, asked(TOKEN), took=took, closes=DONE) for name, took in (("client", 0.04), ("edge", 0.03)))
    )
    assert (report.verdict, report.findings) == (None, ())
    assert report.summary == "nothing wrong seen in 1.0 s, 1 connection, 1 address, with this token"


def test_what_went_wrong_without_a_rule_for_it_is_not_called_well() -> None:
    seen = replace(hop("client"), response=None, request=None, handshake=None, closes=())
    seen = replace(seen, handshake=hop("client", status=None).handshake)
    report = diagnose(Trace(id=None, hops=(seen,), order="one hop"))
    assert report.verdict is None
    assert report.summary.startswith("the connection did not go well (")


# Traffic that the probe did not make.


def test_the_traffic_of_others_is_judged_without_the_probe() -> None:
    report = one(*incident()[1:])
    assert report.verdict
    assert (report.verdict.rule, report.verdict.segment) == ("header-removed", ("edge", "app"))
    assert report.subject == "GET /ws at edge"
    assert "before edge: nothing was observed" in report.unobserved
    assert "1 address" not in report.summary
    assert all("wsprobe trace" not in command for command in report.next)


def test_what_was_not_observed_is_told() -> None:
    report = one(*incident())
    assert report.unobserved == (
        "between client and edge: nothing was observed",
        "between edge and app: nothing was observed",
        "beyond app: nothing was observed, the application itself included",
    )
    stand_in = one(hop("client", took=0.04), hop("app", kind="origin", took=0.01))
    assert stand_in.unobserved[-1] == "the application's own route: app is a stand-in and speaks for itself"


def test_retries_and_what_may_belong_elsewhere_are_told() -> None:
    tries = [hop("app", status=503, took=0.001, late=0.1), hop("app", took=0.001, late=0.2)]
    [trace] = join([hop("edge", took=0.5), *tries])
    told = diagnose(trace).unobserved
    assert "1 other try of this request at app, which failed; the one that can have been answered was judged" in told
    [trace] = join([hop("edge", took=0.5), replace(tries[0], response=tries[1].response), tries[1]])
    told = diagnose(trace).unobserved
    assert "what else app saw under the same ids: it may be of another request, and none was guessed" in told


def test_a_recorder_that_saw_nothing_of_it_is_told() -> None:
    traces = join([hop("edge", status=503), hop("app", asked(number=2))])
    report = diagnose(next(trace for trace in traces if trace.hops[0].name == "edge"))
    assert "app: it recorded other traffic and nothing of this request" in report.unobserved
    assert report.verdict
    assert "app recorded other traffic and no request with its ids" in report.verdict.message


# The commands that would settle it.


@pytest.mark.parametrize(
    ("subject", "word"),
    [
        ("wss://app.example.com/ws", "wss://app.example.com/ws"),
        ("ws://127.0.0.1:8080/a b;rm -rf ~", "'ws://127.0.0.1:8080/a b;rm -rf ~'"),
        ("ws://app.example.com/ws?access_token=[withheld 20 characters]", "URL"),
        ("wsprobe demo --fault none", "URL"),
        (None, "URL"),
    ],
)
def test_the_next_command_can_be_pasted(subject: str | None, word: str) -> None:
    report = diagnose(Trace(id=None, hops=(hop("client", closes=DIED),), order="one hop"), subject=subject)
    assert report.next[-1] == f"wsprobe trace {word} --records app.jsonl   # beside the options of this run"
    assert shlex.split(report.next[-1], comments=True)[:2] == ["wsprobe", "trace"]


def test_the_name_of_a_stranger_cannot_leave_its_comment() -> None:
    report = diagnose(Trace(id=None, hops=(hop("edge\nrm -rf ~", closes=DIED),), order="one hop"))
    assert all(command.isprintable() for command in report.next)
    assert printable("a\nb\x1b\u202e") == "a?b??"


def test_a_recorder_is_not_named_as_one_that_is_there() -> None:
    hops = [hop("client", took=0.04, closes=DIED), hop("app", took=0.01, closes=DIED)]
    assert one(*hops).next[0].startswith("wsprobe record backend ")


# The matrix.


def test_the_state_of_a_header_at_each_hop() -> None:
    report = one(*incident())
    assert states(report, "Authorization") == [P, P, A]
    assert row(report, "Authorization").note is None
    assert states(report, "Sec-WebSocket-Key") == [P, P, P]


def test_a_secret_that_nothing_compares_is_present_and_not_compared() -> None:
    hops = [hop(n, asked(("X-Api-Key", "hunter2")), took=t) for n, t in (("client", 0.04), ("edge", 0.03))]
    assert states(one(*hops), "X-Api-Key") == [P, UNCOMPARED]


def test_a_replaced_secret_is_altered() -> None:
    other = ("Authorization", "Bearer 5a1e8f3b0c72d94e6f8a1b2c3d4e5f60")
    hops = [hop("client", asked(TOKEN), took=0.04), hop("edge", asked(other), took=0.03)]
    assert states(one(*hops), "Authorization") == [P, ALTERED]


def test_a_hop_without_a_response_is_not_observed() -> None:
    hops = [hop("client", status=504, took=0.04, answer=(("Server", "lb"),)), hop("app", status=None)]
    assert states(one(*hops), "Server", "response") == [P, UNOBSERVED]


def test_a_response_is_compared_from_the_inside_out() -> None:
    hops = [
        hop("client", took=0.04, answer=(("Server", "nginx"), ("Via", "1.1 lb"))),
        hop("app", took=0.01, answer=(("Server", "uvicorn"), ("X-Pod", "7"))),
    ]
    report = one(*hops)
    assert states(report, "Server", "response") == [ALTERED, P]
    assert states(report, "Via", "response") == [P, A]
    assert states(report, "X-Pod", "response") == [A, P]
    assert row(report, "Server", "response").note == "each server writes its own"


def test_a_change_that_a_proxy_may_make_says_why() -> None:
    more = (("X-Dup", "one"), ("X-Dup", "two"), ("X-Forwarded-For", "10.0.0.1"))
    hops = [
        hop("client", asked(*more), took=0.04),
        hop("edge", asked(("X-Dup", "one, two"), ("X-Forwarded-For", "192.0.2.7"), host="backend"), took=0.03),
    ]
    report = one(*hops)
    assert (states(report, "X-Dup"), row(report, "X-Dup").note) == (
        [P, ALTERED],
        "lines of one header may be joined (RFC 9110, 5.3)",
    )
    assert row(report, "X-Forwarded-For").note == "proxies write where a request came from"
    assert "it matters where the Origin is checked" in (row(report, "Host").note or "")


def test_one_change_that_nobody_may_make_leaves_no_reason() -> None:
    hops = [
        hop("client", took=0.04),
        hop("edge", asked(("X-Pod", "7")), took=0.03),
        hop("app", took=0.01),
    ]
    report = one(*hops)
    assert (states(report, "X-Pod"), row(report, "X-Pod").note) == ([A, P, A], None)


def test_in_an_unknown_order_a_difference_has_no_direction() -> None:
    hops = (hop("east", asked(("X-Pod", "7"))), hop("west", asked(("X-Pod", "8"))))
    report = diagnose(Trace(id=None, hops=hops, order=None))
    assert states(report, "X-Pod") == [P, UNCOMPARED]
    assert states(report, "Host") == [P, P]


def test_what_differs_comes_first() -> None:
    report = one(*incident())
    assert report.matrix[0].name == "Authorization"
    requests = [r.message for r in report.matrix]
    assert requests == sorted(requests)


def test_a_value_that_was_withheld_at_one_hop_only_is_not_called_altered() -> None:
    """It repeated a credential there. With another length, or other text beside it, it is altered."""
    cookie = ("Cookie", "home=app.example.com")
    [outer, inner] = [
        asked(cookie, ("Origin", "https://app.example.com")),
        asked(("Origin", "https://app.example.com")),
    ]
    report = one(hop("client", outer, took=0.04), hop("edge", inner, took=0.03))
    assert states(report, "Origin") == [P, UNCOMPARED]
    inner = asked(("Origin", "https://app.example.org.evil"))
    report = one(hop("client", outer, took=0.04), hop("edge", inner, took=0.03))
    assert states(report, "Origin") == [P, ALTERED]


def test_a_hostile_redaction_is_bounded() -> None:
    """A records file may say that nothing was shown, or that a secret had more octets than any head."""
    seen = hop("client", asked(TOKEN), took=0.04)
    for change in ({"shown": ""}, {"length": 10**15}, {"shown": "e", "length": 10**9}):
        bad = replace(seen, redactions=tuple(replace(r, **change) for r in seen.redactions * 100))
        report = one(bad, hop("edge", asked(("Authorization", "Bearer")), took=0.03))
        assert len(row(report, "Authorization").cells) == 2


def test_a_diff_of_nothing_is_empty() -> None:
    assert diff(plain([]), plain([])) == []
    assert [edit.kind for edit in diff(plain([("A", "1")]), {"a": ("A", [Value("1")])})] == [Kind.SAME]


# Times and words.


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0005, "0.5 ms"),
        (0.0421, "42.1 ms"),
        (0.9996, "1.0 s"),
        (59.96, "60.0 s"),
        (301.0, "5.02 min"),
        (7300, "2.03 hours"),
        (3 * 86400.0, "3 days"),
    ],
)
def test_durations_for_people(value: float, words: str) -> None:
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("at", "expected"), [("2026-03-02T10:15:04Z", 1772446504.0), ("2026-03-02T10:15:04", 1772446504.0), ("soon", None)]
)
def test_the_clock_of_a_hop_is_read_as_utc_or_not_at_all(at: str, expected: float | None) -> None:
    assert clock(replace(hop("client"), at=at)) == expected


def test_a_time_that_is_none_ends_no_diagnosis() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4tMDEyMzQ1Njc4OQ"
    seen = replace(hop("client", asked(("Authorization", f"Bearer {token}"))), at="soon")
    assert "token-expired" not in {finding.rule for finding in one(seen).findings}


# Health.


@pytest.mark.parametrize(
    ("closes", "healthy"),
    [
        ((), True),
        (DONE, True),
        ((frame(Sender.SERVER, 1001),), True),
        ((frame(Sender.SERVER, 1011),), False),
        ((frame(Sender.CLIENT, 1002),), False),
        ((replace(frame(Sender.SERVER, 1000), ending=Ending.EOF, code=None),), False),
        ((replace(frame(Sender.CLIENT, 1000), ending=Ending.RESET, code=None),), True),  # the client left
        ((replace(frame(Sender.LOCAL, 1000), ending=Ending.TIMEOUT, code=None),), True),
    ],
)
def test_what_is_healthy(closes: tuple[object, ...], healthy: bool) -> None:  # noqa: FBT001  a column of the table
    seen = hop("edge", closes=closes)  # type: ignore[arg-type]
    assert Hops(Trace(id=None, hops=(seen,), order="one hop")).healthy is healthy


# Many connections.


def probed(number: int, upgrade: float, *, closes: tuple[object, ...] = DONE) -> Report:
    seen = hop("client", asked(number=number), closes=closes)  # type: ignore[arg-type]
    return diagnose(Trace(id=TRACE, hops=(replace(seen, phases={"tcp": 0.001, "upgrade": upgrade}),), order="one hop"))


def test_many_connections_in_numbers_problems_first() -> None:
    reports = [probed(n, n / 1000) for n in range(1, 100)] + [probed(100, 0.1, closes=DIED)]
    found = collect(reports)
    assert (found.summary.connections, found.summary.healthy) == (100, 99)
    assert found.reports[0] is reports[-1]
    assert found.reports[1:] == tuple(reports[:-1])
    spread = found.summary.phases["upgrade"]
    assert (spread.p50, spread.p95, spread.p99) == (0.05, 0.095, 0.099)  # each one was measured
    assert found.summary.phases["tcp"].p99 == 0.001


def test_one_connection_is_its_own_spread() -> None:
    spread = collect([probed(1, 0.02)]).summary.phases["upgrade"]
    assert (spread.p50, spread.p95, spread.p99) == (0.02, 0.02, 0.02)


def test_a_warning_comes_before_health_and_after_an_error_and_is_not_counted_as_healthy() -> None:
    away = (frame(Sender.SERVER, 1001), frame(Sender.CLIENT, 1001))
    well, warned, wrong = probed(1, 0.01), probed(2, 0.01, closes=away), probed(3, 0.01, closes=DIED)
    found = collect([well, warned, wrong])
    assert found.reports == (wrong, warned, well)
    assert found.summary.healthy == 1


def test_nothing_is_a_summary_too() -> None:
    found = collect([])
    assert (found.summary.connections, found.summary.phases) == (0, {})
