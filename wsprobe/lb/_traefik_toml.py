"""TOML with places: `tomllib` for the values, and a scan of the same text that finds where each key stands."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.source import ReadError, Source
from wsprobe.parts import Line

Path = tuple[str | int, ...]

_MAX_DOTS = 200

_KEY = re.compile(r"""[ \t]*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([A-Za-z0-9_-]+))[ \t]*""")
_SKIPPED = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(r'"""(?:[^\\]|\\[\s\S])*?"{3,5}|\'\'\'[\s\S]*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_OTHER = re.compile(r"[^\s,\]}#]+(?: [0-9][^\s,\]}#]*)?")
_AT = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)$")


def read(source: Source) -> Setting:
    """A TOML file as a tree; ReadError with line and column where it is none."""
    import tomllib

    places: dict[Path, int] = {}
    for at, written in enumerate(source.lines, 1):
        if written.partition("=")[0].count(".") > _MAX_DOTS:  # for which the standard library takes very long
            raise ReadError(source.path, "a key with too many dots", at)
    try:
        values = tomllib.loads(source.text)
        for path, offset in _Scan(source.text).places():
            places.setdefault(path, offset)
        return _Made(source, places).setting("", values, ())
    except tomllib.TOMLDecodeError as error:
        found = _AT.search(str(error))
        line, column = (int(found[1]), int(found[2])) if found else (len(source.lines), 0)
        raise ReadError(source.path, f"not TOML: {_AT.sub('', str(error))}", line, column) from None
    except ValueError:
        raise ReadError(source.path, "not TOML: a number that is too long") from None
    except RecursionError:
        raise ReadError(source.path, "nested too deep to be a config") from None


class _Made:
    """Makes the tree of values and places."""

    def __init__(self, source: Source, places: dict[Path, int]) -> None:
        self.source = source
        self.places = places
        self.starts = [0, *(found.end() for found in re.finditer("\n", source.text))]

    def setting(self, name: str, value: Any, path: Path) -> Setting:  # noqa: ANN401  what TOML holds
        place = self._place(path)
        if isinstance(value, dict):
            return Setting(
                name, place, fields={key: self.setting(key, each, (*path, key)) for key, each in value.items()}
            )
        if isinstance(value, list):
            items = (self.setting("", each, (*path, index)) for index, each in enumerate(value))
            return Setting(name, place, items=tuple(items))
        text = (
            f"{value:f}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
        )
        return Setting(name, place, text)

    def _place(self, path: Path) -> Line:
        offset = self.places.get(path, 0)
        line = bisect_right(self.starts, offset)
        return self.source.at(line, offset - self.starts[line - 1] + 1)


class _Scan:
    """Finds the keys of a text that `tomllib` has accepted, so that only their places are left to find."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.arrays: dict[Path, int] = {}

    def places(self) -> Iterator[tuple[Path, int]]:
        """Each key's path and where it stands; of an array of tables each table."""
        table: Path = ()
        while self._skip():
            if self.text[self.at] == "[":
                table, start = self._header()
                for size in range(1, len(table) + 1):
                    yield table[:size], start
            else:
                yield from self._pair(table)

    def _skip(self) -> bool:
        found = _SKIPPED.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at < len(self.text)

    def _header(self) -> tuple[Path, int]:
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        names, start = self._dotted()
        self.at += 2 if many else 1
        path = self._within((), names[:-1])
        last: Path = (*path, names[-1])
        if many:
            self.arrays[last] = self.arrays.get(last, -1) + 1
        return (*last, self.arrays[last]) if many else self._within(path, names[-1:]), start

    def _within(self, path: Path, names: list[str]) -> Path:
        """A path of names, where a name of an array of tables means its last one."""
        for name in names:
            path = (*path, name)
            if path in self.arrays:
                path = (*path, self.arrays[path])
        return path

    def _dotted(self) -> tuple[list[str], int]:
        names: list[str] = []
        start = self.at
        while found := _KEY.match(self.text, self.at):
            if not names:
                start = found.end() - len(found[0].lstrip(" \t"))
            names.append(next(name for name in (found[1], found[2], found[3]) if name is not None))
            self.at = found.end()
            if not self.text.startswith(".", self.at):
                break
            self.at += 1
        return names or [""], start

    def _pair(self, table: Path) -> Iterator[tuple[Path, int]]:
        names, start = self._dotted()
        path: Path = (*table, *names)
        for size in range(len(table) + 1, len(path) + 1):
            yield path[:size], start
        self.at = self.text.find("=", self.at) + 1 or len(self.text)
        yield from self._value(path)

    def _value(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._skip()
        opener = self.text[self.at : self.at + 1]
        if opener in {"{", "["}:
            self.at += 1
            yield from self._inside(path, "}" if opener == "{" else "]")
            return
        found = _STRING.match(self.text, self.at) or _OTHER.match(self.text, self.at)
        self.at = found.end() if found else self.at + 1

    def _inside(self, path: Path, closer: str) -> Iterator[tuple[Path, int]]:
        """What stands in an inline table or in an array, the bracket that closes it included."""
        index = 0
        while self._skip() and self.text[self.at] != closer:
            if self.text[self.at] == ",":
                self.at += 1
            elif closer == "}":
                yield from self._pair(path)
            else:
                yield (*path, index), self.at
                yield from self._value((*path, index))
                index += 1
        self.at += 1
