"""The HTML report: what it holds for whatever was recorded."""

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reports.pages import CONFIGURED, EXPLAINED, LIVED, LONG_LIFE, TALK, TALKED, many, wide
from tests.reports.samples import INCIDENT, ONE_BY_ONE, SEVERAL
from tests.test_reports import HOSTILE, SAMPLES, crowded, poisoned, unprintable
from tests.tracing import run
from wsprobe.model import (
    Activity,
    Cell,
    Close,
    Count,
    Ending,
    Frame,
    Frames,
    Row,
    Sender,
    State,
    Trace,
)
from wsprobe.reports import formats, html

MOST = 5_000_000  # octets of any report


VOID = {"meta", "input"}
TAGS = set(
    re.findall(
        r"\w+",
        """html head meta title style body a svg symbol path circle rect g use line text main header section article
        h1 h2 h3 h4 h5 p span b strong small ol ul li table caption thead tbody tr th td form label input output
        details summary dl div dt dd pre code mark figure figcaption script nav del ins""",
    )
)


class Page(HTMLParser):
    """The elements of a page; every one must be closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def assert_sound(text: str) -> Page:
    """One document that is well formed, loads nothing, and in which nothing but its own script can run."""
    assert text.isascii()
    assert unprintable(text) == set()
    page = Page(text)
    assert page.tags <= TAGS
    assert {name for _, name, _ in page.attributes if name.startswith("on") or name in {"src", "style"}} == set()
    links = page.values("href")
    assert all(link.startswith("#") for link in links)
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    assert {link[1:] for link in links} <= set(ids)
    assert text.count("<script>") == 1
    return page


def policy(text: str) -> dict[str, str]:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert found
    return {part.split()[0]: " ".join(part.split()[1:]) for part in found[1].split("; ")}


def test_the_policy_lets_nothing_through_but_the_own_script_and_style() -> None:
    rules = policy(html.render(INCIDENT))
    assert rules.pop("default-src") == rules.pop("form-action") == rules.pop("base-uri") == "'none'"
    assert set(rules) == {"script-src", "style-src"}
    assert all(re.fullmatch(r"'sha256-[\w+/]{43}='", rule) for rule in rules.values())


@settings(max_examples=40, deadline=None)
@given(sample=SAMPLES, text=HOSTILE, whole=st.booleans())
@example(sample="incident", text="\"'><img src=x onerror=alert(1)><script>alert(1)</script><!--", whole=True)
@example(sample="incident", text="</script></style></title>]]>{{x}}&#60;", whole=False)
def test_nothing_that_the_traffic_says_becomes_markup(*, sample: str, text: str, whole: bool) -> None:
    assert_sound(html.render(poisoned(ONE_BY_ONE[sample], text, whole=whole)))


@settings(max_examples=10, deadline=None)
@given(text=HOSTILE, whole=st.booleans())
def test_nothing_becomes_markup_in_several_reports(*, text: str, whole: bool) -> None:
    assert_sound(html.render_all(poisoned(SEVERAL, text, whole=whole)))


def test_a_normal_trace_takes_less_than_300_ms() -> None:
    html.render(INCIDENT)
    took = []
    for _ in range(3):
        begin = time.perf_counter()
        html.render(INCIDENT)
        took.append(time.perf_counter() - begin)
    assert min(took) < 0.3


def test_very_much_stays_readable_and_below_5_mb() -> None:
    for text in (
        html.render(wide(200, 8, "v" * 900)),
        html.render(wide(200, 8, "\U0001f600" * 4000)),
        html.render(crowded(INCIDENT, "<&" * 400, 60)),
        html.render_all(many(10_000)),
        html.render_all(
            replace(
                SEVERAL,
                reports=tuple(
                    replace(INCIDENT, verdict=replace(INCIDENT.findings[0], rule=f"rule-{n}")) for n in range(10_000)
                ),
            )
        ),
    ):
        assert len(text) < MOST
        assert_sound(text)
    shown = html.render(wide(200, 8))
    assert all(f">X-Header-{n}<" in shown for n in range(200))


def test_what_passed_is_drawn_and_told_in_words() -> None:
    shown = html.render(TALK)
    life = shown[shown.index("Life of the connection") : shown.index('id="why"')]
    page = assert_sound(shown)
    words = " ".join(page.text)
    drawn = [found for found in re.findall(r"<title>([^<]*)</title>", life) if "at 33.000 s" in found]
    assert drawn == ["binary, 900,000 octets, at 33.000 s"] * 2
    assert "29 text, binary, 303,898 octets, at 0.090 to 1.540 s" in words  # what stands in one place is one mark
    assert "9,930 more frames, only counted, 79,688,328 octets, from 60.000 to 88.410 s" in words
    assert "9,930 of these only counted" in words
    assert {f"#m-{kind}" for kind in ("ping", "pong", "frame", "eof")} <= set(page.values("href"))
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)", row) for row in re.findall(r"<tr role=\"row\">(.*?)</tr>", life)]
    assert rows[:5] == [
        ["at", "sender", "what", "octets"],
        ["0.060 s", "client", "text", "48"],
        ["0.090 s", "server", "text", "210"],
        ["1.000 to 1.540 s", "server", "28 binary", "303,688"],
        ["7.500 s", "client", "text", "20"],
    ]
    assert ["88.410 s", "server", "close 1011", ""] in rows
    assert "does not tell when each passed" not in words


def test_pings_that_stand_too_close_are_a_row_with_their_number() -> None:
    pings = tuple(Frame(at=1 + n / 10, sender=Sender.CLIENT, opcode="ping", bytes=4) for n in range(30))
    hop = replace(TALKED, frames=Frames(client={"ping": Count(frames=30, bytes=120)}, server={}, first=pings))
    shown = html.render(replace(TALK, trace=replace(TALK.trace, hops=(hop,))))
    assert "<title>30 ping, 120 octets, at 1.000 to 3.900 s</title>" in shown
    assert shown.count('href="#m-ping"') == 2  # the mark, and what it means
    assert "A bar is a message" not in shown
    deflated = replace(TALKED.handshake, extensions=("permessage-deflate",)) if TALKED.handshake else None
    shown = html.render(replace(TALK, trace=replace(TALK.trace, hops=(replace(TALKED, handshake=deflated),))))
    assert "A bar is a message" in shown
    assert "Lengths are those on the wire" in shown


def test_a_record_of_counts_alone_says_so() -> None:
    shown = html.render(LONG_LIFE)
    assert "the record does not tell when each passed" in shown
    assert "one by one" not in shown[shown.index("Life of the connection") :]


@pytest.mark.parametrize("octets", [-(10**29), -1, 0, 2**64, 10**29])
def test_a_length_that_no_frame_has_breaks_no_report(octets: int) -> None:
    odd = tuple(Frame(at=n - 5.0, sender=Sender.SERVER, opcode="reserved 3", bytes=octets) for n in range(7))
    hop = replace(TALKED, frames=Frames(client={}, server={"text": Count(frames=-4, bytes=-1)}, first=odd, last=odd))
    report = replace(TALK, trace=replace(TALK.trace, hops=(hop,)))
    assert_sound(html.render(report))
    for name in ("har", "otlp", "markdown", "mermaid", "json", "terminal", "junit"):
        assert formats()[name].render(report)


def test_a_file_of_a_hundred_thousand_frames_is_drawn_within_bounds() -> None:
    flood = tuple(Frame(at=n / 1000, sender=Sender.SERVER, opcode="<b>" * 50, bytes=2**64) for n in range(100_000))
    assert TALKED.frames
    hop = replace(TALKED, frames=replace(TALKED.frames, first=flood))
    shown = html.render(replace(TALK, trace=replace(TALK.trace, hops=(hop,))))
    assert len(shown) < 400_000
    assert_sound(shown)


def test_evidence_leads_to_the_cell_that_shows_it() -> None:
    shown = html.render(INCIDENT)
    links = re.findall(r'<li><a href="#([^"]+)"><b>(edge|inner)</b>, request</a>', shown)
    assert [name for _, name in links][:2] == ["edge", "inner"]
    lost = re.search(rf'<td id="{links[1][0]}" class="(\w+)" data-head="(\w+)"', shown)
    assert lost
    assert lost.groups() == ("absent", "inner")


def test_lines_of_a_config_are_shown_with_what_is_meant_marked() -> None:
    shown = html.render(CONFIGURED)
    assert "/etc/nginx/nginx.conf:42" in shown
    assert "<mark>proxy_set_header</mark> Authorization &quot;&quot;;" in shown
    assert "predicts that Authorization is removed" in shown


def test_the_write_up_shows_causes_with_evidence_and_the_exact_change() -> None:
    shown = html.render(EXPLAINED)
    why = shown[shown.index(' id="why"') : shown.index(' id="fixes"')]
    cell = re.search(r'<a href="#(c\d+-\d+)"><b>inner</b>', why)
    assert cell
    assert f'<td id="{cell[1]}" class="absent"' in shown
    assert "proven, and possible as the cause of that" in why
    assert "nginx.conf:42" in why
    to_do = shown[shown.index(' id="fixes"') : shown.index(' id="controls"')]
    assert "<del>- proxy_set_header Authorization &quot;&quot;;</del>" in to_do
    assert "<ins>+ proxy_set_header Authorization $http_authorization;</ins>" in to_do
    assert "<code>--carrier</code>" in to_do
    assert "# after the fix" in to_do
    assert "wsprobe inspect /etc/nginx" in to_do


def test_a_long_url_does_not_push_the_verdict_out_of_sight() -> None:
    title = re.search("<h1>(.*?)</h1>", html.render(replace(INCIDENT, subject=f"wss://example.com/{'x' * 3000}/end")))
    assert title
    assert title[1].startswith("wss://example.com/xx")
    assert title[1].endswith("xx/end")
    assert len(title[1]) < 250


def test_a_command_that_stands_beside_a_finding_is_not_told_again() -> None:
    command = "wsprobe record backend --listen 0.0.0.0:8081"
    beside = replace(INCIDENT.findings[1], next=(command,))
    shown = html.render(
        replace(INCIDENT, findings=(INCIDENT.findings[0], beside), next=(command, "wsprobe explain 1011"))
    )
    assert shown.count(command) == 1
    assert "wsprobe explain 1011" in shown.partition('id="next"')[2]


def test_what_changed_in_a_value_is_marked() -> None:
    cells = (Cell(state=State.PRESENT, value="abc-def"), Cell(state=State.ALTERED, value="abc-xyz-def"))
    shown = html.render(
        replace(INCIDENT, matrix=(Row(message="request", name="X-A", cells=(*cells, Cell(state=State.UNOBSERVED))),))
    )
    assert "abc-<mark>xyz-</mark>def" in shown
    assert all(state in shown for state in ("altered", "not observed"))


def test_odd_numbers_break_no_drawing() -> None:
    for number in (float("nan"), float("inf"), -5.0, 0.0, 1e300):
        closes = (Close(sender=Sender.CLIENT, ending=Ending.FRAME, code=1000, reason="", at=number),)
        assert LIVED.frames
        frames = replace(LIVED.frames, first=(Frame(at=number, sender=Sender.CLIENT, opcode="text", bytes=1),))
        odd = replace(
            LIVED, closes=closes, ended=number, phases={"tcp": number}, activity=Activity(client=number), frames=frames
        )
        shown = html.render(replace(LONG_LIFE, trace=Trace(id=None, hops=(odd,), order=None)))
        assert_sound(shown)
        assert not re.search(r'="(nan|inf|-[\d.]+%)', shown)


def test_the_command_writes_it(tmp_path: Path) -> None:
    saved, page = tmp_path / "saved.json", tmp_path / "page.html"
    saved.write_text(formats()["json"].render(INCIDENT))
    ran = run("report", str(saved), "--format", "html", "-o", str(page), "--fail-on", "never")
    assert (ran.status, ran.out) == (0, page.read_text())
    assert ran.out == html.render(INCIDENT)
