"""How application servers were seen to answer a request whose credentials are missing: hints, and never evidence.

Measured on loopback in November 2026: websockets 17.4, hypercorn 0.18, daphne 4.2, uvicorn 0.54, aiohttp 3.14,
tornado 6.6, Starlette 1.10.
"""

from wsprobe.trials import Outcome

_RAISED = "a handler that raises after it accepted"

HINTS: dict[Outcome, str] = {
    Outcome(
        101, "1011"
    ): f"websockets, hypercorn and daphne answer so for {_RAISED}; uvicorn, aiohttp and tornado do not",
    Outcome(101, "eof"): f"uvicorn, aiohttp and tornado end so for {_RAISED}; an idle timer or a crash looks the same",
    Outcome(101, "1008"): "frameworks close so when they refuse somebody after they accepted",
    Outcome(401): "websockets, aiohttp and tornado refuse so before they accept",
    Outcome(403): "uvicorn, hypercorn and daphne turn every refusal before they accept into 403, whatever its code was",
    Outcome(500): "a handler that raises before it accepted ends so under all servers that were tried",
}


def hint(outcome: Outcome) -> str | None:
    """What an outcome suggests about the server behind it, None where it suggests nothing."""
    return HINTS.get(outcome)
