"""`make matrix`: every fault on every real proxy, with all, some and no recorders; the table of what wsprobe said.

The table stands in bench/README.md between its markers with --write. A wrong accusation makes it exit with 1.
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.matrix import RECORDERS, Result, Row, judge, rows, run

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
KINDS = {
    "right": "right",
    "weaker": "right, and weaker than the evidence allows",
    "silent": "nothing claimed",
    "other": "another finding leads, none of them wrong",
    "wrong": "wrong accusation",
}


def _judged(row: Row) -> Result:
    return judge(row, run(row).report)


def _table(results: list[Result]) -> str:
    groups = dict.fromkeys(result.row.group for result in results)
    lines = ["| fault | " + " | ".join(RECORDERS) + " | wrong |", "| --- |" + " --- |" * (len(RECORDERS) + 1)]
    for group in groups:
        cells = []
        for recorders in RECORDERS:
            found = [result for result in results if (result.row.group, result.row.recorders) == (group, recorders)]
            good = sum(result.kind == "right" for result in found)
            cells.append(f"{good} of {len(found)}" if found else "")
        wrong = sum(result.kind == "wrong" for result in results if result.row.group == group)
        lines.append(f"| {group} | {' | '.join(cells)} | {wrong} |")
    return "\n".join(lines)


def _told(results: list[Result], took: float) -> str:
    counts = Counter(result.kind for result in results)
    numbers = ", ".join(f"{words}: {counts[kind]}" for kind, words in KINDS.items())
    others = [
        f"- {result.row.name}: {KINDS[result.kind]}; expected {result.row.expected}, was {result.said}"
        + "".join(f"; {accusation}" for accusation in result.accusations)
        for result in results
        if result.kind != "right"
    ]
    return "\n\n".join(
        filter(None, [f"{len(results)} rows in {took:.0f} s. {numbers}.", _table(results), "\n".join(others)])
    )


def main() -> int:
    """Runs the rows, prints the table, and returns 1 where anybody was accused wrongly."""
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__)
    parser.add_argument("-k", dest="words", default="", help="only rows whose name holds this")
    parser.add_argument("--write", action="store_true", help="keep the table in bench/README.md")
    options = parser.parse_args()
    chosen = [row for row in rows() if options.words in row.name]
    began = time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        results = []
        for result in pool.map(_judged, chosen):
            results.append(result)
            print(f"{len(results)} of {len(chosen)}  {result.kind:7} {result.row.name}", file=sys.stderr)
    text = _told(results, time.monotonic() - began)
    print(text)
    if options.write and not options.words:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return int(any(result.kind == "wrong" for result in results))


if __name__ == "__main__":
    sys.exit(main())
