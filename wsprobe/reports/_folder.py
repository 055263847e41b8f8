"""The formats of a folder: each file is one, found by its name and imported when it is used.

So nobody pays for another format's imports. What begins with an underscore is shared by formats, and a folder in the
folder holds formats of something else.
"""

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import PurePath
from typing import Protocol, TypeVar, cast


class Named(Protocol):
    """What every format module says: its name, which is the file's, and how the files that it is written to end."""

    NAME: str
    SUFFIXES: tuple[str, ...]


F = TypeVar("F", bound=Named)


class Folder(Mapping[str, F]):
    """The formats by name, sorted; each is imported when it is taken out."""

    def __init__(self, package: str, path: Iterable[str]) -> None:
        self._package = package
        modules = (info.name for info in pkgutil.iter_modules(path) if not info.ispkg)
        self._names = tuple(sorted(name for name in modules if not name.startswith("_")))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> F:
        if name not in self:
            raise KeyError(name)
        return cast("F", import_module(f"{self._package}.{name}"))

    @property
    def suffixes(self) -> list[str]:
        """All ends of names that stand for a format, sorted."""
        return sorted(suffix for module in self.values() for suffix in module.SUFFIXES)

    def by_suffix(self, path: PurePath | str) -> str | None:
        """The name of the format that the end of a file's name stands for, None where it stands for none."""
        file = PurePath(path).name.lower()
        ends = ((len(end), name) for name, each in self.items() for end in each.SUFFIXES if file.endswith(end))
        return max(ends, default=(0, None))[1]
