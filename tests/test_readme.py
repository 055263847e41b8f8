"""Every command of the README runs, on loopback, and its picture is what the demo prints."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jwt
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = [re.sub(r"(?m)^  ", "", block) for block in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", README)]
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
KEY = "readme-key-of-thirty-two-octets!!"
SERVING = ("wsprobe record", "wsprobe origin", "mitmdump")
MADE_ELSEWHERE = ("make test", "make check")  # the gate runs these two, and this suite is one of them


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    claims = {"sub": "reader", "aud": "app", "exp": int(time.time()) + 600}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TOKEN": jwt.encode(claims, KEY, "HS256"), "JWT_KEY": KEY, "COLUMNS": "100"}


@contextmanager
def serving(command: list[str], port: int, folder: Path) -> Iterator[None]:
    with (folder / "serving.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not listens(port):
                assert process.poll() is None, (folder / "serving.log").read_text()
                assert time.monotonic() < deadline, f"{command}: not listening"
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


class Stage:
    """The README's hosts on loopback: an application, and whatever recorders its commands start before it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.ports = {port: free_port() for port in ("8080", "8081", "8082")}
        origin = f"wsprobe origin --listen 127.0.0.1:{self.ports['8082']} --jwt-key-env JWT_KEY --audience app --quiet"
        origin += " --token-from header --token-from cookie:session"
        self.stack.enter_context(serving(shlex.split(origin), int(self.ports["8082"]), folder))

    def staged(self, command: str) -> list[str]:
        command = command.replace("wss://app.example.com/ws", f"ws://127.0.0.1:{self.ports['8082']}/ws")
        command = command.replace("http://balancer.example.com:80", f"http://127.0.0.1:{self.ports['8081']}")
        command = command.replace("edge.example.com", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
        command = command.replace("session=abc", f"session={environment()['TOKEN']}")
        for port, free in self.ports.items():
            command = re.sub(rf"(?<=[: ]){port}\b", str(free), command)
        return shlex.split(command.replace("addons/", f"{ROOT}/addons/"))

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.staged(command),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "token.txt").write_text(environment()["TOKEN"])
    shutil.copy(ROOT / "docs/examples/nginx.conf", tmp_path)
    return tmp_path


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) > 20
    assert COMMANDS[1] == "wsprobe demo"


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if line.startswith(("wsprobe trace", "wsprobe token", "wsprobe explain"))]
)
def test_a_single_command_does_what_it_says(command: str, folder: Path) -> None:
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        if "records/" in command:
            (folder / "records").mkdir()
            (folder / "records/app.jsonl").touch()
        done = stage.run(command.replace("edge.example.com:8080", "edge.example.com:8082"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("wsprobe inspect")])
def test_an_inspection_finds_what_is_wrong_with_the_example(command: str, folder: Path) -> None:
    with ExitStack() as stack:
        done = Stage(folder, stack).run(command)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "credential-removed" in done.stdout
    assert "secret-token-1234" not in done.stdout
    assert (folder / "inspect.sarif").exists() is (".sarif" in command)


def test_the_picture_of_an_inspection_is_what_it_prints(folder: Path) -> None:
    with ExitStack() as stack:
        done = Stage(folder, stack).run("wsprobe inspect nginx.conf")
    picture = next(block for block in re.findall(r"(?ms)^```text\n(.*?)^```$", README) if "credential-removed" in block)
    assert done.stdout.startswith(picture.removesuffix("…\n"))


def test_two_recorders_around_a_balancer_are_joined_diagnosed_and_attached(folder: Path) -> None:
    block = next(block for block in BLOCKS if "record edge" in block)
    attach = next(block for block in BLOCKS if "incident/" in block)
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        for line in block.splitlines():
            if line.startswith(SERVING):
                port = int(re.search(r"--listen [\d.]+:(\d+)", " ".join(stage.staged(line)))[1])  # type: ignore[index]
                stack.enter_context(serving(stage.staged(line), port, folder))
            else:
                done = stage.run(line)
                assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "edge" in done.stdout
        assert "app" in done.stdout
        for line in [*attach.splitlines(), "wsprobe diagnose records/"]:
            done = stage.run(line)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert {path.name for path in (folder / "incident").iterdir()} == {
        "trace.json",
        "report.json",
        "report.md",
        "report.html",
    }


