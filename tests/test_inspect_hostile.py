"""Configs that are made to be too much: numbers, lines, names and definitions that grow beyond every bound."""

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.test_inspect import GOOD, here, inspect, problems, refused_one

__all__ = ["here"]

LONG = "9" * 5000

HAPROXY = "defaults\n mode http\nfrontend f\n bind :80\n{}\n default_backend b\nbackend b\n server s 127.0.0.1:9000\n"
APACHE = "{}\n<VirtualHost *:80>\nProxyPass /ws ws://127.0.0.1:9000/\n</VirtualHost>\n"
TRAEFIK = """\
http: {routers: {a: {rule: "PathPrefix(`/ws`)", service: s, priority: NUMBER}},
services: {s: {loadBalancer: {servers: [{url: "http://127.0.0.1:9000"}]}}}}
"""
CADDY: dict[str, Any] = {
    "match": [{"path": ["/ws"]}],
    "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "app:80"}]}],
}


def doubling(line: str, times: int = 60) -> str:
    """Lines of which each has what the one before made twice."""
    return "\n".join(line.format(at, at - 1) for at in range(1, times))


def caddy(routes: list[object], **more: object) -> str:
    """Caddy's JSON on one line, as its API gives it."""
    return json.dumps({"apps": {"http": {"servers": {"main": {"listen": [":80"], "routes": routes, **more}}}}})


@pytest.mark.parametrize("number", [LONG, "9" * 400, "²", "٣", "--5"])
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("nginx", GOOD.replace("3600s", "NUMBERs").replace("listen 80", "listen NUMBER")),
        ("nginx", "large_client_header_buffers NUMBER NUMBERk;\nserver { location /ws { return NUMBER; } }\n"),
        ("haproxy", HAPROXY.format(" timeout tunnel NUMBERs\n http-request deny deny_status NUMBER if { path /x }")),
        (
            "haproxy",
            HAPROXY.format(" acl a req.hdr_cnt(x) gt NUMBER\n .if NUMBER\n .endif\n redirect code NUMBER location /"),
        ),
        ("apache", APACHE.format("Timeout NUMBER\nLimitRequestFieldSize NUMBER\nListen NUMBER\nRedirect NUMBER /a /b")),
        ("caddy", ":NUMBER {\n\trespond /x NUMBER\n\treverse_proxy app:80 {\n\t\tstream_timeout NUMBERh\n\t}\n}\n"),
        ("caddy", caddy([CADDY], idle_timeout="NUMBER", max_header_bytes="NUMBER").replace('"NUMBER"', "NUMBER")),
        ("traefik", TRAEFIK),
        ("traefik", "[http.routers.a]\nrule = 'Path(`/ws`)'\nservice = 's'\npriority = NUMBER\n"),
    ],
)
def test_a_number_that_is_none_or_too_long_is_no_crash(here: Path, kind: str, config: str, number: str) -> None:
    (here / "config").write_text(config.replace("NUMBER", number))
    ran = inspect("config", "--as", kind, "--predict", "/ws")
    assert ran.status in {0, 1, 2}
    assert "Infinity" not in ran.out
    problems(ran)


def test_a_whole_config_on_one_line_is_told_in_parts(here: Path) -> None:
    secret = {"handler": "headers", "request": {"set": {"X-Api-Key": ["swordfish in the sea"]}}}
    routes: list[object] = [{**CADDY, "handle": [secret, *CADDY["handle"]], "terminal": bool(at)} for at in range(40)]
    (here / "caddy.json").write_text(caddy(routes))
    ran = inspect("caddy.json")
    places = [route["place"] for route in ran.report["routes"] if route["place"]]
    assert len(places) >= 40
    assert max(len(place["text"]) for place in places) <= 500
    whole = (here / "caddy.json").read_text()
    for place in places:
        start = place["column"] - 1 - place.get("indent", 0)
        assert place["text"][start : start + 8] == whole[place["column"] - 1 :][:8]
    assert len(ran.out) < 100 * len(whole)
    assert "swordfish" not in ran.out


