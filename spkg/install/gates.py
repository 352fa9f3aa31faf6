"""The gates: what a package asks of the device before anything is done (TR-069 E.4.10 to E.4.13).

They hold wherever they stand in the command list, and of several all have to (decision 17).
"""

from collections.abc import Iterator
from typing import Final, NoReturn

from spkg.device import Device
from spkg.errors import RefusedError
from spkg.format.commands import (
    ROLES,
    MaximumVersion,
    MinimumNonVolatileStorage,
    MinimumVersion,
    MinimumVolatileStorage,
    Record,
    RequiredAttributes,
    Role,
    StorageCommand,
    UnknownCommand,
    Version,
    VersionCommand,
)
from spkg.format.package import Package
from spkg.format.versions import meets_maximum, meets_minimum, parse_version
from spkg.install.root_tree import Room

__all__ = ["check_gates"]

NO_DEVICE: Final = "name the device file with --device"


def check_gates(
    package: Package,
    device: Device | None,
    room: Room,
    *,
    refuse_unknown: bool = False,
) -> list[str]:
    """Check all gates, and return what of them was ignored.

    Args:
        package: What asks.
        device: What is asked; None where nothing is known of it.
        room: What its file system has.
        refuse_unknown: Whether a command of unknown type is refused.

    Raises:
        RefusedError: A gate is not passed.
    """
    notes: list[str] = []
    for command in package.commands:
        field = f"command[{command.index}]"
        try:
            match command.record:
                case VersionCommand() as record:
                    _check_version(record, device)
                case Role(role=role):
                    _check_role(role, device)
                case StorageCommand() as record:
                    _check_storage(record, device, room)
                case RequiredAttributes() as record:
                    notes.extend(f"{field}: {note}" for note in _check_attributes(record, device))
                case UnknownCommand() as record if refuse_unknown:
                    _refuse_unknown(record)
                case _:
                    pass
        except RefusedError as exc:
            exc.offset, exc.field = command.offset, field
            raise
    if device is not None and device.minimum_package_version is not None:
        _check_package_version(package.records, device.minimum_package_version)
    return notes


def _refuse_unknown(record: UnknownCommand) -> NoReturn:
    raise RefusedError(f"a command of the unknown type {record.code}", section="E.4")


def _check_version(record: VersionCommand, device: Device | None) -> None:
    """Compare as E.4.10 says, element by element."""
    stated = None if device is None else device.software_version
    if stated is None:
        problem = "asks for a software version, and that of the device is not known"
        raise RefusedError(problem, section=record.SECTION, hint=NO_DEVICE if device is None else None)
    try:
        version = parse_version(stated)
    except ValueError as exc:
        problem = f"asks for a software version, and that of the device is {stated!r}: no number"
        raise RefusedError(problem, section=record.SECTION) from exc
    bound = ".".join(map(str, record.version))
    match record:
        case MinimumVersion() if not meets_minimum(version, record.version):
            raise RefusedError(f"the device has {stated}, at least {bound} is asked", section=record.SECTION)
        case MaximumVersion() if not meets_maximum(version, record.version):
            raise RefusedError(f"the device has {stated}, at most {bound} is asked", section=record.SECTION)
        case _:
            pass


def _check_role(role: int, device: Device | None) -> None:
    accepted = frozenset(ROLES.values()) if device is None else device.roles
    if role not in accepted:
        names = {number: name for name, number in ROLES.items()}
        name = names.get(role, f"0x{role:08x}")
        raise RefusedError(f"the role {name} is not accepted here", section=Role.SECTION)


def _check_storage(record: StorageCommand, device: Device | None, room: Room) -> None:
    """Compare with the size of the medium, not with what is free (decision 18)."""
    match record:
        case MinimumNonVolatileStorage():
            stated, measured = None if device is None else device.non_volatile, room.size
        case MinimumVolatileStorage():
            stated, measured = None if device is None else device.volatile, room.memory
        case _:
            raise NotImplementedError(record.title)
    size = measured if stated is None else stated
    if size < record.storage_size:
        problem = f"asks for {record.storage_size} octets, the device has {size}"
        raise RefusedError(problem, section=record.SECTION)


def _check_attributes(record: RequiredAttributes, device: Device | None) -> Iterator[str]:
    """Compare with the device's attributes of the same entity and class; what it knows none of is ignored."""
    if device is None:
        raise RefusedError(
            "asks for attributes, and those of the device are not known",
            section=record.SECTION,
            hint=NO_DEVICE,
        )
    known = {
        attribute.value
        for attribute in device.attributes
        if (attribute.defining_entity, attribute.class_) == (record.defining_entity, record.class_)
    }
    name = f"attributes of entity 0x{record.defining_entity:08x}, class {record.class_}"
    if not known:
        yield f"{name} are not known to the device, and were ignored"
    elif known.isdisjoint(record.attributes):
        wanted = ", ".join(map(str, record.attributes))
        has = ", ".join(map(str, sorted(known)))
        raise RefusedError(f"{name}: one of {wanted} is asked, the device has {has}", section=record.SECTION)


def _check_package_version(records: tuple[Record, ...], minimum: tuple[int, ...]) -> None:
    """Refuse packages older than the device wants them, and those that do not say."""
    wanted = ".".join(map(str, minimum))
    texts = [record.text for record in records if isinstance(record, Version)]
    if not texts:
        raise RefusedError(f"the package states no version, the device wants at least {wanted}")
    for text in texts:
        try:
            version = parse_version(text)
        except ValueError as exc:
            problem = f"the package has version {text!r}, the device wants numbers of at least {wanted}"
            raise RefusedError(problem, section=Version.SECTION) from exc
        if not meets_minimum(version, minimum):
            problem = f"the package has version {text}, the device wants at least {wanted}"
            raise RefusedError(problem, section=Version.SECTION)
