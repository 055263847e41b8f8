"""Directives that the reader does not know: they are told, never passed over."""

import re
from collections.abc import Iterator

from wsprobe.inspection import Unknown
from wsprobe.lb._nginx_directives import KNOWN
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.patterns import lazy

_HARMLESS = lazy(
    r"""(?:proxy|fastcgi|uwsgi|scgi|memcached|grpc|ssl|gzip|gunzip|brotli|zstd|open_file|charset|sub_filter|http2
    |http3|quic|quic_|autoindex|client|limit|secure_link|xslt|image_filter|mp4|flv|dav|addition|ssi|userid|variables
    |map_hash|server_names|types_hash|keepalive|lingering|output|postpone|directio|aio|tcp|send|resolver|log|access_log
    |error_log|worker|status|zone|random|least|ip_hash|hash|sticky|slice|stub|reset|chunked|etag|msie|if_modified
    |absolute_redirect|port_in_redirect|server_name_in_redirect|server_tokens|default_type|disable_symlinks
    |max_ranges|read_ahead|sendfile|subrequest|uninitialized|rewrite_log|early_hints|expires|override_charset
    |lua_|js_|modsecurity|geoip|geoip2|perl_modules|perl_require|real_ip|auth_jwt|auth_basic|auth_delay|otel|opentracing
    |env|load_module|user|pid|daemon|master_process|thread_pool|timer_resolution|pcre_jit|lock_file|debug|ssl_engine
    |working_directory|include|internal_redirect|ignore_|large_client|mirror|mail|stream|vhost_traffic|google_perftools
    |init_by_lua|init_worker_by_lua|log_by_lua|header_filter_by_lua|body_filter_by_lua|balancer_by_lua|ssl_certificate_by
    |add_trailer|queue|ntlm|state|health_check|match|status_zone|valid_referers|referer|request_pool|connection_pool
    |allow|deny|events|accept|multi_accept|use|epoll|recursive_error|merge_slashes|root|alias|index|more_|echo_
    |trailer|charset_types|charset_map|pagespeed|push|realip|nchan_|upload|fancyindex|vod|rtmp|set_real_ip_from
    |set_misc|set_|array_|encrypted_|access_by_lua|rewrite_by_lua|content_by_lua|perl)\w*\Z""",
    re.VERBOSE,
)
DATA = frozenset({"map", "geo", "split_clients", "types", "charset_map", "upstream", "match"})
"""Blocks that hold no directives."""


def unread(directives: tuple[Directive, ...]) -> Iterator[Unknown]:
    """What is not known, wherever it stands; the entries of maps and the like are no directives."""
    for each in directives:
        if each.name not in KNOWN and not _HARMLESS.match(each.name):
            yield Unknown(what=each.name, why="this directive is not known to the reader", place=each.place)
        elif each.unread:
            yield Unknown(what=f"include {each.arg(0)}", why=each.unread, place=each.place)
        if each.block and each.name not in DATA:
            yield from unread(each.block)
