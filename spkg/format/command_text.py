"""One line of text for a command, for people."""

from typing import Final

from spkg.common.digests import Digest
from spkg.common.printable import amount, size, toml_key, toml_string
from spkg.format.commands import (
    ROLES,
    Description,
    End,
    FileModes,
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
    UncheckedCommand,
    UnknownCommand,
    Version,
    VersionCommand,
)
from spkg.format.entities import entity_text
from spkg.format.fields import UNSAFE
from spkg.format.sbom import SBOM_KEY, sbom_kind

__all__ = ["entry_text", "summary"]

FEW_OCTETS: Final = 32
"""How many bytes of an opaque Value are shown."""
MAX_SHOWN: Final = 200
"""The longest value of metadata that is shown whole, in characters."""
BEGINNING: Final = 60
"""How much is shown of a longer one."""


def summary(record: Record) -> str:
    """Return the contents of a command in one line, without the details of its file."""
    match record:
        case PayloadCommand() | RemoveCommand():
            return f"{record.path}{_unsafe(record.flags)}"
        case MoveCommand():
            return f"{record.source_path} to {record.destination_path}{_unsafe(record.flags)}"
        case Version() | Description():
            return toml_string(record.text)
        case TimeoutCommand():
            return f"{record.timeout} s" if record.timeout else "infinite"
        case VersionCommand():
            return ".".join(str(element) for element in record.version)
        case StorageCommand():
            return f"{record.storage_size} bytes ({size(record.storage_size)})"
        case Role():
            names = {number: name for name, number in ROLES.items()}
            arguments = f", arguments {_octets(record.arguments)}" if record.arguments else ""
            return names.get(record.role, f"role {entity_text(record.role)}") + arguments
        case RequiredAttributes():
            values = ", ".join(str(value) for value in record.attributes)
            return f"{entity_text(record.defining_entity)}, class {record.class_}, any of {values}"
        case StrongDigests():
            return f"SHA-256 of {amount(len(record.digests), 'file')}"
        case FileModes():
            return f"modes of {amount(len(record.modes), 'file')}"
        case Metadata(entries=entries):
            return ", ".join(entry_text(name, value) for name, value in entries)
        case UncheckedCommand():
            return f"hash type {record.hash_type}, which is unknown: {_octets(record.value)}"
        case UnknownCommand():
            return _octets(record.value)
        case End() | Reboot() | Format():
            return ""
        case _:
            raise TypeError(f"no summary for {type(record).__name__}")


def entry_text(name: str, value: str) -> str:
    """Return a key of metadata and its value in one line: of a long value only what it is."""
    octets = value.encode(errors="surrogatepass")
    told = f"({len(octets)} bytes, {_digest(octets)})"
    kind = sbom_kind(value) if name == SBOM_KEY else None
    if kind is not None:
        return f"{toml_key(name)} = {kind} {told}"
    if len(value) > MAX_SHOWN:
        return f"{toml_key(name)} = {toml_string(value[:BEGINNING] + '…')} {told}"
    return f"{toml_key(name)} = {toml_string(value)}"


def _unsafe(flags: int) -> str:
    return " (unsafe)" if flags & UNSAFE else ""


def _octets(octets: bytes) -> str:
    if len(octets) <= FEW_OCTETS:
        return octets.hex()
    return f"{octets[:FEW_OCTETS].hex()}… ({len(octets)} bytes, {_digest(octets)})"


def _digest(octets: bytes) -> str:
    """Return enough of a digest to tell contents apart."""
    return f"SHA-256 {Digest.SHA256.of(octets).hex()[:16]}…"
