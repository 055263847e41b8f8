"""Traceroute for WebSocket upgrades: which hop lost a header, and how the connection ended."""

__version__ = "0.1.0"
