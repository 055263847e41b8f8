"""HAProxy: recognises its configuration, and reads it (configuration manual 2.6)."""

from wsprobe.lb.model import Config
from wsprobe.lb.source import Source
from wsprobe.patterns import lazy

NAME = "haproxy"
VERSION = "2.6"
"""What predictions are compared with; an upgrade passes 2.4 to 3.0 in the same way, as far as the model goes."""

SECTIONS = frozenset(
    {
        *{"global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "resolvers", "mailers"},
        *{"program", "cache", "http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "traces"},
        *{"crt-store", "acme"},
    }
)
"""The keywords that begin a section."""

_SECTION = lazy(rf"^[ \t]*(?:{'|'.join(sorted(SECTIONS))})(?:[ \t]+[\w.:*@$-]+)*[ \t]*(?:#.*)?\r?$")
_INDENTED = lazy(
    r"^[ \t]+(?:bind|server|mode[ \t]+(?:http|tcp)|timeout[ \t]+\w|default_backend|use_backend|acl|option[ \t]+\w"
    r"|balance[ \t]+\w|http-request[ \t]+\w|maxconn|stats|log|user|daemon|chroot)\b"
)
_MAIN = frozenset({"global", "defaults", "frontend", "backend", "listen"})
_PLAIN = lazy(
    r"^(?:bind[ \t]+\S*:\d|server[ \t]+\S+[ \t]+\S+:\d|mode[ \t]+(?:http|tcp)\s*$|default_backend\b|use_backend\b"
    r"|timeout[ \t]+(?:client|server|connect)\b|balance[ \t]+\w|http-request[ \t]+\w"
    r"|option[ \t]+(?:http|forwardfor|tcplog|dontlog))"
)


def sniff(source: Source) -> bool:
    """Whether a file has a section of HAProxy's with a line of HAProxy's in it."""
    inside = ""
    for line in source.lines[:2000]:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if _SECTION.match(line):
            inside = line.split()[0]
        elif inside and not line.rstrip().endswith(("{", ";")):
            if _INDENTED.match(line) or (inside in _MAIN and _PLAIN.match(line)):
                return True
            inside = inside if line[0] in " \t." else ""
    return False


def read(source: Source, version: str | None = None) -> Config:
    """What a HAProxy configuration does; ReadError where it is a template or has no section."""
    from wsprobe.lb._haproxy_config import config_of  # later: a file of another kind needs none of it

    return config_of(source, NAME, version or VERSION, assumed=version is None)
