"""One frontend, backend or listen section of HAProxy with what it inherits: options, timers, servers, addresses."""

import re
from collections.abc import Iterator
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.lb._haproxy_acl import RefusedError, test
from wsprobe.lb._haproxy_grammar import PROXIES, Directive, Section
from wsprobe.lb._haproxy_samples import Scope
from wsprobe.lb._haproxy_words import Word
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import Condition
from wsprobe.lb.model import Bind
from wsprobe.parts import Line

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+)(us|ms|s|m|h|d)?")
_CLOSING = frozenset({"httpclose", "http-server-close", "http-keep-alive", "http-tunnel"})


@dataclass(frozen=True, slots=True)
class Time:
    """A duration as it stands in a line: seconds, None where it is unknown or for ever, and what HAProxy ignores."""

    seconds: float | None
    place: Line | None
    ignored: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """One `server` line with the `default-server` settings before it."""

    name: str
    address: str
    words: tuple[Word, ...]
    place: Line

    def has(self, *keywords: str) -> bool:
        """Whether one of the keywords stands on the line, and no later `no-` takes it back."""
        found = [word.removeprefix("no-") == word for word in self.words if word.removeprefix("no-") in keywords]
        return bool(found) and found[-1]

    def after(self, keyword: str) -> str:
        """The word behind a keyword, empty where it does not stand there; the last one counts."""
        pairs = zip(self.words, self.words[1:], strict=False)
        return next((str(then) for word, then in reversed(list(pairs)) if word == keyword), "")


