"""The smallest aiohttp script that makes the exchange of `wsprobe trace URL`: connect, receive until closed."""

import asyncio
import sys

import aiohttp


async def main(url: str) -> None:
    """Prints the close code with which the WebSocket at `url` ended."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as websocket:
        async for _ in websocket:
            pass
        print(websocket.close_code)


asyncio.run(main(sys.argv[1]))
