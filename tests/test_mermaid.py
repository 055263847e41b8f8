"""The sequence diagrams, as Mermaid's own parser reads them, alone and in the Markdown for an issue."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reports.pages import TALK
from tests.reports.samples import CLIENT_ONLY, HEALTHY, INCIDENT, ONE_BY_ONE, SEVERAL, UNKNOWN_ORDER
from tests.test_reports import HOSTILE, PIECES, poisoned
from wsprobe.model import Close, Ending, Failure, Frame, Message, Report, Sender
from wsprobe.reports import _sequence, markdown, mermaid
from wsprobe.reports._text import shortened, visible

NODE = Path(__file__).parent / "node"
CODED = re.compile("ﬂ°°(\\d+)¶ß")
"""How Mermaid keeps an entity code until it is drawn."""

Read = dict[str, list[str]]


def parsed(diagrams: list[str]) -> list[Read]:
    """What Mermaid reads in each diagram: its actors and its messages, notes among them; in one start of node."""
    if shutil.which("node") is None or not (NODE / "node_modules" / "mermaid").is_dir():
        pytest.skip("Mermaid's own parser is not installed: npm ci --prefix tests/node, for node 20")
    ran = subprocess.run(
        ["node", str(NODE / "mermaid.mjs")],
        input=json.dumps(diagrams),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: list[Read] = json.loads(ran.stdout)
    assert [(one.get("error"), diagram) for one, diagram in zip(found, diagrams, strict=True) if "error" in one] == []
    assert {str(one["kind"]) for one in found} == {"sequence"}
    return found


def drawn(text: str) -> str:
    """A text as it is drawn."""
    return CODED.sub(lambda code: chr(int(code[1])), text)


def blocks(text: str) -> list[str]:
    """The diagrams in a Markdown document."""
    return re.findall(r"^```mermaid\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)


def crowd(number: int, report: Report = INCIDENT) -> Report:
    """A report with that many hops, each of which saw both sides close."""
    first, *_, last = report.trace.hops
    both = (
        Close(sender=Sender.SERVER, ending=Ending.FRAME, code=1011, reason="x" * 99, at=0.5),
        Close(sender=Sender.CLIENT, ending=Ending.EOF, code=None, reason="", at=0.6),
    )
    hops = (first, *(replace(last, name=f"hop{at}", closes=both) for at in range(number - 2)), last)
    verdict = report.verdict and replace(report.verdict, segment=(f"hop{number // 3}", f"hop{number // 3 + 1}"))
    return replace(report, trace=replace(report.trace, hops=hops), verdict=verdict)


def test_every_diagram_is_mermaid_whatever_the_traffic_says() -> None:
    texts = [*PIECES, "end", "wrap:x", "note over p0: x", "p0->>p1: x", "\n  p0->>p1: x", "#35;", "}; %%{init: {}}%%"]
    reports = [poisoned(one, text, whole=whole) for text in texts for whole in (True, False) for one in (INCIDENT,)]
    reports += [crowd(number) for number in (3, 7, 8, 9, 40)]
    reports += [TALK, crowd(40, TALK), *(poisoned(TALK, text, whole=True) for text in texts)]
    reports += [*ONE_BY_ONE.values(), *(poisoned(CLIENT_ONLY, text, whole=True) for text in texts)]
    diagrams = [diagram for report in reports for diagram in (mermaid.render(report), _sequence.expected(report))]
    found = parsed([diagram for diagram in diagrams if diagram])
    assert max(len(one["messages"]) for one in found) < 40
    assert max(len(one["actors"]) for one in found) <= _sequence.MOST_STATIONS


def test_what_is_drawn_is_what_the_traffic_said() -> None:
    odd = "/a;b#c?<i>&amp;`x`:\\\"'{}[]|*_~$@漢字😀"
    hop = INCIDENT.trace.hops[0]
    asked = replace(hop, name="a;b#1 as end", request=Message(start_line=f"GET {odd} HTTP/1.1", headers=()))
    report = replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(asked, *INCIDENT.trace.hops[1:])))
    (found,) = parsed([mermaid.render(report)])
    assert drawn(found["actors"][0]) == "a;b#1 as end"
    assert drawn(found["messages"][0]) == f"GET {odd} with Authorization"


@given(HOSTILE)
def test_a_label_holds_nothing_that_mermaid_or_html_knows(text: str) -> None:
    label = _sequence.escaped(text)
    assert re.fullmatch(r"(?:[^\W_]|[ .,()=_/-]|#\d+;)*", label)
    plain = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label)
    assert plain == shortened(visible(text), 100)


def test_the_incident_shows_where_the_header_was_lost_and_how_it_should_have_gone() -> None:
    happened, should = parsed(blocks(markdown.render(INCIDENT)))
    said = [drawn(one) for one in happened["messages"]]
    assert said[:3] == [
        "GET /ws?room=7 with Authorization",
        "GET /ws?room=7 without Authorization",
        "✗ Authorization: header-removed (proven)",
    ]
    assert said[-1] == "close 1011 after 52 ms"
    assert should["actors"] == happened["actors"] == ["client", "edge", "inner", "not observed"]
    assert [drawn(one) for one in should["messages"]][:3] == ["GET /ws?room=7 with Authorization"] * 3
    assert "101 Switching Protocols" in should["messages"]
    assert not any("without" in one or "1011" in one for one in should["messages"])


def test_what_went_well_has_no_other_way_that_it_should_have_gone() -> None:
    (only,) = parsed(blocks(markdown.render(HEALTHY)))
    assert only["messages"][-1] == "still open when the observation ended"


def test_hops_in_unknown_order_share_a_lifeline() -> None:
    (found,) = parsed([mermaid.render(UNKNOWN_ORDER)])
    assert found["actors"] == ["client", "east, west (order not known)"]


def test_of_a_long_path_the_guilty_stretch_is_kept_and_the_rest_is_counted() -> None:
    (found,) = parsed([mermaid.render(crowd(40))])
    assert found["actors"] == ["client", "13 hops", "hop13", "hop14", "23 hops", "inner", "not observed"]


def test_what_passed_is_drawn_in_order_with_the_middle_counted() -> None:
    (found,) = parsed([mermaid.render(CLIENT_ONLY)])
    assert [drawn(one) for one in found["messages"]][2:10] == [
        "text, 48 octets, at 42 ms",
        "text, 210 octets, at 44 ms",
        "text (part), 300 octets, at 45 ms",
        "ping, 4 octets, at 45 ms",
        "3 text, 300 octets, at 46 ms",
        "34 more frames, only counted, 4300 octets, 46 ms to 52 ms",
        "text, 100 octets, at 52 ms",
        "close 1011 after 52 ms",
    ]
    (found,) = parsed([mermaid.render(TALK)])
    said = [drawn(one) for one in found["messages"]]
    assert said[4] == "text, 48 octets, at 60 ms"
    assert said[8:12] == [
        "3 more frames, 900008 octets, 20 s to 40 s",
        "9,934 more frames, 79696340 octets, 20 s to 88 s",
        "ping, 4 octets, at 80 s",
        "text, 31 octets, at 88 s",
    ]


def test_frames_that_another_hop_counted_otherwise_are_drawn_as_far_as_the_next_hop() -> None:
    outer, inner = TALK.trace.hops
    assert inner.frames
    fewer = replace(inner, frames=replace(inner.frames, client={}))
    for hops, far in (((outer, inner), "p2"), ((outer, fewer), "p1")):
        lines = mermaid.render(replace(TALK, trace=replace(TALK.trace, hops=hops))).splitlines()
        (said,) = [line for line in lines if "text, 48 octets" in line]
        assert said.startswith(f"    p0->>{far}: ")
        assert any(line.startswith("    p2-->>p0: text, 210 octets") for line in lines)


def test_what_passed_after_the_end_stands_after_it() -> None:
    hop = CLIENT_ONLY.trace.hops[0]
    assert hop.frames
    late = Frame(at=0.06, sender=Sender.SERVER, opcode="binary", bytes=7)
    hop = replace(hop, frames=replace(hop.frames, last=(*hop.frames.last, late)))
    (found,) = parsed([mermaid.render(replace(CLIENT_ONLY, trace=replace(CLIENT_ONLY.trace, hops=(hop,))))])
    assert drawn(found["messages"][-1]) == "binary, 7 octets, at 60 ms"


def test_of_several_connections_the_first_is_drawn_and_all_are_counted() -> None:
    text = mermaid.render_all(SEVERAL)
    assert text == f"%% 5 connections, 2 healthy; the first of them\n{mermaid.render(INCIDENT)}"
    parsed([text])


@given(st.integers(1, 60), st.sampled_from([INCIDENT, TALK]))
def test_a_diagram_stays_small(number: int, report: Report) -> None:
    lines = mermaid.render(crowd(max(number, 3), report)).splitlines()
    assert sum(":" in line for line in lines) < 40
    assert len("\n".join(lines)) < 12_000


def test_what_failed_before_an_answer_is_told_once() -> None:
    failure = Failure(phase="tls", kind="timed out", message="no answer within 3 s")
    close = Close(sender=Sender.LOCAL, ending=Ending.TIMEOUT, code=None, reason="", at=0.0)
    hop = replace(CLIENT_ONLY.trace.hops[0], request=None, response=None, failure=failure, closes=(close,))
    text = mermaid.render(replace(CLIENT_ONLY, trace=replace(CLIENT_ONLY.trace, hops=(hop,))))
    assert "failed at tls" in text
    assert "nothing more" not in text
