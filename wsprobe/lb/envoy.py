"""Reads Envoy's configs: bootstraps in YAML or JSON, dumps of `/config_dump`, and files of listeners or routes alone.

A config names no version but in a dump, so the one that the reader was compared with is assumed: 1.40. What changed
before is told apart where it matters to an upgrade (1.33, 1.35, 1.39).
"""

import re

from wsprobe.lb import _envoy_clusters as clusters
from wsprobe.lb._envoy_files import Found, gather, include
from wsprobe.lb._envoy_listeners import Shared, bare, listeners
from wsprobe.lb._envoy_proto import Reading, text, words
from wsprobe.lb._yaml import Node, documents, template
from wsprobe.lb.model import Config
from wsprobe.lb.source import ReadError, Source

NAME = "envoy"
VERSION = "1.40"

_WORDS = re.compile(
    r"static_?resources|dynamic_?resources|filter_?chains|virtual_?hosts|envoy\.(?:admin|config)\.", re.IGNORECASE
)
_TOP = re.compile(
    r"""^(?:(?:[ ]{0,4}(?:-[ ])?|[\s{]*)["']?(?:static_resources|staticResources|dynamic_resources|dynamicResources
    |filter_chains|filterChains|virtual_hosts|virtualHosts)["']?[ ]*:
    |.{0,40}@type["']?[ ]*:[ ]*["']?type\.googleapis\.com/envoy\.(?:admin|config)\.)""",
    re.MULTILINE | re.VERBOSE,
)
_OTHER = re.compile(r"""^[\s{]*["']?(?:apiVersion|AWSTemplateFormatVersion|services)["']?[ ]*:""", re.MULTILINE)
_BEGINS = re.compile(r"""(?:---|[{\[%]|["']?[@\w.\-]+["']?[ ]*:|-[ ])""")
_SCRIPTS = words("inline_string inlineString inline_code inlineCode text_format textFormat body_format inline_bytes")


def sniff(source: Source) -> bool:
    """Whether a file looks like one of Envoy's: by the names of its fields, and not a manifest that holds one."""
    text_ = source.text
    if not _WORDS.search(text_):
        return False
    first = next((line for line in source.lines if line.strip() and not line.lstrip().startswith("#")), "")
    return bool(_BEGINS.match(first) and _TOP.search(text_) and not _OTHER.search(text_))


def read(source: Source, version: str | None = None) -> Config:
    """What the listeners of a file do with upgrades."""
    found = Found()
    reading = Reading(source, files=[source.path])
    for node in documents(source):
        if error := template(node, but=_SCRIPTS):
            raise error
        _repeated(node, reading)
        gather(node, found)
    told = version or found.version
    reading.version = _numbers(told or VERSION)
    include(found, reading)
    if not (found.listeners or found.tables or found.clusters):
        raise ReadError(source.path, "no listener, route configuration or cluster of Envoy's in it")
    shared = Shared(
        reading=reading,
        clusters={text(each, "name"): clusters.cluster(each, reading) for each in found.clusters},
        complete=found.complete and not found.discovers,
        tables={text(each, "name"): each for each in found.tables},
    )
    made = listeners(found.listeners, shared) if found.listeners else bare(found.tables, shared)
    return Config(
        kind=NAME,
        path=source.path,
        version=told or VERSION,
        assumed=told is None,
        listeners=tuple(made),
        unread=tuple(dict.fromkeys(reading.unread)),
        problems=tuple(reading.problems),
        files=tuple(dict.fromkeys(reading.files)),
    )


def _repeated(node: Node, reading: Reading) -> None:
    for key, first in node.document.duplicates:
        reading.skip(key, f"stands here again: Envoy takes this one, and not that on line {first}", key.text)


def _numbers(version: str) -> tuple[int, int]:
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (1, 40)
