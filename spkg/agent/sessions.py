"""Sessions with the ACS: what an Inform reports, what is said besides, and what is over afterwards (3.7).

Events are over when their session has ended cleanly, and not when the Inform was answered: a session that
breaks loses nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spkg.agent.client import AcsClient
from spkg.agent.clock import Outside
from spkg.agent.contact import ContactError
from spkg.agent.conversation import converse
from spkg.agent.errands import Errand, Errands
from spkg.agent.journal import Journal
from spkg.agent.masking import masked_envelope
from spkg.agent.moments import LastSession, Moments
from spkg.agent.records import Transfer
from spkg.agent.settings import AcsSettings
from spkg.agent.state import FACT_FIRST_USE, FACT_PHASE, FACT_URL_TOLD, AgentState
from spkg.agent.transfer_outcome import completion
from spkg.agent.transfers import TransferQueue
from spkg.agent.tree.names import ACS_PASSWORD, ACS_URL, ACS_USERNAME
from spkg.agent.tree.tree import Tree
from spkg.agent.trial import ParameterTrials
from spkg.common.printable import printable
from spkg.common.times import write_time
from spkg.cwmp.calls import decode_answer, encode_request
from spkg.cwmp.envelopes import MAX_PIPELINED, Message, MessageKind
from spkg.cwmp.events import Event, EventCode, merged, method_event
from spkg.cwmp.schedule import Due, DueTime, Moment, Periodic, TimeTold
from spkg.cwmp.session import BrokenSessionError, Request, Session
from spkg.cwmp.types import read_cwmp_time
from spkg.cwmp.values import AcsFault, DeviceId, SinceBoot
from spkg.errors import FormatError, HostError, RefusedError, SpkgError

__all__ = ["Sessions", "periodic_of", "transfer_event"]

PERIODIC_ENABLE: Final = "ManagementServer.PeriodicInformEnable"
PERIODIC_INTERVAL: Final = "ManagementServer.PeriodicInformInterval"
PERIODIC_TIME: Final = "ManagementServer.PeriodicInformTime"
MAX_ANSWER_NAME: Final = 64
"""How much is shown of the name of an answer, in characters."""


def transfer_event(transfer: Transfer) -> Event:
    """Return the event that a transfer is complete, such as ``M Download``."""
    return method_event(transfer.direction, transfer.command_key)


def periodic_of(tree: Tree, state: AgentState) -> Periodic | None:
    """Return the times of periodic Informs; None if there are none (Table 61)."""
    if tree.setting(PERIODIC_ENABLE) != "1":
        return None
    reference = read_cwmp_time(tree.setting(PERIODIC_TIME))
    return Periodic(
        interval=int(tree.setting(PERIODIC_INTERVAL)),
        reference=None if reference is None else reference.timestamp(),
        phase=float(state.fact(FACT_PHASE) or 0),
    )


class Sessions:
    """Has sessions, one at a time.

    Args:
        settings: How the ACS is reached.
        device: Who we are.
        state: What outlives a power cut.
        tree: The parameters.
        transfers: Downloads and uploads.
        trials: What is on trial.
        answer: Answers a call of the ACS.
        client: Returns what reaches the ACS, as long as the clock is as it is.
        journal: The log.
        outside: The clocks and the chance.
        moments: What is known of the moment.
        errands: What is to be asked of the ACS.
        alive: Called with each post: a long session is no standstill.
        ending: Whether the agent can wait no longer for the end of a session.
    """

    def __init__(
        self,
        *,
        settings: AcsSettings,
        device: DeviceId,
        state: AgentState,
        tree: Tree,
        transfers: TransferQueue,
        trials: ParameterTrials,
        answer: Callable[[Message], bytes],
        client: Callable[[], AcsClient],
        journal: Journal,
        outside: Outside,
        moments: Moments,
        errands: Errands,
        alive: Callable[[], object] = lambda: None,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._device = device
        self._state = state
        self._tree = tree
        self._transfers = transfers
        self._trials = trials
        self._answer = answer
        self._client = client
        self._journal = journal
        self._outside = outside
        self._moments = moments
        self._errands = errands
        self._alive = alive
        self._ending = ending
        self._boot_id = outside.boot().identity

    def hold(self, found: Due, begun: Moment) -> bool:
        """Have a session, note how it went, and return whether it ended cleanly.

        Args:
            found: What is due.
            begun: The moment for which that was said.
        """
        when = self._outside.when()
        events = [*found.causes]
        asks = self._errands.next()
        if any(errand.method == "Kicked" for errand in asks):
            events.append(Event(EventCode.KICKED))
        causes = merged(events)
        talk = _Talk(causes=causes, asks=asks, begun=begun, periodic=found.periodic)
        reason = hint = None
        self._moments.forced = False
        self._journal.note("session", f"begins: {', '.join(event.code for event in causes) or 'no event'}")
        try:
            self._tree.lock()
            try:
                posts = self._talk(talk)
                self._conclude(talk)
            finally:
                self._tree.unlock()
            self._journal.note("session", f"over after {posts} posts")
        except SpkgError as exc:  # whatever it was, the next session may go better
            reason, hint = str(exc), exc.hint
            self._fail(talk, exc)
        self._moments.last_session = self._outside.boot().seconds
        self._moments.last = LastSession(
            when=None if when is None else write_time(when),
            events=tuple(event.code for event in causes),
            reason=reason,
            hint=hint,
        )
        return reason is None

    def _talk(self, talk: "_Talk") -> int:
        """Carry a session through."""
        tree = self._tree
        talk.url = self._tree.setting(ACS_URL)
        if self._state.fact(FACT_URL_TOLD) != talk.url:
            self._errands.methods = None  # those of another server
        talk.told = tree.inform_values()
        self._trials.session_begins()
        session = Session(
            self._inform(talk),
            self._requests(talk),
            outstanding=self._settings.outstanding,
            again=lambda request: self._again(request, talk),
        )
        username, password = tree.setting(ACS_USERNAME), tree.setting(ACS_PASSWORD)
        with self._client().open(talk.url, username or None, password, ending=self._ending) as connection:
            return converse(
                connection,
                session,
                answer=self._answer,
                took=lambda request, message: self._took(request, message, talk),
                clock=lambda: self._outside.boot().seconds,
                trace=self._trace,
                most=MAX_PIPELINED if self._settings.pipelining else 1,
                ending=self._ending,
            )

    def _inform(self, talk: "_Talk") -> Request:
        """Return the Inform (A.3.3.1)."""
        identity = self._outside.token()
        octets = encode_request(
            "Inform",
            {
                "DeviceId": self._device,
                "Event": talk.causes,
                "MaxEnvelopes": MAX_PIPELINED if self._settings.pipelining else 1,
                "CurrentTime": self._outside.when() or SinceBoot(self._outside.boot().seconds),
                "RetryCount": self._moments.attempts.retry_count,
                "ParameterList": talk.told,
            },
            identity,
        )
        return Request("Inform", octets, identity)

    def _again(self, request: Request, talk: "_Talk") -> Request:
        """Return what to send after an 8005: an Inform says that it was tried before (Table 31)."""
        if request.method != "Inform":
            return request
        self._moments.attempts = self._moments.attempts.inform_failed()
        return self._inform(talk)

    def _requests(self, talk: "_Talk") -> list[Request]:
        """Return what we have to say besides the Inform."""
        requests = []
        for transfer in self._transfers.to_tell():
            if transfer_event(transfer) in talk.causes:
                requests.append(self._request("TransferComplete", completion(transfer)))
                talk.tells[requests[-1].id] = transfer
        for errand in talk.asks:
            requests.append(self._request(errand.method, errand.arguments))
            talk.errands[requests[-1].id] = errand
        return requests

    def _request(self, method: str, arguments: Mapping[str, Any]) -> Request:
        identity = self._outside.token()
        return Request(method, encode_request(method, arguments, identity), identity)

    def _took(self, request: Request, message: Message, talk: "_Talk") -> None:
        """Take what the ACS answers to a request of ours.

        Raises:
            BrokenSessionError: It can't be read, and somebody else than an errand depends on it.
        """
        try:
            found = self._read(request, message)
        except (FormatError, RefusedError) as exc:
            problem = f"the answer of the ACS to {request.method}: {exc}"
            if request.id not in talk.errands:
                raise BrokenSessionError(problem) from exc
            self._errands.unread(talk.errands.pop(request.id), FormatError(problem))
            self._journal.note("failure", problem)
            return
        fault = found if isinstance(found, AcsFault) else None
        if request.method == "Inform":
            self._moments.attempts = self._moments.attempts.inform_answered()
            talk.answered = True
            self._tree.told(talk.told)
        if request.id in talk.tells:
            self._tell(talk.tells.pop(request.id), fault)
        if request.id in talk.errands:
            errand = talk.errands.pop(request.id)
            self._errands.take(errand, found)

    def _read(self, request: Request, message: Message) -> Mapping[str, Any] | AcsFault:
        """Return what the ACS answers to a request of ours.

        Raises:
            FormatError: It can't be read.
            RefusedError: It is too large.
        """
        answered_as = message.name if message.kind is MessageKind.RESPONSE else request.method
        if answered_as != request.method:  # the session has let that pass
            name = printable(answered_as)[:MAX_ANSWER_NAME]
            self._journal.note("session", f"{request.method} was answered with {name}Response")
            return {}
        return decode_answer(message, request.method)

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
            self._moments.refused.discard(transfer.id)
            self._journal.note("transfer", f"the ACS has taken the end of {what}", lasting=True)
        else:
            self._moments.refused.add(transfer.id)
            self._journal.note("failure", f"the end of {what} was not taken: {problem}", lasting=True)

    def _conclude(self, talk: "_Talk") -> None:
        """Note the clean end of a session: what was told is over, in one transaction."""
        told = set(talk.causes)
        if self._tree.setting(ACS_URL) != talk.url:
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
        moments = self._moments
        moments.attempts = moments.attempts.session_over()
        moments.events = [event for event in moments.events if event not in told]
        if Event(EventCode.VALUE_CHANGE) in told:
            moments.changes_told = talk.begun.boot
        moments.changed_at = None  # what has changed since is seen with the next step
        if moments.requested is not None and moments.requested <= talk.begun.boot:
            moments.requested = None
        moments.periodic_since = talk.begun.boot
        moments.periodic_told = talk.periodic
        if self._errands.wait:
            moments.forced = True  # now that the methods of the ACS are known

    def _fail(self, talk: "_Talk", error: SpkgError) -> None:
        """Note that a session broke: its events stay."""
        attempts = self._moments.attempts
        if not talk.answered:
            attempts = attempts.inform_failed()
        self._moments.attempts = attempts.session_failed(
            self._outside.boot().seconds,
            self._outside.draw,
            limit=self._settings.retry_limit,
            retry_after=error.retry_after if isinstance(error, ContactError) else None,
        )
        requested = Event(EventCode.CONNECTION_REQUEST)
        if requested in talk.causes and requested not in self._moments.events:
            self._moments.events.append(requested)  # from now on it waits as any other
            self._moments.requested = None
        self._errands.fail(error)
        self._journal.note("failure", f"session: {error}", lasting=True)

    def _trace(self, direction: str, octets: bytes) -> None:
        self._alive()
        if self._journal.traces:
            self._journal.trace(direction, masked_envelope(octets, self._tree.is_secret))


@dataclass
class _Talk:
    """A session that is going on."""

    causes: tuple[Event, ...]
    asks: list[Errand]
    begun: Moment
    periodic: TimeTold | None
    """What is told of the times of periodic Informs once it has ended cleanly."""
    url: str = ""
    told: Any = ()
    answered: bool = False
    """Whether the Inform was answered."""
    tells: dict[str, Transfer] = field(default_factory=dict)
    errands: dict[str, Errand] = field(default_factory=dict)
