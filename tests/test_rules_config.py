"""Rules on configs: what must fire and at which line, what must stay silent, and that each explains itself.

`tests/rules_config/RULE/` holds a config a file, named by verdict and kind: `bad-nginx-…` makes that rule fire at the
line that ends with `# here` (or follows one that says only that) and nowhere else, `ok-nginx-…` keeps it silent. What
the user told beside it stands in a first line such as `# asked: ping=30`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wsprobe.inspection import ConfigFinding
from wsprobe.lb import kinds, reader
from wsprobe.lb.source import from_text
from wsprobe.model import Severity
from wsprobe.rules.config import Asked, judge, load, names, text

CASES = Path(__file__).parent / "rules_config"
FIELDS: dict[str, Callable[[str], Any]] = {
    "ping": float,
    "token": int,
    "headers": lambda word: (word,),
    "paths": lambda word: (word,),
}
DOCUMENTED = re.compile(r"(?m)^(Bad|Good) \((\w+)\):\n((?:(?:    .*)?(?:\n|\Z))+)")


@dataclass(frozen=True)
class Case:
    rule: str
    path: Path

    @property
    def kind(self) -> str:
        return self.path.name.split("-")[1].partition(".")[0]

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def asked(self) -> Asked:
        told = re.match(r"# asked: (\w+)=(\S+)", self.text)
        return Asked(**{told[1]: FIELDS[told[1]](told[2])}) if told else Asked()

    @property
    def expected(self) -> set[int]:
        """The lines that are marked."""
        lines = self.text.splitlines()
        marked = (number for number, line in enumerate(lines, 1) if line.endswith("# here"))
        return {number + (lines[number - 1].strip() == "# here") for number in marked}

    def __str__(self) -> str:
        return f"{self.rule}/{self.path.stem}"


def found(kind: str, config: str, rule: str, asked: Asked | None = None) -> list[ConfigFinding]:
    read = reader(kind).read(from_text(config, "case"))
    assert not read.problems, read.problems
    return [finding for finding in judge([read], asked) if finding.rule == rule]


def collected() -> list[Case]:
    """All cases; a rule without a bad and an ok one ends the collection, and so does a folder that is no rule's."""
    cases = []
    for rule in names():
        folder = CASES / rule.replace("-", "_")
        for verdict in ("bad", "ok"):
            files = sorted(folder.glob(f"{verdict}-*"))
            assert files, f"{rule} has no {verdict}-KIND-* in {folder}"
            cases += [Case(rule, file) for file in files]
    known = {case.path for case in cases}
    stray = [file for file in CASES.rglob("*") if file.is_file() and file not in known]
    assert not stray, f"no rule's cases: {stray}"
    assert all(case.kind in kinds() for case in cases), {case.kind for case in cases} - set(kinds())
    return cases


ALL = collected()


@pytest.mark.parametrize("case", [case for case in ALL if case.path.name.startswith("bad-")], ids=str)
def test_a_bad_case_makes_its_rule_fire_at_the_marked_line(case: Case) -> None:
    findings = found(case.kind, case.text, case.rule, case.asked)
    assert case.expected, "a bad case marks its line"
    assert {finding.place.line for finding in findings} == case.expected, findings


@pytest.mark.parametrize("case", [case for case in ALL if case.path.name.startswith("ok-")], ids=str)
def test_an_ok_case_keeps_its_rule_silent(case: Case) -> None:
    assert found(case.kind, case.text, case.rule, case.asked) == []


# What a finding holds.


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_finding_says_where_what_and_what_to_do(case: Case) -> None:
    for finding in found(case.kind, case.text, case.rule, case.asked):
        route, colon, said = finding.message.partition(": ")
        assert route
        assert colon
        assert said[0].isupper() or said.split()[0] in case.text
        assert said.endswith(".")
        assert len(said) <= 400
        assert finding.fix
        assert finding.url is None or finding.url.startswith("https://")
        assert 0 < finding.place.line <= len(case.text.splitlines())
        assert finding.place.text == case.text.splitlines()[finding.place.line - 1].strip()


SECRETS = ("dXNlcjpwdw", "s3cr3t")


