"""What may import what: data flows one way, and nobody pays for what only another layer needs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "wsprobe"
LAYERS = {
    0: ("model", "connection", "parts", "patterns", "frozen", "closecodes", "inspection", "comparison"),
    1: [
        "codec",
        "credentials",
        "durations",
        "echoes",
        "ends",
        "exchange",
        "frames",
        "freetext",
        "handshake",
        "headers",
        "heads",
        "join",
        "middleware",
        "observer",
        "pings",
        "raised",
        "recordfile",
        "redact",
        "stats",
    ],
    2: ("path", "wording", "lb", "trials", "stacks", "ladder", "defaults", "weighing", "groups"),
    3: ("judging", "rules"),
    4: (
        "diagnose",
        "meet",
        "controls",
        "examine",
        "silences",
        "veil",
        "diff",
        "writeup",
        "mending",
    ),
    5: ("net", "reports"),
    6: ("cli", "__main__", "pytest"),
}
LAYER = {name: number for number, names in LAYERS.items() for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
ONLY_IN = {
    "asyncio": ("net", "cli", "middleware/mitmproxy"),  # it reads what mitmproxy's own streams saw
    "aiohttp": ("net", "cli"),
    "rich": ("reports/terminal.py",),
    "mitmproxy": ("middleware/mitmproxy", "net/mitm.py"),
    "structlog": ("net", "cli"),
    "jwt": ("net", "cli"),
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports at any place, those for types alone left out."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module in {"wsprobe", "wsprobe.net", "wsprobe.cli", "wsprobe.reports"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(name: str) -> int | None:
    parts = name.split(".")
    return LAYER.get(parts[1]) if len(parts) > 1 and parts[0] == "wsprobe" else None


def test_every_file_has_a_layer() -> None:
    homes = {relative(path).split("/")[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert homes == set(LAYER)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_imports_from_its_own_layer_or_a_lower_one(path: Path) -> None:
    own = LAYER.get(relative(path).split("/")[0].removesuffix(".py"), 0)
    higher = [name for name in imports(path) if (layer := layer_of(name)) is not None and layer > own]
    assert higher == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_package_is_imported_only_where_its_layer_is(path: Path) -> None:
    for name in imports(path):
        allowed = ONLY_IN.get(name.split(".")[0])
        assert allowed is None or relative(path).startswith(allowed), f"{relative(path)} imports {name}"


def test_what_runs_inside_mitmproxy_needs_the_standard_library_and_mitmproxy_alone() -> None:
    ours = [PACKAGE / f"{name}.py" for names in (LAYERS[0], LAYERS[1]) for name in names if name != "middleware"]
    for path in (*ours, *(PACKAGE / "middleware").glob("*.py")):
        foreign = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"wsprobe", "mitmproxy"}
        assert foreign == set(), relative(path)


@pytest.mark.parametrize(
    ("words", "unpaid"),
    [
        (["--help"], {"asyncio", "aiohttp", "rich", "structlog", "jwt", "wsprobe.model", "ssl"}),
        (["explain", "1011"], {"asyncio", "aiohttp", "rich", "structlog", "jwt", "wsprobe.model", "ssl"}),
        (["explain", "header-removed"], {"asyncio", "aiohttp", "rich", "structlog", "jwt", "ssl"}),
        (["diagnose", "/nonexistent"], {"asyncio", "aiohttp", "rich", "structlog", "jwt", "ssl"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_pays_only_for_what_it_uses(words: list[str], unpaid: set[str]) -> None:
    assert not unpaid & loaded_by(words)


def test_an_inspection_pays_for_one_reader_and_no_record_of_a_trace(tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text("server {\n location /ws {\n  proxy_pass http://app;\n  proxy_set_header Host $host;\n }\n}\n")
    loaded = loaded_by(["inspect", str(config)])
    assert "wsprobe.lb.nginx" in loaded
    assert not loaded & {"asyncio", "aiohttp", "rich", "structlog", "jwt", "ssl", "yaml", "regex", "json"}
    assert not loaded & {"html", "shutil", "subprocess", "yarl", "crossplane", "wsprobe.model", "wsprobe.redact"}
    readers = {"apache", "caddy", "envoy", "haproxy", "traefik"}
    assert not [
        name for name in loaded if name.startswith("wsprobe.lb.") and set(name.split(".")[2].split("_")) & readers
    ]


def loaded_by(words: list[str]) -> set[str]:
    """The modules that a command imports."""
    code = (
        "import sys\nfrom wsprobe.cli import main\n"
        f"try:\n main({words!r})\nexcept SystemExit:\n pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports(PACKAGE / "__init__.py")) == []
    assert list(imports(PACKAGE / "closecodes.py")) == []
