"""Waiting after sessions that failed: RetryCount, back-off, Retry-After, kicks (clauses E4, E17, S17, A5)."""

from random import Random

import pytest

from spkg.cwmp.retries import Attempts, may_kick, retry_delay

LIMIT = 11


def low() -> float:
    return 0.0


def high() -> float:
    return 1.0


def failed(times: int, *, limit: int = LIMIT, boot: float = 100.0) -> Attempts:
    """Return what is known after so many sessions that failed, all at the same moment."""
    attempts = Attempts()
    for _ in range(times):
        attempts = attempts.session_failed(boot, low, limit=limit)
    return attempts


def test_the_wait_doubles_from_5_to_10_up_to_2560_to_5120_seconds_e17() -> None:
    assert [(retry_delay(failures, low), retry_delay(failures, high)) for failures in range(1, 14)] == [
        (5, 10),
        (10, 20),
        (20, 40),
        (40, 80),
        (80, 160),
        (160, 320),
        (320, 640),
        (640, 1280),
        (1280, 2560),
        (2560, 5120),
        (2560, 5120),
        (2560, 5120),
        (2560, 5120),
    ]


def test_a_wait_does_not_overflow_after_years_of_failures_e17() -> None:
    assert retry_delay(10**9, high) == 5120


def test_ten_thousand_devices_do_not_come_back_at_once_e17() -> None:
    draw = Random(5).random

    times = sorted(Attempts().session_failed(0, draw, limit=LIMIT).retry_at for _ in range(10_000))

    assert [
        sum(5 + part / 2 <= time < 5.5 + part / 2 for time in times) for part in range(10)
    ] == pytest.approx([1000] * 10, rel=0.1)


def test_each_inform_that_failed_counts_until_one_is_answered_e4() -> None:
    attempts = Attempts().inform_failed().inform_failed()

    assert attempts.retry_count == 2
    assert attempts.inform_answered().retry_count == 0


def test_a_session_that_breaks_after_its_inform_does_not_raise_the_retry_count_e4() -> None:
    assert failed(3).retry_count == 0


def test_the_answer_to_an_inform_does_not_shorten_the_wait_e17() -> None:
    attempts = failed(4).inform_answered()

    assert attempts.session_failed(100, low, limit=LIMIT).retry_at == 100 + 80


def test_a_clean_end_forgets_all_failures_e17() -> None:
    assert failed(4).inform_failed().session_over() == Attempts()


def test_retries_end_with_the_limit_s17() -> None:
    assert failed(11).given_up is None
    assert failed(12).given_up == 100


def test_without_retries_one_failure_is_the_last_s17() -> None:
    assert failed(1, limit=0).given_up == 100


def test_after_the_limit_the_next_cause_begins_with_a_short_wait_s17() -> None:
    attempts = failed(12)

    assert attempts.retry_at == 100
    assert attempts.session_failed(200, low, limit=LIMIT) == Attempts(failures=1, retry_at=205, failed_at=200)


def test_a_server_says_when_to_come_back() -> None:
    attempts = Attempts().session_failed(100, low, limit=LIMIT, retry_after=60)

    assert (attempts.not_before, attempts.retry_at) == (160, 160)


def test_those_sent_away_together_do_not_come_back_together() -> None:
    assert Attempts().session_failed(100, high, limit=LIMIT, retry_after=60).retry_at == 165


def test_a_short_retry_after_does_not_shorten_the_wait() -> None:
    attempts = failed(5).session_failed(100, low, limit=LIMIT, retry_after=1)

    assert (attempts.not_before, attempts.retry_at) == (101, 260)


@pytest.mark.parametrize(("asked", "waits"), [(-5, 0), (10**12, 86_400)])
def test_a_server_can_not_send_us_away_for_more_than_a_day(asked: float, waits: float) -> None:
    assert Attempts().session_failed(100, low, limit=LIMIT, retry_after=asked).not_before == 100 + waits


def test_a_later_failure_does_not_shorten_what_the_server_asked_for() -> None:
    attempts = Attempts().session_failed(100, low, limit=LIMIT, retry_after=600)

    assert attempts.session_failed(101, low, limit=LIMIT).not_before == 700


def test_kicks_are_limited_per_hour_a5() -> None:
    kicks = [100.0, 200.0, 300.0]

    assert may_kick(kicks, 3699, 4)
    assert not may_kick(kicks, 3699, 3)
    assert may_kick(kicks, 3700, 3)
    assert not may_kick([], 0, 0)
