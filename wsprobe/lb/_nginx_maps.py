"""The entries of a map, and what patterns catch."""

import re

from wsprobe.lb.expressions import Captured, Condition, How, Or, Test, Text, Value, Without
from wsprobe.patterns import lazy

_GROUP = lazy(r"\(\?P?<([A-Za-z_]\w*)>")


def map_test(source: Value, key: str, *, hostnames: bool) -> tuple[tuple[int, int], Condition, str]:
    """When an entry of a map is meant, its rank among them (the lower first), and its pattern where it has one."""
    compared: Value = Or(source, Text(""))
    if key.startswith("~"):
        ignore = key.startswith("~*")
        pattern = key[2:] if ignore else key[1:]
        return (3, 0), Test(compared, How.REGEX, (pattern,), ignore_case=ignore), pattern
    text = key.removeprefix("\\")
    if hostnames:
        compared = Without(compared, suffix=".")
        if text.startswith("*."):
            return (1, -len(text)), Test(compared, How.SUFFIX, (text[1:],), ignore_case=True), ""
        if text.startswith("."):
            found = Test(compared, How.REGEX, (rf"(?:^|\.){re.escape(text[1:])}$",), ignore_case=True)
            return (1, -len(text)), found, ""
        if text.endswith(".*"):
            return (2, -len(text)), Test(compared, How.PREFIX, (text[:-1],), ignore_case=True), ""
    return (0, 0), Test(compared, How.EQUALS, (text,), ignore_case=True), ""


def captures(pattern: str, source: Value, *, ignore_case: bool) -> dict[str, Value]:
    """What the groups of a pattern catch in a value, by number and by name."""
    numbers = [str(number) for number in range(1, min(pattern.count("("), 9) + 1)]
    return {group: Captured(source, pattern, group, ignore_case) for group in [*numbers, *group_names(pattern)]}


def group_names(pattern: str) -> list[str]:
    """The names of the groups of a pattern."""
    return _GROUP.findall(pattern)
