"""The transfers that the ACS has asked for: in order, one at a time, each told until the ACS has answered.

A transfer is on disk before its request is answered, and leaves it once its TransferComplete is answered and
its package confirmed.  What a power cut interrupts in between is found again in the installer's record.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from spkg.agent.installed_record import InstalledRecord
from spkg.agent.keeper_client import KeeperGoneError
from spkg.agent.keeper_settings import TYPE_ROLES
from spkg.agent.records import Transfer
from spkg.agent.settings import TransferSettings
from spkg.agent.state import AgentState
from spkg.agent.transfer_keeper import TransferKeeper
from spkg.agent.transfer_outcome import (
    TransferOutcome,
    failed_outcome,
    read_outcome,
    voucher_fault,
)
from spkg.agent.transfer_rules import VoucherDownloads, check_download, check_upload
from spkg.cwmp.events import Event, EventCode, method_event
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.methods import MAX_QUEUED
from spkg.cwmp.schedule import DueTime, Moment
from spkg.cwmp.values import QueuedTransfer
from spkg.errors import HostError

__all__ = ["TransferQueue"]

MAX_ATTEMPTS: Final = 8
"""How often a transfer is begun that something interrupts."""
WAITING, RUNNING, COMPLETE = 1, 2, 3
"""The states of a transfer (Table 41)."""
STOPPED_FROM: Final = 128
"""The exit statuses of the installer from this one on say that a signal stopped it, with nothing changed."""
QUEUED_ANSWER: Final[Mapping[str, Any]] = {"Status": 1, "StartTime": None, "CompleteTime": None}
"""What a request is answered: it has not been carried out yet (Tables 28 and 50)."""
SAME_FILE: Final = ("URL", "FileType", "FileSize", "Username", "Password")
"""The arguments by which two Downloads want the same file."""


class TransferQueue:
    """The transfers of a device; used from one thread.

    Every method can raise :class:`KeeperGoneError`; the next start goes on from what is on disk.

    Args:
        state: Where they are kept.
        keeper: Who carries them out.
        settings: What is allowed.
        boot_id: The id of this boot.
        clock: Returns the present moment.
        token: Returns a text that was never returned before.
        back_up: How long packages are on trial, in seconds; 0 if they are not.
        vouchers: Takes vouchers that come by Download; None without.
        note: Called with what people should know.
    """

    def __init__(
        self,
        state: AgentState,
        keeper: TransferKeeper,
        settings: TransferSettings,
        *,
        boot_id: str,
        clock: Callable[[], Moment],
        token: Callable[[], str],
        back_up: float = 0,
        vouchers: VoucherDownloads | None = None,
        note: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self._vouchers = vouchers
        self._state = state
        self._keeper = keeper
        self._settings = settings
        self._boot_id = boot_id
        self._clock = clock
        self._token = token
        self._record = InstalledRecord(keeper, back_up)
        self._note = note
        self._stopping = False
        """Whether nothing may begin, because the device is to reboot or the agent to end."""

    def download(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Queue a Download, durably, and return its answer.

        Raises:
            MethodFaultError: It is refused.
        """
        check_download(arguments, self._settings, self._vouchers)
        return self._queue("Download", arguments)

    def upload(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Queue an Upload, durably, and return its answer.

        Raises:
            MethodFaultError: It is refused.
        """
        check_upload(arguments, self._settings)
        return self._queue("Upload", arguments)

    def queued(self) -> tuple[QueuedTransfer, ...]:
        """Return what GetQueuedTransfers lists."""
        found = (QueuedTransfer(one.command_key, one.state) for one in self._state.transfers())
        return (*found,)[:MAX_QUEUED]

    def to_tell(self) -> tuple[Transfer, ...]:
        """Return the transfers whose TransferComplete can be called now: not before a reboot they need."""
        return tuple(one for one in self._complete() if not self._needs_reboot(one))

    def events(self) -> tuple[Event, ...]:
        """Return the events of an Inform for what is to be told (Table 35)."""
        done = self.to_tell()
        methods = (method_event(one.direction, one.command_key) for one in done)
        return (Event(EventCode.TRANSFER_COMPLETE), *methods) if done else ()

    @property
    def is_running(self) -> bool:
        """Whether a transfer is in progress."""
        return self._running() is not None

    @property
    def reboot_due(self) -> bool:
        """Whether a package was installed that needs a reboot (E.4.8, A.3.2.9)."""
        return any(map(self._needs_reboot, self._complete()))

    def due_times(self) -> tuple[DueTime, ...]:
        """Return when each transfer is due that can begin by itself."""
        if self._stopping or self.reboot_due or self.is_running:
            return ()
        return tuple(_due(one) for one in self._state.transfers() if self._may_begin(one))

    def at_start(self) -> None:
        """Find out what became of the transfers that the agent did not see the end of."""
        for transfer in self._state.transfers():
            if transfer.state == RUNNING:
                self._see_end(transfer)
        for transfer in self._complete():
            outcome = self._record.rolled_back(transfer)
            if outcome is not None:
                self._keep(replace(transfer, result=outcome.to_document()))
                self._note(f"{transfer.direction} {transfer.command_key!r}: {outcome.text}")

    def work(self) -> bool:
        """See whether the running transfer has ended, or begin the next one; return whether it was so."""
        running = self._running()
        if running is not None:
            return self._see_end(running)
        if self._stopping or self.reboot_due:
            return False
        now = self._clock()
        due = [(self._wait(one, now), one.id, one) for one in self._state.transfers() if self._may_begin(one)]
        waited, _, transfer = min(due, default=(1.0, 0, None))
        # Another one may run: that of an agent whose state was lost.
        if transfer is None or waited > 0 or self._keeper.transfer_result().is_running:
            return False
        self._begin(transfer)
        return True

    def stop(self) -> None:
        """Begin nothing any more, and ask the running transfer to end; it goes on after the next start."""
        if self.is_running and not self._stopping:
            self._keeper.stop_transfer()
        self._stopping = True

    def resume(self) -> None:
        """Let transfers begin again: the reboot did not come."""
        self._stopping = False

    def told(self, transfer: Transfer) -> None:
        """Confirm and then forget a transfer, because its TransferComplete was answered.

        Raises:
            HostError: The package can't be confirmed: it stays on trial, and is told again.
        """
        # Also for a package that was installed already: it may be on trial since.
        if self._is_package(transfer) and not TransferOutcome.of(transfer).code:
            self._keeper.confirm(str(transfer.arguments["FileType"]))
        with self._state.change() as change:
            change.drop_transfer(transfer.id)

    def _queue(
        self, direction: Literal["Download", "Upload"], arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        waiting = len(self._state.transfers())
        most = min(self._settings.max_waiting, MAX_QUEUED)
        if waiting >= most:
            problem = f"{waiting} transfers wait, and at most {most} can"
            # Download and Upload have no 9004; it may succeed later, which 9003 would deny.
            raise MethodFaultError(FaultCode.INTERNAL_ERROR, problem)
        due = DueTime.after(arguments["DelaySeconds"], self._clock(), self._boot_id)
        with self._state.change() as change:
            change.put_transfer(
                Transfer(
                    direction=direction,
                    arguments=dict(arguments),
                    due_wall=due.wall,
                    due_boot=due.boot,
                    boot_id=due.boot_id,
                )
            )
        return QUEUED_ANSWER

    def _wait(self, transfer: Transfer, now: Moment) -> float:
        """Return in how many seconds a transfer is due."""
        return _due(transfer).remaining(now, self._boot_id)

    def _may_begin(self, transfer: Transfer) -> bool:
        """Whether a transfer waits, and does not have to wait for another one to be confirmed."""
        on_trial = any(TransferOutcome.of(one).on_trial for one in self._complete())
        return transfer.state == WAITING and not (on_trial and self._is_package(transfer))

    def _is_voucher(self, transfer: Transfer) -> bool:
        """Whether a transfer brings a voucher, which this device takes."""
        kind = transfer.arguments["FileType"]
        voucher = self._vouchers is not None and kind == self._vouchers.file_type
        return voucher and transfer.direction == "Download"

    def _is_package(self, transfer: Transfer) -> bool:
        """Whether a transfer brings a package."""
        return transfer.direction == "Download" and not self._is_voucher(transfer)

    def _running(self) -> Transfer | None:
        return next((one for one in self._state.transfers() if one.state == RUNNING), None)

    def _complete(self) -> tuple[Transfer, ...]:
        return tuple(one for one in self._state.transfers() if one.state == COMPLETE)

    def _needs_reboot(self, transfer: Transfer) -> bool:
        return TransferOutcome.of(transfer).reboot and transfer.boot_when_done == self._boot_id

    def _begin(self, transfer: Transfer) -> None:
        """Start a transfer; that it is begun is on disk before."""
        arguments, direction = transfer.arguments, transfer.direction
        words = {name.lower(): str(arguments[name]) for name in ("URL", "Username", "Password")}
        file_type = str(arguments["FileType"])
        try:
            before = self._record.last(transfer) if self._is_package(transfer) else None
            token, attempts = self._token(), 1 + _attempts(transfer)
            begun = {"token": token, "attempts": attempts, "before": before}
            self._keep(replace(transfer, state=RUNNING, result=begun))
            if self._is_voucher(transfer):
                self._keeper.start_fetch(**words, token=token)
            elif direction == "Download":
                self._keeper.start_apply(
                    **words,
                    token=token,
                    size=int(arguments["FileSize"]),
                    command_key=transfer.command_key,
                    file_type=file_type,
                )
            else:
                self._keeper.start_upload(**words, token=token, file_type=file_type)
        except KeeperGoneError:
            raise
        except HostError as exc:
            self._finish(transfer, failed_outcome(FaultCode.INTERNAL_ERROR, str(exc)))

    def _see_end(self, transfer: Transfer) -> bool:
        """See how a transfer ended, if it has; return whether that is so."""
        begun = transfer.result or {}
        news = self._keeper.transfer_result()
        report = news.result if news.token == begun.get("token") else None
        if report is None:
            if news.is_running and news.token == begun.get("token"):
                return False
            found = self._record.found(transfer) if self._is_package(transfer) else None
            if found is None:
                self._wait_again(transfer, "its process was killed")
            else:
                self._finish(transfer, found[0], boot=found[1])
        elif isinstance(report.get("exit"), int) and report["exit"] >= STOPPED_FROM:
            self._wait_again(transfer, "it was stopped")
        else:
            outcome = read_outcome(report, transfer.direction, resumed=_attempts(transfer) > 1)
            if self._is_voucher(transfer):
                outcome = self._take_voucher(outcome)
            elif self._is_package(transfer):
                self._look_at_roles(transfer, report)
                outcome = self._record.completed(transfer, outcome)
            self._finish(transfer, outcome)
        return True

    def _take_voucher(self, outcome: TransferOutcome) -> TransferOutcome:
        """Have the voucher that has arrived take effect; what it is told twice changes nothing more."""
        if outcome.code:
            return outcome
        assert self._vouchers is not None  # or this would be no voucher
        if self._vouchers.take is None:  # the configuration is another one since
            return failed_outcome(FaultCode.REQUEST_DENIED, "this device takes no vouchers")
        found = self._vouchers.take(self._keeper.fetched())
        return replace(
            outcome, installed=False, reboot=False, **({} if found is None else voucher_fault(*found))
        )

    def _look_at_roles(self, transfer: Transfer, report: Mapping[str, Any]) -> None:
        """Say that a package was something else than what the ACS has called it (Table 27, E.4.12)."""
        file_type = str(transfer.arguments["FileType"])
        expected = TYPE_ROLES.get(file_type[:1], ())
        roles = [one for one in report.get("roles") or () if isinstance(one, str)]
        if roles and not {*roles} & {*expected}:
            self._note(
                f"Download {transfer.command_key!r}: expected {' or '.join(expected)} for {file_type!r}, "
                f"got {', '.join(roles)}"
            )

    def _wait_again(self, transfer: Transfer, why: str) -> None:
        """Let an interrupted transfer begin again, unless that has happened often enough."""
        attempts = _attempts(transfer)
        if self._stopping:
            attempts -= 1  # we have stopped it ourselves
        if attempts >= MAX_ATTEMPTS:
            download = transfer.direction == "Download"
            code = FaultCode.DOWNLOAD_FAILURE if download else FaultCode.UPLOAD_FAILURE
            self._finish(transfer, failed_outcome(code, f"interrupted {attempts} times; the last time {why}"))
            return
        self._note(f"{transfer.direction} {transfer.command_key!r} was interrupted and begins again: {why}")
        self._keep(replace(transfer, state=WAITING, result={"attempts": attempts}))

    def _finish(self, transfer: Transfer, outcome: TransferOutcome, *, boot: str | None = None) -> None:
        """Keep how a transfer ended, and with it all others that want the same file."""
        how = f"failed: {outcome.code} {outcome.text}" if outcome.code else "is complete"
        self._note(f"{transfer.direction} {transfer.command_key!r} {how}")
        now, result = self._clock(), outcome.to_document()
        with self._state.change() as change:
            for one in self._state.transfers():
                same = one.state == WAITING and self._wait(one, now) <= 0 and _wants_same(one, transfer)
                if one.id == transfer.id or same:
                    done = replace(one, state=COMPLETE, result=result, boot_when_done=boot or self._boot_id)
                    change.put_transfer(done)

    def _keep(self, transfer: Transfer) -> None:
        with self._state.change() as change:
            change.put_transfer(transfer)


def _due(transfer: Transfer) -> DueTime:
    return DueTime(transfer.due_wall, transfer.due_boot or 0, transfer.boot_id)


def _attempts(transfer: Transfer) -> int:
    return int((transfer.result or {}).get("attempts", 0))


def _wants_same(one: Transfer, other: Transfer) -> bool:
    """Whether two transfers are Downloads of one file."""
    return {one.direction, other.direction} == {"Download"} and all(
        one.arguments[name] == other.arguments[name] for name in SAME_FILE
    )
