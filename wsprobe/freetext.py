"""Where secrets stand in text that strangers wrote: header values, error bodies, close reasons, messages of libraries.

A pure function from a text to the spans that must not be shown. In doubt it takes too much. Each search is linear in
the text, whatever that holds: words are matched possessively and nothing is read twice.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from wsprobe.credentials import JWT, SCHEMES, is_secret_name, looks_opaque
from wsprobe.patterns import lazy


class Span(NamedTuple):
    """A stretch of text that must not be shown, what it is called, and the scheme that stands before it."""

    start: int
    end: int
    name: str
    scheme: str | None = None


_MAX_DECODED = 4
_MAX_SENTENCE = 20
_MAX_SPANS = 500
# Quotes as HTML and, in JSON inside JSON, .NET write them.
_ENTITY = r"(?:&(?:quot|apos|#0*3[49]|#[xX]2[27]);|\\+u002[27])"
_SUSPECT = lazy(r"[=:@<%]|eyJ|eyA|ew[0ok]|ZXlK|[\"'],|\s[\"'`]?[^\s\"'`]{6}|/[^/?]{8}|\?[^=]{10}|\w{16}")
# A token whose own base64 was encoded once more, as Kubernetes does it for a subprotocol.
_ENCODED_JWT = lazy(r"ZXlK[A-Za-z0-9_+/=-]{16,}")
# What well-known services issue can be told by its first letters.
_ISSUED = lazy(
    r"\b(?:gh[opsur]_|github_pat_|glpat-|xox[abeoprs]-|[sr]k_(?:live|test)_|sk-|AIza|ya29\.|hv[bs]\.|npm_|dop_v1_|SG\.)"
    r"[A-Za-z0-9_.-]{16,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN[A-Z ]* PRIVATE KEY-----(?:(?!-----END).)*+",
    re.DOTALL,
)
_USERINFO = lazy(
    r"(?://|\\/\\/)(?:([^/\s?#\"<>\\\ue000]+)@"
    # A password with a slash in it is no URL any more, and people write it all the same.
    r"|([^/\s\"<>@:\ue000]{1,256}:(?!\d{1,5}(?:[/?#\s\"'<]|$))[^\s\"<>@\ue000]{0,256})@)"
    # Without a scheme, as in CONNECT or in what somebody typed.
    r"|(?<![^\s\"'(=,])(?!(?:mailto|sips?|xmpp|acct):)([^\s/:@\"'<>\ue000]{1,256}:(?!//)[^\s@\"'<>\ue000]{1,256})@"
)
_SCHEME = lazy(rf"""\b({"|".join(sorted(SCHEMES))})(?:\s+|\+)["'`]?([A-Za-z0-9._~+/=-]{{6,}})""", re.IGNORECASE)
_SPOKEN = lazy(
    r"\b(token|key|password|passwd|secret|session|ticket|cookie|credentials?)(?:\s+(?:is|was|of|id))?\s+[\"'`(]?"
    r"([^\s\"'`()<>,;\ue000]{6,})",
    re.IGNORECASE,
)
_AUTH_PARAM = lazy(
    r"(?:realm|scope|error\w*|charset|nonce|opaque|algorithm|qop|stale|domain|uri|username|title|resource\w*)=",
    re.IGNORECASE,
)
_NAME = lazy(
    rf"(?<![\w.%\[\]$-])([\w.%\[\]$-]++)(?:\\*+[\"'`]|{_ENTITY})?+\s*+(=>|:=|[=:])\s*+",
)
_LISTED = lazy(r"([\"'])([\w.%-]++)\1\s*+,\s*+(?:[\"']?value[\"']?\s*+[=:]\s*+)?(?=b?[\"'])")
_QUOTE = lazy(rf"[bu]?(\\*)([\"'`]|{_ENTITY})")
_KEY_END = lazy(r"[\"']\s*+:")
_ANY_QUOTE = lazy(r"(?<!\\)(\\*+)([\"'`])")
_BRACKET = lazy(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_PLAIN = lazy(r"(?:[^\s\"&<>\\\ue000]|\\(?![\"'nrtu]))++")
_LINE = lazy(r"[^\r\n\"<>\\\ue000]++")
# In a dump inside JSON the escape of the line break before it sticks to the name.
_WHOLE_LINE = lazy(r"[nrt]?(?:(?:[\w-]*-)?authorization|(?:set-)?cookie)", re.IGNORECASE)
_PAIR = lazy(r"[?&#;]([^=&?#;\s]++)=([^&\s\ue000]++)")
_BARE_QUERY = lazy(r"\?([^=&?#\s\ue000]{10,}+)(?=[\s#]|$)")
_SEGMENT = lazy(r"/([\w.-]++)(?=/([\w.~%+=-]++))")
_ELEMENT = lazy(r"(?:<|&lt;)([\w:.-]++)(?:\s[^<>&]*+)?(?:>|&gt;)")
_FIELD = lazy(r"<(?:input|meta|param|button|option|property)\b[^<>]*+", re.IGNORECASE)
_FIELD_NAME = lazy(r"\b(?:name|id|property|http-equiv)\s*+=\s*+[\"']?([\w.\[\]-]++)", re.IGNORECASE)
_FIELD_VALUE = lazy(r"\b(?:value|content)\s*+=\s*+(?:\"([^\"]++)|'([^']++)|([^\s\"'>]++))", re.IGNORECASE)
_PIECE = lazy(r"[^\s\"'<>&=?;,/#\\|\ue000]++")
_SAID = frozenset(
    "a an and are as be but denied does empty expired failed false has have header in "  # noqa: SIM905  a sentence
    "incorrect invalid is it missing mismatch must no none not null of only or required revoked should the to true "
    "unknown unset was were will with without wrong".split()
)
"""Words that begin an explanation of what is wrong with a password; any other word may be one."""


def find(text: str, *, address: bool = False) -> list[Span]:
    """The secrets in a text, in their order and without overlap.

    `address` says that the text is a header value or a start line, so that what looks like a query is one.
    """
    return _whole(text, [*_plainly(text, address=address)], 0) if _SUSPECT.search(text) else []


def find_in_target(line: str) -> list[Span]:
    """The secrets in a request line, whose query ends at the last space, whatever octets it is made of."""
    spans = [*_plainly(line, address=True)]
    start = line.find("?") + 1
    if start:
        end = line.rfind(" ", start)
        for begin, stop in _split(line, "&", start, end if end >= 0 else len(line)):
            equals = line.find("=", begin, stop)
            if 0 <= equals < stop - 1 and is_secret_name(_decoded(line[begin:equals])):
                spans.append(Span(equals + 1, stop, _decoded(line[begin:equals])))
    return _whole(line, spans, 0)


def find_tokens(text: str) -> list[Span]:
    """Only what is a secret by its own look: tokens, userinfo and a query's parameters. For texts that explain."""
    return _disjoint([*_tokens(text), *_queries(text)])


def is_prose(value: str, name: str = "") -> bool:
    """Whether what follows a name tells why something failed, as in `token: expired` or `code: 401`."""
    word = value.rstrip(".,;:!?)'\"")
    if not word.isascii() or len(word) > 40:
        return False
    if word.isdigit():
        return len(word) <= 4
    if re.search(r"pass|pwd|secret", name, re.IGNORECASE):
        return word.lower() in _SAID
    return all(
        part.isalpha() and len(part) <= 20 and (part.islower() or part.istitle() or part.isupper())
        for part in re.split(r"[-/_.]", word)
    )


def _whole(text: str, spans: list[Span], depth: int) -> list[Span]:
    """The spans in order, with those that stand behind an encoding in the rest of the text."""
    spans = _disjoint(spans)
    if "%" in text:
        spans = _disjoint([*spans, *_encoded(_blanked(text, spans), depth)])
    return spans if len(spans) <= _MAX_SPANS else [Span(0, len(text), "text")]


def _blanked(text: str, spans: list[Span]) -> str:
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], "\ue000" * (span.end - span.start)]
        at = span.end
    return "".join(parts) + text[at:]


