"""A HAProxy configuration as one config of the model: its listeners, and all that is unread, refused or of old."""

import base64
import re
from collections.abc import Iterator

from wsprobe.inspection import Problem, Unknown
from wsprobe.lb import _haproxy_http as http
from wsprobe.lb._haproxy_actions import REMOVED_RULES
from wsprobe.lb._haproxy_blocks import version_of
from wsprobe.lb._haproxy_grammar import PROXIES, Directive, Parsed, Section, parse
from wsprobe.lb._haproxy_proxy import Proxy, Refuse, proxies
from wsprobe.lb._haproxy_routes import Routes, Settings
from wsprobe.lb._numbers import natural
from wsprobe.lb.expressions import Condition, How, OneOf, Piece, Test, Undecided, both, header
from wsprobe.lb.model import Config, Limit
from wsprobe.lb.source import ReadError, Source
from wsprobe.parts import Line


def config_of(source: Source, kind: str, version: str, *, assumed: bool) -> Config:
    """What a HAProxy configuration does; ReadError where it is a template or has no section."""
    numbers = version_of(version)
    parsed = parse(source, numbers)
    if not parsed.sections:
        raise ReadError(source.path, "no section of HAProxy's: global, defaults, frontend, backend, listen", 1, 1)
    refused = Refuse()
    found = proxies(parsed.sections, refused)
    unread = [*parsed.unread, *_unread(parsed, found, numbers)]
    backends = {proxy.name: proxy for proxy in found if proxy.leads}
    routes = Routes(backends, _settings(parsed, found), unread, refused)
    listeners = tuple(routes.listener(proxy) for proxy in found if proxy.takes and not proxy.disabled)
    problems = [*parsed.problems, *_removed(parsed, numbers)]
    problems += [Problem(path=at[0], line=at[1], column=at[2], message=why) for at, why in refused.lines.items()]
    return Config(
        kind=kind,
        path=source.path,
        version=version,
        assumed=assumed,
        listeners=listeners,
        unread=tuple(dict.fromkeys(unread)),
        problems=tuple(sorted(problems, key=lambda problem: (problem.line, problem.column))),
        files=(source.path,),
    )


def _settings(parsed: Parsed, found: list[Proxy]) -> Settings:
    words = [line.words for proxy in found for line in proxy.lines]
    assigned = {
        name[1] for line in words for word in line[:3] if (name := re.match(r"set-var(?:-fmt)?\(([^,)]+)", word))
    }
    scripts = any(word.startswith("lua.") or word == "spoe" for line in words for word in line[:3])
    return Settings(
        limits=tuple(_limits(parsed.sections)),
        assigned=frozenset(assigned),
        scripted="a script or a filter of the config may set it" if scripts else "",
        users={section.name: _users(section) for section in parsed.sections if section.kind == "userlist"},
    )


