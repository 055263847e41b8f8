"""JUnit XML as CI servers read it; there is no standard, so it keeps to what Jenkins's and GitLab's readers share.

Everything that is no character of XML 1.0, or that a terminal or a page would obey, is written as an escape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from wsprobe.reports._text import visible

_ATTRIBUTE = {'"': "&quot;", "\n": "&#10;"}
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test: what is wrong as `failure` or `error` with its kind, why it was left out, or what is to be told."""

    name: str
    classname: str
    kind: str = ""
    failure: str | None = None
    error: str | None = None
    skipped: str | None = None
    text: str = ""
    time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The tests of one connection, or of one inspection; `timestamp` in UTC, without fractions."""

    name: str
    timestamp: str
    hostname: str
    cases: Sequence[Case]
    properties: Sequence[tuple[str, str]] = ()
    out: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many tests there are, and how many of them failed or were left out."""
        return {
            "tests": len(self.cases),
            "failures": sum(case.failure is not None for case in self.cases),
            "errors": sum(case.error is not None for case in self.cases),
            "skipped": sum(case.skipped is not None for case in self.cases),
        }

    @property
    def time(self) -> float:
        """Seconds that all took."""
        return sum(case.time for case in self.cases)


def document(name: str, suites: Sequence[Suite]) -> str:
    """The suites as one document."""
    totals = {key: str(sum(suite.counts[key] for suite in suites)) for key in ("tests", "failures", "errors")}
    opening = _tag("testsuites", {"name": name, **totals, "time": _seconds(sum(suite.time for suite in suites))})
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<{opening}>"]
    for number, suite in enumerate(suites):
        lines += _suite(suite, number)
    return "\n".join((*lines, "</testsuites>", ""))


def _suite(suite: Suite, number: int) -> list[str]:
    named = {"name": _short(suite.name), "package": "wsprobe", "id": str(number), "timestamp": suite.timestamp}
    named |= {"hostname": _short(suite.hostname)} | {key: str(count) for key, count in suite.counts.items()}
    lines = [f"  <{_tag('testsuite', {**named, 'time': _seconds(suite.time)})}>"]
    if suite.properties:
        lines.append("    <properties>")
        lines += [f"      <{_tag('property', {'name': key, 'value': value})}/>" for key, value in suite.properties]
        lines.append("    </properties>")
    for case in suite.cases:
        lines += _case(case)
    lines += [f"    <system-out>{_text(suite.out)}</system-out>"] if suite.out else []
    return [*lines, "  </testsuite>"]


def _case(case: Case) -> list[str]:
    named = {"name": _short(case.name), "classname": case.classname, "time": _seconds(case.time)}
    opening = f"    <{_tag('testcase', named)}"
    inner = []
    if case.skipped is not None:
        inner.append(f"      <skipped>{_text(case.skipped)}</skipped>")
    for element, message in (("error", case.error), ("failure", case.failure)):
        if message is not None:
            tag = _tag(element, {"message": message, "type": case.kind})
            inner.append(f"      <{tag}>{_text(case.text)}</{element}>")
    if not inner and case.text:
        inner.append(f"      <system-out>{_text(case.text)}</system-out>")
    return [f"{opening}>", *inner, "    </testcase>"] if inner else [f"{opening}/>"]


def _tag(name: str, attributes: dict[str, str]) -> str:
    return " ".join((name, *(f'{key}="{escape(_lines(value), _ATTRIBUTE)}"' for key, value in attributes.items())))


def _text(text: str) -> str:
    return escape(_lines(text))


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def _short(text: str) -> str:
    """A name on one line, never empty."""
    shown = " ".join(visible(text).split())
    return (shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…") or "unknown"


def _seconds(time: float) -> str:
    return f"{max(0.0, time):.3f}"
