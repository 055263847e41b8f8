"""What Traefik's entry points do to every request before a router is chosen.

No line of a config says any of it, so most steps have no place; an option that changes one is the place of that one.
"""

import re
from collections.abc import Iterator

from wsprobe.frozen import dataclass
from wsprobe.lb._paths import PathForm
from wsprobe.lb._traefik_tree import Setting
from wsprobe.lb.expressions import (
    ALWAYS,
    NEVER,
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
from wsprobe.lb.model import (
    Answer,
    Assign,
    Edit,
    Like,
    Limit,
    Measure,
    Named,
    Nominated,
    Op,
    Retarget,
    Step,
)
from wsprobe.parts import Line

MAX_HEADER_BYTES = 1 << 20
_SLOP = 4096 + 52  # what Go reads beyond the limit; where in the last hundred octets it stops depends on how they come
_SLACK = 52

MANAGED = (
    r"^x[-_](?:forwarded[-_](?:proto|scheme|for|host|port|server|uri|method|prefix|tls[-_]client[-_]cert"
    r"(?:[-_]info)?)|scheme|real[-_]ip)$"
)
"""The headers that Traefik takes for its own, also with underscores."""

MANAGED_NAMES = tuple(
    f"X-{name}"
    for name in (
        *(f"Forwarded-{each}" for each in ("Proto", "Scheme", "For", "Host", "Port", "Server", "Uri", "Method")),
        *("Forwarded-Prefix", "Forwarded-Tls-Client-Cert", "Forwarded-Tls-Client-Cert-Info", "Scheme", "Real-Ip"),
    )
)

APART = ("Host", "Content-Length", "Transfer-Encoding", "Trailer")
"""What Go keeps apart from the other headers: nothing that edits headers reaches it."""

_ENCODED = {
    "allowEncodedSlash": "2[Ff]",
    "allowEncodedBackSlash": "5[Cc]",
    "allowEncodedNullCharacter": "00",
    "allowEncodedSemicolon": "3[Bb]",
    "allowEncodedPercent": "25",
    "allowEncodedQuestionMark": "3[Ff]",
    "allowEncodedHash": "23",
}

RAW_PATH = Of(Subject.RAW_PATH)
ESCAPED_PATH = Written(RAW_PATH, PathForm.ESCAPED)
QUERY = Of(Subject.QUERY)
_ASKED = "asked for an upgrade"
_CONNECTION = header("Connection", Lines.JOINED)


def filled(name: str) -> Condition:
    """Whether the first line of a header says something."""
    return Test(header(name), How.REGEX, (".",))


def token(name: str, word: str) -> Condition:
    """Whether a list has a member (RFC 9110, 5.6.1)."""
    return Test(header(name, Lines.JOINED), How.REGEX, (member(word),), ignore_case=True)


def member(word: str) -> str:
    """A pattern that finds a member of a list."""
    return rf"(?:^|,)[ \t]*{word}[ \t]*(?:,|$)"


ASKS = both(token("Connection", "upgrade"), filled("Upgrade"))
IS_WEBSOCKET = both(
    Test(header("Connection"), How.REGEX, (r"(?:^|,)\s*upgrade\s*(?:,|$)",), ignore_case=True),
    Test(header("Upgrade"), How.REGEX, (r"(?:^|,)\s*websocket\s*(?:,|$)",), ignore_case=True),
)
IS_SECURE = Test(header("X-Forwarded-Proto"), How.EQUALS, ("https", "wss"))
NO_HOST = r"[^A-Za-z0-9!$%&'()*+,\-.:;=\[\]_~]"
_PORT = r"^(?:\[[^\]]*\]|[^:]*):([^:]+)$"


def with_query(path: Value, query: Value = QUERY) -> Value:
    """A target of a path and the query that the request has."""
    given = Test(QUERY, How.EXISTS)
    return Join((path, Cases(((given, Join((Text("?"), query))),))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry point: where it listens, and what its settings are; None where no config tells them."""

    name: str
    setting: Setting | None = None

    @property
    def http(self) -> Setting | None:
        """Its settings for HTTP."""
        return self.setting.get("http") if self.setting else None

    def option(self, *path: str) -> Setting | None:
        """One setting."""
        return self.setting.get(*path) if self.setting else None

    def place(self, *path: str) -> Line | None:
        """Where a setting is written."""
        found = self.option(*path)
        return found.place if found else None


def limits(entry: Entry) -> tuple[Limit, ...]:
    """How large a head may be."""
    most = entry.setting.integer("http", "maxHeaderBytes") if entry.setting else None
    place = entry.place("http", "maxHeaderBytes")
    size = (most or MAX_HEADER_BYTES) + _SLOP
    return (Limit(name="maxHeaderBytes", measure=Measure.HEAD, most=size, status=431, place=place, slack=_SLACK),)


def entering(entry: Entry, *, tls: bool) -> Iterator[Step]:
    """What an entry point does to a request before a router is chosen."""
    yield from _refusals()
    yield from _aliases(entry)
    yield from _target(entry)
    trusted = _trusted(entry)
    if trusted != ALWAYS:
        yield Edit(op=Op.REMOVE, which=Like(MANAGED), when=ALWAYS if trusted == NEVER else Not(trusted))
    yield from _forwarded(tls=tls)
    yield from _nominated(entry)


def _refusals() -> Iterator[Step]:
    """What Go's server takes for no request, or answers by itself."""
    hosts = header("Host", Lines.JOINED)
    absolute = Test(Of(Subject.TARGET), How.REGEX, (r"^[A-Za-z][A-Za-z0-9+.-]*://",))
    bad = {
        "a request of HTTP/1.1 without Host": both(
            Test(Of(Subject.VERSION), How.EQUALS, ("HTTP/1.1",)), Not(has("Host"))
        ),
        "several Host headers": Test(
            Of(Subject.HEADER, "Host", lines=Lines.JOINED, separator="\n"), How.CONTAINS, ("\n",)
        ),
        "a Host that is none": Test(hosts, How.REGEX, (NO_HOST,)),
        "a target that is none": OneOf(
            (
                Not(Test(Of(Subject.TARGET), How.REGEX, (r"^(?:/|\*$|[A-Za-z][A-Za-z0-9+.-]*:)",))),
                Test(Of(Subject.TARGET), How.REGEX, (r"[\x00-\x20\x7f]",)),
                Test(RAW_PATH, How.REGEX, ("%(?![0-9A-Fa-f]{2})",)),
            )
        ),
    }
    for why, when in bad.items():
        yield Answer(status=400, why=why, when=when)
    expects = both(
        filled("Expect"), Not(Test(header("Expect"), How.REGEX, (member("100-continue"),), ignore_case=True))
    )
    yield Answer(status=417, why="an expectation that Go's server does not know", when=expects)
    options = both(Test(Of(Subject.METHOD), How.EQUALS, ("OPTIONS",)), Test(Of(Subject.TARGET), How.EQUALS, ("*",)))
    yield Answer(status=200, why="OPTIONS * is about the server itself", when=options)
    authority = Substituted(Of(Subject.TARGET), r"^[^:]*://([^/?]*).*$", r"\1")
    yield Edit(op=Op.SET, which=Named(("Host",)), value=authority, when=absolute)


def _aliases(entry: Entry) -> Iterator[Step]:
    """Headers whose name could be taken for another one's."""
    for option, pattern in (("aliasHeadersStrategy", r"[^A-Za-z0-9\n-]"), ("underscoreHeadersStrategy", "_")):
        strategy = entry.option("http", option)
        if strategy is None:
            continue
        if strategy.text == "delete":
            yield Edit(op=Op.REMOVE, which=Like(pattern), place=strategy.place)
        elif strategy.text == "reject":
            yield Answer(
                status=400,
                why=f"{option} rejects the name of a header",
                when=Test(Of(Subject.NAMES), How.REGEX, (pattern,)),
                place=strategy.place,
            )
        return


def _target(entry: Entry) -> Iterator[Step]:
    """The target as Traefik goes on with it: normalised, cleaned, and its semicolons taken for ampersands.

    What a path cannot hold is escaped at the end only: middlewares see and tell what Go calls the raw path.
    """
    path: Value = Written(RAW_PATH, PathForm.UNRESERVED)
    sanitized = entry.option("http", "sanitizePath")
    if not (sanitized and sanitized.text and sanitized.text.lower() == "false"):
        path = Written(Written(path, PathForm.ESCAPED), PathForm.CLEAN)
    encodes = bool(entry.setting and entry.setting.flag("http", "encodeQuerySemicolons"))
    query = Substituted(QUERY, ";", "%3B" if encodes else "&", all=True)
    place = sanitized.place if sanitized else entry.place("http", "encodeQuerySemicolons")
    yield Retarget(value=with_query(path, query), when=Not(Test(Of(Subject.TARGET), How.EQUALS, ("*",))), place=place)


def denied(setting: Setting, *, default: bool) -> Iterator[Step]:
    """The answer to paths with escaped characters that are not allowed."""
    codes = [code for name, code in _ENCODED.items() if not setting.flag(name, default=default)]
    if codes:
        pattern = f"%(?:{'|'.join(codes)})"
        why = "an encoded character in the path that is not allowed"
        yield Answer(status=400, why=why, when=Test(ESCAPED_PATH, How.REGEX, (pattern,)), place=setting.place)


def encoded(entry: Entry) -> Iterator[Step]:
    """What an entry point refuses once a router has been chosen."""
    setting = entry.option("http", "encodedCharacters")
    if setting:
        yield from denied(setting, default=True)


def _trusted(entry: Entry) -> Condition:
    """Whether the client's forwarded headers are believed."""
    if entry.setting is None:
        return NEVER
    if entry.setting.flag("forwardedHeaders", "insecure"):
        return ALWAYS
    networks = tuple(entry.setting.texts("forwardedHeaders", "trustedIPs"))
    return Test(Of(Subject.PEER), How.NETWORK, networks) if networks else NEVER


def _forwarded(*, tls: bool) -> Iterator[Step]:
    """What tells the upstream of the client."""
    scheme = Cases(((IS_WEBSOCKET, Text("wss" if tls else "ws")),), Text("https" if tls else "http"))
    port = Cases(
        (
            (Test(header("Host"), How.REGEX, (_PORT,)), Substituted(header("Host"), _PORT, r"\1")),
            (IS_SECURE, Text("443")),
        ),
        Text("443" if tls else "80"),
    )
    missing: dict[str, Value] = {
        "X-Real-Ip": Of(Subject.PEER),
        "X-Forwarded-Proto": scheme,
        "X-Forwarded-Port": port,
    }
    for name, value in missing.items():
        yield Edit(op=Op.SET, which=Named((name,)), value=value, when=Not(filled(name)))
    both_known = both(Not(filled("X-Forwarded-Host")), filled("Host"))
    yield Edit(op=Op.SET, which=Named(("X-Forwarded-Host",)), value=header("Host"), when=both_known)
    yield Edit(op=Op.JOIN, which=Named(("X-Forwarded-For",)))
    yield Edit(op=Op.SET, which=Named(("X-Forwarded-Server",)), value=Of(Subject.MACHINE))


def _nominated(entry: Entry) -> Iterator[Step]:
    """What Connection names goes no further (RFC 9110, 7.6.1), unless it is Traefik's own."""
    allowed = entry.setting.texts("forwardedHeaders", "connection") if entry.setting else []
    kept = (*MANAGED_NAMES, *APART, "Upgrade", "Connection", *allowed)
    yield Edit(op=Op.REMOVE, which=Nominated(but=kept))
    yield Edit(op=Op.FIRST, which=Named(("Upgrade",)), when=ASKS)
    yield Edit(op=Op.REMOVE, which=Named(("Upgrade",)), when=both(token("Connection", "upgrade"), Not(ASKS)))
    if not allowed:
        yield Edit(op=Op.SET, which=Named(("Connection",)), value=Cases(((ASKS, Text("Upgrade")),)))
        return
    # What is allowed stays named, without spaces and ahead of Upgrade.
    yield Assign(name=_ASKED, value=Cases(((ASKS, Text("Upgrade")),)))
    connection = Named(("Connection",))
    yield Edit(op=Op.JOIN, which=connection, separator=",")
    others = rf"(?!(?:{'|'.join(map(re.escape, allowed))})\Z).*"
    yield Edit(
        op=Op.REPLACE, which=connection, value=Text(""), pattern=r"(?<=,)[ \t]+|[ \t]+(?=,)|^[ \t]+|[ \t]+$", every=True
    )
    yield Edit(op=Op.PRUNE, which=connection, pattern=others)
    yield Edit(op=Op.APPEND, which=connection, value=Of(Subject.VARIABLE, _ASKED), separator=",")
