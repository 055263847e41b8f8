"""Patterns that are compiled when they are first used: to compile them all takes longer than most commands do."""

import re
from typing import cast


class _Lazy:
    """Stands for a pattern until one of its methods is asked for, which from then on is the pattern's own."""

    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> object:
        found: object = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)
        return found


def lazy(source: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern as re.compile gives it, for whoever only calls its methods."""
    return cast("re.Pattern[str]", _Lazy(source, flags))
