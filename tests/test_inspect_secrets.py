"""Secrets that stand in configs are in nothing that wsprobe inspect writes, whatever else is wrong with the config."""

import base64
import io
import re
import string
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsprobe.cli import main
from wsprobe.lb import kinds, secrets

# In each config S1, S2, … are secrets of any shape, H1, H2, … hashes of passwords as htpasswd and crypt make them.
CONFIGS = {
    "nginx": """\
map $http_x_api_key $known {
    default 0;
    "S1" 1;
}
server {
    listen 80;
    set $api_token "S2";
    secure_link_secret S3;
    location /ws {
        if ($arg_token = "S4") { return 403; }
        if ($http_authorization != "Bearer S5") { return 401; }
        proxy_pass http://user:S6@127.0.0.1:9000;
        proxy_set_header Authorization "Bearer S7";
        proxy_set_header X-Api-Key S8;
        proxy_set_header Cookie "session=S9";
        proxy_set_header X-Tenant $api_token;
        proxy_read_timeout 5s;  # the password is in the vault
        rewrite ^/old /ws?token=S10 last;
    }
}
""",
    "haproxy": """\
global
    setenv API_TOKEN S1
userlist people
    user bob password H1
    user eve insecure-password S2
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend fe
    bind :8080
    acl known req.hdr(x-api-key) -m str S3
    acl bearer req.hdr(authorization) -m str "Bearer S4"
    http-request deny unless known
    default_backend ws
backend ws
    stats auth admin:S5
    http-request set-header Authorization "Basic S6"
    http-request add-header X-Api-Key S7
    http-request set-header Cookie "session=S8"
    option httpchk
    http-check send meth GET uri / hdr Authorization "Bearer S9"
    server s1 127.0.0.1:9000 check
""",
    "envoy": """\
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                main:
                  issuer: main
                  local_jwks:
                    inline_string: '{"keys":[{"kty":"oct","kid":"a","k":"S1"}]}'
              rules: [{match: {prefix: /}, requires: {provider_name: main}}]
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              request_headers_to_add:
              - header: {key: authorization, value: "Bearer S2"}
                append_action: OVERWRITE_IF_EXISTS_OR_ADD
              - header:
                  key: x-api-key
                  value: S3
              routes:
              - match:
                  prefix: /ws
                  headers:
                  - name: x-auth-token
                    string_match:
                      exact: S4
                route: {cluster: app}
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9000}}}
  secrets:
  - name: token
    generic_secret:
      secret:
        inline_string: S5
  - name: hmac
    generic_secret: {secret: {inline_string: "S6"}}
""",
    "caddy": """\
:8080 {
	@known header X-Api-Key S1
	basic_auth {
		bob H1
		eve H2
	}
	request_header Authorization "Bearer S2"
	reverse_proxy @known http://127.0.0.1:9000 {
		header_up Authorization "Bearer S3"
		header_up X-Api-Key S4
		header_up Cookie "session=S5"
		stream_timeout 5s
	}
	reverse_proxy 127.0.0.1:9001 {
		header_up X-Auth-Token S6
	}
}
""",
    "apache": """\
SetEnv API_TOKEN S1
<VirtualHost *:80>
    RequestHeader set Authorization "Basic S2"
    RequestHeader set X-Api-Key S3
    RequestHeader append Cookie "session=S4"
    AuthLDAPBindPassword "S5"
    OIDCClientSecret S6
    RewriteEngine On
    RewriteCond %{HTTP:X-Api-Key} =S7
    RewriteRule ^/ws http://user:S8@127.0.0.1:9000/ws?token=S9 [P]
    ProxyPass /old ws://127.0.0.1:9000/old
    ProxyTimeout 5
</VirtualHost>
""",
    "traefik": """\
http:
  routers:
    ws:
      rule: "PathPrefix(`/ws`) && Header(`X-Api-Key`, `S1`)"
      service: app
      middlewares: [auth, set]
  middlewares:
    auth:
      basicAuth:
        users:
          - "bob:H1"
          - "eve:H2"
    set:
      headers:
        customRequestHeaders:
          Authorization: "Bearer S2"
          X-Api-Key: S3
          Cookie: "session=S4"
  services:
    app:
      loadBalancer:
        servers:
          - url: "http://user:S5@127.0.0.1:9000"
""",
    "compose": """\
services:
  app:
    image: app
    environment:
      - API_TOKEN=S1
      - DB_PASSWORD=S2
    labels:
      - "traefik.enable=true"
      - "traefik.http.routers.ws.rule=PathPrefix(`/ws`)"
      - "traefik.http.routers.ws.middlewares=auth,set"
      - "traefik.http.middlewares.auth.basicauth.users=bob:D1"
      - "traefik.http.middlewares.set.headers.customrequestheaders.Authorization=Bearer S3"
      - "traefik.http.middlewares.set.headers.customrequestheaders.X-Api-Key=S4"
      - "traefik.http.services.app.loadbalancer.server.port=9000"
""",
}
NAMES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile", "apache": "httpd.conf"}
FORMATS = ("terminal", "json", "sarif", "github", "junit")

