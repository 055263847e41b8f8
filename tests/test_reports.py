"""Reports: canonical values against golden files, and whatever text against the promises of each format.

`UPDATE_GOLDEN=1 make test ARGS="-k golden"` writes the golden files anew.
"""

import contextlib
import html
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar

import cmarkgfm  # type: ignore[import-untyped]
import pytest
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.reports.pages import TALK, many
from tests.reports.samples import HEALTHY, INCIDENT, ONE_BY_ONE, SEVERAL
from wsprobe.cli import main
from wsprobe.cli.report import MAX_FILE
from wsprobe.codec import decode, encode, encode_line
from wsprobe.model import Cell, Count, Finding, Frames, Observation, Place, Report, Reports, Row, State, Trial
from wsprobe.reports import formats, markdown, terminal
from wsprobe.reports._text import shortened, visible

GOLDEN = Path(__file__).parent / "reports" / "golden"
SGR = re.compile(r"\x1b\[[0-9;]*m")
Record = TypeVar("Record", Report, Reports)

# Golden files.


@pytest.mark.parametrize("name", formats())
@pytest.mark.parametrize("sample", [*ONE_BY_ONE, "several"])
def test_canonical_reports_are_rendered_as_in_the_golden_files(name: str, sample: str) -> None:
    module = formats()[name]
    text = module.render_all(SEVERAL) if sample == "several" else module.render(ONE_BY_ONE[sample])
    golden = GOLDEN / f"{sample}{module.SUFFIXES[0]}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_golden_files_are_those_of_the_formats_and_no_others() -> None:
    expected = {f"{sample}{module.SUFFIXES[0]}" for sample in (*ONE_BY_ONE, "several") for module in formats().values()}
    assert {path.name for path in GOLDEN.iterdir()} == expected


# Any text in any field.

PIECES = [
    "\x1b[2J", "\x1b]0;pwned\x07", "\x9b31m", "\x00", "\x7f", "\r\n", "\t", "\u202e", "\u2066", "\u200b", "\ufeff",
    "\u2028", "\ud800", "\U000e0041", "\ufe0f", "[red]x[/red]", "[link=http://evil.example]x[/link]", ":tada:",
    "<script>alert(1)</script>", "<img src=x onerror=1>", "<!--", "-->", "</details>", "&lt;", "@alice", "@org/team",
    "#123", "owner/repo#1", "GH-12", "!7", "~label", "http://evil.example/", "www.evil.example", "a@b.example",
    "deadbeef", "9f86d081884c7d65", "[x](http://evil.example)", "![x](y)", "`", "``", "````", "~~~", "```mermaid",
    "|", "\\|", "\\", "\\\\|", "*b*", "__b__", "# head", "1. one", "- item", "---", "===", "> quote", "$x$", "[ ]",
    "wide 漢字 words", "\u0301\u0301", "word", " ", "=", "/close", "x" * 300, "é",
]  # fmt: skip
HOSTILE = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(" ".join),
    st.text(st.characters(), max_size=40),
)


def rewritten(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401  any part of a record
    """A record with every text in it changed."""
    if isinstance(value, str):
        return value if isinstance(value, StrEnum) else change(value)
    if isinstance(value, tuple):
        return tuple(rewritten(item, change) for item in value)
    if isinstance(value, dict):
        return {change(key): rewritten(item, change) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: rewritten(getattr(value, f.name), change) for f in fields(value)})
    return value


def poisoned(record: Record, text: str, *, whole: bool) -> Record:
    """The record with a text in the middle of every text of it, or in its place."""
    middle: Callable[[str], str] = lambda old: f"{old[: len(old) // 2]}{text}{old[len(old) // 2 :]}"  # noqa: E731
    changed: Record = rewritten(record, (lambda _: text) if whole else middle)
    return changed


BOOLEANS = st.booleans()
SAMPLES = st.sampled_from(list(ONE_BY_ONE))


def unprintable(text: str) -> set[str]:
    return {c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}


