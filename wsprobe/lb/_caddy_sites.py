"""The sites and the global options of a Caddyfile as the servers of Caddy's JSON."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from wsprobe.lb._caddy_adapt_proxy import not_a_template
from wsprobe.lb._caddy_blocks import Caddyfile, Entry
from wsprobe.lb._caddy_context import Report, octets
from wsprobe.lb._caddy_define import Defined, said
from wsprobe.lb._caddy_directives import Adapter
from wsprobe.lb._caddy_order import ORDER, route
from wsprobe.lb._caddy_tokens import Word
from wsprobe.lb._caddy_tree import Said, Tree
from wsprobe.model import Line

_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[^\]]*\]|[^:/{]*:[^:/{]*:[^/{]*|\{\$?[^}]*\}(?=[:/]|\Z)|[^:/]*)(?::(?P<port>[^/]*))?(?P<path>/.*)?\Z"
)

_OPTIONS = frozenset(
    {
        *("debug", "http_port", "https_port", "default_bind", "order", "storage", "storage_clean_interval", "admin"),
        *("persist_config", "log", "grace_period", "shutdown_delay", "auto_https", "email", "default_sni"),
        *("fallback_sni", "local_certs", "skip_install_trust", "acme_ca", "acme_ca_root", "acme_eab", "acme_dns"),
        *("on_demand_tls", "key_type", "cert_issuer", "renew_interval", "cert_lifetime", "ocsp_interval"),
        *("ocsp_stapling", "preferred_chains", "servers", "pki", "events", "metrics", "filesystem", "ech", "dns"),
        *("tls_resolvers", "renewal_window_ratio"),
    }
)
"""Global options that Caddy has; what is not among them belongs to a plugin."""

_TIMEOUTS = {
    "read_body": "read_timeout",
    "read_header": "read_header_timeout",
    "write": "write_timeout",
    "idle": "idle_timeout",
}


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a site; `unsure` where a variable of the environment is part of it."""

    word: Word
    scheme: str
    host: str
    port: str
    path: str

    @property
    def unsure(self) -> bool:
        """Whether only the environment of the proxy tells it."""
        return "{" in self.word.text


@dataclass(slots=True)
class Options:
    """What the global options say about servers."""

    http_port: str = "80"
    https_port: str = "443"
    auto_https: str = ""
    default_bind: tuple[str, ...] = ()
    order: tuple[str, ...] = ORDER
    servers: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Site:
    """A site with its addresses and its directives."""

    entry: Entry
    addresses: tuple[Address, ...]


def adapted(file: Caddyfile, version: tuple[int, ...], report: Report, place: Line) -> Tree:
    """A Caddyfile as Caddy's JSON."""
    options = _options(file, report)
    adapter = Adapter(report, version, options.order)
    sites = [Site(each, tuple(_addresses(each))) for each in file.sites]
    servers = Tree(place)
    for index, (listens, members) in enumerate(_by_address(sites, options)):
        servers[f"srv{index}"] = _server(listens, members, options, adapter, file)
    http = Tree(
        place,
        [
            ("http_port", Said(options.http_port)),
            ("https_port", Said(options.https_port)),
            ("servers", servers),
        ],
    )
    return Tree(place, [("apps", Tree(place, [("http", http)]))])


# Global options.


def _options(file: Caddyfile, report: Report) -> Options:
    options = Options()
    for entry in file.options:
        words = [word.text for word in entry.args]
        match entry.name:
            case "http_port" | "https_port" if words:
                setattr(options, entry.name, words[0])
            case "auto_https" if words:
                options.auto_https = words[0]
            case "default_bind":
                options.default_bind = tuple(words)
            case "order":
                options.order = _ordered(options.order, words)
            case "servers":
                options.servers.append(entry)
            case name if name not in _OPTIONS:
                report.unknown(name, "a global option of a plugin", entry.place)
    return options


def _ordered(order: tuple[str, ...], words: list[str]) -> tuple[str, ...]:
    """The order of directives after `order NAME first|last|before OTHER|after OTHER`."""
    if len(words) < 2:
        return order
    rest = [name for name in order if name != words[0]]
    other = words[2] if len(words) > 2 else ""
    if words[1] == "first":
        at = 0
    elif words[1] == "last":
        at = len(rest)
    elif other in rest:
        at = rest.index(other) + (words[1] == "after")
    else:
        return order
    return (*rest[:at], words[0], *rest[at:])


