"""What the lab must know of a proxy to run it: its program, its config and how each fault changes that."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FAULTS = {
    "correct": "upgrades pass, and every header of theirs",
    "strip-authorization": "Authorization is removed",
    "rewrite-authorization": "Authorization is replaced by Basic credentials",
    "no-upgrade": "Upgrade is not passed on: by default where the proxy has such a default, else by removing it",
    "idle-2s": "the timer that ends a silent WebSocket stands at two seconds",
}

#: What rewrite-authorization puts in place of the client's token.
BASIC = "Basic bGFiOmxhYg=="


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A load balancer of the lab.

    `files` are its config, with places in capitals between @ signs: @PORT@, @UPSTREAM@ and @FOLDER@, and those of
    `places`, whose text is what the correct config says there. `faults` gives, per fault, the places that say
    something else; `without` the reason where the proxy cannot have a fault.
    """

    name: str
    program: str
    package: str
    wheel: bool
    command: tuple[str, ...]
    files: Mapping[str, str]
    places: Mapping[str, str]
    faults: Mapping[str, Mapping[str, str]]
    without: Mapping[str, str] = field(default_factory=dict)
    ready_path: str = ""

    def __post_init__(self) -> None:
        told = {*self.faults, *self.without}
        assert told == set(FAULTS), f"{self.name}: {told ^ set(FAULTS)}"
        assert all(set(places) <= set(self.places) for places in self.faults.values()), self.name

    def render(self, folder: Path, port: int, upstream_port: int, fault: str) -> dict[str, str]:
        """The config's files by name, every place filled."""
        said = {**self.places, **self.faults[fault]}
        said |= {"FOLDER": str(folder), "PORT": str(port), "UPSTREAM": f"127.0.0.1:{upstream_port}"}
        said["UPSTREAM_PORT"] = str(upstream_port)
        return {name: re.sub(r"@([A-Z_]+)@", lambda place: said[place[1]], text) for name, text in self.files.items()}
