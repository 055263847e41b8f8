"""The raw backend, asked by a client that others wrote."""

import http.client
import socket

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

from tests import backend, wire
from tests.backend import Backend


def dial(app: Backend, **headers: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{app.port}/ws", additional_headers=headers, proxy=None, compression=None)


def get(app: Backend, **headers: str) -> int:
    conn = http.client.HTTPConnection("127.0.0.1", app.port, timeout=10)
    conn.request("GET", "/", headers=headers)
    status = conn.getresponse().status
    conn.close()
    return status


def test_an_upgrade_without_a_token_ends_with_1011() -> None:
    with Backend(backend.needs_token) as app, dial(app) as client:
        with pytest.raises(ConnectionClosedError, match=r"received 1011 \(internal error\) Internal error"):
            client.recv(10)
        assert app.requests[0].start_line == "GET /ws HTTP/1.1"


def test_an_upgrade_with_a_token_ends_with_1000() -> None:
    with Backend(backend.needs_token) as app, dial(app, Authorization="Bearer t") as client:
        with pytest.raises(ConnectionClosedOK):
            client.recv(10)
        assert app.requests[0].get("AUTHORIZATION") == "Bearer t"


def test_plain_requests_and_upgrades_that_lost_their_header_are_answered_as_an_application_would() -> None:
    with Backend(backend.needs_token) as app:
        assert get(app) == 401
        assert get(app, Authorization="Bearer t") == 200
        assert get(app, **{"Sec-WebSocket-Key": wire.KEY}) == 426


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_echo_returns_messages_of_every_length_encoding(size: int) -> None:
    with Backend(backend.echo) as app, dial(app) as client:
        assert client.ping().wait(10)
        client.send("x" * size)
        assert client.recv(10) == "x" * size
        client.close(4321, "own code")
        assert client.close_code == 4321


def test_stay_open_says_nothing_and_keeps_what_came() -> None:
    with Backend(backend.stay_open) as app:
        with socket.create_connection(("127.0.0.1", app.port), 10) as conn:
            conn.sendall(wire.upgrade() + b"early")
            assert wire.read_head(conn)[1] == b""
            conn.sendall(b" and late")
        assert app.exchanges[0].done.wait(10)
        assert (bytes(app.exchanges[0].received), app.exchanges[0].ended) == (b"early and late", "eof")


def test_a_reset_by_the_peer_is_told_from_an_end() -> None:
    with Backend(backend.stay_open) as app:
        conn = socket.create_connection(("127.0.0.1", app.port), 10)
        conn.sendall(wire.upgrade())
        wire.read_head(conn)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        conn.close()
        assert app.exchanges[0].done.wait(10)
        assert app.exchanges[0].ended == "reset"


def test_a_reset_by_the_backend_reaches_the_peer() -> None:
    with Backend(backend.Exchange.reset) as app, socket.create_connection(("127.0.0.1", app.port), 10) as conn:
        conn.sendall(wire.upgrade())
        with pytest.raises(ConnectionResetError):
            conn.recv(1)


def test_nobody_answers_where_nobody_listens() -> None:
    with backend.nobody() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)
