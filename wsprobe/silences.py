"""Comments in a config that silence one rule on one line, and say why: `# wsprobe: ignore[short-idle-timer] reason`.

It stands on the line itself, or alone on the line before. One without a reason silences nothing, and is told, as is
one for a rule that there is not, and one that silences nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from wsprobe.frozen import dataclass
from wsprobe.inspection import ConfigFinding, Silenced
from wsprobe.lb.source import Source
from wsprobe.parts import Line, Severity
from wsprobe.patterns import lazy
from wsprobe.rules.config import names

UNEXPLAINED, UNKNOWN, UNUSED = "silence-unexplained", "silence-unknown-rule", "silence-unused"

NAMES = {
    UNEXPLAINED: "A comment that silences a rule says no reason, so it silences nothing.",
    UNKNOWN: "A comment silences a rule that there is not.",
    UNUSED: "A comment silences a rule that finds nothing on its line.",
}
"""The rules about the comments themselves, each with what it means."""

_COMMENT = lazy(r"(?P<alone>^\s*)?(?<![^\s;{}])#+\s*wsprobe:\s*ignore(?:\[(?P<rules>[^\]]*)\])?(?P<reason>.*)$")
_WORD = lazy(r"\w")


def text(name: str) -> str:
    """What such a rule means, as the texts of the others are made."""
    return f"{name}\n\n{NAMES[name]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """One comment: the rules that it names, the line that it is about, where it stands, and its reason."""

    rules: tuple[str, ...]
    path: str
    line: int
    place: Line
    reason: str

    def about(self, finding: ConfigFinding) -> bool:
        """Whether a finding is one that it silences."""
        return finding.rule in self.rules and (finding.place.path, finding.place.line) == (self.path, self.line)


def silences(source: Source) -> Iterator[Silence]:
    """The comments of a file that silence rules."""
    if "wsprobe:" not in source.text:
        return
    lines = source.lines
    for number, text in enumerate(lines, 1):
        found = _COMMENT.search(text) if "wsprobe:" in text else None
        if found is None:
            continue
        at = number if found["alone"] is None else _next(lines, number)
        yield Silence(
            rules=tuple(rule.strip() for rule in (found["rules"] or "").split(",") if rule.strip()),
            path=source.path,
            line=at,
            place=source.at(number, found.start() + 1 + len(found["alone"] or "")),
            reason=found["reason"].strip(" \t\r:-"),
        )


def _next(lines: Sequence[str], number: int) -> int:
    """The line that a comment of its own is about: the next that is no comment, so that several can stand together."""
    following = range(number + 1, len(lines) + 1)
    return next((at for at in following if not lines[at - 1].lstrip().startswith("#")), number)


def silence(
    findings: Iterable[ConfigFinding], comments: Sequence[Silence], wanted: Callable[[str], bool]
) -> tuple[list[ConfigFinding], list[Silenced], list[ConfigFinding]]:
    """The findings that stay, those that are silenced, and what is wrong with the comments.

    `wanted` says whether a rule was asked for: a comment for one that was not is not called unused.
    """
    explained = [comment for comment in comments if _WORD.search(comment.reason)]
    left: list[ConfigFinding] = []
    silenced: list[Silenced] = []
    used: set[tuple[int, str]] = set()
    for finding in findings:
        by = next((comment for comment in explained if comment.about(finding)), None)
        if by is None:
            left.append(finding)
        else:
            used.add((id(by), finding.rule))
            silenced.append(Silenced(finding=finding, reason=by.reason))
    said = [one for comment in comments for one in _said(comment, used, wanted, explained=comment in explained)]
    return left, silenced, said


def _said(
    comment: Silence, used: set[tuple[int, str]], wanted: Callable[[str], bool], *, explained: bool
) -> Iterator[ConfigFinding]:
    known = names()
    unknown = [rule for rule in comment.rules if rule not in known]
    if not comment.rules or unknown:
        what = f"There is no rule {', '.join(unknown)}" if unknown else "No rule is named"
        yield _finding(
            UNKNOWN,
            f"{what}, so nothing is silenced.",
            comment,
            Severity.WARNING,
            "Name a rule of docs/rules.md: `# wsprobe: ignore[short-idle-timer] why`.",
        )
    if not explained:
        yield _finding(
            UNEXPLAINED,
            "No reason is given, so nothing is silenced.",
            comment,
            Severity.WARNING,
            f"Write why behind it: `# wsprobe: ignore[{', '.join(comment.rules) or 'rule'}] why`.",
        )
        return
    unused = [rule for rule in comment.rules if rule in known and wanted(rule) and (id(comment), rule) not in used]
    if unused:
        why = f"{', '.join(unused)} finds nothing on line {comment.line}."
        yield _finding(UNUSED, why, comment, Severity.NOTE, "Delete the comment.")


def _finding(rule: str, message: str, comment: Silence, severity: Severity, fix: str) -> ConfigFinding:
    return ConfigFinding(rule=rule, message=message, severity=severity, place=comment.place, fix=fix)
