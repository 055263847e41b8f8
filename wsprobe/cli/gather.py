"""What recorders wrote: read, waited for, and put beside what the probe saw."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wsprobe import recordfile
from wsprobe.cli import UsageError
from wsprobe.join import CLIENT, ids_of
from wsprobe.model import Observation
from wsprobe.recordfile import SUFFIX, Records, RecordsError, read

_WAIT = 2.0
_STEP = 0.05
_SAME_NAME = f"a recorder is called {CLIENT}, as the probe calls itself: what it saw was left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What recorders saw of these exchanges, and what was wrong with their files."""

    observations: tuple[Observation, ...] = ()
    problems: tuple[str, ...] = ()


def fingerprint_key() -> bytes | None:
    """The key that recorders share; UsageError where it is too short."""
    try:
        return recordfile.fingerprint_key()
    except ValueError as error:
        raise UsageError(str(error)) from None


def records(paths: Iterable[Path]) -> Records:
    """All records in files and folders; UsageError where one cannot be read or holds none."""
    try:
        return read(paths)
    except RecordsError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None


def silent(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files, also those in folders, of recorders that wrote no line yet."""
    files = [file for path in paths for file in (sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path])]
    return tuple(file for file in files if not _has_line(file))


def _has_line(file: Path) -> bool:
    with file.open("rb") as lines:
        return any(line.strip() for line in lines)


def beside(seen: list[Observation], paths: list[Path], interrupted: Callable[[], bool] = lambda: False) -> Found:
    """What recorders saw of the same exchanges; waits up to two seconds for their last lines, unless interrupted.

    Only hops that are new to the traces count as missing, and a hop whose connection goes on is waited for.
    """
    if not paths:
        return Found()
    ids = {id_ for observation in seen for id_ in ids_of(observation)} | {o.trace for o in seen if o.trace}
    deadline = time.monotonic() + _WAIT
    last: tuple[object, ...] = ()
    while True:
        found = records(paths)
        others = tuple(observation for observation in found.observations if observation.name != CLIENT)
        ours = [observation for observation in others if ids & set(ids_of(observation))]
        state = tuple((o.name, o.connection, o.exchange, o.ended) for o in ours)
        settled = bool(ours) and all(o.ended is not None for o in ours) and state == last
        if settled or interrupted() or time.monotonic() >= deadline:
            empty = tuple(f"{file}: empty: its recorder has seen no request" for file in silent(paths))
            same = () if len(others) == len(found.observations) else (_SAME_NAME,)
            return Found(observations=_relevant(others, ours), problems=(*found.problems, *empty, *same))
        last = state
        time.sleep(_STEP)


def _relevant(everything: tuple[Observation, ...], ours: list[Observation]) -> tuple[Observation, ...]:
    """Those of these exchanges, and one of each other recorder: that it saw other traffic is evidence too."""
    names = {observation.name for observation in ours}
    others = {observation.name: observation for observation in everything if observation.name not in names}
    return (*ours, *others.values())
