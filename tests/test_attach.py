"""`wsprobe attach` against trackers that hold it to what GitHub and GitLab publish."""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backend import Backend, plain
from tests.reports import samples
from tests.tls import self_signed
from tests.tracing import Ran, run
from tests.tracker import TOKEN, Asked, GitHubTracker, GitLabTracker, Json, Says, Tracker
from wsprobe.model import Report, Reports
from wsprobe.reports.json import document

ENV = {"ISSUE_TOKEN": TOKEN}
MARKER = f"<!-- wsprobe:{samples.TRACE} -->"


@pytest.fixture(autouse=True)
def _outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_API_URL", "CI_API_V4_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def github() -> Iterator[GitHubTracker]:
    with GitHubTracker() as tracker:
        yield tracker
        assert tracker.wrong == []


@pytest.fixture
def gitlab() -> Iterator[GitLabTracker]:
    with GitLabTracker() as tracker:
        yield tracker
        assert tracker.wrong == []


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return written(tmp_path, samples.INCIDENT)


def written(folder: Path, report: Report | Reports) -> Path:
    path = folder / "report.json"
    path.write_text(document(report))
    return path


def issue(tracker: Tracker) -> str:
    """The URL of the issue that the tracker has."""
    return f"{tracker.url}/{'group/sub/chat/-' if isinstance(tracker, GitLabTracker) else 'octo-org/chat'}/issues/5"


def attach(report: Path | str, target: str, *words: str, env: dict[str, str] | None = None, post: bool = True) -> Ran:
    options = ["--post", "--token-env", "ISSUE_TOKEN"] if post else []
    ran = run("attach", str(report), target, *options, *words, env=ENV if env is None else env)
    assert TOKEN not in ran.everything
    return ran


def writes(tracker: Tracker) -> list[str]:
    return [
        f"{asked.method} {asked.path.removeprefix(tracker.root)}" for asked in tracker.asked if asked.method != "GET"
    ]


# What is posted.


def test_without_post_it_prints_what_it_would_send_and_sends_nothing(github: GitHubTracker, report: Path) -> None:
    ran = attach(report, issue(github), post=False)
    assert (ran.status, github.asked) == (0, [])
    assert ran.out.startswith(f"{MARKER}\n")
    assert "nothing was sent" in ran.err
    assert f"{len(ran.out)} characters to {github.url}/api/v3 for octo-org/chat#5" in ran.err
    attach(report, issue(github))
    assert github.comments[0]["body"] == ran.out


def test_a_second_time_the_comment_is_updated_in_place(github: GitHubTracker, report: Path, tmp_path: Path) -> None:
    first = attach(report, issue(github))
    assert (first.status, first.out) == (0, f"{github.url}/octo-org/chat/issues/5#issuecomment-100\n")
    assert "added a comment" in first.err
    written(tmp_path, replace(samples.INCIDENT, summary="a later look", verdict=None))
    second = attach(report, issue(github))
    assert (second.status, second.out) == (0, first.out)
    assert "updated the earlier comment" in second.err
    assert len(github.comments) == 1
    assert "later" in github.comments[0]["body"]
    assert writes(github) == [
        "POST /repos/octo-org/chat/issues/5/comments",
        "PATCH /repos/octo-org/chat/issues/comments/100",
    ]


def test_a_comment_of_another_trace_or_of_another_user_is_left_as_it_is(github: GitHubTracker, report: Path) -> None:
    others = [github.comment(f"{MARKER}\nmine", 2, "mallory"), github.comment("<!-- wsprobe:0000 -->\nother trace")]
    others.append(github.comment(f"> {MARKER}\nquoted"))
    others.append({**github.comment(f"{MARKER}\nof a user who is gone"), "user": None})
    github.comments[-1]["user"] = None
    before = [one["body"] for one in others]
    ran = attach(report, issue(github))
    assert ran.status == 0
    assert [one["body"] for one in github.comments[:4]] == before
    assert len(github.comments) == 5
    assert "another user's comment" in ran.err


def test_the_earlier_comment_is_found_on_a_later_page(github: GitHubTracker, report: Path) -> None:
    for number in range(230):
        github.comment(f"comment {number}")
    github.comments[210]["body"] = f"{MARKER}\nearlier"
    assert attach(report, issue(github)).status == 0
    assert [asked.query["page"] for asked in github.asked if asked.path.endswith("/comments")] == ["1", "2", "3"]
    assert writes(github) == ["PATCH /repos/octo-org/chat/issues/comments/310"]