def _plainly(text: str, *, address: bool) -> Iterator[Span]:
    yield from _tokens(text)
    yield from _behind_schemes(text)
    if "=" in text or ":" in text:
        yield from _named(text)
    if address:
        yield from _queries(text)
        yield from _segments(text)
    if "," in text:
        yield from _listed(text)
    if "<" in text or "&lt;" in text:
        yield from _marked_up(text)


def _disjoint(spans: list[Span]) -> list[Span]:
    """Spans that overlap become the one that covers them."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if found and span.start < found[-1].end:
            found[-1] = found[-1]._replace(end=max(found[-1].end, span.end))
        elif span.end > span.start:
            found.append(span)
    return found


def _tokens(text: str) -> Iterator[Span]:
    for match in JWT.finditer(text):
        yield Span(*match.span(), "JSON Web Token")
    if "ZXlK" in text:
        for match in _ENCODED_JWT.finditer(text):
            yield Span(*match.span(), "encoded JSON Web Token")
    for match in _ISSUED.finditer(text):
        yield Span(*match.span(), "issued token")
    if "@" in text:
        for match in _USERINFO.finditer(text):
            yield Span(*match.span(match.lastindex or 0), "userinfo")


def _behind_schemes(text: str) -> Iterator[Span]:
    """`Bearer abc123`; not `Bearer realm=…`, which asks for credentials, and not `token expired`, which explains."""
    for match in _SCHEME.finditer(text):
        if not _AUTH_PARAM.match(match[2]) and not is_prose(match[2]):
            yield Span(*match.span(2), "credentials", match[1])
    for match in _SPOKEN.finditer(text):
        if looks_opaque(match[2]):
            yield Span(*match.span(2), match[1])


def _named(text: str) -> Iterator[Span]:
    """Values behind the name of a secret: parameters, JSON, dumped headers, in whatever quotes."""
    at = 0
    while match := _NAME.search(text, at):
        at = match.end()
        name = _decoded(match[1])
        if is_secret_name(name) and (span := _value(text, at, name, match[2])):
            yield span
            at = span.end


def _listed(text: str) -> Iterator[Span]:
    """Names and values as a list has them: `["x-api-key", "…"]`, `{"name": "cookie", "value": "…"}`."""
    at = 0
    while match := _LISTED.search(text, at):
        at = match.end()
        if not is_secret_name(match[2]) or not (span := _value(text, at, match[2], ",")):
            continue
        if "value" in match[0][len(match[2]) :] or not _KEY_END.match(text, span.end):  # else a key of an object
            yield span
            at = span.end


def _value(text: str, at: int, name: str, sign: str) -> Span | None:
    quote = _QUOTE.match(text, at)
    if quote:
        start, end = quote.end(), _closing(text, quote)
        if name.lower() == "code" and is_prose(text[start:end]):
            return None
    elif text[at : at + 1] in ("[", "{"):
        return Span(at + 1, _balanced(text, at), name)
    else:
        bounds = _line(text, at) if sign == ":" and _WHOLE_LINE.fullmatch(name) else _word(text, at, name, sign)
        if bounds is None:
            return None
        start, end = bounds
    scheme, space, _ = text[start:end].partition(" ")
    if space and scheme.lower() in SCHEMES:
        return Span(start + len(scheme) + 1, end, name, scheme)
    return Span(start, end, name)


def _closing(text: str, quote: re.Match[str]) -> int:
    """Where a quoted value ends; a text that was cut off has no closing quote."""
    escapes, mark = len(quote[1]), quote[2]
    if len(mark) > 1:
        end = text.find(mark, quote.end())
        return len(text) if end < 0 else end
    for match in _ANY_QUOTE.finditer(text, quote.end()):
        outside = len(match[1]) <= escapes if escapes else len(match[1]) % 2 == 0
        if match[2] == mark and outside:
            return match.start(2) - min(escapes, len(match[1]))
    return len(text)


def _balanced(text: str, at: int) -> int:
    depth = 0
    for match in _BRACKET.finditer(text, at):
        depth += 1 if match[0] in ("[", "{") else -1 if match[0] in ("]", "}") else 0
        if depth == 0:
            return match.start()
    return len(text)


def _line(text: str, at: int) -> tuple[int, int] | None:
    """The rest of a line of a dumped head, unless it is a sentence."""
    line = _LINE.match(text, at)
    if not line:
        return None
    words = line[0].split(None, _MAX_SENTENCE)
    sentence = len(words) < _MAX_SENTENCE and all(is_prose(word) for word in words)
    return None if sentence else line.span()


def _word(text: str, at: int, name: str, sign: str) -> tuple[int, int] | None:
    word = _PLAIN.match(text, at)
    if not word:
        return None
    if word[0].lower() in SCHEMES and (rest := re.compile(r"\s+").match(text, word.end())):
        behind = _PLAIN.match(text, rest.end())
        return (at, behind.end()) if behind and not is_prose(behind[0]) else None
    if (sign == ":" or name.lower() == "code") and is_prose(word[0], name):
        return None
    end = at + len(word[0].rstrip(".,;:!?)'`}]#"))
    return (at, end) if end > at else None


def _queries(text: str) -> Iterator[Span]:
    for match in _PAIR.finditer(text):
        name = _decoded(match[1])
        if is_secret_name(name):
            yield Span(match.start(2), match.start(2) + len(match[2].rstrip(">;,\"')")), name)
    for match in _BARE_QUERY.finditer(text):
        if looks_opaque(match[1]):
            yield Span(*match.span(1), "query")


def _segments(text: str) -> Iterator[Span]:
    """`/token/Zq7x…`: a path can hold a secret behind its name too."""
    for match in _SEGMENT.finditer(text):
        if is_secret_name(match[1]) and looks_opaque(match[2]):
            yield Span(*match.span(2), match[1])


def _marked_up(text: str) -> Iterator[Span]:
    """`<password>…</password>` and `<input name="csrf_token" value="…">`."""
    for match in _ELEMENT.finditer(text):
        name = match[1]
        if name.lower() != "code" and is_secret_name(name):  # <code> is HTML's for a piece of program
            end = text.find(f"/{name}", match.end(), match.end() + 8192)
            if end < 0:
                end = text.find("<", match.end())
            yield Span(match.end(), len(text) if end < 0 else end, name)
    for match in _FIELD.finditer(text):
        name_ = _FIELD_NAME.search(match[0])
        value = _FIELD_VALUE.search(match[0])
        if name_ and value and is_secret_name(name_[1]):
            start, end = value.span(value.lastindex or 0)
            yield Span(match.start() + start, match.start() + end, name_[1])


def _encoded(text: str, depth: int) -> Iterator[Span]:
    """Pieces that hold a secret once their percent-encoding is taken off, also if that was done more than once."""
    for match in _PIECE.finditer(text):
        if "%" in match[0]:
            inner = unquote(match[0])
            if inner == match[0]:
                continue
            if depth >= _MAX_DECODED or _whole(inner, [*_plainly(inner, address=True)], depth + 1):
                yield Span(*match.span(), "encoded value")


def _decoded(name: str) -> str:
    for _ in range(_MAX_DECODED):
        if "%" not in name:
            break
        name = unquote(name)
    return name


def _split(text: str, separator: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start <= end:
        stop = text.find(separator, start, end)
        stop = end if stop < 0 else stop
        yield start, stop
        start = stop + 1
