"""Threads beside the main one: what they raise, and how they end."""

import threading
import time
from functools import partial

import pytest

from spkg.common.worker_threads import Crew
from tests.support.restrictions import short_of_threads


def test_every_task_is_done_and_waited_for_once() -> None:
    done: list[int] = []

    with Crew(3) as crew:
        for number in range(100):
            crew.hand(partial(done.append, number))
        for _ in range(100):
            crew.wait()

    assert sorted(done) == list(range(100))


def test_what_a_task_raises_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise ValueError("here")

    with Crew(1) as crew:
        crew.hand(lambda: None)
        crew.hand(fail)
        crew.wait()
        with pytest.raises(ValueError, match="here"):
            crew.wait()


def test_what_is_not_wanted_any_more_is_not_begun_and_a_task_under_way_can_see_it() -> None:
    begun = threading.Event()
    done: list[str] = []

    def long() -> None:
        begun.set()
        while not crew.leaving:
            time.sleep(0.001)
        done.append("left")

    with Crew(1) as crew:
        crew.hand(long)
        crew.hand(lambda: done.append("begun"))
        begun.wait(10)

    assert done == ["left"]


def test_no_thread_outlives_its_crew() -> None:
    before = threading.active_count()

    with Crew(4):
        assert threading.active_count() == before + 4

    assert threading.active_count() == before


def test_where_threads_are_scarce_fewer_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_threads(monkeypatch, 2)
    done: list[int] = []

    with Crew(4) as crew:
        for number in range(10):
            crew.hand(partial(done.append, number))
        for _ in range(10):
            crew.wait()

    assert sorted(done) == list(range(10))


def test_where_no_thread_can_be_started_that_is_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short_of_threads(monkeypatch, 0)

    with pytest.raises(OSError, match="no thread can be started"), Crew(4):
        pytest.fail("nobody is there to do the work")
