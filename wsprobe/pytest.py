"""A pytest plugin: a test that fails with a WebSocket close or a refused handshake tells what is known of it.

It is off unless asked for: by `-p wsprobe.pytest`, `--wsprobe`, `--wsprobe-trace`, or `wsprobe = true` in the ini file.
Passing tests are never touched, and what goes wrong in here changes no outcome.
"""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wsprobe.model import Message, Observation
    from wsprobe.raised import Raised

NAME = "wsprobe.pytest"

_MOST_TRACES = 5
_TRACE_SECONDS = 20.0
_MOST_BODY = 1000
_WIDTH = 80
_OF_THE_HANDSHAKE = frozenset(
    {
        *("host", "upgrade", "connection", "content-length", "transfer-encoding", "traceparent", "tracestate"),
        *("user-agent", "accept-encoding", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"),
    }
)
"""What each client writes itself; all other headers of the failed request are sent again."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and the setting; none of them does anything by itself."""
    group = parser.getgroup("wsprobe", "WebSocket connections of failed tests")
    group.addoption("--wsprobe", action="store_true", help="tell what is known of the connection of a failed test")
    group.addoption(
        "--wsprobe-trace",
        action="store_true",
        help=f"and trace the same URL with the same headers, at most {_MOST_TRACES} times",
    )
    group.addoption("--wsprobe-cacert", metavar="FILE", help="authorities that such a trace trusts, in PEM")
    parser.addini("wsprobe", "tell what is known of the WebSocket connection of a failed test", type="bool")
    parser.addini("wsprobe_cacert", "authorities that a trace trusts, in PEM, as seen from the root folder", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Registers what looks at failed tests, if that was asked for."""
    trace = bool(config.getoption("--wsprobe-trace"))
    named = NAME in (config.getoption("plugins", default=None) or ())
    if trace or named or config.getoption("--wsprobe") or config.getini("wsprobe"):
        config.pluginmanager.register(_Explainer(trace=trace, authorities=_authorities(config)), "wsprobe-explainer")


def _authorities(config: pytest.Config) -> Path | None:
    """The file of authorities that was named, on the command line or else in the settings."""
    given, settled = config.getoption("--wsprobe-cacert"), config.getini("wsprobe_cacert")
    return config.invocation_params.dir / given if given else config.rootpath / settled if settled else None


class _Explainer:
    """Adds sections to the reports of failed tests."""

    def __init__(self, *, trace: bool, authorities: Path | None) -> None:
        self._trace = trace
        self._authorities = authorities
        self._traced: dict[object, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """What pytest made of the call, with what is known of the connection."""
        report = yield
        if report.failed and call.excinfo is not None:
            try:
                self._explain(item, report, call)
            except Exception as error:  # noqa: BLE001  whatever it is, it is ours, and the test's own failure counts
                report.sections.append(("wsprobe", f"could not tell of the connection: {type(error).__name__}"))
        return report

    def _explain(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        from wsprobe.raised import raised

        found = raised(call.excinfo.value) if call.excinfo else None
        if found is None:
            return
        from wsprobe.redact import redact

        seen = redact(found.seen())
        found.timings.insert(0, f"the test failed {call.duration:.2f} s after its {report.when} began")
        report.sections.append(("wsprobe: the WebSocket connection", _told(found, seen)))
        # In pytest's own JUnit XML, which has no sections, a property of the test tells it: of the report of its
        # teardown, which has its own list of them from before this.
        told = ("wsprobe", f"{_line(_url(seen))}: {_ending(found, seen)[0]}")
        item.user_properties.append(told)
        if report.when == "teardown":
            report.user_properties.append(told)
        if self._trace:
            title = f"wsprobe: a trace of {_line(_url(seen))}"
            report.sections.append((title, self._retraced(found, report.nodeid)))

    def _retraced(self, found: "Raised", test: str) -> str:
        """A trace of the same URL with the same headers; each is made once."""
        if not found.url:
            return "not made: the URL is not known"
        headers = found.request.headers if found.request else ()
        sent = tuple(pair for pair in headers if pair[0].lower() not in _OF_THE_HANDSHAKE)
        key = found.url, sent
        if key in self._traced:
            return f"made at {self._traced[key]}"
        if len(self._traced) >= _MOST_TRACES:
            return f"not made: {_MOST_TRACES} were made before"
        self._traced[key] = test
        return _in_a_thread(found.url, sent, self._authorities)


def _in_a_thread(url: str, headers: tuple[tuple[str, str], ...], authorities: Path | None) -> str:
    """The trace as text. A thread, because the test's own may have an event loop that runs."""
    from threading import Thread

    texts: list[str] = []

    def work() -> None:
        try:
            texts.append(_trace(url, headers, authorities))
        except Exception as error:  # noqa: BLE001  the text of it may hold a secret
            texts.append(f"not made: {type(error).__name__}")

    thread = Thread(target=work, name="wsprobe-trace", daemon=True)
    thread.start()
    thread.join(_TRACE_SECONDS * 1.5)
    return texts[0] if texts else f"not done after {_TRACE_SECONDS * 1.5:.0f} s"


def _trace(url: str, headers: tuple[tuple[str, str], ...], authorities: Path | None) -> str:
    from wsprobe.cli import UsageError
    from wsprobe.cli.trace import bounded
    from wsprobe.reports.terminal import render

    try:
        report = bounded(url, headers, _TRACE_SECONDS, authorities)
    except UsageError as error:  # its text is made to be shown
        return f"not made: {_line(str(error))}"
    return render(report, width=_WIDTH) if report else f"nothing was seen in {_TRACE_SECONDS:.0f} s"


# The section.


def _told(found: "Raised", seen: "Observation") -> str:
    lines = [f"{_line(_url(seen))} ({found.client})"] if found.url else [f"the URL is not known ({found.client})"]
    lines += [f"ended: {line}" for line in _ending(found, seen)]
    lines += [f"peers: {' to '.join(filter(None, found.peers))}"] if any(found.peers) else []
    lines += [f"time: {line}" for line in found.timings]
    for title, message in (("request", seen.request), ("response", seen.response)):
        lines += _head(title, message)
    return "\n".join([*lines, *_meaning(found, seen)])


def _url(seen: "Observation") -> str:
    """The URL with the target of the request, in which secrets are found by the names of parameters too."""
    url = seen.interim[0]
    if seen.request is None:
        return url
    target = seen.request.start_line.partition(" ")[2].rpartition(" ")[0]
    return "/".join(url.split("/", 3)[:3]) + target


def _ending(found: "Raised", seen: "Observation") -> list[str]:
    """How it ended, in the grammar of the websockets library, and whose doing that was."""
    from wsprobe.closecodes import name
    from wsprobe.model import Sender

    said = []
    for close in seen.closes:
        code = "a close frame without a code" if close.code is None else f"{close.code} ({name(close.code)})"
        verb = "received" if close.sender is Sender.SERVER else "sent"
        said.append(f"{verb} {code}{f' {_line(close.reason)}' if close.reason else ''}")
    if said:
        who = "the server" if seen.closes[0].sender is Sender.SERVER else "the client"
        senders = {close.sender for close in seen.closes}
        missing = {Sender.SERVER: "no close frame received"}
        lacks = [words for sender, words in missing.items() if sender not in senders]
        return ["; then ".join(said) + "".join(f"; {words}" for words in lacks), f"{who} closed first"]
    if found.ending:
        return [_line(seen.interim[-1])]
    return ["no close frame received or sent" if seen.response else "the upgrade was not answered"]


def _head(title: str, message: "Message | None") -> list[str]:
    if message is None:
        return [f"{title}: not known"]
    lines = [f"{title}: {_line(message.start_line)}"]
    lines += [f"  {_line(name)}: {_line(value)}" for name, value in message.headers]
    if message.body and message.body.text:
        text = message.body.text
        cut = " …" if message.body.cut or len(text) > _MOST_BODY else ""
        lines.append(f"  body: {_line(text[:_MOST_BODY])}{cut}")
    return lines


def _meaning(found: "Raised", seen: "Observation") -> list[str]:
    """What the code means, as `wsprobe explain` tells."""
    from wsprobe.closecodes import explain

    code = next((close.code for close in seen.closes if close.code is not None), found.local)
    return explain(code).splitlines() if code is not None else []


def _line(text: str) -> str:
    from wsprobe.reports._text import visible

    return visible(text)
