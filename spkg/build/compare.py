"""What changes from one package to another, for a release engineer to check before a release.

Nothing is verified here.  The contents of the two packages are compared, and then their bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Final

from spkg.common.findings import Finding
from spkg.format.command_text import summary
from spkg.format.commands import (
    RECORDS,
    AddVersioned,
    ExtractVersioned,
    PayloadCommand,
    Record,
    RequiredAttributes,
    Role,
    StorageCommand,
    TimeoutCommand,
    VersionCommand,
)
from spkg.format.package import Package
from spkg.format.ranges import Range
from spkg.format.signature_block import readable_name
from spkg.trust.certificates import serial_text
from spkg.verify.payload import CHUNK, Payload

__all__ = ["Change", "Difference", "FileChange", "FileState", "Summary", "compare_packages"]

GATES: Final = (VersionCommand, Role, StorageCommand, RequiredAttributes)
"""The requirements that decide whether a device may install the package (decision 17)."""

MAX_EFFORT: Final = 5_000_000
"""The most comparisons for a shortest difference: enough for 2000 commands that all differ."""


@dataclass(frozen=True, kw_only=True)
class FileState:
    """A file as one of the packages describes it."""

    length: int
    sha1: bytes
    sha256: bytes | None
    mode: int
    place: Range = field(compare=False)
    """Where its contents are in the payload, which is no difference between files."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that is in only one of the packages, or that differs."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file that is in only one of the packages, or that differs."""

    path: str
    before: FileState | None
    after: FileState | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How many files differ, and how much larger the second package's files are together."""

    added: int
    removed: int
    changed: int
    octets: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Everything that differs; equal packages are identical, byte for byte."""

    summary: Summary
    header: tuple[Change, ...]
    commands: tuple[Change, ...]
    gates: tuple[Change, ...]
    timeouts: tuple[Change, ...]
    files: tuple[FileChange, ...]
    signers: tuple[Change, ...]
    encoding: tuple[str, ...]
    """Where bytes differ although everything above is the same."""
    warnings: tuple[Finding, ...] = ()
    """What may be wrong with the second package, next to the first."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        found = (self.header, self.commands, self.gates, self.timeouts, self.files, self.signers)
        return not any(found) and not self.encoding


def compare_packages(before: tuple[Package, Payload], after: tuple[Package, Payload]) -> Difference:
    """Return what changes from the first package to the second.

    Raises:
        FormatError: A payload is shorter or longer than its header states.
    """
    one, other = before[0], after[0]
    header = tuple(
        Change(name=name, before=str(old), after=str(new))
        for name, old in vars(one.header).items()
        if old != (new := getattr(other.header, name))
    )
    gates = _sequence(_shown(one, GATES), _shown(other, GATES))
    timeouts = _sequence(_shown(one, TimeoutCommand), _shown(other, TimeoutCommand))
    commands = _sequence(_others(one), _others(other))
    files = _files(one, other)
    signers = _sequence(_signers(one), _signers(other))

    encoding: list[str] = []
    if one.signed != other.signed and not (header or gates or timeouts or commands or files):
        encoding.append("the command lists")
    # A signature over different bytes is always different, which is not worth reporting.
    if one.signed == other.signed and one.block.octets != other.block.octets and not signers:
        encoding.append("the signature blocks")
    if one.signed == other.signed:
        place = _first_difference(before[1], after[1])
        if place is not None:
            encoding.append(f"the payloads, from byte {place} on")
    return Difference(
        summary=Summary(
            added=sum(file.before is None for file in files),
            removed=sum(file.after is None for file in files),
            changed=sum(None not in {file.before, file.after} for file in files),
            octets=_length(other) - _length(one),
        ),
        header=header,
        commands=commands,
        gates=gates,
        timeouts=timeouts,
        files=files,
        signers=signers,
        encoding=tuple(encoding),
        warnings=tuple(_other_versions(one, other)),
    )