@pytest.mark.parametrize("unit", ["a", "?", "?a", "token=", "token:", "Bearer ", "key ", "://", "a@", "${", "'a'"])
def test_a_long_line_takes_no_longer_than_its_length(here: Path, unit: str) -> None:
    long = unit * (60_000 // len(unit))
    (here / "nginx.conf").write_text(GOOD.replace("        proxy_pass", f'        add_header X "{long}"; proxy_pass'))
    assert inspect("nginx.conf").status in {0, 2}


@pytest.mark.parametrize(
    ("kind", "config", "told"),
    [
        (
            "nginx",
            doubling('map $arg_x $m{0} {{ default "$m{1}$m{1}"; }}').replace("$m0", "$arg_y")
            + "\n"
            + GOOD.replace('"upgrade"', "$m59"),
            "asks too many others",
        ),
        ("apache", APACHE.format("Define A0 xxxxxxxx\n" + doubling("Define A{0} ${{A{1}}}${{A{1}}}")), "variables"),
        (
            "haproxy",
            "global\n" + doubling(' setenv A{0} "${{A{1}}}${{A{1}}}"').replace("${A0}", "x") + "\n" + HAPROXY,
            "",
        ),
        ("haproxy", HAPROXY.format(" http-request set-header X %[path" + ",lower" * 20_000 + "]"), "converters"),
        (
            "caddy",
            "(s0) {\n\theader X {args[0]}\n}\n"
            + doubling("(s{0}) {{\n\timport s{1} {{args[0]}}{{args[0]}}\n}}")
            + "\n:80 {\n\timport s59 zzzz\n\treverse_proxy app:80\n}\n",
            "more than 5000 words",
        ),
        (
            "caddy",
            "(s0) {\n\theader X {args[0]}\n}\n"
            + doubling("(s{0}) {{\n\timport s{1} {{args[:]}} {{args[:]}}\n}}")
            + "\n:80 {\n\timport s59 zzzz\n\treverse_proxy app:80\n}\n",
            "more than 5000 words",
        ),
    ],
)
def test_definitions_that_double_each_other_are_given_up(here: Path, kind: str, config: str, told: str) -> None:
    (here / "config").write_text(config)
    with mock.patch("wsprobe.lb._caddy_blocks.MAX_WORDS", 5000):
        ran = inspect("config", "--as", kind)
    assert told in ran.out
    problems(ran)


def test_an_include_looks_into_no_folder_outside_of_the_root(here: Path) -> None:
    (here / "conf" / "in").mkdir(parents=True)
    (here / "conf" / "in" / "a.conf").write_text("# nothing\n")
    (here / "away").mkdir()
    (here / "away" / "secret.conf").write_text("# nothing\n")
    (here / "conf" / "out").symlink_to(here / "away")
    listing, listed = os.listdir, list[str]()

    def noted(path: str) -> list[str]:
        listed.append(str(path))
        return listing(path)

    for pattern in ("/*/*/*", "../*/*.conf", "*/*.conf"):
        (here / "conf" / "nginx.conf").write_text(f"include {pattern};\n{GOOD}")
        with mock.patch("wsprobe.lb.source.os.listdir", noted):
            ran = inspect("conf/nginx.conf")
        refused_one(ran, "lies outside of conf", "--root")
        assert "secret.conf" not in ran.out
    assert ran.report["configs"][0]["files"] == ["conf/nginx.conf", "conf/in/a.conf"]
    assert listed
    assert all(path.startswith(str(here / "conf")) for path in listed)


def test_an_include_of_more_names_than_it_may_look_at_is_a_line(here: Path) -> None:
    (here / "many").mkdir()
    for number in range(20):
        (here / "many" / f"{number}.conf").touch()
    (here / "nginx.conf").write_text(f"include many/*;\n{GOOD}")
    with mock.patch("wsprobe.lb.source.MAX_LOOKED", 10):
        refused_one(inspect("nginx.conf"), "include many/*", "more than 10 names")


def test_a_file_of_the_system_that_has_nothing_to_read_is_empty(here: Path) -> None:
    (here / "kmsg").write_text("")
    opening = os.fdopen

    def silent(*arguments: object) -> mock.MagicMock:
        with opening(*arguments) as file:  # type: ignore[call-overload]
            number = os.dup(file.fileno())
        made = mock.MagicMock()
        made.__enter__.return_value = mock.Mock(fileno=lambda: number, read=lambda _: None)
        made.__exit__.side_effect = lambda *_: os.close(number)
        return made

    with mock.patch("wsprobe.lb.source.os.fdopen", silent):
        refused_one(inspect("kmsg"), "kmsg", "not recognised")


def test_what_conditions_look_for_is_worked_out_once_for_all_routes(here: Path) -> None:
    """A list of redirects is a route a rule, and each route passes all of them."""
    from wsprobe.rules.config._made import made_of

    rules = "\n".join(f"RewriteRule ^/old{at}$ /new{at} [R=301,L]" for at in range(40))
    (here / "httpd.conf").write_text(
        APACHE.format("").replace("<VirtualHost *:80>", f"<VirtualHost *:80>\nRewriteEngine On\n{rules}")
    )
    with mock.patch("wsprobe.rules.config._passage.made_of", wraps=made_of) as counted:
        assert len(inspect("httpd.conf", "--as", "apache").report["routes"]) > 40
    assert counted.call_count < 40 * 10
