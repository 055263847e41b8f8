"""HAProxy's conditional blocks: `.if`, `.elif`, `.else`, `.endif` (manual, 2.4)."""

import re

from wsprobe.inspection import Problem, Unknown
from wsprobe.lb._haproxy_words import Word
from wsprobe.lb._numbers import natural
from wsprobe.lb.source import ReadError, Source

_MAX_DEPTH = 100  # of .if; HAProxy itself stops at 100
_MAX_CONDITION = 10_000  # characters


class Blocks:
    """The open `.if` blocks: of each whether its lines count, or why nobody can tell."""

    def __init__(self, source: Source, version: tuple[int, ...]) -> None:
        self.unread: list[Unknown] = []
        self.problems: list[Problem] = []
        self._source, self._version = source, version
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
        self.problems.append(Problem(path=self._source.path, line=number, column=1, message=message))

    def _held(self, words: list[Word], number: int) -> bool | str:
        condition = " ".join(words[1:])
        variables = [name for word in words for name in word.variables]
        found = None if variables else decided(condition, self._version)
        if found is not None or not self.open:
            return bool(found)
        why = f"stands under {words[0]} {condition}, which only the running HAProxy decides"
        self.unread.append(Unknown(what=words[0], why=why, place=self._source.at(number)))
        return why


_PREDICATE = re.compile(r"^(\w+)\((.*)\)$", re.DOTALL)


def decided(condition: str, version: tuple[int, ...]) -> bool | None:
    """Whether the condition of a `.if` holds; None where only the running HAProxy knows."""
    condition = condition.strip()
    if "||" in condition or "&&" in condition:
        return None if "(" in re.sub(r"\w+\([^()]*\)", "", condition) else _combined(condition, version)
    if condition.startswith("!"):
        inner = decided(condition[1:], version) if len(condition) < _MAX_CONDITION and condition[1:2] != "!" else None
        return None if inner is None else not inner
    if not condition or (number := natural(condition.removeprefix("-"))) is not None:
        return bool(condition) and number != 0
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
