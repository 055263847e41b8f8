"""The sans-I/O core that every recorder shares: bytes per direction in, observations out.

`feed` takes the bytes of one direction in any chunks, `eof`, `reset` and `timeout` how a direction ended, `end` that
the connection is over. `take` gives the observations that became due: one when an upgrade was answered, one per
plain exchange, and the whole one again when the connection ended. It changes no byte, raises on none, and keeps a
constant amount of memory whatever passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wsprobe import closecodes, handshake
from wsprobe.exchange import Exchange, refused
from wsprobe.frames import FrameCounter, frames_of
from wsprobe.heads import BodyReader, Fields, Head, HeadReader, method, request_body, response_body, status
from wsprobe.model import (
    Activity,
    Anomaly,
    Close,
    Ending,
    Failure,
    Frames,
    Message,
    Observation,
    Peers,
    PingsBySide,
    Recorder,
    Sender,
    TlsEnds,
    Verification,
)
from wsprobe.pings import PingTimer

MAX_EARLY = 64 * 1024
"""Octets of a client that speaks before its upgrade was answered that are kept to be read as frames afterwards."""

_MAX_ANOMALIES = 16
_MAX_INTERIM = 8
_MAX_PIPELINED = 64
_CLOSE_CODE = 2


@dataclass(frozen=True, slots=True)
class Unredacted:
    """An observation with the secrets still in it: it may be judged and redacted, never written."""

    observation: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who observes: the hop's name, the host or pod, and the recorder."""

    name: str
    instance: str
    recorder: Recorder


_NO_HEAD = HeadReader()  # of a direction that holds frames, where none is read any more


class _Direction:
    """What one side sends: heads and bodies until the upgrade, frames after it. Tells its observer what it finds."""

    __slots__ = ("_observer", "body", "counter", "head", "sender")

    def __init__(self, sender: Sender, observer: "Observer") -> None:
        self.sender = sender
        self._observer = observer
        self.head = HeadReader()
        self.body: BodyReader | None = None
        self.counter: FrameCounter | None = None

    def on_close(self, payload: bytes, at: float) -> None:
        self._observer._close_frame(self.sender, payload, at)  # noqa: SLF001  one machine

    def on_ping(self, payload: bytes, at: float) -> None:
        self._observer._pings_of(self.sender).ping(payload, at)  # noqa: SLF001  one machine

    def on_pong(self, payload: bytes, at: float) -> None:
        other = Sender.SERVER if self.sender is Sender.CLIENT else Sender.CLIENT
        self._observer._pings_of(other).pong(payload, at)  # noqa: SLF001  one machine

    def on_flaw(self, kind: str, detail: str, at: float) -> None:
        self._observer.anomaly(self.sender, kind, detail, at)


