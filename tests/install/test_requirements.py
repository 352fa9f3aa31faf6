"""Gates: what a package asks of the device, and what is said where the device has it not."""

from dataclasses import replace
from typing import Any, Final

import pytest

from spkg.device import Device, DeviceAttribute
from spkg.errors import RefusedError
from spkg.format.commands import (
    ROLES,
    End,
    MaximumVersion,
    MinimumNonVolatileStorage,
    MinimumVersion,
    MinimumVolatileStorage,
    Record,
    RequiredAttributes,
    Role,
    UnknownCommand,
    Version,
)
from spkg.install.plan import plan_installation
from spkg.install.requirements import check_requirements
from spkg.install.root_tree import Room
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, file, policy, read
from tests.support.memory_tree import tree

ROOM: Final = Room(size=32 << 20, free=1 << 20, inodes=None, block=4096, memory=64 << 20)
VENDOR: Final = 0xFF00D09E
PLACE: Final = "offset 0x0018: command[0]: "


def gates(*records: Record, device: Device | None, **settings: Any) -> list[str]:
    package = read(Draft(records=records, signers=()).encode())
    return [str(one) for one in check_requirements(package, device, ROOM, **settings)]


def refused(*records: Record, device: Device | None, **settings: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        gates(*records, device=device, **settings)
    assert caught.value.reason == "refused"
    return caught.value


def running(version: str) -> Device:
    return Device(software_version=version)


def at_least(*version: int) -> MinimumVersion:
    return MinimumVersion(version=version)


def at_most(*version: int) -> MaximumVersion:
    return MaximumVersion(version=version)


def test_a_package_that_asks_for_nothing_is_for_every_device() -> None:
    assert gates(file("/bin/app"), End(), device=None) == []
    assert gates(file("/bin/app"), End(), device=Device(roles=frozenset())) == []


# E.4.10: versions.


@pytest.mark.parametrize(
    ("version", "gate"),
    [
        ("5.3.0.12", at_least(5, 3)),
        ("5.3", at_least(5, 3)),
        ("5.4", at_least(5, 3, 9)),
        ("6", at_least(5, 9, 9)),
        ("10.0", at_least(9, 9)),
        ("5.3", at_least(5, 3, 0)),
        ("5", at_least(5, 0, 0, 0)),
        ("0", at_least(0)),
        ("4294967295", at_least(4294967295)),
        ("6.3.9", at_most(6, 3)),
        ("6.3", at_most(6, 3)),
        ("6.3", at_most(6, 3, 0)),
        ("6.2.99", at_most(6, 3)),
        ("5.99", at_most(6)),
        ("5.9", at_most(6, 3)),
        ("6", at_most(6, 0, 1)),
        ("9.9", at_most(10)),
        ("06.003", at_most(6, 3)),
    ],
)
def test_a_version_in_the_range_passes(version: str, gate: Record) -> None:
    assert gates(gate, device=running(version)) == []


@pytest.mark.parametrize(
    ("version", "gate", "problem"),
    [
        ("5.2.99", at_least(5, 3), "requires software version 5.3 or later, the device has 5.2.99"),
        ("5.3", at_least(5, 3, 1), "requires software version 5.3.1 or later, the device has 5.3"),
        ("5", at_least(5, 0, 0, 1), "requires software version 5.0.0.1 or later, the device has 5"),
        ("9.9", at_least(10), "requires software version 10 or later, the device has 9.9"),
        ("4.9.9", at_least(5, 0, 0), "requires software version 5.0.0 or later, the device has 4.9.9"),
        ("6.4", at_most(6, 3), "requires software version 6.3 or earlier, the device has 6.4"),
        ("6.3.9", at_most(6, 3, 8), "requires software version 6.3.8 or earlier, the device has 6.3.9"),
        (
            "6.3.0.1",
            at_most(6, 3, 0, 0),
            "requires software version 6.3.0.0 or earlier, the device has 6.3.0.1",
        ),
        ("10", at_most(9, 9), "requires software version 9.9 or earlier, the device has 10"),
    ],
)
def test_a_version_outside_the_range_is_refused(version: str, gate: Record, problem: str) -> None:
    exc = refused(gate, device=running(version))

    assert str(exc) == f"{PLACE}{problem} [TR-069 E.4.10]"
    assert exc.hint is None


@pytest.mark.parametrize("gate", [at_least(0), at_most(4294967295)])
def test_a_version_gate_wants_a_version(gate: Record) -> None:
    problem = f"{PLACE}requires a software version, but that of the device is unknown [TR-069 E.4.10]"

    without, silent = refused(gate, device=None), refused(gate, device=Device())

    assert (str(without), without.hint) == (problem, "name the device file with --device")
    assert (str(silent), silent.hint) == (problem, None)


@pytest.mark.parametrize(
    "version", ["5.3b", "v5", "", ".", "5..3", "5.-1", "5.4294967296", "\u0665", " 5", "5\n"]
)
def test_a_version_gate_wants_numbers(version: str) -> None:
    exc = refused(at_least(0), device=running(version))

    assert exc.problem == f"requires a software version, but that of the device is not numeric: {version!r}"
    assert (exc.offset, exc.field, exc.section) == (0x18, "command[0]", "E.4.10")


def test_a_version_that_is_no_number_is_none_of_a_package_s_business_that_asks_for_none() -> None:
    assert gates(file("/bin/app"), device=running("Barrier Breaker")) == []


def test_of_several_gates_all_have_to_hold_wherever_they_stand() -> None:
    records = (at_least(5), file("/bin/app"), at_least(5, 2), at_most(6), file("/bin/other"), at_most(5, 5))

    assert gates(*records, device=running("5.3")) == []
    assert refused(*records, device=running("5.1")).field == "command[2]"
    assert refused(*records, device=running("5.6")).field == "command[5]"


def test_behind_end_there_are_no_gates() -> None:
    assert gates(file("/bin/app"), End(), at_least(9), device=running("5")) == []


# E.4.11: roles.


@pytest.mark.parametrize("role", ROLES.values(), ids=ROLES)
def test_a_standard_role_is_accepted_unless_the_device_says_which(role: int) -> None:
    assert gates(Role(role=role), device=None) == []
    assert gates(Role(role=role), device=Device()) == []
    assert gates(Role(role=role), device=Device(roles=frozenset({role}))) == []


@pytest.mark.parametrize(
    ("role", "name"),
    [
        (2, "software-recovery"),
        (0, "0x00000000"),
        (5, "0x00000005"),
        (VENDOR, "0xff00d09e"),
    ],
)
def test_a_role_that_is_not_the_device_s_is_refused(role: int, name: str) -> None:
    exc = refused(Role(role=role), device=Device(roles=frozenset({1, 3})))

    assert str(exc) == f"{PLACE}the device does not accept the role {name} [TR-069 E.4.11]"


@pytest.mark.parametrize("role", [0, 5, 0xFF000000, VENDOR])
def test_a_reserved_or_a_vendor_s_role_is_never_a_standard_one(role: int) -> None:
    name = f"0x{role:08x}"

    for device in (None, Device()):
        problem = refused(Role(role=role), device=device).problem
        assert problem == f"the device does not accept the role {name}"


@pytest.mark.parametrize("arguments", [b"", b"\0\xff any"])
def test_the_roles_of_a_vendor_that_the_device_names_are_accepted(arguments: bytes) -> None:
    device = Device(roles=frozenset({1, VENDOR}))

    assert gates(Role(role=VENDOR, arguments=arguments), device=device) == []
    refusal = refused(Role(role=VENDOR + 1, arguments=arguments), device=device)
    assert refusal.problem == "the device does not accept the role 0xff00d09f"
    assert refusal.hint == 'roles = [{ vendor = "00D09F" }] in [install] accepts it'


def test_of_several_roles_all_have_to_be_accepted() -> None:
    exc = refused(Role(role=1), Role(role=4), device=Device(roles=frozenset({1})))

    problem = "the device does not accept the role vendor-configuration"
    assert (exc.field, exc.problem) == ("command[1]", problem)


# E.4.12: storage.


@pytest.mark.parametrize(
    ("gate", "device", "size"),
    [
        (MinimumNonVolatileStorage, None, 32 << 20),
        (MinimumNonVolatileStorage, Device(), 32 << 20),
        (MinimumNonVolatileStorage, Device(non_volatile=8 << 20, volatile=1), 8 << 20),
        (MinimumVolatileStorage, None, 64 << 20),
        (MinimumVolatileStorage, Device(), 64 << 20),
        (MinimumVolatileStorage, Device(volatile=128 << 20, non_volatile=1), 128 << 20),
    ],
)
def test_storage_is_what_the_device_states_or_else_what_is_measured(
    gate: type[MinimumNonVolatileStorage], device: Device | None, size: int
) -> None:
    assert gates(gate(storage_size=size), device=device) == []
    exc = refused(gate(storage_size=size + 1), device=device)
    assert str(exc) == f"{PLACE}requires {size + 1} bytes of storage, the device has {size} [TR-069 E.4.12]"


def test_storage_is_the_size_of_the_medium_and_not_what_is_free() -> None:
    assert gates(MinimumNonVolatileStorage(storage_size=(1 << 20) + 1), device=None) == []


def test_a_size_that_is_not_reported_meets_no_requirement() -> None:
    package = read(Draft(records=(MinimumNonVolatileStorage(storage_size=4096),), signers=()).encode())

    with pytest.raises(RefusedError) as caught:
        check_requirements(package, Device(), replace(ROOM, size=None))

    assert caught.value.problem == "requires 4096 bytes of storage, but the file system reports no size"


# E.4.13: attributes.

KNOWING: Final = Device(
    attributes=frozenset(
        {
            DeviceAttribute(defining_entity=VENDOR, class_=1, value=7),
            DeviceAttribute(defining_entity=VENDOR, class_=1, value=9),
            DeviceAttribute(defining_entity=VENDOR, class_=2, value=8),
            DeviceAttribute(defining_entity=0, class_=1, value=3),
        }
    )
)


def attributes(entity: int, class_: int, *values: int) -> RequiredAttributes:
    return RequiredAttributes(defining_entity=entity, class_=class_, attributes=values)


@pytest.mark.parametrize(
    "gate",
    [attributes(VENDOR, 1, 7), attributes(VENDOR, 1, 1, 2, 9), attributes(0, 1, 3), attributes(VENDOR, 2, 8)],
)
def test_one_of_the_attributes_is_enough(gate: Record) -> None:
    assert gates(gate, device=KNOWING) == []


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        (
            attributes(VENDOR, 1, 8, 3),
            "attributes of vendor 00D09E, class 1: requires one of 8, 3, the device has 7, 9",
        ),
        (
            attributes(0, 1, 7),
            "standard attributes, class 1: requires one of 7, the device has 3",
        ),
    ],
)
def test_other_attributes_are_refused(gate: Record, problem: str) -> None:
    assert str(refused(gate, device=KNOWING)) == f"{PLACE}{problem} [TR-069 E.4.13]"


