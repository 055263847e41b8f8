"""Secrets out, comparable fingerprints in. What leaves here may be pasted into a public issue.

Values of credential headers, cookies, token-like subprotocols, secret parameters, URL userinfo, and every JSON Web
Token wherever it stands are replaced by their length and, where that cannot be guessed back, a fingerprint. What was
found in one place is also replaced in all others: an error page that echoes the token is not a way out.
"""

import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, TypeVar
from urllib.parse import unquote

from wsprobe.credentials import (
    JWT,
    guessable,
    is_explaining_name,
    is_secret_name,
    looks_opaque,
    read_jwt,
    secret_subprotocols,
    split_scheme,
)
from wsprobe.echoes import Echoes
from wsprobe.freetext import Span, find, find_in_target, find_tokens
from wsprobe.handshake import key_octets, trace_ids
from wsprobe.model import Handshake, Header, Jwt, Message, Observation, Redaction
from wsprobe.observer import Unredacted

MIN_SHARED_KEY = 16
"""Characters that a shared fingerprint key must have: its id is told, so it must not be guessable from that."""

T = TypeVar("T", str, Header)

_MAX_REDACTIONS = 1000
_FINGERPRINT = 12
_OPEN, _SHUT = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}(\\d+){_SHUT}")
_OPAQUE_SCHEMES = frozenset({"bearer", "token", "jwt", "apikey", "oauth", "privatetoken", "dpop", "splunk"})
"""Schemes whose credentials are drawn at random; those of all others may be made of a password (RFC 7617)."""
_GLUED = re.compile(r"(\S+)\s+(\S.*)", re.DOTALL)
_FRAME = frozenset({"host", "upgrade", "connection", "sec-websocket-extensions"})
_IDS = frozenset({"sec-websocket-key", "sec-websocket-accept", "sec-websocket-version", "traceparent"})
_HARMLESS_LENGTH, _HARMLESS_MOST = 160, 4096
# Short texts in which nothing was found, by the search that found nothing: what every connection brings along.
_harmless: set[str] = set()
_harmless_names: set[str] = set()
_harmless_targets: set[str] = set()
_harmless_headers: set[Header] = set()
_harmless_claims: set[str] = set()
_ACCEPT, _DIGEST = "sec-websocket-accept", re.compile(r"[A-Za-z0-9+/]{27}=")
_COOKIE_ATTRIBUTES = frozenset(
    ("expires", "max-age", "domain", "path", "secure", "httponly", "samesite", "partitioned", "priority")
)


def shared_key(text: str) -> bytes:
    """The key that recorders share to compare guessable values too; raises ValueError where it is too short."""
    if len(text) < MIN_SHARED_KEY:
        msg = f"WSPROBE_FINGERPRINT_KEY has {len(text)} characters: give it at least {MIN_SHARED_KEY} random ones"
        raise ValueError(msg)
    return text.encode()


def redact(seen: Unredacted, key: bytes | None = None) -> Observation:
    """The observation without its secrets; `key` is the one that recorders share, None where there is none."""
    return Redactor(key).redact(seen)


def redact_text(text: str) -> str:
    """A text that no exchange belongs to (a URL, a message of a library) without what may be secret in it."""
    return _Pass((), None).text("request", text)


class Redactor:
    """Redacts the observations of one exchange; heads that it has seen before are not searched a second time.

    What it keeps in between is what is written. The secrets themselves are read again from the heads, if there is
    other text to look for them in: most connections end without any, and wait for that for hours.
    """

    __slots__ = ("_clean", "_found", "_heads", "_judged", "_key")

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key
        self._heads: tuple[Message | None, Message | None] | None = None
        self._clean: tuple[Message | None, Message | None] = (None, None)
        self._judged: tuple[Handshake | None, Handshake | None] = (None, None)
        self._found: tuple[Redaction, ...] = ()

    def redact(self, seen: Unredacted) -> Observation:
        """The observation without its secrets."""
        observation = seen.observation
        request, response = observation.request, observation.response
        known = self._heads
        pass_ = None
        if known is None or known[0] is not request or known[1] is not response:
            pass_ = self._read(request, response)
            self._judged = observation.handshake, _judged(pass_, observation.handshake)
            self._found = pass_.told()
            self._heads = request, response
        changes: dict[str, Any] = {"request": self._clean[0], "response": self._clean[1], "redactions": self._found}
        if _has_texts(observation) or observation.handshake is not self._judged[0]:
            pass_ = pass_ or self._read(request, response)
            changes |= _texts(pass_, observation) | {"handshake": _judged(pass_, observation.handshake)}
            changes["redactions"] = pass_.told()
        else:
            changes["handshake"] = self._judged[1]
        return Observation(**dict(zip(_FIELDS, _VALUES(observation), strict=True)) | changes)

    def _read(self, request: Message | None, response: Message | None) -> "_Pass":
        pass_ = _Pass(trace_ids(request.headers) if request else (), self._key)
        marked = pass_.message("request", request), pass_.message("response", response)
        clean = pass_.finished("request", marked[0]), pass_.finished("response", marked[1])
        self._clean = clean[0], response if clean[1] == response else clean[1]  # mostly one object for both
        return pass_


