"""The tee hears every byte that is on the wire, once, in order, with its ends, and changes none."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web

from tests import tls, wire
from wsprobe.model import Sender
from wsprobe.net.tee import Tee, client_factory

CLIENT, SERVER = Sender.CLIENT, Sender.SERVER
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
PLAIN_AND_TLS = [False, True]

Talk = Callable[["Peer"], Awaitable[None]]


@dataclass
class Heard:
    """A listener that keeps everything."""

    octets: dict[Sender, bytearray] = field(default_factory=lambda: {CLIENT: bytearray(), SERVER: bytearray()})
    ends: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def feed(self, sender: Sender, data: bytes, at: float) -> None:
        assert type(data) is bytes
        assert not self.over.is_set()
        self.octets[sender] += data
        self.times.append(at)

    def eof(self, sender: Sender, at: float) -> None:
        self.ends.append(f"eof {sender}")
        self.times.append(at)

    def reset(self, sender: Sender, at: float) -> None:
        self.ends.append(f"reset {sender}")
        self.times.append(at)

    def end(self, at: float) -> None:
        self.times.append(at)
        self.over.set()


@dataclass
class Peer:
    """The raw side of a connection: what it got and what it sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    got: bytearray = field(default_factory=bytearray)
    sent: bytearray = field(default_factory=bytearray)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> None:
        self.sent += data
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, end: bytes) -> None:
        while end not in self.got:
            data = await self.reader.read(65536)
            assert data, "the stream ended early"
            self.got += data

    async def rest(self) -> None:
        while data := await self.reader.read(65536):
            self.got += data

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def run(make: Callable[[], asyncio.AbstractEventLoop], test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(asyncio.wait_for(test, 20))


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> tls.SelfSigned:
    return tls.self_signed(tmp_path_factory.mktemp("tls"))


# The client's side: aiohttp against a raw server.


@contextlib.asynccontextmanager
async def raw_server(talk: Talk, context: ssl.SSLContext | None) -> AsyncIterator[tuple[str, list[Peer]]]:
    peers: list[Peer] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(Peer(reader, writer))
        with contextlib.closing(writer):
            await talk(peers[-1])
            peers[-1].done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()
    yield f"{'wss' if context else 'ws'}://{host}:{port}/ws", peers
    server.close()


async def client(talk: Talk, cert: tls.SelfSigned | None, *, closes: bool) -> tuple[Heard, Peer, list[str]]:
    """One WebSocket of aiohttp with a tee; `closes` says whether it is the client that closes."""
    heard, texts = Heard(), []
    async with raw_server(talk, cert.server() if cert else None) as (url, peers):
        connector = aiohttp.TCPConnector(ssl=cert.client() if cert else True)
        connector._factory = client_factory(lambda _: heard)  # type: ignore[assignment]  # noqa: SLF001
        patience = aiohttp.ClientWSTimeout(ws_close=0.2)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(url, timeout=patience) as ws,
        ):
            await ws.send_str("from the client")
            await ws.send_bytes(bytes(100_000))
            while True:
                message = await ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                texts.append(message.data)
                if closes:
                    await ws.close(code=4001, message=b"enough")
        await heard.over.wait()
        await peers[0].done.wait()
    return heard, peers[0], texts


def accepted(peer: Peer) -> bytes:
    head = bytes(peer.got).decode("latin-1").lower()
    key_at = head.index("sec-websocket-key: ") + 19
    key = bytes(peer.got).decode("latin-1")[key_at : key_at + 24]
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {wire.accept(key)}\r\n\r\n"
    ).encode()


async def greet(peer: Peer) -> None:
    """The 101 with a frame in the same segment, then another frame in pieces, then a close frame."""
    await peer.until(b"\r\n\r\n")
    await peer.send(accepted(peer) + wire.frame(wire.TEXT, b"with the 101"))
    await asyncio.sleep(0.02)
    for octet in wire.frame(wire.TEXT, b"in pieces"):
        await peer.send(bytes([octet]))
    await asyncio.sleep(0.02)


async def greet_and_close(peer: Peer) -> None:
    await greet(peer)
    await peer.send(wire.close(1011, "no"))
    await peer.rest()


async def greet_and_wait(peer: Peer) -> None:
    await greet(peer)
    await peer.rest()


async def greet_and_drop(peer: Peer) -> None:
    await greet(peer)
    while len(peer.got) < 100_000:
        peer.got += await peer.reader.read(65536)  # what is left unread would make a RST of the FIN


async def greet_and_reset(peer: Peer) -> None:
    await greet(peer)
    peer.reset()


