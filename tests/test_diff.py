"""`wsprobe diff`: what is gone, new or still there, and a verdict that says no more than was seen."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rich.cells import cell_len

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.browser import Browser, executable
from tests.mitm import IGNORED
from tests.reports.samples import CLIENT_ONLY, HEALTHY, INCIDENT, SEVERAL, hop, rows
from tests.test_reports import HOSTILE, SGR, assert_inert, poisoned, unprintable
from tests.test_schema import schema
from tests.tracing import Ran, command, refused, run
from wsprobe.codec import decode, encode
from wsprobe.comparison import Comparison, Outcome
from wsprobe.diff import STATUS, compare
from wsprobe.groups import exact
from wsprobe.model import Close, Control, Ending, Observation, Report, Reports, Sender
from wsprobe.reports.comparison import formats, terminal
from wsprobe.reports.markdown import LONGEST
from wsprobe.stats import median, shift

pytestmark = [pytest.mark.filterwarnings(ignored) for ignored in IGNORED]


def saved(folder: Path, name: str, record: Report | Reports) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(encode(record)))
    return str(path)


def diffed(before: object, after: object, *words: str) -> Ran:
    return run("diff", str(before), str(after), "--format", "json", *words)


def line(ran: Ran) -> str:
    told: str = ran.report["line"]
    return told


# The demo, through the command line.


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    for name, fault in (("before", "strip-authorization"), ("after", "none"), ("other", "drop-subprotocol")):
        assert run("demo", "--fault", fault, "-o", str(folder / f"{name}.json")).status == 0
    return folder


def test_the_demo_with_and_without_its_fault_prints_the_fixed_line(demo: Path) -> None:
    files = str(demo / "before.json"), str(demo / "after.json")
    expected = (
        "fixed as far as seen: Authorization now reaches app; 1 of 1 connection stays open, before 0 of 1; a failure "
        "rate below 95 % would not have shown"
    )
    ran = diffed(*files)
    assert (ran.status, line(ran), ran.err) == (0, expected, "")
    Draft202012Validator(schema("wsprobe.diff/1")).validate(ran.report)
    assert next((one["fate"], one["rule"]) for one in ran.report["findings"]) == ("gone", "header-removed")
    assert [(one["name"], one["hop"]) for one in ran.report["headers"]] == [("Authorization", "app")]
    assert ran.report["uncompared"] == ["Authorization at client (request)", "Authorization at edge (request)"]
    assert "WSPROBE_FINGERPRINT_KEY makes them comparable" in " ".join(ran.report["notes"])
    for form in ("terminal", "markdown"):
        shown = " ".join(run("diff", *files, "--format", form).out.split())
        assert expected in shown
        assert "✓ gone" in shown
    assert diffed(*files).out == ran.out


def test_the_other_way_round_it_is_worse(demo: Path) -> None:
    ran = diffed(demo / "after.json", demo / "before.json")
    assert ran.status == 1
    assert line(ran).startswith("worse: nothing was wrong before; now ")
    assert "header-removed of Authorization between edge and app" in line(ran)
    assert "are they swapped?" in " ".join(ran.report["notes"])


def test_a_connection_that_is_open_and_not_well_is_not_said_to_be_closed(demo: Path) -> None:
    told = line(diffed(demo / "after.json", demo / "other.json"))
    assert "subprotocol-dropped" in told
    assert "0 of 1 connection goes well, before 1 of 1" in told


def test_another_query_and_another_result_of_a_control_are_told() -> None:
    def asked(report: Report, query: str, *results: str) -> Report:
        hop = report.trace.hops[0]
        assert hop.request
        request = replace(hop.request, start_line=f"GET /ws?{query} HTTP/1.1")
        trace = replace(report.trace, hops=(replace(hop, request=request), *report.trace.hops[1:]))
        controls = tuple(Control(name=f"control {n}", result=result) for n, result in enumerate(results))
        return replace(report, trace=trace, controls=controls)

    before = asked(INCIDENT, "ticket=[withheld 40 characters]&room=7&v=2", "403", "101, then ended after 1.2 ms")
    after = asked(INCIDENT, "ticket=[withheld 41 characters]&room=8&v=2", "200", "101, then ended after 17 ms")
    notes = compare([before], [after]).notes
    assert "not the same query: room=7 before, room=8 after" in notes
    assert [note for note in notes if note.startswith("control")] == ["control control 0: 403 before, 200 after"]
    assert not [note for note in compare([before], [before]).notes if note.startswith(("control", "not the same q"))]


def test_the_same_twice_is_not_fixed_or_nothing(demo: Path) -> None:
    ran = diffed(demo / "before.json", demo / "before.json")
    assert (ran.status, ran.report["outcome"]) == (1, "not fixed")
    assert "both sides hold the same trace" in ran.report["notes"]
    ran = diffed(demo / "after.json", demo / "after.json")
    assert (ran.status, ran.report["outcome"]) == (0, "nothing was wrong before, and nothing is now")


def test_another_fault_is_something_else(demo: Path) -> None:
    ran = diffed(demo / "before.json", demo / "other.json")
    assert ran.status == 1
    assert line(ran).startswith("something else is wrong now: Authorization now reaches app; now subprotocol-dropped")


def test_files_are_written_and_a_comparison_is_no_report(demo: Path, tmp_path: Path) -> None:
    files = str(demo / "before.json"), str(demo / "after.json")
    outputs = [tmp_path / f"diff{formats()[name].SUFFIXES[0]}" for name in formats()]
    words = [word for path in outputs for word in ("-o", str(path))]
    assert run("diff", *files, *words).status == 0
    assert all("Authorization now reaches app" in path.read_text() for path in outputs)
    refused(run("report", str(tmp_path / "diff.json")), "a comparison")
    refused(run("diff", str(tmp_path / "diff.json"), files[1]), "a comparison")
    refused(run("diff", *files, "-o", str(tmp_path / "x.zip")), "names no format")


def test_a_trace_and_a_folder_are_taken_too(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "incident"
    assert run("report", str(demo / "before.json"), "-o", str(folder)).status == 1
    assert "Authorization now reaches app" in line(diffed(folder, demo / "after.json"))
    assert "Authorization now reaches app" in line(diffed(folder / "trace.json", demo / "after.json"))


# Repeats, from real servers.


def node(name: str, *, fails: Callable[[int], bool]) -> Callable[[Exchange], None]:
    """A node that names itself and drops the connections for which `fails` says so."""
    numbers = iter(range(1000))

    def answer(exchange: Exchange) -> None:
        head = backend.switching(exchange.request).replace(b"\r\n\r\n", f"\r\nX-Served-By: {name}\r\n\r\n".encode())
        exchange.send(head + wire.close(1011) if fails(next(numbers)) else head)
        list(exchange.frames())

    return answer


@contextlib.contextmanager
def serving(*fails: Callable[[int], bool]) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Backend(node(f"node-{at}", fails=each))).port for at, each in enumerate(fails)]


def repeated(folder: Path, name: str, port: int, times: int, *words: str) -> str:
    path = folder / f"{name}.json"
    options = ["--repeat", str(times), "--hold", "0.05", "--controls", "never", *words, "-o", str(path)]
    run("trace", f"ws://127.0.0.1:{port}/ws", *options)
    return str(path)


def test_repeats_that_failed_and_do_not_any_more(tmp_path: Path) -> None:
    with serving(lambda _: True, lambda _: False) as (bad, good):
        before, after = repeated(tmp_path, "before", bad, 20), repeated(tmp_path, "after", good, 20)
    ran = diffed(before, after)
    assert ran.status == 0
    assert line(ran).startswith("fixed as far as seen: no closed-by-origin beyond client any more; ")
    assert "20 of 20 connections stay open, before 0 of 20; a failure rate below 14 % would not have shown" in line(ran)
    assert "none of the nodes that failed before was met again (header x-served-by)" in line(ran)
    assert "chance" not in line(ran), "it never went well before"
    rates = {rate["result"]: rate for rate in ran.report["rates"]}
    assert rates["closed with 1011 (internal error)"]["before"] == 20
    assert rates["went well"]["chance"] < 1e-9
    assert all(time["low"] <= time["shift"] <= time["high"] for time in ran.report["timings"])
    assert {one["by"] for one in ran.report["nodes"]} >= {"address", "header x-served-by"}
    assert "other header x-served-by: node-0 before, node-1 after" in ran.report["notes"]


def test_what_failed_seldom_is_not_shown_to_be_fixed_by_few_tries(tmp_path: Path) -> None:
    with serving(lambda number: number % 5 == 0) as (port,):
        before = repeated(tmp_path, "before", port, 10)
    with serving(lambda _: False) as (port,):
        few, many = repeated(tmp_path, "few", port, 5), repeated(tmp_path, "many", port, 16)
    ran = diffed(before, few)
    assert ran.status == 1
    assert line(ran).startswith("not shown to be fixed: ")
    assert "below 45 % would not have shown, and it was 20 % before: 14 tries without a failure" in line(ran)
    enough = diffed(before, many)
    assert enough.status == 0
    told = "with 10 tries before and 16 after, chance alone makes such a difference in 1 of 7 comparisons"
    assert told in line(enough)


def test_a_fix_is_not_shown_where_the_bad_node_was_not_met_again(tmp_path: Path) -> None:
    well = lambda _: False  # noqa: E731
    with serving(well, lambda number: number < 8) as (good, bad):
        listed = {name: tmp_path / name for name in ("both", "one")}
        listed["both"].write_text(f"127.0.0.1:{good}\n127.0.0.1:{bad}\n")
        listed["one"].write_text(f"127.0.0.1:{good}\n")
        before = traced(tmp_path, "before", listed["both"], 8)
        elsewhere, again = traced(tmp_path, "elsewhere", listed["one"], 8), traced(tmp_path, "again", listed["both"], 8)
    ran = diffed(before, elsewhere)
    assert (ran.status, ran.report["outcome"]) == (1, "not shown to be fixed")
    assert f"not met again of the nodes that failed before: address 127.0.0.1:{bad}" in line(ran)
    assert f"address: 127.0.0.1:{good} on both sides; before alone 127.0.0.1:{bad}" in ran.report["notes"]
    ran = diffed(before, again)
    assert (ran.status, ran.report["outcome"]) == (0, "fixed as far as seen")
    assert "16 of 16 connections stay open, before 8 of 16" in line(ran)


def traced(folder: Path, name: str, addresses: Path, times: int) -> str:
    path = folder / f"{name}.json"
    options = [
        "--repeat",
        str(times),
        "--hold",
        "0.05",
        "--controls",
        "never",
        "--rate",
        "50",
        "--addresses",
        str(addresses),
    ]
    run("trace", "ws://app.example.test/ws", *options, "-o", str(path))
    return str(path)


def test_less_often_is_not_fixed(tmp_path: Path) -> None:
    with serving(lambda _: True, lambda number: number == 3) as (bad, better):
        before, after = repeated(tmp_path, "before", bad, 8), repeated(tmp_path, "after", better, 8)
    ran = diffed(before, after)
    assert (ran.status, ran.report["outcome"]) == (1, "not fixed")
    assert "1 of 8 failed, before 8 of 8; less often than before" in line(ran)
    ran = diffed(after, before)
    assert (ran.status, ran.report["outcome"]) == (1, "worse")


def test_another_url_or_credential_cannot_be_compared(tmp_path: Path) -> None:
    with serving(lambda _: True) as (port,):
        before = tmp_path / "before.json"
        other, token = tmp_path / "other.json", tmp_path / "token.json"
        common = ["--hold", "0.05", "--controls", "never", "-o"]
        run("trace", f"ws://127.0.0.1:{port}/ws", *common, str(before))
        run("trace", f"ws://127.0.0.1:{port}/chat", *common, str(other))
        run("trace", f"ws://127.0.0.1:{port}/ws", *common, str(token), "--bearer-env", "T", env={"T": "x" * 40})
    ran = diffed(before, other)
    assert ran.status == 2
    assert line(ran) == ("cannot be compared: ws://127.0.0.1/ws before, ws://127.0.0.1/chat after: not the same URL")
    ran = diffed(before, token)
    assert ran.status == 2
    assert "not the same credential: authorization was sent after alone" in line(ran)


def test_a_shared_key_tells_another_credential(tmp_path: Path) -> None:
    files = {}
    with serving(lambda _: True) as (port,):
        for name, secret in (("one", "a" * 40), ("same", "a" * 40), ("other", "b" * 40)):
            files[name] = str(tmp_path / f"{name}.json")
            words = ["--hold", "0.05", "--controls", "never", "-o", files[name], "--bearer-env", "T"]
            env = {"T": secret, "WSPROBE_FINGERPRINT_KEY": "k" * 40}
            run("trace", f"ws://127.0.0.1:{port}/ws", *words, env=env)
    assert "authorization is the same" in diffed(files["one"], files["same"]).report["notes"]
    ran = diffed(files["one"], files["other"])
    assert ran.status == 2
    assert "another one (fingerprints of the same key differ)" in line(ran)
    assert not any(secret in ran.everything for secret in ("a" * 40, "b" * 40))


def test_nobody_there_is_something_else(tmp_path: Path) -> None:
    before, after = str(tmp_path / "before.json"), str(tmp_path / "after.json")
    options = ["--hold", "0.05", "--controls", "never", "--bearer-env", "T", "-o"]
    with serving(lambda _: True) as (port,):
        run("trace", f"ws://127.0.0.1:{port}/ws", *options, before, env={"T": "x" * 40})
    with backend.nobody() as port:
        run("trace", f"ws://127.0.0.1:{port}/ws", *options, after, env={"T": "x" * 40})
    ran = diffed(before, after)
    assert ran.status == 1
    assert line(ran).startswith("something else is wrong now: no closed-by-origin beyond client any more; now unreach")


def test_the_same_whatever_the_order_of_sets(demo: Path) -> None:
    words = command("diff", str(demo / "before.json"), str(demo / "after.json"), "--format", "json")
    told = {
        subprocess.run(words, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1


# Values.

_HOPS = tuple(replace(hop(name, 0.04), closes=(), ended=None) for name in ("client", "edge", "inner"))
WELL = replace(HEALTHY, trace=replace(HEALTHY.trace, hops=_HOPS), matrix=rows(_HOPS))


def test_without_the_recorders_of_before_nothing_is_said_to_be_fixed(tmp_path: Path) -> None:
    alone = replace(WELL, trace=replace(WELL.trace, hops=_HOPS[:1], silent=("edge", "inner")))
    ran = diffed(saved(tmp_path, "before", INCIDENT), saved(tmp_path, "after", alone))
    assert ran.status == 2
    assert line(ran).startswith("cannot be compared: not the same recorders: edge, inner recorded nothing after")
    assert {one["fate"] for one in ran.report["findings"]} == {"not judged"}


def test_without_the_recorders_of_before_what_still_fails_is_not_fixed() -> None:
    found = compare([INCIDENT], [CLIENT_ONLY])
    assert found.outcome is Outcome.NOT_FIXED
    assert found.line.startswith("not fixed: still there: closed-by-origin beyond client; 1 of 1 failed, before 1 of 1")
    assert "not the same recorders: edge, inner recorded nothing after" in found.line


def test_more_recorders_after_are_no_new_fault() -> None:
    found = compare([CLIENT_ONLY], [INCIDENT])
    assert found.outcome is Outcome.NOT_FIXED
    assert [(one.rule, one.fate.value) for one in found.findings if one.note] == [
        ("closed-by-origin", "still there"),
        ("header-removed", "new"),
    ]


def ending(seen: Observation, at: float, *, ended: bool) -> Observation:
    close = Close(sender=Sender.SERVER, ending=Ending.EOF, code=None, reason="", at=at)
    return replace(seen, closes=(close,) if ended else (), ended=at)


def lasting(report: Report, at: float, *, ended: bool) -> Report:
    hops = tuple(ending(seen, at, ended=ended) for seen in report.trace.hops)
    return replace(report, trace=replace(report.trace, hops=hops))


def test_what_failed_late_is_not_fixed_by_a_short_look() -> None:
    before = lasting(CLIENT_ONLY, 60.0, ended=True)
    found = compare([before], [lasting(HEALTHY, 5.0, ended=False)])
    assert found.outcome is Outcome.UNSHOWN
    assert "watched for 5.0 s, and before it took 60.0 s to fail" in found.line
    assert compare([before], [lasting(HEALTHY, 61.0, ended=False)]).outcome is Outcome.FIXED


def served_by(report: Report, name: str) -> Report:
    hops = tuple(
        replace(seen, response=replace(seen.response, headers=(*seen.response.headers, ("X-Served-By", name))))
        for seen in report.trace.hops
        if seen.response
    )
    return replace(report, trace=replace(report.trace, hops=hops))


def test_the_node_that_failed_has_to_be_met_again() -> None:
    before = [served_by(INCIDENT, "b"), served_by(WELL, "a"), served_by(INCIDENT, "b"), served_by(WELL, "c")]
    elsewhere = [served_by(WELL, name) for name in "aacacaccaa"]
    found = compare(before, elsewhere)
    assert found.outcome is Outcome.UNSHOWN
    assert "not met again of the nodes that failed before: header x-served-by b" in found.line
    assert compare(before, [*elsewhere, served_by(WELL, "b")]).outcome is Outcome.FIXED


def test_what_is_left_is_told() -> None:
    lost, closed = INCIDENT.findings
    after = replace(INCIDENT, verdict=closed, findings=(closed,))
    found = compare([INCIDENT], [after])
    assert found.outcome is Outcome.PARTLY
    assert "Authorization is no longer lost between edge and inner; still there: closed-by-origin" in found.line
    added = replace(lost, header="Cookie")
    assert compare([INCIDENT], [replace(INCIDENT, findings=(lost, closed, added))]).outcome is Outcome.WORSE


def test_every_outcome_has_an_exit_status() -> None:
    assert set(STATUS) == set(Outcome)


@pytest.mark.parametrize("text", ["", "{", '{"schema": "wsprobe.reports/1", "reports": []}', '{"schema": "x/1"}'])
def test_what_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    good = saved(tmp_path, "good", HEALTHY)
    refused(run("diff", good, str(tmp_path / "bad.json")), "bad.json")
    refused(run("diff", str(tmp_path / "none.json"), good), "none.json")


def test_a_side_without_a_connection_is_refused(tmp_path: Path) -> None:
    empty = saved(tmp_path, "empty", replace(SEVERAL, reports=()))
    refused(run("diff", empty, saved(tmp_path, "good", HEALTHY)), "empty.json", "nothing to compare")
    bare = replace(HEALTHY, trace=replace(HEALTHY.trace, hops=()))
    refused(run("diff", saved(tmp_path, "bare", bare), saved(tmp_path, "good", HEALTHY)), "bare.json")


# What strangers wrote.

COMPARED = compare([INCIDENT, CLIENT_ONLY], [HEALTHY, CLIENT_ONLY])


@settings(max_examples=40, deadline=None)
@given(text=HOSTILE, whole=st.booleans(), width=st.integers(60, 160), colour=st.booleans())
def test_no_text_moves_the_cursor_or_is_live(*, text: str, whole: bool, width: int, colour: bool) -> None:
    found: Comparison = poisoned(COMPARED, text, whole=whole)  # type: ignore[type-var]  # any record
    shown = terminal.render(found, width=width, colour=colour)
    plain = SGR.sub("", shown) if colour else shown
    assert unprintable(plain) == set()
    assert max(map(cell_len, plain.split("\n"))) <= width
    page = formats()["markdown"].render(found)
    assert unprintable(page) == set()
    assert_inert(page.replace(" % ", " "))
    assert formats()["json"].render(found).isascii()
    assert formats()["html"].render(found).isascii()


@settings(max_examples=10, deadline=None)
@given(text=HOSTILE, whole=st.booleans())
def test_no_report_makes_a_comparison_fail(*, text: str, whole: bool) -> None:
    found = compare([poisoned(INCIDENT, text, whole=whole)], [poisoned(HEALTHY, text, whole=whole), CLIENT_ONLY])
    assert_inert(formats()["markdown"].render(found).replace(" % ", " "))
    assert decode(json.loads(json.dumps(encode(found)))) == found


def test_ten_thousand_connections_fit_into_an_issue() -> None:
    ones = [replace(HEALTHY, subject=f"wss://host-{number}.example.com/") for number in range(10_000)]
    found = compare([INCIDENT, *ones], ones)
    assert len(formats()["markdown"].render(found)) <= LONGEST
    assert len(formats()["json"].render(found)) < 5_000_000
    assert len(formats()["html"].render(found)) < 5_000_000


def test_the_exact_test_of_ten_thousand_takes_no_minute() -> None:
    began = time.monotonic()
    assert exact(5000, 10_000, 3000, 10_000) < 1e-100
    assert time.monotonic() - began < 5


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if executable() is None:
        pytest.skip("no Chromium: the pages of comparisons are not looked at (apt-get install chromium)")
    with Browser() as started:
        yield started


@pytest.mark.parametrize("text", ["", "<script>alert(1)</script><img src=x onerror=alert(1)>", "W" * 400])
def test_a_browser_shows_the_page_and_nothing_else(text: str, browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    found: Comparison = poisoned(COMPARED, text, whole=False)  # type: ignore[type-var]  # any record
    page.write_text(formats()["html"].render(found))
    browser.open(page)
    for width in (360, 1600):
        browser.size(width)
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert (browser.complaints, browser.dialogs, len(browser.requests)) == ([], 0, 1)
    shown = browser.run("document.body.innerText")
    assert text[:20] in shown
    assert "went well" in shown if not text else "went" in shown


# The numbers.


def test_shift_and_interval_are_those_of_the_definition() -> None:
    one, other = [1.0, 1.5, 2.0, 2.2, 3.1, 3.3, 4.0], [2.1, 2.4, 3.0, 3.9, 4.4, 5.0]
    every = sorted(there - here for here in one for there in other)
    found = shift(one, other)
    assert found.shift == pytest.approx(median(every))
    assert [found.low, found.high] == pytest.approx([every[6], every[-7]])  # U of 7 and 6 at 5 %: 6


@pytest.mark.parametrize(
    ("sizes", "outside"), [((4, 4), 0), ((5, 5), 2), ((8, 12), 22), ((10, 10), 23), ((20, 20), 127)]
)
def test_the_interval_is_that_of_the_tables(sizes: tuple[int, int], outside: int) -> None:
    """With one set below the other, rank tells which difference an end is."""
    one = [float(at) / 1000 for at in range(sizes[0])]
    other = [100.0 + at * sizes[0] / 1000 for at in range(sizes[1])]  # every difference is another one
    every = sorted(there - here for here in one for there in other)
    found = shift(one, other)
    assert [found.low, found.high] == pytest.approx([every[outside], every[-outside - 1]])


def test_too_few_times_have_no_interval() -> None:
    assert shift([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]).low is None
    assert shift([1.0], [1.5]).shift == pytest.approx(0.5)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
)
def test_the_shift_lies_in_its_interval(one: list[float], other: list[float]) -> None:
    found = shift(one, other)
    assert found.low is None or found.high is None or found.low <= found.shift <= found.high
