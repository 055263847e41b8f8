"""What a project settles for wsprobe inspect: comments in a config, wsprobe.toml or pyproject.toml, the hook."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_inspect import BAD, CADDY, GOOD, REMOVED, SHORT, found, here, inspect, refused_one
from tests.tracing import refused, run

__all__ = ["here"]

ROOT = Path(__file__).parent.parent
IGNORED = "# wsprobe: ignore[credential-removed] the service behind checks cookies"


# Comments.


def beside(config: str, number: int, comment: str) -> str:
    lines = config.split("\n")
    lines[number - 1] += f"  {comment}"
    return "\n".join(lines)


def before(config: str, number: int, *comments: str) -> str:
    lines = config.split("\n")
    return "\n".join([*lines[: number - 1], *comments, *lines[number - 1 :]])


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(beside(BAD, REMOVED, IGNORED), id="on the line"),
        pytest.param(before(BAD, REMOVED, f"        {IGNORED}"), id="on the line before"),
        pytest.param(before(BAD, REMOVED, IGNORED, "# it has done so for years"), id="above another comment"),
        pytest.param(
            beside(BAD, REMOVED, "# wsprobe: ignore[credential-removed, host-not-passed] cookies"),
            id="with another rule",
        ),
    ],
)
def test_a_comment_with_a_reason_silences_a_rule_on_a_line(here: Path, config: str) -> None:
    (here / "nginx.conf").write_text(config)
    ran = inspect("nginx.conf")
    assert ran.status == 0
    assert "credential-removed" not in [rule for rule, _, _ in found(ran)]
    (silenced,) = ran.report["silenced"]
    assert silenced["finding"]["rule"] == "credential-removed"
    assert "cookies" in silenced["reason"]


def test_other_kinds_have_the_same_comment(here: Path) -> None:
    (here / "Caddyfile").write_text(beside(CADDY, 3, IGNORED))
    ran = inspect("Caddyfile")
    assert (ran.status, found(ran), len(ran.report["silenced"])) == (0, [], 1)


@pytest.mark.parametrize(
    ("comment", "rule", "severity"),
    [
        ("# wsprobe: ignore[credential-removed]", "silence-unexplained", "warning"),
        ("# wsprobe: ignore[credential-removed] -", "silence-unexplained", "warning"),
        ("# wsprobe: ignore[credential-remove] cookies", "silence-unknown-rule", "warning"),
        ("# wsprobe: ignore cookies", "silence-unknown-rule", "warning"),
        ("# wsprobe: ignore[short-idle-timer] pings", "silence-unused", "note"),
    ],
)
def test_a_comment_that_silences_nothing_is_told(here: Path, comment: str, rule: str, severity: str) -> None:
    (here / "nginx.conf").write_text(beside(BAD, REMOVED, comment))
    ran = inspect("nginx.conf")
    assert (ran.status, ran.report["silenced"]) == (1, [])
    assert {("credential-removed", "nginx.conf", REMOVED), (rule, "nginx.conf", REMOVED)} <= set(found(ran))
    told = next(one for one in ran.report["findings"] if one["rule"] == rule)
    assert told["severity"] == severity
    assert "\n" not in told["message"]


def test_a_comment_for_a_rule_that_was_not_asked_for_is_not_called_unused(here: Path) -> None:
    (here / "nginx.conf").write_text(beside(BAD, REMOVED, IGNORED))
    assert found(inspect("nginx.conf", "--select", "short-idle-timer,silence-unused")) == []
    assert found(inspect("nginx.conf", "--ignore", "credential-removed")) == []


def test_a_comment_in_an_included_file_counts_there(here: Path) -> None:
    (here / "nginx.conf").write_text(
        GOOD.replace("        proxy_read", "        include more.conf;\n        proxy_read")
    )
    (here / "more.conf").write_text(f'{IGNORED}\nproxy_set_header Authorization "";\n')
    assert [one["reason"] for one in inspect("nginx.conf").report["silenced"]] == ["the service behind checks cookies"]


# Configuration.


def test_the_nearest_configuration_counts_and_the_command_line_wins(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "pyproject.toml").write_text('[project]\nname = "app"\n[tool.wsprobe]\nignore = ["credential-removed"]\n')
    (here / "conf").mkdir()
    (here / "conf" / "nginx.conf").write_text(BAD)
    monkeypatch.chdir(here / "conf")
    assert (inspect("nginx.conf").status, found(inspect("nginx.conf"))) == (0, [])
    assert found(inspect("nginx.conf", "--ignore", "short-idle-timer")) != []
    (here / "conf" / "pyproject.toml").write_text('[project]\nname = "wsprobe-user"\n')
    assert inspect("nginx.conf").status == 0, "one without the table is passed over"
    (here / "conf" / "wsprobe.toml").write_text("")
    assert inspect("nginx.conf").status == 1, "the nearest one counts, whatever it says"


def test_every_setting_does_what_its_option_does(here: Path) -> None:
    (here / "shared").mkdir()
    (here / "shared" / "more.conf").write_text("proxy_set_header X-More more;\n")
    (here / "conf").mkdir()
    include = "        include ../shared/more.conf;\n        proxy_read"
    (here / "conf" / "nginx.conf").write_text(GOOD.replace("        proxy_read", include).replace("3600s", "120s"))
    (here / "conf" / "old.conf").write_text(BAD)
    (here / "conf" / "vendor").mkdir()
    (here / "conf" / "vendor" / "nginx.conf").write_text(BAD)
    (here / "wsprobe.toml").write_text(
        'select = ["short-idle-timer"]\nignore = []\nfail-on = "note"\nping = 300\nroot = "."\n'
        'exclude = ["vendor", "old*"]\n[lb-version]\nnginx = "1.22"\n'
    )
    ran = inspect("conf")
    assert (ran.status, ran.err) == (1, "")
    assert found(ran) == [("short-idle-timer", "conf/nginx.conf", 10)]
    assert [config["version"] for config in ran.report["configs"]] == ["1.22"]
    assert inspect("conf", "--ping", "20", "--lb-version", "nginx=1.24").report["configs"][0]["version"] == "1.24"
    assert found(inspect("conf", "--ping", "20")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('color = "red"', ("color", "there are select")),
        ('select = "credential-removed"', ("select", "a list of rules")),
        ('select = ["no-such-rule"]', ("no-such-rule",)),
        ("ignore = [1]", ("ignore", "a list of rules")),
        ('fail-on = "fatal"', ("fail-on", "error, warning")),
        ('ping = "often"', ("ping", "seconds")),
        ("ping = true", ("ping", "seconds")),
        ("ping = 0", ("ping", "seconds")),
        ('root = "nowhere"', ("root", "nowhere")),
        ("root = 1", ("root", "folder")),
        ("exclude = 1", ("exclude", "list")),
        ('lb-version = "1.22"', ("lb-version", "table")),
        ('lb-version = { squid = "5" }', ("lb-version", "squid")),
        ("lb-version = { nginx = 1.22 }", ("lb-version", "table")),
        ('lb-version = { nginx = "new" }', ("lb-version", "'new'", "nginx")),
        (f'lb-version = {{ nginx = "{"9" * 5000}" }}', ("lb-version", "nginx")),
        ("select = [", ("not TOML",)),
        (f"ping = {'9' * 5000}", ("not TOML",)),
        (f"select = {'[' * 5000}", ("not TOML",)),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line_with_file_and_key(
    here: Path, text: str, words: tuple[str, ...]
) -> None:
    (here / "nginx.conf").write_text(GOOD)
    (here / "wsprobe.toml").write_text(text)
    refused(run("inspect", "nginx.conf"), "wsprobe.toml", *words)
    (here / "wsprobe.toml").unlink()
    (here / "pyproject.toml").write_text(f"[tool.wsprobe]\n{text}\n")
    refused(run("inspect", "nginx.conf"), "pyproject.toml", *words)


def test_a_table_of_pyproject_in_a_file_of_its_own_says_where_settings_stand(here: Path) -> None:
    (here / "nginx.conf").write_text(GOOD)
    (here / "wsprobe.toml").write_text("[tool.wsprobe]\nping = 20\n")
    refused(run("inspect", "nginx.conf"), "wsprobe.toml", "without [tool.wsprobe]")


def test_the_settings_in_the_manual_are_understood(here: Path) -> None:
    manual = (ROOT / "docs" / "inspect.md").read_text()
    settings = manual.partition("```toml\n")[2].partition("```")[0]
    (here / "pyproject.toml").write_text(settings)
    (here / "deploy").mkdir()
    (here / "nginx.conf").write_text(SHORT)
    ran = inspect("nginx.conf")
    assert (ran.status, ran.report["configs"][0]["version"]) == (1, "1.22")


def test_a_tool_entry_that_is_no_table_is_told(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool]\nwsprobe = 1\n")
    (here / "nginx.conf").write_text(GOOD)
    refused(run("inspect", "nginx.conf"), "pyproject.toml", "tool.wsprobe is not a table")


# The hook.


def test_the_hook_is_one_that_pre_commit_takes() -> None:
    from pre_commit.clientlib import load_manifest  # type: ignore[import-untyped]

    (hook,) = load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))
    assert (hook["id"], hook["entry"], hook["language"]) == ("wsprobe-inspect", "wsprobe inspect", "python")


def test_pre_commit_runs_the_hook_on_the_configs_of_a_commit(here: Path) -> None:
    import yaml

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    # As the hook is, but with the wsprobe of this checkout: to install it would need a registry.
    local = {**hook, "language": "system", "entry": f"{sys.executable} -m wsprobe inspect"}
    config = {"repos": [{"repo": "local", "hooks": [local]}]}
    (here / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    (here / "README.md").write_text("# No config\n")
    (here / "deploy").mkdir()
    (here / "deploy" / "nginx.conf").write_text(SHORT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PRE_COMMIT_HOME": str(here / "home")}
    environment |= {
        f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }

    def commit() -> subprocess.CompletedProcess[str]:
        subprocess.run(["git", "add", "-A"], cwd=here, env=environment, check=True)
        command = [sys.executable, "-m", "pre_commit", "run", "--color", "never"]
        return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)

    subprocess.run(["git", "init", "-q"], cwd=here, env=environment, check=True)
    ran = commit()
    assert (ran.returncode, "Passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr
    (here / "deploy" / "nginx.conf").write_text(BAD)
    ran = commit()
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"credential-removed  deploy/nginx.conf:{REMOVED}:9" in ran.stdout
    assert "README.md" not in ran.stdout


def test_a_config_in_json_has_no_comments(here: Path) -> None:
    (here / "wsprobe.json").write_text('{"# wsprobe: ignore[credential-removed] x": 1}\n')
    refused_one(inspect("wsprobe.json"), "not recognised")
