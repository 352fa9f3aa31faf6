"""Installing in place, for devices that can't hold both: each command takes effect by itself (E.4.7).

Before a command begins, its index and the state that it leads to are on disk; after a crash the same package
continues there.  Every command can be done once more: what it finds done it does not do again.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from spkg.checkpoint import MADE, PART, Checkpoint, remove_checkpoint, save_checkpoint
from spkg.commands import Format, MoveCommand, PayloadCommand, RemoveCommand
from spkg.device import Device
from spkg.digests import Digest
from spkg.errors import NO_ROOM, FailedError, SpkgError, UnsafeError
from spkg.installation import RECORD, failing, is_last, record_with
from spkg.overlay import DIRECTORY_MODE, Delete, Effect, MakeDirectory, Move, Put
from spkg.package import PayloadFile
from spkg.payload import Payload, Progress, check_file
from spkg.planning import Plan, plan_command
from spkg.root import Parts, Root
from spkg.states import State, state_after
from spkg.transaction import write_whole
from spkg.tree import OWN, Kind, RootTree

__all__ = ["install_in_place"]

FILE_COMMANDS: Final = PayloadCommand | RemoveCommand | MoveCommand | Format


def install_in_place(  # noqa: PLR0917 - what an installation takes, and where it begins
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
        plan: Of the commands from *start* on.
        device: Whose tree it is.
        payload: The package's, in a regular file; all of it has been compared with what was signed.
        root: Where.
        entry: What the record says of this package.
        start: The package, the command to begin with, and the state the root is in.
        committing: Is called before the unrecoverable state: nothing may be raised from outside afterwards.
        progress: Is told the octets done.

    Raises:
        FailedError: A command failed; the root is usable, and partly changed.
        UnsafeError: A command failed in the unrecoverable state; the root needs recovery.
    """
    at = replace(start, failed=False)
    files = {file.command: file for file in plan.trusted.package.files}
    try:
        with failing():
            for command in plan.trusted.package.commands[start.command :]:
                if not isinstance(command.record, FILE_COMMANDS):
                    continue
                state = state_after(at.state, command.record)
                if state is State.UNRECOVERABLE:
                    committing()
                at = replace(at, command=command.index, state=state)
                save_checkpoint(root, at)
                effects = plan_command(plan.trusted, device, RootTree(root), command)
                _carry_out(root, effects, files.get(command.index), payload, progress)
            committing()
            end = len(plan.trusted.package.commands)
            save_checkpoint(root, replace(at, command=end))
            if start.command < end or not is_last(entry, root):  # or it was written before a crash
                _write(root, RECORD, record_with(entry, root))
            remove_checkpoint(root)
    except SpkgError as exc:
        with suppress(OSError):  # what is there says the same, as after a crash
            save_checkpoint(root, replace(at, failed=True))
        kind = UnsafeError if at.unsafe else FailedError
        where = next((one for one in plan.trusted.package.commands if one.index == at.command), None)
        raise kind(
            exc.problem,
            offset=exc.offset if where is None else where.offset,
            field=exc.field if where is None else f"command[{where.index}]",
            section=exc.section,
            hint=exc.hint,
            fault=exc.fault if kind is FailedError and exc.fault == NO_ROOM else None,
        ) from exc


def _carry_out(
    root: Root,
    effects: Iterable[Effect],
    file: PayloadFile | None,
    payload: Payload,
    progress: Progress | None,
) -> None:
    """Do what one command changes, durably, and so that it can be done once more."""
    for effect in effects:
        if isinstance(effect, MakeDirectory):
            _make(root, effect.path)
    for effect in effects:
        if isinstance(effect, Put) and file is not None:
            _stage(root, effect, file, payload, progress)
            root.rename(PART, effect.path)
            _sync(root, [effect.path[:-1], OWN])
    # Of a versioned file the new one is there before the others go; one that moves is the last to go.
    deletes = [effect for effect in effects if isinstance(effect, Delete)]
    for gone in deletes:
        if gone.kind is Kind.DIRECTORY:
            root.remove_tree(gone.path)
        else:
            root.unlink(gone.path)
    _sync(root, [gone.path[:-1] for gone in deletes])
    for effect in effects:
        if isinstance(effect, Move):
            _move(root, effect.source, effect.path)


def _make(root: Root, path: Parts) -> None:
    """Make a directory that has its mode from the first."""
    if root.status(MADE) is not None:
        root.remove_tree(MADE)
    root.mkdir(MADE, DIRECTORY_MODE)
    root.rename(MADE, path)
    _sync(root, [path[:-1], OWN])


def _stage(root: Root, put: Put, file: PayloadFile, payload: Payload, progress: Progress | None) -> None:
    """Write a file, and compare the octets that landed with what was signed."""
    if root.status(PART) is not None:
        root.unlink(PART)
    running = {digest: digest.new() for digest in Digest}
    part = root.create(PART)
    try:
        for octets in payload.read_range(file.range):
            part.write(octets)
            for one in running.values():
                one.update(octets)
            if progress is not None:
                progress(len(octets))
        check_file(file, {digest: one.digest() for digest, one in running.items()})
        part.set_mode(put.mode, put.owner)
        part.sync()
    finally:
        part.close()


def _move(root: Root, source: Parts, path: Parts) -> None:
    """Rename a file; where both names are of one file the system does nothing, and the old one has to go."""
    root.rename(source, path)
    if root.status(source) is not None:
        root.unlink(source)
    # It has to be in its new place before it is gone from the old one.
    _sync(root, [path[:-1], source[:-1]])


def _sync(root: Root, directories: Iterable[Parts]) -> None:
    for directory in dict.fromkeys(directories):
        root.sync_directory(directory)


def _write(root: Root, path: Parts, octets: bytes) -> None:
    """Replace a file of our own."""
    if root.status(PART) is not None:
        root.unlink(PART)
    write_whole(root, PART, octets)
    root.rename(PART, path)
    root.sync_directory(OWN)
