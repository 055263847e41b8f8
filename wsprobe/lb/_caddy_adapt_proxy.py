"""`reverse_proxy`, `forward_auth` and `php_fastcgi` of a Caddyfile, and operations on headers, as Caddy's JSON."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from wsprobe.lb._caddy_blocks import Entry
from wsprobe.lb._caddy_define import said
from wsprobe.lb._caddy_tokens import Word
from wsprobe.lb._caddy_tree import Said, Tree
from wsprobe.lb.source import ReadError
from wsprobe.model import Line

MAX_PORTS = 1000
"""How many upstreams a range of ports makes at most."""

_SCHEMES = {"https": "443", "http": "80", "h2c": "80"}
_ADDRESS = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<rest>.*)\Z")
_RANGE = re.compile(r"(.*):(\d{1,5})-(\d{1,5})\Z")
_TEMPLATE = re.compile(r"\$\{\w+\}|<[A-Za-z][\w .-]*>|(?<![A-Za-z0-9%])%[A-Za-z_]{2,}%")

_TRANSPORT = frozenset({"dial_timeout", "response_header_timeout", "read_timeout", "write_timeout"})
_TLS = frozenset({"tls", "tls_insecure_skip_verify", "tls_server_name", "tls_client_auth", "tls_trust_pool"})
RESPONSES = ("handle_response", "replace_status")
"""What handles the response of an upstream."""

_HARMLESS = frozenset(
    {
        "lb_policy",
        "lb_retries",
        "lb_try_duration",
        "lb_try_interval",
        "lb_retry_match",
        "health_uri",
        "health_path",
        "health_upstream",
        "health_port",
        "health_interval",
        "health_passes",
        "health_fails",
        "health_timeout",
        "health_method",
        "health_status",
        "health_request_body",
        "health_body",
        "health_follow_redirects",
        "health_headers",
        "fail_duration",
        "max_fails",
        "unhealthy_status",
        "unhealthy_latency",
        "unhealthy_request_count",
        "flush_interval",
        "request_buffers",
        "buffer_requests",
        "max_buffer_size",
        "stream_close_delay",
        "verbose_logs",
    }
)
"""What changes nothing about a request that is an upgrade: which upstream gets it, and when it is asked again."""


def not_a_template(word: Word) -> None:
    """ReadError where a word holds a placeholder of somebody who makes Caddyfiles, such as envsubst."""
    if not word.quote and (found := _TEMPLATE.search(word.text)):
        why = f"a template ({found[0]} at line {word.line}), not read"
        raise ReadError(word.source.path, why, word.line, word.column + found.start())


def header_op(ops: Tree, words: tuple[Word, ...], place: Line) -> bool:
    """Puts one operation on headers where Caddy's JSON has it; whether it waits for the response's head."""
    if not words:
        return False
    name = words[0].text
    value = Said(words[1].text if len(words) > 1 else "", place)
    if name.startswith("-"):
        ops.setdefault("delete", []).append(Said(name[1:], place))
        return True
    if name.startswith("+"):
        ops.setdefault("add", Tree(place)).setdefault(Said(name[1:], place), []).append(value)
        return False
    if len(words) > 2:
        replacement = Tree(place, [("search_regexp", value), ("replace", said(words[2]))])
        ops.setdefault("replace", Tree(place)).setdefault(Said(name.lstrip(">"), place), []).append(replacement)
        return name.startswith(">")
    fields = ops.setdefault("set", Tree(place))
    key = Said(name.lstrip(">?"), place)
    for same in [each for each in fields if each.lower() == key.lower()]:
        del fields[same]
    fields[key] = [value]
    return name[:1] in {">", "?"}


def without_colon(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The words of an operation whose name some end with a colon; `header_up` takes such a name as it is."""
    return tuple(replace(word, text=word.text.removesuffix(":")) if not at else word for at, word in enumerate(words))


