"""A script or a filter on the way may change the credential, and the config does not tell what it does.

What a Lua filter, a plugin or a WebAssembly module makes of the headers only it knows. Where an upgrade arrives without
its token, this is a place to look at first; `wsprobe trace` with a recorder behind the proxy shows it.

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
              - name: envoy.filters.http.lua
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
                  default_source_code: {inline_string: "function envoy_on_request(h) h:headers():remove('cookie') end"}
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
from wsprobe.lb.model import Opaque
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import ENVOY, HAPROXY, REQUEST_HEADERS

RULE = ConfigRule(
    __name__,
    {
        **REQUEST_HEADERS,
        "envoy": f"{ENVOY}/configuration/http/http_filters/http_filters",
        "haproxy": f"{HAPROXY}#4.2-http-request%20lua",
    },
)


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where what becomes of Authorization depends on something that cannot be followed."""
    doubt = passage.doubt("Authorization")
    if intent.level < Level.LIKELY or doubt is None or doubt.place is None:
        return
    opaque = [step for step in passage.steps if isinstance(step, Opaque) and step.place == doubt.place]
    if opaque and not doubt.place.text.lower().startswith("include"):  # a file that is missing is told as such
        names = "authorization" in doubt.place.text.lower()
        yield RULE.finding(
            passage,
            f"What becomes of Authorization here cannot be told: {doubt.why}"
            f"{', and it names that header' if names else ''}.",
            severity=Severity.WARNING if names else Severity.NOTE,
            place=doubt.place,
            related=[passage.where],
            header="Authorization",
            fix="Read what it does to Authorization; a recorder behind the proxy shows what arrives.",
        )
