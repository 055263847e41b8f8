"""The relay: passes every byte on untouched, both ways, and records what it sees of HTTP and WebSocket in them.

How the two connections of a client are tied to each other is in `link`.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from wsprobe import __version__
from wsprobe.model import Observation, Recorder
from wsprobe.net.address import parse_upstream, shown
from wsprobe.net.link import Link
from wsprobe.net.tls import terminating
from wsprobe.net.upstream import Dialler
from wsprobe.observer import Source, Unredacted
from wsprobe.recordfile import RecordWriter

STOP_SECONDS = 2.0
"""How long connections get to end in order when the relay leaves."""

HANDSHAKE_SECONDS = 10.0
"""How long a client may take for its TLS handshake."""

_BACKLOG = 1024


class Relay:
    """Listens, passes connections on to one upstream, and appends what it saw to a records file.

    `upstream` is a URL of scheme, host and port; `certificate` and `key` (PEM) terminate TLS; `authorities` and
    `insecure` are about the upstream's certificate. `passed` is told each finished exchange, redacted, and `problem`
    in one line what is wrong with the recording, which never touches the traffic. OSError and ValueError where a file
    or an argument cannot be used; nothing listens before `start`.
    """

    def __init__(  # noqa: PLR0913  keywords, each of them an option of the command line
        self,
        name: str,
        records: Path,
        upstream: str,
        listen: tuple[str, int],
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        authorities: Path | None = None,
        insecure: bool = False,
        passed: Callable[[Observation], None] | None = None,
        problem: Callable[[str], None] | None = None,
    ) -> None:
        target = parse_upstream(upstream)
        self._listen = listen
        self._tls = terminating(certificate, key) if certificate else None
        self.dial = Dialler(target, authorities=authorities, insecure=insecure)
        self.upstream = self.dial.address
        self.local: str | None = None
        recorder = _recorder(tls=target.tls or self._tls is not None)
        self.source = Source(name=name, instance=socket.gethostname(), recorder=recorder)
        self._links: set[Link] = set()
        self._all_closed = asyncio.Event()
        self._passed = passed
        self._problem = problem
        self._unwritten = 0
        self._server: asyncio.Server | None = None
        self._file = records
        self._writer = RecordWriter(records)

    async def start(self) -> tuple[str, int]:
        """Listens; returns the address that it has, the first of several. OSError where it is taken."""
        loop = asyncio.get_running_loop()
        host, port = self._listen
        seconds = HANDSHAKE_SECONDS if self._tls else None
        self._server = await loop.create_server(
            lambda: Link(self, loop).client, host, port, ssl=self._tls, ssl_handshake_timeout=seconds, backlog=_BACKLOG
        )
        first, *more = (listening.getsockname()[:2] for listening in self._server.sockets)
        if not more and not ipaddress.ip_address(first[0]).is_unspecified:
            self.local = shown(first)
        taken: tuple[str, int] = first
        return taken

    async def stop(self) -> None:
        """Listens no more, records what is known of open connections and closes them."""
        if self._server:
            self._server.close()
        for link in tuple(self._links):
            link.stop()
        if self._links:
            self._all_closed.clear()
            with contextlib.suppress(TimeoutError):  # a peer takes nothing any more: it is not waited for
                async with asyncio.timeout(STOP_SECONDS):
                    await self._all_closed.wait()
        for link in tuple(self._links):
            link.abort()
        await asyncio.sleep(0)
        self._writer.close()
        if self._unwritten > 1:
            self._tell(f"{self._unwritten} records were lost, the first of them for the reason told before")

    def opened(self, link: Link) -> None:
        """A client has connected."""
        self._links.add(link)

    def closed(self, link: Link) -> None:
        """Both connections of a link are gone."""
        self._links.discard(link)
        if not self._links:
            self._all_closed.set()

    def failed(self, bug: Exception) -> None:
        """The observer of a connection failed. The text of the exception could hold what was received."""
        self._tell(f"a connection passes unrecorded from here on: {type(bug).__name__} in the observer")

    def record(self, due: list[Unredacted]) -> None:
        """Writes observations. What cannot be written is counted and told once, and the traffic goes on."""
        for seen in due:
            try:
                observation = self._writer.write(seen)
            except OSError as error:
                self._lost(error.strerror or type(error).__name__)
            except Exception as bug:  # noqa: BLE001  whatever is wrong with us must not be what breaks the traffic
                self._lost(f"{type(bug).__name__} in the recorder")
            else:
                if self._passed and observation.ended is not None:
                    self._passed(observation)

    def _lost(self, why: str) -> None:
        self._unwritten += 1
        if self._unwritten == 1:
            self._tell(f"a record was lost, and the traffic goes on: {self._file}: {why}")

    def _tell(self, problem: str) -> None:
        if self._problem:
            self._problem(problem)


def _recorder(*, tls: bool) -> Recorder:
    alters = ["the source address", "one upstream connection for each connection of a client"]
    if tls:
        alters += ["ALPN: only http/1.1 is offered", "over TLS the end of one direction ends the connection"]
    return Recorder(kind="relay", version=__version__, blind=("HTTP/2, which passes unread",), alters=tuple(alters))
