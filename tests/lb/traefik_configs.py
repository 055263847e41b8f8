"""Traefik's configs for tests: what is read of them, and what becomes of an upgrade."""

from wsprobe.inspection import Prediction
from wsprobe.lb import reader
from wsprobe.lb.model import Config
from wsprobe.lb.predict import predict
from wsprobe.lb.request import upgrade
from wsprobe.lb.source import from_text

BEARER = ("Authorization", "Bearer x")

COMPOSE = """\
services:
  traefik:
    image: "traefik:v3.1"
    command:
      - --entrypoints.web.address=:80
      - --entryPoints.web.http.maxHeaderBytes=1000
      - --providers.docker.exposedByDefault=false
  chat:
    labels:
      - "traefik.enable=true"
      - "traefik.http.routers.Chat.rule=PathPrefix(`/ws`)"
      - "traefik.http.routers.chat.middlewares=strip, back"
      - "traefik.http.middlewares.strip.headers.customrequestheaders.Authorization="
      - "traefik.http.middlewares.back.replacepathregex.regex=^/ws/(.*)$$"
      - "traefik.http.middlewares.back.replacepathregex.replacement=/$$1"
      - "traefik.http.services.chat.loadbalancer.server.port=8080"
  site:
    labels:
      traefik.enable: "true"
      traefik.http.routers.site.rule: "Host(`${DOMAIN}`) && PathPrefix(`/site`)"
  hidden:
    labels: ["traefik.http.routers.hidden.rule=Path(`/hidden`)"]
"""


def config(text: str, version: str | None = None) -> Config:
    """What is read of a text."""
    return reader("traefik").read(from_text(text), version)


def http(middlewares: str = "", *, router: str = "", service: str = "", more: str = "") -> str:
    """A dynamic config with a router `r` for all paths, its middleware `m`, and its service `s`."""
    used = ", middlewares: [m]" if middlewares else ""
    lines = [
        "http:",
        "  routers:",
        f"    r: {{rule: 'PathPrefix(`/`)', service: s{used}{router}}}",
        more,
        "  services:",
        service or "    s: {loadBalancer: {servers: [{url: 'http://app:80'}]}}",
        "  middlewares:" if middlewares else "",
        f"    m: {middlewares}" if middlewares else "",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def asked(text: str, target: str = "/ws", host: str = "app.example.com", *headers: tuple[str, str]) -> Prediction:
    """What becomes of an upgrade."""
    return predict(config(text), upgrade(target, host, headers))


def received(prediction: Prediction) -> dict[str, str]:
    """The headers that the upstream gets."""
    assert prediction.request
    return dict(prediction.request.headers)
