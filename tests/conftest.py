"""What the whole suite shares: how properties are judged, and what its closing lines tell beside pass and fail."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

# Properties are judged by what they find, never by how long a busy machine takes. The suite tries the same examples at
# each run, so that it fails for what was changed and not by chance; `make fuzz` tries new ones.
settings.register_profile("wsprobe", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None)
settings.load_profile("wsprobe")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many predictions were compared with each real proxy, and how many agreed."""
    totals: dict[str, list[int]] = {}
    for proxy, numbers in _predicted(terminalreporter):
        totals[proxy] = [sum(both) for both in zip(totals.get(proxy, [0, 0, 0]), numbers, strict=True)]
    for proxy, (run, agreed, undecided) in sorted(totals.items()):
        terminalreporter.write_line(
            f"predicted and compared with {proxy}: {run} pairs, {agreed} agreed, {undecided} of them in part undecided"
        )


def _predicted(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, list[int]]]:
    """What the tests with a tally counted; it stands in the report of their teardown."""
    for reports in reporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                yield from (value for name, value in report.user_properties if name == "predicted")
