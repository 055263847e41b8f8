"""What was measured, the goals that it is held against, and both as Markdown tables."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figures:
    """One value a round for each subject and metric, and why a subject has none."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    failed: bool = False

    def add(self, subject: str, **metrics: float) -> None:
        """Adds what one round gave."""
        for metric, value in metrics.items():
            self.values.setdefault((subject, metric), []).append(value)

    def leave_out(self, subject: str, reason: str, *, failed: bool) -> None:
        """Remembers why a subject has no figures from here on; the first reason counts."""
        self.reasons.setdefault(subject, reason)
        self.failed = self.failed or failed

    def of(self, subject: str, metric: str) -> list[float]:
        """The values of all rounds; none where the subject was left out, also half-way."""
        return [] if subject in self.reasons else self.values.get((subject, metric), [])

    def compared(self, metric: str, subject: str, reference: str | None) -> list[float]:
        """Round by round the subject's value, as a ratio to the reference's where there is one."""
        own = self.of(subject, metric)
        return [a / b for a, b in zip(own, self.of(reference, metric), strict=False)] if reference else own


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a metric of one subject, or on its ratio to the same metric of another, measured beside it."""

    part: str
    what: str
    metric: str
    subject: str
    reference: str | None
    sign: str
    bound: float
    unit: str = ""

    def met_by(self, value: float) -> bool:
        """Whether the value is on the right side of the bound."""
        return value >= self.bound if self.sign == "≥" else value <= self.bound


PLAIN, ADDON = "mitmdump, websocket=false", "mitmdump, addon"
TRACE, SMALLEST = "wsprobe trace", "smallest aiohttp script"
HELP, EXPLAIN, PYTHON = "wsprobe --help", "wsprobe explain 1011", "python -c pass"
INSPECT = "wsprobe inspect nginx.conf"

GENERATED, CORPUS = "an nginx config of 10,000 lines", "a folder of real configs"

GOALS = [
    Goal("echo", "relay: echoes/s, of HAProxy's", "echo_rate", "wsprobe", "haproxy", "≥", 0.9),
    Goal(
        "upgrade", "relay: upgrades/s with recording on, of HAProxy's", "upgrade_rate", "wsprobe", "haproxy", "≥", 0.3
    ),
    Goal("bulk", "relay: bulk MB/s, of HAProxy's", "bulk_rate", "wsprobe", "haproxy", "≥", 1.2),
    Goal("latency", "relay: p99 of one connection, of HAProxy's", "p99", "wsprobe", "haproxy", "≤", 1.0),
    Goal("idle", "relay: memory for an idle connection", "idle", "wsprobe", None, "≤", 8, " kB"),
    Goal("echo", "relay: stock mitmdump's CPU per echo, of the relay's", "echo_cpu", "mitmdump", "wsprobe", "≥", 50),
    Goal("addon", "addon: CPU per upgrade, of mitmdump's without it", "upgrade_cpu", ADDON, PLAIN, "≤", 1.1),
    Goal("addon", "addon: CPU per message, of mitmdump's without it", "echo_cpu", ADDON, PLAIN, "≤", 1.1),
    Goal("startup", f"`{TRACE}`, of the {SMALLEST}'s time", "time", TRACE, SMALLEST, "≤", 1.3),
    Goal("startup", f"`{HELP}`, of the time of `{PYTHON}`", "time", HELP, PYTHON, "≤", 5),
    Goal("startup", f"`{EXPLAIN}`, of the time of `{PYTHON}`", "time", EXPLAIN, PYTHON, "≤", 5),
    Goal("startup", f"`{INSPECT}`, of the time of `{PYTHON}`", "time", INSPECT, PYTHON, "≤", 8),
    Goal(
        "configs",
        "`wsprobe inspect`: CPU over a generated nginx config of 10,000 lines",
        "config_cpu",
        GENERATED,
        None,
        "≤",
        1,
        " s",
    ),
    Goal("configs", "`wsprobe inspect`: CPU over the whole corpus", "config_cpu", CORPUS, None, "≤", 5, " s"),
]

HEADINGS = {
    "echo_rate": "echoes/s",
    "echo_cpu": "CPU µs/echo",
    "p50": "p50 µs",
    "p99": "p99 µs",
    "upgrade_rate": "upgrades/s",
    "upgrade_cpu": "CPU µs/upgrade",
    "bulk_rate": "bulk MB/s",
    "bulk_cpu": "CPU ms/GB",
    "idle": "idle kB/connection",
    "config_cpu": "CPU s",
    "time": "ms, whole process",
}


def number(value: float) -> str:
    """Three significant digits, and no fewer than all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(cells: Iterable[str]) -> str:
    # A program's last words may stand in a cell; they must not end it.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _judged(goal: Goal, figures: Figures) -> str:
    bound = f"{goal.sign} {goal.bound:g}{goal.unit}"
    rounds = figures.compared(goal.metric, goal.subject, goal.reference)
    if not rounds:
        reasons = [figures.reasons[name] for name in (goal.subject, goal.reference) if name in figures.reasons]
        return _row([goal.what, "not measured: " + "; ".join(reasons), bound, "?"])
    middle = statistics.median(rounds)
    figure = f"{number(middle)}{goal.unit} ({number(min(rounds))} to {number(max(rounds))})"
    return _row([goal.what, figure, bound, "yes" if goal.met_by(middle) else "**no**"])


def goal_table(figures: Figures, parts: Iterable[str]) -> str:
    """Every goal of the parts that ran, the figure beside it and whether it is met."""
    chosen = [goal for goal in GOALS if goal.part in set(parts)]
    head = [_row(["measured", "median (range of the rounds)", "goal", "met"]), _row(["---"] * 4)]
    return "\n".join([*head, *(_judged(goal, figures) for goal in chosen)])


def _medians(title: str, metrics: Iterable[str], figures: Figures) -> str:
    columns = [metric for metric in metrics if any(taken == metric for _, taken in figures.values)]
    subjects = dict.fromkeys(subject for subject, metric in figures.values if metric in columns)
    lines = [_row([title, *(HEADINGS[metric] for metric in columns)]), _row(["---"] * (len(columns) + 1))]
    for subject in subjects:
        cells = [figures.of(subject, metric) for metric in columns]
        lines.append(_row([subject, *(number(statistics.median(cell)) if cell else "" for cell in cells)]))
    return "\n".join(lines) if columns else ""


def figure_tables(figures: Figures) -> str:
    """The medians behind the ratios, a line for each subject, and what was left out."""
    traffic = [metric for metric in HEADINGS if metric != "time"]
    tables = [_medians("medians", traffic, figures), _medians("medians", ["time"], figures)]
    left_out = [f"- {subject} is left out: {reason}" for subject, reason in figures.reasons.items()]
    return "\n\n".join(filter(None, [*tables, "\n".join(left_out)]))
