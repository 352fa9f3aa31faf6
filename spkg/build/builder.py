"""Building: a package from a manifest, the same bytes from the same inputs (docs/manifest.md).

Each source is read once: it is hashed while it is copied into the payload.  Files are in the order of the
steps, so a download can be installed as it arrives.  The front matter has a known size and is written last.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final, assert_never

from spkg.build.manifest import FileStep, Manifest, RecordStep, TreeStep
from spkg.build.sign import add_signature, check_front_matter
from spkg.build.source_tree import TreeReport, walk_tree
from spkg.common.atomic_output import write_all
from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.common.portable import BINARY, CLOSE_ON_EXEC, NO_FOLLOW, NON_BLOCKING, read_at
from spkg.common.worker_threads import Crew
from spkg.errors import FormatError, HostError, file_name, os_problem
from spkg.format.commands import (
    ROLES,
    End,
    Extract,
    FileModes,
    Format,
    InitialActivityTimeout,
    InitialTimeout,
    MaximumVersion,
    MoveCommand,
    PayloadCommand,
    Record,
    RemoveCommand,
    Role,
    StrongDigests,
)
from spkg.format.fields import UNSAFE
from spkg.format.package import HEADER_SIZE, MAX_COMMAND_LIST, MAX_PAYLOAD, Header, encode_commands
from spkg.format.paths import RootPath
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.trust.keys import Identity
from spkg.verify.payload import CHUNK
from spkg.verify.single_pass import Progress

__all__ = [
    "BuildPlan",
    "BuildReport",
    "Contents",
    "PlannedFile",
    "arrange",
    "build_package",
    "packs",
    "plan_build",
    "warnings",
]

EXECUTABLE_MODE: Final = 0o755
PLAIN_MODE: Final = 0o644
"""The two modes of a source, by its owner's execute bit; the rest of its mode is not carried over."""


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """A file that will be in the package; its contents are not known yet."""

    field: str
    """The step it comes from."""
    command: type[PayloadCommand]
    path: RootPath
    source: Path
    flags: int
    follow: bool
    """Whether a symbolic link at *source* is followed, as one that the manifest names is."""


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


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What was built."""

    header: Header
    commands: int
    files: int
    shared: int
    """The number of files that were already stored for another command."""
    signed: bool


def plan_build(manifest: Manifest) -> BuildPlan:
    """Expand the steps of *manifest*.

    Raises:
        FormatError: A tree contains something no package can carry, or the command list would be too long.
        HostError: A tree can't be read.
    """
    items: list[tuple[str, Record | PlannedFile]] = []
    trees: list[TreeReport] = []
    for step in manifest.steps:
        match step:
            case RecordStep(field=field, record=record):
                items.append((field, record))
            case FileStep(field=field):
                items.append(
                    (
                        field,
                        PlannedFile(
                            field=field,
                            command=step.command,
                            path=step.path,
                            source=step.source,
                            flags=step.flags,
                            follow=True,
                        ),
                    )
                )
            case TreeStep():
                with _located(manifest.source, f"{step.field}.from", step.source):
                    report = walk_tree(step, manifest.source)
                trees.append(report)
                items += [
                    (
                        step.field,
                        PlannedFile(
                            field=step.field,
                            command=Extract,
                            path=file.path,
                            source=file.source,
                            flags=step.flags,
                            follow=False,
                        ),
                    )
                    for file in report.taken
                ]
            case _:
                assert_never(step)
    plan = BuildPlan(manifest=manifest, items=tuple(items), trees=tuple(trees))
    _check_size(plan)
    return plan


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
    total = 0
    for file in plan.files:
        with suppress(OSError):
            total += file.source.stat().st_size
    return total


def warnings(plan: BuildPlan) -> Iterator[Finding]:
    """Yield what a release engineer should consider before the package is released."""
    parameters = plan.manifest.parameters
    upgrade = any(isinstance(one, Role) and one.role == ROLES["software-upgrade"] for one in parameters)
    if upgrade and not any(isinstance(one, MaximumVersion) for one in parameters):
        problem = "a software-upgrade without maximum-version can be applied over a newer release"
        yield Finding(code="no-maximum-version", message=problem)
    stated = any(isinstance(one, InitialTimeout | InitialActivityTimeout) for one in parameters)
    if stated and plan.items and _leaves_initial_state(plan.items[0][1]):
        problem = f"{plan.items[0][0]} leaves the initial state at once, so the initial timeouts never apply"
        yield Finding(code="initial-timeouts", message=problem)
    for tree in plan.trees:
        if not tree.taken:
            yield Finding(code="empty-tree", message=f"{tree.field} takes no files")
        for pattern in tree.unused_patterns:
            problem = f"{tree.field}.exclude: {pattern!r} matches nothing"
            yield Finding(code="unused-pattern", message=problem)


def arrange(plan: BuildPlan, contents: Sequence[Contents]) -> list[Record]:
    """Return the command list of *plan*; *contents* are those of its files, in their order."""
    manifest = plan.manifest
    records = list(manifest.parameters)
    if manifest.strong_digests and contents:
        records.append(StrongDigests(digests=tuple(one.sha256 for one in contents)))
    if manifest.file_modes and contents:
        records.append(FileModes(modes=tuple(one.mode for one in contents)))
    following = iter(contents)
    for _, item in plan.items:
        if isinstance(item, Record):
            records.append(item)
            continue
        one = next(following)
        record = item.command(
            path=item.path, flags=item.flags, hash=one.sha1, file_offset=one.offset, file_length=one.length
        )
        records.append(record)
    records.append(End())
    return records


def build_package(
    plan: BuildPlan,
    output: FileIO,
    identity: Identity | None,
    *,
    signing_time: datetime | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> BuildReport:
    """Write the package of *plan* to *output*, an empty file that can be read back.

    Args:
        plan: What to build.
        output: The file, unbuffered.
        identity: Who signs, with SHA-1; None leaves the package unsigned.
        signing_time: The time that the signature claims; without it, the same inputs give the same bytes.
        jobs: With more than one, two digests of a file are computed in parallel.
        progress: Called with the number of source bytes processed.

    Raises:
        FormatError: A source is not a regular file or changed while it was read, or a limit is exceeded.
        HostError: A source can't be read.
        OSError: The output can't be written.
    """

    def block_of(signed: bytes) -> bytes:
        if identity is None:
            return EMPTY_BLOCK
        return add_signature(load_block(EMPTY_BLOCK), signed, identity, signing_time=signing_time)

    # The size of the front matter depends on names and counts alone, so the payload can be written first.
    draft = encode_commands(arrange(plan, [UNKNOWN_CONTENTS] * len(plan.files)))
    signed_size = HEADER_SIZE + len(draft)
    block_size = len(block_of(b""))
    check_front_matter(bytes(signed_size), bytes(block_size))

    beside = jobs > 1 and plan.manifest.strong_digests
    with Crew(1) if beside else nullcontext() as crew:
        payload = _PayloadWriter(output, signed_size + block_size, plan.manifest, crew)
        contents = [payload.store(file, progress) for file in plan.files]

    records = arrange(plan, contents)
    commands = encode_commands(records)
    header = Header(command_list_length=len(commands), payload_length=payload.length)
    signed = header.encode() + commands
    block = block_of(signed)
    if len(signed) != signed_size or len(block) != block_size:
        raise AssertionError("the front matter does not have the planned size")
    output.seek(0)
    write_all(output, signed + block)
    return BuildReport(
        header=header,
        commands=len(records),
        files=len(contents),
        shared=payload.shared,
        signed=identity is not None,
    )


TOO_MUCH: Final = f"the payload would exceed the limit of {MAX_PAYLOAD} bytes"
UNKNOWN_CONTENTS: Final = Contents(offset=0, length=0, sha1=bytes(20), sha256=bytes(32), mode=PLAIN_MODE)


class _PayloadWriter:
    """Stores files one after the other, and identical ones only once."""

    def __init__(self, output: FileIO, start: int, manifest: Manifest, crew: Crew | None) -> None:
        self._output = output
        self._crew = crew
        self._start = start
        self._manifest = manifest
        self._stored: dict[tuple[int, bytes], int] = {}
        self._known: dict[tuple[int, ...], Contents] = {}
        self._buffer = memoryview(bytearray(CHUNK))
        self.length = 0
        self.shared = 0
        output.seek(start)

    def store(self, file: PlannedFile, progress: Progress | None) -> Contents:
        """Copy a source, hash it at the same time, and return its contents."""
        sha1, sha256 = Digest.SHA1.new(), Digest.SHA256.new()
        strong = self._manifest.strong_digests
        start = self.length
        with self._open(file) as source:
            before = os.fstat(source.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise self._error(file, "not a regular file")
            known = self._known.get(_identity_of(before)) if self._manifest.share_payload else None
            if known is not None:
                self.shared += 1
                return known
            if before.st_size > MAX_PAYLOAD:
                raise self._error(file, TOO_MUCH, section="E.3")
            while count := self._read(file, source):
                octets = self._buffer[:count]
                self.length += count
                if self._crew is not None:
                    self._crew.hand(partial(sha256.update, octets))
                elif strong:
                    sha256.update(octets)
                sha1.update(octets)
                write_all(self._output, octets)
                if self._crew is not None:
                    self._crew.wait()
                if progress is not None:
                    progress(count)
            after = os.fstat(source.fileno())
        length = self.length - start
        if _identity_of(before) != _identity_of(after) or after.st_size != length:
            raise self._error(file, "changed while it was read")
        contents = Contents(
            offset=self._share(file, start, length, sha1.digest()),
            length=length,
            sha1=sha1.digest(),
            sha256=sha256.digest(),
            mode=EXECUTABLE_MODE if before.st_mode & stat.S_IXUSR else PLAIN_MODE,
        )
        # Checked only now: what would be too much may have been stored before.
        if self.length > MAX_PAYLOAD:
            raise self._error(file, TOO_MUCH, section="E.3")
        self._known[_identity_of(before)] = contents
        return contents

    def _share(self, file: PlannedFile, start: int, length: int, sha1: bytes) -> int:
        """Return the offset of these contents; if they were stored before, drop the copy at *start*."""
        if not self._manifest.share_payload:
            return start
        first = self._stored.setdefault((length, sha1), start)
        if first == start:
            return start
        if not self._is_same(first, start, length):
            problem = "another file of this package has the same SHA-1 but different contents"
            raise self._error(file, problem, section="E.4.3")
        self.length = start
        self._output.seek(self._start + start)
        self._output.truncate()
        self.shared += 1
        return first

    def _is_same(self, first: int, second: int, length: int) -> bool:
        """Compare the bytes that were written: SHA-1 alone can't be trusted here."""
        descriptor = self._output.fileno()
        for done in range(0, length, CHUNK):
            count = min(CHUNK, length - done)
            one = read_at(descriptor, count, self._start + first + done)
            if one != read_at(descriptor, count, self._start + second + done):
                return False
        return True

    def _open(self, file: PlannedFile) -> FileIO:
        # Without O_NONBLOCK a FIFO would wait for a writer before it could be refused.
        flags = os.O_RDONLY | CLOSE_ON_EXEC | NON_BLOCKING | BINARY | (0 if file.follow else NO_FOLLOW)
        try:
            with _located(self._manifest.source, f"{file.field}.from", file.source):
                return FileIO(str(file.source), "rb", opener=lambda path, _: os.open(path, flags))
        except IsADirectoryError:
            raise self._error(file, "not a regular file") from None

    def _read(self, file: PlannedFile, source: FileIO) -> int:
        with _located(self._manifest.source, f"{file.field}.from", file.source):
            return source.readinto(self._buffer)

    def _error(self, file: PlannedFile, problem: str, section: str | None = None) -> FormatError:
        return FormatError(
            f"{file_name(file.source)}: {problem}",
            source=self._manifest.source,
            field=f"{file.field}.from",
            section=section,
        )


