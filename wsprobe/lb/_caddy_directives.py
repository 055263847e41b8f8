"""The directives of a Caddyfile as routes of Caddy's JSON, in the order in which Caddy sorts them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wsprobe.lb._caddy_adapt_proxy import RESPONSES, ProxyAdapter, forward_auth, header_op, without_colon
from wsprobe.lb._caddy_blocks import Entry
from wsprobe.lb._caddy_context import Report
from wsprobe.lb._caddy_define import Defined, is_definition, pairs_of, said
from wsprobe.lb._caddy_order import EXCLUSIVE, OF_SITE, ORDER, consolidated, in_order, route, sorted_as
from wsprobe.lb._caddy_tokens import Word
from wsprobe.lb._caddy_tree import Said, Tree


@dataclass(frozen=True, slots=True)
class Adapter:
    """What directives need to become routes."""

    report: Report
    version: tuple[int, ...]
    order: tuple[str, ...] = ORDER
    groups: list[str] = field(default_factory=list)

    def block(self, entries: tuple[Entry, ...], defined: Defined, *, ordered: bool = True) -> list[Tree]:
        """The directives of a block as routes: sorted, the exclusive ones in groups, equal matchers together."""
        inner = defined.within(entries)
        made: list[tuple[str, Tree]] = []
        for entry in entries:
            if entry.words and not is_definition(entry) and entry.name not in OF_SITE:
                made += [(sorted_as(entry.name), each) for each in self.directive(entry, inner)]
        if ordered:
            made = in_order(made, self.order)
        return consolidated(self._grouped(made))

    def directive(self, entry: Entry, defined: Defined) -> list[Tree]:
        """One directive as routes."""
        read = _DIRECTIVES.get(entry.name)
        if read is not None:
            return read(self, entry, defined)
        sets, _ = defined.taken(entry)
        return [route(entry.place, sets, Tree(entry.place, [("handler", said(entry.words[0]))]))]

    def _grouped(self, made: Sequence[tuple[str, Tree]]) -> list[Tree]:
        for name in EXCLUSIVE:
            own = [each for directive, each in made if directive == name]
            # A rewrite is never put together with others: what follows may not match any more.
            if len(own) > 1 or name == "rewrite":
                self.groups.append(name)
                for each in own:
                    each["group"] = Said(f"group{len(self.groups)}", None)
        return [each for _, each in made]


def handler(entry: Entry, name: str, *pairs: tuple[str, object]) -> Tree:
    """A handler of Caddy's JSON."""
    return Tree(entry.place, [("handler", Said(name, entry.place)), *pairs])


# One function a directive.


