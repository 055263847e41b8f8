"""Apache: configs that were run by hand, timers, limits, and what no generated config has, on the real one."""

import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import lab, wire
from tests.backend import Backend, Exchange, switching
from tests.prediction import Tally, compare, read
from tests.prediction.test_apache import config
from wsprobe.inspection import Timer
from wsprobe.lb import reader
from wsprobe.lb.model import Config
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request, upgrade
from wsprobe.lb.source import Files, from_text
from wsprobe.model import Header

PROXY = "apache"
LAB = Path(__file__).parents[3] / "shared" / "lab" / "apache2"
TOKEN = ("Authorization", "Bearer a.b.c")
COMMON: tuple[Header, ...] = (
    TOKEN,
    ("Cookie", "session=1"),
    ("Sec-WebSocket-Protocol", "chat"),
    ("X-Dup", "one"),
    ("X-Dup", "two"),
    ("x_under_score", "kept"),
    ("X-Empty", ""),
    ("X-Forwarded-For", "127.0.0.99"),
)


def whole(body: str) -> Callable[[Path, int, int], Mapping[str, str]]:
    """A config around directives, as `compare` wants it."""
    return lambda folder, port, upstream: config(body, folder, port, upstream)


def parsed(text: str, version: str | None = None) -> Config:
    """A config that is not run."""
    return reader(PROXY).read(from_text(text, "httpd.conf"), version)


# The lab.

RUN = {
    "add-headers-off": (True, None),
    "auth-basic": (False, 401),
    "bigfield": (True, None),
    "correct": (True, None),
    "correct-rewrite": (True, None),
    "correct-wstunnel": (True, None),
    "edit-101": (True, None),
    "naive": (True, None),
    "no-wstunnel-module": (True, None),
    "proxytimeout-2s": (True, None),
    "servertimeout-2s": (True, None),
    "set-auth": (True, None),
    "timeout-2s": (True, None),
    "unset-auth": (True, None),
    "unset-auth-wstunnel": (True, None),
    "upgrade-any": (True, None),
    "upstream-tls-no-engine": (False, 500),
}
#: What a config cannot tell: that nobody listens, answers, or speaks TLS behind it; the last speaks TLS in front.
TOLD_ONLY = {
    "upstream-down",
    "upstream-down-ws",
    "upstream-hang",
    "upstream-plain-to-tls",
    "upstream-tls-nopeername",
    "upstream-tls-ok",
    "upstream-tls-to-plain",
    "upstream-tls-verify-fail",
    "tls-h2",
}
needs_lab = pytest.mark.skipif(not LAB.is_dir(), reason=f"no configs of a lab under {LAB}, so none was run")


def of_lab(name: str) -> Callable[[Path, int, int], Mapping[str, str]]:
    """A config of the lab, with the places put in that it leaves open."""

    def render(folder: Path, port: int, upstream: int) -> Mapping[str, str]:
        text = (LAB / f"{name}.conf").read_text()
        text = text.replace("@LAB@/run", str(folder)).replace("@LAB@", str(folder))
        ports = {"20": port, "19": upstream}
        text = re.sub(r"(127\.0\.0\.1:)(20|19)\d+", lambda found: f"{found[1]}{ports[found[2]]}", text)
        text = text.replace("/dev/stderr", f"{folder}/log").replace("/dev/stdout", f"{folder}/access")
        return {"apache.conf": text, "htpasswd": ""}

    return render


@needs_lab
def test_every_config_of_the_lab_is_run_or_said_why_not() -> None:
    assert {path.stem for path in LAB.glob("*.conf")} == RUN.keys() | TOLD_ONLY


@needs_lab
@pytest.mark.parametrize("name", RUN)
def test_a_config_of_the_lab_does_what_is_predicted(tally: Tally, name: str) -> None:
    asked = [
        upgrade("/ws?pid=1", headers=COMMON),
        upgrade("/ws", headers=(("Connection", "Upgrade, Authorization"), TOKEN)),
        upgrade("/ws", headers=(("Upgrade", "h2c"), TOKEN)),
        upgrade("/ws", headers=(("X-Long", "v" * 9000), TOKEN)),
    ]
    compare(PROXY, of_lab(name), asked, tally)
    text = of_lab(name)(Path("/run/apache"), 8080, 9000)["apache.conf"]
    prediction = predict(parsed(text), asked[0])
    assert (prediction.reached, prediction.status) == RUN[name]


@needs_lab
@pytest.mark.parametrize("name", sorted(TOLD_ONLY))
def test_what_a_config_of_the_lab_cannot_tell_is_not_held_against_it(name: str) -> None:
    text = of_lab(name)(Path("/run/apache"), 8080, 9000)["apache.conf"]
    found = parsed(text)
    [listener] = found.listeners
    upstream = listener.routes[0].upstream
    assert predict(found, upgrade("/ws")).reached is True
    assert upstream
    assert upstream.tls is name.startswith("upstream-tls")
    assert listener.binds[0].tls is (name == "tls-h2")


