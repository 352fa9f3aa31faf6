"""A command in one line, for people."""

from spkg.common.digests import Digest
from spkg.common.printable import amount, size, toml_string
from spkg.format.commands import (
    ROLES,
    VENDOR_MARK,
    Description,
    End,
    FileModes,
    Format,
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
from spkg.format.fields import UNSAFE

__all__ = ["entity", "summary"]

FEW_OCTETS = 32
"""How much of a Value that nobody can read is shown."""


def summary(record: Record) -> str:
    """Return what a command says, but for what is told of its file."""
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
            return f"{record.storage_size} octets ({size(record.storage_size)})"
        case Role():
            names = {number: name for name, number in ROLES.items()}
            arguments = f", arguments {_octets(record.arguments)}" if record.arguments else ""
            return names.get(record.role, f"role {entity(record.role)}") + arguments
        case RequiredAttributes():
            values = ", ".join(str(value) for value in record.attributes)
            return f"{entity(record.defining_entity)}, class {record.class_}, any of {values}"
        case StrongDigests():
            return f"SHA-256 of {amount(len(record.digests), 'file')}"
        case FileModes():
            return f"modes of {amount(len(record.modes), 'file')}"
        case UnknownCommand():
            return _octets(record.value)
        case End() | Reboot() | Format():
            return ""
        case _:
            raise TypeError(f"no summary for {type(record).__name__}")


def entity(number: int) -> str:
    """Return who gives a role or an attribute its meaning: a vendor's OUI, or the standard."""
    if number & VENDOR_MARK == VENDOR_MARK:
        return f"of vendor {number & ~VENDOR_MARK:06X}"
    return "standard" if number == 0 else str(number)


def _unsafe(flags: int) -> str:
    return " (unsafe)" if flags & UNSAFE else ""


def _octets(octets: bytes) -> str:
    if len(octets) <= FEW_OCTETS:
        return octets.hex()
    digest = Digest.SHA256.of(octets).hex()[:16]
    return f"{octets[:FEW_OCTETS].hex()}… ({len(octets)} octets, SHA-256 {digest}…)"
