"""OTLP JSON: one OpenTelemetry trace, a span a hop, with the upgrade, the first frames and each close as events.

It is what a collector's OTLP/HTTP receiver takes at /v1/traces. Attributes are named by the stable HTTP conventions;
what these have no name for stands under `wsprobe.`. Each hop's times are those of its own clock.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from wsprobe.closecodes import name as close_name
from wsprobe.model import Close, Finding, Frame, Observation, Report, Reports
from wsprobe.reports import _exchange as exchange
from wsprobe.reports import _life

NAME = "otlp"
SUFFIXES = (".otlp.json",)

SCHEMA_URL = "https://opentelemetry.io/schemas/1.23.0"
"""The first in which the HTTP conventions are stable."""

Json = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 2**63 - 1
_ID = re.compile(r"[0-9a-f]{32}")
_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_SERVER, _CLIENT = 2, 3
_ERROR = 2
_FRAMES = 96
"""Frames of a span: with the other events they stay below the 128 that the SDKs keep of a span by default."""

_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}


def render(report: Report) -> str:
    """One report as a trace."""
    return exchange.document({"resourceSpans": _spans(report, 0)})


def render_all(reports: Reports) -> str:
    """The reports of several connections, a trace each, as many as a collector takes at a time."""
    made, left_out = exchange.fitting(reports, _spans, lambda spans: exchange.document({"": spans}))
    if made and made[0] and left_out:
        told = {"wsprobe.connections.left_out": left_out}
        made[0][0]["resource"]["attributes"] += _attributes(told)
    return exchange.document({"resourceSpans": [span for spans in made for span in spans]})


def _spans(report: Report, number: int) -> list[Json]:
    """A resource a hop, because each is a service of its own."""
    hops = report.trace.hops
    trace = _trace_id(report, number)
    ids = [_span_id(trace, index, hop) for index, hop in enumerate(hops)]
    return [
        {
            "resource": {
                "attributes": _attributes(
                    {"service.name": hop.name or "unknown_service", "service.instance.id": hop.instance}
                )
            },
            "scopeSpans": [
                {
                    "scope": {"name": "wsprobe", "version": report.version},
                    "spans": [_span(report, index, trace, ids)],
                    "schemaUrl": SCHEMA_URL,
                }
            ],
            "schemaUrl": SCHEMA_URL,
        }
        for index, hop in enumerate(hops)
    ]


def _trace_id(report: Report, number: int) -> str:
    """The trace's own id, which the application's spans may have too; one that is made where it has none."""
    own = (report.trace.id or "").lower()
    if _ID.fullmatch(own) and own.strip("0"):
        return own
    return _made(f"{own}\0{number}\0{report.subject}\0{[hop.connection for hop in report.trace.hops]}")[:32]


def _span_id(trace: str, index: int, hop: Observation) -> str:
    """The id that the probe sent along in traceparent, so that spans of an application hang below it."""
    sent = _PARENT.fullmatch(exchange.header(hop, "traceparent"))
    if hop.recorder.kind == "probe" and sent and sent[1] == trace and sent[2].strip("0"):
        return sent[2]
    return _made(f"{trace}\0{index}\0{hop.name}\0{hop.connection}\0{hop.exchange}")[:16]


def _made(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _parent(report: Report, index: int, ids: list[str]) -> str:
    """The next hop further out; the client where the order is not known, and nothing for the outermost."""
    if index == 0:
        return ""
    if report.trace.order is not None:
        return ids[index - 1]
    return ids[0] if report.trace.hops[0].recorder.kind == "probe" else ""


def _span(report: Report, index: int, trace: str, ids: list[str]) -> Json:
    hop = report.trace.hops[index]
    events = _events(hop)
    times = [_nanoseconds(hop, hop.ended or _answered(hop)), *(int(event["timeUnixNano"]) for event in events)]
    start = min(_nanoseconds(hop, -exchange.connecting(hop)), *times)
    end = max(start, *times)
    made: Json = {"traceId": trace, "spanId": ids[index]}
    parent = _parent(report, index, ids)
    told = _of_report(report) if index == 0 else {}
    made |= {"parentSpanId": parent} if parent else {}
    made |= {
        "name": _method(hop)[0].replace("_OTHER", "HTTP"),
        "kind": _CLIENT if hop.recorder.kind == "probe" else _SERVER,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": _attributes(_http(hop, report.subject) | _headers(hop) | _ours(hop) | told),
        "events": [*events, *(_finding(finding, end) for finding in (report.findings if index == 0 else ()))],
    }
    fault = _fault(hop)
    ending = report.endings[index] if index < len(report.endings) else ""
    return made | {"status": {"code": _ERROR, "message": ending or fault} if fault else {}}


def _fault(hop: Observation) -> str | None:
    """The conventions: for who serves, a status of 4xx is no error, but for who asks."""
    refused = hop.recorder.kind != "probe" and 400 <= exchange.status(hop)[0] < 500
    return None if refused and not hop.failure else exchange.fault(hop)


def _nanoseconds(hop: Observation, after: float) -> int:
    passed = exchange.moment(hop, after) - _EPOCH
    return min(max(0, (passed.days * 86400 + passed.seconds) * 10**9 + passed.microseconds * 1000), _LAST)


def _answered(hop: Observation) -> float:
    took = hop.handshake.duration if hop.handshake else None
    return max(0.0, took or 0.0)


# Events.


def _events(hop: Observation) -> list[Json]:
    events = []
    if hop.handshake and hop.handshake.upgraded:
        told = {
            "wsprobe.upgrade.status": exchange.status(hop)[0],
            "wsprobe.upgrade.subprotocol": exchange.header(hop, "sec-websocket-protocol", answer=True) or None,
            "wsprobe.upgrade.extensions": list(hop.handshake.extensions) or None,
        }
        events.append(_event("wsprobe.upgrade", _nanoseconds(hop, _answered(hop)), told))
    if hop.failure:
        told = {
            "exception.type": f"{hop.failure.phase} {hop.failure.kind}",
            "exception.message": hop.failure.message,
        }
        events.append(_event("exception", _nanoseconds(hop, hop.ended or 0.0), told))
    frames = [frame for frame in _life.kept(hop, _FRAMES) if frame.opcode != "close"]
    events += [_frame(hop, frame) for frame in frames]
    return sorted(
        (*events, *(_close(hop, close) for close in hop.closes)), key=lambda event: int(event["timeUnixNano"])
    )


def _frame(hop: Observation, frame: Frame) -> Json:
    told = {
        "wsprobe.frame.sender": frame.sender.value,
        "wsprobe.frame.opcode": frame.opcode,
        "wsprobe.frame.size": frame.bytes,
        "wsprobe.frame.final": not frame.more,
    }
    return _event("wsprobe.frame", _nanoseconds(hop, frame.at), told)


def _close(hop: Observation, close: Close) -> Json:
    told = {
        "wsprobe.close.sender": close.sender.value,
        "wsprobe.close.ending": close.ending.value,
        "wsprobe.close.code": close.code,
        "wsprobe.close.name": None if close.code is None else close_name(close.code),
        "wsprobe.close.reason": close.reason or None,
    }
    return _event("wsprobe.close", _nanoseconds(hop, close.at), told)


def _finding(finding: Finding, at: int) -> Json:
    told = {
        "wsprobe.finding.rule": finding.rule,
        "wsprobe.finding.message": finding.message,
        "wsprobe.finding.severity": finding.severity.value,
        "wsprobe.finding.confidence": finding.confidence.value,
        "wsprobe.finding.header": finding.header,
        "wsprobe.finding.segment": [name or "?" for name in finding.segment] if finding.segment else None,
        "wsprobe.finding.fix": finding.fix,
    }
    return _event("wsprobe.finding", at, told)


def _event(name: str, at: int, told: Json) -> Json:
    return {"timeUnixNano": str(at), "name": name, "attributes": _attributes(told)}


# Attributes.


def _http(hop: Observation, subject: str) -> Json:
    """What the stable HTTP conventions have a name for."""
    code = exchange.status(hop)[0]
    parts = urlsplit(exchange.url(hop, subject))
    client = hop.recorder.kind == "probe"
    method, original = _method(hop)
    version = exchange.version(hop.request.start_line) if hop.request else ""
    known = parts.hostname != exchange.UNKNOWN
    peer = exchange.address((hop.peers.server if client else hop.peers.client) if hop.peers else None)
    return {
        "http.request.method": method,
        "http.request.method_original": original,
        "http.response.status_code": code or None,
        "error.type": _fault(hop),
        "url.full": parts.geturl() if client else None,
        "url.scheme": parts.scheme,
        "url.path": parts.path or "/",
        "url.query": parts.query or None,
        "server.address": parts.hostname if known else None,
        "server.port": (exchange.split_host(parts.netloc)[1] or _PORTS.get(parts.scheme)) if known else None,
        "client.address": peer[0] if peer and not client else None,
        "network.protocol.name": "http",
        "network.protocol.version": version.removeprefix("HTTP/") or None,
        "network.peer.address": peer[0] if peer else None,
        "network.peer.port": peer[1] if peer else None,
        "user_agent.original": exchange.header(hop, "user-agent") or None,
    }


def _method(hop: Observation) -> tuple[str, str | None]:
    """The method as the conventions know it, and as it stood where they do not."""
    method = exchange.method(hop)
    return (method, None) if method in _METHODS else ("_OTHER", method or None)


def _headers(hop: Observation) -> Json:
    found: dict[str, list[str]] = {}
    for kind, message in (("request", hop.request), ("response", hop.response)):
        for name, value in message.headers if message else ():
            found.setdefault(f"http.{kind}.header.{name.lower()}", []).append(value)
    return dict(found)


def _ours(hop: Observation) -> Json:
    made: Json = {
        "wsprobe.hop": hop.name,
        "wsprobe.recorder": hop.recorder.kind,
        "wsprobe.connection": hop.connection,
        "wsprobe.handshake.duration": hop.handshake.duration if hop.handshake else None,
    }
    made |= {f"wsprobe.phase.{name}": took for name, took in (hop.phases or {}).items()}
    for side, counts in (("client", hop.frames.client), ("server", hop.frames.server)) if hop.frames else ():
        for opcode, count in counts.items():
            made[f"wsprobe.frames.{side}.{opcode}"] = count.frames
            made[f"wsprobe.bytes.{side}.{opcode}"] = count.bytes
    return made


def _of_report(report: Report) -> Json:
    verdict = report.verdict
    return {
        "wsprobe.subject": report.subject,
        "wsprobe.summary": report.summary,
        "wsprobe.order": report.trace.order,
        "wsprobe.verdict.rule": verdict.rule if verdict else None,
        "wsprobe.verdict.message": verdict.message if verdict else None,
        "wsprobe.verdict.confidence": verdict.confidence.value if verdict else None,
    }


def _attributes(values: Json) -> list[Json]:
    """Attributes as OTLP has them; those that are not known are left out."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> Json:  # noqa: ANN401  whatever an attribute may hold
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(min(value, _LAST))}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
