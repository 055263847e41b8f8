"""The close codes: which may travel, what they are called, and who sends them."""

import pytest
from websockets.frames import CLOSE_CODE_EXPLANATIONS, EXTERNAL_CLOSE_CODES

from wsprobe.closecodes import HEALTHY, NAMES, NEVER_SENT, SENDERS, explain, may_be_sent, name


def test_the_codes_that_may_be_sent_are_those_of_the_websockets_library() -> None:
    assert {int(code) for code in EXTERNAL_CLOSE_CODES} == {code for code in range(3000) if may_be_sent(code)}


def test_the_names_are_those_of_the_websockets_library() -> None:
    theirs = {int(code): text for code, text in CLOSE_CODE_EXPLANATIONS.items()}
    assert {code: NAMES[code] for code in theirs if code in NAMES} == {
        code: theirs[code] for code in theirs if code in NAMES
    }
    assert theirs.keys() <= NAMES.keys()


@pytest.mark.parametrize(
    ("code", "called", "may"),
    [
        (-1, "invalid", False),
        (0, "invalid", False),
        (999, "invalid", False),
        (1000, "OK", True),
        (1004, "reserved", False),
        (1005, "no status received [internal]", False),
        (1006, "abnormal closure [internal]", False),
        (1011, "internal error", True),
        (1014, "bad gateway", True),
        (1015, "TLS handshake failure [internal]", False),
        (1016, "reserved", False),
        (2999, "reserved", False),
        (3000, "unauthorized", True),
        (3999, "registered", True),
        (4000, "private use", True),
        (4999, "private use", True),
        (5000, "invalid", False),
        (65535, "invalid", False),
    ],
)
def test_a_code_has_a_name_and_may_be_sent_or_not(code: int, called: str, may: bool) -> None:  # noqa: FBT001  a column of the table
    assert (name(code), may_be_sent(code)) == (called, may)


@pytest.mark.parametrize("code", sorted(NAMES))
def test_an_explanation_names_the_code_and_says_whether_it_travels(code: int) -> None:
    first, second = explain(code).split("\n")
    assert first.startswith(f"{code} ({NAMES[code]}) ")
    assert ("may be sent" in first) is may_be_sent(code)
    assert ("never on the wire" in first) is (code in NEVER_SENT)
    assert second == SENDERS.get(code, "No usual sender is known.")


def test_1011_is_never_called_a_proof() -> None:
    assert "never proves that a header was stripped" in explain(1011)


def test_an_applications_own_code_is_explained_by_the_convention() -> None:
    assert "4401" in explain(4401)
    assert "The application" in explain(4999)
    assert "No usual sender is known." in explain(3500)


def test_healthy_codes_may_be_sent() -> None:
    assert all(map(may_be_sent, HEALTHY))
