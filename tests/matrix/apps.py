"""Applications whose WebSocket handler raises after it accepted, one for each server that people run.

python -m tests.matrix.apps SERVER PORT
"""

import asyncio
import logging
import sys
from typing import Any

logging.disable(logging.CRITICAL)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  the ASGI interface
    """ASGI: plain HTTP works, a WebSocket is accepted and then the handler raises."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        raise RuntimeError("the handler fails whatever it gets")


def uvicorn(port: int) -> None:
    import uvicorn as server

    server.run(app, host="127.0.0.1", port=port, log_level="critical", ws="wsproto")


def hypercorn(port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    asyncio.run(serve(app, config))


def daphne(port: int) -> None:
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server

    Server(app, endpoints=build_endpoint_description_strings(host="127.0.0.1", port=port), signal_handlers=False).run()


def aiohttp(port: int) -> None:
    from aiohttp import web

    async def handler(request: web.Request) -> web.StreamResponse:
        if "upgrade" not in request.headers:
            return web.Response()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        raise RuntimeError("the handler fails whatever it gets")

    served = web.Application()
    served.router.add_get("/{all:.*}", handler)
    web.run_app(served, host="127.0.0.1", port=port, print=None, access_log=None)


def tornado(port: int) -> None:
    from tornado import httpserver, web, websocket

    class Fails(websocket.WebSocketHandler):
        def open(self, *_: str, **__: str) -> None:
            raise RuntimeError("the handler fails whatever it gets")

        def check_origin(self, _: str) -> bool:
            return True

    async def main() -> None:
        server = httpserver.HTTPServer(web.Application([("/.*", Fails)]))
        server.listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(main())


if __name__ == "__main__":
    servers = {"uvicorn": uvicorn, "hypercorn": hypercorn, "daphne": daphne, "aiohttp": aiohttp, "tornado": tornado}
    servers[sys.argv[1]](int(sys.argv[2]))
