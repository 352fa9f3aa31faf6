"""Parameters on trial: what the ACS has set, until a session on a new connection shows that it was right.

How packages are on trial is the installer's matter; :meth:`TransferQueue.told` confirms them.
"""

from collections.abc import Callable, Iterable, Mapping

from spkg.agent.records import ParameterTrial
from spkg.agent.state import AgentState, StateChange

__all__ = ["ParameterTrials", "put_on_trial"]


def put_on_trial(
    state: AgentState,
    change: StateChange,
    names: Iterable[str],
    *,
    delay: float,
    now: float,
    boot_id: str,
) -> None:
    """Put parameters that the ACS sets on trial, in the transaction that sets them, and before that.

    Those that were on trial before keep the values to which they are set back.

    Args:
        state: Where they are kept.
        change: The transaction.
        names: What is set and may cut the ACS off.
        delay: How long they are on trial, in seconds; 0 for no trial.
        now: The seconds since the boot.
        boot_id: The id of this boot.
    """
    before: dict[str, str | None] = {name: state.value(name) for name in names}
    if not before or not delay:
        return
    running = state.trial()
    if running is not None:
        before |= running.before
    change.set_trial(ParameterTrial(before=before, delay=delay, since_boot=now, boot_id=boot_id))


class ParameterTrials:
    """The parameters that are set back if the ACS stays out of reach; used from one thread.

    Args:
        state: Where they are kept.
        boot_id: The id of this boot.
        clock: Returns the seconds since the boot.
    """

    def __init__(self, state: AgentState, *, boot_id: str, clock: Callable[[], float]) -> None:
        self._state = state
        self._boot_id = boot_id
        self._clock = clock
        self._seen: ParameterTrial | None = None
        """The trial at the beginning of the session that is open."""

    def session_begins(self) -> None:
        """Note that a session begins, on a new connection, with the values as they are now."""
        self._seen = self._state.trial()

    def session_ended(self, change: StateChange) -> None:
        """Confirm what was on trial when the session began that has ended cleanly."""
        if self._seen is not None and self._seen == self._state.trial():
            change.set_trial(None)
        self._seen = None

    def due(self) -> float | None:
        """Return when the trial ends, in seconds since the boot; None if nothing is on trial."""
        running = self._state.trial()
        return None if running is None else running.due(self._boot_id)

    def expire(
        self, also: Callable[[StateChange, Mapping[str, str | None]], object] = lambda _change, _values: None
    ) -> Mapping[str, str | None]:
        """Set back what was on trial if its time is over, and return what was, by name; never in a session.

        Args:
            also: Called in the same transaction, with what is set back; None stands for a value of the
                configuration.
        """
        running, due = self._state.trial(), self.due()
        if running is None or due is None or self._clock() < due:
            return {}
        with self._state.change() as change:
            for name, value in running.before.items():
                change.set_value(name, value)
            change.set_trial(None)
            also(change, running.before)
        return running.before