def _limits(sections: list[Section]) -> Iterator[Limit]:
    lines = {str(line.words[0]): line for section in sections if section.kind == "global" for line in section.lines}

    def number(keyword: str, default: int) -> tuple[int, Line | None]:
        line = lines.get(keyword)
        said = natural(line.words[1]) if line and len(line.words) > 1 else None
        return (default, None) if line is None or said is None else (said, line.place)

    (buffer, place), (reserve, _) = number("tune.bufsize", 16384), number("tune.maxrewrite", 1024)
    headers, headers_place = number("tune.http.maxhdr", 101)
    yield from http.limits(buffer, min(reserve, buffer // 2), headers, place, headers_place)


def _users(section: Section) -> Condition:
    """Whether the credentials of a request are those of a user; a hash cannot be compared with."""
    sent = header("Authorization")
    basic = Test(Piece(sent, " ", 1), How.EQUALS, ("basic",), ignore_case=True)
    plain, hashed = [], False
    for line in section.lines:
        words = line.words
        if words[0] == "user" and len(words) > 3 and words[2] == "insecure-password" and not words[3].variables:
            plain.append(base64.b64encode(f"{words[1]}:{words[3]}".encode()).decode())
        elif words[0] == "user" and len(words) > 2:
            hashed = True
    known = Test(Piece(sent, " ", 2), How.EQUALS, tuple(plain))
    if hashed:
        return both(basic, OneOf((known, Undecided("http_auth", "it depends on a password that is hashed"))))
    return both(basic, known)


# What is not understood, and what HAProxy no longer knows.

_KNOWN = frozenset(
    {
        *{"acl", "backlog", "balance", "bind", "bind-process", "capture", "clitcpka-cnt", "clitcpka-idle"},
        *{"clitcpka-intvl", "compression", "cookie", "declare", "default-server", "default_backend"},
        *{"description", "disabled", "dispatch", "email-alert", "enabled", "errorfile", "errorfiles"},
        *{"errorloc", "errorloc302", "errorloc303", "error-log-format", "external-check", "filter"},
        *{"force-persist", "fullconn", "guid", "hash-type", "hash-balance-factor", "http-after-response"},
        *{"http-check", "http-error", "http-request", "http-response", "http-reuse", "http-send-name-header"},
        *{"id", "ignore-persist", "load-server-state-from-file", "log", "log-format", "log-format-sd"},
        *{"log-steps", "log-tag", "max-keep-alive-queue", "max-session-srv-conns", "maxconn", "mode"},
        *{"monitor", "monitor-net", "monitor-uri", "option", "persist", "quic-initial", "rate-limit"},
        *{"redirect", "retries", "retry-on", "server", "server-state-file-name", "server-template", "source"},
        *{"srvtcpka-cnt", "srvtcpka-idle", "srvtcpka-intvl", "stats", "stick", "stick-table", "tcp-check"},
        *{"tcp-request", "tcp-response", "timeout", "transparent", "unique-id-format", "unique-id-header"},
        *{"use-server", "use_backend", "appsession", "grace", "clitimeout", "srvtimeout", "contimeout"},
    }
)
_REMOVED = {
    **dict.fromkeys(
        REMOVED_RULES,
        ((2, 1), "http-request and http-response rules"),
    ),
    **dict.fromkeys(
        ["clitimeout", "srvtimeout", "contimeout"], ((2, 1), "timeout client, timeout server, timeout connect")
    ),
    "appsession": ((1, 6), "stick tables"),
    "nbproc": ((2, 5), "nbthread"),
    "grace": ((2, 5), "hard-stop-after"),
}


def _removed(parsed: Parsed, version: tuple[int, ...]) -> Iterator[Problem]:
    """Keywords that this version refuses."""
    for section in parsed.sections:
        for line in section.lines:
            gone = _REMOVED.get(line.words[0].lower())
            if gone and version >= gone[0] and not line.doubt:
                since = ".".join(str(number) for number in gone[0])
                why = f"{line.words[0]} was removed in HAProxy {since}, which refuses the file; use {gone[1]}"
                yield Problem(path=line.place.path, line=line.place.line, column=line.place.column, message=why)


def _unread(parsed: Parsed, found: list[Proxy], version: tuple[int, ...]) -> Iterator[Unknown]:
    for section in parsed.sections:
        if section.kind in PROXIES | {"defaults"}:
            yield from _unknown_lines(section.lines, version)
    for proxy in found:
        if proxy.last("mode") is None and not any(section.kind == "defaults" for section in parsed.sections):
            why = "no defaults section is in this file; without one, or a line of its own, the mode is tcp"
            yield Unknown(what=f"mode of {proxy.name}", why=why, place=proxy.section.place)
        for line in proxy.unread_timers:
            yield Unknown(what=" ".join(line.words[:2]), why="its time is not understood", place=line.place)
        for name, time in proxy.timers.items():
            if time.ignored and time.place:
                why = "HAProxy ignores what stands behind the unit, and warns"
                yield Unknown(what=f"timeout {name}", why=why, place=time.place)


def _unknown_lines(lines: list[Directive], version: tuple[int, ...]) -> Iterator[Unknown]:
    for line in lines:
        name = line.name
        if name in _REMOVED and version < _REMOVED[name][0]:
            yield Unknown(what=name, why="what this keyword of old did is not followed", place=line.place)
        elif name not in _KNOWN and name not in _REMOVED:
            yield Unknown(what=name[:60], why="this keyword is not known", place=line.place)
        elif line.doubt:
            yield Unknown(what=name, why=line.doubt, place=line.place)
        for variable in dict.fromkeys(variable for word in line.words for variable in word.variables):
            why = f"the environment variable {variable} is known to the running HAProxy only"
            yield Unknown(what=name, why=why, place=line.place)
