"""The grammar of nginx configs: directives with line and column, and the files that they include in their place.

Tokens are those of ngx_conf_read_token. Nothing is recursive here, and every file is read once.
"""

import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem
from wsprobe.lb._nginx_directives import BLOCKS, KNOWN, complaint
from wsprobe.lb.source import ReadError, Source
from wsprobe.parts import Line
from wsprobe.patterns import lazy

MAX_DEPTH = 60
"""How deep blocks may be nested; no config that people write comes near."""

MAX_DIRECTIVES = 300_000
"""How many directives a config may have, with those of its includes counted each time."""

_TOKEN = lazy(
    r"""(?P<space>[ \t\r\n]+)|(?P<comment>\#[^\n]*)|(?P<end>;)|(?P<open>\{)|(?P<close>\})
    |(?P<quoted>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')|(?P<quote>["'])
    |(?P<word>(?:[^\ \t\r\n;{\\$]+|\\.|\$\{?|\\)+)""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPED = lazy(r"""\\(["'\\trn])""")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n"}
_AFTER_QUOTE = frozenset(" \t\r\n;{)")
_LUA = lazy(r"""--\[=*\[|--[^\n]*|\[=*\[|"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|[{}]""", re.DOTALL)
BENIGN = lazy(r"(?:^|/)(?:mime\.types|(?:fastcgi|uwsgi|scgi)[\w.]*|koi-\w+|win-utf)\Z")
"""Files that come with nginx, often lie elsewhere, and say nothing about an upgrade."""
_LUA_BLOCK = "_by_lua_block"
_TEMPLATE = lazy(r"\{\{|\{%|<%|%[a-z_]{2,}%")
_PLACEHOLDER = lazy(r"(?<![?P(\\])<[A-Za-z][A-Za-z0-9_ .-]*>|\$\{[A-Z][A-Z0-9_]*\}")
_NO_VARIABLES = frozenset({"listen", "worker_processes", "client_max_body_size", "keepalive_timeout", "upstream"})
_NO_PLACEHOLDER = frozenset({"listen", "server_name", "upstream", "proxy_pass", "server", "location"})


@dataclass(frozen=True, slots=True, eq=False)
class Directive:
    """A directive where it stands; `block` are those between its braces, `unread` why an include gives nothing."""

    name: str
    args: tuple[str, ...]
    source: Source
    line: int
    column: int
    block: "tuple[Directive, ...] | None" = None
    unread: str = ""

    @property
    def place(self) -> Line:
        """Where it begins, for what is said about it."""
        return self.source.at(self.line, self.column)

    def arg(self, index: int) -> str:
        """An argument, empty where it has none there."""
        return self.args[index] if index < len(self.args) else ""

    def problem(self, message: str) -> Problem:
        """What is wrong with it, in one line."""
        return Problem(path=self.source.path, line=self.line, column=self.column, message=message)


@dataclass(slots=True)
class _Open:
    """A block that is not closed yet."""

    name: str
    args: tuple[str, ...]
    line: int
    column: int
    directives: list[Directive] = field(default_factory=list)


@dataclass(slots=True)
class Grammar:
    """Reads the directives of a config and of the files that it includes, and notes what is wrong with them."""

    base: Path
    problems: list[Problem] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    _included: dict[str, tuple[Directive, ...]] = field(default_factory=dict)
    _stack: list[Path] = field(default_factory=list)
    _count: int = 0

    def directives(self, source: Source) -> tuple[Directive, ...]:
        """The directives of a file at its top level; ReadError with line, column and reason where it has no grammar."""
        if source.path not in self.files:
            self.files.append(source.path)
        self._stack.append(source.real)
        try:
            return self._blocks(source)
        finally:
            self._stack.pop()

    def _blocks(self, source: Source) -> tuple[Directive, ...]:
        _refuse_template(source)
        opened = [_Open("", (), 1, 1)]
        for words, end, at in _statements(source):
            if end == "}":
                if len(opened) == 1:
                    raise _error(source, 'unexpected "}"', *at)
                closed = opened.pop()
                inner = tuple(closed.directives)
                self._add(opened, Directive(closed.name, closed.args, source, closed.line, closed.column, inner))
                continue
            name, line, column, _ = words[0]
            args = tuple(text for text, *_ in words[1:])
            _refuse_missing_end(source, words, end)
            if end == "{":
                if len(opened) > MAX_DEPTH:
                    raise _error(source, f"blocks are nested more than {MAX_DEPTH} deep", line, column)
                opened.append(_Open(name, args, line, column))
            elif end == "lua":
                self._add(opened, Directive(name, args, source, line, column, ()))
            else:
                self._add(opened, Directive(name, args, source, line, column))
        if len(opened) > 1:
            block = opened[-1]
            raise _error(source, f'the block of "{block.name}" is not closed: expecting "}}"', block.line, block.column)
        return tuple(opened[0].directives)

    def _add(self, opened: list[_Open], directive: Directive) -> None:
        self._count += 1
        if self._count > MAX_DIRECTIVES:
            raise _error(directive.source, f"more than {MAX_DIRECTIVES} directives", directive.line, directive.column)
        wrong = complaint(directive.name, directive.args, opened[-1].name, has_block=directive.block is not None)
        if wrong:
            self.problems.append(directive.problem(wrong))
        if directive.name == "include" and len(directive.args) == 1:
            found = self._include(directive)
            self._count += len(found)
            opened[-1].directives.extend(found)
        else:
            opened[-1].directives.append(directive)

    def _include(self, directive: Directive) -> tuple[Directive, ...]:
        """What an include brings; where a file of it cannot be read, the include itself, with the reason."""
        pattern = directive.args[0]
        if pattern not in self._included:
            self._included[pattern] = tuple(self._of_include(directive))
        return self._included[pattern]

    def _of_include(self, directive: Directive) -> Iterator[Directive]:
        for found in directive.source.include(directive.args[0], self.base):
            if isinstance(found, Problem) and BENIGN.search(directive.args[0]):
                continue
            if isinstance(found, Problem):
                yield self._unread(directive, found.message)
            elif found.real in self._stack:
                yield self._unread(directive, f"include {directive.args[0]}: a loop of includes")
            else:
                try:
                    yield from self.directives(found)
                except ReadError as error:
                    self.problems.append(error.problem)
                    why = f"include {directive.args[0]}: {error.problem.message}"
                    yield Directive(
                        "include", directive.args, directive.source, directive.line, directive.column, None, why
                    )

    def _unread(self, directive: Directive, message: str) -> Directive:
        self.problems.append(directive.problem(message))
        return Directive("include", directive.args, directive.source, directive.line, directive.column, None, message)


_Word = tuple[str, int, int, bool]
"""A token's text, line and column, and whether it is the first on its line and stands without quotes."""


def _statements(source: Source) -> Iterator[tuple[list[_Word], str, tuple[int, int]]]:  # noqa: C901  one branch a token
    """The words of each directive, and what ends it: `;`, `{`, `lua` for a block of Lua, or `}` without words."""
    text, at, line, start = source.text, 0, 1, 0
    words: list[_Word] = []
    seen = 0  # the line that the last token ended on
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:  # every character begins some token
            raise AssertionError(text[at])
        kind, token, column = found.lastgroup, found[0], at - start + 1
        at = found.end()
        if kind in {"space", "comment"}:
            line, start = _moved(text, found.start(), at, line, start)
        elif kind == "quote":
            raise _error(source, f"unexpected end of file, expecting {token!r}", line, column)
        elif kind in {"word", "quoted"}:
            words.append((_unescaped(token, quoted=kind == "quoted"), line, column, kind == "word" and line > seen))
            line, start = _moved(text, found.start(), at, line, start)
            if kind == "quoted" and at < len(text) and text[at] not in _AFTER_QUOTE:
                raise _error(source, f'unexpected "{text[at]}" after a quoted text', line, at - start + 1)
            seen = line
        elif kind == "close" and words:
            name = words[0][0]
            raise _error(source, f'unexpected "}}": directive "{name}" is not terminated by ";"', line, column)
        elif kind != "close" and not words:
            raise _error(source, f'unexpected "{token}"', line, column)
        elif kind == "open" and words[0][0].endswith(_LUA_BLOCK):
            end = _lua_end(source, at, line, column)
            yield words, "lua", (line, column)
            line, start = _moved(text, at, end, line, start)
            words, at = [], end
        else:
            yield words, token, (line, column)
            words = []
    if words:
        name, where, column, _ = words[0]
        raise _error(source, f'unexpected end of file, expecting ";" or "}}" after "{name}"', where, column)


def _moved(text: str, begin: int, end: int, line: int, start: int) -> tuple[int, int]:
    """The line after a stretch of text, and the offset at which that line begins."""
    more = text.count("\n", begin, end)
    return (line + more, text.rfind("\n", begin, end) + 1) if more else (line, start)


def _unescaped(token: str, *, quoted: bool) -> str:
    inner = token[1:-1] if quoted else token
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), inner) if "\\" in inner else inner