def test_several_reports_have_one_comment_of_their_own(github: GitHubTracker, report: Path, tmp_path: Path) -> None:
    attach(report, issue(github))
    written(tmp_path, samples.SEVERAL)
    for _ in range(2):
        assert attach(report, issue(github)).status == 0
    assert len(github.comments) == 2
    assert github.comments[1]["body"].splitlines()[0] not in {MARKER, ""}


def test_a_huge_report_fits_into_sixty_thousand_characters(github: GitHubTracker, tmp_path: Path) -> None:
    finding = replace(samples.INCIDENT.findings[0], message="many words " * 50)
    huge = replace(samples.INCIDENT, findings=(finding,) * 400, connection=("line " * 30,) * 400)
    ran = attach(written(tmp_path, huge), issue(github))
    body = github.comments[0]["body"]
    assert (ran.status, body.startswith(MARKER)) == (0, True)
    assert 20_000 < len(body) <= 60_000
    assert body.rstrip().endswith("GitHub takes no files by its API")


def test_a_trace_id_that_is_no_id_ends_no_comment(github: GitHubTracker, tmp_path: Path) -> None:
    hostile = replace(samples.INCIDENT.trace, id="x --> <img src=x> @here")
    ran = attach(written(tmp_path, replace(samples.INCIDENT, trace=hostile)), issue(github))
    assert ran.status == 0
    assert github.comments[0]["body"].splitlines()[0].count("--") == 2


def test_github_takes_no_files_and_that_is_said(github: GitHubTracker, report: Path) -> None:
    attach(report, issue(github))
    assert "not uploaded: GitHub takes no files" in github.comments[0]["body"]


def test_gitlab_gets_the_files_once_and_a_note_that_links_to_them(gitlab: GitLabTracker, report: Path) -> None:
    first = attach(report, issue(gitlab))
    assert (first.status, first.out) == (0, f"{gitlab.url}/group/sub/chat/-/issues/5#note_300\n"), first.err
    name = next(name for name in gitlab.uploaded if name.endswith(".json"))
    assert gitlab.uploaded[name].decode() == report.read_text()
    assert f"[`{name}`](/uploads/" in gitlab.comments[0]["body"]
    before = len(gitlab.asked)
    assert attach(report, issue(gitlab)).status == 0
    assert [f"{asked.method} {asked.path.rpartition('/')[2]}" for asked in gitlab.asked[before:]] == [
        "GET notes",
        "GET user",
        "PUT 300",
    ]
    assert f"[`{name}`](/uploads/" in gitlab.comments[0]["body"]
    assert len(gitlab.comments) == 1


def test_files_that_gitlab_refuses_are_told_and_the_note_is_still_written(gitlab: GitLabTracker, report: Path) -> None:
    gitlab.trouble = lambda asked: Says(413, {"error": "too large"}) if asked.path.endswith("/uploads") else None
    ran = attach(report, issue(gitlab))
    assert ran.status == 0
    assert "was not uploaded" in ran.err
    assert "the server did not take it" in gitlab.comments[0]["body"]


def test_no_line_of_a_note_is_a_command_to_gitlab(gitlab: GitLabTracker, tmp_path: Path) -> None:
    finding = replace(
        samples.INCIDENT.findings[0],
        message="/close\n/assign @root",
        rule="/label ~x",
        others=("/close",),
        next=("/unlabel",),
    )
    told = replace(samples.INCIDENT, findings=(finding,), verdict=finding, summary="/close", connection=("/lock",))
    outer = replace(
        told.trace.hops[0], name="/confidential ````"
    )  # it begins the drawing of the path, in a longer fence
    told = replace(told, trace=replace(told.trace, hops=(outer, *told.trace.hops[1:])))
    assert attach(written(tmp_path, told), issue(gitlab)).status == 0
    lines = gitlab.comments[0]["body"].splitlines()
    assert [line for line in lines if line.startswith("/")] == []
    assert " /unlabel" in lines


