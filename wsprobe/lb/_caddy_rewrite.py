"""What Caddy's `rewrite`, `uri` and `method` make of a request's target and method."""

import re
from collections.abc import Iterator
from dataclasses import replace

from wsprobe.lb._caddy_headers import go_template
from wsprobe.lb._caddy_tree import Said, Tree
from wsprobe.lb._caddy_values import Scope, has_placeholder, nonempty, value_of
from wsprobe.lb._paths import PathForm
from wsprobe.lb.expressions import (
    ALWAYS,
    Captured,
    Cases,
    How,
    Join,
    Of,
    OneOf,
    Subject,
    Substituted,
    Test,
    Text,
    Undecided,
    Value,
    Written,
    both,
)
from wsprobe.lb.model import Method, Retarget, Step

ESCAPED_PATH: Value = Written(Of(Subject.RAW_PATH), PathForm.ESCAPED)
"""The path as Go would send it."""

_QUERY = Of(Subject.QUERY)
KEPT_QUERY: Value = Cases(((Test(_QUERY, How.EXISTS), Join((Text("?"), _QUERY))),), Text(""))
"""The query as it is, with its question mark where there is one."""

_FIRST_PATH = Written(Of(Subject.RAW_PATH, original=True), PathForm.ESCAPED)
_FIRST_QUERY = Of(Subject.QUERY, original=True)
ORIGINAL: Value = Join(
    (_FIRST_PATH, Cases(((Test(_FIRST_QUERY, How.EXISTS), Join((Text("?"), _FIRST_QUERY))),), Text("")))
)
"""The target that the client sent, as Go would send it."""

_PLACEHOLDER = re.compile(r"(\{[^{}\s]+\})")
_COMPONENT = re.compile(r"(\A|[&=])([^&=]*)")
_PATH = "{http.request.uri.path}"


def rewrites(handler: Tree | None, scope: Scope) -> Iterator[Step]:
    """The steps of a rewrite, in the order in which Caddy takes them."""
    if handler is None:
        return
    if method := handler.text("method"):
        yield Method(value=value_of(method.upper(), scope), place=method.place)
    if uri := handler.text("uri"):
        yield Retarget(value=_uri(uri, scope), place=uri.place)
    if prefix := handler.text("strip_path_prefix"):
        yield _path_step(_stripped(prefix if prefix.startswith("/") else f"/{prefix}", r"\A{}"), prefix)
    if suffix := handler.text("strip_path_suffix"):
        yield _path_step(_stripped(suffix, r"{}\Z"), suffix)
    for each in handler.trees("uri_substring"):
        yield Retarget(value=_substring(each), place=each.place)
    for each in handler.trees("path_regexp"):
        find, replacement = each.text("find") or "", each.text("replace") or ""
        value = Substituted(ESCAPED_PATH, find, go_template(replacement, find), all=True)
        yield _path_step(_undecided_where(replacement) or value, Said(find, each.place))
    if (query := handler.tree("query")) is not None:
        # It is sorted and escaped anew whatever is edited; what is only removed changes nothing without a query.
        when = nonempty(_QUERY) if set(query) == {"delete"} else ALWAYS
        anew = Undecided("uri query", "how the query is written anew is not read")
        yield Retarget(value=anew, when=when, place=query.place)


def _path_step(path: Value, said: Said) -> Retarget:
    rooted = Substituted(path, r"\A(?!/)", "/")
    return Retarget(value=Join((rooted, KEPT_QUERY)), place=said.place)


def _undecided_where(*texts: str) -> Undecided | None:
    """Why a text cannot be followed: it has a placeholder where none is expected."""
    found = next((text for text in texts if has_placeholder(text)), None)
    return Undecided(found, "a placeholder in a part of a path is not followed") if found else None


