"""The manifest: what a release engineer writes, and what a package is built from (docs/manifest.md).

Reading one checks everything that can be checked without looking at the sources.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from spkg.common.portable import os_name
from spkg.common.toml_document import Table, load_table
from spkg.format.commands import (
    RECORDS,
    ROLES,
    VENDOR_TYPES,
    Add,
    AddVersioned,
    Description,
    Extract,
    ExtractVersioned,
    Format,
    InitialActivityTimeout,
    InitialTimeout,
    MaximumVersion,
    MinimumNonVolatileStorage,
    MinimumVersion,
    MinimumVolatileStorage,
    Move,
    MoveCommand,
    MoveVersioned,
    PayloadCommand,
    Reboot,
    Record,
    RecoverableTimeout,
    Remove,
    RemoveCommand,
    RemoveSubTree,
    RemoveVersioned,
    RequiredAttributes,
    Role,
    StorageCommand,
    TimeoutCommand,
    UnknownCommand,
    UnrecoverableTimeout,
    Version,
    VersionCommand,
)
from spkg.format.entities import read_entity, read_vendor
from spkg.format.fields import UNSAFE
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.format.versions import parse_version

__all__ = [
    "BARE_VERBS",
    "MOVE_VERBS",
    "PAYLOAD_VERBS",
    "REMOVE_VERBS",
    "STORAGE_KEYS",
    "TIMEOUT_KEYS",
    "VERSION_KEYS",
    "FileStep",
    "Manifest",
    "ManifestStep",
    "RecordStep",
    "TreeLinks",
    "TreeStep",
    "load_manifest",
    "read_manifest",
]

# What each key and verb means, for reading a manifest and for writing one.
VERSION_KEYS: Final[dict[str, type[VersionCommand]]] = {
    "minimum-version": MinimumVersion,
    "maximum-version": MaximumVersion,
}
STORAGE_KEYS: Final[dict[str, type[StorageCommand]]] = {
    "minimum-non-volatile-storage": MinimumNonVolatileStorage,
    "minimum-volatile-storage": MinimumVolatileStorage,
}
TIMEOUT_KEYS: Final[dict[str, type[TimeoutCommand]]] = {
    "initial": InitialTimeout,
    "initial-activity": InitialActivityTimeout,
    "recoverable": RecoverableTimeout,
    "unrecoverable": UnrecoverableTimeout,
}
PAYLOAD_VERBS: Final[dict[str, tuple[type[PayloadCommand], type[RootPath]]]] = {
    "extract": (Extract, RootPath),
    "extract-versioned": (ExtractVersioned, VersionedPath),
    "add": (Add, RootPath),
    "add-versioned": (AddVersioned, VersionedPath),
}
REMOVE_VERBS: Final[dict[str, tuple[type[RemoveCommand], type[RootPath]]]] = {
    "remove": (Remove, RootPath),
    "remove-versioned": (RemoveVersioned, VersionedPath),
    "remove-tree": (RemoveSubTree, TreePath),
}
MOVE_VERBS: Final[dict[str, tuple[type[MoveCommand], type[RootPath]]]] = {
    "move": (Move, RootPath),
    "move-versioned": (MoveVersioned, VersionedPath),
}
BARE_VERBS: Final[dict[str, type[Record]]] = {"format": Format, "reboot": Reboot}
VERBS: Final = (*PAYLOAD_VERBS, "extract-tree", *REMOVE_VERBS, *MOVE_VERBS, *BARE_VERBS, "vendor")


class TreeLinks(Enum):
    """What a tree step does with symbolic links, which the format can't carry."""

    ERROR = "error"
    SKIP = "skip"
    COPY = "copy"


@dataclass(frozen=True, kw_only=True)
class FileStep:
    """A step that carries a file."""

    field: str
    """Where the step is in the manifest, for errors."""
    command: type[PayloadCommand]
    path: RootPath
    source: Path
    flags: int


