"""python bench/corpus.py FOLDER: what `wsprobe inspect` says of every config in a folder, as a Markdown table.

Where the folder, or the one above, has an index.jsonl with `file` and `note` for each config, the note stands beside.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from wsprobe.cli.configs import Way, find
from wsprobe.examine import Query, examine
from wsprobe.inspection import Inspection


def main(arguments: list[str]) -> int:
    """Prints the table; 2 where there is no such folder."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    found = find([str(folder)], Way())
    inspection = examine(found.configs, found.sources, Query(), found.problems, found.passed_over)
    print("| config | kind | routes | findings | unread | not read | note |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for line in _rows(inspection, folder, _notes(folder)):
        print(line)
    print(f"\n{inspection.summary}")
    return 0


def _rows(inspection: Inspection, folder: Path, notes: Mapping[str, str]) -> list[str]:
    findings: dict[str, list[str]] = defaultdict(list)
    for one in inspection.findings:
        findings[one.place.path].append(f"{one.place.line}: {one.rule} ({one.severity})")
    unread: dict[str, int] = defaultdict(int)
    for unknown in inspection.unread:
        unread[unknown.place.path if unknown.place else ""] += 1
    problems: dict[str, list[str]] = defaultdict(list)
    for problem in inspection.problems:
        problems[problem.path].append(f"{problem.line or ''} {problem.message}".strip())
    kinds = {path: config.kind for config in inspection.configs for path in (config.path, *config.files)}
    routes: dict[str, int] = defaultdict(int)
    for route in inspection.routes:
        routes[route.place.path if route.place else route.config] += 1
    rows = []
    for path in sorted({*kinds, *problems}):
        name = Path(path).resolve().relative_to(folder.resolve()) if Path(path).exists() else path
        said = "<br>".join(findings[path]), str(unread[path] or ""), "<br>".join(problems[path])
        cells = [str(name), kinds.get(path, ""), str(routes[path] or ""), *said, notes.get(Path(path).name, "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return rows


def _notes(folder: Path) -> dict[str, str]:
    index = next((file for file in (folder / "index.jsonl", folder.parent / "index.jsonl") if file.exists()), None)
    if index is None:
        return {}
    entries = (json.loads(line) for line in index.read_text(encoding="utf-8").splitlines() if line.strip())
    return {Path(str(entry["file"])).name: str(entry.get("note") or "") for entry in entries if entry.get("file")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
