"""Timers of well-known proxies and services that end WebSockets, with their defaults and where those are written.

A measured time fits several of them mostly, so they are told in the plural, and none is ever accused.
"""

from dataclasses import dataclass

from wsprobe.inspection import Timer


@dataclass(frozen=True, slots=True)
class Default:
    """One timer: what it measures, its default in seconds, whose it is, and where that is said."""

    kind: Timer
    seconds: float
    whose: str
    source: str


DEFAULTS = (
    Default(Timer.IDLE, 60, "nginx proxy_read_timeout", "nginx.org/en/docs/http/ngx_http_proxy_module.html"),
    Default(Timer.IDLE, 60, "ingress-nginx proxy-read-timeout", "kubernetes.github.io/ingress-nginx"),
    Default(Timer.IDLE, 60, "Apache httpd Timeout, as compiled", "httpd.apache.org/docs/2.4/mod/core.html#timeout"),
    Default(Timer.IDLE, 300, "Apache httpd Timeout, as Debian writes it", "Debian's apache2.conf"),
    Default(Timer.IDLE, 300, "Envoy stream_idle_timeout", "www.envoyproxy.io, HttpConnectionManager"),
    Default(Timer.IDLE, 60, "AWS ALB idle_timeout", "docs.aws.amazon.com, Application Load Balancers"),
    Default(Timer.IDLE, 350, "AWS NLB idle timeout of TCP", "docs.aws.amazon.com, Network Load Balancers"),
    Default(Timer.IDLE, 600, "AWS API Gateway, idle connection", "docs.aws.amazon.com, API Gateway quotas"),
    Default(Timer.LIFETIME, 7200, "AWS API Gateway, connection duration", "docs.aws.amazon.com, API Gateway quotas"),
    Default(Timer.IDLE, 30, "Google Cloud backend timeout, global external ALB", "cloud.google.com, statusDetails"),
    Default(Timer.LIFETIME, 30, "Google Cloud backend timeout, classic ALB", "ingress-gce, examples/websocket"),
    Default(
        Timer.LIFETIME,
        86400,
        "Google Cloud global external ALB, longest WebSocket",
        "cloud.google.com, request distribution",
    ),
    Default(Timer.LIFETIME, 300, "Cloud Run request timeout", "cloud.google.com/run, request-timeout"),
    Default(
        Timer.LIFETIME,
        3600,
        "Cloud Run request timeout, at most",
        "cloud.google.com/run, request-timeout",
    ),
    Default(Timer.IDLE, 300, "Azure Front Door, idle", "learn.microsoft.com, Front Door WebSocket"),
    Default(Timer.LIFETIME, 14400, "Azure Front Door, longest WebSocket", "learn.microsoft.com, Front Door WebSocket"),
    Default(Timer.IDLE, 60, "Varnish pipe_timeout", "varnish-cache.org, parameters"),
    Default(Timer.IDLE, 300, "h2o proxy.websocket.timeout", "h2o.examp1e.net, proxy directives"),
    Default(Timer.IDLE, 60, "nghttpx frontend- and backend-read-timeout", "nghttp2.org, nghttpx"),
    Default(Timer.IDLE, 900, "Squid read_timeout", "squid-cache.org, read_timeout"),
    Default(Timer.LIFETIME, 86400, "Squid client_lifetime", "squid-cache.org, client_lifetime"),
    Default(Timer.IDLE, 600, "Traffic Server websocket.no_activity_timeout", "docs.trafficserver.apache.org, records"),
)

_SHARE, _SLACK = 0.03, 1.5
"""How far a measured end may lie from a default: Envoy closes a second later than its timer."""


def fitting(kind: Timer, seconds: float) -> tuple[Default, ...]:
    """The known defaults that an end after so many seconds fits."""
    return tuple(
        one
        for one in DEFAULTS
        if one.kind is kind and one.seconds - 0.5 <= seconds <= one.seconds * (1 + _SHARE) + _SLACK
    )


def told(kind: Timer, seconds: float) -> str:
    """The known defaults that fit, as a sentence with a space before it; nothing where none fits."""
    fits = "; ".join(f"{one.whose} ({one.source})" for one in fitting(kind, seconds))
    return f" Known defaults that fit: {fits}." if fits else ""
