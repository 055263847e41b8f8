"""`wsprobe record`: observes at a hop and appends what it sees to a records file, until it is told to leave."""

import argparse
import contextlib
import gc
import resource
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError
from wsprobe.cli.serving import Serving, serve
from wsprobe.join import CLIENT
from wsprobe.model import Observation
from wsprobe.net.address import parse_listen, parse_upstream
from wsprobe.net.logs import logger, tell_passed
from wsprobe.net.tls import terminating
from wsprobe.recordfile import SUFFIX, RecordWriter

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_MAX_NAME = 100
_DESCRIPTORS = 65536


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
    if options.name == CLIENT:
        raise UsageError(f"NAME {CLIENT} is the probe's own hop: call this one by where it stands, such as edge")
    log = logger(quiet=options.quiet)
    with contextlib.ExitStack() as stack:
        try:
            recording = _ENGINES[options.engine](options, log, stack)
            _allow_many_connections()
            gc.freeze()  # what the start has made stays: no collection needs to look at it again
            about = {"hop": options.name, "to": _upstream(options), "records": str(_output(options))}
            return serve(recording, log, listen=options.listen, **about)
        except OSError as error:
            raise UsageError(f"{error.filename or options.output}: {error.strerror or error}") from None
        except ValueError as error:
            raise UsageError(str(error)) from None


def _output(options: argparse.Namespace) -> Path:
    name: str = options.name
    if not name.strip() or not name.isprintable() or len(name) > _MAX_NAME:
        raise UsageError(f"NAME: a word or two for this hop, of {_MAX_NAME} characters at most")
    if options.output:
        return Path(options.output)
    if "/" in name:
        raise UsageError(f"NAME: {name} is no name for a file: say with -o where to record")
    return Path(name + SUFFIX)


def _listen(options: argparse.Namespace) -> tuple[str, int]:
    try:
        return parse_listen(options.listen)
    except ValueError as error:
        raise UsageError(f"--listen {options.listen}: {error}") from None


def _upstream(options: argparse.Namespace) -> str:
    try:
        return str(parse_upstream(options.to))
    except ValueError as error:  # the URL is not repeated: it may hold a password
        raise UsageError(f"--to: {error}") from None


def _allow_many_connections() -> None:
    """Each takes two descriptors: the usual soft limit of 1024 would be reached with 500."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# The engines.


def _relay(options: argparse.Namespace, log: "FilteringBoundLogger", _: contextlib.ExitStack) -> Serving:
    from wsprobe.net.relay import Relay

    if options.key and not options.cert:
        raise UsageError("--key is the key of --cert, which is missing")
    return Relay(
        options.name,
        _output(options),
        _upstream(options),
        _listen(options),
        certificate=options.cert,
        key=options.key,
        authorities=options.cacert,
        insecure=options.insecure,
        passed=_teller(options, log),
        problem=log.error,
    )


def _mitmproxy(options: argparse.Namespace, log: "FilteringBoundLogger", stack: contextlib.ExitStack) -> Serving:
    try:
        from wsprobe.net.mitm import MitmRecorder
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mitmproxy":
            raise
        raise UsageError("--engine mitmproxy needs mitmproxy: pip install 'wsprobe[mitmproxy]'") from None
    output = _output(options)
    RecordWriter(output).close()  # the engine opens it when it starts: what is wrong with it is told before
    return MitmRecorder(
        options.name,
        output,
        _upstream(options),
        _listen(options),
        certs=_one_file(options.cert, options.key, stack) if options.cert else None,
        insecure=options.insecure,
        cacert=options.cacert,
        on_record=_teller(options, log),
        on_problem=log.error,
    )


def _teller(options: argparse.Namespace, log: "FilteringBoundLogger") -> Callable[[Observation], None] | None:
    """What tells each exchange; with --quiet the line is not even composed."""
    return None if options.quiet else partial(tell_passed, log)


def _one_file(certificate: Path, key: Path | None, stack: contextlib.ExitStack) -> Path:
    """Chain and key in one file, as mitmproxy wants them; the copy is private and goes when the command ends."""
    terminating(certificate, key)  # says what is wrong with them
    if key is None:
        return certificate
    both = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsprobe-"))) / "both.pem"
    both.touch(mode=0o600)
    both.write_bytes(certificate.read_bytes() + b"\n" + key.read_bytes())
    return both


_ENGINES = {"relay": _relay, "mitmproxy": _mitmproxy}
