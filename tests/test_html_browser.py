"""The HTML report as a real browser shows it, and the HAR as its DevTools import it."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, executable
from tests.reports.pages import CONFIGURED, EXPLAINED, LONG_LIFE, TALK, wide
from tests.reports.samples import CLIENT_ONLY, INCIDENT, ONE_BY_ONE, SEVERAL
from tests.test_reports import poisoned
from tests.tracing import run
from wsprobe.reports import har, html


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
    "much that passed": lambda: html.render(TALK),
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


# What DevTools make of a HAR: their own importer, in the page that the Network panel is part of.
IMPORTED = """
(async () => {
  const { HARFormat, Importer } = await import("devtools://devtools/bundled/models/har/har.js");
  const log = new HARFormat.HARRoot(HAR).log;
  return Importer.Importer.requestsFromHARLog(log).map(request => [request.url(), request.frames()]);
})()
"""


def test_the_devtools_of_chromium_import_the_frames_of_a_har(browser: Browser) -> None:
    browser.call("Page.navigate", url="devtools://devtools/bundled/devtools_app.html")
    if browser.run("location.protocol") != "devtools:":
        pytest.skip("this Chromium brings no DevTools along")
    ((url, frames),) = browser.run(IMPORTED.replace("HAR)", f"{har.render(CLIENT_ONLY)})", 1))
    assert url == "wss://staging.example.com/ws?room=7"
    assert [(one["type"], one["opCode"], one["text"]) for one in frames[:4]] == [
        ("send", 1, "[48 octets, not recorded]"),
        ("receive", 1, "[210 octets, not recorded]"),
        ("receive", 1, "[300 octets, not recorded]"),
        ("receive", 9, ""),
    ]
    assert [(one["type"], one["opCode"], one["text"]) for one in frames[-2:]] == [
        ("receive", 8, "1011"),
        ("send", 8, "1011"),
    ]
    assert len(frames) == 10


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
