"""Applications for the matrix: how each server that people run answers, and how it fails."""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt

from tests import backend, wire
from tests.backend import Backend, Exchange

ROOT = Path(__file__).parents[2]
KEY = "a key of thirty-two octets or more"
GOOD = jwt.encode({"sub": "somebody", "aud": "app", "exp": 4_000_000_000}, KEY, "HS256")
EXPIRED = jwt.encode({"sub": "somebody", "aud": "app", "exp": 1_500_000_000}, KEY, "HS256")

Serve = Callable[[Path], "contextlib.AbstractContextManager[int]"]


@dataclass(frozen=True, slots=True)
class Origin:
    """An application: how it is started, for a folder, which gives its port; and the token that the client has.

    `recorded` says that it is a recorder itself, which writes origin.jsonl.
    """

    serve: Serve
    token: str = GOOD
    recorded: bool = False


def raw(answer: backend.Answer, token: str = GOOD) -> Origin:
    """An application by hand."""

    @contextlib.contextmanager
    def serve(_: Path) -> Iterator[int]:
        with Backend(answer) as app:
            yield app.port

    return Origin(serve, token)


def on_upgrade(*frames: bytes, plain: str = "200 OK") -> backend.Answer:
    """101 and these frames to every upgrade, and one answer to everything else."""

    def answer(exchange: Exchange) -> None:
        request = exchange.request
        if (request.get("upgrade") or "").lower() != "websocket":
            asked = request.get("sec-websocket-key") is not None
            exchange.send(backend.plain("426 Upgrade Required" if asked else plain))
            return
        exchange.send(backend.switching(request) + b"".join(frames))
        for _ in exchange.frames():
            pass

    return answer


def drops(exchange: Exchange) -> None:
    """101, and TCP ends: what uvicorn, aiohttp and tornado make of a handler that raises."""
    if exchange.request.get("upgrade"):
        exchange.send(backend.switching(exchange.request))
    else:
        exchange.send(backend.plain("200 OK"))


def slow(exchange: Exchange) -> None:
    """Everything works, after a second and a half."""
    time.sleep(1.5)
    on_upgrade(wire.close(1000))(exchange)


def refuses_before_accept(exchange: Exchange) -> None:
    """401 to who brings no token, whatever is asked."""
    if exchange.request.get("authorization"):
        on_upgrade(wire.close(1000))(exchange)
    else:
        exchange.send(backend.plain("401 Unauthorized"))


def drops_without_token(exchange: Exchange) -> None:
    """101, and TCP ends where no token came; plain HTTP wants one as well."""
    token = exchange.request.get("authorization")
    if not exchange.request.get("upgrade"):
        exchange.send(backend.plain("200 OK" if token else "401 Unauthorized"))
    elif token:
        on_upgrade(wire.close(1000))(exchange)
    else:
        exchange.send(backend.switching(exchange.request))


def wants_login(exchange: Exchange) -> None:
    """302 to a login on another host."""
    exchange.send(b"HTTP/1.1 302 Found\r\nLocation: https://login.example.test/authorize\r\nContent-Length: 0\r\n\r\n")


def limits_rate(exchange: Exchange) -> None:
    """429 to whoever comes."""
    exchange.send(backend.plain("429 Too Many Requests"))


def checks_origin(exchange: Exchange) -> None:
    """403 where the Origin is not that of the Host."""
    origin, host = exchange.request.get("origin") or "", exchange.request.get("host") or ""
    if origin.partition("://")[2] == host:
        on_upgrade(wire.close(1000))(exchange)
    else:
        exchange.send(backend.plain("403 Forbidden", "the origin is not allowed"))


def needs_api_key(exchange: Exchange) -> None:
    """1011 where x_api_key is missing."""
    on_upgrade(wire.close(1000 if exchange.request.get("x_api_key") else 1011))(exchange)


