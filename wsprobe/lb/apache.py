"""Apache httpd's configs: what mod_proxy, mod_rewrite, mod_headers and their like do to an upgrade.

The version assumed is that against which the predictions are checked; what depends on it is `upgrade=` of
mod_proxy_http, which came with 2.4.47: before, only mod_proxy_wstunnel passed an upgrade on.
"""

import re

from wsprobe.lb.model import Config
from wsprobe.lb.source import Source

NAME = "apache"
VERSION = "2.4.71"

_SECTION = re.compile(
    r"^[ \t]*<(VirtualHost|Location|LocationMatch|Directory|DirectoryMatch|IfModule|IfDefine|IfVersion|Proxy|ProxyMatch"
    r"|Files|FilesMatch|Macro|If)\b[^<>\n]*>[ \t\r]*$",
    re.IGNORECASE | re.MULTILINE,
)
_DIRECTIVE = re.compile(
    r"^[ \t]*(LoadModule[ \t]+\w+_module[ \t]|ProxyPass(Match|Reverse)?[ \t]+([\"'/^!~]|[a-z]+://)"
    r"|RewriteEngine[ \t]+(on|off)\b|RewriteRule[ \t]+\S+[ \t]+\S|RewriteCond[ \t]+\S+[ \t]+\S"
    r"|RequestHeader[ \t]+(set|unset|add|append|edit|merge)|ProxyPreserveHost[ \t]+(on|off)\b"
    r"|ProxyRequests[ \t]+(on|off)\b|IncludeOptional[ \t]+\S|ServerRoot[ \t]+\S"
    r"|ServerName[ \t]+[\w.${}-]+(:\d+)?[ \t\r]*$|Listen[ \t]+[\d.:\[\]a-f]+([ \t]+https?)?[ \t\r]*$"
    r"|SSLProxyEngine[ \t]|BalancerMember[ \t]|SetEnvIf(NoCase)?[ \t]+\S+[ \t]+\S+[ \t]+\S|DocumentRoot[ \t]+\S)",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER = re.compile(r"^\s*(<\?xml|<!doctype|<html|```|#!|\"\"\"|---\s*$|\{)", re.IGNORECASE | re.MULTILINE)


def sniff(source: Source) -> bool:
    """Whether it has a section of Apache's, or directives that no other proxy has, and reads like a config."""
    text = source.text[:200_000]
    if _OTHER.match(text) or "\n```" in text or "</html" in text:
        return False
    found = len(_DIRECTIVE.findall(text))
    if not (_SECTION.search(text) and "</" in text) and found < 2 and not (found and text.count("\n") < 3):
        return False
    return _mostly_directives(text)


def _mostly_directives(text: str) -> bool:
    """Whether enough lines begin with a directive; texts about Apache, and programs, have few of them."""
    from wsprobe.lb._apache_directives import is_directive

    lines = [line.lstrip() for line in text.splitlines()]
    words = [line.split(None, 1)[0] for line in lines if line and not line.startswith("#")]
    known = sum(is_directive(word.lower().strip("</>")) for word in words)
    return known * 5 >= len(words)


def read(source: Source, version: str | None = None) -> Config:
    """What the config does, and its includes with it."""
    from wsprobe.lb._apache_reading import config

    return config(source, version or VERSION, assumed=version is None)
