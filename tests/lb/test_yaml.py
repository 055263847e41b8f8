"""The nodes that the readers of YAML and JSON look at: where they stand, what they say, and what is refused."""

import json
import time

import pytest

from wsprobe.lb._yaml import MAX_EXPANDED, Kind, Node, documents, template
from wsprobe.lb.source import ReadError, from_text


def only(text: str) -> Node:
    [node] = documents(from_text(text))
    return node


def refused(text: str) -> tuple[int, int, str]:
    with pytest.raises(ReadError) as caught:
        documents(from_text(text))
    problem = caught.value.problem
    return problem.line, problem.column, problem.message


@pytest.mark.parametrize(
    "text", ["a:\n  - b: 1\n    c: x\n", '{"a": \n  [{"b": 1,\n "c": "x"}]}', 'a:\n\n  [{b: "1", c: x}]\n']
)
def test_yaml_and_json_say_the_same(text: str) -> None:
    [inner] = only(text).under("a")
    assert inner.kind is Kind.MAPPING
    assert (inner.get("b"), inner.get("c")) != (None, None)
    assert {key: value.text for key, value in inner.entries().items()} == {"b": "1", "c": "x"}


def test_a_value_is_placed_at_its_key_and_an_element_where_it_begins() -> None:
    root = only("one:\n  two:\n    - three\n")
    two = root.get("one", "two")
    assert two is not None
    assert (two.place.line, two.place.column, two.place.text) == (2, 3, "two:")
    assert (two.items()[0].place.line, two.items()[0].place.column) == (3, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("true", (True, None, None)),
        ("False", (False, None, None)),
        ("on", (True, None, None)),
        ("8080", (None, 8080, 8080.0)),
        ('"8080"', (None, 8080, 8080.0)),
        ("0x10", (None, 16, 16.0)),
        ("1_000", (None, 1000, 1000.0)),
        ("010", (None, 10, 10.0)),
        ("1.5", (None, None, 1.5)),
        ("1e3", (None, None, 1000.0)),
        ("-3", (None, -3, -3.0)),
        ("8s", (None, None, None)),
        ("{}", (None, None, None)),
    ],
)
def test_what_a_scalar_says(text: str, said: tuple[bool | None, int | None, float | None]) -> None:
    node = only(f"a: {text}").entries()["a"]
    assert (node.boolean, node.integer, node.number) == said


@pytest.mark.parametrize("text", ["a:", "a: null", "a: ~", "b: 1"])
def test_null_and_missing_are_the_same(text: str) -> None:
    assert only(text).get("a") is None
    assert only(text).under("a", "b") == []


def test_a_quoted_null_is_a_text() -> None:
    assert only('a: ""').get("a") is not None


def test_anchors_and_merges_are_followed_and_own_keys_win() -> None:
    root = only("x: &m {a: 1, b: 2}\ny: &n {b: 3, c: 4}\nz:\n  b: own\n  <<: [*m, *n]\nw: *m\n")
    merged, alias = root.get("z"), root.get("w", "a")
    assert merged is not None
    assert {key: value.text for key, value in merged.entries().items()} == {"a": "1", "b": "own", "c": "4"}
    assert alias is not None
    assert alias.text == "1"


def test_repeated_keys_are_told_and_the_last_one_counts() -> None:
    root = only("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert [(node.text, node.line, first) for node, first in root.document.duplicates] == [("c", 5, 3)]
    assert (last := root.get("b", "c"))
    assert last.text == "3"


def test_several_documents_and_empty_ones() -> None:
    assert [node.line for node in documents(from_text("a: 1\n---\n---\nb: 2\n...\n"))] == [1, 4]
    assert documents(from_text("# nothing\n")) == []


def test_the_escapes_of_json_that_yaml_has_not() -> None:
    assert only(json.dumps({"a": "\N{GRINNING FACE}/"}).replace("/", r"\/")).entries()["a"].text == "\N{GRINNING FACE}/"


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a: 1\nb: c: d\n", 2, 5, "mapping values are not allowed"),
        ("a: 'x\n", 2, 1, "unexpected end of stream"),
        ("\ta: 1", 1, 1, "cannot start any token"),
        ("a: *b", 1, 4, "undefined alias"),
        ("a:\n  b\x01c", 2, 4, "control characters"),
        ("a: &a [*a]", 1, 4, "contains itself"),
        ("? [a]\n: b", 1, 3, "no scalar"),
        ("a: 1\nb: {{ c }}\n", 2, 4, "a template ({{ at line 2), not read"),
        ("a: 1\n{% if b %}\nc: 2\n{% endif %}\n", 2, 1, "a template ({% at line 2), not read"),
        ("{{- if .x }}\na: 1\n{{- end }}\n", 1, 1, "a template ({{ at line 1), not read"),
        ("[" * 100_000, 1, 1001, "nesting"),
        ("[" * 400 + "]" * 400, 1, 1, "nested more than"),
        ("- " * 100_000, 1, 1999, "nesting"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(text: str, line: int, column: int, said: str) -> None:
    assert refused(text)[:2] == (line, column)
    assert said in refused(text)[2]


def test_braces_in_a_comment_make_no_template() -> None:
    assert "template" not in refused("# {{ x }}\na: b: c # {{ y }}\n")[2]


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    begun = time.process_time()
    assert f"more than {MAX_EXPANDED} nodes" in refused(text)[2]
    assert time.process_time() - begun < 1


def test_a_bomb_of_merges_is_refused_too() -> None:
    text = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 40)
    )
    assert f"more than {MAX_EXPANDED} nodes" in refused(text)[2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: ${PORT}", "a template (${ at line 1), not read"),
        ("a: '{{ x }}'", "a template ({{ at line 1), not read"),
        ("# ${PORT}\na: 1", None),
        ("a: |\n  local x = {{1}}\n", None),
        ("inline_string: 'x = {{1}}'", None),
        ("a: 100%", None),
    ],
)
def test_placeholders_in_scalars_are_templates_but_scripts_are_not(text: str, found: str | None) -> None:
    error = template(only(text), but=frozenset({"inline_string"}))
    assert (error and error.problem.message) == found


def test_two_megabytes_are_composed_quickly() -> None:
    text = json.dumps(
        [{"name": f"cluster{n}", "a": {"b": [1, 2, "x" * 10], "c": True}} for n in range(20_000)], indent=1
    )
    assert len(text) > 2_000_000
    begun = time.process_time()
    assert len(only(text).items()) == 20_000
    assert time.process_time() - begun < 5
