"""The client closed the connection with a code that tells of trouble.

`sent 1011 (internal error) keepalive ping timeout` is the client giving up on a dead path or on a blocked server: it
was sent, not received, and no application made it. 1002 and 1007 say that what arrived was broken.

Bad:
    sent 1011 (internal error) keepalive ping timeout
Good:
    sent 1000 (OK)
"""

from collections.abc import Iterator

from wsprobe.durations import seconds
from wsprobe.ends import first_close, is_healthy
from wsprobe.judging import Rule, close_place, upgraded
from wsprobe.model import Ending, Finding, Sender
from wsprobe.path import Path
from wsprobe.wording import code

RULE = Rule(__name__, needs=upgraded, rank=81)


def check(path: Path) -> Iterator[Finding]:
    """One finding where the connection was closed by the client's close frame, and with no ordinary code."""
    hop, ended = path.outermost, first_close(path.outermost)
    if ended is None or (ended.sender, ended.ending) != (Sender.CLIENT, Ending.FRAME) or is_healthy(ended):
        return
    who = "The client" if path.client else f"The client's side of {hop.name}"
    yield RULE.finding(
        f"{who} closed the connection after {seconds(ended.at)} with {code(ended)}; the code came from the client's "
        "side, not from the server's.",
        close_place(hop),
        segment=(None, hop.name),
        fix="Look at the client: a keepalive that got no pong, or data that it could not read.",
    )
