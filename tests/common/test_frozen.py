"""Our frozen dataclasses beside those of the standard library: nothing can tell one from the other."""

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import (
    FrozenInstanceError,
    InitVar,
    asdict,
    astuple,
    dataclass,
    field,
    fields,
    is_dataclass,
    replace,
)
from functools import partial
from typing import Any, ClassVar, Final, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.common import frozen

Maker = Callable[..., Any]

MAKERS: Final[dict[str, Maker]] = {"ours": frozen.dataclass, "standard": dataclass}


def classes(make: Maker) -> dict[str, Any]:
    """Return a class of each shape that there is."""

    @make(frozen=True)
    class Empty:
        """Nothing."""

    @make(frozen=True)
    class Plain:
        """Fields in order, with and without defaults."""

        first: int
        second: str = "two"
        kind: ClassVar[int] = 7

    @make(frozen=True, kw_only=True)
    class Named:
        """Fields by name, one of them made anew for each instance, one neither compared nor shown."""

        first: int = 1
        second: str
        many: list[int] = field(default_factory=list, hash=False)
        hidden: int = field(default=0, compare=False, repr=False)

    @make(frozen=True)
    class Derived(Plain):
        """Fields of the base, of its own, and by name."""

        third: bool = False
        fourth: int = field(default=4, kw_only=True)

    @make(frozen=True)
    class Computed:
        """A field that follows from another one, one that is made, and an argument that is none."""

        text: str
        length: int = field(init=False, compare=False, repr=False)
        made: dict[str, int] = field(init=False, default_factory=dict, hash=False)
        least: InitVar[int] = 0  # type: ignore[assignment] # what makes it a dataclass is a variable

        def __post_init__(self, least: int) -> None:
            object.__setattr__(self, "length", max(least, len(self.text)))

    @make(frozen=True)
    class Own:
        """Methods of its own."""

        value: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and abs(self.value) == abs(other.value)

        def __hash__(self) -> int:
            return 1

    @make(frozen=True)
    class Likened:  # noqa: PLW1641 - that is the point
        """Its own equality, and no hash of its own."""

        value: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Likened)

    found = (Empty, Plain, Named, Derived, Computed, Own, Likened)
    return {one.__name__: one for one in found}


OURS, STANDARD = classes(frozen.dataclass), classes(dataclass)

CALLS: Final[list[tuple[str, tuple[Any, ...], dict[str, Any]]]] = [
    ("Empty", (), {}),
    ("Empty", (1,), {}),
    ("Plain", (1,), {}),
    ("Plain", (1, "x"), {}),
    ("Plain", (), {"second": "x", "first": 2}),
    ("Plain", (), {}),
    ("Plain", (1, "x", 3), {}),
    ("Plain", (1,), {"unknown": 3}),
    ("Named", (), {"second": "x"}),
    ("Named", (), {"second": "x", "many": [1], "hidden": 3}),
    ("Named", (1,), {"second": "x"}),
    ("Named", (), {}),
    ("Derived", (1, "x", True), {"fourth": 5}),
    ("Derived", (1,), {}),
    ("Derived", (1, "x", True, 5), {}),
    ("Computed", ("abc",), {}),
    ("Computed", ("abc", 9), {}),
    ("Computed", ("abc",), {"least": 2}),
    ("Computed", ("abc",), {"length": 2}),
    ("Own", (1,), {}),
    ("Likened", (1,), {}),
]


def outcome(act: Callable[[], Any]) -> tuple[str, str]:
    """Return what an act gives or raises, as text without the place where a class was made."""
    try:
        given = act()
    except Exception as exc:  # noqa: BLE001 - whatever it is, the other one has to raise it too
        return type(exc).__name__, str(exc).replace("test_frozen.", "").replace("classes.<locals>.", "")
    return "", repr(given).replace("classes.<locals>.", "")


