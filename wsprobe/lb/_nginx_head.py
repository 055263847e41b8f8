"""What nginx does to the head of a request before anything else: headers that it drops, and heads that it refuses."""

import re
from collections.abc import Iterator

from wsprobe.lb._nginx_scope import Scope, size
from wsprobe.lb._numbers import natural
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    Condition,
    How,
    Join,
    Lines,
    Not,
    Of,
    Or,
    Subject,
    Substituted,
    Test,
    Text,
    Written,
    both,
    has,
)
from wsprobe.lb.model import Answer, Edit, Like, Limit, Measure, Op, Opaque, Retarget, Step

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
_MOST_HEADERS = 1000
_STRICT_HOST = (1, 29, 4)
"""The version from which Host is compared with the grammar of RFC 3986."""
_ODD_IN_HOST = ("/", "..", " ", "\t", "\0")
_ODD_SINCE = ("@", "\\", '"', "<", ">", "^", "`", "{", "|", "}", "#", "?")
_ROOTED = Test(Of(Subject.TARGET), How.PREFIX, ("/",))
_SCHEME = r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*"


def repeated(name: str) -> Condition:
    """Whether a header stands on several lines."""
    return Test(Of(Subject.HEADER, name, lines=Lines.JOINED, separator="\n"), How.CONTAINS, ("\n",))


def refused(version: tuple[int, ...]) -> Iterator[Step]:
    """What nginx answers to a head that it does not take, whatever the config says."""
    once = [*_ONCE, *(name for name, since in _ONCE_SINCE.items() if version >= since)]
    yield from (_bad(f"{name} stands on several lines", repeated(name)) for name in once)
    yield from _request_line()
    host = Of(Subject.HEADER, "host")
    newer = Test(Of(Subject.VERSION), How.PREFIX, ("HTTP/1.",))
    old = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.0",))
    nameless = Test(Or(host, Text("")), How.EQUALS, ("",))
    yield _bad("HTTP/1.1 without a Host", both(newer, Not(old), nameless))
    odd = _ODD_IN_HOST + (_ODD_SINCE if version >= _STRICT_HOST else ())
    yield _bad("Host is no host", Test(host, How.CONTAINS, odd))
    if version >= _STRICT_HOST:
        port = Test(host, How.REGEX, (r"\A(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?\Z",))
        yield _bad("Host has no port after its colon", both(Test(host, How.CONTAINS, (":",)), Not(port)))
    coded = has("Transfer-Encoding")
    chunked = Test(Of(Subject.HEADER, "transfer-encoding"), How.EQUALS, ("chunked",), ignore_case=True)
    yield Answer(status=501, why="Transfer-Encoding is not chunked", when=both(coded, Not(chunked)))
    yield _bad("Transfer-Encoding in HTTP/1.0", both(coded, old))
    length = has("Content-Length")
    yield _bad("Content-Length beside Transfer-Encoding", both(length, coded))
    digits = Test(Of(Subject.HEADER, "content-length"), How.REGEX, (r"\A\d+\Z",))
    yield _bad("Content-Length is no number", both(length, Not(digits)))
    counted = "the body comes in chunks, and nginx counts it before it sends it on"
    yield Opaque(why=counted, names=("Content-Length",), when=coded)
    whole = both(Not(_ROOTED), Test(Of(Subject.TARGET), How.REGEX, (_SCHEME,)))
    yield Retarget(value=Or(Substituted(Of(Subject.TARGET), _SCHEME, ""), Text("/")), when=whole)


def _request_line() -> Iterator[Step]:
    """Methods, versions and paths that nginx does not take; `..` may not lead above the root."""
    method, path = Of(Subject.METHOD), Of(Subject.RAW_PATH)
    written_so = Test(method, How.REGEX, (r"\A[A-Z_-]+\Z",))
    usual = Test(method, How.EQUALS, ("GET",))
    yield _bad("the method is none", both(Not(usual), Not(written_so)))
    yield Answer(status=405, why="TRACE is not allowed", when=Test(method, How.EQUALS, ("TRACE",)))
    one = Test(Of(Subject.VERSION), How.PREFIX, ("HTTP/1.",))
    yield Answer(status=505, why="the version is not HTTP/1", when=Not(one))
    scheme = Test(Of(Subject.TARGET), How.REGEX, (_SCHEME,))
    yield _bad("the request target is no path", both(Not(_ROOTED), Not(scheme)))
    broken = Test(path, How.REGEX, (r"%(?![0-9A-Fa-f]{2})|%00",))
    yield _bad("an escape in the path is broken", both(Test(path, How.CONTAINS, ("%",)), broken))
    below = Join((Text("/\x01"), path))
    inside = Test(Written(Written(below, PathForm.DECODED), PathForm.CLEAN), How.PREFIX, ("/\x01",))
    dots = Test(path, How.CONTAINS, ("..", "%2e", "%2E"))
    yield _bad("the path leads above the root", both(dots, Not(inside)))


def _bad(why: str, when: Condition) -> Answer:
    return Answer(status=400, why=why, when=when)


def dropped(scope: Scope) -> Iterator[Edit]:
    """Headers whose names nginx does not take; they are gone before any variable is asked."""
    if scope.flag("ignore_invalid_headers", default=True):
        underscores = scope.setting("underscores_in_headers")
        kept = scope.flag("underscores_in_headers", default=False)
        place = underscores.place if underscores and not kept else None
        yield Edit(op=Op.REMOVE, which=Like(_taken(scope)), place=place)


def hardly_found(scope: Scope, name: str) -> bool:
    """Whether nginx finds a header of the client by this name, to replace it, only by chance: its hash is another."""
    return not scope.flag("ignore_invalid_headers", default=True) and bool(re.search(_taken(scope), name))


def _taken(scope: Scope) -> str:
    """A pattern for what nginx does not take in a name."""
    return r"[^A-Za-z0-9_-]" if scope.flag("underscores_in_headers", default=False) else r"[^A-Za-z0-9-]"


def limits(scope: Scope) -> tuple[Limit, ...]:
    """How large the head may be: lines are kept whole in buffers, a first one and some large ones."""
    found, first = scope.setting("large_client_header_buffers"), scope.setting("client_header_buffer_size")
    count, most = (found.arg(0), size(found.arg(1))) if found else ("4", 8192)
    begin = size(first.arg(0)) if first else 1024
    many = natural(count)
    if most is None or begin is None or many is None:
        return ()
    place = found.place if found else first.place if first and begin > most else None
    name = "large_client_header_buffers"
    largest = max(most, begin)
    lines = scope.setting("max_headers")
    told = natural(lines.arg(0)) if lines else None
    headers = _MOST_HEADERS if told is None else told
    return (
        Limit(name=name, measure=Measure.START, most=largest - 2, status=414, place=place),
        Limit(name=name, measure=Measure.LINE, most=largest - 2, status=400, place=place),
        Limit(name=name, measure=Measure.BUFFERS, most=many, status=400, place=place, first=begin, each=most),
        Limit(
            name="max_headers", measure=Measure.COUNT, most=headers, status=400, place=lines.place if lines else None
        ),
    )