@dataclass(slots=True)
class Proxy:
    """A section with the lines of its defaults before its own."""

    section: Section
    lines: list[Directive]
    options: dict[str, Directive] = field(default_factory=dict)
    timers: dict[str, Time] = field(default_factory=dict)
    unread_timers: list[Directive] = field(default_factory=list)
    _by_name: dict[str, list[tuple[int, Directive]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for at, line in enumerate(self.lines):
            self._by_name.setdefault(line.name, []).append((at, line))
            if line.name == "option":
                self._option(line)
            elif line.name in {"timeout", "clitimeout", "srvtimeout", "contimeout"}:
                self._timer(line)

    @property
    def name(self) -> str:
        """The name of the section."""
        return self.section.name

    def owns(self, time: Time) -> bool:
        """Whether a time stands in the section itself, and not in its defaults."""
        place = self.section.place
        return time.place is not None and time.place.path == place.path and time.place.line > place.line

    @property
    def takes(self) -> bool:
        """Whether clients connect to it."""
        return self.section.kind in {"frontend", "listen"}

    @property
    def leads(self) -> bool:
        """Whether it has servers."""
        return self.section.kind in {"backend", "listen"}

    @property
    def disabled(self) -> bool:
        """Whether it is switched off."""
        found = self.all("disabled", "enabled")
        return bool(found) and found[-1].name == "disabled"

    @property
    def mode(self) -> str:
        """Its mode; without a line about it HAProxy is in mode tcp."""
        found = self.last("mode")
        return str(found.words[1]) if found and len(found.words) > 1 else "tcp"

    def all(self, *keywords: str) -> list[Directive]:
        """Its lines with one of these keywords, those that it inherits first."""
        found = [pair for keyword in keywords for pair in self._by_name.get(keyword, ())]
        return [line for _, line in (sorted(found, key=lambda pair: pair[0]) if len(keywords) > 1 else found)]

    def last(self, keyword: str) -> Directive | None:
        """The line with a keyword that counts where only one can."""
        found = self.all(keyword)
        return found[-1] if found and found[-1].words[0] != "no" else None

    def rules(self, keyword: str) -> list[Directive]:
        """The rules of one kind, whose keyword may be of two words."""
        first, _, second = keyword.partition(" ")
        return [line for line in self.all(first) if not second or line.words[1:2] == (second,)]

    def option(self, name: str) -> Directive | None:
        """The line that switches an option on."""
        return self.options.get(name)

    def _option(self, line: Directive) -> None:
        first = line.words[0]
        words = line.words[1:] if first in {"no", "default"} else line.words
        if len(words) < 2:
            return
        name = str(words[1])
        if name in _CLOSING and first not in {"no", "default"}:
            for other in _CLOSING:
                self.options.pop(other, None)
        if first in {"no", "default"}:
            self.options.pop(name, None)
        else:
            self.options[name] = line

    def _timer(self, line: Directive) -> None:
        old = {"clitimeout": "client", "srvtimeout": "server", "contimeout": "connect"}
        name = old.get(line.name) or (str(line.words[1]) if len(line.words) > 1 else "")
        at = 1 if line.name in old else 2
        if not name or len(line.words) <= at:
            self.unread_timers.append(line)
            return
        time = duration(line.words[at], line.place)
        if time is None:
            self.unread_timers.append(line)
        else:
            self.timers[name] = time

    def binds(self) -> tuple[Bind, ...]:
        """The addresses that it listens on."""
        found = [bind for line in self.all("bind") for bind in _binds(line.words[1:])]
        if self.section.kind == "listen" and len(self.section.place.text.split()) > 2:
            found += _binds([Word(self.section.place.text.split()[2])])
        return tuple(found)

    def servers(self) -> list[Server]:
        """Its servers in their order, without those that are switched off."""
        made, given = [], list[Word]()
        for line in self.all("default-server", "server", "server-template", "dispatch"):
            words = line.words
            if line.name == "default-server":
                given += words[1:]
            elif line.name == "dispatch":
                made.append(Server("", str(words[1]) if len(words) > 1 else "", (), line.place))
            else:
                at = 3 if line.name == "server-template" else 2
                address = str(words[at]) if len(words) > at else ""
                name = str(words[1]) if len(words) > 1 else ""
                made.append(Server(name, address, (*given, *words[at + 1 :]), line.place))
        return [server for server in made if not server.has("disabled")]

    def lists(self, scope: Scope, refused: "Refuse") -> dict[str, list[Condition]]:
        """Its access control lists: of each name the tests of all its lines."""
        found: dict[str, list[Condition]] = {}
        for line in self.all("acl"):
            if len(line.words) < 3:
                refused(line, RefusedError("acl needs a name and a criterion", line.place.column))
                continue
            try:
                found.setdefault(str(line.words[1]), []).append(test(line.words[2:], scope))
            except RefusedError as error:
                refused(line, error)
        return found


class Refuse:
    """What is told of a line that HAProxy refuses; made by the reader."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, int, int], str] = {}

    def __call__(self, line: Directive, error: RefusedError) -> None:
        """Notes one, once, however often the line is looked at."""
        column = error.column if error.column > 1 else line.place.column
        self.lines[line.place.path, line.place.line, column] = str(error)


def duration(word: Word, place: Line) -> Time | None:
    """A time as HAProxy reads it, in milliseconds where no unit is written; None where it is none (2.5)."""
    if word.variables:
        return Time(None, place)
    found = _TIME.match(word)
    number = natural(found[1]) if found else None
    if not found or number is None:
        return None
    seconds = number * _SECONDS[found[2] or "ms"]
    return Time(round(seconds, 6) or None, place, word[found.end() :])


def _binds(words: "list[Word] | tuple[Word, ...]") -> Iterator[Bind]:
    """The addresses of a bind line: several, divided by commas, and its parameters."""
    if not words:
        return
    tls = "ssl" in words
    for address in words[0].split(","):
        host, _, port = address.rpartition(":")
        if "@" in address and not address.startswith(("ipv4@", "ipv6@", "quic4@", "quic6@")):
            yield Bind(address=address, tls=tls)
            continue
        for each in _ports(port):
            yield Bind(address=host.rpartition("@")[2], port=each, tls=tls or address.startswith("quic"))


def _ports(text: str) -> list[int | None]:
    low, dash, high = text.partition("-")
    first, last = natural(low), natural(high if dash else low)
    return [None] if first is None or last is None else list(range(first, min(last, first + 100) + 1))


def proxies(sections: list[Section], refused: Refuse) -> list[Proxy]:
    """All frontends, backends and listen sections with the lines of the defaults that each of them takes."""
    named: dict[str, list[Directive]] = {}
    current: list[Directive] = []
    made = []
    for section in sections:
        base = current
        if section.base is not None:
            base = named.get(section.base, [])
            if section.base not in named:
                error = RefusedError(
                    f"there is no defaults section of the name {section.base[:60]}", section.place.column
                )
                refused(Directive((Word(section.kind),), section.place), error)
        if section.kind == "defaults":
            current = [*(base if section.base is not None else []), *section.lines]
            if section.name:
                named[section.name] = current
        elif section.kind in PROXIES:
            made.append(Proxy(section, [*base, *section.lines]))
    return made
