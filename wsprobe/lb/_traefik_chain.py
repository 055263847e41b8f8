"""What the middlewares of a router add up to, while they are read one after the other."""

from collections.abc import Iterable
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.inspection import Unknown
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.model import Edit, Step
from wsprobe.parts import Line


class DisabledError(Exception):
    """Why Traefik leaves a router out, and the line that says so."""

    def __init__(self, reason: str, place: Line) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


@dataclass(slots=True)
class Chain:
    """The steps of a router so far. `tls` is whether its clients use TLS, `version` the proxy's major version.

    `appended` is whether the proxy will add the client's address to X-Forwarded-For.
    """

    tls: bool = False
    version: int = 3
    steps: list[Step] = field(default_factory=list)
    response: list[Edit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: list[Unknown] = field(default_factory=list)
    appended: bool = True

    def unknown_fields(self, setting: Setting, known: Iterable[str]) -> None:
        """Lists what stands under a setting and is no word of its vocabulary."""
        lowered = {name.lower() for name in known}
        for name, found in setting.fields.items():
            if name.lower() not in lowered:
                why = f"not an option of {setting.name} that is known here"
                self.unread.append(Unknown(what=name, why=why, place=found.place))
