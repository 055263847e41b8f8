"""A filter waits for the whole request, which an upgrade never has: the client gets no answer.

An upgrade has no end of its body. A filter that collects the body before it lets the request go on waits until the
client gives up. Envoy's buffer filter does that; nothing is logged but the client's leaving.

Bad (envoy):
    static_resources:
      listeners:
      - address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
        filter_chains:
        - filters:
          - name: envoy.filters.network.http_connection_manager
            typed_config:
              "@type":
                type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: h
              upgrade_configs: [{upgrade_type: websocket}]
              route_config:
                virtual_hosts:
                - {name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app}}]}
              http_filters:
              - name: envoy.filters.http.buffer
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
                  max_request_bytes: 65536
              - name: envoy.filters.http.router
                typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
      clusters: [{name: app, type: EDS}]
Good (envoy):
    static_resources:
      listeners:
      - address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
        filter_chains:
        - filters:
          - name: envoy.filters.network.http_connection_manager
            typed_config:
              "@type":
                type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: h
              upgrade_configs: [{upgrade_type: websocket}]
              route_config:
                virtual_hosts:
                - {name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app}}]}
              http_filters:
              - name: envoy.filters.http.router
                typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
      clusters: [{name: app, type: EDS}]
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import ENVOY, TRAEFIK

RULE = ConfigRule(
    __name__,
    {
        "envoy": f"{ENVOY}/configuration/http/http_filters/buffer_filter",
        "traefik": f"{TRAEFIK}/middlewares/http/buffering/",
    },
)

_FIX = {
    "envoy": "Switch the filter off on the route: `typed_per_filter_config` with "
    "`envoy.extensions.filters.http.buffer.v3.BufferPerRoute` and `disabled: true`; or give the upgrade filters of its "
    "own in `upgrade_configs`.",
    "traefik": "Leave the middleware out of the router of the WebSocket.",
}


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where a filter holds an upgrade back for ever."""
    stall = passage.stalled_by
    if stall and intent.level is not Level.NOT:
        yield RULE.finding(
            passage,
            f"An upgrade gets no answer here: {stall.why}.",
            severity=Severity.ERROR,
            place=stall.place,
            related=[passage.where],
            fix=_FIX.get(passage.config.kind, "Take the filter off this route."),
        )
