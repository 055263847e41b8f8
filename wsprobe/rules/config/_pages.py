"""The vendors' manuals: the pages that rules link to."""

NGINX_PROXY = "https://nginx.org/en/docs/http/ngx_http_proxy_module.html"
NGINX_CORE = "https://nginx.org/en/docs/http/ngx_http_core_module.html"
NGINX_WEBSOCKET = "https://nginx.org/en/docs/http/websocket.html"
HAPROXY = "https://docs.haproxy.org/2.6/configuration.html"
ENVOY = "https://www.envoyproxy.io/docs/envoy/latest"
ENVOY_UPGRADES = f"{ENVOY}/intro/arch_overview/http/upgrades"
ENVOY_HEADERS = f"{ENVOY}/configuration/http/http_conn_man/headers"
ENVOY_TIMEOUTS = f"{ENVOY}/faq/configuration/timeouts"
CADDY_PROXY = "https://caddyserver.com/docs/caddyfile/directives/reverse_proxy"
CADDY_OPTIONS = "https://caddyserver.com/docs/caddyfile/options"
APACHE = "https://httpd.apache.org/docs/2.4/mod"
TRAEFIK = "https://doc.traefik.io/traefik"
TRAEFIK_HEADERS = f"{TRAEFIK}/middlewares/http/headers/"

REQUEST_HEADERS = {
    "nginx": f"{NGINX_PROXY}#proxy_set_header",
    "haproxy": f"{HAPROXY}#4.2-http-request",
    "envoy": ENVOY_HEADERS,
    "caddy": f"{CADDY_PROXY}#headers",
    "apache": f"{APACHE}/mod_headers.html#requestheader",
    "traefik": TRAEFIK_HEADERS,
}
"""Where each of them says how headers of the request are edited."""
