"""Configs in, an inspection out: what each route does to an upgrade, what is wrong with it, and what is silenced.

Pure. It is the one place where what configs say becomes what is shown, so everything goes through the veil here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import chain

from wsprobe import __version__
from wsprobe.frozen import dataclass
from wsprobe.inspection import (
    ConfigFinding,
    ConfigView,
    Handling,
    Inspection,
    Prediction,
    Problem,
    Remark,
    RouteView,
    RuleText,
    Silenced,
    Timeout,
    Unknown,
)
from wsprobe.lb import secrets
from wsprobe.lb.model import Config, Gate, Limit, Named, Op, Route
from wsprobe.lb.predict import predict
from wsprobe.lb.request import Request
from wsprobe.lb.source import Source
from wsprobe.parts import Severity
from wsprobe.rules.config import Asked, Passage, judged, survey
from wsprobe.rules.config import names as rule_names
from wsprobe.rules.config import text as rule_text
from wsprobe.silences import NAMES as SILENCE_RULES
from wsprobe.silences import silence, silences
from wsprobe.silences import text as silence_text
from wsprobe.veil import Veil

RANKS = {Severity.ERROR: 2, Severity.WARNING: 1, Severity.NOTE: 0}

OWN = frozenset({"host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"})
"""Headers that every upgrade has."""

_MOST_NAMED = 4

_LOOKS = frozenset({Op.REMOVE, Op.RENAME, Op.REPLACE, Op.FIRST, Op.JOIN})
"""What only shows on a request that has the header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What the user wants to know: the request to predict, and which rules count (all where `select` is empty).

    `fail_on` is the severity from which on a finding makes the exit status 1, None for never.
    """

    asked: Asked = field(default_factory=Asked)
    request: Request | None = None
    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    fail_on: Severity | None = Severity.ERROR

    def counts(self, rule: str) -> bool:
        """Whether the findings of a rule are wanted."""
        return (not self.select or rule in self.select) and rule not in self.ignore

    def fails(self, finding: ConfigFinding) -> bool:
        """Whether a finding makes the exit status 1."""
        return self.fail_on is not None and RANKS[finding.severity] >= RANKS[self.fail_on]


def all_rules() -> tuple[str, ...]:
    """The names of all rules that an inspection can have findings of, sorted."""
    return tuple(sorted((*rule_names(), *SILENCE_RULES)))


def examine(
    configs: Sequence[Config],
    sources: Mapping[str, Source],
    query: Query,
    problems: Iterable[Problem] = (),
    passed_over: int = 0,
) -> Inspection:
    """All that there is to say about configs; `sources` are the files that they were read from, by name."""
    surveyed = [list(survey(config, query.asked)) for config in configs]
    found = [one for passages in surveyed for one in judged(passages) if query.counts(one.rule)]
    parts = {name for config in configs for name in (config.path, *config.files)}
    comments = tuple(comment for name, source in sources.items() if name in parts for comment in silences(source))
    open_, silenced, said = silence(found, comments, wanted=query.counts)
    findings = tuple(sorted((*open_, *(one for one in said if query.counts(one.rule))), key=_order))
    told = [*problems, *(problem for config in configs for problem in config.problems)]
    prediction, doubts = _predicted(configs, query.request)
    told = [*dict.fromkeys(told), *doubts]
    inspection = Inspection(
        version=__version__,
        summary=_summary(configs, findings, silenced, told, passed_over),
        status=2 if told else int(any(query.fails(finding) for finding in findings)),
        configs=tuple(_config_view(config) for config in configs),
        routes=tuple(_view(passage) for passages in surveyed for passage, _ in passages),
        findings=findings,
        unread=tuple(unknown for config in configs for unknown in config.unread),
        problems=tuple(told),
        prediction=prediction,
        silenced=tuple(silenced),
        rules=tuple(_rules([*findings, *(one.finding for one in silenced)])),
    )
    return _veiled(inspection, configs, sources)


def veil_of(configs: Sequence[Config], sources: Mapping[str, Source]) -> Veil:
    """What hides the secrets of configs in all that is shown of them."""
    known = chain(
        chain.from_iterable(secrets.values(source.text) for source in sources.values()),
        chain.from_iterable(map(secrets.of_model, configs)),
    )
    return Veil(known)


def _veiled(inspection: Inspection, configs: Sequence[Config], sources: Mapping[str, Source]) -> Inspection:
    veil = veil_of(configs, sources)
    veil.hide(inspection.prediction)  # what the request holds may be repeated in any text
    hidden = veil.hide(inspection)
    return replace(hidden, redactions=veil.manifest())


def _rules(findings: Iterable[ConfigFinding]) -> Iterator[RuleText]:
    for name in sorted({finding.rule for finding in findings}):
        body = (silence_text if name in SILENCE_RULES else rule_text)(name).partition("\n\n")[2]
        yield RuleText(name=name, summary=" ".join(body.partition("\n\n")[0].split()), text=body)


def _order(finding: ConfigFinding) -> tuple[str, int, int, str]:
    return finding.place.path, finding.place.line, -RANKS[finding.severity], finding.rule


def _config_view(config: Config) -> ConfigView:
    files = config.files or (config.path,)
    return ConfigView(path=config.path, kind=config.kind, version=config.version, assumed=config.assumed, files=files)


# Routes.


def _view(passage: Passage) -> RouteView:
    route, listener, prediction = passage.route, passage.listener, _all_headers(passage).prediction
    passed = passage.handling in {Handling.PASSED, Handling.UNKNOWN}
    return RouteView(
        config=passage.config.path,
        listener=listener.label,
        match=route.label,
        place=route.place,
        upstream=_upstream(route),
        upgrade=passage.handling,
        edits=prediction.edits,
        timeouts=tuple(map(_timeout, route.timeouts)) if passed else (),
        auth=tuple(_gate(gate) for gate in passage.gates),
        limits=tuple(map(_limit, (*listener.limits, *route.limits))),
        notes=route.notes,
        unknown=prediction.unknown,
    )


def _all_headers(passage: Passage) -> Passage:
    """With the headers that the route would remove, rename or rewrite, so that it can be seen."""
    edits = (edit for edit in passage.edits if edit.place and edit.op in _LOOKS)
    named = (name for edit in edits if isinstance(edit.which, Named) for name in edit.which.names)
    sent = {name.lower() for name, _ in passage.request.headers}
    more = tuple(dict.fromkeys(name for name in named if name.lower() not in sent))
    asked = replace(passage.asked, headers=(*passage.asked.headers, *more))
    return replace(passage, asked=asked) if more else passage


def _upstream(route: Route) -> str:
    if route.upstream is None:
        return ""
    scheme = "tls" if route.upstream.tls else ""
    said = {"client": "as the client", "unknown": "protocol unknown"}
    protocol = said.get(route.upstream.protocol, route.upstream.protocol)
    addresses = ", ".join(route.upstream.addresses)
    return f"{addresses or 'an upstream'} ({', '.join(filter(None, (protocol, scheme)))})"


def _timeout(timeout: Timeout) -> Timeout:
    return timeout if timeout.resets_on else replace(timeout, resets_on="nothing")


def _gate(gate: Gate) -> Remark:
    returns = f", and takes {', '.join(gate.returns)} from the answer" if gate.returns else ""
    does = f"{gate.effect} {gate.header}{returns}" if gate.header else "may refuse the request"
    return Remark(text=f"{gate.kind} {does}", place=gate.place)


def _limit(limit: Limit) -> Remark:
    answer = f"refused with {limit.status}" if limit.status else "refused"
    return Remark(text=f"{limit.name}: above {limit.most} {limit.measure} it is {answer}", place=limit.place)


# The prediction.


def _predicted(configs: Sequence[Config], request: Request | None) -> tuple[Prediction | None, tuple[Problem, ...]]:
    """What becomes of the request in the config that leads it somewhere, else in the one that takes it at all.

    A problem where several do.
    """
    if request is None or not configs:
        return None, ()
    found = [predict(config, request) for config in configs]
    leading = [one for one in found if one.reached is not False and one.route is not None]
    taking = found if len(found) == 1 else leading or [one for one in found if one.route is not None]
    if len(taking) == 1:
        one = taking[0]
        return replace(one, timeouts=tuple(map(_timeout, one.timeouts))), ()
    if taking:
        more = f" and {len(taking) - _MOST_NAMED} more" if len(taking) > _MOST_NAMED else ""
        where = ", ".join(one.config for one in taking[:_MOST_NAMED]) + more
        why = f"--predict: {len(taking)} configs take {request.target} ({where}): give only the one that is meant"
        return None, (Problem(path=taking[0].config, line=0, column=0, message=why),)
    why = f"none of the {len(configs)} configs has a route that takes {request.target}"
    unknown = Unknown(what="the route", why=why)
    nothing = Prediction(reached=None, status=None, request=None, edits=(), timeouts=(), unknown=(unknown,))
    return nothing, ()


# The summary.


def _summary(
    configs: Sequence[Config],
    findings: Sequence[ConfigFinding],
    silenced: Sequence[Silenced],
    problems: Sequence[Problem],
    passed_over: int,
) -> str:
    routes = sum(len(listener.routes) for config in configs for listener in config.listeners)
    counts = [_count(sum(one.severity is severity for one in findings), severity) for severity in RANKS]
    told = ", ".join(filter(None, counts)) or "nothing wrong found"
    parts = [
        f"{_count(len(configs), 'config')}, {_count(routes, 'route') or 'no route'}: {told}"
        if configs
        else "no config was read",
        f"{len(silenced)} silenced" if silenced else "",
        f"{_count(len(problems), 'problem')} in reading" if problems else "",
        f"{_count(passed_over, 'file')} passed over that {'is' if passed_over == 1 else 'are'} no config"
        if passed_over
        else "",
    ]
    return "; ".join(filter(None, parts))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
