"""What `wsprobe inspect` says, one format a file, found by this folder as those of traces are by theirs.

A format module says its NAME, which is the file's, the SUFFIXES of its files, and how an inspection is rendered: pure,
and as text that ends with a newline.
"""

from functools import cache
from typing import Protocol

from wsprobe.inspection import Inspection
from wsprobe.reports._folder import Folder, Named


class Format(Named, Protocol):
    """What a module of this package offers."""

    def render(self, inspection: Inspection) -> str:
        """An inspection as text."""


@cache
def formats() -> Folder[Format]:
    """All formats by name, as the command line offers them."""
    return Folder(__name__, __path__)
