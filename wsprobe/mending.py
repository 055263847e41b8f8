"""Which change of a config line mends what it breaks: the line that goes, or the text to have in its place.

A line is only rewritten where it says one thing and all of it is known; of any other the change is told in words. A
line that checks who somebody is never goes: it is told to pass the credential on.
"""

import re
from collections.abc import Iterator

from wsprobe.model import Finding, Line, Remedy, Who

_END = r"\s*(?:#.*)?"
_CHECKS = re.compile(
    r"auth_request|auth_basic|auth_jwt|jwt_authn|forward_?auth|basic_?auth|oauth2|AuthType|Require\b", re.IGNORECASE
)

_EDITS = (
    r"proxy_set_header\s+NAME\s+[^;{}]*;" + _END,
    r"http-request\s+(?:del-header|set-header|add-header|replace-header|replace-value)\s+NAME(?:\s.*)?",
    r"(?:header_up|request_header)\s+[-+?>]?NAME(?:\s.*[^{]|\s*)",
    r"RequestHeader\s+(?:unset|set|edit\*?|add|append|merge|setifempty)\s+NAME(?:\s.*)?",
    r"request_headers_to_remove:\s*\[\s*([\"']?)NAME\1\s*\]",
    r"-\s+([\"']?)NAME\1",
)
"""Lines that edit one header and do nothing else: nginx, HAProxy, Caddy, Apache, Envoy."""

_PASSED_ON = (
    (r"proxy_set_header\s+Host\s[^;{}]*;" + _END, "proxy_set_header Host $http_host;"),
    (r"proxy_set_header\s+Upgrade\s[^;{}]*;" + _END, "proxy_set_header Upgrade $http_upgrade;"),
    (r"proxy_set_header\s+Connection\s[^;{}]*;" + _END, 'proxy_set_header Connection "upgrade";'),
    (r"header_up\s+Host\s.*", "header_up Host {http.request.hostport}"),
    (r"ProxyPreserveHost\s+Off", "ProxyPreserveHost On"),
    (r"passHostHeader:\s*false", "passHostHeader: true"),
    (r"proxy_pass_request_headers\s+off;" + _END, "proxy_pass_request_headers on;"),
    (r"underscores_in_headers\s+off;" + _END, "underscores_in_headers on;"),
    (r"forward:\s*false", "forward: true"),
    (r"removeHeader:\s*true", "removeHeader: false"),
)
"""Lines with the text that passes a header on: what the proxy does without the line is not what is wanted."""

_TIMERS = (
    (r"(proxy_(?:read|send)_timeout)\s+[^;{}]*;" + _END, r"\1 1h;"),
    (r"(timeout\s+tunnel)\s+\S+" + _END, r"\1 1h"),
    (r"((?:stream_)?idle_timeout:)\s*\S+" + _END, r"\1 3600s"),
    (r"((?:Proxy)?Timeout)\s+\S+", r"\1 3600"),
    (r"(read_timeout|write_timeout)\s+\S+", r"\1 1h"),
)
_BORROWED = re.compile(r"timeout\s+(?:client|server)\s+\S+" + _END, re.IGNORECASE)
_ENDS = frozenset({"idle-timeout", "lifetime-limit", "closed-without-frame"})


def remedies(finding: Finding) -> Iterator[Remedy]:
    """What to change in each line that predicts a finding."""
    for line in finding.lines:
        what, instead = _timer(line) if finding.rule in _ENDS else _edit(line, finding)
        yield Remedy(who=Who.CONFIG, what=what, line=line, instead=instead)


def _timer(line: Line) -> tuple[str, str | None]:
    for pattern, instead in _TIMERS:
        if found := re.fullmatch(pattern, line.text, re.IGNORECASE):
            return "Raise this timer well above the longest silence.", found.expand(instead)
    if _BORROWED.fullmatch(line.text):
        return "Write `timeout tunnel 1h` beside it, which replaces it once a connection is upgraded.", None
    return "Raise this timer well above the longest silence, or take it off the route of the WebSocket.", None


def _edit(line: Line, finding: Finding) -> tuple[str, str | None]:
    header = finding.header
    if header is None:
        return finding.fix or "Change this line so that upgrades pass.", None
    for pattern, instead in _PASSED_ON:
        if re.fullmatch(pattern, line.text, re.IGNORECASE):
            return f"Write this instead, so that {header} is passed on.", instead
    if any(re.fullmatch(p.replace("NAME", re.escape(header)), line.text, re.IGNORECASE) for p in _EDITS):
        return f"Delete this line, so that {header} is passed on as it came.", ""
    if _CHECKS.search(line.text):
        return f"Keep the check that this line makes, and have it pass {header} on.", None
    return f"Change this line so that {header} is passed on as it came; what else it does can stay.", None
