"""The rules over load balancer configs, one a file: what is wrong with how a route treats an upgrade.

A rule is called once for each route that leads to an upstream, or that is meant to, with the upgrade that was carried
over it (`Passage`). Rules are found by their folder, as those over traces are: a new one is a new file.
"""

import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from itertools import groupby
from types import ModuleType

from wsprobe.frozen import dataclass
from wsprobe.inspection import ConfigFinding
from wsprobe.lb.model import Config
from wsprobe.parts import Line, Severity
from wsprobe.rules.config._index import Index
from wsprobe.rules.config._intent import Intent, Level, intent_elsewhere, intents
from wsprobe.rules.config._passage import Passage
from wsprobe.rules.config._upgrade import Asked

__all__ = ["Asked", "ConfigRule", "Intent", "Level", "Passage", "judge", "judged", "load", "names", "survey", "text"]

_MOST_ROUTES = 3
_MOST_OF_A_LABEL = 70
_ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


@dataclass(frozen=True, slots=True)
class ConfigRule:
    """One rule: its module, and the vendor's page on the matter for each kind of config that has one."""

    module: str
    urls: dict[str, str]

    @property
    def name(self) -> str:
        """The name of the rule's file, in kebab case."""
        return self.module.rpartition(".")[2].replace("_", "-")

    def finding(  # noqa: PLR0913  the parts of a finding
        self,
        passage: Passage,
        message: str,
        *,
        severity: Severity,
        place: Line | None = None,
        related: Iterable[Line | None] = (),
        header: str | None = None,
        fix: str | None = None,
        url: str | None = None,
    ) -> ConfigFinding:
        """A finding of this rule on one route; without a place it stands where the route leads to its upstream.

        `url` is a page that says more of this very case than the rule's own for that proxy.
        """
        at = place or passage.where
        return ConfigFinding(
            rule=self.name,
            message=message,
            severity=severity,
            place=at,
            related=tuple(dict.fromkeys(line for line in related if line and line != at)),
            route=passage.route.label,
            header=header,
            fix=fix,
            url=url or self.urls.get(passage.config.kind),
        )


@cache
def names() -> tuple[str, ...]:
    """The names of all rules over configs, sorted."""
    found = (info.name for info in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


@cache
def load(name: str) -> ModuleType:
    """The module of one rule; TypeError where a part is missing."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    missing = [part for part in ("__doc__", "RULE", "check") if not getattr(module, part, None)]
    if missing:
        msg = f"rule {name} lacks {', '.join(missing)}"
        raise TypeError(msg)
    return module


def text(name: str) -> str:
    """What a rule means, with its examples and the vendors' pages on the matter."""
    module = load(name)
    pages = "\n".join(f"- {kind}: {url}" for kind, url in sorted(module.RULE.urls.items()))
    return f"{name}\n\n{(module.__doc__ or '').strip()}\n\nSee also:\n\n{pages}"


def judge(configs: Iterable[Config], asked: Asked | None = None) -> Iterator[ConfigFinding]:
    """All findings of all rules on configs, by place; one for each fault of a line, however many routes it touches."""
    for config in configs:
        yield from judged(survey(config, asked))


def judged(surveyed: Iterable[tuple[Passage, Intent]]) -> Iterator[ConfigFinding]:
    """The same for one config whose routes were looked at before."""
    yield from _merged([found for passage, intent in surveyed for found in _on(passage, intent)])


def survey(config: Config, asked: Asked | None = None) -> Iterator[tuple[Passage, Intent]]:
    """Each route of a config with the upgrade that was carried over it, and whether it is meant for one."""
    passages = [
        Passage(config=config, listener=listener, route=route, asked=asked or Asked(), index=index)
        for listener, index in ((listener, Index(listener.routes)) for listener in config.listeners)
        for route in listener.routes
    ]
    aimed = [next(passage.aimed(), passage) for passage in passages]
    if not (asked and asked.at) and any(passage.meant and passage.passes for passage in aimed):
        # A path may be asked for at any of several hosts; one that passes the upgrade on was meant, if any.
        pairs = zip(passages, aimed, strict=True)
        aimed = [own if one.meant and not one.passes else one for own, one in pairs]
    return zip(aimed, intents(aimed), strict=True)


def _on(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    """The findings on a route, and those that only some of its request targets have."""
    found = list(_of(passage, intent))
    yield from found
    told = {(finding.rule, finding.place) for finding in found}
    conditional = {step.place for step in passage.conditional}
    for other in passage.elsewhere():
        label = f"{passage.route.label} ({other.route.sample})"
        for finding in _of(other, intent_elsewhere(other, intent)):
            if (finding.rule, finding.place) not in told and finding.place in conditional:
                yield replace(finding, route=label)


def _of(passage: Passage, intent: Intent) -> Iterator[ConfigFinding]:
    for name in names():
        yield from load(name).check(passage, intent)


def _merged(found: list[ConfigFinding]) -> Iterator[ConfigFinding]:
    """The findings by place; those of one rule, place and header as one, with the words of the gravest."""

    def key(finding: ConfigFinding) -> tuple[str, int, int, str, str]:
        place = finding.place
        return place.path, place.line, place.column, finding.rule, (finding.header or "").lower()

    for _, group in groupby(sorted(found, key=lambda each: (key(each), _ORDER.index(each.severity))), key):
        same = list(group)
        routes = list(dict.fromkeys(finding.route or "" for finding in same))
        more = f" and {len(routes) - _MOST_ROUTES} more" if len(routes) > _MOST_ROUTES else ""
        where = ", ".join(map(_short, routes[:_MOST_ROUTES])) + more
        related = dict.fromkeys(line for finding in same for line in finding.related)
        yield replace(same[0], message=f"{where}: {same[0].message}", related=tuple(related)[: 2 * _MOST_ROUTES])


def _short(label: str) -> str:
    return label if len(label) <= _MOST_OF_A_LABEL else f"{label[: _MOST_OF_A_LABEL - 1]}…"
