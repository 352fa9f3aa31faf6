"""Parameters on trial: confirmed by a session on a new connection, or set back at the deadline."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from spkg.agent.state import AgentState, StateChange
from spkg.agent.trial import ParameterTrials, put_on_trial

URL = "Device.ManagementServer.URL"
NAME = "Device.ManagementServer.Username"


class Trying:
    """An agent's state with parameters that can be on trial."""

    def __init__(self, path: Path | None = None, *, boot: str = "boot-1", delay: float = 600) -> None:
        self.state = AgentState(path)
        self.seconds = 100.0
        self.boot, self.delay = boot, delay
        self.trials = ParameterTrials(self.state, boot_id=boot, clock=lambda: self.seconds)

    def set(self, **values: str) -> None:
        """Set parameters, as the ACS does."""
        named = {{"url": URL, "name": NAME}.get(name, name): value for name, value in values.items()}
        with self.state.change() as change:
            tried = [name for name in named if name in {URL, NAME}]
            now = self.seconds
            put_on_trial(self.state, change, tried, delay=self.delay, now=now, boot_id=self.boot)
            for name, value in named.items():
                change.set_value(name, value)

    def end_session(self) -> None:
        with self.state.change() as change:
            self.trials.session_ended(change)

    def values(self) -> dict[str, str]:
        return dict(self.state.values())


def test_what_the_acs_sets_is_set_back_at_the_deadline() -> None:
    one = Trying()
    one.set(url="http://old/")
    one.trials.session_begins()
    one.end_session()
    one.set(url="http://new/", name="me", other="stays")
    due = one.trials.due()
    one.seconds = 699.0
    early = one.trials.expire()
    one.seconds = 700.0

    assert (due, dict(early)) == (700.0, {})
    assert one.trials.expire() == {URL: "http://old/", NAME: None}
    assert one.values() == {URL: "http://old/", "other": "stays"}
    assert (one.trials.due(), one.trials.expire()) == (None, {})


def test_the_session_in_which_it_was_set_confirms_nothing_the_next_one_does() -> None:
    one = Trying()
    one.trials.session_begins()
    one.set(url="http://new/")
    one.end_session()
    waiting = one.trials.due()
    one.trials.session_begins()
    one.end_session()
    one.seconds = 10_000

    assert waiting == 700.0
    assert (one.trials.expire(), one.values()) == ({}, {URL: "http://new/"})


def test_what_is_set_again_in_that_session_is_on_trial_again() -> None:
    one = Trying()
    one.set(url="http://new/")
    one.seconds = 150.0
    one.trials.session_begins()
    one.set(url="http://newer/")
    one.end_session()

    assert one.trials.due() == 750.0
    one.seconds = 750.0
    assert one.trials.expire() == {URL: None}


def test_a_session_that_broke_confirms_nothing() -> None:
    one = Trying()
    one.set(url="http://new/")
    one.trials.session_begins()
    one.trials.session_begins()  # the next attempt
    one.seconds = 700.0

    assert one.trials.expire() == {URL: None}


@pytest.mark.parametrize(("boot", "due"), [("boot-1", 700.0), ("boot-2", 600.0)])
def test_a_trial_outlives_the_agent_and_begins_again_with_a_boot(
    boot: str, due: float, tmp_path: Path
) -> None:
    before = Trying(tmp_path / "state")
    before.set(url="http://new/")
    before.state.close()

    assert Trying(tmp_path / "state", boot=boot).trials.due() == due


def test_what_is_set_back_and_what_follows_from_it_are_one_transaction() -> None:
    one = Trying()
    one.set(url="http://new/")
    one.seconds = 700.0
    before = one.state.commits
    seen: list[Mapping[str, str | None]] = []

    def also(change: StateChange, values: Mapping[str, str | None]) -> None:
        seen.append(values)
        change.fact("url-told", None)

    one.trials.expire(also)

    assert (seen, one.state.commits) == ([{URL: None}], before + 1)


@pytest.mark.parametrize(("values", "delay"), [({"other": "x"}, 600), ({"url": "http://new/"}, 0)])
def test_other_parameters_and_no_delay_make_no_trial(values: dict[str, str], delay: float) -> None:
    one = Trying(delay=delay)
    one.set(**values)

    assert one.trials.due() is None