# New issues.


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_new_issue_is_opened_with_its_labels_and_not_a_second_time(
    kind: str, report: Path, request: pytest.FixtureRequest
) -> None:
    tracker: Tracker = request.getfixturevalue(kind)
    project = issue(tracker).removesuffix("/5")
    title = "Staging: 1011 \u0645\u06cc\u200c\u0634\u0648\u062f \N{MAN}\u200d\N{PERSONAL COMPUTER}"  # with both joiners
    words = ["--new", "--title", title, "--label", "incident", "--label", "websocket"]
    for told in ("", "open already"):
        ran = attach(report, project, *words)
        assert ran.status == 0, ran.err
        assert ran.out.rstrip().endswith("/issues/40")
        assert told in ran.err
    assert len(tracker.opened) == 1
    opened: Json = tracker.opened[0]
    labels = [label["name"] if isinstance(label, dict) else label for label in opened["labels"]]
    assert (opened["title"], labels) == (title, ["incident", "websocket"])
    assert str(opened.get("body") or opened.get("description")).startswith(MARKER)


def test_labels_that_github_drops_are_told(github: GitHubTracker, report: Path) -> None:
    ran = attach(
        report, f"{github.url}/octo-org/chat", "--platform", "github", "--new", "--title", "t", "--label", "secret"
    )
    assert ran.status == 0
    assert "opened without the labels secret" in ran.err


# The contracts themselves.


def test_the_trackers_notice_what_is_not_as_published() -> None:
    """The check of requests and answers finds what it is there for."""
    chat = "/api/v3/repos/octo-org/chat/issues"
    cases: list[tuple[Asked, Says]] = [
        (Asked("POST", f"{chat}/5/comments", {}, {}, b'{"text": "x"}'), Says(404, {"message": "x"})),
        (Asked("POST", f"{chat}/5/comments", {}, {}, b'{"body": 5}'), Says(404, {"message": "x"})),
        (Asked("GET", f"{chat}/5/comments", {"order": "asc"}, {}, b""), Says(200, [])),
        (Asked("GET", f"{chat}/5/comments", {}, {}, b""), Says(200, [{"id": 1}])),
        (Asked("PUT", f"{chat}/comments/5", {}, {}, b'{"body": "x"}'), Says(404, {"message": "x"})),
        (Asked("POST", chat, {}, {}, b'{"title": "x", "labels": "a,b"}'), Says(404, {"message": "x"})),
    ]
    github, gitlab = GitHubTracker(), GitLabTracker()
    assert [index for index, case in enumerate(cases) if not list(github.check(*case))] == []
    notes = "/api/v4/projects/g%2Fp/issues/5/notes"
    cases = [
        (Asked("POST", notes, {}, {}, b'{"text": "x"}'), Says(404, {"message": "x"})),
        (Asked("PATCH", f"{notes}/1", {}, {}, b'{"body": "x"}'), Says(404, {"message": "x"})),
        (Asked("GET", notes, {"per_page": "500"}, {}, b""), Says(200, [])),
        (Asked("GET", notes, {}, {}, b""), Says(200, [{"id": 1}])),
    ]
    assert [index for index, case in enumerate(cases) if not list(gitlab.check(*case))] == []


# What goes wrong.


TROUBLES: dict[str, tuple[Says, str]] = {
    "401": (Says(401, {"message": "Bad credentials"}), "the token is not accepted"),
    "403": (Says(403, {"message": "Resource not accessible by personal access token"}), "may not do that"),
    "404": (Says(404, {"message": "Not Found"}), "no such issue or project"),
    "410": (Says(410, {"message": "This issue was deleted"}), "was deleted"),
    "422": (
        Says(
            422,
            {
                "message": "Validation Failed",
                "documentation_url": "x",
                "errors": [{"code": "custom", "message": "body is too long"}],
            },
        ),
        "body is too long",
    ),
    "500": (Says(502, {"message": "Server Error"}), "the server failed"),
    "html": (Says(200, b"<html>log in"), "what is no JSON"),
    "another API": (Says(200, 5), "is it the address of GitHub's API?"),
    "elsewhere": (
        Says(301, {"message": "Moved"}, {"Location": "http://127.0.0.2:9/x?token=1"}),
        "sends on to http://127.0.0.2",
    ),
    "nowhere": (Says(302, {"message": "Moved"}), "sends on to nowhere"),
    "far limit": (Says(429, {"message": "rate limit"}, {"Retry-After": "900"}), "in 900 s"),
    "spent": (
        Says(
            403,
            {"message": "API rate limit exceeded"},
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 3000)},
        ),
        "a rate limit",
    ),
    "secondary": (Says(403, {"message": "You have exceeded a secondary rate limit."}), "in 60 s"),
}


