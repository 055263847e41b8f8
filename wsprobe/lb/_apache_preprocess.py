"""What Apache decides about a config before it looks at a request: includes, variables, conditionals, macros."""

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wsprobe.inspection import Problem, Unknown
from wsprobe.lb._apache_directives import is_directive
from wsprobe.lb._apache_grammar import MAX_DEPTH, MAX_NODES, Node, Parsed, nodes, undefined, words
from wsprobe.lb.evaluation import matches
from wsprobe.lb.source import ReadError, Source

_BUILT_IN = {"core", "so", "http", "log_config", "logio", "version", "unixd", "watchdog"}
_VARIABLE = re.compile(r"\$\{([^}:]+)\}")
_MAX_PUT_IN = 1_000_000
# What makes no difference to a request; a section inside is looked into.
_OF_NO_REQUEST = re.compile(r"ssl|loadmodule\Z|\w*log\Z|logformat\Z|loglevel\Z|servertokens\Z|if")


@dataclass(slots=True)
class _Walk:
    main: Source
    parsed: Parsed
    root: Path | None = None
    open: tuple[str, ...] = ()


def resolved(source: Source, parsed: Parsed) -> tuple[Node, ...]:
    """The directives and sections of a config as the server would run them."""
    top = nodes(source, parsed)
    _modules(top, parsed)
    return tuple(_walk(top, source, _Walk(source, parsed, open=(source.path,)), 0))


def _modules(top: tuple[Node, ...], parsed: Parsed) -> None:
    """Which modules there are: those that a whole config loads; a fragment says nothing about them."""
    loaded = {node.first.removesuffix("_module") for node in top if node.name == "loadmodule" and node.args}
    elsewhere = any(node.name in {"include", "includeoptional"} for node in top)
    # A whole config loads what runs the others; a file that only adds a module is a fragment, too.
    if loaded and not elsewhere and any(name.startswith("mpm_") or name == "proxy" for name in loaded):
        parsed.modules = loaded | _BUILT_IN
        parsed.all_modules = False


def has(parsed: Parsed, module: str) -> bool:
    """Whether a module is there, as far as the config tells; by identifier or by the name of its source file."""
    name = module.strip().removesuffix("_module").removeprefix("mod_").removesuffix(".c")
    return parsed.all_modules or name in parsed.modules


def _walk(body: tuple[Node, ...], source: Source, walk: _Walk, depth: int) -> Iterator[Node]:
    parsed = walk.parsed
    if depth > MAX_DEPTH:
        raise ReadError(source.path, f"sections, includes and macros nested deeper than {MAX_DEPTH}")
    for raw in body:
        parsed.nodes += 1
        if parsed.nodes > MAX_NODES:
            raise ReadError(source.path, f"more than {MAX_NODES} directives", raw.place.line, raw.place.column)
        node = _filled(raw, parsed)
        if node.name in _ACTIONS:
            yield from _ACTIONS[node.name](node, source, walk, depth)
        elif node.body is not None:
            yield replace(node, body=tuple(_walk(node.body, source, walk, depth + 1)))
        else:
            yield node


def _filled(node: Node, parsed: Parsed) -> Node:
    """A directive with the variables put in that the config defines."""
    if "${" not in node.text or not parsed.defined:
        return node
    if sum(len(parsed.defined.get(name, "")) for name in _VARIABLE.findall(node.text)) > _MAX_PUT_IN:
        why = f"variables stand for more than {_MAX_PUT_IN} characters"
        raise ReadError(node.place.path, why, node.place.line, node.place.column)
    text = _VARIABLE.sub(lambda found: parsed.defined.get(found[1], found[0]), node.text)
    return node if text == node.text else replace(node, text=text, args=words(text))


def _define(node: Node, _source: Source, walk: _Walk, _depth: int) -> Iterator[Node]:
    if node.args:
        walk.parsed.defined[node.first] = node.args[1] if len(node.args) > 1 else ""
    yield from ()


