"""What the agent decides, step by step: what is due, sessions, transfers, what follows a session.

One thread at a time runs it.  It knows no loop and no socket: what comes from outside is handed in, and
:meth:`Engine.step` says when it wants to be run again.
"""

from collections.abc import Mapping
from typing import Final

from spkg.agent.clock import Outside
from spkg.agent.errands import Errand, Errands
from spkg.agent.journal import Journal
from spkg.agent.moments import LastSession, Moments
from spkg.agent.option_watch import OptionWatch
from spkg.agent.restarts import Restarts
from spkg.agent.sessions import Sessions, periodic_of, transfer_event
from spkg.agent.state import FACT_BOOT, FACT_PHASE, FACT_URL_TOLD, AgentState, StateChange
from spkg.agent.transfers import TransferQueue
from spkg.agent.tree.names import ACS_URL
from spkg.agent.tree.tree import Tree
from spkg.agent.trial import ParameterTrials
from spkg.cwmp.events import Event, EventCode, first_events
from spkg.cwmp.retries import Attempts
from spkg.cwmp.schedule import Due, DueTime, Facts, Moment, due
from spkg.errors import RefusedError

__all__ = ["Engine"]

MAX_RAISED: Final = 64
"""The most events of providers and operators that wait for a session."""


class Engine:
    """Decides.

    Args:
        change_interval: The least time between two sessions for changes, in seconds.
        sessions: Has sessions.
        moments: What is known of the moment.
        errands: What is to be asked of the ACS.
        state: What outlives a power cut.
        tree: The parameters.
        transfers: Downloads and uploads.
        trials: What is on trial.
        restarts: Reboot and FactoryReset.
        options: Looks at the Options.
        journal: The log.
        outside: The clocks and the chance.
    """

    def __init__(
        self,
        *,
        change_interval: int,
        sessions: Sessions,
        moments: Moments,
        errands: Errands,
        state: AgentState,
        tree: Tree,
        transfers: TransferQueue,
        trials: ParameterTrials,
        restarts: Restarts,
        options: OptionWatch,
        journal: Journal,
        outside: Outside,
    ) -> None:
        self._change_interval = change_interval
        self._sessions = sessions
        self._now = moments
        self._errands = errands
        self._state = state
        self._tree = tree
        self._transfers = transfers
        self._trials = trials
        self._restarts = restarts
        self._options = options
        self._journal = journal
        self._outside = outside
        self._boot_id = outside.boot().identity
        self._options_due: float | None = None
        self._restart_waits = False
        """Whether the session that asked for a restart has broken: it waits for a clean end (3.7.1.4)."""

    @property
    def last(self) -> LastSession | None:
        """How the last session went; None if there was none."""
        return self._now.last

    def start(self) -> None:
        """Take up what the last run, or the last boot, has left."""
        state = self._state
        self._restarts.at_start()
        with state.change() as change:
            for event in first_events(
                boot_id=self._boot_id,
                last_boot_id=state.fact(FACT_BOOT),
                url=self._url(),
                url_told=state.fact(FACT_URL_TOLD),
            ):
                change.add_event(event)
            change.fact(FACT_BOOT, self._boot_id)
            if state.fact(FACT_PHASE) is None:
                change.fact(FACT_PHASE, f"{self._outside.draw():.9f}")
        if state.set_aside is not None:
            text = f"the state could not be read; it was moved to {state.set_aside}"
            self._journal.note("failure", text, lasting=True)
        self._tree.carry_out_intent()
        self._transfers.at_start()
        self.look_at_options()
        self._arrive()

    @property
    def acs_methods(self) -> frozenset[str] | None:
        """The methods that the ACS lists; None if it was not asked."""
        return self._errands.methods

    @property
    def is_rebooting(self) -> bool:
        """Whether the device is about to be rebooted: nothing more is begun."""
        return self._restarts.rebooting

    @property
    def must_begin_anew(self) -> bool:
        """Whether the state was reset, so that everything has to be read again."""
        return self._restarts.was_reset

    def step(self, *, sessions: bool = True) -> float | None:
        """Do what is due, one thing, and return when to come again, in seconds since the boot.

        None means when something happens.

        Args:
            sessions: Whether a session may be begun.
        """
        now = self._outside.moment()
        self._set_back()
        may_restart = self._transfers.reboot_due or not self._restart_waits
        if may_restart and self._restarts.work():
            return now.boot
        if self._transfers.is_running and self._transfers.work():
            return now.boot
        if self.is_rebooting or self.must_begin_anew:
            return None
        if self._options.is_stale:
            self.look_at_options()
        found = due(self._facts(), now)
        if found.options:
            self.look_at_options()
        elif found.session and sessions and self._url():
            self._hold(found, now)
        elif found.transfer and self._transfers.work():
            pass
        else:
            self._state.tidy()
            waits = [
                found.wake,
                self._trials.due(),
                self._restarts.again_at,
                self._options.again_at(now.boot),
            ]
            return min((one for one in waits if one is not None and one > now.boot), default=None)
        return now.boot

    def connection_request(self) -> None:
        """Take a connection request (3.2.2)."""
        self._now.requested = self._outside.boot().seconds

    def raise_event(self, event: Event) -> None:
        """Report an event of a provider or an operator.

        Raises:
            RefusedError: So many wait already that the state would grow for ever.
        """
        if event.lasts:
            waiting = [one for one in self._state.events() if one.code.startswith("X ")]
            if event not in waiting and len(waiting) >= MAX_RAISED:
                raise RefusedError(f"an event more than the {MAX_RAISED} that wait for a session")
            with self._state.change() as change:
                change.add_event(event)
        elif event not in self._now.events:
            self._now.events.append(event)
        self._arrive()

    def force(self) -> None:
        """Begin a session, whatever the back-off."""
        self._now.forced = True

    def run_errand(self, errand: Errand) -> None:
        """Call a method of the ACS with the next session, which begins now.

        Raises:
            RefusedError: There were too many kicks (D.4).
        """
        self._errands.add(errand, self._outside.boot().seconds)
        self._now.forced = True

    def _change_noticed(self) -> None:
        """See whether parameters have changed that have to be told at once."""
        if self._now.changed_at is None and self._tree.active_change():
            self._now.changed_at = self._outside.boot().seconds

    @property
    def works(self) -> bool:
        """Whether a transfer runs, or is to begin now."""
        return self._transfers.is_running or self.due().transfer

    def due(self) -> Due:
        """Return what is due."""
        now = self._outside.moment()
        return due(self._facts(), now)

    @property
    def attempts(self) -> Attempts:
        """How sessions have failed."""
        return self._now.attempts

    def _facts(self) -> Facts:
        self._change_noticed()
        passive, waiting = list[Event](), [*self._state.events(), *self._now.events]
        for transfer in self._transfers.to_tell():
            events = passive if transfer.id in self._now.refused else waiting
            events += [Event(EventCode.TRANSFER_COMPLETE), transfer_event(transfer)]
        return Facts(
            boot_id=self._boot_id,
            waiting=tuple(waiting),
            passive=tuple(passive),
            arrived=self._now.arrived,
            requested=self._now.requested,
            periodic=periodic_of(self._tree, self._state),
            periodic_since=self._now.periodic_since,
            periodic_told=self._now.periodic_told,
            scheduled=tuple(
                (one.command_key, DueTime(one.due_wall, one.due_boot or 0.0, one.boot_id))
                for one in self._state.schedule()
            ),
            changed=bool(self._tree.changes()),
            changed_at=self._now.changed_at,
            changes_told=self._now.changes_told,
            change_interval=self._change_interval,
            transfers=self._transfers.due_times(),
            transfer_running=self._transfers.is_running,
            options_change=self._options_due,
            attempts=self._now.attempts,
            last_session=self._now.last_session,
            busy=self.is_rebooting,
            forced=self._now.forced,
        )

    def _hold(self, found: Due, now: Moment) -> None:
        """Have a session; a restart that it asked for waits for a clean end (3.7.1.4)."""
        restart_due = self._restarts.is_due
        if self._sessions.hold(found, now):
            self._restart_waits = False
        elif self._restarts.is_due and not restart_due:
            self._restart_waits = True

    def _set_back(self) -> None:
        """Set parameters back whose trial is over; the ACS is to hear of it."""

        def also(change: StateChange, names: Mapping[str, str | None]) -> None:
            if ACS_URL in names:
                change.add_event(Event(EventCode.BOOTSTRAP))

        names = self._trials.expire(also)
        if names:
            text = f"out of touch for too long: {', '.join(sorted(names))} set back"
            self._journal.note("trial", text, lasting=True)
            self._now.attempts = Attempts()
            self._arrive()

    def _url(self) -> str:
        return self._tree.setting(ACS_URL)

    def look_at_options(self) -> None:
        """See what has become of the Options, and when to look again."""
        self._options_due = self._options.look()
        self._change_noticed()

    def _arrive(self) -> None:
        self._now.arrived = self._outside.boot().seconds