_FIELDS = tuple(field.name for field in fields(Observation))
_VALUES = attrgetter(*_FIELDS)


def _has_texts(observation: Observation) -> bool:
    """Whether there is text that is neither in the heads nor ours."""
    return bool(
        observation.interim
        or observation.failure
        or observation.expectations
        or observation.verification
        or any(close.reason for close in observation.closes)
        or any(anomaly.detail for anomaly in observation.anomalies)
    )


def _texts(pass_: "_Pass", observation: Observation) -> dict[str, Any]:
    """What may hold secrets besides the heads, as far as there is any."""
    text = pass_.text
    clean: dict[str, Any] = {}
    if observation.interim:
        clean["interim"] = tuple(text("response", line) for line in observation.interim)
    if any(close.reason for close in observation.closes):
        clean["closes"] = tuple(replace(close, reason=text("closes", close.reason)) for close in observation.closes)
    if any(anomaly.detail for anomaly in observation.anomalies):
        clean["anomalies"] = tuple(replace(one, detail=text("closes", one.detail)) for one in observation.anomalies)
    if observation.failure:
        clean["failure"] = replace(observation.failure, message=text("response", observation.failure.message))
    if observation.verification and observation.verification.reason:
        reason = text("request", observation.verification.reason)
        clean["verification"] = replace(observation.verification, reason=reason)
    if observation.expectations:
        steps = observation.expectations
        clean["expectations"] = tuple(replace(step, what=text("closes", step.what)) for step in steps)
    return clean


def _judged(pass_: "_Pass", judged: Handshake | None) -> Handshake | None:
    if judged is None:
        return None
    nominated = tuple(pass_.text("request", token) for token in judged.connection)
    accepted = tuple(pass_.text("response", name) for name in judged.extensions)
    if (nominated, accepted) == (judged.connection, judged.extensions):
        return judged
    return replace(judged, connection=nominated, extensions=accepted)


