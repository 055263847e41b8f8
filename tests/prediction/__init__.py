"""Prediction against reality: what a config was said to do to an upgrade, and what the real proxy did to it.

A test generates configs and requests, `compare` runs each through the real proxy and through `predict`, and every
header that the upstream received, the status that the client got, and whether the upstream was reached have to agree.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

from tests import lab, wire
from tests.backend import Backend, Exchange, plain, switching
from tests.backend import Request as Received
from wsprobe.inspection import Prediction
from wsprobe.lb import reader
from wsprobe.lb.model import Config
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request
from wsprobe.lb.source import Files
from wsprobe.model import Header

SECONDS = 10

Render = Callable[[Path, int], Mapping[str, str]]
"""The files of a config by name, for the folder that they will lie in and the port to listen on; the main one first."""

_FUZZ = os.environ.get("WSPROBE_PREDICT_EXAMPLES")


def examples(number: int) -> settings:
    """How many configs are generated: the same ones at each run of the suite, many new ones in make predict-fuzz."""
    return settings(
        max_examples=int(_FUZZ) if _FUZZ else number,
        derandomize=not _FUZZ,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if _FUZZ else [])],
        suppress_health_check=list(HealthCheck),
    )


@dataclass(slots=True)
class Tally:
    """How many pairs of a config and a request were compared with a proxy, and how many agreed.

    `undecided` are those of which the prediction said that something cannot be known; what it did say of them agreed.
    """

    proxy: str
    run: int = 0
    agreed: int = 0
    undecided: int = 0
    disagreements: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Got:
    """What really happened: the status that the client got, None without one, and what the upstream received."""

    status: int | None
    received: tuple[Received, ...]


def answer(exchange: Exchange) -> None:
    """The upstream: 101 for what asks for a WebSocket in all its parts (RFC 6455, 4.2.1), else 426."""
    exchange.send(switching(exchange.request) if _asks(exchange.request.headers) else plain("426 Upgrade Required"))


def _asks(headers: Iterable[Header]) -> bool:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).extend(token.strip().lower() for token in value.split(","))
    return (
        "websocket" in found.get("upgrade", [])
        and "upgrade" in found.get("connection", [])
        and bool(found.get("sec-websocket-key"))
    )


def compare(
    proxy: str,
    render: Callable[[Path, int, int], Mapping[str, str]],
    requests: Iterable[Request],
    tally: Tally,
    version: str | None = None,
) -> None:
    """Runs one config and sends each request through it; AssertionError with the config where anything disagrees.

    `render` gets the folder, the port to listen on, and the port of the upstream.
    """
    with (
        Backend(answer) as upstream,
        lab.run(proxy, lambda folder, port: render(folder, port, upstream.port)) as running,
    ):
        files = render(running.folder, running.port, upstream.port)
        config = read(proxy, running.folder, next(iter(files)), version)
        wrong = []
        for request in requests:
            asked, got = send(running.port, request, upstream)
            prediction = predict(config, asked)
            tally.run += 1
            tally.undecided += bool(prediction.unknown)
            different = list(differences(prediction, got))
            tally.agreed += not different
            if different:
                wrong.append(f"{asked}\n  " + "\n  ".join(different))
        shown = "\n".join(f"--- {name}\n{text}" for name, text in files.items())
        tally.disagreements += wrong
        assert not wrong, f"{proxy} disagrees:\n" + "\n".join(wrong) + f"\n{shown}\n--- log\n{running.said}"


def read(kind: str, folder: Path, name: str, version: str | None = None) -> Config:
    """The config in a file, read by the reader of that kind; nothing of it may be a problem."""
    config = reader(kind).read(Files(folder.resolve()).open(folder / name), version)
    assert not config.problems, config.problems
    return config


def send(port: int, request: Request, upstream: Backend) -> tuple[Request, Got]:
    """Sends one request from a connection of its own; gives it back with what is known of that connection."""
    before = len(upstream.exchanges)
    with socket.create_connection(("127.0.0.1", port), SECONDS) as conn:
        address, own = conn.getsockname()
        head = [f"{request.method} {request.target} {request.version}", *(f"{n}: {v}" for n, v in request.headers)]
        conn.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        status = _status(conn)
    known = replace(request, scheme="http", port=port, peer=address, peer_port=own, local="127.0.0.1")
    return replace(known, machine=socket.gethostname()), Got(status, tuple(upstream.requests[before:]))


def _status(conn: socket.socket) -> int | None:
    try:
        line = wire.read_head(conn)[0].split(b"\r\n")[0].split(b" ")
    except OSError:
        return None
    return int(line[1]) if len(line) > 1 and line[1].isdigit() else None


def differences(prediction: Prediction, got: Got) -> Iterator[str]:
    """Each way in which what happened is not what was said."""
    if len(got.received) > 1:
        yield f"the upstream got {len(got.received)} requests"
    received = got.received[0] if got.received else None
    if prediction.reached is not None and prediction.reached is not bool(received):
        yield f"reached: predicted {prediction.reached}, was {bool(received)} (status {got.status})"
    elif received and prediction.request:
        yield from _in_request(prediction, received)
        # What is told is the status in place of a 101; some proxies put it in place of any.
        asks = _asks(prediction.request.headers)
        expected = {prediction.status or 101} if asks else {426, prediction.status or 426}
        if prediction.reached and not prediction.unknown and got.status not in expected:
            yield f"status: predicted {expected} from the upstream, was {got.status}"
    elif received is None and prediction.status not in {None, got.status}:
        yield f"status: predicted {prediction.status}, was {got.status}"


def _in_request(prediction: Prediction, received: Received) -> Iterator[str]:
    assert prediction.request
    unknown = {each.what.lower() for each in prediction.unknown}
    if "the request target" not in unknown and prediction.request.start_line != received.start_line:
        yield f"start line: predicted {prediction.request.start_line!r}, was {received.start_line!r}"
    said, was = grouped(prediction.request.headers), grouped(received.headers)
    for name in {**said, **was}:
        if name in unknown or ("any header" in unknown and name not in said):
            continue
        if not _same(said.get(name), was.get(name)):
            yield f"{name}: predicted {said.get(name)}, was {was.get(name)}"


def _same(said: list[str] | None, was: list[str] | None) -> bool:
    """Whether values are the same: one that was received has a character an octet, one from a config is UTF-8."""
    if said is None or was is None or len(said) != len(was):
        return said is was
    return all(one in {value, value.encode().decode("latin-1")} for value, one in zip(said, was, strict=True))


def grouped(headers: Iterable[Header]) -> dict[str, list[str]]:
    """The values of each header in their order, by lower-case name, without the space around them (RFC 9110, 5.5)."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.strip(" \t"))
    return found
