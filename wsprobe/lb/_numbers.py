"""Whole numbers as proxies write them: what Python takes for one may be none, or too long to be turned into one."""

MOST_DIGITS = 18
"""Every proxy keeps numbers in 64 bits, and refuses what does not fit."""


def natural(text: str) -> int | None:
    """A number in ASCII digits; None where the text is none, or has more digits than any proxy takes."""
    return int(text) if len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() else None
