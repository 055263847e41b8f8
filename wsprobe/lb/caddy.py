"""Caddy: Caddyfiles, and its own JSON.

A Caddyfile is adapted to the JSON as Caddy does it, with the lines kept, so both are read by the same code. The
version that is assumed is the current one: it is what `caddy upgrade` and the official images give, and it is the
strictest about headers (names with an underscore are dropped, heads end at some 16 kB).
"""

import re
from typing import TYPE_CHECKING

from wsprobe.inspection import Problem
from wsprobe.lb.model import Config
from wsprobe.lb.source import ReadError, Source
from wsprobe.patterns import lazy

if TYPE_CHECKING:
    from wsprobe.lb._caddy_tree import Tree

NAME = "caddy"
VERSION = "2.11"

_HEAD = 65536
_LAST = 999
_COMMENT = lazy(r"^\s*#.*$", re.MULTILINE)
_JSON = lazy(r'\s*\{\s*(?:"|\}\s*\Z)')
_SERVERS = lazy(r'"(?:http|servers)"\s*:\s*\{')
_SITE = lazy(
    r"^(?:"
    r"(?:https?://)?[\w.*{}$:\[\]-]+(?::\d+)?(?:/[^\s,]*)?(?:,\s*[^\s,]+)*[ \t]*\{[ \t]*$"  # addresses
    r"|\(\w[\w-]*\)[ \t]*\{[ \t]*$"  # a snippet
    r"|:\d+[ \t]*$|\{[ \t]*$)",
    re.MULTILINE,
)
_DIRECTIVE = lazy(
    r"^\s*(?:reverse_proxy|file_server|handle_path|handle|respond|encode|php_fastcgi|forward_auth|basic_?auth"
    r"|redir|tls|auto_https|request_header|header_up|import|route|root)\b(?![ \t]*[:=(])",
    re.MULTILINE,
)
_WORDS = (
    "reverse_proxy",
    "respond",
    "file_server",
    "handle",
    "encode",
    "redir",
    "route",
    "root",
    "tls",
    "_auth",
    "import",
)
_OTHER = lazy(r";\s*$|^\s*(?:frontend|backend|listen|defaults|global)\s|^\s*<\w+", re.MULTILINE)


def sniff(source: Source) -> bool:
    """Whether a file looks like a Caddyfile, or like Caddy's JSON."""
    text = source.text[:_HEAD]
    if _JSON.match(text):
        return '"apps"' in text and bool(_SERVERS.search(text))
    name = source.path.rpartition("/")[2].lower()
    if name.startswith("caddyfile") or name.endswith((".caddyfile", ".caddyfiletest", ".caddy")):
        return bool(text.strip())
    if not any(word in text for word in _WORDS):
        return False
    bare = _COMMENT.sub("", text)
    return bool(_DIRECTIVE.search(bare) and _SITE.search(bare) and not _OTHER.search(bare))


def read(source: Source, version: str | None = None) -> Config:
    """A Caddyfile with all that it imports, or a config in JSON."""
    from wsprobe.lb._caddy_blocks import parse
    from wsprobe.lb._caddy_context import Report
    from wsprobe.lb._caddy_server import listeners
    from wsprobe.lb._caddy_sites import adapted

    told = version or VERSION
    numbers = tuple(int(part) for part in re.findall(r"\d+", told)[:3]) or (2,)
    # A version of which only the line is told is the last one of that line.
    numbers += (_LAST,) * (3 - len(numbers))
    report = Report()
    problems: tuple[Problem, ...] = ()
    if _JSON.match(source.text):
        tree, files = _from_json(source), [source.path]
    else:
        file = parse(source)
        tree = adapted(file, numbers, report, source.at(1))
        files, problems = file.files, tuple(file.problems)
        for word in file.defaulted:
            report.unknown(
                f"{{${word.text}}}", "a variable of the proxy's environment: its default is taken", word.place
            )
    return Config(
        kind=NAME,
        path=source.path,
        version=told,
        assumed=version is None,
        listeners=tuple(listeners(tree, numbers, report)),
        unread=tuple(dict.fromkeys(report.unread)),
        problems=problems,
        files=tuple(dict.fromkeys(files)),
    )


def _from_json(source: Source) -> "Tree":
    from wsprobe.lb._caddy_tree import Tree, from_node
    from wsprobe.lb._yaml import documents

    found = documents(source)
    tree = from_node(found[0]) if found else None
    if not isinstance(tree, Tree):
        raise ReadError(source.path, "no object of JSON")
    return tree