# Addresses.


def _addresses(entry: Entry) -> Iterator[Address]:
    for word in entry.words:
        text = word.text.removesuffix(",")
        not_a_template(word)
        if text and (found := _ADDRESS.match(text)):
            host = found["host"].strip("[]")
            host = host if "{" in host else host.lower()
            yield Address(word, found["scheme"] or "", host, found["port"] or "", found["path"] or "")


def _port(address: Address, options: Options) -> str:
    """The port of an address; what the environment may tell as well is not known."""
    if address.unsure and not address.port and not address.scheme:
        return address.host
    if address.port:
        return address.port
    return options.http_port if address.scheme == "http" else options.https_port


def _is_tls(address: Address, options: Options, *, told: bool) -> bool:
    """Whether a site speaks TLS: where it has a host, also where no certificate is got for it by itself."""
    port = _port(address, options)
    if address.scheme == "http" or (port == options.http_port and address.scheme != "https"):
        return False
    if told or address.host or address.scheme == "https":
        return True
    return port == options.https_port and options.auto_https != "off"


def _by_address(sites: list[Site], options: Options) -> list[tuple[tuple[str, ...], list[Site]]]:
    """The sites by what is listened on; addresses that have the same sites share a server."""
    at: dict[str, list[Site]] = {}
    for site in sites:
        binds = next((each for each in site.entry.inner if each.name == "bind"), None)
        hosts = tuple(word.text for word in binds.args) if binds and binds.args else options.default_bind or ("",)
        by_port: dict[str, list[Address]] = {}
        for address in site.addresses:
            by_port.setdefault(_port(address, options), []).append(address)
        for port, addresses in by_port.items():
            for host in hosts:
                shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
                at.setdefault(f"{shown}:{port}", []).append(replace(site, addresses=tuple(addresses)))
    grouped: dict[tuple[tuple[int, ...], ...], tuple[list[str], list[Site]]] = {}
    for listen, members in at.items():
        key = tuple((id(site.entry), *(id(address) for address in site.addresses)) for site in members)
        grouped.setdefault(key, ([], members))[0].append(listen)
    return [(tuple(listens), members) for listens, members in grouped.values()]


def _server(listens: tuple[str, ...], members: list[Site], options: Options, adapter: Adapter, file: Caddyfile) -> Tree:
    place = members[0].entry.place
    tree = Tree(place, [("listen", [Said(each, place) for each in listens])])
    if any("{" in each for each in listens):
        tree.label = ", ".join(address.word.text for site in members for address in site.addresses)
    ordered = sorted(members, key=_specificity)
    tree["routes"] = [_site_route(site, adapter) for site in ordered]
    errors = [error for site in ordered if (error := _site_errors(site, adapter))]
    if errors:
        tree["errors"] = Tree(place, [("routes", errors)])
    names = {name: adapter.block(entry.inner, Defined(adapter.report)) for name, entry in file.named.items()}
    tree["named_routes"] = Tree(
        place, ((name, _subroute(file.named[name].place, routes)) for name, routes in names.items())
    )
    tls = [
        _is_tls(address, options, told=any(each.name == "tls" for each in site.entry.inner))
        for site in members
        for address in site.addresses
    ]
    automatic = Tree(place)
    if any(tls):
        tree["tls_connection_policies"] = [Tree(place)]
    else:
        automatic["disable"] = Said("true")
    if options.auto_https in {"off", "disable_redirects"}:
        automatic["disable_redirects"] = Said("true")
    plain = [Said(address.host) for site in members for address in site.addresses if address.scheme == "http"]
    automatic["skip"] = plain
    tree["automatic_https"] = automatic
    for entry in options.servers:
        if not entry.args or entry.args[0].text in {listen.removeprefix("tcp/") for listen in listens}:
            _server_options(entry, tree, adapter.report)
    return tree


def _subroute(place: Line, routes: list[Tree]) -> Tree:
    return route(place, [], Tree(place, [("handler", Said("subroute", place)), ("routes", routes)]))


