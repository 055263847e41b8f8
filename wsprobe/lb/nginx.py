"""nginx: which location gets an upgrade, and which headers of it the server behind receives.

The grammar, inheritance in both directions, variables and `map`, the rewrite module, access, and the defaults of the
version are followed; scripts are not, and say so.
"""

import re

from wsprobe.lb._nginx_directives import KNOWN
from wsprobe.lb.model import Config
from wsprobe.lb.source import Source
from wsprobe.patterns import lazy

NAME = "nginx"
VERSION = "1.28"
"""The last stable line before 1.30, in which the default of proxy_http_version is another one."""

_SNIFFED = 65536
_BLOCK = lazy(
    r"^[ \t]*(?:http|server|events|stream|(?:upstream|map|location|if|limit_except)\s[^{};\n]+)\s*\{", re.MULTILINE
)
_STATEMENT = lazy(
    r"(?:^|[{;])[ \t]*(?:listen|server_name|proxy_\w+|location|root|return|set \$|include|upstream|worker_\w+"
    r"|ssl_certificate|add_header|rewrite|server|auth_\w+|error_page|more_\w+)\b[^\n{};]*;",
    re.MULTILINE,
)
_FIRST = lazy(r"(?:\s|#[^\n]*\n)*([A-Za-z_]\w*|\{\{|\{%)([^\n]*)")


def sniff(source: Source) -> bool:
    """Whether a file looks like nginx: its first word is a directive, and statements end with a semicolon."""
    text = source.text[:_SNIFFED]
    first = _FIRST.match(text)
    if first is None or text.startswith("#!") or not _STATEMENT.search(text):
        return False
    known = first[1] in KNOWN or first[1][0] == "{"
    return known or (bool(_BLOCK.search(text)) and first[2].rstrip().endswith((";", "{")))


def read(source: Source, version: str | None = None) -> Config:
    """What the config does; ReadError where it has no grammar, or is a template."""
    from wsprobe.lb._nginx_config import config

    return config(source, version or VERSION, assumed=version is None)
