"""Records to JSON and back: nothing is lost, and nothing of a stranger's is taken for what it is not."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsprobe.codec import SCHEMAS, DecodeError, decode, decode_line, encode, encode_line, parse
from wsprobe.model import Observation, Recorder, Report, Reports, Trace

TEXT = st.text(max_size=12)
TIMES = st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: round(value, 6))
MINIMAL = {
    "schema": "wsprobe.hop/1",
    "name": "edge",
    "instance": "host",
    "recorder": {"kind": "relay", "version": "1"},
    "connection": "c",
    "exchange": 0,
    "trace": None,
    "at": "2026-11-23T00:00:00.000000Z",
    "request": None,
    "response": None,
    "closes": [],
    "ended": None,
}

for scalar, made in ((float, TIMES), (str, TEXT), (int, st.integers(-(2**53), 2**53))):
    st.register_type_strategy(scalar, made)

OBSERVATIONS = st.from_type(Observation)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(OBSERVATIONS)
def test_a_line_decodes_to_what_was_encoded(observation: Observation) -> None:
    line = encode_line(observation)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line) == observation


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from([Trace, Report, Reports]))
def test_a_document_decodes_to_what_was_encoded(data: st.DataObject, kind: type) -> None:
    record = data.draw(st.from_type(kind))
    assert decode(json.loads(json.dumps(encode(record)))) == record


def test_a_field_with_its_default_is_left_out_and_one_without_is_written() -> None:
    written = encode(decode(MINIMAL))
    assert written == MINIMAL
    assert {field.name for field in fields(Observation)} > set(written) - {"schema"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "name: str expected, int found"),
        ({"exchange": True}, "exchange: int expected, bool found"),
        ({"exchange": 1.5}, "exchange: int expected, float found"),
        ({"closes": {}}, "closes: list expected, dict found"),
        ({"closes": [{"sender": "nobody"}]}, "closes: sender: 'nobody' is not one of client, server, local"),
        ({"request": {"start_line": "GET /", "headers": [["a"]]}}, "request: headers: 2 items expected, 1 found"),
        ({"ended": float("nan")}, "ended: a number beyond reason"),
        ({"ended": 1e300}, "ended: a number beyond reason"),
        ({"ended": 10**400}, "ended: a number beyond reason"),
        ({"ended": -(10**300)}, "ended: a number beyond reason"),
        ({"exchange": 10**400}, "exchange: a number beyond reason"),
        ({"recorder": None}, "recorder: dict expected, NoneType found"),
        ({"schema": "wsprobe.hop/2"}, "schema 'wsprobe.hop/2' is a newer version than this wsprobe reads"),
        ({"schema": "other/1"}, "schema 'other/1' is not a schema of wsprobe"),
        ({"schema": 1}, "no schema is named"),
    ],
)
def test_what_is_not_ours_is_refused_with_its_place(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DecodeError, match=f"^{re.escape(said)}"):
        decode({**MINIMAL, **change})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(DecodeError, match="connection is missing"):
        decode({name: value for name, value in MINIMAL.items() if name != "connection"})


def test_a_field_of_a_newer_writer_is_passed_over() -> None:
    assert decode({**MINIMAL, "colour": "blue"}) == decode(MINIMAL)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000])
def test_what_is_no_json_is_told_as_such(text: bytes) -> None:
    with pytest.raises(DecodeError, match="not JSON"):
        parse(text)


def test_every_schema_has_a_published_one() -> None:
    folder = Path(__file__).parent.parent / "docs/schema"
    published = {json.loads(path.read_text())["properties"]["schema"]["const"] for path in folder.glob("*.json")}
    assert published == set(SCHEMAS)


def test_a_recorder_without_blind_spots_says_nothing_of_them() -> None:
    observation = decode(MINIMAL)
    assert isinstance(observation, Observation)
    assert observation.recorder == Recorder(kind="relay", version="1")
