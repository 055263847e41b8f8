"""Dataclasses that cost nothing until they are used: their methods are made when the first object is.

The standard library compiles six methods for each class while a module is loaded; with the 150 classes of the load
balancer model that is most of what `wsprobe inspect` takes for a small config, and few of them are used for one.
Objects behave as those of `dataclasses.dataclass(slots=True)` do, and type checkers take them for that.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False, eq: bool = True
    ) -> Callable[[type], type]:
        """A decorator with the parameters of the standard library's that are used here."""

        def decorate(cls: type) -> type:
            made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
            made.__init__, made.__repr__ = _first_init(made), _repr
            made.__signature__ = _Signature()
            if eq:
                made.__eq__, made.__hash__ = _equal, _hash if frozen else None
            if frozen:
                made.__setattr__, made.__delattr__ = _refuse_set, _refuse_delete
                made.__getstate__, made.__setstate__ = _values, _restore
            return made

        return decorate


__all__ = ["dataclass"]

_MISSING = object()
_set = object.__setattr__


class _Signature:
    """What inspect.signature says of a class whose real __init__ may not have been made yet."""

    def __get__(self, _: object, cls: Any) -> Any:  # noqa: ANN401
        import inspect

        def parameter(field: Any) -> inspect.Parameter:  # noqa: ANN401
            kind = inspect.Parameter.KEYWORD_ONLY if field.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
            needed = field.default is field.default_factory  # both are MISSING
            default = inspect.Parameter.empty if needed else field.default
            return inspect.Parameter(field.name, kind, default=default, annotation=field.type)

        return inspect.Signature([parameter(field) for field in dataclasses.fields(cls)])


def _first_init(cls: Any) -> Callable[..., None]:  # noqa: ANN401  a class that is being made
    """What runs for the first object of a class: it makes the real one, which runs from then on."""

    def __init__(self: object, *args: object, **named: object) -> None:  # noqa: N807  it is one
        cls.__init__ = _init(cls)
        cls.__init__(self, *args, **named)

    return __init__


def _init(cls: type) -> Callable[..., None]:
    fields = dataclasses.fields(cls)
    scope: dict[str, Any] = {"_set": _set, "_MISSING": _MISSING}
    positional: list[str] = []
    named: list[str] = []
    body: list[str] = []
    for field in fields:
        value, default = field.name, ""
        if field.default is not dataclasses.MISSING:
            scope[f"_default_{field.name}"] = field.default
            default = f"=_default_{field.name}"
        elif field.default_factory is not dataclasses.MISSING:
            scope[f"_make_{field.name}"] = field.default_factory
            default, value = "=_MISSING", f"_make_{field.name}() if {field.name} is _MISSING else {field.name}"
        (named if field.kw_only else positional).append(f"{field.name}{default}")
        body.append(f"    _set(self, {field.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("    self.__post_init__()")
    parameters = ", ".join(["self", *positional, *(["*", *named] if named else [])])
    exec("\n".join([f"def __init__({parameters}):", *(body or ["    pass"])]), scope)  # noqa: S102  as the standard library does
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _values(self: Any) -> tuple[Any, ...]:  # noqa: ANN401  an object of any such class
    """The values of all fields, in their order; how they are read is worked out once a class."""
    cls = type(self)
    read = cls.__dict__.get("_read")
    if read is None:
        names = [field.name for field in dataclasses.fields(cls)]
        # Of one name attrgetter would make no tuple.
        read = attrgetter(*names) if len(names) > 1 else lambda each: tuple(getattr(each, name) for name in names)
        cls._read = staticmethod(read)
    found: tuple[Any, ...] = read(self)
    return found


def _restore(self: Any, state: tuple[Any, ...]) -> None:  # noqa: ANN401
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        _set(self, field.name, value)


def _equal(self: Any, other: object) -> bool:  # noqa: ANN401
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:  # noqa: ANN401
    return hash(_values(self))


def _repr(self: Any) -> str:  # noqa: ANN401
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse_set(_: object, name: str, __: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(_: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
