"""The client closed the connection with a code that tells of trouble.

`sent 1011 (internal error) keepalive ping timeout` is the client giving up on a dead path or on a blocked server: it
was sent, not received, and no proxy or application made it. 1002 and 1007 say that what arrived was broken.

Bad:
    sent 1011 (internal error) keepalive ping timeout
Good:
    sent 1000 (OK)
"""

from collections.abc import Iterator

from wsprobe.model import Finding, Sender
from wsprobe.path import Path, frames, is_healthy
from wsprobe.rules import Rule, close_place, upgraded
from wsprobe.wording import code, seconds

RULE = Rule(__name__, needs=upgraded, rank=81)


def check(path: Path) -> Iterator[Finding]:
    """One finding where the first close frame was the client's and no ordinary one."""
    hop = path.outermost
    seen = frames(hop)
    if not seen or seen[0].sender is not Sender.CLIENT or is_healthy(seen[0]):
        return
    yield RULE.finding(
        f"The client closed the connection with {code(seen[0])}, {seconds(seen[0].at)} after the request; "
        "the code was sent by the client, not received.",
        close_place(hop),
        segment=(None, hop.name),
        fix="Look at the client: a keepalive that got no pong, or data that it could not read.",
    )
