"""Apache refuses a directive of the server in a section for paths; the real one was asked for each of these."""

import pytest

from wsprobe.lb.apache import read
from wsprobe.lb.source import from_text


def problems(*lines: str) -> list[str]:
    config = read(from_text("\n".join(("<VirtualHost *:80>", *lines, "</VirtualHost>")), "site.conf"))
    return [f"{problem.line}: {problem.message}" for problem in config.problems]


@pytest.mark.parametrize(
    "directive", ["ProxyTimeout 3600", "Timeout 60", "LimitRequestFieldSize 65536", "SSLProxyEngine on", "ProxyVia On"]
)
def test_a_directive_of_the_server_in_a_location_keeps_apache_from_starting(directive: str) -> None:
    said = problems("<Location /ws>", directive, "ProxyPass ws://127.0.0.1:9000/", "</Location>")
    assert said == [f"3: {directive.split(maxsplit=1)[0]} is not allowed in <Location>: Apache does not start"]


@pytest.mark.parametrize("directive", ["ProxyPreserveHost On", "ProxyAddHeaders Off", "ProxyErrorOverride On"])
def test_what_may_stand_in_a_location_is_no_problem(directive: str) -> None:
    assert problems("<Location /ws>", directive, "ProxyPass ws://127.0.0.1:9000/", "</Location>") == []


def test_a_directive_of_the_server_may_stand_in_a_virtual_host() -> None:
    assert problems("ProxyTimeout 3600", "ProxyPass / ws://127.0.0.1:9000/") == []


def test_tls_to_an_upstream_may_be_switched_on_in_its_section() -> None:
    assert problems('<Proxy "https://127.0.0.1:9000/">', "SSLProxyEngine on", "</Proxy>") == []
