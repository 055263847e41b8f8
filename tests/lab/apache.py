"""Apache httpd with mod_proxy_http, as Debian packages it."""

from tests.lab.proxy import BASIC, Proxy

PROXY = Proxy(
    name="apache",
    program="apache2",
    package="apache2",
    wheel=False,
    command=("-f", "@FOLDER@/apache.conf", "-D", "FOREGROUND"),
    files={
        "apache.conf": """\
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ServerRoot @FOLDER@
ServerName 127.0.0.1
PidFile @FOLDER@/pid
DefaultRuntimeDir @FOLDER@
ErrorLog @FOLDER@/log
LogLevel info
# Started by root it refuses to serve as root; numbers, because the names differ between distributions.
User "#65534"
Group "#65534"
Listen 127.0.0.1:@PORT@
Timeout @TIMER@
ProxyPreserveHost On
ProxyPass / http://@UPSTREAM@/ @UPGRADE@
@EDIT@
"""
    },
    places={"UPGRADE": "upgrade=websocket", "TIMER": "60", "EDIT": ""},
    faults={
        "correct": {},
        "strip-authorization": {"EDIT": "RequestHeader unset Authorization"},
        "rewrite-authorization": {"EDIT": f'RequestHeader set Authorization "{BASIC}"'},
        "no-upgrade": {"UPGRADE": ""},
        # Neither ProxyTimeout nor ProxyPass's timeout= applies to a WebSocket.
        "idle-2s": {"TIMER": "2"},
    },
)
