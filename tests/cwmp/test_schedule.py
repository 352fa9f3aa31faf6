"""What is due when (clauses D14 to D19, P7, S3, S5, S17, E10 to E12): one moment at a time."""

from dataclasses import replace
from typing import Any

import pytest

from spkg.cwmp.events import Event, EventCode, method_event
from spkg.cwmp.retries import Attempts
from spkg.cwmp.schedule import DueTime, Facts, Moment, TimeTold, due
from tests.support.agent_life import Life, every

NOON = 1_767_268_800.0
"""2026-01-01T12:00:00Z."""
NOW = Moment(NOON, 1000.0)
BOOTED = (Event(EventCode.BOOT),)


def facts(**others: Any) -> Facts:
    return replace(Facts(boot_id="b1"), **others)


def causes(known: Facts, now: Moment = NOW) -> list[str]:
    return sorted(event.code for event in due(known, now).causes)


def begins(known: Facts, now: Moment = NOW) -> float | None:
    """Return when the next session begins; None if none does by itself."""
    found = due(known, now)
    return now.boot if found.session else found.wake


def test_with_nothing_due_nothing_happens_and_nobody_wakes() -> None:
    found = due(facts(), NOW)

    assert (found.causes, found.session, found.transfer, found.options, found.wake) == (
        (),
        False,
        False,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("known", "codes"),
    [
        (facts(waiting=(Event(EventCode.BOOTSTRAP),)), ["0 BOOTSTRAP"]),
        (facts(waiting=BOOTED), ["1 BOOT"]),
        (facts(periodic=every(600, reference=NOON)), ["2 PERIODIC"]),
        (facts(scheduled=(("k", DueTime(None, 1000, "b1")),)), ["3 SCHEDULED", "M ScheduleInform"]),
        (facts(changed_at=1000), ["4 VALUE CHANGE"]),
        (facts(waiting=(Event(EventCode.KICKED),)), ["5 KICKED"]),
        (facts(requested=1000), ["6 CONNECTION REQUEST"]),
        (
            facts(waiting=(Event(EventCode.TRANSFER_COMPLETE), method_event("Download", "k"))),
            ["7 TRANSFER COMPLETE", "M Download"],
        ),
        (facts(waiting=(Event("X 00D09E A"),)), ["X 00D09E A"]),
    ],
)
def test_each_cause_makes_a_session_d14_e10(known: Facts, codes: list[str]) -> None:
    assert due(known, NOW).session
    assert causes(known) == codes


def test_a_change_that_is_not_active_makes_no_session_but_is_told_in_the_next_d15_d16() -> None:
    passive = facts(changed=True)

    assert begins(passive) is None
    assert causes(replace(passive, waiting=BOOTED)) == ["1 BOOT", "4 VALUE CHANGE"]


def test_what_the_acs_set_itself_is_no_change_d16() -> None:
    assert due(facts(changed=False, changed_at=None), NOW).causes == ()


def test_changes_before_the_session_are_told_once_d17() -> None:
    assert causes(facts(changed=True, changed_at=999)) == ["4 VALUE CHANGE"]


def test_changes_are_told_at_most_so_often_and_all_of_them_after_the_delay_d18() -> None:
    busy = facts(changed_at=990, changes_told=980, change_interval=60)

    assert begins(busy) == 1040
    assert due(busy, Moment(NOON, 1040.0)).session


def test_another_session_before_takes_the_changes_along_d18() -> None:
    busy = facts(changed_at=990, changes_told=980, waiting=BOOTED)

    assert causes(busy) == ["1 BOOT", "4 VALUE CHANGE"]
    assert due(busy, NOW).session


def test_the_first_change_does_not_wait_d18() -> None:
    assert due(facts(changed_at=1000), NOW).session


def test_periodic_informs_are_off_d19() -> None:
    assert due(facts(periodic=None), NOW).wake is None


