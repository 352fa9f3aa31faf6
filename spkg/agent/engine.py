"""What the agent decides, step by step: what is due, sessions, transfers, what follows a session.

One thread at a time runs it.  It knows no loop and no socket: what comes from outside is handed in, and
:meth:`Engine.step` says when it wants to be run again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spkg.agent.client import AcsClient
from spkg.agent.clock import Outside
from spkg.agent.contact import ContactError
from spkg.agent.conversation import converse
from spkg.agent.dispatch import Dispatcher
from spkg.agent.errands import Errand
from spkg.agent.journal import Journal
from spkg.agent.masking import masked_envelope
from spkg.agent.records import Transfer
from spkg.agent.restarts import Restarts
from spkg.agent.settings import AgentConfig
from spkg.agent.state import FACT_BOOT, FACT_FIRST_USE, FACT_PHASE, FACT_URL_TOLD, AgentState, StateChange
from spkg.agent.transfer_outcome import completion
from spkg.agent.transfers import TransferQueue
from spkg.agent.tree.builtin import ACS_PASSWORD, ACS_URL, ACS_USERNAME
from spkg.agent.tree.tree import Tree
from spkg.agent.trial import ParameterTrials
from spkg.common.times import write_time
from spkg.cwmp.calls import decode_answer, encode_request
from spkg.cwmp.envelopes import MAX_PIPELINED, Message
from spkg.cwmp.events import Event, EventCode, first_events, merged, method_event
from spkg.cwmp.retries import Attempts, may_kick
from spkg.cwmp.schedule import Due, DueTime, Facts, Moment, Periodic, due
from spkg.cwmp.session import Request, Session
from spkg.cwmp.types import read_cwmp_time
from spkg.cwmp.values import AcsFault, DeviceId, SinceBoot
from spkg.errors import HostError, RefusedError, SpkgError, TransferError

__all__ = ["Engine", "LastSession"]

KICKS_PER_HOUR: Final = 60
"""How often Kicked is called in an hour (D.4)."""
PERIODIC_ENABLE: Final = "ManagementServer.PeriodicInformEnable"
PERIODIC_INTERVAL: Final = "ManagementServer.PeriodicInformInterval"
PERIODIC_TIME: Final = "ManagementServer.PeriodicInformTime"


@dataclass(frozen=True, kw_only=True)
class LastSession:
    """How the last session went."""

    when: str | None
    """When it began; None without a clock."""
    events: tuple[str, ...]
    reason: str | None
    """Why it failed; None if it ended cleanly."""


@dataclass
class _Moments:
    """What is of the moment, and never written: it is found again after a restart, or is over."""

    requested: float | None = None
    """When the last connection request came."""
    events: list[Event] = field(default_factory=list)
    arrived: float = 0.0
    forced: bool = False
    attempts: Attempts = field(default_factory=Attempts)
    periodic_since: float = 0.0
    changes_told: float | None = None
    changed_at: float | None = None
    last_session: float | None = None
    refused: set[int] = field(default_factory=set)
    """The transfers whose TransferComplete the ACS has refused: told with the next session that comes."""
    methods: frozenset[str] | None = None
    """What the ACS lists; None if it was not asked."""


class Engine:
    """Decides.

    Args:
        config: The configuration.
        device: Who we are.
        state: What outlives a power cut.
        tree: The parameters.
        transfers: Downloads and uploads.
        trials: What is on trial.
        dispatcher: Answers calls.
        client: Returns what reaches the ACS, as long as the clock is as it is.
        restarts: Reboot and FactoryReset.
        options: What looks at the Options, and returns when to look again, in seconds since 1970.
        journal: The log.
        outside: The clocks and the chance.
    """

    def __init__(
        self,
        *,
        config: AgentConfig,
        device: DeviceId,
        state: AgentState,
        tree: Tree,
        transfers: TransferQueue,
        trials: ParameterTrials,
        dispatcher: Dispatcher,
        client: Callable[[], AcsClient],
        restarts: Restarts,
        options: Callable[[], float | None],
        journal: Journal,
        outside: Outside,
    ) -> None:
        self._config = config
        self._device = device
        self._state = state
        self._tree = tree
        self._transfers = transfers
        self._trials = trials
        self._dispatcher = dispatcher
        self._client = client
        self._restarts = restarts
        self._options = options
        self._journal = journal
        self._outside = outside
        self._boot_id = outside.boot().identity
        self._now = _Moments(periodic_since=outside.boot().seconds)
        self._errands: list[Errand] = []
        self._kicks: list[float] = []
        self._options_due: float | None = None
        self._restart_waits = False
        """Whether the session that asked for a restart has broken: it waits for a clean end (3.7.1.4)."""
        self.last: LastSession | None = None

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
        found = due(self._facts(), now)
        if found.options:
            self.look_at_options()
        elif found.session and sessions and self._url():
            self._session(found, now)
        elif found.transfer and self._transfers.work():
            pass
        else:
            waits = [found.wake, self._trials.due(), self._restarts.again_at]
            return min((one for one in waits if one is not None and one > now.boot), default=None)
        return now.boot

    def connection_request(self) -> None:
        """Take a connection request (3.2.2)."""
        self._now.requested = self._outside.boot().seconds

    def raise_event(self, event: Event) -> None:
        """Report an event of a provider or an operator."""
        if event.lasts:
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
        if errand.method == "Kicked":
            boot = self._outside.boot().seconds
            if not may_kick(self._kicks, boot, KICKS_PER_HOUR):
                raise RefusedError(f"at most {KICKS_PER_HOUR} kicks in an hour", section="D.4")
            self._kicks = [*self._kicks[1 - KICKS_PER_HOUR :], boot]
        self._errands.append(errand)
        self._now.forced = True

    def change_noticed(self) -> None:
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
        self.change_noticed()
        passive, waiting = list[Event](), [*self._state.events(), *self._now.events]
        for transfer in self._transfers.to_tell():
            events = passive if transfer.id in self._now.refused else waiting
            events += [Event(EventCode.TRANSFER_COMPLETE), _transfer_event(transfer)]
        return Facts(
            boot_id=self._boot_id,
            waiting=tuple(waiting),
            passive=tuple(passive),
            arrived=self._now.arrived,
            requested=self._now.requested,
            periodic=self._periodic(),
            periodic_since=self._now.periodic_since,
            scheduled=tuple(
                (one.command_key, DueTime(one.due_wall, one.due_boot or 0.0, one.boot_id))
                for one in self._state.schedule()
            ),
            changed=bool(self._tree.changes()),
            changed_at=self._now.changed_at,
            changes_told=self._now.changes_told,
            change_interval=self._config.acs.change_interval,
            transfers=self._transfers.due_times(),
            transfer_running=self._transfers.is_running,
            options_change=self._options_due,
            attempts=self._now.attempts,
            last_session=self._now.last_session,
            busy=self.is_rebooting,
            forced=self._now.forced,
        )

    def _session(self, found: Due, begun: Moment) -> None:
        """Have a session, and note how it went."""
        when = self._outside.when()
        events = [*found.causes]
        asks = self._asks()
        if any(errand.method == "Kicked" for errand in asks):
            events.append(Event(EventCode.KICKED))
        causes = merged(events)
        restart_due = self._restarts.is_due
        talk = _Talk(causes=causes, asks=asks, begun=begun)
        reason: str | None = None
        self._now.forced = False
        self._journal.note("session", f"begins: {', '.join(event.code for event in causes) or 'no event'}")
        try:
            self._tree.lock()
            try:
                posts = self._talk(talk)
                self._conclude(talk)
            finally:
                self._tree.unlock()
            self._journal.note("session", f"over after {posts} posts")
        except (TransferError, HostError, RefusedError) as exc:
            reason = str(exc)
            self._fail(talk, exc)
            self._restart_waits = self._restart_waits or (self._restarts.is_due and not restart_due)
        self._now.last_session = self._outside.boot().seconds
        self.last = LastSession(
            when=None if when is None else write_time(when),
            events=tuple(event.code for event in causes),
            reason=reason,
        )

    def _talk(self, talk: "_Talk") -> int:
        """Carry a session through."""
        tree = self._tree
        talk.url = self._url()
        if self._state.fact(FACT_URL_TOLD) != talk.url:
            self._now.methods = None  # those of another server
        talk.told = tree.inform_values()
        self._trials.session_begins()
        session = Session(
            self._inform(talk),
            self._requests(talk),
            outstanding=self._config.acs.outstanding,
            again=lambda request: self._again(request, talk),
        )
        talk.session = session
        username, password = tree.setting(ACS_USERNAME), tree.setting(ACS_PASSWORD)
        with self._client().open(talk.url, username or None, password) as connection:
            return converse(
                connection,
                session,
                answer=self._dispatcher.answer,
                took=lambda request, message: self._took(request, message, talk),
                trace=self._trace,
                most=MAX_PIPELINED if self._config.acs.pipelining else 1,
            )

    def _inform(self, talk: "_Talk") -> Request:
        """Return the Inform (A.3.3.1)."""
        identity = self._outside.token()
        octets = encode_request(
            "Inform",
            {
                "DeviceId": self._device,
                "Event": talk.causes,
                "MaxEnvelopes": MAX_PIPELINED if self._config.acs.pipelining else 1,
                "CurrentTime": self._outside.when() or SinceBoot(self._outside.boot().seconds),
                "RetryCount": self._now.attempts.retry_count,
                "ParameterList": talk.told,
            },
            identity,
        )
        return Request("Inform", octets, identity)

    def _again(self, request: Request, talk: "_Talk") -> Request:
        """Return what to send after an 8005: an Inform says that it was tried before (Table 31)."""
        if request.method != "Inform":
            return request
        self._now.attempts = self._now.attempts.inform_failed()
        return self._inform(talk)

    def _requests(self, talk: "_Talk") -> list[Request]:
        """Return what we have to say besides the Inform."""
        requests = []
        for transfer in self._transfers.to_tell():
            if _transfer_event(transfer) in talk.causes:
                requests.append(self._request("TransferComplete", completion(transfer)))
                talk.tells[requests[-1].id] = transfer
        for errand in talk.asks:
            requests.append(self._request(errand.method, errand.arguments))
            talk.errands[requests[-1].id] = errand
        return requests

    def _asks(self) -> list[Errand]:
        """Return the errands of this session; if the methods of the ACS are not known, to ask for them."""
        if self._errands and self._now.methods is None:
            return [Errand("GetRPCMethods", {})]
        self._refuse_errands()
        return [*self._errands]

    def _refuse_errands(self) -> None:
        """Refuse the errands that the ACS does not list: some servers die of them."""
        for errand in [one for one in self._errands if one.method not in (self._now.methods or ())]:
            self._errands.remove(errand)
            errand.fail(RefusedError(f"the ACS has no {errand.method}"))

    def _request(self, method: str, arguments: Mapping[str, Any]) -> Request:
        identity = self._outside.token()
        return Request(method, encode_request(method, arguments, identity), identity)

    def _took(self, request: Request, message: Message, talk: "_Talk") -> None:
        """Take what the ACS answers to a request of ours."""
        found = decode_answer(message, request.method)
        fault = found if isinstance(found, AcsFault) else None
        if request.method == "Inform":
            self._now.attempts = self._now.attempts.inform_answered()
            talk.answered = True
            self._tree.told(talk.told)
        if request.id in talk.tells:
            self._tell(talk.tells.pop(request.id), fault)
        if request.id in talk.errands:
            errand = talk.errands.pop(request.id)
            if errand in self._errands:
                self._errands.remove(errand)
            if request.method == "GetRPCMethods":
                listed = () if isinstance(found, AcsFault) else found["MethodList"]
                self._now.methods = frozenset(listed)
                self._refuse_errands()
            if fault is not None:
                errand.fail(RefusedError(f"the ACS refuses {request.method}: {fault.code} {fault.text}"))
            else:
                assert not isinstance(found, AcsFault)
                errand.finish(found)

    def _tell(self, transfer: Transfer, fault: AcsFault | None) -> None:
        """Take the answer to a TransferComplete: confirm a package on trial, then forget the transfer."""
        what = f"{transfer.direction} {transfer.arguments['CommandKey']!r}"
        problem = None if fault is None else f"{fault.code} {fault.text}"
        if fault is None:
            try:
                self._transfers.told(transfer)
            except HostError as exc:
                problem = str(exc)
        if problem is None:
            self._now.refused.discard(transfer.id)
            self._journal.note("transfer", f"the ACS has taken the end of {what}", lasting=True)
        else:
            self._now.refused.add(transfer.id)
            self._journal.note("failure", f"the end of {what} was not taken: {problem}", lasting=True)

    def _conclude(self, talk: "_Talk") -> None:
        """Note the clean end of a session: what was told is over, in one transaction."""
        told = set(talk.causes)
        if self._url() != talk.url:
            told.discard(Event(EventCode.BOOTSTRAP))  # it has come again: the new ACS has to hear of it
        with self._state.change() as change:
            change.drop_events(event for event in self._state.events() if event in told)
            for one in self._state.schedule():
                deadline = DueTime(one.due_wall, one.due_boot or 0.0, one.boot_id)
                if (
                    deadline.remaining(talk.begun, self._boot_id) <= 0
                    and method_event("ScheduleInform", one.command_key) in told
                ):
                    change.drop_scheduled(one.id)
            self._tree.keep_told(change)
            self._trials.session_ended(change)
            change.fact(FACT_URL_TOLD, talk.url)
            when = self._outside.when()
            if self._state.fact(FACT_FIRST_USE) is None and when is not None:
                change.fact(FACT_FIRST_USE, write_time(when))
        self._restart_waits = False
        moments = self._now
        moments.attempts = moments.attempts.session_over()
        moments.events = [event for event in moments.events if event not in told]
        if Event(EventCode.VALUE_CHANGE) in told:
            moments.changes_told = talk.begun.boot
        moments.changed_at = None  # what has changed since is seen with the next step
        if moments.requested is not None and moments.requested <= talk.begun.boot:
            moments.requested = None
        if (periodic := self._periodic()) is not None:
            moments.periodic_since = periodic.told_until(talk.begun)
        if self._errands:
            moments.forced = True  # now that the methods of the ACS are known

    def _fail(self, talk: "_Talk", error: SpkgError) -> None:
        """Note that a session broke: its events stay."""
        attempts = self._now.attempts
        if not talk.answered:
            attempts = attempts.inform_failed()
        self._now.attempts = attempts.session_failed(
            self._outside.boot().seconds,
            self._outside.draw,
            limit=self._config.acs.retry_limit,
            retry_after=error.retry_after if isinstance(error, ContactError) else None,
        )
        requested = Event(EventCode.CONNECTION_REQUEST)
        if requested in talk.causes and requested not in self._now.events:
            self._now.events.append(requested)  # from now on it waits as any other
            self._now.requested = None
        for errand in self._errands:
            errand.fail(error)
        self._errands.clear()
        self._journal.note("failure", f"session: {error}", lasting=True)

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

    def _periodic(self) -> Periodic | None:
        """Return the times of periodic Informs; None if there are none."""
        tree = self._tree
        if tree.setting(PERIODIC_ENABLE) != "1":
            return None
        reference = read_cwmp_time(tree.setting(PERIODIC_TIME))
        return Periodic(
            interval=int(tree.setting(PERIODIC_INTERVAL)),
            reference=None if reference is None else reference.timestamp(),
            phase=float(self._state.fact(FACT_PHASE) or 0),
        )

    def _url(self) -> str:
        return self._tree.setting(ACS_URL)

    def look_at_options(self) -> None:
        """See what has become of the Options, and when to look again."""
        self._options_due = self._options()
        self.change_noticed()

    def _arrive(self) -> None:
        self._now.arrived = self._outside.boot().seconds

    def _trace(self, direction: str, octets: bytes) -> None:
        if self._journal.traces:
            self._journal.trace(direction, masked_envelope(octets))


@dataclass
class _Talk:
    """A session that is going on."""

    causes: tuple[Event, ...]
    asks: list[Errand]
    begun: Moment
    url: str = ""
    told: Any = ()
    session: Session | None = None
    answered: bool = False
    """Whether the Inform was answered."""
    tells: dict[str, Transfer] = field(default_factory=dict)
    errands: dict[str, Errand] = field(default_factory=dict)


def _transfer_event(transfer: Transfer) -> Event:
    return method_event(transfer.direction, str(transfer.arguments["CommandKey"]))
