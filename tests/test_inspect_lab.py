"""Each config of the lab, read and judged: its one fault is named at its line, and a correct one is silent.

The lab lies beside the project and is no part of it; where it is missing, the tests are left out and say so.
"""

from pathlib import Path

import pytest

from wsprobe.inspection import ConfigFinding
from wsprobe.lb import reader
from wsprobe.lb.source import Files
from wsprobe.rules.config import Asked, judge

LAB = Path(__file__).parents[2] / "shared" / "lab"
KINDS = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "envoy": "envoy",
    "caddy": "caddy",
    "apache2": "apache",
    "traefik": "traefik",
}

SILENT = ""
"""Nothing is wrong with how it treats an upgrade."""

ELSEWHERE = "the fault is that of the upstream, of its certificate, or of the path to it: no config shows it"

Expected = str | tuple[str, str]
"""The rule that fires and the text of the line where it does, or why none does."""

NGINX: dict[str, Expected] = {
    "auth-basic.conf": ("credential-refused", "auth_basic realm"),
    "big-buffers.conf": SILENT,
    "correct-map.conf": SILENT,
    "correct.conf": SILENT,
    "headers-but-http10.conf": ("http10-upstream", "proxy_pass"),
    "hide-101-header.conf": ("handshake-header-edited", "proxy_hide_header Sec-WebSocket-Protocol"),
    "http11-only.conf": ("upgrade-not-passed", "proxy_pass"),
    "if-strip.conf": ("credential-removed", "proxy_set_header Authorization $a"),
    "inherit-trap.conf": ("inherited-edits-lost", "location /trap"),
    "keepalive-trap.conf": ("connection-not-upgrade", 'proxy_set_header Connection ""'),
    "master-mode.conf": SILENT,
    "naive.conf": ("upgrade-not-passed", "proxy_pass"),
    "pass-headers-off.conf": ("request-headers-off", "proxy_pass_request_headers off"),
    "read-timeout-2s.conf": ("short-idle-timer", "proxy_read_timeout 2s"),
    "return-426.conf": SILENT,  # it answers 426 to what is no upgrade
    "strip-auth-empty.conf": ("credential-removed", 'proxy_set_header Authorization ""'),
    "strip-auth-override.conf": ("credential-replaced", "proxy_set_header Authorization"),
    "tls-h2.conf": SILENT,
    "underscores-on.conf": SILENT,
    "upgrade-literal.conf": SILENT,
    "upstream-down.conf": ELSEWHERE,
    "upstream-hang.conf": ("short-idle-timer", "proxy_read_timeout 2s"),
    "upstream-plain-to-tls.conf": ELSEWHERE,
    "upstream-tls-ok.conf": SILENT,
    "upstream-tls-to-plain.conf": ELSEWHERE,
    "upstream-tls-verify-fail.conf": ELSEWHERE,
}
HAPROXY: dict[str, Expected] = {
    "alpn-ws-h1.cfg": SILENT,
    "bigbuf.cfg": SILENT,
    "client-timeout-only-2s.cfg": ("short-idle-timer", "timeout client 2s"),
    "correct.cfg": SILENT,
    "custom-log.cfg": SILENT,
    "del-auth-acl.cfg": ("credential-removed", "http-request del-header Authorization if ws"),
    "del-auth-backend.cfg": ("credential-removed", "http-request del-header authorization"),
    "del-auth.cfg": ("credential-removed", "http-request del-header Authorization"),
    "edit-101.cfg": ("handshake-header-edited", "http-response del-header Sec-WebSocket-Protocol"),
    "forwardfor.cfg": SILENT,
    "http-auth.cfg": ("credential-refused", "http-request auth"),
    "httpclose-server.cfg": SILENT,
    "maxconn-queue.cfg": "how many connections there are, no config shows",
    "no-timeouts.cfg": SILENT,
    "normalize-h1case.cfg": SILENT,
    "set-auth.cfg": ("credential-replaced", "http-request set-header Authorization"),
    "strip-upgrade.cfg": ("upgrade-not-passed", "http-request del-header Upgrade"),
    "tls-h2-no-extconnect.cfg": SILENT,
    "tls-h2.cfg": SILENT,
    "tunnel-timeout-2s.cfg": ("short-idle-timer", "timeout tunnel 2s"),
    "upstream-down.cfg": ELSEWHERE,
    "upstream-hang.cfg": ("short-idle-timer", "timeout server 2s"),
    "upstream-plain-to-tls.cfg": ELSEWHERE,
    "upstream-tls-ok.cfg": SILENT,
    "upstream-tls-to-plain.cfg": ELSEWHERE,
    "upstream-tls-verify-fail.cfg": ELSEWHERE,
}
ENVOY: dict[str, Expected] = {
    "correct.yaml": SILENT,
    "edge-use-remote-address.yaml": SILENT,  # it replaces X-Request-Id, as it may
    "edit-101.yaml": ("handshake-header-edited", "- sec-websocket-protocol"),
    "ext-authz-http.yaml": SILENT,
    "h3.yaml": SILENT,
    "hcm-idle-2s.yaml": ("timer-without-effect", "idle_timeout: 2s"),
    "jwt-forward-false-default.yaml": ("credential-consumed", "p:"),
    "lua-remove-auth.yaml": ("credential-unknown", "inline_string: function envoy_on_request"),
    "max-headers-96k.yaml": SILENT,
    "max-stream-duration-2s.yaml": ("hard-lifetime", "max_stream_duration: 2s"),
    "naive.yaml": ("upgrade-not-passed", "prefix: /"),
    "overwrite-auth.yaml": ("credential-replaced", "key: Authorization"),
    "preserve-case.yaml": SILENT,
    "remove-auth-one-route.yaml": ("credential-removed", "- authorization"),
    "remove-auth-route.yaml": ("credential-removed", "- authorization"),
    "remove-auth-routeconfig.yaml": ("credential-removed", "- Authorization"),
    "route-idle-2s.yaml": ("short-idle-timer", "idle_timeout: 2s"),
    "route-level-disable.yaml": ("upgrade-not-passed", "enabled: false"),
    "route-level-enable.yaml": SILENT,
    "route-timeout-2s.yaml": ("timer-without-effect", "timeout: 2s"),
    "stream-idle-2s.yaml": ("short-idle-timer", "stream_idle_timeout: 2s"),
    "tls-h2-no-connect.yaml": SILENT,
    "tls-h2.yaml": SILENT,
    "underscores-drop.yaml": ("underscore-header-dropped", "headers_with_underscores_action: DROP_HEADER"),
    "underscores-reject.yaml": ("underscore-header-dropped", "headers_with_underscores_action: REJECT_REQUEST"),
    "upstream-down.yaml": ELSEWHERE,
    "upstream-h2-no-connect.yaml": ("http2-upstream", "http2_protocol_options: {}"),
    "upstream-plain-to-tls.yaml": ELSEWHERE,
    "upstream-tls-ok-noverify.yaml": SILENT,
    "upstream-tls-to-plain.yaml": ELSEWHERE,
    "upstream-tls-verify-fail.yaml": ELSEWHERE,
}
CADDY: dict[str, Expected] = {
    "correct.Caddyfile": SILENT,
    "encode.Caddyfile": SILENT,
    "forward-auth-401.Caddyfile": "what the service of forward_auth answers, no config shows",
    "h2-upstream.Caddyfile": ("http2-upstream", "reverse_proxy h2c://127.0.0.1:19000"),
    "idle-2s.Caddyfile": ("timer-without-effect", "idle 2s"),
    "max-header.Caddyfile": SILENT,
    "set-auth.Caddyfile": ("credential-replaced", "header_up Authorization"),
    "stream-close-delay.Caddyfile": SILENT,
    "stream-timeout-2s.Caddyfile": ("hard-lifetime", "stream_timeout 2s"),
    "strip-auth-request-header.Caddyfile": ("credential-removed", "request_header -Authorization"),
    "strip-auth.Caddyfile": ("credential-removed", "header_up -Authorization"),
    "strip-connection.Caddyfile": ("connection-not-upgrade", "header_up -Connection"),
    "strip-upgrade.Caddyfile": ("upgrade-not-passed", "header_up -Upgrade"),
    "tls-h2.Caddyfile": SILENT,
    "transport-timeouts-2s.Caddyfile": ("short-idle-timer", "read_timeout 2s"),
    "upstream-down.Caddyfile": ELSEWHERE,
    "upstream-plain-to-tls.Caddyfile": ELSEWHERE,
    "upstream-tls-ok.Caddyfile": SILENT,
    "upstream-tls-to-plain.Caddyfile": ELSEWHERE,
    "upstream-tls-verify-fail.Caddyfile": ELSEWHERE,
}
APACHE: dict[str, Expected] = {
    "add-headers-off.conf": SILENT,
    "auth-basic.conf": ("credential-refused", "AuthType Basic"),
    "bigfield.conf": SILENT,
    "correct-rewrite.conf": SILENT,
    "correct-wstunnel.conf": SILENT,
    "correct.conf": SILENT,
    "edit-101.conf": ("edit-without-effect", "Header unset Sec-WebSocket-Protocol"),
    "naive.conf": ("upgrade-not-passed", "ProxyPass / http://127.0.0.1:19000/"),
    "no-wstunnel-module.conf": SILENT,  # a ws:// route works without the module
    "proxytimeout-2s.conf": ("timer-without-effect", "ProxyTimeout 2"),
    "servertimeout-2s.conf": ("short-idle-timer", "Timeout 2"),
    "set-auth.conf": ("credential-replaced", "RequestHeader set Authorization"),
    "timeout-2s.conf": ("timer-without-effect", "timeout=2"),
    "tls-h2.conf": SILENT,
    "unset-auth-wstunnel.conf": ("credential-removed", "RequestHeader unset Authorization"),
    "unset-auth.conf": ("credential-removed", "RequestHeader unset Authorization"),
    "upgrade-any.conf": SILENT,
    "upstream-down-ws.conf": ELSEWHERE,
    "upstream-down.conf": ELSEWHERE,
    "upstream-hang.conf": ("timer-without-effect", "timeout=2"),
    "upstream-plain-to-tls.conf": ELSEWHERE,
    "upstream-tls-no-engine.conf": ("upgrade-not-passed", "ProxyPass / wss://127.0.0.1:19443/"),
    "upstream-tls-nopeername.conf": SILENT,
    "upstream-tls-ok.conf": SILENT,
    "upstream-tls-to-plain.conf": ELSEWHERE,
    "upstream-tls-verify-fail.conf": ELSEWHERE,
}
TRAEFIK: dict[str, Expected] = {
    "basicauth.yml": ("credential-refused", "basicAuth:"),
    "buffering.yml": SILENT,
    "compress.yml": SILENT,
    "correct.yml": SILENT,
    "edit-101.yml": ("edit-without-effect", "Sec-WebSocket-Protocol: ''"),
    "forward-auth.yml": ("credential-consumed", "- Authorization"),
    "no-route.yml": "which host the client asks for, no config shows",
    "pass-host-false.yml": ("host-not-passed", "passHostHeader: false"),
    "read-timeout-2s.yml": ("timer-without-effect", "idleTimeout: 2s"),
    "resp-header-timeout-2s.yml": ("timer-without-effect", "idleConnTimeout: 2s"),
    "retry.yml": SILENT,
    "set-auth.yml": ("credential-replaced", "Authorization: Basic"),
    "strip-auth.yml": ("credential-removed", "Authorization: ''"),
    "strip-upgrade.yml": ("upgrade-not-passed", "Upgrade: ''"),
    "tls-h2.yml": SILENT,
    "upstream-down.yml": ELSEWHERE,
    "upstream-plain-to-tls.yml": ELSEWHERE,
    "upstream-tls-ok.yml": SILENT,
    "upstream-tls-to-plain.yml": ELSEWHERE,
    "upstream-tls-verify-fail.yml": ELSEWHERE,
}
FOLDERS = {"nginx": NGINX, "haproxy": HAPROXY, "envoy": ENVOY, "caddy": CADDY, "apache2": APACHE, "traefik": TRAEFIK}
CASES = [(folder, name) for folder, files in FOLDERS.items() for name in files]