class _Pass:
    """One pass over one observation: what it replaced, and under which keys it takes fingerprints."""

    def __init__(self, ids: tuple[str, ...], shared: bytes | None) -> None:
        self.found: list[Redaction] = []
        self._noted: set[tuple[str, int | None, str, str]] = set()
        self._echoes = Echoes()
        self._made: list[Redaction] = []
        self._keys = {f"trace:{id_}": bytes.fromhex(id_) for id_ in ids}
        self._shared = {f"key:{_digest(shared, b'wsprobe')[:8]}": shared} if shared else {}
        self._where: tuple[str, int | None] = ("request", None)

    def message(self, kind: str, message: Message | None) -> Message | None:
        """A head with a mark in place of each credential; `finished` turns the marks into words."""
        if message is None:
            return None
        headers = []
        for index, header in enumerate(message.headers):
            if header in _harmless_headers:
                headers.append(header)
                continue
            self._where = (kind, index)
            name, value = header
            clean = self._name(name), self._header(name, value)
            headers.append(header if clean == header else clean)  # most are kept as they are: one object for both
            if clean == header and name in _harmless_names and value in _harmless:
                _keep(header, _harmless_headers)
        self._where = (kind, None)
        line = message.start_line
        line = self._target(line) if kind == "request" else self._plain(line)
        return Message(start_line=line, headers=tuple(headers), body=message.body)

    def finished(self, kind: str, message: Message | None) -> Message | None:
        """The same head, and the body, also without values that were found to be secret elsewhere."""
        if message is None:
            return None
        self._where = (kind, None)
        body = message.body
        if body and body.text:
            body = replace(body, text=self.text(kind, body.text))
        everything = "\n".join((message.start_line, *(part for header in message.headers for part in header)))
        echoes = self._echoes.overflow or self._echoes.stand_in(everything)
        start_line = self._words(message.start_line, echoes=echoes)
        headers = list(message.headers)
        for index, (name, value) in enumerate(headers):
            if echoes or _OPEN in value or _OPEN in name:
                self._where = (kind, index)
                headers[index] = self._finished_header(name, value, echoes=echoes)
        self._where = (kind, None)
        return Message(start_line=start_line, headers=tuple(headers), body=body)

    def text(self, kind: str, text: str) -> str:
        """Free text without anything that is, looks like, or repeats a secret."""
        self._where = (kind, None)
        if self._echoes.overflow and len(text) > _FINGERPRINT:
            return f"[withheld {len(text)} characters: too many secrets to look for]"
        text = self._plain(text.replace(_OPEN, "\ufffd").replace(_SHUT, "\ufffd"))
        return self._words(self._echoes.hide_cut(text, self._again))

    def _finished_header(self, name: str, value: str, *, echoes: bool) -> Header:
        clean = self._words(name, echoes=echoes), self._value(name, value, echoes=echoes)
        return (name, value) if clean == (name, value) else clean

    def _value(self, name: str, value: str, *, echoes: bool) -> str:
        """A header's value as it is written. What frames the exchange must stay readable."""
        lowered = name.lower()
        if lowered in _IDS or not echoes:
            return self._words(value, echoes=False)
        if self._echoes.overflow and lowered not in _FRAME and not _MARK.search(value):
            return f"[withheld {len(value)} characters: too many secrets to look for]" if value else value
        return self._words(value, words_too=lowered not in _FRAME)

    def _words(self, text: str, *, echoes: bool = True, words_too: bool = True) -> str:
        if echoes:
            text = self._echoes.hide(text, self._again, words_too=words_too)
        return _MARK.sub(lambda match: self._made[int(match[1])].shown, text) if _OPEN in text else text

    def _again(self, mark: str) -> str:
        """Notes that a secret stood here too."""
        redaction = self._made[int(mark[1:-1])]
        self._note(replace(redaction, message=self._where[0], header=self._where[1]))
        return mark

    # Headers.

    def _name(self, name: str) -> str:
        """A header's name; where the colon is missing, the value is in it."""
        if name in _harmless_names:
            return name
        glued = _GLUED.fullmatch(name)
        if glued and is_secret_name(glued[1]):
            return f"{glued[1]} {self._replace(glued[1], glued[2])}"
        clean = self._plain(name)
        if clean == name:
            _keep(name, _harmless_names)
        return clean

    def _header(self, name: str, value: str) -> str:
        lowered = name.lower()
        if (lowered == "sec-websocket-key" and key_octets(value)) or (lowered == _ACCEPT and _DIGEST.fullmatch(value)):
            return value  # another one for each connection, and never a secret
        if lowered == "cookie":
            clean = "; ".join(self._pair(part.strip()) for part in value.split(";"))
        elif lowered == "set-cookie":
            first, *attributes = value.split(";")
            clean = ";".join([self._pair(first), *(self._attribute(attribute) for attribute in attributes)])
        elif lowered == "sec-websocket-protocol":
            clean = ", ".join(self._subprotocol(name, value))
        elif is_secret_name(lowered):
            clean = self._credentials(name, value)
        elif is_explaining_name(lowered):
            clean = self._without(value, find_tokens(value))
        else:
            clean = self._plain(value)
        return clean

    def _credentials(self, name: str, value: str) -> str:
        scheme, secret = split_scheme(value)
        replaced = self._replace(name, secret, scheme) if secret else ""
        return f"{scheme} {replaced}" if scheme else replaced

    def _subprotocol(self, name: str, value: str) -> Iterator[str]:
        for shown, secret in secret_subprotocols([element.strip() for element in value.split(",")]):
            yield self._plain(shown) + (self._replace(name, secret) if secret else "")

    def _pair(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if not equals or (not value.strip("=") and looks_opaque(name)):  # a bare value, perhaps with its padding
            return self._replace("cookie", pair) if pair else ""
        name_ = self._plain(name)
        return f"{name_}={self._replace(name_.strip() or 'cookie', value)}" if value else f"{name_}="

    def _attribute(self, attribute: str) -> str:
        name = attribute.partition("=")[0].strip().lower()
        return self._plain(attribute) if name in _COOKIE_ATTRIBUTES else f" {self._pair(attribute.strip())}"

    # Text.

    def _plain(self, text: str) -> str:
        """A header's value, or other text, without the secrets that are in it."""
        return text if text in _harmless else self._without(text, _found(text, _harmless, _in_address))

    def _target(self, line: str) -> str:
        """A request line without the secrets that are in it."""
        return self._without(line, _found(line, _harmless_targets, find_in_target))

    def _without(self, text: str, spans: list[Span]) -> str:
        if not spans:
            return text
        done, at = [], 0
        for span in spans:
            done += [text[at : span.start], self._replace(span.name, text[span.start : span.end], span.scheme)]
            at = span.end
        return "".join(done) + text[at:]

    # One value.

    def _replace(self, name: str, secret: str, scheme: str | None = None) -> str:
        if len(self._made) >= _MAX_REDACTIONS:
            self._echoes.overflow = True
            return "[withheld]"
        token = bool(JWT.match(secret))
        parts = tuple(len(part) for part in unquote(secret).split(".")) if token else ()
        keys = self._shared if _may_be_guessed(secret, scheme) else {**self._keys, **self._shared}
        data = secret.encode("utf-8", "surrogatepass")
        fingerprints = {id_: _digest(key, data)[:_FINGERPRINT] for id_, key in keys.items()}
        words = [f"withheld {len(secret)} characters"]
        words += ["JWT " + ".".join(map(str, parts))] if parts else []
        words += [f"fp {next(iter(fingerprints.values()))}"] if fingerprints else []
        message, index = self._where
        redaction = Redaction(
            message=message,
            header=index,
            name=name[:128],
            scheme=scheme,
            length=len(secret),
            shown=f"[{' '.join(words)}]",
            parts=parts,
            fingerprints=fingerprints or None,
            jwt=_told(read_jwt(unquote(secret))) if token else None,
        )
        self._note(redaction)
        mark = f"{_OPEN}{len(self._made)}{_SHUT}"
        self._made.append(redaction)
        self._echoes.remember(secret, mark, token=token)
        return mark

    def told(self) -> tuple[Redaction, ...]:
        """What was replaced, by names that are no secrets themselves."""
        if not self._echoes.stand_in("\n".join(redaction.name for redaction in self.found)):
            return tuple(self.found)
        return tuple(
            replace(redaction, name="withheld") if self._echoes.stand_in(redaction.name) else redaction
            for redaction in self.found
        )

    def _note(self, redaction: Redaction) -> None:
        what = (redaction.message, redaction.header, redaction.name, redaction.shown)
        if len(self.found) < _MAX_REDACTIONS and what not in self._noted:
            self._noted.add(what)
            self.found.append(redaction)


def _may_be_guessed(secret: str, scheme: str | None) -> bool:
    return guessable(secret) or (scheme is not None and scheme.lower() not in _OPAQUE_SCHEMES)


def _in_address(text: str) -> list[Span]:
    return find(text, address=True)


def _found(text: str, harmless: set[str], search: Callable[[str], list[Span]]) -> list[Span]:
    """What a search finds in a text, which is not searched again if that was nothing. Nothing secret is kept."""
    if text in harmless:
        return []
    spans = search(text)
    if not spans:
        _keep(text, harmless)
    return spans


def _keep(text: T, harmless: set[T]) -> None:
    if len(text) <= _HARMLESS_LENGTH and len(harmless) < _HARMLESS_MOST:
        harmless.add(text)


def _told(jwt: Jwt | None) -> Jwt | None:
    """What a token says, without what its issuer should not have put there."""
    if jwt is None or not any(_found(text, _harmless_claims, find) for text in _texts_of(jwt)):
        return jwt

    def clean(text: str | None) -> str | None:
        return "[withheld]" if text and find(text) else text

    return replace(
        jwt,
        alg=clean(jwt.alg),
        typ=clean(jwt.typ),
        kid=clean(jwt.kid),
        iss=clean(jwt.iss),
        aud=tuple(clean(text) or "" for text in jwt.aud),
        scope=tuple(clean(text) or "" for text in jwt.scope),
        claims=tuple(clean(text) or "" for text in jwt.claims),
    )


def _texts_of(jwt: Jwt) -> list[str]:
    return [text for text in (jwt.alg, jwt.typ, jwt.kid, jwt.iss, *jwt.aud, *jwt.scope, *jwt.claims) if text]


def _digest(key: bytes, value: bytes) -> str:
    return hmac.digest(key, value, "sha256").hex()
