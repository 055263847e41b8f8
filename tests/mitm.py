"""Both ways to record with mitmproxy: the addon in a stock mitmdump, and the engine inside this process."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from wsprobe.codec import decode_line
from wsprobe.model import Observation

ADDON = Path(__file__).parent.parent / "addons" / "wsprobe_hop.py"
HOP = "tap"

IGNORED = [f"ignore::DeprecationWarning:{module}" for module in ("mitmproxy", "ldap3", "passlib", "pyparsing")]
"""What mitmproxy and its libraries say about themselves when they are imported."""

_SECONDS = 20
_STEP = 0.01
_LISTENING = re.compile(r"listening at 127\.0\.0\.1:(\d+)")


@dataclass
class Tap:
    """A recorder that runs. `log` is what it says, `pid` the process of its own if it has one."""

    records: Path
    log: list[str] = field(default_factory=list)
    port: int = 0
    pid: int | None = None
    seen: int = 0

    def connect(self) -> socket.socket:
        """A client's connection to it."""
        conn = socket.create_connection(("127.0.0.1", self.port), timeout=_SECONDS)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return conn

    def forget(self) -> None:
        """What was recorded so far is of no interest."""
        self.seen = len(self._lines())

    def observations(self, ended: int = 1) -> list[Observation]:
        """What was recorded since, as soon as that many exchanges have ended."""
        found: list[Observation] = []

        def enough() -> bool:
            found[:] = [decode_line(line) for line in self._lines()[self.seen :]]
            return sum(one.ended is not None for one in found) >= ended

        wait_for(enough, lambda: f"{ended} exchanges to end, but only {found} and {self.log}")
        return found

    def ended(self) -> Observation:
        """The one exchange that was recorded since, when it has ended."""
        return self.observations()[-1]

    def text(self) -> str:
        """Everything in the records file."""
        return self.records.read_text()

    def complaints(self) -> list[str]:
        """What it says that it has lost, and what mitmproxy says of it."""
        return [line for line in self.log if " lost or incomplete" in line or "Addon error" in line]

    def _lines(self) -> list[bytes]:
        written = self.records.read_bytes() if self.records.exists() else b""
        return written.split(b"\n")[:-1]  # what stands behind the last end of a line is being written


def wait_for(condition: Callable[[], object], what: Callable[[], str]) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what()}"
        time.sleep(_STEP)


def mitmdump(settings: Iterable[str], mode: str, folder: Path) -> list[str]:
    """The command line of a stock mitmdump with the addon; settings are NAME=VALUE, `folder` is for its own files."""
    program = Path(sys.executable).with_name("mitmdump")
    common = (f"confdir={folder}", "listen_host=127.0.0.1", "listen_port=0", "flow_detail=0")
    pairs = (word for setting in (*common, *settings) for word in ("--set", setting))
    return [str(program), "--mode", mode, "-s", str(ADDON), *pairs]


@contextlib.contextmanager
def stock(  # noqa: PLR0913  what in_process takes, and any other setting
    records: Path,
    upstream: str,
    *settings: str,
    folder: Path | None = None,
    certs: Path | None = None,
    insecure: bool = False,
    cacert: Path | None = None,
    lossy: bool = False,
) -> Iterator[Tap]:
    """The addon in a stock mitmdump, which is told to leave by SIGTERM; `upstream` is a URL.

    Nothing may be lost unless it is `lossy`.
    """
    given = {
        "wsprobe_hop": HOP,
        "wsprobe_records": records,
        "certs": certs,
        "ssl_insecure": "true" if insecure else None,
        "ssl_verify_upstream_trusted_ca": cacert,
    }
    settings = (*settings, *(f"{name}={value}" for name, value in given.items() if value))
    command = mitmdump(settings, f"reverse:{upstream}", folder or records.parent)
    tap = Tap(records)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as run:
        tap.pid = run.pid
        assert run.stdout
        reader = threading.Thread(target=tap.log.extend, args=(run.stdout,))
        reader.start()
        try:
            wait_for(lambda: _LISTENING.search("".join(tap.log)) or run.poll() is not None, lambda: "it to listen")
            listening = _LISTENING.search("".join(tap.log))
            assert listening, "".join(tap.log)
            tap.port = int(listening[1])
            yield tap
        finally:
            run.send_signal(signal.SIGTERM)
            run.wait(_SECONDS)
            reader.join(_SECONDS)
    assert lossy or not tap.complaints()


@contextlib.contextmanager
def in_process(  # noqa: PLR0913  what MitmRecorder takes
    records: Path,
    upstream: str,
    *,
    certs: Path | None = None,
    insecure: bool = False,
    cacert: Path | None = None,
    on_record: Callable[[Observation], None] | None = None,
    lossy: bool = False,
) -> Iterator[Tap]:
    """The engine in a thread of this process. Nothing may be lost unless it is `lossy`."""
    from wsprobe.net.mitm import MitmRecorder

    tap = Tap(records)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> MitmRecorder:
        recorder = MitmRecorder(
            HOP,
            records,
            upstream,
            ("127.0.0.1", 0),
            certs=certs,
            insecure=insecure,
            cacert=cacert,
            on_record=on_record,
            on_problem=tap.log.append,
        )
        tap.port = (await recorder.start())[1]
        return recorder

    try:
        recorder = asyncio.run_coroutine_threadsafe(begin(), loop).result(_SECONDS)
        try:
            yield tap
        finally:
            asyncio.run_coroutine_threadsafe(recorder.stop(), loop).result(_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS)
        loop.close()
    assert lossy or not tap.complaints()


ENGINES: dict[str, Callable[..., AbstractContextManager[Tap]]] = {"stock mitmdump": stock, "in process": in_process}