class ProxyAdapter:
    """One `reverse_proxy` or `forward_auth` on its way to Caddy's JSON; `unread` are lines that it does not know."""

    def __init__(self, entry: Entry) -> None:
        self.tree = Tree(entry.place, [("handler", Said("reverse_proxy", entry.place))])
        self.transport = Tree(entry.place)
        self.upstreams: list[Tree] = []
        self.handled: list[Entry] = []
        self.unread: list[Entry] = []
        for word in entry.args:
            self._upstream(word)
        for each in entry.inner:
            self._line(each)

    def made(self) -> Tree:
        """The handler."""
        self.tree["upstreams"] = self.upstreams
        if self.transport:
            self.tree["transport"] = self.transport
        return self.tree

    def _upstream(self, word: Word) -> None:
        not_a_template(word)
        found = _ADDRESS.match(word.text)
        scheme = (found["scheme"] or "").lower() if found else ""
        rest = found["rest"] if found else word.text
        if rest.startswith("{$") and not scheme:
            self.upstreams.append(Tree(word.place, [("dial", said(word))]))
            return
        if not rest.startswith(("unix/", "/")):
            rest = rest.partition("/")[0] if scheme else rest
            rest = rest if re.search(r":[\d{][^\]]*\Z", rest) else f"{rest}:{_SCHEMES.get(scheme, '80')}"
        if scheme == "https":
            self.transport.setdefault("tls", Tree(word.place))
        elif scheme == "h2c":
            self.transport["versions"] = [Said("h2c", word.place), Said("2", word.place)]
        for dial in _ports(rest):
            self.upstreams.append(Tree(word.place, [("dial", Said(dial, word.place))]))

    def _line(self, entry: Entry) -> None:
        read = self._LINES.get(entry.name)
        if read is not None:
            read(self, entry)
        elif entry.name.startswith("@") or entry.name in RESPONSES:
            self.handled.append(entry)
        elif entry.name not in _HARMLESS:
            self.unread.append(entry)

    def _to(self, entry: Entry) -> None:
        for word in entry.args:
            self._upstream(word)

    def _header(self, entry: Entry) -> None:
        headers = self.tree.setdefault("headers", Tree(entry.place))
        key = "request" if entry.name == "header_up" else "response"
        header_op(headers.setdefault(key, Tree(entry.place)), entry.args, entry.place)

    def _rewrite(self, entry: Entry) -> None:
        rewrite = self.tree.setdefault("rewrite", Tree(entry.place))
        for word in entry.args[:1]:
            rewrite["uri" if entry.name == "rewrite" else "method"] = Said(word.text, entry.place)

    def _value(self, entry: Entry) -> None:
        for word in entry.args[:1]:
            self.tree[Said(entry.name, entry.place)] = Said(word.text, entry.place)

    def _buffer_responses(self, entry: Entry) -> None:
        self.tree[Said("response_buffers", entry.place)] = Said("unlimited", entry.place)

    def _trusted_proxies(self, entry: Entry) -> None:
        self.tree.setdefault(Said(entry.name, entry.place), []).extend(said(word) for word in entry.args)

    def _dynamic(self, entry: Entry) -> None:
        self.tree["dynamic_upstreams"] = Tree(entry.place)

    def _transport(self, entry: Entry) -> None:
        kind = entry.args[0].text if entry.args else "http"
        self.transport["protocol"] = Said(kind, entry.place)
        for each in entry.inner if kind == "http" else ():
            self._transport_line(each)

    def _transport_line(self, each: Entry) -> None:
        name, place = Said(each.name, each.place), each.place
        if each.name in _TRANSPORT and each.args:
            self.transport[name] = Said(each.args[0].text, place)
        elif each.name == "versions":
            self.transport[name] = [said(word) for word in each.args]
        elif each.name == "compression" and each.args:
            self.transport[name] = Said("false" if each.args[0].text == "off" else "true", place)
        elif each.name == "keepalive" and each.args:
            self.transport["keep_alive"] = Tree(
                place, [("enabled", Said("false" if each.args[0].text == "off" else "true"))]
            )
        elif each.name in _TLS:
            self.transport.setdefault("tls", Tree(place))

    _LINES: ClassVar[Mapping[str, Callable[["ProxyAdapter", Entry], None]]] = {
        "to": _to,
        "header_up": _header,
        "header_down": _header,
        "transport": _transport,
        "rewrite": _rewrite,
        "method": _rewrite,
        "stream_timeout": _value,
        "response_buffers": _value,
        "buffer_responses": _buffer_responses,
        "trusted_proxies": _trusted_proxies,
        "dynamic": _dynamic,
    }


def _ports(address: str) -> Iterator[str]:
    found = _RANGE.match(address)
    if not found:
        yield address
        return
    for port in range(int(found[2]), min(int(found[3]), int(found[2]) + MAX_PORTS) + 1):
        yield f"{found[1]}:{port}"


def forward_auth(entry: Entry, *, removes: bool) -> tuple[Tree, list[Entry]]:
    """`forward_auth` as the proxy that it is; `removes` where what the client sent is taken away first (2.11)."""
    own = [each for each in entry.inner if each.name in {"uri", "copy_headers"}]
    rest = tuple(each for each in entry.inner if each not in own)
    adapter = ProxyAdapter(Entry(entry.words, rest, entry.opened))
    uri = next((each.args[0] for each in own if each.name == "uri" and each.args), None)
    rewrite = Tree(entry.place, [("method", Said("GET", entry.place)), ("uri", said(uri) if uri else None)])
    adapter.tree["rewrite"] = rewrite
    routes: list[Tree] = []
    for each in own:
        if each.name == "copy_headers":
            words = [*each.args, *(inner.words[0] for inner in each.inner if inner.words)]
            for word in words:
                routes += _copied(word, removes=removes)
    good = Tree(entry.place, [("status_code", [Said("2", entry.place)])])
    adapter.tree["handle_response"] = [Tree(entry.place, [("match", good), ("routes", routes)])]
    return adapter.made(), adapter.unread


def _copied(word: Word, *, removes: bool) -> Iterator[Tree]:
    before, _, after = word.text.partition(">")
    name = Said(after or before, word.place)
    place = word.place
    if removes:
        ops = Tree(place, [("delete", [name])])
        yield Tree(place, [("handle", [_headers(place, ops)])])
    value = Said(f"{{http.reverse_proxy.header.{before}}}", place)
    ops = Tree(place, [("set", Tree(place, [(name, [value])]))])
    returned = Tree(place, [("vars", Tree(place, [(str(value), [Said("", place)])]))])
    match = [Tree(place, [("not", [returned])])] if removes else []
    yield Tree(place, [("match", match), ("handle", [_headers(place, ops)])])


def _headers(place: Line, ops: Tree) -> Tree:
    return Tree(place, [("handler", Said("headers", place)), ("request", ops)])
