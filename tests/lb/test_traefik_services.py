"""Traefik's services: which servers they lead to, and when Traefik leaves a router out for one."""

from pathlib import Path

import pytest

from tests.lb.traefik_configs import asked, config, http
from wsprobe.lb import reader
from wsprobe.lb.source import Files

UNWATCHED = """\
    a: {loadBalancer: {servers: [{url: 'http://app'}]}}
    b: {loadBalancer: {servers: [{url: 'http://app'}]}}
    w: {loadBalancer: {servers: [{url: 'http://app'}], healthCheck: {path: /}}}
"""


@pytest.mark.parametrize(
    "service",
    [
        "failover: {service: w, fallback: a}",
        "failover: {service: a, fallback: b, errors: {status: ['500']}}",
        "weighted: {healthCheck: {}, services: [{name: w}]}",
        "mirroring: {service: a, mirrors: [{name: b}]}",
        "mirroring: {healthCheck: {}, service: a, mirrors: [{name: b}]}",
    ],
)
def test_a_service_that_has_what_it_needs_leads_on(service: str) -> None:
    assert asked(http(service=f"    s: {{{service}}}\n{UNWATCHED}")).reached is True


@pytest.mark.parametrize(
    "name", ["mirroring: {service: a, mirrors: [{name: x}]}", "failover: {service: w, fallback: x}"]
)
def test_a_service_that_stands_aside_has_to_exist_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "traefik.yml").write_text(
        "entryPoints: {web: {address: ':80'}}\nproviders: {file: {filename: d.yml}}\n"
    )
    (tmp_path / "d.yml").write_text(http(service=f"    s: {{{name}}}\n{UNWATCHED}"))
    (problem,) = reader("traefik").read(Files(tmp_path).open(tmp_path / "traefik.yml")).problems
    assert problem.message.endswith("the service x@file does not exist")


@pytest.mark.parametrize(
    ("servers", "status"),
    [
        ("{url: 'ws://app:80'}", 500),
        ("{url: 'wss://app'}", 500),
        ("{url: 'app:80'}", 500),
        ("{url: app}", 500),
        ("{url: 'http://'}", 500),
        ("{url: 'http:/app'}", 500),
        ("{url: 'http://app', weight: 0}", 503),
        ("{url: 'HTTP://u:p@app:80/%41?x'}", None),
        ("{url: 'h2c://[::1]:80'}", None),
        ("{url: 'http://app', weight: 0}, {url: 'http://one', weight: 2}", None),
    ],
)
def test_a_server_that_traefik_cannot_call_is_none(servers: str, status: int | None) -> None:
    prediction = asked(http(service=f"    s: {{loadBalancer: {{servers: [{servers}]}}}}"))
    assert (prediction.reached, prediction.status) == (status is None, status)


def test_two_choices_know_no_weights() -> None:
    text = http(service="    s: {loadBalancer: {strategy: p2c, servers: [{url: 'http://app', weight: 0}]}}")
    assert asked(text).reached is True


def test_where_only_some_servers_can_be_called_the_answer_is_open() -> None:
    text = http(service="    s: {loadBalancer: {servers: [{url: 'http://app'}, {url: 'ws://app'}]}}")
    assert asked(text).reached is None


@pytest.mark.parametrize(
    "text",
    [
        http(service="    s: {loadBalancer: {servers: [{url: 'app:80/x:y'}, {url: '10.0.0.5:8080'}]}}"),
        http(service="    s: {loadBalancer: {servers: [{url: 'http://a b'}]}}"),
        http(service="    s: {loadBalancer: {servers: [{url: 'http://app:80:1'}]}}"),
        http(service="    s: {loadBalancer: {servers: [{url: 'http://app/%zz'}]}}"),
        http(service="    s: {loadBalancer: {strategy: best, servers: [{url: 'http://app'}]}}"),
        http(service=f"    s: {{failover: {{service: a, fallback: b}}}}\n{UNWATCHED}"),
        http(service=f"    s: {{failover: {{service: w, fallback: b, healthCheck: {{}}}}}}\n{UNWATCHED}"),
        http(service=f"    s: {{failover: {{service: w}}}}\n{UNWATCHED}"),
        http(service=f"    s: {{weighted: {{healthCheck: {{}}, services: [{{name: w}}, {{name: a}}]}}}}\n{UNWATCHED}"),
    ],
)
def test_a_service_that_cannot_be_built_is_a_problem(text: str) -> None:
    (problem,) = config(text).problems
    assert "leaves the router" in problem.message
    assert problem.line


def test_servers_are_told_with_their_scheme_and_host() -> None:
    service = (
        "    s: {loadBalancer: {passHostHeader: false, servers: [{url: 'https://one:8443'}, {url: 'https://two'}]}}"
    )
    text = http(service=service)
    upstream = config(text).listeners[0].routes[0].upstream
    assert upstream
    assert (upstream.tls, upstream.addresses) == (True, ("one:8443", "two"))
    assert "Host" in {each.what for each in asked(text).unknown}