def _undefine(node: Node, _source: Source, walk: _Walk, _depth: int) -> Iterator[Node]:
    walk.parsed.defined.pop(node.first, None)
    yield from ()


def _server_root(node: Node, source: Source, walk: _Walk, _depth: int) -> Iterator[Node]:
    walk.root = Path(node.first) if node.args and undefined(node.first) is None else None
    yield from ()
    del source


def _include(node: Node, source: Source, walk: _Walk, depth: int) -> Iterator[Node]:
    parsed = walk.parsed
    if not node.args:
        parsed.problem(node.place, f"{node.written} names no file")
        return
    if name := undefined(node.first):
        what = f"{node.written} of a file that ${{{name}}} names"
        parsed.unread.append(Unknown(what=what, why="the variable is not defined in the config", place=node.place))
        return
    for found in source.include(_pattern(node.first, walk), _base(walk)):
        if isinstance(found, Problem):
            _not_included(node, found, parsed)
        elif found.path in walk.open:
            parsed.problem(node.place, f"{node.written} {node.first}: includes itself")
        elif len(walk.open) > MAX_DEPTH:
            parsed.problem(node.place, f"{node.written}: files include each other more than {MAX_DEPTH} deep")
        else:
            inner = replace(walk, open=(*walk.open, found.path))
            yield from _walk(nodes(found, parsed), found, inner, depth + 1)


def _pattern(path: str, walk: _Walk) -> str:
    """What is included: of a folder all that lies in it."""
    found = _base(walk) / path
    folder = os.path.isdir(found)  # noqa: PTH112  Path.is_dir raises where a name is too long or links go in a loop
    inside = folder and found.resolve().is_relative_to(walk.main.files.root)
    return f"{path.rstrip('/')}/*" if inside else path


def _base(walk: _Walk) -> Path:
    """Where relative paths begin: ServerRoot where it can be seen from here, else the main file's folder."""
    root = walk.main.files.root
    return walk.root if walk.root and walk.root.is_relative_to(root) and walk.root.is_dir() else walk.main.real.parent


def _not_included(node: Node, found: Problem, parsed: Parsed) -> None:
    if node.name == "include":
        parsed.problem(node.place, found.message)
    elif "cannot be opened" not in found.message:
        parsed.unread.append(Unknown(what=f"IncludeOptional {node.first}", why=found.message, place=node.place))


def _if_module(node: Node, source: Source, walk: _Walk, depth: int) -> Iterator[Node]:
    wanted = node.text.strip().strip("\"'")
    held = has(walk.parsed, wanted.removeprefix("!"))
    if held is not wanted.startswith("!"):
        yield from _walk(node.body or (), source, walk, depth + 1)


def _if_define(node: Node, source: Source, walk: _Walk, depth: int) -> Iterator[Node]:
    wanted = node.text.strip()
    name = wanted.removeprefix("!")
    held = name in walk.parsed.defined
    if not held:
        what = f"<{node.written} {wanted}>, read as if {name} were not given"
        why = "whether Apache is started with -D is not in the config"
        walk.parsed.unread.append(Unknown(what=what, why=why, place=node.place))
    if held is not wanted.startswith("!"):
        yield from _walk(node.body or (), source, walk, depth + 1)


def _if_file(node: Node, _source: Source, walk: _Walk, _depth: int) -> Iterator[Node]:
    why = "whether a file is there is not in the config"
    named = f"<{node.written} {node.text.strip()}>"
    walk.parsed.unread.append(Unknown(what=f"what stands in {named}", why=why, place=node.place))
    if any(not _OF_NO_REQUEST.match(name) for name in _names(node)):
        yield replace(node, written=f"what stands in {named}", body=None)


def _names(node: Node) -> Iterator[str]:
    for inner in node.body or ():
        yield inner.name
        yield from _names(inner)


