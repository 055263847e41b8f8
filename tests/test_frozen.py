"""The dataclasses of the model behave as those of the standard library, though their methods come later."""

import copy
import dataclasses
import pickle
from dataclasses import dataclass as standard
from dataclasses import field, replace
from typing import Any

import pytest

from wsprobe.frozen import dataclass
from wsprobe.patterns import lazy


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """By name alone."""

    one: int
    two: tuple[str, ...] = ()
    three: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """By position."""

    one: int
    two: str = "two"


@dataclass(slots=True)
class Open:
    """That changes, and works something out once it is made."""

    one: int
    twice: int = 0

    def __post_init__(self) -> None:
        self.twice = 2 * self.one


@dataclass(frozen=True, slots=True, eq=False)
class Single:
    """That is equal to itself only."""

    one: int


def twin(kind: Any, **options: bool) -> Any:  # noqa: ANN401  a class, and the same made by the standard library
    names = {name: kind.__annotations__[name] for name in kind.__annotations__}
    defaults = {each.name: each.default for each in dataclasses.fields(kind) if each.default is not dataclasses.MISSING}
    return standard(slots=True, **options)(type(kind.__name__, (), {"__annotations__": names, **defaults}))


def test_objects_are_made_shown_and_compared_as_usual() -> None:
    usual = twin(Placed, frozen=True)
    for arguments in ((1,), (1, "x")):
        assert repr(Placed(*arguments)) == repr(usual(*arguments))
        assert hash(Placed(*arguments)) == hash(usual(*arguments))
    assert Placed(1) == Placed(1, "two") != Placed(2)
    assert Placed(1).__eq__(usual(1)) is NotImplemented
    assert Placed.__match_args__ == ("one", "two")
    assert Named(one=1).three is not Named(one=1).three
    assert replace(Named(one=1), two=("x",)) == Named(one=1, two=("x",))


@pytest.mark.parametrize(("kind", "arguments"), [(Named, ()), (Named, (1,)), (Placed, ()), (Placed, (1, "x", 2))])
def test_wrong_arguments_are_refused(kind: Any, arguments: tuple[object, ...]) -> None:  # noqa: ANN401  a class
    with pytest.raises(TypeError, match="argument"):
        kind(*arguments)


def test_frozen_ones_do_not_change_and_others_do() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="'one'"):
        Placed(1).one = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="'one'"):
        del Placed(1).one
    with pytest.raises(AttributeError):
        Placed(1).other = 2  # type: ignore[attr-defined]
    changing = Open(3)
    assert changing.twice == 6
    changing.one = 4
    assert changing == Open(4, 0) or changing.twice == 6
    with pytest.raises(TypeError, match="unhashable"):
        hash(changing)


def test_one_without_equality_is_equal_to_itself_only() -> None:
    one = Single(1)
    assert one == one  # noqa: PLR0124  that is the point
    assert one != Single(1)
    assert len({one, Single(1)}) == 2


def test_objects_are_copied_and_pickled() -> None:
    for each in (Named(one=1, three={"a": 1}), Placed(2), Open(3)):
        assert copy.deepcopy(each) == each
        assert pickle.loads(pickle.dumps(each)) == each


def test_a_pattern_is_compiled_when_it_is_used_and_says_at_once_what_it_finds() -> None:
    pattern = lazy(r"b+", 0)
    assert "findall" not in vars(pattern)
    assert pattern.findall("abba") == ["bb"]
    assert "findall" in vars(pattern)
    assert pattern.pattern == "b+"


def test_its_signature_is_told_before_the_first_object_is_made() -> None:
    import inspect

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Fresh:
        name: str
        times: int = 1

    assert str(inspect.signature(Fresh)) == "(*, name: str, times: int = 1)"
    assert inspect.signature(Fresh).parameters == inspect.signature(Fresh).parameters
    Fresh(name="x")
    assert str(inspect.signature(Fresh)) == "(*, name: str, times: int = 1)"
