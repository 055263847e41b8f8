"""The HTML report: what it holds for whatever was recorded, and how a real browser shows it."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.browser import Browser, executable
from tests.reports.samples import CLIENT_ONLY, HEALTHY, INCIDENT, ONE_BY_ONE, SEVERAL, hop
from tests.test_reports import HOSTILE, SAMPLES, crowded, poisoned, unprintable
from tests.tracing import run
from wsprobe.model import (
    Activity,
    Body,
    Cell,
    Close,
    Confidence,
    Count,
    Ending,
    Frames,
    Line,
    Link,
    Message,
    Pings,
    PingsBySide,
    Remedy,
    Report,
    Reports,
    Row,
    Sender,
    State,
    Summary,
    Trace,
    Who,
    WriteUp,
)
from wsprobe.reports import formats, html

MOST = 5_000_000  # octets of any report

# Reports beside the canonical ones.


def wide(headers: int, hops: int, value: str = "v") -> Report:
    """Many headers by many hops, every third altered on the way and every fifth lost."""

    def cells(number: int) -> tuple[Cell, ...]:
        every = [Cell(state=State.PRESENT, value=f"{value}-{number}")] * hops
        if number % 3 == 0:
            every[hops // 2 :] = [Cell(state=State.PRESENT, value=f"{value}-{number}-other")] * (hops - hops // 2)
            every[hops // 2] = replace(every[hops // 2], state=State.ALTERED)
        if number % 5 == 0:
            every[-1] = Cell(state=State.ABSENT)
        return tuple(every)

    names = [f"hop-{number}" for number in range(hops)]
    seen = tuple(hop(name, (hops - number) / 100) for number, name in enumerate(names))
    return replace(
        INCIDENT,
        trace=replace(INCIDENT.trace, hops=seen),
        verdict=replace(INCIDENT.findings[0], segment=(names[1], names[2])),
        matrix=tuple(Row(message="request", name=f"X-Header-{n}", cells=cells(n)) for n in range(headers)),
        endings=tuple(f"{name}: received 1011" for name in names),
    )


LIVED = replace(
    hop("client", 0.041),
    phases={"dns": 0.002, "tcp": 0.011, "tls": 0.024, "upgrade": 0.041},
    frames=Frames(
        client={"text": Count(frames=3, bytes=120), "ping": Count(frames=9, bytes=36)},
        server={"binary": Count(frames=12, bytes=65_000), "pong": Count(frames=8, bytes=32)},
    ),
    pings=PingsBySide(client=Pings(sent=9, answered=8, shortest=0.01, mean=0.012, longest=0.03)),
    activity=Activity(client=40.0, server=38.0),
    closes=(
        Close(sender=Sender.SERVER, ending=Ending.RESET, code=None, reason="", at=60.1),
        Close(sender=Sender.LOCAL, ending=Ending.TIMEOUT, code=None, reason="", at=70.0),
    ),
    ended=70.0,
    response=Message(
        start_line="HTTP/1.1 403 Forbidden",
        headers=(("Content-Type", "text/html"),),
        body=Body(text="<h1>no</h1>\n<script>alert(1)</script>", size=37),
    ),
)
LONG_LIFE = replace(INCIDENT, trace=Trace(id=None, hops=(LIVED,), order=None), verdict=None, findings=())

CONFIGURED = replace(
    INCIDENT,
    verdict=replace(
        INCIDENT.findings[0],
        lines=(
            Line(
                path="/etc/nginx/nginx.conf",
                line=42,
                text='proxy_set_header Authorization "";',
                column=9,
                length=16,
                indent=8,
            ),
        ),
    ),
    config=("nginx.conf, as exported: predicts that Authorization is removed",),
)


LINE = Line(path="/etc/nginx/nginx.conf", line=42, text='proxy_set_header Authorization "";')
EXPLAINED = replace(
    INCIDENT,
    writeup=WriteUp(
        chain=(
            Link(what="The client saw 1011.", confidence=Confidence.PROVEN, leads=None, places=()),
            Link(
                what="Authorization was lost.",
                confidence=Confidence.PROVEN,
                leads=Confidence.POSSIBLE,
                places=INCIDENT.findings[0].places,
                rule="header-removed",
                lines=(LINE,),
            ),
        ),
        proven="Proven: header-removed.",
        fixes=(
            Remedy(
                who=Who.CONFIG,
                what="Pass it on.",
                line=LINE,
                instead="proxy_set_header Authorization $http_authorization;",
            ),
            Remedy(who=Who.CLIENT, what="Use `--carrier`."),
        ),
        verify=("wsprobe diff before.json after.json   # after the fix",),
        prevent=("wsprobe inspect /etc/nginx",),
    ),
)


def many(connections: int) -> Reports:
    """Very many connections of four results."""
    kinds = [replace(INCIDENT, subject=f"wss://staging.example.com/{n}") for n in range(3)]
    every = tuple((*kinds, CLIENT_ONLY, HEALTHY)[n % 5] for n in range(connections))
    healthy = sum(one.verdict is None for one in every)
    return Reports(
        reports=every, summary=Summary(connections=connections, healthy=healthy, phases=SEVERAL.summary.phases)
    )


# What it holds, without a browser.

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
        html.render(crowded(INCIDENT, "<&" * 400, 120)),
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
        odd = replace(LIVED, closes=closes, ended=number, phases={"tcp": number}, activity=Activity(client=number))
        shown = html.render(replace(LONG_LIFE, trace=Trace(id=None, hops=(odd,), order=None)))
        assert_sound(shown)
        assert not re.search(r'="(nan|inf|-[\d.]+%)', shown)


def test_the_command_writes_it(tmp_path: Path) -> None:
    saved, page = tmp_path / "saved.json", tmp_path / "page.html"
    saved.write_text(formats()["json"].render(INCIDENT))
    ran = run("report", str(saved), "--format", "html", "-o", str(page), "--fail-on", "never")
    assert (ran.status, ran.out) == (0, page.read_text())
    assert ran.out == html.render(INCIDENT)


# In a browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if executable() is None:
        pytest.skip("no Chromium is installed: Debian has it as chromium")
    with Browser() as running:
        yield running


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[[str], Browser]:
    def shown(text: str) -> Browser:
        file = tmp_path / "report.html"
        file.write_text(text)
        browser.media()
        browser.size(1280)
        browser.open(file)
        return browser

    return shown


Show = Callable[[str], Browser]
MADE: dict[str, Callable[[], str]] = {
    **{name: partial(html.render, report) for name, report in ONE_BY_ONE.items()},
    "several": lambda: html.render_all(SEVERAL),
    "long life": lambda: html.render(LONG_LIFE),
    "write-up": partial(html.render, EXPLAINED),
    "configs": lambda: html.render(CONFIGURED),
    "200 headers by 8 hops": lambda: html.render(wide(200, 8)),
    "40 hops": lambda: html.render(wide(20, 40)),
    "endless words": lambda: html.render(poisoned(INCIDENT, "W" * 700, whole=False)),
    "endless words, several": lambda: html.render_all(poisoned(SEVERAL, "W" * 300, whole=False)),
    "wide letters": lambda: html.render(poisoned(LONG_LIFE, "\u6f22" * 200, whole=True)),
}
# Elements that reach beyond the page; what is only there to be heard and what is drawn inside of a drawing left out.
OVERFLOWING = """
Array.from(document.querySelectorAll("body *")).filter(e => {
  if (e.closest(".vh, .sprite, .skip") || (e.closest("svg") && e.tagName !== "svg" && e.tagName !== "text")) return false;
  if (e.classList.contains("end")) return false;
  const box = e.getBoundingClientRect();
  return box.width && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
}).map(e => e.tagName + "." + e.getAttribute("class") + ": " + e.textContent.slice(0, 80))
"""
OPEN = "document.querySelectorAll('details').forEach(e => { e.open = true; })"


@pytest.mark.parametrize("name", MADE)
def test_no_error_no_request_and_no_overflow(name: str, show: Show) -> None:
    browser = show(MADE[name]())
    assert len(browser.requests) == 1
    browser.run(OPEN)
    for width in (360, 768, 1600):
        browser.size(width)
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert browser.run(OVERFLOWING) == []
    assert browser.complaints == []


def test_the_filters_work_by_keyboard_and_say_what_they_left(show: Show) -> None:
    browser = show(html.render(wide(200, 8)))
    shown = "Array.from(document.querySelectorAll('tr[data-name]')).filter(e => e.getClientRects().length).length"
    said = "document.querySelector('output').textContent"
    assert (browser.run(shown), browser.run(said)) == (200, "200 of 200 headers")
    browser.run("document.querySelector('input[type=search]').focus()")
    browser.type("HEADER-15")
    assert (browser.run(shown), browser.run(said)) == (11, "11 of 200 headers")  # 15 and 150 to 159
    browser.press("Tab")
    browser.press(" ", " ")
    differing = len([n for n in (15, *range(150, 160)) if n % 3 == 0 or n % 5 == 0])
    assert browser.run("document.activeElement.checked") is True
    assert browser.run(shown) == differing
    browser.run(
        "(e => { e.value = 'no such'; e.dispatchEvent(new Event('input', {bubbles: true})) })"
        "(document.querySelector('input[type=search]'))"
    )
    assert (browser.run(shown), browser.run(said)) == (0, "0 of 200 headers")
    assert browser.complaints == []


def test_a_link_to_evidence_shows_it_whatever_is_filtered_or_folded(show: Show) -> None:
    browser = show(html.render(INCIDENT))
    browser.run(
        "(e => { e.value = 'host'; e.dispatchEvent(new Event('input', {bubbles: true})) })"
        "(document.querySelector('input[type=search]'))"
    )
    visible = "document.getElementById(location.hash.slice(1)).checkVisibility()"
    for link in browser.run("Array.from(document.querySelectorAll('.verdict a, .findings a')).map(e => e.hash)"):
        browser.run(f"document.querySelector('a[href=\"{link}\"]').click()")
        browser.run("new Promise(done => setTimeout(done, 20))")
        assert browser.run(visible), link
    assert browser.run("document.querySelector('details[id=hop-0]').open")


EVIL = "<img src=http://127.0.0.1:9/x onerror=window.hit=1><script>window.hit=1;alert(1)</script>\"' onclick='hit=1'"


def test_hostile_headers_reasons_and_bodies_are_shown_as_text(show: Show) -> None:
    report = poisoned(LONG_LIFE, EVIL, whole=False)
    browser = show(html.render(poisoned(INCIDENT, EVIL, whole=False)))
    assert browser.run("document.querySelectorAll('img, main script, [onclick], iframe').length") == 0
    browser = show(html.render(report))
    browser.run(OPEN)
    assert EVIL in browser.run("document.body.innerText")
    assert "<script>alert(1)</script>" in browser.run("document.querySelector('.hops').innerText").replace(EVIL, "")
    assert browser.run("window.hit") is None
    assert (browser.dialogs, browser.complaints, len(browser.requests)) == (0, [], 1)


def test_the_policy_holds_when_something_gets_in_after_all(show: Show) -> None:
    browser = show(html.render(INCIDENT))
    browser.run(
        "document.querySelector('main').insertAdjacentHTML('beforeend',"
        '\'<img src="data:," onerror="window.hit=1"><b id=bad onclick="window.hit=2">x</b>\')'
    )
    browser.run("document.getElementById('bad').click()")
    failed = browser.run("fetch('http://127.0.0.1:9/').then(() => 'went out', () => 'blocked')")
    assert (browser.run("window.hit"), failed) == (None, "blocked")
    assert any("Content Security Policy" in said for said in browser.complaints)


CONTRAST = """
(() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const lum = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } };
  return Array.from(document.querySelectorAll("main *")).filter(e => !e.closest("svg, .vh") && e.checkVisibility() &&
    Array.from(e.childNodes).some(n => n.nodeType === 3 && n.data.trim())).map(e => {
      const [a, b] = [lum(parse(getComputedStyle(e).color)), lum(ground(e))].sort((x, y) => y - x);
      return [(a + .05) / (b + .05), e.className + ": " + e.textContent.slice(0, 40)]; }).filter(x => x[0] < 4.5);
})()
"""


def test_light_and_dark_differ_and_both_can_be_read(show: Show) -> None:
    grounds = set()
    browser = show(html.render(INCIDENT))
    browser.run(OPEN)
    for scheme in ("light", "dark"):
        browser.media(scheme)
        grounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
        assert browser.run(CONTRAST) == []
    assert len(grounds) == 2


def test_a_screen_reader_finds_names_tables_and_headings(show: Show) -> None:
    for width in (360, 1280):
        browser = show(html.render(INCIDENT))
        browser.size(width)
        nodes = [node for node in browser.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
        assert ("searchbox", "Header") in named
        assert ("checkbox", "only what differs") in named
        assert ("table", "Headers by hops") in named
        assert {"columnheader", "rowheader", "cell", "list", "main"} <= {role for role, _ in named} | (
            {"columnheader"} if width == 360 else set()
        )
        assert all(name for role, name in named if role in {"image", "link", "searchbox", "checkbox", "heading"})
        words = " ".join(name for role, name in named if role == "StaticText")
        assert "here: header-removed Authorization" in re.sub(r"\s+", " ", words)
    levels = browser.run("Array.from(document.querySelectorAll('h1,h2,h3,h4,h5')).map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 2 for before, after in pairwise(levels))


def test_states_have_shapes_of_their_own(show: Show) -> None:
    browser = show(html.render(INCIDENT))
    shapes: dict[str, str] = browser.run(
        "Object.fromEntries(Array.from(document.querySelectorAll('symbol')).map(e => [e.id, e.innerHTML]))"
    )
    states = [shapes[f"i-{name}"] for name in ("present", "absent", "altered", "uncompared", "unobserved")]
    assert len(set(states)) == 5


def test_on_paper_everything_is_unfolded(show: Show) -> None:
    browser = show(html.render_all(SEVERAL))
    browser.run(
        "window.folded = null; addEventListener('beforeprint', () => {"
        " window.folded = document.querySelectorAll('details:not([open])').length })"
    )
    before = browser.run("document.querySelectorAll('details:not([open])').length")
    printed: dict[str, Any] = browser.call("Page.printToPDF")
    assert len(printed["data"]) > 10_000
    assert browser.run("window.folded") == 0
    assert browser.run("document.querySelectorAll('details:not([open])').length") == before
    browser.media(media="print")
    assert browser.run("document.querySelector('form').getClientRects().length") == 0


def test_the_demo_as_a_page(browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("mitmproxy")
    page = tmp_path / "report.html"
    assert run("demo", "-o", str(page)).status == 0
    browser.size(1280)
    browser.open(page)
    words: str = browser.run("document.body.innerText")
    assert "Authorization left edge and did not arrive at app" in words
    assert browser.run("document.querySelectorAll('td.absent').length") == 1
    assert browser.complaints == []
