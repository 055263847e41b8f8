"""The document around an HTML report: a policy that lets nothing through but its own style and script.

All of it is ASCII: whatever carries it, and whatever it is declared as, its letters and the hash of its script stay
what they are.
"""

import base64
import hashlib

from wsprobe.reports._html_script import SCRIPT
from wsprobe.reports._html_style import STYLE, SYMBOLS
from wsprobe.reports._html_write import Html, joined, tag
from wsprobe.reports._text import shortened


def document(body: Html, title: str) -> str:
    """A whole page around what it shows."""
    policy = (
        f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(STYLE)}; base-uri 'none'; form-action 'none'"
    )
    head = joined(
        (
            Html('<meta charset="utf-8">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html('<meta name="referrer" content="no-referrer">'),
            Html('<meta name="color-scheme" content="light dark">'),
            tag("title", f"{shortened(title, 120)} - wsprobe"),
            tag("style", Html(STYLE)),
        )
    )
    skip = '<a class="skip" href="#verdict">To the verdict</a>'
    html = f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>{skip}{SYMBOLS}<main>{body}</main>'
    return f"{html}<script>{SCRIPT}</script></body>\n</html>\n".encode("ascii", "xmlcharrefreplace").decode("ascii")


def _hash(content: str) -> str:
    """A source expression that lets through this very text (CSP 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
