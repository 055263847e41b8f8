"""The observer: what passed on one connection, however it was cut into pieces, whatever it was."""

import random
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.wire import BINARY, CLOSE, KEY, MASK, PING, PONG, TEXT, accept, close, frame, upgrade
from wsprobe.codec import encode_line
from wsprobe.connection import Frame as Kept
from wsprobe.heads import MAX_BODY, MAX_HEAD
from wsprobe.model import (
    Activity,
    Close,
    Count,
    Ending,
    Failure,
    Frames,
    Observation,
    Pings,
    PingsBySide,
    Recorder,
    Sender,
    Subprotocol,
)
from wsprobe.observer import MAX_EARLY, Observer, Source

MIB = 1 << 20
CLIENT, SERVER, LOCAL = Sender.CLIENT, Sender.SERVER, Sender.LOCAL
SOURCE = Source(name="edge", instance="host", recorder=Recorder(kind="relay", version="0"))
EPOCH = 1_700_000_000.0

ASKED = upgrade()
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {accept(KEY)}\r\n\r\n"
).encode()
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Bytes:
    """What one side sends in one go."""

    sender: Sender
    data: bytes


@dataclass(frozen=True)
class End:
    """How something ends: `eof client`, `reset server`, `timeout`, `stop`."""

    how: str


Step = Bytes | End


def c(*data: bytes) -> Bytes:
    return Bytes(CLIENT, b"".join(data))


def s(*data: bytes) -> Bytes:
    return Bytes(SERVER, b"".join(data))


Cut = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data] if data else []


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def play(steps: Sequence[Step], cut: Cut = whole, *, ended: bool = True) -> list[Observation]:
    """All observations of a connection on which the steps happened, a second each, in pieces as `cut` makes them."""
    observer = Observer(SOURCE, "c", epoch=EPOCH)
    seen = []
    for number, step in enumerate(steps):
        at = float(number)
        if isinstance(step, Bytes):
            for piece in cut(step.data):
                observer.feed(step.sender, piece, at)
                assert observer.due is bool(observer._due)  # noqa: SLF001  what recorders rely on
                seen += observer.take()
        else:
            how, _, sender = step.how.partition(" ")
            if sender:
                {"eof": observer.eof, "reset": observer.reset}[how](Sender(sender), at)
            else:
                {"timeout": observer.timeout, "stop": observer.stop}[how](at)
        seen += observer.take()
    if ended:
        observer.end(float(len(steps)))
        seen += observer.take()
    assert not observer.due
    return [one.observation for one in seen]


def last(*steps: Step, cut: Cut = whole) -> Observation:
    return play(steps, cut)[-1]


def passed(sender: Sender, octets: int, at: float, opcode: str = "text") -> Kept:
    return Kept(at=at, sender=sender, opcode=opcode, bytes=octets)


def kinds(observation: Observation) -> list[str]:
    return [anomaly.kind for anomaly in observation.anomalies]


# What is seen of an exchange.


def test_an_upgrade_is_told_when_it_is_answered_and_again_when_it_ends() -> None:
    first, second = play(
        [c(ASKED), s(SWITCHED), c(frame(TEXT, b"hi", mask=MASK)), s(frame(TEXT, b"hello")), End("eof server")]
    )
    assert (first.closes, first.ended, first.frames) == ((), None, Frames(client={}, server={}))
    assert second.ended == 5.0
    assert second.closes == (Close(sender=SERVER, ending=Ending.EOF, code=None, reason="", at=4.0),)
    assert second.frames == Frames(
        client={"text": Count(frames=1, bytes=2)},
        server={"text": Count(frames=1, bytes=5)},
        first=(passed(CLIENT, 2, 2.0), passed(SERVER, 5, 3.0)),
    )
    assert second.activity == Activity(client=2.0, server=3.0)
    assert first == replace(second, closes=(), ended=None, frames=Frames(client={}, server={}), activity=None)


def test_the_handshake_is_judged_and_timed() -> None:
    seen = last(c(ASKED), s(SWITCHED))
    assert seen.handshake is not None
    assert (seen.handshake.asked, seen.handshake.upgraded, seen.handshake.duration) == (True, True, 1.0)
    assert seen.handshake.request_flaws == seen.handshake.response_flaws == ()
    assert seen.handshake.subprotocol is Subprotocol.NOT_OFFERED
    assert seen.at == "2023-11-14T22:13:20.000000Z"
    assert seen.trace is not None
    assert seen.request is not None
    assert seen.request.headers[0] == ("Host", "app.example.test")


