"""`wsprobe demo`: every fault that it injects is named, and it needs nothing but itself."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tests.mitm import IGNORED
from tests.tracing import SECONDS, command, run
from wsprobe.cli.demo import FAULTS

pytestmark = [pytest.mark.filterwarnings(ignored) for ignored in IGNORED]

ROOT = Path(__file__).parent.parent
SEGMENTS = {
    "strip-authorization": ["edge", "app"],
    "strip-upgrade": ["edge", "app"],
    "rewrite-host": ["edge", "app"],
    "drop-subprotocol": ["edge", "app"],
    "truncate-token": ["edge", "app"],
    "origin-crash": ["app", None],
    "idle-timeout": ["edge", "app"],
    "close-code-rewrite": ["edge", "app"],
}


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "none"])
def test_every_fault_is_named(name: str) -> None:
    ran = run("demo", "--fault", name, "--format", "json")
    report = ran.report
    assert ran.status == 0, ran
    assert report["verdict"]["rule"] == FAULTS[name].rule
    assert report["redactions"][0] == {"what": "Authorization", "where": "client, request", "times": 1}
    if name in SEGMENTS:
        assert report["verdict"]["segment"] == SEGMENTS[name]
    assert [hop["name"] for hop in report["trace"]["hops"]] == ["client", "edge", "app"]
    assert len(ran.err.splitlines()) == 1, ran.err
    assert f"found: {FAULTS[name].rule}" in ran.err


def test_the_incident_is_proven_and_plain_http_worked() -> None:
    ran = run("demo", "--format", "json")
    verdict = ran.report["verdict"]
    assert (verdict["header"], verdict["confidence"]) == ("Authorization", "proven")
    assert [hop["recorder"]["kind"] for hop in ran.report["trace"]["hops"]] == ["probe", "relay", "mitmproxy"]
    (control,) = ran.report["controls"]
    assert "200" in control["result"]
    assert ran.report["trace"]["hops"][0]["closes"][0]["code"] == 1011
    shown = run("demo")
    assert "header-removed" in shown.out
    assert "Authorization" in shown.out


def test_nothing_wrong_is_nothing_found() -> None:
    ran = run("demo", "--fault", "none", "--format", "json", "--fail-on", "note")
    assert ran.status == 0
    assert (ran.report["verdict"], ran.report["findings"]) == (None, [])
    assert ran.err.endswith("found: nothing wrong\n")


def test_files_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert run("demo", "-o", str(folder)).status == 0
    assert {file.name for file in folder.iterdir()} == {"trace.json", "report.json", "report.md", "report.html"}
    assert json.loads((folder / "report.json").read_text())["verdict"]["rule"] == "header-removed"
    assert "header-removed" in (folder / "report.md").read_text()


def test_faults_are_listed() -> None:
    listed = " ".join(run("demo", "--help").out.split())
    assert all(f"{name}:" in listed for name in FAULTS)


def test_it_runs_without_mitmproxy(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith("mitmproxy") and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    bare = [sys.executable, "-S", *command()[1:]]  # without site: nothing but these packages can be imported
    missing = subprocess.run(
        [*bare[:2], "-c", "import mitmproxy"], env=env, capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError" in missing.stderr

    words = [*bare, "demo", "--format", "json"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"]["rule"] == "header-removed"
    assert [hop["recorder"]["kind"] for hop in report["trace"]["hops"]] == ["probe", "relay", "relay"]
    assert "mitmproxy is not installed" in done.stderr


def test_it_can_be_interrupted(tmp_path: Path) -> None:
    words, env = command("demo", "--fault", "idle-timeout"), {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        deadline = time.monotonic() + SECONDS
        while not any(file.stat().st_size for file in tmp_path.glob("wsprobe-demo-*/edge.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"