class Observer:
    """Observes one connection. Times are of one monotonic clock; `epoch` is UTC minus that clock, in seconds."""

    def __init__(
        self,
        source: Source,
        connection: str,
        *,
        epoch: float,
        peers: Peers | None = None,
        tls: TlsEnds | None = None,
    ) -> None:
        self.source = source
        self.connection = connection
        self.peers = peers
        self.tls = tls
        self.due = False
        self.upgraded = False
        self.verification: Verification | None = None
        self._epoch = epoch
        self._client = _Direction(Sender.CLIENT, self)
        self._server = _Direction(Sender.SERVER, self)
        self._open: list[Exchange] = []  # no deque: an empty one takes 760 octets
        self._count = 0
        self._early = b""
        self._early_lost = False
        self._answered_early = False
        self._began: float | None = None
        self._closes: list[Close] = []
        self._anomalies: dict[tuple[Sender, str], tuple[Anomaly, int]] = {}  # the first of each kind, and how many
        self._pings: dict[Sender, PingTimer] | None = None
        self._failure: Failure | None = None
        self._due: list[Unredacted] = []
        self._ended = False

    # What the recorder tells.

    def feed(self, sender: Sender, data: bytes, at: float) -> None:
        """Bytes that `sender` sent, seen at time `at`, before they are passed on."""
        direction = self._client if sender is Sender.CLIENT else self._server
        if direction.counter is not None:
            direction.counter.feed(data, at)
        elif direction is self._client:
            self._request(data, at)
        else:
            self._response(data, at)

    def counter(self, sender: Sender) -> FrameCounter | None:
        """What counts the frames of a direction, None before the upgrade: after it, to feed it is what `feed` does."""
        return (self._client if sender is Sender.CLIENT else self._server).counter

    def eof(self, sender: Sender, at: float) -> None:
        """The direction was closed in order (FIN, or close_notify of TLS)."""
        self._closed(sender, Ending.EOF, at)
        self._finish(sender, at)

    def reset(self, sender: Sender, at: float) -> None:
        """The sender broke the connection (RST)."""
        self._closed(sender, Ending.RESET, at)
        self._finish(sender, at)

    def timeout(self, at: float) -> None:
        """The recorder itself gave up waiting."""
        self._closed(Sender.LOCAL, Ending.TIMEOUT, at)

    def stop(self, at: float) -> None:
        """The recorder itself closes the connection, for instance because it is told to leave."""
        self._closed(Sender.LOCAL, Ending.EOF, at)

    def fail(self, failure: Failure) -> None:
        """The exchange got no answer, and this is why."""
        self._failure = failure

    def anomaly(self, sender: Sender, kind: str, detail: str, at: float) -> None:
        """Counts something that the standards do not allow; equal kinds are told once with their number."""
        known = self._anomalies.get((sender, kind))
        if known:
            self._anomalies[sender, kind] = known[0], known[1] + 1
        elif len(self._anomalies) < _MAX_ANOMALIES:
            first = Anomaly(sender=sender, kind=kind, detail=detail[:512], at=self._since(at))
            self._anomalies[sender, kind] = first, 1

    def end(self, at: float) -> None:
        """The connection is over in both directions: what is still open becomes due."""
        if self._ended:
            return
        self._ended = True
        if self._began is None and self._failure is None:
            return  # a connection on which no byte came is not an exchange
        unanswered = self._client.head and not self._answered_early
        if not self._open and (unanswered or self._server.head or not self._count):
            self._partial(at)
        while self._open:
            self._report(self._open[0], at, ended=True)  # still the first: its times count from its own beginning
            self._open.pop(0)

    def take(self) -> list[Unredacted]:
        """The observations that became due since the last call."""
        due, self._due, self.due = self._due, [], False
        return due

    def upgrade(self) -> Unredacted | None:
        """The observation of the upgraded connection as far as it has come, None before the upgrade."""
        return self._observation(self._open[0], None) if self.upgraded and self._open else None

    # The client's direction.

    def _request(self, data: bytes, at: float) -> None:
        if self._began is None:
            self._began = at
        client = self._client
        while data:
            if client.body is not None:  # RFC 9110, 7.8: all of a request comes before the protocol changes
                rest = client.body.feed(data)
                if rest is None:
                    return
                client.body = None
            elif self._open and self._open[-1].upgrade:
                self._hold(data)
                return
            else:
                rest = client.head.feed(data)
                if rest is None:
                    return
                self._asked(client.head.head(), at)
                client.head = HeadReader()
            data = rest

    def _hold(self, data: bytes) -> None:
        """RFC 6455, 4.1: a client must wait for the 101; what it sends before is frames only if the 101 comes."""
        if len(self._early) + len(data) > MAX_EARLY:
            self._early, self._early_lost = b"", True
        elif not self._early_lost:
            self._early += data

    def _asked(self, head: Head, at: float) -> None:
        fields = Fields(head.headers)
        length = request_body(fields)
        if length:
            self._client.body = BodyReader(length)
        if self._answered_early:  # it was told as far as it had come, with its answer
            self._answered_early = False
            return
        began = self._began if not self._count and self._began is not None else at
        exchange = Exchange(self._count, began, self._epoch)
        self._count += 1
        exchange.request = Message(start_line=head.start_line, headers=head.headers)
        exchange.asked_at = at
        exchange.asked = fields
        exchange.upgrade = handshake.asks_for_websocket(fields) or method(head.start_line) == "CONNECT"
        for flaw in head.flaws:
            self.anomaly(Sender.CLIENT, flaw, "", at)
        if len(self._open) >= _MAX_PIPELINED:
            self.anomaly(Sender.CLIENT, "more than 64 requests without an answer", "", at)
            self._open.pop()
        self._open.append(exchange)

    # The server's direction.

    def _response(self, data: bytes, at: float) -> None:
        if self._began is None:
            self._began = at
        server = self._server
        while data:
            if server.counter is not None:
                server.counter.feed(data, at)
                return
            if server.body is not None:
                rest = server.body.feed(data)
                if rest is None:
                    return
                self._answered_whole(at)
            else:
                rest = server.head.feed(data)
                if rest is None:
                    return
                head, server.head = server.head.head(), HeadReader()
                self._answered(head, at)
            data = rest

    def _answered(self, head: Head, at: float) -> None:
        for flaw in head.flaws:
            self.anomaly(Sender.SERVER, flaw, "", at)
        code = status(head.start_line)
        if code is None:
            self.anomaly(Sender.SERVER, "not an HTTP response", head.start_line[:64], at)
        if not self._open:
            self._partial(at)
            self._answered_early = bool(self._client.head)
        exchange = self._open[0]
        if code is not None and 100 <= code < 200 and code != 101:
            exchange.interim = (*exchange.interim, head.start_line)[:_MAX_INTERIM]
            return
        exchange.response = Message(start_line=head.start_line, headers=head.headers)
        exchange.response_at = at
        fields = Fields(head.headers)
        exchange.answered(fields)
        if code == 101:
            self._switch(exchange, fields, at)
            return
        asked = method(exchange.request.start_line) if exchange.request else ""
        length = None if code is None else response_body(fields, code, asked)
        if asked == "CONNECT" and code is not None and 200 <= code < 300:  # RFC 9110, 9.3.6: payload both ways, no body
            self._server.body, self._client.body = BodyReader(None), BodyReader(None)
            self._early, self._early_lost = b"", False
            return
        exchange.body = self._server.body = BodyReader(length, keep=exchange.upgrade)
        if length == 0:
            self._answered_whole(at)

    def _switch(self, exchange: Exchange, fields: Fields, at: float) -> None:
        """101: from here on both directions are frames (RFC 9110, 15.2.2)."""
        self.upgraded = True
        accepted = handshake.extensions(fields)
        reserved = 0x40 if accepted and "permessage-deflate" in accepted else 0x70 if accepted else 0
        for direction in (self._client, self._server):
            masked = direction is self._client
            direction.counter = FrameCounter(direction, masked=masked, reserved=reserved)
            direction.head = _NO_HEAD
        self._due.append(self._observation(exchange, None))
        self.due = True
        if self._early_lost and self._client.counter:
            self.anomaly(Sender.CLIENT, "data before the 101 that was too much to be read", "", at)
            self._client.counter.give_up()
        early, self._early = self._early, b""
        if early:
            self.feed(Sender.CLIENT, early, at)

    def _answered_whole(self, at: float) -> None:
        self._server.body = None
        exchange = self._open.pop(0)
        if self._early_lost:
            self.anomaly(Sender.CLIENT, "data before the answer that was too much to be read", "", at)
        self._report(exchange, at, ended=False)
        self.verification = None  # it spoke of this exchange
        if not self._open:
            self._anomalies = {}  # they belong to what was told
        if exchange.upgrade:  # what was held are no frames after all: a pipelined request
            early, self._early, self._early_lost = self._early, b"", False
            self._request(early, at)

    # How it ends.

    def _close_frame(self, sender: Sender, payload: bytes, at: float) -> None:
        code = int.from_bytes(payload[:_CLOSE_CODE]) if len(payload) >= _CLOSE_CODE else None
        if len(payload) == 1:
            self.anomaly(sender, "a close frame with half a code", "", at)
        elif code is not None and not closecodes.may_be_sent(code):
            self.anomaly(sender, "a close code that must not be sent", f"{code} ({closecodes.name(code)})", at)
        try:
            reason = payload[_CLOSE_CODE:].decode()
        except UnicodeDecodeError:
            self.anomaly(sender, "a close reason that is not UTF-8", "", at)
            reason = payload[_CLOSE_CODE:].decode(errors="replace")
        self._closed(sender, Ending.FRAME, at, code, reason)

    def _closed(self, sender: Sender, ending: Ending, at: float, code: int | None = None, reason: str = "") -> None:
        for close in self._closes:
            if close.sender is sender and close.ending is ending:
                return  # a second close frame is told as a frame after the close frame
        self._closes.append(Close(sender=sender, ending=ending, code=code, reason=reason, at=self._since(at)))

    def _finish(self, sender: Sender, at: float) -> None:
        direction = self._client if sender is Sender.CLIENT else self._server
        if direction.counter:
            direction.counter.finish(at)
        elif sender is Sender.SERVER and self._server.body is not None:
            body = self._server.body
            if body.length is not None:
                self.anomaly(Sender.SERVER, "a body that was cut short", f"{body.size} octets came", at)
            self._answered_whole(at)

    def _partial(self, at: float) -> None:
        """An exchange of which only half a head came: what is there is evidence."""
        exchange = Exchange(self._count, self._began if self._began is not None else at, self._epoch)
        self._count += 1
        if self._client.head:
            head = self._client.head.head()
            exchange.request = Message(start_line=head.start_line[:8192], headers=head.headers)
            exchange.upgrade = handshake.asks_for_websocket(head.headers)
            self.anomaly(Sender.CLIENT, "a request head that did not end", "", at)
        self._open.append(exchange)

    # What was seen.

    def _report(self, exchange: Exchange, at: float, *, ended: bool) -> None:
        if ended and exchange.response is None and self._server.head:
            head = self._server.head.head()
            self.anomaly(Sender.SERVER, "a response head that did not end", head.start_line[:64], at)
            if not 100 <= (status(head.start_line) or 0) < 200:  # half of an interim response is no answer
                exchange.response = Message(start_line=head.start_line[:8192], headers=head.headers)
            self._server.head = HeadReader()
        self._due.append(self._observation(exchange, at))
        self.due = True

    def _observation(self, exchange: Exchange, ended_at: float | None) -> Unredacted:
        began = exchange.began
        request, response = exchange.request, exchange.response
        if response and exchange.upgrade and exchange.body is not None:
            response = replace(response, body=refused(exchange.body, response))
        trace, judged = exchange.judge()
        source = self.source
        return Unredacted(
            Observation(
                name=source.name,
                instance=source.instance,
                recorder=source.recorder,
                connection=self.connection,
                exchange=exchange.number,
                trace=trace,
                at=exchange.at,
                request=request,
                response=response,
                closes=tuple(self._closes),
                ended=None if ended_at is None else round(ended_at - began, 6),
                peers=self.peers,
                tls=self.tls,
                interim=exchange.interim,
                handshake=judged,
                frames=self._frames(),
                pings=self._pings_by_side(),
                activity=self._activity(),
                anomalies=tuple(self._told()),
                failure=self._failure,
                verification=self.verification,
            )
        )

    def _told(self) -> Iterator[Anomaly]:
        for first, times in self._anomalies.values():
            yield first if times == 1 else replace(first, times=times)

    def _frames(self) -> Frames | None:
        client, server = self._client.counter, self._server.counter
        return frames_of(client, server, self._origin()) if client and server else None

    def _activity(self) -> Activity | None:
        client, server = self._client.counter, self._server.counter
        if not client or not server or (client.last is None and server.last is None):
            return None
        return Activity(
            client=None if client.last is None else self._since(client.last),
            server=None if server.last is None else self._since(server.last),
        )

    def _pings_of(self, sender: Sender) -> PingTimer:
        if self._pings is None:
            self._pings = {}
        return self._pings.setdefault(sender, PingTimer())

    def _pings_by_side(self) -> PingsBySide | None:
        sides = {sender: timer.result() for sender, timer in (self._pings or {}).items() if timer.sent}
        if not sides:
            return None
        return PingsBySide(client=sides.get(Sender.CLIENT), server=sides.get(Sender.SERVER))

    def _since(self, at: float) -> float:
        return round(at - self._origin(at), 6)

    def _origin(self, otherwise: float = 0.0) -> float:
        began = self._open[0].began if self._open else self._began
        return otherwise if began is None else began
