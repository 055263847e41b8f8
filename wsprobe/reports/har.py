"""HAR 1.2, as the network panels of browsers import it: an entry a hop, and a page a connection.

`_webSocketMessages` are the frames that were kept one by one, and `_wsprobe` how many passed. Payloads are not
recorded: a text says so in its place. Cookies and other secrets were replaced before.
"""

from typing import Any

from wsprobe.codec import encode
from wsprobe.frames import OPCODES
from wsprobe.model import Close, Ending, Message, Observation, Report, Reports, Sender
from wsprobe.reports import _exchange as exchange
from wsprobe.reports import _life

NAME = "har"
SUFFIXES = (".har",)

Json = dict[str, Any]

_NOT_RECORDED = "payloads are not recorded; _wsprobe.frames counts the frames"
_NUMBERS = {name: number for number, name in OPCODES.items()}
_UNKNOWN = -1  # Chromium takes it for an opcode that it has no name for
_CLOSE, _TEXT = 8, 1


def render(report: Report) -> str:
    """One report as a HAR log."""
    return _log([_connection(report, 0)], report.version)


def render_all(reports: Reports) -> str:
    """The reports of several connections as one HAR log, as many as a browser takes."""
    made, left_out = exchange.fitting(reports, _connection, lambda one: exchange.document({"": one}))
    told = {"comment": f"{left_out} more connections are left out; each is like one that is here"} if left_out else {}
    return _log(made, reports.reports[0].version if reports.reports else "", told)


def _log(connections: list[tuple[Json | None, list[Json]]], version: str, told: Json | None = None) -> str:
    pages = [page for page, _ in connections if page]
    entries = [entry for _, entries in connections for entry in entries]
    creator = {"name": "wsprobe", "version": version}
    log = {"version": "1.2", "creator": creator, "pages": pages, "entries": entries}
    return exchange.document({"log": log | (told or {})})


def _connection(report: Report, number: int) -> tuple[Json | None, list[Json]]:
    """The page of a connection and the entries of its hops."""
    hops = report.trace.hops
    page = _page(report, number + 1) if hops else None
    return page, [_entry(report, index, f"connection_{number + 1}") for index in range(len(hops))]


def _page(report: Report, number: int) -> Json:
    verdict = report.verdict
    return {
        "startedDateTime": _started(report.trace.hops[0]),
        "id": f"connection_{number}",
        "title": report.subject,
        "pageTimings": {},
        "comment": report.summary,
        "_wsprobe": {
            "trace": report.trace.id,
            "order": report.trace.order,
            "verdict": {"rule": verdict.rule, "message": verdict.message, "confidence": verdict.confidence.value}
            if verdict
            else None,
        },
    }


def _entry(report: Report, index: int, page: str) -> Json:
    hop = report.trace.hops[index]
    timings = _timings(hop)
    address = exchange.address(hop.peers.server if hop.peers else None)
    close = exchange.first_close(hop)
    made: Json = {
        "pageref": page,
        "startedDateTime": _started(hop),
        "time": round(sum(took for name, took in timings.items() if took > 0 and name != "ssl"), 4),
        "request": _request(hop, report.subject),
        "response": _response(hop),
        "cache": {},
        "timings": timings,
        "connection": hop.connection,
        "comment": f"{hop.name}: {_comment(hop)}",
        "_resourceType": "websocket" if hop.handshake and hop.handshake.asked else "fetch",
        "_webSocketMessages": _messages(hop),
        "_webSocketClose": _close(hop, close) if close else None,
        "_wsprobe": _beside(hop, report.endings[index] if index < len(report.endings) else ""),
    }
    return made | ({"serverIPAddress": address[0]} if address else {})


