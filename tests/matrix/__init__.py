"""The fault matrix: faults injected on real proxies, and what wsprobe says of each with more and with less evidence.

A group of a TOML file is a fault with its truth, and the paths, recorders and expected verdicts that it is tried with;
`rows` makes a row of each combination. A wrong accusation is worse than a missed one: `accusations` holds every
finding that claims to know against the truth.

client -> [edge] -> first proxy -> [mid] -> second proxy -> [app] -> the application; recorders stand where a row wants.
"""

import contextlib
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests import lab
from tests.matrix.origins import ORIGINS
from tests.tracing import Document, Ran, relay, trace

FOLDER = Path(__file__).parent
RECORDERS: dict[str, tuple[str, ...]] = {
    "all": ("edge", "mid", "app"),
    "outer": ("edge",),
    "origin": ("app",),
    "none": (),
}
SURE = frozenset({"proven", "likely"})

LOSSES = frozenset(
    {"header-removed", "header-altered", "upgrade-dropped", "subprotocol-dropped", "close-code-rewritten"}
)
"""Findings that say that something was lost or changed on a stretch of the path."""

ENDS = frozenset(
    {"closed-by-origin", "closed-without-frame", "idle-timeout", "lifetime-limit", "upgrade-refused", "redirected"}
)
"""Findings that say where an answer or an end came from."""

