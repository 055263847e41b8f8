"""Writes what is generated under docs/: the JSON Schemas from the records, and the rules from their docstrings.

python docs/generate.py            writes
python docs/generate.py --check    writes nothing, names what is out of date, and exits with 1 if anything is
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from inspect import getdoc
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from wsprobe import rules
from wsprobe.codec import SCHEMAS
from wsprobe.rules import config

DOCS = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NULL = {"type": "null"}
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}

Json = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Writes or checks; returns the exit status."""
    stale = [path for path, content in generated() if not path.exists() or path.read_text(encoding="utf-8") != content]
    if "--check" in arguments:
        for path in stale:
            print(f"out of date: {path.relative_to(DOCS.parent)}; run python docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for path, content in generated():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return 0


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file and what it must hold."""
    for name, record in SCHEMAS.items():
        kind = name.partition(".")[2].partition("/")[0]
        yield DOCS / "schema" / f"{kind}.schema.json", json.dumps(schema(name, record), indent=2) + "\n"
    yield DOCS / "rules.md", page()


# JSON Schema.


def schema(name: str, record: type) -> Json:
    """The JSON Schema (2020-12) of the documents of that name, from the types and docstrings of their record."""
    parts: dict[str, Json] = {}
    root = _object(record, parts)
    named = {"schema": {"const": name}, **root["properties"]}
    return {
        "$schema": DIALECT,
        "$id": f"urn:{name.replace('.', ':').replace('/', ':')}",
        "title": name,
        **root,
        "properties": named,
        "required": ["schema", *root["required"]],
        "$defs": dict(sorted(parts.items())),
    }


def _object(record: type, parts: dict[str, Json]) -> Json:
    hints = get_type_hints(record)
    return {
        "description": _description(record),
        "type": "object",
        "properties": {field.name: _field(field, hints, parts) for field in fields(record)},
        "required": [field.name for field in fields(record) if field.default is MISSING or "always" in field.metadata],
    }


def _field(field: Field[Any], hints: Json, parts: dict[str, Json]) -> Json:
    """The schema of one field; where None is written as a word, that word stands for it."""
    made = _of(hints[field.name], parts)
    word = field.metadata.get("none")
    return made if word is None else {"anyOf": [*(each for each in made["anyOf"] if each != NULL), {"const": word}]}


def _of(kind: Any, parts: dict[str, Json]) -> Json:  # noqa: ANN401  a type, or what typing makes of one
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return {"anyOf": [_of(each, parts) for each in arguments if each is not type(None)] + [NULL]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], parts)}
    if origin is tuple:
        exactly = len(arguments)
        items = [_of(each, parts) for each in arguments]
        return {"type": "array", "prefixItems": items, "minItems": exactly, "maxItems": exactly}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], parts)}
    return {"type": SCALARS[kind]} if kind in SCALARS else _part(kind, parts)


def _part(kind: type, parts: dict[str, Json]) -> Json:
    """A reference to a record or an enum, which is described once."""
    name = kind.__name__
    if name not in parts:
        parts[name] = {}  # a record that holds itself would come back to here
        if is_dataclass(kind):
            parts[name] = _object(kind, parts)
        elif issubclass(kind, StrEnum):
            parts[name] = {"description": _description(kind), "enum": [member.value for member in kind]}
        else:
            raise TypeError(f"{name} has no JSON Schema")
    return {"$ref": f"#/$defs/{name}"}


def _description(kind: type) -> str:
    return " ".join((getdoc(kind) or "").split())


# The rules.


def page() -> str:
    """All rules in one page, as `wsprobe explain RULE` tells them."""
    parts = [
        "# Rules",
        "Generated from the rules' docstrings by `docs/generate.py`; `wsprobe explain RULE` says the same.",
        "# Over traces",
        "What `wsprobe trace` and `wsprobe diagnose` find in what was observed.",
        *(_section(rules.text(name)) for name in rules.names()),
        "# Over configs",
        "What `wsprobe inspect` finds in the configs of load balancers.",
        *(_section(config.text(name)) for name in config.names()),
    ]
    return "\n\n".join(parts) + "\n"


def _section(text: str) -> str:
    title, _, body = text.partition("\n")
    # Markdown wants an empty line around an indented example.
    spaced = re.sub(r"\n*^(Bad|Good)( \(\w+\))?:\n", r"\n\n\1\2:\n\n", body.strip(), flags=re.MULTILINE)
    return f"## {title}\n\n{spaced}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
