"""What recorders wrote: read, waited for, and put beside what the probe saw."""

import time
from collections.abc import Iterable
from pathlib import Path

from wsprobe.cli import UsageError
from wsprobe.join import ids_of
from wsprobe.model import Observation
from wsprobe.recordfile import Records, RecordsError, read

_WAIT = 2.0
_STEP = 0.05


def records(paths: Iterable[Path]) -> Records:
    """All records in files and folders; UsageError where one cannot be read or holds none."""
    try:
        return read(paths)
    except RecordsError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None


def beside(seen: list[Observation], paths: list[Path]) -> Records:
    """What recorders saw of the same exchanges; waits up to two seconds for their last lines.

    Only hops that are new to the traces count as missing, and a hop whose connection goes on is waited for.
    """
    if not paths:
        return Records(observations=(), problems=())
    ids = {id_ for observation in seen for id_ in ids_of(observation)} | {o.trace for o in seen if o.trace}
    deadline = time.monotonic() + _WAIT
    last: tuple[object, ...] = ()
    while True:
        found = records(paths)
        ours = [observation for observation in found.observations if ids & set(ids_of(observation))]
        state = tuple((o.name, o.connection, o.exchange, o.ended) for o in ours)
        settled = bool(ours) and all(o.ended is not None for o in ours) and state == last
        if settled or time.monotonic() >= deadline:
            return Records(observations=_relevant(found.observations, ours), problems=found.problems)
        last = state
        time.sleep(_STEP)


def _relevant(everything: tuple[Observation, ...], ours: list[Observation]) -> tuple[Observation, ...]:
    """Those of these exchanges, and one of each other recorder: that it saw other traffic is evidence too."""
    names = {observation.name for observation in ours}
    others = {observation.name: observation for observation in everything if observation.name not in names}
    return (*ours, *others.values())
