"""Why it happened and what to do: the chain of causes, the fixes by who can apply them, and the commands.

Pure: a report without its write-up in, the write-up out. It says nothing that the findings do not: a link is as sure
as its finding, and that one brought about another is proven only where somebody who saw it says so.
"""

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from wsprobe.ends import first_close
from wsprobe.frozen import dataclass
from wsprobe.headers import is_credential
from wsprobe.mending import remedies
from wsprobe.model import (
    Confidence,
    Finding,
    Line,
    Link,
    Place,
    Remedy,
    Report,
    Sender,
    Severity,
    Trace,
    Who,
    WriteUp,
)
from wsprobe.path import APPLICATIONS, Path, code_of
from wsprobe.rules import rank
from wsprobe.wording import plain, stretch

_ENDS_FROM = 50
"""The rank from which on a finding tells how an upgrade was answered or ended, and no longer why."""

_DIRECT = frozenset({"unreachable", "tls-failed", "close-code-rewritten", "subprotocol-dropped"})
"""Rules whose findings tell the symptom itself, however near to the cause they are."""

_CREDENTIALS = frozenset({"header-removed", "header-altered", "token-expired", "token-invalid"})
_DEMO = "wsprobe demo "
_BYPASS = "the same upgrade straight to the origin"
_MOST_LINES = 3

_UNEXPLAINED = frozenset(
    {"closed-by-origin", "closed-without-frame", "upgrade-refused", "credential-ineffective", "credential-intercepted"}
)
"""Rules whose findings leave open why: a line of a config that predicts a loss is worth a look then."""

_UNAUTHORIZED = 401
_OF_A_CREDENTIAL = r"\b(?:tokens?|credentials?|jwt|bearer)\b"
_IS_WRONG = re.compile(
    r"\b(?:no|not|missing|without|required?|requires|absent|lacks?|empty|invalid|malformed|expired|bad|rejected|refused)\b",
    re.IGNORECASE,
)
"""What a reason says of a header or a token that did not arrive as it should; that one is named says less."""

_OF_PROXIES = frozenset({400, 404, 426, 431, 502, 503, 504})
"""Refusals that are usually a matter of what stands before the application, or of its way there."""

_WHO = {
    "closed-by-origin": Who.APPLICATION,
    "closed-without-frame": Who.APPLICATION,
    "expectation-unmet": Who.APPLICATION,
    "upgrade-refused": Who.APPLICATION,
    "malformed-response": Who.APPLICATION,
    "credential-ineffective": Who.APPLICATION,
    "token-expired": Who.CLIENT,
    "token-invalid": Who.CLIENT,
    "closed-by-client": Who.CLIENT,
    "unreachable": Who.CLIENT,
    "redirected": Who.CLIENT,
}
"""Who can apply what a finding says is to be done, where that is not who runs what stands on the path."""

_CREDENTIAL_RULES = ("credential-removed", "credential-consumed")
_REPLACED = ("credential-replaced", "credential-appended", "credential-consumed")
_PREVENTED_BY: dict[str, tuple[str, ...]] = {
    "header-removed": ("nominated-by-connection", "request-headers-off"),
    "header-altered": ("header-limit",),
    "upgrade-dropped": ("upgrade-not-passed", "connection-not-upgrade", "http10-upstream", "handshake-header-edited"),
    "upgrade-refused": ("upgrade-not-passed", "credential-refused", "http2-upstream"),
    "host-rewritten": ("host-not-passed",),
    "subprotocol-dropped": ("handshake-header-edited",),
    "idle-timeout": ("short-idle-timer",),
    "lifetime-limit": ("hard-lifetime",),
    "no-answer": ("buffering-hangs-upgrade",),
    "credential-ineffective": _CREDENTIAL_RULES,
    "credential-intercepted": _CREDENTIAL_RULES,
}
"""The rules over configs that find before it is in force what a rule over traces finds afterwards."""