@pytest.mark.parametrize(
    "reference", [NOON - 60, NOON - 60 - 600 * 10**6, NOON + 540, NOON + 540 + 600 * 10**6]
)
def test_informs_fall_on_the_reference_plus_or_minus_intervals_p7(reference: float) -> None:
    known = facts(periodic=every(600, reference=reference), periodic_since=950)

    assert begins(known) == 1540
    assert causes(known, Moment(NOON + 540, 1540.0)) == ["2 PERIODIC"]


def test_a_zero_reference_leaves_the_phase_to_us_p7() -> None:
    known = facts(periodic=every(600, phase=0.5), periodic_since=1000)

    assert begins(known) == 1300  # noon is a multiple of 600 s, and the phase is half of that


def test_the_phase_outlives_a_restart_p7() -> None:
    grid = every(600, phase=0.5)

    first = begins(facts(periodic=grid, periodic_since=1000))
    again = begins(facts(periodic=grid, periodic_since=1100), Moment(NOON + 100, 1100.0))

    assert first == again == 1300


def test_without_a_clock_the_phase_counts_from_the_boot_p7() -> None:
    known = facts(periodic=every(600, reference=NOON, phase=0.5), periodic_since=1000)

    assert begins(known, Moment(None, 1000.0)) == 1500


def test_a_time_that_passed_before_the_agent_started_is_not_made_up_for_p7() -> None:
    assert causes(facts(periodic=every(600, reference=NOON - 1), periodic_since=1000)) == []


def test_no_session_begins_while_one_runs_s3() -> None:
    found = due(facts(waiting=BOOTED, forced=True, busy=True, transfers=(DueTime(None, 0, "b1"),)), NOW)

    assert (found.session, found.transfer, found.wake) == (False, False, None)


def test_a_change_during_a_session_makes_another_afterwards_s5() -> None:
    during = facts(changed_at=999.5, busy=True, last_session=None)

    assert begins(during) is None
    assert begins(replace(during, busy=False, last_session=1000)) == 1001


def test_what_comes_during_a_session_is_not_lost_s5_c7() -> None:
    during = facts(
        waiting=(*BOOTED, Event("X 00D09E A")),
        passive=(method_event("Download", "k"),),
        requested=1000.5,
        changed=True,
        changed_at=1000.5,
        scheduled=(
            ("k", DueTime(None, 999, "b1")),
            ("k", DueTime(None, 1000.5, "b1")),
            ("l", DueTime(None, 9, "b1")),
        ),
        attempts=Attempts(failures=1, failed_at=1),
        busy=True,
        forced=True,
    )
    reported = (*BOOTED, method_event("ScheduleInform", "k"), method_event("Download", "k"))

    assert during.after_session(NOW, reported, 1001.0, periodic=None) == facts(
        waiting=(Event("X 00D09E A"),),
        periodic_since=1000,
        requested=1000.5,
        changed=True,
        changed_at=1000.5,
        scheduled=(("k", DueTime(None, 1000.5, "b1")), ("l", DueTime(None, 9, "b1"))),
        busy=True,
        last_session=1001,
    )


def test_what_a_session_reported_is_over_d17() -> None:
    before = facts(
        waiting=BOOTED, requested=999, changed=True, changed_at=999, periodic=every(600, reference=NOON)
    )

    found = due(before, NOW)
    after = before.after_session(NOW, found.causes, 1001.0, periodic=found.periodic)

    assert after == facts(
        periodic=every(600, reference=NOON),
        periodic_since=1000,
        periodic_told=TimeTold(every(600, reference=NOON), 1000),
        changes_told=1000,
        last_session=1001,
    )
    assert due(after, Moment(NOON + 2, 1002.0)).causes == ()


def test_a_session_for_another_cause_leaves_the_times_of_informs_as_they_are_p7() -> None:
    grid = every(600, reference=NOON)
    before = facts(waiting=BOOTED, periodic=grid, periodic_told=TimeTold(grid, 990))

    after = before.after_session(NOW, BOOTED, 1001.0, periodic=due(before, NOW).periodic)

    assert (after.periodic_told, after.periodic_from) == (TimeTold(grid, 990), 1290)