needs_lab = pytest.mark.skipif(not LAB.is_dir(), reason=f"{LAB} is missing: no config of the lab was judged")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab with its placeholders filled in."""
    root = tmp_path_factory.mktemp("lab")
    for file in LAB.glob("*/*"):
        text = file.read_text().replace("@LAB@", f"{root}/scratch").replace("@CONFIGS@", str(root))
        (root / file.parent.name).mkdir(exist_ok=True)
        (root / file.parent.name / file.name).write_text(text)
    return root


def judged(root: Path, folder: str, name: str, asked: Asked | None = None) -> list[ConfigFinding]:
    config = reader(KINDS[folder]).read(Files(root.resolve()).open((root / folder / name).resolve()))
    assert not config.problems
    return list(judge([config], asked))


@needs_lab
@pytest.mark.parametrize(("folder", "name"), CASES)
def test_a_config_of_the_lab_has_its_fault_named_at_its_line(lab: Path, folder: str, name: str) -> None:
    findings = judged(lab, folder, name)
    expected = FOLDERS[folder][name]
    if isinstance(expected, str):
        assert findings == [], expected
        return
    rule, text = expected
    found = [finding for finding in findings if finding.rule == rule]
    assert found, findings
    assert any(text in finding.place.text for finding in found), found


@needs_lab
def test_every_config_of_the_lab_is_in_the_table() -> None:
    there = {(file.parent.name, file.name) for file in LAB.glob("*/*") if not file.name.endswith(".dyn.yaml")}
    assert there == set(CASES)
