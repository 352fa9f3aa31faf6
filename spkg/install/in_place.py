"""In-place installation, for devices without room for both versions: one command after another (E.4.7).

Before a command begins, its index and the state that it leads to are written to disk; after a crash, the same
package is resumed there.  Every command can be repeated: it skips what is already done.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from spkg.common.digests import Digest
from spkg.device import Device
from spkg.errors import FailedError, SpkgError, TransferError, UnsafeError
from spkg.format.commands import Format, MoveCommand, PayloadCommand, RemoveCommand
from spkg.format.installation_state import InstallationState
from spkg.format.package import Command, PayloadFile
from spkg.format.ranges import Range
from spkg.format.states import state_after
from spkg.install.checkpoint import (
    ARRIVED,
    MADE,
    PART,
    Checkpoint,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)
from spkg.install.effects import DIRECTORY_MODE, DeleteEntry, Effect, MakeDirectory, MoveEntry, PutFile
from spkg.install.history import RECORD, is_last, record_with
from spkg.install.leftovers import OVER, vacant
from spkg.install.own_directory import failing
from spkg.install.own_files import write_whole
from spkg.install.plan import Plan, plan_command
from spkg.install.root import Root
from spkg.install.root_tree import OWN, EntryKind, RootTree
from spkg.install.staged_file import Landing
from spkg.install.transaction_places import PRIVATE
from spkg.install.tree_path import Parts
from spkg.verify.command_order import Sequencer
from spkg.verify.contents import check_file, judges
from spkg.verify.payload import ArrivingPayload, Payload
from spkg.verify.single_pass import Progress, distribute

__all__ = ["install_in_place"]

FILE_COMMANDS: Final = PayloadCommand | RemoveCommand | MoveCommand | Format


def install_in_place(  # noqa: PLR0917 - what an installation needs, and where it begins
    plan: Plan,
    device: Device | None,
    payload: Payload,
    root: Root,
    entry: Mapping[str, Any],
    start: Checkpoint,
    *,
    committing: Callable[[], object] = lambda: None,
    progress: Progress | None = None,
) -> None:
    """Carry out the commands of a plan one by one, inside :func:`working_in`.

    Args:
        plan: The plan of the commands from *start* on.
        device: The device that the tree belongs to.
        payload: The payload: in a regular file and checked against the signed digests, or still arriving.
        root: The root.
        entry: The entry of this package in the record.
        start: The package, the first command to do, and the state of the root.
        committing: Called before the unrecoverable state: nothing may be raised from outside afterwards.
        progress: Called with the number of bytes done.

    Raises:
        FailedError: A command failed; the root is usable, and partly changed.
        TransferError: The transfer failed or took too long; the root is usable, and may be partly changed.
        UnsafeError: A command failed in the unrecoverable state; the root needs recovery.
    """
    run = _Run(plan, device, payload, root, start, committing, progress)
    try:
        with failing():
            if load_checkpoint(root) is not None:
                # The effect of a command may have been left by a process that was killed before it synced:
                # finding it counts as having done it only once it is durable.
                root.sync_all()
            if isinstance(payload, ArrivingPayload):
                run.as_it_arrives(payload)
            else:
                for command in plan.trusted.package.commands[start.command :]:
                    run.do(command)
            committing()
            end = len(plan.trusted.package.commands)
            run.at = replace(run.at, command=end)  # what fails from here on is no command
            save_checkpoint(root, run.at)
            if start.command < end or not is_last(entry, root):  # it may have been written before a crash
                _write(root, RECORD, record_with(entry, root))
            remove_checkpoint(root)
    except Exception as exc:
        with suppress(OSError):  # the existing checkpoint is still right, as after a crash
            found = None if run.begun else load_checkpoint(root)
            if run.begun or (found is not None and found.package == run.at.package):
                save_checkpoint(root, replace(run.at, failed=True))
        if isinstance(exc, SpkgError):
            raise _told(exc, run.at, plan) from exc
        if run.at.unsafe:  # also after a defect in spkg
            raise UnsafeError(f"a defect in spkg: {type(exc).__name__}: {exc}") from exc
        raise


def _told(exc: SpkgError, at: Checkpoint, plan: Plan) -> SpkgError:
    """Return the error to raise for a root that was changed in place."""
    kind: type[SpkgError] = FailedError
    where = next((one for one in plan.trusted.package.commands if one.index == at.command), None)
    if isinstance(exc, TransferError):
        kind, where = TransferError, None  # no command caused it
    if at.unsafe:
        kind = UnsafeError
    return kind(
        exc.problem,
        offset=exc.offset if where is None else where.offset,
        field=exc.field if where is None else f"command[{where.index}]",
        section=exc.section,
        hint=exc.hint,
        reason=exc.reason,
    )


class _Run:
    """Carries out the commands of a plan, one by one."""

    def __init__(  # noqa: PLR0917 - as the function
        self,
        plan: Plan,
        device: Device | None,
        payload: Payload,
        root: Root,
        start: Checkpoint,
        committing: Callable[[], object],
        progress: Progress | None,
    ) -> None:
        self.at = replace(start, failed=False)
        """How far the installation has come."""
        self.begun = False
        """Whether its checkpoint has been written; until then, the existing one may be another package's."""
        self._trusted = plan.trusted
        self._device = device
        self._payload = payload
        self._root = root
        self._committing = committing
        self._progress = progress
        self._start = start.command
        self._files = {
            file.command: file for file in plan.trusted.package.files if file.command >= start.command
        }
        self._wanted = Counter(file.range for file in self._files.values())
        """How many commands still need a range."""
        self._arrived: Parts = ARRIVED
        """Where the files that have arrived are kept."""

    def as_it_arrives(self, payload: ArrivingPayload) -> None:
        """Do each command as soon as its data has arrived and was checked."""

        def process(command: Command) -> None:
            payload.process(command)
            self.do(command)

        package, root = self._trusted.package, self._root
        payload.expect()
        found = load_checkpoint(root)
        if found is not None and found.package == self.at.package:  # else the clocks start with this download
            payload.resume(package.commands[: self._start], self.at.state)
        sequence = Sequencer(package, process, self._start)
        self._arrived = vacant(root, ARRIVED)
        landings = {wanted: Landing(root, self._place(wanted), wanted, Digest) for wanted in self._wanted}
        root.mkdir(self._arrived, PRIVATE)
        try:
            sequence.advance()
            consumers = list(judges(self._files.values(), landings, sequence.arrived))
            distribute(payload, consumers, self._progress, to_end=False)  # all commands are done by then
        finally:
            for landing in landings.values():
                landing.close()
            with suppress(OSError):
                root.sweep(self._arrived)  # or the next installation does
        payload.conclude()

    def do(self, command: Command) -> None:
        """Carry out a command durably, in a way that can be repeated."""
        if not isinstance(command.record, FILE_COMMANDS):
            return
        state = state_after(self.at.state, command.record)
        if state is InstallationState.UNRECOVERABLE:
            self._committing()
        self.at = replace(self.at, command=command.index, state=state)
        self.begun = True
        save_checkpoint(self._root, self.at)
        effects = plan_command(self._trusted, self._device, RootTree(self._root), command)
        self._carry_out(effects, self._files.get(command.index))

    def _carry_out(self, effects: Iterable[Effect], file: PayloadFile | None) -> None:
        root = self._root
        for effect in effects:
            if isinstance(effect, MakeDirectory):
                _make(root, effect)
        for effect in effects:
            if isinstance(effect, PutFile) and file is not None:
                part = self._stage(effect, file)
                root.rename(part, effect.path)
                _sync(root, [effect.path[:-1], OWN])
        # A new version is placed before the old ones are removed; a version that moves is removed last.
        deletes = [effect for effect in effects if isinstance(effect, DeleteEntry)]
        for gone in deletes:
            if gone.kind is EntryKind.DIRECTORY:
                _remove_tree(root, gone.path)
            else:
                root.unlink(gone.path)
        _sync(root, [gone.path[:-1] for gone in deletes])
        for effect in effects:
            if isinstance(effect, MoveEntry):
                _move(root, effect.source, effect.path)

    def _stage(self, put: PutFile, file: PayloadFile) -> Parts:
        """Write the file of a command, checked against its signed digest, and return where it is."""
        root = self._root
        part = vacant(root, PART)
        if not isinstance(self._payload, ArrivingPayload):
            _write_part(root, part, put, self._compared(file))
            return part
        there = self._place(file.range)
        self._wanted[file.range] -= 1
        kept = root.reopen(there)
        try:
            if self._wanted[file.range]:
                _write_part(root, part, put, kept.read())
                return part
            kept.set_mode(put.mode, put.owner, put.heritage)
            kept.sync()
        finally:
            kept.close()
        root.rename(there, part)
        return part

    def _place(self, wanted: Range) -> Parts:
        """Return the path at which a range is kept."""
        return (*self._arrived, b"%d.%d" % wanted)

    def _compared(self, file: PayloadFile) -> Iterator[memoryview]:
        """Give the bytes of a file, and raise at the end if they do not match the signed digest."""
        running = {digest: digest.new() for digest in Digest}
        for octets in self._payload.read_range(file.range):
            yield octets
            for one in running.values():
                one.update(octets)
            if self._progress is not None:
                self._progress(len(octets))
        check_file(file, {digest: one.digest() for digest, one in running.items()})