def _started(hop: Observation) -> str:
    return exchange.moment(hop, -exchange.connecting(hop)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _timings(hop: Observation) -> dict[str, float]:
    """Milliseconds by the names of HAR: what does not apply is -1, and ssl is a part of connect."""
    phases = hop.phases or {}
    answered = hop.handshake.duration if hop.handshake else None
    ways = [phases[name] for name in ("tcp", "proxy", "tls") if name in phases]
    return {
        "blocked": -1,
        "dns": _milliseconds(phases.get("dns")),
        "connect": _milliseconds(sum(ways) if ways else None),
        "ssl": _milliseconds(phases.get("tls")),
        "send": 0,
        "wait": max(0.0, _milliseconds(answered)),
        "receive": 0,
    }


def _milliseconds(took: float | None) -> float:
    return -1 if took is None or took < 0 else round(took * 1000, 4)


def _request(hop: Observation, subject: str) -> Json:
    message = hop.request
    query = exchange.target(hop).partition("?")[2]
    return {
        "method": exchange.method(hop),
        "url": exchange.url(hop, subject),
        "httpVersion": exchange.version(message.start_line) if message else "",
        "cookies": _cookies(hop.request, "cookie"),
        "headers": _headers(message),
        "queryString": [_pair(part) for part in query.split("&") if part],
        "headersSize": -1,
        "bodySize": 0,
    }


def _response(hop: Observation) -> Json:
    message, (status, reason) = hop.response, exchange.status(hop)
    body = message.body if message else None
    content: Json = {
        "size": body.size if body else 0,
        "mimeType": exchange.header(hop, "content-type", answer=True) or "x-unknown",
    }
    made: Json = {
        "status": status,
        "statusText": reason,
        "httpVersion": exchange.version(message.start_line, answer=True) if message else "",
        "cookies": _cookies(message, "set-cookie"),
        "headers": _headers(message),
        "content": content | ({"text": body.text} if body and body.text is not None else {}),
        "redirectURL": exchange.header(hop, "location", answer=True),
        "headersSize": -1,
        "bodySize": body.size if body else -1,
    }
    return made | ({"_error": hop.failure.message} if hop.failure else {})


def _headers(message: Message | None) -> list[Json]:
    return [{"name": name, "value": value} for name, value in (message.headers if message else ())]


def _cookies(message: Message | None, carrier: str) -> list[Json]:
    """The cookies by name; their values were replaced before."""
    values = [value for name, value in (message.headers if message else ()) if name.lower() == carrier]
    pairs = [
        pair for value in values for pair in (value.split(";")[:1] if carrier == "set-cookie" else value.split(";"))
    ]
    return [_pair(pair.strip()) for pair in pairs if pair.strip()]


def _pair(text: str) -> Json:
    name, _, value = text.partition("=")
    return {"name": name, "value": value}


# The connection's life.


def _comment(hop: Observation) -> str:
    frames = _life.kept(hop)
    more = sum(event.frames for event in _life.only_counted(hop, frames)) if frames else 0
    return f"{_NOT_RECORDED}, {more} of which are in no list" if more else _NOT_RECORDED


def _messages(hop: Observation) -> list[Json]:
    """The frames in the order seen; of a record in which frames are only counted the close frames."""
    every = _life.in_order(hop, together=-1.0)
    return [_message(hop, one) for one in every if one.opcode or (one.close and one.close.ending is Ending.FRAME)]


def _message(hop: Observation, event: _life.Event) -> Json:
    """A frame as Chromium imports it: `data` of anything but a text it would decode, or pass over."""
    made: Json = {
        "type": "receive" if event.sender is Sender.SERVER else "send",
        "time": exchange.moment(hop, event.begin).timestamp(),
    }
    if event.close:  # its code and reason are its payload
        code = "" if event.close.code is None else str(event.close.code)
        return made | {"opcode": _CLOSE, "data": " ".join(filter(None, (code, event.close.reason)))}
    opcode = _NUMBERS.get(event.opcode, _UNKNOWN)
    data = f"[{event.octets} octets, not recorded]" if opcode == _TEXT else ""
    return made | {"opcode": opcode, "data": data, "_octets": event.octets}


def _close(hop: Observation, close: Close) -> Json:
    return {
        "code": close.code,
        "reason": close.reason,
        "sender": close.sender.value,
        "ending": close.ending.value,
        "time": exchange.moment(hop, close.at).timestamp(),
    }


def _beside(hop: Observation, ending: str) -> Json:
    recorded = encode(hop)
    named = (
        "name",
        "instance",
        "recorder",
        "handshake",
        "frames",
        "pings",
        "closes",
        "ended",
        "failure",
        "verification",
    )
    return {"ending": ending} | {name: recorded[name] for name in named if recorded.get(name) is not None}
