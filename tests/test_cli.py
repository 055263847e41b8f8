"""The command line itself: help, wrong usage, where results go, and what the exit status says."""

import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import backend
from tests.backend import Backend
from tests.tracing import SECONDS, command, refused, run
from wsprobe.cli import COMMANDS

URL = "ws://127.0.0.1:1/"


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    with Backend(backend.needs_token) as running:
        yield f"ws://127.0.0.1:{running.port}/"


# Help and usage.


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_is_on_stdout(words: list[str]) -> None:
    ran = run(*words)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("usage: wsprobe")


def test_help_names_every_command() -> None:
    assert all(name in run("--help").out for name in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["trace"],
        ["trace", URL, "--no-such-option"],
        ["trace", URL, "--repea", "2"],
        ["trace", URL, "more"],
        ["trace", URL, "--format", "xml"],
        ["trace", URL, "--hold"],
        ["trace", URL, "--fail-on", "everything"],
        ["record", "edge"],
        ["diagnose"],
        ["report"],
        ["explain"],
        ["demo", "--fault", "gremlins"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line(words: list[str]) -> None:
    ran = run(*words)
    refused(ran, "wsprobe", "--help")
    assert len(ran.err) < 700


def test_wrong_usage_is_one_line_whatever_it_quotes() -> None:
    refused(run("trace", URL, "--x\x1b[31m\nred"), "--x")
    assert "\x1b" not in run("trace", URL, "--x\x1b[31m").err
    assert "s3cr3t-w0rd" not in run("trace", URL, "ws://u:s3cr3t-w0rd@h/").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--key", "k.pem"], "--cert"),
        (["--cert", "c.pem"], "not encrypted"),
        (["--cacert", "c.pem"], "not encrypted"),
        (["-k", "--cacert", "c.pem"], "contradict"),
        (["--resolve", "127.0.0.1:1:127.0.0.1"], "a name"),
        (["--connect-to", "::127.0.0.1:1"], "a name"),
        (["--event-field", "x"], "--events"),
        (["-4", "-6"], "not allowed with"),
        (["-6"], "IPv4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_contradictions_are_told_before_anything_is_sent(words: list[str], told: str) -> None:
    refused(run("trace", URL, *words), told)


@pytest.mark.parametrize("line", ["a", "a:b", "a:1", "a:1:b", "a:99999:127.0.0.1", ":1:127.0.0.1", "a:1:300.1.1.1"])
def test_a_resolve_that_is_none(line: str) -> None:
    refused(run("trace", "ws://a:1/", "--resolve", line), "HOST:PORT:ADDRESS")


@pytest.mark.parametrize("line", ["a", "a:1:b", "a:1:b:x", "a:1:b:0", "a:1:b:70000", "a:1::80", "a:1:[::1:80"])
def test_a_connect_to_that_is_none(line: str) -> None:
    refused(run("trace", "ws://a:1/", "--connect-to", line), "HOST1:PORT1:HOST2:PORT2")


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    url = "wss://127.0.0.1:1/"
    for option in ("--cacert", "--cert"):
        refused(run("trace", url, option, str(tmp_path / "none.pem")), "none.pem", "No such file")
        refused(run("trace", url, option, str(junk)), "junk.pem", "PEM")


# Where results go.


def test_stdout_of_a_pipe_is_plain_text(app: str) -> None:
    ran = run("trace", app, "--hold", "0.5")
    assert "\x1b" not in ran.out
    assert "closed-by-origin" in ran.out
    assert ran.err == ""


def _on_a_terminal(words: list[str], **env: str) -> bytes:
    """What a command prints where stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
    with subprocess.Popen(
        command(*words), stdout=theirs, stderr=theirs, env={**clean, "TERM": "xterm", **env}
    ) as process:
        os.close(theirs)
        printed = b""
        try:
            while chunk := os.read(ours, 65536):
                printed += chunk
        except OSError:  # Linux says so when the last writer has closed
            pass
        process.wait(SECONDS)
    os.close(ours)
    return printed


def test_a_terminal_gets_colour_unless_somebody_says_no(app: str) -> None:
    words = ["trace", app, "--hold", "0.5"]
    assert b"\x1b[" in _on_a_terminal(words)
    assert b"\x1b" not in _on_a_terminal(words, NO_COLOR="1")
    assert b"\x1b" not in _on_a_terminal(words, TERM="dumb")
    assert b"\x1b" not in _on_a_terminal([*words, "--format", "json"])


def test_progress_is_for_a_terminal_and_on_stderr() -> None:
    with Backend(backend.echo) as app:
        words = ["trace", f"ws://127.0.0.1:{app.port}/", "--repeat", "3", "--hold", "0"]
        assert run(*words).err == ""
        assert b"3 of 3" in _on_a_terminal(words)


def test_an_encoding_without_our_signs_is_no_hindrance(app: str) -> None:
    done = subprocess.run(
        command("trace", app, "--hold", "0.5"),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"closed-by-origin" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize(("suffix", "begins"), [(".json", "{"), (".md", "**closed-by-origin**"), (".txt", "ws://")])
def test_the_suffix_of_a_file_picks_its_format(suffix: str, begins: str, app: str, tmp_path: Path) -> None:
    file = tmp_path / f"report{suffix}"
    ran = run("trace", app, "--hold", "0.5", "-o", str(file))
    assert file.read_text().startswith(begins)
    assert "closed-by-origin" in ran.out, "stdout has the result too"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_gets_trace_report_and_markdown(app: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "incident"
    ran = run("trace", app, "--hold", "0.5", "-o", str(folder), "-o", str(tmp_path / "more.json"), "--format", "json")
    assert {file.name for file in folder.iterdir()} == {"trace.json", "report.json", "report.md", "report.html"}
    assert json.loads((folder / "trace.json").read_text())["schema"] == "wsprobe.trace/1"
    assert json.loads((folder / "report.json").read_text()) == ran.report
    assert json.loads((tmp_path / "more.json").read_text()) == ran.report
    again = run("report", str(folder / "trace.json"), "--format", "json")
    told = ("rule", "message", "confidence", "segment")
    assert [again.report["verdict"][part] for part in told] == [ran.report["verdict"][part] for part in told]
    rendered = run("report", str(folder / "report.json"), "--format", "markdown")
    assert rendered.out == (folder / "report.md").read_text()


def test_outputs_that_cannot_be_written_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    with Backend(backend.echo) as app:
        url = f"ws://127.0.0.1:{app.port}/"
        refused(run("trace", url, "-o", str(tmp_path / "x.docx")), "x.docx", ".json")
        refused(run("trace", url, "-o", str(tmp_path / "no" / "x.json")), "there is no folder")
        (tmp_path / "file").touch()
        refused(run("trace", url, "-o", str(tmp_path / "file" / "below")), "Not a directory")
    assert not app.exchanges


def test_a_file_that_fails_late_loses_nothing_else(app: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "report.md").mkdir()
    ran = run("trace", app, "--hold", "0.5", "-o", str(tmp_path / "folder"), "-o", str(tmp_path / "x.json"))
    assert ran.status == 2
    assert len(ran.err.splitlines()) == 1
    assert "report.md" in ran.err
    assert "closed-by-origin" in ran.out
    assert json.loads((tmp_path / "x.json").read_text())["verdict"]
    assert (tmp_path / "folder" / "report.json").exists()


def test_a_reader_that_leaves_is_no_error(app: str) -> None:
    words = " ".join(f"'{word}'" for word in command("trace", app, "--hold", "0.5", "--format", "json"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} | true"], capture_output=True, timeout=SECONDS, check=False, text=True
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


# What the exit status says.


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 1),
        (["--fail-on", "warning"], 1),
        (["--fail-on", "note"], 1),
        (["--fail-on", "never"], 0),
        (["-H", "Authorization: Bearer abc"], 0),
        (["-H", "Authorization: Bearer abc", "--fail-on", "note"], 0),
    ],
)
def test_the_exit_status_is_about_findings(words: list[str], status: int, app: str) -> None:
    assert run("trace", app, "--hold", "0.5", *words).status == status


def test_python_m_runs_it_too() -> None:
    done = subprocess.run([sys.executable, "-m", "wsprobe", "--version"], capture_output=True, check=True, text=True)
    assert done.stdout.startswith("wsprobe ")
