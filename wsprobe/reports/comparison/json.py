"""JSON: one document, `wsprobe.diff/1`; its schema is in docs/schema/."""

import json

from wsprobe.codec import encode
from wsprobe.comparison import Comparison

NAME = "json"
SUFFIXES = (".json",)


def render(comparison: Comparison) -> str:
    """A comparison as a JSON document."""
    # As in reports/json.py: ASCII, so that what stood in the traffic is escaped also where a terminal shows it.
    return json.dumps(encode(comparison), indent=2, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n"
