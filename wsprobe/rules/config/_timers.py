"""How long a silence is on a WebSocket, as far as nobody tells."""

ENOUGH = 60
"""Seconds of silence that a timer should allow where nothing is known of pings."""

SHORTEST_PING = 10
"""Seconds between the most frequent pings that are common (STOMP): a timer below is short whatever it is meant for."""
