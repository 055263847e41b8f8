"""The matchers of a Caddyfile, adapted to Caddy's JSON: inline paths, `@name` in one line and in blocks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from wsprobe.lb._caddy_blocks import Entry
from wsprobe.lb._caddy_context import Report
from wsprobe.lb._caddy_tokens import Word
from wsprobe.lb._caddy_tree import NULL, Said, Tree, as_trees


def said(word: Word) -> Said:
    """A word of a Caddyfile as a text that knows its line."""
    return Said(word.text, word.place)


@dataclass(frozen=True, slots=True)
class Defined:
    """The named matchers that can be used at one point of a Caddyfile."""

    report: Report
    named: Mapping[str, Tree] = field(default_factory=dict)

    def within(self, entries: tuple[Entry, ...]) -> "Defined":
        """With the matchers that a block defines."""
        own = {entry.name: self._definition(entry) for entry in entries if is_definition(entry)}
        return Defined(self.report, {**self.named, **own}) if own else self

    def taken(self, entry: Entry) -> tuple[list[Tree], Entry]:
        """The matcher sets of a directive, from its first argument, and the directive without it."""
        if not entry.args:
            return [], entry
        first = entry.args[0]
        rest = Entry((entry.words[0], *entry.args[1:]), entry.block, entry.opened)
        if first.text == "*":
            return [], rest
        if first.text.startswith("/"):
            return [Tree(first.place, [("path", [said(first)])], label=first.text)], rest
        if first.text.startswith("@"):
            found = self.named.get(first.text)
            if found is None:
                self.report.unknown(first.text, "there is no matcher of that name here", first.place)
                found = Tree(first.place, [(Said(first.text, first.place), NULL)], label=first.text)
            return [found], rest
        return [], entry

    def _definition(self, entry: Entry) -> Tree:
        tree = Tree(entry.place, label=entry.name)
        if entry.args and entry.args[0].quote:  # an expression needs no name
            tree["expression"] = said(entry.args[0])
        elif entry.args:
            self.add(tree, Entry(entry.args, entry.block, entry.opened))
        else:
            for each in entry.inner:
                self.add(tree, each)
        _name_patterns(tree, entry.name[1:])
        # A definition is told by what it matches, which says more than its name.
        tree.label = "" if tree else entry.name
        return tree

    def add(self, tree: Tree, entry: Entry) -> None:
        """Adds the matcher of one line to a set."""
        name = Said(entry.name, entry.place)
        if entry.name == "not":
            inner = Tree(entry.place)
            lines = (Entry(entry.args, entry.block, entry.opened),) if entry.args else entry.inner
            for each in lines:
                self.add(inner, each)
            tree.setdefault(name, []).append(inner)
            return
        read = _MATCHERS.get(entry.name)
        if read is None:
            tree.setdefault(name, said(entry.words[-1]))
            return
        read(tree, name, entry)


def _name_patterns(tree: Tree, name: str) -> None:
    """A pattern without a name of its own is called as its matcher."""
    fields = tree.tree("header_regexp") or Tree(tree.place)
    for each in (*tree.trees("path_regexp"), *as_trees(list(fields.values()))):
        each.setdefault("name", Said(name))


def is_definition(entry: Entry) -> bool:
    """Whether a line defines a named matcher."""
    return entry.name.startswith("@") and not entry.words[0].quote


def _listed(tree: Tree, name: Said, entry: Entry) -> None:
    tree.setdefault(name, []).extend(said(word) for word in entry.args)


def _ranges(tree: Tree, name: Said, entry: Entry) -> None:
    tree.setdefault(name, Tree(entry.place)).setdefault("ranges", []).extend(said(word) for word in entry.args)


def _one(tree: Tree, name: Said, entry: Entry) -> None:
    tree[name] = Said(" ".join(word.text for word in entry.args), entry.place)


def _pattern(tree: Tree, name: Said, entry: Entry) -> None:
    words = entry.args
    pairs = [("pattern", said(words[-1]))] if words else []
    tree[name] = Tree(entry.place, [*pairs, *([("name", said(words[0]))] if len(words) > 1 else [])])


def _field(tree: Tree, name: Said, entry: Entry) -> None:
    """`header Field value`, or `header !Field`."""
    fields = tree.setdefault(name, Tree(entry.place))
    if not entry.args:
        return
    key = entry.args[0].text
    if key.startswith("!"):
        fields[Said(key[1:], entry.place)] = NULL
    else:
        fields.setdefault(Said(key, entry.place), []).extend(said(word) for word in entry.args[1:2])


def _field_pattern(tree: Tree, name: Said, entry: Entry) -> None:
    words = entry.args[-2:]
    if len(words) == 2:
        pattern = Tree(entry.place, [("pattern", said(words[1]))])
        if len(entry.args) > 2:
            pattern["name"] = said(entry.args[0])
        tree.setdefault(name, Tree(entry.place))[said(words[0])] = pattern


def _pairs(tree: Tree, name: Said, entry: Entry) -> None:
    fields = tree.setdefault(name, Tree(entry.place))
    for word in entry.args:
        if word.text:
            key, _, value = word.text.partition("=")
            fields.setdefault(Said(key, entry.place), []).append(Said(value, word.place))


def _values(tree: Tree, name: Said, entry: Entry) -> None:
    if entry.args:
        fields = tree.setdefault(name, Tree(entry.place))
        fields.setdefault(said(entry.args[0]), []).extend(said(word) for word in entry.args[1:])


_MATCHERS: Mapping[str, Callable[[Tree, Said, Entry], None]] = {
    "path": _listed,
    "host": _listed,
    "method": _listed,
    "protocol": _one,
    "expression": _one,
    "path_regexp": _pattern,
    "remote_ip": _ranges,
    "client_ip": _ranges,
    "header": _field,
    "header_regexp": _field_pattern,
    "query": _pairs,
    "vars": _values,
    "vars_regexp": _field_pattern,
}


def pairs_of(entry: Entry) -> Iterator[tuple[Said, Word | None]]:
    """Names and values: of the line itself, or of each line of its block."""
    lines = (Entry(entry.args),) if entry.args else entry.inner
    for each in lines:
        if each.words:
            yield said(each.words[0]), each.words[1] if len(each.words) > 1 else None