def test_another_interval_counts_from_the_last_session_p7() -> None:
    daily, hourly = every(86_400, reference=NOON), every(3600, reference=NOON + 60)
    known = facts(periodic=daily, periodic_told=TimeTold(daily, 1000), periodic_since=1000)

    assert begins(known, Moment(NOON + 1, 1001.0)) == 1000 + 86_400
    assert begins(replace(known, periodic=hourly), Moment(NOON + 1, 1001.0)) == 1060


def test_an_inform_that_retries_have_made_late_is_told_for_its_own_time_p7() -> None:
    tried = Attempts(failures=3, retry_at=1450, failed_at=1400)
    known = facts(periodic=every(600, reference=NOON), attempts=tried, last_session=1400)

    assert due(known, Moment(NOON + 450, 1450.0)).periodic == TimeTold(every(600, reference=NOON), 1000)


def test_an_inform_that_a_clock_has_made_late_is_told_for_the_time_it_began_p7() -> None:
    found = due(facts(periodic=every(600, reference=NOON), periodic_since=900), Moment(NOON + 200, 1200.0))

    assert found.periodic == TimeTold(every(600, reference=NOON), 1200)


def test_a_second_lies_between_two_sessions() -> None:
    assert begins(facts(waiting=BOOTED, forced=True, last_session=999.5)) == 1000.5


def test_what_the_acs_refused_waits_for_another_cause_e17() -> None:
    passive = (Event(EventCode.TRANSFER_COMPLETE), method_event("Download", "k"))

    assert begins(facts(passive=passive)) is None
    assert causes(facts(passive=passive, waiting=BOOTED)) == ["1 BOOT", "7 TRANSFER COMPLETE", "M Download"]


def test_a_session_that_failed_is_tried_again_with_the_same_causes_s17() -> None:
    known = facts(waiting=BOOTED, attempts=Attempts(failures=1, retry_at=1007, failed_at=1000))

    assert begins(known) == 1007
    assert causes(known) == ["1 BOOT"]


def test_after_the_last_retry_only_another_cause_makes_a_session_s17() -> None:
    given_up = Attempts(retry_at=999, failed_at=999, given_up=999)
    known = facts(waiting=BOOTED, arrived=1, changed_at=998, requested=997, attempts=given_up)

    assert begins(known) is None
    assert begins(replace(known, arrived=999.5)) == 1000
    assert begins(replace(known, changed_at=999.5)) == 1000
    assert begins(replace(known, requested=999.5)) == 1000
    assert begins(replace(known, scheduled=(("k", DueTime(None, 999.5, "b1")),))) == 1000
    assert begins(replace(known, periodic=every(600, reference=NOON - 0.5))) == 1000
    assert begins(replace(known, periodic=every(600, reference=NOON - 2))) == 1598
    assert causes(replace(known, arrived=999.5)) == ["1 BOOT", "4 VALUE CHANGE", "6 CONNECTION REQUEST"]


def test_a_connection_request_does_not_wait_for_a_retry_d14() -> None:
    waiting = Attempts(failures=9, retry_at=5000, failed_at=900)

    assert begins(facts(waiting=BOOTED, attempts=waiting)) == 5000
    assert begins(facts(waiting=BOOTED, attempts=waiting, requested=950)) == 1000


def test_a_connection_request_that_came_to_nothing_waits_like_all_others() -> None:
    assert begins(facts(requested=800, attempts=Attempts(failures=1, retry_at=1007, failed_at=900))) == 1007


def test_a_connection_request_does_not_come_before_what_the_server_asked_for() -> None:
    asked = Attempts(failures=1, retry_at=1063, not_before=1060, failed_at=990)

    assert begins(facts(requested=1000, attempts=asked)) == 1060


def test_an_operator_does_not_wait_and_needs_no_cause() -> None:
    found = due(facts(forced=True, attempts=Attempts(not_before=5000, retry_at=6000, failed_at=999)), NOW)

    assert (found.session, found.causes) == (True, ())


