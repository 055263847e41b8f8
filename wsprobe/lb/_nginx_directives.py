"""What nginx takes where: the directives that say something about an upgrade, with the blocks that may hold them.

The table has each directive with its contexts (m main, h http, s server, l location, i an `if` in a location,
x limit_except, u upstream) and how many arguments it takes; `*` is any number, `1+` one or more.
"""

_TABLE = """
http m 0; events m 0; stream m 0; mail m 0; server hu *; location sl 1-2; upstream h 1; map h 2; geo h 1-2
split_clients h 2; if sl 1+; limit_except l 1+; types hsl 0
listen s 1+; server_name s *; root hslix 1; alias lx 1; index hsl 1+; internal l 0; merge_slashes hs 1
try_files sl 2+; error_page hslix 2+; recursive_error_pages hsl 1; default_type hsl 1; keepalive u 1; resolver hslu 1+
return slix 1-2; rewrite slix 2-3; set slix 2; break slix 0
proxy_pass slix 1; grpc_pass lix 1; fastcgi_pass lix 1; uwsgi_pass lix 1; scgi_pass lix 1; memcached_pass lix 1
tunnel_pass lix *
proxy_set_header hsl 2; proxy_http_version hsl 1; proxy_method hsl 1; proxy_pass_request_headers hsl 1
proxy_pass_request_body hsl 1; proxy_set_body hsl 1; proxy_cache hsl 1; proxy_hide_header hsl 1
proxy_pass_header hsl 1; proxy_read_timeout hsl 1; proxy_send_timeout hsl 1; proxy_connect_timeout hsl 1
proxy_intercept_errors hsl 1; proxy_buffering hsl 1; proxy_request_buffering hsl 1; proxy_redirect hsl 1-2
proxy_buffers hsl 2; proxy_buffer_size hsl 1; proxy_ssl_verify hsl 1; proxy_ssl_server_name hsl 1; proxy_ssl_name hsl 1
proxy_next_upstream hsl 1+; proxy_cache_bypass hsl 1+; proxy_no_cache hsl 1+; proxy_ignore_client_abort hsl 1
proxy_busy_buffers_size hsl 1; proxy_socket_keepalive hsl 1; proxy_timeout hs 1
grpc_set_header hsl 2; grpc_read_timeout hsl 1; grpc_send_timeout hsl 1
add_header hslix 2-3; add_header_inherit hsl 1; expires hslix 1-2; send_timeout hsl 1; keepalive_timeout hslu 1-2
underscores_in_headers hs 1; ignore_invalid_headers hs 1; large_client_header_buffers hs 2
client_header_buffer_size hs 1; max_headers hs 1; client_max_body_size hsl 1; client_header_timeout hs 1
client_body_timeout hsl 1
auth_basic hslx 1; auth_basic_user_file hslx 1; auth_request hsl 1; auth_request_set hsl 2; auth_jwt hslx 1-2
auth_jwt_key_file hslx 1+; auth_jwt_key_request hslx 1+; satisfy hsl 1; allow hslx 1; deny hslx 1
real_ip_header hsl 1; set_real_ip_from hsl 1; limit_conn hsl 2; limit_req hsl 1+; mirror hsl 1
more_set_input_headers hsli 1+; more_clear_input_headers hsli 1+; more_set_headers hsli 1+; more_clear_headers hsli 1+
js_content lix 1; js_access hsl 1; js_set h 2-3; js_var h 1-2; js_import h 1+; js_header_filter lix 1
ssl_certificate hs 1; ssl_certificate_key hs 1; ssl_protocols hs 1+; ssl_reject_handshake hs 1; http2 hs 1
access_log * 1+; error_log * 1+; include * 1; sendfile hsli 1; tcp_nopush hsl 1; tcp_nodelay hsl 1; gzip hsli 1
gzip_types hsl 1+; charset hsli 1; log_format h 2+; user m 1-2; worker_processes m 1; pid m 1; daemon m 1
worker_connections * 1; server_tokens hsl 1; server_names_hash_bucket_size h 1; types_hash_max_size hsl 1
"""

_COUNTS = {"*": (0, 10_000)}


def _row(entry: str) -> tuple[str, tuple[str, int, int]]:
    name, contexts, count = entry.split()
    if count not in _COUNTS:
        least, dash, most = count.rstrip("+").partition("-")
        _COUNTS[count] = (int(least), 10_000 if count.endswith("+") else int(most if dash else least))
    return name, (contexts, *_COUNTS[count])


_ROWS = dict(_row(entry) for line in _TABLE.strip().splitlines() for entry in line.split(";") if entry.strip())

KNOWN = frozenset(_ROWS)
"""Names of directives that are none of anything else's arguments at the beginning of a line."""

_WITH_BLOCK = "http events stream mail server location upstream map geo split_clients if limit_except types charset_map"
BLOCKS = frozenset(_WITH_BLOCK.split())

"""Directives that have a block."""

_ONCE = """
proxy_pass grpc_pass proxy_http_version proxy_method proxy_pass_request_headers proxy_pass_request_body proxy_set_body
proxy_read_timeout proxy_send_timeout proxy_connect_timeout send_timeout underscores_in_headers ignore_invalid_headers
large_client_header_buffers client_header_buffer_size auth_basic auth_basic_user_file auth_request satisfy
proxy_buffering proxy_request_buffering client_max_body_size root try_files proxy_intercept_errors
"""
ONCE = frozenset(_ONCE.split())
"""Directives that a block may have once."""

_CONTEXTS = {"http": "h", "server": "s", "location": "l", "upstream": "u", "if": "i", "limit_except": "x"}


def complaint(name: str, args: tuple[str, ...], parent: str, *, has_block: bool) -> str | None:
    """Why nginx refuses a directive in the block of that name (empty at the top of a file), None where it does not."""
    row = _ROWS.get(name)
    if row is None or parent in {"types", "map", "geo", "split_clients"}:
        return None
    contexts, least, most = row
    context = _CONTEXTS.get(parent)
    if context and context not in contexts and contexts != "*":
        return f'"{name}" directive is not allowed here, in "{parent}"'
    if not least <= len(args) <= most:
        return f'invalid number of arguments in "{name}" directive'
    if name in BLOCKS and not has_block and not (name == "server" and parent in {"upstream", ""}):
        return f'directive "{name}" has no opening "{{"'
    return None
