"""One rule a file. Its name is the file's, its text the docstring, its findings what `check` yields.

Rules are found by this folder: a new one is a new file, and no list has to be edited. What they are made of is in
`wsprobe.judging`; those over configs have a folder of their own, and `wsprobe inspect` pays for no others.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType


def names() -> tuple[str, ...]:
    """The names of all rules over traces, sorted; those over configs are in a package of their own."""
    found = (info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in found))


@cache
def load(name: str) -> ModuleType:
    """The module of one rule; TypeError where a part is missing."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    missing = [part for part in ("__doc__", "RULE", "check") if not getattr(module, part, None)]
    if missing:
        msg = f"rule {name} lacks {', '.join(missing)}"
        raise TypeError(msg)
    return module


def text(name: str) -> str:
    """What a rule means, with its examples: its docstring."""
    return f"{name}\n\n{(load(name).__doc__ or '').strip()}"


def rank(name: str) -> int:
    """How near to the cause the findings of a rule are."""
    found: int = load(name).RULE.rank
    return found