# Timers.


def keeps_open(exchange: Exchange) -> None:
    """Takes the upgrade, and says nothing."""
    exchange.send(switching(exchange.request))
    list(exchange.chunks())


def silent(exchange: Exchange) -> None:
    """Does not answer."""
    list(exchange.chunks())


def asked(port: int, host: str = "app.example.com") -> socket.socket:
    """A connection on which an upgrade was asked for."""
    conn = socket.create_connection(("127.0.0.1", port), 10)
    request = upgrade("/ws", host)
    lines = [f"GET {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers), "", ""]
    conn.sendall("\r\n".join(lines).encode())
    return conn


TUNNEL = "ProxyWebsocketFallbackToProxyHttp Off\n"
WITHOUT_EFFECT = "ProxyTimeout 1\nKeepAliveTimeout 1\nProxyPass / ws://@U@/ timeout=1"


@pytest.mark.parametrize(
    ("body", "host", "seconds"),
    [
        pytest.param("Timeout 2\nProxyPass / ws://@U@/", "x", 2, id="Timeout"),
        pytest.param("Timeout 2\nProxyPass / http://@U@/ upgrade=websocket", "x", 2, id="Timeout, upgrade=websocket"),
        pytest.param(
            f"{TUNNEL}Timeout 2\nProxyTimeout 2\nProxyPass / ws://@U@/ timeout=2", "x", None, id="mod_proxy_wstunnel"
        ),
        pytest.param(f"Timeout 2\n{WITHOUT_EFFECT}", "x", 2, id="shorter ones do not apply"),
        pytest.param(
            "Timeout 60\nProxyPass / ws://@U@/\n<VirtualHost *:@PORT@>\nTimeout 2\n</VirtualHost>",
            "x",
            2,
            id="that of a virtual host",
        ),
        pytest.param(
            "Timeout 60\nProxyPass / ws://@U@/\n<VirtualHost *:@PORT@>\nServerName a\nTimeout 2\n</VirtualHost>\n"
            "<VirtualHost *:@PORT@>\nServerName b\n</VirtualHost>",
            "b",
            None,
            id="not that of another virtual host",
        ),
        pytest.param(
            "Timeout 60\nProxyPass / ws://@U@/\n<VirtualHost *:@PORT@>\nServerName a\n</VirtualHost>\n"
            "<VirtualHost *:@PORT@>\nServerName b\nTimeout 2\n</VirtualHost>",
            "b",
            2,
            id="that of the virtual host of the name",
        ),
    ],
)
def test_a_silent_connection_ends_as_predicted(body: str, host: str, seconds: float | None) -> None:
    with Backend(keeps_open) as app, lab.run(PROXY, lambda f, p: config(body, f, p, app.port)) as running:
        found = read(PROXY, running.folder, "apache.conf")
        timers = predict(found, upgrade("/ws", host)).timeouts
        idle = [each for each in timers if each.kind is Timer.IDLE and each.seconds == 2]
        expected = [("Timeout", "FIN on both sides, no close frame")]
        assert [(each.name, each.ends) for each in idle] == (expected if seconds else [])
        with asked(running.port, host) as conn:
            assert wire.read_head(conn)[0].startswith(b"HTTP/1.1 101 ")
            begin = time.monotonic()
            conn.settimeout(3.5)
            if seconds is None:
                with pytest.raises(TimeoutError):
                    conn.recv(1)
                return
            assert conn.recv(100) == b""
        assert time.monotonic() - begin == pytest.approx(seconds, abs=0.7)
        assert app.exchanges[0].done.wait(3)
        assert app.exchanges[0].ended == "eof"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("ProxyPass / ws://@U@/ timeout=1", "timeout="),
        ("ProxyTimeout 1\nProxyPass / http://@U@/ upgrade=websocket", "ProxyTimeout"),
        ("Timeout 1\nProxyPass / ws://@U@/", "Timeout"),
        ("Timeout 1\nProxyTimeout 9\nProxyPass / ws://@U@/ timeout=1", "timeout="),
    ],
)
def test_an_upstream_that_does_not_answer_ends_as_predicted(body: str, name: str) -> None:
    with Backend(silent) as app, lab.run(PROXY, lambda f, p: config(body, f, p, app.port)) as running:
        found = read(PROXY, running.folder, "apache.conf")
        [wait] = [each for each in predict(found, upgrade("/ws")).timeouts if each.kind is Timer.HANDSHAKE]
        with asked(running.port) as conn:
            begin = time.monotonic()
            status = wire.read_head(conn)[0].split(b" ")[1].decode()
        assert (wait.name, wait.seconds, wait.ends[:3]) == (name, 1, status)
        assert time.monotonic() - begin == pytest.approx(1, abs=0.6)