@settings(max_examples=60, deadline=None)
@given(sample=SAMPLES, text=HOSTILE, whole=BOOLEANS, width=st.integers(60, 200), colour=BOOLEANS)
@example(sample="incident", text="\x1b[2J\u202e\x07", whole=True, width=60, colour=True)
def test_no_text_moves_the_cursor_or_breaks_the_layout(
    *, sample: str, text: str, whole: bool, width: int, colour: bool
) -> None:
    shown = terminal.render(poisoned(ONE_BY_ONE[sample], text, whole=whole), width=width, colour=colour)
    plain = SGR.sub("", shown) if colour else shown
    assert unprintable(plain) == set()
    assert max(map(cell_len, plain.split("\n"))) <= width
    assert plain.endswith("\n")


@settings(max_examples=15, deadline=None)
@given(text=HOSTILE, whole=BOOLEANS, width=st.integers(60, 200))
def test_no_text_breaks_the_layout_of_several_reports(*, text: str, whole: bool, width: int) -> None:
    shown = terminal.render_all(poisoned(SEVERAL, text, whole=whole), width=width)
    assert unprintable(shown) == set()
    assert max(map(cell_len, shown.split("\n"))) <= width


def test_markup_is_shown_as_it_stands() -> None:
    shown = terminal.render(replace(INCIDENT, subject="[red]x[/red] :tada: [link=http://a]b[/link]"), colour=True)
    assert "[red]x[/red] :tada: [link=http://a]b[/link]" in SGR.sub("", shown)


def test_escapes_can_be_read() -> None:
    assert visible("a\x1b[2J\u202e\U000e0041\t\ufe0f") == r"a\x1b[2J\u202e\U000e0041\t\ufe0f"
    assert visible("grün 漢字") == "grün 漢字"


@given(st.text(max_size=60), st.integers(1, 60))
def test_a_shortened_text_fits_and_keeps_its_ends(text: str, room: int) -> None:
    short = shortened(text, room)
    assert len(short) <= room
    assert short == text or (len(text) > room and "…" in short)
    assert room < 3 or (short[:1] == text[:1] and short[-1:] == text[-1:])


# Markdown, as GitHub's own parser reads it.

