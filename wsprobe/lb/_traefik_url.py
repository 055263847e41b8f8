"""The url of a server as Go's parser reads it, which refuses some that others take."""

import re
from urllib.parse import urlsplit

from wsprobe.frozen import dataclass
from wsprobe.patterns import lazy

SPOKEN = frozenset({"http", "https", "h2c"})
"""The schemes in which Traefik speaks to a server."""

_CONTROL = lazy(r"[\x00-\x20\x7f]")
_SCHEME = lazy(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = lazy(r"//(?:[^/?#]*@)?([^/?#]*)")
_HOST = lazy(r"(?:\[[^\[\]]*\]|[A-Za-z0-9\-._~!$&'()*+,;=<>\"\x80-\U0010ffff]|%[89A-Fa-f][0-9A-Fa-f])*(?::[0-9]*)?")
_NO_ESCAPE = lazy(r"%(?![0-9A-Fa-f]{2})")


class UrlError(ValueError):
    """Why Go refuses a url."""


@dataclass(frozen=True, slots=True)
class Url:
    """The scheme in lower case, host and port, and the path; all empty where the url has none."""

    scheme: str
    address: str
    path: str

    @property
    def spoken(self) -> bool:
        """Whether Traefik can send a request there."""
        return self.scheme in SPOKEN and bool(self.address)


def parsed(text: str) -> Url:
    """What a url says; UrlError where Go refuses it, and Traefik with it the service."""
    if _CONTROL.search(text):
        raise UrlError(f"{text!r} has a space or a control character")
    found = _SCHEME.match(text)
    rest = text[found.end() :] if found else text
    if not found and re.match(r":|[^/?#]*:", text):
        raise UrlError(f"{text} has no scheme: write http:// before it")
    if found and not rest.startswith("/"):
        return Url(found[1].lower(), "", "")
    if authority := _AUTHORITY.match(rest):
        if not _HOST.fullmatch(authority[1]):
            raise UrlError(f"{authority[1]} is no host with a port")
        rest = rest[authority.end() :]
    if _NO_ESCAPE.search(rest.partition("?")[0].partition("#")[0]):
        raise UrlError(f"{text} has an escape that is none")
    address = authority[1] if authority else ""
    return Url(found[1].lower() if found else "", address, urlsplit(text).path)