@pytest.mark.parametrize(
    ("gate", "name"),
    [
        (attributes(VENDOR, 3, 7), "attributes of vendor 00D09E, class 3"),
        (attributes(0xFF00D09F, 1, 7), "attributes of vendor 00D09F, class 1"),
        (attributes(0, 2, 7), "standard attributes, class 2"),
    ],
)
def test_entities_and_classes_that_nobody_knows_are_ignored_and_noted(gate: Record, name: str) -> None:
    note = f"command[1]: {name}: the device file lists none of these, so this requirement was not checked"

    assert gates(Version(text="1"), gate, device=KNOWING) == [note]
    assert gates(Version(text="1"), gate, device=Device()) == [note]


def test_each_class_is_a_gate_of_its_own() -> None:
    records = (attributes(VENDOR, 1, 7), attributes(VENDOR, 2, 7), attributes(VENDOR, 3, 7))

    assert refused(*records, device=KNOWING).field == "command[1]"


@pytest.mark.parametrize(
    ("gate", "name"),
    [
        (attributes(VENDOR, 1, 7), "attributes of vendor 00D09E, class 1"),
        (attributes(0, 1, 7), "standard attributes, class 1"),
    ],
)
def test_without_a_device_every_entity_and_class_is_unknown(gate: Record, name: str) -> None:
    note = f"command[0]: {name}: there is no device file, so this requirement was not checked"

    assert gates(gate, device=None) == [note]