def _server_options(entry: Entry, tree: Tree, report: Report) -> None:
    for each in entry.inner:
        words = [said(word) for word in each.args]
        match each.name:
            case "timeouts":
                for one in each.inner:
                    if one.name in _TIMEOUTS and one.args:
                        tree[Said(_TIMEOUTS[one.name], one.place)] = Said(one.args[0].text, one.place)
            case "max_header_size" if words:
                size = octets(words[0])
                tree[Said("max_header_bytes", each.place)] = None if size is None else Said(str(size), each.place)
            case "trusted_proxies" if words:
                pairs = [("source", words[0]), ("ranges", words[1:])]
                tree[Said("trusted_proxies", each.place)] = Tree(each.place, pairs)
            case "allow_underscore_in_headers":
                tree[Said(each.name, each.place)] = Said("true", each.place)
            case "listener_wrappers" | "packet_conn_wrappers":
                report.unknown(each.name, "what wraps the connections is not read", each.place)
    if tree.get("max_header_bytes", "") is None:
        del tree["max_header_bytes"]


# Sites.


def _specificity(site: Site) -> tuple[bool, bool, int, int]:
    """Sites with the longest host first, then the longest path; wildcards later, and those without host last."""
    host = max((address.host for address in site.addresses), key=_length, default="")
    path = max((address.path for address in site.addresses), key=_length, default="")
    wild = any("*" in address.host or not address.host for address in site.addresses)
    return (_length(host) == 0, wild, -_length(host), -_length(path))


def _length(text: str) -> int:
    """How much of a text is neither a wildcard nor a placeholder."""
    return len(re.sub(r"\{[^}]*\}|\*", "", text))


def _site_route(site: Site, adapter: Adapter) -> Tree:
    place = site.entry.place
    routes = adapter.block(site.entry.inner, Defined(adapter.report))
    subroute = Tree(place, [("handler", Said("subroute", place)), ("routes", routes)])
    made = route(place, _site_matches(site), subroute)
    made["terminal"] = Said("true")
    made.label = ", ".join(address.word.text.removesuffix(",") for address in site.addresses)
    return made


def _site_errors(site: Site, adapter: Adapter) -> Tree | None:
    """What a site does with errors, as a route of the server's."""
    defined = Defined(adapter.report).within(site.entry.inner)
    routes = [_error_route(each, adapter, defined) for each in _handlers_of_errors(site)]
    if not routes:
        return None
    place = routes[0].place
    made = route(place, _site_matches(site), Tree(place, [("handler", Said("subroute", place)), ("routes", routes)]))
    made["terminal"] = Said("true")
    return made


def _site_matches(site: Site) -> list[Tree]:
    """One matcher set for each path of the addresses, with the hosts that have it; none if an address has no host."""
    anything = any(not address.host and not address.unsure for address in site.addresses)
    paths: dict[str, list[Said]] = {}
    for address in site.addresses:
        name = address.word.text if address.unsure and not address.host else address.host
        paths.setdefault(address.path, []).append(Said(name, address.word.place))
    sets = []
    for path, names in paths.items():
        hosts = None if anything else names
        pairs = [("host", hosts), ("path", [Said(path, site.entry.place)] if path else None)]
        sets.append(Tree(site.entry.place, pairs))
    return [each for each in sets if each]


def _handlers_of_errors(site: Site) -> list[Entry]:
    """`handle_errors` of a site; those for certain statuses come first."""
    found = [each for each in site.entry.inner if each.name == "handle_errors"]
    return sorted(found, key=lambda each: not each.args)


def _error_route(entry: Entry, adapter: Adapter, defined: Defined) -> Tree:
    routes = adapter.block(entry.inner, defined)
    subroute = Tree(entry.place, [("handler", Said("subroute", entry.place)), ("routes", routes)])
    if not entry.args:
        return route(entry.place, [], subroute)
    codes = "|".join(re.escape(word.text.lower()).replace("x", r"\d") for word in entry.args)
    pattern = Tree(entry.place, [("pattern", Said(rf"\A(?:{codes})\Z", entry.place))])
    matched = Tree(entry.place, [("vars_regexp", Tree(entry.place, [("{http.error.status_code}", pattern)]))])
    matched.label = f"errors {' '.join(word.text for word in entry.args)}"
    return route(entry.place, [matched], subroute)
