"""Paths of request targets, written in other ways (RFC 3986, 6.2.2). Pure text, as it travels on the wire."""

import posixpath
from collections.abc import Callable
from enum import StrEnum
from urllib.parse import quote_from_bytes, quote_plus, unquote_to_bytes

from wsprobe.patterns import lazy

_ESCAPE = lazy("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_RESERVED = frozenset(b":/?#[]@!$&'()*+,;=%")
_HELD = lazy(r"[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]/%]*\Z")
_BETWEEN_SLASHES = lazy("(?<=/)(?=/)")
_UNWISE = lazy('["<>^`{|}]')
_KEPT = "-._~$&+,/:;=@"
_SENT = "!$&'()*+,-./:;=@[]_~"

IN_PATHS = "~$-_.+!*'(),;:@&=/"
"""What RFC 2396, 3.3 lets stand in a path as it is, besides letters and digits."""


class PathForm(StrEnum):
    """A way of writing a path.

    UNRESERVED resolves the escapes of unreserved characters, UNLESS_RESERVED those of all but reserved ones, DECODED
    all of them. ESCAPED escapes what a path cannot hold, if it holds such a thing. ENCODED is the way back from
    DECODED, where a percent sign is escaped as well, QUOTED one that escapes also `!'()*[]`, and QUERY the way to a
    value of a query. RESOLVED is DECODED where octets that are no UTF-8 are kept apart from characters, for QUOTED to
    find them again. CLEAN resolves dot segments and merges slashes, WITHOUT_DOTS resolves dot segments only.
    STRICT escapes whatever RFC 2396 gives no place in a path, brackets and percent signs too; it is the way back from
    OCTETS, which resolves all escapes and makes a character of each octet. FOLDED is CLEAN, but a path that ends in a
    dot segment is a folder. CANONICAL is what browsers make of a path:
    backslashes become slashes, escapes of unreserved characters and dot segments are resolved, and what a path should
    not hold is escaped.
    """

    UNRESERVED = "escapes of unreserved characters resolved"
    UNLESS_RESERVED = "escapes resolved, unless of reserved characters"
    DECODED = "escapes resolved"
    RESOLVED = "escapes resolved, octets that are no text kept apart"
    ESCAPED = "what a path cannot hold escaped"
    ENCODED = "what is decoded, escaped again"
    QUOTED = "what is decoded, escaped again with all marks"
    OCTETS = "escapes resolved, each octet a character"
    FOLDED = "dot segments resolved, slashes merged, a folder where it ends in dots"
    STRICT = "whatever has no place in a path escaped"
    CLEAN = "dot segments resolved, slashes merged"
    CANONICAL = "as browsers write it"
    WITHOUT_DOTS = "dot segments resolved"
    QUERY = "what is decoded, made a value of a query"


def written(form: PathForm, path: str) -> str:
    """A path in another form."""
    return _FORMS[form](path)


def _resolving(resolved: Callable[[int], bool], *, shown: bool = True) -> Callable[[str], str]:
    def resolve(path: str) -> str:
        # Octets that are not ASCII are resolved together, as the UTF-8 that they may be.
        marked = _ESCAPE.sub(lambda found: found[0] if resolved(int(found[1], 16)) else f"\0{found[1].upper()}", path)
        octets = _octets(marked)
        # What is compared only may hold octets that are no text; they must not look like characters.
        return (_text(octets) if shown else octets.decode("utf-8", "surrogateescape")).replace("\0", "%")

    return resolve


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _octets(path: str) -> bytes:
    """The octets that a path stands for; one that was received has a character an octet."""
    try:
        return unquote_to_bytes(path.encode("latin-1"))
    except UnicodeEncodeError:
        return unquote_to_bytes(path)


def _escaped(path: str) -> str:
    return path if _HELD.match(path) else quote_from_bytes(_octets(path), safe=_KEPT)


def _quoted(path: str) -> str:
    return quote_from_bytes(path.encode("utf-8", "surrogateescape"), safe=_KEPT)


def _encoded(path: str) -> str:
    return quote_from_bytes(path.encode("utf-8", "surrogateescape"), safe=_SENT)


def _strict(path: str) -> str:
    octets = path.encode("latin-1") if path.isascii() or max(path) <= "\xff" else path.encode()
    return quote_from_bytes(octets, safe=IN_PATHS)


def _clean(path: str) -> str:
    normal = posixpath.normpath(f"/{path.lstrip('/')}")
    return f"{normal}/" if path.endswith("/") and normal != "/" else normal


def _without_dots(path: str) -> str:
    # A character that no path has makes a segment of nothing, which is then not merged.
    return _clean(_BETWEEN_SLASHES.sub("\0", path)).replace("\0", "")


def _canonical(path: str) -> str:
    resolved = _ESCAPE.sub(lambda found: chr(octet) if (octet := int(found[1], 16)) in _UNRESERVED else found[0], path)
    written = _UNWISE.sub(lambda found: f"%{ord(found[0]):02X}", resolved.replace("\\", "/"))
    segments = written.split("/")[1:]
    kept: list[str] = []
    for at, segment in enumerate(segments, 1):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
            continue
        if at == len(segments):
            kept.append("")
    return "/" + "/".join(kept)


_FORMS: dict[PathForm, Callable[[str], str]] = {
    PathForm.UNRESERVED: _resolving(lambda octet: octet in _UNRESERVED),
    PathForm.UNLESS_RESERVED: _resolving(lambda octet: octet not in _RESERVED, shown=False),
    PathForm.DECODED: _resolving(lambda _: True),
    PathForm.RESOLVED: _resolving(lambda _: True, shown=False),
    PathForm.ESCAPED: _escaped,
    PathForm.ENCODED: _encoded,
    PathForm.QUOTED: _quoted,
    PathForm.OCTETS: lambda path: unquote_to_bytes(path).decode("latin-1"),
    PathForm.FOLDED: lambda path: _clean(f"{path}/" if path.endswith(("/.", "/..")) else path),
    PathForm.STRICT: _strict,
    PathForm.CLEAN: _clean,
    PathForm.CANONICAL: _canonical,
    PathForm.WITHOUT_DOTS: _without_dots,
    PathForm.QUERY: lambda text: quote_plus(text, safe="-._~"),
}
