"""Pings of one side and how long their pongs took (RFC 6455, 5.5.2 and 5.5.3)."""

from collections import deque

from wsprobe.model import Pings

_MAX_PINGS = 256


class PingTimer:
    """Pings of one side that wait for their pong, and the times of those that got one."""

    __slots__ = ("answered", "longest", "sent", "shortest", "total", "waiting")

    def __init__(self) -> None:
        self.sent = self.answered = 0
        self.total = self.longest = 0.0
        self.shortest: float | None = None
        self.waiting: deque[tuple[bytes, float]] = deque(maxlen=_MAX_PINGS)

    def ping(self, payload: bytes, at: float) -> None:
        """A ping with its payload, which waits from now on."""
        self.sent += 1
        self.waiting.append((payload, at))

    def pong(self, payload: bytes, at: float) -> None:
        """RFC 6455, 5.5.3: a pong answers a ping with its payload; those before it may go unanswered."""
        if not any(waiting == payload for waiting, _ in self.waiting):
            return  # an unsolicited pong is allowed and answers nothing
        sent_at = at
        while self.waiting:
            waiting, sent_at = self.waiting.popleft()
            if waiting == payload:
                break
        took = at - sent_at
        self.answered += 1
        self.total += took
        self.longest = max(self.longest, took)
        self.shortest = took if self.shortest is None else min(self.shortest, took)

    def result(self) -> Pings:
        """What the record keeps of them."""
        mean = round(self.total / self.answered, 6) if self.answered else None
        longest = round(self.longest, 6) if self.answered else None
        shortest = None if self.shortest is None else round(self.shortest, 6)
        return Pings(sent=self.sent, answered=self.answered, shortest=shortest, mean=mean, longest=longest)
