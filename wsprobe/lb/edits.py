"""What one edit makes of the lines of a header, and how edits are told."""

import re
from dataclasses import replace

from wsprobe.inspection import Change, HeaderEdit
from wsprobe.lb.evaluation import members_of
from wsprobe.lb.model import Edit, Op


def pruned(pattern: str, line: str) -> str:
    """A list without the members that a pattern matches."""
    members = members_of(line)
    gone = [re.fullmatch(pattern, member.strip(), re.IGNORECASE) is not None for member in members]
    if True not in gone:
        return line if line.strip(" \t,") else ""
    first = gone.index(True)
    kept = [member.strip() for member, is_gone in zip(members[first:], gone[first:], strict=True) if not is_gone]
    return ",".join([",".join(members[:first]), *kept] if first else kept)


def appended(edit: Edit, before: list[str], value: str) -> list[str]:
    """The lines with a value behind the last, or the first; where empty ones are dropped, no member is empty."""
    if not before:
        return [value]
    at = 0 if edit.to_first else len(before) - 1
    members = [text for text in (before[at], value) if text or not edit.drop_empty]
    return [edit.separator.join(members) if index == at else text for index, text in enumerate(before)]


def told(edit: Edit, name: str, before: list[str], after: list[str]) -> HeaderEdit:
    """An edit as a prediction lists it: what the lines of a header were before, and are after it."""
    kind = Change.CHANGED
    if not before:
        kind = Change.ADDED
    elif not after:
        kind = Change.REMOVED
    elif edit.op is Op.JOIN:
        kind = Change.MERGED
    return HeaderEdit(
        kind=kind,
        name=name,
        before=", ".join(before) if before else None,
        after=", ".join(after) if after else None,
        place=edit.place,
    )


def net(edits: list[HeaderEdit]) -> tuple[HeaderEdit, ...]:
    """The edits, with what a proxy takes off and puts on again by default told as the one change that it is."""
    found: list[HeaderEdit] = []
    for edit in edits:
        last = next((one for one in reversed(found) if one.name.lower() == edit.name.lower()), None)
        again = edit.kind is Change.ADDED and last is not None and last.kind is Change.REMOVED
        if not again or last is None or edit.place or last.place:
            found.append(edit)
        elif last.before == edit.after:
            found.remove(last)
        else:
            found[found.index(last)] = replace(last, kind=Change.CHANGED, after=edit.after)
    return tuple(found)
