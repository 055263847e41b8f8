"""The lines of one exchange: each is the whole of it, also where most of it was encoded for the line before."""

import json
from dataclasses import replace

from wsprobe.codec import LineEncoder, decode_line, encode
from wsprobe.model import Close, Ending, Handshake, Message, Observation, Recorder, Sender

FIRST = Observation(
    name="edge",
    instance="host",
    recorder=Recorder(kind="relay", version="1", alters=("the source address",)),
    connection="c0ffee",
    exchange=0,
    trace=None,
    at="2026-11-24T00:00:00.000000Z",
    request=Message(start_line="GET /ws HTTP/1.1", headers=(("Host", "a"), ("X", 'ö"\n'))),
    response=Message(start_line="HTTP/1.1 101 Switching Protocols", headers=()),
    closes=(),
    ended=None,
    handshake=Handshake(asked=True, upgraded=True, duration=0.25),
)
ENDED = replace(
    FIRST, closes=(Close(sender=Sender.SERVER, ending=Ending.FRAME, code=1011, reason="boom", at=1.0),), ended=1.5
)


def test_second_line_is_whole() -> None:
    encoder = LineEncoder()
    assert decode_line(encoder.encode(FIRST)) == FIRST
    assert decode_line(encoder.encode(ENDED)) == ENDED


def test_what_has_changed_is_encoded_anew() -> None:
    encoder = LineEncoder()
    encoder.encode(FIRST)
    for changed in (
        replace(ENDED, response=Message(start_line="HTTP/1.1 400 Bad Request", headers=())),
        replace(ENDED, recorder=Recorder(kind="mitmproxy", version="1")),
        replace(ENDED, handshake=None),
        replace(ENDED, request=None),
    ):
        assert decode_line(encoder.encode(changed)) == changed


def test_line_is_the_document_in_one_line() -> None:
    line = LineEncoder().encode(ENDED)
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert json.loads(line) == json.loads(json.dumps(encode(ENDED)))