TOKENS = frozenset({"token-expired", "token-invalid"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One path with one fault, what is true of it, and the verdict that the evidence allows.

    `expected` is RULE, or RULE/CONFIDENCE, or "none" for nothing wrong. `lost` are the headers that are lost or altered,
    `at` the proxy that does it (0 is the first), `ends` where the end or the answer comes from: a proxy's number, or
    "origin", or "client". `token` says whether the token itself is at fault.
    """

    group: str
    proxies: tuple[str, ...]
    recorders: str
    expected: str
    origin: str
    fault: str = "correct"
    at: int = 0
    edits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    ends: str = ""
    token: bool = False
    hold: float = 0.5
    path: str = "/ws"

    @property
    def name(self) -> str:
        """The row in words, unique in the matrix."""
        return f"{self.group}: {' > '.join(self.proxies) or 'no proxy'}, recorders {self.recorders}"


def rows() -> list[Row]:
    """All rows of all files, in the order of the files."""
    return [row for file in sorted(FOLDER.glob("*.toml")) for row in _of_file(file)]


def _of_file(file: Path) -> Iterator[Row]:
    for group in tomllib.loads(file.read_text())["group"]:
        yield from _of_group(group)


def _of_group(group: dict[str, Any]) -> Iterator[Row]:
    paths = group.get("paths", [[name] for name in lab.PROXIES])
    expected: dict[str, Any] = group["expect"]
    for path in paths:
        for recorders in RECORDERS:
            wanted = expected.get(recorders)
            special = expected.get(path[group.get("at", 0)] if path else "", {})
            wanted = special.get(recorders, wanted) if isinstance(special, dict) else wanted
            if wanted is None:
                continue
            yield Row(
                group=group["name"],
                proxies=tuple(path),
                recorders=recorders,
                expected=wanted,
                origin=group.get("origin", "needs-token"),
                fault=group.get("fault", "correct"),
                at=group.get("at", 0),
                edits=group.get("edits", {}),
                options=tuple(group.get("options", ())),
                lost=tuple(group.get("lost", ())),
                ends=str(group.get("ends", "origin")),
                token=group.get("token", False),
                hold=group.get("hold", 0.5),
                path=group.get("path", "/ws"),
            )


# Staging.


def run(row: Row) -> Ran:
    """Stages a row and traces it."""
    with tempfile.TemporaryDirectory(prefix="wsprobe-matrix-") as name, staged(row, Path(name)) as port:
        records = [word for recorder in _standing(row) for word in ("--records", f"{name}/{recorder}.jsonl")]
        if ORIGINS[row.origin].recorded and row.recorders == "all":
            records += ["--records", f"{name}/origin.jsonl"]
        options = [option.replace("@LARGE@", "t" * (20 << 10)) for option in row.options]
        bearer = [] if "--no-token" in options else ["--bearer-env", "MATRIX_TOKEN"]
        options = [option for option in options if option != "--no-token"]
        env = {"MATRIX_TOKEN": ORIGINS[row.origin].token}
        return trace(f"ws://127.0.0.1:{port}{row.path}", *bearer, *records, *options, hold=row.hold, env=env)


@contextlib.contextmanager
def staged(row: Row, folder: Path) -> Iterator[int]:
    """The path of a row, from the application outwards; gives the port that the client connects to."""
    standing = _standing(row)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(ORIGINS[row.origin].serve(folder))
        stations = ["edge", "mid", "app"] if len(row.proxies) > 1 else ["edge", "app"]
        for index in range(len(row.proxies) - 1, -1, -1):
            port = _recorded(stack, stations[index + 1], port, standing, folder)
            port = stack.enter_context(_proxy(row, index, port))
        if row.proxies:
            port = _recorded(stack, "edge", port, standing, folder)
        elif "app" in standing:
            port = _recorded(stack, "app", port, standing, folder)
        yield port


def _standing(row: Row) -> tuple[str, ...]:
    there = RECORDERS[row.recorders]
    if len(row.proxies) < 2:
        there = tuple(name for name in there if name != "mid")
    return there if row.proxies else tuple(name for name in there if name == "app")


def _recorded(stack: contextlib.ExitStack, name: str, port: int, standing: tuple[str, ...], folder: Path) -> int:
    if name not in standing:
        return port
    (folder / f"{name}.jsonl").touch()
    return stack.enter_context(relay(name, port, folder / f"{name}.jsonl"))


@contextlib.contextmanager
def _proxy(row: Row, index: int, upstream: int) -> Iterator[int]:
    """One real proxy, with the fault if it is the one that has it."""
    name = row.proxies[index]
    chosen = lab.PROXIES[name]
    faulty = index == row.at
    if faulty and name in row.edits:
        chosen = replace(chosen, places={**chosen.places, **row.edits[name]})
    fault = row.fault if faulty else "correct"
    with lab.run(name, lambda folder, port: chosen.render(folder, port, upstream, fault)) as running:
        yield running.port


# Judging.


@dataclass(frozen=True, slots=True)
class Result:
    """What wsprobe said of a row: `kind` is right, weaker, silent, or wrong."""

    row: Row
    kind: str
    said: str
    accusations: tuple[str, ...]


def judge(row: Row, report: Document) -> Result:
    """The verdict against what was expected, and every finding against the truth."""
    verdict = report.get("verdict")
    said = f"{verdict['rule']}/{verdict['confidence']}" if verdict else "none"
    wrong = tuple(accusations(row, report))
    rule, _, confidence = row.expected.partition("/")
    if wrong:
        kind = "wrong"
    elif said.partition("/")[0] == rule and (not confidence or said == row.expected):
        kind = "right"
    elif rule in {finding["rule"] for finding in report["findings"]}:
        kind = "weaker"
    else:
        kind = "silent" if not verdict or verdict["confidence"] == "possible" else "other"
    return Result(row, kind, said, wrong)


def accusations(row: Row, report: Document) -> Iterator[str]:
    """Findings that claim to be proven or likely and are not true."""
    for finding in report["findings"]:
        if finding["confidence"] not in SURE or finding["severity"] == "note":
            continue
        rule, header = finding["rule"], (finding["header"] or "").lower()
        lost = {name.lower() for name in row.lost}
        if rule in LOSSES and (header or rule) not in lost:
            yield f"{rule} of {header or 'nothing'}, which was not lost"
        elif rule in LOSSES and not _covers(row, finding["segment"], row.at):
            yield f"{rule} on {finding['segment']}, which is not where it was lost"
        elif rule in TOKENS and not row.token:
            yield f"{rule}, and the token is good"
        elif rule in ENDS and row.ends.isdigit() and not _covers(row, finding["segment"], int(row.ends)):
            yield f"{rule} on {finding['segment']}, and the end came from proxy {row.ends}"
        elif rule in ENDS and row.ends == "origin" and not _covers(row, finding["segment"], len(row.proxies)):
            yield f"{rule} on {finding['segment']}, and the end came from the application"


def _covers(row: Row, segment: list[str | None] | None, place: int) -> bool:
    """Whether a stretch has a place on it: a proxy by its number, or the application behind the last."""
    if segment is None:
        return True
    last = len(row.proxies)
    # The recorder at a station stands before the proxy of its number, the last one before the application.
    stations = {"edge": 0, "app": last, "origin": last} | ({"mid": 1} if last > 1 else {})
    outer, inner = segment
    begin = stations.get(outer or "", -1)
    end = last if inner in {None, "origin"} or outer == inner else stations[inner or ""] - 1
    return begin <= place <= end
