"""Durations in words."""


def seconds(value: float) -> str:
    """A duration for people: 120 ms, 2.0 s, 5 min, 26 hours, 3 days."""
    if value < 0.9995:
        return f"{value * 1000:.3g} ms"
    for below, unit, word in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "hours")):
        if value < below:
            return f"{value:.1f} s" if unit == 1 else f"{value / unit:.3g} {word}"
    return f"{value / 86_400:.0f} days"
