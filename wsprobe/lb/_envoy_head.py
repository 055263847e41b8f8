"""How Envoy takes a head in: what it refuses, and what it makes of the target, of Host and of Connection."""

from collections.abc import Iterator

from wsprobe.lb._envoy_proto import flag, get, number
from wsprobe.lb._paths import PathForm
from wsprobe.lb._yaml import Node
from wsprobe.lb.expressions import (
    ALWAYS,
    Cases,
    Condition,
    How,
    Join,
    Lines,
    Not,
    Of,
    OneOf,
    Subject,
    Substituted,
    Test,
    Text,
    Value,
    Written,
    both,
    has,
    header,
)
from wsprobe.lb.model import Answer, Edit, Like, Named, Nominated, Op, Retarget, Step
from wsprobe.parts import Line

_HOP = Of(Subject.HEADER, "connection", original=True, lines=Lines.ANY_MEMBER)
_TYPE = Of(Subject.HEADER, "upgrade", original=True, lines=Lines.JOINED, separator=",")

UPGRADE = both(
    Test(_TYPE, How.EXISTS),
    Test(_HOP, How.EQUALS, ("upgrade",), ignore_case=True),
    Not(Test(_TYPE, How.EQUALS, ("h2c",), ignore_case=True)),
)
"""Whether Envoy takes the request for an upgrade: Upgrade is there, and Connection names it. It ignores h2c."""

STILL = both(
    has("upgrade"),
    Test(Of(Subject.HEADER, "connection", lines=Lines.ANY_MEMBER), How.EQUALS, ("upgrade",), ignore_case=True),
)
"""Whether what is left of the head still asks for an upgrade."""


def upgrade_of(*types: str) -> Condition:
    """Whether the upgrade is to one of these."""
    return Test(_TYPE, How.EQUALS, types, ignore_case=True)


def steps(hcm: Node) -> Iterator[Step]:
    """What happens to a head before anything else."""
    yield from _counted(hcm)
    yield from _nominated()
    yield from _absolute()
    yield from _head(hcm)
    yield from _path(hcm)
    yield from _host(hcm)


def _nominated() -> Iterator[Step]:
    """What Connection names goes no further (RFC 9110, 7.6.1), but for upgrades: those are passed on as they are."""
    plain = Not(UPGRADE)
    whole = Of(Subject.HEADER, "connection", lines=Lines.JOINED, separator=",")
    ten = Test(Substituted(whole, r"[^,]*[^,\s][^,]*", "x", all=True), How.REGEX, (r"\A,*(?:x,*){10}",))
    yield Answer(status=400, why="Connection names ten headers or more", when=both(plain, ten))
    names = "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"
    kept = Test(_HOP, How.EQUALS, names, ignore_case=True), Test(_HOP, How.PREFIX, (":",))
    yield Answer(status=400, why="Connection names a header that must not be removed", when=both(plain, OneOf(kept)))
    but = ("close", "http2-settings", "keep-alive", "upgrade", "connection", "te")
    yield Edit(op=Op.REMOVE, which=Nominated(but=but), when=plain)
    te = Of(Subject.HEADER, "te", lines=Lines.ANY_MEMBER)
    named = Test(_HOP, How.EQUALS, ("te",), ignore_case=True)
    in_any_case = both(named, Test(te, How.EQUALS, ("trailers",), ignore_case=True))
    trailers = OneOf((in_any_case, Test(te, How.EQUALS, ("trailers",))))
    yield Edit(op=Op.SET, which=Named(("te",)), value=Text("trailers"), when=both(plain, trailers))
    yield Edit(op=Op.REMOVE, which=Named(("te",)), when=both(plain, Not(trailers)))


def _counted(hcm: Node) -> Iterator[Step]:
    """How many headers a head may have; those that are kept on one line count once."""
    count = get(hcm, "common_http_protocol_options", "max_headers_count")
    most = number(hcm, "common_http_protocol_options", "max_headers_count") or 100
    more = Test(Of(Subject.NAMES), How.REGEX, (rf"\A(?:[^\n]*\n){{{most}}}",))
    why = f"there are more than {most} headers (max_headers_count)"
    yield Answer(status=431, why=why, when=more, place=count.place if count else None)


def _head(hcm: Node) -> Iterator[Step]:
    action = get(hcm, "common_http_protocol_options", "headers_with_underscores_action")
    if action and action.text in {"DROP_HEADER", "2"}:
        yield Edit(op=Op.REMOVE, which=Like("_"), place=action.place)
    elif action and action.text in {"REJECT_REQUEST", "1"}:
        named = Test(Of(Subject.NAMES), How.CONTAINS, ("_",))
        yield Answer(status=400, why="Envoy refuses names with an underscore", when=named, place=action.place)
    codec = get(hcm, "codec_type")
    if codec and codec.text in {"HTTP2", "HTTP3", "2", "3"}:
        old = Test(Of(Subject.VERSION), How.PREFIX, ("HTTP/1",))
        why = f"the listener speaks {codec.text} only"
        yield Answer(status=None, why=why, when=old, place=codec.place)
    ten = Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.0",))
    host: Condition = Not(has("host"))
    if not flag(hcm, "http_protocol_options", "accept_http_10"):
        yield Answer(status=426, why="Envoy refuses HTTP/1.0", when=ten)
    elif default := get(hcm, "http_protocol_options", "default_host_for_http_10"):
        absent = both(ten, host)
        yield Edit(op=Op.SET, which=Named(("host",)), value=Text(default.text), when=absent, place=default.place)
    yield Answer(status=400, why="there is no Host", when=host)
    length = header("content-length")
    repeated = both(Test(length, How.EXISTS), Not(Test(length, How.REGEX, (r"\A[0-9]+\Z",))))
    yield Answer(status=400, why="Content-Length is no number, or stands there twice", when=repeated)
    bad = Not(Test(header("host"), How.REGEX, (r"\A[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]%]*\Z",)))
    yield Answer(status=400, why="the Host is malformed", when=bad)