@pytest.mark.parametrize("step", ["GET", "POST"])
@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_is_one_line_with_the_command_to_retry(name: str, step: str, report: Path) -> None:
    says, told = TROUBLES[name]
    before = report.read_bytes()
    with GitHubTracker() as tracker:
        tracker.trouble = lambda asked: says if asked.method == step else None
        ran = attach(report, issue(tracker))
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1), ran.err
    assert told in ran.err
    assert f"wsprobe attach {report} {issue(tracker)} --post --token-env ISSUE_TOKEN" in ran.err
    assert report.read_bytes() == before
    assert tracker.comments == []


def lost(asked: Asked) -> Says | None:
    if asked.method == "POST":
        raise ConnectionError
    return None


def test_a_lost_connection_says_whether_it_may_have_been_posted(github: GitHubTracker, report: Path) -> None:
    github.trouble = lost
    ran = attach(report, issue(github))
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "whether it was posted is not known, and to try again is safe" in ran.err
    github.trouble = lambda _: None
    assert attach(report, issue(github)).status == 0
    assert len(github.comments) == 1


@pytest.mark.parametrize(
    ("proxy", "told"), [("http://u:pr0xy-pass@127.0.0.1:1", "cannot be reached"), ("nothing", "proxy")]
)
def test_a_proxy_that_is_not_there_is_told_as_such(proxy: str, told: str, report: Path) -> None:
    env = {**ENV, "https_proxy": proxy, "HTTPS_PROXY": proxy, "no_proxy": "", "NO_PROXY": ""}
    ran = attach(report, "https://gitlab.invalid/g/p/-/issues/5", env=env)
    assert (ran.status, ran.err.count("\n")) == (1, 1), ran
    assert "the proxy that the environment names" in ran.err
    assert told in ran.err
    assert "pr0xy-pass" not in ran.err


def test_a_proxy_that_refuses_is_told_with_its_answer(report: Path) -> None:
    with Backend(lambda exchange: exchange.send(plain("407 Proxy Authentication Required"))) as proxy:
        env = {**ENV, "https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": ""}
        ran = attach(report, "https://gitlab.invalid/g/p/-/issues/5", env=env)
    assert (ran.status, "names answered 407" in ran.err) == (1, True), ran
    assert [request.start_line for request in proxy.requests] == ["CONNECT gitlab.invalid:443 HTTP/1.1"]
    assert TOKEN not in str([request.headers for request in proxy.requests])


