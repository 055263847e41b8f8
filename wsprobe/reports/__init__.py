"""Reports: one format a file, found by its folder. `render` takes a report and returns text that ends with a newline.

A format module says its NAME, which is the file's, the SUFFIXES of its files, and how one report and the reports of
several connections are rendered.
"""

from functools import cache
from typing import TYPE_CHECKING, Protocol

from wsprobe.reports._folder import Folder, Named

if TYPE_CHECKING:
    from wsprobe.model import Report, Reports


class Format(Named, Protocol):
    """What a module of this package offers."""

    def render(self, report: "Report") -> str:
        """One report as text."""

    def render_all(self, reports: "Reports") -> str:
        """The reports of several connections as text: their summary, then each kind of problem."""


@cache
def formats() -> Folder[Format]:
    """All formats by name, as the command line offers them."""
    return Folder(__name__, __path__)