@pytest.mark.parametrize(("name", "args", "named"), CALLS)
def test_instances_are_made_shown_hashed_and_taken_apart_alike(
    name: str, args: tuple[Any, ...], named: dict[str, Any]
) -> None:
    acts: list[Callable[[Any], Any]] = [
        lambda cls: cls(*args, **named),
        lambda cls: vars(cls(*args, **named)),
        lambda cls: asdict(cls(*args, **named)),
        lambda cls: astuple(cls(*args, **named)),
        lambda cls: isinstance(hash(cls(*args, **named)), int),
        lambda cls: copy.deepcopy(cls(*args, **named)) == cls(*args, **named),
        lambda cls: replace(cls(*args, **named)),
        lambda cls: replace(cls(*args, **named), first=9),
        lambda cls: setattr(cls(*args, **named), "first", 1),
        lambda cls: setattr(cls(*args, **named), "unknown", 1),
        lambda cls: delattr(cls(*args, **named), "value"),
    ]

    ours = [outcome(partial(act, OURS[name])) for act in acts]
    standard = [outcome(partial(act, STANDARD[name])) for act in acts]

    assert ours == standard


@pytest.mark.parametrize("name", OURS)
def test_classes_say_the_same_of_themselves(name: str) -> None:
    def said(cls: Any) -> list[Any]:
        return [
            is_dataclass(cls),
            cls.__match_args__,
            [(one.name, one.type, one.init, one.repr, one.compare, one.kw_only) for one in fields(cls)],
            str(inspect.signature(cls)).replace("<factory>", "ABSENT"),
            str(get_type_hints(cls.__init__)),
            {
                key: key in vars(cls)
                for key in ("__eq__", "__repr__", "__hash__", "__setattr__", "__delattr__")
            },
            cls.__hash__ is None,
        ]

    ours, standard = said(OURS[name]), said(STANDARD[name])

    absent = repr(inspect.signature(OURS["Named"]).parameters["many"].default)
    assert [*ours[:3], ours[3].replace(absent, "ABSENT"), *ours[4:]] == standard


@given(st.integers(0, 1), st.sampled_from(["a", "b"]), st.integers(0, 1), st.sampled_from(["a", "b"]))
def test_instances_are_equal_and_hashed_by_their_fields(a: int, b: str, c: int, d: str) -> None:
    for found in (OURS, STANDARD):
        one, other = found["Plain"](a, b), found["Plain"](c, d)

        assert (one == other) is ((a, b) == (c, d))
        assert one != found["Derived"](a, b)
        assert (hash(one) == hash(other)) is (one == other)
        assert len({one, other}) == (1 if (a, b) == (c, d) else 2)


def test_what_is_not_compared_does_not_count() -> None:
    one, other = OURS["Named"](second="x", hidden=1), OURS["Named"](second="x", hidden=2, many=[])

    assert one == other
    assert hash(one) == hash(other)
    assert one.many is not other.many


def test_a_subclass_that_is_no_dataclass_may_have_attributes_but_not_change_fields() -> None:
    for found in (OURS, STANDARD):
        loose = type("Loose", (found["Plain"],), {})(1)

        loose.more = 2
        del loose.more
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'first'"):
            loose.first = 2
        with pytest.raises(FrozenInstanceError, match="cannot delete field 'first'"):
            del loose.first


@frozen.dataclass(frozen=True, kw_only=True)
class Stored:
    """A class that can be pickled: it has a place."""

    value: int
    more: "tuple[Stored, ...]" = ()


def test_an_instance_can_be_pickled_and_matched() -> None:
    stored = Stored(value=1, more=(Stored(value=2),))

    assert pickle.loads(pickle.dumps(stored)) == stored  # noqa: S301 - our own
    match stored:
        case Stored(value=1, more=(Stored(value=inner),)):
            assert inner == 2
        case _:
            pytest.fail("it does not match")


def test_an_instance_that_contains_itself_can_be_shown() -> None:
    within: list[Any] = []
    stored = OURS["Named"](second="x", many=within)
    within.append(stored)

    assert repr(stored).endswith("Named(first=1, second='x', many=[...])")


def test_what_is_not_frozen_or_guards_itself_is_refused() -> None:
    make: Maker = frozen.dataclass
    with pytest.raises(TypeError, match="expected frozen=True"):
        make(frozen=False)

    with pytest.raises(TypeError, match="a frozen dataclass has its own __setattr__: Guarded"):

        @make(frozen=True)
        class Guarded:
            """It decides for itself."""

            def __setattr__(self, name: str, value: object) -> None:
                pass