def test_an_interruption_keeps_the_report_and_shows_the_command(
    github: GitHubTracker, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("wsprobe.net.attach.attach", interrupted)
    ran = attach(report, issue(github))
    assert (ran.status, ran.err.count("\n")) == (130, 1)
    assert (
        f"interrupted; whether it was posted is not known, and to try again is safe. The report is kept in {report}"
        in ran.err
    )


def test_a_server_that_is_not_there_is_one_line(report: Path) -> None:
    ran = attach(report, "http://127.0.0.1:1/octo-org/chat/issues/5")
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "cannot be reached" in ran.err
    assert "it was not posted" in ran.err


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_locked_issue_is_told_as_such(kind: str, report: Path, request: pytest.FixtureRequest) -> None:
    tracker: Tracker = request.getfixturevalue(kind)
    tracker.locked = True
    ran = attach(report, issue(tracker))
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "the issue is locked" in ran.err


@pytest.mark.parametrize(
    "limit",
    [
        Says(429, {"message": "x"}, {"Retry-After": "1"}),
        Says(403, {"message": "x"}, {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}),
    ],
)
def test_a_short_limit_is_waited_for_once(limit: Says, github: GitHubTracker, report: Path) -> None:
    refusals = [limit]
    github.trouble = lambda _: refusals.pop() if refusals else None
    ran = attach(report, issue(github))
    assert ran.status == 0, ran.err
    assert "going on in 1 s" in ran.err
    github.trouble = lambda _: limit
    assert attach(report, issue(github)).status == 1


@pytest.mark.parametrize(
    ("reset", "told"),
    [
        ("90", "in 90 s"),
        (str(int(time.time() * 1000) + 86_400_000), "in 86"),
        ("99999999999999", f"in {366 * 86400} s"),
    ],
    ids=["counted from now", "milliseconds", "no time at all"],
)
def test_a_limit_that_counts_in_another_unit_is_still_one_line(reset: str, told: str, report: Path) -> None:
    with GitHubTracker() as tracker:
        limit = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        tracker.trouble = lambda _: Says(403, tracker.no("API rate limit exceeded"), limit)
        ran = attach(report, issue(tracker), "--wait", "5")
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert told in ran.err
    assert "--wait 5" in ran.err.partition("Again: ")[2]


def test_a_comment_that_was_deleted_since_it_was_read_is_written_anew(github: GitHubTracker, report: Path) -> None:
    attach(report, issue(github))

    def deleted(asked: Asked) -> Says | None:
        if asked.method != "PATCH":
            return None
        github.comments.clear()
        return Says(404, github.no("Not Found"))

    github.trouble = deleted
    ran = attach(report, issue(github))
    assert (ran.status, "added a comment" in ran.err, len(github.comments)) == (0, True, 1)


def test_an_answer_without_end_leaves_open_whether_it_was_posted(
    github: GitHubTracker, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsprobe.net.forge.MAX_OCTETS", 1000)
    github.trouble = lambda asked: Says(201, {"id": 1, "x": "y" * 2000}) if asked.method == "POST" else None
    ran = attach(report, issue(github))
    github.wrong.clear()  # such an answer is none that is published
    assert (ran.status, "whether it was posted is not known" in ran.err) == (1, True)


def test_the_folder_of_a_report_is_taken_for_it(report: Path) -> None:
    ran = attach(report.parent, "http://127.0.0.1:1/octo-org/chat/issues/5")
    assert f"The report is kept in {report}." in ran.err
    assert run("report", str(report.parent), "--format", "json").out == report.read_text()


def test_a_comparison_is_attached_and_updated_in_place(github: GitHubTracker, tmp_path: Path) -> None:
    compared = tmp_path / "diff.json"
    run("diff", *[str(written(tmp_path, samples.INCIDENT))] * 2, "-o", str(compared))
    printed = attach(compared, issue(github), post=False)
    assert "✗ **not fixed" in printed.out
    for _ in range(2):
        assert attach(compared, issue(github)).status == 0
    assert [one["body"] for one in github.comments] == [printed.out]


def test_a_moved_issue_is_followed_on_the_same_server_alone(github: GitHubTracker, report: Path) -> None:
    def moved(asked: Asked) -> Says | None:
        if "/old/" in asked.path:
            return Says(307, github.no("Moved"), {"Location": asked.path.replace("/old/", "/octo-org/")})
        return None

    github.trouble = moved
    assert attach(report, issue(github).replace("octo-org", "old")).status == 0
    assert len(github.comments) == 1


def test_a_redirect_in_a_circle_ends(report: Path) -> None:
    with GitHubTracker() as tracker:
        tracker.trouble = lambda asked: Says(301, tracker.no("Moved"), {"Location": asked.path})
        ran = attach(report, issue(tracker))
    assert (ran.status, "without end" in ran.err) == (1, True)


def test_an_echo_of_the_token_is_not_shown(report: Path) -> None:
    with GitHubTracker() as tracker:
        tracker.trouble = lambda _: Says(403, tracker.no(f"your token {TOKEN} is bad\x1b[31m"))
        ran = attach(report, issue(tracker))
    assert "[withheld]" in ran.err
    assert "\x1b" not in ran.err


def test_a_server_of_ones_own_authority_is_trusted_when_it_is_named_alone(report: Path, tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    with GitLabTracker(files.server()) as tracker:
        ran = attach(report, issue(tracker))
        assert (ran.status, tracker.asked, ran.err.count("\n")) == (1, [], 1)
        assert "the certificate does not verify" in ran.err
        assert attach(report, issue(tracker), "--cacert", str(files.cert)).status == 0
    assert tracker.wrong == []


@pytest.mark.parametrize("says", [Says(504, {"message": "timeout"}), Says(201, b"<html>"), Says(201, {"id": "x"})])
def test_an_answer_that_cannot_be_read_leaves_open_whether_it_was_posted(says: Says, report: Path) -> None:
    with GitHubTracker() as tracker:
        tracker.trouble = lambda asked: says if asked.method == "POST" else None
        ran = attach(report, issue(tracker))
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "whether it was posted is not known, and to try again is safe" in ran.err


# Tokens.


def program(folder: Path, name: str, text: str) -> dict[str, str]:
    """A program on the path that prints a text and notes its arguments."""
    file = folder / name
    file.write_text(f'#!/bin/sh\necho "$@" >{folder}/{name}.asked\necho "{text}"\n')
    file.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_the_token_comes_from_gh_or_glab_for_that_host_alone(
    kind: str, report: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tracker: Tracker = request.getfixturevalue(kind)
    name = "gh" if kind == "github" else "glab"
    ran = run("attach", str(report), issue(tracker), "--post", env=program(tmp_path, name, TOKEN))
    assert ran.status == 0, ran.err
    words = {"gh": "auth token --hostname 127.0.0.1", "glab": f"config get token --host {tracker.url[7:]}"}[name]
    assert (tmp_path / f"{name}.asked").read_text().strip() == words


def test_a_command_gives_the_token_without_a_shell(github: GitHubTracker, report: Path, tmp_path: Path) -> None:
    env = program(tmp_path, "vault", TOKEN)
    ran = run("attach", str(report), issue(github), "--post", "--token-cmd", "vault read '$HOME;x'", env=env)
    assert ran.status == 0, ran.err
    assert (tmp_path / "vault.asked").read_text().strip() == "read $HOME;x"


def test_the_command_to_retry_does_not_hold_a_token_that_was_typed(report: Path) -> None:
    ran = run("attach", str(report), "http://127.0.0.1:1/o/r/issues/5", "--post", "--token-cmd", f"echo {TOKEN}")
    assert (ran.status, TOKEN in ran.everything) == (1, False)


def test_a_workflows_token_is_told_to_name_its_user(github: GitHubTracker, report: Path) -> None:
    github.trouble = lambda asked: (
        Says(403, github.no("Resource not accessible by integration")) if asked.path.endswith("/user") else None
    )
    assert attach(report, issue(github)).status == 0
    ran = attach(report, issue(github))
    assert (ran.status, "--author" in ran.err) == (1, True)
    assert attach(report, issue(github), "--author", "octocat").status == 0
    assert len(github.comments) == 1


def test_what_came_through_a_pipe_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    os.write(writer, document(samples.INCIDENT).encode())
    os.close(writer)
    ran = attach(f"/dev/fd/{reader}", "http://127.0.0.1:1/o/r/issues/5")
    os.close(reader)
    kept = tmp_path / f"wsprobe-{samples.TRACE}.json"
    assert f"wsprobe attach {kept.name} " in ran.err
    assert kept.read_text() == document(samples.INCIDENT)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


# Targets.


TARGETS = {
    "github:o/r#5": "https://api.github.com for o/r#5",
    "gitlab:g/p#5": "https://gitlab.com/api/v4 for g/p#5",
    "gitlab:g/s/s2/p#5": "https://gitlab.com/api/v4 for g/s/s2/p#5",
    "https://github.com/o/r/issues/5#issuecomment-1": "https://api.github.com for o/r#5",
    "https://www.github.com/o/r/pull/5": "https://api.github.com for o/r#5",
    "https://acme.ghe.com/o/r/issues/5": "https://api.acme.ghe.com for o/r#5",
    "https://code.example.com/o/r/issues/5": "https://code.example.com/api/v3 for o/r#5",
    "https://gitlab.com/g/s/p/-/issues/5?x=1": "https://gitlab.com/api/v4 for g/s/p#5",
    "https://gitlab.com/g/p/-/work_items/5": "https://gitlab.com/api/v4 for g/p#5",
    "https://git.example.com:8443/g/p/-/issues/incident/5": "https://git.example.com:8443/api/v4 for g/p#5",
    "https://git.example.com/g/s/p/issues/5": "https://git.example.com/api/v4 for g/s/p#5",
    "http://[::1]:3000/g/p/-/issues/5": "http://[::1]:3000/api/v4 for g/p#5",
}


@pytest.mark.parametrize(("target", "where"), TARGETS.items())
def test_a_target_says_where_it_goes(target: str, where: str, report: Path) -> None:
    ran = attach(report, target, post=False)
    assert (ran.status, where in ran.err) == (0, True), ran.err


@pytest.mark.parametrize(("kind", "name"), [("github", "GITHUB_API_URL"), ("gitlab", "CI_API_V4_URL")])
def test_a_short_form_in_a_ci_job_is_an_issue_of_that_jobs_server(
    kind: str, name: str, report: Path, request: pytest.FixtureRequest
) -> None:
    tracker: Tracker = request.getfixturevalue(kind)
    short = {"github": "github:octo-org/chat#5", "gitlab": "gitlab:group/sub/chat#5"}[kind]
    ran = attach(report, short, env={**ENV, name: f"{tracker.url}{tracker.root}"})
    assert (ran.status, len(tracker.comments)) == (0, 1), ran.err
    assert ran.out.startswith(f"{tracker.url}/")
    clear = attach(report, short, env={**ENV, name: "http://ci.example.com/api/v3"})
    assert (clear.status, "not encrypted" in clear.err) == (2, True)


def test_a_gitlab_below_a_path_of_its_host_is_reached_by_its_api(report: Path) -> None:
    ran = attach(
        report, "https://example.com/git/g/p/-/issues/5", "--api", "https://example.com/git/api/v4/", post=False
    )
    assert "https://example.com/git/api/v4 for g/p#5" in ran.err


def test_the_gitlab_of_a_ci_job_below_a_path_of_its_host_is_known(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_API_V4_URL", "https://example.com/git/api/v4")
    for target in ("https://example.com/git/g/sub/p/-/issues/5", "https://example.com/git/g/sub/p/-/work_items/5"):
        assert "https://example.com/git/api/v4 for g/sub/p#5" in attach(report, target, post=False).err
    other = attach(report, "https://example.com/gitlab/g/p/-/issues/5", post=False)
    assert "https://example.com/api/v4 for gitlab/g/p#5" in other.err


def test_a_gitlab_that_may_be_below_a_path_is_told_how_to_be_named(report: Path) -> None:
    with GitLabTracker() as tracker:
        ran = attach(report, f"{tracker.url}/git/g/p/-/issues/5")
        assert (ran.status, ran.err.count("\n")) == (1, 1)
        assert f"if that GitLab is below {tracker.url}/git, give --api {tracker.url}/git/api/v4" in ran.err


@pytest.mark.parametrize(
    ("target", "words", "told"),
    [
        ("o/r#5", (), "is none of"),
        ("github:o/r", (), "names no issue"),
        ("github:o/r#0", (), "no number"),
        ("github:o/r#x", (), "no number"),
        ("github:o/r/s#5", (), "no project"),
        ("github:o/..#5", (), "no project"),
        ("gitlab:p#5", (), "no project"),
        ("https://github.com/o/r/wiki/5", (), "no issue"),
        ("https://gitlab.com/g/p/-/merge_requests/5", (), "merge request"),
        ("https://example.com/x", (), "does not tell"),
        ("https://u:secret-pass@github.com/o/r/issues/5", (), "a user or a password"),
        ("http://github.example.com/o/r/issues/5", (), "not encrypted"),
        ("github:o/r#5", ("--api", "http://10.0.0.1/api/v3"), "not encrypted"),
        ("github:o/r#5", ("--platform", "gitlab"), "contradicts"),
        ("github:o/r", ("--new", "--title", "t\u202eurned"), "one line of characters that print"),
        ("https://h:99999/o/r/issues/5", (), "no http or https URL"),
        ("github:o/r#5", ("--new", "--title", "t"), "without the number"),
        ("github:o/r", ("--new",), "belong together"),
        ("github:o/r#5", ("--label", "x"), "--label is for --new"),
        ("github:o/r", ("--new", "--title", "x" * 300), "255"),
        ("github:o/r", ("--new", "--title", "t", "--label", " "), "--label"),
        ("github:o/r#5", ("--wait", "-1"), "--wait"),
        ("github:o/r#5", ("--post", "--token-env", "NONE_SUCH"), "no environment variable"),
        ("github:o/r#5", ("--post", "--token-env", "EMPTY"), "is empty"),
        ("github:o/r#5", ("--post", "--token-env", "ISSUE_TOKEN", "--cacert", "/none"), "/none"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(target: str, words: tuple[str, ...], told: str, report: Path) -> None:
    ran = attach(report, target, *words, env={**ENV, "EMPTY": ""}, post=False)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert told in ran.err
    assert "secret-pass" not in ran.err


def test_without_any_token_it_says_how_to_give_one(report: Path, tmp_path: Path) -> None:
    ran = run("attach", str(report), "github:o/r#5", "--post", env={"PATH": str(tmp_path)})
    assert (ran.status, "--token-env" in ran.err) == (2, True)
