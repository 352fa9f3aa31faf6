"""The steps of a manifest: what each verb means, and how a step is read (docs/manifest.md)."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from spkg.common.portable import os_name
from spkg.common.toml_document import Table
from spkg.format.commands import (
    RECORDS,
    VENDOR_TYPES,
    Add,
    AddVersioned,
    Extract,
    ExtractVersioned,
    Format,
    Move,
    MoveCommand,
    MoveVersioned,
    PayloadCommand,
    Reboot,
    Record,
    Remove,
    RemoveCommand,
    RemoveSubTree,
    RemoveVersioned,
    UnknownCommand,
)
from spkg.format.fields import UNSAFE
from spkg.format.modes import read_mode
from spkg.format.paths import RootPath, TreePath, VersionedPath

__all__ = [
    "BARE_VERBS",
    "MOVE_VERBS",
    "PAYLOAD_VERBS",
    "REMOVE_VERBS",
    "FileStep",
    "ManifestStep",
    "RecordStep",
    "TreeLinks",
    "TreeStep",
    "made",
    "read_stated_mode",
    "read_step",
]

# What each verb means, for reading a manifest and for writing one.
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
    line: int | None = dataclasses.field(default=None, compare=False)
    """The line that names the source."""
    command: type[PayloadCommand]
    path: RootPath
    source: Path
    flags: int
    mode: int | None = None
    """The mode that the step states."""


@dataclass(frozen=True, kw_only=True)
class TreeStep:
    """A step that carries every regular file of a directory."""

    field: str
    line: int | None = dataclasses.field(default=None, compare=False)
    path: TreePath
    source: Path
    exclude: tuple[str, ...]
    links: TreeLinks
    flags: int
    mode: int | None = None
    """The mode that the step states for all its files."""


@dataclass(frozen=True, kw_only=True)
class RecordStep:
    """A step that needs no source."""

    field: str
    line: int | None = dataclasses.field(default=None, compare=False)
    record: Record


ManifestStep = FileStep | TreeStep | RecordStep


def read_step(table: Table, directory: Path) -> ManifestStep:
    """Return the step that a table states, with its source relative to *directory*.

    Raises:
        FormatError: It is not a step.
    """
    field, line = table.name, table.line_of("from")
    found = [verb for verb in VERBS if verb in table]
    if len(found) > 1:
        raise table.error("", f"expected exactly one verb, got {', '.join(found)}")
    if not found:
        table.expect(*VERBS, "from", "to", "unsafe", "value", "exclude", "links", "mode")
        raise table.error("", f"expected exactly one of the verbs {', '.join(VERBS)}")
    verb = found[0]
    step: ManifestStep
    if verb in BARE_VERBS:
        if table.boolean(verb) is not True:
            raise table.error(verb, "must be true")
        step = RecordStep(field=field, line=line, record=BARE_VERBS[verb]())
    elif verb == "vendor":
        step = RecordStep(field=field, line=line, record=_vendor(table))
    elif verb == "extract-tree":
        step = TreeStep(
            field=field,
            line=line,
            path=_path(table, verb, TreePath),
            source=_source(table, directory),
            exclude=table.texts("exclude"),
            links=_links(table),
            flags=_flags(table),
            mode=_mode(table),
        )
    elif verb in PAYLOAD_VERBS:
        command, kind = PAYLOAD_VERBS[verb]
        path = _path(table, verb, kind)
        source = _source(table, directory)
        step = FileStep(
            field=field,
            line=line,
            command=command,
            path=path,
            source=source,
            flags=_flags(table),
            mode=_mode(table),
        )
    elif verb in REMOVE_VERBS:
        remove, kind = REMOVE_VERBS[verb]
        record: Record = remove(path=_path(table, verb, kind), flags=_flags(table))
        step = RecordStep(field=field, line=line, record=record)
    else:
        move, kind = MOVE_VERBS[verb]
        source_path, destination = _path(table, verb, kind), _path(table, "to", kind)
        record = move(source_path=source_path, destination_path=destination, flags=_flags(table))
        step = RecordStep(field=field, line=line, record=record)
    table.finish()
    return step


def read_stated_mode(table: Table, key: str) -> int:
    """Return a mode that a package is to state, in which 0 has another meaning.

    Raises:
        FormatError: The value is something else, or missing.
    """
    mode = read_mode(table, key)
    if not mode:
        raise table.error(key, "mode 0000 can't be stated in a package")
    return mode


def _vendor(table: Table) -> UnknownCommand:
    code = table.integer("vendor")
    value = table.octets("value") or b""
    if code is None or code not in VENDOR_TYPES:
        raise table.error("vendor", f"expected a type from 1000 to 9999, got {code}", section="Table 68")
    if code in RECORDS:
        raise table.error(
            "vendor", f"{code} is an extension of spkg: state it in [package] or [metadata] instead"
        )
    return UnknownCommand(number=code, value=value)


def _path(table: Table, key: str, kind: type[RootPath]) -> Any:
    text = table.text(key)
    if text is None:
        raise table.error(key, "a path is required")
    return made(table, key, kind.of, text)


def _source(table: Table, directory: Path) -> Path:
    text = table.text("from")
    if not text or "\0" in text:
        raise table.error("from", "the path of the source is required")
    return directory / os_name(text)


def _flags(table: Table) -> int:
    return UNSAFE if table.boolean("unsafe") else 0


def _mode(table: Table) -> int | None:
    return read_stated_mode(table, "mode") if "mode" in table else None


def _links(table: Table) -> TreeLinks:
    text = table.text("links")
    try:
        return TreeLinks(text or "error")
    except ValueError as exc:
        raise table.error("links", f'expected "error", "skip" or "copy", got {text!r:.60}') from exc


def made(table: Table, key: str, make: Callable[[str], Any], text: str) -> Any:
    """Return what *make* makes of the text of a key.

    Raises:
        FormatError: It refuses the text.
    """
    try:
        return make(text)
    except ValueError as exc:
        raise table.error(key, str(exc)) from exc