def test_the_duration_runs_from_the_end_of_one_head_to_the_end_of_the_other() -> None:
    steps = [c(ASKED[:30]), c(ASKED[30:]), s(SWITCHED[:30]), s(SWITCHED[30:])]
    seen = last(*steps)
    assert seen.handshake is not None
    assert seen.handshake.duration == 2.0
    assert seen.ended == 4.0


def test_a_plain_exchange_is_told_once() -> None:
    (seen,) = play([c(GET), s(OK)])
    assert seen.request is not None
    assert seen.response is not None
    assert (seen.request.start_line, seen.response.start_line) == ("GET /health HTTP/1.1", "HTTP/1.1 200 OK")
    assert seen.response.body is None
    assert (seen.ended, seen.frames, seen.closes) == (1.0, None, ())
    assert seen.handshake is not None
    assert not seen.handshake.asked


def test_requests_before_the_upgrade_are_exchanges_of_their_own() -> None:
    post = b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
    chunked = b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    head = b"HEAD /c HTTP/1.1\r\n\r\n"
    seen = play(
        [c(GET, post), s(OK, b"HTTP/1.1 204 No Content\r\n\r\n"), c(chunked), s(OK), c(head), s(OK[:-2]), c(ASKED),
         s(SWITCHED), s(frame(TEXT, b"x"))]
    )  # fmt: skip
    lines = [one.request.start_line for one in seen if one.request]
    assert lines == [
        "GET /health HTTP/1.1", "POST /a HTTP/1.1", "POST /b HTTP/1.1", "HEAD /c HTTP/1.1", "GET /ws HTTP/1.1",
        "GET /ws HTTP/1.1",
    ]  # fmt: skip
    assert [one.exchange for one in seen] == [0, 1, 2, 3, 4, 4]
    one = {"text": Count(frames=1, bytes=1)}
    assert seen[-1].frames == Frames(client={}, server=one, first=(passed(SERVER, 1, 2.0),))
    assert seen[-1].activity == Activity(server=2.0)  # from the beginning of its own exchange, not of the connection
    assert all(one.anomalies == () for one in seen)


def test_interim_responses_are_kept_by_their_start_lines() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    seen = last(c(ASKED), s(b"HTTP/1.1 100 Continue\r\n\r\n", hints, SWITCHED, frame(TEXT, b"x")))
    assert seen.interim == ("HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints")
    assert seen.response is not None
    assert seen.response.start_line == "HTTP/1.1 101 Switching Protocols"
    assert seen.frames is not None
    assert seen.frames.server == {"text": Count(frames=1, bytes=1)}
    endless = last(c(ASKED), *[s(hints)] * 50, s(SWITCHED))
    assert len(endless.interim) == 8


