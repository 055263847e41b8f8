"""Reports: one format a file, found by its folder. `render` takes a report and returns text that ends with a newline.

A format module says its NAME, which is the file's, its SUFFIX, and how one report and the reports of several
connections are rendered. It is imported when it is used, so that nobody pays for another format's imports.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from wsprobe.model import Report, Reports


class Format(Protocol):
    """What a module of this package offers."""

    NAME: str
    SUFFIX: str

    def render(self, report: "Report") -> str:
        """One report as text."""

    def render_all(self, reports: "Reports") -> str:
        """The reports of several connections as text: their summary, then each kind of problem."""


class _Formats(Mapping[str, Format]):
    """The formats by name, sorted; each is imported when it is taken out."""

    def __iter__(self) -> Iterator[str]:
        modules = (info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg)
        return iter(sorted(name for name in modules if not name.startswith("_")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)

    def __getitem__(self, name: str) -> Format:
        if name not in self:
            raise KeyError(name)
        return cast("Format", import_module(f"{__name__}.{name}"))


def formats() -> Mapping[str, Format]:
    """All formats by name, as the command line offers them."""
    return _Formats()


def by_suffix(path: PurePath | str) -> str | None:
    """The name of the format that the end of a file's name stands for, None where it stands for none."""
    file = PurePath(path).name.lower()
    ends = ((len(module.SUFFIX), name) for name, module in formats().items() if file.endswith(module.SUFFIX))
    return max(ends, default=(0, None))[1]
