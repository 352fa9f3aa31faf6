"""From a trusted package to a plan: what an installation would change, or why it is refused.

Planning is pure: it reads the tree and changes nothing.  The commands run on an overlay in the order of the
list, so a later command sees what an earlier one did.  Everything that can be refused is refused here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, final

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.common.sealed import Sealed
from spkg.device import Device
from spkg.errors import NO_ROOM, RefusedError
from spkg.format.commands import (
    Add,
    AddVersioned,
    ExtractVersioned,
    Format,
    Move,
    MoveVersioned,
    PayloadCommand,
    Reboot,
    Record,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
    UnknownCommand,
)
from spkg.format.modes import PERMISSIONS, widened
from spkg.format.package import Command, Package
from spkg.format.paths import EXTENSION_LENGTH, RootPath, VersionedPath
from spkg.install.effects import Effect, HandleFile, PutFile
from spkg.install.fixed_entries import check_fixed, touched_by
from spkg.install.heritage import ACCESS_LIST, NO_HERITAGE, Heritage, group_of_list, is_portable
from spkg.install.planned_tree import Blob, Directory, Leaf, Node, Overlay
from spkg.install.requirements import check_requirements
from spkg.install.room import RoomLeft, check_room
from spkg.install.root_tree import AnyTree, EntryKind
from spkg.install.tree_path import Parts, shown
from spkg.verify.signatures import TrustedPackage

__all__ = ["Plan", "plan_command", "plan_installation"]

_SEAL: Final = object()
SYSTEM_LABELS: Final = frozenset({"security.selinux", "security.ima", "security.evm"})
"""Extended attributes that the system gives to new files by itself: nobody misses those of the old ones."""
EXTRACT_IT: Final = "a package extracts a file for a handler to the path at which the handler takes it"


@final
@dataclass(frozen=True, kw_only=True)
class Plan(Sealed, of=_SEAL, maker="spkg.plan_installation()"):
    """The changes of a trusted package in a tree.  Only :func:`plan_installation` makes one."""

    trusted: TrustedPackage
    effects: tuple[Effect, ...]
    """One for each path, in the order of the paths."""
    skipped_unknown: tuple[Command, ...]
    """The commands of unknown type."""
    warnings: tuple[Finding, ...]
    """What was ignored, or may not be what was meant."""
    reboot_required: bool
    handled: tuple[HandleFile, ...] = ()
    """The files that programs of the device get, in the order of their commands."""

    @property
    def puts(self) -> tuple[PutFile, ...]:
        """The files that are put."""
        return tuple(effect for effect in self.effects if isinstance(effect, PutFile))


def plan_installation(
    trusted: TrustedPackage,
    device: Device | None,
    tree: AnyTree,
    *,
    refuse_unknown: bool = False,
    in_place: bool = False,
    keeping: bool = False,
    start: int = 0,
) -> Plan:
    """Return what installing *trusted* changes.

    Args:
        trusted: The package.
        device: The device that the tree belongs to; None if it is unknown.
        tree: The existing tree.
        refuse_unknown: Whether commands of unknown type are refused.
        in_place: Whether commands take effect one by one, so that each needs room only for its own file.
        keeping: Whether everything is kept that going back needs.
        start: The index of the first command to do: those before it have already taken effect.

    Raises:
        RefusedError: A requirement is not met, a command can't be done in this tree, or there is no room.
        OSError: The tree can't be read.
    """
    trusted.package.refuse_unchecked()
    room = tree.room()
    # (1) E.4.10 to E.4.13: requirements for the device, wherever they are in the list.
    ignored = check_requirements(trusted.package, device, room, refuse_unknown=refuse_unknown)
    # (2) The commands in their order.
    sizes = [file.record.file_length for file in trusted.package.files]
    left = RoomLeft(tree, room, sizes) if in_place else None
    run = _Run(trusted.package, device, tree, left)
    for command in trusted.package.commands[start:]:
        run.do(command)
    effects = run.overlay.effects()
    made = Plan(
        trusted=trusted,
        effects=effects,
        skipped_unknown=tuple(
            command for command in trusted.package.commands if isinstance(command.record, UnknownCommand)
        ),
        warnings=(*ignored, *run.warnings, *_lost(effects, tree)),
        reboot_required=any(isinstance(record, Reboot) for record in trusted.package.records),
        handled=tuple(run.handled.values()),
        seal=_SEAL,
    )
    # (3) What has to go can be moved away: in place also what is only there in between.
    check_fixed(run.overlay.changed.items() if in_place else touched_by(effects), tree)
    # (4) Room for all new files in addition to the existing ones; in place, the commands have taken it.
    _check_amount(made, device, sizes, in_place=in_place)
    if left is not None:
        left.record(made.effects)
    else:
        staged = [sizes[one.file] for one in made.handled]
        check_room(made.effects, sizes, tree, room, staged, keeping=keeping)
    return made


def plan_command(
    trusted: TrustedPackage, device: Device | None, tree: AnyTree, command: Command
) -> tuple[Effect, ...]:
    """Return what a single command of *trusted* changes.

    Raises:
        RefusedError: It can't be done in this tree.
        OSError: The tree can't be read.
    """
    run = _Run(trusted.package, device, tree, None)
    run.do(command)
    return run.overlay.effects()


class _Run:
    """The commands of one package, carried out on an overlay.

    Args:
        package: The package of the commands.
        device: The device that the tree belongs to.
        tree: The existing tree.
        left: What is free, if each command has to fit into what those before it left; else None.
    """

    def __init__(self, package: Package, device: Device | None, tree: AnyTree, left: RoomLeft | None) -> None:
        self._left = left
        self._device = Device() if device is None else device
        self._files = {file.command: number for number, file in enumerate(package.files)}
        self._package = package
        self._tree = tree
        self.overlay = Overlay(tree, self._device.links)
        self.warnings: list[Finding] = []
        self.handled: dict[Parts, HandleFile] = {}

    def do(self, command: Command) -> None:
        """Carry out a command; one that does not change files does nothing.

        Raises:
            RefusedError: It can't be done.
        """
        try:
            self._do(command.index, command.record)
        except RefusedError as exc:
            exc.offset, exc.field = command.offset, f"command[{command.index}]"
            exc.section = exc.section or command.record.SECTION
            raise

    def _do(self, index: int, record: Record) -> None:
        match record:
            case PayloadCommand():
                self._install(index, record)
            case RemoveSubTree(path=path) if not path.parts:
                self._clear()
            case RemoveSubTree(path=path):
                self._remove(path, tree=True)
            case RemoveVersioned(path=path):
                self._remove_versions(path)
            case Remove(path=path):
                self._remove(path, tree=False)
            case Move() | MoveVersioned():
                self._move(record)
            case Format():
                self._clear()
            case _:
                pass

    def _install(self, index: int, record: PayloadCommand) -> None:
        if self._device.handler_for(shown(record.path.parts)) is not None:
            self._hand_over(index, record)
            return
        directory, position = self._place(record.path)
        old: Node | None = self._file(directory, position, record.path)
        versions: list[bytes] = []
        if isinstance(record.path, VersionedPath):
            versions = self.overlay.versions(directory, position[:-1], record.path.base)
        if isinstance(record, Add | AddVersioned) and (old is not None or versions):
            return
        _check_replaceable(old, record.path)
        # The mode may come from the replaced file: the same path, or the version that would move.
        if old is None and versions:
            old = self.overlay.child(directory, position[:-1], _lowest(versions))
        self._set(directory, position, self._blob(self._files[index], directory, position, old))
        # Old versions go afterwards: in place, there is room for one more, as there was for the first.
        for version in versions:
            if isinstance(record, ExtractVersioned) and version != position[-1]:
                self._set(directory, (*position[:-1], version), None)

    def _hand_over(self, index: int, record: PayloadCommand) -> None:
        """Give a file to its handler, whatever is in the tree; an add does not if the package already has."""
        if self._left is not None:
            raise RefusedError(
                f"{shown(record.path.parts)} is for a handler, which gets files only all or nothing",
                hint="leave out --in-place, or take the handler out of the device file",
            )
        others = self._versions_handled(record.path)
        if isinstance(record, Add | AddVersioned) and others:
            return
        for other in others:
            if other == record.path.parts or isinstance(record, ExtractVersioned):
                del self.handled[other]
        self.handled[record.path.parts] = HandleFile(path=record.path.parts, file=self._files[index])

    def _versions_handled(self, path: RootPath) -> list[Parts]:
        """Return the paths for handlers so far that are *path*, or another version of it."""
        base = path.base if isinstance(path, VersionedPath) else None
        return [
            one
            for one in self.handled
            if one == path.parts
            or (base is not None and one[:-1] == path.parts[:-1] and _base(one[-1]) == base)
        ]

    def _remove(self, path: RootPath, *, tree: bool) -> None:
        for one in [one for one in self.handled if one[: len(path.parts)] == path.parts]:
            if tree or one == path.parts:
                del self.handled[one]
        found = self.overlay.find(path.parts, make=False)
        if found is None:
            return
        directory, position = found
        node = self.overlay.child(directory, position[:-1], position[-1])
        if isinstance(node, Directory) and not tree:
            raise RefusedError(f"{shown(path.parts)} is a directory, this command removes only files")
        if node is not None:
            self._set(directory, position, None)

    def _remove_versions(self, path: VersionedPath) -> None:
        for one in self._versions_handled(path):
            del self.handled[one]
        found = self.overlay.find(path.parts, make=False)
        if found is None:
            return
        directory, position = found
        for name in self.overlay.versions(directory, position[:-1], path.base):
            self._set(directory, (*position[:-1], name), None)

    def _move(self, record: Move | MoveVersioned) -> None:
        if given := self._versions_handled(record.source_path):
            raise RefusedError(f"{shown(given[0])} is for a handler, and can't be moved", hint=EXTRACT_IT)
        found = self.overlay.find(record.source_path.parts, make=False)
        if found is None:
            return
        directory, position = found
        name, others = position[-1], list[bytes]()
        if isinstance(record, MoveVersioned):
            others = self.overlay.versions(directory, position[:-1], record.source_path.base)
            if not others:
                return
            name = _lowest(others)
            others.remove(name)
        source = (*position[:-1], name)
        node = self._file(directory, source, record.source_path)
        if node is None:
            return
        # The other versions go before the move: the destination may be one of them.
        for other in others:
            self._set(directory, (*position[:-1], other), None)
        target, destination = self._place(record.destination_path)
        self._file(target, destination, record.destination_path)
        path = shown(record.destination_path.parts)
        if isinstance(node, Blob) and self._device.handler_for(path) is not None:
            raise RefusedError(
                f"{path} is for a handler, and no file of the package can be moved there", hint=EXTRACT_IT
            )
        if destination != source:
            _check_replaceable(
                self.overlay.child(target, destination[:-1], destination[-1]), record.destination_path
            )
            if self._left is not None:
                self._left.change(source)
                self._left.move(node, source, destination)
            self.overlay.set(directory, position[:-1], name, None)
            self._set(target, destination, None)
            self.overlay.set(target, destination[:-1], destination[-1], node)

    def _set(self, directory: Directory, position: Parts, node: Blob | None) -> None:
        """Put a file of the payload at a path, or nothing, and keep track of the free space."""
        before = self.overlay.child(directory, position[:-1], position[-1])
        if self._left is not None:
            self._left.change(position)
            if node is not None:
                self._left.put(node.file, position, replacing=before is not None)
        self.overlay.set(directory, position[:-1], position[-1], node)
        if self._left is not None and before is not None:
            self._left.remove(self.overlay.within(before, position), position[:-1])

    def _clear(self) -> None:
        if self._left is not None:
            self._left.remove(self.overlay.everything(), ())
        self.overlay.clear()
        self.handled.clear()

    def _place(self, path: RootPath) -> tuple[Directory, Parts]:
        """Return the directory for a file, made if it is missing."""
        made = self.overlay.made
        found = self.overlay.find(path.parts, make=True)
        assert found is not None  # missing directories were made
        if self._left is not None:
            self._left.make(found[1][:-1], self.overlay.made - made)
        return found

    def _file(self, directory: Directory, position: Parts, path: RootPath) -> Leaf | Blob | None:
        """Return the entry at a path that a file command names."""
        node = self.overlay.child(directory, position[:-1], position[-1])
        if isinstance(node, Directory):
            raise RefusedError(f"{shown(path.parts)} is a directory, expected a file")
        return node

    def _blob(self, number: int, directory: Directory, position: Parts, old: Node | None) -> Blob:
        """Decide mode and owner (decision 21)."""
        stated = self._package.files[number].mode
        mode = self._device.mode_for(shown(position))
        replaced: int | None = None
        owner: tuple[int, int] | None = None
        kept: bytes | None = None
        match old:
            case Leaf(entry=entry, origin=origin) if entry.kind is EntryKind.FILE:
                replaced, owner = entry.mode, entry.owner
                kept = self._tree.access_list(origin)
                if kept is not None and (stated or mode is not None or not is_portable(kept)):
                    # With a list, the bits of the group are its mask: alone, they would give more.
                    replaced &= ~0o070 | group_of_list(kept) << 3
                    kept = None
            case Blob(mode=replaced, owner=owner, heritage=Heritage(own_list=kept)):
                kept = None if stated or mode is not None else kept
            case _:
                pass
        if not stated and mode is None and replaced is not None and replaced & ~PERMISSIONS:
            problem = f"bits of mode {replaced:04o} above 0777 were dropped"
            self.warnings.append(Finding(code="mode-bits-dropped", message=problem, path=shown(position)))
        own = mode
        if own is None and isinstance(old, Leaf):
            own = replaced
        if stated and own is not None and widened(stated, own):
            problem = f"mode {stated:04o} of the package is wider than the device's {own & PERMISSIONS:04o}"
            self.warnings.append(Finding(code="mode-widened", message=problem, path=shown(position)))
        heritage = NO_HERITAGE if kept is None else Heritage(own_list=kept)
        if owner is None:
            heritage = self.overlay.heritage(directory)
            if stated or mode is not None:
                heritage = replace(heritage, default_list=None)  # a mode that is stated is the whole mode
        if not stated:
            stated = next(one for one in (mode, replaced, self._device.file_mode) if one is not None)
        return Blob(file=number, mode=stated & PERMISSIONS, owner=owner, heritage=heritage)


def _check_replaceable(old: Node | None, path: RootPath) -> None:
    """Refuse to put a file in the place of a device, FIFO or socket: what uses it would lose it."""
    if isinstance(old, Leaf) and old.entry.kind is EntryKind.OTHER:
        raise RefusedError(
            f"{shown(path.parts)} is a {old.entry.kind.value} (device, FIFO or socket), expected a file",
            hint="a package that means it removes the special file first",
        )


def _base(name: bytes) -> str | None:
    """Return the base of a versioned name, or None if the name is not versioned."""
    base, dot, extension = name.decode().rpartition(".")
    return base if dot and len(extension) == EXTENSION_LENGTH else None


def _lowest(names: list[bytes]) -> bytes:
    """Return the version that moves: that of the lowest decimal extension, or else the first by its bytes."""

    def number(name: bytes) -> int | None:
        extension = name.decode().rpartition(".")[2]
        return int(extension) if extension.isascii() and extension.isdecimal() else None

    decimal = [(value, name) for name in names if (value := number(name)) is not None]
    return min(decimal)[1] if decimal else min(names)


def _lost(effects: Iterable[Effect], tree: AnyTree) -> Iterator[Finding]:
    """Give a warning for each set of extended attributes that files lose when they are replaced."""
    losing: dict[tuple[str, ...], list[Parts]] = {}
    for effect in effects:
        if isinstance(effect, PutFile) and effect.replaces is EntryKind.FILE:
            kept = SYSTEM_LABELS if effect.heritage.own_list is None else SYSTEM_LABELS | {ACCESS_LIST}
            names = tuple(name for name in tree.attribute_names(effect.path) if name not in kept)
            if names:
                losing.setdefault(names, []).append(effect.path)
    for names, paths in losing.items():
        more = "" if len(paths) == 1 else f", and {len(paths) - 1} more lose the same"
        message = f"the new file will not have the replaced one's {', '.join(names)}{more}"
        yield Finding(code="attributes-lost", message=message, path=shown(paths[0]))


def _check_amount(made: Plan, device: Device | None, sizes: Sequence[int], *, in_place: bool) -> None:
    """Refuse more than the device takes of one package."""
    most = None if device is None else device.max_extracted
    files = [*(put.file for put in made.puts), *(one.file for one in made.handled)]
    written = sum(sizes) if in_place else sum(sizes[file] for file in files)
    if most is not None and written > most:
        raise RefusedError(f"the files have {written} bytes, the device accepts {most}", reason=NO_ROOM)
