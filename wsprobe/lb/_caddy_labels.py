"""How Caddy's matchers are told to people, and what would match them."""

import fnmatch
import re
from typing import Any

from wsprobe.lb._caddy_tree import Said, Tree, as_list
from wsprobe.lb._caddy_values import has_placeholder


def label_of(sets: list[Tree]) -> str:
    """The matchers as the config has them, in one line."""
    return " or ".join(_set_label(each) for each in sets)


def _set_label(matchers: Tree) -> str:
    return matchers.label or ", ".join(_matcher_label(name, found) for name, found in matchers.items())


def _matcher_label(name: str, found: Any) -> str:  # noqa: ANN401
    if isinstance(found, Tree) and name in {"header", "header_regexp", "query", "vars", "vars_regexp"}:
        return f"{name} {' '.join(found)}"
    if name == "path_regexp" and isinstance(found, Tree):
        return f"{name} {found.text('pattern') or ''}"
    if name == "not":
        sets = found if isinstance(found, list) else [found]
        return f"not {' or '.join(_set_label(each) for each in sets if isinstance(each, Tree))}"
    return f"{name} {' '.join(_texts(found))}".strip()


def sample_of(sets: list[Tree]) -> tuple[str | None, str | None]:
    """A path and a host that should match; None where any does."""
    for each in sets[:1]:
        path = next((_sample_path(text) for text in each.texts("path")), None)
        host = next((text.replace("*", "x") for text in each.texts("host") if not has_placeholder(text)), None)
        return path, host
    return None, None


def _sample_path(pattern: str) -> str:
    made = re.sub(r"\[(.)[^\]]*\]", r"\1", pattern.replace("*", "x").replace("?", "x"))
    made = made if made.startswith("/") else f"/{made}"
    return made if fnmatch.fnmatchcase(made, "/*") else "/"


def _texts(found: Any) -> list[Said]:  # noqa: ANN401  what a Tree holds
    return [each for each in as_list(found) if isinstance(each, Said)]
