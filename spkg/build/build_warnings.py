"""What a release engineer should look at before a package is released: nothing here stops a build."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final
from unicodedata import normalize

from spkg.build.build_plan import BuildPlan, PlannedFile, device_path
from spkg.build.manifest import SourceModes
from spkg.common.findings import Finding, WarningCode
from spkg.common.printable import amount
from spkg.format.commands import (
    ROLES,
    Format,
    MaximumVersion,
    MoveCommand,
    PayloadCommand,
    Record,
    RemoveCommand,
    RemoveSubTree,
    Role,
)
from spkg.format.fields import UNSAFE
from spkg.format.modes import PERMISSIONS
from spkg.format.paths import RootPath, VersionedPath
from spkg.verify.payload import CHUNK

__all__ = ["build_warnings", "leaves_initial_state"]

FILES_NAMED: Final = 5
"""How many names a warning about several files has."""
NEW_DIRECTORY_MODE: Final = 0o755
"""The mode that a device gives to directories that it makes (decision 20)."""
SPECIAL_BITS: Final = {stat.S_ISUID: "set-user-ID", stat.S_ISGID: "set-group-ID", stat.S_ISVTX: "sticky"}
CAPABILITY: Final = "security.capability"
LABELS: Final = frozenset({"security.selinux", "security.SMACK64", "security.apparmor"})
"""What the policy of the machine that builds sets on every file: it says nothing about the tree."""


def build_warnings(plan: BuildPlan) -> Iterator[Finding]:
    """Yield what may be wrong with the package of *plan*."""
    yield from _of_manifest(plan)
    yield from _of_rules(plan)
    yield from _of_trees(plan)
    for field, files in _by_step(plan).items():
        yield from _of_sources(plan, field, files)
    yield from _of_paths(plan)


def leaves_initial_state(record: Record | PlannedFile) -> bool:
    """Whether a command takes the download out of the initial state of Figure 9."""
    if isinstance(record, PlannedFile | PayloadCommand | MoveCommand):
        return bool(record.flags & UNSAFE)
    return isinstance(record, RemoveCommand | Format)


def _of_manifest(plan: BuildPlan) -> Iterator[Finding]:
    parameters = plan.manifest.parameters
    if not plan.manifest.steps:
        yield Finding(code="empty-manifest", message="the manifest has no steps: the package changes nothing")
    upgrade = any(isinstance(one, Role) and one.role == ROLES["software-upgrade"] for one in parameters)
    if upgrade and not any(isinstance(one, MaximumVersion) for one in parameters):
        message = "a software-upgrade without maximum-version can be applied over a newer release"
        yield Finding(code="no-maximum-version", message=message)
    if plan.items and leaves_initial_state(plan.items[0][1]):
        message = f"{plan.items[0][0]} leaves the initial state at once, so the initial timeouts never apply"
        yield Finding(code="initial-timeouts", message=message)


def _of_rules(plan: BuildPlan) -> Iterator[Finding]:
    """Yield the patterns for modes that fit no file: a misspelt one leaves a secret to be read."""
    paths = [device_path(file.path) for file in plan.files]
    for index, rule in enumerate(plan.manifest.modes):
        if not any(map(rule.matches, paths)):
            message = f"mode[{index}].path: {rule.pattern!r} matches nothing"
            yield Finding(code="unused-pattern", message=message)


def _of_trees(plan: BuildPlan) -> Iterator[Finding]:
    for tree in plan.trees:
        if not tree.taken:
            yield Finding(code="empty-tree", message=f"{tree.field} takes no files")
        for pattern in tree.unused_patterns:
            yield Finding(code="unused-pattern", message=f"{tree.field}.exclude: {pattern!r} matches nothing")
        other = [one for one in tree.directories if _is_other(plan, one.mode)]
        if other:
            shown = ", ".join(f"{one.path} {stat.S_IMODE(one.mode):04o}" for one in other[:FILES_NAMED])
            more = ", …" if len(other) > FILES_NAMED else ""
            what = amount(len(other), "directory", "directories")
            message = f"{tree.field}: {what} ({shown}{more}): a device makes directories with mode 0755"
            yield Finding(code="directory-mode", message=message)


def _is_other(plan: BuildPlan, mode: int) -> bool:
    """Whether a directory has bits that it loses, or lacks some that it will have."""
    return bool(stat.S_IMODE(mode) & ~PERMISSIONS or (plan.states_modes and NEW_DIRECTORY_MODE & ~mode))


def _by_step(plan: BuildPlan) -> dict[str, list[PlannedFile]]:
    steps: defaultdict[str, list[PlannedFile]] = defaultdict(list)
    for file in plan.files:
        steps[file.field].append(file)
    return steps


def _of_sources(plan: BuildPlan, field: str, files: Sequence[PlannedFile]) -> Iterator[Finding]:
    """Yield what the sources of one step have and the package does not carry."""
    owners: set[tuple[int, int]] = set()
    programs: list[PlannedFile] = []
    attributes: defaultdict[str, list[PlannedFile]] = defaultdict(list)
    for file in files:
        status = file.status
        if status is None:
            continue
        owners.add((status.st_uid, status.st_gid))
        lost = [name for bit, name in SPECIAL_BITS.items() if status.st_mode & bit]
        if lost and file.mode is None:  # a mode that the manifest states is meant
            message = f"the package does not carry the {' and '.join(lost)} {_bits(lost)} of this file"
            yield Finding(code="special-bits", message=message, path=device_path(file.path))
        mode = plan.mode_of(file, status)
        if not mode and status.st_mode & stat.S_IXUSR:
            programs.append(file)
        if mode and file.mode is None and not status.st_mode & PERMISSIONS and _exact(plan):
            message = f"mode 0000 can't be stated in a package, so {mode:04o} is"
            yield Finding(code="unstatable-mode", message=message, path=device_path(file.path))
        for name in _attributes(file):
            attributes[name].append(file)
    if programs:
        yield _several(
            "executable-without-mode",
            programs,
            f"{field}: {amount(len(programs), 'executable file')} without a mode",
            "the device decides whether they can be executed; set file-modes",
        )
    for name, having in sorted(attributes.items()):
        code: WarningCode = "capability" if name == CAPABILITY else "extended-attribute"
        what = "capabilities" if name == CAPABILITY else f"the attribute {name}"
        yield _several(
            code,
            having,
            f"{field}: {amount(len(having), 'file')} with {what}",
            "the package does not carry this",
        )
    if len(owners) > 1:
        named = ", ".join(f"{user}:{group}" for user, group in sorted(owners)[:FILES_NAMED])
        more = ", …" if len(owners) > FILES_NAMED else ""
        message = (
            f"{field}: the files have {len(owners)} owners ({named}{more}), which the package does not carry"
        )
        yield Finding(code="owners", message=message)


def _exact(plan: BuildPlan) -> bool:
    return plan.manifest.file_modes is SourceModes.EXACT


def _bits(names: Sequence[str]) -> str:
    return "bit" if len(names) == 1 else "bits"


def _several(code: WarningCode, files: Sequence[PlannedFile], what: str, consequence: str) -> Finding:
    """Return one finding for several files, which names the first of them."""
    paths = [device_path(file.path) for file in files]
    shown = ", ".join(paths[:FILES_NAMED]) + (", …" if len(paths) > FILES_NAMED else "")
    return Finding(code=code, message=f"{what} ({shown}): {consequence}", path=None)


def _attributes(file: PlannedFile) -> Sequence[str]:
    """Return the extended attributes of a source, as far as they can be read."""
    listed: Sequence[str] = ()
    if hasattr(os, "listxattr"):  # only Linux has it
        with suppress(OSError):
            listed = os.listxattr(file.source, follow_symlinks=file.follow)
    return [name for name in listed if name not in LABELS]


def _of_paths(plan: BuildPlan) -> Iterator[Finding]:
    """Yield what is odd about the paths on the device."""
    yield from _devices(plan)
    yield from _repeated(plan)
    yield from _blocked(plan)
    yield from _composed(plan)


def _devices(plan: BuildPlan) -> Iterator[Finding]:
    for file in plan.files:
        if file.path.parts[0] == b"dev":
            message = "a regular file below /dev: on a running device this is where devices are"
            yield Finding(code="device-path", message=message, path=device_path(file.path))


def _repeated(plan: BuildPlan) -> Iterator[Finding]:
    """Yield the paths that two steps write, unless something in between removes or moves the first file."""
    written: dict[tuple[bytes, ...], tuple[str, PlannedFile]] = {}
    for field, item in plan.items:
        match item:
            case PlannedFile(path=path):
                first = written.get(path.parts)
                if first is not None:
                    yield Finding(
                        code="path-twice",
                        message=f"{first[0]} and {field} both write this file",
                        path=device_path(path),
                    )
                    if isinstance(path, VersionedPath) and not _same_contents(first[1], item):
                        message = (
                            f"{first[0]} and {field} have different contents under the same extension, "
                            "which identifies a version"
                        )
                        yield Finding(code="version-contents", message=message, path=device_path(path))
                written[path.parts] = (field, item)
            case Format():
                written.clear()
            case RemoveCommand(path=path) | MoveCommand(source_path=path):
                for parts in [parts for parts in written if _touches(item, path, parts)]:
                    del written[parts]
            case _:
                pass


def _blocked(plan: BuildPlan) -> Iterator[Finding]:
    """Yield the paths that no device can write, because another step writes a file in the way."""
    written: dict[tuple[bytes, ...], str] = {}
    above: dict[tuple[bytes, ...], str] = {}
    for field, item in plan.items:
        match item:
            case PlannedFile(path=path):
                ways = [path.parts[:depth] for depth in range(1, len(path.parts))]
                for way in [way for way in ways if way in written]:
                    message = f"{field} writes below this path, and {written[way]} a file there"
                    yield Finding(code="path-under-file", message=message, path=_shown(way))
                if path.parts in above:
                    message = f"{field} writes a file to this path, and {above[path.parts]} below it"
                    yield Finding(code="path-under-file", message=message, path=_shown(path.parts))
                written[path.parts] = field
                above |= dict.fromkeys(ways, field)
            case Format():
                written.clear()
                above.clear()
            case RemoveCommand(path=path) | MoveCommand(source_path=path):
                for places in (written, above):
                    for parts in [parts for parts in places if _touches(item, path, parts)]:
                        del places[parts]
            case _:
                pass


def _shown(parts: Sequence[bytes]) -> str:
    return "/" + b"/".join(parts).decode()


def _touches(record: Record, path: RootPath, parts: tuple[bytes, ...]) -> bool:
    """Whether a command that names *path* may remove or move the file at *parts*."""
    if isinstance(record, RemoveSubTree):
        return parts[: len(path.parts)] == path.parts
    if isinstance(path, VersionedPath):
        name = parts[-1].rpartition(b".")[0]
        return parts[:-1] == path.parts[:-1] and name == path.parts[-1].rpartition(b".")[0]
    return parts == path.parts


def _same_contents(one: PlannedFile, other: PlannedFile) -> bool:
    """Whether two sources have the same bytes; what can't be read is not told here."""
    with suppress(OSError), one.source.open("rb") as left, other.source.open("rb") as right:
        while True:
            octets = left.read(CHUNK)
            if octets != right.read(CHUNK):
                return False
            if not octets:
                return True
    return True


def _composed(plan: BuildPlan) -> Iterator[Finding]:
    """Yield the paths that look the same, but are written with other characters (NFC and NFD)."""
    spellings: dict[str, str] = {}
    told: set[str] = set()
    for path in dict.fromkeys(_named(plan)):
        if path.isascii():
            continue
        *above, name = path.split("/")
        directory = ""
        for part in (*above[1:], name):
            place = f"{directory}/{part}"
            first = spellings.setdefault(f"{directory}/{normalize('NFC', part)}", place)
            if first != place:
                if place not in told:
                    message = f"looks like another path of this package, in other characters: {first!a}"
                    yield Finding(code="normalization", message=message, path=place)
                told.add(place)
                break
            directory = place


def _named(plan: BuildPlan) -> Iterator[str]:
    """Yield every path that a command names."""
    for _, item in plan.items:
        match item:
            case PlannedFile(path=path) | RemoveCommand(path=path):
                yield device_path(path)
            case MoveCommand(source_path=source, destination_path=destination):
                yield device_path(source)
                yield device_path(destination)
            case _:
                pass
