"""Traefik: static and dynamic config in YAML and TOML, and the labels and flags of a compose file."""

import re

from wsprobe.inspection import Unknown
from wsprobe.lb._traefik_files import DYNAMIC, STATIC, dynamic, static, tree, yaml
from wsprobe.lb._traefik_proxy import Entry
from wsprobe.lb._traefik_routers import Reading
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.model import Config
from wsprobe.lb.source import ReadError, Source

NAME = "traefik"
VERSION = "3.7"

_SNIFFED = 1 << 18
_OTHERS = re.compile(r"^apiVersion:|^```|^(?:resource|variable|module) \"", re.MULTILINE)
_OURS = re.compile(
    r"""^["']?entryPoints["']?\s*:"""
    r"""|^\s*\[+["']?entryPoints\b"""
    r"""|^\s*\[+["']?http["']?\.["']?(?:routers|services|middlewares|serversTransports)\b"""
    r"""|^["']?(?:http|tcp|udp)["']?\s*:\s*(?:\#.*)?\n(?:\s*(?:\#.*)?\n)*\s+["']?(?:routers|services|middlewares|serversTransports)["']?\s*:"""
    r"""|["']?http["']?\s*:\s*\{\s*["']?(?:routers|services|middlewares|serversTransports)["']?\s*:"""
    r"""|^["']?providers["']?\s*:\s*\n\s+["']?(?:file|docker|swarm|providersThrottleDuration)["']?\s*:""",
    re.MULTILINE | re.IGNORECASE,
)
_COMPOSE = re.compile(r"^services:", re.MULTILINE)
_LABEL = re.compile(r"\btraefik\.(?:http|enable|docker|tcp)\b|--entry-?points\.", re.IGNORECASE)


def sniff(source: Source) -> bool:
    """Whether a file looks like a config of Traefik's, or like a compose file with labels for it."""
    text = source.text[:_SNIFFED]
    if _OTHERS.search(text):
        return False
    return bool(_OURS.search(text)) or is_compose(text)


def is_compose(text: str) -> bool:
    """Whether a file is for docker compose and speaks of Traefik."""
    return bool(_COMPOSE.search(text) and _LABEL.search(text)) and not _OURS.search(text)


def read(source: Source, version: str | None = None) -> Config:
    """What the config does, from this file and those that it names."""
    composed = is_compose(source.text[:_SNIFFED])
    root = yaml(source) if composed else tree(source)
    reading, told = _read(root, source, version, composed=composed)
    if version is None and told is None and reading.speaks_v2():
        told = "2"
        reading, _ = _read(root, source, told, composed=composed)
    return Config(
        kind=NAME,
        path=source.path,
        version=version or told or VERSION,
        assumed=version is None and told is None,
        listeners=tuple(reading.listeners()),
        unread=tuple(dict.fromkeys(reading.unread)),
        problems=tuple(dict.fromkeys(reading.problems)),
        files=(source.path, *reading.files),
    )


def _read(root: Setting, source: Source, version: str | None, *, composed: bool) -> tuple[Reading, str | None]:
    """What was read for a version, and the version that the file itself tells."""
    major = _major(version or VERSION)
    reading = Reading(place=root.place, version=major, syntax="v3" if major >= 3 else "v2")
    told = None
    if composed:
        from wsprobe.lb import _traefik_compose as compose

        told = compose.read(root, source, reading, version)
    elif any(root.get(name) for name in STATIC):
        static(root, source, reading)
        dynamic(root, reading)
    elif any(root.get(name) for name in DYNAMIC):
        dynamic(root, reading)
    else:
        raise ReadError(source.path, "no entry points and no routers: not a config of Traefik")
    if not reading.entries:
        _alone(root, reading)
    return reading, told


def _alone(root: Setting, reading: Reading) -> None:
    """A dynamic file of which no static one is known: its entry points are those that it names."""
    why = "no static config was read with this file: the defaults of entry points are assumed"
    place = (root.get("http") or root.get("services") or root).place
    reading.unread.append(Unknown(what="the entry points", why=why, place=place))
    named = dict.fromkeys(name for router in reading.routers for name in router.setting.texts("entryPoints"))
    reading.entries = [Entry(name=name) for name in named] or [Entry(name="any entry point")]


def _major(version: str) -> int:
    found = re.match("v?([0-9]{1,3})", version)
    return int(found[1]) if found else 3
