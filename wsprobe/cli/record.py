"""`wsprobe record`: observes at a hop and appends what it sees to a records file, until it is told to leave."""

import argparse
import asyncio
import contextlib
import gc
import resource
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wsprobe.cli import UsageError
from wsprobe.net.address import parse_listen, parse_upstream, shown
from wsprobe.net.tls import terminating
from wsprobe.recordfile import SUFFIX

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class Recording(Protocol):
    """What both engines are."""

    async def start(self) -> tuple[str, int]:
        """Listens."""

    async def stop(self) -> None:
        """Records what is known of open connections and leaves."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    parser.add_argument("name", metavar="NAME", help="what to call this hop, such as edge or before-lb")
    parser.add_argument("--listen", metavar="HOST:PORT", required=True, help="where connections are taken")
    parser.add_argument("--to", metavar="URL", required=True, help="where they are passed on to: scheme, host and port")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help=f"the records file (default: NAME{SUFFIX})")
    parser.add_argument("--cert", metavar="FILE", type=Path, help="take TLS with this certificate chain (PEM)")
    parser.add_argument("--key", metavar="FILE", type=Path, help="its key (PEM), unless it stands in the same file")
    parser.add_argument("--cacert", metavar="FILE", type=Path, help="trust these authorities (PEM) of the upstream")
    parser.add_argument("-k", "--insecure", action="store_true", help="go on where its certificate does not verify")
    parser.add_argument("--engine", choices=["relay", "mitmproxy"], default="relay", help="what passes the bytes on")
    parser.add_argument("--quiet", action="store_true", help="no line per connection, only what goes wrong")


def run(options: argparse.Namespace) -> int:
    """Records until SIGTERM (status 0) or SIGINT (status 130)."""
    from wsprobe.net.logs import logger

    options.output = options.output or _default_output(options.name)
    log = logger(quiet=options.quiet)
    _allow_many_connections()
    with contextlib.ExitStack() as stack:
        try:
            recording = _ENGINES[options.engine](options, log, stack)
        except OSError as error:
            raise UsageError(f"{error.filename or options.output}: {error.strerror or error}") from None
        except ValueError as error:
            raise UsageError(str(error)) from None
        with asyncio.Runner(loop_factory=_loop_factory(options.engine)) as runner:
            return runner.run(_record(recording, options, log))


async def _record(recording: Recording, options: argparse.Namespace, log: "FilteringBoundLogger") -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(partial(_tell_exception, log))
    leave: asyncio.Future[int] = loop.create_future()
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        loop.add_signal_handler(number, _leave, leave, status)
    try:
        host, port = await recording.start()
    except OSError as error:
        raise UsageError(f"--listen {options.listen}: {error.strerror or error}") from None
    log.info("listening", hop=options.name, at=shown((host, port)), to=options.to, records=str(options.output))
    gc.freeze()  # what the start has made stays: no collection needs to look at it again
    status = await leave
    await recording.stop()
    return status


def _leave(leave: "asyncio.Future[int]", status: int) -> None:
    if not leave.done():
        leave.set_result(status)


def _tell_exception(log: "FilteringBoundLogger", _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What asyncio would print with a traceback; the text of an exception could hold what was received."""
    log.error(str(context.get("message")), error=type(context.get("exception")).__name__)


def _default_output(name: str) -> Path:
    if "/" in name:
        raise UsageError(f"{name!r} is no name for a file: give one with -o")
    return Path(name + SUFFIX)


def _allow_many_connections() -> None:
    """Two descriptors a connection: the usual soft limit of 1024 would be reached with 500."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory(engine: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if engine == "relay":
        with contextlib.suppress(ImportError):  # no wheel for this platform: asyncio's own loop does the same, slower
            import uvloop

            return uvloop.new_event_loop
    return None


# The engines.


def _relay(options: argparse.Namespace, log: "FilteringBoundLogger", _: contextlib.ExitStack) -> Recording:
    from wsprobe.net.logs import tell_passed
    from wsprobe.net.relay import Relay

    return Relay(
        options.name,
        options.output,
        options.to,
        parse_listen(options.listen),
        certificate=options.cert,
        key=options.key,
        authorities=options.cacert,
        insecure=options.insecure,
        passed=partial(tell_passed, log),
        problem=log.error,
    )


def _mitmproxy(options: argparse.Namespace, _: "FilteringBoundLogger", stack: contextlib.ExitStack) -> Recording:
    try:
        from wsprobe.net.mitm import MitmRecorder
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mitmproxy":
            raise
        raise UsageError("--engine mitmproxy needs mitmproxy: pip install 'wsprobe[mitmproxy]'") from None
    recording: Recording = MitmRecorder(
        options.name,
        options.output,
        str(parse_upstream(options.to)),
        parse_listen(options.listen),
        certs=_one_file(options.cert, options.key, stack) if options.cert else None,
        insecure=options.insecure,
        cacert=options.cacert,
    )
    return recording


def _one_file(certificate: Path, key: Path | None, stack: contextlib.ExitStack) -> Path:
    """Chain and key in one file, as mitmproxy wants them; the copy is private and goes when the command ends."""
    terminating(certificate, key)  # tells what is wrong with them in one line
    if key is None:
        return certificate
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsprobe-")))
    both = folder / "both.pem"
    both.touch(mode=0o600)
    both.write_bytes(certificate.read_bytes() + b"\n" + key.read_bytes())
    return both


_ENGINES = {"relay": _relay, "mitmproxy": _mitmproxy}
