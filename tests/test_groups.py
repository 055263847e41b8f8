"""Many connections, some of which fail: by which node they are told apart, how surely, and what was not enough."""

from collections.abc import Callable
from fractions import Fraction
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.tracing import Document, Ran, refused, run, trace
from wsprobe.groups import exact, needed, unseen

QUICK = ("--controls", "never", "--rate", "200")


def serving(node: str, *, well: Callable[[int], bool]) -> Callable[[Exchange], None]:
    """A node that names itself; `well` says for each of its connections whether it stays open."""
    numbers = iter(range(1000))

    def answer(exchange: Exchange) -> None:
        head = backend.switching(exchange.request).replace(b"\r\n\r\n", f"\r\nX-Served-By: {node}\r\n\r\n".encode())
        exchange.send(head if well(next(numbers)) else head + wire.close(1011))
        for _ in exchange.frames():
            pass

    return answer


def summary(ran: Ran) -> Document:
    found: Document = ran.report["summary"]
    return found


def said(ran: Ran) -> str:
    return "\n".join(summary(ran)["said"])


def listed(folder: Path, *ports: int) -> str:
    file = folder / "addresses"
    file.write_text("# pods\n" + "\n".join(f"127.0.0.1:{port}" for port in ports) + "\n\n")
    return str(file)


def test_failures_that_gather_at_one_address_are_told_and_how_surely(tmp_path: Path) -> None:
    with (
        Backend(serving("a", well=lambda _: True)) as one,
        Backend(serving("b", well=lambda _: False)) as two,
        Backend(serving("c", well=lambda _: True)) as three,
    ):
        pods = listed(tmp_path, one.port, two.port, three.port)
        ran = trace("ws://app.example.test/ws", "--addresses", pods, "--repeat", "6", *QUICK, hold=0.05)
        assert [len(each.requests) for each in (one, two, three)] == [6, 6, 6]
        assert {request.get("host") for request in two.requests} == {"app.example.test"}
    worst = summary(ran)["groups"][0]
    assert (worst["failed"], worst["connections"], worst["failed_elsewhere"], worst["elsewhere"]) == (6, 6, 0, 12)
    assert worst["chance"] < 0.01
    assert f"failures surely gather at address 127.0.0.1:{two.port}: 6 of 6 failed there, 0 of 12 elsewhere" in said(
        ran
    )
    assert "corrected for 6 groups" in said(ran)
    assert "failures surely gather at header x-served-by b" in said(ran)
    assert "3 nodes seen" in said(ran)
    assert "8 tries would meet one bad node of 3" in said(ran)
    assert ran.status == 1


def test_failures_that_are_spread_gather_nowhere(tmp_path: Path) -> None:
    with (
        Backend(serving("a", well=lambda number: number % 2 == 0)) as one,
        Backend(serving("b", well=lambda number: number % 2 == 1)) as two,
    ):
        ran = trace(
            "ws://app.example.test/ws",
            "--addresses",
            listed(tmp_path, one.port, two.port),
            "--repeat",
            "6",
            *QUICK,
            hold=0.05,
        )
    assert "no group differs by more than chance would make it: 6 of 12 failed" in said(ran)
    assert "gather" not in said(ran)


def test_one_node_is_said_to_be_one() -> None:
    with Backend(serving("a", well=lambda _: True)) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/ws", "--repeat", "4", hold=0.05)
    assert "groups" not in summary(ran)
    assert "one node seen" in said(ran)
    assert "they are not independent" in said(ran)


def test_nodes_behind_one_address_are_told_by_the_header_that_names_them() -> None:
    def balanced(exchange: Exchange) -> None:
        turn = len(app.exchanges) % 2
        serving(f"pod-{turn}", well=lambda _: turn == 0)(exchange)

    with Backend(balanced) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/ws", "--repeat", "12", *QUICK, hold=0.05)
    assert "failures surely gather at header x-served-by pod-1: 6 of 6 failed there, 0 of 6 elsewhere" in said(ran)


def test_each_address_of_a_name_is_tried() -> None:
    with Backend(serving("a", well=lambda _: True)) as app:
        ran = trace(f"ws://localhost:{app.port}/ws", "-4", "--each-address", "--repeat", "2", hold=0.05)
        assert len(app.requests) == 2
    assert summary(ran)["connections"] == 2


def test_addresses_come_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    with Backend(serving("a", well=lambda _: True)) as app:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"127.0.0.1:{app.port}\n"))
        ran = trace("ws://app.example.test/ws", "--addresses", "-", hold=0.05)
        assert len(app.requests) == 1
    assert ran.status == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not an address\n", ["addresses:1", "is no address"]),
        ("127.0.0.1\n127.0.0.1:99999\n", ["addresses:2", "is no address"]),
        ("# none\n", ["there is no address in it"]),
        ("\n".join(f"10.0.{n // 250}.{n % 250}" for n in range(300)), ["more than 256 addresses"]),
        ("ws://host/\n", ["addresses:1", "is no address"]),
    ],
)
def test_what_is_no_address_is_one_line(text: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "addresses").write_text(text)
    refused(run("trace", "ws://app.example.test/", "--addresses", str(tmp_path / "addresses")), *words)


