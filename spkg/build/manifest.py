"""The manifest: what a release engineer writes, and what a package is built from (docs/manifest.md).

Reading one checks everything that can be checked without looking at the sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from spkg.build.steps import ManifestStep, RecordStep, made, read_stated_mode, read_step
from spkg.common.obstacles import Obstacles
from spkg.common.toml_document import Override, Table, load_table
from spkg.format.commands import (
    ROLES,
    Description,
    InitialActivityTimeout,
    InitialTimeout,
    MaximumVersion,
    Metadata,
    MinimumNonVolatileStorage,
    MinimumVersion,
    MinimumVolatileStorage,
    Reboot,
    Record,
    RecoverableTimeout,
    RequiredAttributes,
    Role,
    StorageCommand,
    TimeoutCommand,
    UnrecoverableTimeout,
    Version,
    VersionCommand,
)
from spkg.format.entities import read_entity, read_vendor
from spkg.format.modes import ModeRule
from spkg.format.versions import parse_version

__all__ = [
    "STORAGE_KEYS",
    "TIMEOUT_KEYS",
    "VERSION_KEYS",
    "Manifest",
    "SourceModes",
    "load_manifest",
    "read_manifest",
]

# What each key means, for reading a manifest and for writing one.
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


class SourceModes(Enum):
    """What a package states of the modes of its sources."""

    NONE = "none"
    EXECUTABLE = "executable"
    """0755 or 0644, by the owner's execute bit, and never wider than the source."""
    EXACT = "exact"
    """The nine bits of the source."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest, checked."""

    source: str
    """Its name, for errors."""
    parameters: tuple[Record, ...]
    """The commands before the steps, in the order they have on the wire."""
    steps: tuple[ManifestStep, ...]
    strong_digests: bool
    file_modes: SourceModes
    modes: tuple[ModeRule, ...]
    """The modes of files by their paths; the last rule that fits wins."""
    share_payload: bool

    def mode_for(self, path: str) -> int | None:
        """Return the mode from the last rule that applies to *path*, which begins with a slash."""
        return next((rule.mode for rule in reversed(self.modes) if rule.matches(path)), None)


def load_manifest(
    path: Path,
    overrides: Mapping[str, str] | None = None,
    definitions: Mapping[str, str] | None = None,
) -> Manifest:
    """Read a manifest.

    Args:
        path: The file; sources are relative to its directory.
        overrides: Values that replace those of the file, by ``table.key``.
        definitions: What ``${NAME}`` stands for in the strings of the file, by its name.

    Raises:
        FormatError: It is not a manifest, or no package can be built from it.
        OSError: It can't be read.
    """
    return read_manifest(load_table(path, overrides, definitions or {}), path.parent)


def read_manifest(document: Table, directory: Path) -> Manifest:
    """Return *document* as a manifest, with sources relative to *directory*.

    Raises:
        FormatError: It is not a manifest, or no package can be built from it; all that is wrong is in it.
    """
    found = Obstacles()
    parameters: list[Record] = []
    rules: list[ModeRule] = []
    steps: list[ManifestStep] = []
    package = timeouts = Table({}, document.source)
    with found.collecting():
        package = document.table("package")
    parameters += _package(package, found)
    with found.collecting():
        timeouts = document.table("timeouts")
    parameters += _timeouts(timeouts, found)
    parameters += _required_attributes(_tables(document, "required-attributes", found), found)
    parameters += _metadata(document, found)
    strong = share = None
    kind = SourceModes.NONE
    with found.collecting():
        strong = package.boolean("strong-digests")
    with found.collecting():
        kind = _source_modes(package)
    with found.collecting():
        share = package.boolean("share-payload")
    for table in _tables(document, "mode", found):
        with found.collecting():
            rules.append(_rule(table))
    tables = _tables(document, "step", found)
    for index, table in enumerate(tables):
        with found.collecting():
            step = read_step(table, directory)
            steps.append(step)
            if isinstance(step, RecordStep) and isinstance(step.record, Reboot) and index + 1 < len(tables):
                raise table.error("reboot", "a reboot must be the last step", section=Reboot.SECTION)
    for table in (package, timeouts, document):
        with found.collecting():
            table.finish()
    found.raise_all()
    return Manifest(
        source=document.source,
        parameters=tuple(parameters),
        steps=tuple(steps),
        strong_digests=strong or False,
        file_modes=kind,
        modes=tuple(rules),
        share_payload=share is not False,
    )


def _tables(document: Table, key: str, found: Obstacles) -> Sequence[Table]:
    with found.collecting():
        return document.tables(key)
    return ()


def _source_modes(table: Table) -> SourceModes:
    stated = table.any("file-modes")
    text = stated.text if isinstance(stated, Override) else stated
    names: dict[Any, SourceModes] = {
        None: SourceModes.NONE,
        False: SourceModes.NONE,
        "false": SourceModes.NONE,
        True: SourceModes.EXECUTABLE,
        "true": SourceModes.EXECUTABLE,
        "executable": SourceModes.EXECUTABLE,
        "exact": SourceModes.EXACT,
    }
    if not isinstance(text, str | bool | None) or text not in names or (stated in ("true", "false")):
        raise table.error("file-modes", f'must be "exact", "executable", true or false, got {text!r:.60}')
    return names[text]


def _rule(table: Table) -> ModeRule:
    pattern = table.text("path")
    if pattern is None or not pattern.startswith("/"):
        raise table.error("path", "must be a pattern that begins with a slash")
    rule = ModeRule(pattern=pattern, mode=read_stated_mode(table, "mode"))
    table.finish()
    return rule


def _metadata(document: Table, found: Obstacles) -> Sequence[Metadata]:
    """Return the free keys of [metadata], which people and programs read, and no device acts on."""
    if "metadata" not in document:
        return ()
    entries: list[tuple[str, str]] = []
    with found.collecting():
        table = document.table("metadata")
        for key in sorted(table.keys()):
            with found.collecting():
                text = table.text(key)
                assert text is not None  # the key exists
                entries.append((key, text))
        try:
            return [Metadata(entries=tuple(entries))]
        except ValueError as exc:
            raise document.error("metadata", str(exc)) from exc
    return ()


def _package(table: Table, found: Obstacles) -> list[Record]:
    """Return the parameters of [package] in the order they have on the wire."""
    records: list[Record] = []
    with found.collecting():
        version = table.text("version")
        if version is not None:
            records.append(Version(text=version))
    with found.collecting():
        description = table.text("description")
        if description is not None:
            records.append(Description(text=description))
    with found.collecting():
        role = table.any("role")
        if role is not None:
            records.append(_role(table, role))
    for key, bound in VERSION_KEYS.items():
        with found.collecting():
            text = table.text(key)
            if text is not None:
                records.append(bound(version=made(table, key, parse_version, text)))
    for key, storage in STORAGE_KEYS.items():
        with found.collecting():
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


def _timeouts(table: Table, found: Obstacles) -> list[Record]:
    records: list[Record] = []
    for key, command in TIMEOUT_KEYS.items():
        with found.collecting():
            seconds = table.duration(key)
            if seconds is not None:
                records.append(command(timeout=seconds))
    return records


def _required_attributes(tables: Sequence[Table], found: Obstacles) -> list[Record]:
    records: list[RequiredAttributes] = []
    for table in tables:
        with found.collecting():
            record = _attributes(table)
            if any(
                (one.defining_entity, one.class_) == (record.defining_entity, record.class_)
                for one in records
            ):
                problem = "a class of a defining-entity may occur only once"
                raise table.error("class", problem, section="E.4.13")
            records.append(record)
    return [*records]


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
