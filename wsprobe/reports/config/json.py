"""JSON: one document, `wsprobe.inspection/1`; its schema is in docs/schema/."""

import json

from wsprobe.codec import encode
from wsprobe.inspection import Inspection

NAME = "json"
SUFFIXES = (".json",)


def render(inspection: Inspection) -> str:
    """An inspection as a JSON document."""
    # As in reports/json.py: ASCII, so that what stood in a config is escaped also where a terminal shows the document.
    return json.dumps(encode(inspection), indent=2, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n"
