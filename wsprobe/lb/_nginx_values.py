"""The variables of nginx as expressions over the request: those that it has by itself, `map`, `set`, captures."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from wsprobe.frozen import dataclass
from wsprobe.lb._nginx_grammar import Directive
from wsprobe.lb._nginx_maps import captures, map_test
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    Captured,
    Cased,
    Cases,
    Condition,
    How,
    Join,
    Lines,
    Not,
    Of,
    Or,
    Piece,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    Without,
    Written,
    both,
)
from wsprobe.patterns import lazy

_VARIABLE = lazy(r"\$(?:([1-9])|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_MAX_MAPS = 20
_MAX_COST = 200_000
"""How many tests a map, with those that it asks, may cost."""

TEXT_EMPTY = Text("")
PATH = Of(Subject.PATH)
"""The path that a client asks for, as nginx compares it."""

_HTTPS = Test(Of(Subject.SCHEME), How.EQUALS, ("https",))
_QUERY = Of(Subject.QUERY)
_TARGET = Of(Subject.TARGET, original=True)
_ROOTED = Test(_TARGET, How.PREFIX, ("/",))
_SCHEME = r"\A[A-Za-z][A-Za-z0-9+.-]*://"
_SENT_HOST = Of(Subject.HEADER, "host", original=True)
_AUTHORITY = Cases(((Not(_ROOTED), Or(Captured(_TARGET, rf"{_SCHEME}([^/?#]*)", "1"), _SENT_HOST)),), _SENT_HOST)
_BRACKETS = Captured(_AUTHORITY, r"\A(\[[^\]]*\])", "1")
HOST = Cased(
    Without(Cases(((Test(_AUTHORITY, How.PREFIX, ("[",)), _BRACKETS),), Piece(_AUTHORITY, ":", 1)), suffix=".")
)
"""The host that a request names, as nginx compares it; one in the request target comes before that of the header."""

REQUEST_URI = Cases(((_ROOTED, _TARGET),), Or(Substituted(_TARGET, rf"{_SCHEME}[^/?#]*", ""), Text("/")))
"""The request target as it was sent, without the scheme and host that it may begin with."""

_RAW = Of(Subject.RAW_PATH, original=True)
_OCTETS = Test(_RAW, How.CONTAINS, tuple(f"%{digit}" for digit in "89abcdef"), ignore_case=True)
_UTF8 = (
    r"\A(?:[^%]|%[0-7][0-9a-f]|%[cd][0-9a-f]%[89ab][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f]){2}"
    r"|%f[0-7](?:%[89ab][0-9a-f]){3})*\Z"
)
_NO_TEXT = both(_OCTETS, Not(Test(_RAW, How.REGEX, (_UTF8,), ignore_case=True)))


def sent(path: Value) -> Value:
    """A path as it is sent on, escaped; what is no text in UTF-8 is not followed through its decoding."""
    odd = Undecided("the path", "the path has octets that are no text in UTF-8")
    return Cases(((_NO_TEXT, odd),), Written(path, PathForm.ENCODED))


def after(mark: str, text: Value) -> Value:
    """A text behind a mark, nothing where it is empty."""
    return Cases(((Test(text, How.REGEX, (".",)), Join((Text(mark), text))),), TEXT_EMPTY)


_BASIC = Test(Of(Subject.HEADER, "authorization", original=True), How.PREFIX, ("basic ",), ignore_case=True)


def _when_https(name: str) -> Value:
    return Cases(((_HTTPS, Undecided(name, "the TLS of the client's connection decides it")),), TEXT_EMPTY)


_BUILTIN: dict[str, Value] = {
    "request_uri": REQUEST_URI,
    "args": Or(_QUERY, TEXT_EMPTY),
    "query_string": Or(_QUERY, TEXT_EMPTY),
    "is_args": Cases(((Test(_QUERY, How.REGEX, (".",)), Text("?")),), TEXT_EMPTY),
    "request_method": Of(Subject.METHOD),
    "scheme": Of(Subject.SCHEME),
    "https": Cases(((_HTTPS, Text("on")),), TEXT_EMPTY),
    "server_protocol": Of(Subject.VERSION),
    "request": Join(
        (
            Of(Subject.METHOD),
            Text(" "),
            Of(Subject.TARGET, original=True),
            Text(" "),
            Of(Subject.VERSION),
        )
    ),
    "remote_addr": Of(Subject.PEER),
    "remote_port": Of(Subject.PEER_PORT),
    "server_addr": Of(Subject.LOCAL),
    "server_port": Of(Subject.LOCAL_PORT),
    "hostname": Of(Subject.MACHINE),
    "remote_user": Cases(((_BASIC, Undecided("$remote_user", "it is the user of the client's password")),), TEXT_EMPTY),
    "http2": TEXT_EMPTY,
    "http3": TEXT_EMPTY,
    "empty": TEXT_EMPTY,
}
_MAP_WORDS = frozenset({"hostnames", "volatile"})
_OF_HEADERS = ("http_", "cookie_", "proxy_add_x_")
_CHANGING = frozenset({"uri", "document_uri", "args", "query_string", "is_args"})
_OF_REQUEST = ("http_", "cookie_", "arg_")
_OF_UPSTREAM = ("upstream_", "sent_http_", "sent_trailer_", "trailer_")
_DECIDED_LATER = """
    binary_remote_addr body_bytes_sent bytes_sent connection connection_requests connection_time content_length
    content_type document_root limit_conn_status limit_rate limit_req_status msec nginx_version pid pipe
    proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr proxy_protocol_server_port
    proxy_internal_chunked realpath_root request_body request_body_file request_completion request_filename
    request_id request_length request_time status time_iso8601 time_local realip_remote_addr realip_remote_port
    request_port is_request_port server_name date_gmt date_local invalid_referer uid_got uid_set secure_link
    proxy_port