TAGS = {"p", "strong", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"}
TAGS |= {"ul", "ol", "li", "details", "summary", "sub", "hr"}
SAFE = re.compile(r"""[\w\s.,:;?()"'\u201c\u201d\u2019→✓✗≠·…-]*""")
LIVE = re.compile(r"(?<![a-z])[0-9a-f]{7,40}(?![a-z])|[a-z]\.[a-z]|\w-\d|\d-\w", re.IGNORECASE)


class Live(HTMLParser):
    """The tags of a page, and its text outside of code."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {f"{name}={value}" for name, value in attrs}
        self._code += tag in {"code", "pre"}

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in {"code", "pre"}

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.add(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.tags.add(f"declaration {decl}")


def rendered(text: str) -> str:
    page: str = cmarkgfm.github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE)
    return page


def assert_inert(text: str) -> None:
    page = Live()
    page.feed(rendered(text))
    page.close()
    assert page.tags <= TAGS
    assert page.attributes <= {"lang=text", "lang=sh", "lang=diff", "lang=mermaid"}
    for piece in page.text:
        assert SAFE.fullmatch(piece), piece
        assert not LIVE.search(re.sub(r"\d+\.\d+ m?s\b", "", piece)), piece


@settings(max_examples=60, deadline=None)
@given(sample=SAMPLES, text=HOSTILE, whole=BOOLEANS)
@example(sample="incident", text="@alice <img src=x onerror=1> `x` owner/repo#1 | http://a.example", whole=False)
def test_nothing_that_the_traffic_says_is_live_in_markdown(*, sample: str, text: str, whole: bool) -> None:
    shown = markdown.render(poisoned(ONE_BY_ONE[sample], text, whole=whole))
    assert unprintable(shown) == set()
    assert_inert(shown)


@settings(max_examples=15, deadline=None)
@given(text=HOSTILE, whole=BOOLEANS)
def test_nothing_is_live_in_markdown_of_several_reports(*, text: str, whole: bool) -> None:
    assert_inert(markdown.render_all(poisoned(SEVERAL, text, whole=whole)))


@given(HOSTILE)
def test_a_code_span_shows_its_text_without_tags(text: str) -> None:
    shown = rendered(f"a {markdown.code(text)} b")
    expected = f" <code>{html.escape(markdown.untagged(visible(text)))}</code>" if visible(text) else " "
    assert html.unescape(shown) == html.unescape(f"<p>a{expected} b</p>\n")


@given(HOSTILE)
def test_a_code_span_in_a_table_stays_in_its_cell(text: str) -> None:
    shown = rendered(f"| a | b |\n| --- | --- |\n| {markdown.cell(markdown.code(text))} | end |")
    cells = re.findall(r"<td>(.*?)</td>", shown, re.DOTALL)
    expected = markdown.untagged(visible(text)).replace("\\|", "\\x5c|")
    assert [html.unescape(cell) for cell in cells] == [f"<code>{expected}</code>" if expected else "", "end"]


@given(st.lists(HOSTILE, max_size=4))
def test_a_block_shows_its_lines_without_tags(lines: list[str]) -> None:
    lines = [visible(line) for line in lines]
    shown = rendered(markdown.block(lines, "text"))
    lines = [f"{' ' * line.startswith('/')}{markdown.untagged(line)}" for line in lines]
    body = "".join(f"{line}\n" for line in lines) or "\n"
    assert html.unescape(shown) == f'<pre lang="text"><code>{body}</code></pre>\n'


def test_ordinary_sentences_stay_as_they_are() -> None:
    said = "Authorization left edge and did not arrive at inner (proven). It took 41 ms; Sec-WebSocket-Key was kept."
    assert markdown.inert(said) == said
    assert markdown.inert("1. first") == "`1.` first"
    assert markdown.inert("10.0.0.5:443; tcp") == "`10.0.0.5:443`; tcp"
    assert markdown.inert("see @alice, (lb-1) and #12.") == "see `@alice`, (`lb-1`) and `#12`."
    assert markdown.inert('take `a b "";` (`c`), out') == 'take `a b "";` (`c`), out'


def crowded(report: Report, text: str, times: int) -> Report:
    """A report with very much of everything."""
    cells = tuple(Cell(state=State.ALTERED, value=text) for _ in report.trace.hops)
    place = Place(hop=text, part=text, shows=text)
    base = report.verdict or report.findings[0]
    findings = tuple(
        replace(
            base, rule=f"rule-{n}", message=text, places=(place,) * times, others=(text,) * times, next=(text,) * times
        )
        for n in range(times)
    )
    return replace(
        report,
        subject=text,
        verdict=findings[0],
        findings=findings,
        matrix=tuple(Row(message="request", name=f"X-{n}-{text}", cells=cells) for n in range(times)),
        trace=replace(report.trace, hops=report.trace.hops * min(times, 40)),
        unobserved=(text,) * times,
        next=tuple(f"{n} {text}" for n in range(times)),
    )


@pytest.mark.parametrize("text", ["x" * 500, "`a " * 200, "\U000e0001" * 300, "a|b " * 200])
def test_markdown_fits_into_an_issue_whatever_there_is(text: str) -> None:
    full = crowded(INCIDENT, text, 120)
    for shown in (
        markdown.render(full),
        markdown.render_all(replace(SEVERAL, reports=tuple(replace(full, verdict=v) for v in full.findings[:30]))),
    ):
        assert len(shown) <= markdown.LONGEST
        assert_inert(shown)
        assert shown.rstrip().endswith("</sub>")


def test_of_a_long_report_the_headers_in_which_nothing_happened_go_first() -> None:
    quiet = tuple(
        Row(message="request", name=f"X-Quiet-{n}", cells=(Cell(state=State.PRESENT, value="v" * 900),) * 3)
        for n in range(120)
    )
    shown = markdown.render(replace(INCIDENT, matrix=(*INCIDENT.matrix, *quiet)))
    assert len(shown) <= markdown.LONGEST
    assert "X-Quiet" not in shown
    assert markdown.render(INCIDENT).replace("x", "").count("<details>") == 4
    assert "`Authorization` | ✓ | ✓ | ✗" in shown


def test_a_long_report_drops_frames_then_hops_and_points_to_the_attachment() -> None:
    busy = replace(INCIDENT.trace.hops[1], frames=Frames(client={"text": Count(frames=3, bytes=30)}, server={}))

    def shown(number: int, header: int) -> str:
        between = tuple(replace(busy, name=f"between-{at}") for at in range(number))
        hops = (INCIDENT.trace.hops[0], *between, *INCIDENT.trace.hops[1:])
        quiet = Row(message="request", name="X-Quiet", cells=(Cell(state=State.PRESENT, value="v" * 900),) * len(hops))
        trace = replace(INCIDENT.trace, hops=hops)
        endings = tuple(f"{hop.name}: {'e' * header}" for hop in hops)
        return markdown.render(replace(INCIDENT, trace=trace, matrix=(*INCIDENT.matrix, quiet), endings=endings))

    whole, frames, hops = shown(3, 20), shown(300, 60), shown(300, 500)
    assert "What passed at each hop" in whole
    assert "Left out to fit" not in whole
    assert "What passed at each hop" not in frames
    assert "| `between-150` |" in frames
    assert "Left out to fit: the frames of each hop" in frames
    assert "| `between-150` |" not in hops
    assert "more hops between these." in hops
    assert "hops between those that say most. The attached JSON report has all of it." in hops
    for text in (whole, frames, hops):
        assert len(text) <= markdown.LONGEST
        assert text.rstrip().endswith("</sub>")
        assert text.count("```mermaid") == 2
        assert "`Authorization` |" in text


def test_frames_one_by_one_are_the_first_that_a_long_report_drops() -> None:
    whole = markdown.render(TALK)
    assert "text, 48 octets, at 60 ms" in whole
    assert whole.count("| 1.000 to 1.540 s | server | 28 binary | 303688 |") == 2
    short = markdown.render(TALK, room=len(whole) - 1)
    assert "text, 48 octets" not in short
    assert "28 binary" not in short
    assert "3 text, 9958 binary, 4 ping" in short
    assert "Left out to fit: the frames of each hop." in short


@pytest.mark.parametrize("width", [60, 76, 200])
def test_a_crowded_report_keeps_to_the_width(width: int) -> None:
    shown = terminal.render(crowded(INCIDENT, "漢字 " * 100, 60), width=width)
    assert max(map(cell_len, shown.split("\n"))) <= width
    assert len(shown.split("\n")) < 4000  # of 60 findings with 60 places each


# The terminal.


def test_the_incident_fits_one_screen() -> None:
    lines = terminal.render(INCIDENT, width=100).splitlines()
    assert next(at for at, line in enumerate(lines) if line.startswith("why ")) <= 40  # what to do comes after it
    assert len(lines) <= 48
    assert lines[0].startswith("wss://staging.example.com/ws?room=7   2026-03-02 10:15:04 UTC")


def test_the_mark_stands_over_what_was_lost() -> None:
    lines = terminal.render(INCIDENT, width=100).splitlines()
    path, label = lines[2:4]
    at = path.index("✗")
    assert path.index("edge") < at < path.index("inner")
    assert label.strip() == "Authorization"
    assert abs(label.index("Authorization") + len("Authorization") // 2 - at) <= 1


def test_colour_is_only_added_to_what_is_there_without_it() -> None:
    for report in ONE_BY_ONE.values():
        plain, coloured = (terminal.render(report, colour=colour) for colour in (False, True))
        assert SGR.sub("", coloured) == plain
        assert coloured != plain


def test_a_broken_command_is_still_a_command(tmp_path: Path) -> None:
    long = "wsprobe trace --header 'X: it is  so' " + " ".join(f"--records {n}.jsonl" for n in range(9))
    shown = terminal.render(replace(INCIDENT, next=(f"{long} # and a comment",)), width=60)
    command = shown[shown.index("# and a comment") :]
    echo = tmp_path / "wsprobe"
    echo.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    echo.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", command], env={"PATH": f"{tmp_path}:/bin:/usr/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[:3] == ["trace", "--header", "X: it is  so"]
    assert len(done.stdout.splitlines()) == 3 + 18


def test_a_verdict_on_a_hop_or_over_several_segments_is_marked() -> None:
    verdict = INCIDENT.verdict
    assert verdict
    wide = terminal.render(replace(INCIDENT, verdict=replace(verdict, segment=("client", "inner"))))
    assert wide.splitlines()[2].count("?") == 3  # both arrows, and the end that was not observed
    nowhere = terminal.render(replace(INCIDENT, verdict=replace(verdict, segment=("nobody", "inner"))))
    assert "✗" not in nowhere.splitlines()[2]
    end = replace(INCIDENT.trace.hops[2], recorder=replace(INCIDENT.trace.hops[2].recorder, kind="origin"))
    closed = replace(
        INCIDENT,
        trace=replace(INCIDENT.trace, hops=(*INCIDENT.trace.hops[:2], end)),
        verdict=replace(verdict, rule="closed-by-origin", segment=("inner", None), header=None),
    )
    path, label = terminal.render(closed).splitlines()[2:4]
    assert path.index("inner") == label.index("✗ closed-by-origin")


# JSON.


def test_json_has_what_the_design_promises_also_where_it_is_empty() -> None:
    empty = replace(
        HEALTHY, skips=(), controls=(), redactions=(), trace=replace(HEALTHY.trace, id=None, hops=(bare(),), order=None)
    )
    for report in (INCIDENT, HEALTHY, empty):
        document = json.loads(formats()["json"].render(report))
        assert document["schema"] == "wsprobe.report/1"
        assert document.keys() >= {"verdict", "findings", "skips", "controls", "next", "redactions"}
        assert document["trace"].keys() >= {"id", "hops"}
        for hop in document["trace"]["hops"]:
            assert hop.keys() >= {"name", "recorder", "request", "response", "closes"}
        for finding in (*document["findings"], *([document["verdict"]] if document["verdict"] else [])):
            assert finding.keys() >= {"rule", "message", "confidence", "segment", "header", "fix", "places", "severity"}
        assert all(skip.keys() >= {"rule", "lacks"} for skip in document["skips"])


def bare() -> Observation:
    return replace(INCIDENT.trace.hops[0], trace=None, request=None, response=None, closes=(), ended=None)


@settings(max_examples=40, deadline=None)
@given(sample=SAMPLES, text=HOSTILE, whole=BOOLEANS)
def test_json_is_ascii_without_control_characters_and_says_the_same(*, sample: str, text: str, whole: bool) -> None:
    changed = poisoned(ONE_BY_ONE[sample], text, whole=whole)
    shown = formats()["json"].render(changed)
    assert shown.isascii()
    assert unprintable(shown) == set()
    assert decode(json.loads(shown)) == changed


# Discovery.


def test_formats_are_found_by_their_files() -> None:
    assert list(formats()) == sorted(formats())
    assert {"json", "markdown", "terminal"} <= set(formats())
    for name, module in formats().items():
        assert name == module.NAME
        assert formats().by_suffix(f"some.{name}{module.SUFFIXES[0].upper()}") == name
    assert formats().by_suffix("report.exe") is None
    with pytest.raises(KeyError):
        formats()["_text"]


def test_only_the_terminal_pays_for_rich(tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    saved.write_text(formats()["json"].render(INCIDENT))
    look = "import sys; from wsprobe.cli import main; main(sys.argv[1:]); sys.exit(5 + ('rich' in sys.modules))"
    for name in formats():
        done = subprocess.run(
            [sys.executable, "-c", look, "report", str(saved), "--format", name], capture_output=True, check=False
        )
        assert done.returncode == 5 + (name == "terminal"), done.stderr


# The command.


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "saved.json"
    file.write_text(formats()["json"].render(INCIDENT))
    return file


def test_report_prints_every_format(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, module in formats().items():
        assert main(["report", str(saved), "--format", name, "--fail-on", "never"]) == 0
        assert capsys.readouterr().out == module.render(INCIDENT)
    assert main(["report", str(saved)]) == 1
    assert capsys.readouterr().out == terminal.render(INCIDENT)


def test_report_takes_several_reports_and_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "saved.json"
    file.write_text(formats()["json"].render_all(SEVERAL))
    assert main(["report", str(file), "--format", "markdown"]) == 1
    assert capsys.readouterr().out == markdown.render_all(SEVERAL)
    file.write_text(json.dumps(encode(INCIDENT.trace)))
    assert main(["report", str(file), "--format", "json"]) == 1
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert (verdict["rule"], verdict["header"], verdict["segment"]) == (
        "header-removed",
        "Authorization",
        ["edge", "inner"],
    )


def test_ten_thousand_connections_can_be_read_again() -> None:
    assert 1000 * len(formats()["json"].render_all(many(10))) < MAX_FILE


def test_what_is_too_long_to_be_read_gets_one_line(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wsprobe.cli.report.MAX_FILE", 1 << 10)
    assert main(["report", str(saved)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_suffix_picks_the_format_and_a_folder_gets_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "healthy.json"
    saved.write_text(formats()["json"].render(HEALTHY))
    files = [tmp_path / f"out{module.SUFFIXES[0]}" for module in formats().values()]
    words = [word for file in (*files, tmp_path / "new") for word in ("-o", str(file))]
    assert main(["report", str(saved), *words]) == 0
    assert capsys.readouterr().out == terminal.render(HEALTHY)
    for file, module in zip(files, formats().values(), strict=True):
        assert file.read_text(encoding="utf-8") == module.render(HEALTHY)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "trace.json",
        "report.json",
        "report.md",
        "report.html",
    }
    assert decode(json.loads((tmp_path / "new" / "trace.json").read_text())) == HEALTHY.trace


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"\x00\xff\x1b[2J", "not JSON", id="binary"),
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"[1, 2]", "not a JSON object", id="no object"),
        pytest.param(b'{"schema": "wsprobe.report/9"}', "a newer version", id="newer"),
        pytest.param(b'{"schema": "\\u001b[2J"}', "is not a schema of wsprobe", id="foreign"),
        pytest.param(b'{"schema": "wsprobe.report/1"}', "version is missing", id="incomplete"),
        pytest.param(b'{"schema": "wsprobe.trace/1", "id": null, "hops": []}', "without a hop", id="no hop"),
        pytest.param(
            json.dumps(encode(replace(INCIDENT.trace, trials=(Trial(name="again", hops=()),)))).encode(),
            "a control in it, without a hop",
            id="a control without a hop",
        ),
        pytest.param(b"[" * 100_000, "not JSON", id="nested"),
        pytest.param(encode_line(INCIDENT.trace.hops[0]), "wsprobe diagnose", id="one record"),
        pytest.param(encode_line(INCIDENT.trace.hops[0]) * 2, "wsprobe diagnose", id="records"),
    ],
)
def test_what_is_no_report_gets_one_line(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    assert main(["report", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"wsprobe report: {file}: ")
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert unprintable(captured.err) == set()


def test_what_cannot_be_read_or_written_gets_one_line(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "folder.md" / "report.md").mkdir()
    for words, says in (
        ([str(tmp_path / "none.json")], "cannot be read: No such file"),
        ([str(tmp_path)], "cannot be read: Is a directory"),
        ([str(saved), "-o", str(tmp_path / "no" / "x.md")], "there is no folder"),
        ([str(saved), "-o", str(tmp_path / "x.exe")], "the suffix names no format"),
        ([str(saved), "-o", str(tmp_path / "folder.md")], "Is a directory"),
    ):
        assert main(["report", *words]) == 2
        captured = capsys.readouterr()
        assert says in captured.err
        assert captured.err.count("\n") == 1


def on_terminal(saved: Path, **environment: str) -> str:
    """What `wsprobe report` writes when its stdout is a terminal of 90 columns."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "wsprobe", "report", str(saved)],
            stdout=theirs,
            env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "90", **environment},
            cwd=Path(__file__).parent.parent,
            timeout=60,
            check=False,
        )
        os.set_blocking(ours, False)
        read = b""
        with contextlib.suppress(BlockingIOError):  # it has ended, so what there is comes at once
            while some := os.read(ours, 1_000_000):
                read += some
        return read.decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_colour_is_for_terminals_and_only_while_nobody_says_no(saved: Path) -> None:
    shown = on_terminal(saved, PYTHONUTF8="1").replace("\r\n", "\n")
    assert shown == terminal.render(INCIDENT, width=90, colour=True)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        shown = on_terminal(saved, PYTHONUTF8="1", **environment).replace("\r\n", "\n")
        assert shown == terminal.render(INCIDENT, width=90)


def test_a_terminal_without_unicode_gets_signs_that_it_has(saved: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wsprobe", "report", str(saved)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    lines = done.stdout.decode("ascii").splitlines()
    assert lines[2].index("x") == terminal.render(INCIDENT).splitlines()[2].index("✗")


def test_a_finding_without_a_segment_is_shown() -> None:
    finding = Finding(**{f.name: getattr(INCIDENT.findings[0], f.name) for f in fields(Finding)} | {"segment": None})
    for name in formats():
        assert "header-removed" in formats()[name].render(replace(INCIDENT, verdict=finding))
