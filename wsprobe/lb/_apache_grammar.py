"""The grammar of Apache's configs: directives and sections with line and column, includes and conditionals resolved.

What is left is what the server would run: `<IfModule>` and its like are decided, macros used, variables put in. What
only the running server knows stays in the text (`${NAME}`) and is told by `undefined`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from wsprobe.inspection import Problem, Unknown
from wsprobe.lb.source import ReadError, Source
from wsprobe.model import Line

MAX_DEPTH = 50
"""How deep sections, includes and macros may be nested together."""

MAX_NODES = 200_000
"""How many directives a config may have once its macros are used."""

_OPENING = re.compile(r"<\s*([A-Za-z][\w:-]*)\s*(.*)\Z", re.DOTALL)
_CLOSING = re.compile(r"</\s*([A-Za-z][\w:-]*)\s*>?")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_ESCAPED = {'"': re.compile(r'\\(["\\])'), "'": re.compile(r"\\(['\\])"), "": re.compile(r"\\(\\)")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A directive, or a section with what stands in it (`body`); `name` is in lower case, `text` all behind it."""

    name: str
    written: str
    args: tuple[str, ...]
    text: str
    place: Line
    body: "tuple[Node, ...] | None" = None

    @property
    def first(self) -> str:
        """The first argument, empty where there is none."""
        return self.args[0] if self.args else ""

    def inside(self, *names: str) -> Iterator["Node"]:
        """The directives of these names that stand directly in the section."""
        return (node for node in self.body or () if node.name in names)


@dataclass(slots=True)
class Parsed:
    """What was read so far: variables and modules that are known, what could not be read, and all files."""

    version: tuple[int, ...]
    defined: dict[str, str] = field(default_factory=dict)
    macros: dict[str, tuple[tuple[str, ...], tuple[Node, ...]]] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    all_modules: bool = True
    problems: list[Problem] = field(default_factory=list)
    unread: list[Unknown] = field(default_factory=list)
    files: dict[str, None] = field(default_factory=dict)
    nodes: int = 0

    def problem(self, place: Line, message: str) -> None:
        """Something that Apache would not accept."""
        self.problems.append(Problem(path=place.path, line=place.line, column=place.column, message=message))


def undefined(text: str) -> str | None:
    """The name of a variable that the config does not define, None where there is none."""
    found = _VARIABLE.search(text)
    return found[1] if found else None


def words(text: str) -> tuple[str, ...]:
    """The arguments of a directive: separated by spaces, or quoted (ap_getword_conf)."""
    found = []
    rest = text.strip()
    while rest:
        quote = rest[0] if rest[0] in "\"'" else ""
        end = _end_of_quoted(rest, quote) if quote else _end_of_word(rest)
        found.append(_ESCAPED[quote].sub(r"\1", rest[len(quote) : end]))
        rest = rest[end + len(quote) :].lstrip()
    return tuple(found)


def _end_of_word(rest: str) -> int:
    return next((at for at, character in enumerate(rest) if character.isspace()), len(rest))


def _end_of_quoted(rest: str, quote: str) -> int:
    at = 1
    while at < len(rest) and rest[at] != quote:
        at += 2 if rest[at] == "\\" and at + 1 < len(rest) and rest[at + 1] in {quote, "\\"} else 1
    return min(at, len(rest))


@dataclass(slots=True)
class _Open:
    """A section that was begun and is not closed yet."""

    name: str
    written: str
    text: str
    place: Line
    body: list[Node] = field(default_factory=list)


def nodes(source: Source, parsed: Parsed) -> tuple[Node, ...]:
    """The directives and sections of one file as they are written; what is broken is told in `problems`."""
    parsed.files[source.path] = None
    top = _Open("", "", "", source.at(1))
    stack = [top]
    foreign = 0
    for number, text in _logical(source):
        opened = text.count("{") - text.count("}")
        if foreign:
            foreign = max(0, foreign + opened)
            continue
        place = source.at(number, len(source.lines[number - 1]) - len(source.lines[number - 1].lstrip()) + 1)
        if text.endswith("{") and not text.startswith("<") and "${" not in text and "%{" not in text:
            parsed.problem(place, "a block in braces, as nginx has it: not read, and Apache would not start")
            foreign = max(0, opened)
            continue
        _line(text, place, stack, parsed)
    for left in stack[1:]:
        parsed.problem(left.place, f"<{left.written}> is not closed")
    while len(stack) > 1:
        _close(stack)
    return tuple(top.body)


def _logical(source: Source) -> Iterator[tuple[int, str]]:
    """Each line that is not empty and no comment, with its number; a backslash at the end joins the next one."""
    joined: list[str] = []
    begun = 0
    for number, line in enumerate(source.lines, 1):
        text = line.removesuffix("\r")
        begun = begun or number
        if text.endswith("\\"):
            joined.append(text[:-1])
            continue
        whole = "".join([*joined, text]).strip() if joined else text.strip()
        if whole and not whole.startswith("#"):
            yield begun, whole
        joined, begun = [], 0
    whole = "".join(joined).strip()
    if whole and not whole.startswith("#"):
        yield begun, whole


def _line(text: str, place: Line, stack: list[_Open], parsed: Parsed) -> None:
    if closing := _CLOSING.match(text):
        _closed(closing[1], place, stack, parsed)
    elif opening := _OPENING.match(text):
        if not opening[2].rstrip().endswith(">"):
            parsed.problem(place, f"<{opening[1]} has no closing >")
        if len(stack) > MAX_DEPTH:
            raise ReadError(place.path, f"sections nested deeper than {MAX_DEPTH}", place.line, place.column)
        inner = opening[2].rpartition(">")[0] if ">" in opening[2] else opening[2]
        stack.append(_Open(opening[1].lower(), opening[1], inner.strip(), place))
    else:
        name, _, rest = text.partition(" ") if " " in text.expandtabs(1) and "\t" not in text else _split(text)
        stack[-1].body.append(_node(name, rest.strip(), place))


def _split(text: str) -> tuple[str, str, str]:
    parts = text.split(None, 1)
    return parts[0], " ", parts[1] if len(parts) > 1 else ""


def _node(name: str, rest: str, place: Line, body: tuple[Node, ...] | None = None) -> Node:
    return Node(name=name.lower(), written=name, args=words(rest), text=rest, place=place, body=body)


def _closed(name: str, place: Line, stack: list[_Open], parsed: Parsed) -> None:
    names = [each.name for each in stack]
    if names[-1] == name.lower() and len(stack) > 1:
        _close(stack)
        return
    if len(stack) == 1:
        parsed.problem(place, f"</{name}> closes a section that was not opened")
        return
    begun = stack[-1]
    parsed.problem(place, f"expected </{begun.written}>, opened on line {begun.place.line}, but saw </{name}>")
    if name.lower() in names[1:]:
        while stack[-1].name != name.lower():
            _close(stack)
    _close(stack)


def _close(stack: list[_Open]) -> None:
    done = stack.pop()
    stack[-1].body.append(_node(done.written, done.text, done.place, tuple(done.body)))
