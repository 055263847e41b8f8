"""Config files as readers get them: text, places in it, and the files that it includes. Bounded, and never executed.

A file is opened only where a config names it by path below the root; everything else is a `Problem` in one line.
"""

import fnmatch
import glob
import os
import stat
from collections.abc import Iterator
from dataclasses import field
from itertools import takewhile
from pathlib import Path

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem
from wsprobe.parts import Line

MAX_FILE = 16 * 1024 * 1024
"""Octets of the longest file that is read."""

MAX_FILES = 2000
"""How many files one run opens at most."""

MAX_LOOKED = 200_000
"""How many names of files the patterns of one include are held against."""

MAX_TOTAL = 64 * 1024 * 1024
"""Octets that one run reads at most."""


class ReadError(Exception):
    """A config that cannot be read: what, where, and why; raised by readers for a whole file only."""

    def __init__(self, path: str, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.problem = Problem(path=path, line=line, column=column, message=message)


@dataclass(slots=True)
class Files:
    """Opens files below a root, within the bounds of one run."""

    root: Path
    opened: set[Path] = field(default_factory=set)
    octets: int = 0
    sources: dict[str, "Source"] = field(default_factory=dict)
    """What was opened, by the name that it is shown under."""

    def open(self, path: Path, shown: str | None = None) -> "Source":
        """A file as text; ReadError where it is outside the root, too long, binary, or not there."""
        shown = shown or _shown(path)
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # a loop of links is an OSError from Python 3.13 on
            reason = getattr(error, "strerror", None) or "a loop of symbolic links"
            raise ReadError(shown, f"cannot be opened: {reason}") from None
        if not real.is_relative_to(self.root):
            raise ReadError(shown, f"lies outside of {_shown(self.root)}; --root widens what may be opened")
        if len(self.opened) >= MAX_FILES:
            raise ReadError(shown, f"not opened: more than {MAX_FILES} files")
        source = Source(shown, self._text(real, shown), self, real)
        self.sources[shown] = source
        return source

    def _text(self, real: Path, shown: str) -> str:
        self.opened.add(real)
        try:
            # Non-blocking: opening a named pipe would otherwise wait for a writer.
            with os.fdopen(os.open(real, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ReadError(shown, "not a regular file")
                octets = file.read(MAX_FILE + 1) or b""  # None where a file of the system has nothing to read yet
        except OSError as error:
            raise ReadError(shown, f"cannot be read: {error.strerror}") from None
        self.octets += len(octets)
        if len(octets) > MAX_FILE:
            raise ReadError(shown, f"longer than {MAX_FILE >> 20} MiB, which no config is")
        if self.octets > MAX_TOTAL:
            raise ReadError(shown, f"not read: all files together have more than {MAX_TOTAL >> 20} MiB")
        return decoded(octets, shown)

    def matching(self, pattern: str, base: Path, shown: str) -> Iterator["Source | Problem"]:
        """The files of an include: by path, or by pattern in the order of their names; what cannot be opened is told.

        `shown` is the file that includes. A pattern that matches nothing is no problem, a path is.
        """
        try:
            paths = self._matches(base / pattern) if glob.has_magic(pattern) else [base / pattern]
        except ReadError as error:
            yield Problem(path=shown, line=0, column=0, message=f"include {pattern}: {error.problem.message}")
            return
        for each in paths:
            try:
                yield self.open(each)
            except ReadError as error:
                yield Problem(path=shown, line=0, column=0, message=f"include {each}: {error.problem.message}")

    def _matches(self, pattern: Path) -> list[Path]:
        """What a pattern names, in the order of names, and of folders outside of the root the folders themselves."""
        literal = [*takewhile(lambda part: not glob.has_magic(part), pattern.parts)]
        found, outside = [Path(*literal)], list[Path]()
        if not self._has(found[0]):
            raise ReadError(str(pattern), f"lies outside of {_shown(self.root)}; --root widens what may be opened")
        looked = 0
        for part in pattern.parts[len(literal) :]:
            outside += (folder for folder in found if not self._has(folder))
            names = [(folder, name) for folder in found if self._has(folder) for name in _names(folder, part)]
            looked += len(names)
            if looked > MAX_LOOKED:
                raise ReadError(str(pattern), f"more than {MAX_LOOKED} names to look at")
            found = [folder / name for folder, name in names]
        return [*sorted(found, key=str)[:MAX_FILES], *outside[:1]]

    def _has(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self.root)


def _names(folder: Path, part: str) -> list[str]:
    """The names in a folder that a part of a pattern fits; hidden ones only where it begins with a dot as well."""
    if not glob.has_magic(part):
        return [part] if os.path.lexists(folder / part) else []
    try:
        names = os.listdir(folder)  # noqa: PTH208  only names are wanted
    except OSError:  # no folder, or one that may not be read: glob(3) passes over it too
        return []
    return [name for name in fnmatch.filter(names, part) if part.startswith(".") or not name.startswith(".")]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One config file: as what it is shown, its text, and what opens the files that it includes."""

    path: str
    text: str
    files: Files
    real: Path
    _lines: list[str] = field(default_factory=list, repr=False)
    _stripped: dict[int, tuple[str, int]] = field(default_factory=dict, repr=False)

    @property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends."""
        if not self._lines:
            self._lines.extend(self.text.split("\n"))
        return self._lines

    def at(self, line: int, column: int = 0, length: int = 0) -> Line:
        """A place; without a column, the first character of the line that is no space."""
        text, indent = self._stripped.get(line) or self._strip(line)
        return Line(path=self.path, line=line, text=text, column=column or indent + 1, length=length, indent=indent)

    def _strip(self, line: int) -> tuple[str, int]:
        """A line without white space, and how much stood before; once, for a whole config may stand on one line."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        self._stripped[line] = found = text.strip(), len(text) - len(text.lstrip())
        return found

    def include(self, pattern: str, base: Path | None = None) -> Iterator["Source | Problem"]:
        """The files that this one includes by that path or pattern, relative to `base` (default: its own folder)."""
        return self.files.matching(pattern, base or self.real.parent, self.path)


def decoded(octets: bytes, shown: str) -> str:
    """A config as text, line ends as LF; ReadError where it is binary or not UTF-8."""
    if b"\0" in octets[:65536]:
        raise ReadError(shown, "a binary file, not a config")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        column = error.start - (octets.rfind(b"\n", 0, error.start) + 1) + 1
        raise ReadError(shown, "not text in UTF-8", line, column) from None
    return text.replace("\r\n", "\n")


def from_text(text: str, path: str = "<stdin>", root: Path | None = None) -> Source:
    """A config that stands in no file; what it includes is looked for below `root` (default: this folder)."""
    base = (root or Path.cwd()).resolve()
    source = Source(path, text, Files(base), base / "stdin")
    source.files.sources[path] = source
    return source


def _shown(path: Path) -> str:
    """A path as people write it: relative where it lies below this folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
