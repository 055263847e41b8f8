"""The structure of a Caddyfile: entries with their blocks, snippets and imports put in, sites told apart.

An import is text that stands where the import stood. Depth, loops and the sum of all that is imported are bounded.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from wsprobe.inspection import Problem
from wsprobe.lb._caddy_tokens import MAX_WORDS, Word, words
from wsprobe.lb.source import ReadError, Source
from wsprobe.model import Line

MAX_DEPTH = 100
"""How deep blocks may be nested, and imports."""

_EXPECTED = re.compile(r"^-{10}\n", re.MULTILINE)
_INDEX = re.compile(r"\{args\[(-?\d{1,9})\]\}|\{args\.(\d{1,9})\}")
_LONG = 1000
_RANGE = re.compile(r"\{args\[(\d{0,9}):(\d{0,9})\]\}\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line and the block that it opens: a directive, a matcher, a site with its addresses."""

    words: tuple[Word, ...]
    block: "tuple[Entry, ...] | None" = None
    opened: Word | None = None

    @property
    def name(self) -> str:
        """Its first word."""
        return self.words[0].text if self.words else ""

    @property
    def args(self) -> tuple[Word, ...]:
        """The words after the first."""
        return self.words[1:]

    @property
    def place(self) -> Line:
        """Where it is written; a block without words at its brace."""
        return (self.words[0] if self.words or not self.opened else self.opened).place

    @property
    def inner(self) -> "tuple[Entry, ...]":
        """The entries of its block; none where it has none."""
        return self.block or ()


@dataclass(slots=True)
class Caddyfile:
    """A Caddyfile with all that it imports: the global options, the named routes and the sites, and what failed."""

    options: tuple[Entry, ...] = ()
    sites: list[Entry] = field(default_factory=list)
    named: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    defaulted: list[Word] = field(default_factory=list)


def parse(source: Source) -> Caddyfile:
    """The structure of a Caddyfile; ReadError where its braces or quotes do not fit."""
    return _Parser().run(source)


class _Parser:
    def __init__(self) -> None:
        self.found = Caddyfile()
        self.snippets: dict[str, tuple[Entry, ...]] = {}
        self.room = MAX_WORDS

    def run(self, source: Source) -> Caddyfile:
        waiting: list[Entry] = []
        for each in self._imported(self._top(self._lines(source)), (str(source.real),)):
            if waiting and each.words:
                waiting.append(each)  # a site without braces takes all that follows it
            elif waiting:
                self._take(replace(each, words=waiting.pop().words))  # its brace stands in the next line
            elif each.block is None:
                waiting.append(each)
            else:
                self._take(each)
        if waiting:
            self._take(Entry(waiting[0].words, tuple(waiting[1:]), waiting[0].words[0]))
        return self.found

    def _take(self, entry: Entry) -> None:
        """One block of the top: a snippet, the global options, a named route, a site."""
        name = entry.name
        if len(entry.words) == 1 and name.startswith("(") and name.endswith(")"):
            self.snippets[name[1:-1]] = entry.inner
        elif len(entry.words) == 1 and name.startswith("&(") and name.endswith(")"):
            inner = tuple(self._imported(entry.inner, (name,)))
            self.found.named[name[2:-1]] = replace(entry, block=inner)
        else:
            inner = tuple(self._imported(entry.inner, (entry.place.path,)))
            if entry.words:
                self.found.sites.append(replace(entry, block=inner))
            elif not self.found.sites:
                self.found.options += inner
            else:
                self._problem(entry, "a block without an address: global options come first")

    def _problem(self, entry: Entry, why: str) -> None:
        at = entry.place
        self.found.problems.append(Problem(path=at.path, line=at.line, column=at.column, message=why))

    # Lines to entries.

    def _lines(self, source: Source) -> list[tuple[Word, ...]]:
        self.found.files.append(source.path)
        if _EXPECTED.search(source.text):  # Caddy's own tests have what they expect below such a line
            source = replace(source, text=_EXPECTED.split(source.text)[0], _lines=[])
        read = words(source)
        self.found.defaulted += read.defaulted
        self.room -= sum(len(line) for line in read.lines)
        if self.room < 0:
            raise ReadError(source.path, f"more than {MAX_WORDS} words with all that it imports")
        return list(read.lines)

    def _top(self, lines: list[tuple[Word, ...]]) -> list[Entry]:
        """The blocks of a file; addresses may go on in the next line after a comma."""
        joined: list[tuple[Word, ...]] = []
        for line in lines:
            if joined and joined[-1][-1].text.endswith(",") and not _closes(line):
                joined[-1] += line
            else:
                joined.append(line)
        return _entries(joined)

    # Imports.

    def _imported(self, entries: Sequence[Entry], within: tuple[str, ...]) -> Iterator[Entry]:
        """The entries with what they import in its place; `within` is what is being imported around them."""
        for entry in entries:
            if entry.name == "import" and not entry.words[0].quote:
                yield from self._import(entry, within)
            elif entry.block and entry.words and not _is_snippet(entry):
                yield replace(entry, block=tuple(self._imported(entry.block, within)))
            else:
                yield entry
            if _is_snippet(entry):  # it may be used further on in the same file
                self.snippets.setdefault(entry.name[1:-1], entry.inner)

    def _import(self, entry: Entry, within: tuple[str, ...]) -> Iterator[Entry]:
        if not entry.args:
            self._problem(entry, "import: which snippet or file is missing")
            return
        name, args = entry.args[0].text, entry.args[1:]
        if name in self.snippets:
            yield from self._put_in(entry, self.snippets[name], args, (*within, f"({name})"))
            return
        for each in entry.words[0].source.include(name):
            if isinstance(each, Problem):
                self._problem(entry, each.message)
            else:
                yield from self._file(entry, each, args, within)

    def _file(self, entry: Entry, source: Source, args: tuple[Word, ...], within: tuple[str, ...]) -> Iterator[Entry]:
        try:
            body = tuple(self._top(self._lines(source)))
        except ReadError as error:
            self.found.problems.append(error.problem)
            return
        yield from self._put_in(entry, body, args, (*within, str(source.real)))

    def _put_in(
        self, entry: Entry, body: tuple[Entry, ...], args: tuple[Word, ...], within: tuple[str, ...]
    ) -> Iterator[Entry]:
        if within[-1] in within[:-1] or len(within) > MAX_DEPTH:
            self._problem(entry, f"import {entry.args[0].text}: a loop of imports")
            return
        longest = max((len(arg.text) for arg in args), default=0)
        self.room -= sum(_size(each, len(args), longest) for each in body)
        if self.room < 0:
            raise ReadError(entry.place.path, f"more than {MAX_WORDS} words with all that it imports")
        filled = [each for one in body for each in _filled(one, args, entry.inner)]
        yield from self._imported(filled, within)