def _lua_end(source: Source, at: int, line: int, column: int) -> int:
    """Where a block of Lua ends: after the brace that closes it, strings and comments left out."""
    text, depth = source.text, 1
    while found := _LUA.search(text, at):
        at = found.end()
        mark = found[0]
        if mark.endswith("["):
            close = text.find("]" + "=" * mark.count("=") + "]", at)
            if close < 0:
                break
            at = close + 2 + mark.count("=")
        elif mark in {"{", "}"}:
            depth += 1 if mark == "{" else -1
            if not depth:
                return at
    raise _error(source, 'unexpected end of file in a block of Lua, expecting "}"', line, column)


def _refuse_missing_end(source: Source, words: list[_Word], end: str) -> None:
    """A directive that runs on into the next one, since its semicolon is missing (nginx counts arguments)."""
    name, line, column, _ = words[0]
    if end == "{" and name in KNOWN and name not in BLOCKS:
        raise _error(source, f'directive "{name}" is not terminated by ";"', line, column)
    for text, at, where, first in words[1:]:
        if first and text in KNOWN and name not in {"types", "map"}:
            reason = f'directive "{name}" is not terminated by ";": "{text}" follows at {at}:{where}'
            raise _error(source, reason, line, column)


def _refuse_template(source: Source) -> None:
    """Templates that a config is made from are named as such: nobody knows what will stand there."""
    lua = _LUA_BLOCK in source.text
    for found in _TEMPLATE.finditer(source.text):
        line = source.text.count("\n", 0, found.start()) + 1
        column = found.start() - source.text.rfind("\n", 0, found.start())
        before = source.lines[line - 1][: column - 1]
        if "#" not in before and not lua and not (found[0][0] == "%" and "%" in before):
            raise ReadError(source.path, f"a template ({found[0]} at line {line}), not read", line, column)


def placeholder(directive: Directive) -> ReadError | None:
    """Why a directive is one of a template: a placeholder where nginx takes no variable."""
    checked = directive.name in _NO_VARIABLES or directive.name.endswith(("_timeout", "_size", "_buffers"))
    for arg in directive.args if checked or directive.name in _NO_PLACEHOLDER else ():
        found = _PLACEHOLDER.search(arg)
        if found and (checked or found[0][0] == "<"):
            message = f"a template ({found[0]} at line {directive.line}), not read"
            return ReadError(directive.source.path, message, directive.line, directive.column)
    return None


def _error(source: Source, reason: str, line: int, column: int) -> ReadError:
    return ReadError(source.path, reason, line, column)
