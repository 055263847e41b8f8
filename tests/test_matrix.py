"""A representative part of the fault matrix, on real proxies; `make matrix` runs all of it."""

import json

import pytest

from tests.matrix import Row, judge, rows, run
from wsprobe.codec import decode
from wsprobe.diagnose import diagnose
from wsprobe.model import Trace
from wsprobe.reports.json import render

pytestmark = pytest.mark.lab
ALL = rows()
PART = [row for index, row in enumerate(ALL) if index % 8 == 0]


def test_the_matrix_has_rows_and_each_its_own_name() -> None:
    names = [row.name for row in ALL]
    assert len(names) > 100
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", PART, ids=lambda row: row.name.replace(" ", "-"))
def test_the_verdict_is_right_and_nobody_is_accused_wrongly(row: Row) -> None:
    ran = run(row)
    result = judge(row, ran.report)
    assert result.accusations == (), (ran.report["verdict"], result)
    assert result.kind == "right", (
        result.said,
        [(f["rule"], f["confidence"], f["segment"]) for f in ran.report["findings"]],
    )


@pytest.mark.parametrize("row", PART[::6], ids=lambda row: row.name.replace(" ", "-"))
def test_the_same_evidence_gives_the_same_report_without_a_network(row: Row) -> None:
    report = run(row).report
    saved = decode({"schema": "wsprobe.trace/1", **report["trace"]})
    assert isinstance(saved, Trace)
    again, once_more = (render(diagnose(saved, subject=report["subject"])) for _ in range(2))
    assert again == once_more
    assert json.loads(again) == report