def _absolute() -> Iterator[Step]:
    """The absolute form of a target (RFC 9112, 3.2.2) tells the Host."""
    target = Of(Subject.TARGET)
    absolute = Test(target, How.REGEX, (r"\A[A-Za-z][A-Za-z0-9+.\-]*://",))
    host = Substituted(target, r"\A[^:]+://([^/?#]*).*", r"\1")
    yield Edit(op=Op.SET, which=Named(("host",)), value=host, when=absolute)
    yield Retarget(value=Substituted(target, r"\A[^:]+://[^/?#]*", ""), when=absolute)


def _path(hcm: Node) -> Iterator[Step]:
    target = Of(Subject.TARGET)
    other = Test(target, How.REGEX, (r"[^\x21-\x7e]",))
    yield Answer(status=400, why="the request target holds other characters than ASCII", when=other)
    fragment = Test(target, How.CONTAINS, ("#",))
    yield Answer(status=400, why="Envoy refuses a path with a fragment", when=fragment)
    rooted = OneOf((Test(target, How.PREFIX, ("/",)), Test(Of(Subject.METHOD), How.EQUALS, ("CONNECT",))))
    yield Answer(status=404, why="the path does not begin with a slash", when=Not(rooted))
    yield from _escaped_slashes(get(hcm, "path_with_escaped_slashes_action"))
    raw = Of(Subject.RAW_PATH)
    if (normalize := get(hcm, "normalize_path")) and normalize.boolean:
        parameters = Substituted(raw, r"(?<=/)(\.\.?);[^/]*", r"\1", all=True)
        yield _repathed(parameters, ALWAYS, normalize.place)
        zero = Test(raw, How.CONTAINS, ("%00",))
        yield Answer(status=400, why="the path cannot be normalized", when=zero, place=normalize.place)
        yield _repathed(Written(raw, PathForm.CANONICAL), ALWAYS, normalize.place)
    if (merge := get(hcm, "merge_slashes")) and merge.boolean:
        nothing_else = Test(raw, How.REGEX, (r"\A/{2,}\Z",))
        merged = Cases(((nothing_else, Text("//")),), Substituted(raw, "/{2,}", "/", all=True))
        yield _repathed(merged, ALWAYS, merge.place)


def _escaped_slashes(action: Node | None) -> Iterator[Step]:
    raw = Of(Subject.RAW_PATH)
    escaped = Test(raw, How.REGEX, ("(?i)%(?:2f|5c)",))
    match action.text if action else "":
        case "REJECT_REQUEST" | "2":
            why = "Envoy refuses escaped slashes"
            yield Answer(status=400, why=why, when=escaped, place=action.place if action else None)
        case "UNESCAPE_AND_REDIRECT" | "3":
            why = "Envoy redirects to the path with its escaped slashes resolved"
            yield Answer(status=307, why=why, when=escaped, place=action.place if action else None)
        case "UNESCAPE_AND_FORWARD" | "4":
            slash = Substituted(raw, "(?i)%2f", "/", all=True)
            yield _repathed(Substituted(slash, "(?i)%5c", r"\\", all=True), escaped, action.place if action else None)


def _repathed(path: Value, when: Condition, place: Line | None) -> Retarget:
    """The path becomes another one, the query stays."""
    query = Cases(((Test(Of(Subject.QUERY), How.EXISTS), Join((Text("?"), Of(Subject.QUERY)))),))
    return Retarget(value=Join((path, query)), when=when, place=place)


def _host(hcm: Node) -> Iterator[Step]:
    host = header("host")
    if (dot := get(hcm, "strip_trailing_host_dot")) and dot.boolean:
        stripped = Substituted(host, r"\.(?=(?::\d+)?\Z)", "")
        yield Edit(op=Op.SET, which=Named(("host",)), value=stripped, place=dot.place)
    if (every := get(hcm, "strip_any_host_port")) and every.boolean:
        yield Edit(op=Op.SET, which=Named(("host",)), value=Substituted(host, r":\d+\Z", ""), place=every.place)
    elif (matching := get(hcm, "strip_matching_host_port")) and matching.boolean:
        port = Join((Text(":"), Of(Subject.LOCAL_PORT)))
        same = Test(Join((header("host"), Text(" "), port)), How.REGEX, (r"(:\d+) \1\Z",))
        value = Substituted(host, r":\d+\Z", "")
        yield Edit(op=Op.SET, which=Named(("host",)), value=value, when=same, place=matching.place)