def test_the_fix_is_proven_as_it_says(folder: Path) -> None:
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        for line in next(block for block in BLOCKS if "wsprobe diff" in block).splitlines():
            done = stage.run(line)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
    quoted = re.search(r'"(fixed as far as seen: .*?)"', README)
    assert quoted
    assert quoted[1] in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith(SERVING) and "edge" not in line])
def test_a_recorder_serves(command: str, folder: Path) -> None:
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        (folder / "records").mkdir()
        if command.startswith("wsprobe origin"):
            stage.ports["8082"] = free_port()
        words = stage.staged(command)
        port = int(re.search(r"(?:--listen [\d.]+:|-p )(\d+)", " ".join(words))[1])  # type: ignore[index]
        stack.enter_context(serving(words, port, folder))
        done = stage.run(f"wsprobe trace ws://127.0.0.1:{port}/ws --bearer-env TOKEN --hold 0.1")
    assert done.returncode == 0, (done.stdout, done.stderr, (folder / "serving.log").read_text())


def test_where_can_you_stand_runs_too(folder: Path) -> None:
    table = re.findall(r"(?m)^\| .*?`(wsprobe [^`]+)`", README)
    assert len(table) == 3
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        (folder / "records").mkdir()
        for command in table:
            if command.startswith("wsprobe record"):
                stage.ports["8080"], _ = stage.ports["8082"], stage.ports["8080"]
                stack.enter_context(serving(stage.staged(command), int(stage.ports["8081"]), folder))
            else:
                done = stage.run(f"{command} --hold 0.1")
                assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_the_picture_is_what_the_demo_prints(folder: Path) -> None:
    done = subprocess.run(
        ["wsprobe", "demo"], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    picture = next(block for block in re.findall(r"(?ms)^```text\n(.*?)^```$", README) if "header-removed" in block)
    assert shape(picture.removesuffix("…\n")) in shape(done.stdout)


def shape(text: str) -> str:
    """The text without what differs from run to run: times, dates, fingerprints, and where lines break."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    return re.sub(r"[\d.]+ ?(ms|s|µs)\b", "TIME", re.sub(r"fp [0-9a-f]{12}", "fp FP", text))


def test_the_install_line_installs_what_the_commands_need(tmp_path: Path) -> None:
    """The line itself, into an environment of its own, with what is installed here already at hand for it."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
    (own / "at_hand.pth").write_text(sysconfig.get_path("purelib") + "\n")
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "wsprobe", checkout / "wsprobe", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    words = shlex.split(COMMANDS[0])
    assert words[0] == "pip"
    done = subprocess.run([venv / "bin/pip", *words[1:]], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    explained = subprocess.run([venv / "bin/wsprobe", "explain", "1011"], capture_output=True, text=True, check=False)
    assert explained.stdout.startswith("1011 (internal error)")


def test_what_is_left_to_the_gate_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{command.split()[1]}:" in makefile for command in MADE_ELSEWHERE)
    covered = (
        *SERVING,
        *MADE_ELSEWHERE,
        "wsprobe trace",
        "wsprobe token",
        "wsprobe explain",
        "wsprobe demo",
        "wsprobe inspect",
        "pip",
        "mkdir",
    )
    more = (
        "wsprobe diagnose records/",
        "wsprobe report incident/trace.json",
        "wsprobe attach incident/report.json",
        "wsprobe diff before.json after.json",
    )
    assert [line for line in COMMANDS if not line.startswith((*covered, *more))] == []
