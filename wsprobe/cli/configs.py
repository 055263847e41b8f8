"""Finds and reads the configs that were named: files, folders that are walked, and stdin.

What cannot be read is a problem in one line, and the rest is read all the same. A file that another config includes
is part of that one and no config of its own.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from wsprobe.frozen import dataclass
from wsprobe.inspection import Problem
from wsprobe.lb import kinds, reader, recognised
from wsprobe.lb.model import Config
from wsprobe.lb.source import MAX_FILE, Files, ReadError, Source, decoded, from_text

STDIN = "<stdin>"

MAX_WALKED = 5000
"""How many files of a folder are looked at."""

MAX_OCTETS = 256 * 1024 * 1024
"""Octets that are looked at in a folder, until it is taken for something else than a folder of configs."""

_NEVER = frozenset(
    ".git .hg .svn .tox .nox .venv venv node_modules __pycache__ .mypy_cache .pytest_cache .ruff_cache".split()  # noqa: SIM905  they read as words
)


@dataclass(slots=True)
class Found:
    """What came of all that was named."""

    configs: list[Config] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    passed_over: int = 0
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How configs are found and read: a kind that overrides recognition, versions of proxies by kind, a wider root."""

    kind: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    exclude: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that was opened, and whether it was named or came up in a folder."""

    source: Source
    named: bool


@dataclass(frozen=True, slots=True)
class _Read:
    """A config and the file that it begins in."""

    config: Config
    source: Source

    def parts(self) -> set[Path]:
        """The other files that it is made of."""
        opened = self.source.files.sources
        return {opened[name].real for name in self.config.files if name in opened} - {self.source.real}


def find(paths: Iterable[str], way: Way) -> Found:
    """The configs of all paths, in the order given; what is wrong with any of them is told and no more."""
    found = Found()
    read: list[_Read] = []
    strange: list[Source] = []
    try:
        for opened in _opened(paths, way, found):
            _read(opened, way, found, read, strange)
    except KeyboardInterrupt:  # what was read so far is told
        found.interrupted = True
    included = _keep(found, read)
    found.problems += [_unrecognised(source) for source in strange if source.real not in included]
    return found


def _read(opened: _Opened, way: Way, found: Found, read: list[_Read], strange: list[Source]) -> None:
    source = opened.source
    try:
        config = _config(source, way)
    except ReadError as error:
        found.problems.append(error.problem)
        found.sources |= source.files.sources  # the reason may quote what is secret in them
        return
    except RecursionError:
        found.problems.append(Problem(path=source.path, line=0, column=0, message="nested too deep to be a config"))
        return
    if config:
        read.append(_Read(config, source))
    elif opened.named:
        strange.append(source)
    else:
        found.passed_over += 1


def _keep(found: Found, read: Sequence[_Read]) -> set[Path]:
    """Keeps the configs that no other one includes; the files that are included."""
    parts = {one.source.real: one.parts() for one in read}
    for one in read:
        if any(one.source.real in included for real, included in parts.items() if real != one.source.real):
            del parts[one.source.real]  # two that include each other: the first goes, the second stays
            continue
        found.configs.append(one.config)
        found.sources |= one.source.files.sources
    return set().union(*parts.values())


def _config(source: Source, way: Way) -> Config | None:
    """A file, read; None where nobody knows it. ReadError where it cannot be read, or may well be misread."""
    kind = way.kind or recognised(source)
    if kind is None:
        return None
    try:
        config = reader(kind).read(source, way.versions.get(kind))
    except ReadError:
        _check_alone(source, kind, way)
        raise
    if config.problems or config.unread:
        _check_alone(source, kind, way)
    return config


def _check_alone(source: Source, kind: str, way: Way) -> None:
    """Refuses a file that is not fully understood as one kind and looks like another one too: two in one, perhaps."""
    other = None if way.kind else recognised(source, but=kind)
    if other:
        why = f"looks like {kind} and {other} at once, not read: --as KIND says what it is"
        raise ReadError(source.path, why)


def _unrecognised(source: Source) -> Problem:
    why = f"not recognised as a config of {', '.join(kinds())}: --as KIND says what it is"
    return Problem(path=source.path, line=0, column=0, message=why)


# Files.


def _opened(paths: Iterable[str], way: Way, found: Found) -> Iterator[_Opened]:
    """Each file once, in the order given."""
    seen: set[Path] = set()
    for path in paths:
        folder = path != "-" and Path(path).is_dir()
        for file in _Walk(Path(path), way, found).files() if folder else [Path(path)]:
            try:
                source = _stdin(way) if path == "-" else _open(file, Path(path) if folder else file.parent, way)
            except ReadError as error:
                if folder and not file.is_symlink():
                    found.passed_over += 1  # binary, or longer than any config
                else:
                    found.problems.append(error.problem)
                continue
            if source.real not in seen:
                seen.add(source.real)
                yield _Opened(source, named=not folder)


def _open(file: Path, folder: Path, way: Way) -> Source:
    return Files(_root(folder, way)).open(file)


def _root(folder: Path, way: Way) -> Path:
    """What includes are opened below: a root widens it, and is none of a config that lies elsewhere."""
    own = folder.resolve()
    wider = way.root.resolve() if way.root else own
    return wider if own.is_relative_to(wider) else own


def _stdin(way: Way) -> Source:
    octets = sys.stdin.buffer.read(MAX_FILE + 1)
    if len(octets) > MAX_FILE:
        raise ReadError(STDIN, f"longer than {MAX_FILE >> 20} MiB, which no config is")
    return from_text(decoded(octets, STDIN), STDIN, way.root)


class _Walk:
    """The files of a folder, sorted, within bounds; nothing is opened here."""

    def __init__(self, folder: Path, way: Way, found: Found) -> None:
        self._folder = folder
        self._root = _root(folder, way)
        self._exclude = way.exclude
        self._found = found
        self._files = 0
        self._octets = 0

    def files(self) -> Iterator[Path]:
        """What may be a config."""
        waiting: list[tuple[Path, tuple[Path, ...]]] = [(self._folder, (self._folder.resolve(),))]
        seen = {self._folder.resolve()}
        while waiting:
            folder, above = waiting.pop()
            inner: list[tuple[Path, tuple[Path, ...]]] = []
            for path in self._entries(folder):
                if path.is_dir():
                    real = path.resolve()
                    if path.is_symlink() and real in above:
                        self._tell(path, "a loop of symbolic links, not followed")
                    elif real not in seen and real.is_relative_to(self._root):
                        seen.add(real)
                        inner.append((path, (*above, real)))
                elif self._may_be_read(path):
                    if self._full():
                        return
                    yield path
            waiting += reversed(inner)

    def _entries(self, folder: Path) -> list[Path]:
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208  names, to be sorted as text
        except OSError as error:
            self._tell(folder, f"cannot be read: {error.strerror}")
            return []
        return [folder / name for name in names if name not in _NEVER and not self._excluded(folder / name)]

    def _excluded(self, path: Path) -> bool:
        if not self._exclude:
            return False
        from fnmatch import fnmatch

        beneath = path.relative_to(self._folder).as_posix()
        return any(fnmatch(text, pattern) for pattern in self._exclude for text in (beneath, str(path), path.name))

    def _may_be_read(self, path: Path) -> bool:
        try:
            there = path.stat()
        except OSError as error:  # a dangling link, or one that leads to itself
            if error.errno == errno.ELOOP:
                self._tell(path, "a loop of symbolic links")
            return False
        self._octets += min(there.st_size, MAX_FILE)
        return stat.S_ISREG(there.st_mode) and path.resolve().is_relative_to(self._root)

    def _full(self) -> bool:
        self._files += 1
        if self._files > MAX_WALKED:
            self._tell(self._folder, f"more than {MAX_WALKED} files: name the folder of the configs")
        elif self._octets > MAX_OCTETS:
            self._tell(self._folder, f"more than {MAX_OCTETS >> 20} MiB: name the folder of the configs")
        else:
            return False
        return True

    def _tell(self, path: Path, why: str) -> None:
        self._found.problems.append(Problem(path=str(path), line=0, column=0, message=why))
