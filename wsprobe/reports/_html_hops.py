"""What each hop saw, in an HTML report: the heads as they were recorded, how the connection went, and who recorded."""

from collections.abc import Iterator

from wsprobe.model import Message, Observation, Tls
from wsprobe.reports import _view
from wsprobe.reports._html_write import NOTHING, Html, Sheet, joined, tag, text
from wsprobe.reports._text import shortened, visible

_LONGEST_BODY = 4096


def hops(sheet: Sheet) -> Html:
    """One part per hop that unfolds; its summary is the line of a table of hops."""
    every = sheet.report.trace.hops
    parts = [_hop(sheet, number, hop) for number, hop in enumerate(every[: sheet.size.items])]
    more = len(every) - len(parts)
    rest = [tag("p", f"{more} more hops are in the JSON report.", class_="more")] if more > 0 else []
    order = sheet.report.trace.order
    known = [tag("p", "Order of the hops: ", sheet.said(order), class_="hint")] if order and len(every) > 1 else []
    return sheet.section("hops", "Hops", *parts, *rest, *known)


def _hop(sheet: Sheet, number: int, hop: Observation) -> Html:
    told = [_view.answer(hop), _view.ending(sheet.report, number)]
    summary = tag(
        "summary",
        tag("b", sheet.said(hop.name)),
        *(tag("span", sheet.said(part)) for part in told if part),
    )
    return tag(
        "details",
        summary,
        _facts(sheet, hop),
        _closes(sheet, hop),
        _frames(sheet, hop),
        _message(sheet, "Request", hop.request),
        _message(sheet, "Response", hop.response),
        id=sheet.anchor(f"hop-{number}"),
    )


def _facts(sheet: Sheet, hop: Observation) -> Html:
    pairs = [(name, value) for name, value in _told(hop) if value]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", sheet.said(value))) for name, value in pairs))


def _told(hop: Observation) -> Iterator[tuple[str, str]]:
    recorder = hop.recorder
    yield "Recorder", f"{recorder.kind} {recorder.version} on {hop.instance}"
    yield "Seen at", hop.at
    yield "Cannot see", "; ".join(recorder.blind)
    yield "Alters", "; ".join(recorder.alters)
    if hop.peers:
        ends = [("from", hop.peers.client), ("at", hop.peers.local), ("to", hop.peers.server)]
        yield "Addresses", ", ".join(f"{word} {end}" for word, end in ends if end)
    yield "Name resolved to", ", ".join(hop.addresses)
    if hop.tls:
        yield "TLS towards the client", _secured(hop.tls.client)
        yield "TLS towards the server", _secured(hop.tls.server)
    if hop.handshake:
        yield "Request breaks RFC 6455", "; ".join(hop.handshake.request_flaws)
        yield "Response breaks RFC 6455", "; ".join(hop.handshake.response_flaws)
        yield "Connection nominates", ", ".join(hop.handshake.connection)
        yield "Subprotocol", hop.handshake.subprotocol.value if hop.handshake.subprotocol else ""
        yield "Extensions", ", ".join(hop.handshake.extensions)
    yield "Before the answer", ", ".join(hop.interim)
    if hop.failure:
        yield "Failed", f"at {hop.failure.phase}: {hop.failure.message}"
    if hop.verification:
        held = "valid" if hop.verification.valid else f"not valid: {hop.verification.reason}"
        yield "Token", f"in {hop.verification.carrier}, {held}"
    yield "Anomalies", "; ".join(f"{one.sender.value}: {one.kind} {one.detail}" for one in hop.anomalies)
    yield (
        "Expected",
        "; ".join(f"{step.kind} {step.what}: {'met' if step.met else 'not met'}" for step in hop.expectations),
    )


def _secured(tls: Tls | None) -> str:
    if tls is None:
        return ""
    verified = f"not verified: {tls.error}" if tls.error else "verified" if tls.verified else "not verified"
    agreed = [tls.version, tls.cipher, f"ALPN {tls.alpn}" if tls.alpn else None, f"SNI {tls.sni}" if tls.sni else None]
    chain = [f"certificate {one.subject} by {one.issuer} until {one.not_after}" for one in tls.certificates]
    return "; ".join([", ".join(filter(None, [*agreed, verified])), *chain])


def _closes(sheet: Sheet, hop: Observation) -> Html:
    rows = (
        [
            _view.seconds(max(close.at, 0.0)),
            close.sender.value,
            f"close {close.ending.value}" if close.ending.value == "frame" else close.ending.value,
            "" if close.code is None else str(close.code),
            sheet.code(close.reason),
        ]
        for close in hop.closes
    )
    return sheet.table(["at", "sender", "ending", "code", "reason"], rows, f"How the connection ended at {hop.name}")


def _frames(sheet: Sheet, hop: Observation) -> Html:
    sides = (("client", hop.frames.client), ("server", hop.frames.server)) if hop.frames else ()
    frames = (
        [side, sheet.said(name), str(count.frames), str(count.bytes)]
        for side, counts in sides
        for name, count in counts.items()
    )
    pings = (("client", hop.pings.client), ("server", hop.pings.server)) if hop.pings else ()
    rows = (
        [side, str(one.sent), str(one.answered), *(_time(time) for time in (one.shortest, one.mean, one.longest))]
        for side, one in pings
        if one
    )
    return joined(
        (
            sheet.table(["sender", "frames of", "number", "octets"], frames, f"Frames at {hop.name}"),
            sheet.table(
                ["sender", "pings", "answered", "shortest", "mean", "longest"],
                rows,
                f"Pings at {hop.name}",
            ),
        )
    )


def _time(time: float | None) -> str:
    return "" if time is None else _view.seconds(time)


def _message(sheet: Sheet, title: str, message: Message | None) -> Html:
    """A head as it was recorded, and of a refusal the body."""
    if message is None:
        return NOTHING
    shown = message.headers[: sheet.size.rows]
    lines = [joined((tag("b", sheet.said(message.start_line)), Html("\n")))]
    lines += [
        joined((tag("span", sheet.said(name), class_="name"), ": ", sheet.said(v), Html("\n"))) for name, v in shown
    ]
    more = len(message.headers) - len(shown)
    body = message.body
    return joined(
        (
            tag("h4" if sheet.level == 2 else "h5", title),
            tag("pre", tag("code", *lines)),
            tag("p", f"{more} more headers are in the JSON report.", class_="more") if more > 0 else NOTHING,
            _body(sheet, body.text, body.size, cut=body.cut) if body else NOTHING,
        )
    )


def _body(sheet: Sheet, content: str | None, size: int, *, cut: bool) -> Html:
    words = f"Body, {_view.counted(size, 'octet')}{', cut' if cut else ''}"
    if content is None:
        return tag("p", f"{words}: not text", class_="hint")
    room = min(_LONGEST_BODY, 4 * sheet.size.characters)
    lines = [visible(line) for line in content.splitlines()]
    return joined((tag("p", words, class_="hint"), tag("pre", tag("code", text(_held(lines, room))))))


def _held(lines: list[str], room: int) -> Html:
    """The lines with their breaks, in the middle shortened where they are too long."""
    whole = shortened("\n".join(lines), room)
    return Html("\n".join(text(line) for line in whole.split("\n")))