# What the device asks of the package.

WANTING: Final = Device(minimum_package_version=(6, 0))


@pytest.mark.parametrize("texts", [("6",), ("6.0",), ("6.0.0.1",), ("10",), ("6.1", "7")])
def test_a_package_that_is_new_enough_passes(texts: tuple[str, ...]) -> None:
    assert gates(*(Version(text=text) for text in texts), device=WANTING) == []


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (("5.99",), "the package has version 5.99, the device requires at least 6.0 [TR-069 E.4.6]"),
        (("6.1", "5"), "the package has version 5, the device requires at least 6.0 [TR-069 E.4.6]"),
        (
            ("6.1-rc1",),
            "the package has version '6.1-rc1': not numeric, the device requires at least 6.0 [TR-069 E.4.6]",
        ),
        (("",), "the package has version '': not numeric, the device requires at least 6.0 [TR-069 E.4.6]"),
        ((), "the package has no version, the device requires at least 6.0"),
    ],
)
def test_a_package_that_is_too_old_or_does_not_say_is_refused(texts: tuple[str, ...], problem: str) -> None:
    assert str(refused(*(Version(text=text) for text in texts), End(), device=WANTING)) == problem


def test_without_a_minimum_any_version_will_do() -> None:
    assert gates(Version(text="Barrier Breaker"), device=Device()) == []


# Unknown commands.


def test_unknown_commands_are_let_pass_unless_they_are_to_be_refused() -> None:
    records = (
        file("/bin/app"),
        UnknownCommand(number=23, value=b""),
        UnknownCommand(number=4000, value=b"x"),
    )

    assert gates(*records, device=None) == []
    exc = refused(*records, device=None, refuse_unknown=True)
    assert (exc.field, exc.problem, exc.section) == ("command[1]", "unknown command type 23", "E.4")


# The planner's part.


def test_gates_come_before_anything_is_looked_at() -> None:
    where = tree("bin/app")
    trusted = verify_package(
        read(Draft(records=(file("bin/app"), at_least(9)), signers=()).encode()),
        policy(unsafe_allow_unsigned=True),
        at=AT,
    )

    with pytest.raises(RefusedError, match="requires software version 9 or later"):
        plan_installation(trusted, running("5"), where)

    assert where.calls == {"room": 1}


def test_what_the_gates_ignored_is_in_the_plan_s_notes() -> None:
    records = (attributes(VENDOR, 3, 7), file("bin/app"))
    trusted = verify_package(
        read(Draft(records=records, signers=()).encode()), policy(unsafe_allow_unsigned=True), at=AT
    )

    warnings = plan_installation(trusted, KNOWING, tree("bin/app")).warnings

    assert tuple(map(str, warnings)) == (
        (
            "command[0]: attributes of vendor 00D09E, class 3: the device file lists none of these, so this "
            "requirement was not checked"
        ),
    )
