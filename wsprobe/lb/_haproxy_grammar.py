"""The grammar of HAProxy's configuration: words with quotes and escapes, conditional blocks, sections.

The configuration manual, 2.2 to 2.4. Every word knows its column, and what an environment variable makes unknown.
"""

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Self

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem, Unknown
from wsprobe.lb.source import ReadError, Source
from wsprobe.parts import Line

SECTIONS = frozenset(
    {
        *{"global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "resolvers", "mailers"},
        *{"program", "cache", "http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "traces"},
        *{"crt-store", "acme"},
    }
)
"""The keywords that begin a section."""

PROXIES = frozenset({"frontend", "backend", "listen"})

_MAX_DEPTH = 100  # of .if; HAProxy itself stops at 100
_MAX_WORDS = 10_000  # in one line; HAProxy itself stops at 64


class Word(str):
    """One word of a line: its text without quotes and escapes, where it begins, and how it was written.

    `variables` are the environment variables in it whose value nobody knows here; they stand in the text by name.
    """

    __slots__ = ("column", "quoted", "variables")
    column: int
    quoted: bool
    variables: tuple[str, ...]

    def __new__(cls, text: str, column: int = 0, *, quoted: bool = False, variables: tuple[str, ...] = ()) -> Self:
        """A word of that text."""
        word = super().__new__(cls, text)
        word.column, word.quoted, word.variables = column, quoted, variables
        return word


@dataclass(frozen=True, slots=True)
class Directive:
    """One line of a section; `doubt` is why nobody can tell whether it counts (it stands in an undecided `.if`)."""

    words: tuple[Word, ...]
    place: Line
    doubt: str = ""

    @property
    def name(self) -> str:
        """Its keyword, in lower case; `no` and `default` before an option are left out."""
        first = self.words[0].lower()
        return self.words[1].lower() if first in {"no", "default"} and len(self.words) > 1 else first


@dataclass(slots=True)
class Section:
    """One section: its kind, its name, the defaults section that it names, and its lines."""

    kind: str
    name: str
    base: str | None
    place: Line
    lines: list[Directive] = field(default_factory=list)


@dataclass(slots=True)
class Parsed:
    """A file, cut into sections, and what of it could not be."""

    sections: list[Section] = field(default_factory=list)
    unread: list[Unknown] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def parse(source: Source, version: tuple[int, ...]) -> Parsed:
    """The sections of a file; ReadError where it is a template."""
    parsed = Parsed()
    blocks = _Blocks(source, version, parsed)
    environment: dict[str, str] = {}
    for number, line in enumerate(source.lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = _line(source, number, environment, parsed)
        if not words:
            continue
        _refuse_template(source, number, words)
        if words[0].startswith("."):
            blocks.take(words, number)
        elif blocks.open:
            directive = Directive(tuple(words), source.at(number, words[0].column), blocks.doubt)
            _place(directive, parsed)
            _set_environment(directive, parsed, environment)
    blocks.close()
    if source.text and not source.text.endswith("\n") and source.lines[-1].strip():
        last = len(source.lines)
        why = "the last line does not end with a line feed: HAProxy 2.3 and later refuse the file"
        if version >= (2, 3):
            parsed.problems.append(Problem(path=source.path, line=last, column=1, message=why))
    return parsed


def _line(source: Source, number: int, environment: dict[str, str], parsed: Parsed) -> list[Word]:
    try:
        return list(split(source.lines[number - 1].rstrip("\r"), environment))
    except QuoteError as error:
        problem = Problem(path=source.path, line=number, column=error.column, message=str(error))
        parsed.problems.append(problem)
        return []


def _place(directive: Directive, parsed: Parsed) -> None:
    """Begins a section, or adds a line to the last one."""
    words, place = directive.words, directive.place
    keyword = words[0]
    if keyword in SECTIONS:
        name = words[1] if len(words) > 1 and keyword != "global" else ""
        base = next((words[at + 1] for at in range(1, len(words) - 1) if words[at] == "from"), None)
        parsed.sections.append(Section(keyword, "" if name == "from" else name, base, place))
        if directive.doubt:
            parsed.unread.append(Unknown(what=f"whether there is {keyword} {name}", why=directive.doubt, place=place))
    elif parsed.sections:
        parsed.sections[-1].lines.append(directive)
    else:
        why = "stands before the first section: HAProxy refuses the file"
        parsed.problems.append(
            Problem(path=place.path, line=place.line, column=place.column, message=f"{keyword} {why}")
        )


def _set_environment(directive: Directive, parsed: Parsed, environment: dict[str, str]) -> None:
    """What `setenv` in the global section makes known to the lines after it."""
    words = directive.words
    if words[0] == "setenv" and len(words) > 2 and not directive.doubt and not words[2].variables:
        if parsed.sections and parsed.sections[-1].kind == "global":
            environment[words[1]] = words[2]
    elif words[0] in {"unsetenv", "resetenv", "presetenv"}:
        for name in words[1:]:
            environment.pop(name, None)


# Templates: markers that no HAProxy configuration has outside of quotes.

_TEMPLATE = re.compile(r"\{\{|\{%(?:[-+ ]|$)|<%|@@\w+@@|__[A-Z][A-Z0-9_]*__")
_HOLE = re.compile(r"^<[A-Za-z][\w .-]*>(:\d+)?$|^%[A-Z][A-Z0-9_]+%(:\d+)?$")


def _refuse_template(source: Source, number: int, words: list[Word]) -> None:
    for word in words:
        marker = _TEMPLATE.search(word) or _HOLE.match(word)
        if marker:
            raise ReadError(source.path, f"a template ({marker[0]} at line {number}), not read", number, word.column)


# Words.


class QuoteError(Exception):
    """A quote or brace that is not closed; the column where it was opened."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", " ": " ", "\\": "\\", "#": "#", "'": "'", '"': '"', "$": "$"}
_PLAIN = re.compile(r"""[^\s\\'"#$]+""")
_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>\.?[A-Za-z_]\w*)(?P<list>\[\*\])?(?:-(?P<default>[^}]*))?\}|(?P<bare>\.?[A-Za-z_]\w*))"
)
_HEX = re.compile(r"x([0-9A-Fa-f]{2})")


