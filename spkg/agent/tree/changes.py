"""What the ACS is told of changed values, and who may change them: the attributes (A.3.2.4, A.3.2.5, 3.2.1).

A change is what differs from the value that the ACS knows.  So nothing needs to be watched, several changes
are one, with the last value, and what the ACS has set itself does not count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from spkg.agent.records import Attribute
from spkg.agent.state import AgentState, StateChange
from spkg.agent.tree.holdings import Holdings
from spkg.agent.tree.model import DescribedParameter
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.values import AttributeChange, ParameterAttributes, ParameterValue

__all__ = ["ACTIVE", "Notifications", "parameter_value"]

OFF: Final = 0
ACTIVE: Final = 2
"""The notification by which a change makes a session (Table 19)."""
MAX_ENTITY: Final = 64
"""The longest entity of an access list, in characters (Table 19)."""
MAX_ENTITIES: Final = 16


class Notifications:
    """The attributes of parameters, and what the ACS knows of their values.

    Args:
        holdings: The parameters.
        state: Where it is kept.
    """

    def __init__(self, holdings: Holdings, state: AgentState) -> None:
        self._holdings = holdings
        self._state = state
        self._told: dict[str, str] = {}
        """What the Inform of the present session has told; kept at its end."""
        root = holdings.root
        self._informed = tuple(f"{root}{name}" for name in holdings.own.informed())
        self._forced = frozenset(f"{root}{name}" for name in holdings.own.forced())

    def attributes(self, names: Iterable[str]) -> tuple[ParameterAttributes, ...]:
        """Return the attributes of parameters."""
        kept = self._state.attributes()
        return tuple(
            ParameterAttributes(name, found.notification, found.access)
            for name in names
            for found in (kept.get(name, Attribute()),)
        )

    def access(self, name: str) -> tuple[str, ...]:
        """Return who may change a parameter, beside the ACS."""
        return self._state.attributes().get(name, Attribute()).access

    def set_attributes(
        self, wanted: Sequence[tuple[AttributeChange, Mapping[str, DescribedParameter]]]
    ) -> None:
        """Change attributes, all or none.

        Args:
            wanted: The changes, each with the parameters that it is for.

        Raises:
            MethodFaultError: A notification makes no sense, or an access list is too long.
            ProviderError: A parameter to be notified can't be read.
        """
        kept = self._state.attributes()
        after: dict[str, Attribute] = {}
        marked: dict[str, DescribedParameter] = {}
        for change, parameters in wanted:
            _check_access(change)
            fit = {name: one for name, one in parameters.items() if one.notifies or not change.notification}
            if (parameters and not fit) or (len(fit) < len(parameters) and not _is_partial(change.name)):
                problem = f"{change.name}: its changes can't be notified"
                raise MethodFaultError(FaultCode.NOTIFICATION_REJECTED, problem)
            for name, one in parameters.items():
                attribute = after.get(name) or kept.get(name, Attribute())
                if change.notification is not None and name in fit:
                    attribute = replace(attribute, notification=change.notification)
                if change.access is not None:
                    attribute = replace(attribute, access=change.access)
                after[name] = attribute
                marked[name] = one
        before = self._state.told()
        fresh = {
            name: marked[name]
            for name, attribute in after.items()
            if attribute.notification != OFF and name not in before
        }
        values = self._holdings.read(fresh).values
        with self._state.change() as writing:
            for name, attribute in after.items():
                writing.set_attribute(name, attribute)
                if attribute.notification == OFF and name not in self._forced:
                    writing.tell(name, None)
                elif name in values:
                    writing.tell(name, values[name])
                    self._told.pop(name, None)

    def changes(self) -> tuple[ParameterValue, ...]:
        """Return the parameters that differ from what the ACS knows, with their values now.

        Those of a provider that can't say are left out.
        """
        told = self._state.told()
        parameters, values = self._holdings.readable(told)
        return tuple(
            parameter_value(name, parameters[name], value)
            for name, value in sorted(values.items())
            if value != told[name]
        )

    def has_active(self, changes: Iterable[ParameterValue]) -> bool:
        """Whether one of these changes makes a session."""
        kept = self._state.attributes()
        return any(
            one.name in self._forced or kept.get(one.name, Attribute()).notification == ACTIVE
            for one in changes
        )

    def informed(self) -> tuple[ParameterValue, ...]:
        """Return what is in every Inform (Table 33); what can't be read has the value that was told last."""
        told = self._state.told()
        parameters, values = self._holdings.readable(self._informed)
        return tuple(
            parameter_value(name, parameters[name], values[name])
            if name in values
            else ParameterValue(name, "string", told.get(name, ""))
            for name in self._informed
        )

    def told(self, values: Iterable[ParameterValue]) -> None:
        """Take what an Inform has told that was answered."""
        kept = self._state.attributes()
        for one in values:
            if one.name in self._forced or kept.get(one.name, Attribute()).notification != OFF:
                self._told[one.name] = one.value

    def keep_told(self, change: StateChange) -> None:
        """Keep what was told, at the clean end of the session."""
        for name, value in self._told.items():
            change.tell(name, value)
        self._told.clear()

    def forget_told(self) -> None:
        """Forget what was told, because the session is over."""
        self._told.clear()

    def known_to_acs(self, change: StateChange, values: Mapping[str, str]) -> None:
        """Keep values that the ACS has set itself: they are no changes (3.2.1)."""
        marked = self._state.told()
        for name, value in values.items():
            if name in marked or name in self._forced:
                change.tell(name, value)
            self._told.pop(name, None)

    def forget_below(self, path: str) -> None:
        """Forget what was told of an object that is gone."""
        for name in [name for name in self._told if name.startswith(path)]:
            del self._told[name]

    def is_followed(self, name: str) -> bool:
        """Whether the ACS is told of changes of a parameter."""
        return name in self._forced or name in self._state.told()


def parameter_value(name: str, parameter: DescribedParameter, value: str) -> ParameterValue:
    """Return a parameter with its type and value, as messages have it."""
    return ParameterValue(name, parameter.type.base, value)


def _is_partial(name: str) -> bool:
    return not name or name.endswith(".")


def _check_access(change: AttributeChange) -> None:
    """Check that an access list can be kept.

    Raises:
        MethodFaultError: It can't.
    """
    access = change.access or ()
    if len(access) > MAX_ENTITIES:
        problem = f"{change.name}: expected at most {MAX_ENTITIES} entities, got {len(access)}"
        raise MethodFaultError(FaultCode.RESOURCES_EXCEEDED, problem)
    if any(len(one) > MAX_ENTITY for one in access):
        problem = f"{change.name}: an entity has at most {MAX_ENTITY} characters"
        raise MethodFaultError(FaultCode.INVALID_ARGUMENTS, problem)
    if change.notification not in {None, 0, 1, 2}:
        problem = f"{change.name}: Notification must be 0, 1 or 2, got {change.notification}"
        raise MethodFaultError(FaultCode.INVALID_ARGUMENTS, problem)
