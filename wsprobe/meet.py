"""A trace and configs meet: which lines predict what was observed, and where the two differ.

A config speaks as exported at its date, and for a proxy that is assumed to stand on the path; so a line that predicts
a finding is named beside it and makes nothing more proven than it was. Pure: a report and configs in, a report out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wsprobe.ends import first_close, silence
from wsprobe.headers import Edit, Kind, Value, is_credential, permitted
from wsprobe.inspection import Change, HeaderEdit, Prediction, Timeout, Timer
from wsprobe.lb.model import Config
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request
from wsprobe.model import Ending, Finding, Line, Message, Observation, Redaction, Report
from wsprobe.path import Path, code_of
from wsprobe.veil import Veil
from wsprobe.writeup import with_write_up

_LOST = frozenset({Kind.REMOVED, Kind.ALTERED})
_LOSSES = frozenset({Change.REMOVED, Change.RENAMED, Change.CHANGED})
_CHANGES = {
    Kind.REMOVED: frozenset({Change.REMOVED, Change.RENAMED}),
    Kind.ALTERED: frozenset({Change.CHANGED, Change.MERGED}),
    Kind.MERGED: frozenset({Change.MERGED}),
    Kind.ADDED: frozenset({Change.ADDED}),
}
_SHARE, _SLACK = 0.1, 1.5
"""How far a measured end may lie from the timer that predicts it: a tenth, and Envoy's second of delayed close."""

_LONGEST = 120


def meet(report: Report, configs: Sequence[Config], veil: Veil) -> Report:
    """The report with the lines that predict its findings, and what config and observation do not have in common.

    `veil` hides the secrets of the configs.
    """
    path = Path(report.trace)
    asked = next((hop for hop in path.hops if hop.request), None)
    if asked is None or asked.request is None:
        return replace(report, config=("the configs were not used: no hop saw the head of the request",))
    # Behind a proxy that rewrites the path, the next one's config knows only the new one.
    requests = dict.fromkeys(_request(hop.request, hop.redactions) for hop in _asking(path, asked) if hop.request)
    predicted = tuple(veil.hide(_predicted(config, tuple(requests))) for config in configs)
    met = _Meeting(path, predicted)
    findings = tuple(met.with_lines(finding) for finding in report.findings)
    verdict = next((new for old, new in zip(report.findings, findings, strict=True) if old == report.verdict), None)
    found = replace(report, findings=findings, verdict=verdict, config=tuple(met.said()))
    roots = {name: config.path for config in configs for name in (config.path, *config.files)}
    return with_write_up(found, roots, tuple(met.suspects()))


def _asking(path: Path, asked: Observation) -> Sequence[Observation]:
    """The hops that a proxy may stand behind: all from which the request went on to another one that was observed."""
    return [pair.outer for pair in path.pairs] or [asked]


def _predicted(config: Config, requests: Sequence[Request]) -> Prediction:
    """What a config makes of the first of the requests that it passes on; of none, what becomes of the outermost."""
    found = [predict(config, request) for request in requests]
    return next((one for one in found if one.reached is not False), found[0])


def _request(head: Message, redactions: Sequence[Redaction]) -> Request:
    """The request as it was recorded: what was redacted in it stays so, and only names and equality count."""
    method, _, rest = head.start_line.partition(" ")
    target, _, version = rest.rpartition(" ")  # the words in the place of a secret in the target have spaces
    arguments = []
    for shown in sorted({each.shown for each in redactions if each.message == "request" and each.header is None}):
        arguments.append(shown.strip("[]").replace(" ", "-"))
        target = target.replace(shown, arguments[-1])
    return Request(
        method=method,
        target=target or "/",
        version=version,
        headers=head.headers,
        withheld=tuple(
            sorted(each.shown for each in redactions if each.message == "request" and each.header is not None)
        ),
        arguments=tuple(arguments),
    )


