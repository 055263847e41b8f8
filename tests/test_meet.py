"""Trace and config meet: which line predicts what real proxies were observed to do, and where the two differ."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest

from tests import backend, lab
from tests.backend import Answer, Backend
from tests.lab.proxy import BASIC
from tests.tracing import Document, Ran, refused, relay, run, trace

pytestmark = pytest.mark.lab
TOKEN = jwt.encode({"sub": "somebody"}, "a key of thirty-two octets or more", "HS256")


@contextmanager
def path(proxy: str, fault: str, folder: Path, answer: Answer = backend.needs_token) -> Iterator[str]:
    """Client -> edge -> the proxy -> inner -> the application; the proxy's config lies in the folder `config`."""
    chosen = lab.PROXIES[proxy]
    (folder / "config").mkdir(exist_ok=True)
    with Backend(answer) as app, relay("inner", app.port, folder / "inner.jsonl") as inner:

        def render(where: Path, port: int) -> dict[str, str]:
            files = chosen.render(where, port, inner, fault)
            for name, text in files.items():
                (folder / "config" / name).write_text(text)
            return files

        with lab.run(proxy, render) as running, relay("edge", running.port, folder / "edge.jsonl") as edge:
            yield f"ws://127.0.0.1:{edge}/ws"


def traced(url: str, config: Path, *records: Path, hold: float = 1) -> Ran:
    given = [word for file in records for word in ("--records", str(file))]
    env = {"PROBE_TOKEN": TOKEN}
    ran = trace(
        url, "--bearer-env", "PROBE_TOKEN", *given, "--config", str(config), "--controls", "never", hold=hold, env=env
    )
    assert TOKEN not in ran.everything
    return ran


def verdict(ran: Ran) -> Document:
    found: Document = ran.report["verdict"]
    return found


def lines(found: Document) -> list[str]:
    return [line["text"] for line in found.get("lines", ())]


def said(ran: Ran) -> str:
    return "\n".join(ran.report.get("config", ()))


FAULTS = {
    "nginx": 'proxy_set_header Authorization "";',
    "haproxy": "http-request del-header Authorization",
    "envoy": "request_headers_to_remove: [authorization]",
    "caddy": "header_up -Authorization",
    "apache": "RequestHeader unset Authorization",
    "traefik": "Authorization",
}


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_the_line_that_strips_the_header_stands_in_the_verdict(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "strip-authorization", tmp_path) as url:
        ran = traced(url, tmp_path / "config", tmp_path)
    found = verdict(ran)
    assert (found["rule"], found["confidence"], found["segment"]) == ("header-removed", "proven", ["edge", "inner"])
    (line,) = found["lines"]
    assert FAULTS[proxy] in line["text"]
    text = (tmp_path / "config" / Path(line["path"]).name).read_text().split("\n")
    assert line["text"] == text[line["line"] - 1].strip()
    assert f"{line['path']}:{line['line']} `{line['text']}` predicts it." in found["message"]
    assert "was not observed" not in said(ran)
    assert "no line of the configs" not in said(ran)


@pytest.mark.parametrize("proxy", lab.PROXIES)
def test_a_healthy_path_and_its_config_have_nothing_against_each_other(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "correct", tmp_path) as url:
        ran = traced(f"{url}?token=abcdefgh", tmp_path / "config", tmp_path)
    assert (ran.status, ran.report["findings"]) == (0, [])
    assert "withheld when" not in said(ran)
    assert "not observed" not in said(ran)
    assert "no line of the configs" not in said(ran)


def test_an_edit_that_no_line_predicts_is_said(tmp_path: Path) -> None:
    with path("nginx", "strip-authorization", tmp_path) as url:
        other = tmp_path / "other.conf"
        other.write_text((tmp_path / "config/nginx.conf").read_text().replace('proxy_set_header Authorization "";', ""))
        ran = traced(url, other, tmp_path)
    assert lines(verdict(ran)) == []
    assert "Authorization was removed between edge and inner, and no line of the configs predicts it" in said(ran)


def test_a_predicted_edit_that_was_not_observed_is_said(tmp_path: Path) -> None:
    with path("nginx", "correct", tmp_path) as url:
        other = tmp_path / "other.conf"
        text = (tmp_path / "config/nginx.conf").read_text()
        other.write_text(text.replace("proxy_pass ", 'proxy_set_header Authorization "";\nproxy_pass '))
        ran = traced(url, other, tmp_path)
    assert ran.report["findings"] == []
    assert "predicts that Authorization is removed, and that was not observed: it arrived as it was sent" in said(ran)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}', "withheld when the request was recorded"),
        ('if ($http_authorization !~ "^Bearer ey[^.]+\\.") { return 401; }', "withheld when the request was recorded"),
        ('if ($arg_token != "abcdefgh") { return 403; }', "withheld when the request was recorded"),
        ('if ($http_authorization !~ "^Bearer .") { return 401; }', "withheld when the request was recorded"),
        ('if ($http_authorization !~* "^bearer") { return 401; }', ""),
        ('if ($http_authorization = "") { return 401; }', ""),
    ],
)
def test_a_condition_on_what_was_withheld_is_not_held_against_the_config(line: str, words: str, tmp_path: Path) -> None:
    with path("nginx", "correct", tmp_path) as url:
        other = tmp_path / "other.conf"
        text = (tmp_path / "config/nginx.conf").read_text()
        other.write_text(text.replace("proxy_pass ", f"{line}\nproxy_pass "))
        ran = traced(f"{url}?token=abcdefgh", other, tmp_path)
    assert "was in force" not in said(ran)
    assert "predicts" not in said(ran)
    assert words in said(ran)
    assert ("withheld when" in said(ran)) is bool(words)


