"""How large a head is, as a size limit counts it."""

from wsprobe.lb.model import Limit, Measure
from wsprobe.lb.request import Request


def measured(limit: Limit, request: Request) -> int:  # noqa: PLR0911  one branch a measure
    """What a size limit counts, of a request."""
    lines = [(len(name.encode("latin-1", "replace")), len(value.encode("utf-8"))) for name, value in request.headers]
    start = len(request.method) + len(request.target) + len(request.version) + 2
    more = limit.per_line * len(lines)
    match limit.measure:
        case Measure.COUNT:
            return len(lines) + more
        case Measure.VALUE:
            return max((value for _, value in lines), default=0) + more
        case Measure.LINE:
            return max((name + 2 + value for name, value in lines), default=0) + more
        case Measure.JOINED:
            sizes: dict[str, int] = {}
            for (name, _), (_, size) in zip(request.headers, lines, strict=True):
                sizes[name.lower()] = sizes[name.lower()] + 2 + size if name.lower() in sizes else size
            return max(sizes.values(), default=0) + more
        case Measure.START:
            return start + more
        case Measure.HEAD:
            return start + 2 + sum(name + value + 4 for name, value in lines) + 2 + more
        case Measure.BUFFERS:
            return _filled(limit, [start + 2, *(name + value + 4 for name, value in lines), 2])


def _filled(limit: Limit, lines: list[int]) -> int:
    """How many buffers the lines fill, one more than there are where a line fits in none."""
    count, left = 0, limit.first
    for line in lines:
        if line > left:
            count, left = count + 1, limit.each
        if line > left:
            return limit.most + 1
        left -= line
    return count
