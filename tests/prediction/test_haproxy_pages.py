"""HAProxy: error pages that stand in files answer with a status of their own, on the real one."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.prediction import Tally, compare
from tests.prediction.test_haproxy import GLOBAL
from wsprobe.lb import reader
from wsprobe.lb.predict import predict
from wsprobe.lb.request import upgrade
from wsprobe.lb.source import from_text

PROXY = "haproxy"

_CONFIG = """\
    errorfile 403 @FOLDER@/200.http
    errorfile 429 /dev/null

frontend fe
    bind 127.0.0.1:@PORT@
    errorfile 404 200.http
    http-error status 410 errorfile @FOLDER@/418.http
    http-request deny if { path /page }
    http-request deny deny_status 404 if { path /beside }
    http-request deny deny_status 410 if { path /gone }
    http-request deny deny_status 429 if { path /nothing }
    http-request deny deny_status 401 if { path /own }
    http-request return status 503 errorfile @FOLDER@/418.http if { path /return }
    use_backend none if { path /none }
    default_backend b
backend b
    errorfile 403 @FOLDER@/418.http
    http-request deny if { path /inner }
    server s 127.0.0.1:@UP@
backend none
    errorfile 503 @FOLDER@/200.http
"""
_TARGETS = ("/page", "/beside", "/gone", "/nothing", "/own", "/return", "/none", "/inner", "/")


def test_a_page_in_a_file_may_have_another_status_and_nothing_else_was_predicted(tally: Tally) -> None:
    def render(folder: Path, port: int, upstream: int) -> Mapping[str, str]:
        text = GLOBAL + _CONFIG
        for place, value in (("@FOLDER@", str(folder)), ("@PORT@", str(port)), ("@UP@", str(upstream))):
            text = text.replace(place, value)
        pages = {f"{code}.http": f"HTTP/1.0 {code} X\nConnection: close\n\nhi\n" for code in (200, 418)}
        return {"haproxy.cfg": text, **pages}

    compare(PROXY, render, [upgrade(target) for target in _TARGETS], tally)


@pytest.mark.parametrize(
    ("page", "status"), [("errors/403.http", 403), ("errors/maintenance.http", None), ("/dev/null", None)]
)
def test_the_status_of_a_page_is_told_where_its_name_tells_it(page: str, status: int | None) -> None:
    text = f"{GLOBAL}    errorfile 403 {page}\nlisten l\n    bind :80\n    http-request deny\n"
    found = predict(reader(PROXY).read(from_text(text, "haproxy.cfg")), upgrade())
    assert (found.reached, found.status) == (False, status)
