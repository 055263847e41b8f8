"""Paths written in other ways."""

import pytest

from wsprobe.lb._paths import PathForm, written


@pytest.mark.parametrize(
    ("form", "path", "expected"),
    [
        pytest.param(PathForm.UNRESERVED, "/%41%2f%2F%20%c3%a9", "/A%2F%2F%20%C3%A9", id="only what needs no escape"),
        pytest.param(PathForm.UNLESS_RESERVED, "/%41%2f%20%c3%a9", "/A%2F é", id="all but what divides a URL"),
        pytest.param(PathForm.UNLESS_RESERVED, "/%e9", "/\udce9", id="an octet that is no UTF-8 is no character"),
        pytest.param(PathForm.DECODED, "/%41%2f%2520", "/A/%20", id="all, once"),
        pytest.param(PathForm.DECODED, "/%ff", "/\xff", id="octets that are no UTF-8"),
        pytest.param(PathForm.ESCAPED, "/a%2Fb", "/a%2Fb", id="nothing to escape"),
        pytest.param(PathForm.ESCAPED, '/a%2F"', "/a/%22", id="written anew as a whole"),
        pytest.param(PathForm.ESCAPED, "/\xe9", "/%E9", id="an octet that is not ASCII"),
        pytest.param(PathForm.QUOTED, "/100% é", "/100%25%20%C3%A9", id="a decoded path"),
        pytest.param(PathForm.RESOLVED, "/%e9%C3%A9", "/\udce9é", id="octets that are no text beside some that are"),
        pytest.param(PathForm.QUOTED, "/\udce9é", "/%E9%C3%A9", id="octets that are no text"),
        pytest.param(PathForm.CLEAN, "//a/./b/../c//", "/a/c/", id="the slash at the end stays"),
        pytest.param(PathForm.CLEAN, "/a/..", "/", id="up to the root"),
    ],
)
def test_a_path_is_written_in_another_form(form: PathForm, path: str, expected: str) -> None:
    assert written(form, path) == expected
