"""What nginx does to the head of a request before anything else: headers that it drops, and heads that it refuses."""

from collections.abc import Iterator

from wsprobe.lb._nginx_scope import Scope, size
from wsprobe.lb.expressions import Condition, How, Lines, Not, Of, Or, Subject, Substituted, Test, Text, both
from wsprobe.lb.model import Answer, Edit, Like, Limit, Measure, Op, Retarget, Step

_ONCE = (
    "Host",
    "Authorization",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "Content-Length",
    "Content-Range",
    "Transfer-Encoding",
    "Expect",
)
_ONCE_SINCE = {"Proxy-Authorization": (1, 31)}
_SCHEME = r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*"


def repeated(name: str) -> Condition:
    """Whether a header stands on several lines."""
    return Test(Of(Subject.HEADER, name, lines=Lines.JOINED, separator="\n"), How.CONTAINS, ("\n",))


def refused(version: tuple[int, ...]) -> Iterator[Step]:
    """What nginx answers to a head that it does not take, whatever the config says."""
    once = [*_ONCE, *(name for name, since in _ONCE_SINCE.items() if version >= since)]
    for name in once:
        yield Answer(status=400, why=f"{name} stands on several lines", when=repeated(name))
    nameless = Not(Test(Of(Subject.HEADER, "host"), How.EXISTS))
    newer = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.1",))
    yield Answer(status=400, why="HTTP/1.1 without Host", when=both(newer, nameless))
    whole = Test(Of(Subject.TARGET), How.REGEX, (_SCHEME,))
    path = Substituted(Of(Subject.TARGET), _SCHEME, "")
    yield Retarget(value=Or(path, Text("/")), when=whole)


def dropped(scope: Scope) -> Iterator[Edit]:
    """Headers whose names nginx does not take; they are gone before any variable is asked."""
    checked = scope.setting("ignore_invalid_headers")
    if checked and checked.arg(0).lower() == "off":
        return
    underscores = scope.setting("underscores_in_headers")
    kept = underscores is not None and underscores.arg(0).lower() == "on"
    pattern = r"[^A-Za-z0-9_-]" if kept else r"[^A-Za-z0-9-]"
    place = underscores.place if underscores and not kept else None
    yield Edit(op=Op.REMOVE, which=Like(pattern), place=place)


def limits(scope: Scope) -> tuple[Limit, ...]:
    """How large the head may be."""
    found = scope.setting("large_client_header_buffers")
    count, most = (found.arg(0), size(found.arg(1))) if found else ("4", 8192)
    if most is None or not count.isdigit():
        return ()
    place = found.place if found else None
    line = Limit(name="large_client_header_buffers", measure=Measure.LINE, most=most - 2, status=400, place=place)
    return (line,)