def _other_versions(one: Package, other: Package) -> Iterator[Finding]:
    """Yield the versioned files with other contents under the same extension, which states a version (E.4.1).

    A device that has the first file may not install the second: to it, they are the same version.
    """
    known = {_place(record): record for record in _versioned(one)}
    for place, record in {_place(record): record for record in _versioned(other)}.items():
        first = known.get(place)
        if first is not None and (first.hash, first.file_length) != (record.hash, record.file_length):
            message = "other contents than before under the same extension, which identifies a version"
            yield Finding(code="version-contents", message=message, path=place)


def _versioned(package: Package) -> Iterator[PayloadCommand]:
    for file in package.files:
        if isinstance(file.record, ExtractVersioned | AddVersioned):
            yield file.record


def _place(record: PayloadCommand) -> str:
    return "/" + "/".join(part.decode() for part in record.path.parts)


def _length(package: Package) -> int:
    return sum(file.record.file_length for file in package.files)


def _shown(package: Package, kinds: type[Record] | tuple[type[Record], ...]) -> list[tuple[str, str]]:
    return [(record.title, summary(record)) for record in package.records if isinstance(record, kinds)]


def _others(package: Package) -> list[tuple[str, str]]:
    """Return the commands in their order, without requirements and timeouts."""
    return [
        (record.title if record.code in RECORDS else f"{record.title} {record.code}", summary(record))
        for record in package.records
        if not isinstance(record, (*GATES, TimeoutCommand))
    ]


def _signers(package: Package) -> list[tuple[str, str]]:
    """Return the signers as the block names them; nothing is verified here."""
    found: list[tuple[str, str]] = []
    for signer in package.block.signers:
        issuer = "an unknown issuer" if signer.issuer is None else readable_name(signer.issuer)
        name = package.block.subject_of(signer) or f"a signer certified by {issuer}"
        serial = "unknown" if signer.serial is None else serial_text(signer.serial)
        found.append(("signer", f"{name}, serial {serial}, {signer.digest_algorithm.name}"))
    return found


def _sequence(before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> tuple[Change, ...]:
    """Return the changes from one list to the other."""
    changes: list[Change] = []
    for start, end, new_start, new_end in _replaced(before, after):
        for old, new in zip_longest(before[start:end], after[new_start:new_end]):
            if old is not None and new is not None and old[0] == new[0]:
                changes.append(Change(name=old[0], before=old[1], after=new[1]))
                continue
            changes += [Change(name=old[0], before=old[1], after=None)] if old is not None else []
            changes += [Change(name=new[0], before=None, after=new[1])] if new is not None else []
    return tuple(changes)


def _replaced(
    before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield the parts of one list that are replaced in the other."""
    # Repeated items cost the matcher the cube of their number, for a difference too long to read.
    counts = Counter(after)
    if sum(counts[item] for item in before) * min(len(before), len(after)) > MAX_EFFORT:
        yield 0, len(before), 0, len(after)
        return
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, *places in matcher.get_opcodes():
        if kind != "equal":
            start, end, new_start, new_end = places
            yield start, end, new_start, new_end


def _files(one: Package, other: Package) -> tuple[FileChange, ...]:
    before, after = _states(one), _states(other)
    changes: list[FileChange] = []
    for path in sorted(before.keys() | after.keys()):
        for old, new in zip_longest(before.get(path, []), after.get(path, [])):
            if old != new:
                changes.append(FileChange(path=path, before=old, after=new))
    return tuple(changes)


def _states(package: Package) -> dict[str, list[FileState]]:
    """Return the files by their paths; one may occur more than once."""
    states: defaultdict[str, list[FileState]] = defaultdict(list)
    for file in package.files:
        path = _place(file.record)
        states[path].append(
            FileState(
                length=file.record.file_length,
                sha1=file.record.hash,
                sha256=file.sha256,
                mode=file.mode,
                place=file.range,
            )
        )
    return states


def _first_difference(one: Payload, other: Payload) -> int | None:
    """Return the offset of the first byte that differs in two payloads of the same length."""
    left, right = memoryview(bytearray(CHUNK)), memoryview(bytearray(CHUNK))
    position = 0
    while position < one.length:
        count = one.read_into(left[: one.length - position])
        filled = 0
        while filled < count:
            filled += other.read_into(right[filled:count])
        if left[:count] != right[:count]:
            return position + next(i for i in range(count) if left[i] != right[i])
        position += count
    one.finish()
    other.finish()
    return None