@pytest.mark.parametrize("encrypted", PLAIN_AND_TLS, ids=["plain", "tls"])
@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
def test_client_hears_what_is_on_the_wire(
    make: Callable[[], asyncio.AbstractEventLoop], cert: tls.SelfSigned, *, encrypted: bool
) -> None:
    async def test() -> None:
        heard, peer, texts = await client(greet_and_close, cert if encrypted else None, closes=False)
        assert texts == ["with the 101", "in pieces"]
        assert heard.octets == {CLIENT: peer.got, SERVER: peer.sent}
        assert heard.times == sorted(heard.times)
        assert set(heard.ends) == {"eof client", "eof server"} or heard.ends == ["eof client"]

    run(make, test())


@pytest.mark.parametrize("encrypted", PLAIN_AND_TLS, ids=["plain", "tls"])
@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
def test_client_that_closes_is_heard_first(
    make: Callable[[], asyncio.AbstractEventLoop], cert: tls.SelfSigned, *, encrypted: bool
) -> None:
    async def test() -> None:
        heard, peer, _ = await client(greet_and_wait, cert if encrypted else None, closes=True)
        assert heard.ends[0] == "eof client"
        assert heard.octets[CLIENT] == peer.got
        assert (wire.CLOSE, struct.pack(">H", 4001) + b"enough") in wire.frames([bytes(peer.got).split(b"\r\n\r\n")[1]])

    run(make, test())


@pytest.mark.parametrize("encrypted", PLAIN_AND_TLS, ids=["plain", "tls"])
@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
def test_server_that_drops_the_connection_is_heard_first(
    make: Callable[[], asyncio.AbstractEventLoop], cert: tls.SelfSigned, *, encrypted: bool
) -> None:
    async def test() -> None:
        heard, _, _ = await client(greet_and_drop, cert if encrypted else None, closes=False)
        assert heard.ends == ["eof server", "eof client"]

    run(make, test())


@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
def test_reset_is_no_eof(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test() -> None:
        heard, _, _ = await client(greet_and_reset, None, closes=False)
        assert heard.ends == ["reset server"]

    run(make, test())


# The server's side: a raw client against aiohttp.


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    if request.headers.get("Upgrade") != "websocket":
        return web.Response(text="plain " * 1000)
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
        await ws.close(code=1011, message=b"seen enough")
    return ws


@contextlib.asynccontextmanager
async def teed_server(cert: tls.SelfSigned | None) -> AsyncIterator[tuple[Heard, Peer]]:
    heard = Heard()
    server = web.Server(echo)
    loop = asyncio.get_running_loop()
    context = cert.server() if cert else None
    listening = await loop.create_server(lambda: Tee(server(), lambda _: heard, CLIENT), "127.0.0.1", 0, ssl=context)
    host, port = listening.sockets[0].getsockname()
    peer = Peer(*await asyncio.open_connection(host, port, ssl=cert.client() if cert else None))
    with contextlib.closing(peer.writer):
        yield heard, peer
    listening.close()
    await server.shutdown(1)


@pytest.mark.parametrize("encrypted", PLAIN_AND_TLS, ids=["plain", "tls"])
@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
def test_server_hears_what_is_on_the_wire(
    make: Callable[[], asyncio.AbstractEventLoop], cert: tls.SelfSigned, *, encrypted: bool
) -> None:
    async def test() -> None:
        async with teed_server(cert if encrypted else None) as (heard, peer):
            await peer.send(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
            await peer.until(b"plain " * 1000)
            await peer.send(wire.upgrade() + wire.frame(wire.TEXT, b"too early", mask=wire.MASK))
            await peer.until(wire.close(1011, "seen enough"))
            await peer.send(wire.close(1011, mask=wire.MASK))
            await peer.rest()
            await heard.over.wait()
            assert heard.octets == {CLIENT: peer.sent, SERVER: peer.got}
            assert heard.ends[0] == "eof server"
            assert heard.times == sorted(heard.times)

    run(make, test())


@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
def test_server_hears_a_client_that_leaves_and_one_that_breaks_off(
    make: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def test() -> None:
        async with teed_server(None) as (heard, peer):
            await peer.send(wire.upgrade())
            await peer.until(b"\r\n\r\n")
            peer.writer.write_eof()
            await heard.over.wait()
            assert heard.ends == ["eof client", "eof server"]
        async with teed_server(None) as (heard, peer):
            await peer.send(wire.upgrade())
            await peer.until(b"\r\n\r\n")
            peer.reset()
            await heard.over.wait()
            assert heard.ends == ["reset client"]

    run(make, test())
