"""Obstacles: all that is wrong, up to a limit, and the rest counted."""

import pytest

from spkg.common.obstacles import MOST_OBSTACLES, Obstacles
from spkg.errors import FormatError, HostError, RefusedError


def test_what_is_collected_is_raised_as_one_with_all_others() -> None:
    found = Obstacles()
    first, second, third = FormatError("one"), HostError("two"), FormatError("three")

    for error in (first, second):
        with found.collecting():
            raise error
    found.add(third)

    with pytest.raises(FormatError) as caught:
        found.raise_all()
    assert len(found) == 3
    assert caught.value is first
    assert (first.others, first.unlisted) == ((second, third), 0)


def test_nothing_is_raised_where_nothing_was_found() -> None:
    Obstacles().raise_all()


def test_only_errors_of_an_input_are_collected() -> None:
    found = Obstacles()

    with pytest.raises(RefusedError), found.collecting():
        raise RefusedError("not now")

    assert len(found) == 0


def test_those_found_together_are_counted_one_by_one() -> None:
    inner = Obstacles()
    for number in range(MOST_OBSTACLES + 7):
        inner.add(FormatError(str(number)))
    outer = Obstacles()
    outer.add(HostError("before"))
    with outer.collecting():
        inner.raise_all()

    with pytest.raises(HostError) as caught:
        outer.raise_all()

    assert len(outer) == MOST_OBSTACLES + 8
    assert [one.problem for one in caught.value.others] == [str(n) for n in range(MOST_OBSTACLES - 1)]
    assert caught.value.unlisted == 8
