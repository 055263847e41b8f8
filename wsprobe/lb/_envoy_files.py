"""The shapes that Envoy's configs come in, and the files that they take listeners, clusters and routes from."""

from collections.abc import Iterator
from dataclasses import field

from wsprobe.frozen import dataclass
from wsprobe.lb._envoy_clusters import discovered
from wsprobe.lb._envoy_proto import Reading, get, number, text, typed, under
from wsprobe.lb._yaml import Kind, Node, documents
from wsprobe.lb.source import ReadError, Source

_DUMPS: dict[str, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "ListenersConfigDump": (
        ("static_listeners", ("listener",), "listeners"),
        ("dynamic_listeners", ("active_state", "listener"), "listeners"),
    ),
    "ClustersConfigDump": (
        ("static_clusters", ("cluster",), "clusters"),
        ("dynamic_active_clusters", ("cluster",), "clusters"),
    ),
    "RoutesConfigDump": (
        ("static_route_configs", ("route_config",), "tables"),
        ("dynamic_route_configs", ("route_config",), "tables"),
    ),
}
_SHAPES = (("filter_chains", "listeners"), ("virtual_hosts", "tables"), ("load_assignment", "clusters"))
_MESSAGES = {"Listener": "listeners", "RouteConfiguration": "tables", "Cluster": "clusters"}


@dataclass(slots=True)
class Found:
    """What a file holds, by kind. `complete` says that it tells all clusters, `discovers` that more come later."""

    listeners: list[Node] = field(default_factory=list)
    tables: list[Node] = field(default_factory=list)
    clusters: list[Node] = field(default_factory=list)
    paths: list[Node] = field(default_factory=list)
    complete: bool = False
    discovers: bool = False
    version: str | None = None

    def add(self, kind: str, node: Node) -> None:
        """Takes a message in."""
        getattr(self, kind).append(node)


def gather(node: Node, found: Found) -> None:
    """Finds the listeners, clusters and route tables of a document, whatever shape it has."""
    if node.kind is Kind.SEQUENCE:
        for each in node.items():
            _message(each, found)
    elif (dump := get(node, "configs")) is not None:
        _dump(dump.items(), found)
    elif get(node, "static_resources") is not None or get(node, "dynamic_resources") is not None:
        _bootstrap(node, found)
    elif (resources := get(node, "resources")) is not None:
        for each in resources.items():
            _message(each, found)
    else:
        _message(node, found)


def _bootstrap(node: Node, found: Found) -> None:
    found.complete = True
    found.discovers = discovered(node)
    found.listeners += under(node, "static_resources", "listeners")
    found.clusters += under(node, "static_resources", "clusters")
    for name in ("lds_config", "cds_config"):
        if path := file_of(get(node, "dynamic_resources", name)):
            found.paths.append(path)


def file_of(config_source: Node | None) -> Node | None:
    """The path of a ConfigSource that is a file."""
    return get(config_source, "path_config_source", "path") or get(config_source, "path")


def _dump(configs: list[Node], found: Found) -> None:
    kinds = {typed(each)[1] for each in configs}
    found.complete = "ClustersConfigDump" in kinds
    for each in configs:
        message = typed(each)[1]
        if message == "BootstrapConfigDump":
            bootstrap = get(each, "bootstrap")
            found.version = _built(bootstrap)
            if bootstrap is not None and "ListenersConfigDump" not in kinds:
                _bootstrap(bootstrap, found)
        for name, path, kind in _DUMPS.get(message, ()):
            for entry in under(each, name):
                if inner := get(entry, *path):
                    found.add(kind, inner)


def _built(bootstrap: Node | None) -> str | None:
    """The version of the Envoy that wrote a dump."""
    version = get(bootstrap, "node", "user_agent_build_version", "version")
    numbers = [number(version, name) for name in ("major_number", "minor_number", "patch")]
    return ".".join(str(each or 0) for each in numbers) if version is not None else None


def _message(node: Node, found: Found) -> None:
    kind = _MESSAGES.get(typed(node)[1])
    kind = kind or next((kind for name, kind in _SHAPES if get(node, name) is not None), None)
    if kind:
        found.add(kind, node)


def include(found: Found, reading: Reading) -> None:
    """Reads the files that listeners and clusters come from."""
    for path in found.paths:
        for node in included(path, reading):
            inner = Found()
            gather(node, inner)
            found.listeners += inner.listeners
            found.clusters += inner.clusters
            found.tables += inner.tables
            found.discovers = False


def included(path: Node, reading: Reading) -> Iterator[Node]:
    """The documents of a file that the config names; what cannot be read is a problem at the line that names it."""
    for each in path.document.source.include(path.text):
        if isinstance(each, Source):
            try:
                yield from documents(each)
                reading.files.append(each.path)
            except ReadError as error:
                reading.problems.append(error.problem)
        else:
            reading.problem(path, each.message)


def named(tables: list[Node], name: str) -> Node | None:
    """The route configuration of a name, the first where there is no name."""
    return next((each for each in tables if not name or text(each, "name") == name), None)
