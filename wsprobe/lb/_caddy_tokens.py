"""The words of a Caddyfile, each with its line and column: quotes, backticks, heredocs, comments, joined lines.

Environment variables are replaced before anything else, as Caddy does it: `{$NAME:default}` by its default, since
nobody knows the environment of the proxy here. `{$NAME}` stays, and whoever meets it says that it is not known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wsprobe.lb.source import ReadError, Source
from wsprobe.model import Line

MAX_WORDS = 500_000
"""How many words a Caddyfile and all that it imports may have."""

_DEFAULTED = re.compile(r"\{\$([^\s{}:]+):([^{}\n]*)\}")
_MARKER = re.compile(r"[A-Za-z0-9_-]+\Z")
_TEMPLATE = re.compile(r"\{\{|\{%")
_SHORT: Mapping[str, str] = {
    "dir": "http.request.uri.path.dir",
    "file": "http.request.uri.path.file",
    "host": "http.request.host",
    "hostport": "http.request.hostport",
    "port": "http.request.port",
    "method": "http.request.method",
    "path": "http.request.uri.path",
    "query": "http.request.uri.query",
    "remote": "http.request.remote",
    "remote_host": "http.request.remote.host",
    "remote_port": "http.request.remote.port",
    "scheme": "http.request.scheme",
    "uri": "http.request.uri",
    "upstream_hostport": "http.reverse_proxy.upstream.hostport",
    "client_ip": "http.vars.client_ip",
    "orig_method": "http.request.orig_method",
    "orig_uri": "http.request.orig_uri",
    "orig_path": "http.request.orig_uri.path",
    "orig_query": "http.request.orig_uri.query",
    "?query": "http.request.uri.prefixed_query",
    "%uri": "http.request.uri_escaped",
    "%path": "http.request.uri.path_escaped",
    "%query": "http.request.uri.query_escaped",
    "tls_version": "http.request.tls.version",
}
_SHORT_FAMILIES: Mapping[str, str] = {
    "header.": "http.request.header.",
    "cookie.": "http.request.cookie.",
    "labels.": "http.request.host.labels.",
    "path.": "http.request.uri.path.",
    "query.": "http.request.uri.query.",
    "re.": "http.regexp.",
    "vars.": "http.vars.",
    "rp.": "http.reverse_proxy.",
    "err.": "http.error.",
    "file_match.": "http.matchers.file.",
}
"""What a Caddyfile may write for short in placeholders."""

_PLACEHOLDER = re.compile(r"\{([^{}\s]+)\}")
_ENDS_WORD = re.compile(r"[\s\\]")


@dataclass(frozen=True, slots=True)
class Word:
    """One word, without its quotes. `quote` is the character that it was quoted with, `<` of a heredoc."""

    text: str
    source: Source
    line: int
    column: int
    quote: str = ""

    @property
    def place(self) -> Line:
        """Where it is written."""
        return self.source.at(self.line, self.column)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one file, line by line; a line that ends in a backslash goes on in the next."""

    lines: tuple[tuple[Word, ...], ...]
    defaulted: tuple[Word, ...]


def words(source: Source) -> Words:
    """The words of a file; ReadError where a quote or a heredoc has no end, or the file is a template."""
    return _Lexer(source).run()


