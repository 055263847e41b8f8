"""`wsprobe demo`: the 1011 incident on loopback, all of it in one process, traced, diagnosed, reported.

client -> edge (the relay) -> load balancer -> app (the mitmproxy addon) -> application. The load balancer loses a
header on upgrades only, so that plain HTTP works, as it did in the incident.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from wsprobe.cli import UsageError, gather, output

if TYPE_CHECKING:
    from wsprobe.model import Control, Observation, Report
    from wsprobe.net.origin import Origin

_AUDIENCE = "demo"
_ORIGIN_PATH = "/ws"


class _Part(Protocol):
    """What the path is made of."""

    async def start(self) -> tuple[str, int]:
        """Listens."""

    async def stop(self) -> None:
        """Ends what is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong in one run of the demo, and the rule that has to name it.

    Without `accepts` the application takes no token, however good it is.
    """

    does: str
    rule: str | None
    accepts: bool = True
    lifetime: int = 300
    on_refusal: Literal["1011", "1008", "401", "403", "drop"] = "1011"
    idle: float | None = None
    rewrite: int | None = None
    hold: float = 0.5


FAULTS = {
    "strip-authorization": Fault(does="the balancer drops Authorization on upgrades", rule="header-removed"),
    "strip-upgrade": Fault(does="the balancer does not pass upgrades on", rule="upgrade-dropped"),
    "rewrite-host": Fault(does="the balancer names its upstream in Host", rule="host-rewritten"),
    "drop-subprotocol": Fault(does="the balancer drops Sec-WebSocket-Protocol", rule="subprotocol-dropped"),
    "truncate-token": Fault(does="the balancer cuts long headers", rule="header-altered"),
    "expired-token": Fault(does="the client's token has expired", rule="token-expired", lifetime=-3600),
    "origin-crash": Fault(
        does="the application fails and drops TCP", rule="closed-without-frame", accepts=False, on_refusal="drop"
    ),
    "idle-timeout": Fault(
        does="the balancer ends silent connections after 1 s", rule="idle-timeout", idle=1.0, hold=3.0
    ),
    "close-code-rewrite": Fault(
        does="the balancer writes close frames of its own",
        rule="close-code-rewritten",
        accepts=False,
        on_refusal="1008",
        rewrite=1000,
    ),
    # Watched for longer than the balancer's timer takes, so that a comparison can tell that it is gone.
    "none": Fault(does="nothing is wrong", rule=None, hold=1.2),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked."""
    listed = "; ".join(f"{name}: {fault.does}" for name, fault in FAULTS.items())
    parser.add_argument("--fault", choices=tuple(FAULTS), default="strip-authorization", metavar="NAME", help=listed)
    output.arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Prints the report; 0 when it names what was injected, 1 when it does not."""
    output.check(options)
    gather.fingerprint_key()  # what cannot be used is told before anything starts
    fault = FAULTS[options.fault]
    try:
        report = asyncio.run(_traced(options.fault, fault))
    except OSError as error:
        raise UsageError(f"the demo could not be set up on loopback: {error.strerror or error}") from None
    output.write(report, options)
    found = report.verdict.rule if report.verdict else None
    named = found == fault.rule and (fault.rule is not None or not report.findings)
    print(f"demo: injected: {fault.does}; found: {found or 'nothing wrong'}", file=sys.stderr)
    return 0 if named else 1


async def _traced(name: str, fault: Fault) -> "Report":
    from wsprobe.diagnose import diagnose
    from wsprobe.join import CLIENT, join

    secret = secrets.token_urlsafe(48)
    with tempfile.TemporaryDirectory(prefix="wsprobe-demo-") as folder:
        async with _staged(name, fault, secret, Path(folder)) as port:
            token = _token(secret, fault)
            seen = await _probed(port, token, fault)
            control = await _plain_http(port, token) if fault.accepts else None
        found = gather.beside([seen], [Path(folder)])
        trace = next(t for t in join((seen, *found.observations), found.problems) if t.hops[0].name == CLIENT)
    report = diagnose(trace, subject=f"wsprobe demo --fault {name}")
    return replace(report, controls=(control,)) if control else report


@contextlib.asynccontextmanager
async def _staged(name: str, fault: Fault, secret: str, records: Path) -> AsyncIterator[int]:
    """Everything between client and application, started from the inside out; gives the port of the edge."""
    from wsprobe.net.balancer import EDITS, Balancer
    from wsprobe.net.relay import Relay

    async with contextlib.AsyncExitStack() as stack:

        async def started(part: _Part) -> tuple[str, int]:
            address = await part.start()
            stack.push_async_callback(part.stop)
            return address

        origin = await started(_application(fault, secret))
        inner = await started(_inner_recorder(records, origin))
        balancer = Balancer(inner, edit=EDITS.get(name), idle=fault.idle, rewrite=fault.rewrite)
        host, port = await started(balancer)
        edge = Relay("edge", records / "edge.jsonl", f"http://{host}:{port}", ("127.0.0.1", 0))
        yield (await started(edge))[1]


def _application(fault: Fault, secret: str) -> "Origin":
    """The stand-in for the incident's application: it takes whoever brings the token, and fails the others."""
    from wsprobe.net.carriers import TokenPolicy
    from wsprobe.net.origin import Origin
    from wsprobe.net.tokens import Demands, OneKey, Verifier, read_key

    audience = _AUDIENCE if fault.accepts else "nobody"
    verifier = Verifier(OneKey(read_key(secret)), Demands(algorithms=("HS256",), audience=audience))
    return Origin(
        "application",
        ("127.0.0.1", 0),
        tokens=TokenPolicy(verifier=verifier),
        on_missing=fault.on_refusal,
        check_origin=True,
    )


