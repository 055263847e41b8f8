"""What is compared with a real proxy needs one; the tally of each is told at the end of the run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prediction import Tally


@pytest.hookimpl(tryfirst=True)  # before pytest looks at what -m leaves out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder; the hook gets those of all folders."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts the pairs of one test; the proxy is the one that the test's module names."""
    found = Tally(request.module.PROXY)
    yield found
    if found.run:
        request.node.user_properties.append(("predicted", (found.proxy, [found.run, found.agreed, found.undecided])))