# What no generated config has.

BALANCERS = """\
<Proxy balancer://ws>
BalancerMember ws://@U@
</Proxy>
<Proxy "balancer://based">
BalancerMember http://@U@/base upgrade=websocket route=a
ProxySet stickysession=S
</Proxy>
<Proxy balancer://plain>
BalancerMember http://@U@
</Proxy>
<Proxy balancer://two>
BalancerMember ws://@U@
BalancerMember http://@U@ upgrade=NONE
</Proxy>
ProxyPass /ws/ balancer://ws/x/
ProxyPass /based/ balancer://based/
ProxyPass /plain balancer://plain
ProxyPass /none/ balancer://none/
RewriteEngine on
RewriteCond %{HTTP:Upgrade} =websocket [NC]
RewriteRule ^/r(.*) balancer://ws$1 [P,L]
RewriteRule ^/r(.*) balancer://plain$1 [P,L]
"""
LOCATIONS = """\
<Location /api/ws>
RewriteEngine On
RewriteCond %{HTTP:Upgrade} websocket [NC]
RewriteCond %{HTTP:Connection} upgrade [NC]
RewriteRule ^(.*)$ ws://@U@/$1 [P,L]
RewriteRule ^(.*)$ - [F,L]
ProxyPass ws://@U@/
</Location>
<Location /red>
Redirect 307 http://elsewhere/
</Location>
<Location /gone>
RewriteEngine On
RewriteRule .* - [G]
</Location>
<LocationMatch "^/m/(.*)$">
ProxyPassMatch ws://@U@/lm/$1
</LocationMatch>
<Location ~ "^/never">
ProxyPass ws://@U@/never
</Location>
ProxyPass /red ws://@U@/red
ProxyPass /gone ws://@U@/gone
Redirect /lost http://elsewhere/
ProxyPass /lost ws://@U@/lost
"""
MACRO = """\
Define PREFIX /made
<Macro Socket $path $to>
<Location ${PREFIX}$path>
RequestHeader set X-Path "$path"
</Location>
ProxyPass ${PREFIX}$path \\
    ws://@U@$to
</Macro>
Use Socket /a /to/a
Use Socket /b/ /to/b/
<IfModule mod_proxy_ajp.c>
RequestHeader set X-Wrong 1
</IfModule>
<IfModule !headers_module>
RequestHeader set X-Wrong 2
</IfModule>
<IfDefine PREFIX>
RequestHeader set X-Right 1
</IfDefine>
<IfVersion >= 2.4.47>
RequestHeader append X-Right 2
</IfVersion>
<IfVersion < 2.4>
RequestHeader append X-Wrong 3
</IfVersion>
"""
PLACES = """\
<VirtualHost 127.0.0.1:@PORT@>
ServerName one.example.com
RequestHeader set X-Host one
ProxyPass / ws://@U@/
</VirtualHost>
<VirtualHost *:@PORT@>
ServerName two.example.com
RequestHeader set X-Host two
ProxyPass / ws://@U@/
</VirtualHost>
"""
OLD = "SetEnv force-proxy-request-1.0 1\nProxyPass / ws://@U@/"
TUNNELS = """\
ProxyWebsocketFallbackToProxyHttp Off
ProxyPass /any ws://@U@/any upgrade=ANY
ProxyPass /none ws://@U@/none upgrade=NONE
ProxyPass / ws://@U@/
"""