@pytest.mark.parametrize(
    ("answer", "text", "size", "cut"),
    [
        pytest.param(b"Content-Length: 2\r\n\r\nno", "no", 2, False, id="counted"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n1\r\nn\r\n1\r\no\r\n0\r\n\r\n", "no", 2, False, id="in chunks"
        ),
        pytest.param(b"\r\nno", "no", 2, False, id="until the connection ends"),
        pytest.param(b"Content-Length: 0\r\n\r\n", "", 0, False, id="empty"),
        pytest.param(b"\r\n" + b"x" * (MAX_BODY + 5), "x" * MAX_BODY, MAX_BODY + 5, True, id="longer than is kept"),
        pytest.param(b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", None, 2, False, id="coded"),
        pytest.param(b"Content-Length: 2\r\n\r\n\0\1", None, 2, False, id="not text"),
        pytest.param(b"Content-Length: 2\r\n\r\n\xff\xfe", "\ufffd\ufffd", 2, False, id="not UTF-8"),
    ],
)
def test_a_refusal_is_told_with_its_body(answer: bytes, text: str | None, size: int, cut: bool) -> None:  # noqa: FBT001  a column of the table
    for pieces in (whole, bytewise) if size < 100 else (whole,):
        (seen,) = play([c(ASKED), s(b"HTTP/1.1 403 Forbidden\r\n", answer), End("eof server")], pieces)
        assert seen.response is not None
        assert seen.response.body is not None
        assert (seen.response.body.text, seen.response.body.size, seen.response.body.cut) == (text, size, cut)
        assert seen.anomalies == ()


def test_after_a_refusal_the_connection_serves_the_next_request() -> None:
    refused, switched, ended = play([c(ASKED), s(REFUSED), c(ASKED), s(SWITCHED), c(close(1000, mask=MASK))])
    assert refused.response is not None
    assert refused.response.start_line == "HTTP/1.1 403 Forbidden"
    assert (switched.exchange, ended.exchange) == (1, 1)
    assert [end.code for end in ended.closes] == [1000]


def test_frames_in_the_segment_of_the_request_are_read_after_the_101() -> None:
    early = frame(TEXT, b"early", mask=MASK) + frame(PING, b"p", mask=MASK)
    seen = last(c(ASKED, early), s(SWITCHED), s(frame(PONG, b"p")))
    assert seen.frames is not None
    assert seen.frames.client == {"text": Count(frames=1, bytes=5), "ping": Count(frames=1, bytes=1)}
    assert seen.pings is not None
    assert seen.pings.client is not None
    assert seen.pings.client.answered == 1
    assert seen.anomalies == ()


def test_a_request_in_the_segment_of_a_refused_one_is_read_after_the_refusal() -> None:
    seen = play([c(ASKED, GET), s(REFUSED), s(OK)])
    assert [one.request.start_line for one in seen if one.request] == ["GET /ws HTTP/1.1", "GET /health HTTP/1.1"]


def test_the_body_of_an_upgrade_request_is_no_frame() -> None:
    asked = upgrade(headers=[("Content-Length", "5")]) + b"hello"
    seen = last(c(asked, frame(TEXT, b"x", mask=MASK)), s(SWITCHED))
    assert seen.frames is not None
    assert seen.frames.client == {"text": Count(frames=1, bytes=1)}
    assert seen.anomalies == ()


def test_too_much_before_the_101_is_told_and_not_read_as_frames() -> None:
    flood = frame(BINARY, b"x" * MAX_EARLY, mask=MASK)
    seen = last(
        c(ASKED), c(flood[:100]), c(flood[100:]), s(SWITCHED), c(frame(TEXT, b"x", mask=MASK)), End("eof client")
    )
    assert kinds(seen) == ["data before the 101 that was too much to be read"]
    assert seen.frames == Frames(client={}, server={})


def test_too_much_before_a_refusal_is_told_with_it_and_with_nothing_else() -> None:
    refused, *others = play([c(ASKED, b"x" * (MAX_EARLY + 1)), s(REFUSED), c(ASKED), s(SWITCHED)])
    assert kinds(refused) == ["data before the answer that was too much to be read"]
    assert [kinds(one) for one in others] == [[], []]


def test_an_anomaly_is_told_of_the_exchange_that_had_it() -> None:
    bare = GET.replace(b"\r\n", b"\n")
    first, *others = play([c(bare), s(OK), c(ASKED), s(SWITCHED)])
    assert kinds(first) == ["a line ends in LF without CR"]
    assert [kinds(one) for one in others] == [[], []]


def test_the_payload_of_a_tunnel_is_not_kept() -> None:
    connect = b"CONNECT h.example:443 HTTP/1.1\r\nHost: h.example\r\n\r\n"
    steps = [c(connect), s(b"HTTP/1.1 200 Connection established\r\n\r\n"), c(b"payload" * 20000), s(b"secret payload")]
    (seen,) = play([*steps, End("eof server"), End("eof client")])
    assert seen.response is not None
    assert seen.response.body is None
    assert "payload" not in repr(seen)
    assert seen.anomalies == ()


def test_the_body_of_a_refused_tunnel_is_kept() -> None:
    (seen,) = play([c(b"CONNECT h:443 HTTP/1.1\r\n\r\n"), s(REFUSED)])
    assert seen.response is not None
    assert seen.response.body is not None
    assert seen.response.body.text == "no"


# What is not an exchange, or only half of one.


def test_a_connection_without_a_byte_is_none() -> None:
    assert play([]) == []
    assert play([End("eof client"), End("eof server")]) == []
    assert play([End("reset client")]) == []


def test_a_failure_without_a_byte_is_one() -> None:
    observer = Observer(SOURCE, "c", epoch=EPOCH)
    failure = Failure(phase="tcp", kind="refused", message="connection refused")
    observer.fail(failure)
    observer.end(1.0)
    (seen,) = observer.take()
    assert (seen.observation.failure, seen.observation.request, seen.observation.response) == (failure, None, None)


@pytest.mark.parametrize(
    ("steps", "lines", "told"),
    [
        pytest.param([c(ASKED[:30])], ("GET /ws HTTP/1.1", None), ["a request head that did not end"], id="of a request"),
        pytest.param([c(ASKED)], ("GET /ws HTTP/1.1", None), [], id="without an answer"),
        pytest.param(
            [c(ASKED), s(b"HTTP/1.1 502 Bad Gateway\r\nServer:")], ("GET /ws HTTP/1.1", "HTTP/1.1 502 Bad Gateway"),
            ["a response head that did not end"], id="of a response",
        ),
        pytest.param(
            [c(ASKED), s(b"SSH-2.0-OpenSSH")], ("GET /ws HTTP/1.1", "SSH-2.0-OpenSSH"),
            ["a response head that did not end"], id="of what is no HTTP",
        ),
        pytest.param(
            [s(b"220 mail ready\r\n")], (None, "220 mail ready"), ["a response head that did not end"],
            id="of a server that speaks first",
        ),
        pytest.param(
            [c(ASKED), s(b"HTTP/1.1 103 Early Hints\r\nLink:")], ("GET /ws HTTP/1.1", None),
            ["a response head that did not end"], id="of an interim response, which is no answer",
        ),
        pytest.param([c(b"\r\n\r\n")], (None, None), [], id="of nothing but empty lines"),
        pytest.param(
            [c(ASKED), s(b"nonsense\r\n\r\nmore"), End("eof server")], ("GET /ws HTTP/1.1", "nonsense"),
            ["not an HTTP response"], id="that is no HTTP response",
        ),
        pytest.param(
            [c(ASKED), s(b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf"), End("eof server")],
            ("GET /ws HTTP/1.1", "HTTP/1.1 403 No"), ["a body that was cut short"], id="of a counted body",
        ),
        pytest.param(
            [c(ASKED), s(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"), End("reset server")],
            ("GET /ws HTTP/1.1", "HTTP/1.1 403 No"), ["a body that was cut short"], id="of a body in chunks",
        ),
        pytest.param(
            [c(ASKED[:30]), s(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")],
            ("GET /ws HTTP/1.1", "HTTP/1.1 408 Request Timeout"), ["a request head that did not end"],
            id="that was answered before it ended",
        ),
    ],
)  # fmt: skip
def test_half_an_exchange_is_evidence(steps: list[Step], lines: tuple[str | None, str | None], told: list[str]) -> None:
    for cut in (whole, bytewise):
        (seen,) = play(steps, cut)
        found = tuple(message and message.start_line for message in (seen.request, seen.response))
        assert (found, kinds(seen)) == (lines, told)


def test_more_than_64_requests_without_an_answer_are_told_and_not_kept() -> None:
    seen = play([c(GET * 100)])
    assert len(seen) == 64
    assert kinds(seen[-1]) == ["more than 64 requests without an answer"]
    assert seen[-1].anomalies[0].times == 36


# How it ends.


def end_of(
    sender: Sender, ending: Ending, code: int | None = None, reason: str = ""
) -> tuple[Sender, Ending, int | None, str]:
    return sender, ending, code, reason


@pytest.mark.parametrize(
    ("steps", "ends"),
    [
        pytest.param(
            [s(close(1011, "boom")), c(close(1011, mask=MASK)), End("eof server"), End("eof client")],
            [
                end_of(SERVER, Ending.FRAME, 1011, "boom"), end_of(CLIENT, Ending.FRAME, 1011),
                end_of(SERVER, Ending.EOF), end_of(CLIENT, Ending.EOF),
            ],
            id="the server closes, the client answers",
        ),
        pytest.param(
            [c(close(1000, mask=MASK)), s(close(1000)), End("eof server")],
            [end_of(CLIENT, Ending.FRAME, 1000), end_of(SERVER, Ending.FRAME, 1000), end_of(SERVER, Ending.EOF)],
            id="the client closes",
        ),
        pytest.param([End("eof server"), End("eof client")], [end_of(SERVER, Ending.EOF), end_of(CLIENT, Ending.EOF)],
                     id="without a close frame"),
        pytest.param([End("reset client")], [end_of(CLIENT, Ending.RESET)], id="a reset"),
        pytest.param([End("eof server"), End("reset server")],
                     [end_of(SERVER, Ending.EOF), end_of(SERVER, Ending.RESET)], id="a reset after the end"),
        pytest.param([End("timeout"), End("stop")], [end_of(LOCAL, Ending.TIMEOUT), end_of(LOCAL, Ending.EOF)],
                     id="the recorder's own acts"),
        pytest.param([s(close(1000)), s(close(1001)), End("eof server"), End("eof server")],
                     [end_of(SERVER, Ending.FRAME, 1000), end_of(SERVER, Ending.EOF)], id="each end counts once"),
        pytest.param([], [], id="still open"),
    ],
)  # fmt: skip
def test_the_ends_are_told_in_the_order_in_which_they_came(
    steps: list[Step], ends: list[tuple[Sender, Ending, int | None, str]]
) -> None:
    for cut in (whole, bytewise):
        seen = last(c(ASKED), s(SWITCHED), *steps, cut=cut)
        assert [(one.sender, one.ending, one.code, one.reason) for one in seen.closes] == ends
        assert [one.at for one in seen.closes] == sorted(one.at for one in seen.closes)


@pytest.mark.parametrize(
    ("payload", "code", "reason", "told"),
    [
        pytest.param(b"", None, "", [], id="empty"),
        pytest.param(b"\x03", None, "", ["a close frame with half a code"], id="half a code"),
        pytest.param(b"\x03\xf3", 1011, "", [], id="a code"),
        pytest.param(b"\x03\xf3" + b"x" * 123, 1011, "x" * 123, [], id="the longest reason"),
        pytest.param(b"\x03\xf3caf\xc3\xa9", 1011, "caf\xe9", [], id="a reason in UTF-8"),
        pytest.param(b"\x03\xf3\xff\xfe", 1011, "\ufffd\ufffd", ["a close reason that is not UTF-8"], id="not UTF-8"),
        pytest.param(b"\x03\xf3\xc3", 1011, "\ufffd", ["a close reason that is not UTF-8"], id="half a character"),
        pytest.param(b"\x03\xed", 1005, "", ["a close code that must not be sent"], id="1005"),
        pytest.param(b"\x03\xee", 1006, "", ["a close code that must not be sent"], id="1006"),
        pytest.param(b"\x03\xf7", 1015, "", ["a close code that must not be sent"], id="1015"),
        pytest.param(b"\x03\xec", 1004, "", ["a close code that must not be sent"], id="1004"),
        pytest.param(b"\x00\x00", 0, "", ["a close code that must not be sent"], id="0"),
        pytest.param(b"\x13\x88", 5000, "", ["a close code that must not be sent"], id="5000"),
        pytest.param(b"\x11\x31", 4401, "", [], id="a private code"),
    ],
)
def test_a_close_frame_is_told_as_it_was_on_the_wire(
    payload: bytes, code: int | None, reason: str, told: list[str]
) -> None:
    for sender, mask in ((s, b""), (c, MASK)):
        seen = last(c(ASKED), s(SWITCHED), sender(frame(CLOSE, payload, mask=mask)))
        (found,) = seen.closes
        assert (found.ending, found.code, found.reason) == (Ending.FRAME, code, reason)
        assert kinds(seen) == told


def test_a_code_that_must_not_be_sent_is_named() -> None:
    seen = last(c(ASKED), s(SWITCHED), s(close(1006)))
    assert seen.anomalies[0].detail == "1006 (abnormal closure [internal])"


def test_an_error_page_inside_the_websocket_is_an_observation() -> None:
    page = b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 900\r\n\r\n" + b"x" * 900
    seen = last(c(ASKED), s(SWITCHED, frame(TEXT, b"hi")), s(page), End("eof server"), cut=bytewise)
    assert [(one.kind, one.detail) for one in seen.anomalies] == [
        ("an HTTP response inside the WebSocket", "HTTP/1.1 504 Gateway Timeout")
    ]
    assert seen.frames is not None
    assert seen.frames.server == {"text": Count(frames=1, bytes=2)}
    assert [one.ending for one in seen.closes] == [Ending.EOF]


def test_a_direction_that_ends_inside_a_frame_is_told() -> None:
    seen = last(c(ASKED), s(SWITCHED), s(b"\x82\x05ab"), End("eof server"))
    assert [(one.kind, one.detail) for one in seen.anomalies] == [
        ("the direction ended inside a frame", "3 octets short")
    ]


def test_the_extension_that_was_accepted_may_set_its_bit() -> None:
    asked = upgrade(headers=[("Sec-WebSocket-Extensions", "permessage-deflate")])
    accepted = SWITCHED[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    assert last(c(asked), s(accepted), s(b"\xc1\x01x")).anomalies == ()
    assert kinds(last(c(ASKED), s(SWITCHED), s(b"\xc1\x01x"))) == ["reserved bits without an extension"]
    assert kinds(last(c(asked), s(accepted), s(b"\xa1\x01x"))) == ["reserved bits without an extension"]


def test_an_anomaly_is_told_once_with_its_number() -> None:
    seen = last(c(ASKED), s(SWITCHED), *[s(frame(TEXT, b"x", mask=MASK))] * 5, c(frame(TEXT, b"x")))
    assert [(one.sender, one.kind, one.times, one.at) for one in seen.anomalies] == [
        (SERVER, "a masked frame", 5, 2.0),
        (CLIENT, "a frame that is not masked", 1, 7.0),
    ]


# Pings.


def pings(*steps: Step) -> PingsBySide | None:
    return last(c(ASKED), s(SWITCHED), *steps).pings


def test_pings_are_timed_by_their_pongs() -> None:
    # Seconds count from the request: the first step behind the handshake is second 2.
    timed = pings(
        s(frame(PING, b"a")), c(frame(PONG, b"a", mask=MASK)), s(frame(PING, b"b")), s(frame(TEXT)), c(frame(PONG, b"b", mask=MASK))
    )  # fmt: skip
    assert timed == PingsBySide(server=Pings(sent=2, answered=2, shortest=1.0, mean=1.5, longest=2.0))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([], None, id="no ping"),
        pytest.param([s(frame(PONG, b"a"))], None, id="a pong that nobody asked for"),
        pytest.param([s(frame(PING, b"a"))], Pings(sent=1, answered=0), id="a ping without a pong"),
        pytest.param(
            [s(frame(PING, b"a")), c(frame(PONG, b"z", mask=MASK))],
            Pings(sent=1, answered=0),
            id="a pong to something else",
        ),
        pytest.param(
            [
                s(frame(PING, b"a")),
                s(frame(PING, b"b")),
                c(frame(PONG, b"b", mask=MASK)),
                c(frame(PONG, b"a", mask=MASK)),
            ],
            Pings(sent=2, answered=1, shortest=1.0, mean=1.0, longest=1.0),
            id="a pong to the later one leaves the earlier one unanswered",
        ),
        pytest.param(
            [s(frame(PING)), s(frame(PING)), c(frame(PONG, mask=MASK)), c(frame(PONG, mask=MASK))],
            Pings(sent=2, answered=2, shortest=2.0, mean=2.0, longest=2.0),
            id="pings without a payload are answered in their order",
        ),
    ],
)
def test_a_pong_answers_the_ping_with_its_payload(steps: list[Step], expected: Pings | None) -> None:
    found = pings(*steps)
    assert (found and found.server) == expected
    assert not (found and found.client)


def test_pings_of_both_sides_are_apart() -> None:
    found = pings(c(frame(PING, b"a", mask=MASK)), s(frame(PING, b"a")), s(frame(PONG, b"a")))
    assert found == PingsBySide(
        client=Pings(sent=1, answered=1, shortest=2.0, mean=2.0, longest=2.0), server=Pings(sent=1, answered=0)
    )


# However it is cut into pieces.


def timeless(observation: Observation) -> Observation:
    """The observation without a time: they are of the piece that completed something."""
    handshake, pings_ = observation.handshake, observation.pings
    return replace(
        observation,
        at="",
        ended=None if observation.ended is None else 0.0,
        closes=tuple(replace(one, at=0.0) for one in observation.closes),
        anomalies=tuple(replace(one, at=0.0) for one in observation.anomalies),
        handshake=handshake and replace(handshake, duration=None),
        pings=pings_
        and PingsBySide(
            client=pings_.client and Pings(sent=pings_.client.sent, answered=pings_.client.answered),
            server=pings_.server and Pings(sent=pings_.server.sent, answered=pings_.server.answered),
        ),
        activity=observation.activity and Activity(
            client=None if observation.activity.client is None else 0.0,
            server=None if observation.activity.server is None else 0.0,
        ),
    )  # fmt: skip


REQUESTS = [
    GET,
    GET.replace(b"\r\n", b"\n"),
    b"\r\n" + GET,
    b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\nGET / H",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HEAD / HTTP/1.1\r\n\r\n",
    b"CONNECT h:1 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded\r\nbad line\r\n\r\n",
]
RESPONSES = [
    OK,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\nContent-Length: 1\n\nx",
    REFUSED,
    b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
]
UPGRADES = [
    ASKED,
    upgrade(headers=[("Sec-WebSocket-Extensions", "permessage-deflate"), ("Sec-WebSocket-Protocol", "a, b")]),
    upgrade(headers=[("Content-Length", "3")]) + b"abc",
    ASKED.replace(b"Upgrade: websocket\r\n", b""),
]
ANSWERS = [
    SWITCHED,
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + SWITCHED,
    SWITCHED[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\n\n",
    REFUSED,
    b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\n\r\nuntil the end",
    b"HTTP/1.1 101",
]

frames = st.one_of(
    st.builds(frame, st.sampled_from([TEXT, BINARY, PING, PONG, CLOSE]), st.binary(max_size=20), mask=st.sampled_from([b"", MASK])),
    st.builds(frame, st.sampled_from([TEXT, BINARY]), st.sampled_from([126, 300, 65536]).map(bytes)),
    st.builds(close, st.sampled_from([1000, 1001, 1005, 1006, 1011, 1015, 4401, 0]), st.sampled_from(["", "bye", "\xe9"])),
    st.sampled_from(
        [b"\x88\x00", b"\x88\x01a", b"\x88\x03\x03\xf3\xff", b"\x01\x01a", b"\x00\x01b", b"\x80\x01c", b"\xf3\x00",
         b"\x82\x7f" + b"\xff" * 8, b"\x82\x7e\x00\x01x", b"\x89\x7e\x00\x80" + b"p" * 128, b"\x82\x05ab",
         b"HTTP/1.1 504 Gateway Timeout\r\nServer: squid\r\n\r\n<html>", b"HTTP/1", b"\xff\x00\x81"]
    ),
    st.binary(max_size=12),
)  # fmt: skip
plain = st.tuples(st.sampled_from(REQUESTS), st.sampled_from(RESPONSES)).map(lambda pair: [c(pair[0]), s(pair[1])])
upgraded = st.tuples(st.sampled_from(UPGRADES), st.lists(frames, max_size=2), st.sampled_from(ANSWERS)).map(
    lambda parts: [c(parts[0], *parts[1]), s(parts[2])]
)
talk = st.lists(st.builds(Bytes, st.sampled_from([CLIENT, SERVER]), frames), max_size=8)
garbage = st.lists(
    st.builds(
        Bytes,
        st.sampled_from([CLIENT, SERVER]),
        st.one_of(st.binary(max_size=30), st.sampled_from([*REQUESTS, *RESPONSES, *UPGRADES, *ANSWERS])),
    ),
    max_size=4,
)
ends = st.lists(
    st.sampled_from(["eof client", "eof server", "reset client", "reset server", "timeout", "stop"]).map(End),
    max_size=4,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Step]:
    """Plain exchanges, then an upgrade and frames; or whatever else, and any end."""
    steps: list[Step] = []
    for exchange in draw(st.lists(plain, max_size=3)):
        steps += exchange
    steps += draw(st.one_of(upgraded, garbage))
    steps += draw(talk)
    steps += draw(ends)
    steps += draw(st.one_of(st.just([]), garbage))
    return steps


@settings(max_examples=200)
@given(conversations(), st.randoms(use_true_random=False))
def test_chunking_does_not_change_what_is_said(steps: list[Step], chance: random.Random) -> None:
    def anyhow(data: bytes) -> Iterable[bytes]:
        while data:
            size = chance.choice([1, 2, 3, 7, 20, 100, 70000])
            yield data[:size]
            data = data[size:]

    expected = [timeless(one) for one in play(steps)]
    assert [timeless(one) for one in play(steps, anyhow)] == expected
    if sum(len(step.data) for step in steps if isinstance(step, Bytes)) < 5000:
        assert [timeless(one) for one in play(steps, bytewise)] == expected


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([CLIENT, SERVER]), st.binary(max_size=200)), max_size=12), ends)
def test_garbage_raises_nothing(pieces: list[tuple[Sender, bytes]], ending: list[End]) -> None:
    for prefix in ([], [c(ASKED), s(SWITCHED)]):
        for one in play([*prefix, *(Bytes(*piece) for piece in pieces), *ending]):
            assert len(one.anomalies) <= 16


@given(
    st.lists(
        st.builds(Frame, st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING]), st.binary(max_size=125)),
        max_size=8,
    )
)
def test_what_real_libraries_write_is_counted_without_a_flaw(sent: list[Frame]) -> None:
    headers = [("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", KEY),
               ("Sec-WebSocket-Version", "13")]  # fmt: skip
    asked = h11.Connection(h11.CLIENT).send(h11.Request(method="GET", target="/ws", headers=headers))
    assert asked is not None
    seen = last(
        c(asked), s(SWITCHED), c(*(one.serialize(mask=True) for one in sent)), s(*(one.serialize(mask=False) for one in sent))
    )  # fmt: skip
    assert seen.anomalies == ()
    assert seen.request is not None
    assert [(name.lower(), value) for name, value in seen.request.headers] == [(n.lower(), v) for n, v in headers]
    expected: dict[str, Count] = {}
    for code, name in ((Opcode.TEXT, "text"), (Opcode.BINARY, "binary"), (Opcode.PING, "ping")):
        sizes = [len(one.data) for one in sent if one.opcode == code]
        if sizes:
            expected[name] = Count(frames=len(sizes), bytes=sum(sizes))
    assert seen.frames is not None
    assert (seen.frames.client, seen.frames.server) == (expected, expected)
    told = [(one.opcode, one.bytes) for one in seen.frames.first]
    assert told == [(one.opcode.name.lower(), len(one.data)) for one in sent] * 2


# Hostile peers.


@pytest.mark.parametrize(
    ("before", "sender", "chunk", "times"),
    [
        pytest.param([], CLIENT, b"x" * 65536, 200, id="a request head without an end"),
        pytest.param([], CLIENT, b"a: b\r\n" * 10000, 200, id="endless headers"),
        pytest.param([c(ASKED)], SERVER, b"x" * 65536, 200, id="a response head without an end"),
        pytest.param([c(ASKED)], CLIENT, b"x" * 65536, 200, id="a client that does not wait for the answer"),
        pytest.param([c(ASKED), s(b"HTTP/1.1 403 No\r\n\r\n")], SERVER, b"x" * 65536, 200, id="a body without an end"),
        pytest.param(
            [c(ASKED), s(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")], SERVER, b"f" * 65536, 200,
            id="a size line without an end",
        ),
        pytest.param(
            [c(ASKED), s(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")], SERVER, b"T: x\r\n" * 10000, 10,
            id="trailers without an end",
        ),
        pytest.param([c(ASKED)], SERVER, b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 20, id="endless interim responses"),
        pytest.param([], CLIENT, GET * 100, 20, id="requests without an answer"),
        pytest.param([c(ASKED), s(SWITCHED)], SERVER, frame(PING, b"x" * 125) * 100, 100, id="ten thousand pings"),
        pytest.param([c(ASKED), s(SWITCHED)], SERVER, frame(PONG, b"x" * 125) * 100, 100, id="ten thousand pongs"),
        pytest.param([c(ASKED), s(SWITCHED)], SERVER, close(1000, "x" * 123) * 100, 100, id="ten thousand closes"),
        pytest.param([c(ASKED), s(SWITCHED, b"\x82\x7f" + b"\x7f" * 8)], SERVER, bytes(MIB), 50, id="a frame of 2^63 octets"),
        pytest.param(
            [c(ASKED), s(SWITCHED, b"\x82\x7f" + (50 * MIB).to_bytes(8))], SERVER, bytes(MIB), 50, id="a payload of 50 MiB"
        ),
        pytest.param([c(b"CONNECT h:1 HTTP/1.1\r\n\r\n"), s(b"HTTP/1.1 200 OK\r\n\r\n")], CLIENT, bytes(MIB), 50, id="a tunnel"),
    ],
)  # fmt: skip
def test_memory_is_bounded(before: list[Step], sender: Sender, chunk: bytes, times: int) -> None:
    observer = Observer(SOURCE, "c", epoch=EPOCH)
    for step in before:
        assert isinstance(step, Bytes)
        observer.feed(step.sender, step.data, 0.0)
    tracemalloc.start()
    for _ in range(times):
        observer.feed(sender, chunk, 1.0)
    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < MAX_HEAD * 2
    assert peak < MAX_HEAD * 2 + len(chunk) * 4
    observer.end(2.0)
    assert observer.take()


def test_the_observation_of_an_open_connection_can_be_had_at_any_time() -> None:
    observer = Observer(SOURCE, "c", epoch=EPOCH)
    assert observer.upgrade() is None
    observer.feed(CLIENT, ASKED, 0.0)
    assert observer.upgrade() is None
    observer.feed(SERVER, SWITCHED + frame(TEXT, b"x"), 1.0)
    seen = observer.upgrade()
    assert seen is not None
    one = {"text": Count(frames=1, bytes=1)}
    assert seen.observation.frames == Frames(client={}, server=one, first=(passed(SERVER, 1, 1.0),))
    assert seen.observation.ended is None


def test_frames_of_both_sides_stand_in_the_order_in_which_they_came() -> None:
    part = frame(TEXT, b"half")[1:]
    seen = last(
        c(ASKED), s(SWITCHED, frame(TEXT, b"a")), c(frame(PING, b"p", mask=MASK)), s(b"\x01", part), s(frame(0, b"b"))
    )
    assert seen.frames is not None
    assert seen.frames.first == (
        passed(SERVER, 1, 1.0),
        passed(CLIENT, 1, 2.0, "ping"),
        replace(passed(SERVER, 4, 3.0), more=True),
        passed(SERVER, 1, 4.0, "continuation"),
    )
    assert seen.frames.last == ()


def test_of_a_flood_the_first_frames_and_a_few_of_the_last_are_told() -> None:
    flood = [s(frame(TEXT, b"abc") * 100) for _ in range(100)]
    seen = last(
        c(ASKED), s(SWITCHED), *flood, s(frame(PING)), c(frame(PONG, mask=MASK)), s(frame(TEXT, b"bye"), close(1011))
    )
    assert seen.frames is not None
    assert seen.frames.server["text"].frames == 10_001
    assert len(encode_line(seen)) < 20_000
    assert len(seen.frames.first) == 33  # the client's pong is its first frame, whatever the server sent before
    assert [(one.opcode, one.at) for one in seen.frames.last] == [
        ("text", 101.0), ("ping", 102.0), ("text", 104.0), ("close", 104.0)
    ]  # fmt: skip


def test_what_happens_after_the_end_is_not_told() -> None:
    observer = Observer(SOURCE, "c", epoch=EPOCH)
    observer.feed(CLIENT, ASKED, 0.0)
    observer.end(1.0)
    assert len(observer.take()) == 1
    observer.end(2.0)
    assert observer.take() == []
