"""HAProxy in HTTP mode; it passes upgrades on by default."""

from tests.lab.proxy import BASIC, Proxy

PROXY = Proxy(
    name="haproxy",
    program="haproxy",
    package="haproxy",
    wheel=False,
    command=("-db", "-f", "@FOLDER@/haproxy.cfg"),
    files={
        "haproxy.cfg": """\
global
    log stdout format raw local0
    # Else a second HAProxy could listen on the same port, and get half of its connections.
    noreuseport

defaults
    mode http
    log global
    option httplog
    # By default an upstream that is down costs three seconds of retries.
    retries 0
    timeout connect 3s
    timeout client 30s
    timeout server 30s
    @TIMER@

frontend edge
    bind 127.0.0.1:@PORT@
    default_backend app

backend app
    @EDIT@
    server app1 @UPSTREAM@
"""
    },
    places={"EDIT": "", "TIMER": ""},
    faults={
        "correct": {},
        "strip-authorization": {"EDIT": "http-request del-header Authorization"},
        "rewrite-authorization": {"EDIT": f'http-request set-header Authorization "{BASIC}"'},
        "no-upgrade": {"EDIT": "http-request del-header Upgrade"},
        "idle-2s": {"TIMER": "timeout tunnel 2s"},
    },
)
