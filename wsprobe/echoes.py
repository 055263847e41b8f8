"""What was secret in one place is also replaced in all others, in whatever spelling it is repeated there.

Error pages echo the token that they refuse, close reasons the password, redirects the whole request: percent-encoded,
escaped for JSON or HTML, decoded from base64, or cut off at the end of a text that was too long.
"""

import base64
import binascii
import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from wsprobe.freetext import is_prose
from wsprobe.patterns import lazy

MAX_SECRETS = 1000
"""Secrets, in all their spellings, that are followed; where there are more, other text is withheld as a whole."""

_SHORTEST = 6
_FOLLOWED = 8
_ESCAPES = lazy(r"[%\\&]")
_UNICODE = lazy(r"\\u([0-9a-fA-F]{4})")
_WORD = lazy(r"[^\s\"<>\ue000\ue001]+")
_ENTITY = lazy(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")
_PLAIN = lazy(r"[A-Za-z0-9_-]+")
_WORDS = lazy(r"[\s,;]+")
_DIVIDERS = lazy(r"[\s.,:;|=&/'\"()\[\]{}<>]+")

Hide = Callable[[str], str]
"""What stands in place of a secret that was remembered: a mark, by the mark that it was remembered with."""


class Echoes:
    """The secrets of one exchange, in all spellings, each with the mark that stands for it."""

    __slots__ = ("_longest_first", "_marks", "overflow")

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}
        self._longest_first: list[str] | None = None
        self.overflow = False

    def remember(self, secret: str, mark: str, *, token: bool) -> None:
        """Follows a secret from now on; `token` says that it is a JSON Web Token."""
        for form in _token_forms(secret) if token else _forms(secret):
            if len(form) < _SHORTEST or (len(form) < _FOLLOWED and is_prose(form)) or form in self._marks:
                continue
            if len(self._marks) >= MAX_SECRETS:
                self.overflow = True
                return
            self._marks[form] = mark
            self._longest_first = None

    def stand_in(self, text: str) -> bool:
        """Whether any of the secrets can be read in a text, however it is spelled."""
        return any(secret in text for secret in self._marks) or (
            bool(_ESCAPES.search(text))
            and any(secret in plain for plain in (_unescaped(text),) for secret in self._marks)
        )

    def hide(self, text: str, hidden: Hide, *, words_too: bool = True) -> str:
        """The text with a mark for each secret; `hidden` is told which.

        Without `words_too` an ordinary word stays, also where it is the value of some cookie: the header is the
        frame of the exchange, and says nothing that its sender did not have to say.
        """
        if len(text) < _SHORTEST or not self._marks:
            return text
        for secret in self._all():
            if secret in text and (words_too or not is_prose(secret)):
                text = text.replace(secret, hidden(self._marks[secret]))
        return self._hide_spelled(text, hidden) if _ESCAPES.search(text) else text

    def hide_cut(self, text: str, hidden: Hide) -> str:
        """The text without a secret whose rest was cut off at the end of it."""
        for secret in self._all():
            start = max(0, len(text) - len(secret)) - 1
            while len(secret) > _FOLLOWED and (start := text.find(secret[:_FOLLOWED], start + 1)) >= 0:
                if secret.startswith(text[start:]):
                    return text[:start] + hidden(self._marks[secret])
        return text

    def _all(self) -> list[str]:
        """The longest first: a short one can be part of a longer one, whose rest must not stay behind."""
        if self._longest_first is None:
            self._longest_first = sorted(self._marks, key=lambda form: (-len(form), form))
        return self._longest_first

    def _hide_spelled(self, text: str, hidden: Hide) -> str:
        """Words that hold a secret once their escapes are taken off."""
        plain = _unescaped(text)
        there = [secret for secret in self._all() if secret in plain]
        if not there:
            return text

        def word(match: re.Match[str]) -> str:
            spelled = _unescaped(match[0]) if _ESCAPES.search(match[0]) else ""
            found = next((secret for secret in there if secret in spelled), None)
            return match[0] if found is None else hidden(self._marks[found])

        text = _WORD.sub(word, text)
        plain = _unescaped(text)
        left = next((secret for secret in there if secret in plain), None)
        return text if left is None else hidden(self._marks[left])  # it spans words: nothing of the text can stay


def _unescaped(text: str) -> str:
    for _ in range(3):
        if "%" not in text:
            break
        text = unquote(text)
    import html  # its table of names is long, and seldom wanted

    text = _UNICODE.sub(lambda match: chr(int(match[1], 16)), text)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text).replace("\\", "")


def _token_forms(secret: str) -> set[str]:
    """A token and those of its parts that are nobody else's; its header is the same for all."""
    plain = unquote(secret)
    return {secret, plain, *plain.split(".")[1:]}


def _forms(secret: str) -> set[str]:
    """The spellings in which a secret can be met elsewhere, and the parts of it that are secrets of their own."""
    if _PLAIN.fullmatch(secret):
        return _with_decoded({secret})
    forms = {secret, secret.strip("\"'"), secret.rstrip("="), unquote(secret), quote(secret, safe="", errors="replace")}
    for form in tuple(forms):
        words = [word.strip("\"'") for word in _WORDS.split(form)]
        parts = [*words, *(word.partition("=")[2].strip("\"'") for word in words), *_DIVIDERS.split(form)]
        forms |= {part for part in parts if len(part) >= _FOLLOWED and _telling(part)}
    return _with_decoded(forms)


def _with_decoded(forms: set[str]) -> set[str]:
    forms = forms.union(filter(None, map(_decoded, forms)))
    forms |= {form.partition(":")[2] for form in forms if ":" in form}  # RFC 7617: a user and a password
    return forms.union(*(_recoded(form) for form in forms if not form.isascii()))


def _telling(part: str) -> bool:
    """Whether a part of a value tells something: words and dates stand everywhere."""
    return not is_prose(part) and (not part.isdigit() or len(part) > 11)


def _recoded(text: str) -> set[str]:
    """Text in the encodings that it can have elsewhere: a header is latin-1 here, a body UTF-8 if it can be."""
    octets = text.encode("utf-8", "replace"), text.encode("latin-1", "replace")
    return {octets[0].decode("latin-1"), octets[1].decode("utf-8", "replace")}


def _decoded(secret: str) -> str | None:
    try:
        octets = base64.b64decode(
            secret.replace("+", "-").replace("/", "_") + "=" * (-len(secret) % 4), b"-_", validate=True
        )
    except (binascii.Error, ValueError):
        return None
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    return text if text.isprintable() else None
