"""HAProxy's configuration as sections of lines (manual, 2.1)."""

import re
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem, Unknown
from wsprobe.lb._haproxy_blocks import Blocks
from wsprobe.lb._haproxy_words import QuoteError, Word, split
from wsprobe.lb.haproxy import SECTIONS
from wsprobe.lb.source import ReadError, Source
from wsprobe.parts import Line

PROXIES = frozenset({"frontend", "backend", "listen"})

_MAX_DEPTH = 100  # of .if; HAProxy itself stops at 100
_MAX_WORDS = 10_000  # in one line; HAProxy itself stops at 64


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
    blocks = Blocks(source, version)
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
    parsed.unread += blocks.unread
    parsed.problems += blocks.problems
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

_TEMPLATE = re.compile(r"\{\{|\{%(?:[-+ ]|$)|<%(?:[-=\s]|$)|@@\w+@@|__[A-Z][A-Z0-9_]*__")
_HOLE = re.compile(r"^<[A-Za-z][\w .-]*>(:\d+)?$|^%[A-Z][A-Z0-9_]+%(:\d+)?$")


def _refuse_template(source: Source, number: int, words: list[Word]) -> None:
    for word in words:
        marker = _TEMPLATE.search(word) or _HOLE.match(word)
        if marker:
            raise ReadError(source.path, f"a template ({marker[0]} at line {number}), not read", number, word.column)