def _stripped(part: str, anchored: str) -> Value:
    """The clean path without a part; each character may be escaped, and is compared without case."""
    if undecided := _undecided_where(part):
        return undecided
    characters = (f"(?:{re.escape(char)}|{''.join(f'%{octet:02x}' for octet in char.encode())})" for char in part)
    form = PathForm.WITHOUT_DOTS if "//" in part else PathForm.CLEAN
    cleaned, pattern = Written(ESCAPED_PATH, form), anchored.format(f"(?i:{''.join(characters)})")
    found = Test(cleaned, How.REGEX, (pattern,))
    return Cases(((found, _without_dots(Substituted(cleaned, pattern, ""))),), cleaned)


def _without_dots(rest: Value) -> Value:
    """What is left of a path: Go sends it as it was escaped where that says what is left without its dot segments."""
    rooted = Substituted(rest, r"\A(?!/)", "/")
    resolved = Substituted(Written(rest, PathForm.RESOLVED), r"\A(?!/)", "/")
    kept = Written(resolved, PathForm.WITHOUT_DOTS)
    both_of = Join((Written(rooted, PathForm.RESOLVED), Text("\n"), kept))
    same = Test(both_of, How.REGEX, (r"(?s)\A(.*)\n\1\Z",))
    return Cases(((same, rooted),), Written(kept, PathForm.QUOTED))


def _substring(each: Tree) -> Value:
    find, replacement = each.text("find") or "", each.text("replace") or ""
    limit = each.text("limit") or "0"
    if limit not in {"0", "1"} or not find:
        return Undecided(find, "a replacement with a limit above 1 is not followed")
    if undecided := _undecided_where(find, replacement):
        return undecided
    form = PathForm.WITHOUT_DOTS if "//" in find else PathForm.CLEAN
    parts = (
        Substituted(of, re.escape(find), replacement.replace("\\", r"\\"), all=limit == "0")
        for of in (Written(ESCAPED_PATH, form), KEPT_QUERY)
    )
    return Join(tuple(parts))


def _uri(uri: str, scope: Scope) -> Value:
    """The target that a template makes: what it does not say of path and query stays."""
    template = uri.partition("#")[0]
    before, mark, after = template.partition("?")
    query: Value = _marked(_query(after, scope)) if mark else KEPT_QUERY
    if not before:
        return Join((ESCAPED_PATH, query))
    inner = replace(scope, known={**scope.known, _PATH[1:-1]: ESCAPED_PATH})
    path = value_of(before, inner, unknown_stays=False)
    if isinstance(path, Join) and not mark:
        # What a placeholder brings may hold a query of its own.
        injected = Substituted(Captured(path, r"(?s)\?(.*)\Z", "1"), r"\A&+|&+(?=&|\Z)", "", all=True)
        query = Cases(((Test(path, How.CONTAINS, ("?",)), _marked(injected)),), KEPT_QUERY)
    path = Captured(path, r"(?s)\A[^?]*", "0") if isinstance(path, Join) else path
    return Join((Written(Written(path, PathForm.DECODED), PathForm.QUOTED), query))


def _marked(query: Value) -> Value:
    """A query with its question mark; Go sends that of an empty one only where the client did."""
    bare = Test(_QUERY, How.EQUALS, ("",))
    return Cases(((nonempty(query), Join((Text("?"), query))), (bare, Text("?"))), Text(""))


def _query(template: str, scope: Scope) -> Value:
    """The query of a template: what a placeholder brings is escaped, but for the query itself.

    An ampersand is written only between what is not empty.
    """
    parts: list[Value] = []
    keys: list[Value] = []
    for mark, component in _COMPONENT.findall(template):
        value = _component(component, scope)
        if mark == "=":
            keys.append(Text("="))
            parts += [Text("="), value]
        else:
            separated = OneOf(tuple(nonempty(each) for each in keys))
            parts += [Cases(((both(separated, nonempty(value)), Text("&")),), Text("")), value]
            keys.append(value)
    return Join(tuple(parts))


def _component(text: str, scope: Scope) -> Value:
    parts: list[Value] = []
    for part in _PLACEHOLDER.split(text):
        value = value_of(part, scope, unknown_stays=False)
        whole = part == "{http.request.uri.query}"
        parts.append(value if whole or isinstance(value, Text) else Written(value, PathForm.QUERY))
    return Join(tuple(parts))
