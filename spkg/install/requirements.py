"""Gates: the requirements that a package has for the device, checked first (TR-069 E.4.10 to E.4.13).

They apply wherever they are in the command list, and all of them must be met (decision 17).
"""

from collections.abc import Iterator
from typing import Final, NoReturn

from spkg.common.findings import Finding
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
from spkg.format.entities import entity_text, vendor_of
from spkg.format.package import Package
from spkg.format.versions import meets_maximum, meets_minimum, parse_version
from spkg.install.root_tree import Room

__all__ = ["check_requirements"]

NO_DEVICE: Final = "name the device file with --device"


def check_requirements(
    package: Package,
    device: Device | None,
    room: Room,
    *,
    refuse_unknown: bool = False,
) -> list[Finding]:
    """Check all requirements, and return warnings on those that were ignored.

    Args:
        package: The package that has them.
        device: The device that must meet them; None if it is unknown.
        room: The storage of the device.
        refuse_unknown: Whether a command of unknown type is refused.

    Raises:
        RefusedError: A requirement is not met.
    """
    ignored: list[Finding] = []
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
                    ignored.extend(
                        Finding(code="requirement-ignored", message=f"{field}: {problem}")
                        for problem in _check_attributes(record, device)
                    )
                case UnknownCommand() as record if refuse_unknown:
                    _refuse_unknown(record)
                case _:
                    pass
        except RefusedError as exc:
            exc.offset, exc.field = command.offset, field
            raise
    if device is not None and device.minimum_package_version is not None:
        _check_package_version(package.records, device.minimum_package_version)
    return ignored


def _refuse_unknown(record: UnknownCommand) -> NoReturn:
    raise RefusedError(f"unknown command type {record.code}", section="E.4")


def _check_version(record: VersionCommand, device: Device | None) -> None:
    """Compare versions element by element (E.4.10)."""
    stated = None if device is None else device.software_version
    if stated is None:
        problem = "requires a software version, but that of the device is unknown"
        raise RefusedError(problem, section=record.SECTION, hint=NO_DEVICE if device is None else None)
    try:
        version = parse_version(stated)
    except ValueError as exc:
        problem = f"requires a software version, but that of the device is not numeric: {stated!r}"
        raise RefusedError(problem, section=record.SECTION) from exc
    bound = ".".join(map(str, record.version))
    match record:
        case MinimumVersion() if not meets_minimum(version, record.version):
            problem = f"requires software version {bound} or later, the device has {stated}"
            raise RefusedError(problem, section=record.SECTION)
        case MaximumVersion() if not meets_maximum(version, record.version):
            problem = f"requires software version {bound} or earlier, the device has {stated}"
            raise RefusedError(problem, section=record.SECTION)
        case _:
            pass


def _check_role(role: int, device: Device | None) -> None:
    accepted = frozenset(ROLES.values()) if device is None else device.roles
    if role not in accepted:
        names = {number: name for name, number in ROLES.items()}
        name = names.get(role, f"0x{role:08x}")
        vendor = vendor_of(role)
        hint = None if vendor is None else f'roles = [{{ vendor = "{vendor}" }}] in [install] accepts it'
        raise RefusedError(f"the device does not accept the role {name}", section=Role.SECTION, hint=hint)


def _check_storage(record: StorageCommand, device: Device | None, room: Room) -> None:
    """Compare with the size of the medium, not with its free space (decision 18)."""
    match record:
        case MinimumNonVolatileStorage():
            stated, measured = None if device is None else device.non_volatile, room.size
        case MinimumVolatileStorage():
            stated, measured = None if device is None else device.volatile, room.memory
        case _:
            raise NotImplementedError(record.title)
    size = measured if stated is None else stated
    if size is None:
        problem = f"requires {record.storage_size} bytes of storage, but the file system reports no size"
        raise RefusedError(problem, section=record.SECTION, hint=NO_DEVICE if device is None else None)
    if size < record.storage_size:
        problem = f"requires {record.storage_size} bytes of storage, the device has {size}"
        raise RefusedError(problem, section=record.SECTION)


def _check_attributes(record: RequiredAttributes, device: Device | None) -> Iterator[str]:
    """Compare with the device's attributes of the same entity and class; if it has none, ignore them."""
    known = {
        attribute.value
        for attribute in (frozenset() if device is None else device.attributes)
        if (attribute.defining_entity, attribute.class_) == (record.defining_entity, record.class_)
    }
    entity = entity_text(record.defining_entity)
    name = f"attributes {entity}" if entity.startswith("of ") else f"{entity} attributes"
    name = f"{name}, class {record.class_}"
    if not known:
        # Without a device file, every entity and class is unknown, and E.4.13 demands to ignore that.
        why = "there is no device file" if device is None else "the device file lists none of these"
        yield f"{name}: {why}, so this requirement was not checked"
    elif known.isdisjoint(record.attributes):
        wanted = ", ".join(map(str, record.attributes))
        has = ", ".join(map(str, sorted(known)))
        raise RefusedError(f"{name}: requires one of {wanted}, the device has {has}", section=record.SECTION)


def _check_package_version(records: tuple[Record, ...], minimum: tuple[int, ...]) -> None:
    """Refuse packages that are older than the device requires, or have no version."""
    wanted = ".".join(map(str, minimum))
    texts = [record.text for record in records if isinstance(record, Version)]
    if not texts:
        raise RefusedError(f"the package has no version, the device requires at least {wanted}")
    for text in texts:
        try:
            version = parse_version(text)
        except ValueError as exc:
            problem = f"the package has version {text!r}: not numeric, the device requires at least {wanted}"
            raise RefusedError(problem, section=Version.SECTION) from exc
        if not meets_minimum(version, minimum):
            problem = f"the package has version {text}, the device requires at least {wanted}"
            raise RefusedError(problem, section=Version.SECTION)