def _write_part(root: Root, path: Parts, put: PutFile, pieces: Iterable[memoryview]) -> None:
    """Write the file of a command durably."""
    part = root.create(path)
    try:
        for octets in pieces:
            part.write(octets)
        part.set_mode(put.mode, put.owner, put.heritage)
        part.sync()
    finally:
        part.close()


def _remove_tree(root: Root, path: Parts) -> None:
    """Remove a tree; what can't be removed of it is at least moved out of the way."""
    try:
        root.remove_tree(path)
    except OSError as exc:
        over = vacant(root, OVER)
        try:
            root.rename(path, over)
        except OSError:
            raise exc from None
        root.sync_directory(OWN)
        root.sweep(over)


def _make(root: Root, directory: MakeDirectory) -> None:
    """Make a directory that has its final mode from the start, also after a power cut."""
    made = vacant(root, MADE)
    root.mkdir(made, DIRECTORY_MODE, directory.heritage)
    root.sync_directory(made)
    root.rename(made, directory.path)
    _sync(root, [directory.path[:-1], OWN])


def _move(root: Root, source: Parts, path: Parts) -> None:
    """Rename a file; if both names are of the same file, the system does nothing: remove the old name."""
    root.rename(source, path)
    if root.status(source) is not None:
        root.unlink(source)
    # The new name must be durable before the old one is gone.
    _sync(root, [path[:-1], source[:-1]])


def _sync(root: Root, directories: Iterable[Parts]) -> None:
    for directory in dict.fromkeys(directories):
        root.sync_directory(directory)


def _write(root: Root, path: Parts, octets: bytes) -> None:
    """Replace one of the installer's own files."""
    part = vacant(root, PART)
    write_whole(root, part, octets)
    root.rename(part, path)
    root.sync_directory(OWN)