def _if_known(node: Node, source: Source, walk: _Walk, depth: int) -> Iterator[Node]:
    wanted = node.text.strip().strip("\"'")
    if is_directive(wanted.removeprefix("!").strip("</>").lower()) is not wanted.startswith("!"):
        yield from _walk(node.body or (), source, walk, depth + 1)


def _if_version(node: Node, source: Source, walk: _Walk, depth: int) -> Iterator[Node]:
    args = list(node.args)
    negated = bool(args) and args[0].startswith("!")
    operator = args[0].lstrip("!") if len(args) > 1 else "="
    wanted = args[-1] if args else ""
    held = _compared(walk.parsed.version, operator, wanted)
    if held is None:
        walk.parsed.unread.append(Unknown(what=f"<{node.written}>", why="not understood", place=node.place))
    elif held is not negated:
        yield from _walk(node.body or (), source, walk, depth + 1)


def _compared(version: tuple[int, ...], operator: str, wanted: str) -> bool | None:
    if operator == "~" or (operator in {"=", "=="} and len(wanted) > 1 and wanted[0] == wanted[-1] == "/"):
        pattern = wanted if operator == "~" else wanted[1:-1]
        found = matches(pattern, ".".join(map(str, version)))
        return found if isinstance(found, bool) else None
    if not re.fullmatch(r"\d+(\.\d+){0,2}", wanted):
        return None
    other = tuple(int(part) for part in wanted.split("."))
    mine = version[: len(other)] if operator in {"=", "=="} else version
    padded = (*other, 0, 0)[: max(len(other), len(mine))]
    return {
        "=": mine == other,
        "==": mine == other,
        ">": mine > padded,
        ">=": mine >= padded,
        "<": mine < padded,
        "<=": mine <= padded,
    }.get(operator)


def _macro(node: Node, _source: Source, walk: _Walk, _depth: int) -> Iterator[Node]:
    if node.args:
        walk.parsed.macros[node.first.lower()] = (node.args[1:], node.body or ())
    yield from ()


def _undef_macro(node: Node, _source: Source, walk: _Walk, _depth: int) -> Iterator[Node]:
    walk.parsed.macros.pop(node.first.lower(), None)
    yield from ()


def _use(node: Node, source: Source, walk: _Walk, depth: int) -> Iterator[Node]:
    macro = walk.parsed.macros.get(node.first.lower())
    if macro is None:
        walk.parsed.problem(node.place, f"Use of a macro that is not defined: {node.first[:80]}")
        return
    names, body = macro
    if len(names) != len(node.args) - 1:
        message = f"macro {node.first[:80]} has {len(names)} parameters, used with {len(node.args) - 1}"
        walk.parsed.problem(node.place, message)
        return
    # The longest name first, as mod_macro does: of $a and $ab the latter would not be seen else.
    values = sorted(zip(names, node.args[1:], strict=True), key=lambda pair: -len(pair[0]))
    yield from _walk(tuple(_put_in(each, values) for each in body), source, walk, depth + 1)


def _put_in(node: Node, values: list[tuple[str, str]]) -> Node:
    text = node.text
    for name, value in values:
        text = text.replace(name, value)
    body = None if node.body is None else tuple(_put_in(each, values) for each in node.body)
    return replace(node, text=text, args=words(text), body=body)


def _dropped(_node: Node, _source: Source, _walk: _Walk, _depth: int) -> Iterator[Node]:
    yield from ()


_ACTIONS = {
    "define": _define,
    "undefine": _undefine,
    "serverroot": _server_root,
    "include": _include,
    "includeoptional": _include,
    "ifmodule": _if_module,
    "ifdefine": _if_define,
    "iffile": _if_file,
    "ifdirective": _if_known,
    "ifsection": _if_known,
    "ifversion": _if_version,
    "macro": _macro,
    "undefmacro": _undef_macro,
    "use": _use,
    "error": _dropped,
    "warning": _dropped,
}


def segment(path: str) -> str:
    """A path of a config without needless slashes at its end, for telling whether one lies in another."""
    return posixpath.normpath(path) if path else "/"
