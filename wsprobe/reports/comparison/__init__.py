"""What `wsprobe diff` says, one format a file, found by this folder as those of traces are by theirs.

A format module says its NAME, which is the file's, its SUFFIX, and how a comparison is rendered: pure, and as text
that ends with a newline. It is imported when it is used.
"""

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import PurePath
from typing import Protocol, cast

from wsprobe.comparison import Comparison


class Format(Protocol):
    """What a module of this package offers."""

    NAME: str
    SUFFIX: str

    def render(self, comparison: Comparison) -> str:
        """A comparison as text."""


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
    """The name of the format that a file's suffix stands for, None where it stands for none."""
    suffix = PurePath(path).suffix.lower()
    return next((name for name in formats() if suffix == load(name).SUFFIX), None)
