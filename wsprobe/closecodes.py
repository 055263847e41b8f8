"""Close codes of RFC 6455, 7.4, and the IANA registry: names, whether they may travel, who usually sends them."""

NAMES = {
    1000: "OK",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1004: "reserved",
    1005: "no status received [internal]",
    1006: "abnormal closure [internal]",
    1007: "invalid frame payload data",
    1008: "policy violation",
    1009: "message too big",
    1010: "mandatory extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failure [internal]",
    3000: "unauthorized",
    3003: "forbidden",
    3008: "timeout",
}

# RFC 6455, 7.4.1: endpoints use these to tell their own application what happened; no peer may send them.
NEVER_SENT = frozenset({1005, 1006, 1015})

HEALTHY = frozenset({1000, 1001})

SENDERS = {
    1000: "The application, when it is done. A tool that terminates WebSockets can also invent it: mitmproxy in its "
    "WebSocket mode turns a lost TCP connection into a clean 1000.",
    1001: "A server that stops, a page that is left, an edge that restarts. Caddy sends it on stop and on reload.",
    1002: "An endpoint that was sent a broken frame: mostly compression or masking that a middlebox got wrong.",
    1003: "The application, for a type of data that it does not take.",
    1005: "Nobody: it says that a close frame came without a code. A gateway that forgot to copy the code looks so.",
    1006: "Nobody: it says that no close frame came. Idle timers, resets, reloads and crashed handlers look alike. "
    "A handler that raises under uvicorn, aiohttp or tornado ends the connection this way.",
    1007: "An endpoint that was sent text which is not UTF-8.",
    1008: "The application, when it refuses somebody: the usual code of frameworks for failed authentication.",
    1009: "An endpoint or a gateway with a message size limit.",
    1010: "A client whose extension was not accepted.",
    1011: "An exception in the handler under websockets, hypercorn or daphne; a gateway that ends WebSockets itself "
    "and lost its upstream; a keepalive that got no pong (then it is sent, not received). "
    "It never proves that a header was stripped: compare what arrived at each hop.",
    1012: "A server that restarts: a deploy.",
    1013: "An overloaded server.",
    1014: "A gateway that acts as a WebSocket endpoint and got nothing usable from its upstream.",
    1015: "Nobody: it says that TLS could not be set up.",
    3000: "An authentication layer: no credentials, or not good enough.",
    3003: "An authentication layer: the credentials are good and not allowed here.",
    3008: "The application, when something took too long.",
}


def name(code: int) -> str:
    """What a code is called; for a code without an entry the range that it is from (RFC 6455, 7.4.2)."""
    if code in NAMES:
        return NAMES[code]
    if 3000 <= code < 4000:
        return "registered"
    if 4000 <= code < 5000:
        return "private use"
    return "reserved" if 1000 <= code < 3000 else "invalid"


def may_be_sent(code: int) -> bool:
    """Whether an endpoint may put the code into a close frame (RFC 6455, 7.4)."""
    return (1000 <= code <= 1014 and code not in {1004, *NEVER_SENT}) or 3000 <= code < 5000


def explain(code: int) -> str:
    """A close code in words: its name, whether it may be on the wire, and who usually sends it."""
    wire = "may be sent" if may_be_sent(code) else "is never on the wire" if code in NEVER_SENT else "must not be sent"
    by_whom = SENDERS.get(code)
    if by_whom is None and 4000 <= code < 5000:
        by_whom = "The application: 4000 to 4999 are its own. Many use 4000 plus an HTTP status, as in 4401 and 4403."
    return f"{code} ({name(code)}) {wire}.\n{by_whom or 'No usual sender is known.'}"
