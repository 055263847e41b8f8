"""mod_proxy: where ProxyPass and [P] lead, and which workers there are."""

import re
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice, takewhile

from wsprobe.inspection import Unknown
from wsprobe.lb._apache_grammar import Node, Parsed, undefined
from wsprobe.lb._apache_values import PATH, either
from wsprobe.lb.expressions import (
    ALWAYS,
    Condition,
    How,
    Test,
    Undecided,
    Value,
)
from wsprobe.model import Line

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/]*)(?P<path>/.*)?\Z", re.IGNORECASE | re.DOTALL)
PLAIN = {"http": "80", "ws": "80", "https": "443", "wss": "443"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A backend with its settings; a balancer has `members`. Several ProxyPass may share one."""

    url: str
    settings: dict[str, str]
    place: Line
    pattern: bool = False
    number: int = 0
    members: tuple["Worker", ...] = ()

    @property
    def scheme(self) -> str:
        """The scheme of its URL, in lower case; that behind the socket where it listens on one."""
        return self.parts[0]

    @property
    def parts(self) -> tuple[str, str, str]:
        """Scheme, host with port, and path."""
        return url_parts(self.url)

    @property
    def reused(self) -> bool:
        """Whether connections are kept open for the next request."""
        off = self.settings.get("disablereuse", "").lower() == "on"
        # A URL that each request makes anew leads to ever other hosts: Apache keeps none of their connections.
        wanted = self.settings.get("enablereuse", "off" if "$" in self.url else "on").lower()
        return not off and wanted != "off"


def url_parts(url: str) -> tuple[str, str, str]:
    """Scheme in lower case, host with port, and path; empty where it is no URL."""
    rest = url.partition("|")[2] if url.lower().startswith("unix:") and "|" in url else url
    found = _URL.match(rest)
    return (found["scheme"].lower(), found["host"], found["path"] or "") if found else ("", "", rest)


@dataclass(slots=True)
class Workers:
    """The workers of a server: those of ProxyPass by their URL, and those of ProxyPassMatch in their order."""

    plain: dict[str, Worker] = field(default_factory=dict)
    patterns: list[Worker] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def define(self, found: "Pass", parsed: Parsed) -> None:
        """The worker of a ProxyPass: one whose URL this begins with is shared, and then these settings are ignored.

        A ProxyPassMatch shares with its like only, and `$1` in the URL of one stands for anything.
        """
        url, place = _normal(found.url), found.node.place
        shared = self._of(_lowered(found.url), pattern=found.pattern)
        if shared is None:
            number = len(self.plain) + len(self.patterns)
            self._add(Worker(url=url, settings=found.settings, place=place, pattern=found.pattern, number=number))
            return
        ignored = [name for name, value in found.settings.items() if shared.settings.get(name) != value]
        if ignored:
            what = f"{', '.join(ignored)}= of this {found.node.written}, which Apache ignores"
            why = f"it shares the worker of line {shared.place.line}, whose URL begins with the same text"
            parsed.unread.append(Unknown(what=what, why=why, place=place))

    def _add(self, worker: Worker) -> None:
        if worker.pattern:
            self.patterns.append(worker)
        else:
            self.plain[worker.url] = worker
            insort(self.urls, worker.url)

    def _of(self, url: str, *, pattern: bool) -> Worker | None:
        if not pattern:
            return next((self.plain[url[:end]] for end in range(len(url), 0, -1) if url[:end] in self.plain), None)
        found = [each for each in self.patterns if len(each.url) <= len(url) and re.match(_begins(each.url), url)]
        return max(found, key=lambda each: len(each.url), default=None)

    def near(self, literal: str) -> list[Worker]:
        """The workers that a URL may get which begins so."""
        shorter = [self.plain[literal[:end]] for end in range(1, len(literal) + 1) if literal[:end] in self.plain]
        at = bisect_right(self.urls, literal)
        longer = takewhile(lambda url: url.startswith(literal), islice(self.urls, at, None))
        return [*shorter, *(self.plain[url] for url in longer), *self.patterns]


def _lowered(url: str) -> str:
    """A URL with scheme and host in lower case."""
    head, colon, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head.lower()}{colon}{host.lower()}{slash}{path}"


def _normal(url: str) -> str:
    """A URL as the name of a worker: without the port that its scheme implies."""
    scheme, host, path = url_parts(_lowered(url))
    return f"{scheme}://{without_port(scheme, host)}{path}" if scheme else _lowered(url)


def without_port(scheme: str, host: str) -> str:
    """A host without the port that the scheme implies."""
    return host.removesuffix(f":{PLAIN[scheme]}") if scheme in PLAIN else host


def _begins(url: str) -> str:
    return "".join(".*" if index % 2 else re.escape(piece) for index, piece in enumerate(re.split(r"(\$\d)", url)))


Choice = list[tuple[Condition, Worker | None]]


def chosen(known: Iterable[Workers], literal: str, url: Value) -> Choice:
    """Which worker a request gets: that with the longest URL that the request's begins with; decided where it can be.

    `literal` is what is known of the URL from the config, `url` the whole of it.
    """
    found: Choice = []
    near = [each for workers in known for each in sorted(workers.near(literal), key=lambda worker: worker.number)]
    for worker in sorted(near, key=lambda each: -len(each.url)):  # of two as long the first one
        if "$" not in worker.url and literal.startswith(worker.url):
            return [*found, (ALWAYS, worker)]
        if "$" in worker.url or worker.url.startswith(literal):
            pattern = rf"^(?=.{{{len(worker.url)}}}){_begins(worker.url)}"
            found.append((Test(url, How.REGEX, (pattern,)), worker))
    return [*found, (ALWAYS, None)]


def over(choice: Choice, says: Callable[[Worker | None], Condition]) -> Condition:
    """What a condition on the worker comes to, whichever it is."""
    held = says(choice[-1][1])
    for when, worker in reversed(choice[:-1]):
        held = either(when, says(worker), held)
    return held


def settings(words: Iterable[str]) -> dict[str, str]:
    """The key=value words of a ProxyPass or BalancerMember."""
    return {name.lower(): value for name, equals, value in (word.partition("=") for word in words) if equals}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A ProxyPass or ProxyPassMatch: from a path, or a pattern, to a URL, or to none (`!`)."""

    path: str
    pattern: bool
    url: str
    settings: dict[str, str]
    raw: bool
    node: Node

    @property
    def excluded(self) -> bool:
        """Whether it says that the path is not proxied."""
        return self.url == "!"


_WILD = re.compile(r"[*?]|\\.|\[.*\]", re.DOTALL)
"""What Apache takes for a wildcard, also where it is one of a regular expression (apr_fnmatch_test)."""


def proxy_pass(node: Node, path: str | None) -> Pass | None:
    """What a ProxyPass says; `path` is that of the section that it stands in."""
    args = [arg for arg in node.args if arg.lower() not in {"nocanon", "interpolate", "noquery"}]
    pattern = node.name == "proxypassmatch"
    if path is None and args and args[0] == "~":
        pattern, args = True, args[1:]
    if path is not None:
        # Of a section that may have a wildcard in its path, the whole path of the request is put behind the URL.
        args = ["" if not pattern and _WILD.search(path) else path, *args]
    if len(args) < 2:
        return None
    raw = any(arg.lower() == "nocanon" for arg in node.args)
    return Pass(path=args[0], pattern=pattern, url=args[1], settings=settings(args[2:]), raw=raw, node=node)


def under(path: str, value: Value = PATH) -> Condition:
    """Whether a path is, or lies below, that of a ProxyPass or of a <Location>."""
    if name := undefined(path):
        return Undecided(path, f"${{{name}}} is not defined in the config")
    if path == "/":
        return ALWAYS
    if path.endswith("/"):
        return Test(value, How.PREFIX, (path,))
    return Test(value, How.REGEX, (rf"^{re.escape(path)}(?:/|$)",))