@dataclass(frozen=True, kw_only=True)
class TreeStep:
    """A step that carries every regular file of a directory."""

    field: str
    path: TreePath
    source: Path
    exclude: tuple[str, ...]
    links: TreeLinks
    flags: int


@dataclass(frozen=True, kw_only=True)
class RecordStep:
    """A step that needs no source."""

    field: str
    record: Record


ManifestStep = FileStep | TreeStep | RecordStep


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest, checked."""

    source: str
    """Its name, for errors."""
    parameters: tuple[Record, ...]
    """The commands before the steps, in the order they have on the wire."""
    steps: tuple[ManifestStep, ...]
    strong_digests: bool
    file_modes: bool
    share_payload: bool


def load_manifest(path: Path, overrides: Mapping[str, str] | None = None) -> Manifest:
    """Read a manifest.

    Args:
        path: The file; sources are relative to its directory.
        overrides: Values that replace those of the file, by ``table.key``.

    Raises:
        FormatError: It is not a manifest, or no package can be built from it.
        OSError: It can't be read.
    """
    return read_manifest(load_table(path, overrides), path.parent)


def read_manifest(document: Table, directory: Path) -> Manifest:
    """Return *document* as a manifest, with sources relative to *directory*.

    Raises:
        FormatError: It is not a manifest, or no package can be built from it.
    """
    package = document.table("package")
    parameters = _package(package)
    timeouts = document.table("timeouts")
    parameters += _timeouts(timeouts)
    parameters += _required_attributes(document.tables("required-attributes"))
    tables = document.tables("step")
    steps = tuple(_step(table, f"step[{index}]", directory) for index, table in enumerate(tables))
    for table, step in list(zip(tables, steps, strict=True))[:-1]:
        if isinstance(step, RecordStep) and isinstance(step.record, Reboot):
            raise table.error("reboot", "a reboot must be the last step", section=Reboot.SECTION)
    manifest = Manifest(
        source=document.source,
        parameters=tuple(parameters),
        steps=steps,
        strong_digests=package.boolean("strong-digests") or False,
        file_modes=package.boolean("file-modes") or False,
        share_payload=package.boolean("share-payload") is not False,
    )
    package.finish()
    timeouts.finish()
    document.finish()
    return manifest


def _package(table: Table) -> list[Record]:
    """Return the parameters of [package] in the order they have on the wire."""
    records: list[Record] = []
    version = table.text("version")
    if version is not None:
        records.append(Version(text=version))
    description = table.text("description")
    if description is not None:
        records.append(Description(text=description))
    role = table.any("role")
    if role is not None:
        records.append(_role(table, role))
    for key, bound in VERSION_KEYS.items():
        text = table.text(key)
        if text is not None:
            records.append(bound(version=_made(table, key, parse_version, text)))
    for key, storage in STORAGE_KEYS.items():
        size = table.size(key)
        if size is not None:
            records.append(storage(storage_size=size))
    return records


def _role(table: Table, role: Any) -> Role:
    if isinstance(role, dict):
        vendor = table.table("role")
        entity = read_vendor(vendor, "vendor")
        arguments = vendor.octets("arguments") or b""
        vendor.finish()
        return Role(role=entity, arguments=arguments)
    name = table.text("role")
    if name not in ROLES:
        known = ", ".join(ROLES)
        problem = f'expected {known} or {{ vendor = "OUI" }}, got {name!r:.60}'
        raise table.error("role", problem, section="E.4.11")
    return Role(role=ROLES[name])


def _timeouts(table: Table) -> list[Record]:
    records: list[Record] = []
    for key, command in TIMEOUT_KEYS.items():
        seconds = table.duration(key)
        if seconds is not None:
            records.append(command(timeout=seconds))
    return records


def _required_attributes(tables: Sequence[Table]) -> list[RequiredAttributes]:
    records: list[RequiredAttributes] = []
    for table in tables:
        record = _attributes(table)
        if any(
            (one.defining_entity, one.class_) == (record.defining_entity, record.class_) for one in records
        ):
            raise table.error("class", "a class of a defining-entity may occur only once", section="E.4.13")
        records.append(record)
    return records


def _attributes(table: Table) -> RequiredAttributes:
    number = read_entity(table, "defining-entity")
    kind = table.integer("class")
    values = table.integers("values")
    table.finish()
    if number is None or kind is None:
        raise table.error("", "defining-entity and class are required", section="E.4.13")
    if not values:
        raise table.error("values", "expected an array of at least one number", section="E.4.13")
    return RequiredAttributes(defining_entity=number, class_=kind, attributes=values)


def _step(table: Table, field: str, directory: Path) -> ManifestStep:
    found = [verb for verb in VERBS if verb in table]
    if len(found) > 1:
        raise table.error("", f"expected exactly one verb, got {', '.join(found)}")
    if not found:
        table.expect(*VERBS, "from", "to", "unsafe", "value", "exclude", "links")
        raise table.error("", f"expected exactly one of the verbs {', '.join(VERBS)}")
    verb = found[0]
    step: ManifestStep
    if verb in BARE_VERBS:
        if table.boolean(verb) is not True:
            raise table.error(verb, "must be true")
        step = RecordStep(field=field, record=BARE_VERBS[verb]())
    elif verb == "vendor":
        step = RecordStep(field=field, record=_vendor(table))
    elif verb == "extract-tree":
        step = TreeStep(
            field=field,
            path=_path(table, verb, TreePath),
            source=_source(table, directory),
            exclude=table.texts("exclude"),
            links=_links(table),
            flags=_flags(table),
        )
    elif verb in PAYLOAD_VERBS:
        command, kind = PAYLOAD_VERBS[verb]
        path = _path(table, verb, kind)
        source = _source(table, directory)
        step = FileStep(field=field, command=command, path=path, source=source, flags=_flags(table))
    elif verb in REMOVE_VERBS:
        remove, kind = REMOVE_VERBS[verb]
        step = RecordStep(field=field, record=remove(path=_path(table, verb, kind), flags=_flags(table)))
    else:
        move, kind = MOVE_VERBS[verb]
        source_path, destination = _path(table, verb, kind), _path(table, "to", kind)
        record = move(source_path=source_path, destination_path=destination, flags=_flags(table))
        step = RecordStep(field=field, record=record)
    table.finish()
    return step


def _vendor(table: Table) -> UnknownCommand:
    code = table.integer("vendor")
    value = table.octets("value") or b""
    if code is None or code not in VENDOR_TYPES:
        raise table.error("vendor", f"expected a type from 1000 to 9999, got {code}", section="Table 68")
    if code in RECORDS:
        raise table.error(
            "vendor", f"{code} is an extension of spkg: set strong-digests or file-modes instead"
        )
    return UnknownCommand(number=code, value=value)


def _path(table: Table, key: str, kind: type[RootPath]) -> Any:
    text = table.text(key)
    if text is None:
        raise table.error(key, "a path is required")
    return _made(table, key, kind.of, text)


def _source(table: Table, directory: Path) -> Path:
    text = table.text("from")
    if not text or "\0" in text:
        raise table.error("from", "the path of the source is required")
    return directory / os_name(text)


def _flags(table: Table) -> int:
    return UNSAFE if table.boolean("unsafe") else 0


def _links(table: Table) -> TreeLinks:
    text = table.text("links")
    try:
        return TreeLinks(text or "error")
    except ValueError as exc:
        raise table.error("links", f'expected "error", "skip" or "copy", got {text!r:.60}') from exc


def _made(table: Table, key: str, make: Callable[[str], Any], text: str) -> Any:
    try:
        return make(text)
    except ValueError as exc:
        raise table.error(key, str(exc)) from exc