_TOKEN = string.ascii_letters + string.digits
# What is drawn begins with letters that no word of an output does, lest a secret be found that is none.
SHAPES = st.one_of(
    st.text(_TOKEN, min_size=10, max_size=38).map(lambda text: f"zq{text}"),
    st.text(string.ascii_lowercase, min_size=8, max_size=14).map(lambda text: f"zq{text}"),
    st.text(string.hexdigits.lower()[:16], min_size=32, max_size=32),
    st.binary(min_size=12, max_size=30).map(lambda octets: base64.b64encode(octets).decode().rstrip("=")),
    st.text(_TOKEN, min_size=8, max_size=20).map(lambda text: f"sk_live_{text}"),
)
HASHES = st.one_of(
    st.text(_TOKEN + "./", min_size=53, max_size=53).map(lambda text: f"$2y$10${text}"),
    st.text(_TOKEN + "./", min_size=22, max_size=22).map(lambda text: f"$apr1$saltsalt${text}"),
    st.text(_TOKEN + "./", min_size=43, max_size=43).map(lambda text: f"$5$saltsalt${text}"),
    st.binary(min_size=20, max_size=20).map(lambda octets: f"{{SHA}}{base64.b64encode(octets).decode()}"),
)


def planted(template: str, draw: st.DataObject) -> tuple[str, list[str]]:
    """A config with secrets in it, no two of which are alike, and what must not be told of each."""
    told: list[str] = []
    for letter, shapes in (("D", HASHES), ("H", HASHES), ("S", SHAPES)):
        for number in range(12, 0, -1):
            mark = f"{letter}{number}"
            if mark in template:
                secret = draw.draw(
                    shapes.filter(lambda text: text not in told and not text.startswith("-")), label=mark
                )
                template = template.replace(mark, secret.replace("$", "$$") if letter == "D" else secret)
                told.append(secret.rpartition("$")[2].removeprefix("{SHA}"))
    return template, told