def split(line: str, environment: dict[str, str]) -> Iterator[Word]:
    """The words of a line, up to a comment; QuoteError where a quote is not closed."""
    at = 0
    for _ in range(_MAX_WORDS):
        while at < len(line) and line[at] in " \t":
            at += 1
        if at >= len(line) or line[at] == "#":
            return
        word, at = _word(line, at, environment)
        yield word


def _word(line: str, start: int, environment: dict[str, str]) -> tuple[Word, int]:
    """The word that begins there, and where it ends."""
    parts: list[str] = []
    unknown: list[str] = []
    at, quote, opened, quoted = start, "", start, False
    while at < len(line):
        char = line[at]
        if not quote and (char in " \t" or char == "#"):
            break
        if char == quote:
            quote, at = "", at + 1
        elif not quote and char in "'\"":
            quote, opened, quoted, at = char, at, True, at + 1
        elif char == "\\" and quote != "'":
            text, at = _escaped(line, at)
            parts.append(text)
        elif char == "$" and quote == '"' and (found := _VARIABLE.match(line, at)):
            parts.append(_expanded(found, environment, unknown))
            at = found.end()
        elif not quote and (plain := _PLAIN.match(line, at)):
            parts.append(plain[0])
            at = plain.end()
        else:
            parts.append(char)
            at += 1
    if quote:
        raise QuoteError("the quote is not closed", opened + 1)
    return Word("".join(parts), start + 1, quoted=quoted, variables=tuple(unknown)), at


def _escaped(line: str, at: int) -> tuple[str, int]:
    """What a backslash and what follows it stand for; a backslash before any other character is one."""
    following = line[at + 1 : at + 2]
    if following in _ESCAPES and following:
        return _ESCAPES[following], at + 2
    if found := _HEX.match(line, at + 1):
        return chr(int(found[1], 16)), found.end()
    return "\\", at + 1


def _expanded(found: re.Match[str], environment: dict[str, str], unknown: list[str]) -> str:
    name = found["braced"] or found["bare"]
    if name in environment:
        return environment[name]
    unknown.append(name)
    return found[0]


# Conditional blocks (2.4).


