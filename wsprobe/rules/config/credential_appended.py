"""A line adds a second credential to the client's instead of replacing it.

Authorization has one value (RFC 9110, 11.6.2). Two lines, or two values joined by a comma, are refused by some servers
with 400 and read in part by others. Envoy's request_headers_to_add appends unless append_action says otherwise.

Bad (haproxy):
    defaults
      mode http
    frontend fe
      bind :8080
      default_backend be
    backend be
      http-request add-header Authorization "Basic dXNlcjpwdw=="
      server s1 127.0.0.1:9000
Good (haproxy):
    defaults
      mode http
    frontend fe
      bind :8080
      default_backend be
    backend be
      server s1 127.0.0.1:9000
"""

from collections.abc import Iterator

from wsprobe.inspection import ConfigFinding
from wsprobe.lb.model import Op
from wsprobe.parts import Severity
from wsprobe.rules.config import ConfigRule, Intent, Level, Passage
from wsprobe.rules.config._pages import REQUEST_HEADERS

RULE = ConfigRule(__name__, REQUEST_HEADERS)

_FIX = {
    "envoy": "Write `append_action: OVERWRITE_IF_EXISTS_OR_ADD` (or ADD_IF_ABSENT, which keeps the client's).",
    "haproxy": "Write `http-request set-header` in place of add-header, or delete the line.",
    "apache": "Write `RequestHeader setifempty Authorization …` in place of add or append.",
    "caddy": "Write `header_up Authorization …` without the plus sign.",
}
_ADDS = frozenset({Op.ADD, Op.APPEND})


def check(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """One where the upstream gets the client's Authorization and another one."""
    values, sent = passage.arrived("Authorization"), passage.sent("Authorization")
    if intent.level is Level.NOT or not values or values == sent:
        return
    added = [edit for edit in passage.written("Authorization") if edit.op in _ADDS]
    if added and any(own in value for own in sent for value in values):
        yield RULE.finding(
            passage,
            "Another credential is added to Authorization of the client: the upstream gets both, and the header may "
            "have one only (RFC 9110, 11.6.2).",
            severity=Severity.WARNING,
            place=added[-1].place,
            related=[passage.where],
            header="Authorization",
            fix=_FIX.get(passage.config.kind, "Delete the line."),
        )