class _Lexer:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text, self.shifts, self.defaulted = _with_defaults(source)
        self.at = 0
        self.line = 1
        self.begin = 0
        self.lines: list[tuple[Word, ...]] = []
        self.current: list[Word] = []

    def run(self) -> Words:
        while self.at < len(self.text):
            self._step(self.text[self.at])
        self._end_line()
        return Words(tuple(self.lines), self.defaulted)

    def _step(self, char: str) -> None:
        if char == "\n":
            self._end_line()
            self._newline(self.at)
            self.at += 1
        elif char == "\\" and self.text.startswith("\n", self.at + 1):
            self._newline(self.at + 1)
            self.at += 2
        elif char.isspace():
            self.at += 1
        elif char == "#":
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
        elif char in '"`':
            self._quoted(char)
        else:
            self._bare()

    def _newline(self, at: int) -> None:
        self.line += 1
        self.begin = at + 1

    def _end_line(self) -> None:
        if self.current:
            self.lines.append(tuple(self.current))
            self.current = []

    def _column(self) -> int:
        column = self.at - self.begin + 1
        return max(1, column - sum(shift for after, shift in self.shifts.get(self.line, ()) if column > after))

    def _word(self, text: str, line: int, column: int, quote: str = "") -> None:
        self.current.append(Word(full(text), self.source, line, column, quote))

    def _quoted(self, quote: str) -> None:
        line, column, begin = self.line, self._column(), self.at + 1
        end = begin
        while (end := self.text.find(quote, end)) > 0 and quote == '"' and _escaped(self.text, end, begin):
            end += 1
        if end < 0:
            raise ReadError(self.source.path, f"expecting {quote} at the end of what is quoted here", line, column)
        text = self.text[begin:end]
        self._word(text.replace('\\"', '"') if quote == '"' else text, line, column, quote)
        if breaks := text.count("\n"):
            self.line += breaks
            self.begin = begin + text.rindex("\n") + 1
        self.at = end + 1

    def _bare(self) -> None:
        line, column, begin = self.line, self._column(), self.at
        if heredoc := re.compile(r"<<([^\s<][^\s]*)\r?\n").match(self.text, begin):
            self._heredoc(heredoc[1], heredoc.end(), line, column)
            return
        while self.at < len(self.text):
            found = _ENDS_WORD.search(self.text, self.at)
            self.at = found.start() if found else len(self.text)
            if not found or found[0] != "\\" or self.text.startswith("\n", self.at + 1):
                break
            self.at += 1
        text = self.text[begin : self.at]
        if found_template := _TEMPLATE.search(text):
            why = f"a template ({found_template[0]} at line {line}), not read"
            raise ReadError(self.source.path, why, line, column + found_template.start())
        self._word(text.removeprefix("\\") if text.startswith("\\<<") else text, line, column)

    def _heredoc(self, marker: str, begin: int, line: int, column: int) -> None:
        if not _MARKER.match(marker):
            raise ReadError(self.source.path, "a heredoc's marker has letters, digits, - and _ only", line, column)
        end = re.compile(rf"^([ \t]*){re.escape(marker)}", re.MULTILINE).search(self.text, begin)
        if not end:
            raise ReadError(self.source.path, f"the heredoc <<{marker} has no end", line, column)
        body = self.text[begin : end.start()]
        kept = [each.removeprefix(end[1]) for each in body.split("\n")[:-1]]
        self._word("\n".join(kept), line, column, "<")
        self.line += body.count("\n") + 1
        self.begin = end.start()
        self.at = end.end()


def full(text: str) -> str:
    """A text with its placeholders in full, as Caddy's JSON has them."""
    return _PLACEHOLDER.sub(_in_full, text) if "{" in text else text


def _in_full(found: re.Match[str]) -> str:
    name = found[1]
    if name in _SHORT:
        return f"{{{_SHORT[name]}}}"
    long = next(
        (long + name.removeprefix(short) for short, long in _SHORT_FAMILIES.items() if name.startswith(short)), name
    )
    return f"{{{long}}}"


def _escaped(text: str, at: int, begin: int) -> bool:
    """Whether an odd number of backslashes stands before a quote."""
    first = at
    while first > begin and text[first - 1] == "\\":
        first -= 1
    return (at - first) % 2 == 1


def _with_defaults(source: Source) -> tuple[str, dict[int, list[tuple[int, int]]], tuple[Word, ...]]:
    """The text with all defaults put in; by line, after which column it became how much longer; and each of them."""
    shifts: dict[int, list[tuple[int, int]]] = {}
    found: list[Word] = []
    if "{$" not in source.text:
        return source.text, shifts, ()
    lines = source.text.split("\n")
    for number, text in enumerate(lines, 1):
        moved = 0
        for each in _DEFAULTED.finditer(text):
            found.append(Word(each[1], source, number, each.start() + 1))
            longer = len(each[2]) - len(each[0])
            shifts.setdefault(number, []).append((each.start() + 1 + moved, longer))
            moved += longer
        lines[number - 1] = _DEFAULTED.sub(r"\2", text)
    return "\n".join(lines), shifts, tuple(found)
