"""What the expressions of a config come to for one request; what cannot be known is said to be unknown.

`evaluate` gives the text of a value, None where it has no value (a header that is not there), or an `Unsure` that says
why nobody can tell. `holds` gives True, False, or an `Unsure`.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import unquote

from wsprobe.lb._numbers import natural
from wsprobe.lb._paths import written
from wsprobe.lb.expressions import (
    All,
    Captured,
    Cased,
    Cases,
    Condition,
    Count,
    How,
    Join,
    Length,
    Lines,
    Not,
    Of,
    OneOf,
    Or,
    Piece,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Unsure,
    Value,
    Without,
    Written,
)
from wsprobe.patterns import lazy


class View(Protocol):
    """What an expression may ask of a request."""

    def lines(self, name: str, *, original: bool) -> "list[str] | Unsure":
        """The values of all lines of a header."""

    def part(self, subject: Subject, *, original: bool) -> "str | Unsure | None":
        """Any other part; None where it has no value."""

    def variable(self, name: str) -> "str | Unsure | None":
        """A variable of the proxy; None where none was assigned."""

    def withheld(self, text: str) -> str | None:
        """The part of a text that stands in the place of another one, which nobody knows."""


def evaluate(value: Value | None, view: View) -> str | Unsure | None:  # noqa: C901, PLR0911, PLR0912  one branch a kind
    """The text of a value, None where it has none."""
    match value:
        case None:
            return None
        case Text():
            return value.text
        case Of():
            return _part(value, view)
        case Join():
            return _joined(value, view)
        case Cases():
            return _case(value, view)
        case Or():
            first = evaluate(value.first, view)
            return first or evaluate(value.second, view)
        case Substituted():
            return _substituted(value, view)
        case Captured():
            return _captured(value, view)
        case Without():
            text = evaluate(value.value, view)
            return text.removeprefix(value.prefix).removesuffix(value.suffix) if isinstance(text, str) else text
        case Cased():
            text = evaluate(value.value, view)
            return (text.upper() if value.upper else text.lower()) if isinstance(text, str) else text
        case Written():
            text = evaluate(value.value, view)
            return written(value.form, text) if isinstance(text, str) else text
        case Piece():
            text = evaluate(value.value, view)
            return _piece(value, text) if isinstance(text, str) else text
        case Count():
            found = _header_values(value.of, view)
            return found if isinstance(found, Unsure) else str(len(found))
        case Length():
            text = evaluate(value.value, view)
            return str(len(text.encode())) if isinstance(text, str) else text
        case Undecided():
            return Unsure(value.why)


def _piece(value: Piece, text: str) -> str | None:
    parts = members_of(text) if value.quotes else re.split(f"[{re.escape(value.separators)}]", text)
    if value.skip_empty:
        parts = [part for part in parts if part]
    at = value.number - 1 if value.number > 0 else len(parts) + value.number
    return parts[at] if 0 <= at < len(parts) else "" if value.or_empty else None


_MAX_TEXT = 1 << 20


def _joined(value: Join, view: View) -> str | Unsure:
    parts = [evaluate(part, view) for part in value.parts]
    unsure = next((part for part in parts if isinstance(part, Unsure)), None)
    return unsure or _bounded("".join(str(part or "") for part in parts))


def _bounded(text: str) -> str | Unsure:
    """A text, unless it is longer than any head: a variable that is made of itself doubles with each step."""
    return text if len(text) <= _MAX_TEXT else Unsure(f"it has more than {_MAX_TEXT} characters")


def _part(value: Of, view: View) -> str | Unsure | None:
    match value.subject:
        case Subject.HEADER:
            return _header(value, view)
        case Subject.COOKIE:
            return _named(value.name, view.lines("cookie", original=value.original), ";")
        case Subject.VARIABLE:
            return view.variable(value.name)
        case Subject.PARAMETER:
            return _parameter(value, view)
    return view.part(value.subject, original=value.original)


def _header(value: Of, view: View) -> str | Unsure | None:
    found = view.lines(value.name, original=value.original)
    if isinstance(found, Unsure):
        return found
    return _of_lines(value, found) if found else None


def _of_lines(value: Of, lines: list[str]) -> str:
    match value.lines:
        case Lines.FIRST | Lines.ANY_LINE:
            return lines[0]
        case Lines.LAST:
            return lines[-1]
        case Lines.JOINED:
            return value.separator.join(lines)
        case Lines.FIRST_MEMBER | Lines.ANY_MEMBER:
            return lines[0].split(",")[0].strip()
        case Lines.LAST_MEMBER:
            return lines[-1].split(",")[-1].strip()


def _parameter(value: Of, view: View) -> str | Unsure | None:
    if value.lines is not Lines.FIRST:
        every = _parameters(value, view)
        return every if isinstance(every, Unsure) else _of_lines(value, every) if every else None
    query = view.part(Subject.QUERY, original=value.original)
    found = _named(value.name, query if isinstance(query, Unsure) else [query or ""], "&")
    return unquote(found.replace("+", " ")) if isinstance(found, str) else found


def _parameters(value: Of, view: View) -> list[str] | Unsure:
    """All values of a query parameter, decoded; one without an equals sign has the empty text."""
    query = view.part(Subject.QUERY, original=value.original)
    if isinstance(query, Unsure):
        return query
    pairs = (pair.partition("=") for pair in (query or "").split("&"))
    return [unquote(text.replace("+", " ")) for key, _, text in pairs if unquote(key.replace("+", " ")) == value.name]


def _named(name: str, lines: list[str] | Unsure, separator: str) -> str | Unsure | None:
    """The value of the first pair of that name."""
    if isinstance(lines, Unsure):
        return lines
    pairs = (pair.strip().partition("=") for line in lines for pair in line.split(separator))
    return next((text for key, equals, text in pairs if key == name and equals), None)


def _case(value: Cases, view: View) -> str | Unsure | None:
    for condition, then in value.cases:
        held = holds(condition, view)
        if isinstance(held, Unsure):
            return held
        if held:
            return evaluate(then, view)
    return evaluate(value.default, view)


def _substituted(value: Substituted, view: View) -> str | Unsure | None:
    text = evaluate(value.value, view)
    return (
        substitute(value.pattern, value.replacement, text, ignore_case=value.ignore_case, every=value.all)
        if (isinstance(text, str))
        else text
    )


def _captured(value: Captured, view: View) -> str | Unsure | None:
    text = evaluate(value.value, view)
    if not isinstance(text, str):
        return text
    found = _searched("search", value.pattern, text, ignore_case=value.ignore_case)
    if found is None or isinstance(found, Unsure):
        return found
    number = natural(value.group)
    try:
        caught: str | None = found[value.group if number is None else number]
    except IndexError:
        return None
    return caught


def holds(condition: Condition, view: View) -> bool | Unsure:
    """Whether a condition holds for a request."""
    match condition:
        case Test():
            return _tested(condition, view)
        case All():
            return _over(condition.conditions, view, decides=False)
        case OneOf():
            return _over(condition.conditions, view, decides=True)
        case Not():
            held = holds(condition.condition, view)
            return held if isinstance(held, Unsure) else not held
        case Undecided():
            return Unsure(condition.why)


def _over(conditions: Iterable[Condition], view: View, *, decides: bool) -> bool | Unsure:
    """One that is `decides` settles it, whatever cannot be told of the others."""
    unsure: Unsure | None = None
    for condition in conditions:
        held = holds(condition, view)
        if isinstance(held, Unsure):
            unsure = unsure or held
        elif held is decides:
            return decides
    return unsure or not decides


_MANY = frozenset({Subject.HEADER, Subject.COOKIE, Subject.VARIABLE, Subject.PARAMETER})
"""Parts of a request that are asked for by name."""


def _tested(test: Test, view: View) -> bool | Unsure:
    if isinstance(test.value, Of) and test.value.subject not in _MANY:  # the matches of most routes
        text = view.part(test.value.subject, original=test.value.original)
        return _judged(test, text, view) if isinstance(text, str) else text or False
    texts = _values(test.value, view)
    return texts if isinstance(texts, Unsure) else _any(_judged(test, text, view) for text in texts)


def _judged(test: Test, text: str, view: View) -> bool | Unsure:
    """Whether a text passes; of one that is partly withheld only what holds whatever stood there."""
    mark = view.withheld(text)
    # No value has control characters: a search for one is about what stands between values.
    if mark is None or test.how is How.EXISTS or not all(map(str.isprintable, test.texts)):
        return _passes(test, text)
    known = text.partition(mark)[0]
    begins = test.how is How.PREFIX or (test.how is How.REGEX and not any(map(_LOOKS_ON.search, test.texts)))
    if begins and _passes(test, known) is True:
        return True
    if test.how in {How.PREFIX, How.EQUALS}:
        said = tuple(each.lower() for each in test.texts) if test.ignore_case else test.texts
        beginning = known.lower() if test.ignore_case else known
        if not any(each.startswith(beginning) and len(each) > len(beginning) for each in said):
            return False
    return Unsure("it depends on a value that was withheld when the request was recorded")


_LOOKS_ON = lazy(r"\$|\(\?|\\[zZbB]")
"""Patterns that what follows a text can keep from matching in it."""


def _any(outcomes: Iterable[bool | Unsure]) -> bool | Unsure:
    unsure: Unsure | None = None
    for outcome in outcomes:
        if outcome is True:
            return True
        if isinstance(outcome, Unsure):
            unsure = unsure or outcome
    return unsure or False


def _values(value: Value, view: View) -> list[str] | Unsure:
    """All texts that a test looks at: several where a header may stand on several lines and any of them counts."""
    match value:
        case Of(subject=Subject.HEADER, lines=Lines.ANY_LINE | Lines.ANY_MEMBER):
            return _header_values(value, view)
        case Of(subject=Subject.PARAMETER, lines=Lines.ANY_LINE):
            return _parameters(value, view)
        case Cased() | Substituted() | Without() | Piece() | Length():
            inner = _values(value.value, view)
            if isinstance(inner, Unsure):
                return inner
            made = [evaluate(replace(value, value=Text(text)), view) for text in inner]
        case _:
            made = [evaluate(value, view)]
    unsure = next((text for text in made if isinstance(text, Unsure)), None)
    return unsure or [text for text in made if isinstance(text, str)]


def _header_values(of: Of, view: View) -> list[str] | Unsure:
    found = view.lines(of.name, original=of.original)
    if isinstance(found, Unsure) or of.lines is not Lines.ANY_MEMBER:
        return found
    return [member.strip() for line in found for member in (members_of(line) if of.quotes else line.split(","))]


def members_of(line: str) -> list[str]:
    """The members of a list with the space around them; a comma between quotes divides nothing (RFC 9110, 5.6.1)."""
    if '"' not in line:
        return line.split(",")
    members, start, quoted, escaped = [], 0, False, False
    for at, char in enumerate(line):
        if escaped:
            escaped = False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            members.append(line[start:at])
            start = at + 1
    return [*members, line[start:]]


def _passes(test: Test, text: str) -> bool | Unsure:  # noqa: PLR0911  one branch a kind
    match test.how:
        case How.EXISTS:
            return True
        case How.REGEX:
            return _any(matches(pattern, text, ignore_case=test.ignore_case) for pattern in test.texts)
        case How.BETWEEN:
            return any(_between(text, bounds) for bounds in test.texts)
        case How.NETWORK:
            return any(_lies_in(text, network) for network in test.texts)
    compared = text.lower() if test.ignore_case else text
    wanted = tuple(each.lower() for each in test.texts) if test.ignore_case else test.texts
    match test.how:
        case How.EQUALS:
            return compared in wanted
        case How.PREFIX:
            return compared.startswith(wanted)
        case How.SUFFIX:
            return compared.endswith(wanted)
        case How.CONTAINS:
            return any(each in compared for each in wanted)


def _between(text: str, bounds: str) -> bool:
    low, _, high = bounds.partition(":")
    try:
        number = int(text)
        return (not low or int(low) <= number) and (not high or number <= int(high))
    except ValueError:
        return False


def _lies_in(address: str, network: str) -> bool:
    """Whether an address lies in a network; what is neither lies in none."""
    import ipaddress

    try:
        return ipaddress.ip_address(address.partition("%")[0]) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


_PATTERN_SECONDS = 0.1


_PLAIN = lazy(
    r"(?:\(\?i\))?(?:\^|\\A)?(?:[\w/:. -]|\\[./]|\[(?:\^)?[\w.+/?#-]+\](?![*+]))*(?:\[(?:\^)?[\w.+/?#-]+\][*+])?"
    r"[\w/:. -]*(?:\[(?:\^)?[\w.+/?#-]+\]\*)?(?:\$|\\Z)?"
)
"""Patterns that mean the same to everyone, and are quick on any text: PCRE's whole grammar costs start-up."""


