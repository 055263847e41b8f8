"""Apache: what sections decide, on the real one: who is let in, what a pattern catches, what is handed on late."""

import pytest

from tests import lab
from tests.backend import Backend
from tests.prediction import Tally, answer, compare, differences, read, send
from tests.prediction.test_apache import config
from tests.prediction.test_apache_lab import parsed, whole
from wsprobe.lb.model import Config, Listener, Route
from wsprobe.lb.predict import carry, predict
from wsprobe.lb.request import upgrade
from wsprobe.model import Header

PROXY = "apache"
BEARER: Header = ("Authorization", "Bearer a.b.c")
A: Header = ("X-A", "a")

_ACCESS = """\
<RequireAny>|Require ip 127.0.0.1|Require valid-user|</RequireAny>
<RequireAny>|Require ip 10.0.0.0/8|Require valid-user|</RequireAny>
<RequireAll>|Require ip 127.0.0.1|Require valid-user|</RequireAll>
<RequireAll>|Require ip 10.0.0.0/8|Require valid-user|</RequireAll>
<RequireAll>|Require valid-user|<RequireAny>|Require ip 10.0.0.0/8|Require env NO|</RequireAny>|</RequireAll>
<RequireAll>|Require not ip 127.0.0.1|Require valid-user|</RequireAll>
<RequireAny>|<RequireAll>|Require local|Require env NO|</RequireAll>|<RequireAll>|Require user a|</RequireAll>|</RequireAny>
Require expr %{HTTP:X-A} == 'a'|Require valid-user
Satisfy any|Require valid-user|Order deny,allow|Deny from all|Allow from 127.0.0.1
Satisfy any|Require valid-user|Order allow,deny|Allow from 10.0.0.0/8
Satisfy all|Require valid-user|Order allow,deny|Allow from 10.0.0.0/8
"""


def test_who_asks_is_asked_for_only_where_nothing_else_decides(tally: Tally) -> None:
    basic = "AuthType Basic\nAuthName x\nAuthUserFile /nonexistent"
    places = [f"<Location /{at}>\n{basic}\n{each}\n</Location>" for at, each in enumerate(_ACCESS.splitlines())]
    body = "\n".join([*places, "ProxyPass / ws://@U@/"]).replace("|", "\n")
    asked = [upgrade(f"/{at}", headers=more) for at in range(len(places)) for more in ((), (BEARER,), (A,))]
    compare(PROXY, whole(body), asked, tally)


_PATTERNS = """\
<LocationMatch "^/room/(?<room>[^/]+)">
ProxyPass ws://@U@/rooms
RequestHeader set X-Room %{MATCH_ROOM}e
</LocationMatch>
<LocationMatch "^/never/">
ProxyPass ws://@U@/
</LocationMatch>
<Location "/any*">
ProxyPass ws://@U@/t/
</Location>
"""
_SHARED = """\
<LocationMatch "^/(a|b)/.*c">
ProxyPass ws://@U@
</LocationMatch>
ProxyPassMatch ^/A(.?)/?(.*) ws://@U@/$2/$1
"""
_ENVIRONMENT = """\
SetEnvIfExpr "%{QUERY_STRING} =~ /token=([^&]+)/" TOKEN=$1
SetEnvIfExpr "%{HTTP:X-A} == 'a' && %{REQUEST_URI} =~ m#^/(.*)$#" PLACE=$1
RequestHeader set Authorization "Bearer %{TOKEN}e" env=TOKEN
RequestHeader set X-Place %{PLACE}e env=PLACE
<IfDirective ProxyPass>
RequestHeader append X-If directive
</IfDirective>
<IfSection !Nothing>
RequestHeader append X-If section
</IfSection>
<IfVersion ~ ^2\\.4>
RequestHeader append X-If version
</IfVersion>
ProxyPass / ws://@U@/
"""
_BUGGY = """\
<Location /old/>
ProxyPass http://@U@/buggy/
SetEnv force-proxy-request-1.0 1
</Location>
SetEnvIf X-A b force-proxy-request-1.0
ProxyPass / http://@U@/ upgrade=websocket
"""
_MEMBERS = "BalancerMember balancer://app ws://@U@\nProxyPass / balancer://app/"
_RAW = "ProxyPass /a http://@U@ nocanon\nProxyPass /b 'http://@U@/a b/' nocanon upgrade=websocket\nProxyPass / http://@U@/x nocanon upgrade=websocket"
_INHERITED = """\
RewriteEngine On
RewriteRule ^/main/(.*) ws://@U@/m/$1 [P]
<VirtualHost *:@PORT@>
ServerName one.example.com
RewriteRule ^/main/(.*) ws://@U@/port-%{SERVER_PORT}/$1 [P]
</VirtualHost>
<VirtualHost *:@PORT@>
ServerName two.example.com:8443
RewriteOptions InheritBefore
RewriteRule ^/(.*) ws://@U@/port-%{SERVER_PORT}/$1 [P]
</VirtualHost>
<VirtualHost *:@PORT@>
ServerName three.example.com
RewriteEngine Off
RewriteRule ^/(.*) ws://@U@/never [P]
ProxyPass / ws://@U@/
</VirtualHost>
"""
_ANEW = "RewriteEngine On\nRewriteRule ^/n/(.*)/(.*) /n/$1-$2 [N]\nRewriteRule ^/n/(.*) ws://@U@/$1 [P]"
_LATER = """\
RewriteEngine On
RewriteRule ^/r(.*) /n$1 [R]
RewriteRule ^/n ws://@U@/n [P]
RewriteRule /(.*) ws://@U@/$1 [P]
"""
_NESTED = """\
<Location /ws>
<If "%{HTTP:Upgrade} == 'websocket'">
RequestHeader append X-If outer
<If "%{HTTP:X-A} == 'a'">
RequestHeader append X-If inner
</If>
</If>
</Location>
ProxyPass / http://@U@/ upgrade=websocket,h2c
"""
_ERRORS = """\
ErrorDocument 403 http://elsewhere.example.com/
ErrorDocument 401 http://elsewhere.example.com/
ErrorDocument 410 /gone.html
<Location /denied>
Require all denied
</Location>
<Location /default>
Require all denied
ErrorDocument 403 default
</Location>
<Location /asked>
AuthType Basic
AuthName x
AuthUserFile /nonexistent
Require valid-user
</Location>
RewriteEngine On
RewriteRule ^/forbidden - [F]
RewriteRule ^/gone - [G]
ProxyPass / ws://@U@/
"""
_HOSTS = "RewriteEngine On\nRewriteRule ^/ws ws://@U@%{REQUEST_URI} [P]\nRewriteRule ^(/.*)$ ws://@U@$1 [P]"


