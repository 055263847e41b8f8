"""What Caddy's `headers` do: operations on the headers of a request, in the order in which Caddy takes them."""

import re
from collections.abc import Callable, Iterator

from wsprobe.lb._caddy_tree import Said, Tree
from wsprobe.lb._caddy_values import Scope, has_placeholder, value_of
from wsprobe.lb.expressions import Value
from wsprobe.lb.model import Edit, Every, Like, Named, Op, Opaque, Which

_GROUP = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")

Valued = Callable[[str], Value]
"""Makes a value of a text with placeholders."""


def request_edits(ops: Tree | None, valued: Valued) -> Iterator[Edit | Opaque]:
    """The edits of a request: all headers are deleted first, then it adds, sets, deletes and replaces."""
    if ops is None:
        return
    deleted = ops.texts("delete")
    for name in deleted:
        if name == "*":
            yield Edit(op=Op.REMOVE, which=Every(), place=name.place)
    for op, key in ((Op.ADD, "add"), (Op.SET, "set")):
        for name, values in _fields(ops, key):
            yield from _written(op, name, values, valued)
    for name in deleted:
        if name != "*":
            yield _deleted(name)
    for name, replacements in _replacements(ops):
        for each in replacements:
            yield _replaced(name, each, valued)


def _fields(ops: Tree, key: str) -> Iterator[tuple[Said, list[Said]]]:
    found = ops.tree(key)
    for name, _ in found.marked() if found else ():
        yield name, found.texts(name) if found else []


def _replacements(ops: Tree) -> Iterator[tuple[Said, list[Tree]]]:
    found = ops.tree("replace")
    for name, _ in found.marked() if found else ():
        yield name, found.trees(name) if found else []


def _written(op: Op, name: Said, values: list[Said], valued: Valued) -> Iterator[Edit | Opaque]:
    if has_placeholder(name):
        yield Opaque(why=f"the name of the header is made of a placeholder: {name}", place=name.place)
    elif op is Op.SET:
        joined = Said(",".join(values), values[-1].place if values else name.place)
        yield Edit(op=op, which=Named((name,)), value=valued(joined), place=joined.place)
    else:
        # Go keeps one Host, and the last that is added counts.
        op = Op.SET if name.lower() == "host" else op
        for value in values:
            yield Edit(op=op, which=Named((name,)), value=valued(value), place=value.place)


def _deleted(name: Said) -> Edit | Opaque:
    if has_placeholder(name):
        return Opaque(why=f"the name of the header is made of a placeholder: {name}", place=name.place)
    return Edit(op=Op.REMOVE, which=deletes(name), place=name.place)


def deletes(name: str) -> Which:
    """Which headers a name to delete is about: it may begin or end with a star."""
    if "*" not in (name[:1], name[-1:]):
        return Named((name,))
    begins = "" if name.startswith("*") else r"\A"
    ends = "" if name.endswith("*") else r"\Z"
    return Like(f"{begins}{re.escape(name.removeprefix('*').removesuffix('*'))}{ends}")


def deletes_header(ops: Tree | None, header: str) -> Said | None:
    """The name to delete, with its line, that takes away a header whatever its value."""
    for name in ops.texts("delete") if ops else ():
        which = deletes(name)
        named = isinstance(which, Named) and name.lower() == header.lower()
        if named or (isinstance(which, Like) and re.search(which.pattern, header, re.IGNORECASE)):
            return name
    return None


def _replaced(name: Said, each: Tree, valued: Valued) -> Edit | Opaque:
    search, pattern = each.text("search"), each.text("search_regexp")
    if has_placeholder(name) or (search and has_placeholder(search)):
        return Opaque(why=f"what is replaced is made of a placeholder: {name}", place=each.place)
    replacement = each.text("replace") or Said("")
    value: Value
    if pattern is not None:
        value = valued(go_template(replacement, pattern))
    else:
        value = valued(replacement.replace("\\", r"\\"))
    which: Which = Every() if name == "*" else Named((name,))
    return Edit(
        op=Op.REPLACE,
        which=which,
        value=value,
        pattern=pattern or re.escape(search or ""),
        every=True,
        place=each.place,
    )


def go_template(replacement: str, pattern: str) -> str:
    r"""A replacement with groups as Go writes them, `$1` and `${name}`, as `\g<1>`; one that is not there is empty."""
    groups = groups_of(pattern)

    def group(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        return rf"\g<{name}>" if name in groups else ""

    return _GROUP.sub(group, replacement.replace("\\", r"\\"))


def groups_of(pattern: str) -> list[str]:
    """The groups of a pattern as Go numbers and names them, that of the whole first."""
    opened = re.findall(r"\\.|\[(?:\\.|[^\]])*\]|\((?:\?P?<(\w+)>|(?!\?))", pattern)
    found = [name for name in opened if name]
    count = sum(1 for each in re.finditer(r"\\.|\[(?:\\.|[^\]])*\]|(\((?:\?P?<\w+>|(?!\?)))", pattern) if each[1])
    return [*map(str, range(count + 1)), *found]


def plain(scope: Scope) -> Valued:
    """Values over the request as it stands at each edit."""
    return lambda text: value_of(text, scope)
