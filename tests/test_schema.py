"""The JSON Schemas under docs/schema/ and the records are held together, and docs/ is what its generator makes."""

import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from jsonschema import Draft202012Validator

from tests.reports.samples import INCIDENT, ONE_BY_ONE, SEVERAL
from wsprobe.codec import SCHEMAS, encode

ROOT = Path(__file__).parent.parent
Json = dict[str, Any]


def schema(name: str) -> Json:
    kind = name.partition(".")[2].partition("/")[0]
    loaded: Json = json.loads((ROOT / "docs" / "schema" / f"{kind}.schema.json").read_text())
    return loaded


def written(record: Any) -> Json:  # noqa: ANN401  any record that is a document
    """The document as a reader of the file gets it."""
    document: Json = json.loads(json.dumps(encode(record)))
    return document


def exact(part: Any) -> Any:  # noqa: ANN401  any part of a schema
    """The schema without tolerance: every field that it knows must be there, and no other may be."""
    if isinstance(part, list):
        return [exact(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: exact(value) for key, value in part.items()}
    if isinstance(part.get("properties"), dict):
        made |= {"required": list(part["properties"]), "additionalProperties": False}
    return made


def filled(kind: Any) -> Any:  # noqa: ANN401  a type, and a value of it
    """A value of a type with something in every field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return filled(next(each for each in arguments if each is not type(None)))
    if origin is tuple:
        return tuple(filled(each) for each in arguments if each is not Ellipsis)
    if origin is dict:
        return {"key": filled(arguments[1])}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        made: Any = kind
        return made(**{field.name: filled(hints[field.name]) for field in fields(kind)})
    if issubclass(kind, StrEnum):
        return next(iter(kind))
    return {str: "text", int: 7, float: 0.5, bool: True}[kind]  # none of them is a default


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_that_is_written_is_in_the_schema_and_the_other_way_round(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    Draft202012Validator(exact(schema(name))).validate(written(filled(SCHEMAS[name])))


@pytest.mark.parametrize("report", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_canonical_documents_hold_to_their_schema(report: Any) -> None:  # noqa: ANN401  a report
    Draft202012Validator(schema("wsprobe.report/1")).validate(written(report))
    Draft202012Validator(schema("wsprobe.trace/1")).validate(written(report.trace))
    for hop in report.trace.hops:
        Draft202012Validator(schema("wsprobe.hop/1")).validate(written(hop))


def test_several_reports_hold_to_their_schema() -> None:
    Draft202012Validator(schema("wsprobe.reports/1")).validate(written(SEVERAL))


def test_a_document_that_lacks_or_twists_something_does_not_hold() -> None:
    document = written(INCIDENT)
    validator = Draft202012Validator(schema("wsprobe.report/1"))
    assert validator.is_valid(document)
    for name in document.keys() - {"writeup"}:  # a healthy report and one of an earlier version have none
        assert not validator.is_valid({key: value for key, value in document.items() if key != name}), name
    for path, value in (
        (("schema",), "wsprobe.report/2"),
        (("findings", 0, "confidence"), "certain"),
        (("findings", 0, "segment"), ["edge"]),
        (("trace", "hops", 0, "closes", 0, "code"), "1011"),
        (("trace", "hops", 0, "request", "headers", 0), ["Host"]),
        (("matrix", 0, "cells", 0, "state"), "gone"),
    ):
        twisted: Any = deepcopy(document)
        part = twisted
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value
        assert not validator.is_valid(twisted), path


def generate(docs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(docs / "generate.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_docs_are_what_the_generator_makes() -> None:
    done = generate(ROOT / "docs", "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_generator_names_what_is_out_of_date(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    (docs / "schema" / "hop.schema.json").unlink()
    (docs / "rules.md").write_text("# Rules\n")
    done = generate(docs, "--check")
    assert done.returncode == 1
    assert [line.split(";")[0] for line in done.stderr.splitlines()] == [
        "out of date: docs/schema/hop.schema.json",
        "out of date: docs/rules.md",
    ]
    assert not (docs / "schema" / "hop.schema.json").exists()
    assert generate(docs).returncode == 0
    assert generate(docs, "--check").returncode == 0
    for path in ("rules.md", "schema/hop.schema.json"):
        assert (docs / path).read_text() == (ROOT / "docs" / path).read_text()
