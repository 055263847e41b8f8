"""Load balancer configs: one reader a file, found by this folder, and one model that all of them read into.

A reader module says its NAME, the VERSION of its proxy that it assumes where nobody tells another, whether a file
looks like its own (`sniff`), and what the file says (`read`). It raises `ReadError` only where it can make nothing of
the file at all; what it does not understand in a file that is valid it lists as unread.
"""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from wsprobe.lb.model import Config
from wsprobe.lb.source import Source

_USUAL = {
    "caddyfile": ("caddy",),
    ".conf": ("nginx",),
    ".cfg": ("haproxy",),
    ".yaml": ("envoy", "traefik"),
    ".yml": ("traefik", "envoy"),
    ".toml": ("traefik",),
    ".json": ("envoy", "caddy"),
}
"""What files are called, and whose they mostly are."""

_SHARED = frozenset(
    {"edits", "evaluation", "expressions", "model", "predict", "request", "run", "secrets", "sizes", "source"}
)


class Reader(Protocol):
    """What a reader module offers."""

    NAME: str
    VERSION: str

    def sniff(self, source: Source) -> bool:
        """Whether a file looks like a config of this proxy; cheap, and tried on every file."""

    def read(self, source: Source, version: str | None = None) -> Config:
        """What the config does; `version` is that of the proxy where the user told it."""


@cache
def kinds() -> tuple[str, ...]:
    """The names of all readers, sorted."""
    names = (info.name for info in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in names if name not in _SHARED and not name.startswith("_")))


@cache
def reader(kind: str) -> Reader:
    """The reader of one kind; KeyError where there is none."""
    if kind not in kinds():
        raise KeyError(kind)
    return cast("Reader", import_module(f"{__name__}.{kind}"))


def recognised(source: Source, but: str | None = None) -> str | None:
    """The kind that a file is recognised as by its content, None where no reader takes it for its own.

    `but` is a kind that is not asked. The name of a file decides nothing: it says who is asked first, so that the
    other readers are not even loaded.
    """
    name = source.path.lower()
    likely = next((kinds_ for end, kinds_ in _USUAL.items() if name.endswith(end)), ())
    order = sorted(kinds(), key=lambda kind: (kind not in name, kind not in likely))
    return next((kind for kind in order if kind != but and reader(kind).sniff(source)), None)
