"""The main job through real load balancers, recorders on both sides: what is proven, and what is not claimed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import backend, lab
from tests.backend import Answer, Backend
from tests.lab.proxy import BASIC
from tests.mitm import IGNORED
from tests.standin import token
from tests.tracing import Document, Ran, relay, rules, run, serving, trace

pytestmark = [pytest.mark.lab, *(pytest.mark.filterwarnings(ignored) for ignored in IGNORED)]

TOKEN = token()
BETWEEN = ["edge", "inner"]


@contextlib.contextmanager
def path(proxy: str, fault: str, folder: Path, answer: Answer = backend.needs_token) -> Iterator[str]:
    """The path: edge (relay) -> the real proxy -> inner (relay) -> the application; gives the URL of the edge."""
    with (
        Backend(answer) as app,
        relay("inner", app.port, folder / "inner.jsonl") as inner,
        lab.start(proxy, inner, fault) as balancer,
        relay("edge", balancer, folder / "edge.jsonl") as edge,
    ):
        yield f"ws://127.0.0.1:{edge}/ws"


def traced(url: str, *records: Path, hold: float = 2, bearer: str = TOKEN, controls: str = "auto") -> Ran:
    given = [word for file in records for word in ("--records", str(file))]
    ran = trace(
        url, "--bearer-env", "PROBE_TOKEN", "--controls", controls, *given, hold=hold, env={"PROBE_TOKEN": bearer}
    )
    assert bearer not in ran.everything
    return ran


def verdict(ran: Ran) -> tuple[str, str, list[str | None], str | None]:
    found: Document = ran.report["verdict"]
    return found["rule"], found["confidence"], found["segment"], found["header"]


def about_headers(ran: Ran) -> list[Document]:
    return [finding for finding in ran.report["findings"] if finding["header"] or "header" in finding["rule"]]


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_a_stripped_header_is_proven_with_both_recorders_and_not_without_the_inner_one(
    proxy: str, tmp_path: Path
) -> None:
    with path(proxy, "strip-authorization", tmp_path) as url:
        ran = traced(url, tmp_path)
        assert verdict(ran) == ("header-removed", "proven", BETWEEN, "Authorization")
        assert [hop["name"] for hop in ran.report["trace"]["hops"]] == ["client", *BETWEEN]
        assert "nothing in between was observed" in ran.report["verdict"]["message"]
        assert ran.status == 1

        for records in ([tmp_path / "edge.jsonl"], []):
            outside = traced(url, *records)
            assert about_headers(outside) == []
            assert verdict(outside)[0] == "closed-by-origin"
            assert outside.report["verdict"]["confidence"] != "proven"
            assert outside.report["verdict"]["untested"], "what was not looked at"
            assert any("wsprobe record" in step for step in outside.report["next"]), "and what would settle it"

    offline = run("diagnose", str(tmp_path), "--trace", ran.report["trace"]["id"], "--format", "json")
    assert verdict(offline) == ("header-removed", "proven", BETWEEN, "Authorization")


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_a_correct_proxy_gives_no_finding(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "correct", tmp_path) as url:
        ran = traced(url, tmp_path)
    assert (ran.status, ran.report["verdict"], ran.report["findings"]) == (0, None, [])
    assert [hop["name"] for hop in ran.report["trace"]["hops"]] == ["client", *BETWEEN]
    assert ran.report["summary"].startswith("nothing wrong seen in ")


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_a_replaced_credential_is_altered_and_neither_is_shown(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "rewrite-authorization", tmp_path) as url:
        ran = traced(url, tmp_path)
    assert verdict(ran) == ("header-altered", "proven", BETWEEN, "Authorization")
    assert BASIC.split()[1] not in ran.everything


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_an_upgrade_that_is_not_passed_on(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "no-upgrade", tmp_path) as url:
        ran = traced(url, tmp_path)
    if proxy == "envoy":  # it refuses by itself: the inner recorder has seen nothing
        assert verdict(ran) == ("upgrade-refused", "proven", ["edge", None], None)
        assert rules(ran) == ["upgrade-refused"]
        assert any("inner" in line for line in ran.report["unobserved"])
    else:
        assert verdict(ran)[:3] == ("upgrade-dropped", "proven", BETWEEN)
        assert verdict(ran)[3] in {"Upgrade", "Connection"}


@pytest.mark.parametrize("proxy", [name for name, fault in lab.CASES if fault == "idle-2s"])
def test_an_idle_timer_is_found_between_the_hops_and_nobody_accused(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "idle-2s", tmp_path, backend.stay_open) as url:
        ran = traced(url, tmp_path, hold=8, controls="never")  # one connection: each try would be silent as long
    assert set(rules(ran)) <= {"idle-timeout", "closed-without-frame", "blind-spot"}
    for finding in ran.report["findings"]:
        assert finding["segment"] == BETWEEN
        if finding["rule"] == "idle-timeout":
            assert (finding["confidence"], bool(finding["others"])) == ("possible", True)
    assert "idle-timeout" in rules(ran)
    outside = run("diagnose", str(tmp_path / "edge.jsonl"), "--format", "json")
    assert {tuple(finding["segment"]) for finding in outside.report["findings"]} == {("edge", None)}
    for hop in ran.report["trace"]["hops"]:
        assert not any(close["ending"] == "frame" for close in hop["closes"] if close["sender"] == "server")


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_an_upstream_that_is_down_is_a_refusal_from_beyond_the_edge(proxy: str, tmp_path: Path) -> None:
    (tmp_path / "inner.jsonl").touch()
    with (
        backend.nobody() as upstream,
        lab.start(proxy, upstream) as balancer,
        relay("edge", balancer, tmp_path / "edge.jsonl") as edge,
    ):
        ran = traced(f"ws://127.0.0.1:{edge}/ws", tmp_path)
    assert verdict(ran) == ("upgrade-refused", "proven", ["edge", None], None)
    assert ran.report["trace"]["hops"][0]["response"]["start_line"].split()[1] in {"502", "503"}
    assert about_headers(ran) == []
    assert any("inner.jsonl" in line and "no request" in line for line in ran.report["unobserved"])


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_a_token_of_16_kib_arrives_or_is_refused_before_the_inner_hop(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "correct", tmp_path) as url:
        ran = traced(url, tmp_path, bearer="t" * (16 << 10))
    hops = {hop["name"]: hop for hop in ran.report["trace"]["hops"]}
    if "inner" in hops:
        assert (ran.status, ran.report["findings"]) == (0, [])
    else:
        assert verdict(ran) == ("upgrade-refused", "proven", ["edge", None], None)
        assert hops["client"]["response"]["start_line"].split()[1] in {"400", "431"}
        assert about_headers(ran) == []


def test_the_mitmproxy_addon_may_be_the_inner_recorder(tmp_path: Path) -> None:
    mitm = pytest.importorskip("wsprobe.net.mitm")
    with (
        Backend(backend.needs_token) as app,
        serving(
            lambda: mitm.MitmRecorder(
                "inner", tmp_path / "inner.jsonl", f"http://127.0.0.1:{app.port}", ("127.0.0.1", 0)
            )
        ) as inner,
        lab.start("nginx", inner, "strip-authorization") as balancer,
        relay("edge", balancer, tmp_path / "edge.jsonl") as edge,
    ):
        ran = traced(f"ws://127.0.0.1:{edge}/ws", tmp_path)
    assert verdict(ran) == ("header-removed", "proven", BETWEEN, "Authorization")
    assert [hop["recorder"]["kind"] for hop in ran.report["trace"]["hops"]] == ["probe", "relay", "mitmproxy"]