def _record_of(file: PlannedFile, contents: Contents) -> PayloadCommand:
    """Return the command for a file, now that its contents are known."""
    return file.command(
        path=file.path,
        flags=file.flags,
        hash=contents.sha1,
        file_offset=contents.offset,
        file_length=contents.length,
    )


def _identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what distinguishes a file from others, and from an earlier version of it."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _check_size(plan: BuildPlan) -> None:
    """Refuse a command list of 2^16 bytes or more, naming the step that exceeds the limit (E.3)."""
    files = len(plan.files)
    size = len(encode_commands(arrange(plan, [UNKNOWN_CONTENTS] * files)))
    if size <= MAX_COMMAND_LIST:
        return
    # The part before the steps grows with the files, so remove steps from the end until the rest fits.
    per_file = 32 * plan.manifest.strong_digests + 4 * plan.manifest.file_modes
    remaining, culprit = size, "package"
    for step, item in reversed(plan.items):
        if remaining <= MAX_COMMAND_LIST:
            break
        record = item if isinstance(item, Record) else _record_of(item, UNKNOWN_CONTENTS)
        remaining -= len(encode_commands([record])) + (per_file if isinstance(item, PlannedFile) else 0)
        culprit = step
    problem = f"the command list would have {size} bytes, the limit is {MAX_COMMAND_LIST}, exceeded here"
    field = culprit if remaining <= MAX_COMMAND_LIST else "package"
    raise FormatError(problem, source=plan.manifest.source, field=field, section="E.3")


def _leaves_initial_state(item: Record | PlannedFile) -> bool:
    """Whether a command takes the download out of the initial state of Figure 9."""
    if isinstance(item, PlannedFile | MoveCommand):
        return bool(item.flags & UNSAFE)
    return isinstance(item, RemoveCommand | Format)


@contextmanager
def _located(source: str, field: str, path: Path) -> Iterator[None]:
    """Add the step and the file to the error for a source that can't be read."""
    try:
        yield
    except IsADirectoryError:
        raise
    except OSError as exc:
        if exc.filename is None:
            exc.filename = str(path)
        raise HostError(os_problem(exc), source=source, field=field) from exc
