"""The parameters of a simulated device: those of its profile, and what the ACS has set; all in memory."""

from collections.abc import Iterable
from typing import Final

from spkg.agent.fleet_profile import FleetParameter, FleetProfile, fill_pattern
from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.schedule import Periodic
from spkg.cwmp.types import NO_TIME, WrongTypeError, WrongValueError, read_cwmp_time
from spkg.cwmp.values import AttributeChange, ParameterAttributes, ParameterValue

__all__ = ["FleetParameters"]

PHASES: Final = 0.6180339887498949
"""Multiples of it are spread evenly: phases are uniform, and the same in each run."""


class FleetParameters:
    """The parameters of one device.

    Args:
        profile: What all devices have.
        number: The number of the device.
    """

    __slots__ = ("_attributes", "_number", "_profile", "_values", "key")

    def __init__(self, profile: FleetProfile, number: int) -> None:
        self._profile = profile
        self._number = number
        self.reset()

    def reset(self) -> None:
        """Forget what the ACS has set."""
        self.key = ""
        """The ParameterKey."""
        self._values: dict[str, str] = {}
        self._attributes: dict[str, tuple[int, tuple[str, ...]]] = {}

    @property
    def login(self) -> tuple[str | None, str]:
        """The name and the password for the ACS: those of the profile, until the ACS sets others."""
        profile = self._profile
        name = self._values.get(self._server("Username")) or profile.user(self._number)
        password = self._values.get(self._server("Password")) or profile.password
        return (None, "") if password is None else (name, password)

    @property
    def periodic(self) -> Periodic | None:
        """When periodic Informs are due; None if they are switched off."""
        if self._values.get(self._server("PeriodicInformEnable"), "1") != "1":
            return None
        stated = self._values.get(self._server("PeriodicInformInterval"))
        moment = read_cwmp_time(self._values.get(self._server("PeriodicInformTime"), NO_TIME))
        return Periodic(
            interval=self._profile.interval if stated is None else int(stated),
            reference=None if moment is None else moment.timestamp(),
            phase=self._number * PHASES % 1,
        )

    def told(self, names: Iterable[str], uptime: float) -> tuple[ParameterValue, ...]:
        """Return parameters as the ACS reads them.

        Args:
            names: Their full names.
            uptime: For how long the device has been up, in seconds.
        """
        tree = self._profile.tree
        return tuple(
            ParameterValue(
                name, tree[name].type.base, "" if tree[name].secret else self._value(name, tree[name], uptime)
            )
            for name in names
        )

    def named(self, paths: Iterable[str]) -> list[str]:
        """Return the full names that names and partial paths stand for.

        Raises:
            MethodFaultError: One stands for nothing.
        """
        return [name for path in paths for name in self._profile.below(path)]

    def set_values(self, values: Iterable[ParameterValue], key: str) -> None:
        """Set all values, or none (A.3.2.1).

        Raises:
            MethodFaultError: One can't be set.
        """
        problems: list[ParameterFault] = []
        taken: dict[str, str] = {}
        for one in values:
            try:
                if one.name in taken:
                    raise MethodFaultError(FaultCode.INVALID_ARGUMENTS, f"{one.name}: expected once")
                taken[one.name] = one.value
                taken[one.name] = _checked(one, self._profile.tree.get(one.name))
            except (WrongTypeError, WrongValueError) as exc:
                problems.append(ParameterFault(one.name, exc.CODE, str(exc)))
            except _UnsettableError as exc:
                problems.append(exc.fault)
        if problems:
            raise MethodFaultError(FaultCode.INVALID_ARGUMENTS, "nothing was set", tuple(problems))
        self._values |= taken
        self.key = key

    def set_version(self, version: str) -> None:
        """Have other software."""
        self._values[f"{self._profile.root}.DeviceInfo.SoftwareVersion"] = version

    def attributes(self, paths: Iterable[str]) -> tuple[ParameterAttributes, ...]:
        """Return the attributes of parameters.

        Raises:
            MethodFaultError: There is no such parameter.
        """
        found = ((name, *self._attributes.get(name, (0, ()))) for name in self.named(paths))
        return tuple(ParameterAttributes(*one) for one in found)

    def set_attributes(self, changes: Iterable[AttributeChange]) -> None:
        """Keep attributes; nothing follows from them, because no parameter changes by itself.

        Raises:
            MethodFaultError: There is no such parameter; nothing is kept then.
        """
        kept: dict[str, tuple[int, tuple[str, ...]]] = {}
        for change in changes:
            for name in self._profile.below(change.name):
                notification, access = kept.get(name, self._attributes.get(name, (0, ())))
                kept[name] = (
                    notification if change.notification is None else change.notification,
                    access if change.access is None else change.access,
                )
        self._attributes |= kept

    def _server(self, name: str) -> str:
        return f"{self._profile.root}.ManagementServer.{name}"

    def _value(self, name: str, known: FleetParameter, uptime: float) -> str:
        if name.endswith(".DeviceInfo.UpTime"):
            return str(max(0, int(uptime)))
        if name.endswith(".ManagementServer.ParameterKey"):
            return self.key
        if name in self._values:
            return self._values[name]
        if "{" not in known.value:
            return known.value
        return fill_pattern(known.value, self._number, fill_pattern(self._profile.serial, self._number))


class _UnsettableError(Exception):
    def __init__(self, name: str, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.fault = ParameterFault(name, code, text)


def _checked(given: ParameterValue, known: FleetParameter | None) -> str:
    """Return the canonical form of a value that may be set.

    Raises:
        FormatError: It is not of its type, or not one of its values.
    """
    if known is None:
        raise _UnsettableError(given.name, FaultCode.INVALID_NAME, "there is no such parameter")
    if not known.writable:
        raise _UnsettableError(given.name, FaultCode.NOT_WRITABLE, "the parameter can't be set")
    return known.type.read(given.value)