@pytest.mark.parametrize(
    ("body", "targets"),
    [
        pytest.param(_PATTERNS, ("/room/1", "/room/1/a%20b?c", "/room/", "/never/x", "/any", "/anyx"), id="patterns"),
        pytest.param(_SHARED, ("/b/c/d", "/A/c"), id="workers that are shared"),
        pytest.param(_ENVIRONMENT, ("/ws?token=abc&x", "/ws?y"), id="what an expression has matched"),
        pytest.param(_BUGGY, ("/old/x", "/ws"), id="HTTP/1.0 for some"),
        pytest.param(_MEMBERS, ("/ws",), id="a member outside of its balancer"),
        pytest.param(_RAW, ("/a?", "/a?b", "/a", "/a/?b", "/?b", "/b?c", "/b", "/b/%2e"), id="nocanon and no path"),
        pytest.param(_ANEW, ("/n/a/b/c", "/n/a"), id="rules that begin anew"),
        pytest.param(_LATER, ("/r/s", "/n/x", "/z?q"), id="rules behind one with R"),
        pytest.param(_NESTED, ("/ws", "/other"), id="If in If, and a list of protocols"),
        pytest.param(
            _ERRORS, ("/denied", "/default", "/asked", "/forbidden", "/gone", "/"), id="an ErrorDocument elsewhere"
        ),
        pytest.param(_HOSTS, ("/ws/a", "/b?c"), id="a path right behind the host"),
    ],
)
def test_what_stands_in_a_section_does_as_predicted(tally: Tally, body: str, targets: tuple[str, ...]) -> None:
    more: tuple[tuple[Header, ...], ...] = ((), (A,), (("X-A", "b"), BEARER), (("Upgrade", "h2c"),))
    compare(PROXY, whole(body), [upgrade(target, headers=each) for target in targets for each in more], tally)


def test_virtual_hosts_have_of_the_main_rules_what_was_predicted(tally: Tally) -> None:
    hosts = ("one.example.com", "one.example.com:99", "two.example.com", "three.example.com")
    asked = [upgrade(target, host) for target in ("/main/x", "/other") for host in hosts]
    compare(PROXY, whole(_INHERITED), asked, tally)


_BY_FILE = """\
DocumentRoot /usr
<Directory />
Require all granted
RequestHeader set X-Directory 1
</Directory>
<Location /rule>
RewriteEngine On
RewriteCond %{HTTP:Upgrade} =websocket [NC]
RewriteRule .* ws://@U@%{REQUEST_URI} [P]
RequestHeader unset Authorization
</Location>
<Location /handler>
SetHandler "proxy:ws://@U@/"
</Location>
<Proxy *>
RequestHeader set X-Proxy 1
</Proxy>
"""


def _route(found: Config, begins: str) -> tuple[Listener, Route]:
    return next((each, one) for each in found.listeners for one in each.routes if one.label.startswith(begins))


@pytest.mark.parametrize(
    ("target", "begins"), [("/rule/a?b", "<Location /rule> R"), ("/handler", "<Location /handler>")]
)
def test_what_is_handed_on_by_its_file_is_not_said_to_stay_and_arrives_as_predicted(target: str, begins: str) -> None:
    with Backend(answer) as app, lab.run(PROXY, lambda folder, port: config(_BY_FILE, folder, port, app.port)) as ran:
        found = read(PROXY, ran.folder, "apache.conf")
        asked, got = send(ran.port, upgrade(target, headers=(BEARER,)), app)
    assert (got.status, len(got.received)) == (101, 1)
    assert predict(found, asked).reached is None
    assert list(differences(carry(found, *_route(found, begins), asked), got)) == []


def test_a_rule_in_a_section_whose_condition_fails_hands_nothing_on() -> None:
    found = parsed(_BY_FILE.replace("@U@", "app:1"))
    assert predict(found, upgrade("/rule", headers=(("Upgrade", "h2c"),))).reached is False
    assert predict(found, upgrade("/other")).reached is False