def needs_subprotocol(exchange: Exchange) -> None:
    """400 where no subprotocol is offered."""
    if exchange.request.get("sec-websocket-protocol"):
        on_upgrade(wire.close(1000))(exchange)
    else:
        exchange.send(backend.plain("400 Bad Request"))


def _websockets(_: Path) -> Iterator[int]:
    """websockets: a handler that raises is a close frame with 1011."""
    from websockets.asyncio.server import ServerConnection, serve

    async def handler(_: ServerConnection) -> None:
        raise RuntimeError("the handler fails whatever it gets")

    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    ports: list[int] = []
    ready = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        leave = asyncio.Event()
        async with serve(handler, "127.0.0.1", 0) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            ends.append((asyncio.get_running_loop(), leave))
            ready.set()
            await leave.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop, leave = ends[0]
        loop.call_soon_threadsafe(leave.set)
        thread.join(10)


def server(name: str) -> Origin:
    """One of the servers of `tests.matrix.apps`."""

    @contextlib.contextmanager
    def serve(_: Path) -> Iterator[int]:
        with _process([sys.executable, "-m", "tests.matrix.apps", name, "{port}"]) as port:
            yield port

    return Origin(serve)


@contextlib.contextmanager
def _process(words: list[str], more: dict[str, str] | None = None) -> Iterator[int]:
    """A process that listens on the port that stands in its words; it is stopped by its id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [word.replace("{port}", str(port)) for word in words]
    env = {**os.environ, **(more or {}), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=env)
    try:
        deadline = time.monotonic() + 20
        while not _listens(port):
            assert process.poll() is None, f"{command} ended with status {process.returncode}"
            assert time.monotonic() < deadline, f"{command} does not listen"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    return False


def stand_in(token: str) -> Origin:
    """Wsprobe's own origin, which verifies the token for the audience `app` and records what it found."""

    @contextlib.contextmanager
    def serve(folder: Path) -> Iterator[int]:
        records = str(folder / "origin.jsonl")
        words = [
            "origin",
            "--listen",
            "127.0.0.1:{port}",
            "--jwt-key-env",
            "MATRIX_KEY",
            "--audience",
            "app",
            "-o",
            records,
        ]
        with _process([sys.executable, "-m", "wsprobe", *words, "--quiet"], {"MATRIX_KEY": KEY}) as port:
            yield port

    return Origin(serve, token, recorded=True)


def nobody(_: Path) -> Iterator[int]:
    """A port on which nothing listens."""
    with backend.nobody() as port:
        yield port


ORIGINS: dict[str, Origin] = {
    "needs-token": raw(backend.needs_token),
    "needs-token-on-upgrades": raw(backend.needs_token),
    "expired": raw(on_upgrade(wire.close(1008, "expired")), EXPIRED),
    "fails-always": raw(on_upgrade(wire.close(1011, "Internal error"))),
    "drops-always": raw(drops),
    "closes-cleanly": raw(on_upgrade(wire.close(1000, "done"))),
    "stays-open": raw(backend.stay_open),
    "slow": raw(slow),
    "checks-origin": raw(checks_origin),
    "needs-api-key": raw(needs_api_key),
    "needs-subprotocol": raw(needs_subprotocol),
    "redirects": raw(
        lambda exchange: exchange.send(b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    ),
    "websockets": Origin(contextlib.contextmanager(_websockets)),
    **{name: server(name) for name in ("uvicorn", "hypercorn", "daphne", "aiohttp", "tornado")},
    "verifies": stand_in(GOOD),
    "other-audience": stand_in(jwt.encode({"sub": "somebody", "aud": "other"}, KEY, "HS256")),
    "refuses-before-accept": raw(refuses_before_accept),
    "drops-without-token": raw(drops_without_token),
    "wants-login": raw(wants_login),
    "compresses": raw(on_upgrade(b"\xc1\x03\xf2H\xcd", wire.close(1000))),
    "limits-rate": raw(limits_rate),
    "nobody": Origin(contextlib.contextmanager(nobody)),
}
