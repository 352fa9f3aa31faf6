"""What will be in a package: the steps of a manifest with their trees expanded, before any source is opened.

Everything that can be found without reading a source is found here, and all of it at once.
"""

import dataclasses
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spkg.build.manifest import Manifest, SourceModes
from spkg.build.source_tree import TreeReport, walk_tree
from spkg.build.steps import FileStep, ManifestStep, RecordStep, TreeStep
from spkg.common.obstacles import Obstacles
from spkg.common.printable import amount
from spkg.errors import FormatError, HostError, file_name, os_problem
from spkg.format.commands import End, Extract, FileModes, PayloadCommand, Record, StrongDigests
from spkg.format.modes import PERMISSIONS
from spkg.format.package import MAX_COMMAND_LIST, encode_commands
from spkg.format.paths import RootPath

__all__ = [
    "BuildPlan",
    "Contents",
    "PlannedFile",
    "arrange",
    "check_command_list",
    "device_path",
    "located",
    "packs",
    "plan_build",
    "source_mode",
    "sources_size",
    "unknown_contents",
]

EXECUTABLE_MODE: Final = 0o755
PLAIN_MODE: Final = 0o644
"""The two modes of a source, by its owner's execute bit, where not all nine bits are carried."""
UNSTATABLE_MODE: Final = 0o400
"""What is stated for a source with mode 0, which means "unstated" in a package."""


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """A file that will be in the package; its contents are not known yet."""

    field: str
    """The step it comes from."""
    line: int | None = dataclasses.field(default=None, compare=False)
    command: type[PayloadCommand]
    path: RootPath
    source: Path
    flags: int
    follow: bool
    """Whether a symbolic link at *source* is followed, as one that the manifest names is."""
    mode: int | None = None
    """The mode that the manifest states; None if it comes from the source, or not at all."""
    status: os.stat_result | None = dataclasses.field(default=None, compare=False, repr=False)
    """What the source was when the package was planned."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Where a file is in the payload, and what is signed about it."""

    offset: int
    length: int
    sha1: bytes
    sha256: bytes
    """Empty without strong digests."""
    mode: int


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What will be in the package, before any source is opened."""

    manifest: Manifest
    items: tuple[tuple[str, Record | PlannedFile], ...]
    """The steps with trees expanded: for each command, the step it comes from, and its record or file."""
    trees: tuple[TreeReport, ...]

    @property
    def files(self) -> list[PlannedFile]:
        """The items that carry a file."""
        return [item for _, item in self.items if isinstance(item, PlannedFile)]

    @property
    def states_modes(self) -> bool:
        """Whether the package has modes."""
        return self.manifest.file_modes is not SourceModes.NONE or any(
            file.mode is not None for file in self.files
        )

    def mode_of(self, file: PlannedFile, status: os.stat_result) -> int:
        """Return the mode that the package states for a file; 0 if it states none."""
        return source_mode(self.manifest.file_modes, status.st_mode) if file.mode is None else file.mode


def source_mode(kind: SourceModes, mode: int) -> int:
    """Return what is stated of the mode of a source; 0 if nothing is."""
    match kind:
        case SourceModes.NONE:
            return 0
        case SourceModes.EXECUTABLE:
            # Never wider than the source: what others may not read there, they may not read on the device.
            return (EXECUTABLE_MODE if mode & stat.S_IXUSR else PLAIN_MODE) & (stat.S_IRWXU | mode)
        case SourceModes.EXACT:
            return mode & PERMISSIONS or UNSTATABLE_MODE


def device_path(path: RootPath) -> str:
    """Return a path as it is on the device, with a leading slash."""
    return "/" + b"/".join(path.parts).decode()


def plan_build(manifest: Manifest, *, look: bool = True) -> BuildPlan:
    """Expand the steps of *manifest*.

    Args:
        manifest: What is to be built.
        look: Whether the sources of single files are looked at; without it, they need not exist yet.

    Raises:
        FormatError: A source can't be carried by a package, or the command list would be too long.
        HostError: A source can't be read.  All that is wrong with the sources is in the error.
    """
    items: list[tuple[str, Record | PlannedFile]] = []
    trees: list[TreeReport] = []
    found = Obstacles()
    for step in manifest.steps:
        with found.collecting():
            items += [(step.field, item) for item in _expanded(step, manifest, trees, look=look)]
    found.raise_all()
    plan = BuildPlan(manifest=manifest, items=tuple(items), trees=tuple(trees))
    check_command_list(plan)
    return plan


def _expanded(
    step: ManifestStep, manifest: Manifest, trees: list[TreeReport], *, look: bool
) -> Sequence[Record | PlannedFile]:
    match step:
        case RecordStep(record=record):
            return [record]
        case FileStep():
            return [
                PlannedFile(
                    field=step.field,
                    line=step.line,
                    command=step.command,
                    path=step.path,
                    source=step.source,
                    flags=step.flags,
                    follow=True,
                    mode=_stated(step, step.path, manifest),
                    status=_checked(step, manifest.source) if look else None,
                )
            ]
        case TreeStep():
            with located(manifest.source, step, step.source):
                report = walk_tree(step, manifest.source)
            trees.append(report)
            return [
                PlannedFile(
                    field=step.field,
                    line=step.line,
                    command=Extract,
                    path=file.path,
                    source=file.source,
                    flags=step.flags,
                    follow=False,
                    mode=_stated(step, file.path, manifest),
                    status=file.status,
                )
                for file in report.taken
            ]


def _stated(step: FileStep | TreeStep, path: RootPath, manifest: Manifest) -> int | None:
    """Return the mode that a manifest states: a step goes before a rule."""
    return manifest.mode_for(device_path(path)) if step.mode is None else step.mode


def _checked(step: FileStep, manifest: str) -> os.stat_result:
    """Return what a source is; only a regular file can be carried."""
    with located(manifest, step, step.source):
        status = step.source.stat()
    if stat.S_ISREG(status.st_mode):
        return status
    problem, hint = "not a regular file", None
    if stat.S_ISDIR(status.st_mode):
        problem = "a directory, expected a file"
        hint = "to extract every file below a directory, use extract-tree"
    raise FormatError(
        f"{file_name(step.source)}: {problem}",
        source=manifest,
        line=step.line,
        field=f"{step.field}.from",
        hint=hint,
    )


def packs(plan: BuildPlan, output: Path) -> str | None:
    """Return the step that would put *output* itself into the package; None if no step would."""
    try:
        there = output.stat()
    except OSError:
        return None
    for file in plan.files:
        with suppress(OSError):
            if os.path.samestat(file.source.stat(), there):
                return file.field
    return None


def sources_size(plan: BuildPlan) -> int:
    """Return the size of the sources in bytes, as far as it is known: only for the progress bar."""
    return sum(file.status.st_size for file in plan.files if file.status is not None)


def unknown_contents(plan: BuildPlan) -> list[Contents]:
    """Return contents for every file of a plan that give a command list of the right size."""
    one = Contents(offset=0, length=0, sha1=bytes(20), sha256=bytes(32), mode=PLAIN_MODE)
    return [one] * len(plan.files)


def arrange(plan: BuildPlan, contents: Sequence[Contents]) -> list[Record]:
    """Return the command list of *plan*; *contents* are those of its files, in their order."""
    records = _leading(plan, contents)
    following = iter(contents)
    for _, item in plan.items:
        records.append(item if isinstance(item, Record) else _record_of(item, next(following)))
    records.append(End())
    return records


def _leading(plan: BuildPlan, contents: Sequence[Contents]) -> list[Record]:
    """Return the commands before the steps."""
    records = list(plan.manifest.parameters)
    if plan.manifest.strong_digests and contents:
        records.append(StrongDigests(digests=tuple(one.sha256 for one in contents)))
    if plan.states_modes and contents:
        records.append(FileModes(modes=tuple(one.mode for one in contents)))
    return records


def _record_of(file: PlannedFile, contents: Contents) -> PayloadCommand:
    """Return the command for a file, now that its contents are known."""
    return file.command(
        path=file.path,
        flags=file.flags,
        hash=contents.sha1,
        file_offset=contents.offset,
        file_length=contents.length,
    )


def check_command_list(plan: BuildPlan) -> None:
    """Refuse a command list of 2^16 bytes or more, naming the step that exceeds the limit (E.3).

    Raises:
        FormatError: It would be too long.
    """
    contents = unknown_contents(plan)
    whole = len(encode_commands(arrange(plan, contents)))
    if whole <= MAX_COMMAND_LIST:
        return
    digests, modes = 32 * plan.manifest.strong_digests, 4 * plan.states_modes
    # The part before the steps grows with the files, so its size is counted with them.
    size = len(encode_commands([*_leading(plan, contents), End()])) - (digests + modes) * len(contents)
    lines = {step.field: step.line for step in plan.manifest.steps}
    fitting, culprit = 0, "package"
    for step, item in plan.items:
        if size > MAX_COMMAND_LIST:
            break
        culprit = step
        carried = isinstance(item, PlannedFile)
        record = _record_of(item, contents[0]) if isinstance(item, PlannedFile) else item
        size += len(encode_commands([record])) + (digests + modes) * carried
        fitting += carried and size <= MAX_COMMAND_LIST
    files = len(contents)
    costs = [
        f"{what} cost {each} bytes a file, {each * files} in all"
        for what, each in (("strong digests", digests), ("modes", modes))
        if each
    ]
    problem = f"the command list would have {whole} bytes, the limit is {MAX_COMMAND_LIST}, exceeded here"
    if files:
        problem += f": {fitting} of {amount(files, 'file')} fit"
    hint = "carry the files in one image or archive that the device unpacks, or build several packages"
    if costs:
        hint += f"; {', '.join(costs)}"
    raise FormatError(
        problem, source=plan.manifest.source, line=lines.get(culprit), field=culprit, section="E.3", hint=hint
    )


@contextmanager
def located(source: str, step: FileStep | TreeStep | PlannedFile, path: Path) -> Iterator[None]:
    """Add the step and the file to the error for a source that can't be read."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None:
            exc.filename = str(path)
        raise HostError(os_problem(exc), source=source, line=step.line, field=f"{step.field}.from") from exc