def _is_snippet(entry: Entry) -> bool:
    return len(entry.words) == 1 and entry.name.startswith("(") and entry.name.endswith(")")


def _size(entry: Entry, args: int, longest: int) -> int:
    """How many words it can become with so many arguments; a long one, made of arguments, counts for more."""
    own = sum(
        args if _RANGE.match(word.text) else 1 + word.text.count("{args") * longest // _LONG for word in entry.words
    )
    return own + sum(_size(each, args, longest) for each in entry.inner)


def _closes(line: tuple[Word, ...]) -> bool:
    return line[0].text == "}" and not line[0].quote


def _entries(lines: list[tuple[Word, ...]]) -> list[Entry]:
    """Lines as entries, with the lines of a block below the one that opens it."""
    stack: list[tuple[tuple[Word, ...], Word | None, list[Entry]]] = [((), None, [])]
    for line in lines:
        rest = line
        while rest and _closes(rest):
            opened_by, opened, inner = stack.pop()
            if opened is None:
                raise ReadError(rest[0].source.path, "a } that closes nothing", rest[0].line, rest[0].column)
            stack[-1][2].append(Entry(opened_by, tuple(inner), opened))
            rest = rest[1:]
        if not rest:
            continue
        last = rest[-1]
        if last.text == "{" and not last.quote:
            if len(stack) > MAX_DEPTH:
                raise ReadError(last.source.path, f"blocks nested deeper than {MAX_DEPTH}", last.line, last.column)
            if len(rest) == 1 and len(stack) > 1:
                raise _lonely(last)
            stack.append((rest[:-1], last, []))
        else:
            stack[-1][2].append(Entry(rest))
    if (opened := stack[-1][1]) is not None:
        raise ReadError(opened.source.path, "this { is not closed", opened.line, opened.column)
    return stack[0][2]


def _lonely(brace: Word) -> ReadError:
    why = "a { on a line of its own: it belongs at the end of the line before"
    return ReadError(brace.source.path, why, brace.line, brace.column)


def _filled(entry: Entry, args: tuple[Word, ...], block: tuple[Entry, ...]) -> list[Entry]:
    """An entry of a snippet with the arguments of its import put in, and the block of the import for `{block}`."""
    if entry.name == "{block}" and len(entry.words) == 1:
        return list(block)
    if entry.name.startswith("{blocks.") and len(entry.words) == 1:
        wanted = entry.name.removeprefix("{blocks.").removesuffix("}")
        return [each for one in block if one.name == wanted for each in one.inner]
    filled: list[Word] = []
    for word in entry.words:
        if whole := _RANGE.match(word.text):
            begin, end = int(whole[1] or 0), int(whole[2] or len(args))
            filled += [replace(word, text=each.text) for each in args[begin:end]]
        else:
            filled.append(replace(word, text=_INDEX.sub(lambda found: _arg(found, args), word.text)))
    if not filled and entry.opened:
        raise _lonely(entry.opened)
    if not filled:  # a line of nothing but arguments that the import does not give
        return []
    inner = None if entry.block is None else tuple(x for each in entry.block for x in _filled(each, args, block))
    return [Entry(tuple(filled), inner, entry.opened)]


def _arg(found: re.Match[str], args: tuple[Word, ...]) -> str:
    index = int(found[1] or found[2])
    return args[index].text if -len(args) <= index < len(args) else found[0]