def test_both_at_once_and_timers_with_many_are_refused(tmp_path: Path) -> None:
    assert run("trace", "ws://h/", "--each-address", "--addresses", "x").status == 2
    refused(run("trace", "ws://h/", "--timers", "--each-address"), "--timers makes its own connections")


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_every_format_tells_the_nodes(form: str, tmp_path: Path) -> None:
    with Backend(serving("a", well=lambda _: True)) as one, Backend(serving("b", well=lambda _: False)) as two:
        pods = listed(tmp_path, one.port, two.port)
        ran = run(
            "trace",
            "ws://app.example.test/ws",
            "--addresses",
            pods,
            "--repeat",
            "5",
            "--hold",
            "0.05",
            *QUICK,
            "--format",
            form,
        )
    shown = " ".join(ran.out.replace("`", "").split())
    assert "failures perhaps gather at" in shown
    assert "5 of 5 failed there, 0 of 5 elsewhere" in shown


# The numbers.


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(1, 12))
def test_the_exact_test_is_exact(failed: int, total: int, failed_others: int, others: int) -> None:
    """Against the definition, in fractions: all tables with these margins that are at most as likely as this one."""
    failed, failed_others = min(failed, total), min(failed_others, others)
    failures = failed + failed_others
    tables = {
        here: Fraction(comb(total, here) * comb(others, failures - here), comb(total + others, failures))
        for here in range(max(0, failures - others), min(total, failures) + 1)
    }
    expected = sum(chance for chance in tables.values() if chance <= tables[failed])
    assert exact(failed, total, failed_others, others) == pytest.approx(float(expected))


def test_known_values_of_the_exact_test() -> None:
    assert exact(8, 10, 1, 6) == pytest.approx(0.03497, abs=1e-5)  # R: fisher.test(matrix(c(8, 2, 1, 5), 2))
    assert exact(0, 5, 0, 5) == 1


@pytest.mark.parametrize(("nodes", "tries"), [(1, 1), (2, 5), (3, 8), (10, 29)])
def test_how_many_tries_meet_one_bad_node(nodes: int, tries: int) -> None:
    assert needed(nodes) == tries


def test_what_failure_rate_would_not_have_shown() -> None:
    assert unseen(20) == pytest.approx(0.139, abs=1e-3)
    assert unseen(1) == pytest.approx(0.95)


def test_where_none_failed_failures_do_not_gather(tmp_path: Path) -> None:
    with (
        Backend(serving("a", well=lambda _: True)) as one,
        Backend(serving("b", well=lambda _: False)) as two,
    ):
        pods = listed(tmp_path, one.port, two.port)
        ran = trace("ws://app.example.test/ws", "--addresses", pods, "--repeat", "8", *QUICK, hold=0.02)
    assert f"failures surely gather at address 127.0.0.1:{two.port}: 8 of 8 failed there" in said(ran)
    assert f"127.0.0.1:{one.port}" not in said(ran)


def test_one_good_node_of_many_is_spared(tmp_path: Path) -> None:
    with (
        Backend(serving("a", well=lambda _: True)) as one,
        Backend(serving("b", well=lambda number: number % 4 == 0)) as two,
        Backend(serving("c", well=lambda number: number % 4 == 1)) as three,
    ):
        pods = listed(tmp_path, one.port, two.port, three.port)
        ran = trace("ws://app.example.test/ws", "--addresses", pods, "--repeat", "8", *QUICK, hold=0.02)
    assert f"failures surely spare address 127.0.0.1:{one.port}: 0 of 8 failed there, 12 of 16 elsewhere" in said(ran)
    assert "gather" not in said(ran)


def test_several_bad_nodes_are_told_together_and_one_that_takes_no_connection_is_a_node(tmp_path: Path) -> None:
    with (
        Backend(serving("a", well=lambda _: True)) as one,
        Backend(serving("b", well=lambda _: True)) as two,
        Backend(serving("c", well=lambda _: False)) as three,
        backend.nobody() as four,
    ):
        pods = listed(tmp_path, one.port, two.port, three.port, four)
        ran = trace("ws://app.example.test/ws", "--addresses", pods, "--repeat", "4", *QUICK, hold=0.02)
    together = " and ".join(sorted((f"127.0.0.1:{three.port}", f"127.0.0.1:{four}")))
    assert f"failures surely gather at address {together}: 8 of 8 failed there, 0 of 8 elsewhere" in said(ran)
    assert "4 nodes seen, by address" in said(ran)


def test_a_header_of_refusals_may_name_who_refused() -> None:
    numbers = iter(range(1000))

    def answer(exchange: Exchange) -> None:
        if next(numbers) % 2:
            exchange.send(b"HTTP/1.1 502 Bad Gateway\r\nServer: edge\r\nContent-Length: 0\r\n\r\n")
        else:
            exchange.send(backend.switching(exchange.request).replace(b"\r\n\r\n", b"\r\nServer: app\r\n\r\n"))
            for _ in exchange.frames():
                pass

    with Backend(answer) as app:
        ran = trace(f"ws://127.0.0.1:{app.port}/ws", "--repeat", "16", *QUICK, hold=0.02)
    assert "gather at header server edge: 8 of 8 failed there" in said(ran)
    assert "it may say who refused rather than at which node" in said(ran)
