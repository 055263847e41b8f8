"""What RFC 6455 says of an upgrade and its answer, and which ids name an exchange at every hop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire import KEY
from wsprobe.handshake import (
    accept_for,
    asks_for_websocket,
    extensions,
    judge,
    key_octets,
    request_flaws,
    response_flaws,
    trace_ids,
)
from wsprobe.model import Header, Message, Subprotocol

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
KEY_ID = "7468652073616d706c65206e6f6e6365"
ASKED: tuple[Header, ...] = (
    ("Host", "a"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)
ANSWERED: tuple[Header, ...] = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
)


def with_(headers: tuple[Header, ...], name: str, *values: str) -> tuple[Header, ...]:
    """The headers with other values of that name, none at all if none is given."""
    return (*(header for header in headers if header[0] != name), *((name, value) for value in values))


def test_the_accept_of_the_standards_example() -> None:
    assert accept_for("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("key", "octets"),
    [
        pytest.param(KEY, b"the sample nonce", id="16 octets"),
        pytest.param("c2hvcnQ=", None, id="too few"),
        pytest.param("dGhlIHNhbXBsZSBub25jZSE=", None, id="too many"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ", None, id="without its padding"),
        pytest.param("dGhl IHNhbXBsZSBub25jZQ==", None, id="with a space"),
        pytest.param("\xe9" * 24, None, id="not ASCII"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_key_is_16_octets_in_base64(key: str, octets: bytes | None) -> None:
    assert key_octets(key) == octets


@pytest.mark.parametrize(
    ("start_line", "headers", "flaws"),
    [
        pytest.param("GET /ws HTTP/1.1", ASKED, (), id="an opening handshake"),
        pytest.param(
            "GET /ws HTTP/1.1", tuple((name.upper(), value) for name, value in ASKED), (), id="names in another case"
        ),
        pytest.param("GET / HTTP/1.1", with_(ASKED, "Upgrade", "h2c, WebSocket"), (), id="one of several protocols"),
        pytest.param(
            "GET / HTTP/1.1", with_(ASKED, "Connection", "keep-alive", "x, UPGRADE"), (), id="Connection over two lines"
        ),
        pytest.param("POST /ws HTTP/1.1", ASKED, ("the method is not GET",), id="another method"),
        pytest.param("GET /ws HTTP/1.0", ASKED, ("HTTP/1.0",), id="an old version"),
        pytest.param("GET / HTTP/1.1", with_(ASKED, "Upgrade"), ("no Upgrade: websocket",), id="no Upgrade"),
        pytest.param("GET / HTTP/1.1", with_(ASKED, "Upgrade", "websockets"), ("no Upgrade: websocket",), id="another Upgrade"),
        pytest.param(
            "GET / HTTP/1.1", with_(ASKED, "Connection", "close"), ("Connection does not name upgrade",), id="Connection: close"
        ),
        pytest.param(
            "GET / HTTP/1.1", with_(ASKED, "Connection"), ("Connection does not name upgrade",), id="no Connection"
        ),
        pytest.param("GET / HTTP/1.1", with_(ASKED, "Sec-WebSocket-Key"), ("no Sec-WebSocket-Key",), id="no key"),
        pytest.param(
            "GET / HTTP/1.1", with_(ASKED, "Sec-WebSocket-Key", KEY, KEY), ("more than one Sec-WebSocket-Key",), id="two keys"
        ),
        pytest.param(
            "GET / HTTP/1.1", with_(ASKED, "Sec-WebSocket-Key", "x"),
            ("Sec-WebSocket-Key is not 16 octets in base64",), id="a key that is none",
        ),
        pytest.param(
            "GET / HTTP/1.1", with_(ASKED, "Sec-WebSocket-Version"), ("Sec-WebSocket-Version is not 13",), id="no version"
        ),
        pytest.param(
            "GET / HTTP/1.1", with_(ASKED, "Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Version is not 13",),
            id="another version",
        ),
        pytest.param(
            "", (),
            (
                "the method is not GET", "no Upgrade: websocket", "Connection does not name upgrade",
                "no Sec-WebSocket-Key", "Sec-WebSocket-Version is not 13",
            ),
            id="nothing at all",
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_request_from_being_an_opening_handshake(
    start_line: str, headers: tuple[Header, ...], flaws: tuple[str, ...]
) -> None:
    assert request_flaws(start_line, headers) == flaws


@pytest.mark.parametrize(
    ("headers", "flaws"),
    [
        pytest.param(ANSWERED, (), id="a good answer"),
        pytest.param(with_(ANSWERED, "Upgrade", "WebSocket"), (), id="another case"),
        pytest.param(with_(ANSWERED, "Upgrade"), ("no Upgrade: websocket",), id="no Upgrade"),
        pytest.param(with_(ANSWERED, "Connection"), ("Connection does not name upgrade",), id="no Connection"),
        pytest.param(with_(ANSWERED, "Sec-WebSocket-Accept"), ("no Sec-WebSocket-Accept",), id="no accept"),
        pytest.param(
            with_(ANSWERED, "Sec-WebSocket-Accept", "S3PPLMBITXAQ9KYGZZHZRBK+XOO="),
            ("Sec-WebSocket-Accept does not answer the key",), id="an accept in another case",
        ),
        pytest.param((*ANSWERED, ("Sec-WebSocket-Extensions", "permessage-deflate; x=1")), (), id="an offered extension"),
        pytest.param(
            (*ANSWERED, ("Sec-WebSocket-Extensions", "x-other")), ("an extension that was not offered",),
            id="an extension that was not offered",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_answer(headers: tuple[Header, ...], flaws: tuple[str, ...]) -> None:
    asked = (*ASKED, ("Sec-WebSocket-Extensions", "permessage-deflate, x-one;a"), ("Sec-WebSocket-Extensions", "x-two"))
    assert response_flaws(asked, headers) == flaws


def test_without_a_key_the_accept_is_not_judged() -> None:
    assert response_flaws(with_(ASKED, "Sec-WebSocket-Key"), ANSWERED) == ()


@pytest.mark.parametrize(
    ("headers", "ids"),
    [
        pytest.param((), (), id="no id"),
        pytest.param((("Sec-WebSocket-Key", KEY),), (KEY_ID,), id="a key"),
        pytest.param((("sec-websocket-key", KEY),), (KEY_ID,), id="a key in lower case"),
        pytest.param((("Sec-WebSocket-Key", "x"),), (), id="a key that is none"),
        pytest.param((("Sec-WebSocket-Key", "MDAwMDAwMDAwMDAwMDAwMA=="),), (), id="the key that lighttpd sends for HTTP/2"),
        pytest.param((("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),), (), id="a key of zeros"),
        pytest.param((("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAB=="),), (), id="the same zeros, spelled otherwise"),
        pytest.param((("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),), (TRACE,), id="a traceparent"),
        pytest.param((("traceparent", f"cc-{TRACE}-00f067aa0ba902b7-01-more"),), (TRACE,), id="of a later version"),
        pytest.param((("Traceparent", f"00-{TRACE.upper()}-00f067aa0ba902b7-01"),), (TRACE,), id="in capitals"),
        pytest.param((("traceparent", f"00-{'0' * 32}-00f067aa0ba902b7-01"),), (), id="a trace id of zeros"),
        pytest.param((("traceparent", f"00-{TRACE[:-1]}-00f067aa0ba902b7-01"),), (), id="a short trace id"),
        pytest.param((("traceparent", f"00-{TRACE[:-1]}g-00f067aa0ba902b7-01"),), (), id="a trace id that is not hexadecimal"),
        pytest.param((("traceparent", TRACE),), (), id="a trace id alone"),
        pytest.param(
            (("Sec-WebSocket-Key", KEY), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")), (KEY_ID, TRACE),
            id="the key first",
        ),
        pytest.param(
            (("Sec-WebSocket-Key", KEY), ("traceparent", f"00-{KEY_ID}-00f067aa0ba902b7-01")), (KEY_ID,),
            id="both the same, as the probe has them",
        ),
        pytest.param((("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Key", "eA==")), (KEY_ID,), id="the first of two keys"),
    ],
)  # fmt: skip
def test_the_ids_of_an_exchange(headers: tuple[Header, ...], ids: tuple[str, ...]) -> None:
    assert trace_ids(headers) == ids


@pytest.mark.parametrize(
    ("headers", "asks"),
    [
        pytest.param(ASKED, True, id="an opening handshake"),
        pytest.param(with_(with_(ASKED, "Upgrade"), "Connection", "close"), True, id="without Upgrade and Connection"),
        pytest.param((("Upgrade", "WebSocket"),), True, id="with Upgrade alone"),
        pytest.param((("Upgrade", "h2c"),), False, id="of another protocol"),
        pytest.param((("Host", "a"),), False, id="not at all"),
    ],
)
def test_whether_a_request_asks_for_a_websocket(headers: tuple[Header, ...], asks: bool) -> None:  # noqa: FBT001  a column of the table
    assert asks_for_websocket(headers) is asks


@pytest.mark.parametrize(
    ("offered", "chosen", "verdict"),
    [
        pytest.param([], [], Subprotocol.NOT_OFFERED, id="none"),
        pytest.param(["a, b"], ["b"], Subprotocol.ECHOED, id="one of the offered"),
        pytest.param(["a", "b"], ["b"], Subprotocol.ECHOED, id="one of the offered over two lines"),
        pytest.param(["a, b"], [], Subprotocol.NOT_ECHOED, id="none of the offered"),
        pytest.param(["a, b"], ["c"], Subprotocol.FOREIGN, id="another one"),
        pytest.param(["a, b"], ["A"], Subprotocol.FOREIGN, id="another case is another one"),
        pytest.param(["a, b"], ["a, b"], Subprotocol.FOREIGN, id="both"),
        pytest.param([], ["a"], Subprotocol.FOREIGN, id="one that nobody offered"),
    ],
)
def test_what_became_of_the_subprotocols(offered: list[str], chosen: list[str], verdict: Subprotocol) -> None:
    request = Message(start_line="GET / HTTP/1.1", headers=with_(ASKED, "Sec-WebSocket-Protocol", *offered))
    response = Message(
        start_line="HTTP/1.1 101 Switching Protocols", headers=with_(ANSWERED, "Sec-WebSocket-Protocol", *chosen)
    )
    judged = judge(request, response, 0.5)
    assert judged.subprotocol is verdict
    assert judged.offered == sum(len(line.split(",")) for line in offered)


def test_a_whole_upgrade_is_judged() -> None:
    request = Message(start_line="GET / HTTP/1.1", headers=(*ASKED, ("Sec-WebSocket-Extensions", "permessage-deflate")))
    response = Message(
        start_line="HTTP/1.1 101 Switching Protocols",
        headers=(*ANSWERED, ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=10")),
    )
    judged = judge(request, response, 0.5)
    assert (judged.asked, judged.upgraded, judged.duration) == (True, True, 0.5)
    assert (judged.connection, judged.extensions) == (("Upgrade",), ("permessage-deflate",))
    assert judged.request_flaws == judged.response_flaws == ()


@pytest.mark.parametrize(
    ("headers", "response", "asked"),
    [
        pytest.param(ASKED, None, True, id="without an answer"),
        pytest.param(ASKED, "HTTP/1.1 403 Forbidden", True, id="refused"),
        pytest.param((("Host", "a"),), "HTTP/1.1 101 Switching Protocols", False, id="switched without being asked"),
    ],
)
def test_of_what_was_not_upgraded_the_answer_is_not_judged(
    headers: tuple[Header, ...], response: str | None, asked: bool  # noqa: FBT001  a column of the table
) -> None:  # fmt: skip
    answer = None if response is None else Message(start_line=response, headers=(("Sec-WebSocket-Extensions", "x"),))
    judged = judge(Message(start_line="GET / HTTP/1.1", headers=headers), answer, None)
    assert (judged.asked, judged.upgraded) == (asked, False)
    assert (judged.response_flaws, judged.subprotocol, judged.extensions) == ((), None, ())


def test_extensions_are_told_by_their_names() -> None:
    headers = (("Sec-WebSocket-Extensions", "a; b=1 , c"), ("sec-websocket-extensions", "d;e"))
    assert extensions(headers) == ("a", "c", "d")


latin = st.text(st.characters(max_codepoint=0xFF), max_size=30)
names = st.sampled_from(
    [name for name, _ in ASKED] + ["traceparent", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"]
)
any_headers = st.lists(st.tuples(names, latin), max_size=6).map(tuple)


@given(latin, any_headers, latin, any_headers)
def test_any_heads_can_be_judged(
    line: str, request: tuple[Header, ...], status: str, response: tuple[Header, ...]
) -> None:
    for answer in (status, f"HTTP/1.1 101 {status}"):
        judge(Message(start_line=line, headers=request), Message(start_line=answer, headers=response), None)
    assert all(len(bytes.fromhex(id_)) == 16 for id_ in trace_ids(request))
    response_flaws(request, response)