class _Blocks:
    """The open `.if` blocks: of each whether its lines count, or why nobody can tell."""

    def __init__(self, source: Source, version: tuple[int, ...], parsed: Parsed) -> None:
        self._source, self._version, self._parsed = source, version, parsed
        self._stack: list[tuple[int, bool | str, bool | str]] = []  # line, this branch, whether one before it was taken

    @property
    def open(self) -> bool:
        """Whether the lines here count, or may."""
        return all(branch is not False for _, branch, _ in self._stack)

    @property
    def doubt(self) -> str:
        """Why nobody can tell whether they do."""
        return next((branch for _, branch, _ in self._stack if isinstance(branch, str)), "")

    def take(self, words: list[Word], number: int) -> None:
        """One directive that begins with a dot."""
        keyword = words[0]
        if keyword == ".if":
            if len(self._stack) >= _MAX_DEPTH:
                raise ReadError(self._source.path, f"more than {_MAX_DEPTH} .if inside each other", number, 1)
            held = self._held(words, number)
            self._stack.append((number, held, held))
        elif keyword in {".elif", ".else", ".endif"} and not self._stack:
            self._problem(number, f"{keyword} without .if")
        elif keyword in {".elif", ".else"}:
            self._next(words, number)
        elif keyword == ".endif":
            self._stack.pop()
        elif keyword not in {".diag", ".notice", ".warning", ".alert"}:
            self._problem(number, f"{keyword} is no directive of HAProxy")

    def _next(self, words: list[Word], number: int) -> None:
        opened, _, taken = self._stack.pop()
        held: bool | str = self._held(words, number) if words[0] == ".elif" else True
        if taken is True:
            held = False
        elif isinstance(taken, str) and held is not False:
            held = taken
        after = True if taken is True or held is True else taken or held
        self._stack.append((opened, held, after))

    def close(self) -> None:
        """The end of the file."""
        for number, _, _ in self._stack:
            self._problem(number, ".if without .endif")

    def _problem(self, number: int, message: str) -> None:
        self._parsed.problems.append(Problem(path=self._source.path, line=number, column=1, message=message))

    def _held(self, words: list[Word], number: int) -> bool | str:
        condition = " ".join(words[1:])
        variables = [name for word in words for name in word.variables]
        found = None if variables else decided(condition, self._version)
        if found is not None or not self.open:
            return bool(found)
        why = f"stands under {words[0]} {condition}, which only the running HAProxy decides"
        self._parsed.unread.append(Unknown(what=words[0], why=why, place=self._source.at(number)))
        return why


_PREDICATE = re.compile(r"^(\w+)\((.*)\)$", re.DOTALL)


def decided(condition: str, version: tuple[int, ...]) -> bool | None:
    """Whether the condition of a `.if` holds; None where only the running HAProxy knows."""
    condition = condition.strip()
    if "||" in condition or "&&" in condition:
        return None if "(" in re.sub(r"\w+\([^()]*\)", "", condition) else _combined(condition, version)
    if condition.startswith("!"):
        inner = decided(condition[1:], version) if len(condition) < _MAX_WORDS and condition[1:2] != "!" else None
        return None if inner is None else not inner
    if condition.lstrip("-").isdigit() or not condition:
        return bool(condition) and int(condition) != 0
    found = _PREDICATE.match(condition)
    return _predicate(found[1], found[2], version) if found else None


def _combined(condition: str, version: tuple[int, ...]) -> bool | None:
    """`&&` binds stronger than `||`."""
    any_unknown = False
    for side in condition.split("||"):
        held = [decided(part, version) for part in side.split("&&")]
        if all(one is True for one in held):
            return True
        any_unknown = any_unknown or False not in held
    return None if any_unknown else False


def _predicate(name: str, arguments: str, version: tuple[int, ...]) -> bool | None:
    parts = [part.strip().strip("\"'") for part in arguments.split(",")]
    if name in {"version_atleast", "version_before"}:
        wanted = version_of(parts[0])
        width = max(len(wanted), len(version))
        atleast = version + (0,) * (width - len(version)) >= wanted + (0,) * (width - len(wanted))
        return atleast is (name == "version_atleast")
    if name in {"streq", "strneq"} and len(parts) == 2:
        return (parts[0] == parts[1]) is (name == "streq")
    return None


def version_of(text: str) -> tuple[int, ...]:
    """A version as numbers: `2.4-dev19` is (2, 4)."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("-")[0])[:4])
