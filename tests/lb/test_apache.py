"""Apache's configs as they are read: what each says of an upgrade, what is broken in them, and hostile ones."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsprobe.inspection import Timer
from wsprobe.lb import apache
from wsprobe.lb.model import Config, Edit, Gate, Opaque, Route
from wsprobe.lb.predict import carry, predict
from wsprobe.lb.request import request_for, upgrade
from wsprobe.lb.source import Files, ReadError, from_text

TOKEN = ("Authorization", "Bearer a.b.c")


def read(text: str, version: str | None = None) -> Config:
    return apache.read(from_text(text, "httpd.conf"), version)


def got(text: str, url: str = "/ws", *headers: tuple[str, str]) -> dict[str, str] | int | str | None:
    """What the upstream gets, as a dictionary with the target under the empty name; else the status, or `unknown`."""
    prediction = predict(read(text), request_for(url, (TOKEN, *headers)))
    if prediction.reached is None:
        return "unknown"
    if not prediction.request:
        return prediction.status
    return {"": prediction.request.start_line.split(" ")[1], **dict(prediction.request.headers)}


WS = "ProxyPass / ws://app:1/\n"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        pytest.param("ProxyPass / http://app:1/", "Upgrade", None, id="plain HTTP drops Upgrade"),
        pytest.param("ProxyPass / http://app:1/ upgrade=websocket", "Upgrade", "websocket", id="upgrade=websocket"),
        pytest.param(WS, "Upgrade", "websocket", id="ws://"),
        pytest.param(WS, "Host", "app:1", id="Host is the upstream's"),
        pytest.param(f"ProxyPreserveHost On\n{WS}", "Host", "app.example.com", id="ProxyPreserveHost"),
        pytest.param(f"RequestHeader unset Authorization\n{WS}", "Authorization", None, id="unset"),
        pytest.param(f"RequestHeader set authorization 'Basic x'\n{WS}", "Authorization", "Basic x", id="set"),
        pytest.param(f"RequestHeader append Authorization y\n{WS}", "Authorization", "Bearer a.b.c, y", id="append"),
        pytest.param(f"<Location /ws>\nRequestHeader unset Authorization\n</Location>\n{WS}", "Authorization", None),
        pytest.param(
            f"<Location /other>\nRequestHeader unset Authorization\n</Location>\n{WS}", "Authorization", "Bearer a.b.c"
        ),
        pytest.param(
            f"<Location /ws>\nRequestHeader unset Authorization early\n</Location>\n{WS}",
            "Authorization",
            "Bearer a.b.c",
            id="early has no effect in a section",
        ),
        pytest.param(
            f"<If \"%{{HTTP:Upgrade}} == 'websocket'\">\nRequestHeader unset Authorization\n</If>\n{WS}",
            "Authorization",
            None,
            id="in an <If>",
        ),
        pytest.param(
            f"SetEnvIf Upgrade websocket WS\nRequestHeader unset Authorization env=WS\n{WS}",
            "Authorization",
            None,
            id="env=",
        ),
        pytest.param(f"RequestHeader set X-A %{{NONE}}e\n{WS}", "X-A", "(null)", id="a variable that nothing sets"),
        pytest.param(f'Define NAME it\nRequestHeader set X-A "${{NAME}}"\n{WS}', "X-A", "it", id="Define"),
        pytest.param(f"RequestHeader set \\\n  X-A \\\n  'a \\'b'\n{WS}", "X-A", "a 'b", id="continuation and quotes"),
        pytest.param('ProxyPass "/ws" "ws://app:1/"', "", "/", id="a path without slash to one with it"),
        pytest.param("ProxyPass /ws ws://app:1/sock/\n", "", "/sock/", id="a path is put in place of another"),
        pytest.param("ProxyPassMatch ^/(w.) ws://app:1/$1/x", "", "/ws/x", id="ProxyPassMatch"),
        pytest.param(
            "RewriteEngine On\nRewriteCond %{HTTP:Upgrade} =WEBSOCKET [NC]\nRewriteRule /(.*) ws://app:1/$1 [P,L]\n"
            "ProxyPass / http://app:1/",
            "Upgrade",
            "websocket",
            id="RewriteRule to ws://",
        ),
        pytest.param(
            "RewriteRule /(.*) ws://app:1/r/$1 [P]\nProxyPass / http://app:1/", "", "/ws", id="RewriteEngine is off"
        ),
        pytest.param(
            "ProxyPass / http://app:1/\nProxyPass /ws ws://app:1/ws", "Upgrade", None, id="the first ProxyPass counts"
        ),
        pytest.param(
            "ProxyPass /api http://app:1/\nProxyPass /ws http://app:1/ws upgrade=websocket",
            "Upgrade",
            None,
            id="a worker that is shared keeps the settings of its first ProxyPass",
        ),
    ],
)  # fmt: skip
def test_a_header_reaches_the_upstream_as_the_config_says(text: str, name: str, value: str | None) -> None:
    found = got(text)
    assert isinstance(found, dict)
    assert found.get(name) == value


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param("ProxyPass /ws !\nProxyPass / ws://app/", None, id="excluded"),
        pytest.param("ProxyPass / wss://app/", 500, id="no SSLProxyEngine"),
        pytest.param("RewriteEngine On\nRewriteRule ^/ws - [F]\n" + WS, 403, id="[F]"),
        pytest.param("<Location />\nRequire all denied\n</Location>\n" + WS, 403, id="Require all denied"),
        pytest.param("<Location />\nOrder deny,allow\nDeny from all\n</Location>\n" + WS, 403, id="Deny from all"),
        pytest.param(
            "<Location />\nAuthType Basic\nAuthName x\nRequire valid-user\n</Location>\n" + WS, 401, id="AuthType Basic"
        ),
        pytest.param("<Location /ws>\nRedirect 307 http://x/\n</Location>\n" + WS, 307, id="Redirect in a section"),
        pytest.param("Redirect /ws http://x/\n" + WS, "reached", id="ProxyPass comes before Redirect"),
        pytest.param("<Location />\nRequire ip 10.1\n</Location>\n" + WS, "unknown", id="an address nobody knows"),
        pytest.param("<Location />\nRequire host x\n</Location>\n" + WS, "unknown", id="a name that is looked up"),
        pytest.param("LimitRequestFieldSize 20\n" + WS, 400, id="LimitRequestFieldSize"),
        pytest.param("LimitRequestFields 3\n" + WS, 400, id="LimitRequestFields"),
        pytest.param("LimitRequestLine 10\n" + WS, 414, id="LimitRequestLine"),
        pytest.param("RewriteEngine On\nRewriteMap m txt:/x\nRewriteCond ${m:%1} a\nRewriteRule / - [F]\n" + WS, "unknown"),
    ],
)  # fmt: skip
def test_a_request_is_refused_as_the_config_says(text: str, status: int | str | None) -> None:
    found = got(text)
    assert ("reached" if isinstance(found, dict) else found) == status


def _routes(text: str) -> list[Route]:
    return [route for listener in read(text).listeners for route in listener.routes]


def test_basic_authentication_is_undecided_for_what_it_could_accept() -> None:
    text = "<Location />\nAuthType Basic\nAuthName x\nRequire valid-user\n</Location>\n" + WS
    prediction = predict(read(text), request_for("/ws", (("Authorization", "Basic dTpw"),)))
    assert prediction.reached is None
    assert prediction.request
    assert ("Authorization", "Basic dTpw") in prediction.request.headers
    [gate] = [step for step in _routes(text)[0].steps if isinstance(step, Gate)]
    assert (gate.kind, gate.place and gate.place.line) == ("AuthType Basic", 2)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("one.example.com", "/1/ws"),
        ("ONE.example.com:8080", "/1/ws"),
        ("alias.example.com", "/2/ws"),
        ("x.wild.example.com", "/2/ws"),
        ("none.example.com", "/1/ws"),
    ],
)
def test_a_virtual_host_is_found_by_name_and_else_the_first_one_is_it(host: str, path: str) -> None:
    text = (
        "<VirtualHost *:80>\nServerName one.example.com\nProxyPass / ws://app/1/\n</VirtualHost>\n"
        "<VirtualHost *:80>\nServerName two.example.com\nServerAlias alias.example.com *.wild.example.com\n"
        "ProxyPass / ws://app/2/\n</VirtualHost>\n"
    )
    message = predict(read(text), upgrade("/ws", host)).request
    assert message
    assert message.start_line.split(" ")[1] == path


def test_every_edit_names_the_line_that_causes_it() -> None:
    text = f"\nRequestHeader unset Authorization\n\n  RequestHeader set X-A v\n{WS}"
    edits = {edit.name: edit.place for edit in predict(read(text), request_for("/ws", (TOKEN,))).edits if edit.place}
    places = {name: (place.line, place.column, place.text) for name, place in edits.items() if place}
    assert places["Authorization"] == (2, 1, "RequestHeader unset Authorization")
    assert places["X-A"] == (4, 3, "RequestHeader set X-A v")


def test_edits_of_the_101_are_said_to_have_no_effect() -> None:
    [edit] = _routes(f"Header unset Sec-WebSocket-Protocol\n{WS}")[0].response
    assert (edit.effective, edit.place and edit.place.line) == (False, 1)


def test_timers_that_look_right_are_told_from_those_that_apply() -> None:
    text = "Timeout 300\nProxyTimeout 3600\nKeepAliveTimeout 5\nProxyPass / ws://app/ timeout=7200\n"
    timers = _routes(text)[0].timeouts
    assert [(each.name, each.seconds, each.applies) for each in timers if each.kind is Timer.IDLE] == [
        ("Timeout", 300, True),
        ("ProxyTimeout", 3600, False),
        ("timeout=", 7200, False),
        ("KeepAliveTimeout", 5, False),
    ]
    [default] = [each for each in _routes(WS)[0].timeouts if each.kind is Timer.IDLE]
    assert (default.seconds, default.place) == (60, None)


def test_rules_in_a_location_see_the_url_that_proxypass_has_made() -> None:
    text = (
        "<Location /ws>\nRewriteEngine On\nRewriteCond %{HTTP:Upgrade} websocket [NC]\n"
        "RewriteRule ^(.*)$ ws://app:1/$1 [P,L]\nProxyPass ws://app:1/\n</Location>\n"
    )
    found = got(text, "/ws/x")
    assert isinstance(found, dict)
    assert found[""] == "/proxy:ws://app:1//x"


def test_settings_that_a_shared_worker_ignores_are_told_with_both_lines() -> None:
    text = "ProxyPass /api http://app/\nProxyPass /ws http://app/ws upgrade=websocket\n"
    [unread] = read(text).unread
    assert unread.place
    assert (unread.place.line, "line 1" in unread.why, "upgrade=" in unread.what) == (2, True, True)


def test_a_module_that_a_whole_config_does_not_load_matters() -> None:
    whole = "LoadModule mpm_event_module m.so\nLoadModule proxy_module m.so\nLoadModule proxy_wstunnel_module m.so\n"
    assert got(whole + "ProxyPass / http://app/ upgrade=websocket") == 500
    assert isinstance(got(whole + WS), dict)
    assert isinstance(got("LoadModule headers_module m.so\n" + WS), dict)


@pytest.mark.parametrize("name", ["SecRule ARGS x", "LuaHookFixups a.lua b", "PerlFixupHandler X"])
def test_what_cannot_be_followed_makes_headers_unknown(name: str) -> None:
    text = f"{name}\n{WS}"
    assert any(isinstance(step, Opaque) for step in _routes(text)[0].steps)
    assert "any header" in {each.what for each in predict(read(text), upgrade("/ws")).unknown}


def test_an_unknown_directive_is_listed_with_its_line_and_no_other_is() -> None:
    text = f"ServerTokens Prod\nFrobnicate on\n<Location /x>\nWobble 1\n</Location>\n{WS}"
    assert [(each.what, each.place and each.place.line) for each in read(text).unread] == [
        ("Frobnicate", 2),
        ("Wobble", 4),
    ]


def test_a_variable_that_is_not_defined_is_undecided_and_nothing_else_is() -> None:
    found = read("<VirtualHost *:443>\nServerName ${DOMAIN}\nProxyPass /ws ws://app:1/\n</VirtualHost>\n")
    prediction = predict(found, upgrade("/ws"))
    assert prediction.reached is True
    assert {each.what for each in prediction.unknown} == {"X-Forwarded-For", "X-Forwarded-Server"}


# Bad input.


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("<VirtualHost *:80>\n  <Location />\n</VirtualHost>\n", 3, 1, "expected </Location>"),
        ("ProxyPass / ws://a/\n  <Location />\n", 2, 3, "<Location> is not closed"),
        ("</Location>\n", 1, 1, "was not opened"),
        ("<Location /\n</Location>\n", 1, 1, "no closing >"),
        ("Use Nothing x\n", 1, 1, "not defined"),
        ("<Macro M $a>\n</Macro>\nUse M\n", 3, 1, "1 parameters"),
        ("\nRewriteRule ^/\n", 2, 1, "needs a pattern"),
        ("ProxyPass /\n", 1, 1, "needs a path and a URL"),
        ("server {\n  listen 80;\n}\n<VirtualHost *:80>\n</VirtualHost>\n", 1, 1, "nginx"),
        ("Include missing.conf\n", 1, 1, "cannot be opened"),
    ],
)
def test_what_is_broken_is_told_with_line_and_column_and_the_rest_is_read(
    text: str, line: int, column: int, part: str
) -> None:
    found = read(f"{text}{WS}")
    assert [(each.line, each.column) for each in found.problems][:1] == [(line, column)]
    assert part in found.problems[0].message
    assert any(route.label == "ProxyPass /" for listener in found.listeners for route in listener.routes)


@pytest.mark.parametrize("text", ["ProxyPass / {{ url }}", "{% if x %}\nProxyPass / ws://x/", "Listen %PORT%\n"])
def test_a_template_is_named_and_not_read(text: str) -> None:
    with pytest.raises(ReadError, match="a template"):
        read(text)


def test_the_rules_of_a_htaccess_are_those_of_a_directory(tmp_path: Path) -> None:
    rule = "RewriteCond %{HTTP:Upgrade} =websocket [NC]\nRewriteRule ^ws/(.*)$ ws://app:1/$1 [P]\n"
    (tmp_path / ".htaccess").write_text(f"RewriteEngine On\n{rule}")
    found = apache.read(Files(tmp_path.resolve()).open(tmp_path / ".htaccess"))
    assert [predict(found, upgrade("/ws/a", headers=more)).reached for more in ((), (("Upgrade", "h2c"),))] == [
        None,
        False,
    ]


def test_of_a_folder_all_files_are_included(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.conf").write_text("ProxyPass / ws://x/\n")
    (tmp_path / "sites" / "b.conf").write_text("RequestHeader unset Cookie\n")
    (tmp_path / "httpd.conf").write_text("Include sites/\n")
    found = apache.read(Files(tmp_path.resolve()).open(tmp_path / "httpd.conf"))
    assert (found.problems, len(found.files)) == ((), 3)


def test_an_include_loop_ends(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("Include b.conf\nProxyPass / ws://x/\n")
    (tmp_path / "b.conf").write_text("Include a.conf\nRequestHeader unset Cookie\n")
    found = apache.read(Files(tmp_path.resolve()).open(tmp_path / "a.conf"))
    assert ["includes itself" in each.message for each in found.problems] == [True]
    assert any(isinstance(step, Edit) and step.place for step in found.listeners[0].routes[0].steps)


def test_deep_nesting_and_macros_that_call_themselves_are_refused() -> None:
    with pytest.raises(ReadError, match="nested deeper"):
        read("<Location /a>\n" * 100_000)
    with pytest.raises(ReadError, match="nested deeper"):
        read("<Macro M>\nUse M\n</Macro>\nUse M\n")
    with pytest.raises(ReadError, match="more than"):
        read("<Macro A>\nX\nX\n</Macro>\n" + "".join(
            f"<Macro {new}>\n{'Use ' + old + chr(10)}{'Use ' + old + chr(10)}</Macro>\n"
            for old, new in zip("ABCDEFGHIJKLMNOPQRSTUVWXY", "BCDEFGHIJKLMNOPQRSTUVWXYZ", strict=True)
        ) + "Use Z\n")  # fmt: skip


def test_a_long_line_and_many_lines_take_time_as_they_are_long() -> None:
    begin = time.process_time()
    read("RequestHeader set X-A '" + "a" * 1_000_000 + "'\n" + WS)
    read(WS + "".join(f"<Location /p{index}>\nRequire all granted\n</Location>\n" for index in range(2000)))
    read("".join(f"ProxyPass /p{index} ws://app/p{index}\n" for index in range(2000)))
    assert time.process_time() - begin < 10


def test_what_an_expression_nests_is_bounded() -> None:
    deep = "(" * 5000 + "true" + ")" * 5000
    assert got(f'<If "{deep}">\nRequestHeader unset Cookie\n</If>\n{WS}', "/ws") is not None


# Which files are Apache's.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<VirtualHost *:80>\n  ServerName x\n</VirtualHost>\n", True),
        ("ProxyPass /ws ws://app/ws\nProxyPassReverse /ws ws://app/ws\n", True),
        ("RequestHeader unset Authorization\n", True),
        ("server {\n  location /ws { proxy_pass http://app; }\n}\n", False),
        ("frontend fe\n  bind :80\n  default_backend be\n", False),
        ("example.com {\n  reverse_proxy app:80\n}\n", False),
        ("static_resources:\n  listeners: []\n", False),
        ("apiVersion: v1\nkind: Service\n", False),
        ("# Proxies\n\nUse this:\n\n```\nProxyPass / http://x/\nProxyPass /a http://x/\n```\n", False),
        ('<?xml version="1.0"?>\n<Location>\n</Location>\n', False),
        ("<html><body><Location /x></body></html>", False),
        ("ProxyPass is the directive that people know best.\n", False),
        ("", False),
    ],
)
def test_a_file_is_told_by_its_content(text: str, expected: bool) -> None:  # noqa: FBT001  a column
    assert apache.sniff(from_text(text, "some.conf")) is expected


# Mutated configs.

_LINES = (
    WS, "ProxyPass /a http://a:1/ upgrade=websocket", "<Location /a>", "</Location>", "<VirtualHost *:80>",
    "</VirtualHost>", "RewriteEngine On", "RewriteCond %{HTTP:X} ^(a)$ [OR]", "RewriteCond %1 b", '<If "-n %{X}">',
    "RewriteRule ^/(.*)$ ws://a/$1?%1 [P,QSA,E=A:$1]", "</If>", "<Else>", "</Else>", "RequestHeader edit* X (.) $1",
    "SetEnvIf X (.) A=$1", "Require not ip 10", "<RequireAny>", "</RequireAny>", "Define X y", "Use M a", "<Macro M $x>",
    "</Macro>", "ProxyPassMatch ^/(.*) ws://$1/$2", "BalancerMember ws://x", "<Proxy balancer://b>", "</Proxy>",
    "ProxyPass / balancer://b/", "AuthType Basic", "Order deny,allow", "Deny from 10.1", "Include *.nothing",
    "IncludeOptional ${X}/a", "ServerName ${X}", "Listen 80 https", "LimitRequestFieldSize x", "Timeout 5ms", "Header set",
    "RewriteRule", "<IfVersion 2.4>", "</IfVersion>", "ProxyPass unix:/a|http://b/", "Redirect", "SetEnv",
)  # fmt: skip
_lines = st.lists(st.sampled_from(_LINES), max_size=14)
_noise = st.text("<>/\\\"'${}%()[]|^.*!~ \t\nab", max_size=12)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=_lines, noise=_noise, at=st.integers(0, 200), cut=st.integers(0, 12))
def test_no_text_makes_the_reader_fail_in_another_way(lines: list[str], noise: str, at: int, cut: int) -> None:
    text = "\n".join(lines)
    text = text[:at] + noise + text[at + cut :]
    apache.sniff(from_text(text))
    try:
        found = read(text)
    except ReadError:
        return
    request = request_for("/a/b?x=1", (TOKEN, ("X", "ab")))
    predict(found, request)
    for listener in found.listeners:
        for route in listener.routes:
            carry(found, listener, route, request)
            assert re.match("/", route.sample)


@pytest.mark.parametrize(
    ("inside", "unknown"),
    [
        ("RequestHeader unset Authorization", ["any header"]),
        ("Include other.conf", ["any header"]),
        ("<IfModule mod_headers.c>\nRequestHeader unset X-A\n</IfModule>", ["any header"]),
        ("SSLCertificateFile /etc/tls.pem", []),
    ],
)
def test_what_a_file_decides_is_unknown_where_it_may_change_a_request(inside: str, unknown: list[str]) -> None:
    text = f"Listen 8080\n<IfFile /etc/ws.conf>\n{inside}\n</IfFile>\nProxyPass /ws ws://127.0.0.1:9/ws\n"
    found = read(text)
    unread = [(one.what, one.place and one.place.line) for one in found.unread]
    assert unread == [("what stands in <IfFile /etc/ws.conf>", 2)]
    told = predict(found, upgrade("/ws", headers=(TOKEN,))).unknown
    assert [one.what for one in told if one.what == "any header"] == unknown
