"""A year and more on a fake clock: every Inform in its time, whatever happens to the clock (P7, D14, E17)."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spkg.cwmp.events import Event, EventCode, method_event
from spkg.cwmp.schedule import DueTime, Facts, Moment, due
from tests.support.agent_life import Life, every

YEAR = 365 * 86_400
NEW_YEAR = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""


def started(**others: Any) -> Life:
    """Return an agent that starts with the year."""
    booted: tuple[Event, ...] = (Event(EventCode.BOOTSTRAP), Event(EventCode.BOOT))
    return Life(replace(Facts(boot_id="b1", waiting=booted), **others))


def test_a_year_of_informs_each_on_its_time_p7() -> None:
    life = started(periodic=every(600, reference=NEW_YEAR + 123.5 - 600 * 9999))

    life.live(YEAR)

    wanted = [NEW_YEAR + 123.5 + 600 * number for number in range(YEAR // 600)]
    walls = [call.wall for call in life.calls]
    assert walls == [NEW_YEAR, *(pytest.approx(time, abs=0.001) for time in wanted)]
    assert Counter(call.codes for call in life.calls) == {
        ("0 BOOTSTRAP", "1 BOOT"): 1,
        ("2 PERIODIC",): 52_560,
    }
    assert life.wakes <= 3 * len(life.calls), "it sleeps in between"


def test_a_year_without_a_clock_has_the_same_interval_p7() -> None:
    life = started(periodic=every(3600, reference=NEW_YEAR, phase=0.75))
    life.offset = None

    life.live(YEAR)

    assert [call.boot for call in life.calls] == [
        0,
        *(pytest.approx(2700 + 3600 * number, abs=0.001) for number in range(YEAR // 3600)),
    ]


def test_a_year_with_a_server_that_is_away_every_second_week_e17() -> None:
    random = Random(3)
    life = started(periodic=every(3600))
    life.succeeds = lambda now: int(now.boot / (7 * 86_400)) % 2 == 0
    life.draw = random.random
    week = 7 * 86_400

    life.live(YEAR)

    good = [call for call in life.calls if call.succeeded]
    bad = [call for call in life.calls if not call.succeeded]
    gaps = [later.boot - call.boot for call, later in pairwise(life.calls)]
    assert min(gaps) >= 1.5
    # 26 weeks out of touch: twelve attempts of growing distance, and again with the next Inform that is due.
    assert 26 * 100 <= len(bad) <= 26 * 700
    for number in range(0, 52, 2):
        inside = [call for call in good if number * week <= call.boot < (number + 1) * week]
        assert inside[0].boot - number * week <= 5120 + 3600
        assert 165 <= len(inside) <= 170


def test_a_year_of_scheduled_informs_each_once_and_in_time_e12() -> None:
    random = Random(4)
    life = started(periodic=every(86_400))
    wanted = dict[str, float]()
    for number in range(2000):
        life.live(random.random() * YEAR / 2000)
        wait = random.choice([1, 2, 60, 3600, 86_400])
        wanted[f"key {number}"] = life.boot + wait
        time = DueTime.after(wait, life.now, "b1")
        life.learn(scheduled=(*life.facts.scheduled, (f"key {number}", time)))
    life.live(2 * 86_400)

    told = [(key, call.boot) for call in life.calls for key in call.keys]
    assert Counter(key for key, _ in told) == dict.fromkeys(wanted, 1)
    assert all(0 <= boot - wanted[key] <= 2 for key, boot in told)


def test_a_jump_of_a_year_ahead_makes_no_storm() -> None:
    life = started(periodic=every(600))
    life.live(3600)
    before = len(life.calls)

    life.offset = (life.offset or 0) + YEAR
    life.live(3600)

    assert len(life.calls) - before in {5, 6, 7}


def test_a_jump_of_a_year_back_makes_no_silence() -> None:
    life = started(periodic=every(600, reference=NEW_YEAR))
    life.live(3600)
    before = len(life.calls)

    life.offset = (life.offset or 0) - YEAR - 7
    life.live(3600)

    assert len(life.calls) - before in {5, 6, 7}


def test_when_network_time_comes_the_informs_move_to_their_times_p7() -> None:
    life = started(periodic=every(600, reference=NEW_YEAR + 17, phase=0.5))
    life.offset = None
    life.live(1000)
    life.offset = NEW_YEAR
    life.live(3000)

    assert [round(call.boot) for call in life.calls] == [0, 300, 900, 1217, 1817, 2417, 3017, 3617]


def test_a_clock_that_is_slewed_makes_no_second_inform_p7() -> None:
    life = started(periodic=every(600, reference=NEW_YEAR))
    for _ in range(100):
        life.live(37)
        life.offset = (life.offset or 0) - 0.3

    times = [call.boot for call in life.with_code("2 PERIODIC")]
    assert [later - time > 590 for time, later in pairwise(times)] == [True] * (len(times) - 1)
    assert len(times) == 6


def test_a_day_with_a_server_that_is_away_loses_none_of_the_times_after_it_p7() -> None:
    life = started(periodic=every(3600, reference=NEW_YEAR))
    life.succeeds = lambda now: not 3600 <= now.boot < 3600 + 1500

    life.live(86_400)

    good = [call.boot for call in life.with_code("2 PERIODIC") if call.succeeded]
    assert 3600 + 1800 < good[0] < 7200
    assert good[1:] == [pytest.approx(3600 * number, abs=0.001) for number in range(2, 25)]


@pytest.mark.parametrize(
    ("jumps", "expected"),
    [
        ([(900, 590)], [600, 1210]),
        ([(500, 200)], [500, 1000]),
        ([(500, 200), (710, 495)], [500, 1305]),
        ([(890, 290)], [600, 910, 1510]),
    ],
)
def test_after_a_clock_is_set_informs_fall_on_its_times_once_they_are_not_near_p7(
    jumps: list[tuple[float, float]], expected: list[float]
) -> None:
    life = Life(Facts(boot_id="b1", periodic=every(600, reference=NEW_YEAR)))

    for boot, ahead in jumps:
        life.live(boot - life.boot)
        life.offset = NEW_YEAR + ahead
    life.live(2000)

    assert [round(call.boot) for call in life.calls][: len(expected)] == expected


def test_more_events_than_an_inform_holds_are_told_a_second_later_e2() -> None:
    keys = [f"key {number:02}" for number in range(20)]
    life = Life(Facts(boot_id="b1", waiting=tuple(method_event("Download", key) for key in keys)))

    life.live(10)

    assert [(call.boot, call.keys) for call in life.calls] == [(0, tuple(keys[:16])), (1.5, tuple(keys[16:]))]


def test_a_server_that_sets_another_interval_in_each_session_makes_no_storm_p44() -> None:
    random = Random(6)
    life = started(periodic=every(600, phase=0.9))

    def sets_another(_: Moment) -> bool:
        life.learn(periodic=every(random.randrange(600, 700), phase=0.9))
        return True

    life.succeeds = sets_another
    life.live(10 * 86_400)

    assert 10 * 86_400 / 700 <= len(life.calls) <= 2 * 10 * 86_400 / 600


@example(2989, 0.0, 274.0, [(0.5, 1.0), (1.0, 0.0), (0.5, 19429.0), (0.25, 0.0)])
@given(
    st.integers(1, 100_000),
    st.floats(0, 0.999),
    st.one_of(st.none(), st.floats(0, 2e9)),
    st.lists(st.tuples(st.floats(0.1, 3), st.floats(-1e8, 1e8)), max_size=20),
)
def test_however_the_clock_is_set_informs_are_neither_rare_nor_many_p7(
    interval: int, phase: float, reference: float | None, jumps: list[tuple[float, float]]
) -> None:
    life = Life(Facts(boot_id="b1", periodic=every(interval, reference=reference, phase=phase)), lasts=0.01)
    for intervals, jump in jumps:
        life.live(intervals * interval)
        life.offset = NEW_YEAR + jump
    life.live(3 * interval)

    times = [call.boot for call in life.calls]
    gaps = [later - time for time, later in zip([0.0, *times], times, strict=False)][1:]
    slack = 2.1
    assert times[0] <= interval + slack
    assert max(gaps) <= interval * 1.5 + slack
    assert min(gaps[1:], default=interval) >= interval / 2 - slack
    assert {call.codes for call in life.calls} == {("2 PERIODIC",)}


@pytest.mark.parametrize("clock", [True, False], ids=["clock", "no-clock"])
def test_ten_thousand_phases_are_uniform_p7(clock: bool) -> None:  # noqa: FBT001 - the name of the case says it
    draw = Random(7).random
    now = Moment(NEW_YEAR + 54_321 if clock else None, 1000.0)
    buckets = Counter[int]()

    for _ in range(10_000):
        wake = due(Facts(boot_id="b1", periodic=every(86_400, phase=draw()), periodic_since=1000), now).wake
        assert wake is not None
        buckets[int((wake - 1000) / 864)] += 1

    assert sum(buckets.values()) == 10_000
    chi_square = sum((buckets[number] - 100) ** 2 / 100 for number in range(100))
    assert chi_square < 148.2, "99 degrees of freedom, one in a thousand"
