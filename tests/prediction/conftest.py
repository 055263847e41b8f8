"""The tally of each proxy, told at the end of the run."""

from collections.abc import Iterator

import pytest

from tests.prediction import Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts the pairs of one test; the proxy is the one that the test's module names."""
    found = Tally(request.module.PROXY)
    yield found
    if found.run:
        request.node.user_properties.append(("predicted", (found.proxy, [found.run, found.agreed, found.undecided])))
