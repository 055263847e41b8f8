"""The only asyncio: what touches the network."""
