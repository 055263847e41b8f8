"""Secrets out, comparable fingerprints in. What leaves here may be pasted into a public issue.

Values of credential headers, cookies, token-like subprotocols, secret parameters, URL userinfo, and every JSON Web
Token wherever it stands are replaced by their length and, where that cannot be guessed back, a fingerprint. What was
found in one place is also replaced in all others: an error page that echoes the token is not a way out.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from wsprobe.credentials import (
    JWT,
    SCHEMES,
    guessable,
    is_secret_name,
    read_jwt,
    secret_subprotocols,
    split_scheme,
)
from wsprobe.handshake import key_octets, trace_ids
from wsprobe.model import Header, Message, Observation, Redaction
from wsprobe.observer import Unredacted

MIN_SHARED_KEY = 16
"""Characters that a shared fingerprint key must have: its id is told, so it must not be guessable from that."""

_MAX_REDACTIONS = 200
_MIN_ECHO = 8
_FINGERPRINT = 12
_OPEN, _SHUT = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}(\\d+){_SHUT}")
_USERINFO = re.compile(r"""(//)([^/\s?#"'<>\ue000]{1,1024})@""")
_SCHEME = re.compile(rf"""\b({"|".join(sorted(SCHEMES))})(\s+)([A-Za-z0-9._~+/=-]{{6,}})""", re.IGNORECASE)
_NAME = re.compile(r"""([\w.%\[\]-]{1,128})["']?\s*([=:])\s*""")
_VALUE = re.compile(r""""([^"\ue000]+)"|'([^'\ue000]+)'|([^\s"'&;#<>\ue000]+)""")
_HARMLESS_LENGTH, _HARMLESS_MOST = 64, 4096
_harmless: set[str] = set()
"""Short texts in which nothing was found: the names and values that every connection brings along."""
_ACCEPT, _DIGEST = "sec-websocket-accept", re.compile(r"[A-Za-z0-9+/]{27}=")
_COOKIE_ATTRIBUTES = frozenset("expires max-age domain path secure httponly samesite partitioned priority".split())


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
    """Redacts the observations of one exchange; heads that it has seen before are not searched a second time."""

    __slots__ = ("_clean", "_heads", "_key", "_pass")

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key
        self._heads: tuple[Message | None, Message | None] | None = None
        self._clean: tuple[Message | None, Message | None] = (None, None)
        self._pass = _Pass((), None)

    def redact(self, seen: Unredacted) -> Observation:
        """The observation without its secrets."""
        observation = seen.observation
        request, response = observation.request, observation.response
        known = self._heads
        if known is None or known[0] is not request or known[1] is not response:
            self._pass = _Pass(trace_ids(request.headers) if request else (), self._key)
            marked = self._pass.message("request", request), self._pass.message("response", response)
            self._clean = self._pass.finished("request", marked[0]), self._pass.finished("response", marked[1])
            self._heads = request, response
        texts = self._texts(observation)
        return replace(
            observation,
            request=self._clean[0],
            response=self._clean[1],
            redactions=tuple(self._pass.found),
            **texts,
        )

    def _texts(self, observation: Observation) -> dict[str, Any]:
        """What may hold secrets besides the heads, as far as there is any."""
        text = self._pass.text
        clean: dict[str, Any] = {}
        if observation.interim:
            clean["interim"] = tuple(text("response", line) for line in observation.interim)
        if any(close.reason for close in observation.closes):
            clean["closes"] = tuple(replace(close, reason=text("closes", close.reason)) for close in observation.closes)
        if any(anomaly.detail for anomaly in observation.anomalies):
            clean["anomalies"] = tuple(replace(one, detail=text("closes", one.detail)) for one in observation.anomalies)
        if observation.failure:
            clean["failure"] = replace(observation.failure, message=text("response", observation.failure.message))
        if observation.expectations:
            steps = observation.expectations
            clean["expectations"] = tuple(replace(step, what=text("closes", step.what)) for step in steps)
        judged = observation.handshake
        if judged:
            nominated = tuple(text("request", token) for token in judged.connection)
            accepted = tuple(text("response", name) for name in judged.extensions)
            if (nominated, accepted) != (judged.connection, judged.extensions):
                clean["handshake"] = replace(judged, connection=nominated, extensions=accepted)
        return clean


class _Pass:
    """One pass over one observation: what it replaced, and under which keys it takes fingerprints."""

    def __init__(self, ids: tuple[str, ...], shared: bytes | None) -> None:
        self.found: list[Redaction] = []
        self._secrets: dict[str, tuple[str, Redaction]] = {}
        self._shown: list[str] = []
        self._keys = {f"trace:{id_}": bytes.fromhex(id_) for id_ in ids}
        self._shared = {f"key:{_digest(shared, b'wsprobe')[:8]}": shared} if shared else {}
        self._where: tuple[str, int | None] = ("request", None)

    def message(self, kind: str, message: Message | None) -> Message | None:
        """A head with a mark in place of each credential; `finished` turns the marks into words."""
        if message is None:
            return None
        headers = []
        for index, header in enumerate(message.headers):
            self._where = (kind, index)
            name, value = header
            clean = self._plain(name), self._header(name, value)
            headers.append(header if clean == header else clean)  # most are kept as they are: one object for both
        self._where = (kind, None)
        start_line = self._target(message.start_line) if kind == "request" else message.start_line
        return Message(start_line=self._plain(start_line), headers=tuple(headers), body=message.body)

    def finished(self, kind: str, message: Message | None) -> Message | None:
        """The same head, and the body, also without values that were found to be secret elsewhere."""
        if message is None:
            return None
        self._where = (kind, None)
        body = message.body
        if body and body.text:
            body = replace(body, text=self.text(kind, body.text))
        start_line = self._words(message.start_line)
        headers: list[Header] = []
        for index, header in enumerate(message.headers):
            self._where = (kind, index)
            clean = self._words(header[0]), self._words(header[1])
            headers.append(header if clean == header else clean)
        self._where = (kind, None)
        return Message(start_line=start_line, headers=tuple(headers), body=body)

    def text(self, kind: str, text: str) -> str:
        """Free text without anything that is, looks like, or repeats a secret."""
        self._where = (kind, None)
        return self._words(self._plain(text.replace(_OPEN, "\ufffd").replace(_SHUT, "\ufffd")))

    def _words(self, text: str) -> str:
        text = self._known(text)
        return _MARK.sub(lambda m: self._shown[int(m[1])], text) if _OPEN in text else text

    def _target(self, line: str) -> str:
        """A request line whose query has lost its secret parameters, whatever octets they are made of."""
        path, question, query = line.partition("?")
        if not question:
            return line
        query, space, version = query.rpartition(" ")
        pairs = []
        for pair in query.split("&") if space else version.split("&"):
            name, equals, value = pair.partition("=")
            secret = value and (is_secret_name(unquote(name)) or self._nested(value, 0))
            pairs.append(f"{name}={self._replace(unquote(name), value)}" if secret else pair)
        return f"{path}?{'&'.join(pairs)}{space}{version if space else ''}"

    # Headers.

    def _header(self, name: str, value: str) -> str:
        lowered = name.lower()
        if (lowered == "sec-websocket-key" and key_octets(value)) or (lowered == _ACCEPT and _DIGEST.fullmatch(value)):
            return value  # another one for each connection, and never a secret
        if lowered == "cookie":
            return "; ".join(self._pair(part.strip()) for part in value.split(";"))
        if lowered == "set-cookie":
            first, *attributes = value.split(";")
            return ";".join([self._pair(first), *(self._attribute(attribute) for attribute in attributes)])
        if lowered == "sec-websocket-protocol":
            elements = [element.strip() for element in value.split(",")]
            pairs = secret_subprotocols(elements)
            return ", ".join(shown + (self._replace(name, secret) if secret else "") for shown, secret in pairs)
        if is_secret_name(lowered):
            scheme, secret = split_scheme(value)
            replaced = self._replace(name, secret, scheme) if secret else ""
            return f"{scheme} {replaced}" if scheme else replaced
        return self._plain(value)

    def _pair(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if not equals:
            return self._replace("cookie", pair) if pair else ""
        return f"{name}={self._replace(name.strip() or 'cookie', value)}" if value else pair

    def _attribute(self, attribute: str) -> str:
        name = attribute.partition("=")[0].strip().lower()
        return self._plain(attribute) if name in _COOKIE_ATTRIBUTES else f" {self._pair(attribute.strip())}"

    # Text.

    def _plain(self, text: str, depth: int = 0) -> str:
        """Text without tokens, userinfo, credentials behind a scheme, and values of secret parameters."""
        if text in _harmless:
            return text
        clean = JWT.sub(lambda m: self._replace("JSON Web Token", m[0]), text)
        if "@" in clean:
            clean = _USERINFO.sub(lambda m: f"{m[1]}{self._replace('userinfo', m[2])}@", clean)
        if " " in clean or "\t" in clean or "\n" in clean:
            clean = _SCHEME.sub(lambda m: f"{m[1]}{m[2]}{self._replace('credentials', m[3], m[1])}", clean)
        if "=" in clean or ":" in clean:
            clean = self._parameters(clean, depth)
        if clean == text and len(text) <= _HARMLESS_LENGTH and len(_harmless) < _HARMLESS_MOST:
            _harmless.add(text)
        return clean

    def _parameters(self, text: str, depth: int) -> str:
        done, at = [], 0
        while name := _NAME.search(text, at):
            value = _VALUE.match(text, name.end())
            begin, at_next = at, name.end()
            if value and self._is_secret(unquote(name[1]), name[2], value, depth):
                group = value.lastindex or 0
                done.append(text[begin : value.start(group)] + self._replace(unquote(name[1]), value[group]))
                at = value.end(group)
            else:
                done.append(text[begin:at_next])
                at = at_next
        return "".join(done) + text[at:]

    def _is_secret(self, name: str, sign: str, value: re.Match[str], depth: int) -> bool:
        plain = value[3]
        if plain and plain.lower().rstrip(",;") in SCHEMES:  # the credentials behind it were already replaced
            return False
        if is_secret_name(name):
            return not (plain and sign == ":" and _is_prose(plain))
        return self._nested(value[0], depth)

    def _nested(self, value: str, depth: int) -> bool:
        """Whether a percent-encoded value holds a URL or a form with secrets of its own."""
        if depth > 2 or "%" not in value:  # noqa: PLR2004  nobody encodes more often than twice
            return False
        inner = unquote(value)
        probe = _Pass((), None)
        return probe._plain(inner, depth + 1) != inner  # noqa: SLF001  its own class

    def _known(self, text: str) -> str:
        """Text without the secrets that stood elsewhere."""
        if len(text) < _MIN_ECHO:
            return text
        for secret, (mark, redaction) in self._secrets.items():
            if secret in text:
                text = text.replace(secret, mark)
                self._note(replace(redaction, message=self._where[0], header=self._where[1]))
        return text

    # One value.

    def _replace(self, name: str, secret: str, scheme: str | None = None) -> str:
        jwt = read_jwt(secret) if JWT.match(secret) else None
        parts = tuple(len(part) for part in secret.split(".")) if JWT.match(secret) else ()
        keys = self._shared if guessable(secret) else {**self._keys, **self._shared}
        data = secret.encode("utf-8", "surrogateescape")
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
            jwt=jwt,
        )
        self._note(redaction)
        mark = f"{_OPEN}{len(self._shown)}{_SHUT}"
        self._shown.append(redaction.shown)
        self._remember(secret, mark, redaction)
        return mark

    def _note(self, redaction: Redaction) -> None:
        if len(self.found) < _MAX_REDACTIONS and redaction not in self.found:
            self.found.append(redaction)

    def _remember(self, secret: str, mark: str, redaction: Redaction) -> None:
        """What must not be repeated elsewhere: the value, its decoded and encoded forms, and a Basic password."""
        forms = {secret, unquote(secret), quote(secret, safe="")}
        if redaction.scheme and redaction.scheme.lower() == "basic":
            forms |= _basic_forms(secret)
        forms |= {part for part in secret.split(".")[1:]} if redaction.parts else set()
        for form in sorted(forms, key=lambda form: (-len(form), form)):
            if len(form) >= _MIN_ECHO and len(self._secrets) < _MAX_REDACTIONS:
                self._secrets.setdefault(form, (mark, redaction))


def _is_prose(value: str) -> bool:
    """Whether what follows a name and a colon tells why something failed: `token: expired`, `code: 401`."""
    word = value.rstrip(".,;!)")
    return word.isascii() and ((word.isalpha() and word.islower()) or (word.isdigit() and len(word) <= 4))  # noqa: PLR2004


def _basic_forms(secret: str) -> set[str]:
    try:
        decoded = base64.b64decode(secret, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return set()
    return {decoded, decoded.partition(":")[2]}


def _digest(key: bytes, value: bytes) -> str:
    return hmac.new(key, value, hashlib.sha256).hexdigest()
