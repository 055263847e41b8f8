"""A header with an underscore in its name does not reach the upstream.

nginx and Caddy drop such headers by default, since CGI cannot tell `x_auth_token` from `x-auth-token`; Envoy drops or
refuses them where it is told to. Nothing is said about it but a line in the log at level info. Told where the config
or you (`-H`) name such a header.

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
              common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER}
              route_config:
                virtual_hosts:
                - {name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app}}]}
              http_filters:
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
from dataclasses import replace

from wsprobe.inspection import ConfigFinding, Prediction
from wsprobe.parts import Line, Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import CADDY_PROXY, ENVOY, NGINX_CORE

RULE = ConfigRule(
    __name__,
    {
        "nginx": f"{NGINX_CORE}#underscores_in_headers",
        "envoy": f"{ENVOY}/api-v3/config/core/v3/protocol.proto#enum-config-core-v3-httpprotocoloptions-"
        "headerswithunderscoresaction",
        "caddy": CADDY_PROXY,
    },
)

_FIX = {
    "nginx": "Write `underscores_in_headers on;` in the server.",
    "envoy": "Write `headers_with_underscores_action: ALLOW`, which is the default.",
}
_TELL_APART = frozenset({"caddy", "envoy", "haproxy"})
"""Where a config that names a header can tell an underscore from a hyphen."""

_BY_A_LINE = frozenset({"envoy"})
"""Where a line of the config decides it; elsewhere it is the proxy's way, and matters to who needs such a header."""

_ANY = "X_Wsprobe_Canary"


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where such a header is dropped by a line, or by default and somebody needs it."""
    if intent.level is Level.NOT or passage.prediction.request is None:
        return
    referred = passage.referred if passage.config.kind in _TELL_APART else ()
    needed = [name for name in (*passage.asked.headers, *referred) if "_" in name]
    if not needed and passage.config.kind not in _BY_A_LINE:
        return
    name = needed[0] if needed else _ANY
    found = passage.carried(replace(passage.request, headers=(*passage.request.headers, (name, "canary"))))
    gone, place = _gone(found, name)
    if gone and (needed or place):
        refused = found.request is None
        yield RULE.finding(
            passage,
            f"{name if needed else 'A header with an underscore in its name'} "
            + (f"has the request refused with {found.status}." if refused else "does not reach the upstream."),
            severity=Severity.WARNING if needed else Severity.NOTE,
            place=place,
            related=[passage.where],
            header=name if needed else None,
            fix=f"Use a name with hyphens. {_FIX.get(passage.config.kind, '')}".strip(),
        )


def _gone(found: Prediction, name: str) -> tuple[bool, Line | None]:
    """Whether a header does not arrive, and the line that does it."""
    if found.request is None:
        return True, found.place
    by = next((edit for edit in found.edits if edit.name.lower() == name.lower()), None)
    arrived = any(key.lower() == name.lower() for key, _ in found.request.headers)
    doubt = any(unknown.what.lower() in {name.lower(), "any header"} for unknown in found.unknown)
    return not arrived and not doubt, by.place if by else None
