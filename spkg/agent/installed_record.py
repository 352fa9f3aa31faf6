"""What the installer's record says of a transfer: it outlives the agent, its reports, and each power cut."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spkg.agent.records import Transfer
from spkg.agent.transfer_keeper import TransferKeeper
from spkg.agent.transfer_outcome import TransferOutcome, rolled_back_outcome

__all__ = ["InstalledRecord"]


class InstalledRecord:
    """The record of each root, read when it is asked for.

    Every method can raise :class:`KeeperGoneError`, or a :class:`HostError` if the record can't be read.

    Args:
        keeper: Who reads it.
        back_up: How long packages are on trial, in seconds; 0 if they are not.
    """

    def __init__(self, keeper: TransferKeeper, back_up: float) -> None:
        self._keeper = keeper
        self._back_up = back_up

    def last(self, transfer: Transfer) -> list[Any] | None:
        """Return what tells the last package, where this one goes, from a later one."""
        return next(map(_name, self._read(transfer)["installed"]), None)

    def found(self, transfer: Transfer) -> tuple[TransferOutcome, str] | None:
        """Return what became of a transfer whose report is lost, and in which boot; None if nothing did."""
        entry = self._new_entry(transfer)
        if entry is None:
            return None
        # Nobody knows whether a reboot is needed: it is, unless there was a boot since then.
        outcome = TransferOutcome(start=entry["time"], complete=entry["time"], installed=True, reboot=True)
        return _with(outcome, entry), entry["boot_id"]

    def completed(self, transfer: Transfer, outcome: TransferOutcome) -> TransferOutcome:
        """Return an outcome with what the record says of the package."""
        entry = self._new_entry(transfer) if outcome.installed else None
        return outcome if entry is None else _with(outcome, entry)

    def rolled_back(self, transfer: Transfer) -> TransferOutcome | None:
        """Return what a success has become if its package was rolled back since; None if it was not."""
        outcome = TransferOutcome.of(transfer)
        if outcome.package is None:
            return None
        for gone in self._read(transfer)["rolled_back"]:
            if gone["package"] == outcome.package:
                return rolled_back_outcome(outcome, gone, self._back_up)
        return None

    def _new_entry(self, transfer: Transfer) -> Mapping[str, Any] | None:
        """Return the record of the package that a Download has installed; None if it has installed none."""
        record = self._read(transfer)
        before = (transfer.result or {}).get("before")
        for entry in record["installed"][:1]:
            if _name(entry) != before and entry["command_key"] == transfer.command_key:
                trial = record["trial"] or {}
                return {**entry, "on_trial": trial.get("package") == entry["package"]}
        return None

    def _read(self, transfer: Transfer) -> Mapping[str, Any]:
        return self._keeper.record(str(transfer.arguments["FileType"]))


def _name(entry: Mapping[str, Any]) -> list[Any]:
    """Return what tells an entry of the record from all others."""
    return [entry["package"], entry["time"], entry["command_key"], entry["boot_id"]]


def _with(outcome: TransferOutcome, entry: Mapping[str, Any]) -> TransferOutcome:
    return replace(outcome, package=entry["package"], on_trial=entry["on_trial"])
