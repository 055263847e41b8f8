"""What `wsprobe inspect` says, one format a file, found by this folder as those of traces are by theirs.

A format module says its NAME, which is the file's, the SUFFIXES of its files, and how an inspection is rendered: pure,
and as text that ends with a newline. It is imported when it is used.
"""

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import PurePath
from typing import Protocol, cast

from wsprobe.inspection import Inspection


class Format(Protocol):
    """What a module of this package offers."""

    NAME: str
    SUFFIXES: tuple[str, ...]

    def render(self, inspection: Inspection) -> str:
        """An inspection as text."""


@cache
def formats() -> tuple[str, ...]:
    """The names of all formats, sorted."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")))


@cache
def load(name: str) -> Format:
    """The format of that name; KeyError where there is none."""
    if name not in formats():
        raise KeyError(name)
    return cast("Format", import_module(f"{__name__}.{name}"))


def by_suffix(path: PurePath | str) -> str | None:
    """The name of the format that the end of a file's name stands for, None where it stands for none."""
    name = PurePath(path).name.lower()
    ends = ((suffix, each) for each in formats() for suffix in load(each).SUFFIXES if name.endswith(suffix))
    return max(((len(suffix), each) for suffix, each in ends), default=(0, None))[1]