def everything(folder: Path, *arguments: str) -> str:
    """All that the command writes for the configs of a folder, in any format, on both streams and to files."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "stdin", None):
        for name in FORMATS:
            assert main(["inspect", ".", "--format", name, "-o", "out.sarif", *arguments]) in {0, 1, 2}
            out.write((folder / "out.sarif").read_text())
            (folder / "out.sarif").unlink()
    return out.getvalue() + err.getvalue()


def leaks(text: str, told: list[str]) -> list[str]:
    """The secrets that can be read in a text, also percent-encoded or in JSON."""
    return [
        secret
        for secret in told
        if any(form in text for form in (secret, quote(secret, safe=""), secret.replace("/", "\\/")))
    ]


def readable(kind: str) -> bool:
    return ("traefik" if kind == "compose" else kind) in kinds()


@pytest.mark.parametrize("kind", CONFIGS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_no_secret_of_a_config_is_in_any_output(kind: str, draw: st.DataObject) -> None:
    if not readable(kind):
        pytest.skip(f"there is no reader for {kind} yet")
    config, told = planted(CONFIGS[kind], draw)
    cut = draw.draw(st.none() | st.integers(len(config) // 4, len(config)), label="cut")
    with TemporaryDirectory() as folder:
        path = Path(folder) / NAMES.get(kind, f"{kind}.yaml")
        path.write_text(config if cut is None else config[:cut])
        text = everything(Path(folder), "--predict", "/ws")
    assert leaks(text, told) == []


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_configs_in_which_secrets_are_planted_are_read(kind: str, tmp_path: Path) -> None:
    if not readable(kind):
        pytest.skip(f"there is no reader for {kind} yet")
    config = CONFIGS[kind]
    for number in range(12, 0, -1):
        for letter in "DHS":
            config = config.replace(
                f"{letter}{number}", f"$2y$10$abcdefghijklmnop{number}" if letter != "S" else f"secretword{number}"
            )
    (tmp_path / NAMES.get(kind, f"{kind}.yaml")).write_text(config)
    text = everything(tmp_path)
    assert f'"kind": "{kind.replace("compose", "traefik")}"' in text
    assert "1 route" in text or "2 routes" in text or "3 routes" in text


@pytest.mark.parametrize(
    "line",
    [
        'proxy_set_header Authorization "Bearer swordfish";',
        "proxy_set_header X-Api-Key swordfish;",
        'proxy_set_header X-Upstream "Bearer swordfish";',
        'if ($http_authorization != "Bearer swordfish") {',
        "if ($arg_token = swordfish) {",
        'set $api_key "swordfish";',
        'secure_link_md5 "$secure_link_expires$uri swordfish";',
        "proxy_pass http://app/ws?access_token=swordfish99;",
        "proxy_pass http://user:swordfish@app:8080;",
        'ngx.req.set_header("Authorization", "swordfish")',
        "user bob password $5$rounds=5000$swordfish$swordfishswordfish",
        "user bob insecure-password swordfish",
        "stats auth admin:swordfish",
        "http-request set-header Authorization Basic\\ swordfish",
        "http-request add-header X-Api-Key swordfish if { path /ws }",
        "http-request set-var(txn.token) str(swordfish)",
        "http-request set-header X-Api-Key %[str(swordfish)]",
        "http-request set-header X-Auth %[str(swordfish),base64]",
        "acl known req.hdr(authorization),word(2) -m str swordfish",
        'http-request deny unless { http_auth_bearer,jwt_verify(txn.alg,"swordfish") -m int 1 }',
        'http-check send meth GET uri / hdr Authorization "Basic swordfish"',
        "setenv API_TOKEN swordfish",
        "bob $2a$14$swordfishswordfishswordfish",
        "basicauth bob JDJhJDE0JHN3b3JkZmlzaHN3b3JkZmlzaHN3b3JkZmlzaA==",
        'header_up Authorization "Bearer swordfish"',
        "request_header +X-Api-Key swordfish",
        "header_regexp X-Api-Key ^swordfish$",
        "header_up X-Api-Key {$API_KEY:swordfish}",
        'RequestHeader set Authorization "Basic swordfish" env=x',
        "RewriteCond %{HTTP:X-Api-Key} ^swordfish$",
        'AuthLDAPBindPassword "swordfish"',
        "Define API_TOKEN swordfish",
        '- "test:$apr1$H6uskkkW$swordfishswordfish"',
        '- "test:traefik:a2688e031edb4be6a3797f3882655c05"',
        '- "traefik.http.middlewares.a.basicauth.users=test:$$2y$$05$$swordfish"',
        '- "traefik.http.middlewares.a.headers.customrequestheaders.Authorization=Basic swordfish"',
        'X-Api-Key = "swordfish"',
        "X-Api-Key: swordfish",
        '"X-Api-Key": ["swordfish"]',
        '{key: authorization, value: "Bearer swordfish"}',
        '{session: "one, swordfish", X-A: b}',
        "{session: one swordfish, X-A: b}",
        "{name: x-api-key, string_match: {exact: swordfish}}",
        "client_secret: swordfish",
        '"credentials": [{"key": "swordfish", "client": "one"}]',
        "credentials: [{client: one, key: swordfish}]",
        "inline_string: swordfish",
        r'inline_string: "{\"keys\":[{\"kty\":\"oct\",\"k\":\"swordfish\"}]}"',
        "- API_TOKEN=swordfish",
        "- API_TOKEN=${API_TOKEN:-swordfish}",
        "DB_PASSWORD: swordfish",
        "rule: Header(`X-Api-Key`, `swordfish`)",
    ],
)
def test_a_literal_in_the_place_of_a_secret_is_hidden(line: str) -> None:
    left = line
    for span in reversed(secrets.find(line)):
        left = f"{left[: span.start]}*{left[span.end :]}"
    assert not re.search("swordfish|a2688e|JHN3b3Jk", left), left


def test_secrets_that_run_over_lines_are_found() -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\n  c3dvcmRmaXNoc3dvcmRmaXNo\n  -----END RSA PRIVATE KEY-----\n"
    users = "basicAuth:\n  users:\n    - bob:swordfish1\n    - eve:swordfish2\n"
    block = "hmac_secret: |\n  swordfish3\n  swordfish4\nother: |\n  stays\n"
    beside = "- header:\n    key: x-api-key\n    value: swordfish5\n"
    found = set(secrets.values(f"{pem}{users}{block}{beside}"))
    assert {"c3dvcmRmaXNoc3dvcmRmaXNo", *(f"swordfish{number}" for number in range(1, 6))} <= found
    assert "stays" not in found


@pytest.mark.parametrize(
    "line",
    [
        '{"client_secret": "swordfish1", "db_password":"swordfish2","x-api-key":["swordfish3"],"api_token":"swordfish4"}',
        "{client_secret: swordfish1, api_key: swordfish2, password: 'swordfish3', signing_key: swordfish4}",
        "[{key: swordfish1, client: a}, {key: swordfish2, client: b}, {key: 'swordfish3'}, {key: swordfish4, x: {value: 1}}]",
        "env API_TOKEN=swordfish1 DB_PASSWORD=swordfish2 SECRET_KEY=\"swordfish3\" ACCESS_KEY='swordfish4'",
    ],
)
def test_all_secrets_of_a_line_are_found(line: str) -> None:
    assert {f"swordfish{number}" for number in range(1, 5)} <= set(secrets.values(line))


@pytest.mark.parametrize(
    "line",
    [
        'proxy_set_header Authorization "";',
        "proxy_set_header Authorization $http_authorization;",
        'proxy_set_header Authorization "Bearer $jwt";',
        'proxy_set_header Connection "upgrade";',
        "proxy_set_header Sec-WebSocket-Key $http_sec_websocket_key;",
        "proxy_set_header X-Forwarded-Proto https;",
        'auth_basic "Restricted area";',
        "auth_basic_user_file /etc/nginx/.htpasswd;",
        "auth_request_set $token $upstream_http_x_token;",
        "ssl_certificate_key /etc/ssl/private/app.pem;",
        "limit_req_zone $binary_remote_addr zone=auth:10m rate=1r/s;",
        "http-request set-header Authorization %[req.hdr(authorization)]",
        "http-request del-header Authorization",
        "http-request auth realm Private if !known",
        "acl known http_auth(people)",
        "acl has req.hdr(x-api-key) -m found",
        "server app1 10.0.0.1:80 check cookie app1",
        "header_up Authorization {http.request.header.Authorization}",
        "header_up X-Api-Key {$API_KEY}",
        "header_up -Authorization",
        'RequestHeader set Authorization "%{HTTP_AUTHORIZATION}e"',
        "RequestHeader unset Authorization",
        'SetEnvIf Authorization "(.*)" HTTP_AUTHORIZATION=$1',
        "RewriteCond %{HTTP:Upgrade} =websocket [NC]",
        "request_headers_to_remove: [authorization]",
        "from_headers: [{name: Authorization, value_prefix: 'Bearer '}]",
        '- header: {key: authorization, value: "%REQ(x-api-key)%"}',
        "token_endpoint: {cluster: oauth, uri: https://auth.example.com/token, timeout: 5s}",
        "authResponseHeaders: [X-Auth-User, Authorization]",
        'customRequestHeaders: {Authorization: "", X-Real-Ip: "", Cookie: ""}',
        '- "traefik.http.middlewares.a.forwardauth.address=http://auth:9091"',
        "rule: HeaderRegexp(`Upgrade`, `websocket`)",
        "secretFile: /run/secrets/x",
        "# the token expires after an hour",
        "authority: app.example.com",
        "# Basic settings of the site",
        "# SPDX-FileCopyrightText: 2021 the authors (see AUTHORS)",
        "addAuthCookiesToResponse: [session]",
        "inline_string: \"function envoy_on_request(h) h:headers():remove('authorization') end\"",
    ],
)
def test_what_only_refers_to_a_secret_stays_readable(line: str) -> None:
    assert secrets.find(line) == []
