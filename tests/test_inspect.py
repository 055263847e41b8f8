"""wsprobe inspect from the command line: what is read, what is asked, and how it exits."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.tracing import Document, Ran, refused, run

GOOD = """\
server {
    listen 80;
    location /ws/ {
        proxy_pass http://127.0.0.1:9000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Host $host;
        proxy_read_timeout 3600s;
    }
}
"""
BAD = GOOD.replace("        proxy_read", '        proxy_set_header Authorization "";\n        proxy_read')
REMOVED = 9
SHORT = GOOD.replace("3600s", "20s")
CADDY = ":8080 {\n\treverse_proxy 127.0.0.1:9000 {\n\t\theader_up -Authorization\n\t}\n}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspect(*arguments: str | Path, stdin: bytes = b"") -> Ran:
    """The command with one JSON document on stdout."""
    with mock.patch.object(sys, "stdin", mock.Mock(buffer=mock.Mock(read=lambda size: stdin[:size]))):
        return run("inspect", *map(str, arguments), "--format", "json")


def found(ran: Ran) -> list[tuple[str, str, int]]:
    """Rule, file and line of each finding."""
    return [(one["rule"], one["place"]["path"], one["place"]["line"]) for one in ran.report["findings"]]


def problems(ran: Ran) -> list[str]:
    """The problems in one line each, as they also stand on stderr."""
    told = ran.err.splitlines()
    assert len(told) == len(ran.report["problems"]), ran.err
    for problem, line in zip(ran.report["problems"], told, strict=True):
        assert line.startswith(f"wsprobe inspect: {problem['path']}"), line
        assert problem["message"] in line
    assert "Traceback" not in ran.err
    return told


# What is found, and the exit status.


def test_a_correct_config_is_silent(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    ran = inspect("nginx.conf")
    assert (ran.status, found(ran), ran.err) == (0, [], "")
    assert [config["path"] for config in ran.report["configs"]] == ["nginx.conf"]


def test_a_fault_is_named_at_its_line_and_the_status_is_1(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    ran = inspect("nginx.conf")
    assert (ran.status, found(ran)) == (1, [("credential-removed", "nginx.conf", REMOVED)])
    route = next(route for route in ran.report["routes"] if route["match"] == "location /ws/")
    assert route["upgrade"] == "passed on"
    removal = next(edit for edit in route["edits"] if edit["name"] == "Authorization")
    assert (removal["kind"], removal["after"], removal["place"]["line"]) == ("removed", None, REMOVED)
    timer = next(timer for timer in route["timeouts"] if timer["kind"] == "idle")
    assert (timer["seconds"], timer["place"]["line"]) == (3600, 10)


@pytest.mark.parametrize(
    ("options", "status", "rules"),
    [
        ((), 1, {"credential-removed"}),
        (("--fail-on", "never"), 0, {"credential-removed"}),
        (("--ignore", "credential-removed"), 0, set()),
        (("--select", "short-idle-timer"), 0, set()),
        (("--select", "short-idle-timer,credential-removed"), 1, {"credential-removed"}),
        (("--select", "short-idle-timer", "--select", "credential-removed"), 1, {"credential-removed"}),
        (("--select", "credential-removed", "--ignore", "credential-removed"), 0, set()),
    ],
)
def test_rules_are_selected_and_severities_decide(
    here: Path, options: tuple[str, ...], status: int, rules: set[str]
) -> None:
    (here / "nginx.conf").write_text(BAD)
    ran = inspect("nginx.conf", *options)
    assert (ran.status, {rule for rule, _, _ in found(ran)}) == (status, rules)


def test_a_timer_shorter_than_the_ping_interval_is_told(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD.replace("3600s", "120s"))
    assert found(inspect("nginx.conf")) == []
    assert found(inspect("nginx.conf", "--ping", "300")) == [("short-idle-timer", "nginx.conf", 9)]


def test_fail_on_warning_fails_where_error_does_not(here: Path) -> None:
    (here / "nginx.conf").write_text(SHORT)
    severities = {one["severity"] for one in inspect("nginx.conf").report["findings"]}
    assert severities == {"warning"}
    assert inspect("nginx.conf").status == 0
    assert inspect("nginx.conf", "--fail-on", "warning").status == 1


# What is read.


def test_what_a_route_leaves_open_is_noted(here: Path) -> None:
    limited = GOOD.replace("        proxy_read", "        limit_conn perip 5;\n        proxy_read")
    (here / "nginx.conf").write_text(limited)
    notes = [route["notes"] for route in inspect("nginx.conf").report["routes"] if route["upstream"]]
    assert notes == [["limit_conn perip 5"]]
    assert "limit_conn perip 5" in run("inspect", "nginx.conf").out


def test_a_folder_is_walked_and_what_is_no_config_is_counted(here: Path) -> None:
    (here / "conf" / "sites").mkdir(parents=True)
    (here / "conf" / "sites" / "app.conf").write_text(BAD)
    (here / "conf" / "Caddyfile").write_text(CADDY)
    (here / "conf" / "notes.txt").write_text("nothing to see\n")
    (here / "conf" / "logo.png").write_bytes(b"\x89PNG\0\0")
    for unwanted in (".git", "node_modules", ".venv"):
        (here / "conf" / unwanted).mkdir()
        (here / "conf" / unwanted / "nginx.conf").write_text(BAD)
    ran = inspect("conf")
    assert (ran.status, problems(ran)) == (1, [])
    assert found(ran) == [
        ("credential-removed", "conf/Caddyfile", 3),
        ("credential-removed", "conf/sites/app.conf", REMOVED),
    ]
    assert "2 files passed over" in ran.report["summary"]


def test_a_file_that_another_one_includes_is_no_config_of_its_own(here: Path) -> None:
    (here / "a.conf").write_text(GOOD.replace("    listen 80;", "    listen 80;\n    include sites/*.conf;"))
    (here / "sites").mkdir()
    (here / "sites" / "b.conf").write_text('location /b/ws { proxy_pass http://app; proxy_set_header Upgrade ""; }\n')
    for paths in (("a.conf", "sites/b.conf"), ("sites/b.conf", "a.conf"), (".",)):
        ran = inspect(*paths)
        assert [config["path"] for config in ran.report["configs"]] == ["a.conf"]
        assert "sites/b.conf" in ran.report["configs"][0]["files"][1]
        assert problems(ran) == []


def test_a_file_is_inspected_once_however_often_it_is_named(here: Path) -> None:
    (here / "enabled").mkdir()
    (here / "nginx.conf").write_text(BAD)
    (here / "enabled" / "link.conf").symlink_to(here / "nginx.conf")
    assert len(found(inspect("nginx.conf", "nginx.conf", "enabled/link.conf", "."))) == 1


def test_a_folder_without_a_config_says_so(here: Path) -> None:
    (here / "docs").mkdir()
    (here / "docs" / "README.md").write_text("# Nothing\n")
    ran = run("inspect", "docs")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "! no config was read; 1 file passed over that is no config\n"


def test_an_interruption_loses_nothing_that_was_read(here: Path) -> None:
    (here / "a.conf").write_text(BAD)
    (here / "b.conf").write_text(GOOD)
    from wsprobe.cli import configs

    reading = configs._config  # noqa: SLF001  where an interruption can come

    def interrupted(source: Any, way: Any) -> Any:  # noqa: ANN401  as there
        if source.path == "b.conf":
            raise KeyboardInterrupt
        return reading(source, way)

    with mock.patch.object(configs, "_config", interrupted):
        ran = inspect("a.conf", "b.conf")
    assert (ran.status, found(ran)) == (130, [("credential-removed", "a.conf", REMOVED)])


def test_a_config_that_is_nested_without_end_is_a_line(here: Path) -> None:
    (here / "deep.conf").write_text(
        "http {\n" + "server {\n" * 5000 + "location / {\n proxy_pass http://a;\n}\n" + "}" * 5001
    )
    ran = inspect("deep.conf", "--as", "nginx")
    assert ran.status == 2
    assert len(problems(ran)) >= 1


def test_stdin_is_a_config_too(here: Path) -> None:
    ran = inspect("-", stdin=BAD.encode())
    assert (ran.status, found(ran)) == (1, [("credential-removed", "<stdin>", REMOVED)])
    assert inspect("-", "--as", "nginx", stdin=GOOD.encode()).status == 0


def test_as_overrides_what_a_file_looks_like(here: Path) -> None:
    (here / "odd").write_text("# only a comment\n")
    refused_one(inspect("odd"), "odd", "not recognised", "--as KIND")
    assert problems(inspect("odd", "--as", "nginx")) == []
    assert [config["kind"] for config in inspect("odd", "--as", "nginx").report["configs"]] == ["nginx"]


def refused_one(ran: Ran, *words: str) -> None:
    """Exactly one problem with those words, and exit status 2."""
    told = problems(ran)
    assert ran.status == 2
    assert len(told) == 1, told
    missing = [word for word in words if word not in told[0]]
    assert not missing, f"{missing} not in {told[0]!r}"


def test_the_version_of_a_proxy_is_an_input_and_the_default_is_said(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    config = inspect("nginx.conf").report["configs"][0]
    assert config["assumed"] is True
    told = inspect("nginx.conf", "--lb-version", "nginx=1.22").report["configs"][0]
    assert (told["version"], told["assumed"]) == ("1.22", False)


# Bad input: one clear line each, and the rest is still read.


def test_what_cannot_be_read_is_a_line_and_the_others_are_read(here: Path) -> None:
    (here / "broken.conf").write_text("server {\n    listen 80;\n    location / {\n")
    (here / "good.conf").write_text(BAD)
    ran = inspect("missing.conf", "broken.conf", "good.conf")
    assert ran.status == 2
    told = problems(ran)
    assert "missing.conf: cannot be opened: No such file or directory" in told[0]
    assert told[1].startswith("wsprobe inspect: broken.conf:")
    assert "{" in told[1] or "}" in told[1]
    assert found(ran) == [("credential-removed", "good.conf", REMOVED)]


def test_without_anything_that_could_be_read_the_terminal_gets_the_lines_alone(here: Path) -> None:
    refused(run("inspect", "missing.conf"), "missing.conf", "No such file")


def test_hostile_files_are_one_line_each_in_bounded_time(here: Path) -> None:
    (here / "binary.conf").write_bytes(b"server {\0\0\0}")
    with (here / "huge.conf").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    (here / "latin.conf").write_bytes(GOOD.encode() + b"# \xe9\n")
    os.mkfifo(here / "pipe.conf")
    (here / "loop.conf").symlink_to("loop.conf")
    (here / "template.conf").write_text(GOOD.replace("127.0.0.1:9000", "{{ upstream }}"))
    (here / "itself.conf").write_text(GOOD.replace("    listen 80;", "    listen 80;\n    include itself.conf;"))
    (here / "outside.conf").write_text(GOOD.replace("    listen 80;", "    listen 80;\n    include /etc/passwd;"))
    (here / "gone.conf").write_text(GOOD.replace("    listen 80;", "    listen 80;\n    include gone/app.conf;"))
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (here / "bomb.yaml").write_text(f"static_resources:\n  listeners: []\nadmin: {{}}\n{bomb}")
    words = {
        "binary.conf": "binary",
        "huge.conf": "longer than 16 MiB",
        "latin.conf": "UTF-8",
        "pipe.conf": "not a regular file",
        "loop.conf": "symbolic links",
        "template.conf": "a template ({{ at line 4), not read",
        "itself.conf": "loop",
        "outside.conf": "--root",
        "gone.conf": "gone/app.conf",
    }
    for name, word in words.items():
        refused_one(inspect(name), name, word)
    refused_one(inspect("bomb.yaml", "--as", "envoy"), "bomb.yaml", "aliases")
    ran = inspect(*words)
    assert len(problems(ran)) == len(words)


def test_a_walk_ends_whatever_lies_in_the_folder(here: Path) -> None:
    tree = here / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "up").symlink_to(tree)
    (tree / "itself").symlink_to("itself")
    (tree / "dangling").symlink_to("nowhere")
    (tree / "elsewhere").symlink_to(here)
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket"))
        (tree / "nginx.conf").write_text(BAD)
        (here / "outside.conf").write_text(BAD)
        (tree / "link.conf").symlink_to(here / "outside.conf")
        ran = inspect("tree")
    assert found(ran) == [("credential-removed", "tree/nginx.conf", REMOVED)]
    told = problems(ran)
    assert len(told) == 2, told
    assert all("loop of symbolic links" in line for line in told)


def test_an_unreadable_folder_is_told_and_the_rest_is_read(here: Path) -> None:
    (here / "locked").mkdir()
    (here / "nginx.conf").write_text(BAD)
    listing = os.listdir

    def refuse(path: Any) -> list[str]:  # noqa: ANN401  what os.listdir takes
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    with mock.patch("wsprobe.cli.configs.os.listdir", refuse):
        ran = inspect(".")
    assert problems(ran) == ["wsprobe inspect: locked: cannot be read: Permission denied"]
    assert len(found(ran)) == 1


def test_a_folder_of_too_many_files_is_left_with_a_line(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    for number in range(20):
        (here / f"x{number}").write_text("x")
    with mock.patch("wsprobe.cli.configs.MAX_WALKED", 10):
        refused_one(inspect("."), "more than 10 files")


def test_a_file_of_two_kinds_is_not_misread(here: Path) -> None:
    apache = "<VirtualHost *:80>\n    ProxyPass /app/ ws://127.0.0.1:8000/\n    ProxyRequests Off\n</VirtualHost>\n"
    (here / "websocket.conf").write_text(GOOD + apache)
    refused_one(inspect("websocket.conf"), "websocket.conf", "apache", "nginx", "--as KIND")


def test_includes_are_opened_below_the_root_only_and_root_widens_it(here: Path) -> None:
    (here / "conf").mkdir()
    (here / "shared.conf").write_text('proxy_set_header Authorization "";\n')
    included = GOOD.replace("        proxy_read", "        include ../shared.conf;\n        proxy_read")
    (here / "conf" / "nginx.conf").write_text(included)
    refused_one(inspect("conf/nginx.conf"), "lies outside of conf", "--root")
    ran = inspect("conf/nginx.conf", "--root", ".")
    assert (problems(ran), [(rule, line) for rule, _, line in found(ran)]) == ([], [("credential-removed", 1)])


# The prediction.


def predicted(*arguments: str | Path) -> Document:
    prediction: Document = inspect(*arguments).report["prediction"]
    return prediction


def test_the_request_is_predicted_with_the_line_of_each_edit(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    one = predicted(
        "nginx.conf", "--predict", "/ws/chat?room=1", "-H", "Authorization: Bearer x", "-H", "X-Tenant: blue"
    )
    assert (one["reached"], one["status"]) == (True, None)
    assert one["request"]["start_line"] == "GET /ws/chat?room=1 HTTP/1.1"
    headers = {name.lower(): value for name, value in one["request"]["headers"]}
    assert headers["x-tenant"] == "blue"
    assert (headers["connection"], headers["upgrade"]) == ("upgrade", "websocket")
    assert "authorization" not in headers
    removal = next(edit for edit in one["edits"] if edit["name"] == "Authorization")
    assert removal["kind"] == "removed"
    assert removal["after"] is None
    assert removal["place"]["path"] == "nginx.conf"
    assert removal["place"]["line"] == REMOVED
    assert removal["place"]["text"] == 'proxy_set_header Authorization "";'
    idle = next(timer for timer in one["timeouts"] if timer["kind"] == "idle")
    assert (idle["seconds"], idle["place"]["line"]) == (3600, 10)
    assert idle["resets_on"]


def test_a_timer_that_stands_in_no_line_has_the_place_default(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD.replace("        proxy_read_timeout 3600s;\n", ""))
    one = predicted("nginx.conf", "--predict", "ws://app.example.com/ws/")
    assert [timer["place"] for timer in one["timeouts"] if timer["kind"] == "idle"] == ["default"]


def test_headers_come_from_files_and_variables_as_for_a_trace(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "nginx.conf").write_text(GOOD)
    (here / "headers").write_text("X-One: 1\nX-Two: 2\n")
    monkeypatch.setenv("TOKEN", "abcdefghijklmnop")
    one = predicted("nginx.conf", "--predict", "/ws/", "-H", "@headers", "--bearer-env", "TOKEN")
    headers = dict(one["request"]["headers"])
    assert (headers["X-One"], headers["X-Two"]) == ("1", "2")
    assert headers["Authorization"] == "Bearer [withheld 16 characters]"


def test_an_upgrades_own_headers_can_be_given(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    own = ("-H", "Host: other.example", "-H", "Upgrade: WebSocket", "-H", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    headers = dict(predicted("nginx.conf", "--predict", "/ws/", *own)["request"]["headers"])
    assert (headers["Host"], headers["Upgrade"]) == ("other.example", "WebSocket")
    assert headers["Sec-WebSocket-Key"] == "AAAAAAAAAAAAAAAAAAAAAA=="


def test_a_refused_request_has_its_status(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD.replace("        proxy_pass", "        return 403;\n        proxy_pass"))
    one = predicted("nginx.conf", "--predict", "/ws/")
    assert (one["reached"], one["status"], one["request"]) == (False, 403, None)


def test_of_several_configs_the_one_whose_route_takes_the_request_predicts(here: Path) -> None:
    (here / "a.conf").write_text(GOOD.replace("/ws/", "/a/"))
    (here / "b.conf").write_text(BAD.replace("/ws/", "/b/"))
    one = predicted("a.conf", "b.conf", "--predict", "http://app.example.com/b/x")
    assert (one["config"], one["reached"]) == ("b.conf", True)


def test_the_way_of_another_host_is_not_blamed_for_what_was_asked_about(here: Path) -> None:
    other = "server {\n    listen 80;\n    server_name www.example.com;\n    location / { proxy_pass http://web; }\n}\n"
    (here / "nginx.conf").write_text(GOOD + other)
    for asked in ("ws://app.example.com/ws/", "/ws/"):
        assert found(inspect("nginx.conf", "--predict", asked)) == []
    [blamed] = found(inspect("nginx.conf", "--predict", "ws://www.example.com/ws/"))
    assert blamed == ("upgrade-not-passed", "nginx.conf", 15)


def test_a_request_that_several_configs_take_asks_to_name_one(here: Path) -> None:
    (here / "a.conf").write_text(GOOD)
    (here / "b.conf").write_text(GOOD)
    refused_one(inspect("a.conf", "b.conf", "--predict", "/ws/"), "2 configs take /ws/", "a.conf, b.conf")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--select", "no-such-rule"), ("--select", "no-such-rule", "credential-removed")),
        (("--ignore", "nonsense,credential-removed"), ("--ignore", "nonsense")),
        (("--lb-version", "nginx"), ("KIND=VERSION",)),
        (("--lb-version", "squid=5"), ("KIND=VERSION", "nginx")),
        (("--lb-version", "nginx=new"), ("KIND=VERSION",)),
        (("--root", "nowhere"), ("--root", "nowhere", "no folder")),
        (("--ping", "0"), ("--ping",)),
        (("--ping", "often"), ("--ping", "often")),
        (("-H", "A: b"), ("--predict",)),
        (("--predict", "ftp://x/"), ("ftp://x/",)),
        (("--predict", "app"), ("app",)),
        (("--predict", "/a b"), ("space",)),
        (("--predict", "/ws", "--as-browser"), ("--as-browser", "URL")),
        (("--predict", "/ws", "-H", "nonsense"), ("no header",)),
        (("--as", "squid"), ("--as", "squid")),
        (("--format", "html"), ("--format",)),
        (("-o", "out.html"), ("suffix", ".sarif")),
        (("-o", "nowhere/out.json"), ("no folder",)),
        (("",), ("empty PATH",)),
    ],
)
def test_wrong_usage_is_one_line(here: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    (here / "nginx.conf").write_text(GOOD)
    refused(run("inspect", "nginx.conf", *arguments), *words)


def test_a_browser_sends_its_origin(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    one = predicted("nginx.conf", "--predict", "ws://app.example.com/ws/", "--as-browser")
    headers = dict(one["request"]["headers"])
    assert headers["Origin"] == "http://app.example.com"


# Where it goes.


def test_files_get_the_format_of_their_suffix(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    ran = run("inspect", "nginx.conf", *(word for name in ("a.json", "a.sarif", "a.txt") for word in ("-o", name)))
    assert ran.status == 1
    assert json.loads((here / "a.json").read_text())["schema"] == "wsprobe.inspection/1"
    assert json.loads((here / "a.sarif").read_text())["version"] == "2.1.0"
    assert (here / "a.txt").read_text() == ran.out
    assert (here / "a.json").stat().st_mode & 0o777 == 0o600


def test_a_folder_gets_a_file_of_each_format(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    ran = run("inspect", "nginx.conf", "-o", "out/new")
    names = sorted(path.name for path in (here / "out" / "new").iterdir())
    assert names == ["inspection.json", "inspection.sarif", "inspection.txt", "inspection.xml"]
    assert (here / "out" / "new" / "inspection.txt").read_text() == ran.out
    (here / "taken").write_text("")
    refused(run("inspect", "nginx.conf", "-o", "taken/new"), "taken/new")


def test_a_file_that_cannot_be_written_is_told_after_all_else(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    with mock.patch("wsprobe.cli.writing.save", side_effect=OSError(28, "No space left on device")):
        ran = run("inspect", "nginx.conf", "-o", "a.json")
    assert (ran.status, "nothing wrong found" in ran.out) == (2, True)
    assert ran.err == "wsprobe inspect: a.json: cannot be written: No space left on device\n"


def test_a_saved_inspection_is_no_report(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    run("inspect", "nginx.conf", "-o", "a.json")
    refused(run("report", "a.json"), "wsprobe inspect")


def test_help_names_every_option() -> None:
    ran = run("inspect", "--help")
    assert ran.status == 0
    for option in ("--as", "--root", "--lb-version", "--predict", "--ping", "--select", "--ignore", "--fail-on", "-o"):
        assert option in ran.out


def test_the_command_is_a_process_that_exits_so(here: Path) -> None:
    (here / "nginx.conf").write_text(BAD)
    done = subprocess.run(
        [sys.executable, "-m", "wsprobe", "inspect", "-"], input=BAD, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "✗ credential-removed  <stdin>:9:9" in done.stdout
