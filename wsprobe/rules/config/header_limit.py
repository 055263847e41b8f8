"""The credential is larger than what the proxy takes in a header.

Tokens with groups or many claims have 8 KB and more; the limits are 8 KB in nginx and Apache, 16 KB in HAProxy, 60 KB
in Envoy. The proxy answers 400 or 431 and the upstream never sees the upgrade. `--bearer-file` and `-H` give a token of
which only the size counts here.

Bad (nginx):
    server {
        listen 80;
        large_client_header_buffers 4 1k;
        location /ws {
            proxy_pass http://127.0.0.1:9000;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }
    }
Good (nginx):
    server {
        listen 80;
        large_client_header_buffers 4 32k;
        location /ws {
            proxy_pass http://127.0.0.1:9000;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }
    }
"""

from collections.abc import Iterator
from dataclasses import replace

from wsprobe.inspection import ConfigFinding
from wsprobe.lb.model import Limit, Measure
from wsprobe.lb.sizes import measured
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import APACHE, CADDY_OPTIONS, ENVOY, HAPROXY, NGINX_CORE, TRAEFIK

RULE = ConfigRule(
    __name__,
    {
        "nginx": f"{NGINX_CORE}#large_client_header_buffers",
        "haproxy": f"{HAPROXY}#3.2-tune.bufsize",
        "envoy": f"{ENVOY}/configuration/http/http_conn_man/header_limits",
        "caddy": f"{CADDY_OPTIONS}#max_header_size",
        "apache": f"{APACHE}/core.html#limitrequestfieldsize",
        "traefik": f"{TRAEFIK}/routing/entrypoints/#maxheaderbytes",
    },
)

_FIX = {
    "nginx": "Write `large_client_header_buffers 4 32k;` in the server.",
    "haproxy": "Write `tune.bufsize 65536` in global.",
    "envoy": "Write `max_request_headers_kb: 96` into the HttpConnectionManager.",
    "caddy": "Write `max_header_size 64KB` in the global option `servers`.",
    "apache": "Write `LimitRequestFieldSize 65536` outside of any virtual host.",
    "traefik": "Write a larger `http.maxHeaderBytes` for the entry point.",
}
_USUAL = 2048
"""Octets of a credential that every limit should let through: a token with a few claims and an RSA signature."""


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One for each limit that the upgrade with its credential would exceed."""
    if intent.level is Level.NOT or passage.route.upstream is None:
        return
    told = passage.asked.token
    octets = _USUAL if told is None else told
    headers = tuple(
        (name, f"Bearer {'x' * octets}" if name == "Authorization" else value)
        for name, value in passage.request.headers
    )
    request = replace(passage.request, headers=headers)
    for limit in (*passage.listener.limits, *passage.route.limits):
        size = measured(limit, request)
        if limit.measure is not Measure.COUNT and size > limit.most and (told or limit.place):
            yield _exceeded(passage, limit, octets, sure=size > limit.most + limit.slack, told=told is not None)


def _exceeded(passage: Passage, limit: Limit, octets: int, *, sure: bool, told: bool) -> ConfigFinding:
    answer = f"answers {limit.status}" if limit.status else "refuses it"
    verb = "makes" if sure else "may make"
    return RULE.finding(
        passage,
        f"A credential of {octets} octets {verb} the head larger than {limit.name} allows ({limit.most} "
        f"{limit.measure}): the proxy {answer}.",
        severity=Severity.ERROR if sure and told else Severity.WARNING,
        place=limit.place,
        header="Authorization",
        fix=_FIX.get(passage.config.kind),
    )