@pytest.mark.parametrize("case", ALL, ids=str)
def test_no_message_holds_a_value_of_the_config(case: Case) -> None:
    for finding in found(case.kind, case.text, case.rule, case.asked):
        said = f"{finding.message} {finding.fix}"
        assert not any(secret in said for secret in SECRETS)
        assert "canary" not in said


def test_one_fault_of_one_line_is_one_finding_however_many_routes_it_touches() -> None:
    locations = "".join(f"location /ws{n} {{ proxy_pass http://127.0.0.1:9000; }}\n" for n in range(5))
    config = (
        "server { listen 80; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;\n"
        'proxy_set_header Connection "upgrade";\nproxy_set_header Authorization "";\n' + locations + "}"
    )
    findings = found("nginx", config, "credential-removed")
    assert [finding.place.line for finding in findings] == [3]
    assert " and 2 more: " in findings[0].message


def test_a_fragment_is_judged_with_what_the_file_around_it_may_say() -> None:
    fragment = 'proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection "upgrade";\n'
    findings = found("nginx", fragment, "http10-upstream")
    assert [finding.severity for finding in findings] == [Severity.WARNING]
    assert "unless the file that includes this one says otherwise" in findings[0].message


# What a rule says of itself.


def examples(rule: str) -> Iterator[tuple[str, str, str]]:
    """The verdict, the kind and the config of each example in a rule's text."""
    for verdict, kind, block in DOCUMENTED.findall((load(rule).__doc__ or "") + "\n"):
        yield verdict, kind, re.sub(r"(?m)^    ", "", block)


@pytest.mark.parametrize("rule", names())
def test_a_rule_explains_itself_with_a_bad_and_a_good_example(rule: str) -> None:
    doc = (load(rule).__doc__ or "").strip()
    first, _, rest = doc.partition("\n")
    assert first.endswith(".")
    assert len(first) <= 120
    assert not rest.partition("\n")[0].strip(), "the first sentence stands alone"
    verdicts = [verdict for verdict, _, _ in examples(rule)]
    assert verdicts == ["Bad", "Good"] * (len(verdicts) // 2)
    assert verdicts
    assert text(rule).startswith(f"{rule}\n\n{first}")


@pytest.mark.parametrize(
    ("rule", "verdict", "kind", "config"),
    [
        pytest.param(rule, *example, id=f"{rule} {example[0]} {example[1]} {number}")
        for rule in names()
        for number, example in enumerate(examples(rule))
    ],
)
def test_the_examples_of_a_rule_are_what_it_says(rule: str, verdict: str, kind: str, config: str) -> None:
    wrapped = f"server {{\nlisten 80;\n{config}}}\n" if kind == "nginx" and not config.startswith("server") else config
    assert bool(found(kind, wrapped, rule)) is (verdict == "Bad")


@pytest.mark.parametrize("rule", names())
def test_explain_prints_a_rule(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    from wsprobe.cli import main

    assert main(["explain", rule]) == 0
    assert capsys.readouterr().out == f"{text(rule)}\n"


def test_a_rule_without_a_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("credential-removed")
    load.cache_clear()
    monkeypatch.delattr(module, "check")
    with pytest.raises(TypeError, match="rule credential-removed lacks check"):
        load("credential-removed")


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("ProxyPass /ws http://app:1/", "to the ProxyPass line"),
        (
            "<Proxy balancer://app>\nBalancerMember http://app:1\n</Proxy>\nProxyPass /ws balancer://app/",
            "to each BalancerMember line",  # Apache does not start with `upgrade=` on the ProxyPass of a balancer
        ),
        ("RewriteEngine On\nRewriteRule ^/ws(.*) http://app:1/$1 [P]", "`ws://` instead of `http://` in the rule"),
    ],
)
def test_the_fix_of_a_dropped_upgrade_is_for_the_line_that_leads_on(config: str, part: str) -> None:
    [finding] = found("apache", f"{config}\n", "upgrade-not-passed")
    assert part in (finding.fix or "")


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (
            "haproxy",
            "listen l\n bind :80\n mode http\n http-request deny if { hdr(Upgrade) -i websocket }\n server s app:1\n",
        ),
        ("apache", '<If "-n %{HTTP:Upgrade}">\nRequire all denied\n</If>\nProxyPass / ws://app:1/\n'),
    ],
)
def test_a_line_that_answers_upgrades_is_to_be_limited(kind: str, config: str) -> None:
    [finding] = found(kind, config, "upgrade-not-passed")
    assert "limit it to requests without Upgrade" in (finding.fix or "")


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("ProxyPass / http://app:2/\nProxyPass /ws ws://app:1/", "ProxyPass line before the other"),
        (
            "<Location /ws>\nProxyPass ws://app:1/\n</Location>\n<Location />\nProxyPass http://app:2/\n</Location>",
            "in a <Location> behind the other",
        ),
        (
            "RewriteEngine On\nRewriteRule ^/(.*) http://app:2/$1 [P]\nProxyPass /ws ws://app:1/",
            "!=websocket [NC]` before",
        ),
    ],
)
def test_the_fix_of_a_shadowed_route_is_what_apache_decides_by(config: str, part: str) -> None:
    [finding] = found("apache", f"{config}\n", "route-shadowed")
    assert part in (finding.fix or "")