def with_write_up(
    report: Report, roots: Mapping[str, str] | None = None, suspects: Sequence[tuple[str, Line]] = ()
) -> Report:
    """The report with its write-up; `roots` names for a file of a config the one that `wsprobe inspect` is given.

    `suspects` are lines of configs, by header, that predict a loss that nobody stood to see.
    """
    if report.verdict is None:
        return replace(report, writeup=None)
    path = Path(report.trace, subject=report.subject)
    told = suspects if report.verdict.rule in _UNEXPLAINED else ()
    return replace(report, writeup=_Author(report, report.verdict, roots or {}, path, told).write_up())


@dataclass(frozen=True, slots=True)
class _Author:
    """One report, and the parts of its write-up."""

    report: Report
    verdict: Finding
    roots: Mapping[str, str]
    path: Path
    suspects: Sequence[tuple[str, Line]]

    def write_up(self) -> WriteUp:
        """All of it."""
        chain = tuple(self._chain())
        return WriteUp(
            chain=chain,
            proven=_proven(chain, self.verdict),
            fixes=tuple(self._fixes()),
            verify=tuple(self._verify()),
            prevent=tuple(self._prevent()),
        )

    # The chain of causes.

    def _chain(self) -> Iterator[Link]:
        symptom = not self.path.healthy
        if symptom:
            yield self._symptom()
        for effect in self._effects():
            yield _link(effect, effect.confidence)
        if symptom:
            leads, because = self._leads()
            yield _link(self.verdict, leads, because)
        else:
            yield _link(self.verdict, None)
        for line in self.verdict.lines[:_MOST_LINES]:
            yield Link(
                what=f"{line.path}:{line.line} `{line.text}` predicts it.",
                confidence=Confidence.POSSIBLE,
                leads=Confidence.POSSIBLE,
                because="a config speaks as it was exported: that it was in force there, and that nothing else on that "
                "stretch does the same, was not observed",
                places=(),
                lines=(line,),
            )

    def _symptom(self) -> Link:
        hop = self.path.outermost
        ended = self.report.endings[0].removeprefix(f"{hop.name}: ") if self.report.endings else "it went wrong"
        failed = hop.response is None and (hop.failure is not None or not hop.closes)
        part = "failure" if failed else "closes" if hop.closes else "response"
        place = Place(hop=hop.name, part=part, shows=ended)
        return Link(what=f"Seen at {hop.name}: {ended}.", confidence=Confidence.PROVEN, leads=None, places=(place,))

    def _effects(self) -> list[Finding]:
        """How the upgrade was answered and ended, from the symptom inwards, where the verdict is not about that."""
        own = rank(self.verdict.rule)
        found = [
            one
            for one in self.report.findings
            if one.severity is not Severity.NOTE and rank(one.rule) >= max(_ENDS_FROM, own + 1)
        ]
        return sorted(found, key=lambda one: -rank(one.rule)) if self._is_cause() else []

    def _is_cause(self) -> bool:
        """Whether the verdict tells what may lie behind an end, and not that end itself."""
        return rank(self.verdict.rule) < _ENDS_FROM and self.verdict.rule not in _DIRECT

    def _went_well_otherwise(self) -> str | None:
        """What went well where the upgrade did not, and so tells the cause from a fault of the application's own."""
        trace = self.report.trace
        if any(trial.name == _BYPASS and _went_well(trial.hops, trace) for trial in trace.trials):
            return "straight to the application, the same upgrade went well"
        if self.verdict.rule == "works-otherwise" and self.verdict.confidence is Confidence.LIKELY:
            return "with that one thing changed the same upgrade went well, each time"
        return None

    def _leads(self) -> tuple[Confidence, str | None]:
        """How sure it is that what the verdict tells brought about what came of the connection, and why no surer."""
        if not self._is_cause():
            return self.verdict.confidence, None
        told = self._told_by_the_application()
        if told:
            return Confidence.PROVEN, f"the application itself says so: {told}"
        if said := self._said_at_the_end():
            return Confidence.LIKELY, said
        if otherwise := self._went_well_otherwise():
            return Confidence.LIKELY, otherwise
        if self.verdict.rule == "upgrade-dropped":
            return Confidence.LIKELY, "whoever answered was not asked for a WebSocket; what it made of that is not told"
        return (
            Confidence.POSSIBLE,
            "it fits, and so would a fault of the application's own; neither an answer nor a close code tells why",
        )

    def _told_by_the_application(self) -> str | None:
        if self.verdict.rule not in _CREDENTIALS:
            return None
        checked = (hop for hop in self.path.hops if hop.verification and hop.recorder.kind in APPLICATIONS)
        return next(
            (one.verification.reason for one in checked if one.verification and not one.verification.valid), None
        )

    def _said_at_the_end(self) -> str | None:
        """What whoever refused or closed it said of a credential that is at fault: the innermost hop is next to it."""
        header, hop = self.verdict.header or "", self.path.hops[-1]
        if self.verdict.rule not in _CREDENTIALS or not is_credential(header):
            return None
        if code_of(hop) == _UNAUTHORIZED:
            return "it was answered with 401, which asks for credentials that hold"
        close = first_close(hop)
        reason = close.reason if close and close.sender is Sender.SERVER else ""
        named = re.search(rf"\b{re.escape(header)}\b|{_OF_A_CREDENTIAL}", reason, re.IGNORECASE)
        return f"the close frame itself says so: {reason}" if named and _IS_WRONG.search(reason) else None

    # The fixes.

    def _fixes(self) -> list[Remedy]:
        found = [remedy for finding in self._causes() for remedy in remedies(finding)]
        found += [Remedy(who=self._who(one), what=one.fix) for one in self._causes() if one.fix and not one.lines]
        found += self._suspected()
        found += self._beside()
        return sorted(dict.fromkeys(found), key=lambda one: (tuple(Who).index(one.who), one.line is None))

    def _who(self, finding: Finding) -> Who:
        """Who can apply a fix: what happened between two hops is no matter of the application behind them."""
        who = _WHO.get(finding.rule, Who.CONFIG)
        outer, inner = finding.segment or (None, None)
        between = outer is not None and inner is not None and outer != inner
        refused = finding.rule == "upgrade-refused" and code_of(self.path.outermost) in _OF_PROXIES
        return Who.CONFIG if who is Who.APPLICATION and (between or refused) else who

    def _causes(self) -> list[Finding]:
        """The verdict, and what else is wrong that is no effect of it."""
        effects = self._effects()
        others = [one for one in self.report.findings if one.severity is Severity.ERROR and one not in effects]
        return list(dict.fromkeys([self.verdict, *others]))

    def _suspected(self) -> Iterator[Remedy]:
        """What to change in a line that predicts a loss, if it is that: which nobody observed."""
        for header, line in self.suspects:
            lost = replace(self.verdict, rule="header-removed", header=header, lines=(line,))
            for one in remedies(lost):
                unseen = f"If this line is in force there, {header} is lost by it, which nobody observed."
                yield replace(one, what=f"{unseen} {one.what}")

    def _beside(self) -> Iterator[Remedy]:
        """What the application and the client can do, whoever runs what stands between them."""
        header = self.verdict.header
        match self.verdict.rule:
            case "header-removed" if header and is_credential(header):
                if code_of(self.path.outermost) != _UNAUTHORIZED:
                    yield Remedy(
                        who=Who.APPLICATION,
                        what=f"Refuse an upgrade without {header} with 401, or close it with 1008 and a reason, so "
                        "that the next one to look can tell it from a crash.",
                    )
                yield Remedy(
                    who=Who.CLIENT,
                    what=f"Where the application checks it there just as strictly, carry the token in a place that "
                    f"passes: a cookie, a subprotocol or the first message. wsprobe trace --carrier shows which "
                    f"arrive; {header} itself stays as it is.",
                )
            case "idle-timeout":
                yield Remedy(who=Who.APPLICATION, what="Send a ping more often than that timer fires.")
                yield Remedy(who=Who.CLIENT, what="Reconnect after an end without a close frame, with a growing pause.")
            case "lifetime-limit" | "closed-without-frame" | "closed-by-origin":
                yield Remedy(who=Who.CLIENT, what="Reconnect after such an end, with a growing pause.")

    # The commands.

    def _verify(self) -> Iterator[str]:
        beside = " --records RECORDS" if len(self.path.hops) > 1 else ""
        ended = self.path.outermost.ended
        hold = f" --hold {math.ceil(2 * ended)}" if ended and rank(self.verdict.rule) in range(60, 80) else ""
        if self.report.subject.startswith(_DEMO):  # its path is gone with it, and is staged anew
            yield f"{_DEMO}--fault none -o after.json   # the same path without the fault"
        elif self.path.client:
            asked = f"wsprobe trace {self.path.url}{beside}{hold} -o after.json"
            yield f"{asked}   # with the options of this run, after the fix"
        else:
            yield "wsprobe diagnose RECORDS -o after.json   # RECORDS: what the same recorders saw after the fix"
        yield "wsprobe diff before.json after.json   # before.json: this report as JSON"

    def _prevent(self) -> Iterator[str]:
        header = self.verdict.header or ""
        rules = _PREVENTED_BY.get(self.verdict.rule, ())
        if any(is_credential(name) for name, _ in self.suspects):
            rules = tuple(dict.fromkeys((*_CREDENTIAL_RULES, *rules)))
        if self.verdict.rule in {"header-removed", "header-altered"}:
            removed = self.verdict.rule == "header-removed"
            rules = (*((_CREDENTIAL_RULES if removed else _REPLACED) if is_credential(header) else ()), *rules)
            rules += ("underscore-header-dropped",) if removed and "_" in header else ()
            rules += ("handshake-header-edited",) if header.lower().startswith("sec-websocket-") else ()
        if rules:
            inspected = f"wsprobe inspect {_words(self._files())} --select {','.join(rules)}"
            yield f"{inspected}   # in CI, before a config is in force"

    def _files(self) -> list[str]:
        lines: Sequence[Line] = self.verdict.lines or [line for _, line in self.suspects]
        return list(dict.fromkeys(self.roots.get(line.path, line.path) for line in lines)) or ["CONFIGS"]


