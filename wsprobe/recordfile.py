"""Files of records: a line appended in one write, and folders of them read back with all that is wrong in them."""

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wsprobe.codec import MAX_LINE, DecodeError, LineEncoder, decode_line
from wsprobe.model import Observation
from wsprobe.observer import Unredacted
from wsprobe.redact import Redactor, shared_key

SUFFIX = ".jsonl"
MAX_RECORDS = 1_000_000
"""Lines that are read from one set of files; more are refused, so that memory stays bounded."""

_MAX_NAMED = 3


def fingerprint_key() -> bytes | None:
    """The key that recorders share, from WSPROBE_FINGERPRINT_KEY; ValueError where it is too short."""
    key = os.environ.get("WSPROBE_FINGERPRINT_KEY")
    return shared_key(key) if key else None


class RecordWriter:
    """Appends observations to a file that several recorders may share.

    The file is private (mode 0600) and opened with O_APPEND; a line is one write. Raises OSError where the file
    cannot be opened, ValueError where WSPROBE_FINGERPRINT_KEY is set and too short.
    """

    def __init__(self, path: str | Path) -> None:
        self._key = fingerprint_key()
        self._upgrades: dict[tuple[str, int], tuple[Redactor, LineEncoder]] = {}
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._torn = _ends_inside_a_line(Path(path))

    def write(self, seen: Unredacted) -> Observation:
        """Redacts an observation, appends it, and returns what was written; OSError where it was not, or not whole."""
        exchange = seen.observation.connection, seen.observation.exchange
        redactor, encoder = both = self._upgrades.pop(exchange, None) or (Redactor(self._key), LineEncoder())
        observation = redactor.redact(seen)
        line = encoder.encode(observation)
        if self._torn:  # what a killed recorder or a full disk left must not swallow this line
            line = b"\n" + line
        if observation.ended is None:  # its second line has the same heads
            self._upgrades[exchange] = both
        self._torn = os.write(self._file, line) < len(line)
        if self._torn:  # a disk that fills up in the middle of a line
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return observation

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def _ends_inside_a_line(file: Path) -> bool:
    if not file.is_file() or not file.stat().st_size:
        return False
    with file.open("rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read(1) != b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What files of records held: the observations, and in words what was not readable."""

    observations: tuple[Observation, ...]
    problems: tuple[str, ...]


class RecordsError(ValueError):
    """Files that hold no record at all; the text says which and why."""


def read(paths: Iterable[Path]) -> Records:
    """All observations in files, and in the `.jsonl` files of folders, the last line of each exchange.

    A line that is torn, foreign or of a newer schema is counted and named, and reading goes on. RecordsError if a
    file that was named has no good line, OSError if it cannot be read. A file without any line is one of a recorder
    that saw nothing yet.
    """
    latest: dict[tuple[str, str, str, int], Observation] = {}
    problems: list[str] = []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        for file in inside:
            good, bad = _read_file(file, latest)
            if bad and not good and not path.is_dir():
                msg = f"{file}: no line is a record of wsprobe; {bad[0]}"
                raise RecordsError(msg)
            problems += _told(file, good, bad)
    return Records(observations=tuple(latest.values()), problems=tuple(problems))


def _read_file(file: Path, latest: dict[tuple[str, str, str, int], Observation]) -> tuple[int, list[str]]:
    good, bad = 0, []
    for number, line in _lines(file):
        try:
            if line is None:
                msg = f"longer than {MAX_LINE} octets"
                raise DecodeError(msg)  # noqa: TRY301  told like every other bad line
            observation = decode_line(line)
        except DecodeError as error:
            bad.append(f"line {number}: {error}")
            continue
        good += 1
        key = (observation.name, observation.instance, observation.connection, observation.exchange)
        if key not in latest and len(latest) >= MAX_RECORDS:
            msg = f"{file}: more than {MAX_RECORDS} exchanges; give fewer files"
            raise RecordsError(msg)
        if key not in latest or latest[key].ended is None:
            latest[key] = observation
    return good, bad


def _lines(file: Path) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines that are not empty; None for one that is too long to be a record."""
    with file.open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE and not line.endswith(b"\n"):
                while (more := lines.readline(MAX_LINE)) and not more.endswith(b"\n"):
                    continue
                yield number, None
            elif line.strip():
                yield number, line


def _told(file: Path, good: int, bad: list[str]) -> list[str]:
    if not bad:
        return []
    more = f" and {len(bad) - _MAX_NAMED} more" if len(bad) > _MAX_NAMED else ""
    lines = "line" if good == 1 else "lines"
    return [f"{file}: {len(bad)} not read ({'; '.join(bad[:_MAX_NAMED])}{more}), {good} good {lines} used"]
