"""The one boundary between what configs say and what is shown of them: no secret passes, wherever it stands.

A line of a config keeps its length, with a sign in place of each character of a secret, so that columns stay right;
everywhere else a secret is replaced by its length. What was secret in one place is hidden in all others too.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from operator import attrgetter, is_
from typing import Any, TypeVar

from wsprobe.credentials import is_explaining_name, is_secret_name, secret_subprotocols, split_scheme
from wsprobe.echoes import Echoes
from wsprobe.freetext import Span, find, find_in_target, find_tokens
from wsprobe.inspection import Change, HeaderEdit, Prediction
from wsprobe.lb import secrets
from wsprobe.parts import Line, Message, Replaced
from wsprobe.patterns import lazy

SIGN = "*"
"""What stands for each character of a secret in a line of a config."""

LONGEST = 500
"""Characters of a line of which all are shown: a config without line breaks would else be told whole at each place."""

T = TypeVar("T")

_DIVIDERS = lazy(r"[\s\"'`,;|=<>(){}\[\]]+")
_SHORTEST = 4
_OPEN, _SHUT = "\ue000", "\ue001"
_MARK = lazy(f"{_OPEN}(\\d+){_SHUT}")
_PATHS = frozenset({"path", "files", "config", "url", "rule", "rules", "version", "kind"})
"""Fields that name files or hold our own words: they stay as they are."""


class Veil:
    """Hides secrets in records. It knows those that the configs hold, and learns those of the request it is shown."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._echoes = Echoes()
        self._exact: set[str] = set()
        self._made: list[str] = []
        self._shown: dict[str, str] = {}
        self.found: Counter[tuple[str, str]] = Counter()
        # Routes repeat the lines and edits of the level around them: most is looked at once.
        self._lines: dict[Line, Line] = {}
        self._edits: dict[HeaderEdit, HeaderEdit] = {}
        self._texts: dict[str, str] = {}
        self._long: dict[str, str] = {}
        for secret in dict.fromkeys(known):
            self.remember(secret)

    def remember(self, secret: str) -> str:
        """Follows a secret from now on; the words that stand in its place."""
        if secret in self._shown:
            return self._shown[secret]
        words = f"withheld {len(secret)} characters"
        alike = sum(shown.startswith(f"[{words}") for shown in self._shown.values()) if len(self._shown) < 100 else 0
        shown = f"[{words}{f', #{alike + 1}' if alike else ''}]"
        self._shown[secret] = shown
        self._exact.add(secret)
        if not self._echoes.overflow:
            self._echoes.remember(secret, f"{_OPEN}{len(self._made)}{_SHUT}", token=False)
        self._made.append(shown)
        return shown

    def manifest(self) -> tuple[Replaced, ...]:
        """What was replaced, where, and how often."""
        return tuple(
            Replaced(what=what, where=where, times=times) for (what, where), times in sorted(self.found.items())
        )

    def hide(self, record: T) -> T:
        """A record, or a tuple of them, without secrets in any of its texts."""
        hidden: T = self._any(record)
        return hidden

    def _any(self, value: Any) -> Any:  # noqa: ANN401
        kind: type = type(value)
        if kind is str:
            return self._once(self._texts, value, self.text)
        if kind is tuple:
            return self._tuple(value)
        if kind is Line:
            return self._once(self._lines, value, self.line)
        return self._part(value) if _is_record(kind) else value

    def _part(self, value: Any) -> Any:  # noqa: ANN401  a dataclass
        match value:
            case HeaderEdit():
                return self._once(self._edits, value, self._edit)
            case Message():
                return self._message(value)
        return self._record(value)

    def _tuple(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same object where nothing in it is a secret, so that what holds it is not made anew."""
        hidden = tuple([self._any(item) for item in items])
        return items if all(map(is_, items, hidden)) else hidden

    @staticmethod
    def _once(known: dict[T, T], value: T, hide: Callable[[T], T]) -> T:
        if value not in known:
            known[value] = hide(value)
        return known[value]

    def _record(self, record: Any) -> Any:  # noqa: ANN401  a dataclass
        if isinstance(record, Prediction) and record.request:
            self._message(record.request)  # what the request holds may be repeated in any reason
        kind: type = type(record)
        names, values_of = _parts(kind)
        old = values_of(record)
        new = tuple(value if name in _PATHS else self._any(value) for name, value in zip(names, old, strict=True))
        changed = {name: b for name, a, b in zip(names, old, new, strict=True) if a is not b}
        return replace(record, **changed) if changed else record

    # Lines of configs.

    def line(self, line: Line) -> Line:
        """A line whose text has a sign for each character of a secret; of a very long one what stands around it."""
        if len(line.text) > LONGEST:
            return _around(line, self._once(self._long, line.text, lambda text: self._signed(text, line.path)))
        text = self._signed(line.text, line.path)
        return line if text == line.text else replace(line, text=text)

    def _signed(self, text: str, path: str) -> str:
        for span in secrets.find(text):
            self.remember(text[span.start : span.end])
            self.found[span.name[:64], path] += 1
            text = text[: span.start] + SIGN * (span.end - span.start) + text[span.end :]
        for secret in self._there(text):
            text = text.replace(secret, SIGN * len(secret))
        return text

    def _there(self, text: str) -> list[str]:
        """The secrets that can be read in a text, the longest first."""
        words = {text, *_DIVIDERS.split(text)}
        words |= {part for word in words for part in re.split(r"[:@/?&]", word)}
        there = {word for word in words if len(word) >= _SHORTEST and word in self._exact}
        if len(self._exact) <= 1000:
            there |= {secret for secret in self._exact if len(secret) > 7 and secret in text}
        return sorted(there, key=len, reverse=True)

    # Requests.

    def _message(self, message: Message) -> Message:
        line = self._without(message.start_line, find_in_target(message.start_line), "request")
        headers = tuple((name, self.header(name, value)) for name, value in message.headers)
        return replace(message, start_line=line, headers=headers)

    def _edit(self, edit: HeaderEdit) -> HeaderEdit:
        before = None if edit.before is None else self.header(edit.name, edit.before)
        after = edit.after
        if after is not None and edit.kind is not Change.RENAMED:
            after = self.header(edit.name, after)
        return replace(edit, before=before, after=after, place=self._any(edit.place))

    def header(self, name: str, value: str) -> str:
        """The value of a header without what must not be shown of it."""
        lowered = name.lower()
        if not is_secret_name(name) and lowered != "sec-websocket-protocol":
            return self._without(
                value, find_tokens(value) if is_explaining_name(name) else find(value, address=True), name
            )
        if secrets.harmless(value):
            return value
        if lowered == "cookie":
            return "; ".join(self._cookie(pair.strip()) for pair in value.split(";"))
        if lowered == "sec-websocket-protocol":
            offered = secret_subprotocols([element.strip() for element in value.split(",")])
            return ", ".join(shown + (self._replaced(name, secret) if secret else "") for shown, secret in offered)
        scheme, secret = split_scheme(value)
        told = self._replaced(name, secret)
        return f"{scheme} {told}" if scheme else told

    def _cookie(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if not equals:
            return self._replaced("cookie", pair) if pair else ""
        return f"{name}={self._replaced(name, value)}" if value else f"{name}="

    # Text.

    def text(self, text: str) -> str:
        """Any other text without secrets: what looks like one, and what is known to be one."""
        return self._without(text, secrets.find(text, prose=True), "text")

    def _without(self, text: str, spans: list[Span], where: str) -> str:
        text = text.replace(_OPEN, "\ufffd").replace(_SHUT, "\ufffd")
        for span in reversed(spans):
            text = f"{text[: span.start]}{self._replaced(where, text[span.start : span.end])}{text[span.end :]}"
        if self._echoes.overflow:
            for secret in self._there(text):
                text = text.replace(secret, self._shown[secret])
            return text
        return _MARK.sub(lambda mark: self._made[int(mark[1])], self._echoes.hide(text, lambda mark: mark))

    def _replaced(self, name: str, secret: str) -> str:
        if secrets.harmless(secret):
            return secret
        self.found[name[:64], "request"] += 1
        return self.remember(secret)


def _around(line: Line, text: str) -> Line:
    """The part of a long line that its place is in, as if there were nothing else; secrets are hidden already."""
    begin = max(0, line.column - 1 - line.indent - LONGEST // 4)
    part = text[begin : begin + LONGEST]
    indent = line.indent + begin + len(part) - len(part.lstrip())
    return replace(line, text=part.strip(), indent=indent)


@cache
def _is_record(kind: Any) -> bool:  # noqa: ANN401  a class
    return is_dataclass(kind)


@cache
def _parts(kind: Any) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:  # noqa: ANN401  a class
    names = tuple(field.name for field in fields(kind))
    if len(names) == 1:
        return names, lambda record: (getattr(record, names[0]),)
    return names, attrgetter(*names)
