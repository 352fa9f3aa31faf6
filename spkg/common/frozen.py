"""Frozen dataclasses like those of the standard library, made in a quarter of the time.

That one compiles six functions for each class, anew at each start of a command.  Here only ``__init__`` is
compiled, and the other five are the same code for all.
"""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_origin

__all__ = ["dataclass"]

ABSENT: Final = object()
"""Stands for an argument that was not given, where the default is made anew each time."""

if TYPE_CHECKING:
    # Whoever checks types knows what the standard one does.
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, kw_only: bool = False) -> Callable[[type], type]:
        """Return what makes a class a frozen dataclass; ``frozen`` is for those who check types."""
        if not frozen:
            raise TypeError("expected frozen=True")
        return partial(_frozen, kw_only=kw_only)


def _frozen(cls: type, *, kw_only: bool) -> type:
    """Add to a class what a frozen dataclass has, unless the class has its own."""
    own = vars(cls)
    has_hash = own.get("__hash__") is not None
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
    fields = dataclasses.fields(made)
    compared = _getter([one.name for one in fields if one.compare])
    methods = {
        "__init__": _initializer(made),
        "__repr__": _representer([one.name for one in fields if one.repr]),
        "__eq__": _comparer(compared),
    }
    for name, method in methods.items():
        if name not in own:
            _add(made, name, method)
    if not has_hash:
        hashed = [one.name for one in fields if (one.compare if one.hash is None else one.hash)]
        _add(made, "__hash__", _hasher(_getter(hashed)))
    names = frozenset(one.name for one in fields)
    for name, method in zip(("__setattr__", "__delattr__"), _guards(made, names), strict=True):
        if name in own:
            raise TypeError(f"a frozen dataclass has its own {name}: {cls.__name__}")
        _add(made, name, method)
    return cls


def _add(cls: type, name: str, method: Any) -> None:
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    setattr(cls, name, method)


def _initializer(cls: Any) -> Callable[..., None]:
    """Return the function that sets all fields, and then calls ``__post_init__`` if there is one."""
    known: dict[str, Any] = {"_absent": ABSENT, "_set": object.__setattr__}
    positional: list[str] = []
    named: list[str] = []
    body: list[str] = []
    passed: list[str] = []
    annotations: dict[str, Any] = {}
    for one in cls.__dataclass_fields__.values():
        name = one.name
        if one.type is ClassVar or get_origin(one.type) is ClassVar:
            continue
        parameter = name
        if one.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"] = one.default_factory
            parameter = f"{name}=_absent"
            made = f"_make_{name}()"
            value = f"{made} if {name} is _absent else {name}" if one.init else made
        else:
            value = name
            if one.default is not dataclasses.MISSING:
                known[f"_default_{name}"] = one.default
                parameter = f"{name}=_default_{name}"
        if one.init:
            (named if one.kw_only else positional).append(parameter)
            annotations[name] = one.type
        if isinstance(one.type, dataclasses.InitVar):
            passed.append(name)
        elif one.init or one.default_factory is not dataclasses.MISSING:
            body.append(f"_set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append(f"self.__post_init__({', '.join(passed)})")
    parameters = ["self", *positional, *(["*", *named] if named else [])]
    lines = [f"def __init__({', '.join(parameters)}):", *(f"    {line}" for line in body or ["pass"])]
    exec("\n".join(lines), known)  # noqa: S102 - of names of fields, as the standard library does
    made_init: Callable[..., None] = known["__init__"]
    made_init.__annotations__ = {**annotations, "return": None}
    made_init.__module__ = cls.__module__
    return made_init


def _getter(names: list[str]) -> Callable[[object], Any]:
    """Return a function that gives these attributes of an object."""
    return attrgetter(*names) if names else lambda _: ()


def _representer(names: Iterable[str]) -> Callable[[object], str]:
    shown = tuple(names)

    @recursive_repr()
    def __repr__(self: object) -> str:  # noqa: N807 - it becomes one
        listed = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({listed})"

    return __repr__


def _comparer(compared: Callable[[object], Any]) -> Callable[[object, object], bool]:
    def __eq__(self: object, other: object) -> bool:  # noqa: N807 - it becomes one
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(compared(self) == compared(other))

    return __eq__


def _hasher(hashed: Callable[[object], Any]) -> Callable[[object], int]:
    def __hash__(self: object) -> int:  # noqa: N807 - it becomes one
        return hash(hashed(self))

    return __hash__


def _guards(cls: Any, names: frozenset[str]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return what refuses to change a field, and any attribute of an instance of this very class."""

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807 - it becomes one
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807 - it becomes one
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __setattr__, __delattr__
