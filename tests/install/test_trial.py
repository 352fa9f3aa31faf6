"""How long a trial lasts."""

from hypothesis import given
from hypothesis import strategies as st

from spkg.common.boots import Boot
from spkg.install.trial import Trial


@given(delay=st.integers(1, 86_400), since=st.floats(0, 1e7), nap=st.floats(0.1, 2))
def test_who_sleeps_for_what_is_left_has_come_to_the_end(delay: int, since: float, nap: float) -> None:
    """Times are rounded; what is left must not be rounded to less than a clock can tell."""
    trial = Trial(package="0" * 64, delay=delay, boot="b", since=since)
    seconds = since + delay - nap

    for _ in range(9):
        left = trial.left(Boot(identity="b", seconds=seconds))
        assert left is not None
        if left <= 0:
            break
        assert seconds + left > seconds
        seconds += left
    else:
        raise AssertionError(f"{left} s are left for ever")
