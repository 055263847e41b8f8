"""The configs that a trace or a diagnosis is held against: read before anything is sent."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wsprobe.cli import UsageError
from wsprobe.model import Report, Reports

if TYPE_CHECKING:
    from wsprobe.lb.model import Config
    from wsprobe.lb.source import Source


@dataclass(frozen=True, slots=True)
class Configs:
    """What was read of the files that were named, and what could not be."""

    configs: "Sequence[Config]" = ()
    sources: "Mapping[str, Source]" = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def beside(self, result: Report | Reports) -> Report | Reports:
        """The result with the lines that predict its findings, and where configs and observation differ."""
        if not self.configs:
            return result
        if isinstance(result, Reports):
            return replace(result, reports=tuple(map(self._met, result.reports)))
        return self._met(result)

    def _met(self, report: Report) -> Report:
        from wsprobe.examine import veil_of
        from wsprobe.meet import meet

        met = meet(report, self.configs, veil_of(self.configs, self.sources))
        return replace(met, config=(*met.config, *self.problems))


def config_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be given."""
    add = parser.add_argument_group("what the proxies on the path are configured to do").add_argument
    add(
        "--config",
        metavar="PATH",
        action="append",
        default=[],
        help="a load balancer's config, or a folder of them: its lines are named beside what they predict (repeatable)",
    )
    add("--lb-version", metavar="KIND=VERSION", action="append", default=[], help="a proxy's version: nginx=1.22")


def read_configs(options: argparse.Namespace) -> Configs:
    """The configs that were named; UsageError where nothing of them could be read."""
    if not options.config:
        return Configs()
    from wsprobe.cli.configs import Way, find
    from wsprobe.cli.inspect import told, versions

    found = find(options.config, Way(versions=versions(options.lb_version)))
    problems = tuple(map(told, (*found.problems, *(one for config in found.configs for one in config.problems))))
    if not found.configs:
        raise UsageError(problems[0] if problems else f"{', '.join(options.config)}: there is no config in it")
    return Configs(found.configs, found.sources, problems)
