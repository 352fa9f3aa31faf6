"""A manifest from an existing package: the way back from the wire to what an engineer can edit.

For every package of our own builder, building from it gives the same header, command list and payload.  For
any other package, it is checked whether it does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spkg.build.build_plan import Contents, arrange, plan_build
from spkg.build.manifest import STORAGE_KEYS, TIMEOUT_KEYS, VERSION_KEYS, read_manifest
from spkg.build.steps import BARE_VERBS, MOVE_VERBS, PAYLOAD_VERBS, REMOVE_VERBS
from spkg.common.printable import toml_key, toml_string
from spkg.common.toml_document import parse_table
from spkg.errors import FormatError
from spkg.format.commands import (
    ROLES,
    Description,
    Format,
    Metadata,
    MoveCommand,
    PayloadCommand,
    Reboot,
    Record,
    RemoveCommand,
    RequiredAttributes,
    Role,
    StorageCommand,
    StrongDigests,
    TimeoutCommand,
    UnknownCommand,
    Version,
    VersionCommand,
)
from spkg.format.entities import vendor_of
from spkg.format.fields import UNSAFE
from spkg.format.package import Header, Package, encode_commands

__all__ = ["Rebuild", "describe_manifest"]

VERB_OF: dict[type[Record], str] = {
    **{command: verb for verb, (command, _) in PAYLOAD_VERBS.items()},
    **{command: verb for verb, (command, _) in REMOVE_VERBS.items()},
    **{command: verb for verb, (command, _) in MOVE_VERBS.items()},
    **{command: verb for verb, command in BARE_VERBS.items()},
}


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """What building from a manifest would give."""

    same: bool
    """Whether that is the same header, command list and payload."""
    problem: str
    """Why nothing can be built: what a manifest can't express; empty if it can."""


def describe_manifest(package: Package, sources: Sequence[str]) -> tuple[str, Rebuild]:
    """Return a manifest, and what building from it would give.

    Args:
        package: The package to build again.
        sources: Where the contents of each file are, relative to the manifest, in the order of the commands.
    """
    shared, apart = ("\n".join(_lines(package, sources, share=share)) + "\n" for share in (True, False))
    outcome = _rebuild(package, shared, share=True)
    if not outcome.same and not outcome.problem and _rebuild(package, apart, share=False).same:
        return apart, Rebuild(same=True, problem="")
    return shared, outcome


def _lines(package: Package, sources: Sequence[str], *, share: bool) -> Iterator[str]:
    records = package.records
    yield "[package]"
    for record in records:
        match record:
            case Version(text=text):
                yield f"version = {_string(text)}"
            case Description(text=text):
                yield f"description = {_string(text)}"
            case Role():
                yield f"role = {_role(record)}"
            case VersionCommand(version=version):
                yield f'{_key(VERSION_KEYS, record)} = "{".".join(map(str, version))}"'
            case StorageCommand(storage_size=octets):
                yield f"{_key(STORAGE_KEYS, record)} = {octets}"
            case StrongDigests():
                yield "strong-digests = true"
            case _:
                pass
    if not share:
        yield "share-payload = false"
    timeouts = [record for record in records if isinstance(record, TimeoutCommand)]
    if timeouts:
        yield "\n[timeouts]"
        for one in timeouts:
            yield f"{_key(TIMEOUT_KEYS, one)} = {one.timeout}"
    for record in records:
        if isinstance(record, RequiredAttributes):
            yield "\n[[required-attributes]]"
            yield f"defining-entity = {_entity(record.defining_entity)}"
            yield f"class = {record.class_}"
            yield f"values = {list(record.attributes)}"
    for record in records:
        if isinstance(record, Metadata):
            yield "\n[metadata]"
            yield from (f"{toml_key(name)} = {_string(value)}" for name, value in record.entries)
    remaining = iter(zip(sources, (file.mode for file in package.files), strict=True))
    for record in records:
        step = list(_step(record, remaining))
        if step:
            yield "\n[[step]]"
            yield from step


def _step(record: Record, sources: Iterator[tuple[str, int]]) -> Iterator[str]:
    match record:
        case PayloadCommand(path=path):
            source, mode = next(sources)
            yield f"{VERB_OF[type(record)]} = {_string(str(path))}"
            yield f"from = {_string(source)}"
            if mode:  # stated here: the umask may have changed that of the extracted file
                yield f'mode = "{mode:04o}"'
        case RemoveCommand(path=path):
            yield f"{VERB_OF[type(record)]} = {_string(str(path))}"
        case MoveCommand(source_path=source, destination_path=destination):
            yield f"{VERB_OF[type(record)]} = {_string(str(source))}"
            yield f"to = {_string(str(destination))}"
        case Format() | Reboot():
            yield f"{VERB_OF[type(record)]} = true"
        case UnknownCommand(number=number, value=value):
            yield f"vendor = {number}"
            yield f'value = "{value.hex()}"'
        case _:
            return
    if getattr(record, "flags", 0) & UNSAFE:
        yield "unsafe = true"


def _string(text: str) -> str:
    """Return a string of the manifest, in which a dollar sign may begin a placeholder."""
    return toml_string(text.replace("$", "$$"))


def _key(keys: Mapping[str, type[Record]], record: Record) -> str:
    return next(key for key, command in keys.items() if command is type(record))


def _role(record: Role) -> str:
    names = {number: name for name, number in ROLES.items()}
    if record.role in names:
        return f'"{names[record.role]}"'
    if vendor_of(record.role) is None:
        return f"{record.role}  # reserved (Table 75): a manifest can't state it"
    arguments = f', arguments = "{record.arguments.hex()}"' if record.arguments else ""
    return f"{{ vendor = {_entity(record.role)}{arguments} }}"


def _entity(number: int) -> str:
    """Return an OUI in quotes, or a number that is not an OUI."""
    vendor = vendor_of(number)
    return str(number) if vendor is None else f'"{vendor}"'


def _rebuild(package: Package, text: str, *, share: bool) -> Rebuild:
    """Return whether building *text* gives the header and command list of *package* again."""
    try:
        manifest = read_manifest(parse_table(text.encode(), "manifest.toml", definitions={}), Path())
        plan = plan_build(manifest, look=False)
    except FormatError as exc:
        return Rebuild(same=False, problem=str(exc))
    position = 0
    stored: dict[tuple[int, bytes], int] = {}
    contents: list[Contents] = []
    for file in package.files:
        record = file.record
        key = (record.file_length, record.hash)
        offset = stored.setdefault(key, position) if share else position
        if offset == position:
            position += record.file_length
        contents.append(
            Contents(
                offset=offset,
                length=record.file_length,
                sha1=record.hash,
                sha256=file.sha256 or b"",
                mode=file.mode,
            )
        )
    commands = encode_commands(arrange(plan, contents))
    header = Header(command_list_length=len(commands), payload_length=position)
    return Rebuild(same=header.encode() + commands == package.signed, problem="")
