"""The timers of nginx that end an upgraded connection, and those that only look as if they did."""

from collections.abc import Iterator

from wsprobe.inspection import Timeout, Timer
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_scope import Scope, seconds

_DEFAULT = 60.0
_ENDS = "FIN on both sides, no close frame"
_IDLE_ONLY = {
    "proxy_send_timeout": "it runs only while the upstream does not take what is sent to it",
    "send_timeout": "it runs only while the client does not take what is sent to it",
}


def timers(scope: Scope, passes: str) -> Iterator[Timeout]:
    """The timers of a block that passes requests on."""
    family = passes.removesuffix("_pass")
    read, connect = scope.setting(f"{family}_read_timeout"), scope.setting(f"{family}_connect_timeout")
    yield Timeout(
        kind=Timer.IDLE,
        name=f"{family}_read_timeout",
        seconds=_seconds(read),
        place=read.place if read else None,
        resets_on="any traffic in either direction",
        ends=_ENDS,
    )
    for name, found, waits in (("connect", connect, "accept the connection"), ("read", read, "answer")):
        yield Timeout(
            kind=Timer.HANDSHAKE,
            name=f"{family}_{name}_timeout",
            seconds=_seconds(found),
            place=found.place if found else None,
            resets_on="nothing" if name == "connect" else "a byte from the upstream",
            ends=f"504 where the upstream does not {waits} in time",
        )
    if read is None:
        yield from _without_effect(scope)


def _without_effect(scope: Scope) -> Iterator[Timeout]:
    """Timers that are written where the one that counts is not."""
    for name, why in _IDLE_ONLY.items():
        found = scope.setting(name)
        if found:
            yield Timeout(
                kind=Timer.IDLE, name=name, seconds=_seconds(found), place=found.place, applies=False, why=why
            )


def _seconds(directive: Directive | None) -> float | None:
    return _DEFAULT if directive is None else seconds(directive.arg(0))