def _inner_recorder(records: Path, origin: tuple[str, int]) -> _Part:
    """The recorder behind the balancer: the mitmproxy addon, or the relay where mitmproxy is not installed."""
    to, listen = f"http://{origin[0]}:{origin[1]}", ("127.0.0.1", 0)
    if importlib.util.find_spec("mitmproxy"):
        from wsprobe.net.mitm import MitmRecorder

        return MitmRecorder("app", records / "app.jsonl", to, listen)
    from wsprobe.net.relay import Relay

    print("demo: mitmproxy is not installed; the relay records behind the balancer too", file=sys.stderr)
    return Relay("app", records / "app.jsonl", to, listen)


def _token(secret: str, fault: Fault) -> str:
    import jwt

    now = int(time.time())
    claims = {"sub": "demo-user", "aud": _AUDIENCE, "iat": now - 7200, "exp": now + fault.lifetime}
    return jwt.encode(claims, secret, algorithm="HS256")


async def _probed(port: int, token: str, fault: Fault) -> "Observation":
    from yarl import URL

    from wsprobe.net.attempt import Attempt
    from wsprobe.net.probe import probe
    from wsprobe.redact import redact

    headers = (
        ("Origin", f"http://127.0.0.1:{port}"),
        ("Sec-WebSocket-Protocol", "chat.v2, chat.v1"),
        ("Authorization", f"Bearer {token}"),
    )
    url = URL(f"ws://127.0.0.1:{port}{_ORIGIN_PATH}")
    attempt = Attempt(url=url, headers=headers, hold=fault.hold, answer_time=5.0)
    seen = await probe(attempt)
    task = asyncio.current_task()
    if task and task.cancelling():  # interrupted; the probe gives what it saw, which is of no use here
        raise asyncio.CancelledError
    return redact(seen, gather.fingerprint_key())


async def _plain_http(port: int, token: str) -> "Control":
    """The same token on the same path without an upgrade: what made everybody believe that the token was fine."""
    import aiohttp

    from wsprobe.model import Control

    url = f"http://127.0.0.1:{port}{_ORIGIN_PATH}"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Authorization": f"Bearer {token}"}) as got,
    ):
        return Control(name="plain HTTP, same path, same token", result=f"answered {got.status} {got.reason}")