def test_scheduled_informs_do_not_depend_on_the_clock_e12() -> None:
    time = DueTime.after(60, NOW, "b1")

    assert time == DueTime(NOON + 60, 1060, "b1")
    assert time.remaining(Moment(NOON + 10**8, 1059.0), "b1") == 1
    assert time.remaining(Moment(None, 1060.0), "b1") == 0


@pytest.mark.parametrize(
    ("wall", "boot", "remaining"),
    [
        (NOON + 10, 5.0, 50),  # by the clock
        (NOON + 70, 5.0, -10),  # it came while the device was off
        (NOON - 10**8, 5.0, 1055),  # the clock went back: no longer than the whole time of the boot before
        (None, 5.0, 1055),
        (None, 1060.0, 0),
    ],
)
def test_scheduled_informs_outlive_a_reboot_e16(wall: float | None, boot: float, remaining: float) -> None:
    assert DueTime.after(60, NOW, "b1").remaining(Moment(wall, boot), "b2") == remaining


def test_a_scheduled_inform_without_a_clock_is_due_after_a_reboot_e16() -> None:
    assert DueTime.after(60, Moment(None, 1000.0), "b1").remaining(Moment(NOON, 5.0), "b2") == 0


def test_a_scheduled_inform_that_became_an_event_is_still_scheduled_e10() -> None:
    assert causes(facts(waiting=(method_event("ScheduleInform", "k"),))) == [
        "3 SCHEDULED",
        "M ScheduleInform",
    ]


def test_each_scheduled_inform_has_its_own_command_key_e12() -> None:
    known = facts(
        scheduled=(
            ("a", DueTime(None, 1, "b1")),
            ("b", DueTime(None, 2, "b1")),
            ("c", DueTime(None, 2000, "b1")),
        )
    )

    assert [event for event in due(known, NOW).causes if event.command_key] == [
        method_event("ScheduleInform", "a"),
        method_event("ScheduleInform", "b"),
    ]


def test_a_transfer_begins_after_the_session() -> None:
    known = facts(transfers=(DueTime(None, 900, "b1"), DueTime(None, 1100, "b1")))

    assert due(known, NOW).transfer
    assert not due(replace(known, waiting=BOOTED), NOW).transfer


def test_a_transfer_does_not_wait_for_a_session_that_waits() -> None:
    known = facts(
        waiting=BOOTED,
        attempts=Attempts(failures=1, retry_at=1200, failed_at=1),
        transfers=(DueTime(None, 1100, "b1"),),
    )

    assert due(known, NOW).wake == 1100
    assert due(known, Moment(NOON + 100, 1100.0)).transfer


def test_one_transfer_runs_at_a_time() -> None:
    found = due(facts(transfers=(DueTime(None, 900, "b1"),), transfer_running=True), NOW)

    assert (found.transfer, found.wake) == (False, None)


def test_options_are_looked_at_when_the_next_one_ends() -> None:
    assert due(facts(options_change=NOON + 60), NOW).wake == 1060
    assert due(facts(options_change=NOON), NOW).options


def test_options_are_not_looked_at_without_a_clock() -> None:
    found = due(facts(options_change=NOON - 60), Moment(None, 1000.0))

    assert (found.options, found.wake) == (False, None)


def test_the_agent_sleeps_until_the_first_of_all_that_is_to_come() -> None:
    known = facts(
        periodic=every(600, reference=NOON - 1),
        periodic_since=1000,
        scheduled=(("k", DueTime(None, 1500, "b1")),),
        transfers=(DueTime(None, 1400, "b1"),),
        options_change=NOON + 300,
        changed_at=1000,
        changes_told=1000,
        change_interval=200,
    )

    assert [due(known, Moment(NOON + boot - 1000, boot)).wake for boot in (1000.0, 1100.0)] == [1200, 1200]
    assert due(replace(known, changed_at=None), NOW).wake == 1300
    assert due(replace(known, changed_at=None, options_change=None), NOW).wake == 1400


def test_the_helper_above_lives_by_the_same_rules() -> None:
    life = Life(facts(waiting=BOOTED))

    life.live(10)

    assert [call.codes for call in life.calls] == [("1 BOOT",)]