_MAX_PATTERN, _SHORT = 10_000, 100


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool | Unsure:
    """Whether a pattern is found in a text, as PCRE and RE2 search; bounded in time."""
    if len(pattern) <= _SHORT and _PLAIN.fullmatch(pattern):
        return re.search(pattern, text, re.IGNORECASE if ignore_case else 0) is not None
    found = _searched("search", pattern, text, ignore_case=ignore_case)
    return found if isinstance(found, Unsure) else found is not None


def substitute(
    pattern: str, replacement: str, text: str, *, ignore_case: bool = False, every: bool = False
) -> str | Unsure:
    r"""A text with what a pattern finds replaced, once or everywhere; `\1` in the replacement is its first group."""
    count = 0 if every else 1
    found = _searched("sub", pattern, text, ignore_case=ignore_case, repl=replacement, count=count)
    return found if isinstance(found, Unsure) else _bounded(str(found))


def _searched(does: str, pattern: str, text: str, *, ignore_case: bool, **more: Any) -> Any:  # noqa: ANN401
    import regex

    if len(pattern) > _MAX_PATTERN:
        return Unsure(f"the pattern has more than {_MAX_PATTERN} characters")
    flags = regex.VERSION0 | (regex.IGNORECASE if ignore_case else 0)
    try:
        return getattr(regex, does)(pattern, string=text, flags=flags, timeout=_PATTERN_SECONDS, **more)
    except TimeoutError:
        return Unsure(f"the pattern {pattern[:80]!r} takes too long")
    except (regex.error, RecursionError, OverflowError, IndexError) as error:
        return Unsure(f"the pattern {pattern[:80]!r} is not understood: {error}")