def test_without_a_recorder_behind_the_proxy_a_predicted_edit_is_told_as_not_observed(tmp_path: Path) -> None:
    with path("nginx", "strip-authorization", tmp_path) as url:
        ran = traced(url, tmp_path / "config")
    assert verdict(ran)["rule"] == "closed-by-origin"
    assert lines(verdict(ran)) == []
    assert "Authorization is removed; no recorder stood behind the proxy, so it was not observed" in said(ran)
    assert '`proxy_set_header Authorization "";` predicts' in said(ran)
    fix = ran.report["writeup"]["fixes"][0]
    assert (fix["who"], fix["line"]["text"], fix["instead"]) == ("config", 'proxy_set_header Authorization "";', "")
    assert fix["what"].startswith("If this line is in force there, Authorization is lost by it, which nobody observed.")
    (prevent,) = ran.report["writeup"]["prevent"]
    assert prevent.startswith(f"wsprobe inspect {tmp_path}/config/nginx.conf --select credential-removed,")
    assert "X-" not in said(ran), "edits that a proxy may make are not worth a word"


@pytest.mark.parametrize("proxy", ["nginx", "haproxy", "apache", "envoy"])
def test_the_timer_that_ended_the_connection_is_named(proxy: str, tmp_path: Path) -> None:
    with path(proxy, "idle-2s", tmp_path, backend.stay_open) as url:
        ran = traced(url, tmp_path / "config", tmp_path, hold=6)
    found = next(one for one in ran.report["findings"] if one["rule"] == "idle-timeout")
    (line,) = lines(found)
    assert "2" in line
    assert "imeout" in line


def test_the_line_that_refuses_the_upgrade_is_named(tmp_path: Path) -> None:
    with path("envoy", "no-upgrade", tmp_path) as url:
        ran = traced(url, tmp_path / "config", tmp_path)
    assert verdict(ran)["rule"] == "upgrade-refused"
    assert "answers 403 by itself" in said(ran)


def test_an_upgrade_that_is_dropped_by_default_has_no_line_and_is_predicted_all_the_same(tmp_path: Path) -> None:
    with path("nginx", "no-upgrade", tmp_path) as url:
        ran = traced(url, tmp_path / "config", tmp_path)
    assert verdict(ran)["rule"] == "upgrade-dropped"
    assert "no line of the configs" not in said(ran)


def test_a_replaced_credential_is_named_by_its_line_and_shown_by_none(tmp_path: Path) -> None:
    with path("haproxy", "rewrite-authorization", tmp_path) as url:
        ran = traced(url, tmp_path / "config", tmp_path)
    assert verdict(ran)["rule"] == "header-altered"
    assert len(lines(verdict(ran))) == 1
    assert BASIC.split()[1] not in ran.everything


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_every_format_names_the_line(form: str, tmp_path: Path) -> None:
    with path("nginx", "strip-authorization", tmp_path) as url:
        ran = traced(url, tmp_path / "config", tmp_path)
    saved = tmp_path / "report.json"
    saved.write_text(json.dumps(ran.report))
    shown = " ".join(run("report", str(saved), "--format", form).out.split())
    assert 'proxy_set_header Authorization "";' in shown
    assert "nginx.conf:" in shown


def test_traffic_of_others_is_held_against_the_config_too(tmp_path: Path) -> None:
    with path("nginx", "strip-authorization", tmp_path) as url:
        traced(url, tmp_path / "config")
    ran = run("diagnose", str(tmp_path), "--config", str(tmp_path / "config"), "--format", "json")
    assert lines(verdict(ran)) == [FAULTS["nginx"]]


def test_a_config_that_cannot_be_read_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "nothing.conf").write_text("this is prose\n")
    with Backend(backend.echo) as app:
        url = f"ws://127.0.0.1:{app.port}/"
        refused(run("trace", url, "--config", str(tmp_path / "nothing.conf")), "nothing.conf", "not recognised")
        refused(run("trace", url, "--config", str(tmp_path / "none.conf")), "none.conf", "No such file")
        assert app.requests == []


def test_each_config_is_asked_about_the_request_that_comes_to_its_proxy(tmp_path: Path) -> None:
    """Behind a proxy that rewrites the path, the next one's config knows only the new one."""

    def second(where: Path, port: int) -> dict[str, str]:
        files = lab.PROXIES["haproxy"].render(where, port, inner, "strip-authorization")
        (name,) = files
        files[name] = files[name].replace(
            "default_backend", "http-request deny unless { path_beg /inner }\n  default_backend"
        )
        (tmp_path / name).write_text(files[name])
        return files

    def first(where: Path, port: int) -> dict[str, str]:
        files = lab.PROXIES["nginx"].render(where, port, mid, "correct")
        return {
            name: text.replace(f"http://127.0.0.1:{mid}", f"http://127.0.0.1:{mid}/inner/")
            for name, text in files.items()
        }

    with (
        Backend(backend.needs_token) as app,
        relay("inner", app.port, tmp_path / "inner.jsonl") as inner,
        lab.run("haproxy", second) as haproxy,
        relay("mid", haproxy.port, tmp_path / "mid.jsonl") as mid,
        lab.run("nginx", first) as nginx,
        relay("edge", nginx.port, tmp_path / "edge.jsonl") as edge,
    ):
        ran = traced(f"ws://127.0.0.1:{edge}/ws", tmp_path / "haproxy.cfg", tmp_path)
    assert verdict(ran)["segment"] == ["mid", "inner"]
    assert lines(verdict(ran)) == [FAULTS["haproxy"]]
    assert "was in force" not in said(ran)