def _simple(name: str) -> Callable[[Adapter, Entry, Defined], list[Tree]]:
    def read(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
        sets, _rest = defined.taken(entry)
        return [route(entry.place, sets, handler(entry, name))]

    return read


def _header(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    ops = Tree(entry.place)
    lines = (Entry(rest.args), *rest.inner) if rest.args else rest.inner
    for each in lines:
        if each.name == "defer" or (each.name != "match" and header_op(ops, each.words, each.place)):
            ops["deferred"] = Said("true", each.place)
    return [route(entry.place, sets, handler(entry, "headers", ("response", ops)))]


def _request_header(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    ops = Tree(entry.place)
    for each in (Entry(rest.args), *rest.inner):
        header_op(ops, without_colon(each.words), each.place if each.words else entry.place)
    return [route(entry.place, sets, handler(entry, "headers", ("request", ops)))]


def _lone_or_matched(entry: Entry, defined: Defined) -> tuple[list[Tree], Entry]:
    """Where one argument is the target, and only of two the first is a matcher."""
    return defined.taken(entry) if len(entry.args) > 1 else ([], entry)


def _rewrite(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = _lone_or_matched(entry, defined)
    uri = said(rest.args[0]) if rest.args else None
    return [route(entry.place, sets, handler(entry, "rewrite", ("uri", uri)))]


def _method(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = _lone_or_matched(entry, defined)
    return [route(entry.place, sets, handler(entry, "rewrite", ("method", said(rest.args[0]) if rest.args else None)))]


def _uri(adapter: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    name = rest.args[0].text if rest.args else ""
    words = dict(enumerate(map(said, rest.args[1:4])))
    first, second, third = words.get(0), words.get(1), words.get(2)
    pairs: tuple[str, object]
    match name:
        case "strip_prefix" | "strip_suffix":
            pairs = (f"strip_path_{name.removeprefix('strip_')}", first)
        case "replace":
            pairs = ("uri_substring", [Tree(entry.place, [("find", first), ("replace", second), ("limit", third)])])
        case "path_regexp":
            pairs = ("path_regexp", [Tree(entry.place, [("find", first), ("replace", second)])])
        case "query":
            removes = [line.name.startswith("-") for line in (Entry(rest.args[1:]), *rest.inner) if line.words]
            pairs = ("query", Tree(entry.place, [("delete" if all(removes) else "set", first)]))
        case _:
            adapter.report.unknown(f"uri {name}", "what it does to the target is not read", entry.place)
            return []
    return [route(entry.place, sets, handler(entry, "rewrite", pairs))]


def _redir(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    words = [word.text for word in rest.args]
    code = words[1] if len(words) > 1 else "302"
    code = {"permanent": "301", "temporary": "302", "html": "200"}.get(code, code)
    return [route(entry.place, sets, handler(entry, "static_response", ("status_code", Said(code, entry.place))))]


def _respond(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    words = [word.text for word in rest.args]
    code = words[1] if len(words) > 1 else next((word for word in words[:1] if re.fullmatch(r"\d{3}", word)), None)
    status = None if code is None else Said(code, entry.place)
    return [route(entry.place, sets, handler(entry, "static_response", ("status_code", status)))]


def _abort(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, _rest = defined.taken(entry)
    return [route(entry.place, sets, handler(entry, "static_response", ("abort", Said("true", entry.place))))]


def _error(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    words = [word.text for word in rest.args]
    code = words[1] if len(words) > 1 else next((word for word in words[:1] if re.fullmatch(r"\d{3}", word)), None)
    status = None if code is None else Said(code, entry.place)
    return [route(entry.place, sets, handler(entry, "error", ("status_code", status)))]


def _vars(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    pairs = [(name, said(value)) for name, value in pairs_of(rest) if value is not None]
    return [route(entry.place, sets, handler(entry, "vars", *pairs))]


def _root(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = _lone_or_matched(entry, defined)
    return [route(entry.place, sets, handler(entry, "vars", ("root", said(rest.args[0]) if rest.args else None)))]


def _map(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    names = [said(word) for word in rest.args[1:]]
    mappings, defaults = [], []
    for each in rest.inner:
        outputs = [said(word) for word in each.args]
        if each.name == "default":
            defaults = outputs
        elif each.name.startswith("~"):
            pattern = Said(each.name[1:], each.place)
            mappings.append(Tree(each.place, [("input_regexp", pattern), ("outputs", outputs)]))
        else:
            mappings.append(Tree(each.place, [("input", said(each.words[0])), ("outputs", outputs)]))
    source = said(rest.args[0]) if rest.args else None
    pairs = (("source", source), ("destinations", names), ("mappings", mappings), ("defaults", defaults))
    return [route(entry.place, sets, handler(entry, "map", *pairs))]


def _basic_auth(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, _rest = defined.taken(entry)
    providers = Tree(entry.place, [("http_basic", Tree(entry.place))])
    return [route(entry.place, sets, handler(entry, "authentication", ("providers", providers)))]


def _try_files(_: Adapter, entry: Entry, __: Defined) -> list[Tree]:
    files = Tree(entry.place, [("file", Tree(entry.place))], label="")
    uri = Said("{http.matchers.file.relative}", entry.place)
    return [route(entry.place, [files], handler(entry, "rewrite", ("uri", uri)))]


def _handle(adapter: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    routes = adapter.block(rest.inner, defined)
    return [route(entry.place, sets, handler(entry, "subroute", ("routes", routes)))]


def _handle_path(adapter: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    routes = adapter.block(rest.inner, defined)
    for path in sets[0].texts("path")[:1] if sets else ():
        strip = handler(
            entry, "rewrite", ("strip_path_prefix", Said(path.removesuffix("*").removesuffix("/"), path.place))
        )
        routes = [route(entry.place, [], strip), *routes]
    return [route(entry.place, sets, handler(entry, "subroute", ("routes", routes)))]


def _route(adapter: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    routes = adapter.block(rest.inner, defined, ordered=False)
    return [route(entry.place, sets, handler(entry, "subroute", ("routes", routes)))]


def _invoke(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    name = said(rest.args[0]) if rest.args else None
    return [route(entry.place, sets, handler(entry, "invoke", ("name", name)))]


def _unread(adapter: Adapter, entries: list[Entry]) -> None:
    for each in entries:
        adapter.report.unknown(each.name, "a line that the reader does not know", each.place)


def _reverse_proxy(adapter: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    made = ProxyAdapter(rest)
    _unread(adapter, made.unread)
    tree = made.made()
    responses = [each for each in made.handled if each.name in RESPONSES]
    if responses:
        tree["handle_response"] = [_response_handler(adapter, each, made.handled, defined) for each in responses]
    return [route(entry.place, sets, tree)]


def _response_handler(adapter: Adapter, entry: Entry, named: list[Entry], defined: Defined) -> Tree:
    """`handle_response`, with the statuses that its matcher names; without one it takes every response."""
    routes = adapter.block(entry.inner, defined)
    pairs: list[tuple[str, object]] = [("routes", routes)]
    if entry.name == "replace_status" and entry.args:
        pairs = [("status_code", said(entry.args[-1]))]
    if entry.args and entry.args[0].text.startswith("@"):
        lines = [each for each in named if each.name == entry.args[0].text]
        codes = [said(word) for each in lines for word in _codes(each)]
        statuses = [Said(code.removesuffix("xx"), code.place) for code in codes]
        pairs.append(("match", Tree(entry.place, [("status_code", statuses)])))
    return Tree(entry.place, pairs)


def _codes(entry: Entry) -> tuple[Word, ...]:
    for each in (Entry(entry.args), *entry.inner):
        if each.name == "status":
            return each.args
    return ()


def _forward_auth(adapter: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    sets, rest = defined.taken(entry)
    tree, unread = forward_auth(rest, removes=adapter.version >= (2, 11))
    _unread(adapter, unread)
    return [route(entry.place, sets, tree)]


def _php(_: Adapter, entry: Entry, defined: Defined) -> list[Tree]:
    """`php_fastcgi`: a file is looked for, and what ends in .php goes to the application."""
    sets, _rest = defined.taken(entry)
    files = Tree(entry.place, [("file", Tree(entry.place))])
    rewrite = handler(entry, "rewrite", ("uri", Said("{http.matchers.file.relative}", entry.place)))
    transport = Tree(entry.place, [("protocol", Said("fastcgi", entry.place))])
    script = Tree(entry.place, [("path", [Said("*.php", entry.place)])])
    proxied = handler(entry, "reverse_proxy", ("transport", transport))
    routes = [route(entry.place, [files], rewrite), route(entry.place, [script], proxied)]
    return [route(entry.place, sets, handler(entry, "subroute", ("routes", routes)))]


_DIRECTIVES: Mapping[str, Callable[[Adapter, Entry, Defined], list[Tree]]] = {
    "header": _header,
    "request_header": _request_header,
    "rewrite": _rewrite,
    "method": _method,
    "uri": _uri,
    "redir": _redir,
    "respond": _respond,
    "abort": _abort,
    "error": _error,
    "vars": _vars,
    "root": _root,
    "map": _map,
    "basic_auth": _basic_auth,
    "basicauth": _basic_auth,
    "try_files": _try_files,
    "handle": _handle,
    "handle_path": _handle_path,
    "route": _route,
    "invoke": _invoke,
    "reverse_proxy": _reverse_proxy,
    "forward_auth": _forward_auth,
    "php_fastcgi": _php,
    **{
        name: _simple(name)
        for name in ("encode", "templates", "push", "intercept", "request_body", "tracing", "log_append")
    },
    **{name: _simple("log_append") for name in ("skip_log", "log_skip", "log_name", "fs")},
    **{name: _simple(name) for name in ("file_server", "metrics", "acme_server")},
    **{name: _simple(name) for name in ("copy_response", "copy_response_headers")},
}
