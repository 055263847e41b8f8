"""mitmproxy as a recorder inside this process: `wsprobe record … --engine mitmproxy`."""

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.exceptions import OptionsError
from mitmproxy.options import Options
from mitmproxy.tools.dump import DumpMaster

from wsprobe.middleware.mitmproxy import HopRecorder
from wsprobe.model import Observation
from wsprobe.net.tls import dialling, terminating
from wsprobe.recordfile import RecordWriter
from wsprobe.redact import redact_text

STOP_SECONDS = 2.0
"""How long open connections get to be closed when the recorder leaves."""

_STEP = 0.01
_MAX_SHOWN = 300

logger = logging.getLogger(__name__)


class MitmRecorder:
    """Listens, passes connections on to one upstream through mitmproxy, and appends what it saw to a records file.

    `upstream` is a URL of scheme (http or https), host and port. `certs` is a PEM file with key and chain that ends
    TLS; without it mitmproxy makes up a certificate for a client that speaks TLS. `cacert` (PEM) and `insecure` are
    about the upstream's certificate. `on_record` and `on_problem` are told what HopRecorder tells. mitmproxy keeps
    its options in a global of its own: run one at a time in a process. OSError and ValueError where a file or an
    argument cannot be used; nothing listens before `start`.
    """

    def __init__(  # noqa: PLR0913  what its command line takes
        self,
        source_name: str,
        records: Path,
        upstream: str,
        listen: tuple[str, int],
        *,
        certs: Path | None = None,
        insecure: bool = False,
        cacert: Path | None = None,
        on_record: Callable[[Observation], None] | None = None,
        on_problem: Callable[[str], None] = logger.error,
    ) -> None:
        RecordWriter(records).close()
        if certs:  # mitmproxy would find out with the first connection only
            terminating(certs, None)
        if cacert:
            dialling(cacert, verify=True)
        self._name = source_name
        self._records = records
        self._options = {
            "mode": [f"reverse:{upstream}"],
            "listen_host": listen[0],
            "listen_port": listen[1],
            "certs": [str(certs)] if certs else [],
            "ssl_insecure": insecure,
            "ssl_verify_upstream_trusted_ca": str(cacert) if cacert else None,
            "onboarding": False,  # no host is mitmproxy's own
            "block_global": False,  # who may connect is decided by where it listens
        }
        self._recorder = HopRecorder(on_record, on_problem)
        self._errors = _Errors(on_problem)
        self._running = contextlib.AsyncExitStack()

    async def start(self) -> tuple[str, int]:
        """Listens; returns the address that it has, the first of several. OSError where it is taken.

        ValueError where mitmproxy refuses an argument.
        """
        earlier = getattr(ctx, "master", None)
        if earlier and len(earlier.addons.get("proxyserver").servers):
            raise RuntimeError("mitmproxy already runs in this process, where there can be one only")
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wsprobe-"))
            master: Any = DumpMaster(Options(confdir=folder), with_termlog=False, with_dumper=False)
            stack.push_async_callback(master.done)
            master.addons.get("errorcheck").finish()  # it would end the process where the log holds an error
            master.addons.add(self._recorder)
            try:
                master.options.update(**self._options)
            except OptionsError as error:
                raise ValueError(str(error)) from None
            self._recorder.open(self._name, self._records)
            proxy = master.addons.get("proxyserver")
            stack.push_async_callback(self._close, proxy)
            if not await proxy.setup_servers():
                failed = next(iter(proxy.servers)).last_exception
                raise failed.__cause__ or failed
            logging.getLogger("mitmproxy").addHandler(self._errors)
            stack.callback(logging.getLogger("mitmproxy").removeHandler, self._errors)
            await master.running()
            self._running = stack.pop_all()
        address: tuple[str, int] = proxy.listen_addrs()[0][:2]
        return address

    async def stop(self) -> None:
        """Listens no more, records what is known of open connections and closes them."""
        await self._running.aclose()

    async def _close(self, proxy: Proxyserver) -> None:
        await proxy.servers.update([])
        self._recorder.done()  # before it looks as if the clients had gone
        for connection in proxy.connections.values():
            end = connection.transports.get(connection.client)
            if end and end.handler:
                end.handler.cancel()
        deadline = time.monotonic() + STOP_SECONDS
        while proxy.connections and time.monotonic() < deadline:  # noqa: ASYNC110  mitmproxy has no event for it
            await asyncio.sleep(_STEP)


class _Errors(logging.Handler):
    """Tells what mitmproxy calls an error, in one line, where it would be said to nobody."""

    def __init__(self, on_problem: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._on_problem = on_problem

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().partition("\n")[0]
        self._on_problem(f"mitmproxy: {redact_text(text[:_MAX_SHOWN])}")