@pytest.mark.parametrize(
    ("line", "rule", "part"),
    [
        ("http-request del-header Authorization", "credential-removed", "append `unless {"),
        ("http-request del-header Authorization if TRUE", "credential-removed", "add `!{ req.hdr(Upgrade)"),
        ("http-request set-header Authorization x unless FALSE", "credential-replaced", "add `or { req.hdr(Auth"),
        ("http-request replace-header Authorization ^Bearer Token", "credential-replaced", "unless { req.hdr(Upgrade)"),
        ("timeout tunnel 3600", "short-idle-timer", "without a unit counts milliseconds"),
    ],
)
def test_a_fix_can_be_applied_to_the_line_as_it_stands(line: str, rule: str, part: str) -> None:
    [finding] = found("haproxy", f"defaults\n mode http\nlisten ws\n bind :80\n {line}\n server s app:1\n", rule)
    assert part in (finding.fix or "")


@pytest.mark.parametrize(
    ("case", "page"), [("traefik-remove-header.yaml", "/basicauth/"), ("traefik-forward-auth.yaml", "/forwardauth/")]
)
def test_a_consumed_credential_links_to_the_page_of_what_takes_it(case: str, page: str) -> None:
    path = CASES / "credential_consumed" / f"bad-{case}"
    [finding] = found("traefik", path.read_text(), "credential-consumed")
    assert (finding.url or "").endswith(page)


def test_no_rule_over_configs_is_called_as_one_over_traces() -> None:
    from wsprobe import rules

    assert not set(names()) & set(rules.names())


def test_every_severity_is_reached_by_some_case() -> None:
    findings = [finding for case in ALL for finding in found(case.kind, case.text, case.rule, case.asked)]
    assert {finding.severity for finding in findings} == set(Severity)


def test_the_fix_of_an_upgrade_that_envoy_has_switched_off_switches_it_on() -> None:
    text = (CASES / "upgrade_not_passed" / "bad-envoy-off-on-the-route.yaml").read_text()
    [finding] = found("envoy", text, "upgrade-not-passed")
    assert "`enabled: true`" in (finding.fix or "")
    assert found("envoy", text.replace("enabled: false", "enabled: true"), "upgrade-not-passed") == []


def test_the_fix_of_a_shadowed_location_and_of_lost_lines_has_the_lines_to_write() -> None:
    text = """
        http { server {
            proxy_set_header Host $host;
            location ~ io { proxy_pass http://a; }
            location /socket.io/ {
                proxy_pass http://a; proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
            }
        } }
    """
    (shadowed,) = found("nginx", text, "route-shadowed")
    assert shadowed.fix == "Write `location ^~ /socket.io/ {`, so that no regular expression is tried after it."
    (lost,) = found("nginx", text, "inherited-edits-lost")
    assert lost.fix == "Write here too: `proxy_set_header Host $host;`."
