"""Traefik's files: static and dynamic config, in YAML and TOML, and the dynamic files that a static one names."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.inspection import Problem, Unknown
from wsprobe.lb._traefik_proxy import Entry
from wsprobe.lb._traefik_routers import Reading
from wsprobe.lb._traefik_tree import Setting, number
from wsprobe.lb.source import ReadError, Source

if TYPE_CHECKING:
    from wsprobe.lb._yaml import Node  # PyYAML is loaded for files that need it only

_DEPTH = 4  # how deep a directory of dynamic files is looked through

STATIC = ("entryPoints", "providers")
"""What a static config begins with."""

DYNAMIC = ("http", "tcp", "udp", "tls")
"""What a dynamic config consists of."""

_SECTIONS = ("routers", "services", "middlewares", "serversTransports", "models")
_QUIET = frozenset(
    (
        *("global", "log", "accesslog", "metrics", "tracing", "ping", "api", "certificatesresolvers", "experimental"),
        *("hostresolver", "spiffe", "hub", "ocsp", "tcpserverstransport", "core", "serverstransport", "pilot"),
    )
)
_EMPTY = frozenset({"compress", "contenttype"})
_FILES = frozenset({"file", "providersthrottleduration", "precedence"})
_MARKS = re.compile(r"\{\{|\{%|\$\{(?=[A-Za-z_])|@[A-Z_]{2,}@")
_FREE = re.compile(r"""^\s*["']?(?:default[-_]?rule|replacement)["']?\s*[:=]""", re.IGNORECASE)
_SCHEMES = re.compile(r"""["'`]""")


def tree(source: Source) -> Setting:
    """A file as a tree; ReadError where it is none, or a template of one."""
    mark = next(_placeholders(source), None)
    if mark:
        line, column, text = mark
        raise ReadError(source.path, f"a template ({text} at line {line}), not read", line, column)
    if looks_like_toml(source):
        from wsprobe.lb._traefik_toml import read

        return read(source)
    return yaml(source)


def looks_like_toml(source: Source) -> bool:
    """Whether a file is TOML: by its name, else by its first line that says something."""
    suffix = Path(source.path).suffix.lower()
    if suffix in {".toml", ".yml", ".yaml", ".json"}:
        return suffix == ".toml"
    first = next((line.strip() for line in source.lines if line.strip() and not line.lstrip().startswith("#")), "")
    return bool(re.match(r"""\[{1,2}[\w."' -]+\]{1,2}|[\w."'-]+\s*=""", first))


def _placeholders(source: Source) -> Iterator[tuple[int, int, str]]:
    """Where the marks of a template stand, comments and what has such marks itself left out."""
    for at, line in enumerate(source.lines, 1):
        found = _MARKS.search(line)
        if found and not _FREE.match(line) and not _in_comment(line, found.start()):
            yield at, found.start() + 1, found[0]


def _in_comment(line: str, at: int) -> bool:
    start = re.search(r"(?:^|\s)#", line[:at])
    return bool(start) and len(_SCHEMES.findall(line[: start.start()])) % 2 == 0 if start else False


def yaml(source: Source) -> Setting:
    """A YAML file as a tree; of several documents, the first. A key that stands twice is refused, as Traefik does."""
    from wsprobe.lb._yaml import documents

    found = documents(source)
    if not found:
        raise ReadError(source.path, "nothing stands in it")
    for node, first in found[0].document.duplicates:
        raise ReadError(source.path, f"{node.text} stands twice, first at line {first}", node.line, node.column)
    return setting(found[0])


def setting(node: "Node", name: str = "") -> Setting:
    """A node of YAML as a setting; what an alias repeats is made once."""
    made: dict[int, tuple[dict[str, Setting], tuple[Setting, ...]]] = {}

    def of(node: "Node", name: str) -> Setting:
        key = id(node.raw)
        if key not in made:
            fields = {each: of(child, each) for each, child in node.entries().items()}
            made[key] = fields, tuple(of(child, "") for child in node.items())
        fields, items = made[key]
        text = None if node.is_null or fields or items else _typed(node)
        return Setting(name, node.place, text, fields, items)

    return of(node, name)


def _typed(node: "Node") -> str:
    """The text that Traefik makes of a scalar: numbers without quotes are written anew."""
    return number(node.text) if node.plain else node.text


def static(root: Setting, source: Source, reading: Reading) -> None:
    """Takes in a static config, and the dynamic files that it names."""
    entries = root.under("entryPoints")
    reading.entries = [
        Entry(name=each.name, setting=each) for each in entries if not each.word("address").endswith("/udp")
    ]
    if not entries:
        usual = Setting("address", root.place, ":80")
        reading.entries = [Entry(name="http", setting=Setting("http", root.place, fields={"address": usual}))]
    reading.syntax = root.word("core", "defaultRuleSyntax") or reading.syntax
    transport = root.get("serversTransport")
    if transport:
        reading.scope.transports["default@internal"] = transport
    for each in root.under("providers"):
        if each.name.lower() not in _FILES:
            why = "what it finds is known to the running proxy only"
            reading.unread.append(Unknown(what=f"providers.{each.name}", why=why, place=each.place))
    for each in root.fields.values():
        if each.name.lower() not in {*_QUIET, *map(str.lower, (*STATIC, *DYNAMIC))}:
            reading.unread.append(Unknown(what=each.name, why="not a section that is known here", place=each.place))
    before = len(reading.problems)
    for path in filter(None, (root.get("providers", "file", "filename"), root.get("providers", "file", "directory"))):
        _follow(path, source, reading)
    if len(reading.problems) == before:
        reading.scope.whole |= {"file"}


def _follow(path: Setting, source: Source, reading: Reading) -> None:
    for found in _included(path, source):
        if isinstance(found, Problem):
            reading.problems.append(replace(found, line=path.place.line, column=path.place.column))
        elif found.real != source.real:
            reading.files.append(found.path)
            try:
                dynamic(tree(found), reading)
            except ReadError as error:
                reading.problems.append(error.problem)


def _included(path: Setting, source: Source) -> Iterator[Source | Problem]:
    """The files that `filename` or `directory` names.

    A path of another machine or a container is looked for from the folder of the static file on.
    """
    written = Path(path.text or "")
    names = [written, *(Path(*written.parts[at:]) for at in range(1, len(written.parts)) if written.is_absolute())]
    base = source.real.parent
    name = next((each for each in names if _exists(base / each, source.files.root)), written)
    if path.name.lower() == "filename":
        yield from source.include(str(name))
    elif not _exists(base / name, source.files.root):
        yield Problem(path=source.path, line=0, column=0, message=f"the directory {written} is not there")
    else:
        patterns = (f"{name}/{'*/' * depth}*.{suffix}" for depth in range(_DEPTH) for suffix in ("toml", "yaml", "yml"))
        for pattern in patterns:
            yield from source.include(pattern)


def _exists(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root) and path.exists()
    except (OSError, RuntimeError, ValueError):
        return False


def dynamic(root: Setting, reading: Reading, provider: str = "file") -> None:
    """Takes in a dynamic config."""
    http = root.get("http")
    if http:
        _http(http, reading, provider)
    for each in root.under("tcp", "routers"):
        why = "TCP routers are not followed; where one takes a connection, no HTTP router sees it"
        reading.unread.append(Unknown(what=f"tcp router {each.name}", why=why, place=each.place))


def _alone(http: Setting, reading: Reading) -> None:
    """Middlewares that say nothing: for one of them Traefik refuses the whole file."""
    for each in http.under("middlewares"):
        for kind in each.fields.values():
            if kind.empty and kind.name.lower() not in _EMPTY:
                reading.problem(kind.place, f"{kind.name} says nothing, and Traefik refuses the whole file for it")


def _http(http: Setting, reading: Reading, provider: str) -> None:
    scope = reading.scope
    _alone(http, reading)
    for name, into in (
        ("services", scope.services),
        ("middlewares", scope.middlewares),
        ("serversTransports", scope.transports),
    ):
        for each in http.under(name):
            key = f"{each.name}@{provider}"
            if key in into:
                reading.problem(each.place, f"{each.name} is defined twice")
            into.setdefault(key, each)
    for each in http.under("routers"):
        reading.router(each, provider)
    for each in http.fields.values():
        if each.name.lower() not in map(str.lower, _SECTIONS):
            why = "not a section of http that is known here"
            reading.unread.append(Unknown(what=each.name, why=why, place=each.place))
