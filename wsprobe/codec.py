"""Records to JSON Lines and back: one generic codec over the dataclasses of `model`, with limits for what is read.

Encoding and decoding follow the types: dataclass to object, tuple to array, enum to its value. A field that holds its
default is left out, unless its metadata say `always`; `none` in them is what None is written as. What is read is
checked field by field; unknown fields of a newer writer are passed over.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache, lru_cache
from operator import attrgetter, is_
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from wsprobe.comparison import Comparison
from wsprobe.inspection import Inspection
from wsprobe.model import Observation, Recorder, Report, Reports, Trace

SCHEMAS = {
    "wsprobe.hop/1": Observation,
    "wsprobe.trace/1": Trace,
    "wsprobe.report/1": Report,
    "wsprobe.reports/1": Reports,
    "wsprobe.inspection/1": Inspection,
    "wsprobe.diff/1": Comparison,
}
"""The documents that are written, by the name in their `schema` field."""

_NAMES = {record: name for name, record in SCHEMAS.items()}

MAX_LINE = 4 * 1024 * 1024
"""Octets of the longest line that is read as a record."""

_MAX_ITEMS = 100_000
_MAX_TIME = 10**15
_MAX_NUMBER = 10**30  # above any sum of lengths, each of which a frame can claim to be 2^64
# json.dumps would make an encoder for each line; records are trees, in which nothing holds itself.
_COMPACT = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_LASTING = ("request", "response", "peers", "tls", "handshake", "redactions")
"""What is the same object in all lines of an exchange, and most of each line."""

Json = dict[str, Any]
Codec = Callable[[Any], Any]
Parts = Callable[[Observation], tuple[Any, ...]]


class DecodeError(ValueError):
    """A document that is none of ours; the text says where and why."""


Document = Observation | Trace | Report | Reports | Inspection | Comparison


def encode(record: Document) -> Json:
    """A document with its schema name, ready for JSON."""
    kind: type = type(record)
    body: Json = _encoder(kind)(record)
    return {"schema": _NAMES[kind], **body}


class LineEncoder:
    """Encodes the lines of one exchange, each of which is the whole of it again: what has not changed only once."""

    __slots__ = ("_lasting", "_text")

    def __init__(self) -> None:
        self._lasting: tuple[object, ...] = ()
        self._text = ""

    def encode(self, observation: Observation) -> bytes:
        """One line of a records file, newline and all."""
        changing_of, encode_changing, lasting_of, encode_lasting = _halves()
        lasting = lasting_of(observation)
        if not self._lasting or not all(map(is_, self._lasting, lasting)):
            self._lasting, self._text = lasting, _COMPACT(encode_lasting(lasting))[1:]
        changing = {"schema": _NAMES[Observation], **encode_changing(changing_of(observation))}
        return f"{_COMPACT(changing)[:-1]},{_recorder(observation.recorder)},{self._text}\n".encode()


@cache
def _halves() -> tuple[Parts, Codec, Parts, Codec]:
    names = [field.name for field in fields(Observation) if field.name not in {*_LASTING, "recorder"}]
    return (
        attrgetter(*names),
        _values_encoder(Observation, names),
        attrgetter(*_LASTING),
        _values_encoder(Observation, _LASTING),
    )


@lru_cache(maxsize=8)
def _recorder(recorder: Recorder) -> str:
    """What all lines of a recorder have alike."""
    return _COMPACT({"recorder": _encoder(Recorder)(recorder)})[1:-1]


def encode_line(observation: Observation) -> bytes:
    """One line of a records file, newline and all."""
    return LineEncoder().encode(observation)


def decode(document: object) -> Document:
    """The record that a parsed JSON document holds; DecodeError if it holds none that this version reads."""
    if not isinstance(document, dict):
        msg = "not a JSON object"
        raise DecodeError(msg)
    schema = document.get("schema")
    if not isinstance(schema, str):
        msg = "no schema is named"
        raise DecodeError(msg)
    if schema not in SCHEMAS:
        kind, _, version = schema.partition("/")
        newer = any(known.startswith(f"{kind}/") for known in SCHEMAS) and version
        why = "a newer version than this wsprobe reads: update wsprobe" if newer else "not a schema of wsprobe"
        msg = f"schema {schema[:64]!r} is {why}"
        raise DecodeError(msg)
    record: Document = _decoder(SCHEMAS[schema])(document)
    return record


def decode_line(line: bytes) -> Observation:
    """The observation on one line of a records file; DecodeError with the reason where there is none."""
    record = decode(parse(line))
    if not isinstance(record, Observation):
        msg = "a document, not a line of a records file"
        raise DecodeError(msg)
    return record


def parse(text: bytes) -> object:
    """JSON of a stranger; DecodeError where it is not JSON, or nested beyond reason."""
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: deeply nested on purpose
        msg = "not JSON"
        raise DecodeError(msg) from error
    return parsed


# Encoding.


def _same(value: Any) -> Any:  # noqa: ANN401  any JSON scalar
    return value


@cache
def _encoder(kind: Any) -> Codec:  # noqa: ANN401  a type, or what typing makes of one
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        inner = _encoder(_without_none(kind))
        return _same if inner is _same else lambda value: None if value is None else inner(value)
    if origin is tuple:
        args = get_args(kind)
        inner = _encoder(args[0])
        return _same if inner is _same else lambda value: [inner(item) for item in value]
    if origin is dict:
        inner = _encoder(get_args(kind)[1])
        return _same if inner is _same else lambda value: {key: inner(item) for key, item in value.items()}
    return _object_encoder(kind) if isinstance(kind, type) and is_dataclass(kind) else _same


def _object_encoder(kind: type) -> Codec:
    names = [field.name for field in fields(kind)]
    parts, encode_values = attrgetter(*names), _values_encoder(kind, names)
    return lambda record: encode_values(parts(record))


def _values_encoder(kind: type, names: Iterable[str]) -> Codec:
    """Encodes the values of those fields of a record, which are given in that order."""
    hints = get_type_hints(kind)
    each = {field.name: field for field in fields(kind)}
    plan = [(name, _is_written(each[name]), each[name].default, _field_encoder(each[name], hints)) for name in names]

    def encode_values(values: tuple[Any, ...]) -> Json:
        result = {}
        for value, (name, required, default, encoder) in zip(values, plan, strict=True):
            # None is compared by identity alone: to compare it with a record would be a call for each field.
            if required or not (value is default or (default is not None and value == default)):
                result[name] = value if encoder is _same else encoder(value)
        return result

    return encode_values


def _is_written(field: Field[Any]) -> bool:
    """Whether a field is written even where it holds its default."""
    return field.default is MISSING or "always" in field.metadata


def _field_encoder(field: Field[Any], hints: dict[str, Any]) -> Codec:
    encoder = _encoder(hints[field.name])
    none = field.metadata.get("none")
    return encoder if none is None else lambda value: none if value is None else encoder(value)


def _field_decoder(field: Field[Any], hints: dict[str, Any]) -> Codec:
    decoder = _decoder(hints[field.name])
    none = field.metadata.get("none")
    return decoder if none is None else lambda value: None if value == none else decoder(value)


def _without_none(kind: Any) -> Any:  # noqa: ANN401  a type, or what typing makes of one
    (inner,) = (arg for arg in get_args(kind) if arg is not type(None))
    return inner


# Decoding.


@cache
def _decoder(kind: Any) -> Codec:  # noqa: ANN401  a type, or what typing makes of one
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        inner = _decoder(_without_none(kind))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _tuple_decoder(get_args(kind))
    if origin is dict:
        inner = _decoder(get_args(kind)[1])
        return lambda value: {_checked(key, str): inner(item) for key, item in _checked(value, dict).items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _object_decoder(kind)
    if issubclass(kind, StrEnum):
        return lambda value: _member(kind, value)
    return lambda value: _checked(value, kind)


def _tuple_decoder(args: tuple[Any, ...]) -> Codec:
    inner = _decoder(args[0])
    if args[-1] is Ellipsis:
        return lambda value: tuple(inner(item) for item in _bounded(value))

    def decode_fixed(value: object) -> tuple[Any, ...]:
        items = _bounded(value)
        if len(items) != len(args):
            msg = f"{len(args)} items expected, {len(items)} found"
            raise DecodeError(msg)
        return tuple(inner(item) for item in items)

    return decode_fixed


def _object_decoder(kind: type) -> Codec:
    hints = get_type_hints(kind)
    plan = [(field.name, field.default is MISSING, _field_decoder(field, hints)) for field in fields(kind)]

    def decode_object(value: object) -> object:
        document = _checked(value, dict)
        found = {}
        for name, required, decoder in plan:
            if name in document:
                found[name] = _at(name, decoder, document[name])
            elif required:
                msg = f"{name} is missing"
                raise DecodeError(msg)
        return kind(**found)

    return decode_object


def _at(name: str, decoder: Codec, value: object) -> Any:  # noqa: ANN401  what the field's type says
    try:
        return decoder(value)
    except DecodeError as error:
        msg = f"{name}: {error}"
        raise DecodeError(msg) from None


def _member(kind: type[StrEnum], value: object) -> StrEnum:
    try:
        return kind(_checked(value, str))
    except ValueError:
        msg = f"{str(value)[:40]!r} is not one of {', '.join(kind)}"
        raise DecodeError(msg) from None


def _bounded(value: object) -> list[Any]:
    items: list[Any] = _checked(value, list)
    if len(items) > _MAX_ITEMS:
        msg = f"more than {_MAX_ITEMS} items"
        raise DecodeError(msg)
    return items


def _checked(value: Any, kind: type) -> Any:  # noqa: ANN401  the type that was checked
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if -_MAX_TIME < value < _MAX_TIME else float("nan")
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        msg = f"{kind.__name__} expected, {type(value).__name__} found"
        raise DecodeError(msg)
    most = _MAX_TIME if kind is float else _MAX_NUMBER
    if isinstance(value, int | float) and not (-most < value < most):
        msg = "a number beyond reason"
        raise DecodeError(msg)
    return value