@pytest.mark.parametrize(
    ("body", "targets"),
    [
        pytest.param(BALANCERS, ("/ws/a%20b?x", "/based/a", "/plain/a", "/none/a", "/r/a", "/ws"), id="balancers"),
        pytest.param(
            LOCATIONS,
            ("/api/ws", "/api/ws/x?q=1", "/api/wsx", "/red/a", "/gone", "/m/a%20/b?x=1", "/never", "/lost/x"),
            id="what stands in a <Location>",
        ),
        pytest.param(MACRO, ("/made/a", "/made/a/x", "/made/b/x", "/made/b", "/a"), id="macros and conditionals"),
        pytest.param(PLACES, ("/",), id="virtual hosts of one address and of all"),
        pytest.param(OLD, ("/ws",), id="HTTP/1.0 to the upstream"),
        pytest.param(TUNNELS, ("/ws", "/any/x", "/none"), id="mod_proxy_wstunnel"),
        pytest.param("ProxyPass / wss://@U@/", ("/",), id="no SSLProxyEngine"),
        pytest.param("ProxyPass / http://@U@", ("/", "/ws"), id="the path becomes part of the host"),
        pytest.param(
            "ProxyPassMatch c$ ws://@U@\nProxyPass /a ws://@U@ upgrade=ANY", ("/a", "/c"), id="workers of one URL"
        ),
        pytest.param(
            "RewriteEngine On\nRewriteRule ^/a ws://@U@/q?z=1 [P]\nRequestHeader set X-Q expr=%{QUERY_STRING}",
            ("/a?b=2",),
            id="the query that a rule has made",
        ),
        pytest.param(
            "SetEnvIf Upgrade h2c A\nSetEnv A one\nSetEnv A two\nSetEnv B three\nUnsetEnv B\n"
            "<Location /a>\nSetEnv A four\nSetEnv C five\n</Location>\n<Location /b>\nUnsetEnv A\n</Location>\n"
            "RequestHeader set X-All %{A}e-%{B}e-%{C}e\nProxyPass / ws://@U@/",
            ("/", "/a", "/b"),
            id="SetEnv after SetEnvIf",
        ),
        pytest.param("ProxyPass /a/ ws://@U@", ("/a/", "/a/q", "/a/%3fq", "/a/q%3f/"), id="a question mark in it"),
    ],
)
def test_what_is_rarer_does_as_predicted(tally: Tally, body: str, targets: tuple[str, ...]) -> None:
    upgrades: tuple[tuple[Header, ...], ...] = ((), (("Upgrade", "h2c"),), (("Upgrade", "WebSocket"),))
    asked_for = [
        upgrade(target, host, (TOKEN, *more))
        for target in targets
        for host in ("one.example.com", "two.example.com")
        for more in upgrades
    ]
    compare(PROXY, whole(body), asked_for, tally)


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "", "a..b", ".a", "a.", "a:", "a:x", "a:99999", "[::1]:80", "a_b:8", "é"]
)
def test_a_host_is_taken_or_refused_as_predicted(tally: Tally, host: str) -> None:
    compare(PROXY, whole("ProxyPass / ws://@U@/"), [upgrade("/ws", host)], tally)


@pytest.mark.parametrize("target", ["x", "/x#y", "/x%zz", "/x%", "/../x", "/%2e%2e/x", "/a/%2e./b", "/%e4", "/x?%zz"])
def test_a_target_is_taken_or_refused_as_predicted(tally: Tally, target: str) -> None:
    compare(PROXY, whole("ProxyPass / ws://@U@/"), [upgrade(target)], tally)


def test_a_head_is_refused_from_the_octet_on_that_was_predicted(tally: Tally) -> None:
    requests: list[Request] = []
    for more in range(-3, 4):
        requests.append(upgrade("/", headers=(("X", "v" * (8188 + more)),)))
        requests.append(upgrade("/", headers=(("XY", "v" * 4000), ("XY", "v" * (4188 + more)))))
        requests.append(upgrade("/" + "a" * (8177 + more)))
        requests.append(upgrade("/", headers=tuple((f"X-{index}", "1") for index in range(95 + more))))
    compare(PROXY, whole("ProxyPass / ws://@U@/"), requests, tally)


def test_before_2_4_47_only_mod_proxy_wstunnel_passes_an_upgrade_on() -> None:
    text = "ProxyPass /ws ws://app:1/\nProxyPass / http://app:1/ upgrade=websocket\n"
    seen = {
        (version, target): "Upgrade" in dict(message.headers)
        for version in ("2.4.46", "2.4.47")
        for target in ("/ws", "/other")
        if (message := predict(parsed(text, version), upgrade(target)).request)
    }
    assert seen == {
        ("2.4.46", "/ws"): True,
        ("2.4.46", "/other"): False,
        ("2.4.47", "/ws"): True,
        ("2.4.47", "/other"): True,
    }


def test_an_include_is_found_below_the_folder_of_the_config(tally: Tally) -> None:
    def render(folder: Path, port: int, upstream: int) -> Mapping[str, str]:
        files = config("Include extra.conf\nIncludeOptional none-*.conf\n", folder, port, upstream)
        return {**files, "extra.conf": f"ProxyPass / ws://127.0.0.1:{upstream}/\nRequestHeader unset Cookie\n"}

    compare(PROXY, render, [upgrade("/ws", headers=COMMON)], tally)


def test_files_below_the_root_only_are_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out.conf").write_text("ProxyPass / ws://x/\n")
    (tmp_path / "in" / "httpd.conf").write_text("Include ../out.conf\nInclude missing.conf\nProxyPass /a ws://x/\n")
    found = reader(PROXY).read(Files(tmp_path / "in").open(tmp_path / "in" / "httpd.conf"))
    assert [(each.line, "outside" in each.message) for each in found.problems] == [(1, True), (2, False)]
    assert found.listeners[0].routes[0].label == "ProxyPass /a"