@dataclass(frozen=True, slots=True)
class _Meeting:
    """One path and what each config predicts for the request that came in at its outer end."""

    path: Path
    predictions: tuple[Prediction, ...]

    # Lines that predict a finding.

    def with_lines(self, finding: Finding) -> Finding:
        """The finding with the lines that predict it, in its words too."""
        lines = tuple(dict.fromkeys(self._predicting(finding)))
        if not lines:
            return finding
        told = "; ".join(map(_quoted, lines[:3]))
        verb = "predicts" if len(lines) == 1 else "predict"
        return replace(finding, lines=lines, message=f"{finding.message} {told} {verb} it.")

    def _predicting(self, finding: Finding) -> Iterator[Line]:
        if finding.header is not None:
            yield from self._editing(finding)
        elif finding.rule in {"idle-timeout", "lifetime-limit", "closed-without-frame"}:
            yield from self._ending(finding)
        elif finding.rule in {"upgrade-refused", "redirected", "no-answer"}:
            code = code_of(self.path.outermost)
            for one in self.predictions:
                if one.reached is False and one.place and one.status == code:
                    yield one.place

    def _editing(self, finding: Finding) -> Iterator[Line]:
        """Lines whose edit of that header is of the kind that was observed on the segment of the finding."""
        wanted: set[Change] = set()
        for pair in self.path.pairs:
            if pair.segment == finding.segment:
                for seen in pair.edits("request"):
                    if seen.name.lower() == (finding.header or "").lower():
                        wanted |= _CHANGES.get(seen.kind, frozenset())
        for edit in self._edits():
            if edit.name.lower() == (finding.header or "").lower() and edit.kind in wanted and edit.place:
                yield edit.place

    def _ending(self, finding: Finding) -> Iterator[Line]:
        hop = next((hop for hop in self.path.hops if finding.segment and hop.name in finding.segment), None)
        if hop is None:
            return
        for timeout in (timeout for one in self.predictions for timeout in one.timeouts):
            measured = _measured(hop, timeout)
            if timeout.place and timeout.seconds and measured is not None and _fits(timeout.seconds, measured):
                yield timeout.place

    def suspects(self) -> Iterator[tuple[str, Line]]:
        """Lines that predict the loss of what an upgrade needs, by header, where nobody stood to see it."""
        if self.path.pairs:
            return
        for edit in self._edits():
            if edit.place and edit.kind in _LOSSES and (is_credential(edit.name) or edit.name.lower() == "upgrade"):
                yield edit.name, edit.place

    def _edits(self) -> Iterator[HeaderEdit]:
        for one in self.predictions:
            yield from one.edits

    # What they do not have in common.

    def said(self) -> Iterator[str]:
        """What each config predicts that was not observed, what was observed and no line predicts, what is open."""
        for one in self.predictions:
            yield from self._of_config(one)
        yield from self._unpredicted()

    def _of_config(self, one: Prediction) -> Iterator[str]:
        if one.reached is False:
            yield from self._not_reached(one)
            return
        observed = 0
        for edit in one.edits:
            if edit.place is None:
                continue
            instead = self._instead_of(edit)
            observed += instead is None
            if instead and (self.path.pairs or not _may(edit)):
                yield f"{_quoted(edit.place)} predicts that {edit.name} is {_change(edit)}{instead}"
        if observed:
            yield f"{one.config}: {observed} edit{'s' if observed > 1 else ''} of its lines {_were(observed)} observed"
        for unknown in one.unknown:
            place = f"{_where(unknown.place)}: " if unknown.place else f"{one.config}: "
            yield f"{place}{unknown.what} cannot be predicted: {unknown.why}"

    def _not_reached(self, one: Prediction) -> Iterator[str]:
        where = _quoted(one.place) if one.place else one.config
        answer = f"answers {one.status} by itself" if one.status else "passes nothing on"
        inner = [pair.inner for pair in self.path.pairs]
        if inner:
            yield (
                f"{where} predicts that the proxy {answer}; {inner[-1].name} saw the request all the same: "
                "another config, or the config of another proxy, was in force"
            )
        elif one.status and (code := code_of(self.path.outermost)) not in {None, one.status}:
            yield f"{where} predicts that the proxy {answer}; the answer was {code}"
        else:
            yield f"{where} predicts that the proxy {answer}"

    def _instead_of(self, edit: HeaderEdit) -> str | None:
        """What was seen of a predicted edit where it was not that edit, in words; None where it was."""
        if not self.path.pairs:
            return "; no recorder stood behind the proxy, so it was not observed"
        observed = [found for pair in self.path.pairs for found in pair.edits("request")]
        kinds = {found.kind for found in observed if found.name.lower() == edit.name.lower()}
        if any(edit.kind in _CHANGES.get(kind, ()) for kind in kinds):
            return None
        if Kind.UNCOMPARED in kinds:
            return "; it arrived, and the values could not be compared"
        if not kinds:
            return f", and that was not observed: no hop had {edit.name}"
        how = (
            "it arrived as it was sent" if kinds == {Kind.SAME} else f"it was {', '.join(sorted(kinds - {Kind.SAME}))}"
        )
        return f", and that was not observed: {how}"

    def _unpredicted(self) -> Iterator[str]:
        names = {edit.name.lower() for edit in self._edits()}
        open_ = {unknown.what.lower() for one in self.predictions for unknown in one.unknown}
        for pair in self.path.pairs:
            for edit in pair.edits("request"):
                lowered = edit.name.lower()
                known = lowered in names or lowered in open_ or "any header" in open_
                if edit.kind in _LOST and not known and not permitted(edit):
                    what = "removed" if edit.kind is Kind.REMOVED else "altered"
                    yield (
                        f"{edit.name} was {what} between {pair.outer.name} and {pair.inner.name}, "
                        "and no line of the configs predicts it"
                    )


def _measured(hop: Observation, timeout: Timeout) -> float | None:
    """Seconds after which the connection ended, counted as the timer counts; None where something else ended it."""
    ended = first_close(hop)
    if ended is None or ended.ending is Ending.FRAME:
        return None
    return silence(hop) if timeout.kind is Timer.IDLE else ended.at


def _fits(seconds: float, measured: float) -> bool:
    return seconds * (1 - _SHARE) <= measured <= seconds * (1 + _SHARE) + _SLACK


def _change(edit: HeaderEdit) -> str:
    match edit.kind:
        case Change.RENAMED:
            return f"renamed to {edit.after}"
        case Change.MERGED:
            return "merged into one line"
        case _:
            return str(edit.kind)


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _may(edit: HeaderEdit) -> bool:
    """Whether a proxy may make this edit, so that it is worth no word."""
    before, after = ((Value(text),) if text is not None else () for text in (edit.before, edit.after))
    kind = next((kind for kind, changes in _CHANGES.items() if edit.kind in changes), Kind.ALTERED)
    return permitted(Edit(edit.name, kind, before, after)) is not None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _quoted(line: Line) -> str:
    """A line with its text, for who reads the report and has not got the config."""
    return f"{_where(line)} `{_short(line.text)}`"


def _where(line: Line) -> str:
    return f"{line.path}:{line.line}"