"""
_RUNNING = frozenset(_DECIDED_LATER.split())
_FAMILIES = ("ssl_", "geoip_", "geoip2_", "jwt_", "tcpinfo_", "proxy_protocol_tlv_", "oidc_", "otel_", "slice_")


@dataclass(frozen=True, slots=True)
class Around:
    """What a block knows of variables: `names` are those that stand for something there (server_name, proxy_host).

    `path` is the URI as locations and patterns see it. `original` says that headers are looked at as the client sent
    them, `underscores` that names with one are kept; `kept` are variables that nginx has from before, and `doubtful`
    those that it may have from before.
    """

    names: Mapping[str, Value] = field(default_factory=dict)
    path: Value = PATH
    original: bool = False
    underscores: bool = False
    kept: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()

    def knowing(self, **names: Value) -> "Around":
        """The same with more names."""
        return replace(self, names={**self.names, **names})


@dataclass(slots=True)
class Values:
    """What the variables of a config stand for.

    `assigned` are those that steps give a value, `scripts` those that something gives that cannot be followed, with
    the reason; `used` are all that the config asks for. `remembered` are the maps that the rewriting asks for, while
    what they are about may change after it: nginx keeps the value of a map from the first time that it is asked for.
    """

    version: tuple[int, ...]
    maps: dict[str, Directive] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    scripts: dict[str, str] = field(default_factory=dict)
    remembered: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    _compiled: dict[tuple[str, bool, bool, bool], Value] = field(default_factory=dict)
    _costs: dict[str, int] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def value(self, text: str, around: Around) -> Value:
        """A text with variables."""
        parts: list[Value] = []
        at = 0
        for found in _VARIABLE.finditer(text):
            if found.start() > at:
                parts.append(Text(text[at : found.start()]))
            parts.append(self.variable((found[1] or found[2] or found[3]).lower(), around))
            at = found.end()
        if at < len(text) or not parts:
            parts.append(Text(text[at:]))
        return parts[0] if len(parts) == 1 else Join(tuple(parts))

    def variable(self, name: str, around: Around) -> Value:
        """What a variable stands for."""
        if why := self._unknown(name, around):
            return Undecided(f"${name}", why)
        if name in around.kept:
            around = replace(around, original=True)
        if name in self.maps:
            return self._map(name, around)
        if name in self.assigned or name.isdigit():
            return self._assigned(name, around)
        if name in {"uri", "document_uri"}:
            odd = Undecided(f"${name}", "the path has octets that are not ASCII")
            return Cases(((_OCTETS, odd),), around.path)
        known = {"host": Or(HOST, around.names.get("server_name", TEXT_EMPTY)), **_BUILTIN, **around.names}
        if name == "proxy_add_x_forwarded_for":
            return self._forwarded_for(around)
        return known[name] if name in known else self._of_family(name, around)

    def _unknown(self, name: str, around: Around) -> str | None:
        if name in around.doubtful and any(asked.startswith(_OF_HEADERS) for asked in self.asked_by({name})):
            return f"${name} may have been asked for before a header was edited"
        return self.scripts.get(name)

    def _assigned(self, name: str, around: Around) -> Value:
        given = around.names.get(name, Of(Subject.VARIABLE, name))
        if not name.startswith(_OF_REQUEST):
            return given
        # Where its `set` is not come to, such a name keeps the meaning that it has by itself.
        return Cases(((Test(given, How.EXISTS), given),), self._of_family(name, around))

    def _of_family(self, name: str, around: Around) -> Value:
        """A variable whose name says what it is about."""
        family, _, rest = name.partition("_")
        if name.startswith(_OF_UPSTREAM):
            return TEXT_EMPTY
        if name in {"content_type", "content_length"} or (family == "http" and rest):
            return self._header(rest if family == "http" else name, around)
        if family == "arg":
            return Captured(_QUERY, rf"(?:^|&){re.escape(rest)}=([^&]*)", "1", ignore_case=True)
        if family == "cookie":
            return Of(Subject.COOKIE, rest, original=around.original)
        return _undecided(name)

    def _forwarded_for(self, around: Around) -> Value:
        peer = around.names.get("remote_addr", Of(Subject.PEER))
        sent = self.header("x-forwarded-for", around)
        return Cases(((Test(sent, How.EXISTS), Join((sent, Text(", "), peer))),), peer)

    def _header(self, name: str, around: Around) -> Value:
        """What `$http_…` is: an underscore in it stands for a hyphen, or for itself where such names are kept."""
        found = self.header(name.replace("_", "-"), around)
        if not around.underscores or "_" not in name:
            return found
        other = self.header(name, around)
        twice = both(Test(found, How.EXISTS), Test(other, How.EXISTS))
        why = f"the client sends it in both spellings, and $http_{name} has them in the order in which they come"
        return Cases(((twice, Undecided(f"$http_{name}", why)),), Or(found, other))

    def header(self, name: str, around: Around) -> Of:
        """A header of that name: its lines are joined, before 1.23 only those of a few names."""
        joined = self.version >= (1, 23) or name in {"x-forwarded-for", "cookie"}
        separator = "; " if name == "cookie" else ", "
        lines = Lines.JOINED if joined else Lines.FIRST
        return Of(Subject.HEADER, name, original=around.original, lines=lines, separator=separator)

    def asked_by(self, names: set[str]) -> frozenset[str]:
        """These variables, and those that their maps ask for."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                entries = (self.maps[name], *(self.maps[name].block or ())) if name in self.maps else ()
                waiting += [asked for each in entries for arg in each.args for asked in names_in(arg)]
        return frozenset(found)

    def remember(self, texts: set[str]) -> None:
        """Takes in what the rewriting of the config asks for."""
        for name in self.maps_in(texts):
            volatile = any(each.name == "volatile" for each in self.maps[name].block or ())
            if not volatile and any(map(self._changes, self.asked_by({name}))):
                self.remembered.add(name)

    def maps_in(self, texts: Iterable[str]) -> list[str]:
        """The maps whose value texts surely ask for: those that they name, and those that these are about."""
        found: dict[str, None] = {}
        waiting = [name for text in texts for name in names_in(text)]
        while waiting:
            name = waiting.pop()
            if name in self.maps and name not in found:
                found[name] = None
                waiting += names_in(self.maps[name].arg(0))
        return list(found)

    def _changes(self, name: str) -> bool:
        return name in self.assigned or name in _CHANGING or name.startswith("arg_")

    def real_address(self, trusted: list[str]) -> Value:
        """The client's address where the real_ip module takes it from a header of trusted clients."""
        networks = tuple(text for text in trusted if text != "unix:")
        other = Undecided("$remote_addr", "set_real_ip_from takes the address from a header")
        return Cases(((Test(Of(Subject.PEER), How.NETWORK, networks), other),), Of(Subject.PEER))

    # Maps.

    def _map(self, name: str, around: Around) -> Value:
        if name in self._open:
            return Undecided(f"${name}", f"the map of ${name} asks itself")
        if len(self._open) > _MAX_MAPS:
            return Undecided(f"${name}", f"more than {_MAX_MAPS} maps ask each other")
        key = (name, around.original, around.underscores, around.path is PATH)
        if key not in self._compiled:
            self._open.add(name)
            self._compiled[key] = self._lookup(self.maps[name], around)
            self._open.remove(name)
        found = self._compiled[key]
        memory = Of(Subject.VARIABLE, remembered_as(name))
        return Cases(((Test(memory, How.EXISTS), memory),), found) if name in self.remembered else found

    def _cost(self, text: str) -> int:
        """How many tests the maps in a text cost; each time that it asks for one counts."""
        return 1 + sum(self._costs.get(asked, 1) - 1 for asked in names_in(text))

    def _lookup(self, directive: Directive, around: Around) -> Value:
        """The value of a map: a text of its own first, then host names with `*`, then patterns in their order."""
        name = directive.arg(1)
        source = self.value(directive.arg(0), around)
        entries = [each for each in directive.block or () if each.name not in _MAP_WORDS]
        cost = (len(entries) + 1) * self._cost(directive.arg(0))
        if cost > _MAX_COST:
            return Undecided(name, f"the map of {name} is too large to follow")
        if any(each.unread for each in entries):
            return Undecided(name, f"a file that the map of {name} includes could not be read")
        hostnames = any(each.name == "hostnames" for each in directive.block or ())
        ranked: list[tuple[tuple[int, int], Condition, Value]] = []
        default: Value = TEXT_EMPTY
        for index, each in enumerate(entries):
            if each.name == "default":
                default = self.value(each.arg(0), around)
                continue
            rank, condition, pattern = map_test(source, each.name, hostnames=hostnames)
            caught = captures(pattern, source, ignore_case=each.name.startswith("~*")) if pattern else {}
            then = self.value(each.arg(0), around.knowing(**caught))
            ranked.append(((rank[0], rank[1] or index), condition, then))
        cost += max((self._cost(each.arg(0)) for each in entries), default=0)
        if cost > _MAX_COST:
            return Undecided(name, f"the map of {name} asks too many others to be followed")
        self._costs[name[1:].lower()] = cost
        ranked.sort(key=lambda entry: entry[0])
        return Cases(tuple((condition, then) for _, condition, then in ranked), default)


def _undecided(name: str) -> Value:
    if name.startswith("ssl_"):
        return _when_https(f"${name}")
    if name in _RUNNING or name.startswith(_FAMILIES):
        return Undecided(f"${name}", f"only the running nginx knows ${name}")
    return Undecided(f"${name}", f"no file that was read defines ${name}")


def remembered_as(name: str) -> str:
    """The variable that has the first value of a map."""
    return f"${name} as it was first asked for"


def names_in(text: str) -> list[str]:
    """The variables that a text asks for, in lower case."""
    return [(one or braced or plain).lower() for one, braced, plain in _VARIABLE.findall(text)]


def credentials(scheme: str) -> Condition:
    """Whether Authorization holds credentials of that scheme."""
    return Test(Of(Subject.HEADER, "authorization"), How.PREFIX, (f"{scheme.lower()} ",), ignore_case=True)