def _link(finding: Finding, leads: Confidence | None, because: str | None = None) -> Link:
    return Link(
        what=_without_lines(finding),
        confidence=finding.confidence,
        leads=leads,
        places=finding.places,
        because=because,
        rule=finding.rule,
    )


def _without_lines(finding: Finding) -> str:
    """The message of a finding without the lines that predict it: they are links of their own."""
    if not finding.lines:
        return finding.message
    first = finding.lines[0]
    return finding.message.partition(f" {first.path}:{first.line} `")[0]


def _went_well(hops: "tuple[object, ...]", trace: Trace) -> bool:
    return Path(replace(trace, hops=hops, trials=())).healthy  # type: ignore[arg-type]


def _proven(chain: tuple[Link, ...], verdict: Finding) -> str:
    """How far the chain is proven, and where that ends."""
    sure = [link for link in chain if link.rule and link.confidence is Confidence.PROVEN]
    said = [f"Proven: {_named(sure)}." if sure else "Of what lies behind the symptom nothing is proven."]
    own = next(link for link in chain if link.rule == verdict.rule)
    if own.leads is not None and own.leads is not Confidence.PROVEN and own.confidence is Confidence.PROVEN:
        said.append(f"That {verdict.rule} brought about what the client saw is {own.leads.value}: {own.because}.")
    if own.confidence is not Confidence.PROVEN:
        where = f" {stretch(verdict.segment)}" if verdict.segment else ""
        said.append(f"The chain ends at what is {own.confidence.value}: {verdict.rule}{where}.")
    if chain[-1].lines:
        said.append(f"That the config did it is {chain[-1].confidence.value}: {chain[-1].because}.")
    return " ".join(said)


def _named(links: list[Link]) -> str:
    return " and ".join(dict.fromkeys(link.rule for link in links if link.rule))


def _words(paths: Sequence[str]) -> str:
    return " ".join(shlex.quote(plain(path)) for path in paths)
