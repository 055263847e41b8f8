"""What a project settles for `wsprobe inspect`: `wsprobe.toml`, or `[tool.wsprobe]` in pyproject.toml.

The nearest file from the current folder upwards counts. The command line wins over it. Whatever is wrong with it is
one line that names the file and the key.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from wsprobe.cli import UsageError
from wsprobe.cli.headeroptions import read_octets
from wsprobe.frozen import dataclass
from wsprobe.patterns import lazy

FAIL_ON = ("error", "warning", "note", "never")

_MARKS = (b"tool.wsprobe", b"[tool]", b"\ntool=")
"""What a pyproject.toml with settings of ours has, without spaces and quotes."""

_WEEK = 7 * 24 * 3600

VERSION = lazy(r"v?\d{1,9}(\.\d{1,9}){0,3}[\w.+-]{0,40}")
"""How the version of a proxy is written."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of a file; paths in it count from its folder."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: str = "error"
    versions: Mapping[str, str] = field(default_factory=dict)
    ping: float | None = None
    root: Path | None = None
    exclude: tuple[str, ...] = ()


def load() -> Configuration:
    """The configuration that is in force here; UsageError where it cannot be understood."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        for name, inside in (("wsprobe.toml", ()), ("pyproject.toml", ("tool", "wsprobe"))):
            path = folder / name
            table = _table(path, inside) if path.is_file() else None
            if table is not None:
                return _read(path, table)
    return Configuration()


def _table(path: Path, inside: tuple[str, ...]) -> Mapping[str, object] | None:
    """The table of settings, None where the file has none."""
    octets = read_octets(path)
    if inside and not any(mark in octets.translate(None, b" \"'") for mark in _MARKS):
        return None  # most projects: nothing has to be parsed
    import tomllib

    try:
        found: Any = tomllib.loads(octets.decode())
    except (ValueError, RecursionError) as error:  # whatever is wrong with the text, or with a number or list in it
        raise UsageError(f"{path}: not TOML: {error}") from None
    for key in inside:
        found = found.get(key) if isinstance(found, dict) else None
    if found is not None and not isinstance(found, dict):
        raise UsageError(f"{path}: {'.'.join(inside)} is not a table")
    return found


def _read(path: Path, table: Mapping[str, object]) -> Configuration:
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if key == "tool":
            raise UsageError(f"{path}: in {path.name} the settings stand at the top, without [tool.wsprobe]")
        if key not in _KEYS:
            raise UsageError(f"{path}: there is no setting {key!r}; there are {', '.join(_KEYS)}")
        name, takes, kind = _KEYS[key]
        taken = takes(value, path)
        if taken is None:
            raise UsageError(f"{path}: {key} has to be {kind}")
        settings[name] = taken
    return Configuration(**settings)


def _rules(value: object, path: Path) -> tuple[str, ...] | None:
    from wsprobe.examine import all_rules

    names = _texts(value, path)
    for name in names or ():
        if name not in all_rules():
            raise UsageError(f"{path}: there is no rule {name!r}; the rules are {', '.join(all_rules())}")
    return names


def _texts(value: object, _: Path) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else None


def _severity(value: object, _: Path) -> str | None:
    return value if isinstance(value, str) and value in FAIL_ON else None


def _versions(value: object, path: Path) -> Mapping[str, str] | None:
    from wsprobe.lb import kinds

    if not isinstance(value, dict) or not all(isinstance(version, str) for version in value.values()):
        return None
    strange = next((kind for kind in value if kind not in kinds()), None)
    if strange is not None:
        raise UsageError(f"{path}: lb-version: there is no kind {strange!r}; there are {', '.join(kinds())}")
    wrong = next((kind for kind, version in value.items() if not VERSION.fullmatch(version)), None)
    if wrong is not None:
        raise UsageError(f"{path}: lb-version: {value[wrong][:80]!r} is no version of {wrong}")
    return value


def _seconds(value: object, _: Path) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= _WEEK else None


def _folder(value: object, path: Path) -> Path | None:
    if not isinstance(value, str):
        return None
    folder = path.parent / value
    if not folder.is_dir():
        raise UsageError(f"{path}: root: {folder} is no folder")
    return folder


_KEYS: Mapping[str, tuple[str, Callable[[object, Path], object], str]] = {
    "select": ("select", _rules, "a list of rules"),
    "ignore": ("ignore", _rules, "a list of rules"),
    "fail-on": ("fail_on", _severity, f"one of {', '.join(FAIL_ON)}"),
    "lb-version": ("versions", _versions, 'a table of kinds and versions, as in { nginx = "1.22" }'),
    "ping": ("ping", _seconds, "a number of seconds, more than 0"),
    "root": ("root", _folder, "the path of a folder"),
    "exclude": ("exclude", _texts, "a list of paths or patterns"),
}
