"""The servers of an nginx config, whole or a fragment that another file includes, as listeners and routes."""

import re
from collections.abc import Iterator

from wsprobe.inspection import Problem
from wsprobe.lb._nginx_directives import ONCE
from wsprobe.lb._nginx_grammar import Directive, Grammar, placeholder
from wsprobe.lb._nginx_maps import group_names
from wsprobe.lb._nginx_proxy import ELSEWHERE
from wsprobe.lb._nginx_routes import Server
from wsprobe.lb._nginx_scope import Scope
from wsprobe.lb._nginx_servers import fragment, listeners, sample_host
from wsprobe.lb._nginx_stream import streams
from wsprobe.lb._nginx_unread import DATA, unread
from wsprobe.lb._nginx_values import Values, names_in
from wsprobe.lb.model import Config, Listener
from wsprobe.lb.source import Source

_MAIN = frozenset({"events", "http", "stream", "mail", "user", "pid", "worker_processes", "load_module", "daemon"})
_HTTP_ONLY = frozenset({"upstream", "map", "geo", "split_clients", "js_import", "js_set", "log_format", "server"})
_FORWARDED = frozenset({"upgrade", "connection"})


def config(source: Source, version: str, *, assumed: bool) -> Config:
    """What the config does; ReadError where it has no grammar, or is a template."""
    grammar = Grammar(source.real.parent)
    top = grammar.directives(source)
    every = list(_all(top))
    for each in every:
        if error := placeholder(each):
            raise error
    values = _values(every, _numbers(version))
    found = _Reading(top, values)
    listened = tuple(found.listeners())
    problems = [
        *grammar.problems,
        *_repeated(top),
        *(problem for server in found.servers for problem in server.problems),
    ]
    return Config(
        kind="nginx",
        path=source.path,
        version=version,
        assumed=assumed,
        listeners=listened,
        unread=tuple(unread(top)),
        problems=tuple(problems),
        files=tuple(grammar.files),
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _all(directives: tuple[Directive, ...]) -> Iterator[Directive]:
    """All directives, those in blocks after their block; the grammar bounds how deep they go."""
    for each in directives:
        yield each
        if each.block:
            yield from _all(each.block)


def _repeated(directives: tuple[Directive, ...]) -> Iterator[Problem]:
    """Directives and locations that a block has twice and that nginx takes once."""
    seen: set[tuple[str, ...]] = set()
    for each in directives:
        key = (each.name, *each.args) if each.name == "location" else (each.name,)
        if key in seen and (each.name == "location" or each.name in ONCE):
            what = (
                f'"{each.name}" directive' if each.name in ONCE else f'location "{each.args[-1] if each.args else ""}"'
            )
            yield each.problem(f"{what} is duplicate")
        seen.add(key)
        if each.block and each.name not in DATA:
            yield from _repeated(each.block)


def _values(directives: list[Directive], version: tuple[int, ...]) -> Values:
    """The variables that a config defines anywhere, and those that it asks for."""
    values = Values(version)
    for each in directives:
        for text in (each.name, *each.args):
            if "$" in text:
                values.used.update(names_in(text))
        match each.name:
            case "map" if len(each.args) == 2:
                values.maps[_name(each.args[1])] = each
            case "set" if _name(each.arg(0)) == "args":
                pass  # it has a meaning of its own, which is the query
            case "set" | "auth_request_set" | "auth_jwt_claim_set" | "auth_jwt_header_set" if each.args:
                values.assigned.add(_name(each.args[0]))
            case "geo" | "split_clients" if each.args:
                values.scripts[_name(each.args[-1])] = f"{each.name} decides {each.args[-1]}"
            case (
                "js_set" | "js_var" | "perl_set" | "geoip_city" | "set_by_lua_file" | "set_by_lua" | "set_by_lua_block"
            ) if each.args:
                values.scripts[_name(each.args[0])] = f"{each.name} runs a script, which is not followed"
        for text in (each.name, *each.args):
            values.assigned.update(name.lower() for name in group_names(text))
    values.remember({text for each in directives if each.name in {"set", "if", "rewrite"} for text in each.args})
    return values


def _name(variable: str) -> str:
    return variable.removeprefix("$").lower()


class _Reading:
    """The servers of a config, whole or a fragment that another file includes."""

    def __init__(self, top: tuple[Directive, ...], values: Values) -> None:
        self.values = values
        whole = [each for each in top if each.name == "http" and each.block is not None]
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.servers: list[Server] = []
        self.loose: Server | None = None
        self.streams = tuple(each for each in top if each.name == "stream" and each.block is not None)
        for each in whole:
            self._http(Scope("http", each, None, each.block or ()))
        if not whole:
            self._fragment(tuple(each for each in top if each.name not in _MAIN))

    def listeners(self) -> Iterator[Listener]:
        """The listeners in the order of the servers."""
        yield from listeners(self.servers)
        if self.loose:
            yield fragment(self.loose)
        for each in self.streams:
            yield from streams(each)

    def _http(self, http: Scope) -> None:
        for each in http.own("upstream"):
            inner = each.block or ()
            self.addresses[each.arg(0)] = tuple(one.arg(0) for one in inner if one.name == "server")
        found = [each for each in http.own("server") if each.block is not None]
        for number, each in enumerate(found):
            scope = http.inner(each)
            host = sample_host(scope)
            prefix = f"{host}: " if host and len(found) > 1 else ""
            self.servers.append(Server(scope, self.values, f"server {number}", prefix, self.addresses, host))

    def _fragment(self, top: tuple[Directive, ...]) -> None:
        """A file that another one includes: servers, or what stands in a server, or in a location."""
        outer = tuple(each for each in top if each.name in _HTTP_ONLY)
        inner = tuple(each for each in top if each.name not in _HTTP_ONLY)
        if any(each.name == "server" and each.block is not None for each in top):
            self._http(Scope("http", None, None, top))
        elif any(each.name == "location" for each in top):
            self._loose(Scope("http", None, None, outer), inner)
        elif _passes(inner):
            first = inner[0]
            if not any(each.name == "proxy_pass" for each in inner):
                inner = (
                    *inner,
                    Directive("proxy_pass", (f"http://{ELSEWHERE}",), first.source, first.line, first.column),
                )
            block = (Directive("location", ("/",), first.source, first.line, first.column, inner),)
            self._loose(Scope("http", None, None, outer), block)
        else:
            self._http(Scope("http", None, None, top))

    def _loose(self, http: Scope, directives: tuple[Directive, ...]) -> None:
        self._http(http)
        self.loose = Server(Scope("server", None, http, directives), self.values, "fragment", "", self.addresses)


def _passes(directives: tuple[Directive, ...]) -> bool:
    """Whether directives that stand in no block are those of a location that passes upgrades on."""
    return any(
        each.name == "proxy_pass" or (each.name == "proxy_set_header" and each.arg(0).lower() in _FORWARDED)
        for each in directives
    )
