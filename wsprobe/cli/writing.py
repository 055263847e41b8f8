"""Text to stdout and to files: only signs that a stream can carry, and files that are private."""

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsprobe.cli import UsageError

if TYPE_CHECKING:
    from wsprobe.reports._folder import Folder

_ASCII = str.maketrans("✓✗≠·─▶┄│┊…→├└", "+x!.->.|:~>|`")


def check_writable(path: Path) -> None:
    """Refuses a file or folder that cannot be written, or made."""
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise UsageError(f"{path}: cannot be written: {os.strerror(errno.EACCES)}")


def is_folder(path: Path) -> bool:
    """Whether an output is a folder, also one that is still to be made: it has no suffix."""
    return path.is_dir() or not path.suffix


def check_output(path: Path, formats: "Folder[Any]") -> None:
    """Refuses what cannot be written, before anything is done; a folder is made where none is."""
    if not is_folder(path):
        check_file(path, formats, more=", or a folder")
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    check_writable(path)


def check_file(path: Path, formats: "Folder[Any]", *, more: str = "") -> None:
    """Refuses a file that cannot be written, or whose name stands for no format, before anything is done."""
    if formats.by_suffix(path) is None:
        raise UsageError(f"{path}: the suffix names no format; use one of {', '.join(formats.suffixes)}{more}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    check_writable(path)


def say(text: str) -> None:
    """A text on stdout, with signs that the stream cannot carry in ASCII."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    sys.stdout.write(text)
    sys.stdout.flush()


def screen() -> tuple[int, bool]:
    """How many columns stdout has, and whether it gets colour: for a person who wants it."""
    if not sys.stdout.isatty():
        return 100, False
    import shutil

    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return shutil.get_terminal_size((100, 40)).columns, colour


def save(path: Path, text: str) -> None:
    """Writes a file that is private, like the records: a report names internal hosts."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def save_all(files: Iterable[tuple[Path, str]]) -> list[str]:
    """Writes each file; those that could not be written, a line each."""
    failed = []
    for path, text in files:
        try:
            save(path, text)
        except OSError as error:
            failed.append(f"{path}: cannot be written: {error.strerror}")
    return failed
