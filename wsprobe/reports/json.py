"""JSON: the report as one document, `wsprobe.report/1` or `wsprobe.reports/1`; its schema is in docs/schema/."""

import json

from wsprobe.codec import encode
from wsprobe.model import Report, Reports, Trace

NAME = "json"
SUFFIXES = (".json",)


def render(report: Report) -> str:
    """One report as a JSON document."""
    return document(report)


def render_all(reports: Reports) -> str:
    """The reports of several connections as one JSON document."""
    return document(reports)


def document(record: Report | Reports | Trace) -> str:
    """A record as a JSON document that ends with a newline."""
    # ASCII, so that whatever stood in the traffic is escaped also where a terminal shows the document; DEL is the
    # one control character that JSON lets stand.
    return json.dumps(encode(record), indent=2, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n"
